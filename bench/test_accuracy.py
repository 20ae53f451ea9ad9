"""Errors of functions and of trained parameters by every provider (see ``workloads/accuracy.py``).

They are saved with the run. Only fastbp is held to a bound.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.providers import installed
from bench.workloads import accuracy, singles
from bench.workloads.neurons import PROVIDERS

ULPS = {"exponential": 1.1, "sigmoid": 2.1, "tanh": 2.0, "log loss": 2.0}
DRIFT_FACTOR = 3.0  # by chance alone the mean of six problems may be twice another


@pytest.fixture(autouse=True)
def at_full_width(measurements: Any) -> None:
    if measurements.avx2:
        pytest.skip("only the measuring processes are held to AVX2")


@pytest.fixture
def quick(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("quick"))


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("name", accuracy.FUNCTIONS)
def test_function(measurements: Any, quick: bool, name: str, provider: str) -> None:
    if not installed(provider):
        pytest.skip(f"{provider} is not installed")
    points = accuracy.POINTS // 10 if quick else accuracy.POINTS
    for way in accuracy.ways(name, provider):
        error = accuracy.function_errors(name, way, points)
        found = measurements.accuracy.setdefault("ulps", {})
        found.setdefault(name, {})[way] = error
    if provider == "fastbp":
        assert error.largest <= ULPS[name]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("epochs", accuracy.EPOCHS)
@pytest.mark.parametrize("dtype", accuracy.UNIT_ROUNDOFFS)
def test_drift(measurements: Any, quick: bool, dtype: str, epochs: int, provider: str) -> None:
    if not installed(provider):
        pytest.skip(f"{provider} is not installed")
    if quick and epochs > 100:
        pytest.skip("a quick run stops at 100 epochs")
    drift = accuracy.drift(provider, epochs, dtype)
    title = accuracy.drift_title(epochs, dtype)
    measurements.accuracy.setdefault("drift", {}).setdefault(title, {})[provider] = drift
    if provider == "fastbp":
        assert drift <= DRIFT_FACTOR * accuracy.drift("NumPy", epochs, dtype)


@pytest.mark.parametrize("name", singles.FUNCTIONS)
def test_function_of_float32(name: str) -> None:
    """A sample; ``python -m bench.accuracy --float32`` takes all arguments."""
    assert singles.errors(name, stride=1021).largest <= (2.3 if name == "sigmoid" else 2.0)


def test_fifty_digits_are_enough() -> None:
    accuracy.check_exact()
