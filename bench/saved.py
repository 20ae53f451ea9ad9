"""Runs that `pytest bench --benchmark-autosave` has saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from bench import TOP
from bench.workloads.registry import CASES

FOLDER = TOP / ".benchmarks"


class Figure(NamedTuple):
    """A provider's fastest round in seconds, and what was saved with it."""

    seconds: float
    known: dict[str, Any]


class Saved:
    """A run: figures by workload and provider, accuracy, the machine.

    Parameters
    ----------
    path : Path
        That of the JSON that pytest-benchmark wrote.
    """

    def __init__(self, path: Path) -> None:
        content = json.loads(path.read_text(encoding="utf-8"))
        self.path = path
        self.when: str = content["datetime"]
        commit = content["commit_info"]
        self.commit: str = commit["id"][:8] + (" and edits" if commit.get("dirty") else "")
        self.quick: bool = content.get("quick", False)
        self.avx2: bool = content.get("avx2", False)  # held to it, on a machine with AVX-512
        self.accuracy: dict[str, Any] = content.get("accuracy", {})
        self.figures: dict[str, dict[str, Figure]] = {}
        for benchmark in content["benchmarks"]:
            figure = Figure(benchmark["stats"]["min"], benchmark["extra_info"])
            self.figures.setdefault(benchmark["group"], {})[benchmark["name"]] = figure

    @property
    def whole(self) -> bool:
        """Whether it is not a quick run and measured every workload of fastbp's.

        One that was held to AVX2 leaves out what depends little on the vectors, and accuracy.
        """
        if self.avx2:
            expected = {title for title, case in CASES.items() if case.by_width}
            return not self.quick and self.measured >= expected
        return not self.quick and bool(self.accuracy.get("drift")) and self.measured >= set(CASES)

    @property
    def gated(self) -> bool:
        """Whether the trend can show it: newer workloads may be missing, gated ones may not."""
        gated = {title for title, case in CASES.items() if case.gated}
        return not self.quick and self.measured >= gated

    @property
    def measured(self) -> set[str]:
        """The workloads that were measured with fastbp."""
        return {title for title, found in self.figures.items() if "fastbp" in found}

    @property
    def processor(self) -> tuple[str, int]:
        """The processor and vector width that its ratios belong to."""
        return self.known["cpu"], self.known["vector_bits"]

    @property
    def known(self) -> dict[str, Any]:
        """What was saved with the first figure; the machine is the same for all."""
        return next(iter(next(iter(self.figures.values())).values())).known

    def ratio(self, title: str, provider: str) -> float:
        """Return how many times as long as fastbp a provider takes; NaN if not measured."""
        found = self.figures.get(title, {})
        if provider not in found or "fastbp" not in found:
            return float("nan")
        return found[provider].seconds / found["fastbp"].seconds


def runs(paths: list[Path]) -> list[Saved]:
    """Return the last whole run of `paths`, or of all that are saved, after those for the trend.

    Those are older runs on the same processor, the oldest first. None was held to AVX2.
    """
    found = [run for run in _all(paths) if not run.avx2]
    last = max((i for i, run in enumerate(found) if run.whole), default=None)
    if last is None:
        return []
    same = [run for run in found[:last] if run.gated and run.processor == found[last].processor]
    return [*same, found[last]]


def held_to_avx2(paths: list[Path], run: Saved) -> Saved | None:
    """Return the last whole run of `paths`, or of all, that the processor of `run` was held for."""
    cpu = run.known["cpu"]
    return next(
        (r for r in reversed(_all(paths)) if r.avx2 and r.whole and r.known["cpu"] == cpu), None
    )


def last_of(paths: list[Path], group: str) -> Saved | None:
    """Return the last run of `paths`, or of all that are saved, with a group's every workload."""
    titles = {title for title, case in CASES.items() if case.group == group}
    return (
        next(
            (r for r in reversed(_all(paths)) if not (r.quick or r.avx2) and r.measured >= titles),
            None,
        )
        if titles
        else None
    )


def _all(paths: list[Path]) -> list[Saved]:
    return sorted(map(Saved, paths or FOLDER.glob("*/*.json")), key=lambda run: run.when)
