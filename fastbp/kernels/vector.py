"""Eight numbers side by side, and the operations that the kernels are made of.

Numba has no vector type, and a loop that LLVM vectorizes by itself needs `reassoc` for every
sum: its result then depends on the vector width that LLVM picks. Here the lanes are explicit.
A vector has eight lanes on every machine (of float64 one AVX-512 register, two of AVX2, four of
NEON; of float32 half of it), every sum has one fixed order, every fused multiply-add is asked for,
and no fast-math flag is needed: the source alone determines the result, to the last bit.

Lanes are of float64 or float32, as the parameters are that a kernel works with: the source is the
same. In every operation, a number beside vectors stands for eight of it in their type. (With the
JIT off, beside an operator that must be one of Python's own, not of NumPy's: `broadcast_like`.)

Each operation is a plain Python function on NumPy arrays of eight numbers, which runs when the
JIT is off, followed by a generator of its LLVM code. `a + b`, `a - b`, `a * b`, `a / b` and `-a`
work, too. Pointers reach memory: passing an array costs atomic reference counting in every call.
But a pointer keeps no array alive: an array that a kernel makes is freed after the last
use of its own name. With the JIT off a pointer is a flat view.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from fastbp.kernels import lowering
from fastbp.kernels.jit import device_function
from fastbp.kernels.lowering import (
    DOUBLES,
    FLOAT_POINTERS,
    INT32,
    SINGLE,
    VECTORS,
    VectorType,
    by_intrinsic,
    compiled_as,
    element_like,
    elementwise,
    first_lanes,
    fused,
    intrinsic,
    masked_load,
    pointer_type,
    resized,
    splat,
    vector_like,
    vector_of,
)
from fastbp.kernels.stored import constant

LANES = lowering.LANES
HALF = LANES // 2
Vector = Any
"""Eight lanes: an LLVM vector when compiled, an array of shape (8,) with the JIT off."""
Four = tuple[Vector, Vector, Vector, Vector]
Pointer = Any
"""Address of contiguous numbers, indexed like an array: a flat view with the JIT off."""


def whole_vectors(size: int) -> int:
    """Return a size rounded up to whole vectors."""
    return (size + LANES - 1) // LANES * LANES


padded = device_function(whole_vectors)
"""The same inside kernels."""


# --- arithmetic ---------------------------------------------------------------------------


def _vectors(*arguments: Any) -> tuple[np.ndarray, ...]:
    """Return the arguments with numbers in the type of the vectors."""
    dtype = next(a.dtype for a in arguments if np.ndim(a))
    return tuple(np.asarray(a, dtype) for a in arguments)


elementwise(operator.add, 2)(ir.IRBuilder.fadd)
elementwise(operator.sub, 2)(ir.IRBuilder.fsub)
elementwise(operator.mul, 2)(ir.IRBuilder.fmul)
elementwise(operator.truediv, 2)(ir.IRBuilder.fdiv)
elementwise(operator.neg, 1)(ir.IRBuilder.fneg)


def fma(a: Vector, b: Vector, c: Vector) -> Vector:
    """Return a * b + c, rounded once (with the JIT off: in long double, then once more)."""
    a, b, c = _vectors(a, b, c)
    return (np.longdouble(a) * b + c).astype(a.dtype)


def absolute(a: Vector) -> Vector:
    """Return a without its signs."""
    return np.abs(a)


def square_root(a: Vector) -> Vector:
    """Return the square roots."""
    return np.sqrt(a)


def with_sign_of(a: Vector, b: Vector) -> Vector:
    """Return the magnitudes of a with the signs of b."""
    return np.copysign(a, b)


elementwise(fma, 3)(fused)
elementwise(absolute, 1)(by_intrinsic("fabs"))
elementwise(square_root, 1)(by_intrinsic("sqrt"))
elementwise(with_sign_of, 2)(by_intrinsic("copysign"))


def where_less(a: Vector, b: Vector, then: Vector, otherwise: Vector) -> Vector:
    """Return `then` where a < b, `otherwise` elsewhere and where either is NaN."""
    a, b, then, otherwise = _vectors(a, b, then, otherwise)
    return np.where(a < b, then, otherwise)


elementwise(where_less, 4)(
    lambda builder, a, b, *chosen: builder.select(builder.fcmp_ordered("<", a, b), *chosen)
)


# --- types ----------------------------------------------------------------------------------

LIKE = VectorType, *FLOAT_POINTERS


def is_single(like: Any) -> bool:
    """Return whether a vector's lanes, or the numbers at a pointer, are of float32."""
    return bool(like.dtype == np.float32)


compiled_as(is_single, types.boolean, LIKE)(
    lambda builder, like: ir.IntType(1)(element_like(like) == SINGLE)
)


def by_type(like: Vector, double: float, single: float) -> float:
    """Return the constant for the type of a vector's lanes."""
    return single if is_single(like) else double


compiled_as(by_type, types.float64, VectorType, types.float64, types.float64)(
    lambda builder, like, double, single: single if element_like(like) == SINGLE else double
)


def as_type_of(pointer: Pointer, a: Vector) -> Vector:
    """Return a vector with lanes of the type that a pointer points to."""
    return a.astype(pointer.dtype)


compiled_as(as_type_of, lambda pointer, a: vector_like(pointer), FLOAT_POINTERS, VectorType)(
    lambda builder, pointer, a: resized(builder, a, vector_of(element_like(pointer)))
)


def as_doubles(a: Vector) -> Vector:
    """Return a vector with lanes of float64."""
    return a.astype(np.float64)


compiled_as(as_doubles, VECTORS[types.float64], VectorType)(
    lambda builder, a: resized(builder, a, DOUBLES)
)


# --- to and from memory -------------------------------------------------------------------


def zeros(like: Any) -> Vector:
    """Return eight zeros of the type of a vector's lanes, or of what a pointer points to."""
    return np.zeros(LANES, like.dtype)


compiled_as(zeros, vector_like, LIKE)(
    lambda builder, like: constant(vector_of(element_like(like)), 0.0)
)


def broadcast(scalar: float) -> Vector:
    """Return eight copies of a number, in its own type."""
    return np.full(LANES, scalar)


compiled_as(broadcast, lambda scalar: VECTORS[scalar], tuple(VECTORS))(
    lambda builder, scalar: splat(builder, scalar, vector_of(scalar.type))
)


def broadcast_like(like: Any, scalar: float) -> Vector:
    """Return eight copies of a number, in the type of a vector or of what a pointer points to."""
    return np.full(LANES, scalar, like.dtype)


@compiled_as(broadcast_like, lambda like, scalar: vector_like(like), LIKE, tuple(VECTORS))
def _(builder: Any, like: ir.Value, scalar: ir.Value) -> ir.Value:
    element = element_like(like)
    return splat(builder, resized(builder, scalar, element), vector_of(element))


def pointer_to(array: Any) -> Pointer:
    """Return the address of a C-contiguous array's first element; of a tuple, of each array."""
    return tuple(map(pointer_to, array)) if isinstance(array, tuple) else array.reshape(-1)


compiled_as(pointer_to, pointer_type, types.Array)(lambda builder, address: address)
compiled_as(pointer_to, pointer_type, types.BaseTuple)(lambda builder, addresses: addresses)


def at(pointer: Pointer, index: int) -> Pointer:
    """Return the address of element `index`."""
    return pointer[index:]


compiled_as(at, lambda pointer, index: pointer, types.CPointer, types.Integer)(
    lambda builder, pointer, index: builder.gep(pointer, [index])
)


def load(pointer: Pointer, index: int) -> Vector:
    """Return the eight elements from `index` on."""
    return pointer[index : index + LANES].copy()


@compiled_as(load, lambda pointer, _: vector_like(pointer), FLOAT_POINTERS, types.Integer)
def _(builder: Any, pointer: ir.Value, index: ir.Value) -> ir.Value:
    return builder.load(_vector_address(builder, pointer, index), align=_size_of(pointer))


def load_first(pointer: Pointer, index: int, count: int) -> Vector:
    """Return `count` elements (none if negative, 8 if more) from `index` on, then zeros.

    No other element is read.
    """
    count = min(max(count, 0), LANES)
    lanes = np.zeros(LANES, pointer.dtype)
    lanes[:count] = pointer[index : index + count]
    return lanes


compiled_as(
    load_first, lambda pointer, *_: vector_like(pointer), FLOAT_POINTERS, *[types.Integer] * 2
)(
    lambda builder, pointer, index, count: masked_load(
        builder,
        _vector_address(builder, pointer, index),
        first_lanes(builder, count, _size_of(pointer)),
    )
)


@device_function
def load_up_to(pointer: Pointer, index: int, count: int) -> Vector:
    """Return the `count` elements from `index` on, eight at most, zeros behind them.

    A branch that goes the same way all but once per tile costs less than a mask in every step.
    """
    return load(pointer, index) if count >= LANES else load_first(pointer, index, count)


def store(pointer: Pointer, index: int, a: Vector) -> None:
    """Write eight elements from `index` on, in their type."""
    pointer[index : index + LANES] = a


@compiled_as(store, types.void, FLOAT_POINTERS, types.Integer, VectorType)
def _(builder: Any, pointer: ir.Value, index: ir.Value, a: ir.Value) -> None:
    address = _vector_address(builder, pointer, index)
    builder.store(resized(builder, a, address.type.pointee), address, align=_size_of(pointer))


def store_first(pointer: Pointer, index: int, a: Vector, count: int) -> None:
    """Write the first `count` lanes (none if negative, 8 if more) from `index` on, no others."""
    count = min(max(count, 0), LANES)
    pointer[index : index + count] = a[:count]


@compiled_as(store_first, types.void, FLOAT_POINTERS, types.Integer, VectorType, types.Integer)
def _(builder: Any, pointer: ir.Value, index: ir.Value, a: ir.Value, count: ir.Value) -> None:
    address, size = _vector_address(builder, pointer, index), _size_of(pointer)
    a, mask = resized(builder, a, address.type.pointee), first_lanes(builder, count, size)
    name, result = f"llvm.masked.store.v{LANES}f{8 * size}.p0", ir.VoidType()
    intrinsic(builder, name, result, a, address, INT32(size), mask)


@device_function
def store_up_to(pointer: Pointer, index: int, a: Vector, count: int) -> None:
    """Write the first `count` lanes, eight at most, from `index` on: see `load_up_to`."""
    if count >= LANES:
        store(pointer, index, a)
    else:
        store_first(pointer, index, a, count)


def _vector_address(builder: Any, pointer: ir.Value, index: ir.Value) -> ir.Value:
    vector = vector_of(element_like(pointer))
    return builder.bitcast(builder.gep(pointer, [index]), vector.as_pointer())


def _size_of(pointer: ir.Value) -> int:
    return 4 if element_like(pointer) == SINGLE else 8


def keep_first(a: Vector, count: int) -> Vector:
    """Return a with zeros from lane `count` on."""
    return np.where(np.arange(LANES) < count, a, a.dtype.type(0.0))


@compiled_as(keep_first, lambda a, count: a, VectorType, types.Integer)
def _(builder: Any, a: ir.Value, count: ir.Value) -> ir.Value:
    mask = first_lanes(builder, count, 4 if element_like(a) == SINGLE else 8)
    return builder.select(mask, a, constant(a.type, 0.0))


def prefetch(pointer: Pointer, index: int) -> None:
    """Bring the cache line of an element into the second-level cache; never faults."""


@compiled_as(prefetch, types.void, types.CPointer, types.Integer)
def _(builder: Any, pointer: ir.Value, index: ir.Value) -> None:
    address = builder.bitcast(builder.gep(pointer, [index]), ir.IntType(8).as_pointer())
    read, second_level, data_cache = map(INT32, (0, 2, 1))
    intrinsic(builder, "llvm.prefetch.p0", ir.VoidType(), address, read, second_level, data_cache)


def of_type(memory: Pointer, like: Pointer) -> Pointer:
    """Return memory for floating-point numbers as memory for elements of the type of `like`."""
    return memory.view(like.dtype)


compiled_as(of_type, lambda memory, like: like, FLOAT_POINTERS, types.CPointer)(
    lambda builder, memory, like: builder.bitcast(memory, like.type)
)


# --- four vectors in a row ------------------------------------------------------------------


@device_function
def load_4(pointer: Pointer, index: int) -> Four:
    """Return the 32 elements from `index` on."""
    p = at(pointer, index)
    return load(p, 0), load(p, LANES), load(p, 2 * LANES), load(p, 3 * LANES)


@device_function
def store_4(pointer: Pointer, index: int, a: Four) -> None:
    """Write 32 elements from `index` on."""
    p = at(pointer, index)
    store(p, 0, a[0])
    store(p, LANES, a[1])
    store(p, 2 * LANES, a[2])
    store(p, 3 * LANES, a[3])


@device_function
def fma_4(c: Vector, a: Four, s: Four) -> Four:
    """Return c * a + s, each rounded once."""
    return fma(c, a[0], s[0]), fma(c, a[1], s[1]), fma(c, a[2], s[2]), fma(c, a[3], s[3])
