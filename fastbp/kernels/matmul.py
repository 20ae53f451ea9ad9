"""Matrix products of a tile, transposed: the row index varies fastest.

A tile of B rows (padded to whole vectors) holds (n, B) numbers for n neurons, so that a weight is
multiplied with eight rows at once, whatever the width of a layer, and no product needs a transposed
copy of the weights. One blocked loop serves forward and backward and, with the neuron index varying
fastest instead, the gradient of the weights.

With 512-bit vectors, blocks of 4 x 4 run at 97 % of what the processor's multiply-adds can
deliver, from 20 x 64 to 784 x 256 (OpenBLAS: 65 to 85 %); 4 x 2 at 90 %. A block's shape changes no
bit: every result is one chain of multiply-adds over the terms in order.
"""

from __future__ import annotations

from fastbp.kernels.exponential import NAN
from fastbp.kernels.jit import device_function, subroutine, vector_width
from fastbp.kernels.lanes import columns_of, lane, sum_lanes
from fastbp.kernels.matvec import dot_8_rows, dot_row
from fastbp.kernels.vector import (
    LANES,
    Four,
    Pointer,
    Vector,
    at,
    broadcast,
    fma,
    fma_4,
    load,
    load_4,
    load_first,
    load_up_to,
    padded,
    store,
    store_4,
    store_up_to,
    where_less,
)

# Blocks of 4 x 4 vectors take 32 registers of 512 bits. In 16 of 256 bits the sums of 4 x 1 are
# the most that leave room for the rest. Multiply-adds a nanosecond there, of 21.2 at most, with 64
# terms, 100 outputs and 200 rows: 4 x 4 5.3, 4 x 2 13, 3 x 2 13, 2 x 3 12, 4 x 1 20.1, 5 x 1 20.9,
# 6 x 1 20.4. (Over 24 sizes the last three are within 4 %, also with lower blocks for the rest.)
TALL_AND_WIDE = vector_width() >= 512

Strided = tuple[Pointer, int, int]
"""Weights, the distance from one term to the next, and from one output to the next."""

# mode: how a product is stored, together with `other`; an unknown mode gives NaN
PLAIN = 0  # OUT: product
PLUS = 1  # ACC: result + product
PLUS_START = 2  # OUT: start + product, with one start for each row of results
PLUS_START_RELU = 3  # OUT: relu of that: a separate pass took a tenth of the time of 4-8-1
TIMES = 4  # OUT: other * product
WHERE_POSITIVE = 5  # OUT: product where other is above 0, else 0
DESCEND = 6  # ACC: result + factor * product: gradient descent without storing the gradient


@subroutine
def multiply(
    mode: int,
    terms: int,
    outputs: int,
    width: int,
    w: Pointer,
    term_stride: int,
    output_stride: int,
    a: Pointer,
    other: Pointer,
    result: Pointer,
) -> None:
    """Compute sum over t of w[t, o] a[t, i] for all o < outputs and i < width.

    a (terms, width rounded up to whole vectors); result (outputs, width) is only touched where it
    has elements. `mode` says how the sums are stored, and what `other` is: a start for each row,
    an array like the result, or a factor.
    """
    o = 0
    while o < outputs:
        tall = o + 4 <= outputs
        w_o = at(w, o * output_stride), term_stride, output_stride
        i = 0
        while i < width:
            result_i = at(result, o * width + i)
            other_i = other_at(mode, other, o, o * width + i)
            a_i = at(a, i)
            if i + 4 * LANES <= width and (TALL_AND_WIDE or not tall):
                if tall:
                    block_4x4(mode, terms, w_o, a_i, other_i, result_i, width)
                else:
                    block_1x4(mode, terms, w_o, a_i, other_i, result_i, width)
                i += 4 * LANES
            else:
                n = width - i
                if tall:
                    block_4x1(mode, terms, w_o, a_i, other_i, result_i, width, n)
                else:
                    block_1x1(mode, terms, w_o, a_i, other_i, result_i, width, n)
                i += LANES
        o += 4 if tall else 1


@device_function
def other_at(mode: int, other: Pointer, o: int, i: int) -> Pointer:
    """Return where `other` begins for the block of output o and result i."""
    if mode in (PLUS_START, PLUS_START_RELU):
        i = o
    elif mode not in (TIMES, WHERE_POSITIVE):
        i = 0
    return at(other, i)


@device_function
def first_sum(mode: int, other: Pointer, o: int) -> Vector:
    """Return what a sum starts with."""
    return broadcast(other[o] if mode in (PLUS_START, PLUS_START_RELU) else 0.0)


@device_function
def store_as(mode: int, s: Vector, other: Pointer, result: Pointer, i: int, n: int) -> None:
    """Store the first n lanes of a sum as `mode` says; OUT or ACC result from i on."""
    zero = broadcast(0.0)
    if mode == PLUS_START_RELU:
        s = where_less(s, zero, zero, s)  # NaN stays NaN
    elif mode == WHERE_POSITIVE:
        s = where_less(zero, load_up_to(other, i, n), s, zero)
    elif mode == TIMES:
        s = load_up_to(other, i, n) * s
    elif mode == PLUS:
        s = load_up_to(result, i, n) + s
    elif mode == DESCEND:
        s = fma(broadcast(other[0]), s, load_up_to(result, i, n))
    elif mode not in (PLAIN, PLUS_START):
        s = broadcast(NAN)
    store_up_to(result, i, s, n)


@device_function
def block_4x4(
    mode: int, terms: int, w: Strided, a: Pointer, other: Pointer, result: Pointer, width: int
) -> None:
    """Compute four outputs, four vectors each."""
    w0, term_stride, output_stride = w
    w1 = at(w0, output_stride)
    w2 = at(w1, output_stride)
    w3 = at(w2, output_stride)
    s0, s1 = first_sums(mode, other, 0), first_sums(mode, other, 1)
    s2, s3 = first_sums(mode, other, 2), first_sums(mode, other, 3)
    i = 0
    j = 0
    for _ in range(terms):
        a_j = load_4(a, j)
        s0 = fma_4(broadcast(w0[i]), a_j, s0)
        s1 = fma_4(broadcast(w1[i]), a_j, s1)
        s2 = fma_4(broadcast(w2[i]), a_j, s2)
        s3 = fma_4(broadcast(w3[i]), a_j, s3)
        i += term_stride
        j += padded(width)
    store_4_as(mode, s0, other, result, 0 * width)
    store_4_as(mode, s1, other, result, 1 * width)
    store_4_as(mode, s2, other, result, 2 * width)
    store_4_as(mode, s3, other, result, 3 * width)


@device_function
def first_sums(mode: int, other: Pointer, o: int) -> Four:
    """Return what the four sums of an output start with."""
    s = first_sum(mode, other, o)
    return s, s, s, s


@device_function
def store_4_as(mode: int, s: Four, other: Pointer, result: Pointer, i: int) -> None:
    """Store the four sums of an output as `mode` says."""
    store_as(mode, s[0], other, result, i, LANES)
    store_as(mode, s[1], other, result, i + LANES, LANES)
    store_as(mode, s[2], other, result, i + 2 * LANES, LANES)
    store_as(mode, s[3], other, result, i + 3 * LANES, LANES)


@device_function
def block_1x4(
    mode: int, terms: int, w: Strided, a: Pointer, other: Pointer, result: Pointer, width: int
) -> None:
    """Compute four vectors of one output."""
    w0, term_stride, _ = w
    s = first_sums(mode, other, 0)
    i = 0
    j = 0
    for _ in range(terms):
        s = fma_4(broadcast(w0[i]), load_4(a, j), s)
        i += term_stride
        j += padded(width)
    store_4_as(mode, s, other, result, 0)


@device_function
def block_4x1(
    mode: int,
    terms: int,
    w: Strided,
    a: Pointer,
    other: Pointer,
    result: Pointer,
    width: int,
    n: int,
) -> None:
    """Compute the first n lanes of one vector of four outputs."""
    w0, term_stride, output_stride = w
    w1 = at(w0, output_stride)
    w2 = at(w1, output_stride)
    w3 = at(w2, output_stride)
    s0 = first_sum(mode, other, 0)
    s1 = first_sum(mode, other, 1)
    s2 = first_sum(mode, other, 2)
    s3 = first_sum(mode, other, 3)
    i = 0
    j = 0
    for _ in range(terms):
        v = load(a, j)
        s0 = fma(broadcast(w0[i]), v, s0)
        s1 = fma(broadcast(w1[i]), v, s1)
        s2 = fma(broadcast(w2[i]), v, s2)
        s3 = fma(broadcast(w3[i]), v, s3)
        i += term_stride
        j += padded(width)
    store_as(mode, s0, other, result, 0, n)
    store_as(mode, s1, other, result, width, n)
    store_as(mode, s2, other, result, 2 * width, n)
    store_as(mode, s3, other, result, 3 * width, n)


@device_function
def block_1x1(
    mode: int,
    terms: int,
    w: Strided,
    a: Pointer,
    other: Pointer,
    result: Pointer,
    width: int,
    n: int,
) -> None:
    """Compute the first n lanes of one vector of one output."""
    w0, term_stride, _ = w
    s = first_sum(mode, other, 0)
    i = 0
    j = 0
    for _ in range(terms):
        s = fma(broadcast(w0[i]), load(a, j), s)
        i += term_stride
        j += padded(width)
    store_as(mode, s, other, result, 0, n)


@subroutine
def multiply_row(
    terms: int, outputs: int, a: Pointer, w: Pointer, start: Pointer, result: Pointer
) -> None:
    """Compute start + sum over t of a[t] w[t, o] for one row; OUT result, in whole vectors.

    The outputs lie side by side, so that no lane is empty. Bit-identical to `multiply`.
    """
    o = 0
    while o + 4 * LANES <= outputs:
        sums = load_4(start, o)
        i = o
        for t in range(terms):
            sums = fma_4(broadcast(a[t]), load_4(w, i), sums)
            i += outputs
        store_4(result, o, sums)
        o += 4 * LANES
    while o < outputs:
        n = outputs - o
        s0, s1 = load_first(start, o, n), load_first(start, o + 8, n - 8)
        i = o
        for t in range(terms):
            c = broadcast(a[t])
            s0 = fma(c, load_first(w, i, n), s0)
            s1 = fma(c, load_first(w, i + 8, n - 8), s1)
            i += outputs
        store(result, o, s0)
        if n > LANES:
            store(result, o + 8, s1)
        o += 2 * LANES


@subroutine
def sums_of_products(
    mode: int,
    width: int,
    p: Pointer,
    n_p: int,
    p_stride: int,
    q: Pointer,
    n_q: int,
    q_stride: int,
    other: Pointer,
    result: Pointer,
) -> None:
    """Compute sum over i of p[j, i] q[k, i] for all j < n_p and k < n_q, by whole vectors.

    p (n_p, width) and q (n_q, width); sum j, k is result[j * p_stride + k * q_stride]. With few
    sums, or long ones, this beats `multiply`, which needs one side transposed.
    """
    for j in range(0, n_p, LANES):  # outside: eight rows of p stay in the L1 cache
        p_j = at(p, j * width)
        for k in range(n_q):
            q_k = at(q, k * width)
            target = at(result, j * p_stride + k * q_stride)
            if j + LANES > n_p:
                for i in range(n_p - j):
                    s = dot_row(at(p_j, i * width), width, q_k)
                    store_one_as(mode, s, other, target, i * p_stride)
            elif p_stride == 1:
                store_as(mode, dot_8_rows(p_j, width, width, q_k), other, target, 0, LANES)
            else:
                sums = dot_8_rows(p_j, width, width, q_k)
                for i in range(LANES):
                    store_one_as(mode, lane(sums, i), other, target, i * p_stride)


@device_function
def store_one_as(mode: int, s: float, other: Pointer, result: Pointer, i: int) -> None:
    """Store one number as `mode` says: PLAIN, PLUS or DESCEND; OUT or ACC result[i]."""
    if mode == PLUS:
        s = result[i] + s
    elif mode == DESCEND:
        s = lane(fma(broadcast(other[0]), broadcast(s), broadcast(result[i])), 0)
    elif mode != PLAIN:
        s = NAN
    result[i] = s


@subroutine
def sums_of_rows(
    mode: int, width: int, n: int, a: Pointer, other: Pointer, result: Pointer
) -> None:
    """Compute the sum of each row of a (n, width), whole vectors; stored as `mode` says."""
    for j in range(n):
        s = broadcast(0.0)
        for i in range(j * width, j * width + width, LANES):
            s = s + load(a, i)
        store_one_as(mode, sum_lanes(s), other, result, j)


@subroutine
def transpose(x: Pointer, columns: int, rows: int, result: Pointer) -> None:
    """Transpose rows of x: result[j, i] = x[i, j]; zero beyond the rows.

    x (rows, columns); OUT result (columns, rows), both rounded up to whole vectors.
    """
    stride = padded(rows)
    for i in range(0, stride, LANES):
        if columns == 1:
            store(result, i, load_first(x, i, rows - i))
        else:
            n = min(rows - i, LANES)
            for j in range(0, columns, LANES):
                transpose_8(at(x, i * columns + j), columns, n, j, stride, at(result, i))


@device_function
def transpose_8(x: Pointer, columns: int, n: int, j: int, stride: int, result: Pointer) -> None:
    """Transpose eight columns of eight rows, of which n exist; x begins at column j."""
    # The constant spares the masks of rows that do not exist.
    rows = eight_rows(x, columns, LANES, j) if n == LANES else eight_rows(x, columns, n, j)
    c = columns_of(*rows)
    o = j * stride
    store(result, o, c[0])
    store(result, o + stride, c[1])
    store(result, o + 2 * stride, c[2])
    store(result, o + 3 * stride, c[3])
    if columns - j > 4:
        store(result, o + 4 * stride, c[4])
        store(result, o + 5 * stride, c[5])
        store(result, o + 6 * stride, c[6])
        store(result, o + 7 * stride, c[7])


@device_function
def eight_rows(x: Pointer, columns: int, n: int, j: int) -> tuple[Vector, ...]:
    """Return eight columns, from j on, of eight rows, of which n exist; zero elsewhere."""
    return (
        part_of_row(x, columns, 0, n, j),
        part_of_row(x, columns, 1, n, j),
        part_of_row(x, columns, 2, n, j),
        part_of_row(x, columns, 3, n, j),
        part_of_row(x, columns, 4, n, j),
        part_of_row(x, columns, 5, n, j),
        part_of_row(x, columns, 6, n, j),
        part_of_row(x, columns, 7, n, j),
    )


@device_function
def part_of_row(x: Pointer, columns: int, r: int, n: int, j: int) -> Vector:
    """Return eight columns of row r of n, from j on; zero where there is no such element."""
    return load_first(x, min(r, n - 1) * columns, columns - j if r < n else 0)
