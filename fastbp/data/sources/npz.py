"""NumPy's ``.npz``: an archive of matrices and columns."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np

from fastbp.data.rows import Block
from fastbp.data.sources.columns import ColumnRequest, Roles, refuse_repeated, sides
from fastbp.data.sources.files import (
    PIECE_BYTES,
    File,
    FileRows,
    Sequential,
    damage_named,
    dtypes_of,
)
from fastbp.data.sources.npy import Array, Positional, Stored, array_of, layout
from fastbp.errors import DataError


def open_npz(path: Path, choice: ColumnRequest) -> FileRows:
    """Open an archive of matrices and columns in NumPy's format."""
    file = File(path)
    name = str(path)
    with damage_named(name, "an archive of arrays"), zipfile.ZipFile(path) as archive:
        members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
        arrays = []
        for member in members.values():
            if member.filename.endswith(".npy"):
                inside = member.filename.removesuffix(".npy")
                with archive.open(member) as stream:
                    arrays.append(array_of(stream, f"{name}: {inside}", member.file_size, inside))
    known = [array.name for array in arrays]
    refuse_repeated(name, known)
    chosen = choice.roles(name, known)
    used = [arrays[i] for i in chosen.all]
    for array in used:
        array.check(f"{name}: {array.name}")
        if array.n_rows != used[0].n_rows:
            raise DataError(
                f"{name}: expected {used[0].n_rows} rows in every array, as in {used[0].name}, got"
                f" {array.n_rows} in {array.name}"
            )
    roles, names = _columns_of(name, arrays, chosen)
    n_rows = used[0].n_rows if used else 0
    if any(members[array.name].compress_type != zipfile.ZIP_STORED for array in used):
        return Zipped(file, n_rows, roles, names, layout(arrays, roles))
    with damage_named(name, "an archive of arrays"):
        arrays = [_in_archive(file, array, members[array.name]) for array in arrays]
    return Positional(file, n_rows, roles, names, layout(arrays, roles))


def _columns_of(name: str, arrays: list[Array], chosen: Roles) -> tuple[Roles, list[str]]:
    """Return the places of the columns of all arrays, and their names."""
    names: list[str] = []
    places = []
    for array in arrays:
        places.append(list(range(len(names), len(names) + array.width)))
        several = len(array.shape) == 2
        names += [f"{array.name}{j}" if several else array.name for j in range(len(places[-1]))]
    features, labels, weight = ([p for i in side for p in places[i]] for side in chosen.sides)
    if len(weight) > 1:
        raise DataError(f"{name}: expected one column of weights, got {len(weight)}")
    return Roles(features, labels, weight[0] if weight else None), names


def _in_archive(file: File, array: Array, member: zipfile.ZipInfo) -> Array:
    """Return the array with its offset in the file: names and extras come before its bytes."""
    signature, name_bytes, extra_bytes = struct.unpack(
        "<4s22xHH", file.read(member.header_offset, 30).tobytes()
    )
    if signature != b"PK\x03\x04":
        raise DataError(f"{file.path}: expected {array.name} at byte {member.header_offset}")
    offset = member.header_offset + 30 + name_bytes + extra_bytes + array.offset
    return Array(array.name, offset, array.dtype, array.shape, array.fortran)


class Zipped(Sequential, FileRows):
    """Arrays of an archive that are compressed, each a stream of its own."""

    def __init__(
        self, file: File, n_rows: int, roles: Roles, names: Sequence[str], stored: list[Stored]
    ) -> None:
        dtype = dtypes_of([s.dtype.name for s in stored if s.routes[0][0] == 0])
        FileRows.__init__(self, file, n_rows, roles, names, dtype)
        self._stored = stored
        self.begin()

    def pieces(self, start: int) -> tuple[int, Iterator[Block]]:
        return 0, self._inflated()

    def _inflated(self) -> Iterator[Block]:
        step = max(1, PIECE_BYTES // self.row_bytes)
        with (
            damage_named(self.name, "an archive of arrays"),
            zipfile.ZipFile(self.file.path) as archive,
            ExitStack() as opened,
        ):
            streams = [opened.enter_context(archive.open(s.member + ".npy")) for s in self._stored]
            for stored, stream in zip(self._stored, streams, strict=True):
                skip(stream, stored.offset)
            for start in range(0, self.n_rows, step):
                block = self.empty(min(step, self.n_rows - start))
                for stored, stream in zip(self._stored, streams, strict=True):
                    raw = stream.read(len(block.features) * stored.row_bytes)
                    if len(raw) < len(block.features) * stored.row_bytes:
                        row = start + len(raw) // stored.row_bytes
                        raise DataError(
                            f"{self.name}: {stored.member}: expected {self.n_rows} rows, got only"
                            f" {row}",
                            row,
                        )
                    stored.put(np.frombuffer(raw, dtype=np.uint8), sides(block))
                yield block


def skip(stream: IO[bytes], size: int) -> None:
    """Read bytes in vain; `seek` would give up the check of the member's CRC."""
    while size > 0:
        size -= len(stream.read(min(size, PIECE_BYTES))) or size
