"""The epochs of a fit, a slice at a time, by one thread or by several at once.

A batch's rows are cut into chunks. Some consecutive chunks of one batch, a *segment*, are handed
out at a time: each thread takes the next chunk and writes its sums into a slot of its own. The
thread that completes the last chunk adds up the slots in chunk order, updates the parameters if
the batch is complete, and opens the next segment. So the sums do not depend on who computed
what, and between two batches the threads meet for under a microsecond, without the interpreter.

`gradient` and `first_bad_row` are the model's own (see ``neuron.py``); all else is common.
"""

from __future__ import annotations

from typing import Any

from fastbp.kernels.atomics import atomic_add, atomic_load, atomic_store, compare_and_swap
from fastbp.kernels.jit import device_function, subroutine, template
from fastbp.kernels.layout import (
    ALPHA,
    BAD_ROW,
    BATCH_ROWS,
    BATCH_START,
    BEST_LOSS,
    BLOCK_START,
    BLOCK_STOP,
    BUDGET,
    CHUNK_ROWS,
    DIVERGED,
    DONE,
    EPOCH,
    EPOCH_LIMIT,
    EPOCH_LOSS,
    EPOCH_LOSS_LOST,
    EPOCH_WEIGHT,
    FIRST_RATE,
    LOSS_SUM,
    N_ITER_NO_CHANGE,
    N_MOMENTS,
    N_PARAMETERS,
    N_RATES,
    N_ROWS,
    N_WEIGHTS,
    NEXT_CHUNK,
    NO_IMPROVEMENT,
    NO_ROW,
    PARAMETERS,
    PARTIAL_EXTRA,
    REPORT,
    ROW_NOT_FINITE,
    RUNNING,
    SCIKIT_LEARN,
    SEGMENT_CHUNKS,
    SEGMENT_FIRST,
    SLOTS,
    STALE_EPOCHS,
    STATUS,
    TICKET,
    TOL,
    WEIGHT_SUM,
    WORK_SIZE,
    WORKERS,
)
from fastbp.kernels.update import add, all_finite, copy, sum_of_squares, update
from fastbp.kernels.vector import Pointer, at

UNOPENED = -2  # ticket before the first segment of a call
CLOSED = -1  # ticket after the last
LEFT = 0xFFFFFFFF  # the lower half of a ticket
PATIENCE = 20_000  # looks at the ticket, some 12 microseconds, before the interpreter gets a turn


@template
def run_steps(
    gradient: Any,
    first_bad_row: Any,
    x: Pointer,
    y: Pointer,
    sample_weight: Pointer,
    order: Pointer,
    state: Pointer,
    floats: Pointer,
    rates: Pointer,
    losses: Pointer,
    worker: int,
) -> bool:
    """Compute until the budget, the block, the epochs or the fit end: True.

    A thread that found nothing to do for a while returns False, to be called again.
    """
    p = state[N_PARAMETERS]
    row = p + PARTIAL_EXTRA
    parameters = at(floats, PARAMETERS)
    partials = at(parameters, (2 + state[N_MOMENTS]) * p)
    work = at(partials, (state[SLOTS] + 1) * row + worker * state[WORK_SIZE])
    alone = state[WORKERS] == 1
    if worker == 0 and state[TICKET] == UNOPENED:
        open_segment(state)
    looks = 0
    while looks < PATIENCE:
        ticket = atomic_load(state, TICKET)
        if ticket == CLOSED:
            return True
        left = ticket & LEFT
        if ticket < 0 or left == 0:
            looks += 1
            continue
        if alone:
            state[TICKET] = ticket - 1
        elif not compare_and_swap(state, TICKET, ticket, ticket - 1):
            continue
        looks = 0
        chunk = state[SEGMENT_FIRST] + state[SEGMENT_CHUNKS] - left
        start = state[BATCH_START] + chunk * state[CHUNK_ROWS]
        rows = min(state[CHUNK_ROWS], batch_stop(state) - start)
        partial = at(partials, slot(state, chunk) * row)
        finite = gradient(x, y, sample_weight, order, state, start, rows, parameters, work, partial)
        if not finite and state[EPOCH] == 0:
            keep_least(state, BAD_ROW, first_bad_row(x, order, state, start, rows))
        done = state[DONE] + 1 if alone else atomic_add(state, DONE, 1) + 1
        if alone:
            state[DONE] = done
        if done == state[SEGMENT_CHUNKS]:
            close_segment(state, floats, rates, losses)
            open_segment(state)
    return False


@template
def run_whole_batches(
    step: Any,
    first_bad_row: Any,
    x: Pointer,
    y: Pointer,
    sample_weight: Pointer,
    order: Pointer,
    state: Pointer,
    floats: Pointer,
    rates: Pointer,
    losses: Pointer,
) -> bool:
    """Do what `run_steps` does where `step` takes a batch through to the update: one thread.

    The step gets the learning rate and leaves the loss, penalty and all, and the weight.
    """
    p = state[N_PARAMETERS]
    partial = at(floats, PARAMETERS + 2 * p)
    work = at(partial, (state[SLOTS] + 1) * (p + PARTIAL_EXTRA))
    while may_go_on(state):
        start = state[BATCH_START]
        rows = batch_stop(state) - start
        rate = rate_of_epoch(state, rates)
        finite = step(x, y, sample_weight, order, state, start, rows, rate, floats, work, partial)
        if not finite:
            state[BAD_ROW] = first_bad_row(x, order, state, start, rows)
            if state[BAD_ROW] != NO_ROW:
                state[STATUS] = ROW_NOT_FINITE
                break
        account_batch(state, floats, partial[p + LOSS_SUM], partial[p + WEIGHT_SUM], rows)
        state[BUDGET] -= 1
        state[BATCH_START] = start + rows
        if start + rows == state[N_ROWS]:
            finish_epoch(state, floats, losses)
    return True


@device_function
def may_go_on(state: Pointer) -> bool:
    """Return whether the call has budget, epochs and rows left."""
    running = state[STATUS] == RUNNING and state[EPOCH] < state[EPOCH_LIMIT]
    in_block = state[BLOCK_START] <= state[BATCH_START] < state[BLOCK_STOP]
    return bool(running and in_block and state[BUDGET] > 0)


@device_function
def batch_stop(state: Pointer) -> int:
    """Return the row after the batch."""
    return int(min(state[BATCH_START] + state[BATCH_ROWS], state[N_ROWS]))


@device_function
def slot(state: Pointer, chunk: int) -> int:
    """Return the row of partial sums for a chunk: the batch's first one is the running total."""
    if chunk == 0:
        return 0
    return int(chunk - max(state[SEGMENT_FIRST], 1) + 1)


@device_function
def keep_least(state: Pointer, index: int, value: int) -> None:
    """Lower state[index] to `value` if that is less, whichever thread comes first."""
    present = atomic_load(state, index)
    while value < present and not compare_and_swap(state, index, present, value):
        present = atomic_load(state, index)


@subroutine
def open_segment(state: Pointer) -> None:
    """Hand out the next chunks, or end the call."""
    first = state[NEXT_CHUNK]
    start = state[BATCH_START] + first * state[CHUNK_ROWS]
    stop = min(batch_stop(state), state[BLOCK_STOP])
    running = state[STATUS] == RUNNING and state[EPOCH] < state[EPOCH_LIMIT]
    in_block = state[BLOCK_START] <= start < stop
    if not running or not in_block or state[BUDGET] <= 0:
        atomic_store(state, TICKET, CLOSED)
        return
    available = (stop - start + state[CHUNK_ROWS] - 1) // state[CHUNK_ROWS]
    count = min(available, min(state[BUDGET], state[SLOTS]))
    state[BUDGET] -= count
    state[SEGMENT_FIRST] = first
    state[SEGMENT_CHUNKS] = count
    state[DONE] = 0
    generation = (max(state[TICKET], 0) >> 32) + 1
    atomic_store(state, TICKET, ((generation & 0x3FFFFFFF) << 32) + count)


@subroutine
def close_segment(state: Pointer, floats: Pointer, rates: Pointer, losses: Pointer) -> None:
    """Add up the segment in chunk order; if the batch is complete, update the parameters."""
    p = state[N_PARAMETERS]
    row = p + PARTIAL_EXTRA
    total = at(floats, PARAMETERS + (2 + state[N_MOMENTS]) * p)
    first = state[SEGMENT_FIRST]
    stop = first + state[SEGMENT_CHUNKS]
    for chunk in range(max(first, 1), stop):
        add(row, at(total, slot(state, chunk) * row), total)
    state[NEXT_CHUNK] = stop
    if state[BAD_ROW] != NO_ROW:
        state[STATUS] = ROW_NOT_FINITE
    elif state[BATCH_START] + stop * state[CHUNK_ROWS] >= batch_stop(state):
        finish_batch(state, floats, total, rates)
        if state[BATCH_START] == state[N_ROWS]:
            finish_epoch(state, floats, losses)


@subroutine
def finish_batch(state: Pointer, floats: Pointer, total: Pointer, rates: Pointer) -> None:
    """One update with the gradient of (sum of losses + alpha/2 sum w**2) / n."""
    p = state[N_PARAMETERS]
    n = total[p + WEIGHT_SUM]
    stop = batch_stop(state)
    loss = total[p + LOSS_SUM] + penalty(state, floats)
    account_batch(state, floats, loss, n, stop - state[BATCH_START])
    update(state, floats, rate_of_epoch(state, rates), n, total)
    state[BATCH_START] = stop
    state[NEXT_CHUNK] = 0


@device_function
def rate_of_epoch(state: Pointer, rates: Pointer) -> float:
    """Return the learning rate; the last one that is given holds on."""
    return float(rates[min(state[EPOCH] - state[FIRST_RATE], state[N_RATES] - 1)])


@device_function
def penalty(state: Pointer, floats: Pointer) -> float:
    """Return alpha/2 sum w**2."""
    alpha = floats[ALPHA]
    if alpha == 0.0:
        return 0.0
    return float(0.5 * alpha * sum_of_squares(state[N_WEIGHTS], at(floats, PARAMETERS)))


@device_function
def account_batch(state: Pointer, floats: Pointer, loss: float, n: float, rows: int) -> None:
    """Add a batch's loss to the epoch's, by its n, or by its rows, as scikit-learn does."""
    if state[REPORT] == SCIKIT_LEARN and n != rows:
        account(floats, loss / n * rows, rows)
    else:
        account(floats, loss, n)


@device_function
def account(floats: Pointer, loss: float, n: float) -> None:
    """Add a batch's loss, penalty and all, to the epoch's."""
    # Neumaier's compensated sum: an epoch of single rows adds up as many terms as rows.
    before = floats[EPOCH_LOSS]
    after = before + loss
    larger = abs(before) >= abs(loss)
    if after - after == 0.0:  # an infinite sum has lost nothing more
        floats[EPOCH_LOSS_LOST] += (before - after) + loss if larger else (loss - after) + before
    floats[EPOCH_LOSS] = after
    floats[EPOCH_WEIGHT] += n


@subroutine
def finish_epoch(state: Pointer, floats: Pointer, losses: Pointer) -> None:
    """Record the loss; end the fit if it is not finite or has stopped falling."""
    p = state[N_PARAMETERS]
    parameters = at(floats, PARAMETERS)
    epoch_start = at(parameters, p)
    loss = (floats[EPOCH_LOSS] + floats[EPOCH_LOSS_LOST]) / floats[EPOCH_WEIGHT]
    floats[EPOCH_LOSS] = 0.0
    floats[EPOCH_LOSS_LOST] = 0.0
    floats[EPOCH_WEIGHT] = 0.0
    state[BATCH_START] = 0
    losses[state[EPOCH]] = loss
    if loss * 0.0 != 0.0 or not all_finite(p, parameters):
        copy(p, epoch_start, parameters)
        state[STATUS] = DIVERGED
        return
    copy(p, parameters, epoch_start)
    state[EPOCH] += 1
    improved = floats[BEST_LOSS] - loss > floats[TOL]
    floats[BEST_LOSS] = min(floats[BEST_LOSS], loss)
    state[STALE_EPOCHS] = 0 if improved else state[STALE_EPOCHS] + 1
    if state[N_ITER_NO_CHANGE] > 0 and state[STALE_EPOCHS] >= state[N_ITER_NO_CHANGE]:
        state[STATUS] = NO_IMPROVEMENT
