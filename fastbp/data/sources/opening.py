"""Whatever rows can come from, opened as :class:`fastbp.data.rows.Rows`."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastbp import arguments
from fastbp.data import frames
from fastbp.data.arrays import ArrayRows, Labelled
from fastbp.data.rows import Rows
from fastbp.data.sources.columns import ColumnRequest, parts_of
from fastbp.data.sources.dask_rows import chosen_rows, shape_of
from fastbp.data.sources.folder import Shards, folder_rows
from fastbp.data.sources.formats import FORMATS, is_known, open_file
from fastbp.data.sources.iterator import IteratorRows
from fastbp.data.sources.pieces import is_collection, names_of
from fastbp.data.sources.text import TextLayout
from fastbp.errors import DataError


def open_rows(
    source: Any,
    *,
    target: Any = None,
    weight: Any = None,
    columns: Any = None,
    exclude: Any = None,
    delimiter: str | None = None,
    decimal: str = ".",
    header: bool = True,
    cluster: Any = None,
) -> Rows:
    """Open rows of features, with the labels and sample weights that the source has.

    Files are read a block at a time, the next one during the computation on this one; a fit maps
    a large ``.npy`` instead, where the platform lets it do so safely, and reads other files only
    once if a temporary copy serves its later epochs (see :func:`fastbp.fit_neuron`).

    Parameters
    ----------
    source : path-like or list of them, callable, array-like, table or Dask collection
        * A ``.npy`` matrix, in any order and byte order; one dimension is one column.
        * A ``.npz`` archive of arrays of equally many rows: ``x`` of one dimension is a column,
          of two it has the columns ``x0``, ``x1``..., for all of which ``x`` stands as well.
        * ``.csv``, or ``.tsv``: text in UTF-8, one row per line. Blank lines do not count, an
          empty cell is NaN, true and false are 1 and 0.
        * ``.jsonl``: JSON, one object per line. What is missing or null is NaN.
        * Such text compressed, its name followed by ``.gz`` or ``.zst``.
        * ``.parquet``, ``.pq``, and Arrow's ``.arrow``, ``.feather`` and ``.ipc``. NULL is NaN.
        * A folder of such files, which are taken in the order of their names as if they were one.
          The names of folders in it such as ``month=1`` are columns. Hidden files do not count, nor
          do marks of other programs such as ``_SUCCESS``; all other files must be of these formats.
        * A list of such files, which are taken in its order as if they were one. The names of
          the folders that they are in are no columns.
        * A callable that returns a fresh iterator of blocks at every call. A block is a matrix of
          features, a table, or a tuple of features, labels and perhaps weights. Opening it
          reads all blocks once.
        * An array or a table in memory: of pandas, Polars, pyarrow, or anything that exports
          Arrow's C streams.
        * A Dask array or DataFrame, read as :func:`fastbp.fit_neuron` says.
    target : str, int, or list of them, optional
        The columns of labels: by name, and by index where there are no names; -1 is the last one.
        Text or booleans in a single target of files are classes: the labels are then indices into
        the sorted distinct values, which `rows.classes` lists. In a ``.csv`` the first mebibyte
        decides whether that is so, and for those of a folder the first file.
    weight : str or int, optional
        The column of sample weights.
    columns : list of str or int, optional
        The features, in this order. All others by default, but for what metadata of pandas call
        the index: a warning names it.
    exclude : list of str or int, optional
        Columns that are no features.
    delimiter : str, optional
        What separates the cells of a ``.csv`` (a comma by default) or ``.tsv`` (a tab).
    decimal : str
        The decimal mark of a ``.csv`` or ``.tsv``.
    header : bool
        Whether the first line of a ``.csv`` or ``.tsv`` holds names. Without them, columns are
        given by index.
    cluster : distributed.Client, optional
        Of files only: fits read the rows on the workers of this client's Dask cluster, where the
        paths must lead to the same files, and sum gradients up there. Other functions read them
        here.

    Returns
    -------
    fastbp.data.rows.Rows

    Raises
    ------
    TypeError
        If the source or a column is of an unsupported type.
    ValueError
        If there is no such column, or the file format is not supported.
    DataError
        If the content is damaged, or not rows of numbers: with the name of the file, and the row
        or the byte. Non-finite values are detected only when they are used.
    OSError
        If a file cannot be read.
    ImportError
        If pyarrow is missing (``pip install 'fastbp[files]'``) for any but NumPy's files.

    Notes
    -----
    A fit calls a callable, and advances its iterator, on a separate thread.

    Compressed text and archives, JSON, Parquet, Arrow's files and callables are read from front to
    back; to go back means to start over. In a compressed archive, a matrix in Fortran order is
    decompressed once per column. For Parquet and Arrow files, one batch of rows is in memory; for a
    ``.csv``, the text of one block and one row offset per 256 KiB.

    The digest of files covers 66 chunks of 64 KiB, that of a callable the CRC-32 of every 4096
    rows.

    Examples
    --------
    >>> import numpy as np, tempfile, os
    >>> from fastbp.data.sources.opening import open_rows
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "rows.npy")
    ...     np.save(path, np.arange(12.0).reshape(3, 4))
    ...     rows = open_rows(path, target=-1)
    ...     block = rows.block(1, 3)
    ...     rows.close()
    >>> block.features.tolist(), block.labels.tolist()
    ([[4.0, 5.0, 6.0], [8.0, 9.0, 10.0]], [[7.0], [11.0]])
    """
    request = ColumnRequest(target, weight, columns, exclude)
    layout = TextLayout.checked(delimiter, decimal, header)
    are_files = isinstance(source, str | os.PathLike) or _is_list_of_paths(source)
    if cluster is not None:
        _check_client(cluster, are_files)
        given, source = source, _absolute(source)
    if isinstance(source, Rows):
        layout.refuse(source.name)
        if request != ColumnRequest():
            raise TypeError("source: expected a file or the like to choose columns of, got Rows")
        return source
    rows: Rows
    if isinstance(source, str | os.PathLike):
        rows = _from_path(arguments.path("source", source), request, layout)
    elif are_files:
        rows = _from_paths(source, request, layout)
    else:
        layout.refuse("source")
        if is_collection(source):
            rows = _of_collection(source, request)
        else:
            rows = (
                IteratorRows(source, request) if callable(source) else _in_memory(source, request)
            )
    if rows.n_rows < 1 or rows.n_features == 0:
        raise DataError(
            f"{rows.name}: expected at least one row and one column of features, got {rows.n_rows}"
            f" and {rows.n_features}"
        )
    if cluster is not None:
        rows.cluster = cluster
        if isinstance(given, str | os.PathLike):
            rows.name = os.fspath(given)
    for remark in rows.remarks:
        warnings.warn(f"{rows.name}: {remark}", stacklevel=2)
    return rows


def _check_client(cluster: Any, are_files: bool) -> None:
    if not are_files:
        raise TypeError(
            "cluster: expected None for rows that are not in files; Dask's arrays and DataFrames"
            " are on the cluster of the active client"
        )
    if not (callable(getattr(cluster, "submit", None)) and hasattr(cluster, "scheduler_info")):
        expected = "cluster: expected a distributed.Client or None"
        raise TypeError(f"{expected}, got {arguments.describe(cluster)}")


def _absolute(source: Any) -> Any:
    """Return paths as workers need them, which may have been started in another folder."""
    if isinstance(source, list | tuple):
        return [arguments.path(f"source[{i}]", each).absolute() for i, each in enumerate(source)]
    return arguments.path("source", source).absolute()


def _from_path(path: Path, request: ColumnRequest, layout: TextLayout) -> Rows:
    expected = "a file or folder that exists"
    if "*" in path.name:
        expected += " (for the files of a pattern, the list that glob.glob returns)"
    with arguments.path_errors("source", expected):
        mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        return folder_rows(path, request, layout)
    _check_format(path, mode)
    return open_file(path, request, layout)


def _is_list_of_paths(source: Any) -> bool:
    """Return whether it is a list of paths; refuse one of other things, too, or an empty one."""
    if not isinstance(source, list | tuple):
        return False
    if not source:
        raise DataError("source: expected at least one path, or one row, got none")
    kinds = set(map(type, source))
    others = {kind for kind in kinds if not issubclass(kind, str | os.PathLike)}
    if others and len(others) < len(kinds):
        other = next(value for value in source if type(value) in others)
        got = f"also {arguments.describe(other)}"
        raise TypeError(f"source: expected paths only, or none, in a list, got {got}")
    return not others


def _from_paths(values: Any, request: ColumnRequest, layout: TextLayout) -> Rows:
    paths = [arguments.path(f"source[{i}]", value) for i, value in enumerate(values)]
    for i, path in enumerate(paths):
        with arguments.path_errors(f"source[{i}]", "a file that exists"):
            mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ValueError(f"source[{i}]: expected a file, got the folder {path}")
        _check_format(path, mode)
    name = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    return Shards(name, paths, request, layout)


def _check_format(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode) or not is_known(path):
        got = "" if stat.S_ISREG(mode) else ", got a pipe or device: write it into a file first"
        expected = f"expected a folder, or a file that ends in {', '.join(FORMATS)}"
        raise ValueError(f"{path}: {expected}{got}")


def _in_memory(value: Any, request: ColumnRequest) -> Rows:
    if isinstance(value, Iterator) and not frames.exports_arrow(value):
        raise TypeError(
            "source: expected a callable that returns a fresh iterator at every call, got"
            f" {arguments.describe(value)}"
        )
    features, extra, names, remarks = parts_of("source", value, request)
    rows: Rows = ArrayRows(features, "source")
    if extra.labels is not None or extra.weight is not None:
        rows = Labelled(rows, extra.labels, extra.weight)
    rows.feature_names, rows.remarks = names, remarks
    return rows


def _of_collection(value: Any, request: ColumnRequest) -> Rows:
    _, width = shape_of("source", value)
    names = names_of(value)
    roles = request.roles("source", range(width) if names is None else names)
    rows = chosen_rows("source", value, roles.sides)
    rows.remarks = roles.remarks
    return rows
