"""Perceptrons made of models of scikit-learn and PyTorch, and turned into PyTorch's."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn import neural_network
from sklearn.base import RegressorMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import check_is_fitted

from fastbp import arguments
from fastbp.estimators.base import Estimator
from fastbp.estimators.mlp.network import Parameters, checked, copied, flat
from fastbp.estimators.mlp.solver import Solver
from fastbp.estimators.mlp.targets import Targets
from fastbp.estimators.names import HIDDEN, OUTPUTS, TORCH
from fastbp.kernels.activations import LEAK
from fastbp.training.optimizers import SGD, Adam

HIDDEN_OF_TORCH = {TORCH[name]: name for name in HIDDEN if name in TORCH}
NOTHING_TO_DO = "Dropout", "Flatten"  # when a model predicts


class Exchange(Estimator):
    """A perceptron that can be made of other libraries' models, and turned into them."""

    out_activation_: str

    @property
    @abstractmethod
    def _known(self) -> Targets:
        """What the targets are, as far as that is known."""

    @property
    def _one_vs_rest(self) -> bool:
        """Whether several outputs are one-vs-rest."""
        return self._known.many and self.out_activation_ == "logistic"

    @classmethod
    def from_sklearn(cls, model: Any) -> Self:
        """Return a model that continues where a scikit-learn model left off.

        Parameters
        ----------
        model : estimator
            One of scikit-learn's class of the same name, fitted or not. Its parameters, all that it
            has learned, and its optimizer are copied: `partial_fit` continues as it would have.

        Returns
        -------
        model : object

        Raises
        ------
        TypeError
            If it is something else.
        """
        parameters, learned = _read_sklearn(cls.__name__, model)
        made = cls(**parameters)
        made.__dict__.update(learned)
        return made

    @classmethod
    def from_torch(cls, module: Any, *, classes: Any = None, **parameters: Any) -> Self:
        """Return a model with the layers of a PyTorch module.

        Parameters
        ----------
        module : torch.nn.Sequential
            Linear layers with the same activation after all hidden ones: ReLU, Tanh, Sigmoid or
            another that the estimator has, or none. At the end nothing, Sigmoid or Softmax; a
            classifier takes outputs without one as the logits of its classes, and several labels
            per row (multilabel) need Sigmoid. A regressor with the loss "bce" or "poisson" takes
            them as what its sigmoid or exponential is of, as PyTorch's losses do. Dropout and
            Flatten are skipped. Parameters that are neither float64 nor float32 become float32.
        classes : array-like of shape (n_classes,), default=None
            A classifier's classes in ascending order; by default numbers from 0. Two outputs become
            one, with the same probabilities. Not with a Sigmoid for each of several labels.
        **parameters
            Those of the estimator, such as `solver`.

        Returns
        -------
        model : object
            Fitted, but without curves: it can predict, and `partial_fit`, or `fit` with
            ``warm_start=True``, continues; another `fit` starts over.

        Raises
        ------
        TypeError, ValueError
            If the module is of another kind, or has other parts.
        """
        for name in ("hidden_layer_sizes", "activation"):
            if name in parameters:
                raise TypeError(f"{name}: expected none, since the module has it")
        found = _read_module(module)
        numeric = issubclass(cls, RegressorMixin)
        if numeric and classes is not None:
            raise TypeError("classes: expected None for a regressor")
        if numeric:
            parameters |= found.loss(parameters.get("loss"))
        sizes = tuple(w.shape[1] for w in found.coefs[:-1])
        made = cls(hidden_layer_sizes=sizes, activation=found.activation, **parameters)
        if not numeric:
            made._know(found.binarizer(classes))
        made.n_features_in_ = found.coefs[0].shape[0]
        made.coefs_, made.intercepts_ = checked(found.coefs, found.intercepts, made.n_features_in_)
        made.n_outputs_, made.n_layers_ = found.coefs[-1].shape[1], len(found.coefs) + 1
        made.out_activation_ = made._known.out_activation
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
            In the dtype of ``coefs_``. A classifier of two classes has one output, the
            probability of the second.

        Raises
        ------
        ImportError
            If PyTorch is not installed.
        ValueError
            If it has no module for an activation. The exponential of the Poisson loss and several
            one-vs-rest classes need ``logits=True``.
        """
        check_is_fitted(self)
        if self.activation not in TORCH:
            raise ValueError(
                f"activation: expected one that PyTorch has a module for, got {self.activation!r}"
            )
        if not logits and self.out_activation_ == "exp":
            raise ValueError(
                "logits: expected True with loss='poisson': PyTorch has no module for the"
                " exponential"
            )
        if not logits and self._one_vs_rest:
            raise ValueError(
                "logits: expected True for one-vs-rest classes: PyTorch has no module that divides"
                " by the sum"
            )
        coefs, intercepts = checked(self.coefs_, self.intercepts_, len(self.coefs_[0]))
        output = "identity" if logits else self.out_activation_
        return _sequential(copied(coefs, intercepts), self.activation, output)


# --- scikit-learn -------------------------------------------------------------------------------


def _read_sklearn(name: str, model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters of a model of scikit-learn's class, and all that it has learned."""
    if not isinstance(model, getattr(neural_network, name)):
        raise TypeError(
            f"model: expected scikit-learn's {name}, got"
            f" {type(model).__module__}.{type(model).__name__}"
        )
    parameters = model.get_params(deep=False)
    learned = {
        name: copy.deepcopy(value)
        for name, value in vars(model).items()
        if name not in parameters and name != "_optimizer" and not name.startswith("_skl")
    }
    if "coefs_" in learned:
        if "loss_curve_" in learned:
            learned["validation_loss_curve_"] = []
        if hasattr(model, "_optimizer"):
            learned["_optimizer"] = _solver_from(model._optimizer, len(learned["coefs_"]))
    return copy.deepcopy(parameters), learned


def _solver_from(optimizer: Any, n_layers: int) -> Solver:
    """Return scikit-learn's optimizer as ours, with its moments."""

    def moment(arrays: list[np.ndarray]) -> np.ndarray:
        return flat(arrays[:n_layers], arrays[n_layers:])

    begun = optimizer.learning_rate_init
    if hasattr(optimizer, "velocities"):
        rule = SGD(momentum=optimizer.momentum, nesterov=bool(optimizer.nesterov))
        rates = optimizer.learning_rate, optimizer.lr_schedule, optimizer.power_t
        moments = moment(optimizer.velocities)[None][: rule.n_moments]
        return Solver(rule, begun, *rates, moments=moments)
    beta_1, beta_2 = optimizer.beta_1, optimizer.beta_2
    adam = Adam(beta_1=beta_1, beta_2=beta_2, epsilon=optimizer.epsilon)
    moments = np.stack([moment(optimizer.ms), moment(optimizer.vs)])
    powers = beta_1**optimizer.t, beta_2**optimizer.t
    return Solver(adam, begun, begun, moments=moments, powers=powers)


# --- PyTorch ------------------------------------------------------------------------------------


@dataclass(eq=False)
class Module:
    """What a PyTorch module is made of.

    Attributes
    ----------
    coefs, intercepts : list of numpy.ndarray
    activation : str
        That of the hidden layers.
    last : str or None
        PyTorch's name of the output's activation, if it has one.
    """

    coefs: list[np.ndarray]
    intercepts: list[np.ndarray]
    activation: str
    last: str | None

    def binarizer(self, classes: Any) -> LabelBinarizer:
        """Return the classes of a classifier.

        Two outputs of a softmax become one of a sigmoid.
        """
        n = self.coefs[-1].shape[1]
        if self.last not in (None, "Sigmoid", "Softmax") or (n == 1 and self.last == "Softmax"):
            raise ValueError(
                "module: expected nothing, Sigmoid, or Softmax of several outputs, at the end of"
                f" a classifier, got {self.last} of {n}"
            )
        if n > 1 and self.last == "Sigmoid":
            if classes is not None:
                raise ValueError(
                    "classes: expected None for several labels per row (a Sigmoid of each)"
                )
            return LabelBinarizer().fit(np.array([[0] * n, [1] * n]))
        if n == 2:  # e**z1/(e**z0 + e**z1) = 1/(1 + e**-(z1 - z0))
            w, b = self.coefs[-1], self.intercepts[-1]
            self.coefs[-1], self.intercepts[-1] = w[:, 1:] - w[:, :1], b[1:] - b[:1]
        n = max(n, 2)
        known = np.arange(n) if classes is None else np.asarray(classes)
        if known.shape != (n,) or np.any(known[1:] <= known[:-1]):
            raise ValueError(
                f"classes: expected {n} classes in ascending order, got"
                f" {arguments.describe(classes)}"
            )
        return LabelBinarizer().fit(known)

    def loss(self, given: str | None) -> dict[str, str]:
        """Return a regressor's loss, where only one goes with the output's activation."""
        own = {TORCH[name]: loss for loss, name in reversed(OUTPUTS.items()) if name in TORCH}
        if self.last is None:
            return {}
        if self.last not in own:
            raise ValueError(f"module: expected a linear output for a regressor, got {self.last}")
        loss = own[self.last]
        if given not in (None, loss):
            raise ValueError(f"loss: expected {loss!r} with {self.last} at the end, got {given!r}")
        return {"loss": loss}


def _read_module(module: Any) -> Module:
    """Return what a Sequential is made of."""
    coefs: list[np.ndarray] = []
    intercepts: list[np.ndarray] = []
    after: list[str | None] = []  # each layer's activation
    for number, part in enumerate(_parts(module)):
        name = type(part).__name__
        if name == "Linear":
            w = _array(part.weight).T.copy()
            coefs.append(w)
            bias = part.bias
            intercepts.append(np.zeros(w.shape[1], w.dtype) if bias is None else _array(bias))
            after.append(None)
        elif _is_activation(part) and after and after[-1] is None:
            after[-1] = name
        elif name not in NOTHING_TO_DO:
            raise ValueError(
                f"module: expected Linear layers, each followed by {', '.join(HIDDEN_OF_TORCH)} or"
                " nothing, and Softmax(dim=1) at the end at most, got"
                f" {arguments.describe(part)} as part {number}"
            )
    hidden = {HIDDEN_OF_TORCH.get(name or "Identity", "softmax") for name in after[:-1]}
    if not coefs or len(hidden) > 1 or "softmax" in hidden:
        raise ValueError(
            "module: expected Linear layers with one activation for all hidden ones, got"
            f" {len(coefs)} with {sorted(hidden)}"
        )
    activation = hidden.pop() if hidden else "relu"
    return Module(coefs, intercepts, activation, None if after[-1] == "Identity" else after[-1])


def _is_activation(part: Any) -> bool:
    name = type(part).__name__
    if name == "Softmax":
        return part.dim in (1, -1)
    own = {"beta": 1, "threshold": 20, "negative_slope": LEAK, "alpha": 1.0, "approximate": "none"}
    usual = all(getattr(part, name, value) == value for name, value in own.items())
    return name in HIDDEN_OF_TORCH and usual


def _parts(module: Any) -> Iterator[Any]:
    """Yield the modules of a Sequential in order, those of Sequentials in it as well."""
    if not _is_sequential(module):
        raise TypeError(f"module: expected torch.nn.Sequential, got {arguments.describe(module)}")
    for child in module:  # unlike `children()`, with all that is there twice
        yield from _parts(child) if _is_sequential(child) else [child]


def _is_sequential(module: Any) -> bool:
    return any(kind.__name__ == "Sequential" for kind in type(module).__mro__)


def _array(parameter: Any) -> np.ndarray:
    """Return a parameter as float64 if it is that, as float32 otherwise."""
    tensor = parameter.detach().cpu()
    wide = str(tensor.dtype) == "torch.float64"
    return np.array((tensor.double() if wide else tensor.float()).numpy())


def _sequential(parameters: Parameters, activation: str, out_activation: str) -> Any:
    """Return a Sequential of these layers, with "identity" at its end left out."""
    import torch

    parts: list[Any] = []
    for w, b in zip(*parameters, strict=True):
        n_inputs, n_outputs = w.shape
        linear = torch.nn.Linear(n_inputs, n_outputs, dtype=torch.from_numpy(w[:1]).dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T.copy()))
            linear.bias.copy_(torch.from_numpy(b.copy()))
        parts += [linear, getattr(torch.nn, TORCH[activation])()]
    parts.pop()
    if out_activation == "softmax":
        parts.append(torch.nn.Softmax(dim=1))
    elif out_activation != "identity":
        parts.append(getattr(torch.nn, TORCH[out_activation])())
    return torch.nn.Sequential(*parts)
