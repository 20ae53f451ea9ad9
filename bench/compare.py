"""A commit against the working tree: every workload alternating, each in its own environment.

    python -m bench.compare HEAD~1               # what did the last commit and my edits change?
    python -m bench.compare v1 --only neuron     # workloads whose names begin so
    python -m bench.compare v1 --avx2            # on both sides as without AVX-512

Both are installed, dependencies and all, into fresh virtual environments, and measured by the
working tree's benchmarks. A workload's change is the ratio of the fastest rounds; its spread are
the quartiles of the ratios of rounds that were measured one after the other.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable
from pathlib import Path

from bench import TOP
from bench.avx2 import OPTION
from bench.worker import MeasuringError, Worker
from bench.workloads.registry import CASES

ROUNDS, SECONDS = 11, 0.05
NOTEWORTHY = 1.15  # times as long or as short, with both quartiles on the same side
SIDES = "base", "head"


def exported(commit: str, folder: Path) -> Path:
    """Return the tree of a commit, or the folder of that name."""
    if Path(commit).is_dir():
        return Path(commit)
    folder.mkdir()
    archive = subprocess.run(
        ["git", "archive", commit], cwd=TOP, check=True, stdout=subprocess.PIPE
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def environment(tree: Path, folder: Path) -> str:
    """Install a tree into a new environment; return its Python."""
    venv.create(folder, with_pip=True)
    python = str(folder / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    source = folder / "source"  # a build must not leave anything in the tree
    shutil.copytree(tree, source, ignore=shutil.ignore_patterns(".*", "build", "dist"))
    command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*command, f"{source}[files]"], check=True)
    return python


def benchmarks(folder: Path) -> Path:
    """Copy the benchmarks and the reference implementation to a folder without fastbp."""
    shutil.copytree(TOP / "bench", folder / "bench")
    (folder / "tests").mkdir()
    for name in ("__init__.py", "reference.py"):
        shutil.copy(TOP / "tests" / name, folder / "tests")
    return folder


class Change:
    """The rounds of both sides of a workload."""

    def __init__(self, base: list[float], head: list[float]) -> None:
        self.base, self.head = min(base), min(head)
        self.ratio = self.head / self.base
        changes = [h / b for b, h in zip(base, head, strict=True)]
        self.low, _, self.high = statistics.quantiles(changes, n=4)

    @property
    def verdict(self) -> str:
        """SLOWER, faster, or nothing if the change is small or uncertain."""
        if self.ratio > NOTEWORTHY and self.low > 1.0:
            return "SLOWER"
        return "faster" if self.ratio < 1 / NOTEWORTHY and self.high < 1.0 else ""


def change(title: str, pythons: list[str], top: Path, rounds: int, avx2: bool) -> Change:
    """Measure a workload on both sides, alternating: base head, head base, base head..."""
    times: list[list[float]] = [[], []]
    with contextlib.ExitStack() as stack:
        threads = CASES[title].threads
        workers = [stack.enter_context(Worker(threads, p, top, avx2)) for p in pythons]
        for worker in workers:
            worker.prepare(title, ["fastbp"], SECONDS)
        for turn in range(rounds):
            for side in (0, 1) if turn % 2 == 0 else (1, 0):
                times[side].append(workers[side].round()["fastbp"])
    return Change(*times)


def report(
    titles: Iterable[str], pythons: list[str], top: Path, rounds: int, avx2: bool
) -> list[str]:
    """Print a line a workload; return what got slower or could not be measured."""
    wrong = []
    print(f"{'fastbp':54} {'base':>12} {'head':>12}  change (spread)")
    for title in titles:
        starting = CASES[title].unit == "process"
        try:
            found = change(title, pythons, top, 3 if starting else rounds, avx2)
        except MeasuringError as error:
            wrong.append(f"{title}: {str(error).strip().splitlines()[-1]}")
            print(f"{title:54} not measured", flush=True)
            continue
        if found.verdict == "SLOWER":
            wrong.append(f"{title}: {found.ratio:.2f} times as long")
        print(
            f"{title:54} {found.base * 1e6:12,.2f} {found.head * 1e6:12,.2f}  x {found.ratio:.2f}"
            f" ({found.low:.2f} to {found.high:.2f}) {found.verdict}",
            flush=True,
        )
    print("\nMicroseconds an epoch, a call or a process; the fastest round counts.")
    return wrong


def main() -> None:
    """Compare; exit with 1 if anything got slower."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("base", help="a commit, or a folder with a tree")
    parser.add_argument("--head", default=str(TOP), help="a commit or folder (default: this tree)")
    parser.add_argument("--only", nargs="+", default=[""], help="workloads whose names begin so")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default: {ROUNDS}")
    parser.add_argument("--avx2", action="store_true", help=OPTION)
    arguments = parser.parse_args()
    titles = [t for t, case in CASES.items() if "fastbp" in case.providers]
    chosen = [title for title in titles if title.startswith(tuple(arguments.only))]
    if not chosen:
        parser.error(f"--only: expected the beginning of one of {', '.join(titles)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pythons = []
        for side, commit in zip(SIDES, (arguments.base, arguments.head), strict=True):
            tree = exported(commit, folder / f"{side} tree")
            pythons.append(environment(tree, folder / side))
        top = benchmarks(folder / "top")
        wrong = report(chosen, pythons, top, arguments.rounds, arguments.avx2)
    print("\n".join(["", *wrong]) if wrong else "\nNothing got slower.")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
