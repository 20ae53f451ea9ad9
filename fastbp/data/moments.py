"""Means and standard deviations of columns, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastbp.data.rows import Rows, ranges
from fastbp.errors import DataError


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
        x = rows - origin
        mean = x.mean(axis=0) if weight is None else weight @ x / n
        x -= mean
        if weight is None:
            return x, BlockMoments(n, mean, np.einsum("ij,ij->j", x, x))
        return x, BlockMoments(n, mean, np.einsum("i,ij,ij->j", weight, x, x))


def moments_by_block(rows: Rows, n_rows: int, origin: np.ndarray) -> Iterator[BlockMoments | None]:
    """Yield the moments of the first so many rows' features, by their weights."""
    for start, stop in ranges(0, n_rows, rows.block_rows):
        block = rows.block(start, stop)
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
