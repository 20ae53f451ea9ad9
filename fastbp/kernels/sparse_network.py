"""A network over compressed rows: its first layer touches only what is not zero.

N rows in compressed form: values and, as one array of integers, N + 1 places where a row's values
begin, then the column of each value. The other layers are those of ``network.py``. In the first the
neurons lie side by side, since a value needs one row of weights, (H,), forward and backward.
"""

from __future__ import annotations

from typing import Any

from fastbp.kernels import layout
from fastbp.kernels.jit import device_function, kernel, subroutine
from fastbp.kernels.layers import layer
from fastbp.kernels.matmul import PLAIN, PLUS, sums, transpose
from fastbp.kernels.network import activate_layer, backward, forward, tile_losses
from fastbp.kernels.neuron import padded
from fastbp.kernels.steps import run_steps
from fastbp.kernels.update import KEEP_LOSS, clear
from fastbp.kernels.vector import LANES, Pointer, at, broadcast, data, fma, load, store

Compressed = tuple[Pointer, Pointer]
BLOCK = 4 * LANES  # neurons whose sums are in registers


@subroutine
def sparse_gradient(
    x: Compressed,
    y: Pointer,
    sample_weight: Pointer,
    order: Pointer,
    integers: Pointer,
    start: int,
    rows: int,
    parameters: Pointer,
    work: Pointer,
    partial: Pointer,
) -> bool:
    """Sum loss, weight and gradient over a chunk of at least two layers; OUT partial.

    The rows were looked at before: True.
    """
    tile = integers[layout.TILE_ROWS]
    begin = start - integers[layout.BLOCK_START]
    for first in range(begin, begin + rows, tile):
        n = min(tile, begin + rows - first)
        mode = PLAIN if first == begin else PLUS
        sparse_layer(x, order, integers, first, n, parameters, work)
        now = layer(integers, 0)
        forward(integers, 1, padded(n), at(work, now[layout.A_AT]), parameters, work, True)
        tile_losses(mode, y, sample_weight, order, integers, first, n, work, partial)
        if integers[layout.OPTIMIZER] != KEEP_LOSS:
            backward(mode, integers, 1, n, parameters, work, partial, partial)
            sums(
                mode, padded(n), now[layout.OUTPUTS], at(work, now[layout.D_AT]), partial,
                at(partial, now[layout.BIASES_AT]),
            )  # fmt: skip
            sparse_weights(mode, x, order, integers, first, n, work, partial)
    return True


@device_function
def row_number(order: Pointer, integers: Pointer, i: int) -> int:
    """Return the number of the row that comes at place i."""
    return int(order[i]) if integers[layout.SHUFFLED] != 0 else i


@subroutine
def sparse_layer(
    x: Compressed,
    order: Pointer,
    integers: Pointer,
    first: int,
    n: int,
    parameters: Pointer,
    work: Pointer,
) -> None:
    """Compute a = phi(x W + b) and phi'(z) of the first layer for n rows; OUT work.

    A row's last sums run over into the next row's place, which is written after it.
    """
    values, places = x
    now = layer(integers, 0)
    h = now[layout.OUTPUTS]
    w = at(parameters, now[layout.WEIGHTS_AT])
    b = at(parameters, now[layout.BIASES_AT])
    z = at(work, now[layout.D_AT])
    scratch = at(work, layer(integers, integers[layout.N_LAYERS])[layout.A_AT])
    columns = at(places, integers[layout.N_ROWS] + 1)
    for i in range(n):
        row = row_number(order, integers, first + i)
        for j in range(0, h, BLOCK):
            s0, s1 = load(b, j), load(b, j + 8)
            s2, s3 = load(b, j + 16), load(b, j + 24)
            for k in range(places[row], places[row + 1]):
                value = broadcast(values[k])
                of_column = at(w, columns[k] * h + j)
                s0 = fma(value, load(of_column, 0), s0)
                s1 = fma(value, load(of_column, 8), s1)
                s2 = fma(value, load(of_column, 16), s2)
                s3 = fma(value, load(of_column, 24), s3)
            sums_of_row = at(scratch, i * h + j)
            store(sums_of_row, 0, s0)
            store(sums_of_row, 8, s1)
            store(sums_of_row, 16, s2)
            store(sums_of_row, 24, s3)
    transpose(scratch, h, 0, n, padded(n), z)
    activate_layer(now[layout.LAYER_ACTIVATION], h * padded(n), z, at(work, now[layout.A_AT]), True)


@subroutine
def sparse_weights(
    mode: int,
    x: Compressed,
    order: Pointer,
    integers: Pointer,
    first: int,
    n: int,
    work: Pointer,
    partial: Pointer,
) -> None:
    """Add up dW = x' dz of the first layer; OUT (mode PLAIN) or ACC partial.

    Beyond the neurons dz is 0, so that running over into the next row of weights adds nothing.
    """
    values, places = x
    now = layer(integers, 0)
    h = now[layout.OUTPUTS]
    lanes = padded(h)
    dw = at(partial, now[layout.WEIGHTS_AT])
    dz = at(work, layer(integers, integers[layout.N_LAYERS])[layout.A_AT])
    columns = at(places, integers[layout.N_ROWS] + 1)
    if mode == PLAIN:
        clear(padded(integers[layout.N_FEATURES] * h), dw)
    transpose(at(work, now[layout.D_AT]), padded(n), 0, h, lanes, dz)
    for i in range(n):
        row = row_number(order, integers, first + i)
        for k in range(places[row], places[row + 1]):
            value = broadcast(values[k])
            of_column = at(dw, columns[k] * h)
            for j in range(0, h, LANES):
                store(of_column, j, fma(value, load(dz, i * lanes + j), load(of_column, j)))


@device_function
def no_bad_row(x: Compressed, order: Pointer, integers: Pointer, start: int, rows: int) -> int:
    """Return NO_ROW."""
    return layout.NO_ROW


@kernel
def sparse_steps(
    x: Any,
    y: Any,
    sample_weight: Any,
    order: Any,
    integers: Any,
    floats: Any,
    rates: Any,
    losses: Any,
    worker: int,
) -> bool:
    """Run a slice like `network_steps`; x is a tuple: values, and places with columns."""
    values, places = x
    return run_steps(
        sparse_gradient,
        no_bad_row,
        (data(values), data(places)),
        data(y),
        data(sample_weight),
        data(order),
        data(integers),
        data(floats),
        data(rates),
        data(losses),
        worker,
    )
