"""What the command trains on: a source of any kind, prepared and split, in memory or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastbp.command.scaling import Moments, Prepared, check_labels, first_pass
from fastbp.data.arrays import ArrayRows, Labelled, Loaded, loaded_if_small
from fastbp.data.classes import listed
from fastbp.data.rows import Rows
from fastbp.data.sources.formats import has_names
from fastbp.data.sources.opening import open_rows
from fastbp.data.split import Subset
from fastbp.datasets import make_neuron_dataset
from fastbp.errors import DataError

BUILT_IN_ROWS, BUILT_IN_FEATURES, BUILT_IN_NOISE = 1_000_000, 20, 1.0


@dataclass(frozen=True, eq=False)
class Source:
    """Rows with one label each, and what their columns are called.

    Attributes
    ----------
    classes : list of labels, or None
        The text or booleans that class indices stand for; None if the labels are numbers.
    """

    rows: Rows
    names: list[str]
    target: str
    positional: bool = False
    classes: list[Any] | None = None


def built_in(seed: int) -> Source:
    """Make the built-in rows."""
    features, labels, _, _ = make_neuron_dataset(
        BUILT_IN_ROWS, BUILT_IN_FEATURES, noise=BUILT_IN_NOISE, seed=seed
    )
    names = [f"x{j}" for j in range(BUILT_IN_FEATURES)]
    rows = Labelled(ArrayRows(features, "the built-in rows"), labels[:, None], None)
    return Source(rows, names, "y", classes=[0, 1])


def open_source(path: Path, target: str) -> Source:
    """Open a file or folder; if it is small, read and check all of it."""
    named = has_names(path)
    opened = open_rows(path, target=target if named else _index(target, path))
    if opened.n_labels != 1:
        got = opened.n_labels
        raise ValueError(f"{path}: expected one column {target!r} to predict, got {got}")
    rows, names = loaded_if_small(opened), opened.feature_names
    if names is None:
        index = int(target) % (rows.n_features + 1)
        names = [str(j) for j in range(rows.n_features + 1) if j != index]
        target = str(index)
    if rows.in_memory is not None:
        rows.raise_if_not_finite(0, rows.in_memory.features)
        check_labels(rows, target, 0, rows.in_memory)
    return Source(rows, names, target, not named, opened.classes)


def _index(column: str, path: Path) -> int:
    try:
        return int(column)
    except ValueError:
        raise ValueError(f"{path}: expected the number of a column, got {column!r}") from None


def refuse_text(source: Source, option: str | None) -> None:
    """Refuse text as labels if an option asks for numbers; name the first that is not one."""
    labels = source.classes or []
    if option is None or not any(isinstance(label, str) for label in labels):
        return
    wrong = [i for i, label in enumerate(labels) if not _is_number(label)] or range(len(labels))
    for start, block in source.rows.blocks():
        assert block.labels is not None
        found = np.flatnonzero(np.isin(block.labels[:, 0], wrong))
        if found.size:
            name, row = source.rows.locate(start + int(found[0]))
            got = labels[int(block.labels[found[0], 0])]
            raise DataError(
                f"{name}: column {source.target!r}: expected a number, got {got!r} in row {row}"
                f" (for classes leave out {option})",
                row,
            )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, eq=False)
class Parts:
    """Rows of a source to train on and to test on, and how they were prepared."""

    source: Source
    training: Rows
    held_out: Rows | None
    means: np.ndarray
    scales: np.ndarray
    classes: list[Any] | None


def prepare(source: Source, held_out: float, standardize: bool, classes: bool) -> Parts:
    """Split the rows, scale features by those to train on, and turn classes into indices."""
    rows, codes = source.rows, None
    labels = source.classes if classes else None
    n = rows.n_rows
    n_held_out = min(n - 1, max(1, round(held_out * n))) if held_out else 0
    unseen = Subset(rows, n_held_out, True) if n_held_out else None
    moments = Moments(rows.n_features)
    # Which numbers occur is not known yet, nor whether both booleans do.
    searches = classes and (labels is None or isinstance(labels[0], bool))
    if searches or standardize:
        target = source.target if searches else None
        found = first_pass(rows, unseen, moments if standardize else None, target)
        if searches:
            labels = listed(found if labels is None else found.astype(bool))
            codes = None if np.array_equal(found, np.arange(found.size)) else found
    prepared: Rows = rows
    # Rows in memory, too, so that a checkpoint's fingerprint has one form for every source.
    if standardize or codes is not None or rows.in_memory is not None:
        scaling = (moments.means, moments.scales) if standardize else None
        prepared = Prepared(rows, scaling, codes)
    training, rest = prepared, None
    if n_held_out:
        training = Subset(prepared, n_held_out, False)
        rest = _in_place(Subset(prepared, n_held_out, True), rows)
    return Parts(source, _in_place(training, rows), rest, moments.means, moments.scales, labels)


def _in_place(rows: Rows, source: Rows) -> Rows:
    """Return rows in memory if they are small, or come from memory."""
    return Loaded(rows) if source.in_memory and not rows.in_memory else loaded_if_small(rows)
