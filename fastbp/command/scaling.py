"""Features scaled to mean 0, standard deviation 1, and labels as class indices, when read."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastbp.data import checks
from fastbp.data.classes import united, with_distinct_labels
from fastbp.data.moments import BlockMoments, ColumnMoments, moments_of
from fastbp.data.rows import COPY_READ, Block, Rows, Wrapped, combined
from fastbp.data.split import Selection, Subset
from fastbp.errors import DataError
from fastbp.system.progress import rows_bar
from fastbp.training.cluster.portions import over_blocks


def first_pass(
    rows: Rows,
    target: str,
    kept: Subset | None,
    of_features: ColumnMoments | None,
    of_target: ColumnMoments | None,
    collect: bool,
) -> np.ndarray:
    """Go through all rows once; return the distinct labels, if they are to be collected.

    ACC `of_features` and `of_target`, of the rows that are `kept` for training; None are all.
    """
    with contextlib.suppress(DataError):  # the pass names the first such row
        first = (rows if kept is None else kept).block(0, 1)
        for moments, row in ((of_features, first.features), (of_target, first.labels)):
            if moments is not None and row is not None:
                moments.origin = row[0]
    selection = None if kept is None else kept.selection
    of_blocks = _FirstPass(
        target,
        selection,
        None if of_features is None else of_features.origin,
        None if of_target is None else of_target.origin,
        collect,
    )
    labels = np.empty(0)
    with rows_bar(rows.n_rows, "checking the rows") as bar:
        for found in over_blocks(rows, of_blocks):
            labels = united(labels, found.labels)
            for moments, more in ((of_features, found.features), (of_target, found.target)):
                if moments is not None:
                    moments.add(more)
            bar.update(found.n_rows)
    return labels


class _Found(NamedTuple):
    """What the first pass finds in a block; `labels` are those since its pass began."""

    n_rows: int
    labels: np.ndarray
    features: BlockMoments | None
    target: BlockMoments | None


@dataclass(frozen=True, eq=False)
class _FirstPass:
    """What the first pass looks for; where there is no origin, no moments are."""

    target: str
    selection: Selection | None
    origin: np.ndarray | None
    target_origin: np.ndarray | None
    collect: bool

    def __call__(self, rows: Rows, first: int) -> Iterator[_Found]:
        """Yield what is in each block of some rows, `first` of which is the first."""

        def check(start: int, block: Block) -> None:
            check_block(rows, self.target, start, block)

        for start, block, labels in with_distinct_labels(rows, check, self.collect):
            x, y = block.features, block.labels
            assert y is not None
            kept: Any = slice(None)
            if self.selection is not None:
                kept = self.selection.kept(first + start, first + start + len(x))
            of_features = of_target = None
            if self.origin is not None:
                rows.raise_if_not_finite(start, x)
                of_features = moments_of(x[kept], self.origin)
            if self.target_origin is not None:
                of_target = moments_of(y[kept], self.target_origin)
            yield _Found(len(x), labels, of_features, of_target)


def check_block(rows: Rows, target: str, start: int, block: Block) -> None:
    """Raise the DataError of the first label or weight that cannot be used, if there is one."""
    assert block.labels is not None
    row = checks.first_bad_row(block.labels)
    if row is not None:
        name, index = rows.locate(start + row)
        got = f"expected a number, got {block.labels[row, 0]} in row {index}"
        raise DataError(f"{name}: column {target!r}: {got}", index)
    if block.weight is not None:
        wrong = ~(np.isfinite(block.weight) & (block.weight >= 0.0))
        if wrong.any():
            row = int(np.argmax(wrong))
            name, index = rows.locate(start + row)
            got = f"expected a finite number, not negative, got {block.weight[row]} in row {index}"
            raise DataError(f"{name}: --weights: {got}", index)


class Scaled(Wrapped):
    """Rows with features and labels as (x - mean) / scale, or labels as indices of `classes`."""

    def __init__(
        self,
        rows: Rows,
        scaling: tuple[np.ndarray, np.ndarray] | None,
        target_scaling: tuple[np.ndarray, np.ndarray] | None,
        classes: np.ndarray | None,
    ) -> None:
        super().__init__(rows)
        self.copy_pays_from = min(COPY_READ, rows.copy_pays_from)
        self._scalings, self._classes = (scaling, target_scaling), classes

    def _complete(self, rows: slice | np.ndarray, inside: Block, block: Block) -> None:
        for array, scaling in zip((block.features, block.labels), self._scalings, strict=True):
            if array is not None and scaling is not None:
                means, scales = scaling
                np.subtract(array, means, out=array)
                np.divide(array, scales, out=array)
        if self._classes is not None and block.labels is not None:
            block.labels[:] = np.searchsorted(self._classes, block.labels)

    def digest(self) -> str:
        """Return a digest of the rows, their labels, and what is done to them."""
        done = hashlib.sha256()
        for array in (*(a for s in self._scalings for a in s or (None,)), self._classes):
            done.update(b"none" if array is None else array.tobytes())
        return combined([*self._rows.digests().values(), done.hexdigest()])

    def digests(self) -> dict[str, str]:
        """Return the one digest of all."""
        return {"features": self.digest()}


class Balanced(Wrapped):
    """Rows whose labels are class indices, weighted so that all classes weigh the same.

    A row of class c gets W / (K W_c), times its own weight if it has one, where W are the sums of
    the weights of all rows and of those of the class: as in scikit-learn without weights.
    """

    def __init__(self, rows: Rows, n_classes: int) -> None:
        super().__init__(rows)
        self.weighted = True
        sums = np.zeros(n_classes)
        for of_block in over_blocks(rows, partial(_sums_of_weights, n_classes)):
            sums += of_block
        self._weights = np.zeros(n_classes)
        np.divide(sums.sum() / n_classes, sums, out=self._weights, where=sums > 0.0)

    def _inside(self, block: Block) -> Block:
        return block if self._rows.weighted else replace(block, weight=None)

    def _complete(self, rows: slice | np.ndarray, inside: Block, block: Block) -> None:
        if block.weight is None:
            return
        assert block.labels is not None
        if inside.weight is None:
            block.weight[:] = 1.0
        of_classes = self._weights[block.labels[:, 0].astype(np.int64)]
        np.multiply(block.weight, of_classes, out=block.weight)

    def digest(self) -> str:
        return combined([*self._rows.digests().values(), "balanced"])

    def digests(self) -> dict[str, str]:
        return {"features": self.digest()}


def _sums_of_weights(n_classes: int, rows: Rows, first: int) -> Iterator[np.ndarray]:
    for _, block in rows.blocks():
        assert block.labels is not None
        yield np.bincount(block.labels[:, 0].astype(np.int64), block.weight, n_classes)
