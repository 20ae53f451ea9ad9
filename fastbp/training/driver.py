"""The one epoch driver: slices of the kernel, and between them everything else.

Callbacks, progress, early stopping, checkpoints and interrupts are here; the slices in ``run.py``.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.data.arrays import read_only
from fastbp.data.labels import Samples, Targets, check_weights, samples, validation_samples
from fastbp.data.rows import Rows
from fastbp.data.split import split
from fastbp.errors import CheckpointError, DataError, DivergenceError
from fastbp.kernels import layout
from fastbp.system.blas import limit_this_thread, one_blas_thread
from fastbp.system.interrupts import Requests, WaitInterruptedError, deferred_interrupts
from fastbp.system.progress import Progress
from fastbp.system.threads import team, threads_for
from fastbp.training import checkpoints
from fastbp.training.callbacks import EpochState, asks_to_stop
from fastbp.training.checkpoints import Checkpoint, Saved, Snapshot
from fastbp.training.objective import Objective, pass_options
from fastbp.training.optimizers import GradientOnly, LossOnly, optimizer_of
from fastbp.training.problem import Options, Outcome, Problem
from fastbp.training.run import Run
from fastbp.training.state import TrainingState


@dataclass(frozen=True, eq=False)
class Model:
    """What is to be trained, checked, whatever its rows.

    Attributes
    ----------
    targets
        What its labels must be.
    problem
        Makes the problem of samples and options.
    arguments
        What tells it from other models, for the fingerprint of a checkpoint.
    """

    targets: Targets
    problem: Callable[[Samples, Options], Problem]
    arguments: dict[str, Any]


def fit(
    model: Model,
    features: Rows,
    labels: Any,
    learning_rate: Any,
    epochs: Any,
    *,
    sample_weight: Any,
    validation: Any,
    checkpoint: Any,
    checkpoint_every: Any,
    **keywords: Any,
) -> Any:
    """Train; the arguments are those of ``fit_*``, of which only the model's own are checked."""
    if isinstance(validation, float | np.floating):
        validation = float(validation)
    names = "labels", "sample_weight"
    data = samples(features, labels, sample_weight, model.targets, ("features", *names))
    whole, held_out = data, None
    if isinstance(validation, float):
        data, held_out = split(data, validation)
    elif validation is not None:
        held_out = validation_samples(validation, features.n_features, model.targets)
    if held_out is not None:
        check_weights("validation", held_out.rows, held_out.rows.n_rows)
    options = checked_options(
        data.rows, learning_rate, epochs, pauses=held_out is not None, **keywords
    )

    def fingerprint() -> dict[str, Any]:
        return {
            **model.arguments,
            **_described_options(options, keywords["random_state"]),
            **_described_rows("", whole.rows),
            **_described_validation(validation, held_out),
        }

    file = checkpoints.opened(checkpoint, checkpoint_every, fingerprint)
    problem = model.problem(data, options)
    against = None
    if held_out is not None:
        against = model.problem(held_out, pass_options(held_out.rows.n_rows))
    outcome = train(problem, options, against, file)
    if outcome.stopped == "interrupted":
        warnings.warn(
            f"interrupted after {len(outcome.losses)} epochs: the parameters hold every completed"
            " update",
            stacklevel=3,
        )
    return problem.result(outcome)


def _described_options(options: Options, random_state: Any) -> dict[str, Any]:
    """Return what of the options decides on the bits."""
    rate, state = options.learning_rate, options.state
    return {
        "learning_rate": "a function" if callable(rate) else rate,
        "batch_size": options.batch_rows,
        "optimizer": str(options.optimizer),
        "shuffle": options.shuffle,
        "random_state": checkpoints.described_random(random_state) if options.shuffle else None,
        "alpha": options.alpha,
        "tol": options.tol,
        "n_iter_no_change": options.n_iter_no_change,
        "state": None if state is None else checkpoints.digest_of_state(state),
    }


def _described_rows(prefix: str, rows: Rows) -> dict[str, Any]:
    digests = {name: f"sha256 {digest}" for name, digest in rows.digests().items()}
    shape = [rows.n_rows, rows.n_features]
    described = {"features.shape": shape, "features.dtype": rows.dtype, **digests}
    return {prefix + name: value for name, value in described.items()}


def _described_validation(validation: Any, held_out: Samples | None) -> dict[str, Any]:
    if held_out is None or isinstance(validation, float):
        return {"validation": validation}
    return _described_rows("validation ", held_out.rows)


def checked_options(
    rows: Rows,
    learning_rate: Any,
    epochs: Any,
    *,
    optimizer: Any,
    batch_size: Any,
    shuffle: Any,
    random_state: Any,
    alpha: Any,
    tol: Any,
    n_iter_no_change: Any,
    n_threads: Any,
    callback: Any,
    progress: Any,
    state: Any,
    pauses: bool,
) -> Options:
    """Check the keywords that all ``fit_*`` share."""
    batch_rows = rows.n_rows
    if batch_size is not None:
        batch_rows = min(rows.n_rows, arguments.whole("batch_size", batch_size, minimum=1))
    how = _checked_shuffle(shuffle, rows)
    rule = optimizer_of("optimizer", optimizer)
    if state is not None and not isinstance(state, TrainingState):
        raise TypeError(
            f"state: expected the state of a fit (fit.state), got {arguments.describe(state)}"
        )
    if state is not None and state.optimizer != rule:
        raise ValueError(
            f"state: expected that of a fit with optimizer={rule}, got that of {state.optimizer}"
        )
    random = None
    if how or random_state is not None:  # making a generator takes 10 microseconds
        random = arguments.random_generator("random_state", random_state)
    if not how:
        check_weights("sample_weight", rows, batch_rows)
    return Options(
        learning_rate=arguments.learning_rate("learning_rate", learning_rate),
        epochs=arguments.whole("epochs", epochs, minimum=0),
        batch_rows=batch_rows,
        optimizer=rule,
        shuffle=how,
        random=random,
        alpha=arguments.real("alpha", alpha, minimum=0.0),
        tol=None if tol is None else arguments.real("tol", tol, minimum=0.0),
        n_iter_no_change=arguments.whole("n_iter_no_change", n_iter_no_change, minimum=1),
        n_threads=None if n_threads is None else arguments.whole("n_threads", n_threads, minimum=1),
        callback=arguments.optional_callable("callback", callback),
        progress=arguments.progress("progress", progress),
        state=state,
        pauses=pauses or callback is not None,
    )


def _checked_shuffle(shuffle: Any, rows: Rows) -> bool | str:
    if isinstance(shuffle, str) and shuffle == "window":
        return "window"
    if not isinstance(shuffle, bool | np.bool_):
        raise TypeError(f"shuffle: expected True, False or 'window', got {shuffle!r}")
    if shuffle and not rows.random_access:
        raise ValueError(
            f"shuffle: expected 'window' or False for {rows.name}, whose rows cannot be reached at"
            " random, got True"
        )
    return bool(shuffle)


def train(
    problem: Problem,
    options: Options,
    against: Problem | None = None,
    checkpoint: Checkpoint | None = None,
) -> Outcome:
    """Train, with the validation data of the problem `against`, if there is one."""
    rows = problem.rows
    threads = threads_for(
        options.batch_rows * problem.row_work,
        options.epochs * rows.n_rows * problem.row_work,
        -(-options.batch_rows // min(problem.chunk_rows, options.batch_rows)),
        options.n_threads,
    )
    threads, readers = shares(threads, rows, problem.row_work)
    uses_blas = problem.uses_blas or (against is not None and against.uses_blas)
    saved = None if checkpoint is None else checkpoint.read()
    with (
        deferred_interrupts() as requests,
        one_blas_thread() if uses_blas else contextlib.nullcontext(),
        team(threads, limit_this_thread if uses_blas else None) as workers,
        Progress(options.progress, options.epochs, rows.n_rows) as progress,
        contextlib.ExitStack() as stack,
    ):
        run = Run(problem, options, workers, readers, requests)
        stack.callback(run.close)
        validator = None
        if against is not None:
            validator = Objective(against, pass_options(against.rows.n_rows), workers, requests)
            stack.callback(validator.close)
        fitting = _Fitting(run, validator, checkpoint)
        if saved is None:
            fitting.begin(requests)
        else:
            fitting.resume(saved)
        return fitting.until_stopped(requests, progress)


def shares(threads: int, rows: Rows, row_work: int) -> tuple[int, int]:
    """Return how many threads compute, and how many read for them.

    Rows that must be read take about as long as a neuron's arithmetic: half of the threads read.
    (With all of them computing as well, an epoch took half as long again.) Beside a network's,
    reading is nothing.
    """
    if rows.in_place:
        return threads, 0
    readers = max(1, threads // 2) if rows.any_order else 1
    light = row_work < 8 * rows.n_features
    return (max(1, threads - readers), readers) if light else (threads, 1)


class _Fitting:
    """One fit under way: what happens between the slices of its run."""

    def __init__(
        self, run: Run, validator: Objective | None, checkpoint: Checkpoint | None
    ) -> None:
        self.run = run
        self.problem, self.options = run.problem, run.options
        self.validator = validator
        self.checkpoint = checkpoint
        # With validation data their loss decides when to stop, and what to return.
        self.stops_early = validator is not None and self.options.tol is not None
        if validator is not None:
            run.state[layout.N_ITER_NO_CHANGE] = 0
        self.validation_losses: list[float] = []
        self.best: Snapshot | None = None
        self.best_loss, self.stale_epochs = np.inf, 0  # on validation data
        self.reported = 0
        self.stopped: str | None = None

    def begin(self, requests: Requests) -> None:
        """Take over another fit's state, if that is wanted; look at rows that no slice will see."""
        state = self.options.state
        if state is not None:
            self.run.go_on_from(state)
            self.best_loss, self.stale_epochs = state.best_loss, state.stale_epochs
        if self.options.epochs == 0 or self.run.position > 0:
            self.problem.samples.check_all(requests.raise_if_any)
        if self.options.epochs == 0 and self.validator is not None:
            self.validator.samples.check_all(requests.raise_if_any)

    def resume(self, saved: Saved) -> None:
        """Go on from a checkpoint as if nothing had happened."""
        run = self.run
        assert self.checkpoint is not None
        path = self.checkpoint.path
        state = saved.now.state
        begun = len(saved.losses) + (state.batch_start > 0 or state.next_chunk > 0)
        if begun > self.options.epochs:
            raise CheckpointError(
                f"{path}: expected epochs to be at least {begun}, which it has begun, got"
                f" {self.options.epochs}"
            )
        run.parameters[:] = run.epoch_start[:] = saved.now.parameters
        run.restore(state, len(saved.losses))
        run.losses = np.resize(saved.losses, max(len(saved.losses), run.losses.size))
        self._call_past_rates(saved.rates)
        self.validation_losses = saved.validation_losses.tolist()
        self.best = saved.best
        self.best_loss, self.stale_epochs = state.best_loss, state.stale_epochs
        self.reported = saved.reported
        stale = state.stale_epochs >= self.options.n_iter_no_change
        if self.options.tol is not None and self.validator is None and stale and not run.position:
            run.state[layout.STATUS] = layout.NO_IMPROVEMENT
        more = self.options.epochs > saved.epochs  # than were asked for when the callback stopped
        if saved.stopped == "tol" or (saved.stopped == "callback" and not more):
            self.stopped = saved.stopped

    def _call_past_rates(self, rates: np.ndarray) -> None:
        rate = self.options.learning_rate
        if not callable(rate):
            return
        for index, before in enumerate(rates.tolist()):
            epoch = self.run.first_epoch + index
            now = arguments.real(f"learning_rate({epoch})", rate(epoch))
            if now != before:
                assert self.checkpoint is not None
                raise CheckpointError(
                    f"{self.checkpoint.path}: expected the checkpoint of this fit, got that of"
                    f" another one: learning_rate({epoch}) was {before!r}, is {now!r}"
                )
            self.run.rates.append(now)

    def until_stopped(self, requests: Requests, progress: Progress) -> Outcome:
        """Run slices until something ends the fit; return what came of it."""
        try:
            if self.stopped is None:
                self.stopped = self._slices(requests, progress)
                if requests.count:
                    self._answer(requests)
                self._save()
                if requests.count:
                    self.stopped = "interrupted"
        except (DataError, DivergenceError, KeyboardInterrupt):
            raise
        except Exception as error:  # the caller's function, or a full disk: nothing is lost
            if not isinstance(error, CheckpointError):
                with contextlib.suppress(CheckpointError):
                    self._save()
            with contextlib.suppress(AttributeError, TypeError):
                error.fit = self.problem.result(self._outcome("error"))  # type: ignore[attr-defined]
            raise
        return self._outcome(self.stopped)

    def _slices(self, requests: Requests, progress: Progress) -> str:
        run = self.run
        progress.begin(run.epoch, run.position)
        while True:
            stopped = self._after_epoch() if run.position == 0 and run.epoch else None
            if stopped is not None:
                return stopped
            if run.epoch >= self.options.epochs:
                return "epochs"
            if requests.count:
                return "interrupted"
            if self.checkpoint is not None and self.checkpoint.due():
                self._save()
            try:
                run.slice()
            except WaitInterruptedError:
                return "interrupted"
            loss = run.losses[run.epoch - 1] if run.epoch else None
            last = self.validation_losses[-1] if self.validation_losses else None
            progress.show(run.epoch, run.position, loss, last)
            if run.state[layout.STATUS] in (layout.ROW_NOT_FINITE, layout.DIVERGED):
                self._raise_for_status()
                return "epochs"

    def _after_epoch(self) -> str | None:
        """Do what a completed epoch asks for, once; return why to stop."""
        run = self.run
        if self.validator is not None and len(self.validation_losses) < run.epoch:
            loss = self.validator.loss(run.parameters)
            if loss is None:
                return "interrupted"
            self._note(loss)
        if self._callback_stops():
            return "callback"
        if run.state[layout.STATUS] == layout.NO_IMPROVEMENT:
            return "tol"
        stale = self.stops_early and self.stale_epochs >= self.options.n_iter_no_change
        return "tol" if stale else None

    def _note(self, loss: float) -> None:
        """Keep a validation loss; where it decides, count the epochs that brought none better."""
        least = min(self.validation_losses, default=np.inf)
        self.validation_losses.append(loss)
        if self.stops_early:
            improved = self.best_loss - loss > self.run.floats[layout.TOL]
            self.best_loss = min(self.best_loss, loss)
            self.stale_epochs = 0 if improved else self.stale_epochs + 1
            if loss < least or self.best is None:
                self.best = self._snapshot()

    def _callback_stops(self) -> bool:
        """Tell the callback of an epoch just completed; return whether it asks to stop."""
        epoch = self.run.epoch
        if self.options.callback is None or epoch == self.reported:
            return False
        named = self.problem.named(read_only(self.run.parameters))
        state = EpochState(
            self.run.first_epoch + epoch - 1,
            float(self.run.losses[epoch - 1]),
            self.validation_losses[-1] if self.validation_losses else None,
            named,
        )
        stops = asks_to_stop(self.options.callback, state)
        self.reported = epoch
        return stops

    def _answer(self, requests: Requests) -> None:
        """Answer a Ctrl-C: with an exception where one is wanted, else by coming to an end."""
        requests.answered = True
        if not self.options.returns_on_interrupt:
            raise KeyboardInterrupt
        run = self.run
        if not np.isfinite(run.parameters).all():  # diverged in the epoch that was cut short
            run.parameters[:] = run.epoch_start
            run.state[layout.STATUS] = layout.DIVERGED
            self._raise_for_status()

    def _snapshot(self) -> Snapshot:
        state = self.run.training_state()
        if self.stops_early:
            state = replace(state, best_loss=self.best_loss, stale_epochs=self.stale_epochs)
        return Snapshot(self.run.parameters.copy(), state)

    def _save(self) -> None:
        """Write the checkpoint, if there is one."""
        if self.checkpoint is None:
            return
        run = self.run
        self.checkpoint.write(
            Saved(
                now=self._snapshot(),
                losses=run.losses[: run.epoch],
                validation_losses=np.array(self.validation_losses),
                rates=np.array(run.rates[: run.epoch + 1]),
                reported=self.reported,
                stopped=self.stopped,
                epochs=self.options.epochs,
                best=self.best,
            )
        )

    def _outcome(self, stopped: str) -> Outcome:
        """Return what training has given so far."""
        run = self.run
        overrun = run.state[layout.STATUS] == layout.DIVERGED  # only where that raises nothing
        losses = run.losses[: run.epoch + overrun].copy()
        if isinstance(self.options.optimizer, GradientOnly | LossOnly):
            gradient = run.moments[0].copy() if len(run.moments) else None
            return Outcome(run.parameters.copy(), losses, stopped, None, gradient)
        ended = stopped not in ("interrupted", "error")  # there the latest parameters are wanted
        chosen = self.best if self.best is not None and ended else self._snapshot()
        validation_losses = None
        if self.validator is not None:  # one may be missing where an interrupt cut it short
            validation_losses = np.full(len(losses), np.nan)
            validation_losses[: len(self.validation_losses)] = self.validation_losses
        return Outcome(
            chosen.parameters, losses, stopped, chosen.state, validation_losses=validation_losses
        )

    def _raise_for_status(self) -> None:
        self.run.raise_bad_row()
        if self.run.state[layout.STATUS] == layout.DIVERGED and self.options.raises_on_divergence:
            epoch = self.run.first_epoch + self.run.epoch
            parameters = self.problem.named(self.run.parameters.copy())
            raise DivergenceError(
                f"the loss or the parameters are no longer finite in epoch {epoch};"
                f" {', '.join(parameters)} and losses before it are attributes of this exception."
                " Lower learning_rate, or bring the features to a similar scale (standardise them)",
                epoch=epoch,
                losses=self.run.losses[: self.run.epoch].copy(),
                parameters=parameters,
            )
