"""NumPy's ``.npy``: rows read from known positions, or mapped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from fastbp.data import checks
from fastbp.data.rows import COPY_READ, Block, Mapped
from fastbp.data.sources import text_labels
from fastbp.data.sources.columns import ColumnRequest, Roles, as_slice, sides
from fastbp.data.sources.files import PIECE_BYTES, File, FileRows, damage_named, scratch
from fastbp.errors import DataError
from fastbp.kernels.stored import DTYPES
from fastbp.system.mapping import supported

MAX_READS = 8
"""A row that takes more reads, of about 1 us each, is not worth reading on its own."""


@dataclass(frozen=True)
class Array:
    """The header of an array, and where its elements begin; `name` in an archive."""

    name: str
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool

    @property
    def n_rows(self) -> int:
        """Rows of a matrix, values of a column."""
        return self.shape[0]

    @property
    def width(self) -> int:
        """Columns; a single one if there is one dimension."""
        return self.shape[1] if len(self.shape) == 2 else 1

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.width * self.dtype.itemsize

    @property
    def n_bytes(self) -> int:
        """Bytes of all elements."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    def check(self, name: str, kinds: str = checks.REAL_KINDS) -> None:
        """Refuse what is not a matrix, or column, of real numbers or other kinds of dtypes."""
        if self.dtype.kind not in kinds:
            got = f"expected real numbers, got {checks.kind_of(self.dtype)}"
        elif len(self.shape) not in (1, 2):
            got = f"expected 1 or 2 dimensions, got shape {self.shape}"
        else:
            return
        raise DataError(f"{name}: {got}", column=self.name or None)


@dataclass(frozen=True)
class Stored(Array):
    """An array, or one column of it, of which rows are read.

    A route is an array of a block, the columns that go to it, and where they go in it; `direct`
    says that the bytes of all rows are those of one array of a block.
    """

    routes: list[tuple[int, slice | list[int], slice | list[int]]]
    direct: bool

    def text(self, raw: Any) -> np.ndarray:
        """Return the labels in rows of bytes, where they are text."""
        rows = np.frombuffer(raw, self.dtype).reshape(-1, self.width)
        return rows[:, self.routes[0][1]].ravel().astype(str)


def array_of(stream: IO[bytes], name: str, n_bytes: int, inside: str = "") -> Array:
    """Read the header of an array that takes `n_bytes`, with the header."""
    with damage_named(name, "a header of NumPy's format"):
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        array = Array(inside, stream.tell(), dtype, shape, fortran)
    if min(shape, default=0) < 0:
        raise DataError(f"{name}: expected a shape, got {shape}")
    expected = array.offset + array.n_bytes
    if dtype.kind != "O" and expected != n_bytes:
        why = "the file is truncated" if expected > n_bytes else "there is more than one array"
        raise DataError(
            f"{name}: expected {expected} bytes (shape {shape}, {dtype}), got {n_bytes}: {why}"
        )
    return array


def to_read(arrays: list[Array], roles: Roles) -> list[Stored]:
    """Return what to read of arrays side by side; in Fortran order, each column on its own."""
    columns = [(i, j) for i, array in enumerate(arrays) for j in range(array.width)]
    found: dict[tuple[int, int], dict[int, list[tuple[int, int]]]] = {}
    for side, indices in enumerate(roles.sides):
        for into, index in enumerate(indices):
            i, j = columns[index]
            alone = arrays[i].fortran and arrays[i].width > 1
            key, column = ((i, j), 0) if alone else ((i, -1), j)
            found.setdefault(key, {}).setdefault(side, []).append((column, into))
    stored = []
    for (i, j), by_side in found.items():
        a = arrays[i]
        routes = [
            (side, as_slice([c for c, _ in pairs]), as_slice([p for _, p in pairs]))
            for side, pairs in by_side.items()
        ]
        if j >= 0:
            offset = a.offset + j * a.n_rows * a.dtype.itemsize
            a = replace(a, offset=offset, shape=(a.n_rows,))
        side, every = routes[0][0], slice(0, a.width)
        whole = routes == [(side, every, every)] and a.width == len(roles.sides[side])
        direct = whole and a.dtype == np.float64
        stored.append(Stored(**vars(a), routes=routes, direct=direct))
    return stored


class ArrayFile(FileRows):
    """Rows of arrays in a file."""

    def __init__(
        self,
        file: File,
        n_rows: int,
        roles: Roles,
        names: Sequence[str] | None,
        stored: list[Stored],
    ) -> None:
        dtypes = dict.fromkeys(s.dtype.name for s in stored if s.routes[0][0] == 0)
        super().__init__(file, n_rows, roles, names, ", ".join(dtypes))
        self._stored = stored
        of_labels = [s for s in stored if any(side == 1 for side, _, _ in s.routes)]
        if len(roles.labels) == 1 and of_labels[0].dtype == bool:
            self.classes = text_labels.BOOLEANS

    def _put(self, stored: Stored, raw: np.ndarray, row: int, block: Block) -> None:
        """Write rows of bytes, from `row` on, where they belong; OUT `block`."""
        if stored.dtype.kind in checks.TEXT_KINDS:  # of the only label
            if block.labels is not None and self.classes is not None:
                text = stored.text(raw)
                block.labels[:, 0] = text_labels.indices_in(self, self.classes, text, row)
            return
        rows = raw.view(stored.dtype).reshape(-1, stored.width)
        targets = sides(block)
        for side, columns, into in stored.routes:
            target = targets[side]
            if target is not None:
                target[:, into] = rows[:, columns]


class Positional(ArrayFile):
    """Rows at known positions of a file: any thread can read any of them at any time.

    There is no random access if a row takes more than 8 reads, since its columns lie apart.
    """

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.random_access = len(self._stored) <= MAX_READS
        self.copy_pays_from = math.inf if self.random_access else COPY_READ
        direct = all(s.direct for s in self._stored)
        row_bytes = max([1, self.row_bytes, *(s.row_bytes for s in self._stored)])
        self._step = self.n_rows + 1 if direct else max(1, PIECE_BYTES // row_bytes)

    def fill(self, start: int, stop: int, block: Block) -> None:
        for a in range(start, stop, self._step):
            b = min(a + self._step, stop)
            self._read([(a, b)], block.part(a - start, b - start))

    def take(self, indices: np.ndarray, block: Block) -> None:
        for a in range(0, len(indices), self._step):
            chosen = indices[a : a + self._step]
            cuts = np.flatnonzero(np.diff(chosen) != 1) + 1
            firsts = chosen[np.concatenate(([0], cuts))].tolist()
            lengths = np.diff(cuts, prepend=0, append=len(chosen)).tolist()
            runs = [(f, f + n) for f, n in zip(firsts, lengths, strict=True)]
            self._read(runs, block.part(a, a + len(chosen)))

    def _read(self, runs: list[tuple[int, int]], block: Block) -> None:
        """Read runs of rows, as many in all as the block has; OUT `block`."""
        targets = sides(block)
        for stored in self._stored:
            if all(targets[side] is None for side, _, _ in stored.routes):
                continue
            size, target = stored.row_bytes, targets[stored.routes[0][0]]
            into = target.reshape(-1) if stored.direct and target is not None else None
            raw = scratch(len(block.features) * size) if into is None else into
            out, at = raw.view(np.uint8).data, 0
            for start, stop in runs:
                end = at + (stop - start) * size
                got = self.file.read_into(stored.offset + start * size, out[at:end])
                if got < end - at:
                    row = start + got // size
                    raise DataError(
                        f"{self.name}: expected {self.n_rows} rows ({self.file.size} bytes), got"
                        f" only {stored.offset + start * size + got} bytes, up to row {row}: the"
                        " file was shortened while it was read",
                        row,
                    )
                at = end
            if into is None:
                self._put(stored, raw, runs[0][0], block)

    def mapped(self) -> Mapped | None:
        found = self._ready()
        mapping = self.file.map() if found else None
        if mapping is None:
            return None
        arrays = [
            mapping.array(stored.offset, stored.dtype, (self.n_rows, stored.width))[:, columns]
            for stored, columns in found
        ]
        features, _ = found[0]
        return Mapped(Block(*arrays), mapping, self.name, features.offset, features.row_bytes)

    @property
    def in_place(self) -> bool:
        """Whether the rows lie in the file as kernels read them, and can be mapped."""
        return bool(self._ready()) and supported()

    def _ready(self) -> list[tuple[Stored, slice]]:
        """Return where features and labels lie as kernels read them, if all do.

        Not with weights: their sums are checked block by block.
        """
        found = [
            (stored, columns)
            for stored in self._stored
            for side, columns, into in stored.routes
            if into == slice(0, len(self.roles.sides[side])) and isinstance(columns, slice)
            if stored.dtype in DTYPES and stored.offset % stored.dtype.itemsize == 0
        ]
        complete = not self.weighted and len(found) == 1 + (self.n_labels > 0)
        return found if complete else []


def open_npy(path: Path, request: ColumnRequest) -> FileRows:
    """Open a matrix, or a column, in NumPy's format."""
    file = File(path)
    with path.open("rb") as stream:
        array = array_of(stream, str(path), file.size)
    array.check(str(path))
    roles = request.roles(str(path), range(array.width))
    return Positional(file, array.n_rows, roles, None, to_read([array], roles))
