"""Training a perceptron in mini-batches, with scikit-learn's draws, schedules and stopping."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from fastbp.data.labels import Samples, check_weights
from fastbp.errors import DivergenceError
from fastbp.estimators.mlp.epochs import AfterEpoch
from fastbp.estimators.mlp.fitting import NOT_FINITE, Fit
from fastbp.estimators.mlp.network import Data
from fastbp.estimators.mlp.solver import solver_of
from fastbp.training.driver import train
from fastbp.training.objective import pass_options
from fastbp.training.problem import Options, Outcome

CALLER = 6  # frames from a method here that warns to whoever called `fit`
AUTO_BATCH = 200


class Stochastic:
    """Training by epochs: a whole fit or, if `incremental`, one epoch of `partial_fit`.

    Parameters
    ----------
    fit : Fit
    """

    def __init__(self, fit: Fit) -> None:
        self._fit, self._settings, self._learned = fit, fit.settings, fit.learned
        old = vars(fit.learned).get("optimizer")
        if old is None or not fit.incremental:
            fit.learned.optimizer = solver_of(fit.settings, old)
        if fit.settings.early_stopping and fit.validation is None:
            if fit.incremental:
                raise ValueError(
                    "partial_fit does not support early_stopping=True without X_val and y_val"
                )
            fit.data, fit.validation = self._split(fit.data)
        self._prepare_early_stopping()
        self._after = AfterEpoch(fit)
        dtype = fit.learned.dtype
        parameters = fit.layers.whole(*fit.learned.parameters, dtype=dtype)
        samples = fit.data.samples(fit.layers, dtype)
        options = self._checked_options(samples, parameters)
        self._problem = fit.layers.problem(parameters, samples, options)
        self._against = None
        if fit.validation is not None:
            once = pass_options(len(fit.validation.labels))
            validation = fit.validation.samples(fit.layers, dtype)
            check_weights("validation_fraction", validation.rows)
            self._against = fit.layers.problem(parameters, validation, once)

    def _split(self, data: Data) -> tuple[Data, Data]:
        """Return data to train on and data held out, chosen as scikit-learn does."""
        kept, held_out = train_test_split(
            np.arange(len(data.labels)),
            random_state=self._learned.random_state,
            test_size=self._settings.validation_fraction,
            stratify=self._fit.targets.strata(data.labels),
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of"
                " your dataset."
            )
        return data.part(kept), data.part(held_out)

    def _prepare_early_stopping(self) -> None:
        """Reset what it compares with, unless that continues from call to call."""
        early, learned = self._settings.early_stopping, self._learned
        if early and learned.validation_scores_ is None:  # switched on since the last fit
            learned.validation_scores_, learned.best_validation_score_ = [], -np.inf
        elif not early and learned.best_loss_ is None:
            learned.best_loss_ = np.inf
        by_call = self._fit.incremental and early
        if by_call and not vars(learned).get("stops_by_call"):  # the scores of `fit` were others'
            learned.best_validation_score_, learned.no_improvement_count = -np.inf, 0
        elif by_call:
            return
        learned.stops_by_call = by_call
        if early:
            learned.set_best(*learned.parameters)

    def _checked_options(self, samples: Samples, parameters: np.ndarray) -> Options:
        settings, learned, once = self._settings, self._learned, self._fit.incremental
        solver = learned.optimizer
        n_rows = samples.rows.n_rows
        batch_rows = AUTO_BATCH if settings.batch_size == "auto" else int(settings.batch_size)
        if batch_rows > n_rows and settings.batch_size != "auto":
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be"
                " clipped",
                stacklevel=CALLER,
            )
        batch_rows = min(batch_rows, n_rows)
        check_weights("sample_weight", samples.rows)
        waits = bool(self._fit.callbacks) or bool(settings.verbose)
        adapts = not once and solver.schedule != "constant"
        goes_on = learned.no_improvement_count > 0 or learned.best_loss_ not in (None, np.inf)
        # Otherwise all that is to be done after an epoch can be done after several.
        pauses = once or waits or adapts or goes_on or self._fit.validation is not None
        return Options(
            learning_rate=(lambda epoch: solver.learning_rate) if adapts else solver.learning_rate,
            epochs=1 if once else settings.max_iter,
            batch_rows=batch_rows,
            optimizer=solver.rule,
            shuffle=bool(settings.shuffle),
            random=learned.random_state,
            draw=_cumulative_orders(),
            alpha=float(settings.alpha),
            n_threads=settings.n_threads,
            tol=None if pauses else float(settings.tol),
            n_iter_no_change=int(min(settings.n_iter_no_change, 2**31)) + 1,
            tol_suffices=True,
            callback=self._after,
            calls_back=waits,
            progress=settings.progress,
            moments=solver.moments_for(parameters),
            resumable=False,
            pauses=pauses,
        )

    def train(self) -> None:
        """Train; whatever ends it, nothing learned is lost."""
        learned = self._learned
        self._fit.callbacks.begin(*learned.parameters)
        try:
            outcome = train(self._problem, self._against)
            self._keep(outcome)
            self._end(outcome.stopped)
        except DivergenceError as error:
            learned.set(error.weights, error.biases)
            self._after.diverged()
            if not self._settings.early_stopping:
                raise ValueError(NOT_FINITE) from error
            learned.restore_best()
            warnings.warn(
                f"Stochastic Optimizer: diverged in iteration {learned.n_iter_}; the parameters"
                " with the best validation score were restored.",
                ConvergenceWarning,
                stacklevel=CALLER - 1,
            )
        except (Exception, KeyboardInterrupt) as error:
            outcome = error.__dict__.pop("fit", None)  # that of the callback's own exception
            if isinstance(outcome, Outcome):
                self._keep(outcome)
            raise

    def _keep(self, outcome: Outcome) -> None:
        if outcome.state is not None:
            optimizer = self._learned.optimizer
            optimizer.moments, optimizer.powers = outcome.state.moments, outcome.state.powers
        self._learned.take(**self._fit.layers.named(outcome.parameters))

    def _end(self, stopped: str) -> None:
        """Note why training ended."""
        self._learned.stopped_ = "tol" if self._after.early else stopped
        if stopped == "interrupted":
            warnings.warn("Training interrupted by user.", stacklevel=CALLER)
        elif stopped == "epochs" and not self._fit.incremental:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self._settings.max_iter}) reached"
                " and the optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=CALLER,
            )
        if self._settings.early_stopping and (self._after.early or not self._fit.incremental):
            self._learned.restore_best()


def _cumulative_orders() -> Callable[[Any, int], np.ndarray]:
    """Return a way to draw orders as scikit-learn does: each shuffles the one before it."""
    order: np.ndarray | None = None

    def draw(random: Any, n_rows: int) -> np.ndarray:
        nonlocal order
        drawn = random.permutation(n_rows)
        order = drawn if order is None else order[drawn]
        return order

    return draw
