"""How good a fit is on rows that it has not seen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial, reduce

import numpy as np

from fastbp.command.data import Parts
from fastbp.data.rows import Rows
from fastbp.models.fits import Fit
from fastbp.models.table_model import class_indices_of, outputs_of
from fastbp.training.cluster.portions import over_blocks

MOST_RECALLS = 10
"""More classes than these have no recall of their own in the report."""


def held_out_figures(fit: Fit, parts: Parts) -> list[tuple[str, str, str]]:
    """Return names, figures and remarks, of rows by their weights if they have any."""
    rows = parts.held_out
    assert rows is not None
    kind = _Numbers(parts.target_scale, rows) if parts.classes is None else _Classes(parts.classes)
    sums = reduce(np.add, over_blocks(rows, partial(_of_blocks, fit, kind)))  # in their order
    return kind.figures(sums, "on the held-out rows" + (", weighted" if rows.weighted else ""))


def _of_blocks(fit: Fit, kind: _Numbers | _Classes, rows: Rows, first: int) -> Iterator[np.ndarray]:
    """Yield the sums of each block of some rows."""
    for start, block in rows.blocks():
        assert block.labels is not None
        rows.raise_if_not_finite(start, block.features)
        weight = np.ones(len(block.labels)) if block.weight is None else block.weight
        yield kind.sums(outputs_of(fit, block.features), block.labels[:, 0], weight)


class _Classes:
    """Accuracy, and the share of rows of each class that are found."""

    def __init__(self, classes: list[object]) -> None:
        self._classes = classes

    def sums(self, outputs: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return the weights of hits (first row), and of all rows, for each class."""
        indices, n = labels.astype(np.int64), len(self._classes)
        hit = weight * (class_indices_of(outputs) == indices)
        return np.stack([np.bincount(indices, hit, n), np.bincount(indices, weight, n)])

    def figures(self, sums: np.ndarray, where: str) -> list[tuple[str, str, str]]:
        """Return them, with what a constant answer would reach."""
        hits_of, all_of = sums
        total = all_of.sum()
        if total == 0.0:
            return []
        often = int(all_of.argmax())
        base = f"{all_of[often] / total:.2%} are {self._classes[often]}"
        found = [("accuracy", f"{hits_of.sum() / total:.2%}", f"{where}, of which {base}")]
        if len(self._classes) <= MOST_RECALLS:
            for name, hits, n in zip(self._classes, hits_of, all_of, strict=True):
                share = f"{hits / n:.2%}" if n else "-"
                found.append((f"recall of {name}", share, f"{_count(hits)} of {_count(n)}"))
        return found


def _count(rows: float) -> str:
    """Return how many rows, or the sum of their weights."""
    return f"{rows:,.0f}" if rows.is_integer() else f"{rows:.6g}"


class _Numbers:
    """The root mean square error, in the target's units, and the share of variance explained."""

    def __init__(self, scale: float, rows: Rows) -> None:
        labels = rows.block(0, 1).labels
        assert labels is not None
        self._scale, self._origin = scale, labels[0, 0]

    def sums(self, outputs: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return sums of weights, and of errors**2, labels and labels**2 by weight."""
        shifted, ones = labels - self._origin, np.ones(len(labels))
        terms = ones, (outputs - labels) ** 2, shifted, shifted**2
        return np.array([weight @ term for term in terms])

    def figures(self, sums: np.ndarray, where: str) -> list[tuple[str, str, str]]:
        """Return them."""
        total, errors, first, second = sums.tolist()
        if total == 0.0:
            return []
        error = math.sqrt(errors / total) * self._scale
        found = [("root mean square error", f"{error:.6g}", where)]
        if (variation := second - first**2 / total) > 0.0:
            found.append(
                ("R2", f"{1.0 - errors / variation:.4f}", "0 is what the mean would reach")
            )
        return found
