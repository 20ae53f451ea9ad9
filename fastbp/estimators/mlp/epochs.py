"""What scikit-learn's perceptrons do after each epoch: curves, scores, schedules, when to stop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastbp.estimators.mlp.fitting import Fit
from fastbp.training.callbacks import EpochState

Score = Callable[[list[np.ndarray], list[np.ndarray]], float]


class AfterEpoch:
    """The callback of a fit, which records what each epoch gives.

    Parameters
    ----------
    fit : Fit
    n_samples : int
        Rows of an epoch.
    score : callable or None
        Gives the score of weights and biases on validation data, if there is any.
    """

    def __init__(self, fit: Fit, n_samples: int, score: Score | None) -> None:
        self._fit, self._n_samples, self._score = fit, n_samples, score
        self._settings, self._learned, self._say = fit.settings, fit.learned, fit.callbacks.say
        self.early = False
        """Whether patience has run out."""

    def __call__(self, state: EpochState) -> bool:
        """Note an epoch; return whether to stop."""
        settings, learned = self._settings, self._learned
        self._note_loss(state.loss)
        self._say(f"Iteration {learned.n_iter_}, loss = {state.loss:.8f}")
        if state.validation_loss is not None and not settings.early_stopping:
            self._say(f"Validation loss = {state.validation_loss:.8f}")
        self._note_validation_loss(state.validation_loss)
        self._count(state)
        learned.optimizer.iteration_ends(learned.t_)
        if learned.no_improvement_count > settings.n_iter_no_change:
            self.early, why = learned.optimizer.trigger_stopping(self._why())
            self._say(why)
            if not self.early:
                learned.no_improvement_count = 0
        return self._fit.callbacks.epoch_ends(state, self.early)

    def diverged(self) -> None:
        """Note an epoch that diverged, as NaN; scikit-learn would go on."""
        self._note_loss(np.nan)
        self._note_validation_loss(None if self._score is None else np.nan)
        if self._settings.early_stopping:
            self._note_score(np.nan)
        self._learned.stopped_ = "diverged"

    def _why(self) -> str:
        what = "Validation score" if self._settings.early_stopping else "Training loss"
        return (
            f"{what} did not improve more than tol={self._settings.tol:f} for"
            f" {self._settings.n_iter_no_change} consecutive epochs."
        )

    def _count(self, state: EpochState) -> None:
        """Count the epochs without improvement; keep the best parameters."""
        learned = self._learned
        if self._score is not None and self._settings.early_stopping:
            if self._note_score(self._score(state.weights, state.biases)):
                learned.set_best(state.weights, state.biases)
            return
        self._count_stale(state.loss > learned.best_loss_ - self._settings.tol)
        learned.best_loss_ = min(learned.best_loss_, state.loss)

    def _count_stale(self, stale: bool) -> None:
        count = self._learned.no_improvement_count
        self._learned.no_improvement_count = count + 1 if stale else 0

    def _note_loss(self, loss: float) -> None:
        learned = self._learned
        learned.n_iter_ += 1
        learned.t_ += self._n_samples
        learned.loss_ = loss
        learned.loss_curve_.append(loss)

    def _note_validation_loss(self, loss: float | None) -> None:
        """Keep a loss; once there is one, NaN stands for the epochs without."""
        curve = self._learned.validation_loss_curve_
        if curve or loss is not None:
            curve += [np.nan] * (len(self._learned.loss_curve_) - 1 - len(curve))
            curve.append(np.nan if loss is None else loss)

    def _note_score(self, score: float) -> bool:
        """Keep a score, and count the epochs without improvement; return whether it is the best."""
        learned = self._learned
        learned.validation_scores_.append(score)
        self._say(f"Validation score: {score:f}")
        self._count_stale(score < learned.best_validation_score_ + self._settings.tol)
        best = score > learned.best_validation_score_
        if best:
            learned.best_validation_score_ = score
        return bool(best)
