"""What scikit-learn's perceptrons do after each epoch: curves, scores, schedules, when to stop."""

from __future__ import annotations

import numpy as np

from fastbp.estimators.mlp.fitting import Fit
from fastbp.estimators.mlp.network import outputs_of
from fastbp.training.callbacks import EpochState


class AfterEpoch:
    """The callback of a fit, which records what each epoch gives.

    Parameters
    ----------
    fit : Fit
    """

    def __init__(self, fit: Fit) -> None:
        self._fit, self._settings, self._learned = fit, fit.settings, fit.learned
        self._say = fit.callbacks.say
        self.early = False
        """Whether patience has run out."""

    def __call__(self, state: EpochState) -> bool:
        """Note an epoch; return whether to stop."""
        settings, learned = self._settings, self._learned
        self._note(state.loss, state.validation_loss)
        self._say(f"Iteration {learned.n_iter_}, loss = {state.loss:.8f}")
        if settings.early_stopping:
            if self._note_score(self._score(state)):
                learned.set_best(state.weights, state.biases)
        else:
            if state.validation_loss is not None:
                self._say(f"Validation loss = {state.validation_loss:.8f}")
            self._count_stale(state.loss > learned.best_loss_ - float(settings.tol))
            learned.best_loss_ = min(learned.best_loss_, state.loss)
        learned.optimizer.iteration_ends(learned.t_)
        if learned.no_improvement_count > settings.n_iter_no_change:
            what = "Validation score" if settings.early_stopping else "Training loss"
            self.early, why = learned.optimizer.trigger_stopping(
                f"{what} did not improve more than tol={settings.tol:f} for"
                f" {settings.n_iter_no_change} consecutive epochs."
            )
            self._say(why)
            if not self.early:
                learned.no_improvement_count = 0
        return self._fit.callbacks.epoch_ends(state, self.early)

    def diverged(self) -> None:
        """Note an epoch that diverged, as NaN; scikit-learn would continue."""
        self._note(np.nan, None if self._fit.validation is None else np.nan)
        if self._settings.early_stopping:
            self._note_score(np.nan)
        self._learned.stopped_ = "diverged"

    def _note(self, loss: float, validation_loss: float | None) -> None:
        """Keep an epoch's losses."""
        learned = self._learned
        learned.n_iter_ += 1
        learned.t_ += len(self._fit.data.labels)
        learned.loss_ = loss
        learned.loss_curve_.append(loss)
        curve = learned.validation_loss_curve_
        if curve or validation_loss is not None:  # NaN stands for the epochs without
            curve += [np.nan] * (len(learned.loss_curve_) - 1 - len(curve))
            curve.append(np.nan if validation_loss is None else validation_loss)

    def _score(self, state: EpochState) -> float:
        """Return the score on the validation data."""
        fit = self._fit
        assert fit.validation is not None
        X, labels, weight = fit.validation
        how = self._settings.n_threads, self._learned.dtype
        outputs = outputs_of(X, fit.layers, (state.weights, state.biases), *how)
        return fit.targets.score(outputs, labels, weight)

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

    def _count_stale(self, stale: bool) -> None:
        count = self._learned.no_improvement_count
        self._learned.no_improvement_count = count + 1 if stale else 0
