"""What the command trains on: a source of any kind, prepared and split, in memory or not."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastbp.command.scaling import Moments, Prepared, survey
from fastbp.data.arrays import ArrayRows, Labelled, Loaded, loaded_if_small
from fastbp.data.rows import Rows
from fastbp.data.sources.formats import KINDS
from fastbp.data.sources.opening import open_rows
from fastbp.data.split import Subset
from fastbp.datasets import make_neuron_dataset
from fastbp.errors import DataError
from fastbp.models.table_model import READERS, Table, TableModel, coded, listed, read_table

TABLE_BYTES = 2**26
"""Files of at most this size are read as tables, which may hold text; others as rows of numbers."""
BUILT_IN_ROWS, BUILT_IN_FEATURES, BUILT_IN_NOISE = 1_000_000, 20, 1.0


@dataclass(eq=False)
class Source:
    """Rows with one label each, and what their columns are called.

    Attributes
    ----------
    classes : list of labels, or None
        Which of them the numbers of the labels stand for; None if they are not yet known, or if
        the labels are numbers to predict.
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


def open_source(path: Path, target: str, classes: bool) -> Source:
    """Open a file or folder; with `classes` a table's labels are the numbers of its classes."""
    if _is_table(path):
        return _from_table(read_table(path), target, classes)
    if not path.is_dir() and path.suffix.lower() not in KINDS:
        path.stat()  # a missing one is an OSError
        raise ValueError(f"{path}: expected a folder, or a file that ends in {', '.join(KINDS)}")
    positional = has_no_names(path)
    rows = loaded_if_small(open_rows(path, target=_number(target, path) if positional else target))
    if rows.n_labels != 1:
        raise ValueError(f"{path}: expected one column {target!r} to predict, got {rows.n_labels}")
    if not positional:
        assert rows.feature_names is not None
        return Source(rows, rows.feature_names, target)
    place = int(target) % (rows.n_features + 1)
    names = [str(j) for j in range(rows.n_features + 1) if j != place]
    return Source(rows, names, str(place), positional=True)


def _is_table(path: Path) -> bool:
    """Return whether a file is small enough to be read whole, text and all."""
    suffix = path.suffix.lower()
    if suffix not in READERS or not path.is_file():
        return False
    size = path.stat().st_size
    if size <= TABLE_BYTES and suffix == ".npz" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    elif size <= TABLE_BYTES and suffix in (".parquet", ".pq"):
        size = _parquet_bytes(path)
    return size <= TABLE_BYTES


def _parquet_bytes(path: Path) -> int:
    """Return what the numbers of a Parquet file take as float64; 0 if it is damaged."""
    import pyarrow
    from pyarrow import parquet

    try:
        meta = parquet.read_metadata(path)
    except (pyarrow.ArrowException, OSError):
        return 0  # whoever reads it says what is wrong
    return int(8 * meta.num_rows * meta.num_columns)


def has_no_names(path: Path) -> bool:
    """Return whether the columns have numbers only: a ``.npy`` file, or a folder of them."""
    if not path.is_dir():
        return path.suffix.lower() == ".npy"
    files = [p for p in path.iterdir() if not p.name.startswith(".") and p.is_file()]
    kinds = {p.suffix.lower() for p in files} & set(KINDS)
    return kinds == {".npy"}


def _number(column: str, path: Path) -> int:
    try:
        return int(column)
    except ValueError:
        raise ValueError(f"{path}: expected the number of a column, got {column!r}") from None


def _from_table(table: Table, target: str, classes: bool) -> Source:
    if table.positional and target.startswith("-") and target[1:].isdigit():
        n = len(table.columns)  # -1 is the last one
        target = str(n + int(target)) if int(target) >= -n else target
    column = table.column(target)
    names = [name for name in table.columns if name != target]
    if not names:
        raise ValueError(f"{table.source}: expected at least one column beside {target!r}")
    features = table.features(names)
    found = None
    if classes:
        labels, found = coded(column, target, table.source)
    else:
        labels = table.features([target])[:, 0]
    rows = Labelled(ArrayRows(features, table.source), labels[:, None], None)
    return Source(rows, names, target, table.positional, found)


@contextmanager
def text_explained(target: str | None, file: Path | None, option: str | None) -> Iterator[None]:
    """Say why text in the target is refused: the file is large, or an option wants numbers."""
    try:
        yield
    except DataError as error:
        if file is None or f"column {target!r}: expected" not in str(error):
            raise
        if file.is_file() and file.stat().st_size <= TABLE_BYTES:
            if option is None or not re.search("got ['\"]", str(error)):
                raise
            raise DataError(f"{error} (for classes leave out {option})") from None
        size = f"{TABLE_BYTES // 2**20} MiB"
        raise DataError(f"{error} (text makes classes only in files of up to {size})") from None


@dataclass(frozen=True, eq=False)
class Parts:
    """Rows to train on and rows to test on, and how they were prepared."""

    training: Rows
    held_out: Rows | None
    means: np.ndarray
    scales: np.ndarray
    classes: list[Any] | None


def prepare(source: Source, held_out: float, standardize: bool, classes: bool) -> Parts:
    """Split the rows; scale features by what the rows to train on are; number classes."""
    rows, labels, codes = source.rows, source.classes, None
    n = rows.n_rows
    n_held_out = min(n - 1, max(1, round(held_out * n))) if held_out else 0
    unseen = Subset(rows, n_held_out, True) if n_held_out else None
    moments = Moments(rows.n_features)
    searches = classes and labels is None
    if searches or standardize:
        found = survey(rows, unseen, moments if standardize else None, searches)
        if searches:
            labels = listed(found)
            codes = None if np.array_equal(found, np.arange(found.size)) else found
    prepared: Rows = rows
    # Rows in memory hold their labels apart: the digest of what is prepared has both.
    if standardize or codes is not None or rows.in_memory is not None:
        scaling = (moments.means, moments.scales) if standardize else None
        prepared = Prepared(rows, scaling, codes)
    training, rest = prepared, None
    if n_held_out:
        training = Subset(prepared, n_held_out, False)
        rest = _in_place(Subset(prepared, n_held_out, True), rows)
    return Parts(_in_place(training, rows), rest, moments.means, moments.scales, labels)


def _in_place(rows: Rows, source: Rows) -> Rows:
    """Return rows in memory if they are small, or come from memory."""
    return Loaded(rows) if source.in_memory and not rows.in_memory else loaded_if_small(rows)


def feature_blocks(model: TableModel, path: Path) -> tuple[int, Iterator[np.ndarray]]:
    """Return how many rows a file has, and what the model needs of them, a block at a time."""
    if _is_table(path):
        rows: Rows = ArrayRows(model.features(read_table(path)), str(path))
        places = list(range(rows.n_features))
    else:
        rows, places = _columns_for(model, path)
    every = places == list(range(rows.n_features))

    def blocks() -> Iterator[np.ndarray]:
        for start, block in rows.blocks():
            x = block.features if every else block.features[:, places]
            rows.raise_if_not_finite(start, x)
            yield x

    return rows.n_rows, blocks()


def _columns_for(model: TableModel, path: Path) -> tuple[Rows, list[int]]:
    """Open a large file, and return which of its columns the model needs."""
    unnamed = has_no_names(path)
    if not unnamed and path.suffix.lower() != ".npz":
        # Of a table only these columns: others may hold text.
        return open_rows(path, columns=model.columns), list(range(len(model.columns)))
    rows = open_rows(path)
    names = rows.feature_names or [str(j) for j in range(rows.n_features)]
    if unnamed and model.positional and len(names) == len(model.columns):
        return rows, list(range(len(names)))  # a matrix without the target: in order
    missing = [name for name in model.columns if name not in names]
    if missing or unnamed != model.positional:
        raise ValueError(
            f"{path}: expected the columns of the model, got none named"
            f" {', '.join(map(repr, missing or model.columns))}"
        )
    return rows, [names.index(name) for name in model.columns]
