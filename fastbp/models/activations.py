"""The activations, by name: an entry here; the formulas are in ``kernels/activations.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import numpy as np

from fastbp.kernels import activations as codes

# For type checkers; a test compares them with the registry.
HiddenActivation = Literal[
    "identity", "sigmoid", "relu", "tanh", "softplus", "leaky_relu", "elu", "silu", "gelu"
]
ActivationName = Literal[HiddenActivation, "softmax"]


@dataclass(frozen=True)
class Activation:
    """An activation.

    Attributes
    ----------
    code : int
        The kernels' code.
    phi : callable, or None
        phi(z) in NumPy, into the array `out` where one is given; None where an output depends on
        the whole row.
    derivative : callable, or None
        phi'(z) in NumPy, from z and a = phi(z).
    curvature : float
        An upper bound on the second derivative of (a - y)**2 / 2 with respect to z, for each y that
        is a possible output; where phi bends down, for those at most 1 above a.
    scikit_learn, torch : str, or None
        Its name in scikit-learn, and the name of its module in PyTorch.
    output_only : bool
        Whether only the last layer of a network may have it.
    """

    code: int
    phi: Callable[..., Any] | None
    derivative: Callable[[Any, Any], Any] | None
    curvature: float
    scikit_learn: str | None = None
    torch: str | None = None
    output_only: bool = False


def _expit(z: Any, out: Any = None) -> Any:
    from scipy.special import expit  # slow to import, and seldom used

    return expit(z, out=out)


def _sigmoid_derivative(z: Any, a: Any) -> Any:
    with np.errstate(over="ignore"):  # it underflows to 0
        return a / (1.0 + np.exp(z))  # a (1 - a), with all its digits


def _relu(z: Any, out: Any = None) -> Any:
    return np.maximum(z, 0.0, out=out)


def _tanh_derivative(z: Any, a: Any) -> Any:
    e = np.exp(-2.0 * np.abs(z))
    return 4.0 * e / (1.0 + e) ** 2


def _leaky_relu(z: Any, out: Any = None) -> Any:
    return np.maximum(z, np.multiply(z, codes.LEAK), out=out)


def _elu(z: Any, out: Any = None) -> Any:
    return np.add(np.maximum(z, 0.0), np.expm1(np.minimum(z, 0.0)), out=out)


def _silu(z: Any, out: Any = None) -> Any:
    return np.multiply(z, _expit(z), out=out)


def _silu_derivative(z: Any, a: Any) -> Any:
    s = _expit(z)
    return s * (1.0 + z * _expit(np.negative(z)))


def _normal(z: Any) -> Any:
    from scipy.special import ndtr

    return ndtr(z)


def _gelu(z: Any, out: Any = None) -> Any:
    return np.multiply(z, _normal(z), out=out)


def _gelu_derivative(z: Any, a: Any) -> Any:
    return _normal(z) + z * np.exp(-0.5 * np.square(z)) / np.sqrt(2.0 * np.pi)


# The curvature of half the sigmoid's squared error is largest for y = 0: a**2 (1 - a) (2 - 3 a)
# is at most 0.0771, at a = (15 - sqrt(33))/24. tanh z = 2 sigmoid(2 z) - 1 has 16 times as much.
# Softplus has, for y = 0 and with s its derivative, s**2 - s (1 - s) ln(1 - s), at most 1.0454 at
# s = 0.957. ELU has 2 e**(2 z) - (1 + y) e**z for z < 0, at most 2 for y = -1. Those of SiLU, for
# y = -0.27846, and of GELU, for y = -0.16997, are maxima found numerically.
ACTIVATIONS: dict[Any, Activation] = {
    "identity": Activation(
        codes.IDENTITY, np.positive, lambda z, a: np.ones_like(z), 1.0, "identity", "Identity"
    ),
    "sigmoid": Activation(
        codes.SIGMOID, _expit, _sigmoid_derivative, 0.0771, "logistic", "Sigmoid"
    ),
    "relu": Activation(
        codes.RELU, _relu, lambda z, a: np.where(np.greater(z, 0.0), 1.0, 0.0), 1.0, "relu", "ReLU"
    ),
    "tanh": Activation(codes.TANH, np.tanh, _tanh_derivative, 16 * 0.0771, "tanh", "Tanh"),
    "softplus": Activation(
        codes.SOFTPLUS, partial(np.logaddexp, 0.0), lambda z, a: _expit(z), 1.0454, torch="Softplus"
    ),
    "leaky_relu": Activation(
        codes.LEAKY_RELU, _leaky_relu,
        lambda z, a: np.where(np.greater(z, 0.0), 1.0, codes.LEAK), 1.0, torch="LeakyReLU",
    ),
    "elu": Activation(
        codes.ELU, _elu, lambda z, a: np.exp(np.minimum(z, 0.0)), 2.0, torch="ELU"
    ),
    "silu": Activation(codes.SILU, _silu, _silu_derivative, 1.3258, torch="SiLU"),
    "gelu": Activation(codes.GELU, _gelu, _gelu_derivative, 1.4189, torch="GELU"),
    "softmax": Activation(codes.SOFTMAX, None, None, 1.0, "softmax", "Softmax", output_only=True),
}  # fmt: skip


@cache  # a prediction for one row takes some microseconds
def hidden_activations() -> tuple[HiddenActivation, ...]:
    """Return the names of the activations that any layer and a neuron may have."""
    return tuple(name for name, row in ACTIVATIONS.items() if not row.output_only)
