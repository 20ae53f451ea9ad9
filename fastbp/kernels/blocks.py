"""Blocks of matrix products: some outputs in some panels at once, with their sums in registers.

See ``matmul.py`` for how they make up a product.
"""

from __future__ import annotations

from fastbp.kernels.exponential import NAN
from fastbp.kernels.jit import device_function
from fastbp.kernels.reading import read, read_up_to
from fastbp.kernels.vector import (
    LANES,
    Four,
    Pointer,
    Vector,
    as_type_of,
    at,
    broadcast,
    broadcast_like,
    fma,
    fma_4,
    load,
    load_up_to,
    store,
    store_up_to,
    where_less,
    zeros,
)

Weights = tuple[Pointer, int, int, int]
"""What the terms are multiplied with, and where it lies.

The weight of term t for output o is at t * term_stride + o * output_stride, and `gap` numbers
further after each eight terms.
"""
Panels = tuple[Pointer, int]
"""Terms in panels (panels, terms, 8), and the distance from panel to panel."""
Result = tuple[Pointer, int, int, int]
"""Eight numbers for each output and panel; the distances from output to output and from panel to
panel; how many numbers each output has in all panels together."""

# mode: how a product is stored, together with `other`; an unknown mode gives NaN
PLAIN = 0  # OUT: product
PLUS = 1  # ACC: result + product
PLUS_START = 2  # OUT: start + product, with one start for each output
PLUS_START_RELU = 3  # OUT: relu of that: a separate pass took a tenth of the time of 4-8-1
TIMES = 4  # OUT: other * product
WHERE_POSITIVE = 5  # OUT: product where other is above 0, else 0
DESCEND = 6  # ACC: result + factor * product: gradient descent without storing the gradient
MORE, MORE_RELU = 7, 8  # ACC: the rest of a sum that PLUS_START began, and the relu of it


@device_function
def start_of(mode: int, other: Pointer, o: int, like: Pointer) -> Vector:
    """Return what the sums of output o start with."""
    starts = mode in (PLUS_START, PLUS_START_RELU)
    return broadcast_like(like, other[o]) if starts else zeros(like)


@device_function
def store_as(mode: int, s: Vector, other: Pointer, result: Pointer, i: int, n: int) -> None:
    """Store the first n lanes of a sum as `mode` says; OUT or ACC result from i on."""
    if mode in (PLUS_START_RELU, MORE_RELU):
        s = where_less(s, 0.0, 0.0, s)  # NaN stays NaN
    elif mode == WHERE_POSITIVE:
        s = where_less(0.0, read_up_to(other, i, n, s), s, 0.0)
    elif mode == TIMES:
        s = read_up_to(other, i, n, s) * s
    elif mode not in (PLAIN, PLUS, PLUS_START, DESCEND, MORE):
        s = broadcast_like(s, NAN)
    total = as_type_of(result, s)
    if mode == PLUS:
        total = load_up_to(result, i, n) + total
    elif mode == DESCEND:
        total = fma(other[0], total, load_up_to(result, i, n))
    store_up_to(result, i, total, n)


@device_function
def store_4_as(
    mode: int, s: Four, other: Pointer, result: Pointer, i: int, stride: int, n: int
) -> None:
    """Store the first n lanes of four sums, whose places are `stride` apart, as `mode` says.

    One decision for the usual modes and whole vectors: four took a fifth of the time of 4-8-1.
    """
    i1, i2, i3 = i + stride, i + 2 * stride, i + 3 * stride
    if n >= LANES and mode in (PLUS_START_RELU, MORE_RELU, PLAIN, PLUS_START, MORE):
        if mode in (PLUS_START_RELU, MORE_RELU):
            s0, s1 = where_less(s[0], 0.0, 0.0, s[0]), where_less(s[1], 0.0, 0.0, s[1])
            s2, s3 = where_less(s[2], 0.0, 0.0, s[2]), where_less(s[3], 0.0, 0.0, s[3])
            s = s0, s1, s2, s3
        store(result, i, s[0])
        store(result, i1, s[1])
        store(result, i2, s[2])
        store(result, i3, s[3])
    else:
        store_as(mode, s[0], other, result, i, n)
        store_as(mode, s[1], other, result, i1, n)
        store_as(mode, s[2], other, result, i2, n)
        store_as(mode, s[3], other, result, i3, n)


@device_function
def next_weight(w: Weights, j: int) -> int:
    """Return how far it is to the weight of the next term, whose numbers are at j."""
    _, term_stride, _, gap = w
    return term_stride + (gap if j % (LANES * LANES) == 0 else 0)


@device_function
def block_4x4(mode: int, terms: int, w: Weights, a: Panels, other: Pointer, result: Result) -> None:
    """Compute four outputs in four panels."""
    w0, _, output_stride, _ = w
    w1 = at(w0, output_stride)
    w2 = at(w1, output_stride)
    w3 = at(w2, output_stride)
    if mode in (MORE, MORE_RELU):
        s0, s1, s2, s3 = sums_so_far(result, w0)
    else:
        s0, s1 = four_starts(mode, other, 0, w0), four_starts(mode, other, 1, w0)
        s2, s3 = four_starts(mode, other, 2, w0), four_starts(mode, other, 3, w0)
    i = 0
    j = 0
    for _ in range(terms):
        a_j = load_panels(a, j, w0)
        s0 = fma_4(broadcast(w0[i]), a_j, s0)
        s1 = fma_4(broadcast(w1[i]), a_j, s1)
        s2 = fma_4(broadcast(w2[i]), a_j, s2)
        s3 = fma_4(broadcast(w3[i]), a_j, s3)
        j += LANES
        i += next_weight(w, j)
    r, stride = result[0], result[2]
    store_4_as(mode, s0, other, r, 0, stride, LANES)
    store_4_as(mode, s1, other, r, result[1], stride, LANES)
    store_4_as(mode, s2, other, r, 2 * result[1], stride, LANES)
    store_4_as(mode, s3, other, r, 3 * result[1], stride, LANES)


@device_function
def load_panels(a: Panels, j: int, like: Pointer) -> Four:
    """Return a vector of each of four panels, in the type of the weights."""
    a_0, stride = a
    first, second = read(a_0, j, like), read(a_0, j + stride, like)
    return first, second, read(a_0, j + 2 * stride, like), read(a_0, j + 3 * stride, like)


@device_function
def four_starts(mode: int, other: Pointer, o: int, like: Pointer) -> Four:
    """Return what the sums of output o in four panels start with."""
    s = start_of(mode, other, o, like)
    return s, s, s, s


@device_function
def sums_so_far(result: Result, like: Pointer) -> tuple[Four, Four, Four, Four]:
    """Return the sums of four outputs in four panels."""
    r, output_stride, stride, _ = result
    return (
        load_panels((r, stride), 0, like),
        load_panels((r, stride), output_stride, like),
        load_panels((r, stride), 2 * output_stride, like),
        load_panels((r, stride), 3 * output_stride, like),
    )


@device_function
def block_1x4(mode: int, terms: int, w: Weights, a: Panels, other: Pointer, result: Result) -> None:
    """Compute one output in four panels."""
    w0, _, _, _ = w
    if mode in (MORE, MORE_RELU):
        s = load_panels((result[0], result[2]), 0, w0)
    else:
        s = four_starts(mode, other, 0, w0)
    i = 0
    j = 0
    for _ in range(terms):
        s = fma_4(broadcast(w0[i]), load_panels(a, j, w0), s)
        j += LANES
        i += next_weight(w, j)
    store_4_as(mode, s, other, result[0], 0, result[2], LANES)


@device_function
def block_4x1(
    mode: int, terms: int, w: Weights, a: Pointer, other: Pointer, result: Result
) -> None:
    """Compute four outputs in one panel."""
    w0, _, output_stride, _ = w
    w1 = at(w0, output_stride)
    w2 = at(w1, output_stride)
    w3 = at(w2, output_stride)
    r, stride, _, n = result
    if mode in (MORE, MORE_RELU):
        s0, s1 = read(r, 0, w0), read(r, stride, w0)
        s2, s3 = read(r, 2 * stride, w0), read(r, 3 * stride, w0)
    else:
        s0, s1 = start_of(mode, other, 0, w0), start_of(mode, other, 1, w0)
        s2, s3 = start_of(mode, other, 2, w0), start_of(mode, other, 3, w0)
    i = 0
    j = 0
    for _ in range(terms):
        v = load(a, j)
        s0 = fma(broadcast(w0[i]), v, s0)
        s1 = fma(broadcast(w1[i]), v, s1)
        s2 = fma(broadcast(w2[i]), v, s2)
        s3 = fma(broadcast(w3[i]), v, s3)
        j += LANES
        i += next_weight(w, j)
    store_4_as(mode, (s0, s1, s2, s3), other, r, 0, stride, n)


@device_function
def block_6x1(
    mode: int, terms: int, w: Weights, a: Pointer, other: Pointer, result: Result
) -> None:
    """Compute six outputs in one panel."""
    w0, _, output_stride, _ = w
    w1 = at(w0, output_stride)
    w2 = at(w1, output_stride)
    w3 = at(w2, output_stride)
    w4 = at(w3, output_stride)
    w5 = at(w4, output_stride)
    r, stride, _, n = result
    if mode in (MORE, MORE_RELU):
        s0, s1, s2 = read(r, 0, w0), read(r, stride, w0), read(r, 2 * stride, w0)
        s3, s4, s5 = read(r, 3 * stride, w0), read(r, 4 * stride, w0), read(r, 5 * stride, w0)
    else:
        s0, s1 = start_of(mode, other, 0, w0), start_of(mode, other, 1, w0)
        s2, s3 = start_of(mode, other, 2, w0), start_of(mode, other, 3, w0)
        s4, s5 = start_of(mode, other, 4, w0), start_of(mode, other, 5, w0)
    i = 0
    j = 0
    for _ in range(terms):
        v = load(a, j)
        s0 = fma(broadcast(w0[i]), v, s0)
        s1 = fma(broadcast(w1[i]), v, s1)
        s2 = fma(broadcast(w2[i]), v, s2)
        s3 = fma(broadcast(w3[i]), v, s3)
        s4 = fma(broadcast(w4[i]), v, s4)
        s5 = fma(broadcast(w5[i]), v, s5)
        j += LANES
        i += next_weight(w, j)
    store_4_as(mode, (s0, s1, s2, s3), other, r, 0, stride, n)
    store_as(mode, s4, other, r, 4 * stride, n)
    store_as(mode, s5, other, r, 5 * stride, n)


@device_function
def block_6x2(mode: int, terms: int, w: Weights, a: Panels, other: Pointer, result: Result) -> None:
    """Compute six outputs in two panels."""
    w0, _, output_stride, _ = w
    w1 = at(w0, output_stride)
    w2 = at(w1, output_stride)
    w3 = at(w2, output_stride)
    w4 = at(w3, output_stride)
    w5 = at(w4, output_stride)
    r, stride, panel_stride, _ = result
    to = r, panel_stride
    s0, s1 = pair_start(mode, other, 0, w0, to, 0), pair_start(mode, other, 1, w0, to, stride)
    s2 = pair_start(mode, other, 2, w0, to, 2 * stride)
    s3 = pair_start(mode, other, 3, w0, to, 3 * stride)
    s4 = pair_start(mode, other, 4, w0, to, 4 * stride)
    s5 = pair_start(mode, other, 5, w0, to, 5 * stride)
    a_0, a_1 = a[0], at(a[0], a[1])
    i = 0
    j = 0
    for _ in range(terms):
        v = load(a_0, j), load(a_1, j)
        s0 = fma_2(broadcast(w0[i]), v, s0)
        s1 = fma_2(broadcast(w1[i]), v, s1)
        s2 = fma_2(broadcast(w2[i]), v, s2)
        s3 = fma_2(broadcast(w3[i]), v, s3)
        s4 = fma_2(broadcast(w4[i]), v, s4)
        s5 = fma_2(broadcast(w5[i]), v, s5)
        j += LANES
        i += next_weight(w, j)
    for k in range(2):
        i = k * panel_stride
        four = s0[k], s1[k], s2[k], s3[k]
        store_4_as(mode, four, other, r, i, stride, LANES)
        store_as(mode, s4[k], other, r, i + 4 * stride, LANES)
        store_as(mode, s5[k], other, r, i + 5 * stride, LANES)


@device_function
def pair_start(
    mode: int, other: Pointer, o: int, like: Pointer, result: Panels, i: int
) -> tuple[Vector, Vector]:
    """Return what the sums of output o start with in two panels, whose result is at i."""
    r, stride = result
    if mode in (MORE, MORE_RELU):
        pair = read(r, i, like), read(r, i + stride, like)
    else:
        s = start_of(mode, other, o, like)
        pair = s, s
    return pair


@device_function
def fma_2(c: Vector, a: tuple[Vector, Vector], s: tuple[Vector, Vector]) -> tuple[Vector, Vector]:
    """Return c * a + s, each rounded once."""
    return fma(c, a[0], s[0]), fma(c, a[1], s[1])


@device_function
def block_1x1(
    mode: int, terms: int, w: Weights, a: Pointer, other: Pointer, result: Result
) -> None:
    """Compute one output in one panel."""
    w0, _, _, _ = w
    r, _, _, n = result
    s = read(r, 0, w0) if mode in (MORE, MORE_RELU) else start_of(mode, other, 0, w0)
    i = 0
    j = 0
    for _ in range(terms):
        s = fma(broadcast(w0[i]), load(a, j), s)
        j += LANES
        i += next_weight(w, j)
    store_as(mode, s, other, r, 0, n)
