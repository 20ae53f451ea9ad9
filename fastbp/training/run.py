"""One pass after another over the rows: the kernel's two arrays, and its calls in slices.

A slice is one call of the kernel, some 50 ms of work. What a model must bring is in
:class:`Problem`; the arithmetic of epochs and batches is in ``kernels/steps.py``.
"""

from __future__ import annotations

import time
import zlib
from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.data import checks
from fastbp.data.arrays import aligned_zeros, as_line, read_only
from fastbp.data.order import Order, Permutation, window_order
from fastbp.data.rows import Block
from fastbp.data.sparse import Compressed
from fastbp.data.supply import Supply
from fastbp.errors import DataError
from fastbp.kernels import layout
from fastbp.kernels.steps import CLOSED, UNOPENED
from fastbp.system.interrupts import Requests
from fastbp.system.threads import Team
from fastbp.training.optimizers import GradientOnly, LossOnly
from fastbp.training.problem import Options, Problem
from fastbp.training.state import TrainingState, generator_from, generator_state

SLICE_SECONDS = 0.05
MOST_SLOTS, MOST_SLOT_ELEMENTS = 4096, 2**20  # of partial sums, one for each chunk of a segment
NO_FLOATS = read_only(np.empty(0))
NO_ORDER = read_only(np.empty(0, dtype=np.int64))


def _described(cut: tuple[int, int, bool | str]) -> str:
    n_rows, batch_rows, shuffle = cut
    how = {True: ", shuffled", False: "", "window": ", shuffled in windows"}[shuffle]
    return f"{n_rows} rows in batches of {batch_rows}{how}"


class Run:
    """Epochs under way; close it at the end."""

    def __init__(
        self,
        problem: Problem,
        options: Options,
        threads: Team,
        readers: int = 1,
        requests: Requests | None = None,
    ) -> None:
        self.problem = problem
        self.options = options
        self.threads = threads
        self.random = options.random
        self.losses = np.empty(min(options.epochs, 1024))  # grows
        self.rates: list[float] = []  # those that a function has given, by epoch
        self.rate_error: Exception | None = None
        self.budget = 1
        self.first_epoch = 0  # of this fit, counted over all that it continues
        self._lined: tuple[Block | None, Any] = (None, None)
        self.drawn: tuple[int, dict[str, Any] | None] | None = None
        self._lay_out()
        self._supply = Supply(
            problem.samples,
            options.batch_rows,
            int(self.state[layout.CHUNK_ROWS]),
            readers,
            options.shuffle,
            requests or Requests(),
        )

    def close(self) -> None:
        """End what reads the rows."""
        self._supply.close()

    def _lay_out(self) -> None:
        """Make the kernel's two arrays."""
        problem, options, rule = self.problem, self.options, self.options.optimizer
        p = problem.parameters.size
        rows = problem.rows
        chunk_rows = min(problem.chunk_rows, options.batch_rows)
        slots = max(2 * self.threads.size, MOST_SLOT_ELEMENTS // (p + layout.PARTIAL_EXTRA))
        slots = min(slots, MOST_SLOTS, -(-options.batch_rows // chunk_rows))
        tested = options.tol is not None
        self.state = np.zeros(layout.N_INTEGERS + len(problem.table), dtype=np.int64)
        self.state[layout.LAYERS :] = problem.table
        for index, value in (
            (layout.N_ROWS, rows.n_rows),
            (layout.N_FEATURES, rows.n_features),
            (layout.BATCH_ROWS, options.batch_rows),
            (layout.CHUNK_ROWS, chunk_rows),
            (layout.TILE_ROWS, problem.tile_rows),
            (layout.WEIGHTED, rows.weighted),
            (layout.OPTIMIZER, rule.code),
            (layout.N_MOMENTS, rule.n_moments),
            (layout.N_PARAMETERS, p),
            (layout.N_WEIGHTS, problem.n_weights),
            (layout.N_ITER_NO_CHANGE, options.n_iter_no_change if tested else 0),
            (layout.SLOTS, slots),
            (layout.WORKERS, self.threads.size),
            (layout.WORK_SIZE, problem.work_size),
            (layout.BAD_ROW, layout.NO_ROW),
            *problem.settings.items(),
        ):
            self.state[index] = value
        sums = p + layout.PARTIAL_EXTRA
        partials = layout.PARAMETERS + (2 + rule.n_moments) * p
        work = self.threads.size * problem.work_size
        self.floats = aligned_zeros(partials + (slots + 1) * sums + work)
        self.floats[layout.RULE : layout.RULE + len(rule.constants)] = rule.constants
        self.floats[layout.ALPHA] = options.alpha
        self.floats[layout.TOL] = options.tol or 0.0
        self.floats[layout.BEST_LOSS] = np.inf
        self.floats[layout.POWER_1] = self.floats[layout.POWER_2] = 1.0
        whole = self.floats[layout.PARAMETERS : partials].reshape(-1, p)
        self.parameters, self.epoch_start, self.moments = whole[0], whole[1], whole[2:]
        self.partial = self.floats[partials : partials + sums]
        self.parameters[:] = self.epoch_start[:] = problem.parameters

    def start_again(self, parameters: np.ndarray) -> None:
        """Forget all but the problem, and begin with other parameters."""
        self.parameters[:] = self.epoch_start[:] = parameters
        self.floats[layout.EPOCH_LOSS : layout.EPOCH_WEIGHT + 1] = 0.0
        for index in (
            layout.EPOCH,
            layout.BATCH_START,
            layout.NEXT_CHUNK,
            layout.STATUS,
            layout.STALE_EPOCHS,
        ):
            self.state[index] = 0
        self.state[layout.BAD_ROW] = layout.NO_ROW

    def go_on_from(self, state: TrainingState) -> None:
        """Take over where another fit stopped, whose parameters are the start values."""
        if state.checksum != zlib.crc32(self.parameters.data):
            raise ValueError(
                "state: expected the parameters of its fit as start values, got others"
            )
        if (state.batch_start or state.next_chunk) and state.cut != self.cut:
            raise ValueError(
                f"state: expected, to go on within an epoch, {_described(state.cut)},"
                f" got {_described(self.cut)}"
            )
        self.restore(state, 0)

    def restore(self, state: TrainingState, epochs: int) -> None:
        """Put everything but the parameters in its place; so many epochs count as this fit's."""
        self.first_epoch = state.epoch - epochs
        self.state[layout.EPOCH] = epochs
        self.state[layout.BATCH_START] = state.batch_start
        self.state[layout.NEXT_CHUNK] = state.next_chunk
        self.state[layout.STALE_EPOCHS] = state.stale_epochs
        self.moments[:] = state.moments
        self.floats[layout.POWER_1], self.floats[layout.POWER_2] = state.powers
        self.floats[layout.EPOCH_LOSS : layout.EPOCH_WEIGHT + 1] = state.epoch_sums
        self.floats[layout.BEST_LOSS] = state.best_loss
        if state.epoch_start.size:
            self.epoch_start[:] = state.epoch_start
        if state.partial_sums.size:
            self.partial[:] = state.partial_sums
        if self.options.shuffle and state.random_state is not None:
            self.random = generator_from(state.random_state)

    def training_state(self) -> TrainingState:
        """Return what another fit needs to go on."""
        random = None
        if self.random is not None and self.options.shuffle:
            random = generator_state(self.random)
            if self.drawn is not None and self.drawn[0] == self.epoch:
                random = self.drawn[1]  # the order of an epoch that is not complete
        assert not isinstance(self.options.optimizer, GradientOnly | LossOnly)
        nothing = np.empty(0)
        return TrainingState(
            optimizer=self.options.optimizer,
            epoch=self.first_epoch + self.epoch,
            moments=self.moments.copy(),
            powers=(float(self.floats[layout.POWER_1]), float(self.floats[layout.POWER_2])),
            random_state=random,
            batch_start=int(self.state[layout.BATCH_START]),
            next_chunk=int(self.state[layout.NEXT_CHUNK]),
            partial_sums=self.partial.copy() if self.state[layout.NEXT_CHUNK] else nothing,
            epoch_start=self.epoch_start.copy() if self.position else nothing,
            cut=self.cut,
            epoch_sums=tuple(self.floats[layout.EPOCH_LOSS : layout.EPOCH_WEIGHT + 1].tolist()),
            best_loss=float(self.floats[layout.BEST_LOSS]),
            stale_epochs=int(self.state[layout.STALE_EPOCHS]),
            checksum=zlib.crc32(self.parameters.data),
        )

    @property
    def cut(self) -> tuple[int, int, bool | str]:
        """How an epoch is cut up: its rows, those of a batch, whether and how they are shuffled."""
        return self.problem.rows.n_rows, self.options.batch_rows, self.options.shuffle

    @property
    def epoch(self) -> int:
        """Whole epochs completed."""
        return int(self.state[layout.EPOCH])

    @property
    def position(self) -> int:
        """Rows of this epoch that are in the sums."""
        done = (
            self.state[layout.BATCH_START]
            + self.state[layout.NEXT_CHUNK] * self.state[layout.CHUNK_ROWS]
        )
        return int(min(done, self.problem.rows.n_rows))

    def slice(self) -> None:
        """One call of the kernel, of a length that is adjusted to SLICE_SECONDS."""
        if self.options.shuffle and (self.drawn is None or self.drawn[0] != self.epoch):
            self.new_order()
        rates = self._rates()
        data = self._arrays()
        epoch, position = self.epoch, self.position
        self.state[layout.BUDGET] = self.budget
        self.state[layout.TICKET] = UNOPENED
        started = time.perf_counter()
        self.threads.run(
            lambda worker: self.problem.kernel(
                data, self.state, self.floats, rates, self.losses, worker
            ),
            abandon=self._close,
        )
        self._supply.used(position, self.position if self.epoch == epoch else None)
        if self.state[layout.BUDGET] == 0:
            growth = SLICE_SECONDS / max(time.perf_counter() - started, 1e-9)
            self.budget = max(1, int(self.budget * min(growth, 16.0)))

    def _close(self) -> None:
        """Let the other threads return if worker 0 never opened the slice."""
        if self.state[layout.TICKET] == UNOPENED:
            self.state[layout.TICKET] = CLOSED

    def _rates(self) -> np.ndarray:
        """Set how many epochs the slice may complete, and return their rates."""
        first = self.epoch
        per_epoch = -(-self.problem.rows.n_rows // int(self.state[layout.CHUNK_ROWS]))
        limit = min(self.options.epochs, first + 1 + self.budget // per_epoch)
        if self.options.pauses or self.options.shuffle:
            limit = first + 1
        rate = self.options.learning_rate
        if callable(rate):
            self._call_rates(rate, limit)
            rates = self.rates[first:limit]
            limit = first + len(rates)
        else:
            rates = [rate]
        if limit > self.losses.size:
            self.losses = np.resize(self.losses, min(self.options.epochs, 2 * limit))
        self.state[layout.FIRST_RATE] = first
        self.state[layout.N_RATES] = len(rates)
        self.state[layout.EPOCH_LIMIT] = limit
        return np.array(rates)

    def _call_rates(self, rate: arguments.RateFunction, limit: int) -> None:
        """Call the user's function once an epoch, in order; what it raises waits its turn."""
        while len(self.rates) < limit and self.rate_error is None:
            number = self.first_epoch + len(self.rates)
            try:
                self.rates.append(arguments.real(f"learning_rate({number})", rate(number)))
            except Exception as error:
                self.rate_error = error
        if self.epoch >= len(self.rates):
            assert self.rate_error is not None
            raise self.rate_error

    def raise_bad_row(self) -> None:
        """Raise the DataError of a row that the kernel found not finite, if it did."""
        if self.state[layout.STATUS] != layout.ROW_NOT_FINITE:
            return
        if self.options.shuffle or self.state[layout.SHUFFLED]:  # it is not certainly the first one
            self.problem.samples.check_all()
        row = int(self.state[layout.BAD_ROW])
        rows = self.problem.rows
        rows.raise_if_not_finite(row, rows.block(row, row + 1).features)
        name, number = rows.place(row)
        raise DataError(f"{name}: row {number} was not finite when it was first read", number)

    def new_order(self) -> None:
        """Draw the order of the rows of an epoch."""
        assert self.random is not None
        self.drawn = self.epoch, generator_state(self.random) if self.options.resumable else None
        rows = self.problem.rows
        order: Order
        if self.options.shuffle == "window":
            order = window_order(self.random, rows.n_rows, rows.n_features)
        else:
            numbers = self.options.draw(self.random, rows.n_rows)
            order = Permutation(numbers.astype(np.int64, copy=False))
        self._supply.reorder(order)
        weights = self._supply.weights()
        if weights is not None:
            checks.batches_have_weight(
                "sample_weight",
                weights,
                self.options.batch_rows,
                of=f" in the order drawn for epoch {self.first_epoch + self.epoch}",
            )

    def _arrays(self) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        """Return features, labels, weights and order for the next slice."""
        more = self.epoch + 1 < self.options.epochs
        start, stop, block, order = self._supply.rows(self.position, more)
        self.state[layout.SHUFFLED] = order is not None
        self.state[layout.BLOCK_START] = start
        self.state[layout.BLOCK_STOP] = stop
        if block is not self._lined[0]:  # rows in place are the same block in every slice
            self._lined = block, self._lines(block)
        return *self._lined[1], NO_ORDER if order is None else order

    def _lines(self, block: Block) -> tuple[Any, np.ndarray, np.ndarray]:
        """Return a block's arrays as kernels take them, and set how far apart their rows are."""
        assert block.labels is not None
        x: Any
        if isinstance(block.features, Compressed):
            x = block.features.arrays
        else:
            x, self.state[layout.ROW_STRIDE] = as_line(block.features)
        y, self.state[layout.LABEL_STRIDE] = as_line(block.labels)
        weight = NO_FLOATS
        if block.weight is not None:
            weight, self.state[layout.WEIGHT_STRIDE] = as_line(block.weight)
        return x, y, weight
