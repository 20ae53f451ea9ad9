"""The multi-layer perceptrons with scikit-learn's interface, beside scikit-learn's own.

    python -m bench.estimators

compares whole trainings, one thread each, in turns, and rewrites the README's table of them and
``curves.png`` beside this file. Some of them are also workloads of ``pytest bench``.
"""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import THREADS

CURVES = Path(__file__).with_name("curves.png")
DIGITS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "solver='sgd'": {"solver": "sgd"},
    "hidden_layer_sizes=(32, 16), batch_size=32": {
        "hidden_layer_sizes": (32, 16),
        "batch_size": 32,
    },
}
ROUNDS = 5


class Problem(NamedTuple):
    """Rows and targets, and what the class is called with."""

    x: np.ndarray
    y: np.ndarray
    kind: str
    parameters: dict[str, Any]


def problem(data: str, **parameters: Any) -> Problem:
    """Return "digits", or standardised "breast cancer" or "diabetes" (targets, too)."""
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
    """Train to the end, which is often that of the epochs."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model_of(p, provider).fit(p.x, p.y)


def training(provider: str) -> Callable[[Problem], Callable[[int], Any]]:
    """Return what prepares whole trainings; they give losses and predictions."""

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


# --- the README's comparison --------------------------------------------------------------------


def compare(p: Problem) -> dict[str, tuple[float, Any]]:
    """Return the least seconds of each provider, in turns, and its model of the training part."""
    from sklearn.model_selection import train_test_split

    x, x_test, y, y_test = train_test_split(p.x, p.y, random_state=0)
    part = p._replace(x=x, y=y)
    best: dict[str, tuple[float, Any]] = {}
    for _ in range(ROUNDS + 1):  # the first one compiles
        for provider in PROVIDERS:
            started = time.perf_counter()
            model = fitted(part, provider)
            seconds = time.perf_counter() - started
            model.test_score_ = model.score(x_test, y_test)
            if provider not in best or seconds < best[provider][0]:
                best[provider] = seconds, model
    return best


def rows() -> tuple[list[list[str]], dict[str, Any]]:
    """Return the table's rows and, for the picture, the models by title and provider."""
    trainings = {
        **{f"digits, {name}": make() for name, make in PROBLEMS.items()},
        "breast cancer, defaults": problem("breast cancer"),
        "diabetes, defaults": problem("diabetes"),
    }
    table, models = [], {}
    for title, p in trainings.items():
        found = compare(p)
        (ours, model), (theirs, other) = (found[name] for name in PROVIDERS)
        models[title] = {name: found[name][1] for name in PROVIDERS}
        n = min(model.n_iter_, other.n_iter_)
        apart = np.abs(np.divide(model.loss_curve_[:n], other.loss_curve_[:n]) - 1.0).max()
        table.append([
            title,
            f"{model.n_iter_} / {other.n_iter_}",
            f"{model.test_score_:.4f} / {other.test_score_:.4f}",
            f"{apart:.0e}",
            f"{ours:.3f} / {theirs:.3f}",
            f"{theirs / ours:.1f}",
        ])  # fmt: skip
    return table, models


def draw(models: dict[str, Any], path: Path = CURVES) -> None:
    """Draw loss curves, one on the other."""
    from matplotlib.figure import Figure

    from bench.charts import COLOURS

    figure = Figure(figsize=(11.0, 3.6), dpi=130, layout="constrained")
    titles = [title for title in models if title.endswith("defaults")]
    for axes, title in zip(figure.subplots(1, 3), titles, strict=True):
        theirs, ours = (models[title][name].loss_curve_ for name in ("scikit-learn", "fastbp"))
        axes.plot(theirs, color=COLOURS["scikit-learn"], linewidth=6.0, alpha=0.35)
        axes.plot(ours, color=COLOURS["fastbp"], linewidth=1.5)
        axes.set_yscale("log")
        axes.set_title(title.removesuffix(", defaults"), loc="left", fontsize=11)
        axes.set_xlabel("epoch")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.axes[0].set_ylabel("loss")
    figure.axes[-1].legend(["scikit-learn", "fastbp"], frameon=False)
    figure.savefig(path)


def main() -> None:
    """Rewrite the README's table, and draw the curves."""
    from bench.report import README, replaced, table

    found, models = rows()
    head = (
        "both: fastbp / scikit-learn", "epochs", "score on a test set", "losses apart by",
        "seconds", "times as fast",
    )  # fmt: skip
    text = table(head, found)
    README.write_text(replaced(README.read_text(), "estimators", text, "bench.estimators"))
    draw(models)
    print(text)


if __name__ == "__main__":
    main()
