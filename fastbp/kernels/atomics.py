"""Atomic operations on int64 memory, for the threads of one fit.

Loads acquire, stores release, the others do both. With the JIT off they are plain Python: one
thread only.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types

from fastbp.kernels.lowering import compiled_as
from fastbp.kernels.vector import Pointer

_ELEMENT = types.CPointer(types.int64), types.Integer


def atomic_load(pointer: Pointer, index: int) -> int:
    """Return the element."""
    return int(pointer[index])


compiled_as(atomic_load, types.int64, *_ELEMENT)(
    lambda builder, pointer, i: builder.load_atomic(builder.gep(pointer, [i]), "acquire", 8)
)


def atomic_store(pointer: Pointer, index: int, value: int) -> None:
    """Write the element; a thread that reads it sees all that was written before."""
    pointer[index] = value


@compiled_as(atomic_store, types.void, *_ELEMENT, types.Integer)
def _(builder: Any, pointer: ir.Value, index: ir.Value, value: ir.Value) -> None:
    builder.store_atomic(value, builder.gep(pointer, [index]), "release", 8)


def atomic_add(pointer: Pointer, index: int, value: int) -> int:
    """Add to the element and return what it was before."""
    before = int(pointer[index])
    pointer[index] = before + value
    return before


@compiled_as(atomic_add, types.int64, *_ELEMENT, types.Integer)
def _(builder: Any, pointer: ir.Value, index: ir.Value, value: ir.Value) -> ir.Value:
    return builder.atomic_rmw("add", builder.gep(pointer, [index]), value, "acq_rel")


def compare_and_swap(pointer: Pointer, index: int, expected: int, value: int) -> bool:
    """Write `value` if the element is `expected`; return whether it was."""
    if pointer[index] != expected:
        return False
    pointer[index] = value
    return True


@compiled_as(compare_and_swap, types.boolean, *_ELEMENT, types.Integer, types.Integer)
def _(builder: Any, pointer: ir.Value, index: ir.Value, *values: ir.Value) -> ir.Value:
    result = builder.cmpxchg(builder.gep(pointer, [index]), *values, "acq_rel", "acquire")
    return builder.extract_value(result, 1)
