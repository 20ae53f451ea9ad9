"""The outputs of given models: a sigmoid neuron, and a ReLU network with linear output.

A provider takes a model and returns a function of the number of calls, which predicts the same rows
that many times, from NumPy arrays to NumPy arrays, and returns the outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench import THREADS
from bench.workloads import networks, neurons

Run = Callable[[int], Any]


def repeated(predict: Callable[[], Any]) -> Run:
    """Return a function of the number of calls."""

    def run(calls: int) -> Any:
        for _ in range(calls - 1):
            predict()
        return predict()

    return run


def neuron_outputs(p: neurons.Problem, calls: int) -> Any:
    """Return what the tests' oracle says."""
    from tests import reference

    return reference.sigmoid(p.x @ p.weights)


def network_outputs(p: networks.Problem, calls: int) -> Any:
    """Return what the tests' oracle says."""
    from tests import reference

    return reference.outputs(p.x, p.weights, p.biases, networks.activations(p))[1][-1]


def neuron_fastbp(p: neurons.Problem) -> Run:
    import fastbp

    return repeated(lambda: fastbp.predict_neuron(p.x, p.weights, 0.0))


def neuron_numpy(p: neurons.Problem) -> Run:
    return repeated(lambda: 1.0 / (1.0 + np.exp(-(p.x @ p.weights))))


def neuron_pytorch(p: neurons.Problem) -> Run:
    import torch

    torch.set_num_threads(THREADS)
    weights = torch.from_numpy(p.weights)
    return repeated(lambda: torch.sigmoid(torch.mv(torch.from_numpy(p.x), weights)).numpy())


def neuron_jax(p: neurons.Problem) -> Run:
    import jax

    jax.config.update("jax_enable_x64", True)
    weights = jax.numpy.asarray(p.weights)
    predict = jax.jit(lambda x: jax.nn.sigmoid(x @ weights))
    return repeated(lambda: np.asarray(predict(p.x)))


def neuron_scikit_learn(p: neurons.Problem) -> Run:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression()
    model.coef_, model.intercept_, model.classes_ = p.weights[None], np.zeros(1), np.array([0, 1])
    return repeated(lambda: model.predict_proba(p.x)[:, 1])


def network_fastbp(p: networks.Problem) -> Run:
    import fastbp

    names = networks.activations(p)
    return repeated(lambda: fastbp.predict_network(p.x, p.weights, p.biases, activations=names))


def network_fit(p: networks.Problem) -> Run:
    """The same as ``network_fastbp``, by the method of a fit."""
    import fastbp

    names = networks.activations(p)
    fit = fastbp.fit_network(
        p.x, p.y, p.weights, p.biases, p.rate, 0, activations=names, loss="half_mse"
    )
    return repeated(lambda: fit.predict(p.x))


def network_numpy(p: networks.Problem) -> Run:
    def predict() -> np.ndarray:
        a = p.x
        for w, b in zip(p.weights[:-1], p.biases[:-1], strict=True):
            a = np.maximum(a @ w + b, 0.0)
        return a @ p.weights[-1] + p.biases[-1]

    return repeated(predict)


def network_pytorch(p: networks.Problem) -> Run:
    import torch

    torch.set_num_threads(THREADS)
    layers = [
        (torch.from_numpy(b), torch.from_numpy(w)) for w, b in zip(p.weights, p.biases, strict=True)
    ]

    @torch.no_grad()
    def predict() -> np.ndarray:
        a = torch.from_numpy(p.x)
        for b, w in layers[:-1]:
            a = torch.addmm(b, a, w).clamp_(min=0.0)
        return torch.addmm(layers[-1][0], a, layers[-1][1]).numpy()  # type: ignore[no-any-return]

    return repeated(predict)


def network_jax(p: networks.Problem) -> Run:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    weights, biases = [jnp.asarray(w) for w in p.weights], [jnp.asarray(b) for b in p.biases]

    @jax.jit
    def predict(x: Any) -> Any:
        for w, b in zip(weights[:-1], biases[:-1], strict=True):
            x = jnp.maximum(x @ w + b, 0.0)
        return x @ weights[-1] + biases[-1]

    return repeated(lambda: np.asarray(predict(p.x)))


def network_scikit_learn(p: networks.Problem) -> Run:
    model = networks.scikit_learn_model(p, 1)
    zeros = np.zeros((p.batch_size, p.y.shape[1]))
    model.partial_fit(np.zeros_like(p.x[: p.batch_size]), zeros)
    model.coefs_, model.intercepts_ = p.weights, p.biases
    return repeated(lambda: model.predict(p.x))


NEURON_PROVIDERS: dict[str, Callable[[Any], Run]] = {
    "fastbp": neuron_fastbp,
    "NumPy": neuron_numpy,
    "PyTorch": neuron_pytorch,
    "JAX": neuron_jax,
    "scikit-learn": neuron_scikit_learn,
}
NETWORK_PROVIDERS: dict[str, Callable[[Any], Run]] = {
    "fastbp": network_fastbp,
    "NumPy": network_numpy,
    "PyTorch": network_pytorch,
    "JAX": network_jax,
    "scikit-learn": network_scikit_learn,
}
FIT_PROVIDERS = {**NETWORK_PROVIDERS, "fastbp": network_fit}
