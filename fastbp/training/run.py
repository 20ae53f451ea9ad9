"""Epoch after epoch: the rates and orders of each, its loss, and who computes it.

What a model must bring is in ``problem.py``. A slice is computed here (``slices.py``) or on a
cluster (``cluster/passes.py``).
"""

from __future__ import annotations

import copy
import zlib
from typing import Any, Self

import numpy as np

from fastbp import arguments
from fastbp.data.arrays import read_only
from fastbp.data.order import Order, Random, window_order
from fastbp.data.rows import Rows
from fastbp.kernels import layout
from fastbp.system.interrupts import Interrupts
from fastbp.system.threads import Team
from fastbp.training.cluster.passes import Passes
from fastbp.training.memory import Memory
from fastbp.training.problem import Options, Problem
from fastbp.training.slices import Slices
from fastbp.training.state import (
    Batching,
    TrainingState,
    generator_from,
    generator_state,
    same_state,
    set_generator_state,
)

NO_LOSSES = read_only(np.empty(0))


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
        if problem.rows.cluster is None:
            how = problem, self.memory, threads, readers, self.interrupts
            self._computes: Slices | Passes = Slices(*how)
        else:
            self._computes = Passes(problem, self.memory, self.interrupts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._computes.close()
        memory = self.memory
        ended_within = memory.status in (layout.ROW_NOT_FINITE, layout.DIVERGED)
        self._orders.put_back(memory.epoch + (memory.within_epoch or ended_within))

    def check_all(self) -> None:
        """Raise an error for the first invalid row; reads all rows, so it may take long."""
        self._computes.check_all()

    def raise_bad_row(self) -> None:
        """Raise a DataError for a non-finite row, if one was found."""
        self._computes.raise_bad_row()

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

    def restore(self, state: TrainingState, losses: np.ndarray = NO_LOSSES) -> None:
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
        """Compute as much as some 50 ms allow at the speed so far.

        On a cluster, wait about so long for what its workers have computed.
        """
        self._computes.step(*self._epochs_to_come(self._computes.next_budget()), self.losses)

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
            ahead = min(options.epochs - epoch, self._computes.epochs_ahead, budget // chunks)
            if ahead > 0 and not self.memory.within_epoch:
                limit, budget = epoch + ahead, ahead * chunks
        rates, limit = self.rates.ahead(epoch, limit, self.first_epoch)
        if draws:
            self._computes.reorder(self._orders.draw(epoch, limit))
        if limit > self.losses.size:
            self.losses = np.resize(self.losses, min(options.epochs, 2 * limit))
        return budget, limit, np.array(rates)
