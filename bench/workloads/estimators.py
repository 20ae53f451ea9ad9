"""The multi-layer perceptrons with scikit-learn's interface, beside scikit-learn's own."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bench import THREADS

DIGITS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "solver='sgd'": {"solver": "sgd"},
    "hidden_layer_sizes=(32, 16), batch_size=32": {
        "hidden_layer_sizes": (32, 16),
        "batch_size": 32,
    },
}


SINGLE = "digits of float32"


class Problem(NamedTuple):
    """Rows and targets, and what the class is called with."""

    x: np.ndarray
    y: np.ndarray
    kind: str
    parameters: dict[str, Any]


def problem(data: str, **parameters: Any) -> Problem:
    """Return "digits", SINGLE, or "breast cancer" or "diabetes" with standardized numbers."""
    from sklearn import datasets
    from sklearn.preprocessing import scale

    if data.startswith("digits"):
        x, y = datasets.load_digits(return_X_y=True)
        if data == SINGLE:
            x = x.astype(np.float32)
        return Problem(x, y, "MLPClassifier", parameters)
    if data == "breast cancer":
        x, y = datasets.load_breast_cancer(return_X_y=True)
        return Problem(scale(x), y, "MLPClassifier", parameters)
    x, y = datasets.load_diabetes(return_X_y=True)
    return Problem(scale(x), scale(y), "MLPRegressor", parameters)


def few_rows(rows: int) -> Problem:
    """Return the first of the digits, for one update."""
    p = problem("digits")
    return p._replace(x=p.x[:rows].copy(), y=p.y[:rows])


def model_of(p: Problem, provider: str) -> Any:
    """Return a provider's model, not yet fitted."""
    if provider == "fastbp":
        import fastbp

        return getattr(fastbp, p.kind)(random_state=0, n_threads=THREADS, **p.parameters)
    from sklearn import neural_network

    return getattr(neural_network, p.kind)(random_state=0, **p.parameters)


def fitted(p: Problem, provider: str) -> Any:
    """Train until it stops, often at the maximum number of epochs."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model_of(p, provider).fit(p.x, p.y)


def training(provider: str) -> Callable[[Problem], Callable[[int], Any]]:
    """Return what prepares full training runs, which give losses and predictions."""

    def prepare(p: Problem) -> Callable[[int], Any]:
        def run(fits: int) -> Any:
            for _ in range(fits):
                model = fitted(p, provider)
            return model.loss_curve_, model.predict(p.x)

        return run

    return prepare


def prediction(provider: str) -> Callable[[Problem], Callable[[int], Any]]:
    """Return what prepares predictions of one row."""

    def prepare(p: Problem) -> Callable[[int], Any]:
        model, row = fitted(p, provider), p.x[:1].copy()

        def run(calls: int) -> Any:
            for _ in range(calls):
                predicted = model.predict(row)
            return predicted

        return run

    return prepare


def step(provider: str) -> Callable[[Problem], Callable[[int], Any]]:
    """Return what prepares updates by `partial_fit`, which give the last loss and probabilities."""

    def prepare(p: Problem) -> Callable[[int], Any]:
        begun = model_of(p, provider).partial_fit(p.x, p.y, classes=np.unique(p.y))

        def run(calls: int) -> Any:
            model = copy.deepcopy(begun)
            for _ in range(calls):
                model.partial_fit(p.x, p.y)
            return model.loss_, model.predict_proba(p.x)

        return run

    return prepare


def step_by_numpy(p: Problem) -> Callable[[int], Any]:
    """The plain loop, from where scikit-learn's model is after its first update."""
    begun = model_of(p, "scikit-learn").partial_fit(p.x, p.y, classes=np.unique(p.y))
    wanted = (p.y[:, None] == begun.classes_).astype(np.float64)
    adam, n, layers = begun._optimizer, len(p.x), len(begun.coefs_)

    def forward(parameters: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        hidden = np.maximum(p.x @ parameters[0] + parameters[2], 0.0)
        z = hidden @ parameters[1] + parameters[3]
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return hidden, e / e.sum(axis=1, keepdims=True)

    def run(calls: int) -> Any:
        parameters = [a.copy() for a in (*begun.coefs_, *begun.intercepts_)]
        ms, vs = ([a.copy() for a in moments] for moments in (adam.ms, adam.vs))
        for t in range(adam.t + 1, adam.t + 1 + calls):
            hidden, a = forward(parameters)
            penalty = sum(np.vdot(w, w) for w in parameters[:layers])
            loss = -(wanted * np.log(a)).sum() / n + 0.5 * begun.alpha * penalty / n
            dz = a - wanted
            dz_hidden = (dz @ parameters[1].T) * (hidden > 0.0)
            sums = p.x.T @ dz_hidden, hidden.T @ dz
            gradients = [
                *((s + begun.alpha * w) / n for s, w in zip(sums, parameters, strict=False)),
                dz_hidden.mean(axis=0),
                dz.mean(axis=0),
            ]
            rate = adam.learning_rate_init * np.sqrt(1 - adam.beta_2**t) / (1 - adam.beta_1**t)
            for parameter, m, v, gradient in zip(parameters, ms, vs, gradients, strict=True):
                m += (1 - adam.beta_1) * (gradient - m)
                v += (1 - adam.beta_2) * (gradient * gradient - v)
                parameter -= rate * m / (np.sqrt(v) + adam.epsilon)
        return loss, forward(parameters)[1]

    return run


def expected_training(p: Problem, fits: int) -> Any:
    """Return what scikit-learn's own class gives."""
    return training("scikit-learn")(p)(1)


def expected_steps(p: Problem, calls: int) -> Any:
    """Return what scikit-learn's own class gives."""
    return step("scikit-learn")(p)(calls)


def expected_prediction(p: Problem, calls: int) -> Any:
    """Return what scikit-learn's own class gives."""
    return prediction("scikit-learn")(p)(1)


PROVIDERS = {name: training(name) for name in ("fastbp", "scikit-learn")}
PREDICTIONS = {name: prediction(name) for name in ("fastbp", "scikit-learn")}
STEPS = {**{name: step(name) for name in ("fastbp", "scikit-learn")}, "NumPy": step_by_numpy}
PROBLEMS = {name: functools.partial(problem, "digits", **kw) for name, kw in DIGITS.items()}
# Not until they stop: that may be an epoch apart, as their roundings differ.
PROBLEMS["float32, max_iter=100"] = functools.partial(problem, SINGLE, max_iter=100)
