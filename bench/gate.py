"""Did fastbp get slower? Its ratio to the plain NumPy loop, compared with stored ones.

    python -m bench.gate               # names what got slower, and fails
    python -m bench.gate --record      # stores the ratios of this machine

Seconds cannot be compared between machines, and hardly between hours. The ratio of two programs
that take turns in one process can, on the same model of processor. ``ratios.json`` keeps the ratios
by processor and vector width; a machine that is missing there records its own, with a warning. A
workload without a stored ratio fails, and so does a ratio without a workload.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path

from bench.worker import MeasuringError, Worker
from bench.workloads.registry import CASES

RATIOS = Path(__file__).with_name("ratios.json")
TOLERANCE = 1.3  # ten runs in a row passed on two busy cores; 1.5 times as slow is found
ROUNDS, SECONDS = 6, 0.03
PROCESSES = 2  # per workload: where memory lies is luck, and differs between processes
MOST_PROCESSES = 6  # before a workload is called slower, and for a stored ratio
PROVIDERS = ["fastbp", "NumPy"]


def ratio(title: str, least: float) -> float:
    """Return how many times as long NumPy takes, by the fastest round of each.

    A ratio below `least` is measured by further processes: other load comes and goes.
    """
    fastest = dict.fromkeys(PROVIDERS, float("inf"))
    for process in range(MOST_PROCESSES):
        with Worker(CASES[title].threads) as worker:
            worker.prepare(title, PROVIDERS, SECONDS, "process_time")
            for _ in range(ROUNDS):
                times = worker.round()
                fastest = {name: min(fastest[name], times[name]) for name in PROVIDERS}
        found = fastest["NumPy"] / fastest["fastbp"]
        if process + 1 >= PROCESSES and found >= least:
            break
    return found


def gated() -> list[str]:
    """Return the titles of the workloads that are compared with a stored ratio."""
    return [title for title, case in CASES.items() if case.gated]


def key() -> str:
    """Return the key under which this machine's ratios are stored."""
    with Worker(1) as worker:
        facts = worker.machine()
    return f"{facts['cpu']}, {facts['vector_bits']}-bit vectors"


def record(machine: str, titles: Iterable[str]) -> None:
    """Store this machine's ratios of some workloads, each measured by MOST_PROCESSES."""
    kept = json.loads(RATIOS.read_text(encoding="utf-8")) if RATIOS.exists() else {}
    ours = kept.get(machine, {})
    for title in titles:
        ours[title] = round(ratio(title, math.inf), 3)
        print(f"{title:45} {ours[title]:8.2f}", flush=True)
    kept[machine] = {title: ours[title] for title in gated() if title in ours}
    RATIOS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def compare(stored: dict[str, float], titles: Iterable[str]) -> list[str]:
    """Print each workload's ratio beside the stored one; return what is wrong."""
    wrong = []
    print(f"{'times as long as fastbp: NumPy':45} {'stored':>8} {'now':>8}  fastbp's time")
    for title in titles:
        if title not in stored:
            wrong.append(f"{title}: no stored ratio (python -m bench.gate --record)")
            continue
        try:
            now = ratio(title, stored[title] / TOLERANCE)
        except MeasuringError as error:
            wrong.append(f"{title}: {str(error).strip()}")
            continue
        change = stored[title] / now
        slower = change > TOLERANCE
        if slower:
            wrong.append(f"{title}: {change:.2f} times as long as stored")
        mark = "SLOWER" if slower else "faster: record it" if change < 1 / TOLERANCE else ""
        print(f"{title:45} {stored[title]:8.2f} {now:8.2f}  x {change:.2f} {mark}", flush=True)
    wrong += [
        f"{title}: stored, but not measured any more" for title in stored if title not in CASES
    ]
    return wrong


def main() -> None:
    """Compare or record; exit with 1 if anything got slower or is missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("titles", nargs="*", help="workloads (default: all)")
    parser.add_argument("--record", action="store_true", help="store this machine's ratios")
    arguments = parser.parse_args()
    titles = arguments.titles or gated()
    unknown = [title for title in titles if title not in gated()]
    if unknown:
        parser.error(f"expected workloads of {', '.join(gated())}, got {', '.join(unknown)}")
    machine = key()
    kept = json.loads(RATIOS.read_text(encoding="utf-8")) if RATIOS.exists() else {}
    print(machine)
    if arguments.record or machine not in kept:
        record(machine, titles)
        if not arguments.record:
            print(f"WARNING: {RATIOS.name} has no ratios of this machine: recorded these, compared"
                  " nothing. Commit them, so that later runs are compared with them.")  # fmt: skip
        return
    wrong = compare(kept[machine], titles)
    print("\n".join(["", *wrong]) if wrong else "\nNothing got slower.")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
