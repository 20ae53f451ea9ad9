"""Several files, one after another: those of a folder, or of a list."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from fastbp.data import checks
from fastbp.data.rows import COPY_READ, Block, Rows, combined, pairs
from fastbp.data.sources.columns import ColumnRequest
from fastbp.data.sources.files import FileRows, digest_of_files
from fastbp.data.sources.formats import FORMATS, files_of, open_file
from fastbp.data.sources.hive import HivePartitions
from fastbp.data.sources.text import TextLayout
from fastbp.data.sources.text_labels import BOOLEANS
from fastbp.errors import DataError

OPEN_SHARDS = 64
"""Files that stay open: far fewer than a process may have open."""


class Shards(Rows):
    """Files one after another, as if they were one.

    The names of folders such as ``month=1`` are columns if these files are in `folder`.
    """

    def __init__(
        self,
        name: str,
        files: list[Path],
        request: ColumnRequest,
        layout: TextLayout,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self._partitions = HivePartitions(folder, files, request)
        self._shards: list[FileRows] = []
        for file in files:
            self._shards.append(open_file(file, self._partitions.rest, layout))
            self._shards[-1].close()
        self._lock = threading.Lock()
        self._open: OrderedDict[int, None] = OrderedDict()
        ends = list(accumulate(shard.n_rows for shard in self._shards))
        self._starts = [0, *ends[:-1]]
        self.n_rows = ends[-1]
        first, *_ = [shard for shard in self._shards if shard.feature_names] or self._shards
        filled, *_ = [shard for shard in self._shards if shard.n_rows > 0] or self._shards
        if filled.classes is not None and filled.classes != BOOLEANS:
            for shard in self._shards:  # in a later file all labels may look like numbers
                shard.take_labels_for_text()
        for shard in self._shards:
            _check_alike(shard, first)
            _check_alike(shard, filled)
        self.n_features, self.n_labels = first.n_features, first.n_labels
        self.weighted, self.feature_names = first.weighted, first.feature_names
        self.remarks = tuple(dict.fromkeys(r for shard in self._shards for r in shard.remarks))
        self.dtype = ", ".join(dict.fromkeys(shard.dtype for shard in self._shards))
        self.random_access = all(shard.random_access for shard in self._shards)
        self.any_order = all(shard.any_order for shard in self._shards)
        self.copy_pays_from = min([COPY_READ, *(shard.copy_pays_from for shard in self._shards)])
        if filled.classes is not None:  # all files index the same labels
            self.classes = sorted({label for s in self._shards for label in s.classes or ()})
            for shard in self._shards:
                shard.classes = self.classes
        if self._partitions.keys:
            self._partitions.place(first)
            self.n_features, self.n_labels, n_weights = map(len, self._partitions.columns)
            self.weighted, self.feature_names = n_weights > 0, self._partitions.feature_names
            self.classes = self._partitions.classes or self.classes

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_lock": None, "_open": OrderedDict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._lock = threading.Lock()

    def _shard(self, i: int) -> FileRows:
        """Return a file to read; the least recently read one is closed."""
        with self._lock:
            self._open[i] = None
            self._open.move_to_end(i)
            idle = self._open.popitem(last=False)[0] if len(self._open) > OPEN_SHARDS else None
        if idle is not None:
            self._shards[idle].close()
        return self._shards[i]

    def _index(self, row: int) -> int:
        return bisect_right(self._starts, row) - 1

    def fill(self, start: int, stop: int, block: Block) -> None:
        at = start
        while at < stop:
            i = self._index(at)
            first, shard = self._starts[i], self._shard(i)
            upto = min(stop, first + shard.n_rows)
            read = partial(shard.fill, at - first, upto - first)
            self._read(i, read, block.part(at - start, upto - start))
            at = upto

    def _read(self, i: int, read: Callable[[Block], None], block: Block) -> None:
        """Read rows of a file, and complete them by what the names of its folders tell."""
        if not self._partitions.keys:
            read(block)
            return
        inside = self._shards[i].empty(len(block.features))
        read(inside)
        self._partitions.complete(i, inside, block)

    def take(self, indices: np.ndarray, block: Block) -> None:
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        for i in np.unique(numbers).tolist():
            where = np.flatnonzero(numbers == i)
            part = block.map(lambda array, where=where: array[where])  # type: ignore[misc]
            self._read(i, partial(self._shard(i).take, indices[where] - self._starts[i]), part)
            for source, target in pairs(part, block):
                target[where] = source

    def digest(self) -> str:
        files = [shard.file for shard in self._shards]
        digest = digest_of_files(files, [shard.roles for shard in self._shards])
        return combined([digest, self._partitions.identity]) if self._partitions.keys else digest

    def locate(self, row: int) -> tuple[str, int]:
        i = self._index(row)
        return self._shards[i].locate(row - self._starts[i])

    def close(self) -> None:
        for shard in self._shards:
            shard.close()


def folder_rows(path: Path, request: ColumnRequest, layout: TextLayout) -> Shards:
    """Return the rows of the files of a folder, in the order of their names."""
    files = files_of(path)
    if not files:
        raise DataError(f"{path}: expected files that end in {', '.join(FORMATS)}, got none")
    return Shards(str(path), files, request, layout, path)


def _check_alike(shard: FileRows, first: FileRows) -> None:
    """Refuse a file whose columns are not those of the first."""
    if (got := checks.difference(first.feature_names, shard.feature_names)) is not None:
        raise DataError(f"{shard.name}: expected the columns of {first.name}, got {got}")
    alike = zip(_columns_of(first).items(), _columns_of(shard).values(), strict=True)
    for (of, expected), got in alike:
        if expected != got and None not in (expected, got):
            raise DataError(
                f"{shard.name}: expected {expected}{of}, as in {first.name}, got {got}{of}"
            )


def _columns_of(shard: FileRows) -> dict[str, Any]:
    """Return what must be the same in all files, unless it is None, by what messages call it."""
    kind = "true and false" if shard.classes == BOOLEANS else "text"
    return {
        " features": shard.n_features,
        " columns of labels": shard.n_labels,
        " as labels": None if shard.n_rows == 0 else "numbers" if shard.classes is None else kind,
    }
