"""The table of layers, and the loss of the last one: what batches and single rows share."""

from __future__ import annotations

from fastbp.kernels import layout
from fastbp.kernels.jit import device_function, subroutine
from fastbp.kernels.losses import (
    CROSS_ENTROPY,
    as_scikit_learn_reports,
    cross_entropy,
    output_loss,
    share_of_output,
)
from fastbp.kernels.reading import read_up_to
from fastbp.kernels.vector import (
    LANES,
    Pointer,
    Vector,
    at,
    broadcast_like,
    keep_first,
    load,
    padded,
    store,
    zeros,
)

Part = tuple[int, int]
"""Which part of something is meant, and of how many."""
WHOLE = 0, 1


@device_function
def share_of(n: int, part: Part) -> tuple[int, int]:
    """Return the first of n neurons in a part, and the one after the last: eight by eight."""
    index, count = part
    eights = padded(n) // LANES
    start, stop = eights * index // count * LANES, eights * (index + 1) // count * LANES
    return min(start, n), min(stop, n)


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


@device_function
def losses_at(work: Pointer, panel: int) -> Pointer:
    """Return where the losses of a panel's rows are in the scratch of a tile."""
    return at(work, panel * LANES)


@device_function
def weights_at(integers: Pointer, work: Pointer, panel: int) -> Pointer:
    """Return where their weights are."""
    return at(work, integers[layout.TILE_ROWS] + panel * LANES)


@device_function
def labels_at(integers: Pointer, work: Pointer, panel: int) -> Pointer:
    """Return where their labels are, (label columns, 8)."""
    return at(work, 2 * integers[layout.TILE_ROWS] + panel * integers[layout.LABEL_COLUMNS] * LANES)


@device_function
def inputs_at(integers: Pointer, work: Pointer, panel: int) -> Pointer:
    """Return where their features are, (D, 8)."""
    before = (2 + integers[layout.LABEL_COLUMNS]) * integers[layout.TILE_ROWS]
    return at(work, before + panel * integers[layout.N_FEATURES] * LANES)


@device_function
def copy_row(integers: Pointer, x: Pointer, row: Pointer) -> None:
    """Copy the features of a row, whatever their type; OUT row (D, in vectors)."""
    d = integers[layout.N_FEATURES]
    for j in range(0, d, LANES):
        store(row, j, read_up_to(x, j, d - j, row))


@device_function
def neurons_at(work: Pointer, now: Pointer, field: int, panel: int) -> Pointer:
    """Return where the numbers of a layer's neurons are, (n, 8): A_AT or D_AT."""
    return at(work, now[field] + panel * now[layout.OUTPUTS] * LANES)


@subroutine
def output_losses(
    integers: Pointer, n: int, y: Pointer, weights: Pointer, z: Pointer, losses: Pointer
) -> None:
    """Turn the output's z of n rows into dz, zero beyond them.

    In panels: y (label columns, 8), ACC weights (8,), 1 where there are none and 0 beyond the
    rows, ACC z (K, 8), OUT losses (8,), times the weights.
    """
    k = layer(integers, integers[layout.N_LAYERS] - 1)[layout.OUTPUTS]
    columns = integers[layout.LABEL_COLUMNS]
    for i in range(0, n, LANES):
        weight = broadcast_like(z, 1.0)
        if integers[layout.WEIGHTED] != 0:
            weight = load(weights, i)
        weight = keep_first(weight, n - i)
        store(weights, i, weight)
        value = panel_losses(integers, n - i, at(y, i * columns), weight, at(z, i * k))
        store(losses, i, value)


@device_function
def panel_losses(integers: Pointer, n: int, y: Pointer, weight: Vector, z: Pointer) -> Vector:
    """Return the losses of eight rows, times their weights, and turn z into dz; ACC z (K, 8).

    Both are zero beyond the n rows that exist.
    """
    output = layer(integers, integers[layout.N_LAYERS] - 1)
    k, activation = output[layout.OUTPUTS], output[layout.LAYER_ACTIVATION]
    loss = integers[layout.LOSS]
    as_scikit_learn = integers[layout.REPORT] == layout.SCIKIT_LEARN
    total = zeros(z)
    if loss == CROSS_ENTROPY:
        total = cross_entropy(z, y, integers[layout.CLASSES] != 0, k)
        if as_scikit_learn:
            total = as_scikit_learn_reports(loss, total, broadcast_like(z, 1.0), k)
        total = keep_first(total, n) * weight
        for j in range(0, k * LANES, LANES):
            store(z, j, keep_first(load(z, j) * weight, n))
    else:
        share = broadcast_like(z, share_of_output(loss, k))
        for j in range(0, k * LANES, LANES):
            value, dz = output_loss(activation, loss, load(z, j), load(y, j))
            if as_scikit_learn:
                value = as_scikit_learn_reports(loss, value, load(y, j), k)
            total = total + keep_first(value * share, n) * weight
            store(z, j, keep_first(dz * share * weight, n))
    return total
