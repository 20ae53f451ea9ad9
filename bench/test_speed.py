"""Every workload by every provider: the answers, then the times (see ``workloads/registry.py``).

The providers of a workload take turns in a process of their own, so that all of them meet the same
load on the machine. What was measured there is played back to pytest-benchmark, whose figures are
seconds per epoch, call, fit or process.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.providers import installed


class Playback:
    """A clock that goes on by a time measured before whenever `round` is called."""

    def __init__(self) -> None:
        self.now = 0.0
        self.times: list[float] = []

    def __call__(self) -> float:
        return self.now

    def round(self) -> None:
        if self.times:  # none are left where pytest-benchmark is told not to time
            self.now += self.times.pop(0)


CLOCK = Playback()


@pytest.mark.benchmark(timer=CLOCK)
def test_speed(benchmark: Any, measurements: Any, title: str, provider: str) -> None:
    if not installed(provider):
        pytest.skip(f"{provider} is not installed")
    seconds, known = measurements.times(title, provider)
    benchmark.group = title
    benchmark.name = provider
    benchmark.extra_info.update(known)
    CLOCK.times = list(seconds)
    benchmark.pedantic(CLOCK.round, rounds=len(seconds))
    assert benchmark.disabled or not CLOCK.times
