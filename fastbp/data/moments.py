"""Means and standard deviations of columns, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastbp.data.rows import Rows
from fastbp.errors import DataError

LONG_ROW = 2048  # numbers
FEW_ROWS = 2048  # for which it does not pay


class BlockMoments(NamedTuple):
    """Those of some rows less an origin: how many, their means, and sums of squares around them.

    By weights, `n` is their sum.
    """

    n: float
    mean: np.ndarray
    squares: np.ndarray


def moments_of(
    rows: np.ndarray, origin: np.ndarray, weight: np.ndarray | None = None
) -> BlockMoments | None:
    """Return the moments of rows (N, columns), by weights (N,) if given; None if there are none."""
    found = centred(rows, origin, weight)
    return None if found is None else found[1]


def centred(
    rows: np.ndarray, origin: np.ndarray, weight: np.ndarray | None = None
) -> tuple[np.ndarray, BlockMoments] | None:
    """Return rows less their means and, as :func:`moments_of`, their moments."""
    n = float(len(rows) if weight is None else weight.sum())
    if n == 0.0:
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # `refuse_too_large` tells
        x = np.array(rows, order="C")
        _subtract(x, origin)
        mean = _sums("ij->j", x) / n if weight is None else weight @ x / n
        _subtract(x, mean)
        if weight is None:
            return x, BlockMoments(n, mean, _sums("ij,ij->j", x, x))
        return x, BlockMoments(n, mean, np.einsum("i,ij,ij->j", weight, x, x))


def _as_long_rows(rows: np.ndarray) -> list[np.ndarray]:
    """Return views: many rows side by side as one, and those that are left.

    NumPy goes over an array row by row, which takes it three times as long where they are short.
    """
    n, d = rows.shape
    beside = min(n, LONG_ROW // d)
    if beside < 2 or n < FEW_ROWS:
        return [rows]
    whole = n - n % beside
    return [rows[:whole].reshape(-1, beside * d), rows[whole:]]


def _subtract(rows: np.ndarray, columns: np.ndarray) -> None:
    """Subtract a number of each column; ACC rows."""
    for part in _as_long_rows(rows):
        beside = part.shape[1] // columns.size
        part -= columns if beside == 1 else np.tile(columns, beside)


def _sums(of: str, *rows: np.ndarray) -> np.ndarray:
    """Return the sum of each column, by `einsum`."""
    parts = zip(*map(_as_long_rows, rows), strict=True)
    sums = [np.einsum(of, *each).reshape(-1, rows[0].shape[1]) for each in parts]
    total: np.ndarray = np.concatenate(sums).sum(axis=0)
    return total


def moments_by_block(rows: Rows, origin: np.ndarray) -> Iterator[BlockMoments | None]:
    """Yield the moments of blocks of rows' features, by their weights."""
    for _, block in rows.blocks():
        yield moments_of(block.features, origin, block.weight)


class ColumnMoments:
    """Means and standard deviations of columns, from those of blocks of rows.

    Blocks are combined as by Chan, Golub and LeVeque (The American Statistician 37, 1983). The
    first row, `origin`, is subtracted from all, so that a column that never changes has exactly
    none.
    """

    def __init__(self, n_columns: int) -> None:
        self.n = 0.0  # of rows, or the sum of their weights
        self.origin = np.zeros(n_columns)
        self._mean = np.zeros(n_columns)
        self._squares = np.zeros(n_columns)

    def add(self, more: BlockMoments | None) -> None:
        """Add those of a block, relative to the origin."""
        if more is None:
            return
        n, mean, squares = more
        total = self.n + n
        with np.errstate(over="ignore", invalid="ignore"):
            shift = mean - self._mean
            self._squares += squares + shift**2 * (self.n * (n / total))
            self._mean = self._mean + shift * (n / total)
        self.n = total

    def refuse_too_large(self, name: str, columns: list[str]) -> None:
        """Refuse columns whose deviation float64 cannot hold."""
        wrong = np.flatnonzero(~np.isfinite(self.scales))
        if wrong.size:
            column = columns[wrong[0]]
            expected = "expected numbers whose squares float64 can hold, got larger ones"
            raise DataError(f"{name}: column {column!r}: {expected}", column=column)

    @property
    def constant(self) -> np.ndarray:
        """Whether a column never changes."""
        found: np.ndarray = self._squares == 0.0
        return found

    @property
    def means(self) -> np.ndarray:
        """The means; 0 before there is any row."""
        return self.origin + self._mean

    @property
    def scales(self) -> np.ndarray:
        """The standard deviations, 1 where they are 0."""
        scales = np.sqrt(self._squares / (self.n or 1.0))
        scales[scales == 0.0] = 1.0
        return scales
