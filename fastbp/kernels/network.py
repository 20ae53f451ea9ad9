"""A network: loss and gradient over a chunk of rows, X read from memory once.

N samples, B rows of a tile, D inputs, K outputs, L layers, P parameters: the weights of all
layers, each (inputs, outputs) and rounded up to whole vectors, then the biases likewise. A tile
lies in panels of eight rows, (B/8, n, 8) for n neurons (see ``matmul.py``). Its rows go forward
through all layers, through the loss, and back, each panel by itself; then come the sums over all
rows, the gradient, while the tile is in the L1 and L2 caches.
"""

from __future__ import annotations

from typing import Any

from fastbp.kernels import layout
from fastbp.kernels.activations import RELU, SOFTMAX, activate, activate_with_derivative
from fastbp.kernels.blocks import (
    DESCEND,
    PLAIN,
    PLUS,
    PLUS_START,
    PLUS_START_RELU,
    TIMES,
    WHERE_POSITIVE,
)
from fastbp.kernels.jit import device_function, kernel, subroutine
from fastbp.kernels.layers import (
    WHOLE,
    Part,
    copy_row,
    inputs_at,
    inputs_of,
    labels_at,
    layer,
    losses_at,
    neurons_at,
    output_losses,
    share_of,
    weights_at,
)
from fastbp.kernels.losses import softmax
from fastbp.kernels.matmul import multiply, multiply_row
from fastbp.kernels.online_network import online_step
from fastbp.kernels.panels import panels_of_rows, side_by_side
from fastbp.kernels.plan import OUTER
from fastbp.kernels.steps import (
    Buffers,
    Data,
    first_bad_row,
    order_of,
    run_steps,
    run_whole_batches,
)
from fastbp.kernels.sums import sums_of_neurons, sums_of_products
from fastbp.kernels.update import KEEP_LOSS, all_finite
from fastbp.kernels.vector import LANES, Pointer, at, broadcast, load, padded, pointer_to, store


@subroutine
def network_gradient(
    data: Data, integers: Pointer, start: int, rows: int, buffers: Buffers
) -> bool:
    """Sum loss, weight and gradient over a chunk; OUT partial, work.

    Returns whether x was finite.
    """
    parameters, work, partial, sums = buffers
    tile = integers[layout.TILE_ROWS]
    begin = start - integers[layout.BLOCK_START]
    finite = True
    for first in range(begin, begin + rows, tile):
        n = min(tile, begin + rows - first)
        mode = PLAIN if first == begin else PLUS
        finite &= rows_there_and_back(data, integers, first, n, 0, parameters, work)
        sum_losses(mode, integers, n, work, sums)
        if integers[layout.OPTIMIZER] != KEEP_LOSS:
            gradient(mode, integers, 0, n, WHOLE, work, partial, partial)
    return finite


@subroutine
def tile_step(
    data: Data,
    integers: Pointer,
    start: int,
    rows: int,
    rate: float,
    floats: Pointer,
    buffers: Buffers,
) -> bool:
    """Do one step of plain SGD with a batch of one tile, without storing its gradient.

    OUT loss and weight in the sums, work; ACC parameters. Bit-identical to a step that stores the
    gradient and loads it again, which took a twentieth longer for 64-100-10 with 32 rows. Returns
    whether x was finite.
    """
    parameters, work, partial, sums = buffers
    first = start - integers[layout.BLOCK_START]
    finite = rows_there_and_back(data, integers, first, rows, 0, parameters, work)
    sum_losses(PLAIN, integers, rows, work, sums)
    weight = sums[layout.WEIGHT_SUM]
    if weight > 0.0:
        factor = partial  # no gradient is stored there
        factor[0] = -(rate / weight)
        gradient(DESCEND, integers, 0, rows, WHOLE, work, factor, parameters)
    return finite


@subroutine
def rows_there_and_back(
    data: Data,
    integers: Pointer,
    first: int,
    n: int,
    panel: int,
    parameters: Pointer,
    work: Pointer,
) -> bool:
    """Take n rows through all layers and the loss, and back to each layer's dz; OUT work.

    `first` is the rows' position in the block, `panel` their first panel in the tile. Returns
    whether x was finite, which is checked in the first epoch only.
    """
    d, panels = integers[layout.N_FEATURES], padded(n) // LANES
    inputs = inputs_at(integers, work, panel)
    order = order_of(data, integers)
    panels_of_rows(data[0], d, integers[layout.ROW_STRIDE], order, first, n, inputs)
    forward(integers, 0, panel, panels, inputs, parameters, work, True)
    row_losses(data, integers, first, n, panel, work)
    if integers[layout.OPTIMIZER] != KEEP_LOSS:
        backward(integers, 0, panel, panels, parameters, work)
    return integers[layout.EPOCH] > 0 or all_finite(d * padded(n), inputs)


@subroutine
def row_losses(
    data: Data, integers: Pointer, first: int, n: int, panel: int, work: Pointer
) -> None:
    """Turn the output's z of n rows into dz; OUT work: labels, weights and losses, too."""
    _, y, sample_weight, _ = data
    order = order_of(data, integers)
    columns, stride = integers[layout.LABEL_COLUMNS], integers[layout.LABEL_STRIDE]
    labels = labels_at(integers, work, panel)
    weights = weights_at(integers, work, panel)
    panels_of_rows(y, columns, stride, order, first, n, labels)
    if integers[layout.WEIGHTED] != 0:
        stride = integers[layout.WEIGHT_STRIDE]
        panels_of_rows(sample_weight, 1, stride, order, first, n, weights)
    output = layer(integers, integers[layout.N_LAYERS] - 1)
    z = neurons_at(work, output, layout.D_AT, panel)
    output_losses(integers, n, labels, weights, z, losses_at(work, panel))


@subroutine
def sum_losses(mode: int, integers: Pointer, n: int, work: Pointer, sums: Pointer) -> None:
    """Add up a tile's losses and weights; OUT (mode PLAIN) or ACC sums."""
    panels = padded(n) // LANES
    losses, weights = (losses_at(work, 0), LANES), (weights_at(integers, work, 0), LANES)
    sums_of_neurons(mode, panels, 1, losses, sums, at(sums, layout.LOSS_SUM))
    if integers[layout.WEIGHTED] != 0:
        sums_of_neurons(mode, panels, 1, weights, sums, at(sums, layout.WEIGHT_SUM))
    else:
        before = sums[layout.WEIGHT_SUM] if mode == PLUS else 0.0
        sums[layout.WEIGHT_SUM] = before + n


@subroutine
def forward(
    integers: Pointer,
    first: int,
    panel: int,
    panels: int,
    inputs: Pointer,
    parameters: Pointer,
    work: Pointer,
    training: bool,
) -> None:
    """Compute a = phi(a_before W + b) of all layers from `first` on, the output's z only; OUT work.

    For some panels, from `panel` on, whose inputs begin at `inputs`. In training the derivatives
    phi'(z), too: computed from z, not from a, they keep their digits. (Backward takes that of ReLU
    from a.)
    """
    n_layers = integers[layout.N_LAYERS]
    a_before = inputs
    for index in range(first, n_layers):
        now = layer(integers, index)
        n_inputs, n = inputs_of(integers, index), now[layout.OUTPUTS]
        w = at(parameters, now[layout.WEIGHTS_AT]), n, 1, 0
        b = at(parameters, now[layout.BIASES_AT])
        a = neurons_at(work, now, layout.A_AT, panel)
        z = neurons_at(work, now, layout.D_AT, panel)
        inside, activation = index < n_layers - 1, now[layout.LAYER_ACTIVATION]
        relu = inside and activation == RELU
        mode, target = (PLUS_START_RELU, a) if relu else (PLUS_START, z)
        result = target, LANES, n * LANES, panels * LANES
        multiply(mode, n_inputs, n, w, (a_before, n_inputs * LANES), b, result)
        if inside and not relu:
            activate_layer(activation, n * panels * LANES, z, a, training)
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


@device_function
def stride_of_rows(integers: Pointer) -> int:
    """Return how far eight neurons side by side are from the next eight, for all rows of a tile.

    Eight rows more than there are: powers of two would all meet in the same sets of the L1 cache,
    and putting 64 neurons side by side took five times as long.
    """
    return int((integers[layout.TILE_ROWS] + LANES) * LANES)


@subroutine
def backward(
    integers: Pointer, last: int, panel: int, panels: int, parameters: Pointer, work: Pointer
) -> None:
    """Go back from the output's dz to that of the layers down to `last` - 1; ACC work.

    dz_before = (dz W') phi'(z_before). What the gradient of layers from `last` on needs is put
    in place.
    """
    for index in range(integers[layout.N_LAYERS] - 1, last - 1, -1):
        now = layer(integers, index)
        if now[layout.METHOD] == OUTER:
            n, stride = now[layout.OUTPUTS], stride_of_rows(integers)
            for i in range(panel, panel + panels):
                dz = neurons_at(work, now, layout.D_AT, i)
                side_by_side(dz, n, stride, at(work, now[layout.ROWS_AT] + i * LANES * LANES))
        if index > 0:
            dz_before(integers, index, panel, panels, parameters, work)


@subroutine
def dz_before(
    integers: Pointer, index: int, panel: int, panels: int, parameters: Pointer, work: Pointer
) -> None:
    """Compute (dz W') phi'(z) for the layer before; ACC work, where dz replaces phi'(z)."""
    now, before = layer(integers, index), layer(integers, index - 1)
    n_inputs, n_outputs = before[layout.OUTPUTS], now[layout.OUTPUTS]
    w = at(parameters, now[layout.WEIGHTS_AT]), 1, n_outputs, 0
    dz = neurons_at(work, now, layout.D_AT, panel)
    d = neurons_at(work, before, layout.D_AT, panel)
    mode, other = TIMES, d
    if before[layout.LAYER_ACTIVATION] == RELU:
        mode, other = WHERE_POSITIVE, neurons_at(work, before, layout.A_AT, panel)
    result = d, LANES, n_inputs * LANES, panels * LANES
    multiply(mode, n_outputs, n_inputs, w, (dz, n_outputs * LANES), other, result)


@subroutine
def gradient(
    mode: int,
    integers: Pointer,
    last: int,
    n: int,
    part: Part,
    work: Pointer,
    factor: Pointer,
    target: Pointer,
) -> None:
    """Sum up the gradient of the layers down to `last`, or a part of it, over n rows of a tile.

    It goes to the target as `mode` says: OUT (PLAIN), ACC (PLUS), or descends in the parameters
    (DESCEND). dW = a_before' dz and db = sum dz.
    """
    for index in range(last, integers[layout.N_LAYERS]):
        layer_gradient(mode, integers, index, n, part, work, factor, target)


@subroutine
def layer_gradient(
    mode: int,
    integers: Pointer,
    index: int,
    n: int,
    part: Part,
    work: Pointer,
    factor: Pointer,
    target: Pointer,
) -> None:
    """Compute db = sum dz and dW = a_before' dz of a layer, the latter as its METHOD says."""
    now = layer(integers, index)
    n_inputs, n_outputs = inputs_of(integers, index), now[layout.OUTPUTS]
    panels = padded(n) // LANES
    dz = neurons_at(work, now, layout.D_AT, 0), n_outputs * LANES
    start, stop = share_of(n_outputs, part)
    db = at(target, now[layout.BIASES_AT] + start)
    some_dz = at(dz[0], start * LANES), n_outputs * LANES
    sums_of_neurons(mode, panels, stop - start, some_dz, factor, db)
    start, stop = share_of(n_inputs, part)
    a_0 = inputs_at(integers, work, 0)
    if index > 0:
        a_0 = neurons_at(work, layer(integers, index - 1), layout.A_AT, 0)
    a, some = (at(a_0, start * LANES), n_inputs * LANES), stop - start
    dw = at(target, now[layout.WEIGHTS_AT] + start * n_outputs)
    if now[layout.METHOD] == OUTER:
        rows = at(work, now[layout.ROWS_AT]), stride_of_rows(integers)
        by_row = a[0], 1, LANES, (n_inputs - 1) * LANES
        multiply(mode, n, some, by_row, rows, factor, (dw, n_outputs, LANES, n_outputs))
    elif n_inputs >= n_outputs:
        sums_of_products(mode, panels, a, some, n_outputs, dz, n_outputs, 1, factor, dw)
    else:
        sums_of_products(mode, panels, dz, n_outputs, 1, a, some, n_outputs, factor, dw)


@kernel
def network_steps(
    data: Any, integers: Any, floats: Any, vectors: Any, rates: Any, losses: Any, worker: int
) -> bool:
    """Run a slice of a fit: see :func:`fastbp.kernels.steps.run_steps`.

    This kernel and the next two compute the same thing. As three kernels, each is compiled only
    when it is needed: a first call takes a third to two thirds of the time.
    """
    return run_steps(
        network_gradient, first_bad_row, data, integers, floats, vectors, rates, losses, worker
    )


@kernel
def tile_steps(
    data: Any, integers: Any, floats: Any, vectors: Any, rates: Any, losses: Any, worker: int
) -> bool:
    """Run a slice like `network_steps`, where batches are tiles and SGD is plain: one thread."""
    return run_whole_batches(tile_step, data, integers, floats, vectors, rates, losses)


@kernel
def online_steps(
    data: Any, integers: Any, floats: Any, vectors: Any, rates: Any, losses: Any, worker: int
) -> bool:
    """Run a slice like `network_steps`, where batches are single rows and SGD is plain."""
    return run_whole_batches(online_step, data, integers, floats, vectors, rates, losses)


@kernel
def network_outputs(x: Any, parameters: Any, integers: Any, work: Any, outputs: Any) -> bool:
    """Compute the outputs of rows: x (rows, D), parameters (P,); OUT outputs (rows, K), work.

    `integers` holds the number of features, the rows of a tile and the table of layers; `work` is
    as large as that table says. Returns whether x and the parameters were finite.
    """
    rows, d = x.shape
    k = outputs.shape[1]
    finite = all_finite(parameters.size, pointer_to(parameters))
    order = pointer_to(integers), False
    x, parameters, integers = pointer_to(x), pointer_to(parameters), pointer_to(integers)
    work, outputs = pointer_to(work), pointer_to(outputs)
    tile = integers[layout.TILE_ROWS]
    inputs = inputs_at(integers, work, 0)
    z = neurons_at(work, layer(integers, integers[layout.N_LAYERS] - 1), layout.D_AT, 0)
    for first in range(0, rows, tile):
        n = min(tile, rows - first)
        panels = padded(n) // LANES
        panels_of_rows(x, d, d, order, first, n, inputs)
        finite &= all_finite(d * panels * LANES, inputs)
        if rows == 1:
            copy_row(integers, x, inputs)
            row_forward(integers, inputs, parameters, work)
        else:
            forward(integers, 0, 0, panels, inputs, parameters, work, False)
        output_activations(integers, panels, z)
        for i in range(n):
            row = at(z, i // LANES * k * LANES + i % LANES)
            for j in range(k):
                outputs[(first + i) * k + j] = row[j * LANES]
    return finite


@subroutine
def row_forward(integers: Pointer, x: Pointer, parameters: Pointer, work: Pointer) -> None:
    """Do for a single row what `forward` does, bit for bit, its neurons side by side.

    The output's z goes to the first lane of a tile.
    """
    a = x
    for index in range(integers[layout.N_LAYERS]):
        now = layer(integers, index)
        w = at(parameters, now[layout.WEIGHTS_AT])
        b = at(parameters, now[layout.BIASES_AT])
        z = at(work, now[layout.A_AT])
        multiply_row(inputs_of(integers, index), now[layout.OUTPUTS], a, w, b, z)
        if index < integers[layout.N_LAYERS] - 1:
            for i in range(0, now[layout.OUTPUTS], LANES):
                store(z, i, activate(now[layout.LAYER_ACTIVATION], load(z, i)))
        a = z
    last = layer(integers, integers[layout.N_LAYERS] - 1)
    for j in range(last[layout.OUTPUTS]):
        store(at(work, last[layout.D_AT]), j * LANES, broadcast(a[j]))


@subroutine
def output_activations(integers: Pointer, panels: int, z: Pointer) -> None:
    """Turn the output's z into a; ACC z (panels, K, 8)."""
    output = layer(integers, integers[layout.N_LAYERS] - 1)
    activation = output[layout.LAYER_ACTIVATION]
    size = output[layout.OUTPUTS] * LANES
    for i in range(0, panels * size, size):
        if activation == SOFTMAX:
            softmax(at(z, i), output[layout.OUTPUTS])
        else:
            for j in range(i, i + size, LANES):
                store(z, j, activate(activation, load(z, j)))
