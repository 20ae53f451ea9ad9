"""What the classifier and the regressor share: scikit-learn's training, by fastbp's kernels."""

from __future__ import annotations

import operator
from abc import abstractmethod
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin, is_regressor
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_is_fitted

from fastbp.data import checks
from fastbp.data.rows import Rows
from fastbp.estimators.base import Estimator
from fastbp.estimators.callbacks import Callbacks
from fastbp.estimators.mlp import exchange
from fastbp.estimators.mlp.fitting import NOT_FINITE, Fit, Learned
from fastbp.estimators.mlp.lbfgs import Lbfgs, WholeLoss
from fastbp.estimators.mlp.network import (
    Data,
    Parameters,
    activation_codes,
    checked,
    copied,
    dtype_of,
    layers_of,
    outputs_of,
)
from fastbp.estimators.mlp.stochastic import Stochastic
from fastbp.estimators.mlp.targets import Targets
from fastbp.estimators.names import HIDDEN, OPTIMIZERS
from fastbp.estimators.scikit_learn import (
    Interval,
    Options,
    StrOptions,
    check_sample_weight,
    validate,
)
from fastbp.models.layers import Layers
from fastbp.models.prediction import predicted_as_it_is

CHECKS = {"accept_sparse": ["csr", "csc"], "dtype": (np.float64, np.float32)}
FEW = 2**14  # numbers of rows that are converted at once


class BaseMLP(Estimator):
    """A multi-layer perceptron with scikit-learn's parameters and attributes."""

    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    out_activation_: str
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Estimator._parameter_constraints,
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(HIDDEN))],
        "solver": [StrOptions({"lbfgs", *OPTIMIZERS})],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "momentum": [Interval(Real, 0, 1, closed="both")],
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
        parameters, learned = exchange.from_sklearn(cls.__name__, model)
        made = cls(**parameters)
        made.__dict__.update(learned)
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
        for name in ("hidden_layer_sizes", "activation"):
            if name in parameters:
                raise TypeError(f"{name}: expected none, since the module has it")
        found = exchange.read_module(module)
        if issubclass(cls, RegressorMixin):
            parameters |= found.loss(parameters.get("loss"))
        sizes = tuple(w.shape[1] for w in found.coefs[:-1])
        made = cls(hidden_layer_sizes=sizes, activation=found.activation, **parameters)
        targets = made._targets_of(found, classes)
        made.n_features_in_ = found.coefs[0].shape[0]
        made.coefs_, made.intercepts_ = checked(found.coefs, found.intercepts, made.n_features_in_)
        made._dtype = dtype_of(made.coefs_, made.intercepts_)
        made.n_outputs_, made.n_layers_ = found.coefs[-1].shape[1], len(found.coefs) + 1
        made.out_activation_ = targets.out_activation
        if found.last == "Softmax" and made.n_outputs_ > 1 and made.out_activation_ != "softmax":
            raise ValueError(f"loss: expected one for a Softmax at the end, got {made.loss!r}")
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
        if not logits and self.out_activation_ == "exp":
            raise ValueError(
                "logits: expected True with loss='poisson': PyTorch has no module for the"
                " exponential"
            )
        if not logits and self._one_against_rest:
            raise ValueError(
                "logits: expected True for one class against the rest: PyTorch has no module that"
                " divides by the sum"
            )
        coefs, intercepts = checked(self.coefs_, self.intercepts_, len(self.coefs_[0]))
        output = "identity" if logits else self.out_activation_
        return exchange.to_torch(copied(coefs, intercepts, self._dtype), self.activation, output)

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
        _refuse_rows(X)
        hidden = _hidden_sizes(self.hidden_layer_sizes)
        goes_on = hasattr(self, "coefs_") and (self.warm_start or incremental)
        epochs = 1 if incremental else self.max_iter
        callbacks = Callbacks(self, epochs, self._attributes, X, y, sample_weight)
        before = dict(vars(self))
        try:
            data, targets = self._checked(X, y, sample_weight, goes_on, incremental)
            learned = Learned(self.__dict__)
            learned.begin(self, None if goes_on else hidden, data, targets)
            validation = self._given_validation(X_val, y_val, targets, learned.n_outputs_)
            publish = partial(learned.hand_over, self.__dict__)
            fit = Fit(self, learned, self._layers(learned), data, callbacks, publish)
            training: Lbfgs | Stochastic
            if self.solver == "lbfgs":
                training = Lbfgs(fit)
            else:
                training = Stochastic(fit, validation, targets, incremental)
        except Exception:  # a fit that is refused changes nothing
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        publish()
        try:
            training.train()
        finally:
            publish()
        if not all(np.isfinite(array).all() for array in (*self.coefs_, *self.intercepts_)):
            raise ValueError(NOT_FINITE)
        callbacks.close(self.coefs_, self.intercepts_)
        return self

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, goes_on: bool, incremental: bool
    ) -> tuple[Data, Targets]:
        """Return the rows to train on, and what their targets are."""
        reset = not goes_on or not hasattr(self, "n_features_in_")
        numeric = is_regressor(self)
        X, y = validate(self, X, y, multi_output=True, y_numeric=numeric, reset=reset, **CHECKS)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        targets = self._targets(y, incremental)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
        sample_weight = targets.weighted(y, sample_weight, incremental)
        if sample_weight is not None:
            sample_weight = checks.sample_weights("sample_weight", sample_weight, X.shape[0])
        return Data(X, targets.labels(y), sample_weight), targets

    @abstractmethod
    def _targets(self, y: Any, incremental: bool) -> Targets:
        """Return what these targets are; a classifier notes its classes."""

    @abstractmethod
    def _targets_of(self, module: exchange.Module, classes: Any) -> Targets:
        """Return those that go with the output of a PyTorch module."""

    def _given_validation(self, X: Any, y: Any, targets: Targets, n_outputs: int) -> Data | None:
        if (X is None) != (y is None):
            raise ValueError("X_val, y_val: expected both or neither")
        if X is None:
            return None
        if self.solver == "lbfgs":
            raise ValueError("X_val: expected None with solver='lbfgs', which has no epochs")
        X = validate(self, X, reset=False, **CHECKS)
        return Data(X, targets.given_labels(y, X.shape[0], n_outputs), None)

    @property
    def _one_against_rest(self) -> bool:
        """Whether several outputs tell one class against the rest each."""
        return False

    def _layers(self, learned: Any) -> Layers:
        """Return the layers of this estimator, or of what a fit of it has learned."""
        return layers_of(learned.coefs_, self.activation, learned.out_activation_, self.loss)

    def _attributes(self, weights: Any, biases: Any) -> dict[str, Any]:
        """Return what an estimator must have to predict with these parameters."""
        coefs, intercepts = copied(weights, biases, self._dtype)
        return {"coefs_": coefs, "intercepts_": intercepts}

    def _loss_grad_lbfgs(
        self, packed_coef_inter: np.ndarray, X: Any, y: Any, *rest: Any
    ) -> tuple[float, np.ndarray]:
        """Return loss and gradient at packed parameters, for targets (N, K).

        The name and the arguments are scikit-learn's, for what looks at its inside; `rest` begins
        with the weights of the samples, from its release 1.7 on.
        """
        weight = rest[0] if rest and isinstance(rest[0], np.ndarray) else None
        data = Data(X, np.ascontiguousarray(y, dtype=np.float64), weight)
        loss = WholeLoss(self, self._layers(self), self.coefs_, self.intercepts_, data, 1)
        with loss.function() as evaluate:
            return evaluate(packed_coef_inter)

    def _is_stochastic(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers."
                f" {self.solver} is not stochastic."
            )
        return True

    # --- prediction ------------------------------------------------------------------------

    def _outputs(self, X: Any, out_activation: str | None = None) -> np.ndarray:
        """Return the outputs (N, K) of features that may be anything, or their pre-activations."""
        if "coefs_" not in self.__dict__ or "out_activation_" not in self.__dict__:
            check_is_fitted(self, ["coefs_", "out_activation_"])
        output = out_activation or self.out_activation_
        if type(X) is np.ndarray and "feature_names_in_" not in self.__dict__:
            # scikit-learn's checks take 100 microseconds; what is not right here is left to them
            outputs = self._outputs_of_few(X, output)
            if outputs is not None:
                return outputs
        _refuse_rows(X)
        X = validate(self, X, accept_sparse=["csr", "csc"], reset=False)
        coefs, intercepts = checked(self.coefs_, self.intercepts_, X.shape[1])
        layers = layers_of(coefs, self.activation, output, self.loss)
        outputs = outputs_of(X, layers, *_as_float64(coefs, intercepts), self.n_threads)
        single = np.result_type(X.dtype, *coefs) == np.float32
        return outputs.astype(np.float32) if single else outputs

    def _outputs_of_few(self, X: np.ndarray, output: str) -> np.ndarray | None:
        """Return the outputs of rows that need no check, if they are few."""
        activations = activation_codes(self.activation, output, len(self.coefs_))
        if X.dtype == np.float64:
            return predicted_as_it_is(X, self.coefs_, self.intercepts_, activations)
        if X.dtype != np.float32 or X.size > FEW or self._dtype != "float32":
            return None
        parameters = _as_float64(self.coefs_, self.intercepts_)
        outputs = predicted_as_it_is(X.astype(np.float64), *parameters, activations)
        return None if outputs is None else outputs.astype(np.float32)


def _as_float64(coefs: list[np.ndarray], intercepts: list[np.ndarray]) -> Parameters:
    coefs = [np.asarray(w, dtype=np.float64) for w in coefs]
    return coefs, [np.asarray(b, dtype=np.float64) for b in intercepts]


def _hidden_sizes(sizes: Any) -> list[int]:
    hidden = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    if np.any(np.array(hidden) <= 0):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
    return [operator.index(size) for size in hidden]


def _refuse_rows(X: Any) -> None:
    """Refuse rows of a source, which scikit-learn would take for a single number."""
    if isinstance(X, Rows):
        raise TypeError(
            "X: expected an array, a table or a sparse matrix, got rows of a source; those are for"
            " NeuronClassifier, NeuronRegressor and fit_network"
        )
