"""Time per epoch by the source of the rows, against the same rows in memory.

python -m bench.sources [ROWSxFEATURES ...]

One sigmoid neuron, log loss, full batch and, where it says so, window shuffle with batches of
10,000 rows. All sources take turns; the fastest of the rounds counts. An epoch is a twelfth of a
fit of twelve, with all that a fit costs once: of a `.npy`, mapping pages and looking at labels.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

import fastbp
from bench.timing import interleaved, processors
from fastbp import datasets

SIZES = ["2000000x50", "5000000x20"]
ROUNDS = 3
SLOW = "csv", "parquet"  # one epoch a round


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


def fitter(rows: Any, labels: Any, d: int, **keywords: Any) -> Callable[[int], None]:
    def fit(epochs: int) -> None:
        fastbp.fit_neuron(
            rows,
            labels,
            np.zeros(d),
            0.0,
            0.5,
            epochs,
            loss="bce",
            n_threads=processors(),
            **keywords,
        )

    return fit


def measure(size: str) -> None:
    n, d = map(int, size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        found = sources(Path(folder), n, d)
        fits = {name: fitter(*source, d) for name, source in found.items()}
        window = {"shuffle": "window", "random_state": 0, "batch_size": 10_000}
        for name in ("memory", "npy"):
            fits[f"{name}, window shuffle"] = fitter(*found[name], d, **window)
        calls = {
            (name, epochs): (lambda f=fit, e=epochs: f(e))  # type: ignore[misc]
            for name, fit in fits.items()
            for epochs in ((1,) if name in SLOW else (12,))
        }
        best = interleaved(calls, ROUNDS)
    print(f"\n{n:,} x {d}, {n * d * 8 / 1e9:.1f} GB, {processors()} threads\n")
    print("| rows from | seconds an epoch | of memory | million rows a second |")
    print("|---|---:|---:|---:|")
    memory = best["memory", 12] / 12
    for name in fits:
        seconds = best.get((name, 1)) or best[name, 12] / 12
        seconds *= 10 if name == "csv" else 1  # it has a tenth of the rows
        rate = n / seconds / 1e6
        print(f"| {name} | {seconds:.3g} | {seconds / memory:.2f} | {rate:.3g} |")


if __name__ == "__main__":
    for size in sys.argv[1:] or SIZES:
        measure(size)
