"""Eight float64 numbers side by side, and the operations that the kernels are made of.

Numba has no vector type, and a loop that LLVM vectorizes by itself needs `reassoc` for every
sum: its result then depends on the vector width that LLVM picks. Here the lanes are explicit.
A vector has eight lanes on every machine (one AVX-512 register, two of AVX2, four of NEON),
every sum has one fixed order, every fused multiply-add is asked for, and no fast-math flag is
needed: the source alone determines the result, to the last bit.

Each operation is a plain Python function on NumPy arrays of eight numbers, which runs when the
JIT is off, followed by a generator of its LLVM code. `a + b`, `a - b`, `a * b`, `a / b` and `-a`
work, too. Pointers reach memory: passing an array costs atomic reference counting in every call.
But a pointer keeps no array alive: an array that a kernel makes is freed after the last
use of its own name. With the JIT off a pointer is a flat view.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import PrimitiveModel
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, register_model

from fastbp.kernels.jit import device_function
from fastbp.kernels.stored import SIZES, STORED, as_floats, converted, element_of

LANES = 8
Vector = Any
"""Eight float64 lanes: an LLVM vector when compiled, an array of shape (8,) with the JIT off."""
Four = tuple[Vector, Vector, Vector, Vector]
Pointer = Any
"""Address of contiguous numbers, indexed like an array: a flat view with the JIT off."""

INTEGERS = ir.VectorType(ir.IntType(64), LANES)
VECTOR = ir.VectorType(ir.DoubleType(), LANES)
INT32 = ir.IntType(32)


def whole_vectors(size: int) -> int:
    """Return a size rounded up to whole vectors."""
    return (size + LANES - 1) // LANES * LANES


padded = device_function(whole_vectors)
"""The same inside kernels."""


class VectorType(types.Type):  # type: ignore[misc]
    """Numba's type of a vector."""

    def __init__(self) -> None:
        super().__init__(name="float64x8")


vector_type = VectorType()
FLOATS = types.CPointer(types.float64)
STORED_POINTERS = tuple(map(types.CPointer, STORED))


@register_model(VectorType)
class _VectorModel(PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, VECTOR)


def compiled_as(
    function: Callable[..., Any], result: Any, *parameters: Any
) -> Callable[[Callable[..., ir.Value]], None]:
    """Give `function` LLVM code for these parameter types.

    A parameter is a Numba type or a class of them; `result` is a type, or a function of the
    arguments' types. The decorated generator gets the builder and one LLVM value per argument:
    an address for an array, a tuple of them for a tuple of arrays, an i64 for an integer.
    """
    _give_types(function, result, parameters)
    return lambda generate: _give_code(function, parameters, generate)


def compiled_for_numbers(
    function: Callable[..., Any], result: Any, pointers: int, *parameters: Any
) -> Callable[[Callable[..., ir.Value]], None]:
    """Do what `compiled_as` does, with some pointers first, all to numbers of one stored type.

    The generator gets that type before the builder.
    """
    _give_types(function, result, (*[STORED_POINTERS] * pointers, *parameters))

    def bind(generate: Callable[..., ir.Value]) -> None:
        for stored, pointer in zip(STORED, STORED_POINTERS, strict=True):
            with_pointers = *[pointer] * pointers, *parameters
            _give_code(function, with_pointers, functools.partial(generate, stored))

    return bind


def _give_types(function: Callable[..., Any], result: Any, parameters: tuple[Any, ...]) -> None:
    @infer_global(function)
    class Template(AbstractTemplate):  # type: ignore[misc]
        key = function

        def generic(self, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
            fits = len(args) == len(parameters) and all(map(_accepts, parameters, args))
            if not fits or kws:
                return None
            return signature(result if isinstance(result, types.Type) else result(*args), *args)


def _give_code(
    function: Callable[..., Any], parameters: tuple[Any, ...], generate: Callable[..., ir.Value]
) -> None:
    @lower_builtin(function, *parameters)  # type: ignore[untyped-decorator]
    def lower(context: Any, builder: Any, sig: Any, args: tuple[ir.Value, ...]) -> ir.Value:
        return generate(
            builder,
            *(_llvm_value(context, builder, *a) for a in zip(sig.args, args, strict=True)),
        )


def _accepts(parameter: Any, argument: Any) -> bool:
    if isinstance(parameter, type):
        return isinstance(argument, parameter)
    if isinstance(parameter, tuple):
        return argument in parameter
    return bool(parameter == argument)


def _pointer_type(array: Any) -> Any:
    if isinstance(array, types.BaseTuple):
        return types.BaseTuple.from_types([_pointer_type(element) for element in array])
    return types.CPointer(array.dtype)


def _llvm_value(context: Any, builder: Any, numba_type: Any, value: ir.Value) -> ir.Value:
    if isinstance(numba_type, types.Array):
        return context.make_array(numba_type)(context, builder, value=value).data
    if isinstance(numba_type, types.BaseTuple) and vector_type not in numba_type:
        elements = zip(numba_type, cgutils.unpack_tuple(builder, value), strict=True)
        addresses = [_llvm_value(context, builder, *element) for element in elements]
        return context.make_tuple(builder, _pointer_type(numba_type), addresses)
    if isinstance(numba_type, types.Integer):
        return context.cast(builder, value, numba_type, types.int64)
    return value


def intrinsic(builder: Any, name: str, result: Any, *args: ir.Value) -> ir.Value:
    """Call LLVM's function of that name."""
    declared = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, declared, name), args)


def constant(value: float) -> ir.Constant:
    """Return a vector of eight equal numbers: integers or floats, as is the type of `value`."""
    return ir.Constant(VECTOR if isinstance(value, float) else INTEGERS, [value] * LANES)


def shuffle(builder: Any, a: ir.Value, b: ir.Value, lanes: Sequence[int]) -> ir.Value:
    """Return these lanes of a (0 to 7) and b (8 to 15)."""
    return builder.shuffle_vector(a, b, indices(lanes))


def indices(lanes: Sequence[int]) -> ir.Constant:
    """Return numbers of lanes as a shuffle takes them."""
    return ir.Constant(ir.VectorType(INT32, len(lanes)), list(lanes))


def splat(builder: Any, scalar: ir.Value, vector: ir.VectorType) -> ir.Value:
    """Return a vector of eight copies of a scalar."""
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, INT32(0))
    return shuffle(builder, first, first, [0] * LANES)


def first_lanes(builder: Any, count: ir.Value) -> ir.Value:
    """Return which lanes are below `count`."""
    lane = ir.Constant(INTEGERS, list(range(LANES)))
    return builder.icmp_signed("<", lane, splat(builder, count, INTEGERS))


# --- arithmetic ---------------------------------------------------------------------------


compiled_as(operator.add, *[vector_type] * 3)(ir.IRBuilder.fadd)
compiled_as(operator.sub, *[vector_type] * 3)(ir.IRBuilder.fsub)
compiled_as(operator.mul, *[vector_type] * 3)(ir.IRBuilder.fmul)
compiled_as(operator.truediv, *[vector_type] * 3)(ir.IRBuilder.fdiv)
compiled_as(operator.neg, *[vector_type] * 2)(ir.IRBuilder.fneg)


def fma(a: Vector, b: Vector, c: Vector) -> Vector:
    """Return a * b + c, rounded once (with the JIT off: in long double, then once more)."""
    return (np.longdouble(a) * b + c).astype(np.float64)


def absolute(a: Vector) -> Vector:
    """Return a without its signs."""
    return np.abs(a)


def square_root(a: Vector) -> Vector:
    """Return the square roots."""
    return np.sqrt(a)


def with_sign_of(a: Vector, b: Vector) -> Vector:
    """Return the magnitudes of a with the signs of b."""
    return np.copysign(a, b)


def _by_intrinsic(name: str) -> Callable[..., ir.Value]:
    """Return a generator that calls LLVM's intrinsic ``llvm.name`` of vectors."""
    return lambda builder, *args: intrinsic(builder, f"llvm.{name}.v8f64", VECTOR, *args)


fused = _by_intrinsic("fma")
compiled_as(fma, *[vector_type] * 4)(fused)
compiled_as(absolute, *[vector_type] * 2)(_by_intrinsic("fabs"))
compiled_as(square_root, *[vector_type] * 2)(_by_intrinsic("sqrt"))
compiled_as(with_sign_of, *[vector_type] * 3)(_by_intrinsic("copysign"))


def where_less(a: Vector, b: Vector, then: Vector, otherwise: Vector) -> Vector:
    """Return `then` where a < b, `otherwise` elsewhere and where either is NaN."""
    return np.where(a < b, then, otherwise)


compiled_as(where_less, *[vector_type] * 5)(
    lambda builder, a, b, *chosen: builder.select(builder.fcmp_ordered("<", a, b), *chosen)
)


# --- to and from memory -------------------------------------------------------------------


def broadcast(scalar: float) -> Vector:
    """Return eight copies of a number."""
    return np.full(LANES, scalar)


compiled_as(broadcast, vector_type, types.float64)(
    lambda builder, scalar: splat(builder, scalar, VECTOR)
)


def pointer_to(array: Any) -> Pointer:
    """Return the address of a C-contiguous array's first element; of a tuple, of each array."""
    return tuple(map(pointer_to, array)) if isinstance(array, tuple) else array.reshape(-1)


compiled_as(pointer_to, _pointer_type, types.Array)(lambda builder, address: address)
compiled_as(pointer_to, _pointer_type, types.BaseTuple)(lambda builder, addresses: addresses)


def at(pointer: Pointer, index: int) -> Pointer:
    """Return the address of element `index`."""
    return pointer[index:]


compiled_as(at, lambda pointer, index: pointer, types.CPointer, types.Integer)(
    lambda builder, pointer, index: builder.gep(pointer, [index])
)


def load_lanes(
    stored: Any,
    builder: Any,
    pointer: ir.Value,
    index: ir.Value,
    lanes: int,
    mask: ir.Value | None = None,
) -> ir.Value:
    """Return as float64 as many stored numbers from `index` on: see `load_raw` for the mask."""
    address = raw_address(stored, builder, pointer, index, lanes)
    return converted(stored, builder, load_raw(stored, builder, address, mask))


def raw_address(
    stored: Any, builder: Any, pointer: ir.Value, index: ir.Value, lanes: int
) -> ir.Value:
    """Return the address of as many numbers, as they are stored, from `index` on."""
    raw = ir.VectorType(element_of(stored), lanes)
    return builder.bitcast(builder.gep(pointer, [index]), raw.as_pointer())


def load_raw(
    stored: Any, builder: Any, address: ir.Value, mask: ir.Value | None = None
) -> ir.Value:
    """Return the numbers at an address as they are stored.

    Those that are not in the mask, if there is one, are zeros and not read.
    """
    raw, n_bytes = address.type.pointee, SIZES[stored]
    if mask is None:
        return builder.load(address, align=n_bytes)
    kind = "f" if isinstance(stored, types.Float) else "i"
    name = f"llvm.masked.load.v{raw.count}{kind}{8 * n_bytes}.p0"
    return intrinsic(builder, name, raw, address, INT32(n_bytes), mask, ir.Constant(raw, None))


def load(pointer: Pointer, index: int) -> Vector:
    """Return the eight elements from `index` on, whatever their type, as float64."""
    return as_floats(pointer[index : index + LANES])


@compiled_for_numbers(load, vector_type, 1, types.Integer)
def _(stored: Any, builder: Any, pointer: ir.Value, index: ir.Value) -> ir.Value:
    return load_lanes(stored, builder, pointer, index, LANES)


def load_first(pointer: Pointer, index: int, count: int) -> Vector:
    """Return `count` elements (none if negative, 8 if more) from `index` on, then zeros.

    No other element is read.
    """
    count = min(max(count, 0), LANES)
    lanes = np.zeros(LANES)
    lanes[:count] = as_floats(pointer[index : index + count])
    return lanes


@compiled_for_numbers(load_first, vector_type, 1, types.Integer, types.Integer)
def _(stored: Any, builder: Any, p: ir.Value, index: ir.Value, count: ir.Value) -> ir.Value:
    return load_lanes(stored, builder, p, index, LANES, first_lanes(builder, count))


@device_function
def load_up_to(pointer: Pointer, index: int, count: int) -> Vector:
    """Return the `count` elements from `index` on, eight at most, zeros behind them.

    A branch that goes the same way all but once per tile costs less than a mask in every step.
    """
    return load(pointer, index) if count >= LANES else load_first(pointer, index, count)


def prefetch(pointer: Pointer, index: int) -> None:
    """Bring the cache line of an element into the second-level cache; never faults."""


@compiled_as(prefetch, types.void, types.CPointer, types.Integer)
def _(builder: Any, pointer: ir.Value, index: ir.Value) -> None:
    address = builder.bitcast(builder.gep(pointer, [index]), ir.IntType(8).as_pointer())
    read, second_level, data_cache = map(INT32, (0, 2, 1))
    intrinsic(builder, "llvm.prefetch.p0", ir.VoidType(), address, read, second_level, data_cache)


def in_line(pointer: Pointer) -> int:
    """Return how many elements a cache line of 64 bytes holds."""
    return int(64 // pointer.itemsize)


@compiled_for_numbers(in_line, types.int64, 1)
def _(stored: Any, builder: Any, pointer: ir.Value) -> ir.Value:
    return ir.IntType(64)(64 // SIZES[stored])


def number_at(pointer: Pointer, index: int) -> float:
    """Return an element, whatever its type, as float64."""
    return float(as_floats(pointer[index : index + 1])[0])


@compiled_for_numbers(number_at, types.float64, 1, types.Integer)
def _(stored: Any, builder: Any, pointer: ir.Value, index: ir.Value) -> ir.Value:
    return builder.extract_element(load_lanes(stored, builder, pointer, index, 1), INT32(0))


def of_type(memory: Pointer, like: Pointer) -> Pointer:
    """Return memory for float64 as memory for elements of the type of `like`."""
    return memory.view(like.dtype)


compiled_as(of_type, lambda memory, like: like, FLOATS, types.CPointer)(
    lambda builder, memory, like: builder.bitcast(memory, like.type)
)


def move(source: Pointer, target: Pointer, index: int, into: int) -> None:
    """Copy an element as it is."""
    target[into] = source[index]


@compiled_for_numbers(move, types.void, 2, *[types.Integer] * 2)
def _(stored: Any, builder: Any, p: ir.Value, q: ir.Value, *numbers: ir.Value) -> None:
    source, target = (
        raw_address(stored, builder, *element, 1) for element in zip((p, q), numbers, strict=True)
    )
    builder.store(load_raw(stored, builder, source), target, align=SIZES[stored])


def move_first(source: Pointer, target: Pointer, index: int, into: int, count: int) -> None:
    """Copy elements as they are: `count` of them, eight at most, and zeros up to the eighth."""
    moved = np.zeros(LANES, dtype=target.dtype)
    count = min(max(count, 0), LANES)
    moved[:count] = source[index : index + count]
    target[into : into + LANES] = moved


@compiled_for_numbers(move_first, types.void, 2, *[types.Integer] * 3)
def _(stored: Any, builder: Any, p: ir.Value, q: ir.Value, *numbers: ir.Value) -> None:
    index, into, count = numbers
    source, target = (
        raw_address(stored, builder, *element, LANES) for element in ((p, index), (q, into))
    )
    moved = load_raw(stored, builder, source, first_lanes(builder, count))
    builder.store(moved, target, align=SIZES[stored])


def store(pointer: Pointer, index: int, a: Vector) -> None:
    """Write eight elements from `index` on."""
    pointer[index : index + LANES] = a


@compiled_as(store, types.void, FLOATS, types.Integer, vector_type)
def _(builder: Any, pointer: ir.Value, index: ir.Value, a: ir.Value) -> None:
    builder.store(a, _vector_address(builder, pointer, index), align=8)


def store_first(pointer: Pointer, index: int, a: Vector, count: int) -> None:
    """Write the first `count` lanes (none if negative, 8 if more) from `index` on, no others."""
    count = min(max(count, 0), LANES)
    pointer[index : index + count] = a[:count]


@compiled_as(store_first, types.void, FLOATS, types.Integer, vector_type, types.Integer)
def _(builder: Any, pointer: ir.Value, index: ir.Value, a: ir.Value, count: ir.Value) -> None:
    address, mask = _vector_address(builder, pointer, index), first_lanes(builder, count)
    name, result = "llvm.masked.store.v8f64.p0", ir.VoidType()
    intrinsic(builder, name, result, a, address, INT32(8), mask)


@device_function
def store_up_to(pointer: Pointer, index: int, a: Vector, count: int) -> None:
    """Write the first `count` lanes, eight at most, from `index` on: see `load_up_to`."""
    if count >= LANES:
        store(pointer, index, a)
    else:
        store_first(pointer, index, a, count)


def _vector_address(builder: Any, pointer: ir.Value, index: ir.Value) -> ir.Value:
    return builder.bitcast(builder.gep(pointer, [index]), VECTOR.as_pointer())


def keep_first(a: Vector, count: int) -> Vector:
    """Return a with zeros from lane `count` on."""
    return np.where(np.arange(LANES) < count, a, 0.0)


compiled_as(keep_first, vector_type, vector_type, types.Integer)(
    lambda builder, a, count: builder.select(first_lanes(builder, count), a, constant(0.0))
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
