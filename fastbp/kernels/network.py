"""A network: loss and gradient over a chunk of rows, X read from memory once.

N samples, B rows of a tile, D inputs, K outputs, L layers, P parameters: the weights of all
layers, each (inputs, outputs) and rounded up to whole vectors, then the biases likewise. A tile
is laid rows side by side, (n, B) for n neurons (see ``products.py``), and goes forward through
all layers, through the loss, and back, while it is in the nearest caches.
"""

from __future__ import annotations

from typing import Any

from fastbp.kernels import layout
from fastbp.kernels.activations import (
    EXPONENTIAL,
    RELU,
    SOFTMAX,
    activate,
    activate_with_derivative,
)
from fastbp.kernels.blas import gemm
from fastbp.kernels.exponential import exp
from fastbp.kernels.jit import device_function, kernel, subroutine
from fastbp.kernels.layers import inputs_of, layer, losses_and_dz
from fastbp.kernels.losses import softmax
from fastbp.kernels.matmul import (
    DESCEND,
    PLAIN,
    PLUS,
    PLUS_START,
    PLUS_START_RELU,
    TIMES,
    WHERE_POSITIVE,
    keep,
    multiply,
    multiply_row,
    sums,
    sums_of_products,
    transpose,
)
from fastbp.kernels.matvec import gather_rows
from fastbp.kernels.neuron import first_bad_row, padded
from fastbp.kernels.online_network import online_step
from fastbp.kernels.plan import BLAS, OUTER
from fastbp.kernels.steps import run_steps, run_whole_batches
from fastbp.kernels.update import KEEP_LOSS, all_finite
from fastbp.kernels.vector import LANES, Pointer, at, broadcast, data, load, store


@subroutine
def network_gradient(
    x: Pointer,
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
    """Sum loss, weight and gradient over a chunk; OUT partial. Returns whether x was finite."""
    tile = integers[layout.TILE_ROWS]
    begin = start - integers[layout.BLOCK_START]
    finite = True
    for first in range(begin, begin + rows, tile):
        n = min(tile, begin + rows - first)
        mode = PLAIN if first == begin else PLUS
        finite &= tile_forward(
            mode, x, y, sample_weight, order, integers, first, n, parameters, work, partial
        )
        if integers[layout.OPTIMIZER] != KEEP_LOSS:
            backward(mode, integers, 0, n, parameters, work, partial, partial)
    return finite


@subroutine
def tile_step(
    x: Pointer,
    y: Pointer,
    sample_weight: Pointer,
    order: Pointer,
    integers: Pointer,
    start: int,
    rows: int,
    rate: float,
    floats: Pointer,
    work: Pointer,
    partial: Pointer,
) -> bool:
    """Do one step of plain SGD with a batch of one tile, to the bit as by way of its gradient.

    OUT loss and weight in `partial`; ACC parameters. Not storing the gradient and coming back to
    it took a twentieth off 64-100-10 with 32 rows. Returns whether x was finite.
    """
    parameters = at(floats, layout.PARAMETERS)
    first = start - integers[layout.BLOCK_START]
    finite = tile_forward(
        PLAIN, x, y, sample_weight, order, integers, first, rows, parameters, work, partial
    )
    factor = at(partial, integers[layout.N_PARAMETERS] + layout.PARTIAL_EXTRA)
    factor[0] = -(rate / partial[integers[layout.N_PARAMETERS] + layout.WEIGHT_SUM])
    backward(DESCEND, integers, 0, rows, parameters, work, factor, parameters)
    return finite


@device_function
def inputs_at(integers: Pointer, work: Pointer) -> Pointer:
    """Return where x of a tile begins in the scratch: behind the labels and the weights."""
    return at(work, (padded(integers[layout.LABEL_COLUMNS]) + 1) * integers[layout.TILE_ROWS])


@subroutine
def tile_forward(
    mode: int,
    x: Pointer,
    y: Pointer,
    sample_weight: Pointer,
    order: Pointer,
    integers: Pointer,
    first: int,
    n: int,
    parameters: Pointer,
    work: Pointer,
    partial: Pointer,
) -> bool:
    """Take n rows through all layers and the loss; OUT work, with dz of the output.

    OUT (mode PLAIN) or ACC (PLUS) loss and weight in `partial`. Returns whether x was finite,
    which only the first epoch looks at.
    """
    width = padded(n)
    d = integers[layout.N_FEATURES]
    inputs = inputs_at(integers, work)
    scratch = at(work, layer(integers, integers[layout.N_LAYERS])[layout.A_AT])
    lay_out(
        x,
        d,
        integers[layout.ROW_STRIDE],
        order,
        integers[layout.SHUFFLED] != 0,
        first,
        n,
        scratch,
        inputs,
    )
    forward(integers, 0, width, inputs, parameters, work, True)
    tile_losses(mode, y, sample_weight, order, integers, first, n, work, partial)
    return integers[layout.EPOCH] > 0 or all_finite(d * width, inputs)


@subroutine
def tile_losses(
    mode: int,
    y: Pointer,
    sample_weight: Pointer,
    order: Pointer,
    integers: Pointer,
    first: int,
    n: int,
    work: Pointer,
    partial: Pointer,
) -> None:
    """Turn the output's z of n rows into dz; OUT (mode PLAIN) or ACC loss and weight in `partial`.

    OUT work: labels and weights at its beginning.
    """
    p = integers[layout.N_PARAMETERS]
    shuffled = integers[layout.SHUFFLED] != 0
    label_columns = integers[layout.LABEL_COLUMNS]
    weights = at(work, padded(label_columns) * integers[layout.TILE_ROWS])
    scratch = at(work, layer(integers, integers[layout.N_LAYERS])[layout.A_AT])
    lay_out(
        y, label_columns, integers[layout.LABEL_STRIDE], order, shuffled, first, n, scratch, work
    )
    if integers[layout.WEIGHTED] != 0:
        stride = integers[layout.WEIGHT_STRIDE]
        lay_out(sample_weight, 1, stride, order, shuffled, first, n, scratch, weights)
    if mode == PLAIN:
        partial[p + layout.LOSS_SUM] = 0.0
        partial[p + layout.WEIGHT_SUM] = 0.0
    z = at(work, layer(integers, integers[layout.N_LAYERS] - 1)[layout.D_AT])
    losses_and_dz(integers, n, padded(n), work, weights, z, partial)


@device_function
def lay_out(
    x: Pointer,
    columns: int,
    stride: int,
    order: Pointer,
    shuffled: bool,
    first: int,
    n: int,
    scratch: Pointer,
    result: Pointer,
) -> None:
    """Lay n rows of x side by side, from `first` on or in order; OUT result, scratch.

    Rows that are apart are gathered first, into scratch (n, columns).
    """
    if shuffled or stride != columns:
        gather_rows(x, columns, stride, order, shuffled, first, n, scratch)
        transpose(scratch, columns, 0, n, padded(n), result)
    else:
        transpose(x, columns, first, n, padded(n), result)


@subroutine
def forward(
    integers: Pointer,
    first: int,
    width: int,
    inputs: Pointer,
    parameters: Pointer,
    work: Pointer,
    training: bool,
) -> None:
    """Compute a = phi(a_before W + b) of all layers from `first` on, the output's z only; OUT work.

    In training the derivatives phi'(z), too: computed from z, not from a, they keep their
    digits. (That of ReLU is read off a.)
    """
    n_layers = integers[layout.N_LAYERS]
    a_before = inputs
    for index in range(first, n_layers):
        now = layer(integers, index)
        n_inputs = inputs_of(integers, index)
        n = now[layout.OUTPUTS]
        w = at(parameters, now[layout.WEIGHTS_AT])
        b = at(parameters, now[layout.BIASES_AT])
        a = at(work, now[layout.A_AT])
        z = at(work, now[layout.D_AT])
        hidden = index < n_layers - 1
        activation = now[layout.LAYER_ACTIVATION]
        if now[layout.METHOD] == BLAS and training:
            for j in range(n):
                for i in range(j * width, j * width + width, LANES):
                    store(z, i, broadcast(b[j]))
            gemm(integers[layout.GEMM], True, False, n, width, n_inputs, w, a_before, 1.0, z)
        elif hidden and activation == RELU:
            multiply(PLUS_START_RELU, n_inputs, n, width, w, n, 1, a_before, width, b, a, width)
            hidden = False
        else:
            multiply(PLUS_START, n_inputs, n, width, w, n, 1, a_before, width, b, z, width)
        if hidden:
            activate_layer(activation, n * width, z, a, training)
        a_before = a


@subroutine
def activate_layer(activation: int, size: int, z: Pointer, a: Pointer, training: bool) -> None:
    """Compute a = phi(z); OUT a, and in training z, which becomes phi'(z)."""
    for i in range(0, size, LANES):
        if training:
            value, derivative = activate_with_derivative(activation, load(z, i))
            store(z, i, derivative)
        else:
            value = activate(activation, load(z, i))
        store(a, i, value)


@subroutine
def backward(
    mode: int,
    integers: Pointer,
    last: int,
    n: int,
    parameters: Pointer,
    work: Pointer,
    factor: Pointer,
    target: Pointer,
) -> None:
    """Go back through the layers down to `last`; the gradient goes to `target` as `mode`.

    From the output's dz: dz_before = (dz W') phi'(z_before), with the weights from before the
    update, then dW = a_before' dz and db = sum dz. Below `last` there is dz, and no more.
    """
    width = padded(n)
    scratch = at(work, layer(integers, integers[layout.N_LAYERS])[layout.A_AT])
    for back in range(integers[layout.N_LAYERS] - last):
        index = integers[layout.N_LAYERS] - 1 - back
        now = layer(integers, index)
        n_inputs = inputs_of(integers, index)
        n_outputs = now[layout.OUTPUTS]
        w = at(parameters, now[layout.WEIGHTS_AT])
        dz = at(work, now[layout.D_AT])
        dw = at(target, now[layout.WEIGHTS_AT])
        a = inputs_at(integers, work)
        if index > 0:
            before = layer(integers, index - 1)
            a = at(work, before[layout.A_AT])
            d = at(work, before[layout.D_AT])
            mode_d, other = TIMES, d
            if before[layout.LAYER_ACTIVATION] == RELU:
                mode_d, other = WHERE_POSITIVE, a
            if now[layout.METHOD] == BLAS:
                gemm(
                    integers[layout.GEMM],
                    False,
                    False,
                    n_inputs,
                    width,
                    n_outputs,
                    w,
                    dz,
                    0.0,
                    scratch,
                )
                for i in range(0, n_inputs * width, LANES):
                    keep(mode_d, load(scratch, i), other, d, i)
            else:
                multiply(
                    mode_d, n_outputs, n_inputs, width, w, 1, n_outputs, dz, width, other, d, width
                )
        sums(mode, width, n_outputs, dz, factor, at(target, now[layout.BIASES_AT]))
        if now[layout.METHOD] == BLAS:
            kept = 0.0 if mode == PLAIN else 1.0
            gemm(integers[layout.GEMM], False, True, n_inputs, n_outputs, width, a, dz, kept, dw)
        elif now[layout.METHOD] == OUTER:
            lanes = padded(n_outputs)
            transpose(dz, width, 0, n_outputs, lanes, scratch)
            multiply(
                mode, n, n_inputs, n_outputs, a, 1, width, scratch, lanes, factor, dw, n_outputs
            )
        elif n_inputs >= n_outputs:
            sums_of_products(mode, width, a, n_inputs, n_outputs, dz, n_outputs, 1, factor, dw)
        else:
            sums_of_products(mode, width, dz, n_outputs, 1, a, n_inputs, n_outputs, factor, dw)


@kernel
def network_steps(
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
    """Run a slice of a fit: see :func:`fastbp.kernels.steps.run_steps`.

    x (rows of the block, D), y (rows, label columns), sample_weight (rows,) and order (rows,) of
    int64; sample_weight and order are empty where not used. ACC state, floats; OUT losses.

    It and the next two do the same. As three kernels, each is compiled where it is wanted: a
    first call takes a third to two thirds of the time.
    """
    return run_steps(
        network_gradient,
        first_bad_row,
        data(x),
        data(y),
        data(sample_weight),
        data(order),
        data(integers),
        data(floats),
        data(rates),
        data(losses),
        worker,
    )


@kernel
def tile_steps(
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
    """Run a slice like `network_steps`, where batches are tiles and SGD is plain: one thread."""
    return run_whole_batches(
        tile_step,
        first_bad_row,
        data(x),
        data(y),
        data(sample_weight),
        data(order),
        data(integers),
        data(floats),
        data(rates),
        data(losses),
    )


@kernel
def online_steps(
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
    """Run a slice like `network_steps`, where batches are single rows and SGD is plain."""
    return run_whole_batches(
        online_step,
        first_bad_row,
        data(x),
        data(y),
        data(sample_weight),
        data(order),
        data(integers),
        data(floats),
        data(rates),
        data(losses),
    )


@kernel
def network_outputs(x: Any, parameters: Any, integers: Any, work: Any, outputs: Any) -> bool:
    """Compute the outputs of rows: x (rows, D), parameters (P,); OUT outputs (rows, K).

    `state` holds the features, the tile and the table of layers, work (scratch,) is as large as
    that table says. Returns whether x and the parameters were finite.
    """
    rows, d = x.shape
    table = data(integers)
    scratch = data(work)
    results = data(outputs)
    tile = table[layout.TILE_ROWS]
    k = outputs.shape[1]
    z = at(scratch, layer(table, table[layout.N_LAYERS] - 1)[layout.D_AT])
    finite = all_finite(parameters.size, data(parameters))
    for first in range(0, rows, tile):
        n = min(tile, rows - first)
        width = padded(n)
        transpose(data(x), d, first, n, width, scratch)
        finite &= all_finite(d * width, scratch)
        if rows == 1:
            row_forward(table, data(x), data(parameters), scratch)
        else:
            forward(table, 0, width, scratch, data(parameters), scratch, False)
        output_activations(table, width, z)
        for i in range(n):
            for j in range(k):
                results[(first + i) * k + j] = z[j * width + i]
    return finite


@subroutine
def row_forward(table: Pointer, x: Pointer, parameters: Pointer, work: Pointer) -> None:
    """Do for a single row what `forward` does, to the bit, its neurons side by side.

    The output's z goes to the first lane of a tile.
    """
    a = x
    for index in range(table[layout.N_LAYERS]):
        now = layer(table, index)
        w = at(parameters, now[layout.WEIGHTS_AT])
        b = at(parameters, now[layout.BIASES_AT])
        z = at(work, now[layout.A_AT])
        multiply_row(inputs_of(table, index), now[layout.OUTPUTS], a, w, b, z)
        if index < table[layout.N_LAYERS] - 1:
            for i in range(0, now[layout.OUTPUTS], LANES):
                store(z, i, activate(now[layout.LAYER_ACTIVATION], load(z, i)))
        a = z
    last = layer(table, table[layout.N_LAYERS] - 1)
    for j in range(last[layout.OUTPUTS]):
        store(at(work, last[layout.D_AT]), j * LANES, broadcast(a[j]))


@subroutine
def output_activations(table: Pointer, width: int, z: Pointer) -> None:
    """Turn the output's z into a; ACC z."""
    last = layer(table, table[layout.N_LAYERS] - 1)
    for i in range(0, width, LANES):
        if last[layout.LAYER_ACTIVATION] == SOFTMAX:
            softmax(z, last[layout.OUTPUTS], width, i)
        elif last[layout.LAYER_ACTIVATION] == EXPONENTIAL:
            for j in range(i, last[layout.OUTPUTS] * width, width):
                store(z, j, exp(load(z, j)))
        else:
            for j in range(i, last[layout.OUTPUTS] * width, width):
                store(z, j, activate(last[layout.LAYER_ACTIVATION], load(z, j)))
