"""Checks of arrays, labels and sample weights that come in, once: the kernels make none.

Each function takes the argument's name and the caller's value, and returns what kernels read.
Every message has the form ``name: expected ..., got ...``.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NoReturn

import numpy as np

from fastbp import arguments
from fastbp.arguments import FLOAT32, FLOAT64
from fastbp.data import frames
from fastbp.errors import DataError

REAL_KINDS = "fiub"  # of a dtype: floating, signed, unsigned, boolean
TEXT_KINDS = "SU"
DATES = np.datetime64, np.timedelta64, datetime.date, datetime.timedelta
WEIGHTS = {  # the least above 0, and the most, whose sum over a batch is finite
    FLOAT64: (float(np.finfo(FLOAT64).tiny), 2.0**960),
    FLOAT32: (float(np.finfo(FLOAT32).tiny), 2.0**64),
}
INFINITE = {FLOAT64: np.inf, FLOAT32: 2.0**128 - 2.0**103}
"""The least float64 that each dtype rounds to an infinity."""
LISTED = 20  # names, in a message
SCAN_ELEMENTS = 2**17  # searched at a time for bad rows, so that temporaries stay small
FEW = 2**13  # numbers that are tested all at once


def number_array(name: str, value: Any, first_row: int = 0) -> np.ndarray:
    """Return `value` as an array of real numbers of its own dtype (objects become float64).

    Messages count its rows from `first_row` on.
    """
    if type(value) is np.ndarray and value.dtype.kind in REAL_KINDS:
        return value  # the usual case
    value = frames.array_like(value, name)
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise DataError(f"{name}: expected numbers, got masked elements")
    try:
        array = np.asarray(value)
    except Exception as error:  # of an object that cannot become an array
        if isinstance(error, ValueError) and isinstance(value, Sequence | np.ndarray):
            _raise_ragged(name, value, first_row)
        kind = TypeError if isinstance(error, TypeError | RuntimeError) else DataError
        raise kind(
            f"{name}: expected an array of numbers, got what cannot become one: {error}"
        ) from error
    if array.dtype.kind == "O":
        return _from_objects(name, array, first_row)
    if array.dtype.kind not in REAL_KINDS:
        raise TypeError(f"{name}: expected real numbers, got {kind_of(array.dtype)}")
    return array


def kind_of(dtype: np.dtype[Any]) -> str:
    """Return what messages call the elements of a dtype that holds no real numbers."""
    if dtype.kind == "O":
        return "Python objects, which only pickle could read"
    if dtype.names:
        return "records of several fields"
    names = {"c": "complex numbers", "U": "text", "S": "bytes", "M": "dates", "m": "durations"}
    return names.get(dtype.kind, f"dtype {dtype}")


def refuse_special_objects(name: str, value: Any) -> None:
    """Refuse dates and durations, and numbers that float64 cannot hold.

    For values that others convert: NumPy makes numbers of dates, in whatever unit they are stored,
    and its errors about a signaling NaN name no argument. :func:`number_array` needs none of this.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in REAL_KINDS:
        return
    got = frames.first_dates(value, name)
    if got is None:
        try:
            array = np.asarray(value)
        except (ValueError, TypeError, RuntimeError):
            return  # no array: to be refused for that
        if array.dtype.kind == "O":
            kinds = set(map(type, array.ravel()))
            got = min((k.__name__ for k in kinds if issubclass(k, DATES)), default=None)
            if Decimal in kinds:
                _refuse_signals(name, array)
        elif array.dtype.kind in "mM":
            got = kind_of(array.dtype)
    if got is not None:
        raise TypeError(f"{name}: expected real numbers, got {got}")


def _refuse_signals(name: str, array: np.ndarray) -> None:
    for row, element in enumerate(array):
        for entry in np.ravel(np.asarray(element, dtype=object)):
            if isinstance(entry, Decimal) and entry.is_snan():
                _refuse_entry(name, entry, row)


def _refuse_entry(name: str, entry: Any, row: int) -> NoReturn:
    expected, got = "expected numbers that float64 can hold", arguments.describe(entry)
    raise DataError(f"{name}: {expected}, got {got} in row {row}", row) from None


def _from_objects(name: str, array: np.ndarray, first_row: int) -> np.ndarray:
    if array.ndim == 0:
        raise TypeError(
            f"{name}: expected an array of real numbers, got {type(array.item()).__name__}"
        )
    for row, element in enumerate(array, first_row):
        for column, entry in enumerate(np.ravel(np.asarray(element, dtype=object))):
            no_number = isinstance(entry, (str, bytes, complex, type(None), *DATES))
            if no_number or not hasattr(entry, "__float__"):
                got = "None" if entry is None else f"{type(entry).__name__} {entry!r}"
                where = f"row {row}, column {column}" if array.ndim == 2 else f"row {row}"
                raise TypeError(f"{name}: expected real numbers, got {got} in {where}")
            try:
                float(entry)
            except (TypeError, ValueError, OverflowError):
                _refuse_entry(name, entry, row)
    return array.astype(np.float64)


def _raise_ragged(name: str, value: Any, first_row: int) -> NoReturn:
    lengths = [len(row) if hasattr(row, "__len__") else None for row in value]
    for row, length in enumerate(lengths, first_row):
        if length != lengths[0]:
            got = "a single value" if length is None else f"{length}"
            expected = "a single value" if lengths[0] is None else f"{lengths[0]} values"
            raise DataError(
                f"{name}: expected {expected} in every row, got {got} in row {row}", row
            )
    raise DataError(f"{name}: expected a rectangular array, got rows of different shapes")


def matrix(name: str, value: Any) -> np.ndarray:
    """Return features: two dimensions, neither of them empty."""
    if type(value) is not np.ndarray and isinstance(value, str | os.PathLike):
        raise TypeError(f"{name}: expected real numbers, got text; open_rows(path) reads files")
    array = number_array(name, value)
    if array.ndim != 2:
        refuse_dimensions(name, array.shape)
    if array.shape[0] == 0 or array.shape[1] == 0:
        refuse_empty(name, array.shape)
    return array


def refuse_dimensions(name: str, shape: tuple[float, ...]) -> NoReturn:
    """Raise the error of features that have not two dimensions."""
    raise ValueError(
        f"{name}: expected 2 dimensions (n_samples, n_features), got {len(shape)}"
        f" (shape {shape}); one row is [row], one feature x[:, None]"
    )


def refuse_empty(name: str, shape: tuple[float, ...]) -> NoReturn:
    """Raise the error of features without rows or columns."""
    raise DataError(f"{name}: expected at least one row and one column, got shape {shape}")


def vector(
    name: str,
    value: Any,
    length: int,
    of: str,
    *,
    rows: bool = True,
    dtype: np.dtype[Any] = FLOAT64,
) -> np.ndarray:
    """Return a contiguous float64 vector, finite as `dtype`; `of` says what determines its length.

    A column of shape (length, 1) passes as a vector. The result may share memory with `value`.
    With `rows`, each element belongs to a row, and an invalid one raises a DataError.
    """
    array = number_array(name, value)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name}: expected 1 dimension, got {array.ndim} (shape {array.shape})")
    if array.shape[0] != length:
        raise ValueError(f"{name}: expected {length} values ({of}), got {array.shape[0]}")
    array = np.ascontiguousarray(array, dtype=np.float64)
    row = first_bad_row(array, dtype)
    if row is not None:
        where = "in row" if rows else "at"
        got = described(array[row], dtype)
        message = f"{name}: expected finite numbers, got {got} {where} {row}"
        raise DataError(message, row) if rows else ValueError(message)
    return array


def finite_in(dtype: np.dtype[Any], array: np.ndarray) -> np.ndarray:
    """Return which numbers of an array are finite once converted to a dtype of arithmetic."""
    within = dtype == FLOAT64 or array.dtype != FLOAT64  # integers are far from the limit
    finite: np.ndarray = np.isfinite(array) if within else np.abs(array) < INFINITE[dtype]
    return finite


def first_bad_row(array: np.ndarray, dtype: np.dtype[Any] = FLOAT64) -> int | None:
    """Return the first row that holds an infinity or NaN, if any, as numbers of this dtype."""
    if array.dtype.kind != "f" or is_finite(array, dtype):
        return None
    step = max(1, SCAN_ELEMENTS // max(1, array[:1].size))
    for start in range(0, array.shape[0], step):
        finite = finite_in(dtype, array[start : start + step])
        if not finite.all():
            bad = ~finite.reshape(finite.shape[0], -1).all(axis=1)
            return start + int(np.argmax(bad))
    return None


def is_finite(array: np.ndarray, dtype: np.dtype[Any] = FLOAT64) -> bool:
    """Return whether an array of float64, or this dtype, is finite; False, too, if it is large."""
    if array.size > FEW or array.dtype not in (FLOAT64, dtype):
        return False
    return b"\0" not in finite_in(dtype, array).tobytes()  # half the time of `all`


def raise_for_row(
    name: str,
    row: int,
    values: np.ndarray,
    columns: Sequence[str] | None = None,
    dtype: np.dtype[Any] = FLOAT64,
) -> NoReturn:
    """Raise a DataError for a row that is not finite; `columns` are the names of its values."""
    index = int(np.argmax(~finite_in(dtype, values)))
    where, column = f"row {row}", index if columns is None else columns[index]
    if columns is not None or len(values) > 1:
        where += f", column {column!r}"
    text = f"{name}: expected finite numbers, got {described(values[index], dtype)} in {where}"
    raise DataError(text, row, column)


def described(number: float, dtype: np.dtype[Any]) -> str:
    """Return a number that is not finite in a dtype of arithmetic, for messages."""
    return f"{number}, too large for {dtype}," if np.isfinite(number) else f"{number}"


def refuse_gaps(name: str, value: Any) -> None:
    """Refuse the first row that has a gap, or an infinity, of what others convert to numbers."""
    array, _ = _with_nan(value)
    row = first_bad_row(array)
    if row is not None:
        raise_for_row(name, row, np.atleast_1d(array[row]), frames.names_of(value))


def refuse_missing_labels(name: str, value: Any) -> None:
    """Refuse the first gap among labels that are objects, such as text or booleans."""
    array, are_objects = _with_nan(value)
    row = first_bad_row(array) if are_objects else None
    if row is not None:
        raise DataError(f"{name}: expected a label, got none in row {row}", row)


def _with_nan(value: Any) -> tuple[np.ndarray, bool]:
    """Return an array, and whether it held objects: they become 0, and NaN where one is missing."""
    try:
        array = np.atleast_1d(value)
    except (ValueError, TypeError, RuntimeError):
        return np.empty(0), False  # no array: to be refused for that
    if array.dtype.kind != "O" or value is None:
        return array, False
    return np.asarray(np.frompyfunc(_nan_for_gap, 1, 1)(array), dtype=np.float64), True


def _nan_for_gap(value: Any) -> float:
    if isinstance(value, float | np.floating):
        return 0.0 if np.isfinite(value) else float(value)
    return np.nan if type(value).__name__ in ("NoneType", "NAType") else 0.0


def finite_rows(name: str, array: np.ndarray, dtype: np.dtype[Any] = FLOAT64) -> None:
    """Refuse infinities and NaN in rows of data, (N,) or (N, D), as numbers of this dtype."""
    row = first_bad_row(array, dtype)
    if row is not None:
        raise_for_row(name, row, np.atleast_1d(array[row]), dtype=dtype)


def all_finite(name: str, array: np.ndarray, dtype: np.dtype[Any] = FLOAT64) -> None:
    """Refuse infinities and NaN, as numbers of this dtype, in an array other than rows of data."""
    if is_finite(array, dtype):
        return
    finite = finite_in(dtype, array)
    if not finite.all():
        index = tuple(int(i) for i in np.argwhere(~finite)[0])
        where = index if len(index) > 1 else index[0]
        got = described(array[index], dtype)
        raise ValueError(f"{name}: expected finite numbers, got {got} at {where}")


def same_names(name: str, names: list[str] | None, expected: list[str] | None) -> None:
    """Refuse columns of other names, or in another order, than those that a model was fitted to."""
    if expected is not None and (got := difference(expected, names)) is not None:
        raise ValueError(f"{name}: expected the columns of the fit ({listed(expected)}), got {got}")


def difference(expected: list[str] | None, names: list[str] | None) -> str | None:
    """Return what messages tell of names that differ from those that are expected, or None.

    Without names on either side there is nothing to compare.
    """
    if names is None or expected is None or names == expected:
        return None
    missing = [column for column in expected if column not in set(names)]
    new = [column for column in names if column not in set(expected)]
    if missing or new:
        lacking = [f"none named {listed(missing)}"] if missing else []
        return ", but ".join(lacking + ([f"also {listed(new)}"] if new else []))
    pairs = enumerate(zip(expected, names, strict=False))  # a name may occur twice
    first = next((j for j, (column, name) in pairs if column != name), 0)
    return f"{listed(names[first:])} in another order"


def listed(names: Sequence[str]) -> str:
    """Return names as messages list them: not all if there are many."""
    return ", ".join(map(repr, names[:LISTED])) + (", ..." if len(names) > LISTED else "")


def refuse_rows(name: str, array: np.ndarray, wrong: np.ndarray, expected: str) -> None:
    """Raise a DataError for the first row of an array that holds something wrong, if any does."""
    if wrong.any():
        row = int(np.argmax(wrong.reshape(len(wrong), -1).any(axis=1)))
        got = array[row].item() if array[row].size == 1 else array[row].tolist()
        raise DataError(f"{name}: expected {expected}, got {got} in row {row}", row)


def sample_weights(
    name: str, value: Any, n_rows: int, dtype: np.dtype[Any] = FLOAT64
) -> np.ndarray:
    """Return one weight per row, none negative.

    Nor so small or large that, in this dtype, a sum of some of them could be no divisor.
    """
    array = vector(name, value, n_rows, "one per row of features", dtype=dtype)
    refuse_rows(name, array, array < 0.0, "non-negative weights")
    least, most = WEIGHTS[dtype]
    extreme = (array > most) | ((array < least) & (array != 0.0))
    expected = f"0, or a weight from {least:.1e} to {most:.1e}"
    refuse_rows(name, array, extreme, expected)
    return array
