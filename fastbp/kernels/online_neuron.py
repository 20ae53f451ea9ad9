"""One neuron, plain SGD on single rows: each row waits for the update by the one before.

So latency, not throughput, is what counts; losses, which nothing waits for, are computed for eight
rows at once.
"""

from __future__ import annotations

from typing import Any

from fastbp.kernels import layout
from fastbp.kernels.jit import device_function, kernel, subroutine
from fastbp.kernels.lanes import lane, sum_everywhere, sum_lanes
from fastbp.kernels.losses import output_loss
from fastbp.kernels.matvec import row_at
from fastbp.kernels.reading import number_at, read_up_to
from fastbp.kernels.steps import (
    Data,
    account,
    count_batches,
    has_bad_row,
    may_continue,
    order_of,
    penalty,
    rate_of_epoch,
)
from fastbp.kernels.vector import (
    LANES,
    Pointer,
    at,
    broadcast,
    broadcast_like,
    fma,
    keep_first,
    load,
    pointer_to,
    store,
    zeros,
)


@subroutine
def online_rows(
    data: Data,
    integers: Pointer,
    start: int,
    rows: int,
    rate: float,
    floats: Pointer,
    w: Pointer,
    tile: Pointer,
) -> bool:
    """Do a step with each of up to eight rows; OUT z, labels, weights, penalties in `tile`, ACC w.

    All lanes hold a row's z, and the bias and the first weights stay in registers: each row waits
    for the one before. Returns whether every z was finite.
    """
    x, y, sample_weight, _ = data
    order = order_of(data, integers)
    d = integers[layout.N_FEATURES]
    p = integers[layout.N_PARAMETERS]
    weighted = integers[layout.WEIGHTED] != 0
    activation, loss = integers[layout.ACTIVATION], integers[layout.LOSS]
    check = zeros(w)
    first = load(w, 0)
    bias = load(w, p - LANES)
    for k in range(rows):
        i = row_at(order, start - integers[layout.BLOCK_START] + k)
        row = at(x, i * integers[layout.ROW_STRIDE])
        weight = 1.0
        if weighted:
            weight = float(number_at(sample_weight, i * integers[layout.WEIGHT_STRIDE], w))
        z = fma(read_up_to(row, 0, d, w), first, bias)
        for j in range(LANES, d, LANES):
            z = fma(read_up_to(row, j, d - j, w), load(w, j), z)
        z = sum_everywhere(z)
        check = check + (z - z)
        if weight == 0.0:  # it changes nothing, whatever its loss
            for number in range(0, 4 * LANES, LANES):
                tile[number + k] = 0.0
            continue
        label = number_at(y, i * integers[layout.LABEL_STRIDE], w)
        tile[k] = lane(z, 0)
        tile[LANES + k] = label
        tile[2 * LANES + k] = weight
        tile[3 * LANES + k] = penalty(integers, floats, w)
        _, dz = output_loss(activation, loss, z, broadcast(label))
        # The weighted mean of one row is its own loss; the penalty is divided by the weight.
        shrink = broadcast_like(w, 1.0 - rate * floats[layout.ALPHA] / weight)
        change = broadcast_like(w, -rate) * dz
        first = fma(change, read_up_to(row, 0, d, w), first * shrink)
        store(w, 0, first)
        for j in range(LANES, d, LANES):
            store(w, j, fma(change, read_up_to(row, j, d - j, w), load(w, j) * shrink))
        bias = bias + keep_first(change, 1)
    store(w, p - LANES, bias)
    return sum_lanes(check) == 0.0


@device_function
def account_rows(integers: Pointer, rows: int, tile: Pointer, floats: Pointer) -> None:
    """Add the losses of up to eight rows to the epoch's, one after the other; ACC tile."""
    activation, loss = integers[layout.ACTIVATION], integers[layout.LOSS]
    value, _ = output_loss(activation, loss, load(tile, 0), load(tile, LANES))
    store(tile, 0, fma(value, load(tile, 2 * LANES), load(tile, 3 * LANES)))
    for k in range(rows):
        account(floats, tile[k], tile[2 * LANES + k])


@kernel
def online_neuron_steps(
    data: Any, integers: Any, floats: Any, vectors: Any, rates: Any, losses: Any, worker: int
) -> bool:
    """Run a slice like `neuron_steps`, where batches are single rows and SGD is plain.

    Eight rows at a time, so that their losses take one vector: nothing waits for a loss.
    """
    data, integers, floats = pointer_to(data), pointer_to(integers), pointer_to(floats)
    vectors, rates, losses = pointer_to(vectors), pointer_to(rates), pointer_to(losses)
    tile = at(vectors, 2 * integers[layout.N_PARAMETERS])
    while may_continue(integers, integers[layout.BATCH_START]):
        start = integers[layout.BATCH_START]
        stop = min(integers[layout.BLOCK_STOP], integers[layout.N_ROWS])
        rows = min(LANES, stop - start, integers[layout.BUDGET])
        rate = rate_of_epoch(integers, rates)
        finite = online_rows(data, integers, start, rows, rate, floats, vectors, tile)
        first_epoch = integers[layout.EPOCH] == 0
        if not finite and first_epoch and has_bad_row(data, integers, vectors, start, rows):
            break
        account_rows(integers, rows, tile, floats)
        count_batches(integers, floats, vectors, losses, rows, rows)
    return True
