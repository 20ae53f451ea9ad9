"""The same training by different libraries: one sigmoid neuron, mean squared error, full batch.

Each provider takes a problem and returns a function of the number of epochs that trains from the
start values and gives (weights, bias, losses). Conversion and compilation are done before that.
All compute in float64.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Problem(NamedTuple):
    """Rows, labels, start weights (the bias starts at 0) and the learning rate."""

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    rate: float


Train = Callable[[int], tuple[Any, float, Any]]


def fastbp_provider(problem: Problem, n_threads: int = 1) -> Train:
    """This package."""
    import fastbp

    def train(epochs: int) -> tuple[Any, float, Any]:
        x, y, weights, rate = problem
        return tuple(fastbp.fit_neuron(x, y, weights, 0.0, rate, epochs, n_threads=n_threads))

    return train


def numpy_provider(problem: Problem) -> Train:
    """The plain loop."""

    def train(epochs: int) -> tuple[Any, float, Any]:
        x, y, weights, rate = problem
        bias, losses, n = 0.0, np.empty(epochs), len(y)
        for epoch in range(epochs):
            a = 1.0 / (1.0 + np.exp(-(x @ weights + bias)))
            error = a - y
            losses[epoch] = np.mean(error**2)
            dz = error * a * (1.0 - a) * (2.0 / n)
            weights = weights - rate * (x.T @ dz)
            bias -= rate * dz.sum()
        return weights, bias, losses

    return train


def torch_provider(problem: Problem) -> Train:
    """PyTorch, the gradient written out: faster here than its autograd."""
    import torch

    torch.set_num_threads(1)
    x, y, start = (torch.from_numpy(a) for a in problem[:3])
    scale = 2.0 / len(y)

    @torch.no_grad()
    def train(epochs: int) -> tuple[Any, float, Any]:
        weights, bias = start.clone(), torch.zeros((), dtype=torch.float64)
        losses = torch.empty(epochs, dtype=torch.float64)
        for epoch in range(epochs):
            a = torch.sigmoid(torch.mv(x, weights) + bias)
            error = a - y
            losses[epoch] = torch.mean(error * error)
            dz = error * a * (1.0 - a) * scale
            weights -= problem.rate * torch.mv(x.T, dz)
            bias -= problem.rate * dz.sum()
        return weights.numpy(), float(bias), losses.numpy()

    return train


def jax_provider(problem: Problem) -> Train:
    """JAX: `jit` of a `lax.scan` over the epochs, the gradient written out."""
    import functools

    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    x, y, start = (jnp.asarray(a) for a in problem[:3])
    scale = 2.0 / len(y)

    @functools.partial(jax.jit, static_argnums=2)
    def scan(x: Any, y: Any, epochs: int) -> Any:
        def step(carry: Any, _: None) -> Any:
            weights, bias = carry
            a = jax.nn.sigmoid(x @ weights + bias)
            error = a - y
            dz = error * a * (1.0 - a) * scale
            weights = weights - problem.rate * (x.T @ dz)
            bias = bias - problem.rate * dz.sum()
            return (weights, bias), jnp.mean(error * error)

        return jax.lax.scan(step, (start, jnp.zeros(())), None, length=epochs)

    def train(epochs: int) -> tuple[Any, float, Any]:
        (weights, bias), losses = scan(x, y, epochs)
        return np.asarray(weights), float(bias), np.asarray(losses)

    return train


PROVIDERS: dict[str, Callable[[Problem], Train]] = {
    "fastbp": fastbp_provider,
    "NumPy": numpy_provider,
    "PyTorch": torch_provider,
    "JAX": jax_provider,
}
MODULES = {"PyTorch": "torch", "JAX": "jax"}


def installed(providers: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the providers that can run here, and the names of those that cannot."""
    missing = [n for n, module in MODULES.items() if importlib.util.find_spec(module) is None]
    return {n: p for n, p in providers.items() if n not in missing}, missing
