"""A network: loss and gradient over a chunk of rows, X read from memory once.

N samples, B rows of a tile, D inputs, K outputs, L layers, P parameters: the weights of all
layers, each (inputs, outputs) and rounded up to whole vectors, then the biases likewise. A tile is
transposed, (n, B) for n neurons (see ``matmul.py``), and goes forward through all layers, through
the loss, and back, while it is in the L1 and L2 caches.
"""

from __future__ import annotations

from typing import Any

from fastbp.kernels import layout
from fastbp.kernels.activations import RELU, SOFTMAX, activate, activate_with_derivative
from fastbp.kernels.blas import gemm
from fastbp.kernels.jit import device_function, kernel, subroutine
from fastbp.kernels.layers import inputs_of, layer, output_losses
from fastbp.kernels.losses import softmax
from fastbp.kernels.matmul import (
    DESCEND,
    PLAIN,
    PLUS,
    PLUS_START,
    PLUS_START_RELU,
    TIMES,
    WHERE_POSITIVE,
    multiply,
    multiply_row,
    store_as,
    sums_of_products,
    sums_of_rows,
    transpose,
)
from fastbp.kernels.matvec import Order, gather_rows
from fastbp.kernels.online_network import online_step
from fastbp.kernels.plan import BLAS, OUTER
from fastbp.kernels.steps import (
    Buffers,
    Data,
    first_bad_row,
    order_of,
    run_steps,
    run_whole_batches,
)
from fastbp.kernels.update import KEEP_LOSS, all_finite
from fastbp.kernels.vector import LANES, Pointer, at, broadcast, load, padded, pointer_to, store


@subroutine
def network_gradient(
    data: Data, integers: Pointer, start: int, rows: int, buffers: Buffers
) -> bool:
    """Sum loss, weight and gradient over a chunk; OUT partial, work.

    Returns whether x was finite.
    """
    tile = integers[layout.TILE_ROWS]
    begin = start - integers[layout.BLOCK_START]
    finite = True
    for first in range(begin, begin + rows, tile):
        n = min(tile, begin + rows - first)
        mode = PLAIN if first == begin else PLUS
        finite &= tile_forward(mode, data, integers, first, n, buffers)
        if integers[layout.OPTIMIZER] != KEEP_LOSS:
            backward(mode, integers, 0, n, buffers)
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

    OUT loss and weight in `partial`, work; ACC parameters. Bit-identical to a step that stores the
    gradient and loads it again, which took a twentieth longer for 64-100-10 with 32 rows. Returns
    whether x was finite.
    """
    _, _, partial = buffers
    first = start - integers[layout.BLOCK_START]
    finite = tile_forward(PLAIN, data, integers, first, rows, buffers)
    weight = partial[integers[layout.N_PARAMETERS] + layout.WEIGHT_SUM]
    if weight > 0.0:
        factor_at(integers, partial)[0] = -(rate / weight)
        backward(DESCEND, integers, 0, rows, buffers)
    return finite


@device_function
def inputs_at(integers: Pointer, work: Pointer) -> Pointer:
    """Return where x of a tile begins in the scratch: behind the labels and the weights."""
    label_vectors = padded(integers[layout.LABEL_COLUMNS]) + 1
    return at(work, label_vectors * integers[layout.TILE_ROWS])


@device_function
def scratch_at(integers: Pointer, work: Pointer) -> Pointer:
    """Return where the scratch that all layers share begins: behind those of each layer."""
    return at(work, layer(integers, integers[layout.N_LAYERS])[layout.A_AT])


@device_function
def factor_at(integers: Pointer, partial: Pointer) -> Pointer:
    """Return where the factor of gradient descent is: in the second row of partial sums.

    That row is free, since :func:`tile_step` needs a single slot.
    """
    return at(partial, integers[layout.N_PARAMETERS] + layout.PARTIAL_EXTRA)


@subroutine
def tile_forward(
    mode: int, data: Data, integers: Pointer, first: int, n: int, buffers: Buffers
) -> bool:
    """Take n rows through all layers and the loss; OUT work, with dz of the output.

    OUT (mode PLAIN) or ACC (PLUS) loss and weight in `partial`. Returns whether x was finite,
    which is checked in the first epoch only.
    """
    parameters, work, _ = buffers
    d = integers[layout.N_FEATURES]
    stride, order = integers[layout.ROW_STRIDE], order_of(data, integers)
    scratch, inputs = scratch_at(integers, work), inputs_at(integers, work)
    transposed_rows(data[0], d, stride, order, first, n, scratch, inputs)
    forward(integers, 0, padded(n), inputs, parameters, work, True)
    tile_losses(mode, data, integers, first, n, buffers)
    return integers[layout.EPOCH] > 0 or all_finite(d * padded(n), inputs)


@subroutine
def tile_losses(
    mode: int, data: Data, integers: Pointer, first: int, n: int, buffers: Buffers
) -> None:
    """Turn the output's z of n rows into dz; OUT (mode PLAIN) or ACC loss and weight in `partial`.

    OUT work: labels and weights at its beginning, dz of the output.
    """
    _, y, sample_weight, _ = data
    _, work, partial = buffers
    order = order_of(data, integers)
    p = integers[layout.N_PARAMETERS]
    columns, stride = integers[layout.LABEL_COLUMNS], integers[layout.LABEL_STRIDE]
    scratch = scratch_at(integers, work)
    weights = at(work, padded(columns) * integers[layout.TILE_ROWS])
    transposed_rows(y, columns, stride, order, first, n, scratch, work)
    if integers[layout.WEIGHTED] != 0:
        stride = integers[layout.WEIGHT_STRIDE]
        transposed_rows(sample_weight, 1, stride, order, first, n, scratch, weights)
    if mode == PLAIN:
        partial[p + layout.LOSS_SUM] = 0.0
        partial[p + layout.WEIGHT_SUM] = 0.0
    z = at(work, layer(integers, integers[layout.N_LAYERS] - 1)[layout.D_AT])
    output_losses(integers, n, padded(n), work, weights, z, partial)


@device_function
def transposed_rows(
    x: Pointer,
    columns: int,
    stride: int,
    order: Order,
    first: int,
    n: int,
    scratch: Pointer,
    result: Pointer,
) -> None:
    """Transpose n rows of x, in order from `first` on; OUT result (columns, B), scratch.

    Rows that are not contiguous are gathered first, into scratch (n, columns).
    """
    if order[1] or stride != columns:
        gather_rows(x, columns, stride, order, first, n, scratch)
        transpose(scratch, columns, n, result)
    else:
        transpose(at(x, first * columns), columns, n, result)


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
    digits. (Backward takes that of ReLU from a.)
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
            multiply(PLUS_START_RELU, n_inputs, n, width, w, n, 1, a_before, b, a)
            hidden = False
        else:
            multiply(PLUS_START, n_inputs, n, width, w, n, 1, a_before, b, z)
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
def backward(mode: int, integers: Pointer, last: int, n: int, buffers: Buffers) -> None:
    """Go back through the layers down to `last`.

    The gradient goes to the partial sums as `mode` says: OUT (PLAIN), ACC (PLUS); or descends in
    the parameters (DESCEND). From the output's dz: dz_before = (dz W') phi'(z_before), with the
    weights from before the update, then dW = a_before' dz and db = sum dz. The layer before `last`
    has its dz, no more.
    """
    for index in range(integers[layout.N_LAYERS] - 1, last - 1, -1):
        if index > 0:
            dz_before(integers, index, padded(n), buffers)
        layer_gradient(mode, integers, index, n, buffers)


@subroutine
def dz_before(integers: Pointer, index: int, width: int, buffers: Buffers) -> None:
    """Compute (dz W') phi'(z) for the layer before; ACC work, where dz replaces phi'(z)."""
    parameters, work, _ = buffers
    now, before = layer(integers, index), layer(integers, index - 1)
    n_inputs, n_outputs = before[layout.OUTPUTS], now[layout.OUTPUTS]
    w = at(parameters, now[layout.WEIGHTS_AT])
    dz = at(work, now[layout.D_AT])
    d = at(work, before[layout.D_AT])
    mode, other = TIMES, d
    if before[layout.LAYER_ACTIVATION] == RELU:
        mode, other = WHERE_POSITIVE, at(work, before[layout.A_AT])
    if now[layout.METHOD] == BLAS:
        product = scratch_at(integers, work)
        gemm(integers[layout.GEMM], False, False, n_inputs, width, n_outputs, w, dz, 0.0, product)
        for i in range(0, n_inputs * width, LANES):
            store_as(mode, load(product, i), other, d, i, LANES)
    else:
        multiply(mode, n_outputs, n_inputs, width, w, 1, n_outputs, dz, other, d)


@subroutine
def layer_gradient(mode: int, integers: Pointer, index: int, n: int, buffers: Buffers) -> None:
    """Compute db = sum dz and dW = a_before' dz of a layer, the latter as its METHOD says."""
    parameters, work, partial = buffers
    now = layer(integers, index)
    n_inputs, n_outputs = inputs_of(integers, index), now[layout.OUTPUTS]
    a, dz = inputs_at(integers, work), at(work, now[layout.D_AT])
    if index > 0:
        a = at(work, layer(integers, index - 1)[layout.A_AT])
    target, factor = parameters if mode == DESCEND else partial, factor_at(integers, partial)
    dw = at(target, now[layout.WEIGHTS_AT])
    width = padded(n)
    sums_of_rows(mode, width, n_outputs, dz, factor, at(target, now[layout.BIASES_AT]))
    if now[layout.METHOD] == BLAS:
        kept = 0.0 if mode == PLAIN else 1.0
        gemm(integers[layout.GEMM], False, True, n_inputs, n_outputs, width, a, dz, kept, dw)
    elif now[layout.METHOD] == OUTER:
        rows = scratch_at(integers, work)
        transpose(dz, width, n_outputs, rows)
        multiply(mode, n, n_inputs, n_outputs, a, 1, width, rows, factor, dw)
    elif n_inputs >= n_outputs:
        sums_of_products(mode, width, a, n_inputs, n_outputs, dz, n_outputs, 1, factor, dw)
    else:
        sums_of_products(mode, width, dz, n_outputs, 1, a, n_inputs, n_outputs, factor, dw)


@kernel
def network_steps(
    data: Any, integers: Any, floats: Any, rates: Any, losses: Any, worker: int
) -> bool:
    """Run a slice of a fit: see :func:`fastbp.kernels.steps.run_steps`; ACC integers, floats.

    This kernel and the next two compute the same thing. As three kernels, each is compiled only
    when it is needed: a first call takes a third to two thirds of the time.
    """
    return run_steps(network_gradient, first_bad_row, data, integers, floats, rates, losses, worker)


@kernel
def tile_steps(data: Any, integers: Any, floats: Any, rates: Any, losses: Any, worker: int) -> bool:
    """Run a slice like `network_steps`, where batches are tiles and SGD is plain: one thread."""
    return run_whole_batches(tile_step, data, integers, floats, rates, losses)


@kernel
def online_steps(
    data: Any, integers: Any, floats: Any, rates: Any, losses: Any, worker: int
) -> bool:
    """Run a slice like `network_steps`, where batches are single rows and SGD is plain."""
    return run_whole_batches(online_step, data, integers, floats, rates, losses)


@kernel
def network_outputs(x: Any, parameters: Any, integers: Any, work: Any, outputs: Any) -> bool:
    """Compute the outputs of rows: x (rows, D), parameters (P,); OUT outputs (rows, K), work.

    `integers` holds the number of features, the rows of a tile and the table of layers; `work` is
    as large as that table says. Returns whether x and the parameters were finite.
    """
    rows, d = x.shape
    k = outputs.shape[1]
    finite = all_finite(parameters.size, pointer_to(parameters))
    x, parameters, integers = pointer_to(x), pointer_to(parameters), pointer_to(integers)
    work, outputs = pointer_to(work), pointer_to(outputs)
    tile = integers[layout.TILE_ROWS]
    z = at(work, layer(integers, integers[layout.N_LAYERS] - 1)[layout.D_AT])
    for first in range(0, rows, tile):
        n = min(tile, rows - first)
        width = padded(n)
        transpose(at(x, first * d), d, n, work)
        finite &= all_finite(d * width, work)
        if rows == 1:
            row_forward(integers, x, parameters, work)
        else:
            forward(integers, 0, width, work, parameters, work, False)
        output_activations(integers, width, z)
        for i in range(n):
            for j in range(k):
                outputs[(first + i) * k + j] = z[j * width + i]
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
def output_activations(integers: Pointer, width: int, z: Pointer) -> None:
    """Turn the output's z into a; ACC z (K, width)."""
    output = layer(integers, integers[layout.N_LAYERS] - 1)
    activation = output[layout.LAYER_ACTIVATION]
    k = output[layout.OUTPUTS]
    for i in range(0, width, LANES):
        if activation == SOFTMAX:
            softmax(z, k, width, i)
        else:
            for j in range(i, k * width, width):
                store(z, j, activate(activation, load(z, j)))
