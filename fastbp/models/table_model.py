"""Tables with named columns: read from a file, split, standardised, kept with the model."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastbp.data import checks
from fastbp.errors import DataError
from fastbp.models.network import NetworkFit
from fastbp.models.neuron import NeuronFit

Fit = NeuronFit | NetworkFit
MOST_CLASSES = 1000
"""More different labels than that are numbers to predict, not classes."""


@dataclass(frozen=True, eq=False)
class Table:
    """Columns by name, each an array of numbers or of text, all of the same length.

    `positional` says that the names are only the columns' numbers (a ``.npy`` file has no names).
    """

    columns: dict[str, np.ndarray]
    source: str
    positional: bool = False

    def column(self, name: str) -> np.ndarray:
        """Return a column; a ``ValueError`` lists the names if there is none of this name."""
        if name not in self.columns:
            known = ", ".join(self.columns)
            raise ValueError(f"{self.source}: expected a column {name!r}, got columns {known}")
        return self.columns[name]

    def features(self, names: list[str]) -> np.ndarray:
        """Return columns side by side as float64, refusing text and gaps."""
        return np.column_stack(
            [_as_numbers(self.column(name), name, self.source) for name in names]
        )


def _as_numbers(column: np.ndarray, name: str, source: str) -> np.ndarray:
    if column.dtype.kind in checks.REAL_KINDS:
        numbers = column.astype(np.float64)
        row = checks.first_bad_row(numbers)
        if row is None:
            return numbers
        raise DataError(
            f"{source}: column {name!r}: expected a number, got {numbers[row]} in row {row}", row
        )
    for row, value in enumerate(column):
        try:
            float(value)
        except (TypeError, ValueError):
            raise DataError(
                f"{source}: column {name!r}: expected a number, got {value!r} in row {row}", row
            ) from None
    return column.astype(np.float64)


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a file whole: a table with names, a ``.npy`` matrix, a ``.npz`` of columns or matrices.

    Tables are ``.csv`` and ``.tsv`` with a header, Parquet and Arrow's files; their columns may
    hold text. The columns of a ``.npy`` are named by their numbers from 0. In a ``.npz`` an array
    of one dimension is a column of its name; one of two gives columns ``name0``, ``name1``...

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError, DataError
        If it is of another kind, damaged, or not such a table.
    """
    path = Path(path)
    if path.suffix.lower() not in READERS:
        raise ValueError(f"{path}: expected a file that ends in {', '.join(READERS)}")
    with path.open("rb"):
        pass  # a missing or unreadable file is an OSError
    table = READERS[path.suffix.lower()](path)
    if not table.columns or len(next(iter(table.columns.values()))) == 0:
        raise DataError(f"{path}: expected at least one row and one column")
    return table


def _read_csv(path: Path) -> Table:
    from pyarrow import csv

    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    return _from_arrow(
        path, lambda: csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=delimiter))
    )


def _read_parquet(path: Path) -> Table:
    from pyarrow import parquet

    return _from_arrow(path, lambda: parquet.ParquetFile(path).read())


def _read_arrow(path: Path) -> Table:
    import pyarrow

    def read() -> Any:
        with pyarrow.OSFile(str(path)) as file:
            as_stream = file.read(6) != b"ARROW1"
            file.seek(0)
            open_any = pyarrow.ipc.open_stream if as_stream else pyarrow.ipc.open_file
            return open_any(file).read_all()

    return _from_arrow(path, read)


def _from_arrow(path: Path, read: Callable[[], Any]) -> Table:
    import pyarrow

    try:
        table = read()
    except (pyarrow.ArrowException, OSError) as error:  # of a damaged file it is either
        raise DataError(f"{path}: {str(error).splitlines()[0]}") from None
    names = table.column_names
    _refuse_repeated(names, path)
    columns = {}
    for name in names:
        column = table.column(name)
        if pyarrow.types.is_boolean(column.type) and column.null_count == 0:
            columns[name] = column.to_numpy().astype(bool)
        elif pyarrow.types.is_integer(column.type) or pyarrow.types.is_floating(column.type):
            columns[name] = column.to_numpy()
        else:
            try:
                columns[name] = np.array(column.cast(pyarrow.string()).to_pylist(), dtype=object)
            except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
                raise DataError(f"{path}: column {name!r}: {error}") from None
    return Table(columns, str(path))


def _refuse_repeated(names: list[str], path: Path) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{path}: expected columns of different names, got {repeated[0]!r} twice")


def _read_npy(path: Path) -> Table:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: expected a matrix of numbers, got {error}") from None
    array = checks.matrix(str(path), array)
    return Table({str(j): array[:, j] for j in range(array.shape[1])}, str(path), positional=True)


def _read_npz(path: Path) -> Table:
    columns: dict[str, np.ndarray] = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for name in arrays.files:
                array = arrays[name]
                if array.ndim == 1:
                    added = {name: array}
                elif array.ndim == 2:
                    added = {f"{name}{j}": array[:, j] for j in range(array.shape[1])}
                else:
                    raise DataError(f"{path}: {name}: expected 1 or 2 dimensions, got {array.ndim}")
                _refuse_repeated([*columns, *added], path)
                columns |= added
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy each have their own
        raise DataError(f"{path}: expected an archive of arrays of numbers, got {error}") from None
    lengths = {name: len(column) for name, column in columns.items()}
    for name, length in lengths.items():
        if length != next(iter(lengths.values())):
            raise DataError(f"{path}: expected arrays of the same length, got {lengths}")
        if columns[name].dtype.kind in "US":
            columns[name] = columns[name].astype(str).astype(object)
    return Table(columns, str(path))


READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
    ".arrow": _read_arrow,
    ".feather": _read_arrow,
    ".ipc": _read_arrow,
}


@dataclass(frozen=True, eq=False)
class TableModel:
    """A trained neuron or network with everything that a prediction for a table needs.

    Attributes
    ----------
    fit : NeuronFit or NetworkFit
    columns : list of str
        The features, in the order of the weights.
    target : str
        The column that it was trained to predict.
    means, scales : numpy.ndarray of float64, shape (n_features,)
        Each feature is taken as (value - mean) / scale.
    classes : list of labels, or None
        What the outputs stand for: a single output, below and from one half on, for the first and
        the second, and each of several for its own. None for a number.
    positional : bool
        Whether the columns had no names, only numbers.
    """

    fit: Fit
    columns: list[str]
    target: str
    means: np.ndarray
    scales: np.ndarray
    classes: list[Any] | None
    positional: bool = False

    def outputs(self, table: Any) -> np.ndarray:
        """Return the outputs: shape (n_samples,), or (n_samples, n_outputs) if there are several.

        Parameters
        ----------
        table : Table or array-like, shape (n_samples, n_features)
            A table may hold other columns, too; an array's are those of `columns`, in order.
        """
        if isinstance(table, Table):
            features = self.features(table)
        else:
            features = checks.matrix("table", table)
        return outputs_of(self.fit, (features - self.means) / self.scales)

    def features(self, table: Table) -> np.ndarray:
        """Return the columns of a table that the model needs, in order."""
        if self.positional and table.positional and len(table.columns) == len(self.columns):
            names = list(table.columns)  # a matrix without the target: the features in order
        else:
            names = self.columns
        missing = [name for name in names if name not in table.columns]
        if missing:
            raise ValueError(
                f"{table.source}: expected the columns of the model, got none named"
                f" {', '.join(map(repr, missing))}"
            )
        return table.features(names)

    def predict(self, table: Any) -> list[Any]:
        """Return the predicted labels, or numbers where the target is one: see :meth:`outputs`."""
        return self.labels(self.outputs(table))

    def labels(self, outputs: np.ndarray) -> list[Any]:
        """Return what outputs stand for: a class each, or themselves."""
        if self.classes is None:
            values: list[Any] = outputs.tolist()
            return values
        return [self.classes[number] for number in class_numbers_of(outputs).tolist()]

    def to_stored(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return what a file holds of it."""
        arrays, fields = self.fit.to_stored()
        return {**arrays, "means": self.means, "scales": self.scales}, {
            "model": type(self.fit).__name__,
            "fit": fields,
            "columns": self.columns,
            "target": self.target,
            "classes": self.classes,
            "positional": self.positional,
        }

    @classmethod
    def from_stored(cls, arrays: dict[str, np.ndarray], fields: dict[str, Any]) -> TableModel:
        """Make it from what a file holds."""
        # The first version wrote no kind: it had neurons only.
        kind = NetworkFit if fields.pop("model", "NeuronFit") == "NetworkFit" else NeuronFit
        return cls(
            fit=kind.from_stored(arrays, fields.pop("fit")),
            means=arrays["means"],
            scales=arrays["scales"],
            **fields,
        )


def outputs_of(fit: Fit, features: np.ndarray) -> np.ndarray:
    """Return the outputs for rows of features, of shape (n_samples,) if there is only one."""
    outputs: np.ndarray = fit.predict(features)
    return outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs


def class_numbers_of(outputs: np.ndarray) -> np.ndarray:
    """Return the numbers of the classes that outputs stand for: see :attr:`TableModel.classes`."""
    numbers: np.ndarray = outputs.argmax(axis=1) if outputs.ndim == 2 else outputs >= 0.5
    return numbers.astype(np.int64)


def coded(labels: np.ndarray, name: str, source: str) -> tuple[np.ndarray, list[Any]]:
    """Return the numbers of a column's different labels, in their order, and these labels."""
    if labels.dtype.kind == "O":
        gaps = np.array([value is None or value == "" for value in labels])
        if gaps.any():
            row = int(np.argmax(gaps))
            raise DataError(
                f"{source}: column {name!r}: expected a label, got none in row {row}", row
            )
    elif labels.dtype.kind == "f":
        _as_numbers(labels, name, source)
    classes, codes = np.unique(labels, return_inverse=True)
    return codes.astype(np.float64), listed(classes)


def listed(classes: np.ndarray) -> list[Any]:
    """Return labels as plain objects, whole numbers as integers whatever they are stored as."""
    exact = classes.dtype.kind == "f" and bool((np.abs(classes) < 2.0**53).all())
    whole = exact and bool((classes == np.round(classes)).all())
    labels: list[Any] = (classes.astype(np.int64) if whole else classes).tolist()
    return labels


def check_classes(classes: list[Any], two: bool, name: str, source: str, hint: str) -> None:
    """Refuse labels that are not two classes or, without `two`, a number of classes."""
    n = len(classes)
    fractions = n > 2 and any(isinstance(value, float) for value in classes)
    if n == 2 or (not two and 2 < n <= MOST_CLASSES and not fractions):
        return
    shown = ", ".join(map(repr, classes[:5])) + (", ..." if n > 5 else "")
    got = f"{n}" if n <= MOST_CLASSES else f"more than {MOST_CLASSES}"
    expected = "two different labels" if two else f"2 to {MOST_CLASSES} classes, no fractions"
    raise ValueError(f"{source}: column {name!r}: expected {expected}, got {got} ({shown}); {hint}")
