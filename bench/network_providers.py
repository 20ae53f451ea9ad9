"""The same network training by different libraries: ReLU hidden, linear output, half_mse.

Each provider takes a problem and returns a function of the number of epochs that trains from the
start values and gives (weights, biases, losses). Conversion and compilation are done before that.
All compute in float64, with the gradient written out, which is faster here than autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class NetworkProblem(NamedTuple):
    """Rows in whole batches, start values and the learning rate."""

    x: np.ndarray
    y: np.ndarray
    weights: list[np.ndarray]
    biases: list[np.ndarray]
    batch_size: int
    rate: float


Train = Callable[[int], tuple[Any, Any, Any]]


def activations(problem: NetworkProblem) -> list[str]:
    """One a layer."""
    return ["relu"] * (len(problem.weights) - 1) + ["identity"]


def fastbp_provider(problem: NetworkProblem, n_threads: int = 1) -> Train:
    """This package."""
    import fastbp

    def train(epochs: int) -> tuple[Any, Any, Any]:
        x, y, weights, biases, batch_size, rate = problem
        return tuple(
            fastbp.fit_network(
                x, y, weights, biases, rate, epochs, activations=activations(problem),
                loss="half_mse", batch_size=batch_size, n_threads=n_threads,
            )
        )  # fmt: skip

    return train


def numpy_provider(problem: NetworkProblem) -> Train:
    """The plain loop, on NumPy's BLAS."""

    def train(epochs: int) -> tuple[Any, Any, Any]:
        x, y, weights, biases, size, rate = problem
        weights, biases = [w.copy() for w in weights], [b.copy() for b in biases]
        losses = np.empty(epochs)
        for epoch in range(epochs):
            total = 0.0
            for start in range(0, len(x), size):
                outputs = [x[start : start + size]]
                for w, b in zip(weights[:-1], biases[:-1], strict=True):
                    outputs.append(np.maximum(outputs[-1] @ w + b, 0.0))
                dz = outputs[-1] @ weights[-1] + biases[-1] - y[start : start + size]
                total += 0.5 * np.vdot(dz, dz)
                dz /= size
                for layer in range(len(weights) - 1, -1, -1):
                    dw, db = outputs[layer].T @ dz, dz.sum(axis=0)
                    if layer:
                        dz = (dz @ weights[layer].T) * (outputs[layer] > 0.0)
                    weights[layer] -= rate * dw
                    biases[layer] -= rate * db
            losses[epoch] = total / len(x)
        return weights, biases, losses

    return train


def torch_provider(problem: NetworkProblem) -> Train:
    """PyTorch."""
    import torch

    torch.set_num_threads(1)
    x, y = torch.from_numpy(problem.x), torch.from_numpy(problem.y)

    @torch.no_grad()
    def train(epochs: int) -> tuple[Any, Any, Any]:
        size, rate = problem.batch_size, problem.rate
        weights = [torch.from_numpy(w).clone() for w in problem.weights]
        biases = [torch.from_numpy(b).clone() for b in problem.biases]
        losses = torch.empty(epochs, dtype=torch.float64)
        for epoch in range(epochs):
            total = torch.zeros((), dtype=torch.float64)
            for start in range(0, len(x), size):
                outputs = [x[start : start + size]]
                for w, b in zip(weights[:-1], biases[:-1], strict=True):
                    outputs.append(torch.addmm(b, outputs[-1], w).clamp_(min=0.0))
                dz = torch.addmm(biases[-1], outputs[-1], weights[-1]) - y[start : start + size]
                total += 0.5 * (dz * dz).sum()
                dz /= size
                for layer in range(len(weights) - 1, -1, -1):
                    before = dz
                    if layer:
                        dz = torch.mm(before, weights[layer].T) * (outputs[layer] > 0.0)
                    weights[layer].addmm_(outputs[layer].T, before, alpha=-rate)
                    biases[layer].sub_(before.sum(dim=0), alpha=rate)
            losses[epoch] = total / len(x)
        return [w.numpy() for w in weights], [b.numpy() for b in biases], losses.numpy()

    return train


def jax_provider(problem: NetworkProblem) -> Train:
    """JAX: `jit` of a `lax.scan` over the batches within one over the epochs."""
    import functools

    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    size, rate = problem.batch_size, problem.rate
    x = jnp.asarray(problem.x).reshape(-1, size, problem.x.shape[1])
    y = jnp.asarray(problem.y).reshape(-1, size, problem.y.shape[1])
    start = tuple(tuple(jnp.asarray(p) for p in group) for group in problem[2:4])

    def step(parameters: Any, batch: Any) -> Any:
        weights, biases = map(list, parameters)
        outputs = [batch[0]]
        for w, b in zip(weights[:-1], biases[:-1], strict=True):
            outputs.append(jnp.maximum(outputs[-1] @ w + b, 0.0))
        dz = outputs[-1] @ weights[-1] + biases[-1] - batch[1]
        loss = 0.5 * jnp.sum(dz * dz)
        dz = dz / size
        for layer in range(len(weights) - 1, -1, -1):
            dw, db = outputs[layer].T @ dz, dz.sum(axis=0)
            if layer:
                dz = (dz @ weights[layer].T) * (outputs[layer] > 0.0)
            weights[layer] = weights[layer] - rate * dw
            biases[layer] = biases[layer] - rate * db
        return (tuple(weights), tuple(biases)), loss

    @functools.partial(jax.jit, static_argnums=2)
    def scan(x: Any, y: Any, epochs: int) -> Any:
        def epoch(parameters: Any, _: None) -> Any:
            parameters, losses = jax.lax.scan(step, parameters, (x, y))
            return parameters, losses.sum() / (x.shape[0] * size)

        return jax.lax.scan(epoch, start, None, length=epochs)

    def train(epochs: int) -> tuple[Any, Any, Any]:
        (weights, biases), losses = scan(x, y, epochs)
        return [np.asarray(w) for w in weights], [np.asarray(b) for b in biases], np.asarray(losses)

    return train


PROVIDERS: dict[str, Callable[[NetworkProblem], Train]] = {
    "fastbp": fastbp_provider,
    "NumPy": numpy_provider,
    "PyTorch": torch_provider,
    "JAX": jax_provider,
}
