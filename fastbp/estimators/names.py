"""Activations, losses and optimizers, by the names that scikit-learn and PyTorch have for them.

A new entry in a registry is available in the estimators, too: under scikit-learn's name, or its
own.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal

from fastbp.kernels import activations as codes
from fastbp.kernels import layout
from fastbp.kernels import losses as loss_codes
from fastbp.models.activations import ACTIVATIONS
from fastbp.models.losses import LOSSES
from fastbp.training.optimizers import OPTIMIZERS, Optimizer

_NAMES = {own: row.scikit_learn or own for own, row in ACTIVATIONS.items()}
HiddenName = Literal[  # for type checkers
    "identity", "logistic", "relu", "tanh", "softplus", "leaky_relu", "elu", "silu", "gelu"
]
HIDDEN = [_NAMES[own] for own, row in ACTIVATIONS.items() if not row.output_only]
CODES = {
    **{_NAMES[own]: row.code for own, row in ACTIVATIONS.items()},
    "exp": codes.EXPONENTIAL,  # of the Poisson loss's output, and nowhere else
}
PHI = {row.code: row.phi for row in ACTIVATIONS.values() if row.phi is not None}
TORCH = {_NAMES[own]: row.torch for own, row in ACTIVATIONS.items() if row.torch is not None}

OWN_LOSSES = {"log_loss": "bce", "squared_error": "half_mse"}
"""What scikit-learn's losses are called here; its log loss of a softmax is cross-entropy."""
OUTPUTS = {own: _NAMES[row.activation] for own, row in LOSSES.items() if row.activation is not None}
OUTPUTS["poisson"] = "exp"
"""The activation of the output, of losses that go with one only."""


MEMORY = 30
"""Steps that L-BFGS remembers: with 10 it took up to four times as many on badly scaled rows."""


def loss_codes_of(loss: str, output: str) -> tuple[int, int]:
    """Return the kernels' codes of a perceptron's loss, and of the way to report it."""
    if loss == "poisson":
        return loss_codes.HALF_POISSON_DEVIANCE, layout.SCIKIT_LEARN
    code = LOSSES[own_loss(loss, output)].code
    return code, layout.SCIKIT_LEARN if loss in OWN_LOSSES else layout.OWN


def own_loss(loss: str, output: str) -> Any:
    """Return the name that `fit_neuron` and `fit_network` have for a loss with this output."""
    return "cross_entropy" if output == "softmax" else OWN_LOSSES.get(loss, loss)


def optimizer_of(estimator: Any, solver: Optimizer | str | None = None) -> Optimizer:
    """Return a solver; by name, with those of its values that the estimator has.

    None is the estimator's own.
    """
    solver = estimator.solver if solver is None else solver
    if not isinstance(solver, str):
        return solver
    kind: Any = OPTIMIZERS[solver]
    values = {"nesterov": estimator.nesterovs_momentum, "memory": MEMORY, **vars(estimator)}
    names = {field.name for field in fields(kind)}
    optimizer: Optimizer = kind(**{name: values[name] for name in names & values.keys()})
    return optimizer
