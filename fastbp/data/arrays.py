"""Rows in memory, and which arrays kernels can read in place."""

from __future__ import annotations

import ctypes
from typing import Any, cast

import numpy as np

from fastbp.arguments import FLOAT32, FLOAT64
from fastbp.data import checks, frames
from fastbp.data.checks import FEW
from fastbp.data.rows import (
    WHOLE_BYTES,
    Block,
    Mapped,
    Rows,
    Wrapped,
    copy,
    digest_of,
    gather,
    ranges,
)
from fastbp.data.sources.dask_rows import rows_of_collection
from fastbp.data.sources.pieces import is_collection
from fastbp.kernels.stored import DTYPES, passed

IN_CACHE = 2**20  # numbers: 8 MiB as float64
IN_ORDER = 0x0101  # of an array's flags: C-contiguous and aligned
_addressof, _from_buffer = ctypes.addressof, cast(Any, ctypes.c_char.from_buffer)


class ArrayRows(Rows):
    """An array of features (N, D).

    It is read in place, as it is stored, if the numbers of each row are contiguous (the rows may
    lie apart). Any other layout is converted, and any dtype but real numbers of 8 to 64 bits in the
    processor's byte order: as a whole if the result takes at most 64 MiB, otherwise a block of rows
    at a time, again in every epoch. What is not worth a kernel of its own, for arithmetic in
    `dtype`, is converted as well: see `pays_in_place`.
    """

    random_access = True

    def __init__(
        self, array: np.ndarray, name: str = "features", dtype: np.dtype[Any] = FLOAT64
    ) -> None:
        self._array = array
        self.name = name
        self.n_rows, self.n_features = array.shape
        if array.dtype != FLOAT64:
            self.dtype = "float32" if array.dtype == FLOAT32 else array.dtype.name  # slow
        if readable_in_place(array) and pays_in_place(array, dtype):
            self.in_memory = Block(read_only(array))
        elif self.n_rows * self.row_bytes <= WHOLE_BYTES:
            self.in_memory = Block(read_only(readable(array)))

    def fill(self, start: int, stop: int, block: Block) -> None:
        block.features[:] = self._array[start:stop]

    def take(self, indices: np.ndarray, block: Block) -> None:
        block.features[:] = self._array[indices]

    def digest(self) -> str:
        return digest_of(self._array)


class Labelled(Wrapped):
    """Rows whose labels (N, K) or weights (N,), or both, are arrays."""

    def __init__(self, rows: Rows, labels: np.ndarray | None, weight: np.ndarray | None) -> None:
        super().__init__(rows)
        self._labels = self._weight = None
        if labels is not None:
            self._labels = read_only(labels)
            self.n_labels, self.classes = labels.shape[1], None
        if weight is not None:
            self._weight = read_only(weight)
            self.weighted = True
        if rows.in_memory is not None:
            self.in_memory = rows.in_memory.having(self._labels, self._weight)

    def _inside(self, block: Block) -> Block:
        labels = block.labels if self._labels is None else None
        return Block(block.features, labels, block.weight if self._weight is None else None)

    def _complete(self, rows: slice | np.ndarray, inside: Block, block: Block) -> None:
        if self._labels is not None and block.labels is not None:
            block.labels[:] = self._labels[rows]
        if self._weight is not None and block.weight is not None:
            block.weight[:] = self._weight[rows]

    @property
    def in_place(self) -> bool:
        return self._rows.in_place

    @property
    def weight_array(self) -> np.ndarray | None:
        return self._rows.weight_array if self._weight is None else self._weight

    def mapped(self) -> Mapped | None:
        mapped = self._rows.mapped()
        if mapped is not None:
            mapped.block = mapped.block.having(self._labels, self._weight)
        return mapped

    def portion(self, start: int, stop: int) -> Rows:
        labels, weight = (
            None if array is None else array[start:stop] for array in (self._labels, self._weight)
        )
        return Labelled(self._rows.portion(start, stop), labels, weight)

    def digests(self) -> dict[str, str]:
        given = {"labels": self._labels, "sample_weight": self._weight}
        own = {name: digest_of(array) for name, array in given.items() if array is not None}
        return {**self._rows.digests(), **own}


class Loaded(Wrapped):
    """All rows of a source, read into memory."""

    in_memory: Block

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows)
        self.any_order = True
        whole = rows.empty(rows.n_rows)
        for start, stop in ranges(0, rows.n_rows, rows.block_rows):
            rows.fill(start, stop, whole.part(start, stop))
        self.in_memory = whole.map(read_only)

    def fill(self, start: int, stop: int, block: Block) -> None:
        copy(self.in_memory.part(start, stop), block)

    def take(self, indices: np.ndarray, block: Block) -> None:
        gather(self.in_memory, indices, block)


def rows_of(name: str, value: object, dtype: np.dtype[Any] = FLOAT64) -> Rows:
    """Return the rows of an argument, rows already or an array-like or a table.

    They are for arithmetic in `dtype`. Those of a Dask collection are not read before labels have
    joined them.
    """
    if type(value) is np.ndarray:  # the usual case
        return ArrayRows(checks.matrix(name, value), name, dtype)
    if isinstance(value, Rows):
        return value if value.partitioned else loaded_if_small(value)
    if is_collection(value):
        return rows_of_collection(name, value)
    value = frames.without_index(value, name)
    rows = ArrayRows(checks.matrix(name, value), name, dtype)
    rows.feature_names = frames.names_of(value)
    return rows


def loaded_if_small(rows: Rows) -> Rows:
    """Return the rows, read into memory if they take at most 64 MiB there, and are ours to read."""
    if rows.cluster is not None:
        return rows
    return Loaded(rows) if rows.in_memory is None and are_small(rows) else rows


def are_small(rows: Rows) -> bool:
    """Return whether rows take at most 64 MiB in memory."""
    return rows.n_rows * rows.row_bytes <= WHOLE_BYTES


def aligned(size: int) -> np.ndarray:
    """Return float64 memory that begins with a cache line; NumPy aligns to 16 bytes only."""
    # A vector of eight that crosses a cache line takes twice as long to load or store.
    array = np.empty(size + 7)
    first = -address(array) // 8 % 8
    return array[first : first + size]


def address(array: np.ndarray) -> int:
    """Return where an array begins in memory; a TypeError if it cannot be written in one piece."""
    # `array.ctypes.data` takes five times as long.
    return _addressof(_from_buffer(array))


def readable_in_place(array: np.ndarray) -> bool:
    """Return whether kernels can read the array where it lies: each row contiguous."""
    flags, size = array.flags, array.itemsize
    if not (array.dtype in DTYPES and flags.aligned):
        return False
    if flags.c_contiguous:
        return True
    width = array[:1].size
    contiguous = array.ndim == 1 or width == 1 or array.strides[1] == size
    return bool(contiguous and array.strides[0] >= size * width and array.strides[0] % size == 0)


def pays_in_place(array: np.ndarray, dtype: np.dtype[Any] = FLOAT64) -> bool:
    """Return whether to read an array as it is stored is worth the seconds to compile a kernel.

    For arithmetic in float32, float32 is. In cache memory an epoch of float32 takes 0.7 to 1.25
    times as long as one of float64, one of the others 1.04 to 2.1 times, as each pass converts
    them. From memory float32, float16 and bytes take 0.4 to 0.7 times as long, int64 1.0 to 1.6
    times, but no copy of what is large.
    """
    if array.dtype in (FLOAT64, dtype):
        return True
    return bool(array.size > (FEW if array.dtype == FLOAT32 else IN_CACHE))


def readable(array: np.ndarray) -> np.ndarray:
    """Return the array itself if it is of float64 and readable in place, or a converted copy."""
    in_place = array.dtype == FLOAT64 and readable_in_place(array)
    return array if in_place else np.array(array, dtype=np.float64, order="C")


def contiguous_view(array: np.ndarray) -> tuple[np.ndarray, int]:
    """Return an array that is readable in place as contiguous memory, and how far apart rows are.

    Where rows lie apart, the memory includes what lies between them. It is as kernels take it.
    """
    if array.flags.c_contiguous:
        return passed(array), array.shape[1] if array.ndim == 2 else 1
    width = array[:1].size
    stride = array.strides[0] // array.itemsize
    shape = (1,) * (array.ndim - 1) + ((len(array) - 1) * stride + width,)
    return passed(np.lib.stride_tricks.as_strided(array, shape, writeable=False)), stride


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a read-only view, so that kernels are compiled for one array type only."""
    view = array.view()
    view.setflags(write=False)
    return view


def is_plain(value: object, dimensions: int, dtype: np.dtype[Any] = FLOAT64) -> bool:
    """Return whether a value is a contiguous array of this dtype."""
    return (
        type(value) is np.ndarray
        and value.ndim == dimensions
        and value.dtype == dtype
        and value.flags.num & IN_ORDER == IN_ORDER
    )
