"""A network over compressed rows: its first layer touches only what is not zero.

N rows in compressed form: values and, as one array of integers, N + 1 places where a row's values
begin, then the column of each value. The other layers are those of ``network.py``. In the first the
neurons lie side by side, since a value needs one row of weights, (H,), forward and backward.
"""

from __future__ import annotations

from typing import Any

from fastbp.kernels.jit import device_function, kernel, subroutine
from fastbp.kernels.layers import layer
from fastbp.kernels.layout import (
    A_AT,
    BIASES_AT,
    BLOCK_START,
    D_AT,
    LAYER_ACTIVATION,
    N_FEATURES,
    N_LAYERS,
    N_ROWS,
    NO_ROW,
    OPTIMIZER,
    OUTPUTS,
    SHUFFLED,
    TILE_ROWS,
    WEIGHTS_AT,
)
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
    state: Pointer,
    start: int,
    rows: int,
    parameters: Pointer,
    work: Pointer,
    partial: Pointer,
) -> bool:
    """Sum loss, weight and gradient over a chunk of at least two layers; OUT partial.

    The rows were looked at before: True.
    """
    tile = state[TILE_ROWS]
    begin = start - state[BLOCK_START]
    for first in range(begin, begin + rows, tile):
        n = min(tile, begin + rows - first)
        mode = PLAIN if first == begin else PLUS
        sparse_layer(x, order, state, first, n, parameters, work)
        now = layer(state, 0)
        forward(state, 1, padded(n), at(work, now[A_AT]), parameters, work, True)
        tile_losses(mode, y, sample_weight, order, state, first, n, work, partial)
        if state[OPTIMIZER] != KEEP_LOSS:
            backward(mode, state, 1, n, parameters, work, partial, partial)
            sums(
                mode, padded(n), now[OUTPUTS], at(work, now[D_AT]), partial,
                at(partial, now[BIASES_AT]),
            )  # fmt: skip
            sparse_weights(mode, x, order, state, first, n, work, partial)
    return True


@device_function
def row_number(order: Pointer, state: Pointer, i: int) -> int:
    """Return the number of the row that comes at place i."""
    return int(order[i]) if state[SHUFFLED] != 0 else i


@subroutine
def sparse_layer(
    x: Compressed,
    order: Pointer,
    state: Pointer,
    first: int,
    n: int,
    parameters: Pointer,
    work: Pointer,
) -> None:
    """Compute a = phi(x W + b) and phi'(z) of the first layer for n rows; OUT work.

    A row's last sums run over into the next row's place, which is written after it.
    """
    values, places = x
    now = layer(state, 0)
    h = now[OUTPUTS]
    w = at(parameters, now[WEIGHTS_AT])
    b = at(parameters, now[BIASES_AT])
    z = at(work, now[D_AT])
    scratch = at(work, layer(state, state[N_LAYERS])[A_AT])
    columns = at(places, state[N_ROWS] + 1)
    for i in range(n):
        row = row_number(order, state, first + i)
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
    activate_layer(now[LAYER_ACTIVATION], h * padded(n), z, at(work, now[A_AT]), True)


@subroutine
def sparse_weights(
    mode: int,
    x: Compressed,
    order: Pointer,
    state: Pointer,
    first: int,
    n: int,
    work: Pointer,
    partial: Pointer,
) -> None:
    """Add up dW = x' dz of the first layer; OUT (mode PLAIN) or ACC partial.

    Beyond the neurons dz is 0, so that running over into the next row of weights adds nothing.
    """
    values, places = x
    now = layer(state, 0)
    h = now[OUTPUTS]
    lanes = padded(h)
    dw = at(partial, now[WEIGHTS_AT])
    dz = at(work, layer(state, state[N_LAYERS])[A_AT])
    columns = at(places, state[N_ROWS] + 1)
    if mode == PLAIN:
        clear(padded(state[N_FEATURES] * h), dw)
    transpose(at(work, now[D_AT]), padded(n), 0, h, lanes, dz)
    for i in range(n):
        row = row_number(order, state, first + i)
        for k in range(places[row], places[row + 1]):
            value = broadcast(values[k])
            of_column = at(dw, columns[k] * h)
            for j in range(0, h, LANES):
                store(of_column, j, fma(value, load(dz, i * lanes + j), load(of_column, j)))


@device_function
def no_bad_row(x: Compressed, order: Pointer, state: Pointer, start: int, rows: int) -> int:
    """Return NO_ROW."""
    return NO_ROW


@kernel
def sparse_steps(
    x: Any,
    y: Any,
    sample_weight: Any,
    order: Any,
    state: Any,
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
        data(state),
        data(floats),
        data(rates),
        data(losses),
        worker,
    )
