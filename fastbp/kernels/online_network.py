"""Plain SGD on single rows: each weight is touched once forward and once backward.

No batch fills the lanes, so the neurons of a layer lie side by side instead, and a weight is
updated where backward reads it: no gradient is ever stored.
"""

from __future__ import annotations

from fastbp.kernels import layout
from fastbp.kernels.activations import activate_with_derivative
from fastbp.kernels.jit import device_function, subroutine
from fastbp.kernels.lanes import sum_lanes
from fastbp.kernels.layers import (
    copy_row,
    inputs_at,
    inputs_of,
    labels_at,
    layer,
    losses_at,
    output_losses,
    weights_at,
)
from fastbp.kernels.matmul import multiply_row
from fastbp.kernels.matvec import row_at
from fastbp.kernels.reading import number_at
from fastbp.kernels.steps import Buffers, Data, order_of, penalty
from fastbp.kernels.update import all_finite
from fastbp.kernels.vector import (
    LANES,
    Pointer,
    Vector,
    at,
    broadcast,
    broadcast_like,
    fma,
    load,
    load_first,
    store,
    store_first,
    zeros,
)


@subroutine
def online_step(
    data: Data,
    integers: Pointer,
    start: int,
    rows: int,
    rate: float,
    floats: Pointer,
    buffers: Buffers,
) -> bool:
    """Do one step with one row; OUT loss and weight in the sums, work; ACC parameters.

    Returns whether the row was finite, which is checked in the first epoch only.
    """
    x, y, sample_weight, _ = data
    parameters, work, _, sums = buffers
    weight = weights_at(integers, work, 0)
    position = start - integers[layout.BLOCK_START]
    i = row_at(order_of(data, integers), position)
    row = inputs_at(integers, work, 0)
    copy_row(integers, at(x, i * integers[layout.ROW_STRIDE]), row)
    weight[0] = 1.0
    if integers[layout.WEIGHTED] != 0:
        weight[0] = number_at(sample_weight, i * integers[layout.WEIGHT_STRIDE], weight)
    online_forward(integers, row, parameters, work)
    output_dz(integers, at(y, i * integers[layout.LABEL_STRIDE]), weight, work, sums)
    sums[layout.LOSS_SUM] += penalty(integers, floats, parameters)
    if weight[0] > 0.0:
        step = rate / float(weight[0])
        online_backward(integers, row, parameters, work, step, floats[layout.ALPHA])
    return integers[layout.EPOCH] > 0 or all_finite(integers[layout.N_FEATURES], row)


@subroutine
def online_forward(integers: Pointer, x: Pointer, parameters: Pointer, work: Pointer) -> None:
    """Compute a and phi'(z) of all layers, of the output z only; OUT work."""
    a = x
    for index in range(integers[layout.N_LAYERS]):
        now = layer(integers, index)
        n = now[layout.OUTPUTS]
        z = at(work, now[layout.D_AT])
        w = at(parameters, now[layout.WEIGHTS_AT])
        b = at(parameters, now[layout.BIASES_AT])
        if n == 1:
            z[0] = dot(inputs_of(integers, index), a, w) + b[0]
        else:
            multiply_row(inputs_of(integers, index), n, a, w, b, z)
        if index < integers[layout.N_LAYERS] - 1:
            a = at(work, now[layout.A_AT])
            for i in range(0, n, LANES):
                value, derivative = activate_with_derivative(
                    now[layout.LAYER_ACTIVATION], load(z, i)
                )
                store(a, i, value)
                store(z, i, derivative)


@device_function
def dot(n: int, a: Pointer, w: Pointer) -> float:
    """Return the sum of a[i] w[i]."""
    zero = zeros(w)
    s0, s1, s2, s3 = zero, zero, zero, zero
    i = 0
    while i + 4 * LANES <= n:
        s0 = fma(load(a, i), load(w, i), s0)
        s1 = fma(load(a, i + LANES), load(w, i + LANES), s1)
        s2 = fma(load(a, i + 2 * LANES), load(w, i + 2 * LANES), s2)
        s3 = fma(load(a, i + 3 * LANES), load(w, i + 3 * LANES), s3)
        i += 4 * LANES
    while i < n:
        s0 = fma(load_first(a, i, n - i), load_first(w, i, n - i), s0)
        i += LANES
    return sum_lanes((s0 + s1) + (s2 + s3))


@device_function
def output_dz(integers: Pointer, y: Pointer, weight: Pointer, work: Pointer, sums: Pointer) -> None:
    """Turn the output's z into dz; OUT loss and weight in the sums.

    The row is the first of a panel, which takes the room of the output's a: the same function as
    for batches.
    """
    output = layer(integers, integers[layout.N_LAYERS] - 1)
    z, n = at(work, output[layout.D_AT]), output[layout.OUTPUTS]
    panel, labels = at(work, output[layout.A_AT]), labels_at(integers, work, 0)
    losses = losses_at(work, 0)
    for k in range(n):
        store(panel, k * LANES, broadcast(z[k]))
    for k in range(integers[layout.LABEL_COLUMNS]):
        store(labels, k * LANES, broadcast(number_at(y, k, labels)))
    output_losses(integers, 1, labels, weight, panel, losses)
    sums[layout.LOSS_SUM] = losses[0]
    sums[layout.WEIGHT_SUM] = weight[0]
    for k in range(n):
        z[k] = panel[k * LANES]


@subroutine
def online_backward(
    integers: Pointer, x: Pointer, parameters: Pointer, work: Pointer, step: float, alpha: float
) -> None:
    """Go back through all layers and update them: w -= step (a_before dz + alpha w)."""
    shrink = broadcast_like(parameters, 1.0 - step * alpha)
    for back in range(integers[layout.N_LAYERS]):
        index = integers[layout.N_LAYERS] - 1 - back
        now = layer(integers, index)
        n_inputs = inputs_of(integers, index)
        n = now[layout.OUTPUTS]
        w = at(parameters, now[layout.WEIGHTS_AT])
        b = at(parameters, now[layout.BIASES_AT])
        dz = at(work, now[layout.D_AT])
        is_input = index == 0
        a = x if is_input else at(work, layer(integers, index - 1)[layout.A_AT])
        d = dz if is_input else at(work, layer(integers, index - 1)[layout.D_AT])
        if n == 1:
            update_column(n_inputs, step * float(dz[0]), dz[0], shrink, a, is_input, d, w)
        else:
            for k in range(n_inputs):
                da = update_row(n, step * float(a[k]), shrink, dz, at(w, k * n))
                if not is_input:
                    d[k] *= da
        for j in range(0, n, LANES):
            change = broadcast_like(dz, -step) * load_first(dz, j, n - j)
            store(b, j, load(b, j) + change)


@device_function
def update_column(
    n: int,
    step_dz: float,
    dz: float,
    shrink: Vector,
    a: Pointer,
    is_input: bool,
    d: Pointer,
    w: Pointer,
) -> None:
    """Update the weights of a layer with one output; unless it is the first, ACC d *= w dz."""
    minus = broadcast_like(w, -step_dz)
    for i in range(0, n, LANES):
        v = load(w, i)
        if not is_input:
            store(d, i, load(d, i) * (v * broadcast_like(w, dz)))
        store(w, i, fma(minus, load_first(a, i, n - i), v * shrink))


@device_function
def update_row(n: int, step_a: float, shrink: Vector, dz: Pointer, w: Pointer) -> float:
    """Update one input's weights; return the sum of w dz with the weights from before."""
    s = zeros(w)
    minus = broadcast_like(w, -step_a)
    j = 0
    while j + LANES <= n:
        v = load(w, j)
        g = load(dz, j)
        s = fma(v, g, s)
        store(w, j, fma(minus, g, v * shrink))
        j += LANES
    if j < n:
        v = load_first(w, j, n - j)
        g = load_first(dz, j, n - j)
        s = fma(v, g, s)
        store_first(w, j, fma(minus, g, v * shrink), n - j)
    return sum_lanes(s)
