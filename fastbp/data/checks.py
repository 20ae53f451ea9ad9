"""Arrays, labels and weights that come in are checked here, once; the kernels assume the rest.

Each function takes the caller's value and the argument's name and returns what the kernels want.
Every message has the form ``name: expected ..., got ...``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from fastbp.data import frames
from fastbp.errors import DataError

Vector = np.ndarray

REAL_KINDS = "fiub"  # of a dtype: floating, signed, unsigned, boolean
SCAN_ELEMENTS = 2**17  # of a block in a search for bad rows: no large temporaries


def number_array(name: str, value: Any) -> np.ndarray:
    """Return `value` as an array of real numbers of its own dtype (objects become float64)."""
    value = frames.array_like(value, name)
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise DataError(f"{name}: expected numbers, got masked elements")
    try:
        array = np.asarray(value)
    except ValueError as error:
        if not isinstance(value, Sequence | np.ndarray):
            raise DataError(
                f"{name}: expected an array of numbers, got an error: {error}"
            ) from error
        _raise_ragged(name, value)
    except (TypeError, RuntimeError) as error:  # of an object that cannot become an array
        raise TypeError(f"{name}: expected an array of numbers, got an error: {error}") from error
    if array.dtype.kind == "O":
        return _from_objects(name, array)
    if array.dtype.kind not in REAL_KINDS:
        raise TypeError(f"{name}: expected real numbers, got {_kind_of(array)}")
    return array


def _kind_of(array: np.ndarray) -> str:
    names = {"c": "complex numbers", "U": "text", "S": "bytes", "M": "dates", "m": "durations"}
    return names.get(array.dtype.kind, f"dtype {array.dtype}")


def _from_objects(name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim == 0:
        raise TypeError(
            f"{name}: expected an array of real numbers, got {type(array.item()).__name__}"
        )
    for row, element in enumerate(array):
        for column, entry in enumerate(np.ravel(np.asarray(element, dtype=object))):
            if isinstance(entry, (str, bytes, complex, type(None))) or not hasattr(
                entry, "__float__"
            ):
                got = "None" if entry is None else f"{type(entry).__name__} {entry!r}"
                where = f"row {row}, column {column}" if array.ndim == 2 else f"row {row}"
                raise TypeError(f"{name}: expected real numbers, got {got} in {where}")
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{name}: expected numbers that float64 can hold, got {error}") from None


def _raise_ragged(name: str, value: Any) -> NoReturn:
    lengths = [len(row) if hasattr(row, "__len__") else None for row in value]
    for row, length in enumerate(lengths):
        if length != lengths[0]:
            got = "a single value" if length is None else f"{length}"
            expected = "a single value" if lengths[0] is None else f"{lengths[0]} values"
            raise DataError(
                f"{name}: expected {expected} in every row, got {got} in row {row}", row
            )
    raise DataError(f"{name}: expected a rectangular array, got rows of different shapes")


def matrix(name: str, value: Any) -> np.ndarray:
    """Return features: two dimensions, neither of them empty."""
    if isinstance(value, str | os.PathLike):
        raise TypeError(f"{name}: expected real numbers, got text; open_rows(path) reads files")
    array = number_array(name, value)
    if array.ndim != 2:
        raise ValueError(
            f"{name}: expected 2 dimensions (n_samples, n_features), got {array.ndim}"
            f" (shape {array.shape}); one row is [row], one feature x[:, None]"
        )
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise DataError(
            f"{name}: expected at least one row and one column, got shape {array.shape}"
        )
    return array


def vector(name: str, value: Any, length: int, of: str, *, rows: bool = True) -> Vector:
    """Return a finite contiguous float64 vector; `of` says what gives its length.

    A column of shape (length, 1) passes as a vector. It may share memory with `value`. With
    `rows` an element belongs to a row, and what is wrong with it is a DataError.
    """
    array = number_array(name, value)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name}: expected 1 dimension, got {array.ndim} (shape {array.shape})")
    if array.shape[0] != length:
        raise ValueError(f"{name}: expected {length} values ({of}), got {array.shape[0]}")
    array = np.ascontiguousarray(array, dtype=np.float64)
    row = first_bad_row(array)
    if row is not None:
        message = f"{name}: expected finite numbers, got {array[row]} at {row}"
        raise DataError(message, row) if rows else ValueError(message)
    return array


def first_bad_row(array: np.ndarray) -> int | None:
    """Return the first row that holds an infinity or NaN, if any."""
    if array.dtype.kind != "f":
        return None
    step = max(1, SCAN_ELEMENTS // max(1, array[:1].size))
    for start in range(0, array.shape[0], step):
        finite = np.isfinite(array[start : start + step])
        if not finite.all():
            bad = ~finite.reshape(finite.shape[0], -1).all(axis=1)
            return start + int(np.argmax(bad))
    return None


def raise_for_row(name: str, row: int, values: np.ndarray) -> NoReturn:
    """Raise the DataError of a row of features that is not finite."""
    column = int(np.argmax(~np.isfinite(values)))
    raise DataError(
        f"{name}: expected finite numbers, got {values[column]} in row {row}, column {column}", row
    )


def all_finite(name: str, array: np.ndarray) -> None:
    """Refuse infinities and NaN in what is no row of data."""
    finite = np.isfinite(array)
    if not finite.all():
        place = tuple(int(i) for i in np.argwhere(~finite)[0])
        where = place if len(place) > 1 else place[0]
        raise ValueError(f"{name}: expected finite numbers, got {array[place]} at {where}")


def network_labels(
    name: str, value: Any, n_rows: int, n_outputs: int, loss: str
) -> tuple[np.ndarray, bool]:
    """Return labels as C-contiguous float64, and whether they are the numbers of classes.

    Those have the shape (n_rows, 1), others (n_rows, n_outputs).
    """
    try:
        array = number_array(name, value)
    except TypeError as error:
        if loss != "cross_entropy":
            raise
        raise TypeError(
            f"{error}; numpy.unique(labels, return_inverse=True) gives classes numbers"
        ) from None
    if array.ndim == 1 and n_outputs == 1 and loss != "cross_entropy":
        array = array[:, None]
    if loss == "cross_entropy" and array.shape == (n_rows, 1) and n_outputs > 1:
        array = array[:, 0]
    if loss == "cross_entropy" and array.shape == (n_rows,):
        return class_numbers(name, array, n_outputs)[:, None], True
    if array.shape != (n_rows, n_outputs):
        raise ValueError(
            f"{name}: expected shape ({n_rows}, {n_outputs}), one row a row of features and one"
            f" column an output, got {array.shape}"
        )
    array = np.ascontiguousarray(array, dtype=np.float64)
    row = first_bad_row(array)
    if row is not None:
        raise_for_row(name, row, array[row])
    labels_for_loss(name, array, loss)
    return array, False


def class_numbers(name: str, array: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the numbers of classes as float64."""
    numbers = np.ascontiguousarray(array, dtype=np.float64)
    wrong = ~((numbers >= 0) & (numbers < n_classes) & (numbers == np.floor(numbers)))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{name}: expected numbers of classes from 0 to {n_classes - 1}, got {array[row]}"
            f" in row {row}",
            row,
        )
    return numbers


def labels_for_loss(name: str, labels: np.ndarray, loss: str) -> None:
    """Refuse labels that the loss is not defined for."""
    if loss == "bce":
        row = _first_row((labels < 0.0) | (labels > 1.0))
        if row is not None:
            raise DataError(
                f"{name}: expected values from 0 to 1 for 'bce', got {_shown(labels[row])}"
                f" in row {row}",
                row,
            )
    if loss == "cross_entropy":
        row = _first_row((labels < 0.0).any(axis=1) | (abs(labels.sum(axis=1) - 1.0) > 1e-6))
        if row is not None:
            raise DataError(
                f"{name}: expected rows that are not negative and sum to 1 for 'cross_entropy',"
                f" or the numbers of classes, got {_shown(labels[row])} in row {row}",
                row,
            )


def _first_row(wrong: np.ndarray) -> int | None:
    rows = wrong.reshape(wrong.shape[0], -1).any(axis=1)
    return int(np.argmax(rows)) if rows.any() else None


def _shown(values: Any) -> str:
    return str(values.item() if np.size(values) == 1 else values.tolist())


def sample_weights(name: str, value: Any, n_rows: int) -> Vector:
    """Return one weight a row, not negative."""
    array = vector(name, value, n_rows, "one a row of features")
    if (array < 0.0).any():
        row = int(np.argmax(array < 0.0))
        raise DataError(f"{name}: expected no negative weight, got {array[row]} in row {row}", row)
    return array


def batches_have_weight(name: str, weights: Vector, batch_rows: int, of: str = "") -> None:
    """Refuse weights, in visiting order, whose sum over some batch cannot be divided by."""
    starts = np.arange(0, weights.shape[0], batch_rows)
    with np.errstate(over="ignore"):
        sums = np.add.reduceat(weights, starts)
    sums_of_weights(name, starts, sums, batch_rows, weights.shape[0], of)


def sums_of_weights(
    name: str, starts: np.ndarray, sums: np.ndarray, batch_rows: int, n_rows: int, of: str = ""
) -> None:
    """Refuse sums of weights, of the batches that begin at `starts`, that cannot be divided by."""
    bad = ~((sums >= np.finfo(np.float64).tiny) & (sums < np.inf))
    if bad.any():
        batch = int(np.argmax(bad))
        start, stop = int(starts[batch]), min(int(starts[batch]) + batch_rows, n_rows)
        raise ValueError(
            f"{name}: expected a positive finite sum in every batch, got {sums[batch]:g} for rows"
            f" {start} to {stop - 1}{of}"
        )
