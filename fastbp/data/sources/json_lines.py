"""JSON, one object per line: ``.jsonl``."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

from fastbp.data.rows import BLOCK_BYTES, COPY_PARSED
from fastbp.data.sources.arrow import Batches
from fastbp.errors import DataError

IN_ROW = re.compile(r"(.*) in row (\d+)$")
OF_COLUMN = re.compile(r"Column\(/(.*)\) changed")


class JsonLines(Batches):
    """Objects one after another, each a row; a block of text at a time is in memory.

    The first block decides which columns there are, and whether they hold numbers. A value that is
    missing or null is NaN. Columns that are not used may hold anything, and change their type.
    """

    copy_pays_from = COPY_PARSED

    expected = "JSON, one object per line"

    def _opened(self, **options: Any) -> Any:
        from pyarrow import json as arrow_json

        block = arrow_json.ReadOptions(block_size=BLOCK_BYTES)
        return arrow_json.open_json(self._path, block, arrow_json.ParseOptions(**options))

    def _look(self) -> tuple[Any, None]:
        from pyarrow import types

        try:
            with self._opened() as reader:
                found = reader.schema
        except self._pyarrow.ArrowInvalid as error:
            if not OF_COLUMN.search(str(error)):
                raise self._in_row(error, 0) from error
            found = self._schema_of_first_values()
        number = self._pyarrow.float64()  # later blocks may have fractions where this one has none
        self._schema = self._pyarrow.schema(
            field.with_type(number)
            if types.is_integer(field.type) or types.is_null(field.type)
            else field
            for field in found
        )
        return self._schema, None

    def _schema_of_first_values(self) -> Any:
        """Return the schema of a first block in which some column changes its type.

        The first value that is not null decides the type of its column, and pyarrow sees those
        of this type alone. If the column is used, reading it fails in the row where it changes.
        """
        from pyarrow import json as arrow_json

        kinds: dict[str, type] = {}
        alike = []
        for row in self._first_rows():
            kept = {name: _outside(value) for name, value in row.items()}
            for name, value in kept.items():
                if value is not None and kinds.setdefault(name, _kind(value)) is not _kind(value):
                    kept[name] = None
            alike.append(json.dumps(kept))
        try:
            return arrow_json.read_json(io.BytesIO("\n".join(alike).encode())).schema
        except self._pyarrow.ArrowInvalid as error:
            raise self._in_row(error, 0) from error

    def _first_rows(self) -> Iterator[dict[str, Any]]:
        """Give the rows of the first block."""
        with self._pyarrow.input_stream(self._path, compression="detect") as stream:
            text = stream.read(BLOCK_BYTES)
        lines = text.splitlines()
        if len(text) == BLOCK_BYTES:
            lines.pop()  # which may be cut
        for row, line in enumerate(filter(bytes.strip, lines)):
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                found = None
            if not isinstance(found, dict):
                got = f"{line[:60].decode(errors='replace')!r} in row {row}"
                raise DataError(f"{self._path}: expected {self.expected}, got {got}", row)
            yield found

    def _read(self, part: int, columns: list[str], n_rows: int) -> Iterator[Any]:
        schema = self._pyarrow.schema(self._schema.field(name) for name in columns)
        first = 0
        try:
            reader = self._opened(explicit_schema=schema, unexpected_field_behavior="ignore")
            for number, batch in enumerate(reader):
                if number >= part:
                    yield batch
                first += batch.num_rows
        except self._pyarrow.ArrowInvalid as error:
            raise self._in_row(error, first) from error

    def _in_row(self, error: Exception, first: int) -> Exception:
        """Return the error with its row: pyarrow counts from the beginning of the block."""
        found = IN_ROW.search(str(error))
        if found is None:
            return error
        row, column = first + int(found[2]), OF_COLUMN.search(found[1])
        got = f"expected {self.expected}, got {found[1]} in row {row}"
        return DataError(f"{self._path}: {got}", row, column and column[1])


def _outside(value: Any) -> Any:
    """Return a value without what is inside it, which may change its type, too."""
    return type(value)() if isinstance(value, dict | list) else value


def _kind(value: Any) -> type:
    """Return the type that pyarrow takes a value for."""
    return float if type(value) is int else type(value)
