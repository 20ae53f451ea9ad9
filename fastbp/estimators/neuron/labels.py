"""Labels as neurons learn them, and a first pass over all rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastbp.data.arrays import read_only
from fastbp.data.classes import check_classes, class_indices, with_distinct_labels
from fastbp.data.labels import LabelKind, Samples, Targets
from fastbp.data.rows import WHOLE_BYTES, Block, Rows, Wrapped

NOT_CLASSES = "a number is for NeuronRegressor to predict"


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass over the rows finds.

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
    searches = grouped and known is None
    labels = np.zeros(0 if grouped else 1) if known is None else known
    sums = np.zeros((2, labels.size))
    longest = 0.0
    samples = Samples(rows, False, Targets("", LabelKind.NUMBERS))
    for start, block, found in with_distinct_labels(rows, samples.check, searches):
        n = len(block.features)
        weight = np.ones(n) if block.weight is None else block.weight
        if searches and found.size > labels.size:
            check_classes(rows.name, found, NOT_CLASSES, fewest=1)
            wider = np.zeros((2, found.size))
            wider[:, np.searchsorted(found, labels)] = sums
            labels, sums = found, wider
        groups = np.zeros(n, dtype=np.intp)
        if grouped:
            assert block.labels is not None
            locate = partial(_locate, rows, slice(start, None))
            groups = class_indices(block.labels[:, 0], labels, locate)
        sums[0] += np.bincount(groups, weight, labels.size)
        if lengths:
            squares = np.einsum("ij,ij->i", block.features, block.features)
            if not np.isfinite(squares.sum()):
                rows.raise_if_not_finite(start, block.features)
            longest = max(longest, squares.max(where=weight > 0.0, initial=0.0))
            sums[1] += np.bincount(groups, weight * squares, labels.size)
    return Survey(labels, sums[0], sums[1], float(longest))


def _locate(rows: Rows, some: slice | np.ndarray, i: int) -> tuple[str, int]:
    """Return the source, and the row in it, of one of some rows."""
    return rows.locate(some.start + i if isinstance(some, slice) else int(some[i]))


class Coded(Wrapped):
    """Rows whose labels are classes, as neurons learn them.

    Either in one column, their indices, of which a single neuron learns 0 and 1 and softmax all; or
    in a column for each class, 1 for its own rows and 0 for the others.

    Parameters
    ----------
    rows : Rows
        With one column of labels.
    labels : numpy.ndarray of float64, shape (n_classes,)
        The distinct labels, sorted.
    class_weight : numpy.ndarray, shape (n_classes,), optional
        Multiplies the sample weights.
    indices : bool
        Whether the labels become indices.
    """

    def __init__(
        self, rows: Rows, labels: np.ndarray, class_weight: np.ndarray | None, indices: bool
    ) -> None:
        super().__init__(rows)
        self._labels, self._class_weight = labels, class_weight
        self.classes = None
        self.n_labels = 1 if indices else labels.size
        self.weighted = rows.weighted or class_weight is not None
        n, most_bytes = self.n_rows, max(WHOLE_BYTES, 8 * self.n_rows * self.n_features)
        if rows.in_memory is not None and 8 * n * self.n_labels <= most_bytes:
            weight = rows.in_memory.weight if class_weight is None else np.empty(n)
            block = Block(rows.in_memory.features, np.empty((n, self.n_labels)), weight)
            self._complete(slice(0, n), rows.in_memory, block)
            self.in_memory = block.map(read_only)

    def _inside(self, block: Block) -> Block:
        n = len(block.features)
        weight = np.empty(n) if self._rows.weighted else None
        return Block(block.features, np.empty((n, 1)), weight)

    def _complete(self, rows: slice | np.ndarray, inside: Block, block: Block) -> None:
        assert inside.labels is not None
        locate = partial(_locate, self._rows, rows)
        indices = class_indices(inside.labels[:, 0], self._labels, locate)
        if block.labels is not None and self.n_labels == 1:
            block.labels[:, 0] = indices
        elif block.labels is not None:
            block.labels[:] = 0.0
            block.labels[np.arange(len(indices)), indices] = 1.0
        if block.weight is None or block.weight is inside.weight:
            return
        block.weight[:] = 1.0 if inside.weight is None else inside.weight
        if self._class_weight is not None:
            np.multiply(block.weight, self._class_weight[indices], out=block.weight)


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
