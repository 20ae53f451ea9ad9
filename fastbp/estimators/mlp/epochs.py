"""What scikit-learn's perceptrons do after each epoch: curves, scores, schedules, when to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from fastbp.data.labels import Samples
from fastbp.estimators.mlp.solver import Solver
from fastbp.estimators.scikit_learn import Tasks
from fastbp.training.callbacks import EpochState, asks_to_stop

Parameters = tuple[list[np.ndarray], list[np.ndarray]]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Validation data.

    Attributes
    ----------
    samples : Samples
        As the kernels want it, for the loss.
    score : callable
        Gives the score of weights and biases.
    """

    samples: Samples
    score: Callable[[list[np.ndarray], list[np.ndarray]], float]


class AfterEpoch:
    """The callback of a fit; it keeps the estimator's attributes up to date.

    Parameters
    ----------
    estimator
    solver : Solver
    n_samples : int
        Rows of an epoch.
    held_out : HeldOut or None
    tasks : Tasks
        scikit-learn's callbacks.
    """

    def __init__(
        self,
        estimator: Any,
        solver: Solver,
        n_samples: int,
        held_out: HeldOut | None,
        tasks: Tasks,
    ) -> None:
        self._est, self._solver, self._n_samples = estimator, solver, n_samples
        self._held_out, self._tasks = held_out, tasks
        self.early = False
        """Whether patience has run out."""

    def __call__(self, state: EpochState) -> bool:
        """Note an epoch; return whether to stop."""
        est, solver = self._est, self._solver
        est.n_iter_ += 1
        est.loss_ = state.loss
        est.t_ += self._n_samples
        est.loss_curve_.append(state.loss)
        self._say(f"Iteration {est.n_iter_}, loss = {state.loss:.8f}")
        if state.validation_loss is not None and not est.early_stopping:
            self._say(f"Validation loss = {state.validation_loss:.8f}")
        self._count(state)
        solver.iteration_ends(est.t_)
        if est._no_improvement_count > est.n_iter_no_change:
            self.early, why = solver.trigger_stopping(self._why())
            self._say(why)
            if not self.early:
                est._no_improvement_count = 0
        last = asks_to_stop(est.callback, state) or self.early
        told = self._tasks.next(lambda: est._reconstruction(state.weights, state.biases), last)
        return last or told

    def _say(self, text: str) -> None:
        if self._est.verbose:
            tqdm.write(text)  # above a bar

    def _why(self) -> str:
        what = "Validation score" if self._est.early_stopping else "Training loss"
        return (
            f"{what} did not improve more than tol={self._est.tol:f} for"
            f" {self._est.n_iter_no_change} consecutive epochs."
        )

    def _count(self, state: EpochState) -> None:
        """Count the epochs that brought nothing better; keep the best parameters."""
        est = self._est
        self._note_validation_loss(state.validation_loss)
        if self._held_out is not None and est.early_stopping:
            score = self._held_out.score(state.weights, state.biases)
            if self._note_score(score):
                est._keep_best(state.weights, state.biases)
            return
        stale = state.loss > est.best_loss_ - est.tol
        est._no_improvement_count = est._no_improvement_count + 1 if stale else 0
        est.best_loss_ = min(est.best_loss_, state.loss)

    def _note_validation_loss(self, loss: float | None) -> None:
        """Keep a loss; NaN stands for the epochs without, once there is one."""
        curve = self._est.validation_loss_curve_
        if curve or loss is not None:
            curve += [np.nan] * (len(self._est.loss_curve_) - 1 - len(curve))
            curve.append(np.nan if loss is None else loss)

    def diverged(self) -> None:
        """Note an epoch without a finite end; scikit-learn goes on with nothing but NaN."""
        est = self._est
        est.n_iter_ += 1
        est.t_ += self._n_samples
        est.loss_ = float("nan")
        est.loss_curve_.append(est.loss_)
        self._note_validation_loss(est.loss_ if self._held_out is not None else None)
        if est.early_stopping:
            self._note_score(float("nan"))
        est.stopped_ = "diverged"

    def _note_score(self, score: float) -> bool:
        """Count the epochs whose score is no better; return whether this one is the best."""
        est = self._est
        est.validation_scores_.append(score)
        self._say(f"Validation score: {score:f}")
        stale = score < est.best_validation_score_ + est.tol
        est._no_improvement_count = est._no_improvement_count + 1 if stale else 0
        best = score > est.best_validation_score_
        if best:
            est.best_validation_score_ = score
        return bool(best)
