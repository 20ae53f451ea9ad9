"""Checks of labels and sample weights, whether arrays or carried by the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.arguments import FLOAT64
from fastbp.data import checks
from fastbp.data.arrays import Labelled, loaded_if_small, rows_of
from fastbp.data.rows import Block, Rows
from fastbp.data.sources.dask_rows import DaskRows
from fastbp.data.sources.pieces import Pieces, in_memory, is_collection
from fastbp.errors import DataError

HINT = "numpy.unique(labels, return_inverse=True) gives class indices"


class LabelKind(Enum):
    """Which labels a loss is defined for."""

    NUMBERS = auto()
    PROBABILITIES = auto()  # from 0 to 1
    DISTRIBUTIONS = auto()  # rows that are not negative and sum to 1, or class indices


@dataclass
class Targets:
    """What a model's labels must be.

    Attributes
    ----------
    loss : str
        What messages call the loss.
    takes : LabelKind
    n_outputs : int
    vector : bool
        Whether labels are one number per row, of shape (N,), as for a neuron.
    dtype : numpy.dtype
        That of the arithmetic, in which labels, weights and features must be finite.
    """

    loss: str
    takes: LabelKind
    n_outputs: int = 1
    vector: bool = False
    dtype: np.dtype[Any] = FLOAT64

    def array(self, name: str, value: Any, n_rows: int) -> tuple[np.ndarray, bool]:
        """Return checked labels as C-contiguous float64, and whether they are class indices.

        Class indices have the shape (n_rows, 1), others (n_rows, n_outputs).
        """
        if self.vector:
            of = "one per row of features"
            array = checks.vector(name, value, n_rows, of, dtype=self.dtype)[:, None]
            check_labels(name, array, self.takes, self.loss)
            return array, False
        by_class = self.takes is LabelKind.DISTRIBUTIONS
        try:
            array = checks.number_array(name, value)
        except TypeError as error:
            if not by_class:
                raise
            raise TypeError(f"{error}; {HINT}") from None
        single = array.shape == (n_rows, 1) and self.n_outputs > 1
        class_indices = by_class and (single or array.shape == (n_rows,))
        if class_indices or (array.ndim == 1 and self.n_outputs == 1):
            array = array.reshape(-1, 1)
        if not class_indices and array.shape != (n_rows, self.n_outputs):
            raise ValueError(
                f"{name}: expected shape ({n_rows}, {self.n_outputs}), one row per row of features,"
                f" one column per output, got {array.shape}"
            )
        array = np.ascontiguousarray(array, dtype=np.float64)
        self.check(name, array, class_indices)
        return array, class_indices

    def pieces(self, name: str, value: Any) -> tuple[Pieces, bool]:
        """Return labels in a Dask collection, and whether they are class indices.

        They are checked a block at a time, as they are read.
        """
        by_class = self.takes is LabelKind.DISTRIBUTIONS
        try:
            labels = Pieces(name, value)
        except TypeError as error:
            raise TypeError(f"{error}; {HINT}" if by_class else f"{error}") from None
        columns, single = labels.columns, labels.columns in (None, 1)
        class_indices = by_class and (columns is None or (single and self.n_outputs > 1))
        if not (class_indices or columns == self.n_outputs or (single and self.n_outputs == 1)):
            got = "one dimension" if columns is None else f"{columns}"
            expected = f"expected one column per output, that is {self.n_outputs}"
            raise ValueError(f"{name}: {expected}, got {got}")
        return labels, class_indices

    def are_class_indices(self, rows: Rows) -> bool:
        """Return whether the labels that rows carry are class indices."""
        single = rows.n_labels == 1 and self.n_outputs > 1
        indices = single and self.takes is LabelKind.DISTRIBUTIONS
        if rows.n_labels != self.n_outputs and not indices:
            raise ValueError(
                f"{rows.name}: expected {self.n_outputs} target columns (one per output), got"
                f" {rows.n_labels}"
            )
        return indices

    def check(self, name: str, labels: np.ndarray, class_indices: bool) -> None:
        """Raise a DataError for the first row of labels that the loss is not defined for."""
        if class_indices:
            inside = (labels >= 0) & (labels < self.n_outputs)
            expected = f"class indices from 0 to {self.n_outputs - 1}"
            checks.refuse_rows(name, labels, ~(inside & (labels == np.floor(labels))), expected)
        else:
            checks.finite_rows(name, labels, self.dtype)
            check_labels(name, labels, self.takes, self.loss)


def check_labels(name: str, labels: np.ndarray, takes: LabelKind, loss: str) -> None:
    """Refuse labels (N, K) that a loss is not defined for."""
    if takes is LabelKind.PROBABILITIES:
        wrong = (labels < 0.0) | (labels > 1.0)
        checks.refuse_rows(name, labels, wrong, f"values from 0 to 1 for {loss!r}")
    if takes is LabelKind.DISTRIBUTIONS:
        wrong = (labels < 0.0).any(axis=1) | (abs(labels.sum(axis=1) - 1.0) > 1e-6)
        expected = f"rows that are not negative and sum to 1 for {loss!r}, or class indices"
        checks.refuse_rows(name, labels, wrong, expected)


@dataclass(eq=False)
class Samples:
    """Rows with their labels and, if there are any, weights.

    Attributes
    ----------
    rows : Rows
    class_indices : bool
        Whether the labels are class indices.
    targets : Targets or None
        What to check in each block that is read; None if all is checked already.
    names : tuple of str
        What messages call labels and weights.
    placed : dict
        On a cluster, where the rows lie in groups of a size: see ``training/cluster/placement.py``.
    """

    rows: Rows
    class_indices: bool
    targets: Targets | None
    names: tuple[str, str] = ("target", "weight")
    placed: dict[int, Any] = field(default_factory=dict, init=False)  # not for other rows

    def checked_in_memory(self) -> Samples:
        """Return these samples, checked now if they are in memory."""
        if self.targets is None or self.rows.in_memory is None:
            return self
        self.check(0, self.rows.in_memory)
        return replace(self, targets=None)

    def check(self, start: int, block: Block) -> None:
        """Raise an error if the labels or weights of a block that was just read are invalid."""
        if self.targets is None:
            return
        try:
            if block.labels is not None:
                # Wide rows go through the cache once.
                labels = np.ascontiguousarray(block.labels, dtype=np.float64)
                self.targets.check(self.names[0], labels, self.class_indices)
            if block.weight is not None:
                n, dtype = len(block.weight), self.targets.dtype
                checks.sample_weights(self.names[1], block.weight, n, dtype)
        except DataError as error:
            name, index = self.rows.locate(start + (error.row or 0))
            text, _, column = str(error).rpartition(f"row {error.row}")
            raise DataError(f"{name}: {text}row {index}{column}", index) from None

    def check_all(
        self, dtype: np.dtype[Any] = FLOAT64, between: Callable[[], None] = lambda: None
    ) -> None:
        """Raise a DataError for the first row with a bad label, weight or feature.

        All rows are read: `between` is called between blocks. Features must be finite in `dtype`.
        """
        for start, block in self.rows.blocks():
            between()
            self.check(start, block)
            self.rows.raise_if_not_finite(start, block.features, dtype)


def samples(
    features: Rows, labels: Any, sample_weight: Any, targets: Targets, names: tuple[str, str, str]
) -> Samples:
    """Return features with the labels and weights given, or their own; `names` are for messages."""
    features_name, labels_name, weight_name = names
    if labels is None and features.n_labels == 0:
        raise TypeError(
            f"{labels_name}: expected labels, got None; only rows that carry labels, such as"
            " those of open_rows(..., target=...), need none"
        )
    if labels is not None and features.n_labels > 0:
        raise ValueError(f"{labels_name}: expected None with {features_name} that carry labels")
    if sample_weight is not None and features.weighted:
        raise ValueError(
            f"{weight_name}: expected None with {features_name} that carry sample weights"
        )
    if features.partitioned:
        assert isinstance(features, DaskRows)
        data = joined(features, labels, sample_weight, targets, names)
        return replace(data, rows=loaded_if_small(data.rows)).checked_in_memory()
    if type(labels) is not np.ndarray:
        labels = in_memory(labels)
    if sample_weight is not None:
        sample_weight = in_memory(sample_weight)
    array = weight = None
    if labels is None:
        class_indices = targets.are_class_indices(features)
    else:
        array, class_indices = targets.array(labels_name, labels, features.n_rows)
    if sample_weight is not None:
        n, dtype = features.n_rows, targets.dtype
        weight = checks.sample_weights(weight_name, sample_weight, n, dtype)
    given = array is not None or weight is not None
    rows = Labelled(features, array, weight) if given else features
    if features.cluster is not None:  # whose workers check their own parts
        named = labels_name if array is not None else "target"
        named_weight = weight_name if weight is not None else "weight"
        return Samples(rows, class_indices, targets, (named, named_weight))
    if features.n_labels == 0 and not features.weighted:  # what was given is checked
        return Samples(rows, class_indices, None)
    return Samples(rows, class_indices, targets).checked_in_memory()


def joined(
    features: DaskRows,
    labels: Any,
    sample_weight: Any,
    targets: Targets,
    names: tuple[str, str, str],
) -> Samples:
    """Return Dask's rows with the labels and weights given, or their own, where they lie.

    What is given may be Dask's or of any other kind. Labels and weights of Dask's are checked as
    they are read.
    """
    _, labels_name, weight_name = names
    own: Any = None
    weight: Any = None
    if labels is None:
        labels_name, class_indices = "target", targets.are_class_indices(features)
    elif is_collection(labels):
        own, class_indices = targets.pieces(labels_name, labels)
    else:
        own, class_indices = targets.array(labels_name, labels, features.n_rows)
    if sample_weight is None:
        weight_name = "weight"
    elif is_collection(sample_weight):
        weight = weight_pieces(weight_name, sample_weight)
    else:
        n, dtype = features.n_rows, targets.dtype
        weight = checks.sample_weights(weight_name, sample_weight, n, dtype)
    rows = features.joined(own, weight)
    return Samples(rows, class_indices, targets, (labels_name, weight_name))


def weight_pieces(name: str, value: Any) -> Pieces:
    """Return weights in a Dask collection, which are checked as they are read."""
    weight = Pieces(name, value)
    if weight.columns not in (None, 1):
        raise ValueError(f"{name}: expected 1 column, got {weight.columns}")
    return weight


def check_weights(name: str, rows: Rows) -> None:
    """Refuse rows of which none has a weight above zero; read as many as it takes to know."""
    if not rows.weighted or rows.cluster is not None:  # whose workers look for themselves
        return
    weight = rows.weight_array
    weights = (b.weight for _, b in rows.blocks()) if weight is None else [weight]
    if not any(array is not None and array.any() for array in weights):
        raise ValueError(f"{name}: expected rows with a weight above 0, got zeros only")


def validation_samples(value: Any, training: Rows, targets: Targets) -> Samples:
    """Return the rows of ``validation=(features, labels)`` or ``(features, labels, weight)``.

    They must have the columns of the rows to train on.
    """
    if isinstance(value, Rows):
        value = (value, None)
    if not isinstance(value, tuple | list) or len(value) not in (2, 3):
        raise TypeError(
            "validation: expected (features, labels), (features, labels, weights), rows with"
            f" labels, or a fraction, got {arguments.describe(value)}"
        )
    names = "validation[0]", "validation[1]", "validation[2]"
    given, labels, weight = (*value, None)[:3]
    features = rows_of(names[0], given, targets.dtype)
    if features.n_features != training.n_features:
        expected = f"expected {training.n_features} columns"
        raise ValueError(f"{names[0]}: {expected}, got {features.n_features}")
    checks.same_names(names[0], features.feature_names, training.feature_names)
    return samples(features, labels, weight, targets, names)
