"""The losses that a fit may have, by name."""

from __future__ import annotations

from fastbp.kernels import losses

NEURON_LOSSES = {"mse": losses.MSE, "half_mse": losses.HALF_MSE, "bce": losses.BCE}
LOSSES = {**NEURON_LOSSES, "cross_entropy": losses.CROSS_ENTROPY}
GOES_WITH = {"bce": "sigmoid", "cross_entropy": "softmax"}
"""The losses that are computed from z, for one output activation only."""
