"""The activations that layers may have, by name."""

from __future__ import annotations

from fastbp.kernels import activations

NEURON_ACTIVATIONS = {
    "identity": activations.IDENTITY,
    "sigmoid": activations.SIGMOID,
    "relu": activations.RELU,
    "tanh": activations.TANH,
}
ACTIVATIONS = {**NEURON_ACTIVATIONS, "softmax": activations.SOFTMAX}
