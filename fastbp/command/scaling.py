"""Features scaled to mean 0, standard deviation 1, and labels as class indices, when read."""

from __future__ import annotations

import hashlib

import numpy as np

from fastbp.data import checks
from fastbp.data.classes import with_distinct_labels
from fastbp.data.rows import Block, Rows, Wrapped, combined
from fastbp.data.split import Subset
from fastbp.errors import DataError
from fastbp.system.progress import rows_bar


def first_pass(
    rows: Rows, held_out: Subset | None, moments: Moments | None, target: str | None
) -> np.ndarray:
    """Go through all rows once; return the distinct labels, if there is a target.

    ACC `moments`, of the rows that are not held out.
    """

    def check(start: int, block: Block) -> None:
        if target is not None:
            check_labels(rows, target, start, block)

    labels = np.empty(0)
    with rows_bar(rows.n_rows, "checking the rows") as bar:
        for start, block, found in with_distinct_labels(rows, check, target is not None):
            labels, x = found, block.features
            if moments is not None:
                rows.raise_if_not_finite(start, x)
                moments.add(x if held_out is None else x[held_out.kept(start, start + len(x))])
            bar.update(len(x))
    return labels


def check_labels(rows: Rows, target: str, start: int, block: Block) -> None:
    """Raise a DataError for the first non-finite label, if there is one."""
    assert block.labels is not None
    row = checks.first_bad_row(block.labels)
    if row is not None:
        name, index = rows.locate(start + row)
        got = f"expected a number, got {block.labels[row, 0]} in row {index}"
        raise DataError(f"{name}: column {target!r}: {got}", index)


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
        """Add some rows."""
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
        """The standard deviations, 1 where they are 0."""
        scales = np.sqrt(self._squares / max(self._n, 1))
        scales[scales == 0.0] = 1.0
        return scales


class Prepared(Wrapped):
    """Rows with features as (x - mean) / scale, and labels as the indices of `labels`."""

    def __init__(
        self, rows: Rows, scaling: tuple[np.ndarray, np.ndarray] | None, labels: np.ndarray | None
    ) -> None:
        super().__init__(rows)
        self._scaling, self._labels = scaling, labels

    def _complete(self, rows: slice | np.ndarray, inside: Block, block: Block) -> None:
        if self._scaling is not None:
            x, (means, scales) = block.features, self._scaling
            np.subtract(x, means, out=x)
            np.divide(x, scales, out=x)
        if self._labels is not None and block.labels is not None:
            block.labels[:] = np.searchsorted(self._labels, block.labels)

    def digest(self) -> str:
        """Return a digest of the rows, their labels, and what is done to them."""
        done = hashlib.sha256()
        for array in (*(self._scaling or ()), self._labels):
            done.update(b"none" if array is None else array.tobytes())
        return combined([*self._rows.digests().values(), done.hexdigest()])

    def digests(self) -> dict[str, str]:
        """Return the one digest of all."""
        return {"features": self.digest()}
