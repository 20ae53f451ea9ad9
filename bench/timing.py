"""Comparing times on a noisy machine: providers take turns, round after round."""

from __future__ import annotations

import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from bench import THREADS
from bench.cases import Case, Checker

PAUSE_SECONDS = 0.3 if THREADS > 1 else 0.0  # idle threads of some libraries spin for a while
READ = "read"  # a provider added to large cases: a plain sum of the features on as many threads
LARGE_BYTES = 2**26  # from here on an epoch reads memory, not a cache


class Prepared:
    """A case whose answers are checked and whose kernels are compiled, ready to be timed.

    If a provider fails, `failed` has its traceback, and the others go on. `notes` are what the
    others say of themselves.

    Parameters
    ----------
    case : Case
    providers : list of str
    seconds : float
        Roughly how long a round of one provider should take.
    clock : str
        A function of the module `time`; "process_time" ignores what other processes take of the
        processor.
    """

    def __init__(
        self, case: Case, providers: list[str], seconds: float, clock: str = "perf_counter"
    ) -> None:
        problem = case.problem()
        checker = Checker(case, problem)
        self._runs: dict[str, Any] = {}
        self.units: dict[str, int] = {}
        self.failed: dict[str, str] = {}
        self.notes: dict[str, dict[str, Any]] = {}
        self._clock = getattr(time, clock)
        for name in providers:
            try:
                run = case.providers[name](problem)
                checker.check(name, run)
                self._add(case, name, run, seconds)
            except Exception:
                self.failed[name] = traceback.format_exc()
        if case.bytes_read >= LARGE_BYTES:
            self._add(case, READ, reader(problem.x), seconds)

    def _add(self, case: Case, name: str, run: Any, seconds: float) -> None:
        self.units[name] = warmed_up(run, case) if case.units else units_for(run, seconds)
        self._runs[name] = run
        self.notes[name] = getattr(run, "note", {})

    def round(self) -> dict[str, float]:
        """Time each provider once; return seconds a unit."""
        times = {}
        for name, run in self._runs.items():
            time.sleep(PAUSE_SECONDS)
            started = self._clock()
            run(self.units[name])
            times[name] = (self._clock() - started) / self.units[name]
        return times


def warmed_up(run: Any, case: Case) -> int:
    """Return the units of a case's round, once everything is compiled for that number."""
    if case.unit != "process":
        run(case.units)
    return case.units


def units_for(run: Any, seconds: float) -> int:
    """Return how many units take about that long, once everything is compiled for that number."""
    units = 1
    while True:
        run(units)
        started = time.perf_counter()
        run(units)
        taken = time.perf_counter() - started
        if taken > seconds / 2:
            return units
        units = max(units + 1, int(units * min(100.0, seconds / max(taken, 1e-6))))


def reader(x: np.ndarray) -> Any:
    """Return a function in which all threads read the rows a given number of times."""
    parts = np.array_split(x.reshape(-1), THREADS)
    pool = ThreadPoolExecutor(THREADS)

    def read(times: int) -> None:
        for _ in range(times):
            list(pool.map(np.sum, parts))

    return read
