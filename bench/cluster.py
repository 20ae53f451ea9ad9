"""The same training on a cluster of this machine's processors: time, fixed costs, memory.

python -m bench.cluster [--write] [ROWS]

Workers are processes of one thread. Dask's own ways are timed beside it: a gradient in
``dask.array`` and, where dask-ml is installed, its ``Incremental(SGDClassifier)``. With ``--write``
the table goes to ``bench/README.md``.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

import fastbp
from bench.readme import BENCH_README, duration, number, rewrite, table
from fastbp.kernels import neuron
from fastbp.kernels.vector import LANES, whole_vectors
from fastbp.training import problem
from fastbp.training.problem import group_chunks

D, ROWS, ROUNDS, EPOCHS = 20, 20_000_000, 4, 4
RATE = 0.5


@contextmanager
def cluster(n_workers: int) -> Iterator[Any]:
    """A client of so many processes of one thread, which is not the current one."""
    from distributed import Client, LocalCluster

    how: dict[str, Any] = {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
    with (
        LocalCluster(n_workers=n_workers, processes=True, **how) as workers,
        Client(workers, set_as_default=False) as client,
    ):
        yield client


def group_rows() -> int:
    """Return the rows of a group of a neuron of D features."""
    chunk = neuron.chunk_rows(D)
    return chunk * group_chunks(whole_vectors(D) + LANES, neuron.row_work(D), chunk)


def rows_on(client: Any, n_rows: int) -> tuple[Any, Any]:
    """Make rows on the workers, in chunks that are groups."""
    from dask import array

    with client.as_current():
        x = array.random.default_rng(0).normal(size=(n_rows, D), chunks=(group_rows(), D))
        x = client.persist(x)
        y = client.persist((x[:, 0] > 0).astype(np.float64))
        y.sum().compute()
    return x, y


def seconds_of_epochs(x: Any, y: Any, epochs: int = EPOCHS, **how: Any) -> float:
    """Return the seconds of the fastest epoch but the first, which compiles and places rows."""
    ends: list[float] = []

    def note(state: Any) -> None:
        ends.append(time.perf_counter())

    fastbp.fit_neuron(x, y, np.zeros(D), 0.0, RATE, epochs, loss="bce", callback=note, **how)
    return float(np.diff(ends).min())


def gradient_in_dask(client: Any, x: Any, y: Any) -> float:
    """Return the seconds of an epoch of NumPy's formulas, written with Dask's arrays."""
    from dask import array

    w, bias = np.zeros(D), 0.0
    times = []
    with client.as_current():
        for _ in range(EPOCHS):
            began = time.perf_counter()
            z = x @ w + bias
            loss = (array.log1p(array.exp(-abs(z))) + array.maximum(z, 0.0) - y * z).mean()
            dz = 1.0 / (1.0 + array.exp(-z)) - y
            import dask

            _, dw, db = dask.compute(loss, x.T @ dz, dz.sum())
            w, bias = w - RATE * dw / len(x), bias - RATE * db / len(x)
            times.append(time.perf_counter() - began)
    return min(times)


def incremental(client: Any, x: Any, y: Any) -> float:
    """Return the seconds of an epoch of dask-ml's Incremental(SGDClassifier); NaN without it."""
    if importlib.util.find_spec("dask_ml") is None:
        return float("nan")
    from dask_ml.wrappers import Incremental
    from sklearn.linear_model import SGDClassifier

    with client.as_current():
        model = Incremental(SGDClassifier(loss="log_loss"), shuffle_blocks=False)
        began = time.perf_counter()
        model.fit(x, y.astype(np.int64), classes=[0, 1])
        return time.perf_counter() - began


def fixed_costs(client: Any) -> dict[int, float]:
    """Return the seconds of a pass by its partitions, whose groups are too small to count."""
    from dask import array

    found = {}
    usual = problem.group_chunks
    problem.group_chunks = lambda *sizes: 1  # type: ignore[assignment]
    try:
        with client.as_current():
            for n_parts in (2, 8, 32):
                rows = neuron.chunk_rows(D)
                x = client.persist(array.ones((n_parts * rows, D), chunks=(rows, D)))
                y = client.persist(array.zeros(n_parts * rows, chunks=rows))
                found[n_parts] = seconds_of_epochs(x, y, 30)
    finally:
        problem.group_chunks = usual
    return found


def megabytes_of_client() -> float:
    """Return the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def in_turn(ways: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Return the least seconds of each way, of rounds in which all have a turn."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, way in ways.items():
            best[name] = min(best[name], way())
            print(f"{name}: {duration(best[name])}", flush=True)
    return best


def measured(n_rows: int) -> list[tuple[str, str, str]]:
    """Return what the table holds: what was measured, the figure, and its ratio to another."""
    with ExitStack() as stack:
        one, two = (stack.enter_context(cluster(n)) for n in (1, 2))
        costs = fixed_costs(two)
        small = rows_on(two, n_rows // 8)
        with two.as_current():
            seconds_of_epochs(*small)
        before = megabytes_of_client()
        placed = {client: rows_on(client, n_rows) for client in (one, two)}

        def on(client: Any) -> float:
            with client.as_current():
                return seconds_of_epochs(*placed[client])

        on(two)
        growth = megabytes_of_client() - before
        rng = np.random.default_rng(0)
        x = rng.normal(size=(n_rows, D))
        y = (x[:, 0] > 0).astype(np.float64)
        best = in_turn(
            {
                "`fit_neuron`, two threads": lambda: seconds_of_epochs(x, y, n_threads=2),
                "one worker": lambda: on(one),
                "two workers": lambda: on(two),
            }
        )
        by_hand = gradient_in_dask(two, *placed[two])
        theirs = incremental(two, *placed[two])
    local, single, double = best.values()
    ratios = f"{double / single:.2f} of one worker's, {double / local:.2f} of `fit_neuron`'s"
    slope = (costs[32] - costs[8]) / 24
    return [
        ("`fit_neuron` in memory, two threads", duration(local), ""),
        ("one worker", duration(single), ""),
        ("two workers", duration(double), ratios),
        ("gradient in `dask.array`, two workers", *beside(by_hand, double)),
        ("dask-ml's `Incremental(SGDClassifier)`, two workers", *beside(theirs, double)),
        ("fixed cost of a pass, 2 partitions", duration(costs[2]), ""),
        ("8 partitions", duration(costs[8]), ""),
        ("32 partitions", duration(costs[32]), f"{duration(slope)} a partition"),
        ("the client's memory, for eight times as many rows", f"{growth:+.0f} MB", ""),
    ]


def beside(seconds: float, ours: float) -> tuple[str, str]:
    """Return the time of another way, and how many times as long it takes."""
    if np.isnan(seconds):
        return "not installed", ""
    return duration(seconds), f"{number(seconds / ours)} times as long"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"write {BENCH_README.name}")
    parser.add_argument("rows", nargs="?", type=int, default=ROWS)
    chosen = parser.parse_args()
    if importlib.util.find_spec("distributed") is None:
        sys.exit("distributed is not installed")
    warnings.simplefilter("ignore")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    text = table(("an epoch", "time", ""), measured(chosen.rows))
    print(text)
    if chosen.write:
        rewrite(BENCH_README, {"cluster": text}, "bench.cluster --write")


if __name__ == "__main__":
    main()
