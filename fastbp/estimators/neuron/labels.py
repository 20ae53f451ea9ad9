"""Labels as neurons learn them, and a first pass over all rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastbp.data.arrays import read_only
from fastbp.data.classes import check_classes, class_indices, with_distinct_labels
from fastbp.data.labels import LabelKind, Samples, Targets
from fastbp.data.rows import WHOLE_BYTES, Block, Rows, Wrapped
from fastbp.data.sources.dask_rows import DaskRows
from fastbp.data.sources.relabelled import RelabelledRows
from fastbp.training.cluster.portions import over_blocks

NOT_CLASSES = "a number is for NeuronRegressor to predict"


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass finds, in a block or in all rows.

    Attributes
    ----------
    labels : numpy.ndarray of float64, shape (n_groups,)
        The distinct labels, sorted; a single 0 where labels are numbers to predict.
    weights, squares : numpy.ndarray of float64, shape (n_groups,)
        Sums over the rows of each label: of the sample weights, and of those times squared length.
    longest : float
        The largest squared length of a row whose weight is not 0.

    Squared lengths are 0 if they are not measured.
    """

    labels: np.ndarray
    weights: np.ndarray
    squares: np.ndarray
    longest: float

    def plus(self, other: Survey) -> Survey:
        """Return what is in these rows and in others, after them."""
        labels = np.union1d(self.labels, other.labels)
        sums = self._sums(labels) + other._sums(labels)
        return Survey(labels, sums[0], sums[1], max(self.longest, other.longest))

    def _sums(self, labels: np.ndarray) -> np.ndarray:
        sums = np.zeros((2, labels.size))
        sums[:, np.searchsorted(labels, self.labels)] = self.weights, self.squares
        return sums


class Prepared(NamedTuple):
    """What neurons are fitted to.

    Attributes
    ----------
    rows : Rows
        With labels as neurons learn them.
    n_outputs : int
    found : Survey or None
        None if nobody needs it.
    class_weight : numpy.ndarray, shape (n_groups,)
        Of the groups in `found`.
    """

    rows: Rows
    n_outputs: int
    found: Survey | None
    class_weight: np.ndarray


def survey(rows: Rows, known: np.ndarray | None, grouped: bool, lengths: bool) -> Survey:
    """Read the labels of all rows once and check them, and the features to measure lengths.

    On a cluster, its workers do. Sums of fractions over a Dask collection may then differ in their
    last digits, as they are added up partition by partition.

    Parameters
    ----------
    rows : Rows
        With labels.
    known : numpy.ndarray, optional
        The distinct labels, sorted; None finds them.
    grouped : bool
        Whether the labels are classes. Otherwise all rows are one group.
    lengths : bool
        Whether to measure the rows' squared lengths.
    """
    blocks = over_blocks(rows, _Surveyor(known, grouped, lengths))
    found = next(blocks)
    for block in blocks:
        found = found.plus(block)
        if grouped and known is None:  # others may lie elsewhere
            check_classes(rows.name, found.labels, NOT_CLASSES, fewest=1)
    return found


@dataclass(frozen=True, eq=False)
class _Surveyor:
    """The arguments of `survey`: a worker is called with them."""

    known: np.ndarray | None
    grouped: bool
    lengths: bool

    def __call__(self, rows: Rows, first: int) -> Iterator[Survey]:
        """Yield what is in each block of some rows."""
        searches = self.grouped and self.known is None
        labels = np.zeros(1) if self.known is None else self.known
        samples = Samples(rows, False, Targets("", LabelKind.NUMBERS))
        for start, block, found in with_distinct_labels(rows, samples.check, searches):
            n, longest = len(block.features), 0.0
            weight = np.ones(n) if block.weight is None else block.weight
            if searches and found.size != labels.size:
                check_classes(rows.name, found, NOT_CLASSES, fewest=1)
            labels = found if searches else labels
            groups = np.zeros(n, dtype=np.intp)
            if self.grouped:
                assert block.labels is not None
                locate = partial(_locate, rows, slice(start, None))
                groups = class_indices(block.labels[:, 0], labels, locate)
            squares: np.ndarray = np.zeros(labels.size)
            if self.lengths:
                of_rows = np.einsum("ij,ij->i", block.features, block.features)
                if not np.isfinite(of_rows.sum()):
                    rows.raise_if_not_finite(start, block.features)
                longest = float(of_rows.max(where=weight > 0.0, initial=0.0))
                squares = np.bincount(groups, weight * of_rows, labels.size)
            yield Survey(labels, np.bincount(groups, weight, labels.size), squares, longest)


def _locate(rows: Rows, some: slice | np.ndarray, i: int) -> tuple[str, int]:
    """Return the source, and the row in it, of one of some rows."""
    return rows.locate(some.start + i if isinstance(some, slice) else int(some[i]))


@dataclass(frozen=True, eq=False)
class Coding:
    """How labels that are classes become those that neurons learn.

    Either one column, their indices, of which a single neuron learns 0 and 1 and softmax all; or a
    column for each class, 1 for its own rows and 0 for the others.

    Attributes
    ----------
    labels : numpy.ndarray of float64, shape (n_classes,)
        The distinct labels, sorted.
    class_weight : numpy.ndarray, shape (n_classes,), or None
        Multiplies the sample weights.
    by_index : bool
        Whether the labels become indices.
    classes : numpy.ndarray of int64, shape (n_labels,), or None
        Which class each of `labels` is: there may be other classes. None if each is its own.
    """

    labels: np.ndarray
    class_weight: np.ndarray | None
    by_index: bool
    classes: np.ndarray | None = None

    @property
    def n_labels(self) -> int:
        """How many columns of labels there are then."""
        return 1 if self.by_index else self.labels.size

    def complete(
        self, inside: Block, block: Block, locate: Callable[[int], tuple[str, int]]
    ) -> None:
        """Code the labels of a block; OUT the labels and weights of `block`."""
        assert inside.labels is not None
        indices = class_indices(inside.labels[:, 0], self.labels, locate)
        if self.classes is not None:
            indices = self.classes[indices]
        if block.labels is not None and self.by_index:
            block.labels[:, 0] = indices
        elif block.labels is not None:
            block.labels[:] = 0.0
            block.labels[np.arange(len(indices)), indices] = 1.0
        if block.weight is None or block.weight is inside.weight:
            return
        block.weight[:] = 1.0 if inside.weight is None else inside.weight
        if self.class_weight is not None:
            np.multiply(block.weight, self.class_weight[indices], out=block.weight)

    def partition(self, name: str, inside: Block) -> Block:
        """Return the rows of a Dask collection's partition, with their labels coded."""
        n = len(inside.features)
        weight = inside.weight if self.class_weight is None else np.empty(n)
        block = Block(inside.features, np.empty((n, self.n_labels)), weight)
        self.complete(inside, block, lambda row: (name, row))
        return block


def other_classes(known: np.ndarray, found: np.ndarray) -> ValueError:
    """Return what to raise for classes that a model cannot continue with."""
    return ValueError(
        f"y: expected the classes {known.tolist()} to continue with, got {found.tolist()}"
    )


def of_known_classes(rows: Rows, known: np.ndarray | None) -> Rows:
    """Return rows with the indices of known classes, of which their own, of text, may lack some."""
    if rows.classes is None or known is None or list(rows.classes) == known.tolist():
        return rows
    own = np.array(rows.classes)
    if not np.isin(own, known).all():
        raise other_classes(known, own)
    values = np.arange(float(own.size))
    found = coded(rows, Coding(values, None, True, np.searchsorted(known, own)))
    found.classes = known.tolist()
    return found


def coded(rows: Rows, coding: Coding) -> Rows:
    """Return rows whose labels, one column of classes, are as neurons learn them."""
    if isinstance(rows, DaskRows):
        weighted = rows.weighted or coding.class_weight is not None
        return RelabelledRows(rows, coding.partition, coding.n_labels, weighted)
    return Coded(rows, coding)


class Coded(Wrapped):
    """Rows whose labels are coded when they are read."""

    def __init__(self, rows: Rows, coding: Coding) -> None:
        super().__init__(rows)
        self._coding, self.classes, self.n_labels = coding, None, coding.n_labels
        self.weighted = rows.weighted or coding.class_weight is not None
        n, most_bytes = self.n_rows, max(WHOLE_BYTES, 8 * self.n_rows * self.n_features)
        if rows.in_memory is not None and 8 * n * self.n_labels <= most_bytes:
            weight = rows.in_memory.weight if coding.class_weight is None else np.empty(n)
            block = Block(rows.in_memory.features, np.empty((n, self.n_labels)), weight)
            self._complete(slice(0, n), rows.in_memory, block)
            self.in_memory = block.map(read_only)

    def _inside(self, block: Block) -> Block:
        n = len(block.features)
        weight = np.empty(n) if self._rows.weighted else None
        return Block(block.features, np.empty((n, 1)), weight)

    def _complete(self, rows: slice | np.ndarray, inside: Block, block: Block) -> None:
        self._coding.complete(inside, block, partial(_locate, self._rows, rows))

    def portion(self, start: int, stop: int) -> Rows:
        return Coded(self._rows.portion(start, stop), self._coding)


def carried(rows: Rows) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the labels and, if there are any, the weights that rows carry."""
    if rows.n_labels == 0:
        raise ValueError(f"y: expected labels, got None; {rows.name} carries none")
    pieces: list[Any] = [block.arrays[1:] for _, block in rows.blocks()]
    labels, weight = (
        None if piece[0] is None else np.concatenate(piece) for piece in zip(*pieces, strict=True)
    )
    assert labels is not None
    if rows.classes is not None:
        labels = np.array(rows.classes)[labels.astype(np.intp)]
    return labels[:, 0] if rows.n_labels == 1 else labels, weight
