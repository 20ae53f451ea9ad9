"""NumPy's ``.npy``: rows that are read at positions, or mapped where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.lib import format as npy

from fastbp.data import checks
from fastbp.data.rows import Block, Mapped
from fastbp.data.sources import text_labels
from fastbp.data.sources.columns import ColumnRequest, Roles, as_slice, sides
from fastbp.data.sources.files import (
    MAX_READS,
    PIECE_BYTES,
    File,
    FileRows,
    damage_named,
    dtypes_of,
    scratch,
)
from fastbp.errors import DataError
from fastbp.system.mapping import supported

TEXT_KINDS = "SU"  # of a dtype


@dataclass(frozen=True)
class Stored:
    """Rows of one dtype that lie one after another: those of an array, or of one column of it.

    `routes` says for each array of a block which of the columns go to which of its columns.
    """

    member: str
    offset: int
    dtype: np.dtype[Any]
    width: int
    routes: list[tuple[int, slice | list[int], slice | list[int]]]

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.width * self.dtype.itemsize

    @property
    def whole(self) -> bool:
        """Whether all columns go, as they are, to the first columns of an array of a block."""
        ready = self.dtype == np.float64 and len(self.routes) == 1
        return ready and self.routes[0][1:] == (slice(0, self.width), slice(0, self.width))

    def direct(self, targets: list[np.ndarray | None]) -> np.ndarray | None:
        """Return the array of a block that rows can be read into as they are, if there is one."""
        target = targets[self.routes[0][0]]
        fits = self.whole and target is not None and target.shape[1] == self.width
        return target if fits else None

    def text(self, raw: Any) -> np.ndarray:
        """Return the labels in rows of bytes, where they are text."""
        rows = np.frombuffer(raw, self.dtype).reshape(-1, self.width)
        return rows[:, self.routes[0][1]].ravel().astype(str)


@dataclass(frozen=True)
class Array:
    """What the header of an array says, and where the array lies; `name` in an archive."""

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
    def n_bytes(self) -> int:
        """Bytes of all elements."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    def check(self, name: str, kinds: str = checks.REAL_KINDS) -> None:
        """Refuse what is not a matrix, or column, of real numbers, or of other kinds of dtypes."""
        if self.dtype.kind not in kinds:
            raise DataError(f"{name}: expected real numbers, got {_kind_of(self.dtype)}")
        if len(self.shape) not in (1, 2):
            raise DataError(f"{name}: expected 1 or 2 dimensions, got shape {self.shape}")


def _kind_of(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "O":
        return "Python objects, which only pickle could read"
    return "records of several fields" if dtype.names else f"dtype {dtype}"


def array_of(stream: IO[bytes], name: str, n_bytes: int, inside: str = "") -> Array:
    """Return what the header of an array says; of `n_bytes` in all it must leave enough."""
    with damage_named(name, "a header of NumPy's format"):
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        array = Array(inside, stream.tell(), dtype, shape, fortran)
    if min(shape, default=0) < 0:
        raise DataError(f"{name}: expected a shape, got {shape}")
    if dtype.kind != "O" and array.offset + array.n_bytes > n_bytes:
        raise DataError(
            f"{name}: expected {array.offset + array.n_bytes} bytes (shape {shape}, {dtype}),"
            f" got {n_bytes}: the file was cut"
        )
    return array


def layout(arrays: list[Array], roles: Roles) -> list[Stored]:
    """Return what has to be read of arrays side by side.

    The columns of an array in Fortran order lie one after another, each as an array of its own.
    """
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
        skip, width = (0, a.width) if j < 0 else (j * a.n_rows * a.dtype.itemsize, 1)
        stored.append(Stored(a.name, a.offset + skip, a.dtype, width, routes))
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
        dtype = dtypes_of([s.dtype.name for s in stored if s.routes[0][0] == 0])
        super().__init__(file, n_rows, roles, names, dtype)
        self._stored = stored
        of_labels = [s for s in stored if any(side == 1 for side, _, _ in s.routes)]
        if len(roles.labels) == 1 and of_labels[0].dtype == bool:
            self.classes = text_labels.BOOLEANS

    def _put(self, stored: Stored, raw: np.ndarray, row: int, block: Block) -> None:
        """Write rows of bytes, from `row` on, where they belong; OUT `block`."""
        if stored.dtype.kind in TEXT_KINDS:  # of the only label
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
    """Rows at known positions of a file: any of them can be read at any time by any thread.

    A row that takes more than 8 reads, since its columns lie apart, is not reached alone.
    """

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.random_access = len(self._stored) <= MAX_READS
        as_it_is = all(
            s.whole and len(self.roles.sides[s.routes[0][0]]) == s.width for s in self._stored
        )
        row_bytes = max([1, self.row_bytes, *(s.row_bytes for s in self._stored)])
        self._step = self.n_rows + 1 if as_it_is else max(1, PIECE_BYTES // row_bytes)

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
        """Read runs of rows one after another; OUT `block`, of so many rows."""
        targets = sides(block)
        for stored in self._stored:
            if all(targets[side] is None for side, _, _ in stored.routes):
                continue
            direct = stored.direct(targets)
            size = stored.row_bytes
            raw = scratch(len(block.features) * size) if direct is None else direct.reshape(-1)
            out, at = raw.view(np.uint8).data, 0
            for start, stop in runs:
                end = at + (stop - start) * size
                got = self.file.read_into(stored.offset + start * size, out[at:end])
                if got < end - at:
                    self._raise_shortened(stored, start * size + got)
                at = end
            if direct is None:
                self._put(stored, raw, runs[0][0], block)

    def mapped(self) -> Mapped | None:
        """Return all rows mapped, if they lie there as kernels read them.

        Not with weights: their sums are looked at block by block.
        """
        if not self.in_place or (mapping := self.file.map()) is None:
            return None
        found = [there for side in range(2) if (there := self._found(side)) is not None]
        arrays = [
            mapping.array(stored.offset, stored.dtype, (self.n_rows, stored.width))[:, columns]
            for stored, columns in found
        ]
        features, _ = found[0]
        return Mapped(Block(*arrays), mapping, self.name, features.offset, features.row_bytes)

    @property
    def in_place(self) -> bool:
        """Whether the rows lie in the file as kernels read them, and can be mapped."""
        sides = [side for side in range(2) if self.roles.sides[side]]
        ready = not self.weighted and all(self._found(side) is not None for side in sides)
        return ready and supported()

    def _found(self, side: int) -> tuple[Stored, slice] | None:
        """Return where an array of a block lies in the file as it is, if it does."""
        for stored in self._stored:
            for route, columns, into in stored.routes:
                whole = into == slice(0, len(self.roles.sides[side]))
                ready = stored.dtype == np.float64 and stored.dtype.isnative
                if route == side and whole and ready and isinstance(columns, slice):
                    return (stored, columns) if stored.offset % 8 == 0 else None
        return None

    def _raise_shortened(self, stored: Stored, got: int) -> NoReturn:
        row = got // stored.row_bytes
        raise DataError(
            f"{self.name}: expected {self.n_rows} rows ({self.file.size} bytes), got only"
            f" {stored.offset + got} bytes, up to row {row}: the file was shortened while it was"
            " read",
            row,
        )


def open_npy(path: Path, request: ColumnRequest) -> FileRows:
    """Open a matrix, or a column, in NumPy's format."""
    file = File(path)
    with path.open("rb") as stream:
        array = array_of(stream, str(path), file.size)
    array.check(str(path))
    roles = request.roles(str(path), array.width)
    return Positional(file, array.n_rows, roles, None, layout([array], roles))
