"""What the neurons' estimators share: what comes in, training, and what comes of it."""

from __future__ import annotations

import contextlib
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from fastbp import arguments
from fastbp.data import checks
from fastbp.data.arrays import ArrayRows, Labelled, is_plain, loaded_if_small
from fastbp.data.rows import Rows
from fastbp.data.sparse import SparseRows
from fastbp.errors import DataError, DivergenceError
from fastbp.estimators.neuron.labels import Survey
from fastbp.estimators.neuron.rates import curvature, smoothness
from fastbp.estimators.scikit_learn import (
    UNREAD,
    CallbackSupportMixin,
    Interval,
    StrOptions,
    Tasks,
    validate,
)
from fastbp.estimators.stored import Stored
from fastbp.models.initialization import initialize_network
from fastbp.models.network import NetworkFit, fit_network, predict_network
from fastbp.models.neuron import NeuronFit, fit_neuron, predict_neuron
from fastbp.training.callbacks import EpochState, asks_to_stop
from fastbp.training.optimizers import SGD, Adam
from fastbp.training.state import TrainingState

KINDS = [np.dtype(code) for code in "dfe?bBhHiIlLqQ"]
"""What the engine converts itself, a block at a time if there is much."""
LOSSES = {"log_loss": "bce", "squared_error": "half_mse"}
"""scikit-learn's names of the contract's losses, which go by their own, too."""
ADAM_RATE = 0.01


def between_epochs(state: TrainingState) -> TrainingState:
    """Return a state without the epoch that was under way: the next rows are others."""
    nothing = np.empty(0)
    return replace(
        state,
        batch_start=0,
        next_chunk=0,
        partial_sums=nothing,
        epoch_start=nothing,
        epoch_sums=(0.0, 0.0, 0.0),
    )


@dataclass(frozen=True, eq=False)
class Start:
    """Start values (K, D) and (K,), and the source of what is random from there on."""

    weights: np.ndarray
    biases: np.ndarray
    random: Any

    @property
    def parameters(self) -> tuple[Any, Any]:
        """Weights and bias as the engine takes them: of a neuron, or of a network's one layer."""
        if len(self.biases) == 1:
            return self.weights[0], float(self.biases[0])
        return [self.weights.T], [self.biases]


class Neurons(CallbackSupportMixin, Stored, ABC):  # type: ignore[misc]
    """What both estimators share: parameters, training, and the outputs of fitted neurons."""

    coef_: np.ndarray
    intercept_: Any
    n_features_in_: int
    loss_curve_: list[float]
    _reached: list[Any]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "solver": [StrOptions({"sgd", "adam"}), SGD, Adam],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "learning_rate_init": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"auto"}),
            callable,
        ],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean", StrOptions({"window"})],
        "random_state": ["random_state", np.random.Generator],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "nesterovs_momentum": ["boolean"],
        "warm_start": ["boolean"],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "callback": [callable, None],
        "verbose": ["verbose"],
        "progress": ["boolean", StrOptions({"always"})],
    }

    # --- what comes in ------------------------------------------------------------------------

    def _checked(self, X: Any, y: Any, reset: bool, **how: Any) -> tuple[Rows, Any]:
        """Return features as rows, and labels as scikit-learn checks them."""
        if isinstance(X, Rows):
            self._check_columns(X, reset)
            if y is None and X.n_labels == 0:
                raise ValueError(
                    f"y: expected labels, got None; {X.name} carries none, as"
                    " open_rows(..., target=...) would"
                )
            if y is not None and X.n_labels > 0:
                raise ValueError(f"y: expected None with rows that carry labels ({X.name})")
            if y is not None:
                y = check_array(y, ensure_2d=False, dtype=None, input_name="y")
                if len(y) != X.n_rows:
                    raise ValueError(f"y: expected {X.n_rows} labels, got {len(y)}")
            return loaded_if_small(X), y
        if isinstance(X, str | os.PathLike):
            raise TypeError("X: expected rows, got a path; open_rows(path, target=...) opens it")
        X, y = validate(self, X, y, reset=reset, dtype=KINDS, accept_sparse="csr", **UNREAD, **how)
        return loaded_if_small(SparseRows(X, "X") if issparse(X) else ArrayRows(X, "X")), y

    def _check_columns(self, rows: Rows, reset: bool) -> None:
        """Take over number and names of the rows' features, or compare them."""
        names = rows.feature_names
        if reset:
            self.n_features_in_ = rows.n_features
            self.__dict__.pop("feature_names_in_", None)
            if names is not None:
                self.feature_names_in_ = np.array(names, dtype=object)
            return
        if rows.n_features != self.n_features_in_:
            raise ValueError(
                f"{rows.name}: expected {self.n_features_in_} features, got {rows.n_features}"
            )
        expected = getattr(self, "feature_names_in_", None)
        if names is not None and expected is not None and names != expected.tolist():
            raise ValueError(
                f"{rows.name}: expected the features {', '.join(map(str, expected))}, got"
                f" {', '.join(names)}"
            )

    def _labelled(self, rows: Rows, labels: np.ndarray | None, sample_weight: Any) -> Rows:
        """Return rows with these labels (N, K) and weights, if they do not carry them."""
        weight = None
        if sample_weight is not None:
            if rows.weighted:
                raise ValueError(
                    f"sample_weight: expected None with rows that carry weights ({rows.name})"
                )
            weight = checks.sample_weights("sample_weight", sample_weight, rows.n_rows)
            if not weight.any():
                raise ValueError("sample_weight: expected a weight above zero, got zero only")
        if labels is None and weight is None:
            return rows
        return Labelled(rows, labels, weight)

    @contextlib.contextmanager
    def _telling(self, X: Any) -> Iterator[None]:
        """Say in scikit-learn's words what is wrong with the rows of an array."""
        try:
            yield
        except DataError as error:
            if isinstance(X, Rows):
                raise
            validate(self, X, reset=False, dtype=KINDS, accept_sparse="csr")
            text = str(error).replace("X: target: ", "y: ").replace("'bce'", repr(self.loss))
            raise DataError(text, error.row) from None

    # --- training -----------------------------------------------------------------------------

    @property
    def _rule(self) -> SGD | Adam:
        if self.solver == "adam":
            return Adam()
        if self.solver == "sgd":
            return SGD(momentum=float(self.momentum), nesterov=bool(self.nesterovs_momentum))
        rule: SGD | Adam = self.solver
        return rule

    @property
    def _finds_rate(self) -> bool:
        """Whether the rate follows from the rows."""
        named = isinstance(self.learning_rate_init, str)
        return named and isinstance(self._rule, SGD)

    @property
    def _loss(self) -> str:
        given: str = self.loss
        return LOSSES.get(given, given)

    @property
    def _fitted(self) -> bool:
        return "coef_" in self.__dict__

    def _begin(self) -> bool:
        """Return whether a fit goes on from the last one's parameters; forget what it does not."""
        self.__dict__.pop("_smoothness", None)
        return self.warm_start and self._fitted

    def _rate(self, found: Survey | None, weights: np.ndarray, rows: Rows) -> Any:
        """Return the learning rate: the one that is given, or one that is safe for these rows."""
        if not isinstance(self.learning_rate_init, str):
            return self.learning_rate_init
        rule, n = self._rule, rows.n_rows
        if isinstance(rule, Adam):
            return ADAM_RATE
        assert found is not None
        batch = min(n, self.batch_size or n)
        bend = curvature(self._loss, self._output, rows.n_labels)
        smallest = n % batch or batch
        mean_weight = float(weights @ found.weights) / n or 1.0
        smooth = smoothness(found, weights, bend, n, batch)
        smooth += self.alpha / (mean_weight * smallest)
        if not smooth < np.inf:
            raise DataError(
                f"{rows.name}: expected features whose squares float64 can hold, got larger ones;"
                " scale them, or set learning_rate_init"
            )
        # Earlier rows of partial_fit may have been longer.
        self._smoothness = max(smooth, getattr(self, "_smoothness", 0.0))
        # Momentum adds up the noise of batches, too.
        damping = 1.0 if batch == n else max(1.0 - rule.momentum, 0.01)
        return damping / self._smoothness

    def _start(self, n_outputs: int, again: bool) -> Start:
        d = self.n_features_in_
        if again:
            weights = np.atleast_2d(np.asarray(self.coef_, dtype=np.float64))
            biases = np.ravel(np.asarray(self.intercept_, dtype=np.float64))
            if weights.shape != (n_outputs, d):
                raise ValueError(
                    f"coef_: expected shape {(n_outputs, d)} to go on from, got {weights.shape}"
                )
            return Start(weights, biases, self.random_state)
        if self._output != "relu":
            return Start(np.zeros((n_outputs, d)), np.zeros(n_outputs), self.random_state)
        # From zeros ReLU would never leave: its derivative there is 0.
        random = arguments.random_generator("random_state", self.random_state)
        (weights,), (biases,) = initialize_network(
            [d, n_outputs], activations=["relu"], scheme="he_uniform", random_state=random
        )
        return Start(np.ascontiguousarray(weights.T), biases, random)

    def _state(self, again: bool) -> TrainingState | None:
        """Return what the optimizer goes on from, if the parameters are still its own."""
        if not again or "_reached" not in self.__dict__:
            return None
        state: TrainingState
        state, coef, intercept = self._reached
        if state.optimizer != self._rule:
            return None
        same = np.array_equal(coef, self.coef_) and np.array_equal(intercept, self.intercept_)
        return between_epochs(state) if same else None

    def _train(
        self,
        rows: Rows,
        start: Start,
        rate: Any,
        epochs: int,
        losses: list[float],
        **keywords: Any,
    ) -> NeuronFit | NetworkFit:
        """Train on rows with labels (N, K) and keep what was reached, whatever happens.

        `losses` are those of the epochs before.
        """
        keywords |= {
            "loss": self._loss,
            "optimizer": self._rule,
            "batch_size": self.batch_size,
            "shuffle": self._shuffle(rows),
            "random_state": start.random,
            "alpha": self.alpha,
            "n_threads": self.n_threads,
            "progress": self.progress,
        }
        how = (*start.parameters, rate, epochs)
        fit: NeuronFit | NetworkFit
        try:
            if rows.n_labels == 1:
                fit = fit_neuron(rows, None, *how, activation=self._output, **keywords)
            else:
                # One layer of K outputs is K neurons in one pass over the rows: no loss that is a
                # sum over the outputs mixes their gradients.
                fit = fit_network(rows, None, *how, activations=[self._output], **keywords)
        except DivergenceError as error:
            bias = error.bias if rows.n_labels == 1 else error.biases
            self._keep_parameters(error.weights, bias)
            self._keep_losses([*losses, *error.losses.tolist()])
            raise
        except Exception as error:  # of a callback or a rate: nothing is lost
            reached = getattr(error, "fit", None)
            if isinstance(reached, NeuronFit | NetworkFit):
                self._keep(reached, losses)
            raise
        self._keep(fit, losses)
        return fit

    def _shuffle(self, rows: Rows) -> bool | str:
        """Return how to shuffle: not within a single batch, in windows where only they can be."""
        if self.batch_size is None or self.batch_size >= rows.n_rows:
            return False
        if self.shuffle is True and not rows.random_access:
            return "window"
        return self.shuffle if isinstance(self.shuffle, str) else bool(self.shuffle)

    def _fit_rows(
        self, rows: Rows, rate: Any, again: bool, X: Any, y: Any, sample_weight: Any
    ) -> None:
        """Train as `fit` does, with scikit-learn's callbacks, which see what it was given."""
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        tasks = Tasks(self, self.max_iter, {"X": X, "y": y, "metadata": metadata})
        start = self._start(rows.n_labels, again)
        fit = self._train(
            rows,
            start,
            rate,
            self.max_iter,
            [],
            callback=self._callback(tasks, start),
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            validation=float(self.validation_fraction) if self.early_stopping else None,
        )
        tasks.close(lambda: self._reconstruction(*list(fit)[:2]))
        if fit.stopped == "epochs" and self.tol is not None:
            self._warn(
                f"came to max_iter={self.max_iter} while epochs still gained more than"
                f" tol={self.tol}: scale the features (StandardScaler), or raise either"
            )
        elif fit.stopped == "tol" and fit.losses[-1] > fit.losses[0]:
            self._warn("ended with a greater loss than it began with: lower learning_rate_init")

    def _warn(self, message: str) -> None:
        warnings.warn(f"{type(self).__name__} {message}", ConvergenceWarning, stacklevel=5)

    def _partial_fit_rows(self, rows: Rows, rate: Any, again: bool) -> None:
        """Train for one epoch that goes on where the last one ended."""
        before = getattr(self, "loss_curve_", []) if again else []
        start, state = self._start(rows.n_labels, again), self._state(again)
        tasks = Tasks(self, 1, {})
        callback = self._callback(tasks, start)
        fit = self._train(rows, start, rate, 1, before, callback=callback, state=state)
        tasks.close(lambda: self._reconstruction(*list(fit)[:2]))

    def _refuse_early_stopping(self) -> None:
        if self.early_stopping:
            raise ValueError("early_stopping: expected False with partial_fit, got True")

    def _callback(self, tasks: Tasks, start: Start) -> Callable[[EpochState], Any] | None:
        """Return what is called after each epoch: the user's function, and scikit-learn's."""
        own: Callable[[EpochState], Any] | None = self.callback
        if not tasks and not self.verbose:
            return own
        tasks.begin(lambda: self._reconstruction(*start.parameters))

        def told(state: EpochState) -> bool:
            if self.verbose:
                tqdm.write(_line(state))  # above a bar

            def reached() -> dict[str, Any]:
                return self._reconstruction(*state.parameters.values())

            last = asks_to_stop(own, state)
            return tasks.next(reached, last) or last

        return told

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # --- what comes of it ---------------------------------------------------------------------

    @abstractmethod
    def _shaped(self, weights: Any, bias: Any) -> dict[str, Any]:
        """Return copies of an engine's parameters, by name and of the shapes that users see."""

    def _reconstruction(self, weights: Any, bias: Any) -> dict[str, Any]:
        """Return what makes a fitted estimator, for scikit-learn's callbacks."""
        kept = {
            name: getattr(self, name)
            for name in ("n_features_in_", "feature_names_in_", "classes_")
            if hasattr(self, name)
        }
        return {**kept, **self._shaped(weights, bias)}

    def _keep_parameters(self, weights: Any, bias: Any) -> None:
        for name, value in self._shaped(weights, bias).items():
            setattr(self, name, value)

    def _keep_losses(self, losses: list[float]) -> None:
        self.loss_curve_ = losses
        self.n_iter_ = len(losses)

    def _keep(self, fit: NeuronFit | NetworkFit, losses: list[float]) -> None:
        weights, bias, new = fit
        self._keep_parameters(weights, bias)
        self._keep_losses([*losses, *new.tolist()])
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
        rows = X
        if isinstance(X, Rows):
            self._check_columns(X, reset=False)
        elif not (
            is_plain(X, 2)
            and X.shape[1] == self.n_features_in_
            and "feature_names_in_" not in self.__dict__
        ):
            # 100 microseconds, which a few rows of the usual kind are spared.
            rows = validate(self, X, reset=False, dtype=KINDS, accept_sparse="csr", **UNREAD)
            rows = SparseRows(rows, "X") if issparse(rows) else rows
        weights = np.asarray(self.coef_)
        if weights.ndim == 1 or len(weights) == 1:
            with self._telling(X):
                return predict_neuron(
                    rows,
                    weights if weights.ndim == 1 else weights[0],
                    float(np.ravel(self.intercept_)[0]),
                    activation=activation,
                )
        with self._telling(X):
            return predict_network(
                rows, [np.ascontiguousarray(weights.T)], [self.intercept_], activations=[activation]
            )


def _line(state: EpochState) -> str:
    """Return what is printed of an epoch."""
    text = f"Iteration {state.epoch + 1}, loss = {state.loss:.8f}"
    if state.validation_loss is not None:
        text += f", validation loss = {state.validation_loss:.8f}"
    return text
