"""A saved run as tables and charts.

    pytest bench --benchmark-autosave
    pytest bench --benchmark-autosave --avx2
    python -m bench.report               # the last of each; the trend is of all saved runs
    python -m bench.report RUN.json ...

    pytest bench -k solution --benchmark-autosave     # for the time to a solution alone

It rewrites the tables of ``bench/README.md``, the short one of ``README.md``, and ``speed.png``
and ``trend.png`` beside this file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import charts
from bench.cases import SOLUTION
from bench.providers import CLASSES, PEERS
from bench.readme import (
    BENCH_README,
    README,
    accuracy_tables,
    duration,
    number,
    rewrite,
    table,
)
from bench.saved import Figure, Saved, held_to_avx2, last_of, runs
from bench.workloads.registry import CASES

COMMAND = "bench.report"
SOLVING = "SciPy", *PEERS[1:]  # what is compared on the way to a solution, with CLASSES
SHORT = {
    "call: train_neuron, 3x2, 2 epochs": "`train_neuron`, 3 rows of 2 features, 2 epochs",
    "call: fit_neuron, 100x2, 1 epoch": "`fit_neuron`, 100 rows of 2 features, 1 epoch",
    "neuron: 100x2": "neuron, 100 rows of 2 features, an epoch",
    "neuron: 100000x100": "neuron, 100,000 rows of 100 features, an epoch",
    "neuron of float32 rows: 100000x100": "the same of float32 rows",
    "neuron in float32: 100000x100": "the same in float32",
    "online: 2000x10": "neuron, 10 features, online, a step",
    "mini-batch: 10000x20, batches of 100": "neuron, batch of 100 rows of 20 features, a step",
    "sources: npy, 1000000x20": "neuron, 1,000,000 rows of 20 features in a `.npy`, an epoch",
    "online: 10-32-1, one row a step": "network 10-32-1, online, a step",
    "network: 4-8-1, 1000 rows a step": "network 4-8-1, 1000 rows, an epoch",
    "mini-batch: 64-100-10, 32 rows a step": "network 64-100-10, batch of 32 rows, a step",
    "mini-batch in float32: 64-100-10, 32 rows a step": "the same in float32",
    "mini-batch: 784-256-10, 128 rows a step": "network 784-256-10, batch of 128 rows, a step",
    "mini-batch in float32: 784-256-10, 128 rows a step": "the same in float32",
    "mini-batch, 2 threads: 784-256-10, 128 rows a step": "the same on two threads, in float64",
    "prediction: 64-100-10, one row": "network 64-100-10, prediction of one row",
    "call: MLPClassifier.partial_fit, 64-100-10, 32 rows": "`MLPClassifier.partial_fit` of 32 rows",
    "estimator: fit of digits, defaults": "`MLPClassifier().fit` on scikit-learn's digits",
    "estimator: fit of digits, float32, max_iter=100": "100 epochs of it in float32",
}
SHORT_AT_AVX2 = (
    "neuron: 100000x100",
    "mini-batch: 10000x20, batches of 100",
    "network: 4-8-1, 1000 rows a step",
    "mini-batch: 64-100-10, 32 rows a step",
    "mini-batch: 784-256-10, 128 rows a step",
    "estimator: fit of digits, defaults",
)


def titles(run: Saved, *groups: str) -> list[str]:
    """Return the workloads of some groups that were measured, in the order of the registry."""
    return [t for t, case in CASES.items() if case.group in groups and t in run.figures]


def of_step(figure: Figure) -> float:
    """Return seconds per update, where an epoch has several; else per epoch, call or process."""
    return figure.seconds / int(figure.known["updates"])


def short(run: Saved) -> str:
    """Write the most telling workloads, and the machine."""
    rows = []
    for title, label in SHORT.items():
        if title not in run.figures:  # of a library that is not installed
            continue
        ours = duration(of_step(run.figures[title]["fastbp"]))
        rows.append([label, ours, *multiples(run, title)])
    return table(["", "fastbp", *PEERS], rows) + "\n" + machine(run)


def neurons(run: Saved, group: str = "neuron") -> str:
    """Write the neurons: microseconds per epoch, the others as multiples, the reading rate."""
    rows = []
    for title in titles(run, group):
        ours = run.figures[title]["fastbp"]
        share = ours.known.get("share of read bandwidth")
        rows.append([
            CASES[title].name.replace("x", " x "),
            number(ours.seconds * 1e6),
            *(number(run.ratio(title, peer)) for peer in PEERS[:3]),
            number(ours.known["GB/s"]),
            "" if share is None else f"{share:.0%}",
        ])  # fmt: skip
    head = "rows x features", "fastbp, µs per epoch", *PEERS[:3], "GB/s", "of a plain sum"
    return table(head, rows)


def others(run: Saved) -> str:
    """Write all else on one thread: microseconds, and the others as multiples."""
    groups = "neuron, log loss", "online", "mini-batch", "network", "prediction", "estimator"
    rows = []
    for title in titles(run, *groups):
        if not CASES[title].does_little:
            rows.append([title, microseconds(run, title), *multiples(run, title)])
    return table(["", "fastbp, µs", *PEERS], rows)


def singles(run: Saved) -> str:
    """Write arithmetic in float32: microseconds, fastbp's own in float64, and the others."""
    rows = []
    for title in titles(run, "neuron in float32", "mini-batch in float32"):
        double = run.figures.get(title.replace(" in float32", ""))
        ours = of_step(run.figures[title]["fastbp"])
        longer = number(of_step(double["fastbp"]) / ours) if double else ""
        rows.append([title, microseconds(run, title), longer, *multiples(run, title)])
    return table(["", "fastbp, µs", "fastbp in float64", *PEERS], rows)


def calls(run: Saved) -> str:
    """Write the calls that do little: microseconds, and the others as multiples."""
    rows = [
        [title.removeprefix("call: "), microseconds(run, title), *multiples(run, title)]
        for title in titles(run, "call", "prediction", "estimator")
        if CASES[title].does_little
    ]
    return table(["", "fastbp, µs", *PEERS], rows)


def microseconds(run: Saved, title: str) -> str:
    """Write fastbp's time, and of what it is."""
    unit = "step" if CASES[title].updates > 1 else CASES[title].unit
    return f"{number(of_step(run.figures[title]['fastbp']) * 1e6)} / {unit}"


def multiples(run: Saved, title: str) -> list[str]:
    """Write how many times as long as fastbp the others take."""
    return [number(run.ratio(title, peer)) for peer in PEERS]


def threads(run: Saved) -> str:
    """Write how many times as fast two threads are as one, with every provider."""
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


def batches(run: Saved) -> str:
    """Write what a step of a mini-batch takes on two threads, in microseconds."""
    rows = []
    for title in titles(run, "mini-batch, 2 threads"):
        found = run.figures[title]
        ours = run.figures[title.replace(", 2 threads", "")]["fastbp"], found["fastbp"]
        theirs = [found.get(name) for name in PEERS]
        best = min(run.ratio(title, name) for name in PEERS if name in found)
        shown = (number(of_step(f) * 1e6) if f else "" for f in (*ours, *theirs))
        rows.append([CASES[title].name, *shown, number(best)])
    head = "µs a step", "fastbp, one thread", "fastbp", *PEERS, "the best of them, fastbp = 1"
    return table(head, rows)


def at_avx2(run: Saved, held: Saved) -> str:
    """Write what the processor needs if it is held to AVX2."""
    return _held(run, held, {t: t for t in CASES if t in held.figures})


def short_at_avx2(run: Saved, held: Saved) -> str:
    """Write the most telling of these, and when they were measured."""
    rows = _held(run, held, {t: SHORT[t] for t in SHORT_AT_AVX2 if t in held.figures})
    return f"{rows}\n(The same machine; {held.when[:10]}, commit {held.commit}.)\n"


def _held(run: Saved, held: Saved, labels: Mapping[str, str]) -> str:
    rows = []
    for title, label in labels.items():
        with_avx512, without = (of_step(r.figures[title]["fastbp"]) for r in (run, held))
        longer = number(without / with_avx512)
        rows.append([label, duration(without), longer, *multiples(held, title)])
    return table(["held to AVX2", "fastbp", "with AVX-512 = 1", *PEERS], rows)


def starts(run: Saved) -> str:
    """Write the seconds of fresh processes."""
    names = ("fastbp", "Numba", *PEERS)
    rows = [
        [title, *(number(run.figures[title][n].seconds) if n in run.figures[title] else ""
                  for n in names)]
        for title in titles(run, "import", "first call")
    ]  # fmt: skip
    return table(["seconds of a fresh process", *names], rows)


def sources(run: Saved) -> str:
    """Write rows per second and the time relative to rows in memory, by source."""
    memory = run.figures["sources: memory, 1000000x20"]["fastbp"]
    rows = []
    for title in titles(run, "sources"):
        ours = run.figures[title]["fastbp"]
        name, _, _ = CASES[title].name.rpartition(", ")
        a_row = ours.seconds / int(ours.known["rows"])
        relative = a_row / (memory.seconds / int(memory.known["rows"]))
        rate = number(1e-6 / a_row)
        rows.append([name, rate, number(relative), *multiples(run, title)])
    return table(["rows from", "million rows per second", "time, memory = 1", *PEERS], rows)


def solutions(run: Saved) -> str:
    """Write the time to a solution, the others as multiples, and when it was measured."""

    def multiple(title: str, name: str) -> str:
        known = run.figures[title][name].known
        over = "" if known.get("reached", True) else "> "
        return f"{over}{number(run.ratio(title, name))} {known.get('way', '')}".strip()

    rows = _solutions(run, lambda title, figure: duration(figure.seconds), multiple)
    return f"{rows}\n({run.when[:10]}, commit {run.commit}.)\n"


def iterations(run: Saved) -> str:
    """Write how many iterations or epochs reach a solution."""

    def count(title: str, name: str) -> str:
        known = run.figures[title][name].known
        return f"{'' if known.get('reached', True) else '> '}{known.get('iterations', '')}"

    return _solutions(run, lambda title, figure: count(title, "fastbp"), count)


def _solutions(
    run: Saved, ours: Callable[[str, Figure], str], theirs: Callable[[str, str], str]
) -> str:
    """Write a row a solution; the last column is of scikit-learn's other models."""
    rows = []
    for title in titles(run, SOLUTION):
        found, (n, d) = run.figures[title], CASES[title].size
        label = CASES[title].name.replace(f"{n}x{d}", f"{n:,} x {d}")
        others = [f"{theirs(title, name)} {name}" for name in CLASSES if name in found]
        cells = [theirs(title, name) if name in found else "" for name in SOLVING]
        rows.append([label, ours(title, found["fastbp"]), *cells, ", ".join(others)])
    return table(["", "fastbp", *SOLVING, "another of its models"], rows)


def errors(run: Saved) -> str:
    """Write the accuracy of functions and of trained parameters."""
    return accuracy_tables(run.accuracy["ulps"], run.accuracy["drift"])


def machine(run: Saved) -> str:
    """Write what the figures were measured on."""
    known = run.known
    versions = {n: v for n, v in known["versions"].items() if v != "not installed"}
    shown = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"({known['cpu']}, {known['vector_bits']}-bit vectors; {shown}; {run.when[:10]},"
        f" commit {run.commit}.)\n"
    )


PAGES: dict[Path, dict[str, Callable[[Saved], str]]] = {
    README: {"speed": short},
    BENCH_README: {
        "speed of a neuron": neurons,
        "speed of float32 rows": lambda run: neurons(run, "neuron of float32 rows"),
        "speed in float32": singles,
        "speed of all else": others,
        "calls": calls,
        "threads": threads,
        "mini-batches on two threads": batches,
        "starts": starts,
        "sources": sources,
        "accuracy": errors,
        "machine": machine,
    },
}


PAGES_AT_AVX2: dict[Path, dict[str, Callable[[Saved, Saved], str]]] = {
    README: {"without AVX-512": short_at_avx2},
    BENCH_README: {"without AVX-512": at_avx2},
}


PAGES_OF_SOLUTIONS: dict[Path, dict[str, Callable[[Saved], str]]] = {
    README: {"time to a solution": solutions},
    BENCH_README: {"iterations to a solution": iterations},
}


def blocks(
    page: Path, run: Saved | None, held: Saved | None = None, solved: Saved | None = None
) -> Mapping[str, str]:
    """Return the content of each block of a page for which there is a run; the others stay."""
    found = {}
    if run is not None:
        found |= {name: write(run) for name, write in PAGES[page].items()}
        if held is not None:
            found |= {name: write(run, held) for name, write in PAGES_AT_AVX2[page].items()}
    if solved is not None:
        found |= {name: write(solved) for name, write in PAGES_OF_SOLUTIONS[page].items()}
    return found


def main() -> None:
    """Rewrite the blocks of both pages, and draw the charts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="*", type=Path, help="saved runs (default: all saved here)")
    paths = parser.parse_args().runs
    found, solved = runs(paths), last_of(paths, SOLUTION)
    last = found[-1] if found else None
    held = held_to_avx2(paths, last) if last else None
    if last is None and solved is None:
        parser.error("no saved run of everything: pytest bench --benchmark-autosave")
    for page in PAGES:
        rewrite(page, blocks(page, last, held, solved), COMMAND)
    if last is None:
        print("no saved run of everything: wrote solutions only, drew no charts")
        return
    if held is None:
        print("no saved run of everything held to AVX2: pytest bench --benchmark-autosave --avx2")
    charts.draw_speed(last)
    charts.draw_trend(found)
    print(f"bench/speed.png, bench/trend.png: drawn from {last.path.name}, runs: {len(found)}")


if __name__ == "__main__":
    main()
