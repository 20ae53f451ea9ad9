"""Features brought to mean 0 and deviation 1, and labels numbered, as rows are read."""

from __future__ import annotations

import hashlib

import numpy as np

from fastbp.data import checks
from fastbp.data.rows import Block, Rows, combined
from fastbp.data.split import Subset
from fastbp.errors import DataError
from fastbp.models.table_model import MOST_CLASSES
from fastbp.system.progress import rows_bar


def survey(
    rows: Rows, held_out: Subset | None, moments: Moments | None, target: str | None
) -> np.ndarray:
    """Go through all rows once; return the different labels if their column is given.

    ACC `moments`, of the rows that are not held out.
    """
    found = np.empty(0)
    with rows_bar(rows.n_rows, "looking at the rows") as bar:
        for start, block in rows.blocks():
            if target is not None:
                labels = checked_labels(rows, target, start, block)
                found = np.union1d(found, labels)[: MOST_CLASSES + 1]
            if moments is not None:
                rows.raise_if_not_finite(start, block.features)
                moments.add(_without(held_out, rows.n_rows, start, block.features))
            bar.update(len(block.features))
    return found


def checked_labels(rows: Rows, target: str, start: int, block: Block) -> np.ndarray:
    """Return the labels of a block, or raise the DataError of the first that is not finite."""
    assert block.labels is not None
    row = checks.first_bad_row(block.labels)
    if row is None:
        return block.labels
    name, index = rows.place(start + row)
    got = f"expected a number, got {block.labels[row, 0]} in row {index}"
    raise DataError(f"{name}: column {target!r}: {got}", index)


def _without(held_out: Subset | None, n_rows: int, start: int, block: np.ndarray) -> np.ndarray:
    """Return the rows of a block that are not held out."""
    if held_out is None:
        return block
    n, stop = held_out.n_rows, start + len(block)
    # One row is held out of each of n runs of equal length: these touch the block.
    runs = np.arange(max(0, start * n // n_rows - 1), min(n, stop * n // n_rows + 2))
    numbers = held_out.numbers(runs)
    kept = np.ones(len(block), dtype=bool)
    kept[numbers[(numbers >= start) & (numbers < stop)] - start] = False
    return block[kept]


class Moments:
    """Means and standard deviations of columns, a block of rows at a time.

    Blocks are combined as by Chan, Golub and LeVeque (The American Statistician 37, 1983). The
    first row is subtracted from all, so that a column that never changes has exactly none.
    """

    def __init__(self, n_columns: int) -> None:
        self._n = 0
        self._origin = np.zeros(n_columns)
        self._mean = np.zeros(n_columns)
        self._squares = np.zeros(n_columns)

    def add(self, rows: np.ndarray) -> None:
        """Take some rows into account."""
        m = len(rows)
        if m == 0:
            return
        if self._n == 0:
            self._origin = rows[0].copy()
        x = rows - self._origin
        mean = x.mean(axis=0)
        x -= mean
        shift = mean - self._mean
        total = self._n + m
        self._squares += np.einsum("ij,ij->j", x, x) + shift**2 * (self._n * (m / total))
        self._mean = self._mean + shift * (m / total)
        self._n = total

    @property
    def means(self) -> np.ndarray:
        """The means; 0 before there is any row."""
        return self._origin + self._mean

    @property
    def scales(self) -> np.ndarray:
        """The deviations, 1 where they are 0."""
        scales = np.sqrt(self._squares / max(self._n, 1))
        scales[scales == 0.0] = 1.0
        return scales


class Prepared(Rows):
    """Rows with features as (x - mean) / scale, and labels as the numbers of `classes`."""

    def __init__(
        self,
        rows: Rows,
        scaling: tuple[np.ndarray, np.ndarray] | None,
        classes: np.ndarray | None,
    ) -> None:
        self._rows, self._scaling, self._classes = rows, scaling, classes
        self.name, self.dtype = rows.name, rows.dtype
        self.n_rows, self.n_features = rows.n_rows, rows.n_features
        self.n_labels, self.weighted = rows.n_labels, rows.weighted
        self.feature_names, self.random_access = rows.feature_names, rows.random_access
        self.any_order = rows.any_order

    def fill(self, start: int, stop: int, block: Block) -> None:
        """Write rows start to stop; OUT `block`."""
        self._rows.fill(start, stop, block)
        self._prepare(block)

    def take(self, indices: np.ndarray, block: Block) -> None:
        """Write the rows of these numbers; OUT `block`."""
        self._rows.take(indices, block)
        self._prepare(block)

    def _prepare(self, block: Block) -> None:
        if self._scaling is not None:
            x, (means, scales) = block.features, self._scaling
            np.subtract(x, means, out=x)
            np.divide(x, scales, out=x)
        if self._classes is not None and block.labels is not None:
            block.labels[:] = np.searchsorted(self._classes, block.labels)

    def digest(self) -> str:
        """Return a digest of the rows, their labels, and what is done to them."""
        done = hashlib.sha256()
        for array in (*(self._scaling or ()), self._classes):
            done.update(b"none" if array is None else array.tobytes())
        return combined([*self._rows.digests().values(), done.hexdigest()])

    def place(self, row: int) -> tuple[str, int]:
        """Return the name of the file and the number of the row in it."""
        return self._rows.place(row)

    def close(self) -> None:
        """Give back what reading has taken up."""
        self._rows.close()
