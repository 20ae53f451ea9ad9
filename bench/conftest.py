"""Options of ``pytest bench``, its measuring processes, and what it saves beside the times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bench.avx2 import OPTION, environment
from bench.providers import CLASSES, MODULES, ORDER, installed
from bench.timing import READ
from bench.worker import MeasuringError, Worker
from bench.workloads.registry import CASES

ROUNDS, SECONDS = 7, 0.08  # of a round of one provider
QUICK_ROUNDS, QUICK_SECONDS = 1, 0.001
START_ROUNDS = 3  # of fresh processes


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="check all answers, but time them only briefly",
    )
    parser.addoption("--avx2", action="store_true", help=OPTION)


def held(config: pytest.Config) -> bool:
    """Return whether the measuring processes use less than this processor has."""
    return bool(config.getoption("avx2") and environment())


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("quick"):
        config.option.benchmark_quiet = True  # its times are those of single calls
    if not any(a.startswith("--benchmark-columns") for a in config.invocation_params.args):
        config.option.benchmark_columns = ["min", "median", "max", "rounds"]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for name in MODULES:
        if name not in CLASSES and not installed(name):
            terminalreporter.write_line(f"{name} is not installed and was left out.")


class Session:
    """The measurements of a run; a case is measured when its first provider is asked for."""

    def __init__(self, wanted: dict[str, list[str]], quick: bool, avx2: bool) -> None:
        self._wanted = wanted
        self._quick = quick
        self.avx2 = avx2
        self._workers: dict[int, Worker] = {}
        self._title = ""
        self._times: dict[str, list[float]] = {}
        self._failed: dict[str, str] = {}
        self._notes: dict[str, dict[str, Any]] = {}
        self.accuracy: dict[str, Any] = {}
        self.machine: dict[str, Any] = {}

    def times(self, title: str, provider: str) -> tuple[list[float], dict[str, Any]]:
        """Return seconds per unit by round, and what is saved with them."""
        case = CASES[title]
        if title != self._title:
            self._title, self._times, self._failed = title, {}, {}
            self._measure(title)
        if provider in self._failed:
            raise MeasuringError(self._failed[provider])
        seconds = self._times[provider]
        known = {
            **self.machine,
            "provider": provider,
            "threads": case.threads,
            "unit": case.unit,
            "updates": case.updates,
            "rows": case.size[0],
            "features": case.size[1],
            **self._notes[provider],
        }
        if case.bytes_read:
            known["GB/s"] = case.bytes_read / min(seconds) / 1e9
        if READ in self._times:
            known["read GB/s"] = case.bytes_read / min(self._times[READ]) / 1e9
            known["share of read bandwidth"] = min(self._times[READ]) / min(seconds)
        return seconds, known

    def _measure(self, title: str) -> None:
        case = CASES[title]
        names = self._wanted[title]
        try:
            if case.threads not in self._workers:
                self._workers[case.threads] = Worker(case.threads, avx2=self.avx2)
            worker = self._workers[case.threads]
            self.machine = worker.machine()
            seconds = QUICK_SECONDS if self._quick else SECONDS
            self._failed = worker.try_to_prepare(title, names, seconds)
            rounds = START_ROUNDS if case.unit == "process" else ROUNDS
            self._notes = worker.notes()
            turns = [worker.round() for _ in range(QUICK_ROUNDS if self._quick else rounds)]
        except MeasuringError as error:  # of all providers: the next case gets a new process
            self._workers.pop(case.threads).close()
            self._failed = dict.fromkeys(names, str(error))
            return
        self._times = {name: [turn[name] for turn in turns] for name in turns[0]}

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()


SESSION = pytest.StashKey[Session]()


@pytest.fixture(scope="session")
def measurements(request: pytest.FixtureRequest) -> Iterator[Session]:
    wanted: dict[str, list[str]] = {}
    for item in request.session.items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if "title" in parameters and installed(parameters["provider"]):
            wanted.setdefault(parameters["title"], []).append(parameters["provider"])
    config = request.config
    session = Session(wanted, config.getoption("quick"), held(config))
    config.stash[SESSION] = session
    yield session
    session.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if {"title", "provider"} <= set(metafunc.fixturenames):
        each = [
            (title, provider)
            for title, case in CASES.items()
            if case.by_width or not held(metafunc.config)
            if not (case.long and metafunc.config.getoption("quick"))
            for provider in ORDER
            if provider in case.providers
        ]
        metafunc.parametrize(("title", "provider"), each, ids=[" | ".join(e) for e in each])


def pytest_benchmark_update_json(
    config: pytest.Config, benchmarks: Any, output_json: dict[str, Any]
) -> None:
    session = config.stash.get(SESSION, None)
    if session is not None:
        output_json["accuracy"] = session.accuracy
        output_json["quick"] = config.getoption("quick")
        output_json["avx2"] = session.avx2
