"""Products of a tile of rows with one column of weights, and back: eight columns at once.

For registers of 512 bits: the dot products of eight rows at once, then 32 columns of dw.
"""

from __future__ import annotations

from typing import Any

from fastbp.kernels.jit import device_function
from fastbp.kernels.lanes import sum_each, sum_lanes
from fastbp.kernels.reading import in_line, read, read_4, read_tail
from fastbp.kernels.vector import (
    LANES,
    Pointer,
    Vector,
    as_type_of,
    at,
    broadcast,
    broadcast_like,
    fma,
    fma_4,
    load,
    prefetch,
    store,
    zeros,
)

BLOCK = 4 * LANES  # columns whose odd rows are prefetched in backward


@device_function
def wide_forward(
    x: Pointer, d: int, stride: int, rows: int, ahead: int, w: Pointer, bias: float, z: Pointer
) -> None:
    """Compute z = x w + b for a tile; OUT z.

    Unless `ahead` is 0, the even rows that far ahead are prefetched, and the parts of the odd rows
    that `add_4_columns` does not prefetch.
    """
    whole = rows // LANES * LANES
    b = broadcast_like(w, bias)
    for i in range(0, whole, LANES):
        if ahead > 0:
            prefetch_even_rows(x, d, d // BLOCK * BLOCK, stride, i + ahead)
        store(z, i, dot_8_rows(at(x, i * stride), d, stride, w) + b)
    for i in range(whole, rows):
        z[i] = dot_row(at(x, i * stride), d, w) + bias


@device_function
def prefetch_even_rows(x: Pointer, d: int, in_blocks: int, stride: int, first: int) -> None:
    """Prefetch rows 0, 2, 4, 6 from `first` on, and the odd ones behind their whole blocks.

    Half of a tile in forward and half in backward keeps memory busy all the time: 1.3 times as
    fast at 50 and 100 features as all of it in forward, 1.6 and 2 times as fast as none.
    """
    for row in range(first, first + LANES, 2):
        even = row * stride
        for j in range(even, even + d, in_line(x)):
            prefetch(x, j)
        odd = even + stride
        for j in range(odd + in_blocks, odd + d, in_line(x)):
            prefetch(x, j)


@device_function
def dot_8_rows(x: Pointer, d: int, stride: int, w: Pointer) -> Vector:
    """Return the dot products of eight rows with w (zero beyond D)."""
    x1 = at(x, stride)
    x2 = at(x1, stride)
    x3 = at(x2, stride)
    x4 = at(x3, stride)
    x5 = at(x4, stride)
    x6 = at(x5, stride)
    rows = x, x1, x2, x3, x4, x5, x6, at(x6, stride)
    zero = zeros(w)
    sums = zero, zero, zero, zero, zero, zero, zero, zero
    j = 0
    while j + LANES <= d:
        sums = add_products(rows, j, LANES, load(w, j), sums)
        j += LANES
    if j < d:
        sums = add_products(rows, j, d - j, load(w, j), sums)
    return sum_each(*sums)


@device_function
def add_products(rows: Any, j: int, n: int, w: Vector, sums: Any) -> Any:
    """Return the sums of eight rows, with the products of n numbers from j on added."""
    return (
        fma(read_tail(rows[0], j, n, w), w, sums[0]),
        fma(read_tail(rows[1], j, n, w), w, sums[1]),
        fma(read_tail(rows[2], j, n, w), w, sums[2]),
        fma(read_tail(rows[3], j, n, w), w, sums[3]),
        fma(read_tail(rows[4], j, n, w), w, sums[4]),
        fma(read_tail(rows[5], j, n, w), w, sums[5]),
        fma(read_tail(rows[6], j, n, w), w, sums[6]),
        fma(read_tail(rows[7], j, n, w), w, sums[7]),
    )


@device_function
def dot_row(x: Pointer, d: int, w: Pointer) -> float:
    """Return one row's dot product with w, bit-identical to that of :func:`dot_8_rows`."""
    s = zeros(w)
    j = 0
    while j + LANES <= d:
        s = fma(read(x, j, w), load(w, j), s)
        j += LANES
    if j < d:
        s = fma(read_tail(x, j, d - j, w), load(w, j), s)
    return sum_lanes(s)


@device_function
def wide_backward(
    x: Pointer, d: int, stride: int, rows: int, ahead: int, dz: Pointer, dw: Pointer
) -> None:
    """Add dw += x' dz for a tile; ACC dw (D rounded up to whole vectors)."""
    j = 0
    while j + 4 * LANES <= d:
        add_4_columns(at(x, j), stride, rows, ahead, dz, at(dw, j))
        j += 4 * LANES
    while j + LANES < d:
        n = min(d - j - LANES, LANES)
        add_2_columns(at(x, j), stride, rows, dz, at(dw, j), n)
        j += 2 * LANES
    if j < d:
        add_1_column(at(x, j), stride, rows, dz, at(dw, j), d - j)


@device_function
def add_4_columns(x: Pointer, stride: int, rows: int, ahead: int, dz: Pointer, dw: Pointer) -> None:
    """Add dw[0:32] += the first 32 columns of x' dz; ACC dw. Prefetches the odd rows."""
    o = 0
    zero = zeros(dz)
    s = zero, zero, zero, zero
    t = s
    for i in range(0, rows - 1, 2):
        if ahead > 0:
            odd = at(x, o + (ahead + 1) * stride)
            for line in range(0, BLOCK, in_line(x)):
                prefetch(odd, line)
        s = fma_4(broadcast(dz[i]), read_4(x, o, dz), s)
        o += stride
        t = fma_4(broadcast(dz[i + 1]), read_4(x, o, dz), t)
        o += stride
    if rows % 2:
        s = fma_4(broadcast(dz[rows - 1]), read_4(x, o, dz), s)
    add_to(dw, 0, s[0] + t[0])
    add_to(dw, LANES, s[1] + t[1])
    add_to(dw, 2 * LANES, s[2] + t[2])
    add_to(dw, 3 * LANES, s[3] + t[3])


@device_function
def add_2_columns(x: Pointer, stride: int, rows: int, dz: Pointer, dw: Pointer, n: int) -> None:
    """Add dw[0 : 8 + n] += the first 8 + n columns of x' dz; ACC dw."""
    o = 0
    zero = zeros(dz)
    s0, s1 = zero, zero
    t0, t1 = zero, zero
    for i in range(0, rows - 1, 2):
        c = broadcast(dz[i])
        s0 = fma(c, read(x, o, dz), s0)
        s1 = fma(c, read_tail(x, o + LANES, n, dz), s1)
        o += stride
        c = broadcast(dz[i + 1])
        t0 = fma(c, read(x, o, dz), t0)
        t1 = fma(c, read_tail(x, o + LANES, n, dz), t1)
        o += stride
    if rows % 2:
        c = broadcast(dz[rows - 1])
        s0 = fma(c, read(x, o, dz), s0)
        s1 = fma(c, read_tail(x, o + LANES, n, dz), s1)
    add_to(dw, 0, s0 + t0)
    add_to(dw, LANES, s1 + t1)


@device_function
def add_1_column(x: Pointer, stride: int, rows: int, dz: Pointer, dw: Pointer, n: int) -> None:
    """Add dw[0:n] += the first n columns of x' dz; ACC dw."""
    o = 0
    zero = zeros(dz)
    s, t = zero, zero
    for i in range(0, rows - 1, 2):
        s = fma(broadcast(dz[i]), read_tail(x, o, n, dz), s)
        o += stride
        t = fma(broadcast(dz[i + 1]), read_tail(x, o, n, dz), t)
        o += stride
    if rows % 2:
        s = fma(broadcast(dz[rows - 1]), read_tail(x, o, n, dz), s)
    add_to(dw, 0, s + t)


@device_function
def add_to(sums: Pointer, index: int, a: Vector) -> None:
    """Add eight numbers to those at `index`, in the type of the latter; ACC sums."""
    store(sums, index, load(sums, index) + as_type_of(sums, a))
