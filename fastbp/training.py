"""The one epoch driver: calls a model's kernel in slices, and between them everything else.

A slice is one call of the kernel, some 50 ms of work. What a model must bring is in
:class:`Problem`; the arithmetic of epochs and batches is in ``kernels/steps.py``.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbp import _validation as check
from fastbp._interrupt import Requests, deferred_interrupts
from fastbp._progress import Progress
from fastbp.errors import DataError, DivergenceError
from fastbp.kernels import layout as at
from fastbp.kernels.steps import CLOSED, UNOPENED
from fastbp.parallel import Team, team, threads_for
from fastbp.rows import BLOCK_BYTES, ArrayRows, read_only

SLICE_SECONDS = 0.05
MOST_SLOTS, MOST_SLOT_ELEMENTS = 4096, 2**20  # of partial sums, one for each chunk of a segment
NO_FLOATS = read_only(np.empty(0))
NO_ORDER = read_only(np.empty(0, dtype=np.int64))

Kernel = Callable[..., bool]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What training gave: flat parameters, the losses of whole epochs, and why it stopped."""

    parameters: np.ndarray
    losses: np.ndarray
    stopped: str


@dataclass(frozen=True, eq=False)
class Problem:
    """A model and its data, checked.

    Attributes
    ----------
    kernel
        Runs a slice: see :func:`fastbp.kernels.neuron.neuron_steps`.
    rows, labels
        N rows of features; labels, contiguous float64.
    parameters
        The start values, flat and in whole vectors; the first `n_weights` are weights.
    activation, loss
        Their numbers in the kernels.
    tile_rows, chunk_rows, row_work, work_size
        Rows of a tile and of a chunk; the work of a row in units of about a third of a
        nanosecond; the float64 scratch of one thread.
    named
        Gives the user's view of flat parameters: ``{"weights": ..., "bias": ...}``.
    result
        Makes what ``fit_*`` returns.
    """

    kernel: Kernel
    rows: ArrayRows
    labels: np.ndarray
    parameters: np.ndarray
    n_weights: int
    activation: int
    loss: int
    tile_rows: int
    chunk_rows: int
    row_work: int
    work_size: int
    named: Callable[[np.ndarray], dict[str, Any]]
    result: Callable[[Outcome], Any]


@dataclass(frozen=True, eq=False)
class Options:
    """How to train: the keywords of ``fit_*``, checked."""

    learning_rate: check.RateFunction | float
    epochs: int
    batch_rows: int
    shuffle: bool = False
    random: np.random.Generator | np.random.RandomState | None = None
    sample_weight: np.ndarray | None = None
    alpha: float = 0.0
    tol: float | None = None
    n_iter_no_change: int = 10
    n_threads: int | None = None
    callback: Callable[[Any], Any] | None = None
    progress: bool | str = False
    returns_on_interrupt: bool = True


@dataclass(frozen=True, eq=False)
class EpochState:
    """What a callback gets after each epoch.

    Attributes
    ----------
    epoch : int
        The epoch just completed, counted from 0.
    loss : float
        Its loss, taken before its updates.
    validation_loss : None
        Room for the loss on validation data.
    parameters : dict
        The parameters after its updates, by name; each is also an attribute (``weights`` and
        ``bias`` of a neuron). Read-only, and only valid during the call: copy what you keep.
    """

    epoch: int
    loss: float
    validation_loss: float | None
    parameters: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["parameters"][name]
        except KeyError:
            raise AttributeError(name) from None


def train(problem: Problem, options: Options) -> Outcome:
    """Train; see the public ``fit_*`` for what the options mean."""
    if options.epochs == 0:
        _check_all_rows(problem.rows)
    chunk_rows = min(problem.chunk_rows, options.batch_rows)
    size = threads_for(
        options.batch_rows * problem.row_work,
        options.epochs * problem.rows.n_rows * problem.row_work,
        -(-options.batch_rows // chunk_rows),
        options.n_threads,
    )
    with (
        deferred_interrupts() as requests,
        team(size) as threads,
        Progress(options.progress, options.epochs, problem.rows.n_rows) as progress,
    ):
        run = _Run(problem, options, threads, chunk_rows)
        stopped = run.until_stopped(requests, progress)
        if requests.count:
            stopped = run.interrupted(requests)
        return run.outcome(stopped)


def _check_all_rows(rows: ArrayRows) -> None:
    step = max(1, check.SCAN_ELEMENTS // rows.n_features)
    for start in range(0, rows.n_rows, step):
        row = check.first_bad_row(rows.block(start, min(start + step, rows.n_rows)))
        if row is not None:
            check.raise_for_row("features", start + row, rows.row(start + row))


class _Run:
    """One fit under way: the kernel's two arrays and the slices."""

    def __init__(self, problem: Problem, options: Options, threads: Team, chunk_rows: int) -> None:
        self.problem = problem
        self.options = options
        self.threads = threads
        self.labels = read_only(problem.labels)
        self.weighted = options.sample_weight is not None
        self.sample_weight = NO_FLOATS
        if options.sample_weight is not None:
            self.sample_weight = read_only(options.sample_weight)
        self.order = NO_ORDER
        self.losses = np.empty(min(options.epochs, 1024))  # grows
        self.rates: dict[int, float] = {}
        self.rate_error: Exception | None = None
        self.budget = 1
        self.told = 0
        p = problem.parameters.size
        slots = max(2 * threads.size, MOST_SLOT_ELEMENTS // (p + at.PARTIAL_EXTRA))
        slots = min(slots, MOST_SLOTS, -(-options.batch_rows // chunk_rows))
        self.state = np.zeros(at.N_INTEGERS, dtype=np.int64)
        for index, value in (
            (at.N_ROWS, problem.rows.n_rows),
            (at.N_FEATURES, problem.rows.n_features),
            (at.BATCH_ROWS, options.batch_rows),
            (at.CHUNK_ROWS, chunk_rows),
            (at.TILE_ROWS, problem.tile_rows),
            (at.ACTIVATION, problem.activation),
            (at.LOSS, problem.loss),
            (at.WEIGHTED, self.weighted),
            (at.N_PARAMETERS, p),
            (at.N_WEIGHTS, problem.n_weights),
            (at.N_ITER_NO_CHANGE, 0 if options.tol is None else options.n_iter_no_change),
            (at.SLOTS, slots),
            (at.WORKERS, threads.size),
            (at.WORK_SIZE, problem.work_size),
            (at.BAD_ROW, at.NO_ROW),
        ):
            self.state[index] = value
        self.floats = np.zeros(
            at.PARAMETERS
            + 2 * p
            + (slots + 1) * (p + at.PARTIAL_EXTRA)
            + threads.size * problem.work_size
        )
        self.floats[at.ALPHA] = options.alpha
        self.floats[at.TOL] = 0.0 if options.tol is None else options.tol
        self.floats[at.BEST_LOSS] = np.inf
        self.parameters = self.floats[at.PARAMETERS : at.PARAMETERS + p]
        self.parameters[:] = problem.parameters
        self.floats[at.PARAMETERS + p : at.PARAMETERS + 2 * p] = problem.parameters

    @property
    def epoch(self) -> int:
        return int(self.state[at.EPOCH])

    @property
    def position(self) -> int:
        """Rows of this epoch that are in the sums."""
        done = self.state[at.BATCH_START] + self.state[at.NEXT_CHUNK] * self.state[at.CHUNK_ROWS]
        return int(min(done, self.problem.rows.n_rows))

    def until_stopped(self, requests: Requests, progress: Progress) -> str:
        """Run slices until something ends the fit; return what."""
        try:
            while self.epoch < self.options.epochs:
                self._slice()
                epoch = self.epoch
                progress.show(epoch, self.position, self.losses[epoch - 1] if epoch else None)
                if self.state[at.STATUS] in (at.ROW_NOT_FINITE, at.DIVERGED):
                    self._raise_for_status()
                if self._callback_stops():
                    return "callback"
                if self.state[at.STATUS] == at.NO_IMPROVEMENT:
                    return "tol"
                if requests.count:
                    return "interrupted"
        except (DataError, DivergenceError, KeyboardInterrupt):
            raise
        except Exception as error:  # the caller's callback or learning rate: nothing is lost
            with contextlib.suppress(AttributeError, TypeError):
                error.fit = self.problem.result(self.outcome("error"))  # type: ignore[attr-defined]
            raise
        return "epochs"

    def interrupted(self, requests: Requests) -> str:
        """Answer a Ctrl-C: with an exception where one is wanted, else with a warning."""
        requests.answered = True
        if not self.options.returns_on_interrupt:
            raise KeyboardInterrupt
        if not np.isfinite(self.parameters).all():  # diverged in the epoch that was cut short
            p = self.parameters.size
            self.parameters[:] = self.floats[at.PARAMETERS + p : at.PARAMETERS + 2 * p]
            self.state[at.STATUS] = at.DIVERGED
            self._raise_for_status()
        warnings.warn(
            f"interrupted after {self.epoch} epochs: the parameters hold every completed update",
            stacklevel=4,
        )
        return "interrupted"

    def outcome(self, stopped: str) -> Outcome:
        """Return what training has given so far."""
        return Outcome(self.parameters.copy(), self.losses[: self.epoch].copy(), stopped)

    def _slice(self) -> None:
        """One call of the kernel, of a length that is adjusted to SLICE_SECONDS."""
        if self.options.shuffle and self.position == 0:
            self._new_order()
        rates = self._rates()
        x, y, weight, order = self._block()
        self.state[at.BUDGET] = self.budget
        self.state[at.TICKET] = UNOPENED
        started = time.perf_counter()
        self.threads.run(
            lambda worker: self.problem.kernel(
                x, y, weight, order, self.state, self.floats, rates, self.losses, worker
            ),
            abandon=self._close,
        )
        if self.state[at.BUDGET] == 0:
            growth = SLICE_SECONDS / max(time.perf_counter() - started, 1e-9)
            self.budget = max(1, int(self.budget * min(growth, 16.0)))

    def _close(self) -> None:
        """Let the other threads return if worker 0 never opened the slice."""
        if self.state[at.TICKET] == UNOPENED:
            self.state[at.TICKET] = CLOSED

    def _rates(self) -> np.ndarray:
        """Set how many epochs the slice may complete, and return their rates."""
        first = self.epoch
        per_epoch = -(-self.problem.rows.n_rows // int(self.state[at.CHUNK_ROWS]))
        limit = min(self.options.epochs, first + 1 + self.budget // per_epoch)
        if self.options.callback is not None or self.options.shuffle:
            limit = first + 1
        rate = self.options.learning_rate
        if callable(rate):
            rates = self._called_rates(rate, first, limit)
            limit = first + len(rates)
        else:
            rates = [rate]
        if limit > self.losses.size:
            self.losses = np.resize(self.losses, min(self.options.epochs, 2 * limit))
        self.state[at.FIRST_RATE] = first
        self.state[at.N_RATES] = len(rates)
        self.state[at.EPOCH_LIMIT] = limit
        return np.array(rates)

    def _called_rates(self, rate: check.RateFunction, first: int, limit: int) -> list[float]:
        """Call the user's function once an epoch, in order; what it raises waits its turn."""
        rates = [self.rates[epoch] for epoch in range(first, limit) if epoch in self.rates]
        while len(rates) < limit - first and self.rate_error is None:
            epoch = first + len(rates)
            try:
                rates.append(check.real(f"learning_rate({epoch})", rate(epoch)))
            except Exception as error:
                self.rate_error = error
        if not rates:
            assert self.rate_error is not None
            raise self.rate_error
        self.rates = dict(enumerate(rates, start=first))
        return rates

    def _new_order(self) -> None:
        """Draw the order of the rows of an epoch."""
        assert self.options.random is not None
        self.order = read_only(
            self.options.random.permutation(self.problem.rows.n_rows).astype(np.int64, copy=False)
        )
        if self.options.sample_weight is not None:
            check.batches_have_weight(
                "sample_weight",
                self.options.sample_weight[self.order],
                self.options.batch_rows,
                of=f" in the order drawn for epoch {self.epoch}",
            )

    def _block(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return features, labels, weights and order for the next slice."""
        rows = self.problem.rows
        state = self.state
        if rows.resident is not None:
            state[at.SHUFFLED] = self.options.shuffle
            state[at.BLOCK_START] = 0
            state[at.BLOCK_STOP] = rows.n_rows
            return rows.resident, self.labels, self.sample_weight, self.order
        start = self.position
        stop = self._block_stop(start)
        state[at.BLOCK_START] = start
        state[at.BLOCK_STOP] = stop
        if not self.options.shuffle:
            return (
                rows.block(start, stop),
                self.labels[start:stop],
                self.sample_weight[start:stop],
                NO_ORDER,
            )
        chosen = self.order[start:stop]
        weight = read_only(self.sample_weight[chosen]) if self.weighted else NO_FLOATS
        return rows.block(start, stop, self.order), read_only(self.labels[chosen]), weight, NO_ORDER

    def _block_stop(self, start: int) -> int:
        """Return where a block that starts here ends: after whole chunks, or whole batches."""
        rows = max(1, BLOCK_BYTES // (8 * self.problem.rows.n_features))
        batch = self.options.batch_rows
        unit = batch if batch <= rows else int(self.state[at.CHUNK_ROWS])
        stop = start + max(1, rows // unit) * unit
        if batch > rows:
            stop = min(stop, int(self.state[at.BATCH_START]) + batch)
        return int(min(stop, self.problem.rows.n_rows))

    def _raise_for_status(self) -> None:
        status = self.state[at.STATUS]
        if status == at.ROW_NOT_FINITE:
            if self.options.shuffle:  # the kernel met a bad row, not necessarily the first one
                _check_all_rows(self.problem.rows)
            row = int(self.state[at.BAD_ROW])
            check.raise_for_row("features", row, self.problem.rows.row(row))
        if status == at.DIVERGED:
            epoch = self.epoch
            raise DivergenceError(
                f"the loss or the parameters are no longer finite in epoch {epoch};"
                " the parameters before it are on this exception."
                " Lower learning_rate, or bring the features to a similar scale (standardise them)",
                epoch=epoch,
                losses=self.losses[:epoch].copy(),
                parameters=self.problem.named(self.parameters.copy()),
            )

    def _callback_stops(self) -> bool:
        """After a completed epoch, tell the callback; return whether it asks to stop."""
        if self.options.callback is None or self.position != 0 or self.epoch == self.told:
            return False
        epoch = self.told = self.epoch
        named = self.problem.named(read_only(self.parameters))
        state = EpochState(epoch - 1, float(self.losses[epoch - 1]), None, named)
        answer = self.options.callback(state)
        return isinstance(answer, bool | np.bool_) and bool(answer)
