"""Text with a header, one row per line: ``.csv`` and ``.tsv``."""

from __future__ import annotations

import csv
import re
from array import array
from bisect import bisect_left, bisect_right
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fastbp.data import frames
from fastbp.data.rows import Block
from fastbp.data.sources import text_labels
from fastbp.data.sources.columns import ColumnRequest, refuse_repeated
from fastbp.data.sources.files import File, FileRows, damage_named
from fastbp.errors import DataError

CSV_STEP = 2**18
"""Bytes of text between rows whose offsets are kept, which are searched for a row."""
GUESS_STEPS = 4
"""The first steps, a mebibyte, decide whether labels are numbers."""
NEWLINE, RETURN = 10, 13
BOM = b"\xef\xbb\xbf"
RAGGED = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")


class Csv(FileRows):
    """Text with a header, one row per line; parsed by pyarrow, from any row on.

    Lines are separated before they are parsed, so no cell may contain a line break. Blank lines do
    not count, empty cells are NaN, `true` and `false` are 1 and 0. A single target whose cells in
    the first mebibyte are not all numbers holds classes.
    """

    def __init__(self, path: Path, request: ColumnRequest) -> None:
        self._arrow = frames.pyarrow_for(str(path))
        self._delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        self._logical: frozenset[str] = frozenset()
        file = File(path)
        names, first = _header(path, self._delimiter)
        roles = request.roles(str(path), names)
        self._names, self._used = names, [names[j] for j in roles.all]
        n_rows = self._find_rows(file, first)
        super().__init__(file, n_rows, roles, names, "float64")
        if self.label is not None and n_rows > 0:
            self.classes = self._classes(self.label)

    def _classes(self, label: str) -> list[Any] | None:
        """Return the distinct labels if the first ones are not all numbers, else None."""
        bounds = sorted({*self._rows[::GUESS_STEPS], self.n_rows})

        def piece(start: int, stop: int) -> Any:
            table = self._table(self._lines(start, stop), start, {label: self._arrow.string()})
            return table.column(0).combine_chunks()

        first = piece(*bounds[:2])
        words = self._words(first)
        if {*words.unique().tolist()} <= {"0", "1", None}:
            cells = {cell.strip().lower() for cell in first.unique().tolist()}
            return text_labels.BOOLEANS if cells & {"true", "false"} else None
        if self._is_number(words):
            return None
        pieces = (piece(start, stop) for start, stop in pairwise(bounds))
        return text_labels.classes_in(self, pieces)

    def _find_rows(self, file: File, position: int) -> int:
        """Count the rows, and keep where some of them begin."""
        self._rows, self._offsets = array("q"), array("q")
        n_rows, step = 0, CSV_STEP
        while position < file.size:
            data = file.read(position, min(step, file.size - position))
            end = data.tobytes().rfind(b"\n") + 1 if position + data.size < file.size else data.size
            if end == 0:  # the line is longer
                step *= 2
                continue
            self._rows.append(n_rows)
            self._offsets.append(position)
            n_rows += line_starts(data[:end]).size
            position += end
        return n_rows

    def fill(self, start: int, stop: int, block: Block) -> None:
        """Parse the lines of these rows; OUT `block`."""
        if start == stop:
            return
        pa = self._arrow
        kinds = {name: pa.bool_() if name in self._logical else pa.float64() for name in self._used}
        if self.label is not None and self.classes is not None:
            kinds[self.label] = pa.string()
        table = self._table(self._lines(start, stop), start, kinds)
        if table.num_rows != stop - start:
            raise DataError(
                f"{self.name}: expected {stop - start} rows from row {start} on, one per line, got"
                f" {table.num_rows}: a cell contains a line break, or lines end in something other"
                " than \\n",
                start,
            )
        columns = [self._numbers(table.column(name), name, start) for name in self._used]
        self.roles.spread(columns, block)

    def _lines(self, start: int, stop: int) -> Any:
        """Return the bytes of rows."""
        i, j = bisect_right(self._rows, start) - 1, bisect_left(self._rows, stop)
        end = self._offsets[j] if j < len(self._offsets) else self.file.size
        data = self.file.read(self._offsets[i], end - self._offsets[i])
        starts = line_starts(data)
        first, beyond = start - self._rows[i], stop - self._rows[i]
        if starts.size < beyond:
            raise DataError(
                f"{self.name}: expected {self.n_rows} rows, got another number: the file was"
                " changed while it was read",
                self._rows[i] + starts.size,
            )
        return data[starts[first] : starts[beyond] if beyond < starts.size else data.size]

    def _table(self, data: np.ndarray, first: int, kinds: dict[str, Any]) -> Any:
        """Parse rows: columns as these types or, if some cell is of another, all as text."""
        from pyarrow import csv as arrow_csv

        size = min(max(2**20, data.size + 1), 2**31 - 1)  # no row may cross pyarrow's blocks
        try:
            return arrow_csv.read_csv(
                self._arrow.BufferReader(self._arrow.py_buffer(data)),
                arrow_csv.ReadOptions(column_names=self._names, use_threads=False, block_size=size),
                arrow_csv.ParseOptions(delimiter=self._delimiter),
                arrow_csv.ConvertOptions(column_types=kinds, include_columns=list(kinds)),
            )
        except self._arrow.ArrowInvalid as error:
            ragged = RAGGED.search(str(error))
            if ragged:
                row = first + int(ragged[1]) - 1
                raise DataError(
                    f"{self.name}: expected {ragged[2]} cells, got {ragged[3]} in row {row}", row
                ) from None
            text = dict.fromkeys(kinds, self._arrow.string())
            if kinds != text:
                return self._table(data, first, text)
            raise DataError(f"{self.name}: expected text in UTF-8, got {error}", first) from None

    def _numbers(self, column: Any, name: str, first: int) -> np.ndarray:
        """Return numbers or, of labels that are classes, class indices."""
        if name == self.label and self.classes is not None:
            logical = self.classes == text_labels.BOOLEANS
            known = ["0", "1"] if logical else self.classes
            cells = self._words(column) if logical else column
            return text_labels.indices_in(self, known, cells.combine_chunks(), first)
        if column.type == self._arrow.string():
            column = self._from_text(column, name, first)
        return frames.numbers(column)

    def _words(self, column: Any) -> Any:
        """Return trimmed text, with NULL for missing values, 1 for true and 0 for false."""
        from pyarrow import compute, csv

        gap = compute.is_in(column, self._arrow.array(csv.ConvertOptions().null_values))
        text = compute.if_else(gap, self._arrow.scalar(None, column.type), column)
        text = compute.utf8_trim_whitespace(text)
        lower = compute.utf8_lower(text)
        for word, number in (("true", "1"), ("false", "0")):
            text = compute.if_else(compute.equal(lower, word), number, text)
        return text

    def _from_text(self, column: Any, name: str, first: int) -> Any:
        """Return numbers in a column that pyarrow could not parse as numbers."""
        text = self._words(column)
        if {*text.unique().tolist()} <= {"0", "1"}:
            self._logical |= {name}  # later pieces are parsed as booleans immediately
        if self._is_number(text):
            return text.cast(self._arrow.float64())
        row = bisect_left(range(len(text)), True, key=lambda i: not self._is_number(text[: i + 1]))
        raise DataError(
            f"{self.name}: column {name!r}: expected a number, got {column[row].as_py()!r} in"
            f" row {first + row}",
            first + row,
        )

    def _is_number(self, text: Any) -> bool:
        try:
            text.cast(self._arrow.float64())
        except self._arrow.ArrowInvalid:
            return False
        return True


def _header(path: Path, delimiter: str) -> tuple[list[str], int]:
    """Return the names in the first line that is not blank, and where the next line begins."""
    with path.open("rb") as file:
        lines = (line.removeprefix(BOM) for line in file)
        line = next((line for line in lines if line[:1] not in b"\r\n"), b"")
        end = file.tell()
    if not line:
        raise DataError(f"{path}: expected a header, got an empty file")
    with damage_named(path, "a header in UTF-8"):
        names = next(csv.reader([line.decode()], delimiter=delimiter, strict=True))
    refuse_repeated(str(path), names)
    return names, end


def line_starts(data: np.ndarray) -> np.ndarray:
    """Return where lines that are not blank begin; the first byte begins a line."""
    starts = np.concatenate(([0], np.flatnonzero(data == NEWLINE) + 1))
    starts = starts[: np.searchsorted(starts, data.size)]
    first = data[starts]
    lines: np.ndarray = starts[(first != NEWLINE) & (first != RETURN)]
    return lines
