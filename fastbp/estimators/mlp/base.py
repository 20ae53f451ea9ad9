"""What the classifier and the regressor share: scikit-learn's training, by fastbp's kernels."""

from __future__ import annotations

import contextlib
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from scipy import sparse
from scipy.special import expit
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from fastbp.data import checks
from fastbp.data.arrays import Labelled, loaded_if_small, rows_of
from fastbp.data.labels import Samples
from fastbp.data.rows import Rows
from fastbp.data.sparse import CompressedRows, SparseRows, is_thin
from fastbp.estimators.mlp.exchange import from_sklearn, from_torch, to_torch
from fastbp.estimators.mlp.lbfgs import fit_lbfgs, objective
from fastbp.estimators.mlp.solver import Solver
from fastbp.estimators.mlp.stochastic import NOT_FINITE, Data, fit_stochastic
from fastbp.estimators.scikit_learn import (
    CallbackSupportMixin,
    Interval,
    Options,
    StrOptions,
    Tasks,
    check_sample_weight,
    validate,
)
from fastbp.estimators.stored import Stored
from fastbp.kernels import activations as codes
from fastbp.kernels import layout
from fastbp.kernels import losses as loss_codes
from fastbp.models.layers import Layers
from fastbp.models.prediction import predicted, predicted_as_it_is

STOCHASTIC = "sgd", "adam"
ACTIVATIONS = {
    "identity": codes.IDENTITY,
    "logistic": codes.SIGMOID,
    "tanh": codes.TANH,
    "relu": codes.RELU,
    "softmax": codes.SOFTMAX,
    "exp": codes.EXPONENTIAL,
}
# Those of scikit-learn are told its way, the others as the rest of fastbp tells them.
LOSSES = {
    "squared_error": (loss_codes.HALF_MSE, layout.SCIKIT_LEARN),
    "poisson": (loss_codes.HALF_POISSON_DEVIANCE, layout.SCIKIT_LEARN),
    "log_loss": (loss_codes.BCE, layout.SCIKIT_LEARN),  # with softmax cross-entropy
    "mse": (loss_codes.MSE, layout.OWN),
    "half_mse": (loss_codes.HALF_MSE, layout.OWN),
    "bce": (loss_codes.BCE, layout.OWN),
    "cross_entropy": (loss_codes.CROSS_ENTROPY, layout.OWN),
}
FLOATS = np.float64, np.float32
FEW = 2**14  # numbers of rows that are converted at once


class BaseMLP(CallbackSupportMixin, Stored, ABC):  # type: ignore[misc]
    """A multi-layer perceptron with scikit-learn's parameters and attributes."""

    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    best_loss_: float | None
    stopped_: str
    n_iter_: int
    _optimizer: Solver

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"identity", "logistic", "tanh", "relu"})],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "keep_optimizer": ["boolean"],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "callback": [callable, None],
        "progress": ["boolean", StrOptions({"always"})],
    }

    # --- other libraries -------------------------------------------------------------------

    @classmethod
    def from_sklearn(cls, model: Any) -> Self:
        """Return a model that goes on where one of scikit-learn's stands.

        Parameters
        ----------
        model : estimator
            Of scikit-learn's class of the same name, fitted or not. It is copied: parameters,
            all that it has learned, and its optimizer, so that `partial_fit` does what it would
            have done.

        Returns
        -------
        model : object

        Raises
        ------
        TypeError
            If it is something else.
        """
        made: Self = from_sklearn(cls, model)
        return made

    @classmethod
    def from_torch(cls, module: Any, *, classes: Any = None, **parameters: Any) -> Self:
        """Return a model with the layers of a PyTorch module.

        Parameters
        ----------
        module : torch.nn.Sequential
            Linear layers with one kind of activation for all hidden ones: ReLU, Tanh, Sigmoid or
            none. At the end nothing, Sigmoid or Softmax; a classifier takes what comes without
            one as the logits of its classes. Dropout and Flatten are passed over. Parameters that
            are neither float64 nor float32 become float32. (For several labels a row it must end
            with Sigmoid.)
        classes : array-like of shape (n_classes,), default=None
            A classifier's classes in rising order; by default numbers from 0. Two outputs become
            one, with the same probabilities. Not with a Sigmoid for each of several labels.
        **parameters
            Those of the estimator, such as `solver`.

        Returns
        -------
        model : object
            Fitted, but without curves: it can predict, and `partial_fit`, or `fit` with
            ``warm_start=True``, goes on; another `fit` begins anew.

        Raises
        ------
        TypeError, ValueError
            If the module is of another kind, or has other parts.
        """
        made: Self = from_torch(cls, module, classes, parameters)
        return made

    def to_torch(self, *, logits: bool = False) -> Any:
        """Return a PyTorch module that gives the same outputs.

        Parameters
        ----------
        logits : bool, default=False
            Whether to leave out the activation of the output.

        Returns
        -------
        module : torch.nn.Sequential
            Of the dtype of ``coefs_``. A classifier of two classes has one output, the
            probability of the second.

        Raises
        ------
        ImportError
            If PyTorch is not installed.
        ValueError
            If it has no module for the output: the exponential of the Poisson loss, and several
            classes told one against the rest, which need ``logits=True``.
        """
        check_is_fitted(self)
        return to_torch(self, logits)

    # --- what the two differ in ------------------------------------------------------------

    @abstractmethod
    def _validate_input(
        self, X: Any, y: Any, incremental: bool, reset: bool
    ) -> tuple[Any, np.ndarray]:
        """Return checked features and targets; a classifier notes its classes."""

    @abstractmethod
    def _labels(self, y: Any) -> np.ndarray:
        """Return targets as the kernels want them, (N, K), or (N, 1) class indices."""

    @abstractmethod
    def _output_activation(self) -> str:
        """Return the name of the output's activation."""

    @abstractmethod
    def _score_of(self, outputs: np.ndarray, labels: np.ndarray, weight: Any) -> float:
        """Return the score of outputs (N, K) on such labels."""

    def _class_weighted(self, y: Any, sample_weight: Any, incremental: bool) -> Any:
        """Return weights of samples with those of their classes."""
        return sample_weight

    # --- training --------------------------------------------------------------------------

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        X_val: Any = None,
        y_val: Any = None,
        incremental: bool = False,
    ) -> Self:
        refuse_rows(X)
        hidden = self._hidden_sizes()
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        tasks = Tasks(
            self, 1 if incremental else self.max_iter, _for_callbacks(X, y, sample_weight)
        )
        with unchanged_if_refused(self) as accept:
            reset = first_pass or not hasattr(self, "n_features_in_")
            X, y = self._validate_input(X, y, incremental, reset=reset)
            if sample_weight is not None:
                sample_weight = check_sample_weight(sample_weight, X)
            sample_weight = self._class_weighted(y, sample_weight, incremental)
            if sample_weight is not None:
                sample_weight = checks.sample_weights("sample_weight", sample_weight, X.shape[0])
            data = Data(X, self._labels(y), sample_weight)
            self._random_state = check_random_state(self.random_state)
            self._begin(first_pass, data, hidden)
            validation = self._given_validation(X_val, y_val)
            if self.solver == "lbfgs":
                fit_lbfgs(self, data, tasks, accept)
            else:
                fit_stochastic(self, data, validation, incremental, tasks, accept)
        if not all(np.isfinite(w).all() for w in (*self.coefs_, *self.intercepts_)):
            raise ValueError(NOT_FINITE)
        tasks.close(self._reconstruction)
        return self

    def _hidden_sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        hidden = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if np.any(np.array(hidden) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        return [operator.index(size) for size in hidden]

    def _begin(self, first_pass: bool, data: Data, hidden: list[int]) -> None:
        """Draw the start values of a new model; see to what an old one lacks, if it was set."""
        self.out_activation_ = self._output_activation()
        self.n_outputs_ = self._n_outputs(data.labels)
        n_features = data.X.shape[1]
        if first_pass:
            self._dtype = data.X.dtype.name
            sizes = [n_features, *hidden, self.n_outputs_]
            pairs = [self._drawn(n, m) for n, m in pairwise(sizes)]
            self.coefs_, self.intercepts_ = [w for w, _ in pairs], [b for _, b in pairs]
            for name in (*self._curves(), "n_iter_", "t_", "_best_coefs", "_best_intercepts"):
                self.__dict__.pop(name, None)
        else:
            self._check_layers(n_features)
            if self.coefs_[-1].shape[1] != self.n_outputs_:
                raise ValueError(
                    f"y: expected the {self.coefs_[-1].shape[1]} outputs that the model has, got"
                    f" {self.n_outputs_}"
                )
        self.n_layers_ = len(self.coefs_) + 1
        missing = {"n_iter_": 0, "t_": 0}
        if self.solver in STOCHASTIC:
            missing |= self._curves()
        for name, value in missing.items():
            self.__dict__.setdefault(name, value)

    def _curves(self) -> dict[str, Any]:
        """Return what is told of each epoch, for the beginning."""
        early = self.early_stopping
        return {
            "loss_curve_": [],
            "validation_loss_curve_": [],
            "validation_scores_": [] if early else None,
            "best_validation_score_": -np.inf if early else None,
            "best_loss_": None if early else np.inf,
            "_no_improvement_count": 0,
        }

    def _n_outputs(self, labels: np.ndarray) -> int:
        return int(labels.shape[1])

    def _drawn(self, n_inputs: int, n_outputs: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw a layer as scikit-learn does (Glorot and Bengio, AISTATS 2010)."""
        bound = np.sqrt((2.0 if self.activation == "logistic" else 6.0) / (n_inputs + n_outputs))
        w = self._random_state.uniform(-bound, bound, (n_inputs, n_outputs))
        b = self._random_state.uniform(-bound, bound, n_outputs)
        return w.astype(self._dtype, copy=False), b.astype(self._dtype, copy=False)

    def _check_layers(self, n_features: int) -> None:
        """Refuse layers that do not fit each other or the data: anybody may have set them."""
        if len(self.coefs_) != len(self.intercepts_) or not self.coefs_:
            raise ValueError(
                f"coefs_, intercepts_: expected one of each for each layer, got"
                f" {len(self.coefs_)} and {len(self.intercepts_)}"
            )
        self.coefs_ = [np.asarray(w) for w in self.coefs_]
        self.intercepts_ = [np.asarray(b) for b in self.intercepts_]
        if not hasattr(self, "_dtype"):
            kept = np.result_type(*self.coefs_, *self.intercepts_) == np.float32
            self._dtype = "float32" if kept else "float64"
        n_inputs = n_features
        for index, (w, b) in enumerate(zip(self.coefs_, self.intercepts_, strict=True)):
            if w.ndim != 2 or w.shape[0] != n_inputs or b.shape != (w.shape[1],):
                raise ValueError(
                    f"coefs_[{index}], intercepts_[{index}]: expected shapes ({n_inputs}, m) and"
                    f" (m,), got {w.shape} and {b.shape}"
                )
            n_inputs = w.shape[1]

    def _layers(self) -> Layers:
        """Return the layers as the kernels know them."""
        loss, report = LOSSES[self.loss]
        if self.out_activation_ == "softmax":
            loss = loss_codes.CROSS_ENTROPY
        sizes = (self.coefs_[0].shape[0], *(w.shape[1] for w in self.coefs_))
        hidden = (ACTIVATIONS[self.activation],) * (len(self.coefs_) - 1)
        return Layers(sizes, (*hidden, ACTIVATIONS[self.out_activation_]), loss, report)

    def _samples(self, data: Data) -> Samples:
        classes = data.labels.shape[1] == 1 < self.n_outputs_
        sparse_rows = self._stays_sparse(data.X)
        rows = CompressedRows(data.X.tocsr(), "X") if sparse_rows else _rows(data.X)
        return Samples(Labelled(rows, data.labels, data.weight), classes, None)

    def _stays_sparse(self, X: Any) -> bool:
        """Return whether rows go to the kernels compressed."""
        return sparse.issparse(X) and len(self.coefs_) > 1 and is_thin(X)

    def _given_validation(self, X: Any, y: Any) -> Data | None:
        if (X is None) != (y is None):
            raise ValueError("X_val, y_val: expected both or neither")
        if X is None:
            return None
        if self.solver == "lbfgs":
            raise ValueError("X_val: expected None with solver='lbfgs', which has no epochs")
        X = validate(self, X, reset=False, accept_sparse=["csr", "csc"], dtype=FLOATS)
        return Data(X, self._validation_labels(y, X.shape[0]), None)

    @abstractmethod
    def _validation_labels(self, y: Any, n_rows: int) -> np.ndarray:
        """Return the labels of given validation data."""

    def _stratifies(self) -> bool:
        return False

    def _set(self, coefs: list[np.ndarray], intercepts: list[np.ndarray]) -> None:
        self.coefs_, self.intercepts_ = self._cast(coefs, intercepts)

    def _keep_best(self, coefs: list[np.ndarray], intercepts: list[np.ndarray]) -> None:
        self._best_coefs, self._best_intercepts = self._cast(coefs, intercepts)

    def _cast(
        self, coefs: list[np.ndarray], intercepts: list[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return copies in the dtype of the features that the model was made for.

        In float64 they are views of one vector, which predictions need not copy.
        """
        if self._dtype == "float64":
            layers = Layers((len(coefs[0]), *(w.shape[1] for w in coefs)), (0,) * len(coefs), 0)
            named = layers.named(layers.flat(coefs, intercepts))
            return named["weights"], named["biases"]
        return [w.astype(self._dtype) for w in coefs], [b.astype(self._dtype) for b in intercepts]

    def _reconstruction(self, coefs: Any = None, intercepts: Any = None) -> dict[str, Any]:
        """Return what an estimator must have to predict with these parameters, or its own."""
        if coefs is None:
            coefs, intercepts = self.coefs_, self.intercepts_
        found = self._cast(coefs, intercepts)
        return {"coefs_": found[0], "intercepts_": found[1]}

    def _loss_grad_lbfgs(
        self, packed_coef_inter: np.ndarray, X: Any, y: Any, *rest: Any
    ) -> tuple[float, np.ndarray]:
        """Return loss and gradient at packed parameters, for targets (N, K).

        The name and the arguments are scikit-learn's, for what looks at its inside; `rest` begins
        with the weights of the samples, from its release 1.7 on.
        """
        labels = np.ascontiguousarray(y, dtype=np.float64)
        weight = rest[0] if rest and isinstance(rest[0], np.ndarray) else None
        with objective(self, Data(X, labels, weight), 1) as (evaluate, _):
            return evaluate(packed_coef_inter)

    # --- prediction ------------------------------------------------------------------------

    def _outputs(self, X: Any, out_activation: str | None = None) -> np.ndarray:
        """Return the outputs (N, K) of features that may be anything, or their pre-activations."""
        if "coefs_" not in self.__dict__ or "out_activation_" not in self.__dict__:
            check_is_fitted(self, ["coefs_", "out_activation_"])
        hidden = (ACTIVATIONS[self.activation],) * (len(self.coefs_) - 1)
        numbers = (*hidden, ACTIVATIONS[out_activation or self.out_activation_])
        if type(X) is np.ndarray and "feature_names_in_" not in self.__dict__:
            # scikit-learn's checks take 100 microseconds; what is not right here is left to them
            outputs = self._outputs_of_few(X, numbers)
            if outputs is not None:
                return outputs
        refuse_rows(X)
        X = validate(self, X, accept_sparse=["csr", "csc"], reset=False)
        self._check_layers(X.shape[1])
        layers = replace(self._layers(), activations=numbers)
        outputs = self._predicted(X, layers, *self._as_float64())
        single = np.result_type(X.dtype, *self.coefs_) == np.float32
        return outputs.astype(np.float32) if single else outputs

    def _predicted(
        self, X: Any, layers: Layers, coefs: list[np.ndarray], intercepts: list[np.ndarray]
    ) -> np.ndarray:
        """Return the outputs; of thin sparse rows, the first layer is SciPy's product."""
        if self._stays_sparse(X):
            z = X @ coefs[0] + intercepts[0]
            phi = {"logistic": expit, "tanh": np.tanh, "relu": relu}.get(self.activation)
            X = z if phi is None else phi(z, out=z)
            layers = replace(layers, sizes=layers.sizes[1:], activations=layers.activations[1:])
            coefs, intercepts = coefs[1:], intercepts[1:]
        return predicted(_rows(X), layers, coefs, intercepts, self.n_threads)

    def _outputs_of_few(self, X: np.ndarray, numbers: tuple[int, ...]) -> np.ndarray | None:
        """Return the outputs of rows that need no check, if they are few."""
        if X.dtype == np.float64:
            return predicted_as_it_is(X, self.coefs_, self.intercepts_, numbers)
        if X.dtype != np.float32 or X.size > FEW or self._dtype != "float32":
            return None
        outputs = predicted_as_it_is(X.astype(np.float64), *self._as_float64(), numbers)
        return None if outputs is None else outputs.astype(np.float32)

    def _as_float64(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        coefs = [np.asarray(w, dtype=np.float64) for w in self.coefs_]
        return coefs, [np.asarray(b, dtype=np.float64) for b in self.intercepts_]

    def _is_stochastic(self) -> bool:
        if self.solver not in STOCHASTIC:
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers."
                f" {self.solver} is not stochastic."
            )
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


@contextlib.contextmanager
def unchanged_if_refused(model: Any) -> Iterator[Callable[[], None]]:
    """Undo what a fit has set if it raises before training begins: nothing learned is lost.

    It gives the function to call when all has been checked.
    """
    before, accepted = dict(vars(model)), False

    def accept() -> None:
        nonlocal accepted
        accepted = True

    try:
        yield accept
    except Exception:
        if not accepted:
            vars(model).clear()
            vars(model).update(before)
        raise


def relu(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Return max(x, 0); OUT out."""
    result: np.ndarray = np.maximum(x, 0.0, out=out)
    return result


def refuse_rows(X: Any) -> None:
    """Refuse rows of a source, which scikit-learn would take for a single number."""
    if isinstance(X, Rows):
        raise TypeError(
            "X: expected an array, a table or a sparse matrix, got rows of a source; those are for"
            " NeuronClassifier, NeuronRegressor and fit_network"
        )


def _rows(X: Any) -> Rows:
    if not sparse.issparse(X):
        return rows_of("X", X)
    return loaded_if_small(SparseRows(X.tocsr(), "X"))


def _for_callbacks(X: Any, y: Any, sample_weight: Any) -> dict[str, Any]:
    metadata = None if sample_weight is None else {"sample_weight": sample_weight}
    return {"X": X, "y": y, "metadata": metadata}
