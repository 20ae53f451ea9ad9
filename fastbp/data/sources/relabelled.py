"""What is made of each partition of a Dask collection: classes of labels, and other labels."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Self

import numpy as np

from fastbp.data.classes import MOST_CLASSES, class_indices
from fastbp.data.rows import Block
from fastbp.data.sources.dask_rows import DaskRows
from fastbp.data.sources.pieces import Pieces

ReadLabels = Callable[[str, Any], np.ndarray]


class RelabelledRows(DaskRows):
    """Rows whose labels and weights a function changes in each partition, where it lies.

    Parameters
    ----------
    rows : DaskRows
    function : callable
        Takes what messages call a partition, and its rows; returns them with what they have now. It
        must be one that can be sent to a worker.
    n_labels : int
    weighted : bool
    """

    def __init__(
        self, rows: DaskRows, function: Callable[[str, Block], Block], n_labels: int, weighted: bool
    ) -> None:
        import dask

        vars(self).update(vars(rows), n_labels=n_labels, weighted=weighted)
        self._lock, self._held = threading.Lock(), OrderedDict()
        starts, make = rows.starts, dask.delayed(function)
        parts = [
            make(rows.locate(start)[0], part)
            for (start, _), part in zip(pairwise(starts), rows.parts, strict=True)
        ]
        self.partitioning = rows.partitioning._replace(parts=parts)

    def joined(
        self, labels: Pieces | np.ndarray | None, weight: Pieces | np.ndarray | None
    ) -> Self:
        """Return these rows, which have all that they need."""
        assert labels is weight is None
        return self


def class_labels(name: str, value: Any, read: ReadLabels) -> Pieces:
    """Return labels of any kind, of one column, as `read` makes an array (n,) of a partition.

    It is also given what messages call the partition.
    """
    pieces = Pieces(name, value, numbers=False)
    if pieces.columns not in (None, 1):
        raise ValueError(f"{name}: expected one column, the classes, got {pieces.columns}")
    return pieces.each(read)


def distinct_labels(labels: Pieces) -> np.ndarray:
    """Return the distinct labels in order, computed where Dask computes.

    If there are more than `MOST_CLASSES`, only the first `MOST_CLASSES` + 1.
    """
    import dask

    found = [each for each in dask.compute(*labels.each(_distinct).pieces) if each.size]
    return np.unique(np.concatenate(found))[: MOST_CLASSES + 1] if found else np.empty(0)


def indices_of_labels(labels: Pieces, classes: np.ndarray) -> Pieces:
    """Return the index of each label among the sorted classes, as float64."""
    return labels.each(_indices, classes)


# --- what tasks call -----------------------------------------------------------------------------


def _distinct(name: str, labels: np.ndarray) -> np.ndarray:
    return np.unique(labels)[: MOST_CLASSES + 1]


def _indices(name: str, labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    if not labels.size:
        return np.empty(0)
    return class_indices(labels, classes, lambda row: (name, row)).astype(np.float64)
