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
from fastbp.data.checks import refuse_special_objects
from fastbp.data.rows import Rows
from fastbp.data.sources.pieces import in_memory, is_collection
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
from fastbp.estimators.names import OWN_LOSSES, own_loss
from fastbp.estimators.neuron.labels import Prepared, carried
from fastbp.estimators.neuron.rates import curvature, smoothness
from fastbp.estimators.neuron.rows import (
    checked,
    checked_features,
    in_scikit_learns_words,
    refuse_two_weights,
)
from fastbp.estimators.neuron.scoring import score_of, score_on_cluster, scored_rows
from fastbp.estimators.neuron.solver import (
    SOLVERS,
    complaint,
    rate_follows_from_rows,
    solver_of,
    usual_rate,
    when_to_stop,
)
from fastbp.estimators.scikit_learn import (
    StrOptions,
    check_partial_fit_first_call,
    fit_method,
)
from fastbp.estimators.stored import check_array, check_attributes, check_classes
from fastbp.models.activations import ActivationName
from fastbp.models.initialization import initialize_network
from fastbp.models.losses import NeuronLoss, neuron_loss_names
from fastbp.models.network import NetworkFit, fit_network, predict_network
from fastbp.models.neuron import NeuronFit, fit_neuron, predict_neuron
from fastbp.training.callbacks import EpochState
from fastbp.training.cluster.connection import errors_translated
from fastbp.training.optimizers import OPTIMIZERS, Optimizer
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
ENGINE = "alpha", "n_threads", "progress"
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
            Of Dask's arrays and DataFrames, too: it is computed now.
        """
        if type(X) is type(y) is np.ndarray:
            return super().score(X, y, in_memory(sample_weight))
        check_is_fitted(self, "coef_")
        rows = scored_rows(self, X, y, sample_weight)
        if rows is not None:
            return score_on_cluster(self, rows, by_index=y is not None)
        if y is None and isinstance(X, Rows):
            refuse_two_weights(X, sample_weight)
            y, weight = carried(X)
            sample_weight = weight if sample_weight is None else sample_weight
        y, sample_weight = in_memory(y), in_memory(sample_weight)
        if not is_collection(X):
            return super().score(X, y, sample_weight)
        refuse_special_objects("y", y)
        outputs = in_memory(self.predict(X))  # type: ignore[attr-defined]
        return score_of(self, outputs, y, sample_weight)


class Neurons(Estimator):
    """What both estimators share: parameters, training, and the outputs of fitted neurons."""

    loss: str
    coef_: Any
    intercept_: Any
    _reached: list[Any]

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Estimator._parameter_constraints,
        "loss": [StrOptions(set(KNOWN_LOSSES))],
        "solver": [StrOptions(set(SOLVERS)), *OPTIMIZERS.values()],
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
            Numbers, finite: an array, a table of pandas or Polars, a Dask array or DataFrame, or
            rows of :func:`fastbp.open_rows` or of a virtual data set. Sparse rows are made dense, a
            block at a time if many.
        y : array-like of shape (n_samples,), or None
            A classifier's classes, numbers or text; a regressor's numbers to predict, also of
            shape (n_samples, n_outputs); Dask's arrays and columns as well. None with rows that
            carry their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Not negative, and not all 0; a batch's loss is the weighted mean. Dask's as well.

        Returns
        -------
        self : object
        """
        return self._fit(X, y, sample_weight)

    # --- training -----------------------------------------------------------------------------

    @property
    @abstractmethod
    def _output(self) -> ActivationName:
        """The activation."""

    @abstractmethod
    def _prepared(
        self,
        rows: Rows,
        y: Any,
        weight: Any,
        known: np.ndarray | None,
        dtype: np.dtype[Any],
        lengths: bool,
    ) -> Prepared:
        """Return what neurons are fitted to.

        `known` are the classes of `partial_fit`, `dtype` is that of the arithmetic, and `lengths`
        says whether to measure those of the rows.
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
        rule, batch_size = solver_of(self, rows, incremental)
        by_rows = rate_follows_from_rows(self, rule)
        with in_scikit_learns_words(self, X):
            with errors_translated(rows.cluster):  # labels and lengths may be computed there
                data = self._prepared(rows, labels, sample_weight, known, dtype, by_rows)
            size = min(batch_size or data.rows.n_rows, data.rows.n_rows)
            rate = self._rate(data, rule, size, dtype) if by_rows else usual_rate(self, rule)
            epochs = 1 if incremental else self.max_iter
            callbacks = Callbacks(self, epochs, self._shaped, X, y, sample_weight)
            weights, biases, random = self._start(data.n_outputs, again)
            start = _as_taken(weights.astype(dtype), biases.astype(dtype))
            how = {"random_state": random, "dtype": dtype, "optimizer": rule}
            how |= {"batch_size": batch_size, "shuffle": _shuffling(self.shuffle, size, data.rows)}
            how |= {name: getattr(self, name) for name in ENGINE}
            if callbacks or self.verbose:
                callbacks.begin(*start)
                how["callback"] = partial(_after_epoch, callbacks)
            losses: list[float] = []
            if not incremental:
                how |= when_to_stop(self, rule)
            elif again:
                losses, how["state"] = getattr(self, "loss_curve_", []), self._state(rule)
            fit = self._train(data, (*start, rate, epochs), losses, how)
        callbacks.close(*list(fit)[:2])
        if not incremental and (why := complaint(self, rule, fit)):
            warnings.warn(f"{type(self).__name__} {why}", ConvergenceWarning, stacklevel=4)
        return self

    def _train(
        self, data: Prepared, begin: Begin, losses: list[float], how: dict[str, Any]
    ) -> Fitted:
        """Train and keep what was reached, whatever happens; `losses` are those before."""
        output: Any = self._output
        single = data.n_outputs == 1
        how["loss"] = own_loss(self.loss, output)
        try:
            if single:
                fit: Fitted = fit_neuron(data.rows, None, *begin, activation=output, **how)
            else:
                # One layer of K outputs is K neurons in one pass over the rows: but for softmax, no
                # loss that is a sum over the outputs mixes their gradients.
                fit = fit_network(data.rows, None, *begin, activations=[output], **how)
        except DivergenceError as error:
            bias = error.bias if single else error.biases
            self._keep(error.weights, bias, [*losses, *error.losses.tolist()])
            raise
        except (Exception, KeyboardInterrupt) as error:  # of a callback or a rate: nothing is lost
            reached = getattr(error, "fit", None)
            if isinstance(reached, Fitted):
                self._keep_fit(reached, losses)
            raise
        self._keep_fit(fit, losses)
        return fit

    def _rate(self, data: Prepared, rule: Optimizer, batch: int, dtype: np.dtype[Any]) -> float:
        """Return a learning rate that is safe for these rows."""
        assert data.found is not None
        output = self._output
        bound = curvature(own_loss(self.loss, output), output, data.n_outputs)
        smooth = smoothness(
            data.found, data.class_weight, bound, data.rows, batch, self.alpha, dtype
        )
        # Earlier rows of partial_fit may have been longer.
        self._smoothness = max(smooth, getattr(self, "_smoothness", 0.0))
        # Momentum adds up the noise of batches, too.
        damping = max(1.0 - getattr(rule, "momentum", 0.0), 0.01)
        return (1.0 if batch == data.rows.n_rows else damping) / self._smoothness

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

    def _state(self, rule: Optimizer) -> TrainingState | None:
        """Return what the optimizer continues from, if the parameters are still its own."""
        if "_reached" not in self.__dict__:
            return None
        state, *arrays = self._reached
        same = all(map(np.array_equal, arrays, (self.coef_, self.intercept_)))
        own = dtype_of(np.asarray(self.coef_))
        moments = getattr(state.moments, "dtype", own)  # what is none is refused later
        if not same or state.optimizer != rule or moments != own:
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

    def _outputs(self, X: Any, activation: ActivationName) -> np.ndarray:
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
                how: dict[str, Any] = {"activation": activation, "dtype": dtype}
                return predict_neuron(rows, weights, bias, **how)
            how = {"activations": [activation], "dtype": dtype}
            return predict_network(rows, [np.ascontiguousarray(coef.T)], [intercept], **how)


def _as_taken(weights: np.ndarray, biases: np.ndarray) -> tuple[Any, Any]:
    """Return parameters as ``fit_*`` takes them: of a neuron, or of a network of one layer."""
    if len(biases) == 1:
        return weights[0], float(biases[0])
    return [np.ascontiguousarray(weights.T)], [biases]


def _shuffling(shuffle: Any, batch: int, rows: Rows) -> bool | str:
    """Return how to shuffle: not within a single batch, in windows where only they can be."""
    if batch == rows.n_rows:
        return False
    if shuffle is True and not rows.random_access:
        return "window"
    return shuffle if isinstance(shuffle, str) else bool(shuffle)


def _after_epoch(callbacks: Callbacks, state: EpochState) -> bool:
    """Report an epoch; return whether to stop."""
    text = f"Iteration {state.epoch + 1}, loss = {state.loss:.8f}"
    if state.validation_loss is not None:
        text += f", validation loss = {state.validation_loss:.8f}"
    callbacks.say(text)
    return callbacks.epoch_ends(state)
