"""What the command trains on: a source of any kind, prepared and split, in memory or not."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fastbp.command.inputs import Input, on_disk
from fastbp.command.scaling import Balanced, Scaled, check_block, first_pass
from fastbp.command.settings import Settings
from fastbp.data.arrays import ArrayRows, Labelled, Loaded, are_small, loaded_if_small
from fastbp.data.classes import plain_labels
from fastbp.data.moments import ColumnMoments
from fastbp.data.rows import Rows
from fastbp.data.sources.columns import LEAVE_OUT
from fastbp.data.sources.formats import has_names
from fastbp.data.sources.opening import open_rows
from fastbp.data.split import Subset
from fastbp.datasets import make_neuron_dataset
from fastbp.errors import DataError

BUILT_IN_ROWS, BUILT_IN_FEATURES, BUILT_IN_NOISE = 1_000_000, 20, 1.0
MOST_LEFT_OUT = 20
"""Columns that a message proposes to leave out."""


@dataclass(frozen=True)
class Table:
    """A file or several, and what the options say of it: its columns by name, or by index.

    Attributes
    ----------
    cluster : distributed.Client or None
        That of the cluster whose workers read it.
    target : str or None
        None only without names: then the last column.
    layout : dict
        The arguments of `open_rows` for text.
    """

    file: Input
    cluster: Any = None
    target: str | None = None
    columns: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    weights: str | None = None
    layout: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """What messages call it."""
        return self.file.path

    @property
    def named(self) -> bool:
        """Whether its columns have names."""
        return has_names(self.file.source, self.layout.get("header", True))

    def open(self) -> tuple[Rows, str]:
        """Open it; return its rows, whose features have names, and the name of the target."""
        if self.named:
            by_name = {"columns": self.columns or None, "exclude": self.exclude}
            return self._rows(self.target, self.weights, **by_name), str(self.target)
        width = open_rows(self.file.source, **self.layout).n_features

        def index(option: str, column: str) -> int:
            try:
                found = int(column)
            except ValueError:
                expected = f"{option}: expected the number of a column of {self.path}"
                raise ValueError(f"{expected}, got {column!r}") from None
            return found % width if -width <= found < width else found  # for open_rows to refuse

        target = index("target", self.target or "-1")
        exclude = [index("exclude", column) for column in self.exclude]
        weight = None if self.weights is None else index("weights", self.weights)
        columns = [index("columns", column) for column in self.columns]
        if not columns:
            columns = [j for j in range(width) if j not in (target, weight)]
        columns = [j for j in columns if j not in exclude]
        rows = self._rows(target, weight, columns=columns, exclude=exclude)
        rows.feature_names = [str(j) for j in columns]
        return rows, str(target)

    def _rows(self, target: Any, weight: Any, **columns: Any) -> Rows:
        cluster = {"cluster": self.cluster}
        rows = open_rows(
            self.file.source, target=target, weight=weight, **columns, **self.layout, **cluster
        )
        if self.file.several or self.cluster is not None:
            rows.name = str(self.path)  # instead of the names of files, or of an absolute path
        return rows

    def expected_target(self) -> str:
        """Return what to say where no target is given: the names of the columns."""
        nowhere = "\0"
        try:
            open_rows(self.file.source, target=nowhere, **self.layout)
        except DataError:  # of a damaged file
            raise
        except ValueError as error:
            return str(error).removeprefix("target: ").replace(repr(nowhere), "none")
        raise AssertionError


@contextmanager
def opened_table(file: Input | None, *options: Any) -> Iterator[Table | None]:
    """Give the table of an input; add to errors about its features how to do without them."""
    if file is None:
        yield None
        return
    with on_disk(file) as readable:
        table = Table(readable, *options)
        try:
            yield table
        except DataError as error:
            names = _at_fault(table, error)
            if not names:
                raise
            without = " ".join(f"--exclude {shlex.quote(name)}" for name in names)
            python = "or make numbers of it with scikit-learn, see the README"
            got = str(error).removesuffix(LEAVE_OUT)
            raise DataError(f"{got}; leave out with {without}, {python}") from None


def _at_fault(table: Table, error: DataError) -> list[str]:
    """Return the columns of features that cannot be used: of small files all of them."""
    found: list[str] = []
    while len(found) < MOST_LEFT_OUT:
        name = str(error.column)
        if error.column is None or name in (table.target, table.weights, *found):
            break
        found.append(name)
        try:
            open_source(replace(table, exclude=(*table.exclude, *found)))
            break
        except DataError as another:
            error = another
    return found


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


def open_source(table: Table) -> Source:
    """Open a table; if it is small, and ours to read, read and check all of it."""
    opened, target = table.open()
    if opened.n_labels != 1:
        got = opened.n_labels
        raise ValueError(f"{table.path}: expected one column {target!r} to predict, got {got}")
    rows = loaded_if_small(opened)
    assert rows.feature_names is not None
    if rows.in_memory is not None:
        rows.raise_if_not_finite(0, rows.in_memory.features)
        check_block(rows, target, 0, rows.in_memory)
    return Source(rows, rows.feature_names, target, not table.named, opened.classes)


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
    """Rows of a source to train on and to test on, and how they were prepared.

    Attributes
    ----------
    means, scales : numpy.ndarray, shape (n_features,)
    target_mean, target_scale : float
        Labels that are numbers were taken as (label - mean) / scale.
    classes : list of labels, or None
        None for a number.
    """

    source: Source
    training: Rows
    held_out: Rows | None
    means: np.ndarray
    scales: np.ndarray
    target_mean: float
    target_scale: float
    classes: list[Any] | None

    def rows_trained_on(self, settings: Settings) -> int:
        """Return how many rows are left besides those for validation, as the fit rounds it."""
        n = self.training.n_rows
        return n - int((settings.validation or 0.0) * n)


def prepare(source: Source, held_out: float, settings: Settings) -> Parts:
    """Split the rows, scale them by those to train on, and turn classes into indices."""
    rows, codes = source.rows, None
    labels = source.classes if settings.predicts_classes else None
    n = rows.n_rows
    n_held_out = min(n - 1, max(1, round(held_out * n))) if held_out else 0
    kept = Subset(rows, n_held_out, False) if n_held_out else None
    features, target = ColumnMoments(rows.n_features), ColumnMoments(1)
    # Which numbers occur is not known yet, nor whether both booleans do.
    searches = settings.predicts_classes and (labels is None or isinstance(labels[0], bool))
    numbers = settings.scales_target
    if searches or numbers or settings.standardize or rows.weighted:
        moments = (features if settings.standardize else None, target if numbers else None)
        found = first_pass(rows, source.target, kept, *moments, searches)
        features.refuse_too_large(rows.name, source.names)
        target.refuse_too_large(rows.name, [source.target])
        if searches:
            labels = plain_labels(found if labels is None else found.astype(bool))
            codes = None if np.array_equal(found, np.arange(found.size)) else found
    scaling = (features.means, features.scales) if settings.standardize else None
    target_scaling = (target.means, target.scales) if numbers else None
    prepared: Rows = rows
    # Small rows, too: a checkpoint then has the same digests from every kind of source.
    small = rows.in_memory is not None or are_small(rows)
    if settings.standardize or numbers or codes is not None or small:
        prepared = Scaled(rows, scaling, target_scaling, codes)
    training, rest = prepared, None
    if n_held_out:
        training = Subset(prepared, n_held_out, False)
        rest = _in_place(Subset(prepared, n_held_out, True), rows)
    if settings.class_weight and labels is not None:
        training = Balanced(training, len(labels))
    scales = features.means, features.scales, float(target.means[0]), float(target.scales[0])
    return Parts(source, _in_place(training, rows), rest, *scales, labels)


def _in_place(rows: Rows, source: Rows) -> Rows:
    """Return rows in memory if they are small, or come from memory."""
    return Loaded(rows) if source.in_memory and not rows.in_memory else loaded_if_small(rows)
