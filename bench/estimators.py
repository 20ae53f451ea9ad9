"""Full training runs of the multi-layer perceptrons, fastbp's and scikit-learn's.

    python -m bench.estimators [--write]

The two take turns, one thread each. With ``--write`` their times and scores become the table in
``bench/README.md``, their loss curves ``curves.png`` beside it; otherwise they are only shown.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from bench import TOP, charts, readme
from bench.workloads.estimators import PROBLEMS, PROVIDERS, Problem, fitted, problem

ROUNDS = 5
HEAD = (
    "both: fastbp / scikit-learn", "epochs", "score on a test set", "losses differ by",
    "seconds", "times as fast",
)  # fmt: skip


def compare(p: Problem) -> dict[str, tuple[float, Any]]:
    """Return each provider's shortest time in seconds, and its model of the training part."""
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


def main() -> None:
    """Compare and show the table; if asked to, write it and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="write bench/README.md and curves.png")
    write = parser.parse_args().write
    found, models = rows()
    text = readme.table(HEAD, found)
    print(text)
    if not write:
        return
    readme.rewrite(readme.BENCH_README, {"estimators": text}, "bench.estimators")
    charts.draw_curves(models)
    print(f"{charts.CURVES.relative_to(TOP)}: drawn")


if __name__ == "__main__":
    main()
