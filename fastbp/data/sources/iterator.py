"""Blocks of rows from an iterator that the caller makes."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.data import checks
from fastbp.data.arrays import readable
from fastbp.data.rows import Block
from fastbp.data.sources.columns import ColumnRequest, difference, parts_of, side_by_side
from fastbp.data.sources.files import Sequential
from fastbp.errors import DataError

CRC_ROWS = 4096


class IteratorRows(Sequential):
    """Rows in blocks, from an iterator that a callable returns at every call."""

    n_rows = 0

    def __init__(self, function: Callable[[], Any], request: ColumnRequest) -> None:
        self._function, self._request = function, request
        own = getattr(function, "__qualname__", type(function).__qualname__)
        self.name = f"rows of {own}"
        self._columns = ""
        super().__init__()
        n_rows, crc, digest = 0, 0, hashlib.sha256()
        for block in self._blocks():
            rest = side_by_side(block)
            while len(rest):
                some, rest = np.split(rest, [CRC_ROWS - n_rows % CRC_ROWS])
                n_rows, crc = n_rows + len(some), zlib.crc32(np.ascontiguousarray(some).data, crc)
                if n_rows % CRC_ROWS == 0:
                    digest.update(crc.to_bytes(4, "little"))
                    crc = 0
        if not self._columns:
            raise DataError(f"{self.name}: expected at least one row, got none")
        shape = (n_rows, self.n_features, self.n_labels, self.weighted)
        digest.update(f"{crc} {shape}".encode())
        self.n_rows, self._digest = n_rows, digest.hexdigest()

    def pieces(self, start: int) -> tuple[int, Iterator[Block]]:
        return 0, self._blocks()

    def _blocks(self) -> Iterator[Block]:
        blocks = self._function()
        if not hasattr(type(blocks), "__iter__"):
            raise TypeError(
                f"{self.name}: expected a callable that returns an iterator of blocks, got"
                f" {arguments.describe(blocks)}"
            )
        row = 0
        for number, value in enumerate(blocks):
            block = self._block(f"{self.name}: block {number} from row {row} on", row, value)
            if block is not None:
                row += len(block.features)
                yield block
        if row == 0 and self.n_rows > 0:
            raise DataError(
                f"{self.name}: expected a fresh iterator at every call, got one that is exhausted"
            )

    def _block(self, name: str, row: int, value: Any) -> Block | None:
        parts = list(value) if isinstance(value, tuple) else [value]
        if not 1 <= len(parts) <= 3:
            raise DataError(
                f"{name}: expected features, labels and weights, got a tuple of {len(parts)}", row
            )
        if isinstance(parts[0], list) and not parts[0]:
            return None
        features, block, names, self.remarks = parts_of(name, parts[0], self._request, row)
        n_rows = len(features)
        labels, weight = (*parts[1:], None, None)[:2]
        block = Block(
            readable(features),
            block.labels if labels is None else _labels(name, row, labels, n_rows),
            block.weight if weight is None else _labels(name, row, weight, n_rows)[:, 0],
        )
        self._check_alike(name, row, block, names, features.dtype.name)
        return block if n_rows else None

    def _check_alike(
        self, name: str, row: int, block: Block, names: list[str] | None, dtype: str
    ) -> None:
        """Refuse a block whose columns are not those of the first."""
        width, weighted = block.features.shape[1], block.weight is not None
        n_labels = 0 if block.labels is None else block.labels.shape[1]
        columns = (
            f"{width} features, {n_labels} columns of labels, {'a' if weighted else 'no'} weight"
        )
        columns += "" if names is None else ", with names"
        if not self._columns:
            self._columns, self.dtype = columns, dtype
            self.n_features, self.n_labels = width, n_labels
            self.weighted, self.feature_names = weighted, names
        if columns != self._columns:
            raise DataError(f"{name}: expected {self._columns}, got {columns}", row)
        if (got := difference(self.feature_names, names)) is not None:
            raise DataError(f"{name}: expected the columns of the first block, got {got}", row)

    def digest(self) -> str:
        return self._digest


def _labels(name: str, row: int, value: Any, n_rows: int) -> np.ndarray:
    """Return labels, or weights, as a matrix of float64."""
    array = checks.number_array(name, value, row)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or len(array) != n_rows:
        raise DataError(f"{name}: expected labels of {n_rows} rows, got shape {array.shape}", row)
    return readable(array)
