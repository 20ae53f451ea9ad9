"""Tables of pandas, Polars and Arrow; none is imported before such a table is passed in."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from fastbp.errors import DataError

ARROW = ("__arrow_c_stream__", "__arrow_c_array__", "__dataframe__")
PLAIN = (np.ndarray, np.generic, list, tuple, int, float)


def pyarrow_for(name: str) -> Any:
    """Return the module pyarrow; if it is missing, the error says what needs it."""
    try:
        import pyarrow
    except ImportError:
        raise ImportError(
            f"{name}: expected pyarrow to be installed, got none; pip install 'fastbp[files]'"
        ) from None
    return pyarrow


def is_pandas(value: object) -> bool:
    """Return whether it is a DataFrame or a Series, or derived from one."""
    return hasattr(value, "iloc") and any(
        kind.__module__.partition(".")[0] == "pandas" for kind in type(value).__mro__
    )


def exports_arrow(value: object) -> bool:
    """Return whether pyarrow can read it: a table of its own, of Polars or another library."""
    return any(hasattr(type(value), protocol) for protocol in ARROW)


def array_like(value: Any, name: str = "value") -> Any:
    """Return what `numpy.asarray` makes numbers of: tables and columns as float64 arrays.

    Missing values become NaN. Arrays, sequences, pandas objects that are left to NumPy, and objects
    that are not tables are returned unchanged.

    Parameters
    ----------
    value : object
    name : str
        What messages call it.

    Raises
    ------
    TypeError
        For text, dates and the like in a table of Arrow.
    ImportError
        If only pyarrow could read it, and it is not installed.
    """
    if isinstance(value, PLAIN):
        return value
    if is_pandas(value):
        return _from_pandas(value)
    if not exports_arrow(value):
        return value
    try:
        table = as_arrow(value, name)
    except ImportError:
        if hasattr(type(value), "__array__"):
            return value
        raise
    if not hasattr(table, "column_names"):
        return _checked(table, name)
    array = np.empty((table.num_rows, table.num_columns))
    for j, label in enumerate(table.column_names):
        array[:, j] = _checked(table.column(j), f"{name}: column {label!r}")
    return array


def _from_pandas(value: Any) -> Any:
    flat = value.ndim == 1
    columns = [value] if flat else [value.iloc[:, j] for j in range(value.shape[1])]
    dtypes = {column.dtype for column in columns}
    as_it_is = len(dtypes) == 1 and isinstance(next(iter(dtypes)), np.dtype)
    if as_it_is or not all(map(_is_numeric, dtypes)):
        return value
    array = np.empty((len(value), len(columns)))
    for j, column in enumerate(columns):
        array[:, j] = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return array[:, 0] if flat else array


def _is_numeric(dtype: Any) -> bool:
    """Return whether a dtype of pandas can become float64; decimals of Arrow are objects to it."""
    return dtype.kind in "fiub" or getattr(dtype, "name", "").startswith("decimal")


def first_dates(value: Any, name: str) -> str | None:
    """Return what a table's first column of dates or durations is, with its name, if any is.

    Messages about a table that cannot be read call it `name`.
    """
    found: list[tuple[Any, Any]] = []
    if is_pandas(value):
        columns = [value] if value.ndim == 1 else [value.iloc[:, j] for j in range(value.shape[1])]
        found = [(c.name, c.dtype) for c in columns if _is_date(c.dtype)]
    elif exports_arrow(value) and not isinstance(value, PLAIN):
        try:
            table = as_arrow(value, name)
        except ImportError:
            return None  # to be read as an array
        from pyarrow import types

        fields = [(f.name, f.type) for f in table.schema] if hasattr(table, "schema") else []
        found = [f for f in fields or [(None, table.type)] if types.is_temporal(f[1])]
    if not found:
        return None
    column, kind = found[0]
    return f"{kind}" if column is None else f"{kind} in column {column!r}"


def _is_date(dtype: Any) -> bool:
    """Return whether a dtype of pandas holds dates, durations or periods."""
    return dtype.kind in "mM" or getattr(dtype, "name", "").startswith("period")


def first_no_number(value: Any) -> str | None:
    """Return what a pandas object's first column without numbers is, with its name, if any is.

    Objects may be numbers.
    """
    columns = [value] if value.ndim == 1 else [value.iloc[:, j] for j in range(value.shape[1])]
    for column in columns:
        dtype, name = column.dtype, getattr(column.dtype, "name", "")
        text = dtype.kind in "SU" or name.startswith(("str", "large_str"))
        if text or dtype.kind == "c" or _is_date(dtype):
            got = "text" if text else f"{dtype}"
            return got if column.name is None else f"{got} in column {column.name!r}"
    return None


def as_arrow(value: Any, name: str) -> Any:
    """Return a table of pyarrow or, for what is no table, one of its arrays."""
    pa = pyarrow_for(name)
    try:
        return _from_protocol(value, pa)
    except Exception as error:  # of whatever object speaks Arrow
        raise DataError(
            f"{name}: expected a table of Arrow, got what cannot be read: {error!r}"
        ) from error


def _from_protocol(value: Any, pa: Any) -> Any:
    if isinstance(value, (pa.Table, pa.ChunkedArray, pa.Array)):
        return value
    if isinstance(value, pa.RecordBatch):
        return pa.Table.from_batches([value])
    if not any(hasattr(type(value), protocol) for protocol in ARROW[:2]):
        from pyarrow import interchange

        return interchange.from_dataframe(value)
    try:
        return pa.table(value)
    except (TypeError, ValueError):  # not a struct of columns, but a single one
        stream = hasattr(type(value), ARROW[0])
        return pa.chunked_array(value) if stream else pa.array(value)


def _checked(column: Any, name: str) -> np.ndarray:
    if not is_number(column.type):
        raise TypeError(f"{name}: expected real numbers, got {column.type}")
    return numbers(column)


def is_number(kind: Any) -> bool:
    """Return whether a type of Arrow can become float64."""
    return _is_one_of(kind, "integer", "floating", "boolean", "decimal", "null")


def is_text(kind: Any) -> bool:
    """Return whether a type of Arrow is text, or a dictionary of text."""
    return _is_one_of(kind, "string", "large_string", "string_view")


def _is_one_of(kind: Any, *names: str) -> bool:
    from pyarrow import types

    value = kind.value_type if types.is_dictionary(kind) else kind
    return any(getattr(types, f"is_{name}")(value) for name in names)


def numbers(column: Any) -> np.ndarray:
    """Return a column of Arrow as float64, with NaN for nulls."""
    import pyarrow as pa

    if _is_one_of(column.type, "decimal"):
        column = column.cast(pa.string())  # as floats of Arrow one in seven is not the nearest
    if column.type != pa.float64():
        column = column.cast(pa.float64(), safe=False)  # large integers are rounded, not refused
    array: np.ndarray = column.to_numpy(zero_copy_only=False)
    return array


def index_names(schema: Any) -> frozenset[str]:
    """Return the columns that metadata of pandas in a schema of Arrow call the index."""
    try:
        index = list(schema.pandas_metadata["index_columns"])
    except (AttributeError, KeyError, TypeError, ValueError):  # none, or none that can be read
        index = []
    return frozenset(name for name in index if isinstance(name, str))


def without_index(value: Any, name: str) -> Any:
    """Return a table without what metadata of pandas call its index, with a warning, or the value.

    pandas writes the index so; no fit may learn the order of the rows from it.
    """
    if isinstance(value, PLAIN) or is_pandas(value) or not exports_arrow(value):
        return value
    index = index_names(getattr(value, "schema", None))
    if not index:
        return value
    table = as_arrow(value, name)
    left_out = [column for column in table.column_names if column in index]
    if left_out:
        from fastbp.kernels.cache import users_level  # Numba takes half a second to import

        told = f"left out {', '.join(map(repr, left_out))}, which its metadata call the index"
        warnings.warn(
            f"{name}: {told}; open_rows(columns=[...]) takes it", stacklevel=users_level()
        )
    return table.select([column for column in table.column_names if column not in index])


def names_of(value: Any) -> list[str] | None:
    """Return the names of a table's columns; None if it has none, or is no table."""
    if isinstance(value, PLAIN):
        return None
    if is_pandas(value):
        names = list(value.columns) if value.ndim == 2 else []
        return names if names and all(isinstance(name, str) for name in names) else None
    if not exports_arrow(value):
        return None
    schema = getattr(value, "schema", None)
    for found in (getattr(value, "columns", None), getattr(schema, "names", None)):
        if isinstance(found, list) and all(isinstance(name, str) for name in found):
            return found
    return getattr(as_arrow(value, "table"), "column_names", None)
