"""The losses, by name: an entry here; the formulas are in ``kernels/losses.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from fastbp.data.labels import LabelKind
from fastbp.kernels import losses as codes
from fastbp.models.activations import ACTIVATIONS, hidden_activations

# For type checkers; a test compares them with the registry.
NeuronLoss = Literal["mse", "half_mse", "huber", "mae", "bce"]
LossName = Literal[NeuronLoss, "cross_entropy"]


@dataclass(frozen=True)
class Loss:
    """A loss.

    Attributes
    ----------
    code : int
        The kernels' code.
    labels : LabelKind
        Which labels it takes.
    curvature : callable
        Gives an upper bound on its second derivative with respect to z, in any direction, from that
        of half the squared error (see :class:`~fastbp.models.activations.Activation`) and the
        number of outputs.
    activation : str, or None
        The only output activation that it goes with; None goes with all that are not
        `output_only`.
    for_classes : bool
        Whether its labels stand for classes, not for numbers to predict.
    """

    code: int
    labels: LabelKind
    curvature: Callable[[float, int], float]
    activation: str | None = None
    for_classes: bool = False


LOSSES = {
    "mse": Loss(codes.MSE, LabelKind.NUMBERS, lambda half, n_outputs: 2.0 * half / n_outputs),
    "half_mse": Loss(codes.HALF_MSE, LabelKind.NUMBERS, lambda half, n_outputs: half),
    "huber": Loss(codes.HUBER, LabelKind.NUMBERS, lambda half, n_outputs: half / n_outputs),
    # Its second derivative is that of phi, or less: at most 1.25 times the curvature of a sigmoid.
    "mae": Loss(codes.MAE, LabelKind.NUMBERS, lambda half, n_outputs: 1.25 * half / n_outputs),
    "bce": Loss(  # its second derivative is a (1 - a)
        codes.BCE, LabelKind.PROBABILITIES, lambda *_: 0.25, "sigmoid", for_classes=True
    ),
    "cross_entropy": Loss(  # its Hessian is diag(a) - a a'
        codes.CROSS_ENTROPY, LabelKind.DISTRIBUTIONS, lambda *_: 0.5, "softmax", for_classes=True
    ),
}


@cache
def neuron_loss_names() -> tuple[str, ...]:
    """Return the names of the losses that a neuron may have: whose activation it may have."""
    usual = (None, *hidden_activations())
    return tuple(name for name, row in LOSSES.items() if row.activation in usual)


def check_pair(loss: str, activation: str) -> None:
    """Refuse a loss with an output activation that it does not go with."""
    needed = LOSSES[loss].activation
    if needed is not None and activation != needed:
        raise ValueError(
            f"loss: expected output activation {needed!r} with {loss!r}, got {activation!r}"
        )
    if needed is None and ACTIVATIONS[activation].output_only:
        partners = [name for name, row in LOSSES.items() if row.activation == activation]
        expected = " or ".join(map(repr, partners))
        raise ValueError(f"loss: expected {expected} with {activation!r}, got {loss!r}")
