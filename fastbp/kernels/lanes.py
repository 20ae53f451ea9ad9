"""Operations across the lanes of vectors: sums, columns of rows, every other lane."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from fastbp.kernels.lowering import LANES, VectorType, compiled_as, shuffle, vector_like
from fastbp.kernels.vector import Vector, broadcast

FIRST = ir.Constant(ir.IntType(32), 0)


def evens(a: Vector, b: Vector) -> Vector:
    """Return lanes 0, 2, 4, 6 of a, then those of b."""
    return np.concatenate([a[::2], b[::2]])


def odds(a: Vector, b: Vector) -> Vector:
    """Return lanes 1, 3, 5, 7 of a, then those of b."""
    return np.concatenate([a[1::2], b[1::2]])


compiled_as(evens, vector_like, *[VectorType] * 2)(partial(shuffle, lanes=range(0, 2 * LANES, 2)))
compiled_as(odds, vector_like, *[VectorType] * 2)(partial(shuffle, lanes=range(1, 2 * LANES, 2)))


def lane(a: Vector, index: int) -> float:
    """Return one lane."""
    number: float = a[index]
    return number


compiled_as(lane, lambda a, _: a.element, VectorType, types.Integer)(ir.IRBuilder.extract_element)


def sum_lanes(a: Vector) -> float:
    """Return ((a0 + a1) + (a2 + a3)) + ((a4 + a5) + (a6 + a7))."""
    total: float = ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]))
    return total


def sum_everywhere(a: Vector) -> Vector:
    """Return the sum of the lanes, bit-identical to :func:`sum_lanes`, in every lane."""
    return broadcast(sum_lanes(a))


def _added_to_partners(builder: Any, a: ir.Value) -> ir.Value:
    for step in (1, 2, 4):
        partner = [lane ^ step for lane in range(LANES)]
        a = builder.fadd(a, shuffle(builder, a, a, partner))
    return a


compiled_as(sum_everywhere, vector_like, VectorType)(_added_to_partners)
compiled_as(sum_lanes, lambda a: a.element, VectorType)(
    lambda builder, a: builder.extract_element(_added_to_partners(builder, a), FIRST)
)


def sum_each(
    a0: Vector, a1: Vector, a2: Vector, a3: Vector, a4: Vector, a5: Vector, a6: Vector, a7: Vector
) -> Vector:
    """Return the eight sums of lanes, each bit-identical to :func:`sum_lanes`."""
    return np.array([sum_lanes(a) for a in (a0, a1, a2, a3, a4, a5, a6, a7)])


# Each level exchanges lanes of two vectors whose numbers differ in one bit: neighbours, pairs,
# halves. Registers of 256 bits exchange their halves for nothing.
_LEVELS = (
    ([0, 8, 2, 10, 4, 12, 6, 14], [1, 9, 3, 11, 5, 13, 7, 15]),
    ([0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]),
    ([0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]),
)


def added_by_levels(builder: Any, *rows: ir.Value, levels: int = len(_LEVELS)) -> ir.Value:
    """Add what each of the first levels exchanges, merging two vectors into one.

    All three take 14 shuffles and 7 additions for 8 rows, where eight separate sums take 24 of
    each.
    """
    for left, right in _LEVELS[:levels]:
        rows = tuple(
            builder.fadd(shuffle(builder, a, b, left), shuffle(builder, a, b, right))
            for a, b in zip(rows[::2], rows[1::2], strict=True)
        )
    return rows[0]


compiled_as(sum_each, vector_like, *[VectorType] * LANES)(added_by_levels)


def columns_of(
    a0: Vector, a1: Vector, a2: Vector, a3: Vector, a4: Vector, a5: Vector, a6: Vector, a7: Vector
) -> tuple[Vector, ...]:
    """Return the eight columns of eight rows."""
    return tuple(np.array([a0, a1, a2, a3, a4, a5, a6, a7]).T)


@compiled_as(columns_of, lambda *a: types.UniTuple(a[0], LANES), *[VectorType] * LANES)
def _(builder: Any, *rows: ir.Value) -> ir.Value:
    for bit, lanes in enumerate(_LEVELS):
        step = 1 << bit
        exchanged = list(rows)
        for i in (i for i in range(LANES) if not i & step):
            a, b = rows[i], rows[i + step]
            exchanged[i], exchanged[i + step] = (shuffle(builder, a, b, s) for s in lanes)
        rows = tuple(exchanged)
    return cgutils.pack_array(builder, rows)
