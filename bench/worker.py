"""Measuring processes: threads and vector width of each are set before any library is loaded.

A :class:`Worker` is such a process. It may run in another environment (see ``compare.py``), since
the two sides exchange JSON, one object per line.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

from bench import THREADS, TOP
from bench.avx2 import environment


class MeasuringError(Exception):
    """A case could not be measured, or an answer was wrong."""


class Worker:
    """A process with `threads` processors that prepares a case and times rounds of it.

    With `avx2` it is held to AVX2: see ``avx2.py``.
    """

    def __init__(
        self, threads: int, python: str = sys.executable, top: Path = TOP, avx2: bool = False
    ) -> None:
        held = environment() if avx2 else {}
        self._process = subprocess.Popen(
            [python, "-P", "-c", "import sys; sys.path.insert(0, sys.argv[1]);"
             " from bench import worker; worker.serve()", str(top)],
            cwd=top,
            env={**os.environ, **held, "FASTBP_BENCH_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def prepare(self, title: str, providers: list[str], *how: Any) -> None:
        """Check the answers of a case's providers and prepare them: see timing.Prepared."""
        for name, why in self.try_to_prepare(title, providers, *how).items():
            raise MeasuringError(f"{name}: {why}")

    def try_to_prepare(self, title: str, providers: list[str], *how: Any) -> dict[str, str]:
        """Prepare the providers whose answer is right; return the tracebacks of the others."""
        return dict(self._ask("prepare", title, providers, *how))

    def round(self) -> dict[str, float]:
        """Time each provider once; return seconds per unit."""
        return dict(self._ask("round"))

    def notes(self) -> dict[str, dict[str, Any]]:
        """Return what is saved with the times of each provider."""
        return dict(self._ask("notes"))

    def machine(self) -> dict[str, Any]:
        """Return what the process runs on."""
        return dict(self._ask("machine"))

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._process.wait()

    def _ask(self, *request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise MeasuringError(f"the measuring process ended: {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise MeasuringError(answer["error"])
        return answer["value"]


def serve() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    prepared = None
    for line in sys.stdin:
        what, *arguments = json.loads(line)
        try:
            if what == "prepare":
                from bench.timing import Prepared
                from bench.workloads.registry import CASES

                title, *how = arguments
                prepared = None  # frees its memory before the next one is made
                prepared = Prepared(CASES[title], *how)
                answer: dict[str, Any] = {"value": prepared.failed}
            elif what in ("round", "notes"):
                assert prepared is not None, "nothing is prepared"
                answer = {"value": prepared.round() if what == "round" else prepared.notes}
            else:
                from bench.machine import machine

                answer = {"value": machine()}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
