"""Rows of a sparse matrix: made dense a block at a time, or as they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp.arguments import FLOAT64
from fastbp.data import checks
from fastbp.data.arrays import read_only
from fastbp.data.rows import Block, Rows, combined, digest_of

DENSE_FROM = 0.25  # the share of non-zeros from which on dense rows are about as fast


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
    """Such a matrix, left sparse, for networks of two or more layers; its values must be finite.

    The features in memory are a tuple of two arrays: the non-zeros, float64, and, as int64, the
    N + 1 positions where the values of each row begin, then the column of each value.
    """

    def __init__(self, matrix: Any, name: str = "features", dtype: np.dtype[Any] = FLOAT64) -> None:
        """Take over a matrix whose numbers are finite, as those of this dtype must be, too."""
        matrix = matrix.tocsr()
        super().__init__(matrix, name)
        matrix.check_format(full_check=True)  # kernels trust the indices
        finite = checks.finite_in(dtype, matrix.data)
        if not finite.all():
            row = int(np.searchsorted(matrix.indptr, np.argmin(finite), side="right")) - 1
            self.raise_if_not_finite(row, matrix[[row]].toarray(), dtype)
        positions = np.concatenate([matrix.indptr, matrix.indices]).astype(np.int64, copy=False)
        values = np.ascontiguousarray(matrix.data, dtype=np.float64)
        compressed: Any = read_only(values), read_only(positions)
        self.in_memory = Block(compressed)


def is_sparse_enough(matrix: Any) -> bool:
    """Return whether a matrix has so few non-zeros that computing on sparse rows is faster."""
    return bool(matrix.nnz < DENSE_FROM * matrix.shape[0] * matrix.shape[1])
