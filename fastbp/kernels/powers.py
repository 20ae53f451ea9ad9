"""Exponents and mantissas: powers of two, and the bits of float64 numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from fastbp.kernels.jit import has_feature, vector_width
from fastbp.kernels.vector import (
    INT32,
    INTEGERS,
    LANES,
    VECTOR,
    Vector,
    compiled_as,
    constant,
    indices,
    intrinsic,
    vector_type,
)

WORDS = ir.VectorType(INT32, LANES)
SHIFT = 1.5 * 2.0**52 + 1023.0  # see power_of_two


def power_of_two(shifted: Vector) -> Vector:
    """Return 2**n for shifted = n + SHIFT, with an integer n from -1022 to 1023.

    Adding SHIFT to a number rounds it to the integer n (ties to even) and leaves n + 1023, the
    exponent's bits, in the lowest bits: one shift puts them into place.
    """
    return np.exp2(shifted - SHIFT)


@compiled_as(power_of_two, vector_type, vector_type)
def _(builder: Any, shifted: ir.Value) -> ir.Value:
    bits = builder.bitcast(shifted, INTEGERS)
    return builder.bitcast(builder.shl(bits, constant(52)), VECTOR)


EIGHTHS = 1.5 * 2.0**52  # see two_to_eighths
_ROOTS = 2.0 ** (np.arange(LANES) / LANES)
_ROOT_BITS = _ROOTS.view(np.int64) - (np.arange(LANES) << 49)


def two_to_eighths(shifted: Vector) -> Vector:
    """Return 2**(n/8) for shifted = n + EIGHTHS, with an error of at most half an ulp.

    n is an integer, and n/8 from -1022 to 1023. The lowest three bits of n choose one of the eight
    roots; a shift takes the others to the exponent and leaves those three below it, but the table
    has them already subtracted.
    """
    bits = shifted.view(np.int64)
    return (_ROOT_BITS[bits & (LANES - 1)] + (bits << 49)).view(np.float64)


@compiled_as(two_to_eighths, vector_type, vector_type)
def _(builder: Any, shifted: ir.Value) -> ir.Value:
    bits = builder.bitcast(shifted, INTEGERS)
    roots = builder.bitcast(_root(builder, bits), INTEGERS)
    moved = builder.shl(bits, constant(49))
    return builder.bitcast(builder.add(roots, moved), VECTOR)


def _root(builder: Any, bits: ir.Value) -> ir.Value:
    """Look the lanes up: AVX-512 and AVX2 permute tables that are registers; else a gather."""
    if vector_width() == 512:
        table = ir.Constant(VECTOR, _ROOT_BITS.view(np.float64).tolist())
        return intrinsic(builder, "llvm.x86.avx512.permvar.df.512", VECTOR, table, bits)
    if has_feature("avx2"):
        return _root_by_words(builder, bits)
    index = builder.and_(bits, constant(LANES - 1))
    table = ir.Constant(VECTOR, _ROOT_BITS.view(np.float64).tolist())
    address = cgutils.global_constant(builder, "roots_of_two", table)
    first = builder.bitcast(address, VECTOR.element.as_pointer())
    found = ir.Constant(VECTOR, ir.Undefined)
    for k in map(INT32, range(LANES)):
        value = builder.load(builder.gep(first, [builder.extract_element(index, k)]))
        found = builder.insert_element(found, value, k)
    return found


def _root_by_words(builder: Any, bits: ir.Value) -> ir.Value:
    """Look the upper and the lower 32 bits up in a table each, for two halves of four lanes.

    0.9 times the time of an `exp_limited` that gathers, with the same bits.
    """
    tables = _ROOT_BITS.view(np.int32).reshape(LANES, 2)
    lower, upper = (ir.Constant(WORDS, table.tolist()) for table in tables.T)
    moved = builder.shl(bits, constant(32))  # an index is taken from the word it is for
    halves = []
    for lanes in (range(4), range(4, LANES)):
        index, moved_index = (
            builder.bitcast(builder.shuffle_vector(b, b, indices(lanes)), WORDS)
            for b in (bits, moved)
        )
        low = intrinsic(builder, "llvm.x86.avx2.permd", WORDS, lower, index)
        high = intrinsic(builder, "llvm.x86.avx2.permd", WORDS, upper, moved_index)
        halves.append(builder.shuffle_vector(low, high, indices([0, 9, 2, 11, 4, 13, 6, 15])))
    both = builder.shuffle_vector(*halves, indices(range(2 * LANES)))
    return builder.bitcast(both, VECTOR)


def exponent(a: Vector) -> Vector:
    """Return the n of a = m * 2**n with 1 <= m < 2, for normal positive a."""
    return np.frexp(a)[1] - 1.0


@compiled_as(exponent, vector_type, vector_type)
def _(builder: Any, a: ir.Value) -> ir.Value:
    biased = builder.lshr(builder.bitcast(a, INTEGERS), constant(52))
    magic_bits = 0x4330000000000000  # those of 2**52
    whole = builder.bitcast(builder.or_(biased, constant(magic_bits)), VECTOR)
    return builder.fsub(whole, constant(2.0**52 + 1023.0))


def mantissa(a: Vector) -> Vector:
    """Return the m of a = m * 2**n with 1 <= m < 2, for normal positive a."""
    return np.frexp(a)[0] * 2.0


@compiled_as(mantissa, vector_type, vector_type)
def _(builder: Any, a: ir.Value) -> ir.Value:
    fraction = builder.and_(builder.bitcast(a, INTEGERS), constant((1 << 52) - 1))
    return builder.bitcast(builder.or_(fraction, constant(1023 << 52)), VECTOR)
