"""The activations, by name: a row here, and the kernels' formula in ``kernels/activations.py``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbp.kernels import activations as codes


@dataclass(frozen=True)
class Activation:
    """What is known of an activation.

    Attributes
    ----------
    code : int
        What the kernels call it.
    phi : callable, or None
        phi(z) in NumPy, into the array `out` where one is given; None where an output depends on
        the whole row.
    derivative : callable, or None
        phi'(z) in NumPy, from z and a = phi(z).
    curvature : float
        An upper bound of the second derivative of (a - y)**2 / 2 by z, for each y that is a
        possible output.
    scikit_learn, torch : str, or None
        Its name in scikit-learn, and that of its module in PyTorch.
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


def _sigmoid(z: Any, out: Any = None) -> Any:
    from scipy.special import expit  # too slow to import for what seldom needs it

    return expit(z, out=out)


def _sigmoid_derivative(z: Any, a: Any) -> Any:
    return a / (1.0 + np.exp(np.minimum(z, 700.0)))  # a (1 - a), with all its digits


def _tanh_derivative(z: Any, a: Any) -> Any:
    e = np.exp(-2.0 * np.abs(z))
    return 4.0 * e / (1.0 + e) ** 2


# Half of the sigmoid's squared error bends most where y = 0: a**2 (1 - a) (2 - 3 a) is at most
# 0.0771, at a = (15 - sqrt(33))/24. tanh is a sigmoid twice as high and twice as steep, which
# makes that 16 times as much.
ACTIVATIONS = {
    "identity": Activation(
        code=codes.IDENTITY,
        phi=np.positive,
        derivative=lambda z, a: np.ones_like(z),
        curvature=1.0,
        scikit_learn="identity",
        torch="Identity",
    ),
    "sigmoid": Activation(
        code=codes.SIGMOID,
        phi=_sigmoid,
        derivative=_sigmoid_derivative,
        curvature=0.0771,
        scikit_learn="logistic",
        torch="Sigmoid",
    ),
    "relu": Activation(
        code=codes.RELU,
        phi=lambda z, out=None: np.maximum(z, 0.0, out=out),
        derivative=lambda z, a: np.where(np.greater(z, 0.0), 1.0, 0.0),
        curvature=1.0,
        scikit_learn="relu",
        torch="ReLU",
    ),
    "tanh": Activation(
        code=codes.TANH,
        phi=np.tanh,
        derivative=_tanh_derivative,
        curvature=16 * 0.0771,
        scikit_learn="tanh",
        torch="Tanh",
    ),
    "softmax": Activation(
        code=codes.SOFTMAX,
        phi=None,
        derivative=None,
        curvature=1.0,
        scikit_learn="softmax",
        torch="Softmax",
        output_only=True,
    ),
}


@functools.cache  # a prediction for one row takes some microseconds
def hidden_activations() -> tuple[str, ...]:
    """Return the names of those that any layer may have, and a neuron."""
    return tuple(name for name, row in ACTIVATIONS.items() if not row.output_only)
