"""Fits that end as soon as they have reached a goal, so that all are timed to the same result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Fit = Callable[[int], Any]
"""A complete fit of at most that many iterations or epochs, which returns an answer."""
TRIALS = 3  # of each way, to find the fastest


@dataclass(frozen=True)
class Solution:
    """A fit with the fewest iterations that reach the goal, run as often as it is told to.

    `way` is the fastest of several, and empty if there is one; if the goal is not `reached`,
    `iterations` are the most that were allowed.
    """

    fit: Fit
    iterations: int
    reached: bool = True
    way: str = ""

    def __call__(self, fits: int) -> Any:
        """Return the answer of the last fit."""
        for _ in range(fits):
            answer = self.fit(self.iterations)
        return answer

    @property
    def note(self) -> dict[str, Any]:
        """What is saved beside the times."""
        return {"iterations": self.iterations, "reached": self.reached, "way": self.way}


def fewest(reaches: Callable[[int], bool], most: int) -> int | None:
    """Return the fewest iterations, up to `most`, that reach a goal, or None.

    Where one more iteration may lead away from the goal, fewer ones that reach it may be missed.
    """
    short, enough = 0, 1
    while not reaches(enough):
        if enough == most:
            return None
        short, enough = enough, min(2 * enough, most)
    while enough - short > 1:
        middle = (short + enough) // 2
        if reaches(middle):
            enough = middle
        else:
            short = middle
    return enough


def tried(fit: Fit, reaches: Callable[[Any], bool], most: int, way: str = "") -> Solution:
    """Return the shortest fit that reaches the goal, or the longest if none does."""
    iterations = fewest(lambda count: reaches(fit(count)), most)
    return Solution(fit, iterations or most, iterations is not None, way)


def solved(fit: Fit, reaches: Callable[[Any], bool], most: int) -> Solution:
    """Return the shortest fit that reaches the goal; raise AssertionError if none does."""
    return fastest({"": fit}, reaches, most)


def fastest(fits: Mapping[str, Fit], reaches: Callable[[Any], bool], most: int) -> Solution:
    """Return the fastest of several ways to reach the goal, by a few trials.

    Raises AssertionError if none does.
    """
    found = [tried(fit, reaches, most, way) for way, fit in fits.items()]
    found = [solution for solution in found if solution.reached]
    assert found, f"the goal was not reached in {most} iterations or epochs"
    return found[0] if len(found) == 1 else min(found, key=_seconds)


def _seconds(solution: Solution) -> float:
    times = []
    for _ in range(TRIALS):
        started = time.perf_counter()
        solution(1)
        times.append(time.perf_counter() - started)
    return min(times)
