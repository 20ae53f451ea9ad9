"""How goals are reached, and that the ways to a solution agree on what is minimized."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.providers import installed
from bench.workloads import goals, perceptrons, solutions


@pytest.mark.parametrize("needed", [1, 2, 3, 7, 8, 64, 100])
def test_the_fewest_iterations(needed: int) -> None:
    assert goals.fewest(lambda count: count >= needed, 100) == needed
    assert goals.fewest(lambda count: count >= needed, needed - 1 or 1) == (
        None if needed > 1 else 1
    )


def test_the_fastest_way_of_those_that_reach_the_goal() -> None:
    work = np.zeros(2_000_000)
    ways = {
        "never": lambda count: 0,
        "slow": lambda count: count + work.sum(),
        "fast": lambda count: count,
    }
    found = goals.fastest(ways, lambda answer: answer >= 5, 10)
    assert found.note == {"iterations": 5, "reached": True, "way": "fast"}
    assert found(2) == 5
    found = goals.tried(ways["never"], lambda answer: answer >= 5, 10)
    assert found.note == {"iterations": 10, "reached": False, "way": ""}
    with pytest.raises(AssertionError, match="not reached in 10 iterations"):
        goals.solved(ways["never"], lambda answer: answer >= 5, 10)


def small(kind: str) -> solutions.Problem:
    random = np.random.default_rng(0)
    x = random.standard_normal((50, 3))
    y: Any = x @ [1.0, -1.0, 0.5] + random.standard_normal(50)
    if kind != "numbers":
        y = np.digitize(y, [0.0] if kind == "two classes" else [-1.0, 1.0])
    return solutions.Problem(x, y, 3 if kind == "three classes" else 1, 0.0)


@pytest.mark.parametrize("kind", ["numbers", "two classes", "three classes"])
def test_gradients(kind: str) -> None:
    p = small(kind)
    gradient = solutions.with_numpy(p)
    flat = np.random.default_rng(1).standard_normal(4 * p.outputs)
    value, slopes = gradient(flat)
    numerical = [
        (gradient(flat + step)[0] - gradient(flat - step)[0]) / 2e-6
        for step in 1e-6 * np.eye(len(flat))
    ]
    np.testing.assert_allclose(slopes, numerical, rtol=1e-7, atol=1e-8)
    if installed("JAX"):
        others, their_slopes = solutions.with_jax(p)(flat, p.x, p.y)
        np.testing.assert_allclose(value, others, rtol=1e-13)
        np.testing.assert_allclose(slopes, their_slopes, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("provider", perceptrons.PROVIDERS)
@pytest.mark.parametrize(("data", "goal"), [("digits", 2.0), ("numbers", 0.8)])
def test_perceptrons_reach_a_goal(
    provider: str, data: str, goal: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (installed(provider) and installed("scikit-learn")):
        pytest.skip(f"{provider} is not installed")
    monkeypatch.setattr(perceptrons, "SEEDS", range(1))
    p = perceptrons.problem(data, goal)
    found = perceptrons.PROVIDERS[provider](p)
    assert found.reached
    assert perceptrons.loss(p, found(1)) <= goal
