"""Rows of a sparse matrix: made dense a block at a time, or as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbp.data.arrays import read_only
from fastbp.data.rows import Block, Rows, combined, digest_of

DENSE_FROM = 0.25  # the share of non-zeros from which on dense rows are about as fast


@dataclass(frozen=True, eq=False)
class Compressed:
    """The features of compressed rows (N, D), as kernels read them.

    Attributes
    ----------
    arrays : tuple of numpy.ndarray
        The non-zeros, float64, and one array of int64: N + 1 positions where the values of each
        row begin, then the column of each value.
    """

    arrays: tuple[np.ndarray, np.ndarray]


class SparseRows(Rows):
    """A matrix of SciPy in compressed rows, (N, D); a block of rows at a time is made dense."""

    random_access = True

    def __init__(self, matrix: Any, name: str = "features") -> None:
        self._matrix = matrix
        self.name = name
        self.n_rows, self.n_features = matrix.shape
        self.dtype = matrix.dtype.name

    def fill(self, start: int, stop: int, block: Block) -> None:
        block.features[:] = self._matrix[start:stop].toarray()

    def take(self, indices: np.ndarray, block: Block) -> None:
        block.features[:] = self._matrix[indices].toarray()

    def digest(self) -> str:
        parts = self._matrix.data, self._matrix.indices, self._matrix.indptr
        return combined([f"{self._matrix.shape}", *map(digest_of, parts)])


class CompressedRows(SparseRows):
    """Such a matrix, left sparse, for networks of two or more layers; its values must be finite."""

    def __init__(self, matrix: Any, name: str = "features") -> None:
        super().__init__(matrix, name)
        matrix.check_format(full_check=True)  # kernels trust the indices
        positions = np.concatenate([matrix.indptr, matrix.indices]).astype(np.int64, copy=False)
        values = np.ascontiguousarray(matrix.data, dtype=np.float64)
        compressed: Any = Compressed((read_only(values), read_only(positions)))
        self.in_memory = Block(compressed)


def is_thin(matrix: Any) -> bool:
    """Return whether a matrix has so few non-zeros that computing on sparse rows is faster."""
    return bool(matrix.nnz < DENSE_FROM * matrix.shape[0] * matrix.shape[1])
