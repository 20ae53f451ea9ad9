"""Time per epoch by the source of the rows, against the same rows in memory.

python -m bench.sources [ROWSxFEATURES ...]

One sigmoid neuron, log loss, full batch and, where it says so, window shuffle with batches of
10,000 rows. All sources take turns; the fastest of the rounds counts. An epoch is the time of
five epochs less that of two, over three: the first one also looks at labels and maps pages.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

import fastbp
from bench.timing import processors
from fastbp import datasets

SIZES = ["2000000x50", "5000000x20"]
ROUNDS = 5
SLOW = ("csv", "parquet", "npz, compressed")  # once a round, one epoch


def sources(folder: Path, n: int, d: int) -> dict[str, Any]:
    """Return the same rows from everywhere, with labels."""
    path = folder / "rows.npy"
    file, _, _, _ = datasets.make_neuron_dataset(n, d, noise=1.0, seed=0, out=path)
    whole = np.load(path)
    x, y = np.ascontiguousarray(whole[:, :-1]), np.ascontiguousarray(whole[:, -1])
    np.save(folder / "x.npy", x)
    np.save(folder / "single.npy", whole.astype(np.float32))
    table = pa.table({**{f"x{j}": x[:, j] for j in range(d)}, "y": y})
    parquet.write_table(table, folder / "rows.parquet")
    csv.write_csv(table.slice(0, n // 10), folder / "tenth.csv")
    found = {
        "memory": (x, y),
        "npy": (fastbp.open_rows(folder / "x.npy"), y),
        "npy, labels inside": (file, None),
        "npy of float32": (fastbp.open_rows(folder / "single.npy", target=-1), None),
        "parquet": (fastbp.open_rows(folder / "rows.parquet", target="y"), None),
        "csv": (fastbp.open_rows(folder / "tenth.csv", target="y"), None),
    }
    for name in ("uniform", "normal"):
        rows, _, _, _ = datasets.make_neuron_dataset(
            n, d, noise=1.0, seed=0, distribution=name, virtual=True
        )
        found[f"virtual, {name}"] = (rows, None)
    return found


def epoch_seconds(rows: Any, labels: Any, d: int, slow: bool, **keywords: Any) -> float:
    def fit(epochs: int) -> float:
        started = time.perf_counter()
        keywords["n_threads"] = processors()
        fastbp.fit_neuron(rows, labels, np.zeros(d), 0.0, 0.5, epochs, loss="bce", **keywords)
        return time.perf_counter() - started

    return fit(1) if slow else (fit(5) - fit(2)) / 3


def measure(size: str) -> None:
    n, d = map(int, size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        found = sources(Path(folder), n, d)
        calls: dict[str, Callable[[], float]] = {}
        for name, (rows, labels) in found.items():
            scale = 10.0 if name == "csv" else 1.0  # a tenth of the rows
            calls[name] = lambda r=rows, y=labels, k=scale, s=name in SLOW: (  # type: ignore[misc]
                k * epoch_seconds(r, y, d, s)
            )
        for name in ("memory", "npy"):
            calls[f"{name}, window shuffle"] = lambda a=found[name]: epoch_seconds(  # type: ignore[misc]
                *a, d, False, shuffle="window", random_state=0, batch_size=10_000
            )
        best = dict.fromkeys(calls, np.inf)
        for _ in range(ROUNDS):
            for name, call in calls.items():
                best[name] = min(best[name], call())
    print(f"\n{n:,} x {d}, {n * d * 8 / 1e9:.1f} GB, {processors()} threads\n")
    print("| rows from | seconds an epoch | of memory | million rows a second |")
    print("|---|---:|---:|---:|")
    for name, seconds in best.items():
        rate = n / seconds / 1e6
        print(f"| {name} | {seconds:.3g} | {seconds / best['memory']:.2f} | {rate:.3g} |")


if __name__ == "__main__":
    for size in sys.argv[1:] or SIZES:
        measure(size)
