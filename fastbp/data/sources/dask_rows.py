"""Rows of Dask collections, which lie in partitions, and lazy predictions of them.

Dask is imported by whoever has made such a collection, never before.
"""

from __future__ import annotations

import sys
import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, Self

import numpy as np

from fastbp.arguments import FLOAT64
from fastbp.data import checks
from fastbp.data.rows import (
    COPY_PARSED,
    Block,
    Rows,
    combined,
    copy,
    digest_of_samples,
    sample_ranges,
)
from fastbp.data.sources.pieces import (
    Pieces,
    is_array,
    numbers_in,
    of_shape,
    partition_name,
    stored_dtype,
)

HELD_PARTITIONS = 2
"""Partitions that stay in memory: two readers of the same rows may be at different ones."""


class Partitioning(NamedTuple):
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

    any_order, copy_pays_from = False, COPY_PARSED
    partitioned = True

    def __init__(
        self,
        features: Pieces,
        labels: Pieces | np.ndarray | None = None,
        weight: Pieces | np.ndarray | None = None,
    ) -> None:
        assert features.columns is not None
        self.name, self.feature_names = features.name, features.names
        self.n_features, self.dtype = features.columns, stored_dtype(features.dtype).name
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
    def partitioning(self) -> Partitioning:
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
            make(partition_name(self.name, i), (length, self.n_features), piece, y, weight)
            for (i, length, piece), y, weight in zip(filled, labels, weights, strict=True)
        ]
        return Partitioning(starts, [i for i, _, _ in filled], parts)

    @cached_property
    def n_rows(self) -> int:  # type: ignore[override]  # like an attribute, but found out late
        """How many rows there are."""
        return self.starts[-1]

    @property
    def starts(self) -> list[int]:
        """The first row of each partition, and the number of all rows."""
        return self.partitioning.starts

    @property
    def parts(self) -> list[Any]:
        """A Dask Delayed for each partition: it gives a :class:`~fastbp.data.rows.Block`.

        Its features are as they are stored, or float64; labels (n, K) and weight are float64.
        """
        return self.partitioning.parts

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
        return partition_name(self.name, self.partitioning.numbers[i]), row - self.starts[i]

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
    shape = value.shape if is_array(value) else (np.nan, *value._meta.shape[1:])
    if len(shape) != 2:
        checks.refuse_dimensions(name, shape)
    return shape[0], int(shape[1])


def chosen_rows(name: str, value: Any, sides: list[list[int]]) -> DaskRows:
    """Return rows of which some columns are features, some labels and one perhaps the weight.

    `sides` are their indices; the other columns are neither read nor checked.
    """
    if not is_array(value):
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
    if not is_array(value):
        rows = rows_of_collection(name, value)
        empty = np.empty((0, rows.n_features), rows.dtype)
        value = value.map_partitions(numbers_in, name, meta=empty)
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


# --- what tasks call -----------------------------------------------------------------------------


def _block_of(
    name: str,
    shape: tuple[int, int],
    features: Any,
    labels: np.ndarray | None,
    weight: np.ndarray | None,
) -> Block:
    weight = None if weight is None else weight.reshape(-1)
    return Block(of_shape(name, numbers_in(features, name), shape), labels, weight)


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
    return function(features, partition_name(name, block_id[0]))
