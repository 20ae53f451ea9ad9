"""What a call costs by itself.

`train_neuron` on three rows of two features, two epochs: lists in and out, rounded to four
decimals. And whole fits of few epochs, by the providers of ``neurons.py`` and ``networks.py``. A
provider returns a function of the number of calls.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.workloads.predictions import Run, repeated

ARGUMENTS = ([[1.0, 2.0], [2.0, 1.0], [-1.0, -2.0]], [1, 0, 0], [0.1, -0.2], 0.0, 0.1, 2)
Train = Callable[..., tuple[list[float], float, list[float]]]


def of_epochs(provider: Callable[[Any], Run], epochs: int) -> Callable[[Any], Run]:
    """Return what prepares whole fits of that many epochs."""
    return lambda problem: repeated(functools.partial(provider(problem), epochs))


def after_epochs(expected: Callable[[Any, int], Any], epochs: int) -> Callable[[Any, int], Any]:
    """Return the right answer of a fit of that many epochs, which each call begins anew."""
    return lambda problem, calls: expected(problem, epochs)


def problem() -> Any:
    """Return the arguments."""
    return ARGUMENTS


def expected(arguments: Any, calls: int) -> Any:
    """Return what the tests' oracle says."""
    from tests import reference

    return reference.train_neuron(*arguments)


def numpy_train_neuron(features, labels, initial_weights, initial_bias, learning_rate, epochs):  # type: ignore[no-untyped-def]
    """Train as one writes it in NumPy, without a guard against overflow."""
    x, y = np.array(features), np.array(labels)
    weights, bias = np.array(initial_weights), initial_bias
    mse_values = []
    for _ in range(epochs):
        prediction = 1 / (1 + np.exp(-(np.dot(x, weights) + bias)))
        error = prediction - y
        mse_values.append(round(float(np.mean(error**2)), 4))
        slope = error * prediction * (1 - prediction)
        weights = weights - learning_rate * 2 / len(y) * np.dot(x.T, slope)
        bias = bias - learning_rate * 2 / len(y) * np.sum(slope)
    return np.round(weights, 4).tolist(), round(float(bias), 4), mse_values


def with_fastbp(arguments: Any) -> Run:
    import fastbp

    return repeated(lambda: fastbp.train_neuron(*arguments))


def with_numpy(arguments: Any) -> Run:
    return repeated(lambda: numpy_train_neuron(*arguments))


def with_pytorch(arguments: Any) -> Run:
    import torch

    torch.set_num_threads(1)

    @torch.no_grad()
    def train(features, labels, initial_weights, initial_bias, rate, epochs):  # type: ignore[no-untyped-def]
        x = torch.tensor(features, dtype=torch.float64)
        y = torch.tensor(labels, dtype=torch.float64)
        weights, bias = torch.tensor(initial_weights, dtype=torch.float64), initial_bias
        losses = []
        for _ in range(epochs):
            a = torch.sigmoid(torch.mv(x, weights) + bias)
            error = a - y
            losses.append(round(float(torch.mean(error * error)), 4))
            slope = error * a * (1 - a)
            weights -= rate * 2 / len(y) * torch.mv(x.T, slope)
            bias -= rate * 2 / len(y) * float(slope.sum())
        return torch.round(weights, decimals=4).tolist(), round(bias, 4), losses

    return repeated(lambda: train(*arguments))


def with_jax(arguments: Any) -> Run:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def scan(x, y, weights, bias, rate, epochs):  # type: ignore[no-untyped-def]
        def step(parameters: Any, _: None) -> Any:
            weights, bias = parameters
            a = jax.nn.sigmoid(x @ weights + bias)
            error = a - y
            slope = error * a * (1 - a) * (2 * rate / len(y))
            return (weights - x.T @ slope, bias - slope.sum()), jnp.mean(error * error)

        return jax.lax.scan(step, (weights, bias), None, length=epochs)

    compiled = jax.jit(scan, static_argnums=5)

    def train(features, labels, initial_weights, initial_bias, rate, epochs):  # type: ignore[no-untyped-def]
        rows, wanted = np.array(features), np.array(labels, dtype=float)
        (weights, bias), losses = compiled(
            rows, wanted, np.array(initial_weights), initial_bias, rate, epochs
        )
        rounded = (np.round(np.asarray(a), 4).tolist() for a in (weights, bias, losses))
        return tuple(rounded)

    return repeated(lambda: train(*arguments))


PROVIDERS: dict[str, Callable[[Any], Run]] = {
    "fastbp": with_fastbp,
    "NumPy": with_numpy,
    "PyTorch": with_pytorch,
    "JAX": with_jax,
}
