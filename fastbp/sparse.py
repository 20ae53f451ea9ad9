"""Rows of a sparse matrix."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from fastbp.rows import Block, Rows, digest_of


class SparseRows(Rows):
    """A matrix of SciPy in compressed rows, (N, D); a block of rows at a time is made dense.

    What takes at most 64 MiB when dense is made so at once.
    """

    by_row = True

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
