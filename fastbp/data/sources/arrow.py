"""Parquet and Arrow's own formats, read as record batches."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from fastbp.data import frames
from fastbp.data.rows import BLOCK_BYTES, Block
from fastbp.data.sources import text_labels
from fastbp.data.sources.columns import ColumnRequest, Roles, refuse_repeated
from fastbp.data.sources.files import File, FileRows, Sequential, damage_named
from fastbp.errors import DataError

Reader = Callable[[int, list[str], int], Iterator[Any]]
"""Takes the index of a part of the file, the columns, and the rows that a batch should have at
most; gives the record batches of these columns from that part on."""


class Batches(Sequential, FileRows):
    """A file that pyarrow reads as record batches, from the beginning of any of its parts on.

    Parameters
    ----------
    path : Path
    kind : str
        What messages expect the file to be.
    schema : pyarrow.Schema
    request : ColumnRequest
    read : callable
        See `Reader`.
    lengths : list of int, optional
        The rows of each part; without it they are counted.
    any_batch : bool
        Whether each batch is a part, where they are counted; otherwise all of the file is one.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        schema: Any,
        request: ColumnRequest,
        read: Reader,
        lengths: list[int] | None = None,
        any_batch: bool = False,
    ) -> None:
        self._kind, self._read = kind, read
        roles = _roles_in(str(path), schema, request)
        self._used = [schema.names[j] for j in roles.all]
        self._label = schema.names[roles.labels[0]] if len(roles.labels) == 1 else None
        if lengths is None:
            with damage_named(path, kind):
                lengths = [batch.num_rows for batch in read(0, self._used[:1], 2**16)]
            lengths = lengths if any_batch else [sum(lengths)]
        self._starts = [0, *accumulate(lengths)][:-1]
        FileRows.__init__(self, File(path), sum(lengths), roles, schema.names, "float64")
        if self._label is not None:
            self.classes = self._classes(schema.field(self._label).type)
        self.begin()

    def _classes(self, kind: Any) -> list[Any] | None:
        from pyarrow import types

        if types.is_boolean(kind):
            return text_labels.BOOLEANS
        if not frames.is_text(kind):
            return None
        with damage_named(self.name, self._kind):
            batches = self._read(0, [self._label], self._step)
            pieces = (_labels_in(batch.column(0)) for batch in batches)
            return text_labels.classes_in(self.name, self._label, pieces)

    @property
    def _step(self) -> int:
        return max(1, BLOCK_BYTES // max(8, self.row_bytes))

    def pieces(self, start: int) -> tuple[int, Iterator[Block]]:
        """Begin at the last part from which the row can be reached."""
        i = bisect_right(self._starts, start) - 1
        return self._starts[i], self._blocks(i)

    def _blocks(self, part: int) -> Iterator[Block]:
        row, step = self._starts[part], self._step
        with damage_named(self.name, self._kind):
            for batch in self._read(part, self._used, step):
                for a in range(0, batch.num_rows, step):
                    some = batch.slice(a, step)
                    block = self.empty(some.num_rows)
                    self.roles.spread(
                        [self._numbers(some, name, row) for name in self._used], block
                    )
                    row += some.num_rows
                    yield block

    def _numbers(self, batch: Any, name: str, row: int) -> np.ndarray:
        column = batch.column(name)
        if self.classes is None or name != self._label:
            return frames.numbers(column)
        return text_labels.indices_in(self.classes, _labels_in(column), self.name, name, row)


def _labels_in(column: Any) -> Any:
    import pyarrow as pa

    return column if column.type == pa.bool_() else column.cast(pa.large_string())


def _roles_in(name: str, schema: Any, request: ColumnRequest) -> Roles:
    refuse_repeated(name, schema.names)
    roles = request.roles(name, schema.names)
    for index in roles.all:
        field = schema.field(index)
        if frames.is_number(field.type) or (roles.labels == [index] and frames.is_text(field.type)):
            continue
        hint = "columns=[...] names those to take"
        if index in roles.labels:
            hint = "only of a single target can text be the labels"
        raise DataError(
            f"{name}: column {field.name!r}: expected numbers, got {field.type}; {hint}"
        )
    return roles


def open_parquet(path: Path, request: ColumnRequest) -> FileRows:
    """Open a Parquet file."""
    frames.pyarrow_for(str(path))
    from pyarrow import parquet

    def opened() -> Any:  # buffered: not whole columns of a row group in memory at once
        return parquet.ParquetFile(str(path), memory_map=False, buffer_size=2**16)

    def read(group: int, columns: list[str], n_rows: int) -> Iterator[Any]:
        with opened() as file:
            yield from file.iter_batches(n_rows, list(range(group, file.num_row_groups)), columns)

    with damage_named(path, "a Parquet file"), opened() as file:
        schema, meta = file.schema_arrow, file.metadata
        lengths = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
    return Batches(path, "a Parquet file", schema, request, read, lengths)


def open_ipc(path: Path, request: ColumnRequest) -> FileRows:
    """Open Arrow's own format, as a file or as a stream; a record batch at a time is in memory."""
    pa = frames.pyarrow_for(str(path))
    kind = "Arrow's file or stream format"
    with path.open("rb") as start:
        stream = start.read(6) != b"ARROW1"
    opened = pa.ipc.open_stream if stream else pa.ipc.open_file
    with damage_named(path, kind), pa.OSFile(str(path)) as source:
        schema = opened(source).schema

    def read(first: int, columns: list[str], n_rows: int) -> Iterator[Any]:
        fields = [schema.get_field_index(name) for name in columns]
        with pa.OSFile(str(path)) as source:
            reader = opened(source, options=pa.ipc.IpcReadOptions(included_fields=fields))
            if stream:
                yield from reader
            else:
                yield from (reader.get_batch(i) for i in range(first, reader.num_record_batches))

    return Batches(path, kind, schema, request, read, any_batch=not stream)
