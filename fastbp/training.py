"""The one epoch driver: calls a model's kernel in slices, and between them everything else.

A slice is one call of the kernel, some 50 ms of work. What a model must bring is in
:class:`Problem`; the arithmetic of epochs and batches is in ``kernels/steps.py``.
"""

from __future__ import annotations

import contextlib
import time
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbp import _validation as check
from fastbp._blas import limit_this_thread, one_blas_thread
from fastbp._interrupt import Requests, deferred_interrupts
from fastbp._progress import Progress
from fastbp.errors import DataError, DivergenceError
from fastbp.kernels import layout as at
from fastbp.kernels.steps import CLOSED, UNOPENED
from fastbp.optimizers import (
    SGD,
    GradientOnly,
    Optimizer,
    TrainingState,
    generator_from,
    generator_state,
    optimizer_of,
)
from fastbp.parallel import Team, team, threads_for
from fastbp.rows import BLOCK_BYTES, ArrayRows, aligned_zeros, read_only

SLICE_SECONDS = 0.05
MOST_SLOTS, MOST_SLOT_ELEMENTS = 4096, 2**20  # of partial sums, one for each chunk of a segment
NO_FLOATS = read_only(np.empty(0))
NO_ORDER = read_only(np.empty(0, dtype=np.int64))

PLAIN = SGD()

Kernel = Callable[..., bool]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What training gave.

    Flat parameters, the losses of whole epochs, why it stopped, and what there is to go on from;
    of ``GradientOnly`` the gradient instead, flat like the parameters.
    """

    parameters: np.ndarray
    losses: np.ndarray
    stopped: str
    state: TrainingState | None
    gradient: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Problem:
    """A model and its data, checked.

    Attributes
    ----------
    kernel
        Runs a slice: see :func:`fastbp.kernels.neuron.neuron_steps`.
    rows, labels
        N rows of features; labels, contiguous float64, N rows.
    parameters
        The start values, flat and in whole vectors; the first `n_weights` are weights.
    settings, table
        What else the kernel's integers hold of the model: by place, and the table of layers.
    tile_rows, chunk_rows, row_work, work_size
        Rows of a tile and of a chunk; the work of a row in units of about a third of a
        nanosecond; the float64 scratch of one thread.
    uses_blas
        Whether the kernel calls BLAS.
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
    settings: dict[int, int]
    tile_rows: int
    chunk_rows: int
    row_work: int
    work_size: int
    named: Callable[[np.ndarray], dict[str, Any]]
    result: Callable[[Outcome], Any]
    table: tuple[int, ...] = ()
    uses_blas: bool = False


@dataclass(frozen=True, eq=False)
class Options:
    """How to train: the keywords of ``fit_*``, checked."""

    learning_rate: check.RateFunction | float
    epochs: int
    batch_rows: int
    optimizer: Optimizer = PLAIN
    shuffle: bool = False
    random: np.random.Generator | np.random.RandomState | None = None
    sample_weight: np.ndarray | None = None
    alpha: float = 0.0
    tol: float | None = None
    n_iter_no_change: int = 10
    n_threads: int | None = None
    callback: Callable[[Any], Any] | None = None
    progress: bool | str = False
    state: TrainingState | None = None
    returns_on_interrupt: bool = True
    raises_on_divergence: bool = True


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
        The parameters after its updates, by name; each is also an attribute (``weights``, and
        ``bias`` of a neuron or ``biases`` of a network). Read-only, and only valid during the
        call: copy what you keep.
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

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.parameters]


def checked_options(
    n_rows: int,
    learning_rate: Any,
    epochs: Any,
    *,
    optimizer: Any,
    batch_size: Any,
    shuffle: Any,
    random_state: Any,
    sample_weight: Any,
    alpha: Any,
    tol: Any,
    n_iter_no_change: Any,
    n_threads: Any,
    callback: Any,
    progress: Any,
    state: Any,
) -> Options:
    """Check the keywords that all ``fit_*`` share."""
    batch_rows = n_rows
    if batch_size is not None:
        batch_rows = min(n_rows, check.whole("batch_size", batch_size, minimum=1))
    if not isinstance(shuffle, bool | np.bool_):
        raise TypeError(f"shuffle: expected True or False, got {shuffle!r}")
    rule = optimizer_of("optimizer", optimizer)
    if state is not None and not isinstance(state, TrainingState):
        raise TypeError(
            f"state: expected the state of a fit (fit.state), got {check.describe(state)}"
        )
    if state is not None and state.optimizer != rule:
        raise ValueError(
            f"state: expected that of a fit with optimizer={rule}, got that of {state.optimizer}"
        )
    random = None
    if shuffle or random_state is not None:  # making a generator takes 10 microseconds
        random = check.random_generator("random_state", random_state)
    if shuffle and state is not None and state.random_state is not None:
        random = generator_from(state.random_state)
    weight = None
    if sample_weight is not None:
        weight = check.sample_weights("sample_weight", sample_weight, n_rows)
        if not shuffle:
            check.batches_have_weight("sample_weight", weight, batch_rows)
    if not isinstance(progress, bool | np.bool_ | str) or progress not in (True, False, "always"):
        raise ValueError(f"progress: expected True, False or 'always', got {progress!r}")
    return Options(
        learning_rate=check.learning_rate("learning_rate", learning_rate),
        epochs=check.whole("epochs", epochs, minimum=0),
        batch_rows=batch_rows,
        optimizer=rule,
        shuffle=bool(shuffle),
        random=random,
        sample_weight=weight,
        alpha=check.real("alpha", alpha, minimum=0.0),
        tol=None if tol is None else check.real("tol", tol, minimum=0.0),
        n_iter_no_change=check.whole("n_iter_no_change", n_iter_no_change, minimum=1),
        n_threads=None if n_threads is None else check.whole("n_threads", n_threads, minimum=1),
        callback=check.optional_callable("callback", callback),
        progress=progress if isinstance(progress, str) else bool(progress),
        state=state,
    )


def train(problem: Problem, options: Options) -> Outcome:
    """Train; see the public ``fit_*`` for what the options mean."""
    if options.epochs == 0 or (options.state is not None and options.state.batch_start > 0):
        _check_all_rows(problem.rows)  # the kernel will not see all of them in its first epoch
    chunk_rows = min(problem.chunk_rows, options.batch_rows)
    size = threads_for(
        options.batch_rows * problem.row_work,
        options.epochs * problem.rows.n_rows * problem.row_work,
        -(-options.batch_rows // chunk_rows),
        options.n_threads,
    )
    with (
        deferred_interrupts() as requests,
        one_blas_thread() if problem.uses_blas else contextlib.nullcontext(),
        team(size, limit_this_thread if problem.uses_blas else None) as threads,
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


def _described(cut: tuple[int, int, bool]) -> str:
    n_rows, batch_rows, shuffle = cut
    return f"{n_rows} rows in batches of {batch_rows}{', shuffled' if shuffle else ''}"


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
        self.drawn: tuple[int, dict[str, Any]] | None = None
        rule = options.optimizer
        p = problem.parameters.size
        slots = max(2 * threads.size, MOST_SLOT_ELEMENTS // (p + at.PARTIAL_EXTRA))
        slots = min(slots, MOST_SLOTS, -(-options.batch_rows // chunk_rows))
        self.state = np.zeros(at.N_INTEGERS + len(problem.table), dtype=np.int64)
        self.state[at.LAYERS :] = problem.table
        for index, value in (
            (at.N_ROWS, problem.rows.n_rows),
            (at.N_FEATURES, problem.rows.n_features),
            (at.BATCH_ROWS, options.batch_rows),
            (at.CHUNK_ROWS, chunk_rows),
            (at.TILE_ROWS, problem.tile_rows),
            (at.WEIGHTED, self.weighted),
            (at.OPTIMIZER, rule.code),
            (at.N_MOMENTS, rule.n_moments),
            (at.N_PARAMETERS, p),
            (at.N_WEIGHTS, problem.n_weights),
            (at.N_ITER_NO_CHANGE, 0 if options.tol is None else options.n_iter_no_change),
            (at.SLOTS, slots),
            (at.WORKERS, threads.size),
            (at.WORK_SIZE, problem.work_size),
            (at.BAD_ROW, at.NO_ROW),
            *problem.settings.items(),
        ):
            self.state[index] = value
        self.floats = aligned_zeros(
            at.PARAMETERS
            + (2 + rule.n_moments) * p
            + (slots + 1) * (p + at.PARTIAL_EXTRA)
            + threads.size * problem.work_size
        )
        self.floats[at.ALPHA] = options.alpha
        self.floats[at.TOL] = 0.0 if options.tol is None else options.tol
        self.floats[at.BEST_LOSS] = np.inf
        self.parameters = self.floats[at.PARAMETERS : at.PARAMETERS + p]
        self.parameters[:] = problem.parameters
        self.floats[at.PARAMETERS + p : at.PARAMETERS + 2 * p] = problem.parameters
        moments = self.floats[at.PARAMETERS + 2 * p :][: rule.n_moments * p]
        self.moments = moments.reshape(rule.n_moments, p)
        for index, constant in rule.constants.items():
            self.floats[index] = constant
        self.floats[at.POWER_1] = self.floats[at.POWER_2] = 1.0
        self.first_epoch = 0  # of this fit, counted over all that it continues
        if options.state is not None:
            self._go_on_from(options.state)

    def _go_on_from(self, state: TrainingState) -> None:
        """Take over where another fit stopped."""
        if state.checksum != zlib.crc32(self.parameters.data):
            raise ValueError(
                "state: expected the parameters of its fit as start values, got others"
            )
        if state.batch_start > 0 and state.cut != self._cut():
            raise ValueError(
                f"state: expected, to go on after {state.batch_start} rows of an epoch,"
                f" {_described(state.cut)}, got {_described(self._cut())}"
            )
        self.first_epoch = state.epoch
        self.moments[:] = state.moments
        self.floats[at.POWER_1], self.floats[at.POWER_2] = state.powers
        self.state[at.BATCH_START] = state.batch_start
        sums = slice(at.EPOCH_LOSS, at.EPOCH_WEIGHT + 1)
        self.floats[sums] = state.epoch_sums
        self.floats[at.BEST_LOSS] = state.best_loss
        self.state[at.STALE_EPOCHS] = state.stale_epochs

    def _cut(self) -> tuple[int, int, bool]:
        """Return how an epoch is cut up: its rows, those of a batch, whether they are shuffled."""
        return self.problem.rows.n_rows, self.options.batch_rows, self.options.shuffle

    def _training_state(self) -> TrainingState:
        """Return what another fit needs to go on."""
        random = None
        if self.options.random is not None and self.options.shuffle:
            random = generator_state(self.options.random)
            if self.drawn is not None and self.drawn[0] == self.epoch:
                random = self.drawn[1]  # the order of an epoch that is not complete
        assert not isinstance(self.options.optimizer, GradientOnly)
        return TrainingState(
            optimizer=self.options.optimizer,
            epoch=self.first_epoch + self.epoch,
            moments=self.moments.copy(),
            powers=(float(self.floats[at.POWER_1]), float(self.floats[at.POWER_2])),
            random_state=random,
            batch_start=int(self.state[at.BATCH_START]),
            cut=self._cut(),
            epoch_sums=tuple(self.floats[at.EPOCH_LOSS : at.EPOCH_WEIGHT + 1].tolist()),
            best_loss=float(self.floats[at.BEST_LOSS]),
            stale_epochs=int(self.state[at.STALE_EPOCHS]),
            checksum=zlib.crc32(self.parameters.data),
        )

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
                    break
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
        overrun = self.state[at.STATUS] == at.DIVERGED  # only where that raises nothing
        gradient_only = isinstance(self.options.optimizer, GradientOnly)
        return Outcome(
            self.parameters.copy(),
            self.losses[: self.epoch + overrun].copy(),
            stopped,
            None if gradient_only else self._training_state(),
            self.moments[0].copy() if gradient_only else None,
        )

    def _slice(self) -> None:
        """One call of the kernel, of a length that is adjusted to SLICE_SECONDS."""
        if self.options.shuffle and (self.drawn is None or self.drawn[0] != self.epoch):
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
                number = self.first_epoch + epoch
                rates.append(check.real(f"learning_rate({number})", rate(number)))
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
        self.drawn = self.epoch, generator_state(self.options.random)
        self.order = read_only(
            self.options.random.permutation(self.problem.rows.n_rows).astype(np.int64, copy=False)
        )
        if self.options.sample_weight is not None:
            check.batches_have_weight(
                "sample_weight",
                self.options.sample_weight[self.order],
                self.options.batch_rows,
                of=f" in the order drawn for epoch {self.first_epoch + self.epoch}",
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
        if status == at.DIVERGED and self.options.raises_on_divergence:
            epoch = self.first_epoch + self.epoch
            parameters = self.problem.named(self.parameters.copy())
            raise DivergenceError(
                f"the loss or the parameters are no longer finite in epoch {epoch};"
                f" {', '.join(parameters)} and losses before it are attributes of this exception."
                " Lower learning_rate, or bring the features to a similar scale (standardise them)",
                epoch=epoch,
                losses=self.losses[: self.epoch].copy(),
                parameters=parameters,
            )

    def _callback_stops(self) -> bool:
        """After a completed epoch, tell the callback; return whether it asks to stop."""
        if self.options.callback is None or self.position != 0 or self.epoch == self.told:
            return False
        epoch = self.told = self.epoch
        named = self.problem.named(read_only(self.parameters))
        number = self.first_epoch + epoch - 1
        state = EpochState(number, float(self.losses[epoch - 1]), None, named)
        answer = self.options.callback(state)
        return isinstance(answer, bool | np.bool_) and bool(answer)
