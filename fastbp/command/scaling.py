"""Features scaled to mean 0, standard deviation 1, and labels as class indices, when read."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from fastbp.data import checks
from fastbp.data.classes import with_distinct_labels
from fastbp.data.rows import Block, Rows, Wrapped, combined
from fastbp.data.split import Subset
from fastbp.errors import DataError
from fastbp.system.progress import rows_bar


def first_pass(
    rows: Rows,
    target: str,
    held_out: Subset | None,
    of_features: Moments | None,
    of_target: Moments | None,
    collect: bool,
) -> np.ndarray:
    """Go through all rows once; return the distinct labels, if they are to be collected.

    ACC `of_features` and `of_target`, of the rows that are not held out.
    """

    def check(start: int, block: Block) -> None:
        check_block(rows, target, start, block)

    labels = np.empty(0)
    with rows_bar(rows.n_rows, "checking the rows") as bar:
        for start, block, found in with_distinct_labels(rows, check, collect):
            labels, x, y = found, block.features, block.labels
            assert y is not None
            kept = (
                slice(None) if held_out is None else held_out.selection.kept(start, start + len(x))
            )
            if of_features is not None:
                rows.raise_if_not_finite(start, x)
                of_features.add(x[kept])
            if of_target is not None:
                of_target.add(y[kept])
            bar.update(len(x))
    return labels


def check_block(rows: Rows, target: str, start: int, block: Block) -> None:
    """Raise the DataError of the first label or weight that cannot be used, if there is one."""
    assert block.labels is not None
    row = checks.first_bad_row(block.labels)
    if row is not None:
        name, index = rows.locate(start + row)
        got = f"expected a number, got {block.labels[row, 0]} in row {index}"
        raise DataError(f"{name}: column {target!r}: {got}", index)
    if block.weight is not None:
        wrong = ~(np.isfinite(block.weight) & (block.weight >= 0.0))
        if wrong.any():
            row = int(np.argmax(wrong))
            name, index = rows.locate(start + row)
            got = f"expected a finite number, not negative, got {block.weight[row]} in row {index}"
            raise DataError(f"{name}: --weights: {got}", index)


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
        total = self._n + m
        with np.errstate(over="ignore", invalid="ignore"):  # `refuse_too_large` tells
            x = rows - self._origin
            mean = x.mean(axis=0)
            x -= mean
            shift = mean - self._mean
            self._squares += np.einsum("ij,ij->j", x, x) + shift**2 * (self._n * (m / total))
            self._mean = self._mean + shift * (m / total)
        self._n = total

    def refuse_too_large(self, name: str, columns: list[str]) -> None:
        """Refuse columns whose deviation float64 cannot hold."""
        wrong = np.flatnonzero(~np.isfinite(self.scales))
        if wrong.size:
            column = columns[wrong[0]]
            expected = "expected numbers whose squares float64 can hold, got larger ones"
            raise DataError(f"{name}: column {column!r}: {expected}", column=column)

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
    """Rows with features and labels as (x - mean) / scale, or labels as indices of `classes`."""

    def __init__(
        self,
        rows: Rows,
        scaling: tuple[np.ndarray, np.ndarray] | None,
        target_scaling: tuple[np.ndarray, np.ndarray] | None,
        classes: np.ndarray | None,
    ) -> None:
        super().__init__(rows)
        self._scalings, self._classes = (scaling, target_scaling), classes

    def _complete(self, rows: slice | np.ndarray, inside: Block, block: Block) -> None:
        for array, scaling in zip((block.features, block.labels), self._scalings, strict=True):
            if array is not None and scaling is not None:
                means, scales = scaling
                np.subtract(array, means, out=array)
                np.divide(array, scales, out=array)
        if self._classes is not None and block.labels is not None:
            block.labels[:] = np.searchsorted(self._classes, block.labels)

    def digest(self) -> str:
        """Return a digest of the rows, their labels, and what is done to them."""
        done = hashlib.sha256()
        for array in (*(a for s in self._scalings for a in s or (None,)), self._classes):
            done.update(b"none" if array is None else array.tobytes())
        return combined([*self._rows.digests().values(), done.hexdigest()])

    def digests(self) -> dict[str, str]:
        """Return the one digest of all."""
        return {"features": self.digest()}


class Balanced(Wrapped):
    """Rows whose labels are class indices, weighted so that all classes weigh the same.

    As in scikit-learn, a row of class c gets N / (K n_c), times its own weight if it has one.
    """

    def __init__(self, rows: Rows, n_classes: int) -> None:
        super().__init__(rows)
        self.weighted = True
        counts = np.zeros(n_classes)
        for _, block in rows.blocks():
            assert block.labels is not None
            counts += np.bincount(block.labels[:, 0].astype(np.int64), minlength=n_classes)
        self._weights = rows.n_rows / (n_classes * np.maximum(counts, 1.0))

    def _inside(self, block: Block) -> Block:
        return block if self._rows.weighted else replace(block, weight=None)

    def _complete(self, rows: slice | np.ndarray, inside: Block, block: Block) -> None:
        if block.weight is None:
            return
        assert block.labels is not None
        if inside.weight is None:
            block.weight[:] = 1.0
        of_classes = self._weights[block.labels[:, 0].astype(np.int64)]
        np.multiply(block.weight, of_classes, out=block.weight)

    def digest(self) -> str:
        return combined([*self._rows.digests().values(), "balanced"])

    def digests(self) -> dict[str, str]:
        return {"features": self.digest()}
