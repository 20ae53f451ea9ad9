"""Rows in memory, and what kernels can read where it lies."""

from __future__ import annotations

import numpy as np

from fastbp.data import checks
from fastbp.data.rows import BLOCK_BYTES, WHOLE_BYTES, Block, Mapped, Rows, copy, digest_of


class ArrayRows(Rows):
    """An array of features (N, D).

    A float64 array is used where it lies if the numbers of each row are contiguous (the rows may
    be apart). Any other layout or dtype is converted: at once if the result takes at most 64 MiB,
    otherwise a block of rows at a time, in every epoch anew.
    """

    random_access = True

    def __init__(self, array: np.ndarray, name: str = "features") -> None:
        self._array = array
        self.name = name
        self.dtype = array.dtype.name
        self.n_rows, self.n_features = array.shape
        if is_ready(array) or self.n_rows * self.row_bytes <= WHOLE_BYTES:
            self.in_memory = Block(read_only(as_ready(array)))

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
        self.dtype, self.random_access, self.any_order = (
            rows.dtype,
            rows.random_access,
            rows.any_order,
        )
        if rows.in_memory is not None:
            inside = rows.in_memory
            self.in_memory = Block(
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
        self.feature_names, self.dtype, self.random_access = (
            rows.feature_names,
            rows.dtype,
            rows.random_access,
        )
        whole = rows.empty(rows.n_rows)
        step = max(1, BLOCK_BYTES // rows.row_bytes)
        for start in range(0, rows.n_rows, step):
            stop = min(start + step, rows.n_rows)
            rows.fill(start, stop, whole.part(start, stop))
        self.in_memory = Block(*(None if a is None else read_only(a) for a in whole.arrays))  # type: ignore[arg-type]

    def fill(self, start: int, stop: int, block: Block) -> None:
        assert self.in_memory is not None
        copy(self.in_memory.part(start, stop), block)

    def take(self, indices: np.ndarray, block: Block) -> None:
        assert self.in_memory is not None
        for source, target in zip(self.in_memory.arrays, block.arrays, strict=True):
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
    return (
        settled(value) if isinstance(value, Rows) else ArrayRows(checks.matrix(name, value), name)
    )


def settled(rows: Rows) -> Rows:
    """Return the rows, read into memory if they are small."""
    small = rows.in_memory is None and rows.n_rows * rows.row_bytes <= WHOLE_BYTES
    return Loaded(rows) if small else rows


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
