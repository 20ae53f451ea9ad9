"""The table of layers, and the loss of the last one: what batches and single rows share."""

from __future__ import annotations

from fastbp.kernels import layout
from fastbp.kernels.jit import device_function, subroutine
from fastbp.kernels.lanes import sum_lanes
from fastbp.kernels.losses import (
    CROSS_ENTROPY,
    as_scikit_learn_reports,
    cross_entropy,
    output_loss,
    share_of_output,
)
from fastbp.kernels.vector import (
    LANES,
    Pointer,
    at,
    broadcast,
    keep_first,
    load,
    load_first,
    store,
)


@device_function
def layer(integers: Pointer, index: int) -> Pointer:
    """Return a row of the table of layers."""
    return at(integers, layout.LAYERS + index * layout.LAYER_FIELDS)


@device_function
def inputs_of(integers: Pointer, index: int) -> int:
    """Return how many inputs a layer has."""
    if index == 0:
        return int(integers[layout.N_FEATURES])
    return int(layer(integers, index - 1)[layout.OUTPUTS])


@subroutine
def output_losses(
    integers: Pointer,
    n: int,
    width: int,
    y: Pointer,
    weights: Pointer,
    z: Pointer,
    partial: Pointer,
) -> None:
    """Turn the output's z into dz, zero beyond the n rows; ACC z, loss and weight in `partial`.

    y (label columns, width), weights (width,), z (K, width).
    """
    output = layer(integers, integers[layout.N_LAYERS] - 1)
    k = output[layout.OUTPUTS]
    activation = output[layout.LAYER_ACTIVATION]
    loss = integers[layout.LOSS]
    as_scikit_learn = integers[layout.REPORT] == layout.SCIKIT_LEARN
    share = broadcast(share_of_output(loss, k))
    total = broadcast(0.0)
    total_weight = broadcast(0.0)
    for i in range(0, width, LANES):
        rows = n - i
        weight = broadcast(1.0)
        if integers[layout.WEIGHTED] != 0:
            weight = load_first(weights, i, rows)
        weight = keep_first(weight, rows)
        total_weight = total_weight + weight
        if loss == CROSS_ENTROPY:
            value = cross_entropy(z, y, integers[layout.CLASSES] != 0, k, width, i)
            if as_scikit_learn:
                value = as_scikit_learn_reports(loss, value, broadcast(1.0), k)
            total = total + keep_first(value, rows) * weight
            for j in range(i, k * width, width):
                store(z, j, keep_first(load(z, j) * weight, rows))
        else:
            for j in range(i, k * width, width):
                value, dz = output_loss(activation, loss, load(z, j), load(y, j))
                if as_scikit_learn:
                    value = as_scikit_learn_reports(loss, value, load(y, j), k)
                total = total + keep_first(value * share, rows) * weight
                store(z, j, keep_first(dz * share * weight, rows))
    partial[integers[layout.N_PARAMETERS] + layout.LOSS_SUM] += sum_lanes(total)
    partial[integers[layout.N_PARAMETERS] + layout.WEIGHT_SUM] += sum_lanes(total_weight)
