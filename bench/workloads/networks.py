"""Networks trained by different libraries: ReLU hidden, linear output, half_mse.

As in ``neurons.py``: a provider takes a problem and returns a function of the number of epochs that
gives weights, biases and losses.
"""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bench import THREADS


class Problem(NamedTuple):
    """Rows in whole batches, initial parameters and the learning rate."""

    x: np.ndarray
    y: np.ndarray
    weights: list[np.ndarray]
    biases: list[np.ndarray]
    batch_size: int
    rate: float


Run = Callable[[int], tuple[Any, Any, Any]]


def activations(p: Problem) -> list[str]:
    """Return one name per layer."""
    return ["relu"] * (len(p.weights) - 1) + ["identity"]


def problem(sizes: tuple[int, ...], rows: int, batch_size: int, dtype: str = "float64") -> Problem:
    """Return a problem of the given size, the same each time: initial parameters as Glorot's."""
    rng = np.random.default_rng([rows, *sizes])
    weights = [
        rng.uniform(-1.0, 1.0, (i, o)) * np.sqrt(6.0 / (i + o))
        for i, o in itertools.pairwise(sizes)
    ]
    biases = [np.zeros(o) for o in sizes[1:]]
    x, y = rng.standard_normal((rows, sizes[0])), rng.standard_normal((rows, sizes[-1]))
    x, y = x.astype(dtype), y.astype(dtype)
    weights, biases = ([a.astype(dtype) for a in arrays] for arrays in (weights, biases))
    return Problem(x, y, weights, biases, batch_size, 1e-4)


def expected(p: Problem, epochs: int) -> tuple[Any, Any, Any]:
    """Return what the tests' oracle says."""
    from tests import reference

    return reference.fit_network(
        p.x, p.y, p.weights, p.biases, p.rate, epochs,
        activations=activations(p), loss="half_mse", batch_size=p.batch_size,
    )  # fmt: skip


def with_fastbp(p: Problem) -> Run:
    """This package."""
    import fastbp

    def train(epochs: int) -> tuple[Any, Any, Any]:
        return tuple(
            fastbp.fit_network(
                p.x, p.y, p.weights, p.biases, p.rate, epochs, activations=activations(p),
                loss="half_mse", batch_size=p.batch_size, n_threads=THREADS, dtype=p.x.dtype,
            )
        )  # fmt: skip

    return train


def with_numpy(p: Problem) -> Run:
    """The plain loop, on NumPy's BLAS."""

    def train(epochs: int) -> tuple[Any, Any, Any]:
        x, y, weights, biases, size, rate = p
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


def with_pytorch(p: Problem) -> Run:
    """PyTorch."""
    import torch

    torch.set_num_threads(THREADS)
    x, y = torch.from_numpy(p.x), torch.from_numpy(p.y)

    @torch.no_grad()
    def train(epochs: int) -> tuple[Any, Any, Any]:
        size, rate = p.batch_size, p.rate
        weights = [torch.from_numpy(w).clone() for w in p.weights]
        biases = [torch.from_numpy(b).clone() for b in p.biases]
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


def with_jax(p: Problem) -> Run:
    """JAX: `jit` of a `lax.scan` over the batches within one over the epochs."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    size, rate = p.batch_size, p.rate
    x = jnp.asarray(p.x).reshape(-1, size, p.x.shape[1])
    y = jnp.asarray(p.y).reshape(-1, size, p.y.shape[1])
    start = tuple(tuple(jnp.asarray(a) for a in group) for group in p[2:4])

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


def scikit_learn_model(p: Problem, epochs: int) -> Any:
    """Return an unfitted MLPRegressor that begins with the problem's parameters."""
    from sklearn.neural_network import MLPRegressor

    class Started(MLPRegressor):  # type: ignore[misc]
        def _init_coef(self, fan_in: int, fan_out: int, dtype: Any) -> Any:
            self.layers_begun = getattr(self, "layers_begun", -1) + 1
            return p.weights[self.layers_begun].copy(), p.biases[self.layers_begun].copy()

    hidden = tuple(len(b) for b in p.biases[:-1])
    return Started(
        hidden_layer_sizes=hidden, solver="sgd", alpha=0.0, batch_size=p.batch_size,
        learning_rate_init=p.rate, max_iter=epochs, shuffle=False, tol=0.0, momentum=0.0,
        n_iter_no_change=epochs + 1,
    )  # fmt: skip


def with_scikit_learn(p: Problem) -> Run:
    """scikit-learn's MLPRegressor, whose loss divides by the outputs: not compared."""
    from sklearn.exceptions import ConvergenceWarning

    y = p.y[:, 0] if p.y.shape[1] == 1 else p.y

    def train(epochs: int) -> tuple[Any, Any, Any]:
        model = scikit_learn_model(p, epochs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(p.x, y)
        return model.coefs_, model.intercepts_, None

    return train


PROVIDERS: dict[str, Callable[[Problem], Run]] = {
    "fastbp": with_fastbp,
    "NumPy": with_numpy,
    "PyTorch": with_pytorch,
    "JAX": with_jax,
    "scikit-learn": with_scikit_learn,
}
