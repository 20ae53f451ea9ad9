"""Rows of a sparse matrix: made dense a block at a time, or as they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbp.data.arrays import read_only
from fastbp.data.rows import Block, Rows, digest_of

DENSE_FROM = 0.25  # filled so far, compressed rows take about as long as dense ones


@dataclass(frozen=True, eq=False)
class Compressed:
    """The features of compressed rows (N, D), as kernels read them.

    Attributes
    ----------
    arrays : tuple of numpy.ndarray
        The values that are not zero, float64, and, as one array of int64, the N + 1 places where
        the values of each row begin, then the column of each value.
    """

    arrays: tuple[np.ndarray, np.ndarray]


class SparseRows(Rows):
    """A matrix of SciPy in compressed rows, (N, D); a block of rows at a time is made dense.

    What takes at most 64 MiB when dense is made so at once.
    """

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
        text = f"{self._matrix.shape} " + " ".join(map(digest_of, parts))
        return hashlib.sha256(text.encode()).hexdigest()


class CompressedRows(SparseRows):
    """Such a matrix as it is, for networks of two layers or more; its values must be finite."""

    def __init__(self, matrix: Any, name: str = "features") -> None:
        super().__init__(matrix, name)
        matrix.check_format(full_check=True)  # kernels reach what the indices say
        places = np.concatenate([matrix.indptr, matrix.indices]).astype(np.int64, copy=False)
        values = np.ascontiguousarray(matrix.data, dtype=np.float64)
        compressed: Any = Compressed((read_only(values), read_only(places)))
        self.in_memory = Block(compressed)


def is_thin(matrix: Any) -> bool:
    """Return whether so little of a sparse matrix is filled that it is better left as it is."""
    return bool(matrix.nnz < DENSE_FROM * matrix.shape[0] * matrix.shape[1])
