"""Rows of another source, copied into a temporary file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fastbp.data.rows import Rows
from fastbp.data.sources.columns import Roles, side_by_side
from fastbp.data.sources.files import Descriptor, File
from fastbp.data.sources.npy import Array, Positional, to_read


class Spool(Positional):
    """Rows of another source, copied into a file without a name."""

    def __init__(self, rows: Rows, descriptor: Descriptor) -> None:
        columns = list(range(rows.row_bytes // 8))
        d, k = rows.n_features, rows.n_features + rows.n_labels
        roles = Roles(columns[:d], columns[d:k], k if rows.weighted else None)
        file = File(Path(rows.name), descriptor)
        file.size = rows.n_rows * rows.row_bytes
        shape = rows.n_rows, len(columns)
        stored = to_read([Array("", 0, np.dtype(np.float64), shape, False)], roles)
        super().__init__(file, rows.n_rows, roles, None, stored)
        self._rows = rows
        self.name, self.dtype = rows.name, rows.dtype
        self.feature_names, self.classes = rows.feature_names, rows.classes

    def digest(self) -> str:
        return self._rows.digest()

    def locate(self, row: int) -> tuple[str, int]:
        return self._rows.locate(row)


def spooled(rows: Rows, between: Callable[[], None] = lambda: None) -> Rows:
    """Copy rows into a temporary file, from which any of them can be read at any time.

    All rows are read: `between` is called between blocks. The file has no name, vanishes with the
    rows, and takes `n_rows * row_bytes` bytes.
    """
    with tempfile.TemporaryFile(buffering=0) as file:
        for _, block in rows.blocks():
            between()
            rest = np.ascontiguousarray(side_by_side(block)).data.cast("B")
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError as error:
                raise OSError(
                    error.errno,
                    f"{error.strerror}: the temporary copy of {rows.name}, of"
                    f" {rows.n_rows * rows.row_bytes} bytes, in {tempfile.gettempdir()} (set"
                    " TMPDIR to use another folder)",
                ) from error
        return Spool(rows, Descriptor(os.dup(file.fileno())))
