"""What perceptrons learn: classes or numbers, their labels for the kernels, their scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from sklearn.metrics import r2_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.multiclass import unique_labels

from fastbp.data.labels import LabelKind, check_labels
from fastbp.estimators.names import OUTPUTS
from fastbp.models.losses import LOSSES


class Targets(ABC):
    """What an estimator's targets are, and what its outputs say of them."""

    many = False
    """Whether there are more than two classes, of which each row has one."""

    @property
    @abstractmethod
    def out_activation(self) -> str:
        """The output's activation."""

    @abstractmethod
    def labels(self, y: Any) -> np.ndarray:
        """Return targets as the kernels take them, (N, K), or (N, 1) class indices."""

    @abstractmethod
    def given_labels(self, y: Any, n_rows: int, n_outputs: int) -> np.ndarray:
        """Return the labels of given validation data, checked."""

    @abstractmethod
    def score(self, outputs: np.ndarray, labels: np.ndarray, weight: Any) -> float:
        """Return the score of outputs (N, K) on such labels."""

    def n_outputs(self, labels: np.ndarray) -> int:
        """Return how many outputs it takes to learn labels."""
        return int(labels.shape[1])

    def strata(self, labels: np.ndarray) -> np.ndarray | None:
        """Return the classes to stratify held-out rows by, if any."""
        return None

    def weighted(self, y: Any, sample_weight: Any, incremental: bool) -> Any:
        """Return sample weights, multiplied with those of their classes."""
        return sample_weight


class Numbers(Targets):
    """Numbers to predict.

    Parameters
    ----------
    loss : str
    """

    def __init__(self, loss: str) -> None:
        self._loss = loss

    @property
    def out_activation(self) -> str:
        return OUTPUTS.get(self._loss, "identity")

    def labels(self, y: Any, name: str = "y") -> np.ndarray:
        if np.asarray(y).dtype.kind in "US":
            raise TypeError("y: expected numbers, got text")
        y = np.asarray(y, dtype=np.float64)
        labels = np.ascontiguousarray(y[:, None] if y.ndim == 1 else y)
        if self._loss == "poisson" and (labels < 0.0).any():
            raise ValueError(
                f"{name}: expected no negative numbers with loss='poisson', got {labels.min()}"
            )
        takes = LOSSES[self._loss].labels if self._loss in LOSSES else LabelKind.NUMBERS
        check_labels(name, labels, takes, self._loss)
        return labels

    def given_labels(self, y: Any, n_rows: int, n_outputs: int) -> np.ndarray:
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y_val")
        labels = self.labels(y, "y_val")
        if labels.shape != (n_rows, n_outputs):
            raise ValueError(
                f"y_val: expected {n_rows} rows of {n_outputs} numbers, got shape {np.shape(y)}"
            )
        return labels

    def score(self, outputs: np.ndarray, labels: np.ndarray, weight: Any) -> float:
        """Return R**2."""
        if not np.isfinite(outputs).all():
            return float("nan")
        with np.errstate(over="ignore"):  # just before it diverges
            return float(r2_score(labels, outputs, sample_weight=weight))


class Classes(Targets):
    """Two classes, more of them, or several labels per row (multilabel).

    Parameters
    ----------
    binarizer : LabelBinarizer
        Fitted: it knows the classes.
    loss : str
    class_weight : dict, list of dict, "balanced" or None
    """

    def __init__(self, binarizer: LabelBinarizer, loss: str, class_weight: Any = None) -> None:
        self._binarizer, self._loss, self._class_weight = binarizer, loss, class_weight
        self.known: np.ndarray = binarizer.classes_
        self.several = str(binarizer.y_type_).startswith("multilabel")
        """Whether rows have several labels each."""
        self.many = binarizer.y_type_ == "multiclass"

    @property
    def out_activation(self) -> str:
        soft = OUTPUTS.get(self._loss) == "softmax"
        if soft and not self.many:
            raise ValueError(
                "loss: expected 'log_loss' or 'bce' with two classes or several labels, got"
                f" {self._loss!r}, which is for more than two classes"
            )
        return "softmax" if soft or (self.many and self._loss == "log_loss") else "logistic"

    def include(self, y: np.ndarray) -> bool:
        """Return whether all are known classes; False, too, if only scikit-learn can tell."""
        if y.ndim != 1 or self.several or not y.dtype.kind == self.known.dtype.kind == "i":
            return False
        # Its releases 1.6 and 1.7 warn of more than half as many classes as there are rows.
        if 20 < len(y) < 2 * len(self.known):
            return False
        indices = self.known.searchsorted(y)
        return bool((self.known.take(indices, mode="clip") == y).all())

    def labels(self, y: Any) -> np.ndarray:
        if self.several:
            return np.ascontiguousarray(self._binarizer.transform(y), dtype=np.float64)
        if np.ndim(y) != 1:
            raise ValueError("The object was not fitted with multilabel input.")
        indices: np.ndarray = self.known.searchsorted(y).astype(np.float64)[:, None]
        if self.many and self.out_activation == "logistic":
            return np.asarray(indices == np.arange(len(self.known)), dtype=np.float64)
        return indices

    def given_labels(self, y: Any, n_rows: int, n_outputs: int) -> np.ndarray:
        y = check_array(
            y, accept_sparse="csr", ensure_2d=self.several, dtype=None, input_name="y_val"
        )
        unknown: Any = ()
        if not self.several:
            y = column_or_1d(y, warn=True)
            unknown = np.setdiff1d(unique_labels(y), self.known)
        elif y.shape[1] != n_outputs:
            raise ValueError(f"y_val: expected {n_outputs} columns, got {y.shape[1]}")
        if len(unknown):
            raise ValueError(f"y_val: expected classes of {self.known}, got {unknown} as well")
        labels = self.labels(y)
        if len(labels) != n_rows:
            raise ValueError(f"y_val: expected {n_rows} rows, as X_val has, got {len(labels)}")
        return labels

    def n_outputs(self, labels: np.ndarray) -> int:
        return len(self.known) if self.many else int(labels.shape[1])

    def strata(self, labels: np.ndarray) -> np.ndarray | None:
        return labels.astype(bool) if self.n_outputs(labels) == 1 else None

    def weighted(self, y: Any, sample_weight: Any, incremental: bool) -> Any:
        if self._class_weight is None:
            return sample_weight
        if incremental and self._class_weight == "balanced":
            raise ValueError(
                "class_weight: 'balanced' is for fit, which sees all classes; for partial_fit"
                " expected a dict, such as sklearn.utils.class_weight.compute_class_weight gives"
            )
        if self.several:
            weight = compute_sample_weight(self._class_weight, y)
        else:  # there need not be rows of every class
            of_classes = compute_class_weight(self._class_weight, classes=self.known, y=y)
            weight = of_classes[np.searchsorted(self.known, y)]
        return weight if sample_weight is None else weight * sample_weight

    def score(self, outputs: np.ndarray, labels: np.ndarray, weight: Any) -> float:
        """Return the accuracy."""
        if self.many and labels.shape[1] > 1:
            labels = labels.argmax(axis=1)[:, None]
        right = self._indices(outputs).reshape(labels.shape) == labels
        return float(np.average(right.all(axis=1), weights=weight))

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """Return the class, or the labels, of each row."""
        if self.several:
            labels: np.ndarray = self._binarizer.inverse_transform(outputs)
            return labels
        return self.known.take(self._indices(outputs))

    def _indices(self, outputs: np.ndarray) -> np.ndarray:
        """Return the index of each row's class, or its labels (N, K)."""
        if self.many:
            return np.asarray(outputs.argmax(axis=1))
        labels = outputs > 0.5
        return labels if self.several else np.minimum(labels[:, 0], len(self.known) - 1)
