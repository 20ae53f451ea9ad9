"""Comparing times on a noisy machine: calls take turns, the fastest of several rounds counts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

ROUNDS = 7
ROUND_SECONDS = 0.15
Train = Callable[[int], Any]
"""Trains for a number of epochs."""


def epochs_for(train: Train) -> int:
    """Return how many epochs take about ROUND_SECONDS, compiled for that number."""
    epochs = 1
    while True:
        train(epochs)
        started = time.perf_counter()
        train(epochs)
        seconds = time.perf_counter() - started
        if seconds > ROUND_SECONDS / 2:
            return epochs
        epochs = max(epochs + 1, int(epochs * min(100.0, ROUND_SECONDS / max(seconds, 1e-6))))


def interleaved(calls: dict[Any, Callable[[], object]], rounds: int) -> dict[Any, float]:
    """Return each call's fastest time in seconds, the calls taking turns."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - started)
    return best


def seconds_per_epoch(trains: dict[str, Train]) -> dict[str, float]:
    """Return each provider's fastest seconds an epoch."""
    epochs = {name: epochs_for(train) for name, train in trains.items()}
    calls = {name: (lambda n=name: trains[n](epochs[n])) for name in trains}
    return {name: t / epochs[name] for name, t in interleaved(calls, ROUNDS).items()}


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def on_one_processor() -> None:
    """Bind the process to one processor, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
