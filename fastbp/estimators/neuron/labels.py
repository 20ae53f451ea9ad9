"""Labels as neurons learn them, a class against the others, and what a look at rows tells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastbp.data.arrays import read_only
from fastbp.data.labels import Samples, Targets
from fastbp.data.rows import WHOLE_BYTES, Block, Rows
from fastbp.errors import DataError
from fastbp.models.table_model import MOST_CLASSES


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass over the rows told of them.

    Attributes
    ----------
    labels : numpy.ndarray of float64, shape (n_groups,)
        The different labels, in order; a single 0 where they are numbers to predict.
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
    labels = np.zeros(1) if known is None and not grouped else known
    found = np.empty(0) if labels is None else labels
    sums = np.zeros((2, found.size))
    longest = 0.0
    samples = Samples(rows, False, Targets("mse", rows.n_labels))
    for start, block in rows.blocks():
        samples.check(start, block)
        squares = np.einsum("ij,ij->i", block.features, block.features)
        if not np.isfinite(squares.sum()):
            rows.raise_if_not_finite(start, block.features)
        weight = np.ones(len(squares)) if block.weight is None else block.weight
        longest = max(longest, squares.max(where=weight > 0.0, initial=0.0))
        groups = np.zeros(len(squares), dtype=np.intp)
        if grouped:
            assert block.labels is not None
            values = np.ascontiguousarray(block.labels[:, 0])
            if labels is None and not np.isin(values, found).all():
                more = np.union1d(found, values)
                _refuse_many(rows, more)
                wider = np.zeros((2, more.size))
                wider[:, np.searchsorted(more, found)] = sums
                found, sums = more, wider
            groups = numbers_of(rows, start, values, found)
        sums[0] += np.bincount(groups, weight, found.size)
        sums[1] += np.bincount(groups, weight * squares, found.size)
    return Survey(found, sums[0], sums[1], float(longest))


def _refuse_many(rows: Rows, labels: np.ndarray) -> None:
    whole = bool((labels == np.floor(labels)).all())
    if labels.size > MOST_CLASSES or (labels.size > 2 and not whole):
        shown = ", ".join(f"{label:g}" for label in labels[:5])
        raise ValueError(
            f"{rows.name}: expected the labels of at most {MOST_CLASSES} classes, without"
            f" fractions, got {shown}, ...; a number is for NeuronRegressor to predict"
        )


def numbers_of(
    rows: Rows, which: int | np.ndarray, labels: np.ndarray, classes: np.ndarray
) -> np.ndarray:
    """Return the number of each label's class; `which` are the rows' numbers, or the first one."""
    numbers = np.minimum(np.searchsorted(classes, labels), classes.size - 1)
    unknown = classes[numbers] != labels
    if unknown.any():
        at = int(np.argmax(unknown))
        name, row = rows.place(which + at if isinstance(which, int) else int(which[at]))
        raise DataError(
            f"{name}: expected a label that is one of the classes, got {labels[at]:g} in row {row}",
            row,
        )
    return numbers


class Coded(Rows):
    """Rows whose labels are classes, as a neuron learns them: 1 for its own class, else 0.

    Two classes are one column, 1 for the second; more have a column each.

    Parameters
    ----------
    rows : Rows
        With one column of labels.
    classes : numpy.ndarray of float64, shape (n_classes,)
        The different labels, in order.
    class_weight : numpy.ndarray, shape (n_classes,), optional
        Multiplies the weights of the rows.
    """

    def __init__(self, rows: Rows, classes: np.ndarray, class_weight: np.ndarray | None) -> None:
        self._rows, self._classes, self._class_weight = rows, classes, class_weight
        self.name, self.dtype, self.feature_names = rows.name, rows.dtype, rows.feature_names
        self.n_rows, self.n_features = rows.n_rows, rows.n_features
        self.random_access, self.any_order = rows.random_access, rows.any_order
        self.n_labels = 1 if classes.size == 2 else classes.size
        self.weighted = rows.weighted or class_weight is not None
        label_bytes = 8 * self.n_rows * self.n_labels
        if rows.in_memory is not None and label_bytes <= max(
            WHOLE_BYTES, 8 * self.n_rows * self.n_features
        ):
            self.in_memory = self._whole(rows.in_memory)

    def _whole(self, inside: Block) -> Block:
        """Return all rows: the features where they are."""
        labels = np.empty((self.n_rows, self.n_labels))
        weight = np.empty(self.n_rows) if self._class_weight is not None else inside.weight
        self._code(0, inside, Block(inside.features, labels, weight))
        return Block(
            inside.features, read_only(labels), None if weight is None else read_only(weight)
        )

    def _inside(self, block: Block) -> Block:
        """Return a block for the rows' own numbers, with the features of this one."""
        n = len(block.features)
        weight = np.empty(n) if self._rows.weighted else None
        return Block(block.features, np.empty((n, 1)), weight)

    def _code(self, which: int | np.ndarray, inside: Block, block: Block) -> None:
        """Write labels and weights; `which` are the rows' numbers, or the first one."""
        assert inside.labels is not None
        labels = np.ascontiguousarray(inside.labels[:, 0])
        numbers = numbers_of(self._rows, which, labels, self._classes)
        if block.labels is not None and self.n_labels == 1:
            block.labels[:, 0] = numbers
        elif block.labels is not None:
            block.labels[:] = 0.0
            block.labels[np.arange(len(numbers)), numbers] = 1.0
        if block.weight is None or block.weight is inside.weight:
            return
        if self._class_weight is None:
            block.weight[:] = inside.weight
        else:
            own = 1.0 if inside.weight is None else inside.weight
            block.weight[:] = self._class_weight[numbers] * own

    def fill(self, start: int, stop: int, block: Block) -> None:
        inside = self._inside(block)
        self._rows.fill(start, stop, inside)
        self._code(start, inside, block)

    def take(self, indices: np.ndarray, block: Block) -> None:
        inside = self._inside(block)
        self._rows.take(indices, inside)
        self._code(indices, inside, block)

    def digest(self) -> str:
        return self._rows.digest()

    def place(self, row: int) -> tuple[str, int]:
        return self._rows.place(row)

    def close(self) -> None:
        self._rows.close()


def codes_of(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the number of each label's class, as float64."""
    codes = np.minimum(np.searchsorted(classes, y), classes.size - 1)
    unknown = classes[codes] != y
    if unknown.any():
        row = int(np.argmax(unknown))
        raise ValueError(
            f"y: expected labels of the classes {classes.tolist()}, got {y[row]} in row {row}"
        )
    return codes.astype(np.float64)


def carried(rows: Rows) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the labels and, if there are any, the weights that rows carry."""
    if rows.n_labels == 0:
        raise ValueError(f"y: expected labels, got None; {rows.name} carries none")
    labels = np.empty((rows.n_rows, rows.n_labels))
    weight = np.empty(rows.n_rows) if rows.weighted else None
    for start, block in rows.blocks():
        stop = start + len(block.features)
        labels[start:stop] = block.labels
        if weight is not None:
            weight[start:stop] = block.weight
    return labels[:, 0] if rows.n_labels == 1 else labels, weight
