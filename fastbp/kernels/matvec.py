"""Products of a tile of rows with one column of weights, and back.

Row i of x (rows, D) begins at i * stride. There are two layouts, chosen by D alone. *Wide* (3
features or more) reads rows as they lie: see ``eights.py`` and ``fours.py``. *Narrow* splits the
rows into one vector per feature, so that no lane is empty: 1.3 times as fast at 2 features.
(Packing 10 and 20 features that way, by scalar loads, was 0.4 times as fast as wide.)
"""

from __future__ import annotations

from fastbp.kernels import eights, fours
from fastbp.kernels.jit import device_function, vector_width
from fastbp.kernels.lanes import evens, odds
from fastbp.kernels.reading import in_line, move, move_first, read_up_to
from fastbp.kernels.vector import (
    LANES,
    Pointer,
    Vector,
    broadcast_like,
    fma,
    prefetch,
    store,
    zeros,
)

NARROW = 2  # most features of the narrow layout
# Time by fours over time by eights with 256-bit vectors, forward and backward in the L1 cache: 0.57
# for 4 columns, 0.64 for 10, 0.85 for 16, 0.67 for 20, 0.82 for 50, 0.86 for 100, 0.88 for 200.
# NEON has 32 registers of 128 bits: eights would take all of them for the sums, fours take half.
wide = eights if vector_width() >= 512 else fours
wide_forward, wide_backward = wide.wide_forward, wide.wide_backward
dot_8_rows, dot_row = wide.dot_8_rows, wide.dot_row
GATHER_AHEAD = 8  # rows that are prefetched while earlier ones are copied

Order = tuple[Pointer, bool]
"""Indices of rows, and whether rows are visited in their order; otherwise one after the other."""


@device_function
def forward(
    x: Pointer, d: int, stride: int, rows: int, ahead: int, w: Pointer, bias: float, z: Pointer
) -> None:
    """Compute z = x w + b for a tile; OUT z. The narrow layout has stride D."""
    if d <= NARROW:
        narrow_forward(x, d, rows, w, bias, z)
    else:
        wide_forward(x, d, stride, rows, ahead, w, bias, z)


@device_function
def gather_rows(
    x: Pointer, d: int, stride: int, order: Order, first: int, rows: int, gathered: Pointer
) -> None:
    """Copy rows of x as they are, in order from `first` on, d numbers each; OUT gathered (rows, d).

    Whole vectors are written: up to seven numbers beyond the last row.
    """
    for i in range(rows):
        coming = row_at(order, first + min(i + GATHER_AHEAD, rows - 1)) * stride
        for j in range(0, d, in_line(x)):
            prefetch(x, coming + j)
        prefetch(x, coming + d - 1)
        o = row_at(order, first + i) * stride
        for j in range(0, d, LANES):
            move_first(x, gathered, o + j, i * d + j, d - j)


@device_function
def gather_numbers(
    y: Pointer, stride: int, order: Order, first: int, rows: int, gathered: Pointer
) -> None:
    """Copy a number of each row, as :func:`gather_rows` does; OUT gathered (rows,)."""
    for i in range(rows):
        move(y, gathered, row_at(order, first + i) * stride, i)


@device_function
def row_at(order: Order, i: int) -> int:
    """Return the row at position i of the order."""
    indices, shuffled = order
    return int(indices[i]) if shuffled else i


@device_function
def narrow_columns(x: Pointer, d: int, i: int, rows: int, like: Pointer) -> tuple[Vector, Vector]:
    """Return x[i : i + 8, 0] and x[i : i + 8, 1], zero where d is 1 and beyond that many rows."""
    if d == 1:
        columns = read_up_to(x, i, rows, like), zeros(like)
    else:
        left = read_up_to(x, 2 * i, 2 * rows, like)
        right = read_up_to(x, 2 * i + LANES, 2 * rows - LANES, like)
        columns = evens(left, right), odds(left, right)
    return columns


@device_function
def narrow_z(first: Vector, second: Vector, w: Pointer, bias: float) -> Vector:
    """Return z = x w + b for eight rows of one or two features (w is 0 beyond them)."""
    s = fma(first, w[0], broadcast_like(w, bias))
    return fma(second, w[1], s)


@device_function
def narrow_forward(x: Pointer, d: int, rows: int, w: Pointer, bias: float, z: Pointer) -> None:
    """Compute z = x w + b for a tile of one or two features; OUT z."""
    for i in range(0, rows, LANES):
        first, second = narrow_columns(x, d, i, rows - i, w)
        store(z, i, narrow_z(first, second, w, bias))
