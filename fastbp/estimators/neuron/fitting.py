"""A fit of one neuron, or of several in one pass over the rows, by fastbp's own functions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.data.rows import Rows
from fastbp.models.initialization import initialize_network
from fastbp.models.network import NetworkFit, fit_network, predict_network
from fastbp.models.neuron import NeuronFit, fit_neuron, predict_neuron
from fastbp.training.state import TrainingState

Fitted = NeuronFit | NetworkFit


def start_values(
    n_features: int, n_outputs: int, activation: str, random_state: Any
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return weights (K, D) and biases (K,), and the source of what is random from there on."""
    if activation != "relu":
        return np.zeros((n_outputs, n_features)), np.zeros(n_outputs), random_state
    # From zeros ReLU would never leave: its derivative there is 0.
    random = arguments.random_generator("random_state", random_state)
    (weights,), (biases,) = initialize_network(
        [n_features, n_outputs], activations=["relu"], scheme="he_uniform", random_state=random
    )
    return np.ascontiguousarray(weights.T), biases, random


def as_taken(weights: np.ndarray, biases: np.ndarray) -> tuple[Any, Any]:
    """Return such parameters as functions take them: of a neuron, or of a network's one layer."""
    if len(biases) == 1:
        return weights[0], float(biases[0])
    return [np.ascontiguousarray(weights.T)], [biases]


def stacked(weights: Any, bias: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return copies of what :func:`as_taken` returned, as they were."""
    if isinstance(weights, list):
        return weights[0].T.copy(), bias[0].copy()
    return weights[None, :].copy(), np.array([bias])


def fit_neurons(
    rows: Rows, start: tuple[Any, Any], rate: Any, epochs: int, activation: str, **how: Any
) -> Fitted:
    """Train a neuron for each column of labels."""
    if rows.n_labels == 1:
        return fit_neuron(rows, None, *start, rate, epochs, activation=activation, **how)
    # One layer of K outputs is K neurons in one pass over the rows: no loss that is a sum over
    # the outputs mixes their gradients.
    return fit_network(rows, None, *start, rate, epochs, activations=[activation], **how)


def outputs_of(X: Any, weights: np.ndarray, biases: np.ndarray, activation: str) -> np.ndarray:
    """Return the outputs: shape (n_samples,) of a single neuron, else (n_samples, K)."""
    parameters = as_taken(weights, biases)
    if len(weights) == 1:
        return predict_neuron(X, *parameters, activation=activation)
    return predict_network(X, *parameters, activations=[activation])


def for_next_rows(state: TrainingState) -> TrainingState:
    """Return a state without the epoch that was under way: the next rows are others."""
    none = np.empty(0)
    return replace(
        state,
        batch_start=0,
        next_chunk=0,
        partial_sums=none,
        epoch_start=none,
        epoch_sums=(0.0, 0.0, 0.0),
    )
