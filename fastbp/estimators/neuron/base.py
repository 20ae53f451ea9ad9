"""What the neurons' estimators share: parameters, training, and the outputs of what is fitted."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from fastbp import arguments
from fastbp.arguments import FLOAT32
from fastbp.data.arrays import is_plain
from fastbp.data.rows import Rows
from fastbp.errors import DivergenceError
from fastbp.estimators.base import (
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    SEED,
    Estimator,
    Number,
    Scores,
    dtype_of,
)
from fastbp.estimators.callbacks import Callbacks
from fastbp.estimators.names import OWN_LOSSES, optimizer_of
from fastbp.estimators.neuron.labels import Survey, carried
from fastbp.estimators.neuron.rates import curvature, smoothness
from fastbp.estimators.neuron.rows import checked, checked_features, in_scikit_learns_words
from fastbp.estimators.scikit_learn import (
    StrOptions,
    check_partial_fit_first_call,
    fit_method,
)
from fastbp.estimators.stored import check_array, check_attributes, check_classes
from fastbp.models.activations import HiddenActivation
from fastbp.models.initialization import initialize_network
from fastbp.models.losses import NeuronLoss, neuron_loss_names
from fastbp.models.network import NetworkFit, fit_network, predict_network
from fastbp.models.neuron import NeuronFit, fit_neuron, predict_neuron
from fastbp.training.callbacks import EpochState
from fastbp.training.optimizers import STOCHASTIC
from fastbp.training.state import TrainingState

Fitted = NeuronFit | NetworkFit
Begin = tuple[Any, Any, Any, int]
"""Initial values, as ``fit_*`` takes them, the learning rate and the number of epochs."""
KNOWN_LOSSES = [*OWN_LOSSES, *neuron_loss_names()]
KnownLoss = Literal["log_loss", "squared_error", NeuronLoss]  # for type checkers
KINDS: dict[str, Any] = {
    "n_features_in_": int, "classes_": np.ndarray, "coef_": np.ndarray, "n_iter_": int,
    "intercept_": np.ndarray | float, "loss_curve_": list, "validation_loss_curve_": list,
    "stopped_": str, "_smoothness": float, "_reached": list, "feature_names_in_": np.ndarray,
}  # fmt: skip
"""Of attributes, in a file."""
TOGETHER = "coef_", "intercept_", "loss_curve_", "n_iter_"
ENGINE = "batch_size", "alpha", "n_threads", "progress"
"""Parameters that ``fit_*`` takes as they are."""


class ScoresRows(Scores):
    """A score that takes rows with the labels that they carry."""

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
        return super().score(X, y, sample_weight)


class Neurons(Estimator):
    """What both estimators share: parameters, training, and the outputs of fitted neurons."""

    loss: str
    coef_: Any
    intercept_: Any
    _reached: list[Any]

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Estimator._parameter_constraints,
        "loss": [StrOptions(set(KNOWN_LOSSES))],
        "solver": [StrOptions(set(STOCHASTIC)), *STOCHASTIC.values()],
        "batch_size": [COUNT, None],
        "max_iter": [Number(Integral, 1, 2**62, closed="both")],
        "learning_rate_init": [POSITIVE, StrOptions({"auto"}), callable],
        "shuffle": ["boolean", StrOptions({"window"})],
        "random_state": [SEED, np.random.RandomState, np.random.Generator, None],
        "tol": [NOT_NEGATIVE, None],
        "n_iter_no_change": [COUNT],
        "validation_fraction": [Number(Real, 0, 1, closed="neither")],
        "momentum": [Number(Real, 0, 1, closed="left")],
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
            Not negative, and not all 0; a batch's loss is the weighted mean.

        Returns
        -------
        self : object
        """
        return self._fit(X, y, sample_weight)

    # --- training -----------------------------------------------------------------------------

    @property
    @abstractmethod
    def _output(self) -> HiddenActivation:
        """The activation."""

    @abstractmethod
    def _prepared(
        self, rows: Rows, y: Any, weight: Any, known: np.ndarray | None, dtype: np.dtype[Any]
    ) -> tuple[Rows, Any]:
        """Return rows with labels (N, K) as neurons learn them, and the learning rate.

        `known` are the classes of `partial_fit`, `dtype` is that of the arithmetic.
        """

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool = False, classes: Any = None
    ) -> Self:
        """Train as `fit` does or, if `incremental`, for one epoch of `partial_fit`."""
        again = hasattr(self, "coef_") and (incremental or self.warm_start)
        if incremental and self.early_stopping:
            raise ValueError("early_stopping: expected False with partial_fit, got True")
        if not incremental:
            self.__dict__.pop("_smoothness", None)
        own = dtype_of(np.asarray(self.coef_)) if again else None
        rows, labels, dtype = checked(self, X, y, own)
        known = None
        if incremental and isinstance(self, ClassifierMixin):
            check_partial_fit_first_call(self, classes)
            known = self.classes_
        with in_scikit_learns_words(self, X):
            rows, rate = self._prepared(rows, labels, sample_weight, known, dtype)
            epochs = 1 if incremental else self.max_iter
            callbacks = Callbacks(self, epochs, self._shaped, X, y, sample_weight)
            weights, biases, random = self._start(rows.n_labels, again)
            start = _as_taken(weights.astype(dtype), biases.astype(dtype))
            how = {"random_state": random, "shuffle": _shuffling(self, rows), "dtype": dtype}
            how |= {"loss": OWN_LOSSES.get(self.loss, self.loss), "optimizer": optimizer_of(self)}
            how |= {name: getattr(self, name) for name in ENGINE}
            if callbacks or self.verbose:
                callbacks.begin(*start)
                how["callback"] = partial(_after_epoch, callbacks)
            losses: list[float] = []
            if not incremental:
                held_out = float(self.validation_fraction) if self.early_stopping else None
                how |= {"tol": self.tol, "n_iter_no_change": self.n_iter_no_change}
                how |= {"validation": held_out}
            elif again:
                losses, how["state"] = getattr(self, "loss_curve_", []), self._state()
            fit = self._train(rows, (*start, rate, epochs), losses, how)
        callbacks.close(*list(fit)[:2])
        if not incremental:
            self._warn_of(fit)
        return self

    def _warn_of(self, fit: Fitted) -> None:
        """Warn of a fit that has not converged, or has not learned."""
        if fit.stopped == "epochs" and self.tol is not None:
            why = (
                f"reached max_iter={self.max_iter} while the loss still fell by more than"
                f" tol={self.tol}: scale the features (StandardScaler), or raise either"
            )
        elif fit.stopped == "tol" and fit.losses[-1] > fit.losses[0]:
            why = "ended with a higher loss than it began with: lower learning_rate_init"
        else:
            return
        warnings.warn(f"{type(self).__name__} {why}", ConvergenceWarning, stacklevel=5)

    def _train(self, rows: Rows, begin: Begin, losses: list[float], how: dict[str, Any]) -> Fitted:
        """Train and keep what was reached, whatever happens; `losses` are those before."""
        try:
            if rows.n_labels == 1:
                fit: Fitted = fit_neuron(rows, None, *begin, activation=self._output, **how)
            else:
                # One layer of K outputs is K neurons in one pass over the rows: no loss that is a
                # sum over the outputs mixes their gradients.
                fit = fit_network(rows, None, *begin, activations=[self._output], **how)
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
    def _finds_rate(self) -> bool:
        """Whether the rate follows from the rows."""
        return isinstance(self.learning_rate_init, str) and optimizer_of(self).usual_rate is None

    def _rate(
        self, found: Survey | None, weights: np.ndarray, rows: Rows, dtype: np.dtype[Any]
    ) -> Any:
        """Return the learning rate: the one that is given, or one that is safe for these rows."""
        rule, given = optimizer_of(self), self.learning_rate_init
        if found is None or not self._finds_rate:
            return rule.usual_rate if isinstance(given, str) else given
        batch = min(rows.n_rows, self.batch_size or rows.n_rows)
        bound = curvature(OWN_LOSSES.get(self.loss, self.loss), self._output, rows.n_labels)
        smooth = smoothness(found, weights, bound, rows, batch, self.alpha, dtype)
        # Earlier rows of partial_fit may have been longer.
        self._smoothness = max(smooth, getattr(self, "_smoothness", 0.0))
        # Momentum adds up the noise of batches, too.
        damping = max(1.0 - getattr(rule, "momentum", 0.0), 0.01)
        return (1.0 if batch == rows.n_rows else damping) / self._smoothness

    def _start(self, n_outputs: int, again: bool) -> tuple[np.ndarray, np.ndarray, Any]:
        """Return initial values (K, D) and (K,), and the source of what is random from there on."""
        shape, random = (n_outputs, self.n_features_in_), self.random_state
        if again:
            weights = np.atleast_2d(np.asarray(self.coef_, dtype=np.float64))
            biases = np.ravel(np.asarray(self.intercept_, dtype=np.float64))
            if weights.shape != shape:
                raise ValueError(
                    f"coef_: expected shape {shape} to continue from, got {weights.shape}"
                )
            return weights, biases, random
        if self._output != "relu":
            return np.zeros(shape), np.zeros(n_outputs), random
        # From zeros ReLU would never leave: its derivative there is 0.
        random = arguments.random_generator("random_state", random)
        (weights,), (biases,) = initialize_network(
            shape[::-1], activations=["relu"], scheme="he_uniform", random_state=random
        )
        return np.ascontiguousarray(weights.T), biases, random

    def _state(self) -> TrainingState | None:
        """Return what the optimizer continues from, if the parameters are still its own."""
        if "_reached" not in self.__dict__:
            return None
        state, *arrays = self._reached
        same = all(map(np.array_equal, arrays, (self.coef_, self.intercept_)))
        own = dtype_of(np.asarray(self.coef_))
        moments = getattr(state.moments, "dtype", own)  # what is none is refused later
        if not same or state.optimizer != optimizer_of(self) or moments != own:
            return None
        # The next rows are others: of an epoch under way nothing is left.
        begun = {"batch_start": 0, "next_chunk": 0, "epoch_sums": (0.0, 0.0, 0.0)}
        begun |= {"ended": None, "best": None, "validation_due": False}
        nothing = {"partial_sums": np.empty(0), "epoch_start": np.empty(0, own)}
        fresh: TrainingState = replace(state, **nothing, **begun)
        return fresh

    def _check_stored(self) -> None:
        if not check_attributes(self, KINDS, TOGETHER):
            return
        d, classifies = self.n_features_in_, isinstance(self, ClassifierMixin)
        k = 1 if np.ndim(self.coef_) == 1 else len(self.coef_)
        single = k == 1 and not classifies
        check_array("coef_", self.coef_, (d,) if single else (k, d))
        check_array("intercept_", np.asarray(self.intercept_), () if single else (k,))
        if classifies:
            check_classes(self.classes_, k)
        state, *arrays = vars(self).get("_reached", [None, None, None])
        if not isinstance(state, TrainingState | None) or len(arrays) != 2:
            raise TypeError("_reached: expected the state of a fit, and its parameters")

    # --- what comes of it ---------------------------------------------------------------------

    def _shaped(self, weights: Any, bias: Any) -> dict[str, Any]:
        """Return copies of an engine's parameters, by name and of the shapes that users see."""
        if isinstance(weights, list):
            coef, intercept = weights[0].T.copy(), bias[0].copy()
        else:
            coef, intercept = weights[None, :].copy(), np.array([bias], weights.dtype)
        if len(intercept) > 1 or isinstance(self, ClassifierMixin):
            return {"coef_": coef, "intercept_": intercept}
        return {"coef_": coef[0], "intercept_": float(intercept[0])}

    def _keep(self, weights: Any, bias: Any, losses: list[float]) -> None:
        self.__dict__.update(self._shaped(weights, bias))
        self.loss_curve_, self.n_iter_ = losses, len(losses)

    def _keep_fit(self, fit: Fitted, losses: list[float]) -> None:
        weights, bias, new = fit
        self._keep(weights, bias, [*losses, *new.tolist()])
        # Copies: whoever changes a weight in place has the optimizer start over.
        self._reached = [fit.state, *self._shaped(weights, bias).values()]
        self.stopped_ = fit.stopped
        self.__dict__.pop("validation_loss_curve_", None)
        if fit.validation_losses is not None:
            self.validation_loss_curve_ = fit.validation_losses.tolist()

    def _outputs(self, X: Any, activation: HiddenActivation) -> np.ndarray:
        """Return the outputs: shape (n_samples,) of a single neuron, else (n_samples, K)."""
        if not hasattr(self, "coef_"):
            check_is_fitted(self, "coef_")
        plain = is_plain(X, 2) or is_plain(X, 2, FLOAT32)
        # The check takes 100 microseconds: too long for a few rows of the usual kind.
        usual = plain and "feature_names_in_" not in self.__dict__
        usual = usual and X.shape[1] == self.n_features_in_
        rows, dtype = (X, X.dtype) if usual else checked_features(self, X)
        with in_scikit_learns_words(self, X):
            coef, intercept = np.asarray(self.coef_), self.intercept_
            dtype = dtype_of(dtype, coef)
            if coef.ndim == 1 or len(coef) == 1:
                weights, bias = coef if coef.ndim == 1 else coef[0], float(np.ravel(intercept)[0])
                return predict_neuron(rows, weights, bias, activation=activation, dtype=dtype)
            how: dict[str, Any] = {"activations": [activation], "dtype": dtype}
            return predict_network(rows, [np.ascontiguousarray(coef.T)], [intercept], **how)


def _as_taken(weights: np.ndarray, biases: np.ndarray) -> tuple[Any, Any]:
    """Return parameters as ``fit_*`` takes them: of a neuron, or of a network of one layer."""
    if len(biases) == 1:
        return weights[0], float(biases[0])
    return [np.ascontiguousarray(weights.T)], [biases]


def _shuffling(settings: Any, rows: Rows) -> bool | str:
    """Return how to shuffle: not within a single batch, in windows where only they can be."""
    if settings.batch_size is None or settings.batch_size >= rows.n_rows:
        return False
    if settings.shuffle is True and not rows.random_access:
        return "window"
    return settings.shuffle if isinstance(settings.shuffle, str) else bool(settings.shuffle)


def _after_epoch(callbacks: Callbacks, state: EpochState) -> bool:
    """Report an epoch; return whether to stop."""
    text = f"Iteration {state.epoch + 1}, loss = {state.loss:.8f}"
    if state.validation_loss is not None:
        text += f", validation loss = {state.validation_loss:.8f}"
    callbacks.say(text)
    return callbacks.epoch_ends(state)
