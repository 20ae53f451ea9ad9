"""Matrix products of a tile of rows, in panels: eight rows side by side.

A tile of B rows holds (B/8, n, 8) numbers for n neurons: B/8 *panels*, in each of which the row
index varies fastest. So a weight is multiplied with eight rows at once, whatever the width of a
layer, the numbers that a product visits one after the other lie one after the other, and no
product needs a transposed copy of the weights. One blocked loop serves forward and backward and,
with eight neurons side by side instead, the gradient of the weights.

A block's shape changes no bit: every result is one chain of multiply-adds over the terms in order.
Multiply-adds a nanosecond with 128 rows, 29 at most: forward, backward and of the gradient, and in
brackets OpenBLAS's.

|             | 512-bit vectors            | 256-bit vectors            |
|-------------|----------------------------|----------------------------|
| 784 x 256   | 28, 29, 29 (24, 25, 25)    | 25, 28, 28 (26, 25, 26)    |
| 784 x 512   | 28, 28, 29 (23, 25, 25)    | 23, 28, 28 (25, 25, 24)    |
| 1024 x 1024 | 28, 28, 28 (22, 24, 25)    | 23, 27, 25 (24, 24, 24)    |
| 2048 x 2048 | 27, 28, 27 (19, 22, 24)    |                            |
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from fastbp.kernels.blocks import (
    MORE,
    MORE_RELU,
    PLUS_START,
    PLUS_START_RELU,
    TIMES,
    WHERE_POSITIVE,
    Panels,
    Result,
    Weights,
    block_1x1,
    block_1x4,
    block_4x1,
    block_4x4,
    block_6x1,
    block_6x2,
)
from fastbp.kernels.jit import device_function, subroutine, vector_width
from fastbp.kernels.lowering import FLOAT_POINTERS, compiled_as
from fastbp.kernels.vector import (
    LANES,
    Pointer,
    at,
    broadcast,
    fma,
    fma_4,
    is_single,
    load,
    load_4,
    load_first,
    store,
    store_4,
)

# Blocks of 4 outputs x 4 panels take 32 registers of 512 bits. In 16 of 256 bits the sums of 6 x 1
# are the most that leave room for the rest. Multiply-adds a nanosecond there, of 21.2 at most, with
# 64 terms, 100 outputs and 200 rows: 4 x 4 5.3, 4 x 2 13, 3 x 2 13, 2 x 3 12, 4 x 1 20.1, 5 x 1
# 20.9, 6 x 1 20.4; but 6 x 1 also hides how long an addition takes where terms come from the L2
# cache: steps of 64-100-10 by 200 and of 784-256-10 by 128 took 0.92 of the time of 4 x 1.
TALL_AND_WIDE = vector_width() >= 512

# Forward, the weights of an output lie a row apart: this many terms at a time stay in the caches.
# All at once took 1.4 times as long at 2048 x 2048, half as many 1.05 times with 512-bit vectors,
# twice as many 1.05 times with 256-bit vectors.
TERMS = 256 if TALL_AND_WIDE else 128
# With 256-bit vectors, a block has few multiply-adds for each weight that it looks for: those of
# eight outputs are packed first (24 multiply-adds a nanosecond, not 15, at 784 x 512), unless few
# panels use them or few terms lie apart (20, not 27, at 64 x 100 with 4 panels).
PACKED_PANELS, PACKED_TERMS = 8, 128
# Weights of which a panel meets all before the next one: 64 outputs of one term took 2.5 times as
# long the other way, since a result's numbers for two panels are 4 KB apart; 784 x 256 takes 1.06
# times as long this way.
FEW_WEIGHTS = 2**11


@subroutine
def multiply(
    mode: int, terms: int, outputs: int, w: Weights, a: Panels, other: Pointer, result: Result
) -> None:
    """Compute sum over t of w[t, o] a[t, i] for all o < outputs and all numbers i of an output.

    `mode` says how the sums are stored, and what `other` is: a start for each output, numbers that
    lie like the result, or a factor. Only sums with a start are cut, and there weights have no gap.
    """
    if mode not in (PLUS_START, PLUS_START_RELU):
        multiply_part(mode, terms, outputs, w, a, other, result)
        return
    w_0, term_stride, output_stride, _ = w
    a_0, panel_stride = a
    for t in range(0, terms, TERMS):
        n = min(TERMS, terms - t)
        now = PLUS_START if t == 0 else MORE
        if t + n == terms and mode == PLUS_START_RELU:
            now = PLUS_START_RELU if t == 0 else MORE_RELU
        w_t = at(w_0, t * term_stride), term_stride, output_stride, 0
        multiply_part(now, n, outputs, w_t, (at(a_0, t * LANES), panel_stride), other, result)


@subroutine
def multiply_part(
    mode: int, terms: int, outputs: int, w: Weights, a: Panels, other: Pointer, result: Result
) -> None:
    """Compute sums of terms that need no cutting, block after block: see `multiply`.

    Few weights stay in the L1 cache: a panel meets all of them before the next one, and results
    are written one after the other. Of many, each output's meet all panels first.
    """
    n = result[3]
    panel_by_panel = terms * outputs <= FEW_WEIGHTS
    packs = not TALL_AND_WIDE and PACKED_TERMS <= terms <= TERMS and w[1] > 1
    packs = packs and n >= PACKED_PANELS * LANES and not panel_by_panel
    packed = packing_space(w[0])
    first_four = 0 if TALL_AND_WIDE else outputs_by_six(outputs)
    first_one = outputs - (outputs - first_four) % 4
    how = mode, terms, outputs, panel_by_panel, packs
    # The numbers of outputs are constants: a choice in the loop took a tenth of the time of 4-8-1.
    multiply_blocks(6, (0, first_four), how, w, packed, a, other, result)
    multiply_blocks(4, (first_four, first_one), how, w, packed, a, other, result)
    multiply_blocks(1, (first_one, outputs), how, w, packed, a, other, result)


@device_function
def multiply_blocks(
    size: int,
    some: tuple[int, int],
    how: tuple[int, int, int, bool, bool],
    w: Weights,
    packed: Pointer,
    a: Panels,
    other: Pointer,
    result: Result,
) -> None:
    """Compute some of the outputs by blocks of `size`: see `multiply_part`."""
    mode, terms, outputs, panel_by_panel, packs = how
    first, last = some
    n = result[3]
    o, i = first, 0
    while o < last and i < n:
        w_o = at(w[0], o * w[2]), w[1], w[2], w[3]
        if packs and o + LANES <= outputs:
            if i == 0:
                pack_eight(terms, w_o, packed)
            w_o = packed, LANES, 1, 0
        lanes = LANES
        if TALL_AND_WIDE and n - i >= 4 * LANES:
            lanes = 4 * LANES
        elif not TALL_AND_WIDE and size == 6 and is_single(a[0]) and n - i >= 2 * LANES:
            lanes = 2 * LANES
        a_i = at(a[0], i // LANES * a[1]), a[1]
        other_i, result_i = block_at(mode, other, result, o, i)
        multiply_block(mode, terms, size, lanes, w_o, a_i, other_i, result_i)
        if panel_by_panel:
            o += size
            if o >= last:
                o, i = first, i + lanes
        else:
            i += lanes
            if i >= n:
                o, i = o + size, 0


@device_function
def multiply_block(
    mode: int,
    terms: int,
    outputs: int,
    lanes: int,
    w: Weights,
    a: Panels,
    other: Pointer,
    result: Result,
) -> None:
    """Compute some outputs in one panel, two or four."""
    if not TALL_AND_WIDE and lanes > LANES:
        block_6x2(mode, terms, w, a, other, result)
    elif TALL_AND_WIDE and lanes > LANES:
        if outputs == 4:
            block_4x4(mode, terms, w, a, other, result)
        else:
            block_1x4(mode, terms, w, a, other, result)
    elif outputs == 6:
        block_6x1(mode, terms, w, a[0], other, result)
    elif outputs == 4:
        block_4x1(mode, terms, w, a[0], other, result)
    else:
        block_1x1(mode, terms, w, a[0], other, result)


@device_function
def block_at(mode: int, other: Pointer, result: Result, o: int, i: int) -> tuple[Pointer, Result]:
    """Return `other` and the result from output o and number i on."""
    result_0, output_stride, panel_stride, n = result
    place = o * output_stride + i // LANES * panel_stride
    if mode in (PLUS_START, PLUS_START_RELU):
        other = at(other, o)
    elif mode in (TIMES, WHERE_POSITIVE):
        other = at(other, place)
    return other, (at(result_0, place), output_stride, panel_stride, n - i)


@device_function
def outputs_by_six(outputs: int) -> int:
    """Return how many outputs to compute by six, so that at most one is left by itself."""
    sixes = outputs // 6
    if (outputs - 6 * sixes) % 4 > 1:
        sixes = max(sixes - 1, 0)
    return 6 * sixes


@device_function
def pack_eight(terms: int, w: Weights, packed: Pointer) -> None:
    """Copy the weights of eight outputs, which lie side by side; OUT packed (terms, 8)."""
    w_0, term_stride, _, _ = w
    for t in range(terms):
        store(packed, t * LANES, load(w_0, t * term_stride))


def packing_space(like: Pointer) -> Pointer:
    """Return room for the weights of eight outputs and TERMS terms, on the stack."""
    return np.empty(TERMS * LANES, like.dtype)


@compiled_as(packing_space, lambda like: like, FLOAT_POINTERS)
def _(builder: Any, like: ir.Value) -> ir.Value:
    array = cgutils.alloca_once(builder, ir.ArrayType(like.type.pointee, TERMS * LANES))
    return builder.bitcast(array, like.type)


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
        s0, s1 = load_first(start, o, n), load_first(start, o + LANES, n - LANES)
        i = o
        for t in range(terms):
            c = broadcast(a[t])
            s0 = fma(c, load_first(w, i, n), s0)
            s1 = fma(c, load_first(w, i + LANES, n - LANES), s1)
            i += outputs
        store(result, o, s0)
        if n > LANES:
            store(result, o + LANES, s1)
        o += 2 * LANES
