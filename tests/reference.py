"""Plain NumPy oracles. They never import fastbp, and are written to be obviously right."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ACTIVATIONS = ("identity", "sigmoid", "relu", "tanh")
PAIRS = [(a, loss) for a in ACTIVATIONS for loss in ("mse", "half_mse")] + [("sigmoid", "bce")]


class Fit(NamedTuple):
    weights: np.ndarray
    bias: float
    losses: np.ndarray


def sigmoid(z):
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-z))


def activate(name, z):
    return {
        "identity": lambda: z,
        "sigmoid": lambda: sigmoid(z),
        "relu": lambda: np.where(z > 0, z, 0.0),
        "tanh": lambda: np.tanh(z),
    }[name]()


def derivative(name, z):
    if name == "identity":
        return np.ones_like(z)
    if name == "sigmoid":
        return sigmoid(z) * sigmoid(-z)
    if name == "relu":
        return np.where(z > 0, 1.0, 0.0)
    return 1.0 / np.cosh(z) ** 2


def row_losses(loss, activation, z, y):
    """The loss of each row of a neuron's pre-activations."""
    if loss == "bce":
        # -ln a = ln(1 + e^-z) and -ln(1 - a) = ln(1 + e^z)
        return y * np.logaddexp(0.0, -z) + (1.0 - y) * np.logaddexp(0.0, z)
    error = activate(activation, z) - y
    return error**2 if loss == "mse" else 0.5 * error**2


def row_dz(loss, activation, z, y):
    """The derivative of each row's loss with respect to its pre-activation."""
    if loss == "bce":
        return sigmoid(z) - y
    error = activate(activation, z) - y
    return (2.0 if loss == "mse" else 1.0) * error * derivative(activation, z)


def objective(x, y, weights, bias, activation, loss, sample_weight=None, alpha=0.0):
    """The mean loss of a batch with its penalty."""
    v = np.ones(len(y)) if sample_weight is None else sample_weight
    total = np.sum(v * row_losses(loss, activation, x @ weights + bias, y))
    return (total + 0.5 * alpha * np.sum(weights**2)) / np.sum(v)


def fit_neuron(
    x,
    y,
    weights,
    bias,
    rate,
    epochs,
    *,
    activation="sigmoid",
    loss="mse",
    batch_size=None,
    orders=None,
    sample_weight=None,
    alpha=0.0,
):
    """Gradient descent, batch by batch; `orders` gives the order of the rows in each epoch."""
    weights = np.array(weights, dtype=float)
    bias = float(bias)
    n = len(y)
    v = np.ones(n) if sample_weight is None else np.asarray(sample_weight, dtype=float)
    losses = []
    for epoch in range(epochs):
        order = np.arange(n) if orders is None else orders[epoch]
        step = rate(epoch) if callable(rate) else rate
        objectives, ns = [], []
        for start in range(0, n, batch_size or n):
            rows = order[start : start + (batch_size or n)]
            xb, yb, vb = x[rows], y[rows], v[rows]
            objectives.append(objective(xb, yb, weights, bias, activation, loss, vb, alpha))
            ns.append(vb.sum())
            dz = vb * row_dz(loss, activation, xb @ weights + bias, yb)
            weights = weights - step * (xb.T @ dz + alpha * weights) / vb.sum()
            bias = bias - step * dz.sum() / vb.sum()
        losses.append(np.average(objectives, weights=ns))
    return Fit(weights, bias, np.array(losses))


def train_neuron(features, labels, initial_weights, initial_bias, learning_rate, epochs):
    """The function that fastbp.train_neuron replaces, as one writes it in plain NumPy."""
    x, y = np.array(features, dtype=float), np.array(labels, dtype=float)
    weights, bias = np.array(initial_weights, dtype=float), float(initial_bias)
    mse_values = []
    for _ in range(epochs):
        prediction = sigmoid(x @ weights + bias)
        error = prediction - y
        mse_values.append(float(np.round(np.mean(error**2), 4)))
        slope = error * prediction * (1.0 - prediction)
        weights = weights - learning_rate * 2.0 / len(y) * (x.T @ slope)
        bias = bias - learning_rate * 2.0 / len(y) * slope.sum()
    return np.round(weights, 4).tolist(), float(np.round(bias, 4)), mse_values
