"""Activations, losses and optimizers by the names that the estimators give them.

An activation goes by scikit-learn's name if that library has it, by its own otherwise. Losses go
by their own names; scikit-learn's are added, and reported as scikit-learn reports them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
from scipy.special import expit

from fastbp.kernels import activations as codes
from fastbp.kernels import layout
from fastbp.kernels import losses as loss_codes
from fastbp.models import activations, losses
from fastbp.training import optimizers

# --- activations --------------------------------------------------------------------------------

_SCIKIT_LEARN = {"sigmoid": "logistic"}
HIDDEN = [_SCIKIT_LEARN.get(name, name) for name in activations.NEURON_ACTIVATIONS]
CODES = {
    **{_SCIKIT_LEARN.get(name, name): code for name, code in activations.ACTIVATIONS.items()},
    "exp": codes.EXPONENTIAL,  # of the output for the Poisson loss, and nowhere else
}
PHI: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    codes.IDENTITY: lambda z: z,
    codes.SIGMOID: expit,
    codes.TANH: np.tanh,
    codes.RELU: lambda z: np.maximum(z, 0.0),
}
CURVATURE = {"identity": 1.0, "relu": 1.0, "sigmoid": 0.0771, "tanh": 16 * 0.0771}
TORCH = {
    "relu": "ReLU", "tanh": "Tanh", "logistic": "Sigmoid", "identity": "Identity",
    "softmax": "Softmax",
}  # fmt: skip
"""Names of PyTorch's modules."""

# --- losses -------------------------------------------------------------------------------------

OWN_NAMES = {"log_loss": "bce", "squared_error": "half_mse"}
"""What scikit-learn's losses are called here; its log loss of a softmax is cross-entropy."""
LOSSES = list(losses.LOSSES)
NEURON_LOSSES = [*OWN_NAMES, *losses.NEURON_LOSSES]
OUTPUTS = {
    "poisson": "exp",
    **{loss: _SCIKIT_LEARN.get(name, name) for loss, name in losses.GOES_WITH.items()},
}
"""The output's activation, where only one goes with a loss."""


def loss_codes_of(loss: str, out_activation: str) -> tuple[int, int]:
    """Return the kernels' numbers of a perceptron's loss, and of the way to report it."""
    if loss == "poisson":
        return loss_codes.HALF_POISSON_DEVIANCE, layout.SCIKIT_LEARN
    report = layout.SCIKIT_LEARN if loss in OWN_NAMES else layout.OWN
    own = "cross_entropy" if out_activation == "softmax" else OWN_NAMES.get(loss, loss)
    return losses.LOSSES[own], report


# --- optimizers ---------------------------------------------------------------------------------

Optimizer = optimizers.SGD | optimizers.Adam
OPTIMIZERS: dict[str, type[Optimizer]] = {
    name: type(optimizer) for name, optimizer in optimizers.NAMES.items()
}
USUAL_RATES: dict[type[Optimizer], float] = {optimizers.Adam: 0.01}


def optimizer_of(estimator: Any) -> Optimizer:
    """Return an estimator's solver; by name, with those of its values that the estimator has."""
    if not isinstance(estimator.solver, str):
        given: Optimizer = estimator.solver
        return given
    kind = OPTIMIZERS[estimator.solver]
    parameters = {
        field.name: "nesterovs_momentum" if field.name == "nesterov" else field.name
        for field in fields(kind)
    }
    return kind(
        **{
            name: getattr(estimator, parameter)
            for name, parameter in parameters.items()
            if hasattr(estimator, parameter)
        }
    )
