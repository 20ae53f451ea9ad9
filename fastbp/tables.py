"""Tables with named columns: read from a file, split, standardised, kept with the model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastbp import _validation as check
from fastbp.errors import DataError
from fastbp.neuron import NeuronFit


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
    if column.dtype.kind in check.REAL_KINDS:
        numbers = column.astype(np.float64)
        row = check.first_bad_row(numbers)
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
    """Read a ``.csv`` with a header, a ``.npy`` matrix, or a ``.npz`` of columns or matrices.

    The columns of a ``.npy`` are named by their numbers from 0. In a ``.npz`` an array of one
    dimension is a column of its name; one of two dimensions gives columns ``name0``, ``name1``...

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError, DataError
        If it is of another kind, damaged, or not such a table.
    """
    path = Path(path)
    readers = {".csv": _read_csv, ".npy": _read_npy, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: expected a file that ends in {', '.join(readers)}")
    with path.open("rb"):
        pass  # a missing or unreadable file is an OSError
    table = readers[path.suffix.lower()](path)
    if not table.columns or len(next(iter(table.columns.values()))) == 0:
        raise DataError(f"{path}: expected at least one row and one column")
    return table


def _read_csv(path: Path) -> Table:
    import pyarrow
    from pyarrow import csv

    try:
        table = csv.read_csv(path)
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{path}: {error}") from None
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
            except pyarrow.ArrowInvalid as error:
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
    array = check.matrix(str(path), array)
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


@dataclass(frozen=True, eq=False)
class TableModel:
    """A trained neuron with everything that a prediction for a table needs.

    Attributes
    ----------
    fit : NeuronFit
    columns : list of str
        The features, in the order of the weights.
    target : str
        The column that it was trained to predict.
    means, scales : numpy.ndarray of float64, shape (n_features,)
        Each feature is taken as (value - mean) / scale.
    classes : list of two labels, or None
        What an output below and from one half on stands for; None for a number.
    positional : bool
        Whether the columns had no names, only numbers.
    """

    fit: NeuronFit
    columns: list[str]
    target: str
    means: np.ndarray
    scales: np.ndarray
    classes: list[Any] | None
    positional: bool = False

    def outputs(self, table: Any) -> np.ndarray:
        """Return the neuron's outputs.

        Parameters
        ----------
        table : Table or array-like, shape (n_samples, n_features)
            A table may hold other columns, too; an array's are those of `columns`, in order.
        """
        if not isinstance(table, Table):
            return self.fit.predict((check.matrix("table", table) - self.means) / self.scales)
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
        return self.fit.predict((table.features(names) - self.means) / self.scales)

    def predict(self, table: Any) -> list[Any]:
        """Return the predicted labels, or numbers where the target is one: see :meth:`outputs`."""
        return self.labels(self.outputs(table))

    def labels(self, outputs: np.ndarray) -> list[Any]:
        """Return what outputs stand for: a class each, or themselves."""
        values: list[Any] = outputs.tolist()
        if self.classes is None:
            return values
        return [self.classes[value >= 0.5] for value in values]

    def to_stored(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return what a file holds of it."""
        arrays, fields = self.fit.to_stored()
        return {**arrays, "means": self.means, "scales": self.scales}, {
            "fit": fields,
            "columns": self.columns,
            "target": self.target,
            "classes": self.classes,
            "positional": self.positional,
        }

    @classmethod
    def from_stored(cls, arrays: dict[str, np.ndarray], fields: dict[str, Any]) -> TableModel:
        """Make it from what a file holds."""
        return cls(
            fit=NeuronFit.from_stored(arrays, fields.pop("fit")),
            means=arrays["means"],
            scales=arrays["scales"],
            **fields,
        )


def two_classes(labels: np.ndarray, name: str, source: str) -> tuple[np.ndarray, list[Any]]:
    """Return 0 and 1 for the two different labels of a column, and the labels themselves."""
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
    if classes.size != 2:
        shown = ", ".join(map(repr, classes[:5].tolist())) + (", ..." if classes.size > 5 else "")
        raise ValueError(
            f"{source}: column {name!r}: expected two different labels, got {classes.size}"
            f" ({shown}); for numbers give --activation identity --loss mse"
        )
    return codes.astype(np.float64), classes.tolist()
