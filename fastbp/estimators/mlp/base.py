"""What the classifier and the regressor share: scikit-learn's training, by fastbp's kernels."""

from __future__ import annotations

from functools import partial
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_is_fitted

from fastbp import arguments
from fastbp.arguments import FLOAT32, FLOAT64
from fastbp.data import checks
from fastbp.data.rows import Rows
from fastbp.estimators.base import COUNT, NOT_NEGATIVE, POSITIVE, Number, dtype_of
from fastbp.estimators.callbacks import Callbacks
from fastbp.estimators.mlp import network
from fastbp.estimators.mlp.exchange import Exchange
from fastbp.estimators.mlp.fitting import NOT_FINITE, Fit, Learned, check_stored
from fastbp.estimators.mlp.lbfgs import Lbfgs, problem_of
from fastbp.estimators.mlp.network import Data
from fastbp.estimators.mlp.stochastic import Stochastic
from fastbp.estimators.mlp.targets import Targets
from fastbp.estimators.names import HIDDEN
from fastbp.estimators.scikit_learn import (
    Options,
    StrOptions,
    check_sample_weight,
    fit_method,
    is_usual,
    validate,
)
from fastbp.models.layers import Layers
from fastbp.models.network_prediction import predicted_directly
from fastbp.training.lbfgs import Minimization
from fastbp.training.objective import objective
from fastbp.training.optimizers import OPTIMIZERS

CHECKS = {"accept_sparse": ["csr", "csc"], "dtype": (FLOAT64, FLOAT32)}


class BaseMLP(Exchange):
    """A multi-layer perceptron with scikit-learn's parameters and attributes."""

    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Exchange._parameter_constraints,
        "hidden_layer_sizes": ["array-like", COUNT],
        "activation": [StrOptions(set(HIDDEN))],
        "solver": [StrOptions(set(OPTIMIZERS))],
        "batch_size": [StrOptions({"auto"}), COUNT],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [POSITIVE],
        "power_t": [NOT_NEGATIVE],
        "shuffle": ["boolean"],
        "tol": [NOT_NEGATIVE],
        "momentum": [Number(Real, 0, 1, closed="both")],
        "validation_fraction": [Number(Real, 0, 1, closed="left")],
        "beta_1": [Number(Real, 0, 1, closed="left")],
        "beta_2": [Number(Real, 0, 1, closed="left")],
        "epsilon": [POSITIVE],
        "n_iter_no_change": [COUNT, Options(Real, {np.inf})],
        "max_fun": [COUNT],
        "keep_optimizer": ["boolean"],
    }

    @fit_method
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None
    ) -> Self:
        """Train.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            A classifier's classes, or rows of 0 and 1 for several labels; a regressor's numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Not negative, and not all 0. A batch without weight changes nothing.
        X_val, y_val : array-like, default=None
            Validation data for `validation_loss_curve_` and `early_stopping`, instead of rows
            held out. For the stochastic solvers.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            Data or parameters that are inconsistent, or parameters that stopped being finite:
            ``coefs_`` are then those from before that epoch.
        """
        return self._fit(X, y, sample_weight, X_val, y_val)

    # --- training --------------------------------------------------------------------------

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        X_val: Any,
        y_val: Any,
        incremental: bool = False,
        before: dict[str, Any] | None = None,
    ) -> Self:
        """Train; `before` are the attributes to go back to if the arguments are refused."""
        _refuse_rows(X)
        hidden = _hidden_sizes(self.hidden_layer_sizes)
        goes_on = hasattr(self, "coefs_") and (self.warm_start or incremental)
        epochs = 1 if incremental else self.max_iter
        callbacks = Callbacks(self, epochs, self._attributes, X, y, sample_weight)
        before = dict(vars(self)) if before is None else before
        try:
            data, targets = self._checked(X, y, sample_weight, goes_on, incremental)
            learned = Learned(self.__dict__ if goes_on else {})
            learned.begin(self, None if goes_on else hidden, data, targets)
            data = data.checked("y", learned.dtype)
            validation = self._given_validation(X_val, y_val, targets, learned.n_outputs_)
            if validation is not None:
                validation = validation.checked("y_val", learned.dtype)
            layers = self._layers(learned)
            fit = Fit(self, learned, layers, data, validation, targets, callbacks, incremental)
            training = Lbfgs(fit) if self.solver == "lbfgs" else Stochastic(fit)
        except BaseException:  # a fit that is refused, or interrupted by now, changes nothing
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        callbacks.publish = partial(learned.hand_over, self.__dict__)
        callbacks.publish()
        try:
            training.train()
        finally:
            callbacks.publish()
        parameters = *self.coefs_, *self.intercepts_
        if not all(checks.is_finite(a, a.dtype) or np.isfinite(a).all() for a in parameters):
            raise ValueError(NOT_FINITE)
        callbacks.close(self.coefs_, self.intercepts_)
        return self

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, goes_on: bool, incremental: bool
    ) -> tuple[Data, Targets]:
        """Return the rows to train on, and what their targets are."""
        reset = not goes_on or not hasattr(self, "n_features_in_")
        numeric = isinstance(self, RegressorMixin)
        if reset or not is_usual(self, X, y):
            X, y = validate(self, X, y, multi_output=True, y_numeric=numeric, reset=reset, **CHECKS)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        targets = self._targets(y, incremental)
        if sample_weight is not None:
            checks.refuse_special_objects("sample_weight", sample_weight)
            sample_weight = check_sample_weight(sample_weight, X)
        sample_weight = targets.weighted(y, sample_weight, incremental)
        return Data(X, targets.labels(y), sample_weight), targets

    def _targets(self, y: Any, incremental: bool) -> Targets:
        """Return what these targets are; a classifier notes its classes."""
        return self._known

    def _given_validation(self, X: Any, y: Any, targets: Targets, n_outputs: int) -> Data | None:
        if (X is None) != (y is None):
            raise ValueError("X_val, y_val: expected both or neither")
        if X is None:
            return None
        if self.solver == "lbfgs":
            raise ValueError("X_val: expected None with solver='lbfgs', which has no epochs")
        checks.refuse_special_objects("y_val", y)
        X = validate(self, X, name="X_val", reset=False, **CHECKS)
        return Data(X, targets.given_labels(y, X.shape[0], n_outputs), None)

    def _layers(self, learned: Any) -> Layers:
        """Return the layers of this estimator, or of what a fit of it has learned."""
        output = learned.out_activation_
        return network.layers_of(learned.coefs_, self.activation, output, self.loss)

    def _check_stored(self) -> None:
        _hidden_sizes(self.hidden_layer_sizes)
        check_stored(self)

    def _attributes(self, weights: Any, biases: Any) -> dict[str, Any]:
        """Return what an estimator must have to predict with these parameters."""
        copies = network.copied(weights, biases)
        return dict(zip(("coefs_", "intercepts_"), copies, strict=True))

    def _loss_grad_lbfgs(
        self, packed_coef_inter: np.ndarray, X: Any, y: Any, *rest: Any
    ) -> tuple[float, np.ndarray]:
        """Return loss and gradient at packed parameters, for targets (N, K).

        The name and the arguments are scikit-learn's, for code that relies on its internals; `rest`
        begins with the sample weights, from its release 1.7 on.
        """
        weight = rest[0] if rest and isinstance(rest[0], np.ndarray) else None
        data = Data(X, np.ascontiguousarray(y, dtype=np.float64), weight)
        problem = problem_of(self, self, self._layers(self), data)
        with objective(problem) as whole:
            return Minimization(whole, problem.parameters).evaluate(packed_coef_inter)

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
        usual = type(X) is np.ndarray and X.dtype in (FLOAT64, FLOAT32)
        if usual and "feature_names_in_" not in self.__dict__:
            # scikit-learn's checks take 100 microseconds; anything unusual is left to them
            codes = network.activation_codes(self.activation, output, len(self.coefs_))
            parameters = self.coefs_, self.intercepts_
            outputs = predicted_directly(X, *parameters, codes, X.dtype)
            if outputs is not None:
                return outputs
        _refuse_rows(X)
        X = validate(self, X, accept_sparse=["csr", "csc"], reset=False)
        coefs, intercepts = network.checked(self.coefs_, self.intercepts_, X.shape[1])
        layers = network.layers_of(coefs, self.activation, output, self.loss)
        dtype = dtype_of(X.dtype, *coefs, *intercepts)
        return network.outputs_of(X, layers, (coefs, intercepts), self.n_threads, dtype)


def _hidden_sizes(sizes: Any) -> list[int]:
    hidden = list(sizes) if np.iterable(sizes) else [sizes]
    whole = [arguments.integer("hidden_layer_sizes", n, minimum=-(2**62)) for n in hidden]
    if any(size <= 0 for size in whole):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
    return whole


def _refuse_rows(X: Any) -> None:
    """Refuse rows of a source, which scikit-learn would take for a single number."""
    if type(X) is not np.ndarray and isinstance(X, Rows):
        raise TypeError(
            "X: expected an array, a table or a sparse matrix, got rows of a source; those are for"
            " NeuronClassifier, NeuronRegressor and fit_network"
        )
