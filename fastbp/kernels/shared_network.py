"""A network's mini-batches, each computed by all threads at once.

A tile passes two stages. *Rows*: each thread takes some panels through all layers and back. *Sums*:
each thread sums up the gradient of some of each layer's inputs over all rows and, where the batch
ends, updates their weights. So every number is computed by one thread, as one thread alone would
do it: nothing is added up between threads, and no bit depends on how many there are.

The parts of a stage are handed out like the chunks of ``steps.py``, except that each thread first
asks for its own, whose weights are in its caches. A thread that is held up elsewhere loses its part
to one that is not.
"""

from __future__ import annotations

from typing import Any

from fastbp.kernels import layout
from fastbp.kernels.atomics import atomic_add, atomic_store, compare_and_swap
from fastbp.kernels.blocks import DESCEND, PLAIN, PLUS
from fastbp.kernels.jit import device_function, kernel, subroutine
from fastbp.kernels.layers import Part, inputs_of, layer, share_of
from fastbp.kernels.network import gradient, rows_there_and_back, sum_losses
from fastbp.kernels.steps import (
    CLOSED,
    LEFT_MASK,
    UNOPENED,
    Data,
    account_batch,
    arrays_of,
    awaited_ticket,
    batch_stop,
    finish_epoch,
    first_bad_row,
    keep_least,
    may_continue,
    next_ticket,
    penalty,
    rate_of_epoch,
)
from fastbp.kernels.update import KEEP_LOSS, PLAIN_SGD, begin_update, update
from fastbp.kernels.vector import LANES, Pointer, at, padded, pointer_to

ROWS, SUMS = 0, 1  # values of STAGE
MOST_PARTS = 31  # of a stage: the lower half of a ticket has a bit for each that is left


@kernel
def shared_steps(
    data: Any, integers: Any, floats: Any, vectors: Any, rates: Any, losses: Any, worker: int
) -> bool:
    """Run a slice like :func:`fastbp.kernels.network.network_steps`.

    Chunks are single tiles, or there is one in a batch.
    """
    data, integers, floats = pointer_to(data), pointer_to(integers), pointer_to(floats)
    vectors, rates, losses = pointer_to(vectors), pointer_to(rates), pointer_to(losses)
    if worker == 0 and integers[layout.TICKET] == UNOPENED:
        open_tile(integers)
    while True:
        ticket = awaited_ticket(integers)
        if ticket < 0:
            return bool(ticket == CLOSED)
        index = own_or_first(ticket & LEFT_MASK, worker)
        if not compare_and_swap(integers, layout.TICKET, ticket, ticket - (1 << index)):
            continue
        # Once a part is counted as done, others may close this stage and open the next one.
        part = index, integers[layout.SEGMENT_CHUNKS]
        if integers[layout.STAGE] == ROWS:
            compute_rows(data, integers, vectors, part)
        else:
            compute_sums(integers, floats, vectors, rates, part)
        if atomic_add(integers, layout.DONE, 1) + 1 == part[1]:
            close_stage(integers, floats, vectors, rates, losses)


@device_function
def own_or_first(left: int, worker: int) -> int:
    """Return the thread's own part, if it is left, else the first one that is."""
    index = worker
    if worker >= MOST_PARTS or left >> worker & 1 == 0:
        index = 0
        while left >> index & 1 == 0:
            index += 1
    return index


@device_function
def open_stage(integers: Pointer, stage: int) -> None:
    """Hand out the parts of a stage, one for each thread."""
    parts = min(integers[layout.WORKERS], MOST_PARTS)
    integers[layout.STAGE] = stage
    integers[layout.SEGMENT_CHUNKS] = parts
    integers[layout.DONE] = 0
    atomic_store(integers, layout.TICKET, next_ticket(integers, (1 << parts) - 1))


@device_function
def tile_at(integers: Pointer) -> tuple[int, int]:
    """Return the first row of the tile, counted within the epoch, and how many it has."""
    start = integers[layout.BATCH_START] + integers[layout.TILE_START]
    return start, min(integers[layout.TILE_ROWS], batch_stop(integers) - start)


@device_function
def open_tile(integers: Pointer) -> None:
    """Open the next chunk's first tile, or end the call."""
    integers[layout.TILE_START] = integers[layout.NEXT_CHUNK] * integers[layout.CHUNK_ROWS]
    if may_continue(integers, tile_at(integers)[0]):
        integers[layout.BUDGET] -= 1
        open_stage(integers, ROWS)
    else:
        atomic_store(integers, layout.TICKET, CLOSED)


@subroutine
def compute_rows(data: Data, integers: Pointer, vectors: Pointer, part: Part) -> None:
    """Take a part of the tile's rows through all layers and back; OUT the tile's scratch."""
    parameters, _, work = arrays_of(integers, vectors)
    start, n = tile_at(integers)
    first, stop = share_of(n, part)
    if first == stop:
        return
    begin = start - integers[layout.BLOCK_START] + first
    panel = first // LANES
    finite = rows_there_and_back(data, integers, begin, stop - first, panel, parameters, work)
    if not finite:
        bad = first_bad_row(data, integers, parameters, start + first, stop - first)
        keep_least(integers, layout.BAD_ROW, bad)


@device_function
def descends(integers: Pointer, floats: Pointer) -> bool:
    """Return whether the gradient need not be stored: see `fastbp.kernels.network.tile_step`."""
    plain = integers[layout.OPTIMIZER] == PLAIN_SGD and floats[layout.ALPHA] == 0.0
    return bool(plain and integers[layout.BATCH_ROWS] <= integers[layout.TILE_ROWS])


@subroutine
def compute_sums(
    integers: Pointer, floats: Pointer, vectors: Pointer, rates: Pointer, part: Part
) -> None:
    """Sum up a part of the gradient; if the batch is complete, update its parameters.

    A batch without weight changes nothing.
    """
    parameters, total, work = arrays_of(integers, vectors)
    start, n = tile_at(integers)
    weight = floats[layout.SUMS + layout.WEIGHT_SUM]
    rate = rate_of_epoch(integers, rates)
    last = start + n == batch_stop(integers)
    if last and not weight > 0.0:
        return
    if descends(integers, floats):
        gradient(DESCEND, integers, 0, n, part, work, total, parameters)
        return
    mode = PLAIN if integers[layout.TILE_START] == 0 else PLUS
    gradient(mode, integers, 0, n, part, work, total, total)
    if last:
        for index in range(integers[layout.N_LAYERS]):
            update_layer(integers, floats, parameters, index, part, rate, weight, total)


@device_function
def update_layer(
    integers: Pointer,
    floats: Pointer,
    parameters: Pointer,
    index: int,
    part: Part,
    rate: float,
    weight: float,
    total: Pointer,
) -> None:
    """Update a part of a layer's parameters: the weights of some inputs, and some biases."""
    now = layer(integers, index)
    n_outputs = now[layout.OUTPUTS]
    first, last = share_of(n_outputs, part)
    begin = now[layout.BIASES_AT]
    update(integers, floats, parameters, rate, weight, total, begin + first, begin + padded(last))
    first, last = share_of(inputs_of(integers, index), part)
    begin = now[layout.WEIGHTS_AT]
    stop = begin + padded(last * n_outputs)
    start = begin + first * n_outputs
    update(integers, floats, parameters, rate, weight, total, start, stop)


@subroutine
def close_stage(
    integers: Pointer, floats: Pointer, vectors: Pointer, rates: Pointer, losses: Pointer
) -> None:
    """Go on to the tile's sums, or to the next tile; count a batch that is complete."""
    start, n = tile_at(integers)
    last = start + n == batch_stop(integers)
    if integers[layout.STAGE] == ROWS:
        finish_rows(integers, floats, vectors, rates, n, last)
        if integers[layout.STATUS] != layout.RUNNING:
            atomic_store(integers, layout.TICKET, CLOSED)
            return
        if integers[layout.OPTIMIZER] != KEEP_LOSS:
            open_stage(integers, SUMS)
            return
    if last:
        integers[layout.BATCH_START] = start + n
        integers[layout.NEXT_CHUNK] = 0
        if integers[layout.BATCH_START] == integers[layout.N_ROWS]:
            finish_epoch(integers, floats, vectors, losses)
        open_tile(integers)
        return
    integers[layout.TILE_START] += n
    if integers[layout.TILE_START] % integers[layout.CHUNK_ROWS] == 0:
        integers[layout.NEXT_CHUNK] += 1
        open_tile(integers)
    else:
        open_stage(integers, ROWS)


@subroutine
def finish_rows(
    integers: Pointer, floats: Pointer, vectors: Pointer, rates: Pointer, n: int, last: bool
) -> None:
    """Add up the losses of the tile's n rows; of a complete batch, prepare the update."""
    _, total, work = arrays_of(integers, vectors)
    sums = at(floats, layout.SUMS)
    if integers[layout.BAD_ROW] != layout.NO_ROW:
        integers[layout.STATUS] = layout.ROW_NOT_FINITE
        return
    sum_losses(PLAIN if integers[layout.TILE_START] == 0 else PLUS, integers, n, work, sums)
    weight = sums[layout.WEIGHT_SUM]
    if last and weight > 0.0:
        loss = sums[layout.LOSS_SUM] + penalty(integers, floats, vectors)
        rows = batch_stop(integers) - integers[layout.BATCH_START]
        account_batch(integers, floats, loss, weight, rows)
        begin_update(integers, floats)
        if descends(integers, floats):
            total[0] = -(rate_of_epoch(integers, rates) / weight)  # no gradient is stored there
