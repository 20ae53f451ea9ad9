"""Plain NumPy oracles. They never import fastbp, and are written to be obviously right."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

ACTIVATIONS = (
    "identity", "sigmoid", "relu", "tanh", "softplus", "leaky_relu", "elu", "silu", "gelu"
)  # fmt: skip
PAIRS = [(a, loss) for a in ACTIVATIONS for loss in ("mse", "half_mse", "huber", "mae")] + [
    ("sigmoid", "bce")
]


class Fit(NamedTuple):
    weights: np.ndarray
    bias: float
    losses: np.ndarray


def sigmoid(z):
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-z))


def normal(z):
    """The distribution function of the standard normal distribution."""
    return np.vectorize(lambda one: 0.5 * math.erfc(-one / math.sqrt(2.0)), otypes=[float])(z)


def activate(name, z):
    return {
        "identity": lambda: z,
        "sigmoid": lambda: sigmoid(z),
        "relu": lambda: np.where(z > 0, z, 0.0),
        "tanh": lambda: np.tanh(z),
        "softplus": lambda: np.logaddexp(0.0, z),
        "leaky_relu": lambda: np.where(z > 0, z, 0.01 * z),
        "elu": lambda: np.where(z > 0, z, np.expm1(np.minimum(z, 0.0))),
        "silu": lambda: z * sigmoid(z),
        "gelu": lambda: z * normal(z),
    }[name]()


def derivative(name, z):
    if name == "identity":
        return np.ones_like(z)
    if name == "sigmoid":
        return sigmoid(z) * sigmoid(-z)
    if name == "relu":
        return np.where(z > 0, 1.0, 0.0)
    if name == "softplus":
        return sigmoid(z)
    if name == "leaky_relu":
        return np.where(z > 0, 1.0, 0.01)
    if name == "elu":
        return np.exp(np.minimum(z, 0.0))
    if name == "silu":
        return sigmoid(z) * (1.0 + z * sigmoid(-z))
    if name == "gelu":
        return normal(z) + z * np.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi)
    return 1.0 / np.cosh(z) ** 2


def row_losses(loss, activation, z, y):
    """The loss of each row of a neuron's pre-activations."""
    if loss == "bce":
        # -ln a = ln(1 + e^-z) and -ln(1 - a) = ln(1 + e^z)
        return y * np.logaddexp(0.0, -z) + (1.0 - y) * np.logaddexp(0.0, z)
    error = activate(activation, z) - y
    if loss == "mae":
        return abs(error)
    if loss == "huber":
        return np.where(abs(error) <= 1.0, 0.5 * error**2, abs(error) - 0.5)
    return error**2 if loss == "mse" else 0.5 * error**2


def row_dz(loss, activation, z, y):
    """The derivative of each row's loss with respect to its pre-activation."""
    if loss == "bce":
        return sigmoid(z) - y
    error = activate(activation, z) - y
    if loss == "mae":
        return np.sign(error) * derivative(activation, z)
    if loss == "huber":
        return np.clip(error, -1.0, 1.0) * derivative(activation, z)
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


# --- networks -----------------------------------------------------------------------------

OUTPUT_PAIRS = [*PAIRS, ("softmax", "cross_entropy")]


class NetworkFit(NamedTuple):
    weights: list
    biases: list
    losses: np.ndarray


def log_softmax(z):
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def outputs(x, weights, biases, activations):
    """The pre-activations and activations of every layer; the input is the first activation."""
    zs, acts = [], [x]
    for w, b, name in zip(weights, biases, activations, strict=True):
        zs.append(acts[-1] @ w + b)
        acts.append(np.exp(log_softmax(zs[-1])) if name == "softmax" else activate(name, zs[-1]))
    return zs, acts


def network_row_losses(loss, activation, z, y):
    """The loss of each row of the output's pre-activations (N, K)."""
    if loss == "cross_entropy":
        return -np.sum(y * log_softmax(z), axis=1)
    each = row_losses(loss, activation, z, y)
    return each.mean(axis=1) if loss in ("mse", "huber", "mae") else each.sum(axis=1)


def network_row_dz(loss, activation, z, y):
    """The derivative of each row's loss with respect to the output's pre-activations."""
    if loss == "cross_entropy":
        return np.exp(log_softmax(z)) - y
    dz = row_dz(loss, activation, z, y)
    return dz / y.shape[1] if loss in ("mse", "huber", "mae") else dz


def network_loss(x, y, weights, biases, activations, loss, sample_weight=None, alpha=0.0):
    """The objective of a batch."""
    v = np.ones(len(y)) if sample_weight is None else sample_weight
    zs, _ = outputs(x, weights, biases, activations)
    total = np.sum(v * network_row_losses(loss, activations[-1], zs[-1], y))
    return (total + 0.5 * alpha * sum(np.sum(w**2) for w in weights)) / np.sum(v)


def network_gradient(x, y, weights, biases, activations, loss, sample_weight=None, alpha=0.0):
    """Its gradient: that of every layer's weights, then that of every layer's biases."""
    v = np.ones(len(y)) if sample_weight is None else sample_weight
    n = v.sum()
    zs, acts = outputs(x, weights, biases, activations)
    dz = v[:, None] * network_row_dz(loss, activations[-1], zs[-1], y)
    dws, dbs = [], []
    for layer in reversed(range(len(weights))):
        dws.insert(0, (acts[layer].T @ dz + alpha * weights[layer]) / n)
        dbs.insert(0, dz.sum(axis=0) / n)
        if layer > 0:
            dz = (dz @ weights[layer].T) * derivative(activations[layer - 1], zs[layer - 1])
    return dws + dbs


class Momentum:
    """scikit-learn's SGDOptimizer: v <- momentum v - rate g."""

    def __init__(self, momentum=0.0, nesterov=False):
        self.momentum, self.nesterov, self.velocities = momentum, nesterov, None

    def updates(self, rate, gradients):
        if self.velocities is None:
            self.velocities = [np.zeros_like(g) for g in gradients]
        self.velocities = [
            self.momentum * v - rate * g for v, g in zip(self.velocities, gradients, strict=True)
        ]
        if not self.nesterov:
            return self.velocities
        return [
            self.momentum * v - rate * g for v, g in zip(self.velocities, gradients, strict=True)
        ]


class Adam:
    """scikit-learn's AdamOptimizer."""

    def __init__(self, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
        self.beta_1, self.beta_2, self.epsilon, self.t = beta_1, beta_2, epsilon, 0

    def updates(self, rate, gradients):
        if self.t == 0:
            self.ms = [np.zeros_like(g) for g in gradients]
            self.vs = [np.zeros_like(g) for g in gradients]
        self.t += 1
        b1, b2 = self.beta_1, self.beta_2
        self.ms = [b1 * m + (1 - b1) * g for m, g in zip(self.ms, gradients, strict=True)]
        self.vs = [b2 * v + (1 - b2) * g**2 for v, g in zip(self.vs, gradients, strict=True)]
        step = rate * np.sqrt(1 - b2**self.t) / (1 - b1**self.t)
        return [
            -step * m / (np.sqrt(v) + self.epsilon) for m, v in zip(self.ms, self.vs, strict=True)
        ]


class AdamW(Adam):
    """PyTorch's AdamW; the fit shrinks the parameters before its updates."""

    def __init__(self, beta_1=0.9, beta_2=0.999, epsilon=1e-8, weight_decay=0.01):
        super().__init__(beta_1, beta_2, epsilon)
        self.weight_decay = weight_decay

    def updates(self, rate, gradients):
        super().updates(rate, gradients)
        root, step = np.sqrt(1 - self.beta_2**self.t), rate / (1 - self.beta_1**self.t)
        return [
            -step * m / (np.sqrt(v) / root + self.epsilon)
            for m, v in zip(self.ms, self.vs, strict=True)
        ]


class RMSprop:
    """v <- rho v + (1 - rho) g**2, and a step of -rate g / (sqrt(v) + epsilon)."""

    def __init__(self, rho=0.9, epsilon=1e-8):
        self.rho, self.epsilon, self.vs = rho, epsilon, None

    def updates(self, rate, gradients):
        if self.vs is None:
            self.vs = [np.zeros_like(g) for g in gradients]
        self.vs = [
            self.rho * v + (1 - self.rho) * g**2 for v, g in zip(self.vs, gradients, strict=True)
        ]
        return [
            -rate * g / (np.sqrt(v) + self.epsilon) for v, g in zip(self.vs, gradients, strict=True)
        ]


def fit_network(
    x,
    y,
    weights,
    biases,
    rate,
    epochs,
    *,
    activations,
    loss="mse",
    optimizer=None,
    batch_size=None,
    orders=None,
    sample_weight=None,
    alpha=0.0,
):
    """Backpropagation, batch by batch; `orders` gives the order of the rows in each epoch."""
    parameters = [np.array(p, dtype=float) for p in (*weights, *biases)]
    layers = len(weights)
    rule = optimizer or Momentum()
    n = len(y)
    v = np.ones(n) if sample_weight is None else np.asarray(sample_weight, dtype=float)
    losses = []
    for epoch in range(epochs):
        order = np.arange(n) if orders is None else orders[epoch]
        step = rate(epoch) if callable(rate) else rate
        objectives, ns = [], []
        for start in range(0, n, batch_size or n):
            rows = order[start : start + (batch_size or n)]
            batch = (x[rows], y[rows], parameters[:layers], parameters[layers:])
            objectives.append(network_loss(*batch, activations, loss, v[rows], alpha))
            ns.append(v[rows].sum())
            gradients = network_gradient(*batch, activations, loss, v[rows], alpha)
            updates = rule.updates(step, gradients)
            kept = 1.0 - step * getattr(rule, "weight_decay", 0.0)
            parameters = [kept * p + u for p, u in zip(parameters, updates, strict=True)]
        losses.append(np.average(objectives, weights=ns))
    return NetworkFit(parameters[:layers], parameters[layers:], np.array(losses))
