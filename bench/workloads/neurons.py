"""One sigmoid neuron, trained by different libraries.

Each provider takes a problem and returns a function of the number of epochs that trains from the
initial values and gives weights, bias and losses (None where the library defines its loss
differently). Conversion and compilation are done before that. All compute in the type of the rows
(fastbp: in the one that the problem names), with the gradient written out, which is faster here
than automatic differentiation.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bench import THREADS


class Problem(NamedTuple):
    """Rows in whole batches, labels, start weights (the bias starts at 0), rate and loss.

    `arithmetic` is the dtype in which fastbp computes; the others compute in that of the rows.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    rate: float
    loss: str
    batch_size: int
    arithmetic: str = "float64"


Run = Callable[[int], tuple[Any, Any, Any]]


def problem(
    n: int,
    d: int,
    loss: str = "mse",
    batch_size: int | None = None,
    dtype: str = "float64",
    arithmetic: str = "float64",
) -> Problem:
    """Return a problem of the given size, the same each time."""
    rng = np.random.default_rng(n + d)
    x = rng.standard_normal((n, d))
    labels = (x @ rng.standard_normal(d) > 0.0).astype(np.float64)
    numbers = (a.astype(dtype) for a in (x, labels, rng.standard_normal(d) * 0.1))
    return Problem(*numbers, 0.5, loss, batch_size or n, arithmetic)


def expected(p: Problem, epochs: int) -> tuple[Any, Any, Any]:
    """Return what the tests' oracle says."""
    from tests import reference

    return reference.fit_neuron(
        p.x, p.y, p.weights, 0.0, p.rate, epochs, loss=p.loss, batch_size=p.batch_size
    )


def batches(p: Problem) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cut the rows."""
    size = p.batch_size
    return [(p.x[i : i + size], p.y[i : i + size]) for i in range(0, len(p.y), size)]


def with_fastbp(p: Problem) -> Run:
    """This package."""
    import fastbp

    def train(epochs: int) -> tuple[Any, Any, Any]:
        return tuple(
            fastbp.fit_neuron(
                p.x, p.y, p.weights, 0.0, p.rate, epochs,
                loss=p.loss, batch_size=p.batch_size, n_threads=THREADS, dtype=p.arithmetic,
            )
        )  # fmt: skip

    return train


def with_numpy(p: Problem) -> Run:
    """The plain loop."""
    parts = batches(p)

    def train(epochs: int) -> tuple[Any, Any, Any]:
        weights, bias, losses, n = p.weights, 0.0, np.zeros(epochs), p.batch_size
        for epoch in range(epochs):
            for x, y in parts:
                z = x @ weights + bias
                a = 1.0 / (1.0 + np.exp(-z))
                dz = a - y
                if p.loss == "mse":
                    losses[epoch] += np.mean(dz**2)
                    dz = 2.0 * dz * a * (1.0 - a)
                else:
                    losses[epoch] += np.mean(np.logaddexp(0.0, z) - y * z)
                weights = weights - p.rate / n * (x.T @ dz)
                bias -= p.rate / n * dz.sum()
        return weights, bias, losses / len(parts)

    return train


def with_pytorch(p: Problem) -> Run:
    """PyTorch."""
    import torch

    torch.set_num_threads(THREADS)
    parts = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in batches(p)]

    @torch.no_grad()
    def train(epochs: int) -> tuple[Any, Any, Any]:
        step = p.rate / p.batch_size
        weights = torch.from_numpy(p.weights).clone()
        bias = torch.zeros((), dtype=weights.dtype)
        losses = torch.zeros(epochs, dtype=torch.float64)
        for epoch in range(epochs):
            for x, y in parts:
                z = torch.mv(x, weights) + bias
                a = torch.sigmoid(z)
                dz = a - y
                if p.loss == "mse":
                    losses[epoch] += torch.mean(dz * dz)
                    dz = 2.0 * dz * a * (1.0 - a)
                else:
                    losses[epoch] += torch.nn.functional.binary_cross_entropy_with_logits(z, y)
                weights -= step * torch.mv(x.T, dz)
                bias -= step * dz.sum()
        return weights.numpy(), float(bias), losses.numpy() / len(parts)

    return train


def with_jax(p: Problem) -> Run:
    """JAX: `jit` of a `lax.scan` over the batches within one over the epochs."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    n = p.batch_size
    x, y = jnp.asarray(p.x.reshape(-1, n, p.x.shape[1])), jnp.asarray(p.y.reshape(-1, n))
    start = jnp.asarray(p.weights), jnp.zeros((), x.dtype)

    def step(parameters: Any, batch: Any) -> Any:
        (weights, bias), (x, y) = parameters, batch
        z = x @ weights + bias
        a = jax.nn.sigmoid(z)
        dz = a - y
        if p.loss == "mse":
            loss = jnp.mean(dz * dz)
            dz = 2.0 * dz * a * (1.0 - a)
        else:
            loss = jnp.mean(jax.nn.softplus(z) - y * z)
        return (weights - p.rate / n * (x.T @ dz), bias - p.rate / n * dz.sum()), loss

    @functools.partial(jax.jit, static_argnums=2)
    def scan(x: Any, y: Any, epochs: int) -> Any:
        def epoch(parameters: Any, _: None) -> Any:
            if len(x) == 1:
                return step(parameters, (x[0], y[0]))
            parameters, losses = jax.lax.scan(step, parameters, (x, y))
            return parameters, losses.mean()

        return jax.lax.scan(epoch, start, None, length=epochs)

    def train(epochs: int) -> tuple[Any, Any, Any]:
        (weights, bias), losses = scan(x, y, epochs)
        return np.asarray(weights), float(bias), np.asarray(losses)

    return train


def with_scikit_learn(p: Problem) -> Run:
    """scikit-learn: SGDClassifier row by row, a MLPClassifier without hidden layers otherwise."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import SGDClassifier
    from sklearn.neural_network import MLPClassifier

    class Started(MLPClassifier):  # type: ignore[misc]
        def _init_coef(self, fan_in: int, fan_out: int, dtype: Any) -> Any:
            return p.weights[:, None].copy(), np.zeros(1)

    def online(epochs: int) -> tuple[Any, Any, Any]:
        model = SGDClassifier(
            loss="log_loss", penalty=None, learning_rate="constant", eta0=p.rate,
            max_iter=epochs, tol=None, shuffle=False,
        )  # fmt: skip
        model.fit(p.x, p.y, coef_init=p.weights[None].copy(), intercept_init=[0.0])
        return model.coef_[0], model.intercept_[0], None

    def by_batch(epochs: int) -> tuple[Any, Any, Any]:
        model = Started(
            hidden_layer_sizes=(), solver="sgd", alpha=0.0, batch_size=p.batch_size,
            learning_rate_init=p.rate, max_iter=epochs, shuffle=False, tol=0.0, momentum=0.0,
            n_iter_no_change=epochs + 1,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(p.x, p.y)
        return model.coefs_[0][:, 0], model.intercepts_[0][0], None

    return online if p.batch_size == 1 else by_batch


PROVIDERS: dict[str, Callable[[Problem], Run]] = {
    "fastbp": with_fastbp,
    "NumPy": with_numpy,
    "PyTorch": with_pytorch,
    "JAX": with_jax,
}
LOG_LOSS_PROVIDERS = {**PROVIDERS, "scikit-learn": with_scikit_learn}
