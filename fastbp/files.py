"""Rows in files: read at positions, or from front to back, or mapped where they lie as wanted."""

from __future__ import annotations

import errno
import hashlib
import os
import struct
import tempfile
import threading
import zipfile
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.lib import format as npy

from fastbp import _validation as check
from fastbp._mapping import Mapping, opened, supported
from fastbp._roles import Choice, Roles, refuse_repeated, side_by_side, sides
from fastbp.errors import DataError
from fastbp.rows import DIGEST_BYTES, Block, Mapped, Rows, copy, sample_starts

PIECE_BYTES = 2**20
"""Bytes of a read whose rows are converted: larger ones leave the cache before they are."""
MAX_READS = 8
"""A row that takes more reads, of about 1 us each, is not worth being read alone."""


class Descriptor:
    """An open file that goes when the last one who reads has let go of it.

    So a thread may close a file while another one is in the middle of a read.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._lock = threading.Lock()

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self._number)

    def map(self, size: int) -> Mapping | None:
        """Map so many bytes."""
        return opened(self._number, size)

    def read_into(self, offset: int, out: memoryview) -> int:
        """Read bytes, perhaps fewer than asked for, none at the end; OUT `out`."""
        if hasattr(os, "preadv"):
            return os.preadv(self._number, [out], offset)
        with self._lock, open(self._number, "rb", buffering=0, closefd=False) as stream:
            stream.seek(offset)
            return stream.readinto(out) or 0


class File:
    """A file that any number of threads read at positions; it is open only while that is useful."""

    def __init__(self, path: Path, descriptor: Descriptor | None = None) -> None:
        self.path = path
        self.size = path.stat().st_size if descriptor is None else 0
        self._descriptor = descriptor

    def _opened(self) -> Descriptor:
        descriptor = self._descriptor
        if descriptor is None:
            flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
            descriptor = self._descriptor = Descriptor(os.open(self.path, flags))
        return descriptor

    def map(self) -> Mapping | None:
        """Map all of the file, where that is safe."""
        return self._opened().map(self.size)

    def read_into(self, offset: int, out: memoryview) -> int:
        """Read as many bytes as there are; OUT `out`."""
        descriptor = self._opened()
        got = done = descriptor.read_into(offset, out)
        while got > 0 and done < len(out):  # a read may return less than all that there is
            got = descriptor.read_into(offset + done, out[done:])
            done += got
        return done

    def read(self, offset: int, size: int) -> np.ndarray:
        """Return bytes that were there when the file was opened."""
        out = np.empty(size, dtype=np.uint8)
        got = self.read_into(offset, out.data)
        if got < size:
            raise DataError(
                f"{self.path}: expected {self.size} bytes, got only {offset + got}: the file was"
                " shortened while it was read"
            )
        return out

    def close(self) -> None:
        """Close the file until it is read again."""
        self._descriptor = None


class FileRows(Rows):
    """Rows of a file, of which some columns are taken."""

    file: File

    def __init__(
        self, file: File, n_rows: int, roles: Roles, names: Sequence[str] | None, dtype: str
    ) -> None:
        self.file, self.roles = file, roles
        self.name = str(file.path)
        self.n_rows, self.n_features, self.n_labels = n_rows, len(roles.features), len(roles.labels)
        self.weighted = roles.weight is not None
        self.feature_names = None if names is None else [names[j] for j in roles.features]
        self.dtype = dtype

    def digest(self) -> str:
        return digest_of_files([self.file], [self.roles])

    def close(self) -> None:
        self.file.close()


def digest_of_files(files: list[File], roles: list[Roles]) -> str:
    """Return a digest of 66 chunks of files as if they were one, and of the columns taken."""
    digest = hashlib.sha256(repr([file.size for file in files]).encode())
    for different in dict.fromkeys(map(repr, roles)):
        digest.update(different.encode())
    ends = np.cumsum([file.size for file in files])
    for start in sample_starts(int(ends[-1]), DIGEST_BYTES):
        stop = min(start + DIGEST_BYTES, int(ends[-1]))
        while start < stop:
            i = int(np.searchsorted(ends, start, side="right"))
            size = min(stop, int(ends[i])) - start
            digest.update(files[i].read(start - int(ends[i]) + files[i].size, size).data)
            files[i].close()
            start += size
    return digest.hexdigest()


@contextmanager
def damage_named(name: object, expected: str) -> Iterator[None]:
    """Turn what readers of files raise, each its own, into a DataError that names the file."""
    try:
        yield
    except (DataError, ImportError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # of the file system; the errors of pyarrow have no number
        got = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"{name}: expected {expected}, got {got[0]}") from error


# --- NumPy's files -----------------------------------------------------------------------------


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

    def place_in(self, targets: list[np.ndarray | None]) -> np.ndarray | None:
        """Return the array of a block that rows can be read into as they are, if there is one."""
        target = targets[self.routes[0][0]]
        return (
            target if self.whole and target is not None and target.shape[1] == self.width else None
        )

    def put(self, raw: np.ndarray, targets: list[np.ndarray | None]) -> None:
        """Write rows of bytes where they belong; OUT `targets`."""
        rows = raw.view(self.dtype).reshape(-1, self.width)
        for side, columns, into in self.routes:
            target = targets[side]
            if target is not None:
                target[:, into] = rows[:, columns]


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

    def check(self, name: str) -> None:
        """Refuse what is not a matrix, or column, of real numbers."""
        if self.dtype.kind not in check.REAL_KINDS:
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
    for side, places in enumerate(roles.sides):
        for into, place in enumerate(places):
            i, j = columns[place]
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


def as_slice(places: list[int]) -> slice | list[int]:
    """Return places that follow each other as a slice: that copies nothing."""
    first = places[0]
    follow = places == list(range(first, first + len(places)))
    return slice(first, first + len(places)) if follow else places


def dtypes_of(names: Sequence[str]) -> str:
    """Return the different ones, in one text."""
    return ", ".join(dict.fromkeys(names))


class Positional(FileRows):
    """Rows at known positions of a file: any of them can be read at any time by any thread.

    A row that takes more than 8 reads, since its columns lie apart, is not reached alone.
    """

    _stored: list[Stored]

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
        self.by_row = len(stored) <= MAX_READS
        as_it_is = all(s.whole and len(self.roles.sides[s.routes[0][0]]) == s.width for s in stored)
        row_bytes = max([1, self.row_bytes, *(s.row_bytes for s in stored)])
        self._step = n_rows + 1 if as_it_is else max(1, PIECE_BYTES // row_bytes)

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
            place = stored.place_in(targets)
            size = stored.row_bytes
            raw = scratch(len(block.features) * size) if place is None else place.reshape(-1)
            out, at = raw.view(np.uint8).data, 0
            for start, stop in runs:
                end = at + (stop - start) * size
                got = self.file.read_into(stored.offset + start * size, out[at:end])
                if got < end - at:
                    self._raise_shortened(stored, start * size + got)
                at = end
            if place is None:
                stored.put(raw, targets)

    def mapped(self) -> Mapped | None:
        """Return all rows mapped, if they lie there as kernels read them.

        Not with weights: their sums are looked at block by block.
        """
        if not self.in_place or (mapping := self.file.map()) is None:
            return None
        places = [place for side in range(2) if (place := self._place_of(side)) is not None]
        arrays = [
            mapping.array(stored.offset, stored.dtype, (self.n_rows, stored.width))[:, columns]
            for stored, columns in places
        ]
        return MappedFile(self, mapping, Block(*arrays), places[0][0])

    @property
    def in_place(self) -> bool:
        """Whether the rows lie in the file as kernels read them, and can be mapped."""
        sides = [side for side in range(2) if self.roles.sides[side]]
        ready = not self.weighted and all(self._place_of(side) is not None for side in sides)
        return ready and supported()

    def _place_of(self, side: int) -> tuple[Stored, slice] | None:
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


class MappedFile(Mapped):
    """Rows of a file that kernels read where they lie in the page cache."""

    def __init__(self, rows: Positional, mapping: Mapping, block: Block, features: Stored) -> None:
        self._rows = rows
        self._mapping = mapping
        self._features = features
        self.block = block

    def verify(self) -> None:
        """Raise the DataError of a file that is shorter than it was."""
        if not self._mapping.whole():
            size = self._rows.file.size
            raise DataError(
                f"{self._rows.name}: expected {size} bytes, got"
                f" {min(size - 1, self._mapping.size_now())}: the file was shortened while it was"
                " read"
            )

    def read_ahead(self, row: int) -> None:
        """Have the rows from `row` on fetched, without waiting for them."""
        self._mapping.read_ahead(self._features.offset + row * self._features.row_bytes)

    def close(self) -> None:
        """Give the mapping back."""
        del self.block
        self._mapping.close()


_LOCAL = threading.local()


def scratch(size: int) -> np.ndarray:
    """Return bytes that stay this thread's own until it asks again; only a small array is kept."""
    if size > PIECE_BYTES:
        return np.empty(size, dtype=np.uint8)
    if not hasattr(_LOCAL, "buffer"):
        _LOCAL.buffer = np.empty(PIECE_BYTES, dtype=np.uint8)
    buffer: np.ndarray = _LOCAL.buffer
    return buffer[:size]


def open_npy(path: Path, choice: Choice) -> FileRows:
    """Open a matrix, or a column, in NumPy's format."""
    file = File(path)
    with path.open("rb") as stream:
        array = array_of(stream, str(path), file.size)
    array.check(str(path))
    roles = choice.roles(str(path), array.width)
    return Positional(file, array.n_rows, roles, None, layout([array], roles))


def open_npz(path: Path, choice: Choice) -> FileRows:
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

    def digest(self) -> str:
        return self._rows.digest()

    def place(self, row: int) -> tuple[str, int]:
        return self._rows.place(row)


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


# --- from front to back ------------------------------------------------------------------------


class Sequential(Rows):
    """Rows that come from front to back, in pieces of whatever size.

    Going on where the last `fill` ended costs nothing; going back begins again.
    """

    concurrent = False

    def begin(self) -> None:
        """Set up; `pieces` has not been asked for any."""
        self._lock = threading.Lock()
        self._forget()

    @abstractmethod
    def pieces(self, start: int) -> tuple[int, Iterator[Block]]:
        """Begin with the row `start`, or before it: at which row, and the pieces from there on."""

    def _forget(self) -> None:
        self._pieces: Iterator[Block] | None = None
        self._piece = Block(np.empty((0, 0)))
        self._first = 0

    def fill(self, start: int, stop: int, block: Block) -> None:
        with self._lock:
            try:
                self._fill(start, stop, block)
            except BaseException:
                self._forget()  # an iterator that has raised is at its end
                raise

    def _fill(self, start: int, stop: int, block: Block) -> None:
        if self._pieces is None or start < self._first:
            self._first, self._pieces = self.pieces(start)
            self._piece = Block(np.empty((0, 0)))
        at = start
        while at < stop:
            end = self._first + len(self._piece.features)
            upto = min(stop, end)
            if at < upto:
                piece = self._piece.part(at - self._first, upto - self._first)
                copy(piece, block.part(at - start, upto - start))
                at = upto
            else:
                self._piece, self._first = self._next(end), end
        if stop == self.n_rows:
            self._finish()

    def _next(self, end: int) -> Block:
        assert self._pieces is not None
        piece = next(self._pieces, None)
        if piece is None:
            raise DataError(f"{self.name}: expected {self.n_rows} rows, got only {end}", end)
        return piece

    def _finish(self) -> None:
        """Refuse rows beyond those that were counted."""
        assert self._pieces is not None
        end = self._first + len(self._piece.features)
        while end <= self.n_rows and (piece := next(self._pieces, None)) is not None:
            end += len(piece.features)
        if end > self.n_rows:
            raise DataError(
                f"{self.name}: expected {self.n_rows} rows, got at least {end}", self.n_rows
            )
        self._forget()

    def close(self) -> None:
        with self._lock:
            self._forget()


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
