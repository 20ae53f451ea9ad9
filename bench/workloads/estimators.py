"""The multi-layer perceptrons with scikit-learn's interface, beside scikit-learn's own."""

from __future__ import annotations

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


class Problem(NamedTuple):
    """Rows and targets, and what the class is called with."""

    x: np.ndarray
    y: np.ndarray
    kind: str
    parameters: dict[str, Any]


def problem(data: str, **parameters: Any) -> Problem:
    """Return "digits", or "breast cancer" or "diabetes" with standardized numbers."""
    from sklearn import datasets
    from sklearn.preprocessing import scale

    if data == "digits":
        return Problem(*datasets.load_digits(return_X_y=True), "MLPClassifier", parameters)
    if data == "breast cancer":
        x, y = datasets.load_breast_cancer(return_X_y=True)
        return Problem(scale(x), y, "MLPClassifier", parameters)
    x, y = datasets.load_diabetes(return_X_y=True)
    return Problem(scale(x), scale(y), "MLPRegressor", parameters)


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


def expected_training(p: Problem, fits: int) -> Any:
    """Return what scikit-learn's own class gives."""
    return training("scikit-learn")(p)(1)


def expected_prediction(p: Problem, calls: int) -> Any:
    """Return what scikit-learn's own class gives."""
    return prediction("scikit-learn")(p)(1)


PROVIDERS = {name: training(name) for name in ("fastbp", "scikit-learn")}
PREDICTIONS = {name: prediction(name) for name in ("fastbp", "scikit-learn")}
PROBLEMS = {name: functools.partial(problem, "digits", **kw) for name, kw in DIGITS.items()}
