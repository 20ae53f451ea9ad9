"""A fit of one neuron, or of several in one pass over the rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.data.rows import Rows
from fastbp.estimators.callbacks import Callbacks
from fastbp.models.initialization import initialize_network
from fastbp.models.network import NetworkFit, fit_network, predict_network
from fastbp.models.neuron import NeuronFit, fit_neuron, predict_neuron
from fastbp.training.callbacks import EpochState
from fastbp.training.state import TrainingState

Fitted = NeuronFit | NetworkFit
Begin = tuple[Any, Any, Any, int]
"""Start values, as ``fit_*`` takes them, the learning rate and the number of epochs."""


def start_values(
    shape: tuple[int, int], activation: str, random_state: Any
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return weights (K, D) and biases (K,), and the source of what is random from there on."""
    if activation != "relu":
        return np.zeros(shape), np.zeros(shape[0]), random_state
    # From zeros ReLU would never leave: its derivative there is 0.
    random = arguments.random_generator("random_state", random_state)
    (weights,), (biases,) = initialize_network(
        shape[::-1], activations=["relu"], scheme="he_uniform", random_state=random
    )
    return np.ascontiguousarray(weights.T), biases, random


def as_taken(weights: np.ndarray, biases: np.ndarray) -> tuple[Any, Any]:
    """Return parameters as ``fit_*`` takes them: of a neuron, or of a network of one layer."""
    if len(biases) == 1:
        return weights[0], float(biases[0])
    return [np.ascontiguousarray(weights.T)], [biases]


def stacked(weights: Any, bias: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return copies of such parameters as arrays (K, D) and (K,)."""
    if isinstance(weights, list):
        return weights[0].T.copy(), bias[0].copy()
    return weights[None, :].copy(), np.array([bias])


def fit_neurons(rows: Rows, begin: Begin, activation: str, **how: Any) -> Fitted:
    """Train a neuron for each column of labels."""
    if rows.n_labels == 1:
        return fit_neuron(rows, None, *begin, activation=activation, **how)
    # One layer of K outputs is K neurons in one pass over the rows: no loss that is a sum over
    # the outputs mixes their gradients.
    return fit_network(rows, None, *begin, activations=[activation], **how)


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


def shuffling(settings: Any, rows: Rows) -> bool | str:
    """Return how to shuffle: not within a single batch, in windows where only they can be."""
    if settings.batch_size is None or settings.batch_size >= rows.n_rows:
        return False
    if settings.shuffle is True and not rows.random_access:
        return "window"
    return settings.shuffle if isinstance(settings.shuffle, str) else bool(settings.shuffle)


def after_epoch(callbacks: Callbacks, state: EpochState) -> bool:
    """Report an epoch; return whether to stop."""
    text = f"Iteration {state.epoch + 1}, loss = {state.loss:.8f}"
    if state.validation_loss is not None:
        text += f", validation loss = {state.validation_loss:.8f}"
    callbacks.say(text)
    return callbacks.epoch_ends(state)


def complaint(fit: Fitted, max_iter: int, tol: float | None) -> str | None:
    """Return what there is to warn of after a fit."""
    if fit.stopped == "epochs" and tol is not None:
        return (
            f"came to max_iter={max_iter} while epochs still gained more than tol={tol}: scale the"
            " features (StandardScaler), or raise either"
        )
    if fit.stopped == "tol" and fit.losses[-1] > fit.losses[0]:
        return "ended with a greater loss than it began with: lower learning_rate_init"
    return None
