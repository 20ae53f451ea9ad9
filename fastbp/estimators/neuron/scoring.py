"""Scores of rows in Dask collections, or that lie on a cluster.

There its workers predict, and only sums come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import ClassifierMixin

from fastbp.arguments import FLOAT64
from fastbp.data.arrays import rows_of
from fastbp.data.classes import lookup
from fastbp.data.labels import LabelKind, Samples, Targets
from fastbp.data.rows import Rows
from fastbp.data.sources.pieces import Pieces, is_collection
from fastbp.data.sources.relabelled import class_labels
from fastbp.estimators.neuron.lazy import Predictor
from fastbp.estimators.neuron.rows import arithmetic_of, check_columns, column_of_labels, labelled
from fastbp.training.cluster.portions import over_blocks

NO_CLASS = -1.0  # the index of a label that no row of the fit had


def score_of(estimator: Any, outputs: Any, y: Any, sample_weight: Any) -> float:
    """Return the score of what is predicted already, as scikit-learn's `score` does."""
    from sklearn import metrics  # takes long, and scikit-learn itself imports it late

    classifies = isinstance(estimator, ClassifierMixin)
    measure = metrics.accuracy_score if classifies else metrics.r2_score
    return float(measure(y, outputs, sample_weight=sample_weight))


def scored_rows(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Rows | None:
    """Return rows with labels to score on a cluster; None if there is none, or y is not on it.

    The labels of a classifier are indices of its classes if y is Dask's.
    """
    rows = rows_of("X", X) if is_collection(X) else X
    if not isinstance(rows, Rows) or rows.cluster is None:
        return None
    if y is not None and not (rows.partitioned and is_collection(y)):
        return None
    check_columns(estimator, rows, reset=False)
    if y is None and rows.n_labels == 0:
        raise ValueError(f"y: expected labels, got None; {rows.name} carries none")
    if y is not None and rows.n_labels > 0:
        raise ValueError(f"y: expected None with rows that carry labels ({rows.name})")
    labels = None
    if y is not None and isinstance(estimator, ClassifierMixin):
        labels = class_labels("y", y, column_of_labels).each(_known, estimator.classes_)
    elif y is not None:
        labels = Pieces("y", y)
    return labelled(rows, labels, sample_weight, FLOAT64)


def _known(name: str, labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the index of each label among the sorted classes, or `NO_CLASS`."""
    if not labels.size:
        return np.empty(0)
    indices, unknown = lookup(labels, classes)
    return np.where(unknown, NO_CLASS, indices)


def score_on_cluster(estimator: Any, rows: Rows, by_index: bool) -> float:
    """Return the accuracy of a classifier, or the coefficient of determination of a regressor.

    The labels of rows for a classifier may be indices: of its own classes if `by_index` says so, or
    of those that the rows have.
    """
    predict = Predictor(estimator, "predict", arithmetic_of(rows))
    if isinstance(estimator, ClassifierMixin):
        classes = estimator.classes_ if by_index else rows.classes
        hits = _Hits(predict, None if classes is None else np.array(classes))
        right, total = reduce(np.add, over_blocks(rows, hits))
        return float(right / total)
    found = reduce(Agreement.plus, over_blocks(rows, _Residuals(predict)))
    return found.determination()


def _checked_blocks(rows: Rows) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
    """Yield features, labels and weights of each block of rows, checked."""
    samples = Samples(rows, False, Targets("", LabelKind.NUMBERS))
    for start, block in rows.blocks():
        samples.check(start, block)
        rows.raise_if_not_finite(start, block.features)
        assert block.labels is not None
        weight = np.ones(len(block.features)) if block.weight is None else block.weight
        yield block.features, block.labels, weight


@dataclass(frozen=True, eq=False)
class _Hits:
    """Sums up the weights of rows whose class is predicted, and of all; `classes` are by index."""

    predict: Callable[[np.ndarray], np.ndarray]
    classes: np.ndarray | None

    def __call__(self, rows: Rows, first: int) -> Iterator[np.ndarray]:
        for features, labels, weight in _checked_blocks(rows):
            expected = labels[:, 0]
            hit = expected != NO_CLASS if self.classes is not None else np.True_
            if self.classes is not None:
                expected = self.classes[expected.astype(np.intp)]
            hit = hit & (self.predict(features) == expected)
            yield np.array([weight[hit].sum(), weight.sum()])


class Agreement(NamedTuple):
    """How well outputs agree with numbers, of some rows.

    Attributes
    ----------
    weight : float
    mean, squares, residuals : numpy.ndarray of float64, shape (K,)
        The mean of the numbers, and weighted sums of squares around it and around the outputs.
    """

    weight: float
    mean: np.ndarray
    squares: np.ndarray
    residuals: np.ndarray

    def plus(self, other: Agreement) -> Agreement:
        """Return that of these rows and others together (Chan, Golub and LeVeque, 1983)."""
        weight = self.weight + other.weight
        share = other.weight / weight if weight > 0.0 else 0.0
        apart = other.mean - self.mean
        squares = self.squares + other.squares + apart**2 * self.weight * share
        mean = self.mean + apart * share
        return Agreement(weight, mean, squares, self.residuals + other.residuals)

    def determination(self) -> float:
        """Return the mean over the outputs of scikit-learn's coefficient of determination."""
        constant = self.squares == 0.0
        ratio = self.residuals / np.where(constant, 1.0, self.squares)
        exact = np.where(self.residuals == 0.0, 1.0, 0.0)
        return float(np.where(constant, exact, 1.0 - ratio).mean())


@dataclass(frozen=True, eq=False)
class _Residuals:
    predict: Callable[[np.ndarray], np.ndarray]

    def __call__(self, rows: Rows, first: int) -> Iterator[Agreement]:
        for features, labels, weight in _checked_blocks(rows):
            total = float(weight.sum())
            mean = weight @ labels / (total or 1.0)
            outputs = self.predict(features).reshape(labels.shape)
            squares = weight @ (labels - mean) ** 2
            yield Agreement(total, mean, squares, weight @ (labels - outputs) ** 2)
