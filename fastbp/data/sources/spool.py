"""Rows of another source, copied once into a temporary file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fastbp.data.rows import Rows
from fastbp.data.sources.columns import Roles, side_by_side
from fastbp.data.sources.files import Descriptor, File
from fastbp.data.sources.npy import Array, Positional, layout


class Spool(Positional):
    """Rows of another source, copied into a file without a name."""

    def __init__(self, rows: Rows, descriptor: Descriptor) -> None:
        features = list(range(rows.n_features))
        labels = [rows.n_features + j for j in range(rows.n_labels)]
        roles = Roles(features, labels, rows.n_features + rows.n_labels if rows.weighted else None)
        width = rows.row_bytes // 8
        shape = (rows.n_rows, width)
        file = File(Path(rows.name), descriptor)
        file.size = 8 * rows.n_rows * width
        stored = layout([Array("", 0, np.dtype(np.float64), shape, False)], roles)
        super().__init__(file, rows.n_rows, roles, None, stored)
        self._rows = rows
        self.name, self.feature_names, self.dtype = rows.name, rows.feature_names, rows.dtype
        self.classes = rows.classes

    def digest(self) -> str:
        return self._rows.digest()

    def locate(self, row: int) -> tuple[str, int]:
        return self._rows.locate(row)


def spooled(rows: Rows, between: Callable[[], None] = lambda: None) -> Rows:
    """Copy rows once into a temporary file, from which any of them can be read at any time.

    It may take long: `between` is called between blocks. The file has no name, and is gone when
    the rows are. Its size is `n_rows * row_bytes`.
    """
    try:
        with tempfile.TemporaryFile(buffering=0) as file:
            for _, block in rows.blocks():
                between()
                _write(rows, file, side_by_side(block))
            return Spool(rows, Descriptor(os.dup(file.fileno())))
    except _SpoolError as error:
        raise OSError(error.errno, error.strerror) from error.__cause__


class _SpoolError(OSError):
    """Told apart from what reading the rows raises."""


def _write(rows: Rows, file: Any, array: np.ndarray) -> None:
    rest = np.ascontiguousarray(array).data.cast("B")
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise _SpoolError(
            error.errno,
            f"{error.strerror}: the temporary copy of {rows.name}, of"
            f" {rows.n_rows * rows.row_bytes} bytes, in {tempfile.gettempdir()} (set TMPDIR to use"
            " another folder)",
        ) from error
