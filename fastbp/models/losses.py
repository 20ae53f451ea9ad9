"""The losses that a fit may have, by name."""

from __future__ import annotations

from fastbp.data.labels import LabelKind
from fastbp.kernels import losses

NEURON_LOSSES = {"mse": losses.MSE, "half_mse": losses.HALF_MSE, "bce": losses.BCE}
LOSSES = {**NEURON_LOSSES, "cross_entropy": losses.CROSS_ENTROPY}
GOES_WITH = {"bce": "sigmoid", "cross_entropy": "softmax"}
"""The losses that are computed from z, for one output activation only."""
LABELS = {"bce": LabelKind.PROBABILITIES, "cross_entropy": LabelKind.DISTRIBUTIONS}
"""The losses that are not defined for all numbers, and what they are defined for."""
