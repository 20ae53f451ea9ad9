"""One neuron, plain SGD on single rows: each row waits for the update by the one before.

So what counts is the way from a row's z to the next one's; losses, which nothing waits for, are
computed eight rows at once.
"""

from __future__ import annotations

from typing import Any

from fastbp.kernels.jit import device_function, kernel, subroutine
from fastbp.kernels.layout import (
    ACTIVATION,
    ALPHA,
    BAD_ROW,
    BATCH_START,
    BLOCK_START,
    BLOCK_STOP,
    BUDGET,
    EPOCH,
    LABEL_STRIDE,
    LOSS,
    N_FEATURES,
    N_PARAMETERS,
    N_ROWS,
    NO_ROW,
    PARAMETERS,
    ROW_NOT_FINITE,
    ROW_STRIDE,
    SHUFFLED,
    STATUS,
    WEIGHT_STRIDE,
    WEIGHTED,
)
from fastbp.kernels.losses import output_loss
from fastbp.kernels.matvec import load_up_to
from fastbp.kernels.neuron import first_bad_row
from fastbp.kernels.steps import account, finish_epoch, may_go_on, penalty, rate_of_epoch
from fastbp.kernels.vector import (
    LANES,
    Pointer,
    at,
    broadcast,
    data,
    fma,
    keep_first,
    lane,
    load,
    store,
    sum_everywhere,
    sum_lanes,
)


@subroutine
def online_rows(
    x: Pointer,
    y: Pointer,
    sample_weight: Pointer,
    order: Pointer,
    state: Pointer,
    start: int,
    rows: int,
    rate: float,
    floats: Pointer,
    tile: Pointer,
) -> bool:
    """Do a step with each of up to eight rows; OUT z, labels, weights, penalties in `tile`.

    All lanes hold a row's z, and the bias and the first weights stay in registers: each row waits
    for the one before. Returns whether every z was finite.
    """
    d = state[N_FEATURES]
    p = state[N_PARAMETERS]
    w = at(floats, PARAMETERS)
    weighted = state[WEIGHTED] != 0
    check = broadcast(0.0)
    first = load(w, 0)
    bias = load(w, p - LANES)
    for k in range(rows):
        i = start - state[BLOCK_START] + k
        if state[SHUFFLED] != 0:
            i = order[i]
        row = at(x, i * state[ROW_STRIDE])
        weight = sample_weight[i * state[WEIGHT_STRIDE]] if weighted else 1.0
        z = fma(load_up_to(row, 0, d), first, bias)
        for j in range(LANES, d, LANES):
            z = fma(load_up_to(row, j, d - j), load(w, j), z)
        z = sum_everywhere(z)
        check = check + (z - z)
        label = y[i * state[LABEL_STRIDE]]
        tile[k] = lane(z, 0)
        tile[LANES + k] = label
        tile[2 * LANES + k] = weight
        tile[3 * LANES + k] = penalty(state, floats)
        _, dz = output_loss(state[ACTIVATION], state[LOSS], z, broadcast(label))
        # The weighted mean of one row is its own loss; the penalty is divided by the weight.
        shrink = broadcast(1.0 - rate * floats[ALPHA] / weight)
        change = broadcast(-rate) * dz
        first = fma(change, load_up_to(row, 0, d), first * shrink)
        store(w, 0, first)
        for j in range(LANES, d, LANES):
            store(w, j, fma(change, load_up_to(row, j, d - j), load(w, j) * shrink))
        bias = bias + keep_first(change, 1)
    store(w, p - LANES, bias)
    return sum_lanes(check) == 0.0


@device_function
def account_rows(state: Pointer, rows: int, tile: Pointer, floats: Pointer) -> None:
    """Add the losses of up to eight rows to the epoch's, one after the other; ACC tile."""
    value, _ = output_loss(state[ACTIVATION], state[LOSS], load(tile, 0), load(tile, LANES))
    store(tile, 0, fma(value, load(tile, 2 * LANES), load(tile, 3 * LANES)))
    for k in range(rows):
        account(floats, tile[k], tile[2 * LANES + k])


@kernel
def online_neuron_steps(
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
    """Run a slice like `neuron_steps`, where batches are single rows and SGD is plain.

    Eight rows at a time, so that their losses take one vector: nothing waits for a loss.
    """
    now = data(state)
    numbers = data(floats)
    tile = at(numbers, PARAMETERS + 2 * now[N_PARAMETERS])
    while may_go_on(now):
        start = now[BATCH_START]
        rows = min(LANES, min(now[BLOCK_STOP], now[N_ROWS]) - start, now[BUDGET])
        rate = rate_of_epoch(now, data(rates))
        finite = online_rows(
            data(x),
            data(y),
            data(sample_weight),
            data(order),
            now,
            start,
            rows,
            rate,
            numbers,
            tile,
        )
        if not finite and now[EPOCH] == 0:
            now[BAD_ROW] = first_bad_row(data(x), data(order), now, start, rows)
            if now[BAD_ROW] != NO_ROW:
                now[STATUS] = ROW_NOT_FINITE
                break
        account_rows(now, rows, tile, numbers)
        now[BUDGET] -= rows
        now[BATCH_START] = start + rows
        if start + rows == now[N_ROWS]:
            finish_epoch(now, numbers, data(losses))
    return True
