"""Models of scikit-learn and PyTorch made into ours, and ours into PyTorch's."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn import neural_network
from sklearn.base import is_classifier
from sklearn.preprocessing import LabelBinarizer

from fastbp import arguments
from fastbp.estimators.mlp.solver import Solver
from fastbp.training.optimizers import SGD, Adam

if TYPE_CHECKING:
    from fastbp.estimators.mlp.base import BaseMLP

# names of PyTorch's modules
ACTIVATIONS = {"ReLU": "relu", "Tanh": "tanh", "Sigmoid": "logistic", "Identity": "identity"}
MODULES = {name: module for module, name in ACTIVATIONS.items()}
NOTHING_TO_DO = "Dropout", "Flatten"  # when a model predicts


# --- scikit-learn -------------------------------------------------------------------------------


def from_sklearn(kind: type[BaseMLP], model: Any) -> Any:
    """Return a model of ours with everything that one of scikit-learn's has learned."""
    theirs = getattr(neural_network, kind.__name__)
    if not isinstance(model, theirs):
        raise TypeError(
            f"model: expected scikit-learn's {kind.__name__}, got"
            f" {type(model).__module__}.{type(model).__name__}"
        )
    parameters = model.get_params(deep=False)
    ours = kind(**copy.deepcopy(parameters))
    for name, value in vars(model).items():
        if name not in parameters and name != "_optimizer" and not name.startswith("_skl"):
            setattr(ours, name, copy.deepcopy(value))
    if hasattr(ours, "coefs_"):
        ours._dtype = ours.coefs_[0].dtype.name
        if hasattr(ours, "loss_curve_"):
            ours.validation_loss_curve_ = []
        if hasattr(model, "_optimizer"):
            ours._optimizer = _solver_from(model._optimizer, ours)
    return ours


def _solver_from(optimizer: Any, ours: BaseMLP) -> Solver:
    """Return scikit-learn's optimizer as ours, with its running means."""
    layers = ours._layers()
    n = len(ours.coefs_)

    def flat(arrays: list[np.ndarray]) -> np.ndarray:
        return layers.flat(arrays[:n], arrays[n:])

    if hasattr(optimizer, "velocities"):
        rule: SGD | Adam = SGD(momentum=optimizer.momentum, nesterov=bool(optimizer.nesterov))
        return Solver(
            rule,
            optimizer.learning_rate_init,
            optimizer.learning_rate,
            optimizer.lr_schedule,
            optimizer.power_t,
            moments=flat(optimizer.velocities)[None][: rule.n_moments],
        )
    beta_1, beta_2 = optimizer.beta_1, optimizer.beta_2
    return Solver(
        Adam(beta_1=beta_1, beta_2=beta_2, epsilon=optimizer.epsilon),
        optimizer.learning_rate_init,
        optimizer.learning_rate_init,
        moments=np.stack([flat(optimizer.ms), flat(optimizer.vs)]),
        powers=(beta_1**optimizer.t, beta_2**optimizer.t),
    )


# --- PyTorch ------------------------------------------------------------------------------------


def from_torch(kind: type[BaseMLP], module: Any, classes: Any, parameters: dict[str, Any]) -> Any:
    """Return a model of ours with the layers of a PyTorch module."""
    for name in ("hidden_layer_sizes", "activation"):
        if name in parameters:
            raise TypeError(f"{name}: expected none, since the module has it")
    coefs, intercepts, hidden, last = _read(module)
    sizes = tuple(w.shape[1] for w in coefs[:-1])
    model = kind(hidden_layer_sizes=sizes, activation=hidden, **parameters)
    if is_classifier(model):
        _set_classes(model, classes, coefs, intercepts, last)
    elif classes is not None:
        raise TypeError("classes: expected None for a regressor")
    else:
        _set_loss(model, last, "loss" in parameters)
    model.coefs_, model.intercepts_ = coefs, intercepts
    model._check_layers(coefs[0].shape[0])
    model.n_features_in_ = coefs[0].shape[0]
    model.n_outputs_ = coefs[-1].shape[1]
    model.n_layers_ = len(coefs) + 1
    model.out_activation_ = model._output_activation()
    if last == "Softmax" and model.n_outputs_ > 1 and model.out_activation_ != "softmax":
        raise ValueError(f"loss: expected one for a Softmax at the end, got {model.loss!r}")
    return model


def _read(module: Any) -> tuple[list[np.ndarray], list[np.ndarray], str, str | None]:
    """Return weights, biases, the hidden layers' activation and the output's, if there is one."""
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
        elif (name in ACTIVATIONS or _is_softmax(part)) and after and after[-1] is None:
            after[-1] = name
        elif name not in NOTHING_TO_DO:
            raise ValueError(
                "module: expected Linear layers, each followed by one of ReLU, Tanh, Sigmoid or"
                " Identity, and Softmax(dim=1) at the end at most, got"
                f" {arguments.describe(part)} as part {number}"
            )
    hidden = {ACTIVATIONS.get(name or "Identity", "softmax") for name in after[:-1]}
    if not coefs or len(hidden) > 1 or "softmax" in hidden:
        raise ValueError(
            "module: expected Linear layers with one activation for all hidden ones, got"
            f" {len(coefs)} with {sorted(hidden)}"
        )
    activation = hidden.pop() if hidden else "relu"
    return coefs, intercepts, activation, None if after[-1] == "Identity" else after[-1]


def _is_softmax(part: Any) -> bool:
    return type(part).__name__ == "Softmax" and part.dim in (1, -1)


def _parts(module: Any) -> Iterator[Any]:
    """Give the modules of a Sequential in order, those of Sequentials in it as well."""
    if not _is_sequential(module):
        raise TypeError(f"module: expected torch.nn.Sequential, got {arguments.describe(module)}")
    for child in module:  # unlike `children()`, with all that is there twice
        if _is_sequential(child):
            yield from _parts(child)
        else:
            yield child


def _is_sequential(module: Any) -> bool:
    return any(kind.__name__ == "Sequential" for kind in type(module).__mro__)


def _array(parameter: Any) -> np.ndarray:
    """Return a parameter as float64 if it is that, as float32 otherwise."""
    tensor = parameter.detach().cpu()
    wide = str(tensor.dtype) == "torch.float64"
    array: np.ndarray = (tensor.double() if wide else tensor.float()).numpy().copy()
    return array


def _set_classes(
    model: Any, classes: Any, coefs: list[np.ndarray], intercepts: list[np.ndarray], last: Any
) -> None:
    """Give a classifier its classes; two outputs of a softmax become one of a sigmoid."""
    n = coefs[-1].shape[1]
    if last not in (None, "Sigmoid", "Softmax") or (n == 1 and last == "Softmax"):
        raise ValueError(
            "module: expected nothing, Sigmoid, or Softmax of several outputs, at the end of a"
            f" classifier, got {last} of {n}"
        )
    if n > 1 and last == "Sigmoid":
        if classes is not None:
            raise ValueError("classes: expected None for several labels a row (a Sigmoid of each)")
        model._label_binarizer = LabelBinarizer().fit(np.array([[0] * n, [1] * n]))
    else:
        if n == 2:  # e**z1/(e**z0 + e**z1) = 1/(1 + e**-(z1 - z0))
            coefs[-1] = coefs[-1][:, 1:] - coefs[-1][:, :1]
            intercepts[-1] = intercepts[-1][1:] - intercepts[-1][:1]
        n = max(n, 2)
        known = np.arange(n) if classes is None else np.asarray(classes)
        if known.shape != (n,) or np.any(known[1:] <= known[:-1]):
            raise ValueError(
                f"classes: expected {n} classes in rising order, got {arguments.describe(classes)}"
            )
        model._label_binarizer = LabelBinarizer().fit(known)
    model.classes_ = model._label_binarizer.classes_


def _set_loss(model: Any, last: str | None, chosen: bool) -> None:
    """Choose the regressor's loss that goes with the output's activation."""
    goes_with = {None: None, "Sigmoid": "bce", "Softmax": "cross_entropy"}
    if last not in goes_with:
        raise ValueError(f"module: expected a linear output for a regressor, got {last}")
    loss = goes_with[last]
    if loss is not None and chosen and model.loss != loss:
        raise ValueError(f"loss: expected {loss!r} with {last} at the end, got {model.loss!r}")
    if loss is not None:
        model.loss = loss


def to_torch(model: Any, logits: bool) -> Any:
    """Return a Sequential that gives the same outputs."""
    import torch

    kind, several = model.out_activation_, is_classifier(model) and model.n_outputs_ > 1
    if not logits and kind == "exp":
        raise ValueError(
            "logits: expected True with loss='poisson': PyTorch has no module for the exponential"
        )
    if not logits and kind == "logistic" and several and model._kind == "multiclass":
        raise ValueError(
            "logits: expected True for one class against the rest: PyTorch has no module that"
            " divides by the sum"
        )
    model._check_layers(model.coefs_[0].shape[0])
    parts: list[Any] = []
    for w, b in zip(*model._cast(model.coefs_, model.intercepts_), strict=True):
        n_inputs, n_outputs = w.shape
        linear = torch.nn.Linear(n_inputs, n_outputs, dtype=torch.from_numpy(w[:1]).dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T.copy()))
            linear.bias.copy_(torch.from_numpy(b.copy()))
        parts += [linear, getattr(torch.nn, MODULES[model.activation])()]
    parts.pop()
    if not logits and kind == "softmax":
        parts.append(torch.nn.Softmax(dim=1))
    elif not logits and kind == "logistic":
        parts.append(torch.nn.Sigmoid())
    return torch.nn.Sequential(*parts)
