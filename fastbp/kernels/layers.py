"""The table of layers, and the loss of the last one: what batches and single rows share."""

from __future__ import annotations

from fastbp.kernels import layout
from fastbp.kernels.jit import device_function, subroutine
from fastbp.kernels.losses import (
    BCE,
    CROSS_ENTROPY,
    HALF_MSE,
    HALF_POISSON_DEVIANCE,
    MSE,
    cross_entropy,
    half_poisson_deviance,
    log_loss_as_scikit_learn_reports,
    output_loss,
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
    sum_lanes,
)


@device_function
def layer(integers: Pointer, index: int) -> Pointer:
    """Return a row of the table of layers."""
    return at(integers, layout.LAYERS + index * layout.LAYER_FIELDS)


@device_function
def inputs_of(integers: Pointer, index: int) -> int:
    """Return how many inputs a layer has."""
    return int(
        integers[layout.N_FEATURES] if index == 0 else layer(integers, index - 1)[layout.OUTPUTS]
    )


@subroutine
def losses_and_dz(
    integers: Pointer,
    n: int,
    width: int,
    y: Pointer,
    weights: Pointer,
    z: Pointer,
    partial: Pointer,
) -> None:
    """Turn the output's z into dz, zero beyond the n rows; ACC loss and weight in `partial`."""
    index = integers[layout.N_LAYERS] - 1
    k = layer(integers, index)[layout.OUTPUTS]
    activation = layer(integers, index)[layout.LAYER_ACTIVATION]
    loss = integers[layout.LOSS]
    as_scikit_learn = integers[layout.REPORT] == layout.SCIKIT_LEARN
    share = broadcast(1.0 / k if loss == MSE else 1.0)
    total = broadcast(0.0)
    total_weight = broadcast(0.0)
    for i in range(0, width, LANES):
        valid = n - i
        weight = load_first(weights, i, valid) if integers[layout.WEIGHTED] != 0 else broadcast(1.0)
        weight = keep_first(weight, valid)
        total_weight = total_weight + weight
        if loss == CROSS_ENTROPY:
            value = cross_entropy(z, y, integers[layout.CLASSES] != 0, k, width, i)
            if as_scikit_learn:
                value = log_loss_as_scikit_learn_reports(value, broadcast(1.0))
            total = total + keep_first(value, valid) * weight
            for j in range(i, k * width, width):
                store(z, j, keep_first(load(z, j) * weight, valid))
        else:
            for j in range(i, k * width, width):
                if loss == HALF_POISSON_DEVIANCE:
                    value, dz = half_poisson_deviance(load(z, j), load(y, j))
                else:
                    value, dz = output_loss(activation, loss, load(z, j), load(y, j))
                if as_scikit_learn and loss == HALF_MSE:
                    value = value * broadcast(1.0 / k)
                elif as_scikit_learn and loss == BCE:
                    value = log_loss_as_scikit_learn_reports(value, load(y, j))
                total = total + keep_first(value * share, valid) * weight
                store(z, j, keep_first(dz * share * weight, valid))
    partial[integers[layout.N_PARAMETERS] + layout.LOSS_SUM] += sum_lanes(total)
    partial[integers[layout.N_PARAMETERS] + layout.WEIGHT_SUM] += sum_lanes(total_weight)
