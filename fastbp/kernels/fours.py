"""Products of a tile of rows with one column of weights, and back: four columns at once.

For registers of 256 bits or fewer. Two rows share a vector (see ``halves.py``): the sums of eight
rows take eight of the sixteen registers of AVX2, not sixteen, and those of 24 columns of dw twelve.
The first four of a row has from 1 to 4 numbers of its own, the others are whole.
"""

from __future__ import annotations

from fastbp.kernels.eights import prefetch_even_rows
from fastbp.kernels.halves import (
    Fours,
    add_fours,
    dot_fours,
    fma_fours,
    halves,
    keep_own,
    load_few,
    load_fours,
    load_halves,
    sum_halves,
)
from fastbp.kernels.jit import device_function
from fastbp.kernels.lanes import lane
from fastbp.kernels.reading import in_line
from fastbp.kernels.vector import (
    HALF,
    LANES,
    Pointer,
    Vector,
    at,
    broadcast_like,
    fma,
    prefetch,
    store,
    zeros,
)

MOST = 6  # fours of a row, or of its block, in registers
BLOCK = MOST * HALF


@device_function
def wide_forward(
    x: Pointer, d: int, stride: int, rows: int, ahead: int, w: Pointer, bias: float, z: Pointer
) -> None:
    """Compute z = x w + b for a tile; OUT z.

    Unless `ahead` is 0, the even rows that far ahead are prefetched, and the parts of the odd rows
    that `wide_backward` does not prefetch. Rows of 5 to 20 columns are one tuple, and the weights
    stay in registers: 0.8 times the time of a loop over the fours.
    """
    n = (d + HALF - 1) // HALF if d >= HALF and ahead == 0 else 0
    i = rows // LANES * LANES
    s = zeros(w)
    if n == 2:
        forward_fours((s, s), x, d, stride, i, w, bias, z)
    elif n == 3:
        forward_fours((s, s, s), x, d, stride, i, w, bias, z)
    elif n == 4:
        forward_fours((s, s, s, s), x, d, stride, i, w, bias, z)
    elif n == 5:
        forward_fours((s, s, s, s, s), x, d, stride, i, w, bias, z)
    else:
        i = 0
    while i < rows:
        if i + LANES <= rows:
            if ahead > 0:
                prefetch_even_rows(x, d, in_blocks(d), stride, i + ahead)
            store(z, i, dot_8_rows(at(x, i * stride), d, stride, w) + broadcast_like(w, bias))
            i += LANES
        else:
            z[i] = dot_row(at(x, i * stride), d, w) + bias
            i += 1


@device_function
def forward_fours(
    like: Fours,
    x: Pointer,
    d: int,
    stride: int,
    rows: int,
    w: Pointer,
    bias: float,
    z: Pointer,
) -> None:
    """Compute z = x w + b for whole vectors of rows, each a tuple of as many fours; OUT z."""
    first = (d - 1) % HALF + 1
    weights = keep_own(load_fours(w, w, first, like), first)
    for i in range(0, rows, LANES):
        x_i = at(x, i * stride)
        s0 = dot_fours(load_fours(x_i, at(x_i, 4 * stride), first, like), weights)
        s1 = dot_fours(load_fours(at(x_i, stride), at(x_i, 5 * stride), first, like), weights)
        s2 = dot_fours(load_fours(at(x_i, 2 * stride), at(x_i, 6 * stride), first, like), weights)
        s3 = dot_fours(load_fours(at(x_i, 3 * stride), at(x_i, 7 * stride), first, like), weights)
        store(z, i, sum_halves(s0, s1, s2, s3) + broadcast_like(w, bias))


@device_function
def in_blocks(d: int) -> int:
    """Return how many of a row's columns `wide_backward` takes in whole blocks."""
    fours = (d + HALF - 1) // HALF
    missing = fours * HALF - d  # in the first of them
    return max(0, fours // MOST * BLOCK - missing)


@device_function
def dot_row(x: Pointer, d: int, w: Pointer) -> float:
    """Return one row's dot product with w, bit-identical to that of :func:`dot_8_rows`."""
    return lane(dot_8_rows(x, d, 0, w), 0)


@device_function
def dot_8_rows(x: Pointer, d: int, stride: int, w: Pointer) -> Vector:
    """Return the dot products of eight rows with w (zero beyond D)."""
    x1 = at(x, stride)
    x2 = at(x1, stride)
    x3 = at(x2, stride)
    x4 = at(x3, stride)
    x5 = at(x4, stride)
    x6 = at(x5, stride)
    x7 = at(x6, stride)
    first = (d - 1) % HALF + 1
    zero = zeros(w)
    (c,) = keep_own((load_halves(w, w, 0, w),), first)
    if d < HALF:
        s0 = fma(load_few(x, x4, d, w), c, zero)
        s1 = fma(load_few(x1, x5, d, w), c, zero)
        s2 = fma(load_few(x2, x6, d, w), c, zero)
        s3 = fma(load_few(x3, x7, d, w), c, zero)
    else:
        s0 = fma(load_halves(x, x4, 0, w), c, zero)
        s1 = fma(load_halves(x1, x5, 0, w), c, zero)
        s2 = fma(load_halves(x2, x6, 0, w), c, zero)
        s3 = fma(load_halves(x3, x7, 0, w), c, zero)
    j = first
    while j < d:
        c = load_halves(w, w, j, w)
        s0 = fma(load_halves(x, x4, j, w), c, s0)
        s1 = fma(load_halves(x1, x5, j, w), c, s1)
        s2 = fma(load_halves(x2, x6, j, w), c, s2)
        s3 = fma(load_halves(x3, x7, j, w), c, s3)
        j += HALF
    return sum_halves(s0, s1, s2, s3)


@device_function
def wide_backward(
    x: Pointer, d: int, stride: int, rows: int, ahead: int, dz: Pointer, dw: Pointer
) -> None:
    """Add dw += x' dz for a tile; ACC dw (D rounded up to whole vectors)."""
    n = (d + HALF - 1) // HALF
    first = (d - 1) % HALF + 1
    s = zeros(dz)
    while n >= MOST:
        six = s, s, s, s, s, s
        backward_fours(six, x, first, stride, rows, ahead, dz, dw)
        x, dw = at(x, first + BLOCK - HALF), at(dw, first + BLOCK - HALF)
        n -= MOST
        first = HALF
    if n == 1:
        backward_few(x, first, stride, rows, dz, dw)
    elif n == 2:
        backward_fours((s, s), x, first, stride, rows, 0, dz, dw)
    elif n == 3:
        backward_fours((s, s, s), x, first, stride, rows, 0, dz, dw)
    elif n == 4:
        backward_fours((s, s, s, s), x, first, stride, rows, 0, dz, dw)
    elif n == 5:
        backward_fours((s, s, s, s, s), x, first, stride, rows, 0, dz, dw)


@device_function
def backward_fours(
    sums: Fours,
    x: Pointer,
    first: int,
    stride: int,
    rows: int,
    ahead: int,
    dz: Pointer,
    dw: Pointer,
) -> None:
    """Add dw += x' dz for the columns of one tuple of fours; ACC dw. Prefetches the odd rows."""
    for i in range(0, rows - 1, 2):
        x_i, next_row = at(x, i * stride), at(x, (i + 1) * stride)
        if ahead > 0:
            odd = at(next_row, ahead * stride)
            for line in range(0, BLOCK, in_line(x)):
                prefetch(odd, line)
        c = halves(dz[i], dz[i + 1])
        sums = fma_fours(c, load_fours(x_i, next_row, first, sums), sums)
    if rows % 2:
        x_i = at(x, (rows - 1) * stride)
        c = halves(dz[rows - 1], 0.0)
        sums = fma_fours(c, load_fours(x_i, x_i, first, sums), sums)
    add_fours(dw, first, sums)


@device_function
def backward_few(x: Pointer, d: int, stride: int, rows: int, dz: Pointer, dw: Pointer) -> None:
    """Add dw += x' dz for at most four columns; ACC dw."""
    s = zeros(dz)
    for i in range(0, rows - 1, 2):
        x_i, next_row = at(x, i * stride), at(x, (i + 1) * stride)
        s = fma(halves(dz[i], dz[i + 1]), load_few(x_i, next_row, d, dz), s)
    if rows % 2:
        x_i = at(x, (rows - 1) * stride)
        s = fma(halves(dz[rows - 1], 0.0), load_few(x_i, x_i, d, dz), s)
    add_fours(dw, HALF, (s,))
