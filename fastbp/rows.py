"""Rows of features, labels and weights, whatever they come from: read as blocks of float64.

:class:`Rows` is what the driver knows of a source. Those in memory are here, files in
``sources.py``, generated ones in ``datasets.py``.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from fastbp import _validation as check

WHOLE_BYTES = 2**26
"""Rows that take at most this many bytes as float64 are converted, or read, whole."""
BLOCK_BYTES = 2**22
"""Bytes of a block of rows that is converted on its own."""
DIGEST_CHUNKS, DIGEST_BYTES = 64, 2**16


@dataclass(frozen=True, eq=False)
class Block:
    """Some consecutive rows as float64, the numbers of a row side by side.

    Attributes
    ----------
    features : numpy.ndarray, shape (rows, D)
    labels : numpy.ndarray, shape (rows, K), or None
    weight : numpy.ndarray, shape (rows,), or None
    """

    features: np.ndarray
    labels: np.ndarray | None = None
    weight: np.ndarray | None = None

    def part(self, start: int, stop: int) -> Block:
        """Return views of the rows start to stop of the block."""
        return Block(*(None if a is None else a[start:stop] for a in self.arrays))  # type: ignore[arg-type]

    @property
    def arrays(self) -> tuple[np.ndarray | None, ...]:
        """The three arrays."""
        return self.features, self.labels, self.weight


class Mapped(ABC):
    """All rows of a source as one block that lies in the page cache, not in memory of our own."""

    block: Block

    @abstractmethod
    def verify(self) -> None:
        """Raise the DataError of a source that was cut meanwhile: what was read is not true."""

    @abstractmethod
    def read_ahead(self, row: int) -> None:
        """Have the rows from `row` on fetched, without waiting for them."""

    @abstractmethod
    def close(self) -> None:
        """Give the memory back."""


class Rows(ABC):
    """N rows that can be read a block at a time, any number of times.

    Attributes
    ----------
    name : str
        What messages call it: the name of the argument, or the file.
    n_rows, n_features : int
    n_labels : int
        Columns of labels that come with the rows; 0 if none do.
    weighted : bool
        Whether weights come with the rows.
    feature_names : list of str or None
    dtype : str
        Of the features as they are stored.
    by_row : bool
        Whether single rows can be reached at random, with `take`, at a cost worth it.
    concurrent : bool
        Whether blocks can be filled by several threads at once and in any order at the same cost.
        Otherwise they come from front to back, and going back means starting again.
    resident : Block or None
        All rows, if they are in memory as kernels read them.
    """

    name = "features"
    n_rows: int
    n_features: int
    n_labels = 0
    weighted = False
    feature_names: list[str] | None = None
    dtype = "float64"
    by_row = False
    concurrent = True
    resident: Block | None = None

    def __repr__(self) -> str:
        carried = f", {self.n_labels} of labels" if self.n_labels else ""
        weights = ", weights" if self.weighted else ""
        shape = f"{self.n_rows:,} rows of {self.n_features:,} features"
        return f"<{type(self).__name__} {self.name}: {shape}{carried}{weights}>"

    @abstractmethod
    def fill(self, start: int, stop: int, block: Block) -> None:
        """Write rows start to stop; OUT `block`, of that many rows and with all that there is."""

    def take(self, indices: np.ndarray, block: Block) -> None:
        """Write the rows of these numbers; OUT `block`."""
        raise TypeError(f"{self.name}: expected rows that can be reached at random")

    @abstractmethod
    def digest(self) -> str:
        """Return a digest of the content: of first, last and some chunks between, if it is large.

        Neither the name nor the place of the content is part of it.
        """

    @property
    def in_place(self) -> bool:
        """Whether kernels reach all rows where they lie, so that none need be read before."""
        return self.resident is not None

    def source(self) -> tuple[Rows, Callable[[np.ndarray], np.ndarray] | None]:
        """Return the rows that these are some of, and what turns their numbers into those there.

        None, with the rows themselves, if they are all.
        """
        return self, None

    def mapped(self) -> Mapped | None:
        """Return all rows mapped into memory, if that spares reading them; close it."""
        return None

    def digests(self) -> dict[str, str]:
        """Return the digests of features, labels and weights, as far as they are kept apart."""
        return {"features": self.digest()}

    def place(self, row: int) -> tuple[str, int]:
        """Return the name of the file, or the argument, and the number of the row in it."""
        return self.name, row

    def close(self) -> None:
        """Give back what reading has taken up."""

    @property
    def weight_array(self) -> np.ndarray | None:
        """All weights, if they are in memory."""
        return None if self.resident is None else self.resident.weight

    @property
    def row_bytes(self) -> int:
        """Bytes of a row with all that comes with it, as float64."""
        return 8 * (self.n_features + self.n_labels + self.weighted)

    def empty(self, n_rows: int) -> Block:
        """Return a block to fill."""
        return Block(
            np.empty((n_rows, self.n_features)),
            np.empty((n_rows, self.n_labels)) if self.n_labels else None,
            np.empty(n_rows) if self.weighted else None,
        )

    def block(self, start: int, stop: int) -> Block:
        """Return rows start to stop."""
        if self.resident is not None:
            return self.resident.part(start, stop)
        block = self.empty(stop - start)
        self.fill(start, stop, block)
        return block

    def blocks(self, n_rows: int | None = None) -> Iterator[tuple[int, Block]]:
        """Give all rows, with the number of each block's first one; each block is new."""
        step = n_rows or max(1, BLOCK_BYTES // self.row_bytes)
        for start in range(0, self.n_rows, step):
            yield start, self.block(start, min(start + step, self.n_rows))

    def raise_if_not_finite(self, start: int, features: np.ndarray) -> None:
        """Raise the DataError of the first row that is not finite, if there is one."""
        row = check.first_bad_row(features)
        if row is not None:
            name, number = self.place(start + row)
            check.raise_for_row(name, number, features[row])

    def check_all(self) -> None:
        """Raise the DataError of the first row whose features are not finite, if there is one."""
        for start, block in self.blocks():
            self.raise_if_not_finite(start, block.features)


class ArrayRows(Rows):
    """An array of features (N, D).

    A float64 array is used where it lies if the numbers of each row are contiguous (the rows may
    be apart). Any other layout or dtype is converted: at once if the result takes at most 64 MiB,
    otherwise a block of rows at a time, in every epoch anew.
    """

    by_row = True

    def __init__(self, array: np.ndarray, name: str = "features") -> None:
        self._array = array
        self.name = name
        self.dtype = array.dtype.name
        self.n_rows, self.n_features = array.shape
        if is_ready(array) or self.n_rows * self.row_bytes <= WHOLE_BYTES:
            self.resident = Block(read_only(as_ready(array)))

    def fill(self, start: int, stop: int, block: Block) -> None:
        block.features[:] = self._array[start:stop]

    def take(self, indices: np.ndarray, block: Block) -> None:
        block.features[:] = self._array[indices]

    def digest(self) -> str:
        return digest_of(self._array)


class Labelled(Rows):
    """Rows whose labels (N, K) and weights (N,), either of them or both, are arrays."""

    def __init__(self, rows: Rows, labels: np.ndarray | None, weight: np.ndarray | None) -> None:
        self._rows = rows
        self._labels = labels
        self._weight = weight
        self.name = rows.name
        self.n_rows, self.n_features = rows.n_rows, rows.n_features
        self.n_labels = rows.n_labels if labels is None else labels.shape[1]
        self.weighted = rows.weighted or weight is not None
        self.feature_names = rows.feature_names
        self.dtype, self.by_row, self.concurrent = rows.dtype, rows.by_row, rows.concurrent
        if rows.resident is not None:
            inside = rows.resident
            self.resident = Block(
                inside.features,
                inside.labels if labels is None else read_only(labels),
                inside.weight if weight is None else read_only(weight),
            )

    def _inside(self, block: Block) -> Block:
        """Return what of the block the rows fill themselves."""
        return Block(
            block.features,
            block.labels if self._labels is None else None,
            block.weight if self._weight is None else None,
        )

    def fill(self, start: int, stop: int, block: Block) -> None:
        self._rows.fill(start, stop, self._inside(block))
        self._add(slice(start, stop), block)

    def take(self, indices: np.ndarray, block: Block) -> None:
        self._rows.take(indices, self._inside(block))
        self._add(indices, block)

    @property
    def in_place(self) -> bool:
        return self._rows.in_place

    @property
    def weight_array(self) -> np.ndarray | None:
        return self._rows.weight_array if self._weight is None else self._weight

    def mapped(self) -> Mapped | None:
        mapped = self._rows.mapped()
        if mapped is not None:
            labels = mapped.block.labels if self._labels is None else read_only(self._labels)
            weight = mapped.block.weight if self._weight is None else read_only(self._weight)
            mapped.block = Block(mapped.block.features, labels, weight)
        return mapped

    def _add(self, chosen: slice | np.ndarray, block: Block) -> None:
        for target, source in ((block.labels, self._labels), (block.weight, self._weight)):
            if source is not None and target is not None:
                target[:] = source[chosen]

    def digest(self) -> str:
        return self._rows.digest()

    def digests(self) -> dict[str, str]:
        own = {"labels": self._labels, "sample_weight": self._weight}
        given = {name: digest_of(array) for name, array in own.items() if array is not None}
        return {**self._rows.digests(), **given}

    def place(self, row: int) -> tuple[str, int]:
        return self._rows.place(row)

    def close(self) -> None:
        self._rows.close()


class Loaded(Rows):
    """All rows of a source, read into memory; for the rest still that source."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.name = rows.name
        self.n_rows, self.n_features = rows.n_rows, rows.n_features
        self.n_labels, self.weighted = rows.n_labels, rows.weighted
        self.feature_names, self.dtype, self.by_row = rows.feature_names, rows.dtype, rows.by_row
        whole = rows.empty(rows.n_rows)
        step = max(1, BLOCK_BYTES // rows.row_bytes)
        for start in range(0, rows.n_rows, step):
            stop = min(start + step, rows.n_rows)
            rows.fill(start, stop, whole.part(start, stop))
        self.resident = Block(*(None if a is None else read_only(a) for a in whole.arrays))  # type: ignore[arg-type]

    def fill(self, start: int, stop: int, block: Block) -> None:
        assert self.resident is not None
        copy(self.resident.part(start, stop), block)

    def take(self, indices: np.ndarray, block: Block) -> None:
        assert self.resident is not None
        for source, target in zip(self.resident.arrays, block.arrays, strict=True):
            if source is not None and target is not None:
                np.take(source, indices, axis=0, out=target)

    def digest(self) -> str:
        return self._rows.digest()

    def digests(self) -> dict[str, str]:
        return self._rows.digests()

    def place(self, row: int) -> tuple[str, int]:
        return self._rows.place(row)


def rows_of(name: str, value: object) -> Rows:
    """Return the rows of an argument: rows already, or an array-like."""
    return settled(value) if isinstance(value, Rows) else ArrayRows(check.matrix(name, value), name)


def settled(rows: Rows) -> Rows:
    """Return the rows, read into memory if they are small."""
    small = rows.resident is None and rows.n_rows * rows.row_bytes <= WHOLE_BYTES
    return Loaded(rows) if small else rows


def copy(source: Block, target: Block) -> None:
    """Copy what the target has; OUT target."""
    for a, b in zip(source.arrays, target.arrays, strict=True):
        if a is not None and b is not None:
            b[:] = a


def sample_starts(total: int, size: int) -> list[int]:
    """Return where the chunks of a digest begin: the first, the last and 64 evenly between."""
    last = max(0, total - size)
    return sorted({last * i // (DIGEST_CHUNKS + 1) for i in range(DIGEST_CHUNKS + 2)})


def digest_of(array: np.ndarray) -> str:
    """Return a digest of an array: shape, dtype, and 66 chunks of rows."""
    digest = hashlib.sha256(f"{array.shape} {array.dtype.name}".encode())
    rows = max(1, DIGEST_BYTES // max(1, array[:1].nbytes))
    for start in sample_starts(len(array), rows):
        digest.update(np.ascontiguousarray(array[start : start + rows]).data)
    return digest.hexdigest()


def combined(digests: list[str]) -> str:
    """Return one digest of several."""
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def aligned_zeros(size: int) -> np.ndarray:
    """Return float64 zeros that begin with a cache line: NumPy aligns to 16 bytes only.

    A vector of eight that lies across two lines takes twice as long to load or store.
    """
    array = np.zeros(size + 7)
    first = -array.ctypes.data // 8 % 8
    return array[first : first + size]


def is_ready(array: np.ndarray) -> bool:
    """Return whether kernels can read the array where it lies: float64, each row contiguous."""
    if not (array.dtype == np.float64 and array.dtype.isnative and array.flags.aligned):
        return False
    width = array[:1].size
    together = array.ndim == 1 or width == 1 or array.strides[1] == 8
    return bool(array.flags.c_contiguous or (together and array.strides[0] >= 8 * width))


def as_line(array: np.ndarray) -> tuple[np.ndarray, int]:
    """Return an array that is ready as C-contiguous, and how many numbers a row is from the next.

    Where rows lie apart, that is all of the memory from the first to the last.
    """
    width = array[:1].size
    if array.flags.c_contiguous:
        return array, width
    stride = array.strides[0] // 8
    shape = (1,) * (array.ndim - 1) + ((len(array) - 1) * stride + width,)
    return np.lib.stride_tricks.as_strided(array, shape, writeable=False), stride


def as_ready(array: np.ndarray) -> np.ndarray:
    """Return the array itself if kernels can read it, or a converted copy."""
    return array if is_ready(array) else np.array(array, dtype=np.float64, order="C")


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a view that cannot be written: one kind of array, one compiled kernel."""
    view = array.view()
    view.flags.writeable = False
    return view


def is_plain(value: object, dimensions: int) -> bool:
    """Return whether a value is a float64 array, contiguous, as kernels want it."""
    return (
        type(value) is np.ndarray
        and value.dtype == np.float64
        and value.ndim == dimensions
        and value.flags.c_contiguous
        and value.flags.aligned
    )
