"""A network over sparse rows: its first layer touches non-zero values only.

x is a tuple: the non-zero values, row by row, and an array of integers: the N + 1 starts of the
rows among the values, then the column of each value. The other layers are those of ``network.py``.
In the first one the neurons lie side by side, since a value needs one row of weights, (H,),
forward and backward.
"""

from __future__ import annotations

from typing import Any

from fastbp.kernels import layout
from fastbp.kernels.blocks import PLAIN, PLUS
from fastbp.kernels.jit import device_function, kernel, subroutine
from fastbp.kernels.layers import WHOLE, layer, neurons_at
from fastbp.kernels.matvec import row_at
from fastbp.kernels.network import (
    activate_layer,
    backward,
    forward,
    gradient,
    row_losses,
    sum_losses,
)
from fastbp.kernels.panels import panels_of_rows, side_by_side
from fastbp.kernels.steps import Buffers, Data, order_of, run_steps
from fastbp.kernels.sums import sums_of_neurons
from fastbp.kernels.update import KEEP_LOSS, fill
from fastbp.kernels.vector import (
    LANES,
    Pointer,
    at,
    broadcast_like,
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
    parameters, work, partial, sums = buffers
    tile = integers[layout.TILE_ROWS]
    begin = start - integers[layout.BLOCK_START]
    for first in range(begin, begin + rows, tile):
        n = min(tile, begin + rows - first)
        mode = PLAIN if first == begin else PLUS
        panels = padded(n) // LANES
        sparse_layer(data, integers, first, n, parameters, work)
        a = at(work, layer(integers, 0)[layout.A_AT])
        forward(integers, 1, 0, panels, a, parameters, work, True)
        row_losses(data, integers, first, n, 0, work)
        sum_losses(mode, integers, n, work, sums)
        if integers[layout.OPTIMIZER] != KEEP_LOSS:
            backward(integers, 1, 0, panels, parameters, work)
            gradient(mode, integers, 1, n, WHOLE, work, partial, partial)
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
    sums_of_row = at(work, now[layout.ROWS_AT])
    columns = at(starts, integers[layout.N_ROWS] + 1)
    for i in range(n):
        row = row_at(order, first + i)
        for j in range(0, h, BLOCK):
            sums = load_4(b, j)
            for k in range(starts[row], starts[row + 1]):
                sums = fma_4(broadcast_like(w, values[k]), load_4(w, columns[k] * h + j), sums)
            store_4(sums_of_row, i * h + j, sums)
    panels_of_rows(sums_of_row, h, h, (starts, False), 0, n, z)
    a, activation = at(work, now[layout.A_AT]), now[layout.LAYER_ACTIVATION]
    activate_layer(activation, h * padded(n), z, a, True)


@subroutine
def sparse_weights(
    mode: int, data: Data, integers: Pointer, first: int, n: int, buffers: Buffers
) -> None:
    """Sum up dW = x' dz and db of the first layer; OUT (mode PLAIN) or ACC partial.

    Beyond the neurons dz is 0: what reaches into the next row of weights adds nothing.
    """
    values, starts = data[0]
    order = order_of(data, integers)
    _, work, partial, _ = buffers
    now, panels = layer(integers, 0), padded(n) // LANES
    h = now[layout.OUTPUTS]
    dw, db = at(partial, now[layout.WEIGHTS_AT]), at(partial, now[layout.BIASES_AT])
    dz = neurons_at(work, now, layout.D_AT, 0)
    rows, stride = at(work, now[layout.ROWS_AT]), padded(n) * LANES
    columns = at(starts, integers[layout.N_ROWS] + 1)
    if mode == PLAIN:
        fill(padded(integers[layout.N_FEATURES] * h), 0.0, dw)
    sums_of_neurons(mode, panels, h, (dz, h * LANES), partial, db)
    for i in range(panels):
        side_by_side(at(dz, i * h * LANES), h, stride, at(rows, i * LANES * LANES))
    for i in range(n):
        row = row_at(order, first + i)
        for k in range(starts[row], starts[row + 1]):
            value = broadcast_like(rows, values[k])
            of_column = at(dw, columns[k] * h)
            for j in range(0, h, LANES):
                dz_j = load(rows, j * padded(n) + i * LANES)
                store(of_column, j, fma(value, dz_j, load(of_column, j)))


@device_function
def no_bad_row(data: Data, integers: Pointer, vectors: Pointer, start: int, rows: int) -> int:
    """Return NO_ROW: sparse rows are checked before they get here."""
    return layout.NO_ROW


@kernel
def sparse_steps(
    data: Any, integers: Any, floats: Any, vectors: Any, rates: Any, losses: Any, worker: int
) -> bool:
    """Run a slice like `network_steps`, where x is that of sparse rows."""
    return run_steps(
        sparse_gradient, no_bad_row, data, integers, floats, vectors, rates, losses, worker
    )
