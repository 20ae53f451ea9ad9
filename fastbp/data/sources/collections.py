"""Dask collections: arrays, DataFrames and Series, whose rows lie in partitions.

Dask is imported by whoever has made such a collection, never before.
"""

from __future__ import annotations

import sys
import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, Self

import numpy as np

from fastbp.arguments import FLOAT64
from fastbp.data import checks, frames
from fastbp.data.rows import Block, Rows, combined, copy, digest_of_samples, sample_ranges
from fastbp.errors import DataError
from fastbp.kernels.stored import DTYPES

COLLECTIONS = (
    ("dask.array", "Array"),
    ("dask.dataframe", "DataFrame"),
    ("dask.dataframe", "Series"),
)
HELD_PARTITIONS = 2
"""Partitions that stay in memory: two readers of the same rows may be at different ones."""


def is_collection(value: object) -> bool:
    """Return whether it is an array, a DataFrame or a Series of Dask."""
    return "dask" in sys.modules and any(_is(value, *kind) for kind in COLLECTIONS)


def _is(value: object, module: str, name: str) -> bool:
    return isinstance(value, getattr(sys.modules.get(module), name, ()))


def names_of(value: Any) -> list[str] | None:
    """Return the names of a collection's columns; None if it has none."""
    return None if _is_array(value) else frames.names_of(value._meta)


def in_memory(value: Any) -> Any:
    """Return what a collection holds, computed where Dask computes; others unchanged."""
    return value.compute() if is_collection(value) else value


def _is_array(value: Any) -> bool:
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
        if _is_array(value):
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
        pieces = [make(_partition(self.name, i), p, *arguments) for i, p in enumerate(self.pieces)]
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
            convert(_partition(self.name, i), piece, (length, width)) for i, length, piece in own
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


class Survey(NamedTuple):
    """What is known of the partitions once their lengths are.

    Attributes
    ----------
    starts : list of int
        The first row of each partition that has rows, and the number of all rows.
    numbers : list of int
        The number of each in the collection.
    parts : list of Delayed
        What gives each, as a :class:`~fastbp.data.rows.Block`.
    """

    starts: list[int]
    numbers: list[int]
    parts: list[Any]


class DaskRows(Rows):
    """Rows of a Dask array or DataFrame, perhaps with labels and weights.

    The lengths of partitions are found out when they are needed first, together. Rows are computed
    in this process, by threads, unless the collection was persisted on a cluster: then there.

    Parameters
    ----------
    features : Pieces
    labels : Pieces, or numpy.ndarray of float64, shape (N, K), optional
    weight : Pieces, or numpy.ndarray of float64, shape (N,), optional
    """

    any_order = False
    partitioned = True

    def __init__(
        self,
        features: Pieces,
        labels: Pieces | np.ndarray | None = None,
        weight: Pieces | np.ndarray | None = None,
    ) -> None:
        assert features.columns is not None
        self.name, self.feature_names = features.name, features.names
        self.n_features, self.dtype = features.columns, _stored(features.dtype).name
        self._features, self._labels, self._weight = features, labels, weight
        if labels is not None:
            columns = labels.columns if isinstance(labels, Pieces) else labels.shape[1]
            self.n_labels = 1 if columns is None else columns
        self.weighted = weight is not None
        self._lock = threading.Lock()
        self._held: OrderedDict[int, Block] = OrderedDict()

    def joined(
        self, labels: Pieces | np.ndarray | None, weight: Pieces | np.ndarray | None
    ) -> Self:
        """Return the same rows with labels or weights, where they are given."""
        if labels is None and weight is None:
            return self
        labels = self._labels if labels is None else labels
        return type(self)(self._features, labels, self._weight if weight is None else weight)

    @property
    def cluster(self) -> Any:  # found out late, too
        """The client of the cluster that computes Dask's collections, if there is one."""
        distributed = sys.modules.get("distributed")
        if distributed is None:
            return None
        try:
            return distributed.Client.current()
        except ValueError:
            return None

    @cached_property
    def survey(self) -> Survey:
        """The partitions that have rows; this computes all lengths that are not known."""
        import dask

        given = [self._features, self._labels, self._weight]
        Pieces.measure([some for some in given if isinstance(some, Pieces)])
        filled = self._features.filled()
        lengths = [length for _, length, _ in filled]
        starts = [0, *accumulate(lengths)]
        if not filled or self.n_features == 0:
            checks.refuse_empty(self.name, (starts[-1], self.n_features))
        labels, weights = (
            [None] * len(filled)
            if some is None
            else some.cut(lengths)
            if isinstance(some, Pieces)
            else [some[start:stop] for start, stop in pairwise(starts)]
            for some in given[1:]
        )
        make = dask.delayed(_block_of)
        parts = [
            make(_partition(self.name, i), (length, self.n_features), piece, y, weight)
            for (i, length, piece), y, weight in zip(filled, labels, weights, strict=True)
        ]
        return Survey(starts, [i for i, _, _ in filled], parts)

    @cached_property
    def n_rows(self) -> int:  # type: ignore[override]  # like an attribute, but found out late
        """How many rows there are."""
        return self.starts[-1]

    @property
    def starts(self) -> list[int]:
        """The first row of each partition, and the number of all rows."""
        return self.survey.starts

    @property
    def parts(self) -> list[Any]:
        """A Dask Delayed for each partition: it gives a :class:`~fastbp.data.rows.Block`.

        Its features are as they are stored, or float64; labels (n, K) and weight are float64.
        """
        return self.survey.parts

    def fill(self, start: int, stop: int, block: Block) -> None:
        first, last = self._index(start), bisect_left(self.starts, stop)
        for i, part in zip(range(first, last), self._blocks(range(first, last)), strict=True):
            begin, end = self.starts[i : i + 2]
            a, b = max(start, begin), min(stop, end)
            copy(part.part(a - begin, b - begin), block.part(a - start, b - start))

    def _index(self, row: int) -> int:
        """Return which partition of those that have rows holds a row."""
        return bisect_right(self.starts, row) - 1

    def _blocks(self, indices: range) -> list[Block]:
        """Return some partitions; those not at hand are computed, and the last ones kept."""
        import dask

        with self._lock:
            blocks = {i: self._held[i] for i in indices if i in self._held}
            missing = [i for i in indices if i not in blocks]
            if missing:
                where = None if self._remote else "threads"
                found = dask.compute(*[self.parts[i] for i in missing], scheduler=where)
                blocks.update(zip(missing, found, strict=True))
            for i in indices[-HELD_PARTITIONS:]:
                self._held[i] = blocks[i]
                self._held.move_to_end(i)
            while len(self._held) > HELD_PARTITIONS:
                self._held.popitem(last=False)
        return [blocks[i] for i in indices]

    @property
    def _remote(self) -> bool:
        given = self._features, self._labels, self._weight
        return any(some.remote for some in given if isinstance(some, Pieces))

    def digest(self) -> str:
        return combined(list(self.digests().values()))

    def digests(self) -> dict[str, str]:
        """Return the digests that the same rows in NumPy arrays have."""
        import dask

        dtype = np.dtype(self.dtype)
        arrays: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]
        arrays = {"features": ((self.n_rows, self.n_features), dtype)}
        if self.n_labels:
            arrays["labels"] = (self.n_rows, self.n_labels), FLOAT64
        if self.weighted:
            arrays["sample_weight"] = (self.n_rows,), FLOAT64
        wanted = {name: sample_ranges(*array) for name, array in arrays.items()}
        sampled, tasks = dask.delayed(_sampled), []
        for (start, stop), part in zip(pairwise(self.starts), self.parts, strict=True):
            inside = {
                name: [
                    (j, max(a, start) - start, min(b, stop) - start)
                    for j, (a, b) in enumerate(ranges)
                    if a < stop and start < b
                ]
                for name, ranges in wanted.items()
            }
            if any(inside.values()):
                tasks.append(sampled(part, inside, dtype))
        found = dask.compute(*tasks)  # some MiB: where Dask computes
        digests = {}
        for name, array in arrays.items():
            pieces = [piece for each in found for piece in each[name]]
            pieces.sort(key=lambda piece: piece[0])  # stable: partitions stay in order
            digests[name] = digest_of_samples(*array, [samples for _, samples in pieces])
        return digests

    def locate(self, row: int) -> tuple[str, int]:
        i = self._index(row)
        return _partition(self.name, self.survey.numbers[i]), row - self.starts[i]

    def close(self) -> None:
        with self._lock:
            self._held.clear()


def rows_of_collection(name: str, value: Any) -> DaskRows:
    """Return the rows of a Dask array or DataFrame."""
    shape = shape_of(name, value)
    if 0 in shape:
        checks.refuse_empty(name, shape)
    return DaskRows(Pieces(name, value))


def shape_of(name: str, value: Any) -> tuple[float, int]:
    """Return rows, perhaps NaN, and columns; refuse a collection that has not two dimensions."""
    shape = value.shape if _is_array(value) else (np.nan, *value._meta.shape[1:])
    if len(shape) != 2:
        checks.refuse_dimensions(name, shape)
    return shape[0], int(shape[1])


def chosen_rows(name: str, value: Any, sides: list[list[int]]) -> DaskRows:
    """Return rows of which some columns are features, some labels and one perhaps the weight.

    `sides` are their indices; the other columns are neither read nor checked.
    """
    if not _is_array(value):
        value = value.iloc[:, [j for side in sides for j in side]]
        rest = iter(range(len(value.columns)))
        sides = [[next(rest) for _ in side] for side in sides]
    pieces = Pieces(name, value)
    features, *others = (pieces.select(name, side) for side in sides)
    return DaskRows(features, *(some if some.columns else None for some in others))


def mapped_rows(
    name: str, value: Any, function: Callable[..., np.ndarray], n_outputs: int | None, dtype: Any
) -> Any:
    """Return a lazy Dask array of what a function makes of the rows of each partition.

    Parameters
    ----------
    name : str
        What messages call the rows.
    value : collection
    function : callable
        Takes the features of some rows and their name; returns as many outputs.
    n_outputs : int or None
        Their columns; None if they have one dimension.
    dtype : numpy.dtype
        That of the outputs.
    """
    if not _is_array(value):
        rows = rows_of_collection(name, value)
        empty = np.empty((0, rows.n_features), rows.dtype)
        value = value.map_partitions(_numbers_in, name, meta=empty)
    elif len(value.chunks[1]) > 1:
        value = value.rechunk({1: -1})
    tail = () if n_outputs is None else (n_outputs,)
    how: dict[str, Any] = {"drop_axis": 1} if n_outputs is None else {}
    if n_outputs is not None:
        how["chunks"] = (value.chunks[0], (n_outputs,))
    return value.map_blocks(
        _outputs_of, name, function, tail, dtype,
        dtype=dtype, meta=np.empty((0,) * (1 + len(tail)), dtype), **how,
    )  # fmt: skip


def _check_dtypes(name: str, value: Any) -> None:
    """Refuse what a collection is known to hold, if it is no numbers."""
    if _is_array(value):
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


def _partition(name: str, number: int) -> str:
    return f"{name}, partition {number}"


def _stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of a partition's features: as it is stored, if kernels can read it."""
    return dtype if dtype in DTYPES else FLOAT64


# --- what tasks call -----------------------------------------------------------------------------


def _picked(name: str, value: Any, columns: list[int]) -> Any:
    return value.iloc[:, columns] if frames.is_pandas(value) else value[:, columns]


def _numbers_in(value: Any, name: str) -> np.ndarray:
    array = checks.number_array(name, value)
    return np.ascontiguousarray(array, dtype=_stored(array.dtype))


def _columns_in(name: str, value: Any, shape: tuple[int, int]) -> np.ndarray:
    array = checks.number_array(name, value)
    return _of_shape(name, array[:, None] if array.ndim == 1 else array, shape).astype(FLOAT64)


def _of_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.shape != shape:
        raise DataError(f"{name}: expected shape {shape}, got {array.shape}")
    return array


def _block_of(
    name: str,
    shape: tuple[int, int],
    features: Any,
    labels: np.ndarray | None,
    weight: np.ndarray | None,
) -> Block:
    weight = None if weight is None else weight.reshape(-1)
    return Block(_of_shape(name, _numbers_in(features, name), shape), labels, weight)


def _sampled(
    block: Block, ranges: dict[str, list[tuple[int, int, int]]], dtype: np.dtype[Any]
) -> dict[str, list[tuple[int, np.ndarray]]]:
    """Return the rows of some ranges of each array, with the ranges' numbers."""
    arrays = {"features": block.features, "labels": block.labels, "sample_weight": block.weight}
    found: dict[str, list[tuple[int, np.ndarray]]] = {}
    for name, each in ranges.items():
        array: Any = arrays[name]
        kind = dtype if name == "features" else FLOAT64
        found[name] = [(j, array[a:b].astype(kind)) for j, a, b in each]
    return found


def _outputs_of(
    features: np.ndarray,
    name: str,
    function: Callable[..., np.ndarray],
    tail: tuple[int, ...],
    dtype: np.dtype[Any],
    block_id: tuple[int, ...],
) -> np.ndarray:
    if len(features) == 0:
        return np.empty((0, *tail), dtype)
    return function(features, _partition(name, block_id[0]))
