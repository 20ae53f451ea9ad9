"""Rows of features, labels and weights, whatever they come from: read as blocks of float64.

Only rows in memory or in a mapped file stay as they are stored: kernels convert while they read.

:class:`Rows` is all that training knows of a source.
"""

from __future__ import annotations

import hashlib
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fastbp.arguments import FLOAT64
from fastbp.data import checks
from fastbp.errors import DataError
from fastbp.system.mapping import Mapping

WHOLE_BYTES = 2**26
"""Rows that take at most this many bytes as float64 are converted, or read, whole."""
BLOCK_BYTES = 2**22
"""Larger sources are read this many bytes at a time."""
COPY_PARSED, COPY_READ = 3, 10
"""How often rows are read if a copy is to pay: those that are parsed, and others.

To write a number takes 1 to 20 ns (with gigabytes, the disk is waited for), to parse one of a
``.csv`` 45, to read one of a Parquet file 5, to scale one 2."""
DIGEST_CHUNKS, DIGEST_BYTES = 64, 2**16

_forwarded = operator.attrgetter(
    "name", "n_rows", "n_features", "n_labels", "weighted", "feature_names", "classes", "dtype",
    "random_access", "any_order", "copy_pays_from", "cluster",
)  # fmt: skip

Choose = Callable[[np.ndarray], np.ndarray]


@dataclass(eq=False)  # frozen, it would take five times as long to make
class Block:
    """Some rows, the numbers of each row contiguous; it is not changed.

    They are of float64, but for rows in place (`in_memory`, `mapped`), which stay as stored.

    Attributes
    ----------
    features : numpy.ndarray, shape (rows, D)
        With two exceptions: `CompressedRows` has a tuple of two arrays here, on which `map` and
        `part` fail, and `RowIndices` indices of int64.
    labels : numpy.ndarray, shape (rows, K), or None
    weight : numpy.ndarray, shape (rows,), or None
    """

    features: np.ndarray
    labels: np.ndarray | None = None
    weight: np.ndarray | None = None

    @property
    def arrays(self) -> tuple[np.ndarray | None, ...]:
        """The three arrays."""
        return self.features, self.labels, self.weight

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> Block:
        """Return a block of what a function makes of each array."""
        return Block(*(None if a is None else function(a) for a in self.arrays))  # type: ignore[arg-type]

    def having(self, labels: np.ndarray | None, weight: np.ndarray | None) -> Block:
        """Return the block with other labels or weights, where they are given."""
        labels = self.labels if labels is None else labels
        return Block(self.features, labels, self.weight if weight is None else weight)

    def part(self, start: int, stop: int) -> Block:
        """Return views of the rows start to stop of the block."""
        return self.map(lambda array: array[start:stop])


@dataclass(eq=False)
class Mapped:
    """All rows of a file as one block that lies in the page cache, not in memory of our own.

    Attributes
    ----------
    block : Block
    mapping : Mapping
    name : str
        What messages call the file.
    offset, row_bytes : int
        Where the features begin in the file, and the distance of their rows.
    """

    block: Block
    mapping: Mapping
    name: str
    offset: int
    row_bytes: int

    def verify(self) -> None:
        """Raise a DataError if the file was shortened: zeros were read instead of rows."""
        if not self.mapping.intact():
            size, now = self.mapping.size, self.mapping.size_now()
            raise DataError(
                f"{self.name}: expected {size} bytes, got {min(size - 1, now)}: the file was"
                " shortened while it was read"
            )

    def read_ahead(self, row: int) -> None:
        """Start to fetch the rows from `row` on, without waiting for them."""
        self.mapping.read_ahead(self.offset + row * self.row_bytes)

    def close(self) -> None:
        """Unmap the rows."""
        del self.block
        self.mapping.close()


class Rows(ABC):
    """N rows that can be read a block at a time, any number of times.

    Attributes
    ----------
    name : str
        What messages call the rows: the name of the argument, or the file.
    n_rows, n_features : int
    n_labels : int
        Columns of labels that come with the rows; 0 if none do.
    weighted : bool
        Whether weights come with the rows.
    feature_names : list of str or None
    classes : list or None
        The labels that class indices in the single column of labels stand for; None if that
        column holds numbers.
    dtype : str
        The dtype in which the features are stored.
    random_access : bool
        Whether `take` reaches single rows at a reasonable cost.
    any_order : bool
        Whether several threads can fill blocks at the same time, and in any order, at the same
        cost. Otherwise blocks come from front to back, and going back means starting again.
    copy_pays_from : float
        From how many passes on a copy in a temporary file saves more time than it takes.
    cluster : distributed.Client or None
        That of the cluster whose workers compute on the rows, where they are.
    partitioned : bool
        Whether the rows are those of a Dask collection, which labels have yet to join: they are not
        read into memory before that.
    in_memory : Block or None
        All rows, if they are in memory as kernels read them.
    remarks : tuple of str
        What the user should know about the choice of columns.
    """

    name = "features"
    n_rows: int
    n_features: int
    n_labels = 0
    weighted = False
    feature_names: list[str] | None = None
    classes: list[Any] | None = None
    dtype = "float64"
    random_access = False
    any_order = True
    copy_pays_from: float = math.inf
    cluster: Any = None
    partitioned = False
    in_memory: Block | None = None
    remarks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        carried = f", {self.n_labels} of labels" if self.n_labels else ""
        weights = ", weights" if self.weighted else ""
        shape = f"{self.n_rows:,} rows of {self.n_features:,} features"
        return f"<{type(self).__name__} {self.name}: {shape}{carried}{weights}>"

    def __getstate__(self) -> dict[str, Any]:  # on a worker, rows are its own
        return {name: value for name, value in vars(self).items() if name != "cluster"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

    @abstractmethod
    def fill(self, start: int, stop: int, block: Block) -> None:
        """Write rows start to stop; OUT `block`, of that many rows."""

    def take(self, indices: np.ndarray, block: Block) -> None:
        """Write the rows of these indices; OUT `block`."""
        raise TypeError(f"{self.name}: expected rows with random access")

    @abstractmethod
    def digest(self) -> str:
        """Return a digest of the content, whatever its name: of 66 chunks where it is large."""

    @property
    def in_place(self) -> bool:
        """Whether kernels read all rows where they lie, without a copy."""
        return self.in_memory is not None

    def base(self) -> tuple[Rows, Choose | None]:
        """Return the underlying rows, and a function that maps our indices to theirs.

        The rows themselves, and None, if they are not a subset.
        """
        return self, None

    def mapped(self) -> Mapped | None:
        """Return all rows as a memory map, to be closed by the caller, or None if impossible."""
        return None

    def digests(self) -> dict[str, str]:
        """Return the digests of features, labels and weights, if they are stored separately."""
        return {"features": self.digest()}

    def locate(self, row: int) -> tuple[str, int]:
        """Return the name of the file, or the argument, and the index of the row in it."""
        return self.name, row

    def close(self) -> None:
        """Release open files and buffers; the rows can be read again afterwards."""

    def portion(self, start: int, stop: int) -> Rows:
        """Return the rows start to stop as rows of their own, to be read somewhere else."""
        return Portion(self, start, stop)

    @property
    def weight_array(self) -> np.ndarray | None:
        """All weights, if they are in memory."""
        return None if self.in_memory is None else self.in_memory.weight

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of features, labels and weight, as float64."""
        return 8 * (self.n_features + self.n_labels + self.weighted)

    @property
    def block_rows(self) -> int:
        """Rows of a block of usual size."""
        return max(1, BLOCK_BYTES // max(8, self.row_bytes))

    def empty(self, n_rows: int) -> Block:
        """Return a block to fill."""
        return Block(
            np.empty((n_rows, self.n_features)),
            np.empty((n_rows, self.n_labels)) if self.n_labels else None,
            np.empty(n_rows) if self.weighted else None,
        )

    def block(self, start: int, stop: int) -> Block:
        """Return rows start to stop, as float64."""
        if self.in_memory is not None:
            return self.in_memory.part(start, stop).map(partial(np.asarray, dtype=np.float64))
        block = self.empty(stop - start)
        self.fill(start, stop, block)
        return block

    def blocks(self) -> Iterator[tuple[int, Block]]:
        """Yield all rows, with the index of each block's first one; each block is new."""
        for start, stop in ranges(0, self.n_rows, self.block_rows):
            yield start, self.block(start, stop)

    def raise_if_not_finite(
        self, start: int, features: np.ndarray, dtype: np.dtype[Any] = FLOAT64
    ) -> None:
        """Raise a DataError for the first row not finite as numbers of this dtype, if any."""
        row = checks.first_bad_row(features, dtype)
        if row is not None:
            name, index = self.locate(start + row)
            checks.raise_for_row(name, index, features[row], self.feature_names, dtype)


class Wrapped(Rows):
    """Rows of another source, changed in some way; what is not overridden is as it is there."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        (
            self.name, self.n_rows, self.n_features, self.n_labels, self.weighted,
            self.feature_names, self.classes, self.dtype, self.random_access, self.any_order,
            self.copy_pays_from, self.cluster,
        ) = _forwarded(rows)  # fmt: skip

    def fill(self, start: int, stop: int, block: Block) -> None:
        inside = self._inside(block)
        self._rows.fill(start, stop, inside)
        self._complete(slice(start, stop), inside, block)

    def take(self, indices: np.ndarray, block: Block) -> None:
        inside = self._inside(block)
        self._rows.take(indices, inside)
        self._complete(indices, inside, block)

    def _inside(self, block: Block) -> Block:
        """Return the block that the other source fills for a block of these rows."""
        return block

    def _complete(self, rows: slice | np.ndarray, inside: Block, block: Block) -> None:
        """Change what the other source has filled, its `rows`; OUT `block`."""

    def digest(self) -> str:
        return self._rows.digest()

    def digests(self) -> dict[str, str]:
        return self._rows.digests()

    def locate(self, row: int) -> tuple[str, int]:
        return self._rows.locate(row)

    def close(self) -> None:
        self._rows.close()


class Portion(Wrapped):
    """The rows `start` to `stop` of a source."""

    def __init__(self, rows: Rows, start: int, stop: int) -> None:
        super().__init__(rows)
        self._start, self.n_rows, self.cluster = start, stop - start, None

    def fill(self, start: int, stop: int, block: Block) -> None:
        self._rows.fill(self._start + start, self._start + stop, block)

    def take(self, indices: np.ndarray, block: Block) -> None:
        self._rows.take(self._start + indices, block)

    def mapped(self) -> Mapped | None:
        mapped = self._rows.mapped()
        if mapped is not None:
            mapped.block = mapped.block.part(self._start, self._start + self.n_rows)
            mapped.offset += self._start * mapped.row_bytes
        return mapped

    @property
    def in_place(self) -> bool:
        return self._rows.in_place

    def locate(self, row: int) -> tuple[str, int]:
        return self._rows.locate(self._start + row)


def ranges(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield the consecutive ranges of at most `step` rows that make up start to stop."""
    for first in range(start, stop, step):
        yield first, min(first + step, stop)


def pairs(source: Block, target: Block) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the arrays that both blocks have."""
    for a, b in zip(source.arrays, target.arrays, strict=True):
        if a is not None and b is not None:
            yield a, b


def copy(source: Block, target: Block) -> None:
    """Copy the rows of a block; OUT target."""
    for a, b in pairs(source, target):
        b[:] = a


def gather(source: Block, indices: np.ndarray, target: Block) -> None:
    """Copy the rows of these indices; OUT target."""
    for a, b in pairs(source, target):
        if a.dtype == b.dtype:
            np.take(a, indices, axis=0, out=b, mode="clip")  # "raise" would copy `out` first
        else:
            b[:] = a[indices]


def sample_starts(total: int, size: int) -> list[int]:
    """Return where the chunks of a digest begin: the first, the last and 64 between them."""
    last = max(0, total - size)
    return sorted({last * i // (DIGEST_CHUNKS + 1) for i in range(DIGEST_CHUNKS + 2)})


def sample_ranges(shape: tuple[int, ...], dtype: np.dtype[Any]) -> list[tuple[int, int]]:
    """Return the first row of each chunk of an array's digest, and one past its last row."""
    rows = max(1, DIGEST_BYTES // max(1, math.prod(shape[1:]) * dtype.itemsize))
    return [(start, min(start + rows, shape[0])) for start in sample_starts(shape[0], rows)]


def digest_of_samples(
    shape: tuple[int, ...], dtype: np.dtype[Any], chunks: Iterable[np.ndarray]
) -> str:
    """Return a digest of an array of which these are the chunks of rows."""
    digest = hashlib.sha256(f"{shape} {dtype.name}".encode())
    for chunk in chunks:
        digest.update(np.ascontiguousarray(chunk).data)
    return digest.hexdigest()


def digest_of(array: np.ndarray) -> str:
    """Return a digest of an array: shape, dtype, and 66 chunks of rows."""
    shape, dtype = array.shape, array.dtype
    chunks = (array[start:stop] for start, stop in sample_ranges(shape, dtype))
    return digest_of_samples(shape, dtype, chunks)


def combined(digests: list[str]) -> str:
    """Return one digest of several."""
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()
