"""Vectors of two halves: four numbers of one row beside four of another.

Where a vector takes several registers, of 256 bits or fewer, its halves lie apart in them: they are
loaded and stored separately for nothing. Tuples of such vectors hold a row cut into *fours*. The
first four may have fewer numbers of its own, from 1 to 4; its other lanes are the next ones' again.
So a row that has four numbers or more is read without masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from fastbp.kernels.lanes import added_by_levels
from fastbp.kernels.lowering import (
    FLOAT_POINTERS,
    VECTORS,
    VectorType,
    compiled_as,
    compiled_for_numbers,
    element_like,
    first_lanes,
    fused,
    indices,
    integers_of,
    resized,
    splat,
    vector_like,
)
from fastbp.kernels.reading import read_lanes
from fastbp.kernels.stored import SIZES, as_floats, constant
from fastbp.kernels.vector import HALF, LANES, LIKE, Pointer, Vector, fma

LOW, HIGH, BOTH = range(HALF), range(HALF, LANES), range(LANES)
Fours = tuple[Vector, ...]


def lanes_of(builder: Any, a: ir.Value, b: ir.Value, lanes: Sequence[int]) -> ir.Value:
    """Return the named lanes of two vectors or halves of vectors."""
    return builder.shuffle_vector(a, b, indices(lanes))


def halves(low: float, high: float) -> Vector:
    """Return four copies of a number, then four of another of its type."""
    return np.repeat(np.array([low, high], np.result_type(low)), HALF)


@compiled_as(halves, lambda low, high: VECTORS[low], tuple(VECTORS), tuple(VECTORS))
def _(builder: Any, low: ir.Value, high: ir.Value) -> ir.Value:
    vector = ir.VectorType(low.type, LANES)
    lower, upper = splat(builder, low, vector), resized(builder, high, low.type)
    return lanes_of(builder, lower, splat(builder, upper, vector), range(4, 12))


def load_halves(p: Pointer, q: Pointer, index: int, like: Any) -> Vector:
    """Return the four elements of p from `index` on, then those of q, in the type of `like`."""
    rows = p[index : index + HALF], q[index : index + HALF]
    return as_floats(np.concatenate(rows), like.dtype)


@compiled_for_numbers(load_halves, vector_like, 2, types.Integer, LIKE)
def _(stored: Any, builder: Any, p: ir.Value, q: ir.Value, *others: ir.Value) -> ir.Value:
    index, like = others
    return _loaded_halves(stored, builder, p, q, index, element_like(like))


def _loaded_halves(
    stored: Any,
    builder: Any,
    p: ir.Value,
    q: ir.Value,
    index: ir.Value,
    element: ir.Type,
    mask: ir.Value | None = None,
) -> ir.Value:
    a, b = (read_lanes(stored, builder, row, index, HALF, element, mask) for row in (p, q))
    return lanes_of(builder, a, b, BOTH)


def load_few(p: Pointer, q: Pointer, count: int, like: Any) -> Vector:
    """Return the first `count` elements of p, 1 to 4, and zeros, then the same of q.

    No other element is read.
    """
    lanes = np.zeros((2, HALF), like.dtype)
    lanes[:, :count] = as_floats(p[:count], like.dtype), as_floats(q[:count], like.dtype)
    return lanes.reshape(LANES)


@compiled_for_numbers(load_few, vector_like, 2, types.Integer, LIKE)
def _(stored: Any, builder: Any, p: ir.Value, q: ir.Value, *others: ir.Value) -> ir.Value:
    count, like = others
    mask = first_lanes(builder, count, SIZES[stored])
    mask, zero = lanes_of(builder, mask, mask, LOW), count.type(0)
    return _loaded_halves(stored, builder, p, q, zero, element_like(like), mask)


def sum_halves(a: Vector, b: Vector, c: Vector, d: Vector) -> Vector:
    """Return (a0 + a1) + (a2 + a3), the same of b, c and d, then those of their other halves."""
    sums = np.array([a, b, c, d])
    for _ in range(2):
        sums = sums[:, ::2] + sums[:, 1::2]
    return sums.T.reshape(LANES)


compiled_as(sum_halves, vector_like, *[VectorType] * 4)(partial(added_by_levels, levels=2))


# --- rows cut into fours, as many as a tuple has vectors -------------------------------------


def load_fours(p: Pointer, q: Pointer, first: int, like: Fours) -> Fours:
    """Return the fours of two rows; the first one has `first` numbers of its own."""
    starts = [max(0, first + HALF * (k - 1)) for k in range(len(like))]
    return tuple(load_halves(p, q, start, like[0]) for start in starts)


@compiled_for_numbers(load_fours, lambda *a: a[-1], 2, types.Integer, types.UniTuple)
def _(stored: Any, builder: Any, p: ir.Value, q: ir.Value, *others: ir.Value) -> ir.Value:
    first, like = others
    starts = (four_start(builder, first, k) for k in range(like.type.count))
    element = element_like(like)
    loaded = [_loaded_halves(stored, builder, p, q, start, element) for start in starts]
    return cgutils.pack_array(builder, loaded)


def four_start(builder: Any, first: ir.Value, k: int) -> ir.Value:
    """Return where the four number k of a row begins."""
    return builder.add(first, first.type(HALF * (k - 1))) if k else first.type(0)


def fma_fours(c: Vector, a: Fours, sums: Fours) -> Fours:
    """Return the sums with c times each vector added, rounded once."""
    return tuple(fma(c, v, s) for v, s in zip(a, sums, strict=True))


@compiled_as(fma_fours, lambda *a: a[-1], VectorType, types.UniTuple, types.UniTuple)
def _(builder: Any, c: ir.Value, a: ir.Value, sums: ir.Value) -> ir.Value:
    vectors, before = (cgutils.unpack_tuple(builder, t) for t in (a, sums))
    pairs = zip(vectors, before, strict=True)
    return cgutils.pack_array(builder, [fused(builder, c, *pair) for pair in pairs])


def dot_fours(a: Fours, b: Fours) -> Vector:
    """Return a0 b0 + a1 b1 + ... of two tuples of vectors, one after the other."""
    s = np.zeros(LANES, a[0].dtype)
    for v, w in zip(a, b, strict=True):
        s = fma(v, w, s)
    return s


@compiled_as(dot_fours, vector_like, types.UniTuple, types.UniTuple)
def _(builder: Any, a: ir.Value, b: ir.Value) -> ir.Value:
    s = constant(ir.VectorType(element_like(a), LANES), 0.0)
    for pair in zip(*(cgutils.unpack_tuple(builder, t) for t in (a, b)), strict=True):
        s = fused(builder, *pair, s)
    return s


def keep_own(a: Fours, first: int) -> Fours:
    """Return the fours with zeros in those lanes of the first one that are not its own."""
    kept = np.where(np.arange(LANES) % HALF < first, a[0], a[0].dtype.type(0.0))
    return kept, *a[1:]


@compiled_as(keep_own, lambda *a: a[0], types.UniTuple, types.Integer)
def _(builder: Any, a: ir.Value, first: ir.Value) -> ir.Value:
    before = builder.extract_value(a, 0)
    integers = integers_of(before.type)
    if integers.element != first.type:
        first = builder.trunc(first, integers.element)
    lane = ir.Constant(integers, [*LOW, *LOW])
    own = builder.icmp_signed("<", lane, splat(builder, first, integers))
    kept = builder.select(own, before, constant(before.type, 0.0))
    return builder.insert_value(a, kept, 0)


def add_fours(result: Pointer, first: int, sums: Fours) -> None:
    """Add both halves of each sum where :func:`load_fours` loads them from; ACC result.

    The lanes of the first sum that are not its own are overwritten by the next.
    """
    starts = [max(0, first + HALF * (k - 1)) for k in range(len(sums))]
    before = [result[start : start + HALF].copy() for start in starts]
    for start, old, s in zip(starts, before, sums, strict=True):
        result[start : start + HALF] = old + (s[:HALF] + s[HALF:])


@compiled_as(add_fours, types.void, FLOAT_POINTERS, types.Integer, types.UniTuple)
def _(builder: Any, result: ir.Value, first: ir.Value, sums: ir.Value) -> ir.Value:
    half = ir.VectorType(element_like(result), HALF)
    align = integers_of(half).element.width // 8
    starts = (four_start(builder, first, k) for k in range(sums.type.count))
    addresses = [
        builder.bitcast(builder.gep(result, [start]), half.as_pointer()) for start in starts
    ]
    before = [builder.load(address, align=align) for address in addresses]
    vectors = cgutils.unpack_tuple(builder, sums)
    for address, old, s in zip(addresses, before, vectors, strict=True):
        both = builder.fadd(lanes_of(builder, s, s, LOW), lanes_of(builder, s, s, HIGH))
        total = builder.fadd(old, resized(builder, both, half))
        builder.store(total, address, align=align)
