"""Plain SGD on single rows: each weight is touched once forward and once backward.

There is no batch to fill the lanes, so the neurons of a layer lie side by side instead, and the
update happens where backward reads the weight: no gradient is ever stored.
"""

from __future__ import annotations

from fastbp.kernels.activations import activate_with_derivative
from fastbp.kernels.jit import device_function, subroutine
from fastbp.kernels.layers import inputs_of, layer, losses_and_dz
from fastbp.kernels.layout import (
    A_AT,
    ALPHA,
    BIASES_AT,
    BLOCK_START,
    D_AT,
    EPOCH,
    LABEL_COLUMNS,
    LABEL_STRIDE,
    LAYER_ACTIVATION,
    LOSS_SUM,
    N_FEATURES,
    N_LAYERS,
    N_PARAMETERS,
    OUTPUTS,
    PARAMETERS,
    ROW_STRIDE,
    SHUFFLED,
    WEIGHT_STRIDE,
    WEIGHT_SUM,
    WEIGHTED,
    WEIGHTS_AT,
)
from fastbp.kernels.matmul import multiply_row
from fastbp.kernels.neuron import padded
from fastbp.kernels.steps import penalty
from fastbp.kernels.vector import (
    LANES,
    Pointer,
    Vector,
    at,
    broadcast,
    fma,
    load,
    load_first,
    store,
    store_first,
    sum_lanes,
)


@subroutine
def online_step(
    x: Pointer,
    y: Pointer,
    sample_weight: Pointer,
    order: Pointer,
    state: Pointer,
    start: int,
    rows: int,
    rate: float,
    floats: Pointer,
    work: Pointer,
    partial: Pointer,
) -> bool:
    """Do one step with one row; OUT loss and weight in `partial`, ACC parameters.

    Returns whether the row was finite, which only the first epoch looks at.
    """
    p = state[N_PARAMETERS]
    d = state[N_FEATURES]
    parameters = at(floats, PARAMETERS)
    weight = at(work, padded(state[LABEL_COLUMNS]) * LANES)
    i = start - state[BLOCK_START]
    if state[SHUFFLED] != 0:
        i = order[i]
    row = at(x, i * state[ROW_STRIDE])
    partial[p + LOSS_SUM] = 0.0
    partial[p + WEIGHT_SUM] = 0.0
    weight[0] = sample_weight[i * state[WEIGHT_STRIDE]] if state[WEIGHTED] != 0 else 1.0
    online_forward(state, row, parameters, work)
    output_dz(state, at(y, i * state[LABEL_STRIDE]), weight, work, partial)
    partial[p + LOSS_SUM] += penalty(state, floats)
    online_backward(state, row, parameters, work, rate / weight[0], floats[ALPHA])
    return state[EPOCH] > 0 or is_finite(d, row)


@device_function
def is_finite(d: int, row: Pointer) -> bool:
    """Return whether a row holds no infinity and no NaN."""
    s = broadcast(0.0)
    for j in range(0, d, LANES):
        s = fma(load_first(row, j, d - j), broadcast(0.0), s)
    return sum_lanes(s) == 0.0


@subroutine
def online_forward(state: Pointer, x: Pointer, parameters: Pointer, work: Pointer) -> None:
    """Compute a and phi'(z) of all layers, of the output z only; OUT work."""
    a = x
    for index in range(state[N_LAYERS]):
        now = layer(state, index)
        n = now[OUTPUTS]
        z = at(work, now[D_AT])
        w = at(parameters, now[WEIGHTS_AT])
        b = at(parameters, now[BIASES_AT])
        if n == 1:
            z[0] = dot(inputs_of(state, index), a, w) + b[0]
        else:
            multiply_row(inputs_of(state, index), n, a, w, b, z)
        if index < state[N_LAYERS] - 1:
            a = at(work, now[A_AT])
            for i in range(0, n, LANES):
                value, derivative = activate_with_derivative(now[LAYER_ACTIVATION], load(z, i))
                store(a, i, value)
                store(z, i, derivative)


@device_function
def dot(n: int, a: Pointer, w: Pointer) -> float:
    """Return the sum of a[i] w[i]."""
    zero = broadcast(0.0)
    s0, s1, s2, s3 = zero, zero, zero, zero
    i = 0
    while i + 4 * LANES <= n:
        s0 = fma(load(a, i), load(w, i), s0)
        s1 = fma(load(a, i + 8), load(w, i + 8), s1)
        s2 = fma(load(a, i + 16), load(w, i + 16), s2)
        s3 = fma(load(a, i + 24), load(w, i + 24), s3)
        i += 4 * LANES
    while i < n:
        s0 = fma(load_first(a, i, n - i), load_first(w, i, n - i), s0)
        i += LANES
    return sum_lanes((s0 + s1) + (s2 + s3))


@device_function
def output_dz(state: Pointer, y: Pointer, weight: Pointer, work: Pointer, partial: Pointer) -> None:
    """Turn the output's z into dz; ACC loss and weight in `partial`.

    The row is the first lane of a tile of eight: the same function as for batches.
    """
    z = at(work, layer(state, state[N_LAYERS] - 1)[D_AT])
    tile = at(work, layer(state, state[N_LAYERS])[A_AT])
    n = layer(state, state[N_LAYERS] - 1)[OUTPUTS]
    for k in range(n):
        store(tile, k * LANES, broadcast(z[k]))
    for k in range(state[LABEL_COLUMNS]):
        store(work, k * LANES, broadcast(y[k]))
    losses_and_dz(state, 1, LANES, work, weight, tile, partial)
    for k in range(n):
        z[k] = tile[k * LANES]


@subroutine
def online_backward(
    state: Pointer, x: Pointer, parameters: Pointer, work: Pointer, step: float, alpha: float
) -> None:
    """Go back through all layers and update them: w -= step (a_before dz + alpha w)."""
    shrink = broadcast(1.0 - step * alpha)
    for back in range(state[N_LAYERS]):
        index = state[N_LAYERS] - 1 - back
        now = layer(state, index)
        n_inputs = inputs_of(state, index)
        n = now[OUTPUTS]
        w = at(parameters, now[WEIGHTS_AT])
        b = at(parameters, now[BIASES_AT])
        dz = at(work, now[D_AT])
        is_input = index == 0
        a = x if is_input else at(work, layer(state, index - 1)[A_AT])
        d = dz if is_input else at(work, layer(state, index - 1)[D_AT])
        if n == 1:
            update_column(n_inputs, step * dz[0], dz[0], shrink, a, is_input, d, w)
        else:
            for k in range(n_inputs):
                da = update_row(n, step * a[k], shrink, dz, at(w, k * n))
                if not is_input:
                    d[k] *= da
        for j in range(0, n, LANES):
            change = broadcast(-step) * load_first(dz, j, n - j)
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
    minus = broadcast(-step_dz)
    for i in range(0, n, LANES):
        v = load(w, i)
        if not is_input:
            store(d, i, load(d, i) * (v * broadcast(dz)))
        store(w, i, fma(minus, load_first(a, i, n - i), v * shrink))


@device_function
def update_row(n: int, step_a: float, shrink: Vector, dz: Pointer, w: Pointer) -> float:
    """Update one input's weights; return the sum of w dz with the weights from before."""
    s = broadcast(0.0)
    minus = broadcast(-step_a)
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
