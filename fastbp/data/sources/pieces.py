"""Collections of Dask, an array, a DataFrame or a Series, as partitions of whole rows.

Dask is imported by whoever has made such a collection, never before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastbp.arguments import FLOAT64
from fastbp.data import checks, frames
from fastbp.errors import DataError
from fastbp.kernels.stored import DTYPES

COLLECTIONS = (
    ("dask.array", "Array"),
    ("dask.dataframe", "DataFrame"),
    ("dask.dataframe", "Series"),
)


def is_collection(value: object) -> bool:
    """Return whether it is an array, a DataFrame or a Series of Dask."""
    return "dask" in sys.modules and any(_is(value, *kind) for kind in COLLECTIONS)


def _is(value: object, module: str, name: str) -> bool:
    return isinstance(value, getattr(sys.modules.get(module), name, ()))


def names_of(value: Any) -> list[str] | None:
    """Return the names of a collection's columns; None if it has none."""
    return None if is_array(value) else frames.names_of(value._meta)


def in_memory(value: Any) -> Any:
    """Return what a collection holds, computed where Dask computes; others unchanged."""
    return value.compute() if is_collection(value) else value


def is_array(value: Any) -> bool:
    """Return whether a collection is an array."""
    return _is(value, *COLLECTIONS[0])


class Pieces:
    """The partitions of a collection, of `numbers` or of anything, each a Delayed of whole rows.

    Attributes
    ----------
    name : str
        What messages call it.
    pieces : list of Delayed
    columns : int or None
        None if it has one dimension.
    names : list of str or None
        Of the columns.
    dtype : numpy.dtype
        That of the numbers, as far as is known before they are computed.
    lengths : list of int or None
        The rows of each partition; None as long as they are not known.
    remote : bool
        Whether some of it lies on a cluster already.
    """

    lengths: list[int] | None = None

    def __init__(self, name: str, value: Any, numbers: bool = True) -> None:
        self.name, self.names = name, names_of(value)
        if numbers:
            _check_dtypes(name, value)
        self.columns = None if value.ndim == 1 else int(value.shape[1])
        self.remote = _on_cluster(value)
        if is_array(value):
            self.dtype = value.dtype
            if value.ndim == 2 and len(value.chunks[1]) > 1:
                value = value.rechunk({1: -1})
            # What features and labels have in common is computed once: not renamed by optimizing.
            self.pieces = value.to_delayed(optimize_graph=False).ravel().tolist()
            if not np.isnan(value.chunks[0]).any():
                self.lengths = [int(n) for n in value.chunks[0]]
        else:
            meta = value._meta
            self.dtype = checks.number_array(name, meta).dtype if numbers else FLOAT64
            self.pieces = value.to_delayed()
        self._measured = self.pieces

    def select(self, name: str, columns: list[int]) -> Pieces:
        """Return some columns, by index, of the same partitions."""
        other = self.each(_picked, columns)
        other.name, other.columns = name, len(columns)
        if self.names is not None:
            other.names = [self.names[j] for j in columns]
        return other

    def each(self, function: Callable[..., Any], *arguments: Any) -> Pieces:
        """Return what a function makes of each partition, given its name and these arguments."""
        from dask import delayed

        other: Any = object.__new__(Pieces)
        make = delayed(function)
        pieces = [
            make(partition_name(self.name, i), p, *arguments) for i, p in enumerate(self.pieces)
        ]
        vars(other).update(vars(self), pieces=pieces)
        return other  # type: ignore[no-any-return]

    @staticmethod
    def measure(given: Sequence[Pieces]) -> None:
        """Find out the lengths that are not known, all at once, where Dask computes."""
        import dask

        unknown = [some for some in given if some.lengths is None]
        wanted = {id(some._measured): some._measured for some in unknown}
        count = dask.delayed(len)
        (found,) = dask.compute({key: [count(p) for p in each] for key, each in wanted.items()})
        for some in unknown:
            some.lengths = found[id(some._measured)]

    def filled(self) -> list[tuple[int, int, Any]]:
        """Return number, length and Delayed of each partition that has rows."""
        assert self.lengths is not None
        each = zip(self.lengths, self.pieces, strict=True)
        return [(i, length, piece) for i, (length, piece) in enumerate(each) if length > 0]

    def cut(self, lengths: list[int]) -> list[Any]:
        """Return Delayed columns of float64 for partitions of these lengths."""
        import dask
        from dask import array

        own, width = self.filled(), 1 if self.columns is None else self.columns
        convert = dask.delayed(_columns_in)
        found = [
            convert(partition_name(self.name, i), piece, (length, width))
            for i, length, piece in own
        ]
        if (got := sum(n for _, n, _ in own)) != sum(lengths):
            expected = f"expected {sum(lengths)} values (one per row of features)"
            raise ValueError(f"{self.name}: {expected}, got {got}")
        if [length for _, length, _ in own] == lengths:
            return found
        parts = [
            array.from_delayed(piece, (length, width), FLOAT64)
            for piece, (_, length, _) in zip(found, own, strict=True)
        ]
        whole = array.concatenate(parts).rechunk((tuple(lengths), width))
        pieces: list[Any] = whole.to_delayed(optimize_graph=False).ravel().tolist()
        return pieces


def _check_dtypes(name: str, value: Any) -> None:
    """Refuse what a collection is known to hold, if it is no numbers."""
    if is_array(value):
        if value.dtype.kind not in checks.REAL_KINDS + "O":
            raise TypeError(f"{name}: expected real numbers, got {checks.kind_of(value.dtype)}")
        if value.ndim not in (1, 2):
            checks.refuse_dimensions(name, value.shape)
    elif (got := frames.first_no_number(value._meta)) is not None:
        raise TypeError(f"{name}: expected real numbers, got {got}")


def _on_cluster(value: Any) -> bool:
    """Return whether futures of a cluster are among what a collection is computed from."""
    distributed = sys.modules.get("distributed")
    return distributed is not None and bool(distributed.futures_of(value))


def partition_name(name: str, number: int) -> str:
    """Return what messages call a partition."""
    return f"{name}, partition {number}"


def stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of a partition's features: as it is stored, if kernels can read it."""
    return dtype if dtype in DTYPES else FLOAT64


# --- what tasks call -----------------------------------------------------------------------------


def _picked(name: str, value: Any, columns: list[int]) -> Any:
    return value.iloc[:, columns] if frames.is_pandas(value) else value[:, columns]


def numbers_in(value: Any, name: str) -> np.ndarray:
    """Return the features of a partition, each row contiguous."""
    array = checks.number_array(name, value)
    return np.ascontiguousarray(array, dtype=stored_dtype(array.dtype))


def _columns_in(name: str, value: Any, shape: tuple[int, int]) -> np.ndarray:
    array = checks.number_array(name, value)
    return of_shape(name, array[:, None] if array.ndim == 1 else array, shape).astype(FLOAT64)


def of_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array, which must have this shape."""
    if array.shape != shape:
        raise DataError(f"{name}: expected shape {shape}, got {array.shape}")
    return array
