"""What the command trains on: a source of any kind, prepared and split, in memory or not."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastbp import _validation as check
from fastbp._progress import rows_bar
from fastbp.datasets import make_neuron_dataset
from fastbp.errors import DataError
from fastbp.rows import ArrayRows, Block, Labelled, Loaded, Rows, combined, settled
from fastbp.sources import KINDS, open_rows
from fastbp.tables import MOST_CLASSES, READERS, Table, TableModel, coded, listed, read_table
from fastbp.validation import Chosen

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
    rows = settled(open_rows(path, target=_number(target, path) if positional else target))
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
    unseen = Chosen(rows, n_held_out, True) if n_held_out else None
    moments = Moments(rows.n_features)
    searches = classes and labels is None
    if searches or standardize:
        found = survey(rows, unseen, moments if standardize else None, searches)
        if searches:
            labels = listed(found)
            codes = None if np.array_equal(found, np.arange(found.size)) else found
    prepared: Rows = rows
    # Rows in memory hold their labels apart: the digest of what is prepared has both.
    if standardize or codes is not None or rows.resident is not None:
        scaling = (moments.means, moments.scales) if standardize else None
        prepared = Prepared(rows, scaling, codes)
    training, rest = prepared, None
    if n_held_out:
        training = Chosen(prepared, n_held_out, False)
        rest = _in_place(Chosen(prepared, n_held_out, True), rows)
    return Parts(_in_place(training, rows), rest, moments.means, moments.scales, labels)


def _in_place(rows: Rows, source: Rows) -> Rows:
    """Return rows in memory if they are small, or come from memory."""
    return Loaded(rows) if source.resident and not rows.resident else settled(rows)


def survey(
    rows: Rows, held_out: Chosen | None, moments: Moments | None, labels: bool
) -> np.ndarray:
    """Go through all rows once; return the different labels if they are wanted.

    ACC `moments`, of the rows that are not held out.
    """
    found = np.empty(0)
    with rows_bar(rows.n_rows, "looking at the rows") as bar:
        for start, block in rows.blocks():
            if labels:
                assert block.labels is not None
                _check_labels(rows, start, block.labels)
                found = np.union1d(found, block.labels)[: MOST_CLASSES + 1]
            if moments is not None:
                rows.raise_if_not_finite(start, block.features)
                moments.add(_without(held_out, rows.n_rows, start, block.features))
            bar.update(len(block.features))
    return found


def _check_labels(rows: Rows, start: int, labels: np.ndarray) -> None:
    row = check.first_bad_row(labels)
    if row is not None:
        name, number = rows.place(start + row)
        raise DataError(
            f"{name}: target: expected a number, got {labels[row, 0]} in row {number}", number
        )


def _without(held_out: Chosen | None, n_rows: int, start: int, block: np.ndarray) -> np.ndarray:
    """Return the rows of a block that are not held out."""
    if held_out is None:
        return block
    n, stop = held_out.n_rows, start + len(block)
    # One row is held out of each of n runs of equal length: these touch the block.
    runs = np.arange(max(0, start * n // n_rows - 1), min(n, stop * n // n_rows + 2))
    numbers = held_out.numbers(runs)
    kept = np.ones(len(block), dtype=bool)
    kept[numbers[(numbers >= start) & (numbers < stop)] - start] = False
    return block[kept]


class Moments:
    """Means and standard deviations of columns, a block of rows at a time.

    Blocks are combined as by Chan, Golub and LeVeque (The American Statistician 37, 1983). The
    first row is subtracted from all, so that a column that never changes has exactly none.
    """

    def __init__(self, n_columns: int) -> None:
        self._n = 0
        self._origin = np.zeros(n_columns)
        self._mean = np.zeros(n_columns)
        self._squares = np.zeros(n_columns)

    def add(self, rows: np.ndarray) -> None:
        """Take some rows into account."""
        m = len(rows)
        if m == 0:
            return
        if self._n == 0:
            self._origin = rows[0].copy()
        x = rows - self._origin
        mean = x.mean(axis=0)
        x -= mean
        shift = mean - self._mean
        total = self._n + m
        self._squares += np.einsum("ij,ij->j", x, x) + shift**2 * (self._n * (m / total))
        self._mean = self._mean + shift * (m / total)
        self._n = total

    @property
    def means(self) -> np.ndarray:
        """The means; 0 before there is any row."""
        return self._origin + self._mean

    @property
    def scales(self) -> np.ndarray:
        """The deviations, 1 where they are 0."""
        scales = np.sqrt(self._squares / max(self._n, 1))
        scales[scales == 0.0] = 1.0
        return scales


class Prepared(Rows):
    """Rows with features as (x - mean) / scale, and labels as the numbers of `classes`."""

    def __init__(
        self,
        rows: Rows,
        scaling: tuple[np.ndarray, np.ndarray] | None,
        classes: np.ndarray | None,
    ) -> None:
        self._rows, self._scaling, self._classes = rows, scaling, classes
        self.name, self.dtype = rows.name, rows.dtype
        self.n_rows, self.n_features = rows.n_rows, rows.n_features
        self.n_labels, self.weighted = rows.n_labels, rows.weighted
        self.feature_names, self.by_row = rows.feature_names, rows.by_row
        self.concurrent = rows.concurrent

    def fill(self, start: int, stop: int, block: Block) -> None:
        """Write rows start to stop; OUT `block`."""
        self._rows.fill(start, stop, block)
        self._prepare(block)

    def take(self, indices: np.ndarray, block: Block) -> None:
        """Write the rows of these numbers; OUT `block`."""
        self._rows.take(indices, block)
        self._prepare(block)

    def _prepare(self, block: Block) -> None:
        if self._scaling is not None:
            x, (means, scales) = block.features, self._scaling
            np.subtract(x, means, out=x)
            np.divide(x, scales, out=x)
        if self._classes is not None and block.labels is not None:
            block.labels[:] = np.searchsorted(self._classes, block.labels)

    def digest(self) -> str:
        """Return a digest of the rows, their labels, and what is done to them."""
        done = hashlib.sha256()
        for array in (*(self._scaling or ()), self._classes):
            done.update(b"none" if array is None else array.tobytes())
        return combined([*self._rows.digests().values(), done.hexdigest()])

    def place(self, row: int) -> tuple[str, int]:
        """Return the name of the file and the number of the row in it."""
        return self._rows.place(row)

    def close(self) -> None:
        """Give back what reading has taken up."""
        self._rows.close()


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
