"""The one epoch driver: slices of a run, and between them everything else.

Callbacks, progress, checkpoints and interrupts are here; what a slice is, and who computes it, is
in ``run.py``, early stopping in ``validation.py``.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.arguments import FLOAT64
from fastbp.data.arrays import read_only
from fastbp.data.copies import copied
from fastbp.data.labels import Samples, check_weights, samples, validation_samples
from fastbp.data.rows import Rows
from fastbp.errors import CheckpointError, DataError, DivergenceError
from fastbp.kernels import layout
from fastbp.kernels.cache import users_level
from fastbp.system import archive
from fastbp.system.blas import one_blas_thread
from fastbp.system.interrupts import Interrupts, WaitInterruptedError, deferred_interrupts
from fastbp.system.progress import Progress
from fastbp.system.threads import ALONE
from fastbp.training import checkpoints
from fastbp.training.callbacks import EpochState, asks_to_stop
from fastbp.training.checkpoints import Checkpoint, Saved
from fastbp.training.cluster.connection import Connection, errors_translated
from fastbp.training.lbfgs import Minimization
from fastbp.training.objective import Objective, objective, pass_options
from fastbp.training.optimizers import GRADIENT_ONLY, LBFGS
from fastbp.training.problem import FitType, Model, Options, Outcome, Problem, checked_options
from fastbp.training.run import Run
from fastbp.training.slices import workers
from fastbp.training.validation import Validation


def fit(model: Model[FitType], features: Rows, given: dict[str, Any]) -> FitType:
    """Train; `given` are the arguments of ``fit_*``; the model has already checked its own."""
    seconds = arguments.real("checkpoint_every", given["checkpoint_every"], minimum=0.0)
    ours, file = None, None
    with errors_translated(features.cluster):  # lengths and digests may be computed there
        all_samples, data, held_out = _samples(model, features, given)
        options = checked_options(data.rows, given, pauses=held_out is not None)
        if given["checkpoint"] is not None:
            rows, seed, validation = all_samples.rows, given["random_state"], given["validation"]
            if rows.cluster is not None:
                Connection(rows.cluster).check_installed()
            who = model.identity(), options, seed, rows, validation, held_out
            ours = checkpoints.fingerprint(*who)
    if ours is not None:
        file = checkpoints.open_checkpoint(given["checkpoint"], seconds, ours)
    against = None
    if held_out is not None:
        once = pass_options(held_out.rows.n_rows, n_threads=options.n_threads)
        against = model.problem(held_out, once)
    try:
        outcome = train(model.problem(data, options), against, file)
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(getattr(error, "fit", None), Outcome):
            error.fit = model.result(error.fit)  # type: ignore[union-attr]
        raise
    if outcome.stopped == "interrupted":
        warnings.warn(
            f"interrupted after {len(outcome.losses)} epochs: the parameters hold every completed"
            " update",
            stacklevel=users_level(),
        )
    return model.result(outcome)


def _samples(
    model: Model[FitType], features: Rows, given: dict[str, Any]
) -> tuple[Samples, Samples, Samples | None]:
    """Return all rows with their labels, those to train on, and those held out, if there are."""
    names = "features", "labels", "sample_weight"
    labels, weight, validation = given["labels"], given["sample_weight"], given["validation"]
    found = data = samples(features, labels, weight, model.targets, names)
    if validation is None:
        return found, found, None
    if isinstance(validation, float | np.floating):
        from fastbp.data.split import split  # 5 ms, which few fits need

        data, held_out = split(found, float(validation))
    else:
        held_out = validation_samples(validation, features, model.targets)
    check_weights("validation", held_out.rows)
    return found, data, held_out


def train(
    problem: Problem,
    validation_problem: Problem | None = None,
    checkpoint: Checkpoint | None = None,
) -> Outcome:
    """Train, with the validation data of `validation_problem`, if there are any."""
    options, against = problem.options, validation_problem
    saved = None if checkpoint is None else checkpoint.read(options.epochs)
    if problem.brief and against is None and checkpoint is None:
        with Run(problem, ALONE) as run:
            return _Fitting(run).outcome()
    passes = options.epochs
    if saved is not None:
        passes = 0 if saved.stopped else passes - len(saved.losses)
    with (
        deferred_interrupts() as interrupts,
        _copied(problem, passes, options, interrupts) as problem,
        workers(problem, passes) as (team, readers),
        Progress(options.progress, options.epochs, problem.rows.n_rows) as progress,
        Run(problem, team, readers, interrupts) as run,
        contextlib.ExitStack() as stack,
    ):
        held_out = whole = None
        if against is not None:
            against = stack.enter_context(_copied(against, passes, options, interrupts))
            held_out = stack.enter_context(objective(against, passes, interrupts))
        if type(options.optimizer) is LBFGS:
            n, alpha, n_threads = problem.rows.n_rows, options.alpha, options.n_threads
            once = pass_options(n, GRADIENT_ONLY, alpha, n_threads)
            of_one = replace(problem, options=once)
            whole = stack.enter_context(Objective(of_one, team, readers, interrupts))
        return _Fitting(run, held_out, checkpoint, progress, whole).outcome(saved)


@contextlib.contextmanager
def _copied(
    problem: Problem, passes: int, options: Options, interrupts: Interrupts
) -> Iterator[Problem]:
    """Yield the problem, its rows copied where that makes the passes over them faster."""
    shuffle, n_threads = problem.options.shuffle, options.n_threads
    how = passes, shuffle, n_threads, interrupts, options.progress
    with copied(problem.samples, *how) as samples:
        yield problem if samples is problem.samples else replace(problem, samples=samples)


class _Fitting:
    """A fit under way: what happens between the slices of its run, or iterations of L-BFGS.

    Those have an objective, `whole`, of all rows; their run counts the epochs and holds the rest.
    """

    def __init__(
        self,
        run: Run,
        objective: Objective | None = None,
        checkpoint: Checkpoint | None = None,
        progress: Progress | None = None,
        whole: Objective | None = None,
    ) -> None:
        self.whole = whole
        self.run, self.memory = run, run.memory
        self.problem, self.options = run.problem, run.options
        self.validation = Validation(objective, run)
        self.checkpoint, self.progress = checkpoint, progress
        self.reported = 0  # epochs that the callback was called for
        self.stopped: str | None = None
        self._in_checkpoint: tuple[int, ...] | None = None  # the progress that the file holds

    def begin(self) -> None:
        """Take over another fit's state, if given; check rows that no slice will read."""
        state = self.options.state
        unread = self.options.epochs == 0
        if state is not None:
            self.run.continue_from(state)
            self.validation.continue_from(state)
            self.stopped = state.ended
            unread |= self.memory.within_epoch or self.stopped is not None
        if unread:
            self.run.check_all()
        if self.options.epochs == 0:
            self.validation.check_all()

    def resume(self, saved: Saved) -> None:
        """Continue from a checkpoint as if the fit had never stopped."""
        run, memory, state = self.run, self.memory, saved.now.state
        assert self.checkpoint is not None
        with archive.refusing(self.checkpoint.path, "a checkpoint of this fit"):
            for snapshot in filter(None, (saved.now, saved.best)):
                run.check(snapshot.parameters, snapshot.state)
            self.validation.check(saved.validation_losses, saved.best)
            if saved.rates.size and not callable(self.options.learning_rate):
                raise ValueError("rates: expected none with a number for a learning rate")
            memory.start_from(saved.now.parameters)
            run.restore(state, saved.losses)
        self.checkpoint.refuse(run.rates.call_again(saved.rates.tolist(), run.first_epoch))
        self.validation.continue_from(state, saved.validation_losses.tolist(), saved.best)
        self.reported = saved.reported
        stale = 0 < memory.n_iter_no_change <= state.stale_epochs
        if stale and memory.position == 0:
            memory.status = layout.NO_IMPROVEMENT
        # More epochs are asked for than when the callback stopped the fit.
        more = self.options.epochs > saved.epochs
        if saved.stopped == "tol" or (saved.stopped == "callback" and not more):
            self.stopped = saved.stopped
        self._in_checkpoint = self._progress()

    def outcome(self, saved: Saved | None = None) -> Outcome:
        """Run slices, or iterations, until something ends the fit; return what came of it."""
        interrupts = self.run.interrupts
        if saved is None:
            self.begin()
        else:
            self.resume(saved)
        try:
            if self.stopped is None:
                if self.progress is not None:
                    self.progress.begin(self.memory.epoch, self.memory.position)
                self.stopped = self._slices() if self.whole is None else self._iterations()
                if interrupts.count:
                    self._answer()
                if self.checkpoint is not None:
                    self._save()
        except DivergenceError:
            raise
        # Of the user's function, a second Ctrl-C, or a full disk: keep the fit so far.
        except (Exception, KeyboardInterrupt) as error:
            if not isinstance(error, CheckpointError | DataError | KeyboardInterrupt):
                with contextlib.suppress(CheckpointError):
                    self._save()
            if self.memory.status != layout.ROW_NOT_FINITE:  # or the row may be among the sums
                with contextlib.suppress(AttributeError, TypeError):
                    error.fit = self._outcome("error")  # type: ignore[union-attr]
            raise
        return self._outcome(self.stopped, interrupted=interrupts.answered)

    def _slices(self) -> str:
        """Run slices until something ends the fit; say what."""
        run, memory = self.run, self.memory
        while (stopped := self._between()) is None:
            try:
                run.slice()
            except WaitInterruptedError:
                return "interrupted"
            if memory.status in (layout.ROW_NOT_FINITE, layout.DIVERGED):
                run.raise_bad_row()
                self._report(within_epoch=True)
                raise self._divergence()
        return stopped

    def _iterations(self) -> str:
        """Run iterations of L-BFGS, which is SciPy's, until something ends the fit; say what."""
        whole, rule, stopped = self.whole, self.options.optimizer, self._between()
        if stopped is not None:
            return stopped
        assert whole is not None
        assert isinstance(rule, LBFGS)
        minimization, before = Minimization(whole, self.memory.parameters, scaled=True), np.nan
        if self.progress is not None:
            whole.after_slice = self._show

        def after_iteration() -> bool:
            nonlocal before, stopped
            self.run.completed(before, minimization.parameters)
            before, stopped = minimization.loss, self._between()
            return stopped is not None

        try:
            with one_blas_thread():
                before = minimization.begin()
                if not np.isfinite(before):
                    raise self._divergence()
                minimization.run(rule, after_iteration)
        except WaitInterruptedError:
            return "interrupted"
        if stopped is None:  # SciPy has found no lower loss, or none that is worth it
            self._show(self.memory.position)
        return stopped or "tol"

    def _between(self) -> str | None:
        """Do what is due between two slices, or two iterations; return why to stop."""
        memory = self.memory
        epoch = memory.epoch
        ended = not memory.within_epoch and (epoch or self.validation.due)
        stopped = self._after_epoch() if ended else self._report(within_epoch=True)
        if self.progress is not None:
            self._show(memory.position)
        if stopped is not None:
            return stopped
        if epoch >= self.options.epochs:
            return "epochs"
        if self.run.interrupts.count:
            return "interrupted"
        if self.checkpoint is not None and self.checkpoint.due():
            self._save()
        return None

    def _show(self, position: int) -> None:
        """Show how far the fit is: the epochs, and this many rows of the next."""
        if self.progress is not None:
            epoch = self.memory.epoch
            loss = self.run.losses[epoch - 1] if epoch else None
            self.progress.show(epoch, position, loss, self.validation.last)

    def _after_epoch(self) -> str | None:
        """Do what is due after a completed epoch, once; return why to stop."""
        if self.validation.due and not self.validation.after_epoch():
            return "interrupted"
        if self._report() is not None:
            return "callback"
        stale = self.memory.status == layout.NO_IMPROVEMENT or self.validation.stale
        return "tol" if stale else None

    def _report(self, within_epoch: bool = False) -> str | None:
        """Call the callback for every completed epoch, once; return "callback" if it asks to stop.

        One for which slices do not pause hears of all epochs of a slice after it, with the
        parameters there are by then. One that comes only with a checkpoint begins with the latest.
        """
        run, options, stops = self.run, self.options, False
        if options.callback is None or (options.pauses and within_epoch):
            return None
        latest = self.memory.epoch
        first = max(self.reported, latest - 1) if options.pauses else self.reported
        if first == latest:
            return None
        named = self.problem.named(read_only(self.memory.parameters))
        for epoch in range(first, latest):
            loss, validation_loss = float(run.losses[epoch]), self.validation.last
            epoch_state = EpochState(run.first_epoch + epoch, loss, validation_loss, named)
            stops |= asks_to_stop(options.callback, epoch_state)
            self.reported = epoch + 1
        return "callback" if stops else None

    def _answer(self) -> None:
        """Answer a Ctrl-C: raise it if the options say so, otherwise let the fit end."""
        self.run.interrupts.answered = True
        if not self.options.returns_on_interrupt:
            raise KeyboardInterrupt
        if not np.isfinite(self.memory.parameters).all():  # they diverged in this epoch
            self.memory.parameters[:] = self.memory.epoch_start
            raise self._divergence()

    def _save(self) -> None:
        """Write the checkpoint, if there is one, unless it holds all this."""
        if self.checkpoint is None or self._in_checkpoint == self._progress():
            return
        run, epoch = self.run, self.memory.epoch
        self.checkpoint.write(
            Saved(
                now=self.validation.snapshot(),
                losses=run.losses[:epoch],
                validation_losses=np.array(self.validation.losses),
                rates=np.array(run.rates.called[: epoch + 1]),
                reported=self.reported,
                stopped=self.stopped,
                epochs=self.options.epochs,
                best=self.validation.best,
            )
        )
        self._in_checkpoint = self._progress()

    def _progress(self) -> tuple[int, ...]:
        """Return numbers of which one grows whenever there is more to keep."""
        memory, done = self.memory, self.stopped == "tol"
        numbers = memory.epoch, memory.position, memory.next_chunk, self.reported
        return *numbers, len(self.validation.losses), done

    def _outcome(self, stopped: str, interrupted: bool = False) -> Outcome:
        """Return what training has given so far; Ctrl-C may have come when it had just ended."""
        losses = self.run.losses[: self.memory.epoch].copy()
        validation_losses = self.validation.losses_of(len(losses))
        chosen, ended = self.validation.snapshot(), stopped not in ("interrupted", "error")
        if ended and self.validation.best is not None:
            chosen = self.validation.best
        state = chosen.state if ended else self.validation.unfinished(chosen.state)
        if ended and interrupted:
            state = replace(state, ended=None if stopped == "epochs" else stopped)
        stopped = "interrupted" if interrupted else stopped
        names = self.problem.rows.feature_names
        return Outcome(chosen.parameters, losses, stopped, state, validation_losses, names)

    def _divergence(self) -> DivergenceError:
        run, memory = self.run, self.memory
        epoch = run.first_epoch + memory.epoch
        parameters = self.problem.named(memory.parameters.copy())
        what, remedy = "loss or the parameters are no longer", "Lower learning_rate, or bring"
        if self.whole is not None:
            what, remedy = "loss of the initial parameters is not", "Bring"
        if memory.parameters.dtype != FLOAT64:
            remedy = f"Take dtype='float64' (float32 ends at 3.4e38). {remedy}"
        return DivergenceError(
            f"the {what} finite in epoch {epoch};"
            f" {', '.join(parameters)} and losses before it are attributes of this exception."
            f" {remedy} the features to a similar scale (standardize them)",
            epoch=epoch,
            losses=run.losses[: memory.epoch].copy(),
            parameters=parameters,
        )
