"""Parquet and Arrow's own formats, read as record batches."""

from __future__ import annotations

import io
import os
from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import numpy as np

from fastbp.data import frames
from fastbp.data.rows import Block
from fastbp.data.sources import text_labels
from fastbp.data.sources.columns import LEAVE_OUT, ColumnRequest, Roles
from fastbp.data.sources.files import File, FileRows, Sequential, damage_named
from fastbp.errors import DataError


class Batches(Sequential, FileRows):
    """A file that pyarrow reads as record batches, from the beginning of any of its parts on.

    `Sequential.fill` calls `pieces`; `FileRows` holds the names and the roles, whose `spread` puts
    columns where they belong. `expected` is what messages call the format.
    """

    expected: str

    def __init__(self, path: Path, request: ColumnRequest) -> None:
        self._pyarrow = frames.pyarrow_for(str(path))
        self._path = str(path)
        with self._damage_named():
            schema, lengths = self._look()
        roles = _roles_in(str(path), schema, request)
        self._used = [schema.names[j] for j in roles.all]
        if lengths is None:
            with self._damage_named():
                lengths = [batch.num_rows for batch in self._read(0, self._used[:1], 2**16)]
        self._starts = [0, *accumulate(lengths)][:-1]
        super().__init__(File(path), sum(lengths), roles, schema.names, "float64")
        if len(roles.labels) != 1:
            return
        label = schema.field(roles.labels[0])
        if label.type == self._pyarrow.bool_():
            self.classes = text_labels.BOOLEANS
        elif frames.is_text(label.type):
            texts = (_text(b.column(0)) for b in self._read(0, [label.name], self.block_rows))
            with self._damage_named():
                self.classes = text_labels.classes_in(self, texts)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_pyarrow": None}  # a module cannot be pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._pyarrow = frames.pyarrow_for(self._path)

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        """Name the file in errors; a size that no memory holds is one of its damages, too."""
        with damage_named(self._path, self.expected):
            try:
                yield
            except self._pyarrow.ArrowMemoryError as error:
                raise DataError(f"{self._path}: expected {self.expected}, got {error}") from error

    @abstractmethod
    def _look(self) -> tuple[Any, list[int] | None]:
        """Return the schema and the rows of each part; None where each batch read is a part."""

    @abstractmethod
    def _read(self, part: int, columns: list[str], n_rows: int) -> Iterator[Any]:
        """Yield batches of these columns from a part on, of `n_rows` rows if that can be chosen."""

    def pieces(self, start: int) -> tuple[int, Iterator[Block]]:
        """Begin with the part that holds the row."""
        i = bisect_right(self._starts, start) - 1
        return self._starts[i], self._blocks(i)

    def _blocks(self, part: int) -> Iterator[Block]:
        row, step = self._starts[part], self.block_rows
        with self._damage_named():
            for batch in self._read(part, self._used, step):
                for a in range(0, batch.num_rows, step):
                    some = batch.slice(a, step)
                    block = self.empty(some.num_rows)
                    columns = [self._numbers(name, some.column(name), row) for name in self._used]
                    self.roles.spread(columns, block)
                    row += some.num_rows
                    yield block

    def _numbers(self, name: str, column: Any, row: int) -> np.ndarray:
        if self.classes is None or name != self.label:
            return frames.numbers(column)
        return text_labels.indices_in(self, self.classes, _text(column), row)


def _text(column: Any) -> Any:
    """Return a column of labels as text, whatever Arrow's type for it is, or as booleans."""
    import pyarrow as pa

    return column if column.type == pa.bool_() else column.cast(pa.large_string())


def _roles_in(name: str, schema: Any, request: ColumnRequest) -> Roles:
    with damage_named(name, "a schema"):
        names = schema.names
    roles = request.roles(name, names, index=frames.index_names(schema))
    for index in roles.all:
        field = schema.field(index)
        text = frames.is_text(field.type)
        if not (frames.is_number(field.type) or (roles.labels == [index] and text)):
            hint = LEAVE_OUT
            if index in roles.labels:
                hint = "; text makes classes of a single target" if text else ""
            got = f"expected numbers, got {field.type}{hint}"
            raise DataError(f"{name}: column {field.name!r}: {got}", column=field.name)
    return roles


class Parquet(Batches):
    """A Parquet file, whose parts are row groups."""

    expected = "a Parquet file"

    def _opened(self) -> Any:  # buffered: whole columns of a row group are never in memory
        from pyarrow import parquet

        return parquet.ParquetFile(self._path, memory_map=False, buffer_size=2**16)

    def _look(self) -> tuple[Any, list[int]]:
        with self._opened() as file:
            meta = file.metadata
            groups = range(meta.num_row_groups)
            return file.schema_arrow, [meta.row_group(i).num_rows for i in groups]

    def _read(self, part: int, columns: list[str], n_rows: int) -> Iterator[Any]:
        with self._opened() as file:
            yield from file.iter_batches(n_rows, list(range(part, file.num_row_groups)), columns)


class Bounded(io.BufferedReader):
    """A file that refuses to read more than it has; pyarrow would allocate what it asks for."""

    def __init__(self, path: str) -> None:
        super().__init__(io.FileIO(path))

    def read(self, size: int | None = -1, /) -> bytes:
        has = os.fstat(self.fileno()).st_size
        if size is not None and size > has:
            raise ValueError(f"a part of {size} bytes in a file of {has} bytes")
        return super().read(size)


class Ipc(Batches):
    """Arrow's own format, as a file or as a stream; a record batch at a time is in memory."""

    expected = "Arrow's file or stream format"

    def _opened(self, source: Any, **options: Any) -> Any:
        ipc = self._pyarrow.ipc
        return (ipc.open_file if self._is_file else ipc.open_stream)(source, **options)

    def _look(self) -> tuple[Any, None]:
        with self._file() as source:
            self._is_file = source.read(6) == b"ARROW1"
            source.seek(0)
            self._schema = self._opened(source).schema
        return self._schema, None

    def _file(self) -> Any:
        return self._pyarrow.PythonFile(Bounded(self._path))

    def _read(self, part: int, columns: list[str], n_rows: int) -> Iterator[Any]:
        fields = [self._schema.get_field_index(name) for name in columns]
        options = self._pyarrow.ipc.IpcReadOptions(included_fields=fields)
        with self._file() as source:
            reader = self._opened(source, options=options)
            batches: Iterator[Any]
            if self._is_file:
                batches = map(reader.get_batch, range(part, reader.num_record_batches))
            else:
                batches = islice(reader, part, None)
            for batch in batches:
                batch.validate(full=True)  # pyarrow believes lengths, offsets and indices
                yield batch
            if not self._is_file and source.read(1):
                raise DataError(f"{self._path}: expected one stream, got more after its end")
