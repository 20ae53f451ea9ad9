"""What the neurons' estimators share: parameters, training, and the outputs of what is fitted."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from fastbp.data.arrays import is_plain
from fastbp.data.rows import Rows
from fastbp.errors import DataError, DivergenceError
from fastbp.estimators.base import Estimator
from fastbp.estimators.callbacks import Callbacks
from fastbp.estimators.names import OWN_LOSSES, optimizer_of
from fastbp.estimators.neuron.fitting import (
    Fitted,
    as_taken,
    fit_neurons,
    for_next_rows,
    outputs_of,
    stacked,
    start_values,
)
from fastbp.estimators.neuron.labels import Survey, carried
from fastbp.estimators.neuron.rates import curvature, smoothness
from fastbp.estimators.neuron.rows import checked, checked_features, in_scikit_learns_words
from fastbp.estimators.scikit_learn import (
    Interval,
    StrOptions,
    check_partial_fit_first_call,
    fit_method,
)
from fastbp.models.losses import neuron_losses
from fastbp.training.callbacks import EpochState
from fastbp.training.optimizers import OPTIMIZERS, Optimizer
from fastbp.training.state import TrainingState

ENGINE = "batch_size", "alpha", "n_threads", "progress"
"""Parameters that the engine takes as they are."""


class Neurons(Estimator):
    """What both estimators share: parameters, training, and the outputs of fitted neurons."""

    coef_: Any
    intercept_: Any
    _reached: list[Any]

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Estimator._parameter_constraints,
        "loss": [StrOptions({*OWN_LOSSES, *neuron_losses()})],
        "solver": [StrOptions(set(OPTIMIZERS)), *OPTIMIZERS.values()],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "learning_rate_init": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"auto"}),
            callable,
        ],
        "shuffle": ["boolean", StrOptions({"window"})],
        "random_state": ["random_state", np.random.Generator],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
    }

    @fit_method
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or Rows
            Numbers, finite: an array, a table of pandas or Polars, or rows of
            :func:`fastbp.open_rows` or of a virtual data set. Sparse rows are made dense, a block
            at a time if many.
        y : array-like of shape (n_samples,), or None
            A classifier's classes, numbers or text; a regressor's numbers to predict, also of
            shape (n_samples, n_outputs). None with rows that carry their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Not negative; a batch's loss is the weighted mean.

        Returns
        -------
        self : object
        """
        return self._fit(X, y, sample_weight)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return a classifier's accuracy, or a regressor's coefficient of determination.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or Rows
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), or None
            None with rows that carry their labels, and perhaps weights.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
        """
        if y is None and isinstance(X, Rows):
            y, weight = carried(X)
            sample_weight = weight if sample_weight is None else sample_weight
        return float(super().score(X, y, sample_weight))

    # --- training -----------------------------------------------------------------------------

    @property
    @abstractmethod
    def _output(self) -> str:
        """The activation."""

    @abstractmethod
    def _prepared(
        self, rows: Rows, y: Any, sample_weight: Any, known: np.ndarray | None
    ) -> tuple[Rows, Any]:
        """Return rows with labels (N, K) as neurons learn them, and the learning rate.

        `known` are the classes of `partial_fit`.
        """

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool = False, classes: Any = None
    ) -> Self:
        """Train as `fit` does or, if `incremental`, for one epoch of `partial_fit`."""
        again = self._fitted and (incremental or self.warm_start)
        if incremental and self.early_stopping:
            raise ValueError("early_stopping: expected False with partial_fit, got True")
        if not incremental:
            self.__dict__.pop("_smoothness", None)
        rows, labels = checked(self, X, y, reset=not again)
        known = None
        if incremental and isinstance(self, ClassifierMixin):
            check_partial_fit_first_call(self, classes)
            known = self.classes_
        with in_scikit_learns_words(self, X):
            rows, rate = self._prepared(rows, labels, sample_weight, known)
            epochs = 1 if incremental else self.max_iter
            callbacks = Callbacks(self, epochs, self._attributes, X, y, sample_weight)
            weights, biases, random = self._start(rows.n_labels, again)
            start = as_taken(weights, biases)
            callback = self._callback(callbacks, start)
            how = {"random_state": random, "callback": callback, "shuffle": self._shuffle(rows)}
            if incremental:
                before = getattr(self, "loss_curve_", []) if again else []
                how["state"] = self._state() if again else None
            else:
                before, held_out = [], float(self.validation_fraction)
                how |= {"tol": self.tol, "n_iter_no_change": self.n_iter_no_change}
                how["validation"] = held_out if self.early_stopping else None
            fit = self._train(rows, start, rate, epochs, before, how)
        callbacks.close(*list(fit)[:2])
        if not incremental:
            self._warn_of_end(fit)
        return self

    def _train(
        self,
        rows: Rows,
        start: tuple[Any, Any],
        rate: Any,
        epochs: int,
        losses: list[float],
        how: dict[str, Any],
    ) -> Fitted:
        """Train and keep what was reached, whatever happens; `losses` are those before."""
        how |= {name: getattr(self, name) for name in ENGINE}
        how |= {"loss": self._loss, "optimizer": self._rule}
        try:
            fit = fit_neurons(rows, start, rate, epochs, self._output, **how)
        except DivergenceError as error:
            bias = error.bias if rows.n_labels == 1 else error.biases
            self._keep(error.weights, bias, [*losses, *error.losses.tolist()])
            raise
        except Exception as error:  # of a callback or a rate: nothing is lost
            reached = getattr(error, "fit", None)
            if isinstance(reached, Fitted):
                self._keep_fit(reached, losses)
            raise
        self._keep_fit(fit, losses)
        return fit

    @property
    def _rule(self) -> Optimizer:
        return optimizer_of(self)

    @property
    def _loss(self) -> str:
        loss: str = self.loss
        return OWN_LOSSES.get(loss, loss)

    @property
    def _fitted(self) -> bool:
        return "coef_" in self.__dict__

    @property
    def _finds_rate(self) -> bool:
        """Whether the rate follows from the rows."""
        return isinstance(self.learning_rate_init, str) and self._rule.usual_rate is None

    def _rate(self, found: Survey | None, weights: np.ndarray, rows: Rows) -> Any:
        """Return the learning rate: the one that is given, or one that is safe for these rows."""
        if not isinstance(self.learning_rate_init, str):
            return self.learning_rate_init
        if not self._finds_rate:
            return self._rule.usual_rate
        assert found is not None
        batch = min(rows.n_rows, self.batch_size or rows.n_rows)
        bound = curvature(self._loss, self._output, rows.n_labels)
        smooth = smoothness(found, weights, bound, rows.n_rows, batch, self.alpha)
        if not smooth < np.inf:
            raise DataError(
                f"{rows.name}: expected features whose squares float64 can hold, got larger ones;"
                " scale them, or set learning_rate_init"
            )
        # Earlier rows of partial_fit may have been longer.
        self._smoothness = max(smooth, getattr(self, "_smoothness", 0.0))
        # Momentum adds up the noise of batches, too.
        damping = (
            1.0 if batch == rows.n_rows else max(1.0 - getattr(self._rule, "momentum", 0.0), 0.01)
        )
        return damping / self._smoothness

    def _start(self, n_outputs: int, again: bool) -> tuple[np.ndarray, np.ndarray, Any]:
        """Return start values (K, D) and (K,), and the source of what is random from there on."""
        d, random = self.n_features_in_, self.random_state
        if not again:
            return start_values(d, n_outputs, self._output, random)
        weights, biases = self._parameters(np.float64)
        if weights.shape != (n_outputs, d):
            raise ValueError(
                f"coef_: expected shape {(n_outputs, d)} to go on from, got {weights.shape}"
            )
        return weights, biases, random

    def _parameters(self, dtype: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Return weights (K, D) and biases (K,), which anybody may have set."""
        weights = np.atleast_2d(np.asarray(self.coef_, dtype=dtype))
        return weights, np.ravel(np.asarray(self.intercept_, dtype=dtype))

    def _state(self) -> TrainingState | None:
        """Return what the optimizer goes on from, if the parameters are still its own."""
        if "_reached" not in self.__dict__:
            return None
        state, *arrays = self._reached
        own = map(np.array_equal, arrays, (self.coef_, self.intercept_))
        return for_next_rows(state) if all(own) and state.optimizer == self._rule else None

    def _shuffle(self, rows: Rows) -> bool | str:
        """Return how to shuffle: not within a single batch, in windows where only they can be."""
        if self.batch_size is None or self.batch_size >= rows.n_rows:
            return False
        if self.shuffle is True and not rows.random_access:
            return "window"
        return self.shuffle if isinstance(self.shuffle, str) else bool(self.shuffle)

    def _callback(
        self, callbacks: Callbacks, start: tuple[Any, Any]
    ) -> Callable[[EpochState], bool] | None:
        """Return what the engine calls after each epoch, if anybody wants to hear of it."""
        if not callbacks and not self.verbose:
            return None
        callbacks.begin(*start)

        def after_epoch(state: EpochState) -> bool:
            text = f"Iteration {state.epoch + 1}, loss = {state.loss:.8f}"
            if state.validation_loss is not None:
                text += f", validation loss = {state.validation_loss:.8f}"
            callbacks.say(text)
            return callbacks.epoch_ends(state)

        return after_epoch

    def _warn_of_end(self, fit: Fitted) -> None:
        if fit.stopped == "epochs" and self.tol is not None:
            text = (
                f"came to max_iter={self.max_iter} while epochs still gained more than"
                f" tol={self.tol}: scale the features (StandardScaler), or raise either"
            )
        elif fit.stopped == "tol" and fit.losses[-1] > fit.losses[0]:
            text = "ended with a greater loss than it began with: lower learning_rate_init"
        else:
            return
        warnings.warn(f"{type(self).__name__} {text}", ConvergenceWarning, stacklevel=5)

    # --- what comes of it ---------------------------------------------------------------------

    def _shaped(self, weights: Any, bias: Any) -> dict[str, Any]:
        """Return copies of an engine's parameters, by name and of the shapes that users see."""
        coef, intercept = stacked(weights, bias)
        if len(intercept) > 1 or isinstance(self, ClassifierMixin):
            return {"coef_": coef, "intercept_": intercept}
        return {"coef_": coef[0], "intercept_": float(intercept[0])}

    def _attributes(self, weights: Any, bias: Any) -> dict[str, Any]:
        """Return what an estimator must have to predict with these parameters."""
        names = "n_features_in_", "feature_names_in_", "classes_"
        kept = {name: vars(self)[name] for name in names if name in vars(self)}
        return {**kept, **self._shaped(weights, bias)}

    def _keep(self, weights: Any, bias: Any, losses: list[float]) -> None:
        self.__dict__.update(self._shaped(weights, bias))
        self.loss_curve_, self.n_iter_ = losses, len(losses)

    def _keep_fit(self, fit: Fitted, losses: list[float]) -> None:
        weights, bias, new = fit
        self._keep(weights, bias, [*losses, *new.tolist()])
        # Copies: whoever changes a weight in place has the optimizer begin anew.
        self._reached = [fit.state, *self._shaped(weights, bias).values()]
        self.stopped_ = fit.stopped
        self.__dict__.pop("validation_loss_curve_", None)
        if fit.validation_losses is not None:
            self.validation_loss_curve_ = fit.validation_losses.tolist()

    def _outputs(self, X: Any, activation: str) -> np.ndarray:
        """Return the outputs: shape (n_samples,) of a single neuron, else (n_samples, K)."""
        if not self._fitted:
            check_is_fitted(self, "coef_")
        named = "feature_names_in_" in self.__dict__
        rows = X
        if named or not is_plain(X, 2) or X.shape[1] != self.n_features_in_:
            # 100 microseconds, which a few rows of the usual kind are spared.
            rows = checked_features(self, X)
        with in_scikit_learns_words(self, X):
            return outputs_of(rows, *self._parameters(), activation)
