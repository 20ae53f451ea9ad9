"""Slices of a fit on this machine: calls of the kernel that take some 50 ms each.

The arithmetic of epochs and batches is in ``kernels/steps.py``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastbp.data.arrays import contiguous_view, read_only
from fastbp.data.moments import ColumnMoments, moments_by_block
from fastbp.data.order import Order
from fastbp.data.rows import Block
from fastbp.data.supply import open_supply
from fastbp.errors import DataError
from fastbp.kernels import layout
from fastbp.kernels.shared_network import MOST_PARTS
from fastbp.kernels.steps import CLOSED, UNOPENED
from fastbp.kernels.vector import LANES
from fastbp.system.interrupts import Interrupts, WaitInterruptedError
from fastbp.system.threads import ALONE, WORK_PER_THREAD, Team, team, threads_for
from fastbp.training.memory import Memory
from fastbp.training.problem import Kernel, Problem
from fastbp.training.sharing import Sharing

SLICE_SECONDS = 0.05
SHARED_WORK_PER_THREAD = 2**14  # 5 microseconds of a batch that threads share are worth one
FIRST_SHARE = 32  # 1.6 ms: how fast the machine is at this problem is known only after a slice
UNIT_SECONDS = 0.33e-9  # of work: see Problem
NO_FLOATS = read_only(np.empty(0))
NO_ORDER = read_only(np.empty(0, dtype=np.int64))


def workers(problem: Problem, passes: int) -> contextlib.AbstractContextManager[tuple[Team, int]]:
    """Return the threads that compute `passes` over the rows, and how many threads read for them.

    Rows that must be read take about as long as a neuron's arithmetic: half of the threads read.
    (With all of them computing as well, an epoch took half as long again.) For a network, reading
    is negligible.
    """
    rows, work, batch_rows = problem.rows, problem.row_work, problem.options.batch_rows
    if rows.cluster is not None:
        return contextlib.nullcontext((ALONE, 1))
    parts, least_work = -(-batch_rows // problem.chunk_rows), WORK_PER_THREAD
    if problem.shared_kernel is not None:
        panels = -(-min(problem.tile_rows, batch_rows) // LANES)
        parts, least_work = min(panels, MOST_PARTS), SHARED_WORK_PER_THREAD
    n_threads, fit_work = problem.options.n_threads, passes * rows.n_rows * work
    threads = threads_for(batch_rows * work, fit_work, parts, n_threads, least_work)
    readers = 1
    if not rows.in_place and work < 8 * rows.n_features:
        readers = max(1, threads // 2) if rows.any_order else 1
        threads = max(1, threads - readers)
    if threads == 1:
        return contextlib.nullcontext((ALONE, readers))
    return _started(threads, readers)


@contextlib.contextmanager
def _started(threads: int, readers: int) -> Iterator[tuple[Team, int]]:
    with team(threads) as members:
        yield members, readers


class Slices:
    """What a kernel computes of a problem, in slices, with threads of this process.

    Attributes
    ----------
    epochs_ahead : int
        How many epochs' orders it can take at a time.
    """

    def __init__(
        self,
        problem: Problem,
        memory: Memory,
        threads: Team,
        readers: int,
        interrupts: Interrupts,
    ) -> None:
        self._problem, self._memory, self._threads = problem, memory, threads
        self._interrupts, options = interrupts, problem.options
        self._sharing: Sharing | None = None
        if problem.shared_kernel is not None and threads.size > 1:
            self._sharing = Sharing(always=options.n_threads is not None)
        seconds = problem.epoch_work * UNIT_SECONDS / memory.chunks  # of a chunk
        self._budget = max(1, int(SLICE_SECONDS / FIRST_SHARE / seconds))
        self._who: tuple[Team, Kernel] = threads, problem.kernel
        self._lined: tuple[Block | None, Any] = None, None
        self._supply = open_supply(
            problem.samples,
            options.batch_rows,
            memory.chunk_rows,
            readers,
            options.shuffle,
            interrupts,
        )
        self.epochs_ahead = self._supply.epochs_ahead

    def close(self) -> None:
        """End what reads the rows."""
        self._supply.close()

    def check_all(self) -> None:
        """Raise an error for the first invalid row; reads all rows, so it may take long."""
        dtype = self._memory.parameters.dtype
        self._problem.samples.check_all(dtype, self._interrupts.raise_if_any)

    def first_rows(self, n_rows: int) -> Block:
        """Return the first so many rows, as float64."""
        return self._problem.rows.block(0, n_rows)

    def moments(self, origin: np.ndarray) -> ColumnMoments:
        """Return the moments of all rows' features, by their weights, from an origin on."""
        rows = self._problem.rows
        found = ColumnMoments(rows.n_features)
        found.origin = origin
        for of_block in moments_by_block(rows, origin):
            if self._interrupts.count:
                raise WaitInterruptedError
            found.add(of_block)
        return found

    def reorder(self, orders: list[Order]) -> None:
        """Visit the rows of the next epochs in these orders."""
        self._supply.reorder(orders)

    def allow_chunks(self, chunks: int) -> None:
        """Let the next slice compute so many chunks at most."""
        self._budget = chunks

    def next_budget(self) -> int:
        """Decide on how many chunks the next slice may have, who computes it, and how."""
        kernel, shared = self._problem.kernel, self._problem.shared_kernel
        if self._sharing is None or shared is None:
            return self._budget
        budget = self._sharing.next(self._budget)
        self._who = (self._threads, shared) if self._sharing.now else (ALONE, kernel)
        self._memory.workers = self._who[0].size
        return budget

    def step(self, budget: int, limit: int, rates: np.ndarray, losses: np.ndarray) -> None:
        """Call the kernel once, for so many chunks, at most to the epoch `limit`; OUT losses."""
        memory, (threads, kernel) = self._memory, self._who
        epoch, position = memory.epoch, memory.position
        more = epoch + 1 < self._problem.options.epochs
        first, stop, block, order = self._supply.rows(position, more)
        if block is not self._lined[0]:  # rows in place are the same block in every slice
            self._lined = block, self._lines(block)
        data = *self._lined[1], NO_ORDER if order is None else order
        memory.allow((first, stop), order, (epoch, limit, len(rates)), budget)
        arrays = memory.integers, memory.floats, memory.vectors
        started = time.perf_counter()
        # The model's kernel: neuron_steps, network_steps, ...
        threads.run(
            lambda worker: kernel(data, *arrays, rates, losses, worker), abandon=self._abandon
        )
        seconds = time.perf_counter() - started
        self._supply.used(position, memory.position if memory.epoch == epoch else None)
        if self._sharing is not None:
            self._sharing.took(seconds, budget - memory.budget)
        if memory.budget == 0 and not (self._sharing is not None and self._sharing.trial):
            growth = SLICE_SECONDS / max(seconds, 1e-9)
            self._budget = max(1, int(budget * min(growth, 16.0)))

    def _abandon(self) -> None:
        """Let the other threads return if worker 0 has not opened the slice."""
        if self._memory.ticket == UNOPENED:
            self._memory.ticket = CLOSED

    def _lines(self, block: Block) -> tuple[Any, np.ndarray, np.ndarray]:
        """Return a block's arrays as the kernel takes them; set how far apart their rows are."""
        assert block.labels is not None
        n, x, weight = self._memory.plain, block.features, NO_FLOATS
        if not isinstance(x, tuple):  # sparse rows are one
            x, n[layout.ROW_STRIDE] = contiguous_view(x)
        y, n[layout.LABEL_STRIDE] = contiguous_view(block.labels)
        if block.weight is not None:
            weight, n[layout.WEIGHT_STRIDE] = contiguous_view(block.weight)
        return x, y, weight

    def raise_bad_row(self) -> None:
        """Raise a DataError for a non-finite row, if the kernel has found one."""
        memory, dtype = self._memory, self._memory.parameters.dtype
        if memory.status != layout.ROW_NOT_FINITE:
            return
        if self._problem.options.shuffle or memory.shuffled:  # another one may come before it
            self._problem.samples.check_all(dtype)
        row, rows = memory.bad_row, self._problem.rows
        rows.raise_if_not_finite(row, rows.block(row, row + 1).features, dtype)
        name, number = rows.locate(row)
        raise DataError(f"{name}: row {number} was not finite when it was first read", number)
