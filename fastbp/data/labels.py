"""Labels and weights: given as arrays, or carried by the rows; checked either way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.data import checks
from fastbp.data.arrays import Labelled, rows_of
from fastbp.data.rows import Block, Rows
from fastbp.errors import DataError


class LabelKind(Enum):
    """Which labels a loss is defined for."""

    NUMBERS = auto()
    PROBABILITIES = auto()  # from 0 to 1
    DISTRIBUTIONS = auto()  # rows that are not negative and sum to 1, or class indices


@dataclass(frozen=True)
class Targets:
    """What a model's labels must be.

    Attributes
    ----------
    loss : str
    n_outputs : int
    vector : bool
        Whether they are one number a row, of shape (N,): those of a neuron.
    """

    loss: str
    n_outputs: int = 1
    vector: bool = False

    def array(self, name: str, value: Any, n_rows: int) -> tuple[np.ndarray, bool]:
        """Return checked labels (N, K), and whether they are the numbers of classes."""
        if not self.vector:
            return checks.network_labels(name, value, n_rows, self.n_outputs, self.loss)
        labels = checks.vector(name, value, n_rows, "one a row of features")
        checks.labels_for_loss(name, labels, self.loss)
        return labels[:, None], False

    def are_classes(self, rows: Rows) -> bool:
        """Return whether the labels that rows carry are numbers of classes."""
        classes = self.loss == "cross_entropy" and rows.n_labels == 1 and self.n_outputs > 1
        if rows.n_labels != self.n_outputs and not classes:
            raise ValueError(
                f"{rows.name}: expected {self.n_outputs} target columns (one an output), got"
                f" {rows.n_labels}"
            )
        return classes

    def check_block(self, labels: np.ndarray, classes: bool) -> None:
        """Raise the DataError of the first label that the loss is not defined for."""
        _check_finite("target", labels)
        if classes:
            checks.class_numbers("target", labels[:, 0], self.n_outputs)
        else:
            checks.labels_for_loss("target", labels, self.loss)


def _check_finite(name: str, array: np.ndarray) -> None:
    row = checks.first_bad_row(array)
    if row is not None:
        value = np.ravel(array[row])[~np.isfinite(np.ravel(array[row]))][0]
        raise DataError(f"{name}: expected finite numbers, got {value} in row {row}", row)


@dataclass(frozen=True, eq=False)
class Samples:
    """Rows with their labels and, if there are any, weights.

    Attributes
    ----------
    rows : Rows
    classes : bool
        Whether the labels are numbers of classes.
    targets : Targets or None
        What is still to be checked of each block that is read.
    """

    rows: Rows
    classes: bool
    targets: Targets | None

    def check(self, start: int, block: Block) -> None:
        """Raise what is wrong with the labels or weights of a block that was just read."""
        if self.targets is None:
            return
        try:
            if block.labels is not None:
                labels = np.ascontiguousarray(block.labels)  # to reach each of them once only
                self.targets.check_block(labels, self.classes)
            if block.weight is not None:
                _check_finite("weight", block.weight)
                checks.sample_weights("weight", block.weight, len(block.weight))
        except DataError as error:
            name, number = self.rows.place(start + (error.row or 0))
            text = str(error).removesuffix(f"row {error.row}")
            raise DataError(f"{name}: {text}row {number}", number) from None

    def check_all(self, between: Callable[[], None] = lambda: None) -> None:
        """Raise what is wrong with the first bad row: its labels, weight or features.

        It may take long: `between` is called between blocks.
        """
        for start, block in self.rows.blocks():
            between()
            self.check(start, block)
            self.rows.raise_if_not_finite(start, block.features)


def samples(
    features: Rows, labels: Any, sample_weight: Any, targets: Targets, names: tuple[str, str, str]
) -> Samples:
    """Return features with the labels and weights of the arguments, or those that they carry.

    `names` are what messages call the three arguments.
    """
    features_name, labels_name, weight_name = names
    if labels is None and features.n_labels == 0:
        raise TypeError(
            f"{labels_name}: expected labels, got None; only rows that carry their own, as of"
            " open_rows(..., target=...), need none"
        )
    if labels is not None and features.n_labels > 0:
        raise ValueError(f"{labels_name}: expected None with {features_name} that carry labels")
    if sample_weight is not None and features.weighted:
        raise ValueError(f"{weight_name}: expected None with {features_name} that carry weights")
    array = weight = None
    if labels is None:
        classes = targets.are_classes(features)
    else:
        array, classes = targets.array(labels_name, labels, features.n_rows)
    if sample_weight is not None:
        weight = checks.sample_weights(weight_name, sample_weight, features.n_rows)
    rows = features
    if array is not None or weight is not None:
        rows = Labelled(features, array, weight)
    unchecked = features.n_labels > 0 or features.weighted
    found = Samples(rows, classes, targets if unchecked else None)
    if rows.in_memory is not None and unchecked:
        found.check(0, rows.in_memory)
        return Samples(rows, classes, None)
    return found


def check_weights(name: str, rows: Rows, batch_rows: int) -> None:
    """Refuse weights in memory that sum to nothing over a batch; others are seen as they come."""
    weight = rows.weight_array
    if weight is not None:
        checks.batches_have_weight(name, weight, batch_rows)


def validation_samples(value: Any, n_features: int, targets: Targets) -> Samples:
    """Return the rows of ``validation=(features, labels)`` or ``(features, labels, weight)``."""
    if isinstance(value, Rows):
        value = (value, None)
    if not isinstance(value, tuple | list) or len(value) not in (2, 3):
        raise TypeError(
            "validation: expected (features, labels), (features, labels, weights), rows with"
            f" labels, or a fraction, got {arguments.describe(value)}"
        )
    names = "validation[0]", "validation[1]", "validation[2]"
    features = rows_of(names[0], value[0])
    if features.n_features != n_features:
        raise ValueError(f"{names[0]}: expected {n_features} columns, got {features.n_features}")
    return samples(features, value[1], value[2] if len(value) == 3 else None, targets, names)
