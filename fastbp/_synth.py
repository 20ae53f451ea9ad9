"""A file of synthetic rows, and how far it is."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from fastbp._progress import rows_bar
from fastbp.datasets import make_neuron_dataset, write_npy
from fastbp.rows import Block, Rows


def write_rows(
    path: Path, n_rows: int, n_features: int, noise: float, seed: int, distribution: str
) -> None:
    """Write rows and, in the last column, the labels that a neuron gives them."""
    rows, _, _, _ = make_neuron_dataset(
        n_rows, n_features, noise=noise, seed=seed, distribution=distribution, virtual=True
    )
    with rows_bar(n_rows, "writing") as bar:
        write_npy(Counted(rows, bar), path)


class Counted(Rows):
    """Rows that move a bar as they are computed, by any number of threads."""

    def __init__(self, rows: Rows, bar: Any) -> None:
        self._rows, self._bar, self._lock = rows, bar, threading.Lock()
        self.n_rows, self.n_features, self.n_labels = rows.n_rows, rows.n_features, rows.n_labels

    def fill(self, start: int, stop: int, block: Block) -> None:
        """Compute rows start to stop; OUT `block`."""
        self._rows.fill(start, stop, block)
        with self._lock:
            self._bar.update(stop - start)

    def digest(self) -> str:
        """Return the digest of the rows."""
        return self._rows.digest()
