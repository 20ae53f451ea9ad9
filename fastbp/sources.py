"""Whatever rows can come from, opened as :class:`fastbp.rows.Rows`."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from fastbp import _frames
from fastbp import _validation as check
from fastbp._roles import Choice, Roles, refuse_repeated, side_by_side
from fastbp.errors import DataError
from fastbp.files import (
    FileRows,
    Sequential,
    as_slice,
    digest_of_files,
    dtypes_of,
    open_npy,
    open_npz,
    spooled,
)
from fastbp.rows import ArrayRows, Block, Labelled, Rows, as_ready
from fastbp.tabular import open_csv, open_ipc, open_parquet

__all__ = ["Choice", "Folder", "Roles", "open_rows", "spooled"]

KINDS: dict[str, Callable[[Path, Choice], FileRows]] = {
    ".npy": open_npy,
    ".npz": open_npz,
    ".csv": open_csv,
    ".tsv": open_csv,
    ".parquet": open_parquet,
    ".pq": open_parquet,
    ".arrow": open_ipc,
    ".feather": open_ipc,
    ".ipc": open_ipc,
}
OPEN_SHARDS = 64
"""Files of a folder that stay open: far fewer than a process may have."""
CRC_ROWS = 4096


def open_rows(source: Any, *, target: Any = None, weight: Any = None, columns: Any = None) -> Rows:
    """Open rows of features, with labels and weights if they come along, wherever they are.

    Files are read a block at a time, the next one while this one is computed; a fit maps a
    ``.npy`` of float64 instead, where the platform lets it do so safely.

    Parameters
    ----------
    source : path-like, callable, array-like or table
        * A ``.npy`` matrix, in any order and byte order; one dimension is one column.
        * A ``.npz`` archive of matrices and columns of equally many rows.
        * ``.csv``, or ``.tsv``: text in UTF-8 with a header, one row a line. Blank lines do not
          count, an empty cell is NaN, true and false are 1 and 0.
        * ``.parquet``, ``.pq``, and Arrow's ``.arrow``, ``.feather`` and ``.ipc``. NULL is NaN.
        * A folder of such files, which are taken in the order of their names as if they were one.
          Hidden files do not count.
        * A callable that returns a fresh iterator of blocks at every call. A block is a matrix of
          features, a table, or a tuple of features, labels and perhaps weights. All blocks are
          gone through once when it is opened.
        * An array or a table in memory: of pandas, Polars, pyarrow, or anything that exports
          Arrow's C streams.
    target : str, int, or list of them, optional
        The columns of labels: by name, in an archive by the array's name, and by number where
        there are no names; -1 is the last one.
    weight : str or int, optional
        The column of the rows' weights.
    columns : list of str or int, optional
        The features, in this order. All others by default.

    Returns
    -------
    fastbp.rows.Rows

    Raises
    ------
    TypeError
        If the source or a column is given as something else.
    ValueError
        If there is no such column, or files of this kind cannot be read.
    DataError
        If the content is damaged, or not rows of numbers: with the name of the file, and the row
        or the byte. That a value is not finite is found when it is used.
    OSError
        If a file cannot be read.
    ImportError
        If pyarrow is missing (``pip install 'fastbp[files]'``) for what is no file of NumPy's.

    Notes
    -----
    A callable is called, and its iterator goes on, on a thread of the fit's own.

    Compressed archives, Parquet, Arrow's files and callables are read from front to back; going
    back begins again. In an archive that is compressed, a matrix in Fortran order is decompressed
    once a column. Of Parquet's and Arrow's files a batch of rows is in memory, of a ``.csv`` the
    text of a block and the place of a row every 256 KiB.

    The digest of files is that of 66 chunks of 64 KiB, of a callable of the CRC-32 of every 4096
    rows.

    Examples
    --------
    >>> import numpy as np, tempfile, os
    >>> from fastbp.sources import open_rows
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "rows.npy")
    ...     np.save(path, np.arange(12.0).reshape(3, 4))
    ...     rows = open_rows(path, target=-1)
    ...     block = rows.block(1, 3)
    ...     rows.close()
    >>> block.features.tolist(), block.labels.tolist()
    ([[4.0, 5.0, 6.0], [8.0, 9.0, 10.0]], [[7.0], [11.0]])
    """
    choice = Choice(target, weight, columns)
    if isinstance(source, Rows):
        if choice != Choice():
            raise TypeError("source: expected a file or the like to choose columns of, got Rows")
        return source
    rows: Rows
    if isinstance(source, str | os.PathLike):
        rows = _from_path(Path(source), choice)
    elif callable(source):
        rows = Called(source, choice)
    else:
        rows = _in_memory(source, choice)
    if rows.n_rows == 0 or rows.n_features == 0:
        raise DataError(
            f"{rows.name}: expected at least one row and one column of features, got {rows.n_rows}"
            f" and {rows.n_features}"
        )
    return rows


def _from_path(path: Path, choice: Choice) -> Rows:
    mode = path.stat().st_mode  # a missing one is an OSError that names it
    if stat.S_ISDIR(mode):
        return Folder(path, choice)
    if not stat.S_ISREG(mode) or path.suffix.lower() not in KINDS:
        raise ValueError(f"{path}: expected a folder, or a file that ends in {', '.join(KINDS)}")
    return KINDS[path.suffix.lower()](path, choice)


class Folder(Rows):
    """The files of a folder, in the order of their names, as if they were one."""

    def __init__(self, path: Path, choice: Choice) -> None:
        self.name = str(path)
        paths = sorted(p for p in path.iterdir() if not p.name.startswith(".") and p.is_file())
        known = [p for p in paths if p.suffix.lower() in KINDS]
        if not known:
            raise DataError(f"{path}: expected files that end in {', '.join(KINDS)}, got none")
        self._shards = [self._opened(p, choice) for p in known]
        self._lock = threading.Lock()
        self._open: OrderedDict[int, None] = OrderedDict()
        ends = list(accumulate(shard.n_rows for shard in self._shards))
        self._starts = [0, *ends[:-1]]
        self.n_rows = ends[-1]
        first = self._shards[0]
        self.n_features, self.n_labels = first.n_features, first.n_labels
        self.weighted, self.feature_names = first.weighted, first.feature_names
        for shard in self._shards:
            _check_alike(shard, first)
            if first.feature_names is None and shard.feature_names is not None:
                first = shard  # names are compared with the first that there are
        self.dtype = dtypes_of([shard.dtype for shard in self._shards])
        self.by_row = all(shard.by_row for shard in self._shards)
        self.concurrent = all(shard.concurrent for shard in self._shards)

    def _opened(self, path: Path, choice: Choice) -> FileRows:
        shard = KINDS[path.suffix.lower()](path, choice)
        shard.close()
        return shard

    def _shard(self, i: int) -> FileRows:
        """Return a file to read; the one that was not for longest is closed."""
        with self._lock:
            self._open[i] = None
            self._open.move_to_end(i)
            idle = self._open.popitem(last=False)[0] if len(self._open) > OPEN_SHARDS else None
        if idle is not None:
            self._shards[idle].close()
        return self._shards[i]

    def _number(self, row: int) -> int:
        return bisect_right(self._starts, row) - 1

    def fill(self, start: int, stop: int, block: Block) -> None:
        at = start
        while at < stop:
            i = self._number(at)
            first, shard = self._starts[i], self._shard(i)
            upto = min(stop, first + shard.n_rows)
            shard.fill(at - first, upto - first, block.part(at - start, upto - start))
            at = upto

    def take(self, indices: np.ndarray, block: Block) -> None:
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        for i in np.unique(numbers).tolist():
            where = np.flatnonzero(numbers == i)
            part = Block(*(None if a is None else a[where] for a in block.arrays))  # type: ignore[arg-type]
            self._shard(i).take(indices[where] - self._starts[i], part)
            for source, target in zip(part.arrays, block.arrays, strict=True):
                if source is not None and target is not None:
                    target[where] = source

    def digest(self) -> str:
        return digest_of_files([s.file for s in self._shards], [s.roles for s in self._shards])

    def place(self, row: int) -> tuple[str, int]:
        i = self._number(row)
        return self._shards[i].place(row - self._starts[i])

    def close(self) -> None:
        for shard in self._shards:
            shard.close()


def _check_alike(shard: FileRows, first: FileRows) -> None:
    """Refuse a file whose columns are not those of the first."""
    for what in ("n_features", "n_labels", "feature_names"):
        expected, got = getattr(first, what), getattr(shard, what)
        if expected != got and None not in (expected, got):
            of = {"n_features": " features", "n_labels": " columns of labels"}.get(what, "")
            raise DataError(
                f"{shard.name}: expected {expected}{of}, as in {first.name}, got {got}{of}"
            )


def _parts(name: str, value: Any, choice: Choice) -> tuple[np.ndarray, Block, list[str] | None]:
    """Return the features as they are, labels and weight as float64, and names of features."""
    names = _frames.names_of(value)
    if names is None:
        matrix = check.number_array(name, _frames.array_like(value, name))
        if matrix.ndim != 2:
            raise DataError(
                f"{name}: expected 2 dimensions (n_samples, n_features), got {matrix.ndim} (shape"
                f" {matrix.shape})"
            )
        roles = choice.roles(name, matrix.shape[1])
    else:
        refuse_repeated(name, names)
        roles = choice.roles(name, names)
        if not _frames.is_pandas(value):
            value = _frames.as_arrow(value, name)

    def pick(places: list[int]) -> np.ndarray:
        if names is None:
            return matrix[:, as_slice(places)] if places else matrix[:, :0]
        some = value.iloc[:, places] if _frames.is_pandas(value) else value.select(places)
        return check.number_array(name, _frames.array_like(some, name))

    features, labels, weight = map(pick, roles.sides)
    extra = Block(
        features,
        as_ready(labels) if roles.labels else None,
        as_ready(weight[:, 0]) if roles.weight is not None else None,
    )
    return features, extra, None if names is None else [names[j] for j in roles.features]


def _in_memory(value: Any, choice: Choice) -> Rows:
    if isinstance(value, Iterator) and not _frames.speaks_arrow(value):
        raise TypeError(
            "source: expected a callable that returns a fresh iterator at every call, got"
            f" {check.describe(value)}"
        )
    features, extra, names = _parts("source", value, choice)
    if 0 in features.shape:
        raise DataError(
            f"source: expected at least one row and one column, got shape {features.shape}"
        )
    rows: Rows = ArrayRows(features, "source")
    if extra.labels is not None or extra.weight is not None:
        rows = Labelled(rows, extra.labels, extra.weight)
    rows.feature_names = names
    return rows


class Called(Sequential):
    """Blocks of an iterator that a callable returns at every call."""

    n_rows = 0

    def __init__(self, function: Callable[[], Any], choice: Choice) -> None:
        self._function, self._choice = function, choice
        own = getattr(function, "__qualname__", type(function).__qualname__)
        self.name = f"rows of {own}"
        self._known = False
        self.begin()
        n_rows, crc, filled = 0, 0, 0
        digest = hashlib.sha256()
        for block in self._blocks():
            rows = side_by_side(block)
            n_rows += len(rows)
            while len(rows):
                some, rows = rows[: CRC_ROWS - filled], rows[CRC_ROWS - filled :]
                crc, filled = zlib.crc32(np.ascontiguousarray(some).data, crc), filled + len(some)
                if filled == CRC_ROWS:
                    digest.update(crc.to_bytes(4, "little"))
                    crc, filled = 0, 0
        if not self._known:
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
                f" {check.describe(blocks)}"
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
        features, block, names = _parts(name, parts[0], self._choice)
        n_rows = len(features)
        labels, weight = (*parts[1:], None, None)[:2]
        block = Block(
            as_ready(features),
            block.labels if labels is None else _labels(name, row, labels, n_rows),
            block.weight if weight is None else _labels(name, row, weight, n_rows)[:, 0],
        )
        self._check_alike(name, row, block, names, features.dtype.name)
        return block if n_rows else None

    def _check_alike(
        self, name: str, row: int, block: Block, names: list[str] | None, dtype: str
    ) -> None:
        """Refuse a block that has other columns than the first."""
        n_labels = 0 if block.labels is None else block.labels.shape[1]
        got = (block.features.shape[1], n_labels, block.weight is not None, names)
        if not self._known:
            self.n_features, self.n_labels, self.weighted, self.feature_names = got
            self.dtype, self._known = dtype, True
        expected = (self.n_features, self.n_labels, self.weighted, self.feature_names)
        if got != expected:
            texts = [
                f"{d} features, {k} columns of labels, {'a' if w else 'no'} weight"
                + ("" if named is None else f", names {named}")
                for d, k, w, named in (expected, got)
            ]
            raise DataError(f"{name}: expected {texts[0]}, got {texts[1]}", row)

    def digest(self) -> str:
        return self._digest


def _labels(name: str, row: int, value: Any, n_rows: int) -> np.ndarray:
    """Return labels, or weights, as a matrix of float64."""
    array = check.number_array(name, _frames.array_like(value, name))
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or len(array) != n_rows:
        raise DataError(f"{name}: expected labels of {n_rows} rows, got shape {array.shape}", row)
    return as_ready(array)
