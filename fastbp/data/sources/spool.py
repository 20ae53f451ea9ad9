"""Rows of another source, copied into a temporary file."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from fastbp.data.rows import Block, Rows
from fastbp.data.sources.columns import Roles, side_by_side
from fastbp.data.sources.files import Descriptor, File
from fastbp.data.sources.npy import Array, Positional, to_read


class NoCopyError(OSError):
    """A temporary file could not be made, or not be written to."""


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


def spooled(rows: Rows, blocks: Iterable[Block]) -> Spool:
    """Copy blocks, which are all of the rows, into a file: see :class:`Spool`.

    Any of them can be read from it at any time. It vanishes with the rows that are returned, and
    takes `n_rows * row_bytes` bytes. Raises a NoCopyError if there is no room for it.
    """
    with contextlib.ExitStack() as stack:
        with _explained(rows):
            file = stack.enter_context(tempfile.TemporaryFile(buffering=0))
        for block in blocks:
            rest = np.ascontiguousarray(side_by_side(block)).data.cast("B")
            with _explained(rows):
                while rest:
                    rest = rest[file.write(rest) :]
        return Spool(rows, Descriptor(os.dup(file.fileno())))


@contextlib.contextmanager
def _explained(rows: Rows) -> Iterator[None]:
    """Turn an OSError into a NoCopyError that says what was to be copied, and where to."""
    try:
        yield
    except OSError as error:
        what = f"the temporary copy of {rows.name}, of {rows.n_rows * rows.row_bytes} bytes"
        where = f"in {tempfile.gettempdir()} (set TMPDIR to use another folder)"
        raise NoCopyError(error.errno, f"{error.strerror}: {what}, {where}") from error


def disk_space() -> int:
    """Return how many bytes are free where temporary files are; 0 if that is unknown."""
    try:
        return shutil.disk_usage(tempfile.gettempdir()).free
    except OSError:
        return 0
