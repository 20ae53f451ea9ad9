"""What scikit-learn's perceptrons do after each epoch: curves, scores, schedules, when to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbp.estimators._compat import Tasks
from fastbp.estimators._solver import Solver
from fastbp.labels import Samples
from fastbp.training import EpochState

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
    stops_early : bool
        Whether the score on held-out data decides, not the loss.
    tasks : Tasks
        scikit-learn's callbacks.
    """

    def __init__(
        self,
        estimator: Any,
        solver: Solver,
        n_samples: int,
        held_out: HeldOut | None,
        stops_early: bool,
        tasks: Tasks,
    ) -> None:
        self._est, self._solver, self._n_samples = estimator, solver, n_samples
        self._held_out, self._stops_early, self._tasks = held_out, stops_early, tasks
        self.early = False
        """Whether patience has run out."""

    def __call__(self, state: EpochState) -> bool:
        """Note an epoch; return whether to stop."""
        est, solver = self._est, self._solver
        est.n_iter_ += 1
        est.loss_ = state.loss
        est.t_ += self._n_samples
        est.loss_curve_.append(state.loss)
        if est.verbose:
            print(f"Iteration {est.n_iter_}, loss = {state.loss:.8f}")
        self._count(state)
        solver.iteration_ends(est.t_)
        if est._no_improvement_count > est.n_iter_no_change:
            self.early = solver.trigger_stopping(self._why(), est.verbose)
            if not self.early:
                est._no_improvement_count = 0
        asked = est.callback is not None and est.callback(state) is True
        return self._tell(state) or asked or self.early

    def _tell(self, state: EpochState) -> bool:
        """Tell scikit-learn's callbacks of this epoch and of the next."""
        if not self._tasks:
            return False

        def attributes() -> dict[str, Any]:
            found: dict[str, Any] = self._est._attributes_of(state.weights, state.biases)
            return found

        stop = self._tasks.end(attributes)
        if not (stop or self.early):
            self._tasks.begin(attributes)
        return stop

    def _why(self) -> str:
        what = "Validation score" if self._stops_early else "Training loss"
        return (
            f"{what} did not improve more than tol={self._est.tol:f} for"
            f" {self._est.n_iter_no_change} consecutive epochs."
        )

    def _count(self, state: EpochState) -> None:
        """Count the epochs that brought nothing better; keep the best parameters."""
        est = self._est
        if state.validation_loss is not None:
            est.validation_loss_curve_.append(state.validation_loss)
        if self._held_out is not None and self._stops_early:
            score = self._held_out.score(state.weights, state.biases)
            self.note_score(score, state.weights, state.biases)
            return
        stale = state.loss > est.best_loss_ - est.tol
        est._no_improvement_count = est._no_improvement_count + 1 if stale else 0
        est.best_loss_ = min(est.best_loss_, state.loss)

    def note_score(self, score: float, weights: list[np.ndarray], biases: list[np.ndarray]) -> None:
        """Keep a score on held-out data, NaN of a model that diverged."""
        est = self._est
        est.validation_scores_.append(score)
        if est.verbose:
            print(f"Validation score: {score:f}")
        stale = score < est.best_validation_score_ + est.tol
        est._no_improvement_count = est._no_improvement_count + 1 if stale else 0
        if score > est.best_validation_score_:
            est.best_validation_score_ = score
            est._best_coefs, est._best_intercepts = est._cast(weights, biases)
