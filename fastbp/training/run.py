"""Epoch after epoch in slices: calls of the kernel that take some 50 ms each.

What a model must bring is in ``problem.py``; the arithmetic of epochs and batches is in
``kernels/steps.py``.
"""

from __future__ import annotations

import contextlib
import copy
import time
import zlib
from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from fastbp import arguments
from fastbp.data.arrays import contiguous_view, read_only
from fastbp.data.order import Order, Random, window_order
from fastbp.data.rows import Block, Rows
from fastbp.data.supply import open_supply
from fastbp.errors import DataError
from fastbp.kernels import layout
from fastbp.kernels.shared_network import MOST_PARTS
from fastbp.kernels.steps import CLOSED, UNOPENED
from fastbp.kernels.vector import LANES
from fastbp.system.interrupts import Interrupts
from fastbp.system.threads import ALONE, WORK_PER_THREAD, Team, team, threads_for
from fastbp.training.memory import Memory
from fastbp.training.problem import Kernel, Options, Problem
from fastbp.training.sharing import Sharing
from fastbp.training.state import (
    Batching,
    TrainingState,
    generator_from,
    generator_state,
    same_state,
    set_generator_state,
)

SLICE_SECONDS = 0.05
SHARED_WORK_PER_THREAD = 2**14  # 5 microseconds of a batch that threads share are worth one
FIRST_SHARE = 32  # 1.6 ms: how fast the machine is at this problem is known only after a slice
UNIT_SECONDS = 0.33e-9  # of work: see Problem
NO_FLOATS = read_only(np.empty(0))
NO_ORDER = read_only(np.empty(0, dtype=np.int64))


class Rates:
    """The learning rates: one number for all epochs, or what the user's function returns for each.

    The function is called ahead, for every epoch that a slice may complete. An exception of it is
    raised only when all earlier epochs have been computed.
    """

    def __init__(self, rate: arguments.RateFunction | float) -> None:
        self._rate = rate
        self._error: Exception | None = None
        self.called: list[float] = []
        """What the function has returned, by epoch of this fit."""

    def ahead(self, epoch: int, limit: int, first_epoch: int) -> tuple[list[float], int]:
        """Return rates for the epochs from `epoch` to `limit`, and a lower limit if they are fewer.

        The last rate is repeated. `first_epoch` is the function's number of this fit's first epoch.
        """
        if not callable(self._rate):
            return [self._rate], limit
        while len(self.called) < limit and self._error is None:
            try:
                self.called.append(self._call(first_epoch + len(self.called)))
            except Exception as error:
                self._error = error
        if epoch >= len(self.called):
            assert self._error is not None
            raise self._error
        rates = self.called[epoch:limit]
        return rates, epoch + len(rates)

    def call_again(self, past: list[float], first_epoch: int) -> str:
        """Call the function for epochs that are over; return which rate differs, or ""."""
        for epoch, before in enumerate(past, first_epoch):
            now = self._call(epoch)
            if now != before:
                return f"learning_rate({epoch}) was {before!r}, is {now!r}"
            self.called.append(now)
        return ""

    def _call(self, epoch: int) -> float:
        assert callable(self._rate)
        return arguments.real(f"learning_rate({epoch})", self._rate(epoch))


class Orders:
    """The orders in which the epochs visit the rows, drawn for some epochs at a time.

    If a fit ends before the last of them, the generator gets back the state that it would have had
    with orders drawn one by one, unless somebody else has drawn from it meanwhile.
    """

    def __init__(self, options: Options, rows: Rows) -> None:
        self._options, self._rows = options, rows
        self._random = options.random
        self._before: dict[str, Any] | None = None  # the generator's state, and
        self._after: dict[str, Any] | None = None  # that after the orders of several epochs
        self.first, self.stop = 0, 0
        """The first epoch of those drawn last, and the one after them."""

    def lack(self, epoch: int) -> bool:
        """Return whether an order is still to be drawn for this epoch."""
        return not self.first <= epoch < self.stop

    def draw(self, epoch: int, stop: int) -> list[Order]:
        """Draw the orders of the epochs from `epoch` to `stop`."""
        random, several = self._random, stop > epoch + 1
        assert random is not None
        self._before = generator_state(random) if several or self._options.resumable else None
        self.first, self.stop = epoch, stop
        orders = [self._draw(random) for _ in range(epoch, stop)]
        self._after = generator_state(random) if several else None
        return orders

    def put_back(self, epoch: int) -> None:
        """Undraw the orders from this epoch on, which the fit has not come to."""
        random = self._random
        if random is None or not self.first < epoch < self.stop:
            return
        if same_state(generator_state(random), self._after):
            self._draw_again(random, epoch)

    def state(self, epoch: int) -> dict[str, Any] | None:
        """Return the generator's state from before the order of this epoch is drawn."""
        if self._random is None or not (self._options.shuffle and self._options.resumable):
            return None
        if self.lack(epoch):
            return generator_state(self._random)
        again = copy.deepcopy(self._random)
        self._draw_again(again, epoch)
        return generator_state(again)

    def restore(self, state: dict[str, Any] | None) -> None:
        """Draw from a generator in this state from now on."""
        generator = None if state is None else generator_from(state)
        if self._options.shuffle and generator is not None:
            self._random = generator

    def _draw(self, random: Random) -> Order:
        rows = self._rows
        if self._options.shuffle == "window":
            return window_order(random, rows.n_rows, rows.n_features)
        return self._options.draw(random, rows.n_rows).astype(np.int64, copy=False)

    def _draw_again(self, random: Random, stop: int) -> None:
        """Put a generator where it was before the order of the epoch `stop` was drawn."""
        assert self._before is not None
        set_generator_state(random, self._before)
        for _ in range(self.first, stop):
            self._draw(random)


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


class Run:
    """The epochs of a problem, to be entered as a context.

    Attributes
    ----------
    memory : Memory
        The parameters and the position, among others.
    losses : numpy.ndarray of float64
        The losses of the completed epochs, and room for more.
    interrupts : Interrupts
        Interrupts, which end a wait for rows.
    first_epoch : int
        The number of this fit's first epoch, counted over all fits that it continues.
    """

    def __init__(
        self,
        problem: Problem,
        threads: Team,
        readers: int = 1,
        interrupts: Interrupts | None = None,
    ) -> None:
        self.problem, self.options = problem, problem.options
        self.interrupts = interrupts or Interrupts()
        self.memory = Memory(problem, threads.size)
        self.rates = Rates(self.options.learning_rate)
        self.losses = np.empty(min(self.options.epochs, 1024))  # grows
        self.first_epoch = 0
        self._orders = Orders(self.options, problem.rows)
        self._threads = threads
        self._sharing: Sharing | None = None
        if problem.shared_kernel is not None and threads.size > 1:
            self._sharing = Sharing(always=self.options.n_threads is not None)
        seconds = problem.epoch_work * UNIT_SECONDS / self.memory.chunks  # of a chunk
        self._budget = max(1, int(SLICE_SECONDS / FIRST_SHARE / seconds))
        self._lined: tuple[Block | None, Any] = None, None
        self._passes: Any = None
        if problem.rows.cluster is not None:
            from fastbp.training.cluster.passes import Passes

            self._passes = Passes(problem, self.memory, self.interrupts)
            return
        self._supply = open_supply(
            problem.samples,
            self.options.batch_rows,
            self.memory.chunk_rows,
            readers,
            self.options.shuffle,
            self.interrupts,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._passes is not None:
            self._passes.close()
            return
        self._supply.close()  # ends what reads the rows
        memory = self.memory
        ended_within = memory.status in (layout.ROW_NOT_FINITE, layout.DIVERGED)
        self._orders.put_back(memory.epoch + (memory.within_epoch or ended_within))

    def check_all(self) -> None:
        """Raise an error for the first invalid row; reads all rows, so it may take long."""
        if self._passes is not None:
            self._passes.check_all()
            return
        dtype = self.memory.parameters.dtype
        self.problem.samples.check_all(dtype, self.interrupts.raise_if_any)

    def continue_from(self, state: TrainingState) -> None:
        """Continue where another fit stopped, whose parameters are the initial ones."""
        self.check(self.memory.parameters, state)
        self.restore(state)

    def check(self, parameters: np.ndarray, state: TrainingState) -> None:
        """Raise the ValueError of parameters and a state that no such fit leaves behind."""
        memory = self.memory
        own = memory.parameters
        if parameters.dtype != own.dtype or parameters.shape != own.shape:
            got = arguments.describe(parameters)
            raise ValueError(f"parameters: expected {own.size} numbers of {own.dtype}, got {got}")
        state.check_dtype(own.dtype)
        checksum = zlib.crc32(parameters.data)
        if not (isinstance(state.checksum, int) and state.checksum == checksum):
            raise ValueError(
                "state: expected the parameters of the fit that it came from as initial values,"
                " got others"
            )
        if state.optimizer != self.options.optimizer:
            raise ValueError(f"state: expected that of {self.options.optimizer}")
        state.check(own, self._batching, (memory.chunk_rows, self.problem.group_chunks))

    def restore(self, state: TrainingState, losses: np.ndarray = NO_FLOATS) -> None:
        """Restore everything but the parameters; `losses` are those of this fit's own epochs."""
        self._orders.restore(state.random_state)
        self.first_epoch = state.epoch - len(losses)
        self.losses = np.resize(losses, max(len(losses), self.losses.size))
        self.memory.restore(state, len(losses))

    def completed(self, loss: float, parameters: np.ndarray) -> None:
        """Note an epoch that was computed elsewhere: its loss, and the parameters after it."""
        memory, epoch = self.memory, self.memory.epoch
        if epoch == self.losses.size:
            self.losses = np.resize(self.losses, min(self.options.epochs, 2 * epoch))
        self.losses[epoch] = loss
        memory.completed(loss, parameters)

    def training_state(self) -> TrainingState:
        """Return what another fit needs to continue."""
        epoch = self.memory.epoch
        random_state = self._orders.state(epoch)
        return self.memory.training_state(
            self.options, self.first_epoch + epoch, random_state, self._batching
        )

    @property
    def _batching(self) -> Batching:
        return self.problem.rows.n_rows, self.options.batch_rows, self.options.shuffle

    def slice(self) -> None:
        """Call the kernel once, for as much work as SLICE_SECONDS allow at the speed so far.

        On a cluster, wait about so long for what its workers have computed.
        """
        memory = self.memory
        if self._passes is not None:
            *_, rates = self._epochs_to_come(1)
            self._passes.step(rates, self.losses)
            return
        epoch, position = memory.epoch, memory.position
        budget, threads, kernel = self._division()
        budget, limit, rates = self._epochs_to_come(budget)
        more = epoch + 1 < self.options.epochs
        first, stop, block, order = self._supply.rows(position, more)
        if block is not self._lined[0]:  # rows in place are the same block in every slice
            self._lined = block, self._lines(block)
        data = *self._lined[1], NO_ORDER if order is None else order
        memory.allow((first, stop), order, (epoch, limit, len(rates)), budget)
        arrays = memory.integers, memory.floats, memory.vectors
        started = time.perf_counter()
        # The model's kernel: neuron_steps, network_steps, ...
        threads.run(
            lambda worker: kernel(data, *arrays, rates, self.losses, worker),
            abandon=self._abandon,
        )
        seconds = time.perf_counter() - started
        self._supply.used(position, memory.position if memory.epoch == epoch else None)
        if self._sharing is not None:
            self._sharing.took(seconds, budget - memory.budget)
        if memory.budget == 0 and not (self._sharing is not None and self._sharing.trial):
            growth = SLICE_SECONDS / max(seconds, 1e-9)
            self._budget = max(1, int(budget * min(growth, 16.0)))

    def allow_chunks(self, chunks: int) -> None:
        """Let the next slice compute so many chunks at most."""
        self._budget = chunks

    def _division(self) -> tuple[int, Team, Kernel]:
        """Return how many chunks the slice may have, which threads compute it, and how."""
        kernel, shared = self.problem.kernel, self.problem.shared_kernel
        if self._sharing is None or shared is None:
            return self._budget, self._threads, kernel
        budget = self._sharing.next(self._budget)
        threads = self._threads if self._sharing.now else ALONE
        self.memory.workers = threads.size
        return budget, threads, shared if self._sharing.now else kernel

    def _abandon(self) -> None:
        """Let the other threads return if worker 0 has not opened the slice."""
        if self.memory.ticket == UNOPENED:
            self.memory.ticket = CLOSED

    def _epochs_to_come(self, budget: int) -> tuple[int, int, np.ndarray]:
        """Return the budget, the epoch to stop before, and the rates of those until then.

        Of shuffled epochs, draw the orders: of several only if the budget allows all of each, and
        no function of the user's draws from the generator between them.
        """
        epoch, chunks, options = self.memory.epoch, self.memory.chunks, self.options
        limit = epoch + 1
        if not options.shuffle and not options.pauses:
            limit = min(options.epochs, limit + budget // chunks)
        draws = options.shuffle and self._orders.lack(epoch)
        if draws and not (options.pauses or callable(options.learning_rate)):
            ahead = min(options.epochs - epoch, self._supply.epochs_ahead, budget // chunks)
            if ahead > 0 and not self.memory.within_epoch:
                limit, budget = epoch + ahead, ahead * chunks
        rates, limit = self.rates.ahead(epoch, limit, self.first_epoch)
        if draws:
            self._supply.reorder(self._orders.draw(epoch, limit))
        if limit > self.losses.size:
            self.losses = np.resize(self.losses, min(options.epochs, 2 * limit))
        return budget, limit, np.array(rates)

    def _lines(self, block: Block) -> tuple[Any, np.ndarray, np.ndarray]:
        """Return a block's arrays as the kernel takes them; set how far apart their rows are."""
        assert block.labels is not None
        n, x, weight = self.memory.plain, block.features, NO_FLOATS
        if not isinstance(x, tuple):  # sparse rows are one
            x, n[layout.ROW_STRIDE] = contiguous_view(x)
        y, n[layout.LABEL_STRIDE] = contiguous_view(block.labels)
        if block.weight is not None:
            weight, n[layout.WEIGHT_STRIDE] = contiguous_view(block.weight)
        return x, y, weight

    def raise_bad_row(self) -> None:
        """Raise a DataError for a non-finite row, if the kernel has found one."""
        memory, dtype = self.memory, self.memory.parameters.dtype
        if memory.status != layout.ROW_NOT_FINITE:
            return
        if self.options.shuffle or memory.shuffled:  # another one may come before it
            self.problem.samples.check_all(dtype)
        row, rows = memory.bad_row, self.problem.rows
        rows.raise_if_not_finite(row, rows.block(row, row + 1).features, dtype)
        name, number = rows.locate(row)
        raise DataError(f"{name}: row {number} was not finite when it was first read", number)
