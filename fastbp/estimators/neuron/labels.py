"""Labels as neurons learn them, a class against the others; and one pass over rows beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
        The distinct labels, in order; a single 0 where they are numbers to predict.
    weights, squares : numpy.ndarray of float64, shape (n_groups,)
        Sums over the rows of each label: of the weights, and of weight times squared length.
    longest : float
        The greatest squared length of a row that counts.
    """

    labels: np.ndarray
    weights: np.ndarray
    squares: np.ndarray
    longest: float


def survey(rows: Rows, known: np.ndarray | None, grouped: bool) -> Survey:
    """Go through all rows once.

    Parameters
    ----------
    rows : Rows
        With labels.
    known : numpy.ndarray, optional
        The labels there are; None finds them.
    grouped : bool
        Whether the labels are classes. Otherwise all rows are one group.
    """
    searches = grouped and known is None
    labels = np.zeros(0 if grouped else 1) if known is None else known
    sums = np.zeros((2, labels.size))
    longest = 0.0
    samples = Samples(rows, False, Targets("", LabelKind.NUMBERS))
    for start, block, found in with_distinct_labels(rows, samples.check, searches):
        squares = np.einsum("ij,ij->i", block.features, block.features)
        if not np.isfinite(squares.sum()):
            rows.raise_if_not_finite(start, block.features)
        weight = np.ones(len(squares)) if block.weight is None else block.weight
        longest = max(longest, squares.max(where=weight > 0.0, initial=0.0))
        if searches and found.size > labels.size:
            check_classes(rows.name, found, NOT_CLASSES, fewest=1)
            wider = np.zeros((2, found.size))
            wider[:, np.searchsorted(found, labels)] = sums
            labels, sums = found, wider
        groups = np.zeros(len(squares), dtype=np.intp)
        if grouped:
            assert block.labels is not None
            groups = class_indices(block.labels[:, 0], labels, rows.locate, start)
        sums[0] += np.bincount(groups, weight, labels.size)
        sums[1] += np.bincount(groups, weight * squares, labels.size)
    return Survey(labels, sums[0], sums[1], float(longest))


class Coded(Wrapped):
    """Rows whose labels are classes, as a neuron learns them: 1 for its own class, else 0.

    Two classes are one column, 1 for the second; more have a column each.

    Parameters
    ----------
    rows : Rows
        With one column of labels.
    labels : numpy.ndarray of float64, shape (n_classes,)
        The distinct labels, in order.
    class_weight : numpy.ndarray, shape (n_classes,), optional
        Multiplies the weights of the rows.
    """

    def __init__(self, rows: Rows, labels: np.ndarray, class_weight: np.ndarray | None) -> None:
        super().__init__(rows)
        self._labels, self._class_weight = labels, class_weight
        self.classes = None
        self.n_labels = 1 if labels.size == 2 else labels.size
        self.weighted = rows.weighted or class_weight is not None
        label_bytes = 8 * self.n_rows * self.n_labels
        if rows.in_memory is not None and label_bytes <= max(
            WHOLE_BYTES, 8 * self.n_rows * self.n_features
        ):
            self.in_memory = self._whole(rows.in_memory)

    def _whole(self, inside: Block) -> Block:
        """Return all rows: the features where they are."""
        weight = np.empty(self.n_rows) if self._class_weight is not None else inside.weight
        block = Block(inside.features, np.empty((self.n_rows, self.n_labels)), weight)
        self._code(0, inside, block)
        return block.map(read_only)

    def _inside(self, block: Block) -> Block:
        """Return a block for the rows' own labels and weights, with the features of this one."""
        n = len(block.features)
        weight = np.empty(n) if self._rows.weighted else None
        return Block(block.features, np.empty((n, 1)), weight)

    def _code(self, rows: int | np.ndarray, inside: Block, block: Block) -> None:
        """Write labels and weights; `rows` are the rows' indices, or the first one."""
        assert inside.labels is not None
        labels = inside.labels[:, 0]
        indices = class_indices(labels, self._labels, self._rows.locate, rows)
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

    def fill(self, start: int, stop: int, block: Block) -> None:
        inside = self._inside(block)
        self._rows.fill(start, stop, inside)
        self._code(start, inside, block)

    def take(self, indices: np.ndarray, block: Block) -> None:
        inside = self._inside(block)
        self._rows.take(indices, inside)
        self._code(indices, inside, block)


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
