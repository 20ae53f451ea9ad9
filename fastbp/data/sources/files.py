"""Open files, and what the rows of all kinds of them share."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fastbp.data.rows import COPY_READ, DIGEST_BYTES, Block, Rows, copy, sample_starts
from fastbp.data.sources.columns import Roles
from fastbp.errors import DataError
from fastbp.system.mapping import Mapping, map_file

OPEN = "_lock", "_pieces", "_piece", "_first"
PIECE_BYTES = 2**20
"""Bytes to read at a time if rows must be converted: a larger read would leave the cache first."""


class Descriptor:
    """An open file, closed when nothing refers to it: a thread may drop it while another reads."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._lock = threading.Lock()

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self.number)

    def read_into(self, offset: int, out: memoryview) -> int:
        """Read bytes, perhaps fewer than asked for, none at the end; OUT `out`."""
        if hasattr(os, "preadv"):
            return os.preadv(self.number, [out], offset)
        with self._lock, open(self.number, "rb", buffering=0, closefd=False) as stream:
            stream.seek(offset)
            return stream.readinto(out) or 0


class File:
    """A file that any number of threads read from given positions; opened when it is read."""

    def __init__(self, path: Path, descriptor: Descriptor | None = None) -> None:
        self.path = path
        self.size = path.stat().st_size if descriptor is None else 0
        self._descriptor = descriptor

    def __getstate__(self) -> dict[str, Any]:  # on another machine, or in a copy, it is closed
        return {**vars(self), "_descriptor": None}

    def _opened(self) -> Descriptor:
        descriptor = self._descriptor
        if descriptor is None:
            flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
            descriptor = self._descriptor = Descriptor(os.open(self.path, flags))
        return descriptor

    def map(self) -> Mapping | None:
        """Map all of the file, where that is safe."""
        descriptor = self._opened()  # keeps it open
        return map_file(descriptor.number, self.size)

    def read_into(self, offset: int, out: memoryview) -> int:
        """Read as many bytes as there are; OUT `out`."""
        descriptor = self._opened()
        got = done = descriptor.read_into(offset, out)
        while got > 0 and done < len(out):  # a read may return fewer bytes than the file has
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
    """Some columns of a file; `label` is the name or index of the target, if there is just one."""

    copy_pays_from: float = COPY_READ
    file: File

    def __init__(
        self, file: File, n_rows: int, roles: Roles, names: Sequence[str] | None, dtype: str
    ) -> None:
        self.file, self.roles = file, roles
        self.name = str(file.path)
        self.n_rows, self.n_features, self.n_labels = n_rows, len(roles.features), len(roles.labels)
        self.weighted = roles.weight is not None
        self.feature_names = None if names is None else [names[j] for j in roles.features]
        self.label: str | int | None = None
        if len(roles.labels) == 1:
            self.label = roles.labels[0] if names is None else names[roles.labels[0]]
        self.dtype, self.remarks = dtype, roles.remarks

    def take_labels_for_text(self) -> None:
        """Read labels that look like numbers as text: in another file of the folder, they are."""

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
    """Turn any exception of a file's reader into a DataError that names the file."""
    try:
        yield
    except (DataError, ImportError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # from the file system; pyarrow's errors have no number
        got = str(error).strip().splitlines() or [type(error).__name__]
        if isinstance(error, UnicodeDecodeError):
            got = [f"text that is not UTF-8, byte {error.object[error.start]:#04x}"]
        raise DataError(f"{name}: expected {expected}, got {got[0]}") from error


_LOCAL = threading.local()


def scratch(size: int) -> np.ndarray:
    """Return bytes for this thread alone until its next call; only a small array is reused."""
    if size > PIECE_BYTES:
        return np.empty(size, dtype=np.uint8)
    if not hasattr(_LOCAL, "buffer"):
        _LOCAL.buffer = np.empty(PIECE_BYTES, dtype=np.uint8)
    buffer: np.ndarray = _LOCAL.buffer
    return buffer[:size]


class Sequential(Rows):
    """Rows that come from front to back, in pieces of any size.

    To continue where the last `fill` ended costs nothing; to go back means to start over.
    """

    any_order = False

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._lock = threading.Lock()
        self._forget()

    @abstractmethod
    def pieces(self, start: int) -> tuple[int, Iterator[Block]]:
        """Return the row to begin with, `start` or one before it, and the pieces from there on."""

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
            elif (next_piece := next(self._pieces, None)) is not None:
                self._piece, self._first = next_piece, end
            else:
                raise DataError(f"{self.name}: expected {self.n_rows} rows, got only {end}", end)
        if stop == self.n_rows:
            self._refuse_more(self._pieces)
            self._forget()

    def _refuse_more(self, pieces: Iterator[Block]) -> None:
        """Refuse more rows than were counted."""
        end = self._first + len(self._piece.features)
        while end <= self.n_rows and (piece := next(pieces, None)) is not None:
            end += len(piece.features)
        if end > self.n_rows:
            raise DataError(
                f"{self.name}: expected {self.n_rows} rows, got at least {end}", self.n_rows
            )

    def close(self) -> None:
        with self._lock:
            self._forget()
        super().close()

    def __getstate__(self) -> dict[str, Any]:  # on another machine it begins anew
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name not in OPEN}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._lock = threading.Lock()
        self._forget()
