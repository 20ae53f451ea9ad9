"""Rows of features as contiguous float64 blocks, without a second copy of a large array."""

from __future__ import annotations

import numpy as np

WHOLE_BYTES = 2**26
"""An array that takes at most this many bytes as float64 is converted whole."""
BLOCK_BYTES = 2**22
"""Bytes of a block of rows that is converted on its own."""


class ArrayRows:
    """An array of features (N, D).

    A C-contiguous float64 array is used where it lies. Any other layout or dtype is converted:
    at once if the result takes at most 64 MiB, otherwise a block of rows at a time, in every
    epoch anew.

    Attributes
    ----------
    resident : numpy.ndarray or None
        All rows as C-contiguous float64, if they are at hand.
    """

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.n_rows, self.n_features = array.shape
        self.resident: np.ndarray | None = None
        if is_ready(array) or self.n_rows * self.n_features * 8 <= WHOLE_BYTES:
            self.resident = read_only(as_ready(array))

    def block(self, start: int, stop: int, order: np.ndarray | None = None) -> np.ndarray:
        """Return rows start to stop, or those rows of `order`, as C-contiguous float64."""
        chosen = slice(start, stop) if order is None else order[start:stop]
        return read_only(as_ready(self._array[chosen]))

    def row(self, index: int) -> np.ndarray:
        """Return one row as float64."""
        return np.asarray(self._array[index], dtype=np.float64)


def aligned_zeros(size: int) -> np.ndarray:
    """Return float64 zeros that begin with a cache line: NumPy aligns to 16 bytes only.

    A vector of eight that lies across two lines takes twice as long to load or store.
    """
    array = np.zeros(size + 7)
    first = -array.ctypes.data // 8 % 8
    return array[first : first + size]


def is_ready(array: np.ndarray) -> bool:
    """Return whether kernels can read the array where it lies."""
    native = array.dtype == np.float64 and array.dtype.isnative
    return bool(native and array.flags.c_contiguous and array.flags.aligned)


def as_ready(array: np.ndarray) -> np.ndarray:
    """Return the array itself if kernels can read it, or a converted copy."""
    return array if is_ready(array) else np.array(array, dtype=np.float64, order="C")


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a view that cannot be written: one kind of array, one compiled kernel."""
    view = array.view()
    view.flags.writeable = False
    return view
