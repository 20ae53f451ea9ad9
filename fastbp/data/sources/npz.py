"""NumPy's ``.npz``: an archive of matrices and columns."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

from fastbp.data import checks
from fastbp.data.rows import COPY_PARSED, Block
from fastbp.data.sources import text_labels
from fastbp.data.sources.columns import ColumnRequest, Roles
from fastbp.data.sources.files import PIECE_BYTES, File, FileRows, Sequential, damage_named
from fastbp.data.sources.npy import Array, ArrayFile, Positional, Stored, array_of, to_read
from fastbp.errors import DataError

EXPECTED = "an archive of arrays"
MOST_TIMES = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}
"""How many times its bytes in the archive a member can have, as NumPy compresses it."""


def open_npz(path: Path, request: ColumnRequest) -> FileRows:
    """Open an archive of matrices and columns in NumPy's format.

    An array of one dimension is a column of its name, one of two has columns `name0`, `name1`...;
    the array's name stands for all of its columns.
    """
    file, name = File(path), str(path)
    arrays, members = [], {}
    with damage_named(name, EXPECTED), zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            inside = member.filename.removesuffix(".npy")
            if inside != member.filename:
                members[inside] = member
                most = file.size * MOST_TIMES.get(member.compress_type, 2**62)
                if member.file_size > most:
                    expected = f"expected at most {most} bytes in a file of {file.size}"
                    raise DataError(f"{name}: {inside}: {expected}, got {member.file_size}")
                with archive.open(member) as stream:
                    arrays.append(array_of(stream, f"{name}: {inside}", member.file_size, inside))
    columns = {
        a.name: [f"{a.name}{j}" for j in range(a.width)] if len(a.shape) == 2 else [a.name]
        for a in arrays
    }
    names = [column for several in columns.values() for column in several]
    roles = request.roles(name, names, columns)
    n_rows = _check(name, [array for array in arrays for _ in columns[array.name]], roles)
    stored = to_read(arrays, roles)
    rows: ArrayFile
    with damage_named(name, EXPECTED):
        if any(members[s.name].compress_type != zipfile.ZIP_STORED for s in stored):
            rows = Zipped(file, n_rows, roles, names, stored)
        else:
            arrays = [_in_archive(file, array, members[array.name]) for array in arrays]
            rows = Positional(file, n_rows, roles, names, to_read(arrays, roles))
        texts = [array for array in stored if array.dtype.kind in checks.TEXT_KINDS]
        for text in texts:  # one at most, the label
            with zipfile.ZipFile(path) as archive, archive.open(text.name + ".npy") as stream:
                step = max(1, PIECE_BYTES // text.row_bytes)
                pieces = map(text.text, _bytes_of(stream, text, n_rows, step))
                rows.classes = text_labels.classes_in(rows, pieces)
    return rows


def _check(name: str, owners: list[Array], roles: Roles) -> int:
    """Return how many rows the arrays used have; refuse others. `owners` has one per column."""
    used = [owners[index] for index in roles.all]
    for index, array in zip(roles.all, used, strict=True):
        text = checks.TEXT_KINDS if roles.labels == [index] else ""
        array.check(f"{name}: {array.name}", checks.REAL_KINDS + text)
        if array.n_rows != used[0].n_rows:
            raise DataError(
                f"{name}: expected {used[0].n_rows} rows in every array, as in {used[0].name}, got"
                f" {array.n_rows} in {array.name}"
            )
    return used[0].n_rows if used else 0


def _bytes_of(stream: IO[bytes], stored: Stored, n_rows: int, step: int) -> Iterator[bytes]:
    """Yield the elements of an array, `step` rows at a time."""
    rest = stored.offset  # read and discarded: `seek` would disable the CRC check
    while rest > 0:
        rest -= len(stream.read(min(rest, PIECE_BYTES))) or rest
    for start in range(0, n_rows, step):
        yield stream.read(min(step, n_rows - start) * stored.row_bytes)


def _in_archive(file: File, array: Array, member: zipfile.ZipInfo) -> Array:
    """Return the array with its offset in the file: after the member's header, name and extras."""
    signature, name_bytes, extra_bytes = struct.unpack(
        "<4s22xHH", file.read(member.header_offset, 30).tobytes()
    )
    if signature != b"PK\x03\x04":
        raise DataError(f"{file.path}: expected {array.name} at byte {member.header_offset}")
    offset = member.header_offset + 30 + name_bytes + extra_bytes + array.offset
    return replace(array, offset=offset)


class Zipped(Sequential, ArrayFile):
    """Compressed arrays of an archive, each read as a stream."""

    copy_pays_from = COPY_PARSED

    def pieces(self, start: int) -> tuple[int, Iterator[Block]]:
        return 0, self._inflated()

    def _inflated(self) -> Iterator[Block]:
        step = max(1, PIECE_BYTES // self.row_bytes)
        with (
            damage_named(self.name, EXPECTED),
            zipfile.ZipFile(self.file.path) as archive,
            ExitStack() as opened,
        ):
            streams = []
            for stored in self._stored:
                stream = opened.enter_context(archive.open(stored.name + ".npy"))
                streams.append(_bytes_of(stream, stored, self.n_rows, step))
            for start in range(0, self.n_rows, step):
                block = self.empty(min(step, self.n_rows - start))
                for stored, pieces in zip(self._stored, streams, strict=True):
                    raw = next(pieces)
                    if len(raw) < len(block.features) * stored.row_bytes:
                        row = start + len(raw) // stored.row_bytes
                        raise DataError(
                            f"{self.name}: {stored.name}: expected {self.n_rows} rows, got only"
                            f" {row}",
                            row,
                        )
                    self._put(stored, np.frombuffer(raw, dtype=np.uint8), start, block)
                yield block
