"""Types of vectors and pointers for Numba, and how functions of them get LLVM code."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import PrimitiveModel
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, register_model

from fastbp.kernels.stored import STORED, constant, element_of

LANES = 8
INT32, DOUBLE, SINGLE = ir.IntType(32), ir.DoubleType(), ir.FloatType()
DOUBLES = ir.VectorType(DOUBLE, LANES)
Generator = Callable[..., ir.Value]


class VectorType(types.Type):  # type: ignore[misc]
    """Numba's type of a vector of float64 or float32."""

    def __init__(self, element: types.Float) -> None:
        super().__init__(name=f"{element}x{LANES}")
        self.element = element


VECTORS = {element: VectorType(element) for element in (types.float64, types.float32)}
"""The types of vectors, by that of their lanes."""
FLOAT_POINTERS = tuple(map(types.CPointer, VECTORS))
STORED_POINTERS = tuple(map(types.CPointer, STORED))


@register_model(VectorType)
class _VectorModel(PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, vector_of(element_of(numba_type.element)))


def vector_of(element: ir.Type) -> ir.VectorType:
    """Return LLVM's type of eight such numbers."""
    return ir.VectorType(element, LANES)


def integers_of(vector: ir.VectorType) -> ir.VectorType:
    """Return LLVM's type of as many integers with the bits of such a vector."""
    return ir.VectorType(ir.IntType(64 if vector.element == DOUBLE else 32), vector.count)


def vector_like(*arguments: Any) -> VectorType:
    """Return the type of vectors whose lanes are those of the last argument.

    That is a vector, a tuple of them, or a pointer to float64 or float32.
    """
    last = arguments[-1]
    if isinstance(last, types.UniTuple):
        last = last.dtype
    return last if isinstance(last, VectorType) else VECTORS[last.dtype]


def element_like(value: ir.Value) -> ir.Type:
    """Return LLVM's type of the lanes of a vector, or of what a pointer points to."""
    kind = value.type
    if isinstance(kind, ir.PointerType):
        return kind.pointee
    return kind.element if isinstance(kind, ir.VectorType) else kind.elements[0].element


def compiled_as(
    function: Callable[..., Any], result: Any, *parameters: Any
) -> Callable[[Generator], None]:
    """Give `function` LLVM code for these parameter types.

    A parameter is a Numba type, a class of them, or a tuple of types; all vectors have the same
    lanes. `result` is a type, or a function of the arguments' types. The decorated generator gets
    the builder and one LLVM value per argument: an address for an array, a tuple of them for a
    tuple of arrays, an i64 for an integer.
    """
    _give_types(function, result, parameters)

    def bind(generate: Generator) -> None:
        choices = (p if isinstance(p, tuple) else (p,) for p in parameters)
        for chosen in itertools.product(*choices):
            _give_code(function, chosen, generate)

    return bind


def compiled_for_numbers(
    function: Callable[..., Any], result: Any, pointers: int, *parameters: Any
) -> Callable[[Generator], None]:
    """Do what `compiled_as` does, with some pointers first, all to numbers of one stored type.

    The generator gets that type before the builder.
    """
    _give_types(function, result, (*[STORED_POINTERS] * pointers, *parameters))

    def bind(generate: Generator) -> None:
        for stored, pointer in zip(STORED, STORED_POINTERS, strict=True):
            own = functools.partial(generate, stored)
            choices = (p if isinstance(p, tuple) else (p,) for p in parameters)
            for chosen in itertools.product(*choices):
                _give_code(function, (*[pointer] * pointers, *chosen), own)

    return bind


def elementwise(function: Callable[..., Any], parameters: int) -> Callable[[Generator], Generator]:
    """Give `function` LLVM code for vectors, beside which a number stands for eight of it.

    Returns the generator, which gets vectors only.
    """
    kinds = VectorType, types.Float

    @infer_global(function)
    class Template(AbstractTemplate):  # type: ignore[misc]
        key = function

        def generic(self, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
            vectors = {a for a in args if isinstance(a, VectorType)}
            known = all(isinstance(a, kinds) for a in args)
            if len(args) != parameters or len(vectors) != 1 or not known or kws:
                return None
            return signature(vectors.pop(), *args)

    def bind(generate: Generator) -> Generator:
        def generate_of_vectors(builder: Any, *values: ir.Value) -> ir.Value:
            kind = next(v.type for v in values if isinstance(v.type, ir.VectorType))
            return generate(builder, *(as_vector(builder, v, kind) for v in values))

        for chosen in itertools.product(kinds, repeat=parameters):
            if VectorType in chosen:
                _give_code(function, chosen, generate_of_vectors)
        return generate

    return bind


def _give_types(function: Callable[..., Any], result: Any, parameters: tuple[Any, ...]) -> None:
    @infer_global(function)
    class Template(AbstractTemplate):  # type: ignore[misc]
        key = function

        def generic(self, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
            fits = len(args) == len(parameters) and all(map(_accepts, parameters, args))
            if not fits or kws or len({a for a in args if isinstance(a, VectorType)}) > 1:
                return None
            return signature(result if isinstance(result, types.Type) else result(*args), *args)


def _give_code(
    function: Callable[..., Any], parameters: tuple[Any, ...], generate: Generator
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
        return any(_accepts(p, argument) for p in parameter)
    return bool(parameter == argument)


def pointer_type(array: Any) -> Any:
    """Return the type of pointers to an array, or of a tuple of them."""
    if isinstance(array, types.BaseTuple):
        return types.BaseTuple.from_types([pointer_type(element) for element in array])
    return types.CPointer(array.dtype)


def _llvm_value(context: Any, builder: Any, numba_type: Any, value: ir.Value) -> ir.Value:
    if isinstance(numba_type, types.Array):
        return context.make_array(numba_type)(context, builder, value=value).data
    if isinstance(numba_type, types.BaseTuple) and not isinstance(numba_type[0], VectorType):
        elements = zip(numba_type, cgutils.unpack_tuple(builder, value), strict=True)
        addresses = [_llvm_value(context, builder, *element) for element in elements]
        return context.make_tuple(builder, pointer_type(numba_type), addresses)
    if isinstance(numba_type, types.Integer):
        return context.cast(builder, value, numba_type, types.int64)
    return value


# --- pieces of code -------------------------------------------------------------------------


def intrinsic(builder: Any, name: str, result: Any, *args: ir.Value) -> ir.Value:
    """Call LLVM's function of that name."""
    declared = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, declared, name), args)


def masked_load(builder: Any, address: ir.Value, mask: ir.Value) -> ir.Value:
    """Return the numbers at an address that are in the mask; zeros for others, which are not read.

    The address is that of a vector of floating-point numbers or of integers.
    """
    vector = address.type.pointee
    element = vector.element
    floating = {ir.HalfType(): 16, SINGLE: 32, DOUBLE: 64}
    is_float = element in floating
    bits = floating[element] if is_float else element.width
    name = f"llvm.masked.load.v{vector.count}{'f' if is_float else 'i'}{bits}.p0"
    zero = ir.Constant(vector, None)
    return intrinsic(builder, name, vector, address, INT32(bits // 8), mask, zero)


def by_intrinsic(name: str) -> Generator:
    """Return a generator that calls LLVM's intrinsic ``llvm.name`` of vectors."""

    def generate(builder: Any, *args: ir.Value) -> ir.Value:
        vector = args[0].type
        full = f"llvm.{name}.v{vector.count}f{integers_of(vector).element.width}"
        return intrinsic(builder, full, vector, *args)

    return generate


fused = by_intrinsic("fma")


def shuffle(builder: Any, a: ir.Value, b: ir.Value, lanes: Sequence[int]) -> ir.Value:
    """Return these lanes of two vectors, those of b numbered after those of a."""
    return builder.shuffle_vector(a, b, indices(lanes))


def indices(lanes: Sequence[int]) -> ir.Constant:
    """Return numbers of lanes as a shuffle takes them."""
    return ir.Constant(ir.VectorType(INT32, len(lanes)), list(lanes))


def splat(builder: Any, scalar: ir.Value, vector: ir.VectorType) -> ir.Value:
    """Return a vector of copies of a scalar."""
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, INT32(0))
    return shuffle(builder, first, first, [0] * vector.count)


def as_vector(builder: Any, value: ir.Value, vector: ir.VectorType) -> ir.Value:
    """Return a vector as it is, or copies of a number in the type of the lanes."""
    if isinstance(value.type, ir.VectorType):
        return value
    if isinstance(value, ir.Constant):  # less code than LLVM would have to fold
        return constant(vector, value.constant)
    return splat(builder, resized(builder, value, vector.element), vector)


def resized(builder: Any, value: ir.Value, target: ir.Type) -> ir.Value:
    """Return floating-point numbers, one or a vector, of the target's width."""
    if value.type == target:
        return value
    element = target.element if isinstance(target, ir.VectorType) else target
    return (builder.fpext if element == DOUBLE else builder.fptrunc)(value, target)


def first_lanes(builder: Any, count: ir.Value, n_bytes: int = 8) -> ir.Value:
    """Return which lanes are below `count`, compared as integers of 4 bytes or of 8.

    A mask of as many bytes as a lane has takes the fewest instructions.
    """
    integers = vector_of(INT32 if n_bytes <= 4 else count.type)
    if integers.element != count.type:
        count = builder.trunc(count, INT32)
    lane = ir.Constant(integers, list(range(LANES)))
    return builder.icmp_signed("<", lane, splat(builder, count, integers))
