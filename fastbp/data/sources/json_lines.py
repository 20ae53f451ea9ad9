"""JSON, one object per line: ``.jsonl``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fastbp.data.rows import BLOCK_BYTES
from fastbp.data.sources.arrow import Batches
from fastbp.errors import DataError

IN_ROW = re.compile(r"(.*) in row (\d+)$")


class JsonLines(Batches):
    """Objects one after another, each a row; a block of text at a time is in memory.

    The first block decides which columns there are, and whether they hold numbers. A value that is
    missing or null is NaN.
    """

    expected = "JSON, one object per line"

    def _opened(self, **options: Any) -> Any:
        from pyarrow import json

        block = json.ReadOptions(block_size=BLOCK_BYTES)
        return json.open_json(self._path, block, json.ParseOptions(**options))

    def _look(self) -> tuple[Any, None]:
        from pyarrow import types

        try:
            with self._opened() as reader:
                found = reader.schema
        except self._pyarrow.ArrowInvalid as error:
            raise self._in_row(error, 0) from error
        number = self._pyarrow.float64()  # later blocks may have fractions where this one has none
        self._schema = self._pyarrow.schema(
            field.with_type(number)
            if types.is_integer(field.type) or types.is_null(field.type)
            else field
            for field in found
        )
        return self._schema, None

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
        row = first + int(found[2])
        got = f"expected {self.expected}, got {found[1]} in row {row}"
        return DataError(f"{self._path}: {got}", row)
