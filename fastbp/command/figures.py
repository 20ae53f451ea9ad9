"""How good a fit is on rows that it has not seen."""

from __future__ import annotations

import math

import numpy as np

from fastbp.command.data import Parts
from fastbp.models.fits import Fit
from fastbp.models.table_model import class_indices_of, outputs_of

MOST_RECALLS = 10
"""More classes than these have no recall of their own in the report."""


def held_out_figures(fit: Fit, parts: Parts) -> list[tuple[str, str, str]]:
    """Return names, figures and remarks, of rows by their weights if they have any."""
    rows = parts.held_out
    assert rows is not None
    sums = _Numbers(parts) if parts.classes is None else _Classes(parts.classes)
    for start, block in rows.blocks():
        assert block.labels is not None
        rows.raise_if_not_finite(start, block.features)
        weight = np.ones(len(block.labels)) if block.weight is None else block.weight
        sums.add(outputs_of(fit, block.features), block.labels[:, 0], weight)
    return sums.figures("on the held-out rows" + (", weighted" if rows.weighted else ""))


class _Classes:
    """Accuracy, and the share of rows of each class that are found."""

    def __init__(self, classes: list[object]) -> None:
        self._classes = classes
        self._hits, self._all = np.zeros(len(classes)), np.zeros(len(classes))

    def add(self, outputs: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> None:
        """Add rows."""
        indices, n = labels.astype(np.int64), len(self._classes)
        hit = weight * (class_indices_of(outputs) == indices)
        self._hits += np.bincount(indices, hit, n)
        self._all += np.bincount(indices, weight, n)

    def figures(self, where: str) -> list[tuple[str, str, str]]:
        """Return them, with what a constant answer would reach."""
        total = self._all.sum()
        if total == 0.0:
            return []
        often = int(self._all.argmax())
        base = f"{self._all[often] / total:.2%} are {self._classes[often]}"
        found = [("accuracy", f"{self._hits.sum() / total:.2%}", f"{where}, of which {base}")]
        if len(self._classes) <= MOST_RECALLS:
            for name, hits, n in zip(self._classes, self._hits, self._all, strict=True):
                share = f"{hits / n:.2%}" if n else "-"
                found.append((f"recall of {name}", share, f"{_count(hits)} of {_count(n)}"))
        return found


def _count(rows: float) -> str:
    """Return how many rows, or the sum of their weights."""
    return f"{rows:,.0f}" if rows.is_integer() else f"{rows:.6g}"


class _Numbers:
    """The root mean square error, in the target's units, and the share of variance explained."""

    def __init__(self, parts: Parts) -> None:
        self._scale = parts.target_scale
        self._origin: float | None = None
        self._sums = np.zeros(4)  # of weights, and of errors**2, labels and labels**2 by weight

    def add(self, outputs: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> None:
        """Add rows."""
        if self._origin is None:
            self._origin = labels[0]
        shifted, ones = labels - self._origin, np.ones(len(labels))
        terms = ones, (outputs - labels) ** 2, shifted, shifted**2
        self._sums += [weight @ term for term in terms]

    def figures(self, where: str) -> list[tuple[str, str, str]]:
        """Return them."""
        total, errors, first, second = self._sums.tolist()
        if total == 0.0:
            return []
        error = math.sqrt(errors / total) * self._scale
        found = [("root mean square error", f"{error:.6g}", where)]
        if (variation := second - first**2 / total) > 0.0:
            found.append(
                ("R2", f"{1.0 - errors / variation:.4f}", "0 is what the mean would reach")
            )
        return found
