"""Did fastbp get slower? Its ratio to the plain NumPy loop, compared with stored ones.

    python -m bench.gate               # names what got slower, and fails
    python -m bench.gate --record      # stores the ratios of this machine
    python -m bench.gate --avx2        # all of them as without AVX-512

Seconds cannot be compared between machines, and hardly between hours. The ratio of two programs
that take turns in one process can, on the same model of processor. ``ratios.json`` keeps the ratios
by processor and vector width; a machine that is missing there records its own, with a warning. A
workload without a stored ratio fails, and so does a ratio without a workload. A machine with
AVX-512 is then held to AVX2, and some workloads are compared with the ratios of that width.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path

from bench.avx2 import OPTION, environment
from bench.worker import MeasuringError, Worker
from bench.workloads.registry import CASES

RATIOS = Path(__file__).with_name("ratios.json")
TOLERANCE = 1.3  # ten runs in a row passed on two busy cores; 1.5 times as slow is found
ROUNDS, SECONDS = 6, 0.03
MOST_PROCESSES = 6  # before a workload is called slower, and for a stored ratio
PROVIDERS = ["fastbp", "NumPy"]
AT_AVX2 = [  # what a machine with AVX-512 measures at both widths: the kernels differ most here
    "neuron: 1000x10",
    "neuron: 10000x20",
    "neuron: 2000x100",
    "neuron of float32 rows: 10000x20",
    "mini-batch: 20-64-32-1, 64 rows a step",
    "mini-batch: 64-100-10, 32 rows a step",
    "mini-batch: 64-100-10, 200 rows a step",
    "mini-batch: 784-256-10, 128 rows a step",
    "mini-batch in float32: 64-100-10, 32 rows a step",
    "network: 4-8-1, 1000 rows a step",
]


def ratio(title: str, least: float, avx2: bool) -> float:
    """Return how many times as long NumPy takes, by the fastest round of each.

    A ratio below `least` is measured by further processes: other load comes and goes, and where
    memory lies is luck. With `avx2` all of them are held to AVX2.
    """
    fastest = dict.fromkeys(PROVIDERS, float("inf"))
    for _ in range(MOST_PROCESSES):
        with Worker(CASES[title].threads, avx2=avx2) as worker:
            worker.prepare(title, PROVIDERS, SECONDS, "process_time")
            for _ in range(ROUNDS):
                times = worker.round()
                fastest = {name: min(fastest[name], times[name]) for name in PROVIDERS}
        found = fastest["NumPy"] / fastest["fastbp"]
        if found >= least:
            break
    return found


def gated() -> list[str]:
    """Return the titles of the workloads that are compared with a stored ratio."""
    return [title for title, case in CASES.items() if case.gated]


def key(avx2: bool) -> str:
    """Return the key under which this machine's ratios are stored."""
    with Worker(1, avx2=avx2) as worker:
        facts = worker.machine()
    return f"{facts['cpu']}, {facts['vector_bits']}-bit vectors"


def stored() -> dict[str, dict[str, float]]:
    """Return the ratios by machine and workload."""
    return json.loads(RATIOS.read_text(encoding="utf-8")) if RATIOS.exists() else {}


def record(machine: str, titles: Iterable[str], avx2: bool) -> None:
    """Store this machine's ratios of some workloads, each measured by MOST_PROCESSES."""
    kept = stored()
    ours = kept.get(machine, {})
    for title in titles:
        ours[title] = round(ratio(title, math.inf, avx2), 3)
        print(f"{title:54} {ours[title]:8.2f}", flush=True)
    kept[machine] = {title: ours[title] for title in gated() if title in ours}
    RATIOS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def compare(stored: dict[str, float], titles: Iterable[str], avx2: bool) -> list[str]:
    """Print each workload's ratio beside the stored one; return what is wrong."""
    wrong = []
    print(f"{'times as long as fastbp: NumPy':54} {'stored':>8} {'now':>8}  fastbp's time")
    for title in titles:
        if title not in stored:
            wrong.append(f"{title}: no stored ratio (python -m bench.gate --record)")
            continue
        try:
            now = ratio(title, stored[title] / TOLERANCE, avx2)
        except MeasuringError as error:
            wrong.append(f"{title}: {str(error).strip()}")
            continue
        change = stored[title] / now
        slower = change > TOLERANCE
        if slower:
            wrong.append(f"{title}: {change:.2f} times as long as stored")
        mark = "SLOWER" if slower else "faster: record it" if change < 1 / TOLERANCE else ""
        print(f"{title:54} {stored[title]:8.2f} {now:8.2f}  x {change:.2f} {mark}", flush=True)
    wrong += [
        f"{title}: stored, but not measured any more" for title in stored if title not in CASES
    ]
    return wrong


def check(titles: list[str], recording: bool, avx2: bool) -> list[str]:
    """Compare or record at one width; return what is wrong."""
    machine = key(avx2)
    kept = stored()
    print(f"\n{machine}")
    if not recording and machine in kept:
        width = machine.rpartition(", ")[2]
        return [f"{what} ({width})" for what in compare(kept[machine], titles, avx2)]
    record(machine, titles if recording else gated(), avx2)
    if not recording:
        print(f"WARNING: {RATIOS.name} has no ratios of this machine: recorded these, compared"
              " nothing. Commit them, so that later runs are compared with them.")  # fmt: skip
    return []


def main() -> None:
    """Compare or record; exit with 1 if anything got slower or is missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("titles", nargs="*", help="workloads (default: all)")
    parser.add_argument("--record", action="store_true", help="store this machine's ratios")
    parser.add_argument("--avx2", action="store_true", help=OPTION)
    arguments = parser.parse_args()
    titles = arguments.titles or gated()
    unknown = [title for title in titles if title not in gated()]
    if unknown:
        parser.error(f"expected workloads of {', '.join(gated())}, got {', '.join(unknown)}")
    wrong = check(titles, arguments.record, arguments.avx2)  # at this machine's width, if not held
    if environment() and not arguments.avx2:
        some = titles if arguments.titles or arguments.record else AT_AVX2
        wrong += check(some, arguments.record, avx2=True)
    if arguments.record:
        return
    print("\n".join(["", *wrong]) if wrong else "\nNothing that was compared got slower.")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
