"""Saved runs as the README's tables and charts.

    pytest bench --benchmark-autosave
    python -m bench.report               # the last saved run; with all of them, the trend
    python -m bench.report RUN.json ...

It rewrites what stands between the marks in the README, and ``speed.png`` and ``trend.png`` beside
this file.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable
from pathlib import Path

from bench import accuracy, charts
from bench.cases import CASES, ORDER
from bench.saved import Figure, Saved, runs
from bench.worker import TOP

README = TOP / "README.md"
MARKS = "<!-- {}: python -m {} -->\n", "<!-- end of {} -->\n"
PEERS = tuple(name for name in ORDER if name not in ("fastbp", "Numba"))


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table, the first column to the left."""
    columns = list(head)
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def number(value: float) -> str:
    """Write three digits, and no more."""
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.3g}"


def titles(run: Saved, *groups: str) -> list[str]:
    """Return the workloads of some groups that were measured, in the order of the cases."""
    return [t for t, case in CASES.items() if case.group in groups and t in run.figures]


def of_step(figure: Figure) -> float:
    """Return seconds an update, where an epoch has several; otherwise an epoch, call, process."""
    return figure.seconds / int(figure.known["updates"])


def neurons(run: Saved) -> str:
    """Write the neurons: microseconds an epoch, the others as multiples, the rate of reading."""
    rows = []
    for title in titles(run, "neuron"):
        ours = run.figures[title]["fastbp"]
        share = ours.known.get("share of read bandwidth")
        rows.append([
            CASES[title].name.replace("x", " x "),
            number(ours.seconds * 1e6),
            *(number(run.ratio(title, peer)) for peer in PEERS[:3]),
            number(ours.known["GB/s"]),
            "" if share is None else f"{share:.0%}",
        ])  # fmt: skip
    head = "rows x features", "fastbp, µs an epoch", *PEERS[:3], "GB/s", "of a plain sum"
    return table(head, rows)


def others(run: Saved) -> str:
    """Write all else on one thread: microseconds, and the others as multiples."""
    groups = (
        "call",
        "neuron, log loss",
        "online",
        "mini-batch",
        "network",
        "prediction",
        "estimator",
    )
    rows = []
    for title in titles(run, *groups):
        unit = "step" if CASES[title].updates > 1 else CASES[title].unit
        shown = f"{number(of_step(run.figures[title]['fastbp']) * 1e6)} / {unit}"
        rows.append([title, shown, *(number(run.ratio(title, peer)) for peer in PEERS)])
    return table(["", "fastbp, µs", *PEERS], rows)


def threads(run: Saved) -> str:
    """Write how many times as fast two threads are as one, of every provider."""
    rows = []
    for title in titles(run, "neuron, 2 threads", "network, 2 threads"):
        two, one = run.figures[title], run.figures[title.replace(", 2 threads", "")]
        gains = [
            number(one[name].seconds / two[name].seconds) if name in two else ""
            for name in ("fastbp", *PEERS)
        ]
        share = two["fastbp"].known.get("share of read bandwidth")
        rows.append([CASES[title].name, *gains, "" if share is None else f"{share:.0%}"])
    return table(["two threads against one", "fastbp", *PEERS, "of a plain sum"], rows)


def starts(run: Saved) -> str:
    """Write fresh processes in seconds."""
    names = ("fastbp", "Numba", *PEERS)
    rows = [
        [title, *(number(run.figures[title][n].seconds) if n in run.figures[title] else ""
                  for n in names)]
        for title in titles(run, "import", "first call")
    ]  # fmt: skip
    return table(["seconds of a fresh process", *names], rows)


def sources(run: Saved) -> str:
    """Write seconds an epoch by the source of the rows, and the rate."""
    memory = run.figures["sources: memory, 1000000x20"]["fastbp"]
    rows = []
    for title in titles(run, "sources"):
        ours = run.figures[title]["fastbp"]
        name, _, _ = CASES[title].name.rpartition(", ")
        a_row = ours.seconds / int(ours.known["rows"])
        relative = a_row / (memory.seconds / int(memory.known["rows"]))
        rate = number(1e-6 / a_row)
        rows.append([name, rate, number(relative), *(number(run.ratio(title, p)) for p in PEERS)])
    return table(["rows from", "million rows a second", "time, memory = 1", *PEERS], rows)


def errors(run: Saved) -> str:
    """Write the accuracy."""
    return accuracy.tables(run.accuracy["ulps"], run.accuracy["drift"]) + "\n"


def machine(run: Saved) -> str:
    """Say what the figures are of."""
    known = run.known
    versions = {n: v for n, v in known["versions"].items() if v != "not installed"}
    shown = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"({known['cpu']}, {known['vector_bits']}-bit vectors; {shown}; {run.when[:10]},"
        f" commit {run.commit}.)\n"
    )


BLOCKS = {
    "speed of a neuron": neurons,
    "speed of all else": others,
    "threads": threads,
    "starts": starts,
    "sources": sources,
    "accuracy": errors,
    "machine": machine,
}


def rewritten(text: str, run: Saved) -> str:
    """Return the README with every block that is marked in it written anew."""
    for name, write in BLOCKS.items():
        text = replaced(text, name, write(run))
    return text


def replaced(text: str, name: str, content: str, command: str = "bench.report") -> str:
    """Return the README with the block of this name, which this command writes, written anew."""
    begin, end = MARKS[0].format(name, command), MARKS[1].format(name)
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"README: expected the marks {begin!r} and {end!r} once")
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{content}\n{end}{after}"


def main() -> None:
    """Rewrite the README's blocks, and draw the charts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="*", type=Path, help="saved runs (default: all saved here)")
    found = runs(parser.parse_args().runs)
    if not found:
        parser.error("no saved run of everything: pytest bench --benchmark-autosave")
    last = found[-1]
    README.write_text(rewritten(README.read_text(), last))
    charts.draw_speed(last)
    charts.draw_trend(found)
    print(f"{README.name} and charts written from {last.path.name}, trend of {len(found)} runs")


if __name__ == "__main__":
    sys.exit(main())
