"""The epochs of a fit, a slice at a time, by one thread or by several at once.

A batch's rows are cut into chunks, and its chunks into groups, of which different machines may
take care. Some consecutive chunks of one group, a *segment*, are handed out at a time: each thread
takes the next chunk and writes its sums into a slot of its own. The thread that completes the last
chunk adds up the slots in chunk order and, at the end of a group, the groups; it updates the
parameters if the batch is complete, and opens the next segment. So the sums do not depend on which
thread computed what, and between two batches the threads synchronize in less than a microsecond,
without entering the interpreter.

The gradient is the model's own, passed to :func:`run_steps` as a function: `neuron_gradient`,
`network_gradient` or `sparse_gradient`. All models share the rest.
"""

from __future__ import annotations

import math
from typing import Any

from fastbp.kernels import layout
from fastbp.kernels.atomics import atomic_add, atomic_load, atomic_store, compare_and_swap
from fastbp.kernels.jit import device_function, kernel, subroutine, template
from fastbp.kernels.matvec import Order, row_at
from fastbp.kernels.reading import number_at
from fastbp.kernels.update import (
    KEEP_LOSS,
    add,
    all_finite,
    begin_update,
    copy,
    penalized_squares,
    sum_of_squares,
    update,
)
from fastbp.kernels.vector import Pointer, at, is_single, of_type, pointer_to

UNOPENED = -2  # ticket before the first segment of a call
CLOSED = -1  # ticket after the last
LEFT_MASK = 0xFFFFFFFF  # the lower half of a ticket
PATIENCE = 20_000  # polls of the ticket, some 12 microseconds, before the interpreter gets a turn

Data = tuple[Any, Pointer, Pointer, Pointer]
"""A block of rows: x, y, sample_weight and order; x of sparse rows is itself a tuple.

x (rows, D), y (rows, label columns) and sample_weight (rows,), each of a type that is stored (see
`stored.py`), and order (epochs, rows) of int64, the last two empty where unused. The distance from
row to row is in the integers.
"""
Buffers = tuple[Pointer, Pointer, Pointer, Pointer]
"""The parameters, a thread's scratch (`work`), and what it writes to: the gradient of a chunk
(`partial`), and its row of sums, which is of float64."""


@device_function
def order_of(data: Data, integers: Pointer) -> Order:
    """Return the order in which the epoch visits the rows."""
    before = (integers[layout.EPOCH] - integers[layout.FIRST_EPOCH]) * integers[layout.ORDER_STRIDE]
    return at(data[3], before), integers[layout.SHUFFLED] != 0


@template
def run_steps(
    gradient: Any,
    first_bad_row: Any,
    data: Any,
    integers: Any,
    floats: Any,
    vectors: Any,
    rates: Any,
    losses: Any,
    worker: int,
) -> bool:
    """Run until budget, block or epochs are exhausted or the fit ends; return True.

    A thread that has found nothing to do for a while returns False: call it again.
    data: the arrays of :data:`Data`. ACC integers, floats, vectors; OUT losses (epochs,).
    """
    data, integers, floats = pointer_to(data), pointer_to(integers), pointer_to(floats)
    vectors, rates, losses = pointer_to(vectors), pointer_to(rates), pointer_to(losses)
    p, sums = integers[layout.N_PARAMETERS], at(floats, layout.SUMS)
    parameters, partials, work = arrays_of(integers, vectors)
    work = at(work, worker * integers[layout.WORK_SIZE])
    alone = integers[layout.WORKERS] == 1
    if worker == 0 and integers[layout.TICKET] == UNOPENED:
        open_segment(integers)
    while True:
        ticket = awaited_ticket(integers)
        if ticket < 0:
            return bool(ticket == CLOSED)
        left = ticket & LEFT_MASK
        if alone:
            integers[layout.TICKET] = ticket - 1
        elif not compare_and_swap(integers, layout.TICKET, ticket, ticket - 1):
            continue
        # Once the chunk is counted as done, others may close this segment and open the next one.
        chunks = integers[layout.SEGMENT_CHUNKS]
        chunk = integers[layout.SEGMENT_FIRST] + chunks - left
        start = integers[layout.BATCH_START] + chunk * integers[layout.CHUNK_ROWS]
        rows = min(integers[layout.CHUNK_ROWS], batch_stop(integers) - start)
        row = slot(integers, chunk)
        buffers = parameters, work, at(partials, row * p), at(sums, row * layout.SUMS_IN_ROW)
        finite = gradient(data, integers, start, rows, buffers)
        if not finite and integers[layout.EPOCH] == 0:
            bad = first_bad_row(data, integers, vectors, start, rows)
            keep_least(integers, layout.BAD_ROW, bad)
        done = integers[layout.DONE] + 1 if alone else atomic_add(integers, layout.DONE, 1) + 1
        if alone:
            integers[layout.DONE] = done
        if done == chunks:
            close_segment(integers, floats, vectors, rates, losses)
            open_segment(integers)


@device_function
def arrays_of(integers: Pointer, vectors: Pointer) -> tuple[Pointer, Pointer, Pointer]:
    """Return the parameters, the gradients of chunks, and the scratch of the first thread."""
    p = integers[layout.N_PARAMETERS]
    partials = at(vectors, (2 + integers[layout.N_MOMENTS]) * p)
    return vectors, partials, at(partials, integers[layout.PARTIALS] * p)


@device_function
def awaited_ticket(integers: Pointer) -> int:
    """Return the next ticket of which something is left, CLOSED, or UNOPENED when patience ends."""
    for _ in range(PATIENCE):
        ticket = atomic_load(integers, layout.TICKET)
        if ticket == CLOSED or (ticket > 0 and ticket & LEFT_MASK != 0):
            return int(ticket)
    return UNOPENED


@subroutine
def close_segment(
    integers: Pointer, floats: Pointer, vectors: Pointer, rates: Pointer, losses: Pointer
) -> None:
    """Add up the segment in chunk order; if the batch is complete, update the parameters."""
    sums = at(floats, layout.SUMS)
    first = integers[layout.SEGMENT_FIRST]
    stop = first + integers[layout.SEGMENT_CHUNKS]
    group = integers[layout.GROUP_FIRST]
    for chunk in range(max(first, group + 1), stop):
        row = at(sums, slot(integers, chunk) * layout.SUMS_IN_ROW)
        add(layout.SUMS_IN_ROW, row, sums)
    integers[layout.NEXT_CHUNK] = stop
    next_row = integers[layout.BATCH_START] + stop * integers[layout.CHUNK_ROWS]
    last = next_row >= batch_stop(integers)
    if integers[layout.OPTIMIZER] != KEEP_LOSS:
        add_gradients(integers, floats, vectors, first, stop, last)
    if last or stop - group == integers[layout.GROUP_CHUNKS]:
        close_group(integers, floats, vectors, stop, last)
    if integers[layout.BAD_ROW] != layout.NO_ROW:
        integers[layout.STATUS] = layout.ROW_NOT_FINITE
    elif last:
        finish_batch(integers, floats, vectors, rates)
        if integers[layout.BATCH_START] == integers[layout.N_ROWS]:
            finish_epoch(integers, floats, vectors, losses)


@device_function
def add_gradients(
    integers: Pointer, floats: Pointer, vectors: Pointer, first: int, stop: int, last: bool
) -> None:
    """Add the gradients of the chunks from `first` to `stop` to that of the group, in float64.

    That of the first chunk, where it is of float64; else in the floats. A batch of one chunk needs
    neither.
    """
    p = integers[layout.N_PARAMETERS]
    _, partials, _ = arrays_of(integers, vectors)
    total, _ = group_and_batch(integers, floats, vectors)
    group = integers[layout.GROUP_FIRST]
    if is_single(vectors) and first == group and not (last and stop == 1):
        copy(p, partials, total)
    for chunk in range(max(first, group + 1), stop):
        add(p, at(partials, slot(integers, chunk) * p), total)


@device_function
def group_and_batch(
    integers: Pointer, floats: Pointer, vectors: Pointer
) -> tuple[Pointer, Pointer]:
    """Return the gradients of the group and of the batch, the latter where there are several."""
    p, rows = integers[layout.N_PARAMETERS], integers[layout.PARTIALS]
    if is_single(vectors):
        group = at(floats, layout.SUMS + rows * layout.SUMS_IN_ROW)
        return group, at(group, p)
    _, partials, _ = arrays_of(integers, vectors)
    group = of_type(partials, floats)
    return group, at(group, (rows - 1) * p)


@device_function
def close_group(
    integers: Pointer, floats: Pointer, vectors: Pointer, stop: int, last: bool
) -> None:
    """Add the sums of a complete group to those of the batch; OUT the first row at its end.

    A batch that is one group has its sums there already, but for the rounding of float32.
    """
    p, sums = integers[layout.N_PARAMETERS], at(floats, layout.SUMS)
    _, partials, _ = arrays_of(integers, vectors)
    gradient, of_batch = group_and_batch(integers, floats, vectors)
    has_gradient = integers[layout.OPTIMIZER] != KEEP_LOSS
    is_first = integers[layout.GROUP_FIRST] == 0
    only = is_first and last
    if not only:
        total = at(sums, (integers[layout.PARTIALS] - 1) * layout.SUMS_IN_ROW)
        copy_or_add(is_first, layout.SUMS_IN_ROW, sums, total)
        if has_gradient:
            copy_or_add(is_first, p, gradient, of_batch)
        integers[layout.GROUP_FIRST] = stop
        if last:
            copy(layout.SUMS_IN_ROW, total, sums)
        gradient = of_batch
    if last and has_gradient and (not only or (is_single(vectors) and stop > 1)):
        copy(p, gradient, partials)


@device_function
def copy_or_add(is_first: bool, size: int, source: Pointer, target: Pointer) -> None:
    """Add whole vectors to the sum of those before, if there are any; ACC or OUT target."""
    if is_first:
        copy(size, source, target)
    else:
        add(size, source, target)


@subroutine
def finish_batch(integers: Pointer, floats: Pointer, vectors: Pointer, rates: Pointer) -> None:
    """Do one update with the gradient of (sum of losses + alpha/2 sum w**2) / n.

    A batch without weight changes nothing.
    """
    p, sums = integers[layout.N_PARAMETERS], at(floats, layout.SUMS)
    n = sums[layout.WEIGHT_SUM]
    stop = batch_stop(integers)
    if n > 0.0:
        loss = sums[layout.LOSS_SUM] + penalty(integers, floats, vectors)
        account_batch(integers, floats, loss, n, stop - integers[layout.BATCH_START])
        begin_update(integers, floats)
        _, total, _ = arrays_of(integers, vectors)
        n = clipped(integers, floats, vectors, total, n)
        update(integers, floats, vectors, rate_of_epoch(integers, rates), n, total, 0, p)
    integers[layout.BATCH_START] = stop
    integers[layout.NEXT_CHUNK] = 0
    integers[layout.GROUP_FIRST] = 0


@device_function
def clipped(
    integers: Pointer, floats: Pointer, parameters: Pointer, gradient: Pointer, n: float
) -> float:
    """Return n or, where the norm of gradient / n exceeds CLIP, by how much to divide instead.

    The gradient includes that of the penalty (Pascanu et al., ICML 2013). One whose norm overflows
    is divided by infinity: it changes nothing.
    """
    most = floats[layout.CLIP]
    if most > 0.0:
        norm = math.sqrt(penalized_squares(integers, floats, parameters, gradient)) / n
        n *= max(1.0, norm / most)
    return n


@kernel
def finish_sums(integers: Any, floats: Any, vectors: Any, rates: Any, losses: Any) -> bool:
    """Do what a batch of which all groups were summed up elsewhere ends with: the update."""
    integers, floats, vectors = pointer_to(integers), pointer_to(floats), pointer_to(vectors)
    rates, losses = pointer_to(rates), pointer_to(losses)
    finish_batch(integers, floats, vectors, rates)
    if integers[layout.BATCH_START] == integers[layout.N_ROWS]:
        finish_epoch(integers, floats, vectors, losses)
    return True


@subroutine
def open_segment(integers: Pointer) -> None:
    """Hand out the next chunks, or end the call."""
    first = integers[layout.NEXT_CHUNK]
    start = integers[layout.BATCH_START] + first * integers[layout.CHUNK_ROWS]
    stop = min(batch_stop(integers), integers[layout.BLOCK_STOP])
    if not may_continue(integers, start) or start >= stop:
        atomic_store(integers, layout.TICKET, CLOSED)
        return
    available = (stop - start + integers[layout.CHUNK_ROWS] - 1) // integers[layout.CHUNK_ROWS]
    left = integers[layout.GROUP_FIRST] + integers[layout.GROUP_CHUNKS] - first
    count = min(min(available, left), min(integers[layout.BUDGET], integers[layout.SLOTS]))
    integers[layout.BUDGET] -= count
    integers[layout.SEGMENT_FIRST] = first
    integers[layout.SEGMENT_CHUNKS] = count
    integers[layout.DONE] = 0
    atomic_store(integers, layout.TICKET, next_ticket(integers, count))


@device_function
def next_ticket(integers: Pointer, left: int) -> int:
    """Return a ticket for what is `left`, which differs from the one before."""
    generation = (max(integers[layout.TICKET], 0) >> 32) + 1
    return int(((generation & 0x3FFFFFFF) << 32) + left)


@template
def run_whole_batches(
    step: Any, data: Any, integers: Any, floats: Any, vectors: Any, rates: Any, losses: Any
) -> bool:
    """Do what `run_steps` does where `step` takes whole batches through to the update: one thread.

    The step gets the learning rate, and stores loss, with the penalty, and weight in the sums. Of
    a batch without weight it changes no parameter.
    """
    data, integers, floats = pointer_to(data), pointer_to(integers), pointer_to(floats)
    vectors, rates, losses = pointer_to(vectors), pointer_to(rates), pointer_to(losses)
    sums = at(floats, layout.SUMS)
    parameters, partial, work = arrays_of(integers, vectors)
    buffers = parameters, work, partial, sums
    while may_continue(integers, integers[layout.BATCH_START]):
        start = integers[layout.BATCH_START]
        rows = batch_stop(integers) - start
        rate = rate_of_epoch(integers, rates)
        finite = step(data, integers, start, rows, rate, floats, buffers)
        if not finite and has_bad_row(data, integers, vectors, start, rows):
            break
        loss, n = sums[layout.LOSS_SUM], sums[layout.WEIGHT_SUM]
        if n > 0.0:
            account_batch(integers, floats, loss, n, rows)
        count_batches(integers, floats, vectors, losses, 1, rows)
    return True


@device_function
def may_continue(integers: Pointer, start: int) -> bool:
    """Return whether the call has budget, epochs and the row `start` left."""
    within = integers[layout.EPOCH] < integers[layout.EPOCH_LIMIT] and integers[layout.BUDGET] > 0
    in_block = integers[layout.BLOCK_START] <= start < integers[layout.BLOCK_STOP]
    return bool(integers[layout.STATUS] == layout.RUNNING and within and in_block)


@device_function
def count_batches(
    integers: Pointer,
    floats: Pointer,
    vectors: Pointer,
    losses: Pointer,
    n_batches: int,
    rows: int,
) -> None:
    """Count complete batches, which have `rows` rows in all, and end a complete epoch."""
    integers[layout.BUDGET] -= n_batches
    integers[layout.BATCH_START] += rows
    if integers[layout.BATCH_START] == integers[layout.N_ROWS]:
        finish_epoch(integers, floats, vectors, losses)


@subroutine
def first_bad_row(data: Data, integers: Pointer, vectors: Pointer, start: int, rows: int) -> int:
    """Return the first dense row, by its index, that is not finite in the fit's type, or NO_ROW."""
    x, order = data[0], order_of(data, integers)
    least = layout.NO_ROW
    first = start - integers[layout.BLOCK_START]
    for i in range(first, first + rows):
        row = row_at(order, i)
        check = 0.0
        begin = row * integers[layout.ROW_STRIDE]
        for j in range(begin, begin + integers[layout.N_FEATURES]):
            check += number_at(x, j, vectors) * 0.0
        if check != 0.0:
            least = min(least, row + integers[layout.BLOCK_START])
    return least


@device_function
def has_bad_row(data: Data, integers: Pointer, vectors: Pointer, start: int, rows: int) -> bool:
    """Look for a row that is not finite; if there is one, end the fit and return True."""
    integers[layout.BAD_ROW] = first_bad_row(data, integers, vectors, start, rows)
    bad = integers[layout.BAD_ROW] != layout.NO_ROW
    if bad:
        integers[layout.STATUS] = layout.ROW_NOT_FINITE
    return bool(bad)


@device_function
def batch_stop(integers: Pointer) -> int:
    """Return the row after the batch."""
    stop = integers[layout.BATCH_START] + integers[layout.BATCH_ROWS]
    return int(min(stop, integers[layout.N_ROWS]))


@device_function
def slot(integers: Pointer, chunk: int) -> int:
    """Return the row of partial sums for a chunk: the group's first one is the running total."""
    group = integers[layout.GROUP_FIRST]
    if chunk == group:
        return 0
    return int(chunk - max(integers[layout.SEGMENT_FIRST], group + 1) + 1)


@device_function
def keep_least(integers: Pointer, index: int, value: int) -> None:
    """Lower integers[index] to `value` if that is less, whichever thread comes first."""
    present = atomic_load(integers, index)
    while value < present and not compare_and_swap(integers, index, present, value):
        present = atomic_load(integers, index)


@device_function
def rate_of_epoch(integers: Pointer, rates: Pointer) -> float:
    """Return the learning rate of the epoch; the last one that is given is repeated."""
    index = integers[layout.EPOCH] - integers[layout.FIRST_EPOCH]
    return float(rates[min(index, integers[layout.N_RATES] - 1)])


@device_function
def penalty(integers: Pointer, floats: Pointer, weights: Pointer) -> float:
    """Return alpha/2 sum w**2."""
    alpha = floats[layout.ALPHA]
    if alpha == 0.0:
        return 0.0
    return float(0.5 * alpha * sum_of_squares(integers[layout.N_WEIGHTS], weights))


@device_function
def account_batch(integers: Pointer, floats: Pointer, loss: float, n: float, rows: int) -> None:
    """Add a batch's loss to the epoch's, by its n, or by its rows, as scikit-learn does."""
    if integers[layout.REPORT] == layout.SCIKIT_LEARN and n != rows:
        account(floats, loss / n * rows, rows)
    else:
        account(floats, loss, n)


@device_function
def account(floats: Pointer, loss: float, n: float) -> None:
    """Add a batch's loss, with the penalty, to the epoch's."""
    # Neumaier's compensated sum: an epoch of single rows adds up as many terms as rows.
    before = floats[layout.EPOCH_LOSS]
    after = before + loss
    if after - after == 0.0:  # an infinite sum has lost nothing more
        larger = abs(before) >= abs(loss)
        lost = (before - after) + loss if larger else (loss - after) + before
        floats[layout.EPOCH_LOSS_LOST] += lost
    floats[layout.EPOCH_LOSS] = after
    floats[layout.EPOCH_WEIGHT] += n


@subroutine
def finish_epoch(integers: Pointer, floats: Pointer, parameters: Pointer, losses: Pointer) -> None:
    """Record the loss; end the fit if it is not finite or has stopped falling."""
    p = integers[layout.N_PARAMETERS]
    epoch_start = at(parameters, p)
    loss = floats[layout.EPOCH_LOSS] + floats[layout.EPOCH_LOSS_LOST]
    loss = loss / floats[layout.EPOCH_WEIGHT]
    floats[layout.EPOCH_LOSS] = 0.0
    floats[layout.EPOCH_LOSS_LOST] = 0.0
    floats[layout.EPOCH_WEIGHT] = 0.0
    integers[layout.BATCH_START] = 0
    losses[integers[layout.EPOCH]] = loss
    if loss * 0.0 != 0.0 or not all_finite(p, parameters):
        copy(p, epoch_start, parameters)
        integers[layout.STATUS] = layout.DIVERGED
        return
    copy(p, parameters, epoch_start)
    integers[layout.EPOCH] += 1
    improved = floats[layout.BEST_LOSS] - loss > floats[layout.TOL]
    if integers[layout.TOL_SUFFICES] != 0:
        improved = loss <= floats[layout.BEST_LOSS] - floats[layout.TOL]
    floats[layout.BEST_LOSS] = min(floats[layout.BEST_LOSS], loss)
    stale = 0 if improved else integers[layout.STALE_EPOCHS] + 1
    integers[layout.STALE_EPOCHS] = stale
    if 0 < integers[layout.N_ITER_NO_CHANGE] <= stale:
        integers[layout.STATUS] = layout.NO_IMPROVEMENT
