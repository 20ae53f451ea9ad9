"""Numbers as they are stored, of any type, and how they become float64 or float32 in registers.

All of them become the float64 that NumPy makes of them: integers beyond 2**53 the nearest one.
float32 is made of that float64, so that it does not matter who converts: integers of 64 bits and
float64 numbers are rounded to it as NumPy does, the others directly, which gives the same.

Numba knows no float16 on processors: arrays of them are passed as strings of two bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from fastbp.kernels.jit import has_feature

FLOAT16 = types.CharSeq(2)
STORED = (
    types.float64, types.float32, FLOAT16,
    types.int8, types.int16, types.int32, types.int64,
    types.uint8, types.uint16, types.uint32, types.uint64, types.boolean,
)  # fmt: skip
"""Numba's types of the numbers that kernels read."""
SIZES = {t: np.dtype("f2" if t == FLOAT16 else str(t)).itemsize for t in STORED}
"""The bytes of each."""
DTYPES = frozenset(np.dtype(t) for t in ("f8", "f4", "f2", *"bhiq", *"BHIQ", "?"))
"""NumPy's; not those of another byte order, nor long double."""


def passed(array: np.ndarray) -> np.ndarray:
    """Return an array as it is passed to kernels."""
    return array.view("S2") if array.dtype == np.float16 else array


def as_floats(numbers: np.ndarray, dtype: Any) -> np.ndarray:
    """Return a copy of numbers as passed to kernels, converted: what `converted` computes."""
    numbers = numbers.view(np.float16) if numbers.dtype.kind == "S" else numbers
    return numbers.astype(np.float64).astype(dtype)


def element_of(stored: Any) -> ir.Type:
    """Return LLVM's type of a number in memory."""
    if isinstance(stored, types.Float):
        return ir.DoubleType() if stored.bitwidth == 64 else ir.FloatType()
    if stored == FLOAT16:
        return ir.IntType(16)
    return ir.IntType(8 if stored == types.boolean else stored.bitwidth)


def converted(stored: Any, builder: Any, raw: ir.Value, element: ir.Type) -> ir.Value:
    """Return a vector of numbers, as they are stored, as LLVM's double or float."""
    result = ir.VectorType(element, raw.type.count)
    if element_of(stored) == element:
        return raw
    if isinstance(stored, types.Float):
        return (builder.fptrunc if stored == types.float64 else builder.fpext)(raw, result)
    if stored == FLOAT16:
        return _from_half(builder, raw, result)
    if stored == types.boolean:
        is_true = builder.icmp_unsigned("!=", raw, constant(raw.type, 0))
        return builder.select(is_true, constant(result, 1.0), constant(result, 0.0))
    from_integer = builder.sitofp if stored.signed else builder.uitofp
    if stored.bitwidth < 64:
        return from_integer(raw, result)
    doubles = ir.VectorType(ir.DoubleType(), raw.type.count)
    if has_feature("avx512dq"):
        wide = from_integer(raw, doubles)
    else:
        wide = _from_64_bits(builder, raw, doubles, stored.signed)
    return wide if result == doubles else builder.fptrunc(wide, result)


def constant(vector: ir.VectorType, value: float) -> ir.Constant:
    """Return a vector of equal numbers."""
    return ir.Constant(vector, [value] * vector.count)


def _from_half(builder: Any, raw: ir.Value, result: ir.VectorType) -> ir.Value:
    """Convert float16: by instruction, or by its bits where there is none.

    The bits of exponent and mantissa, moved into float32, are those of the number times 2**-112,
    also of subnormal ones. An infinity or NaN keeps its largest exponent.
    """
    if has_feature("f16c") or has_feature("fullfp16"):
        halves = ir.VectorType(ir.HalfType(), raw.type.count)
        return builder.fpext(builder.bitcast(raw, halves), result)
    bits, floats = (ir.VectorType(t, raw.type.count) for t in (ir.IntType(32), ir.FloatType()))
    wide = builder.zext(raw, bits)
    magnitude = builder.and_(wide, constant(bits, 0x7FFF))
    moved = builder.bitcast(builder.shl(magnitude, constant(bits, 13)), floats)
    scaled = builder.bitcast(builder.fmul(moved, constant(floats, 2.0**112)), bits)
    special = builder.icmp_unsigned(">=", magnitude, constant(bits, 0x7C00))
    largest = builder.or_(builder.bitcast(moved, bits), constant(bits, 0x7F800000))
    sign = builder.shl(builder.and_(wide, constant(bits, 0x8000)), constant(bits, 16))
    both = builder.or_(builder.select(special, largest, scaled), sign)
    single = builder.bitcast(both, floats)
    return single if result == floats else builder.fpext(single, result)


def _from_64_bits(builder: Any, raw: ir.Value, result: ir.VectorType, signed: bool) -> ir.Value:
    """Convert 64-bit integers where no instruction does eight: 1 rounding, that of the last sum.

    The halves are put into the mantissas of 2**84 and 2**52, whose units are 2**32 and 1.
    """
    upper = builder.lshr(raw, constant(raw.type, 32))
    bits, bias = 0x4530000000000000, 0.0
    if signed:  # add 2**31 to the upper half, which was read as unsigned
        bits, bias = bits + (1 << 31), 2.0**63
    high = builder.bitcast(builder.xor(upper, constant(raw.type, bits)), result)
    halves = ir.VectorType(ir.IntType(32), 2 * raw.type.count)
    lower, ones = builder.bitcast(raw, halves), constant(halves, 0x43300000)
    lanes = [i if i % 2 == 0 else i + halves.count for i in range(halves.count)]
    positions = ir.Constant(ir.VectorType(ir.IntType(32), halves.count), lanes)
    low = builder.bitcast(builder.shuffle_vector(lower, ones, positions), result)
    return builder.fadd(builder.fsub(high, constant(result, 2.0**84 + 2.0**52 + bias)), low)
