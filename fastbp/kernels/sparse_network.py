"""A network over sparse rows: its first layer touches non-zero values only.

x is a tuple: the non-zero values, row by row, and an array of integers: the N + 1 starts of the
rows among the values, then the column of each value. The other layers are those of ``network.py``.
In the first one the neurons lie side by side, since a value needs one row of weights, (H,),
forward and backward.
"""

from __future__ import annotations

from typing import Any

from fastbp.kernels import layout
from fastbp.kernels.jit import device_function, kernel, subroutine
from fastbp.kernels.layers import layer
from fastbp.kernels.matmul import PLAIN, PLUS, sums_of_rows, transpose
from fastbp.kernels.matvec import row_at
from fastbp.kernels.network import activate_layer, backward, forward, scratch_at, tile_losses
from fastbp.kernels.steps import Buffers, Data, order_of, run_steps
from fastbp.kernels.update import KEEP_LOSS, fill
from fastbp.kernels.vector import (
    LANES,
    Pointer,
    at,
    broadcast,
    fma,
    fma_4,
    load,
    load_4,
    padded,
    store,
    store_4,
)

BLOCK = 4 * LANES  # neurons whose sums are in registers


@subroutine
def sparse_gradient(data: Data, integers: Pointer, start: int, rows: int, buffers: Buffers) -> bool:
    """Sum loss, weight and gradient over a chunk, of at least two layers; OUT partial, work.

    Returns True: the rows were checked before.
    """
    parameters, work, partial = buffers
    tile = integers[layout.TILE_ROWS]
    begin = start - integers[layout.BLOCK_START]
    for first in range(begin, begin + rows, tile):
        n = min(tile, begin + rows - first)
        mode = PLAIN if first == begin else PLUS
        sparse_layer(data, integers, first, n, parameters, work)
        now = layer(integers, 0)
        forward(integers, 1, padded(n), at(work, now[layout.A_AT]), parameters, work, True)
        tile_losses(mode, data, integers, first, n, buffers)
        if integers[layout.OPTIMIZER] != KEEP_LOSS:
            backward(mode, integers, 1, n, buffers)
            dz, db = at(work, now[layout.D_AT]), at(partial, now[layout.BIASES_AT])
            sums_of_rows(mode, padded(n), now[layout.OUTPUTS], dz, partial, db)
            sparse_weights(mode, data, integers, first, n, buffers)
    return True


@subroutine
def sparse_layer(
    data: Data, integers: Pointer, first: int, n: int, parameters: Pointer, work: Pointer
) -> None:
    """Compute a = phi(x W + b) and phi'(z) of the first layer for n rows; OUT work.

    A row's last vectors reach into the next row's sums, which are written afterwards.
    """
    values, starts = data[0]
    order = order_of(data, integers)
    now = layer(integers, 0)
    h = now[layout.OUTPUTS]
    w = at(parameters, now[layout.WEIGHTS_AT])
    b = at(parameters, now[layout.BIASES_AT])
    z = at(work, now[layout.D_AT])
    scratch = scratch_at(integers, work)
    columns = at(starts, integers[layout.N_ROWS] + 1)
    for i in range(n):
        row = row_at(order, first + i)
        for j in range(0, h, BLOCK):
            sums = load_4(b, j)
            for k in range(starts[row], starts[row + 1]):
                sums = fma_4(broadcast(values[k]), load_4(w, columns[k] * h + j), sums)
            store_4(scratch, i * h + j, sums)
    transpose(scratch, h, n, z)
    a, activation = at(work, now[layout.A_AT]), now[layout.LAYER_ACTIVATION]
    activate_layer(activation, h * padded(n), z, a, True)


@subroutine
def sparse_weights(
    mode: int, data: Data, integers: Pointer, first: int, n: int, buffers: Buffers
) -> None:
    """Add up dW = x' dz of the first layer; OUT (mode PLAIN) or ACC partial.

    Beyond the neurons dz is 0: what reaches into the next row of weights adds nothing.
    """
    values, starts = data[0]
    order = order_of(data, integers)
    _, work, partial = buffers
    now = layer(integers, 0)
    h = now[layout.OUTPUTS]
    lanes = padded(h)
    dw = at(partial, now[layout.WEIGHTS_AT])
    dz = scratch_at(integers, work)
    columns = at(starts, integers[layout.N_ROWS] + 1)
    if mode == PLAIN:
        fill(padded(integers[layout.N_FEATURES] * h), 0.0, dw)
    transpose(at(work, now[layout.D_AT]), padded(n), h, dz)
    for i in range(n):
        row = row_at(order, first + i)
        for k in range(starts[row], starts[row + 1]):
            value = broadcast(values[k])
            of_column = at(dw, columns[k] * h)
            for j in range(0, h, LANES):
                store(of_column, j, fma(value, load(dz, i * lanes + j), load(of_column, j)))


@device_function
def no_bad_row(data: Data, integers: Pointer, start: int, rows: int) -> int:
    """Return NO_ROW: sparse rows are checked before they get here."""
    return layout.NO_ROW


@kernel
def sparse_steps(
    data: Any, integers: Any, floats: Any, rates: Any, losses: Any, worker: int
) -> bool:
    """Run a slice like `network_steps`, where x is that of sparse rows."""
    return run_steps(sparse_gradient, no_bad_row, data, integers, floats, rates, losses, worker)
