"""Text, one row per line: ``.csv`` and ``.tsv``, compressed or not."""

from __future__ import annotations

import codecs
import csv
import io
import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

import numpy as np

from fastbp import arguments
from fastbp.data import frames
from fastbp.data.rows import COPY_PARSED, Block
from fastbp.data.sources import text_labels
from fastbp.data.sources.columns import ColumnRequest, Roles
from fastbp.data.sources.files import File, FileRows, Sequential, damage_named
from fastbp.errors import DataError

CSV_STEP = 2**18
"""Bytes of text between rows whose offsets are kept, which are searched for a row."""
GUESS_STEPS = 4
"""The first steps, a mebibyte, decide whether labels are numbers."""
NEWLINE, RETURN = 10, 13
LONGEST_HEADER = 2**26
"""Bytes of a first line; a larger one is no text."""
RAGGED = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")
COMMA = re.compile(r"[+-]?\d+,\d+")
INTEGER = re.compile(r"[+-]?\d+")
FRACTION = re.compile(r"[+-]?\d*[.,]\d+([eE][+-]?\d+)?")
ENCODE = "save the file as UTF-8"


class TextLayout(NamedTuple):
    """How text is laid out; None as a delimiter means that the file's suffix tells it."""

    delimiter: str | None = None
    decimal: str = "."
    header: bool = True

    @classmethod
    def checked(cls, delimiter: Any, decimal: Any, header: Any) -> TextLayout:
        """Check the arguments of these names."""
        marks = {"delimiter": delimiter, "decimal": decimal}
        for name, mark in marks.items():
            if mark is None and name == "delimiter":
                continue
            if not isinstance(mark, str):
                raise TypeError(f"{name}: expected a character, got {arguments.describe(mark)}")
            if len(mark) != 1 or not mark.isascii() or mark.isalnum() or mark in '"\r\n+-':
                raise ValueError(f"{name}: expected a single punctuation mark, got {mark!r}")
        if not isinstance(header, bool | np.bool_):
            raise TypeError(f"header: expected True or False, got {arguments.describe(header)}")
        return cls(delimiter, decimal, bool(header))

    def refuse(self, name: str) -> None:
        """Refuse options of text for a source that is none."""
        for argument, value, usual in zip(self._fields, self, TextLayout(), strict=True):
            if value != usual:
                expected = f"{argument}: expected none for {name}, which is no .csv or .tsv file"
                raise ValueError(f"{expected}, got {value!r}")


class Csv(FileRows):
    """Text, one row per line, with a header or without; parsed by pyarrow, from any row on.

    Lines are separated before they are parsed, so no cell may contain a line break. Blank lines do
    not count, empty cells are NaN, `true` and `false` are 1 and 0. A single target whose cells in
    the first mebibyte are not all numbers holds classes.
    """

    copy_pays_from = COPY_PARSED

    def __init__(self, path: Path, request: ColumnRequest, layout: TextLayout) -> None:
        self._arrow = frames.pyarrow_for(str(path))
        tabs = ".tsv" in (suffix.lower() for suffix in path.suffixes)
        self._delimiter, self._decimal = layout.delimiter or ("\t" if tabs else ","), layout.decimal
        if self._decimal == self._delimiter:
            got = f"{self._decimal!r} as both for {path}"
            raise ValueError(f"decimal: expected another mark than the delimiter, got {got}")
        self._logical: frozenset[int] = frozenset()
        file = File(path)
        with damage_named(path, self._expected), self._opened(path) as stream:
            cells, self._body = _header(stream, str(path), self._delimiter, layout)
        names = cells if layout.header else None
        self._names: list[str] | range = range(len(cells)) if names is None else names
        roles = self._roles(path, request)
        self._rows, self._offsets = array("q"), array("q")
        super().__init__(file, 0, roles, names, "float64")
        offset = self._body
        for text in self._texts():
            self._rows.append(self.n_rows)
            self._offsets.append(offset)
            self.n_rows += line_starts(text).size
            offset += text.size
        if len(roles.labels) == 1 and self.n_rows > 0:
            self.classes = self._classes()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_arrow": None}  # a module cannot be pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._arrow = frames.pyarrow_for(self.name)

    def _roles(self, path: Path, request: ColumnRequest) -> Roles:
        """Return the roles of columns; where names are numbers, say that they may be a row."""
        names = [name.strip() for name in self._names if isinstance(name, str)]
        fractions = [name for name in names if FRACTION.fullmatch(name)]
        hint = "header=False takes the first line for a row"
        try:
            roles = request.roles(str(path), self._names)
        except ValueError as error:
            if not fractions and not all(map(INTEGER.fullmatch, names or [""])):
                raise
            raise type(error)(f"{error}; {hint}") from None
        if fractions and any(str(self._names[j]).strip() in fractions for j in roles.all):
            remark = f"the column {fractions[0]!r} is called by a number; {hint}"
            roles = replace(roles, remarks=(*roles.remarks, remark))
        return roles

    _expected = "text"

    def _opened(self, path: Path) -> IO[bytes]:
        return path.open("rb")

    def _texts(self) -> Iterator[np.ndarray]:
        """Give the bytes of all rows, from front to back, in pieces of whole lines."""
        with damage_named(self.file.path, self._expected), self._opened(self.file.path) as stream:
            stream.read(self._body)
            rest = b""
            while data := stream.read(max(CSV_STEP, len(rest))):
                data = rest + data
                end = data.rfind(b"\n") + 1
                rest = data[end:]
                if end > 0:
                    yield np.frombuffer(data, np.uint8, end)
            if rest:
                yield np.frombuffer(rest, np.uint8)

    def _labels(self) -> Iterator[Any]:
        """Give the labels as text, a piece at a time."""
        row = 0
        for text in self._texts():
            table = self._table(text, row, {self.roles.labels[0]: self._arrow.string()})
            row += table.num_rows
            yield table.column(0).combine_chunks()

    def _classes(self) -> list[Any] | None:
        """Return the distinct labels if the first ones are not all numbers, else None."""
        first = self._arrow.concat_arrays(list(islice(self._labels(), GUESS_STEPS)))
        words = self._words(first)
        if {*words.unique().tolist()} <= {"0", "1", None}:
            cells = {cell.strip().lower() for cell in first.unique().tolist()}
            return text_labels.BOOLEANS if cells & {"true", "false"} else None
        if self._is_number(words):
            return None
        return text_labels.classes_in(self, self._labels())

    def take_labels_for_text(self) -> None:
        if self.classes is None and self.n_rows > 0:
            self.classes = text_labels.classes_in(self, self._labels())

    def fill(self, start: int, stop: int, block: Block) -> None:
        if start < stop:
            self._parse(self._lines(start, stop), start, block)

    def _parse(self, text: np.ndarray, first: int, block: Block) -> None:
        """Parse the lines of rows, from `first` on; OUT `block`."""
        pa = self._arrow
        kinds = {j: pa.bool_() if j in self._logical else pa.float64() for j in self.roles.all}
        if self.classes is not None:
            kinds[self.roles.labels[0]] = pa.string()
        table = self._table(text, first, kinds)
        if table.num_rows != len(block.features):
            self._refuse_lines(text, first)
        columns = [self._numbers(table.column(str(j)), j, first) for j in self.roles.all]
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

    def _table(self, text: np.ndarray, first: int, kinds: dict[int, Any]) -> Any:
        """Parse rows: columns as these types or, if some cell is of another, all as text."""
        from pyarrow import csv as arrow_csv

        size = min(max(2**20, text.size + 1), 2**31 - 1)  # no row may cross pyarrow's blocks
        indices = [str(j) for j in range(len(self._names))]
        types = {str(j): kind for j, kind in kinds.items()}
        try:
            return arrow_csv.read_csv(
                self._arrow.BufferReader(self._arrow.py_buffer(text)),
                arrow_csv.ReadOptions(column_names=indices, use_threads=False, block_size=size),
                arrow_csv.ParseOptions(delimiter=self._delimiter),
                arrow_csv.ConvertOptions(
                    column_types=types, include_columns=list(types), decimal_point=self._decimal
                ),
            )
        except self._arrow.ArrowInvalid as error:
            ragged = RAGGED.search(str(error))
            if ragged:
                row = first + int(ragged[1]) - 1
                raise DataError(
                    f"{self.name}: expected {ragged[2]} cells, got {ragged[3]} in row {row}", row
                ) from None
            as_text = dict.fromkeys(kinds, self._arrow.string())
            if kinds != as_text:
                return self._table(text, first, as_text)
            self._refuse_text(text, first, error)

    def _refuse_lines(self, text: np.ndarray, first: int) -> NoReturn:
        """Raise the DataError of lines that are not one row each."""
        lines = [line.tobytes() for line in np.split(text, line_starts(text)[1:])]
        for row, line in enumerate(lines, first):
            got = "one that ends within quotes" if line.count(b'"') % 2 else ""
            got = r"one with \r inside" if b"\r" in line.rstrip(b"\r\n") else got
            if got:
                raise DataError(
                    f"{self.name}: expected one row per line, got {got} in row {row}", row
                )
        raise DataError(
            f"{self.name}: expected one row per line, got others from row {first} on", first
        )

    def _refuse_text(self, text: np.ndarray, first: int, error: Exception) -> NoReturn:
        """Raise the DataError of text that cannot be parsed as text."""
        try:
            text.tobytes().decode()
        except UnicodeDecodeError as wrong:
            row = first + int(np.searchsorted(line_starts(text), wrong.start, side="right")) - 1
            got = f"got byte {text[wrong.start]:#04x} in row {row}; {ENCODE}"
            raise DataError(f"{self.name}: expected text in UTF-8, {got}", row) from None
        raise DataError(f"{self.name}: expected rows of text, got {error}", first) from None

    def _numbers(self, column: Any, index: int, first: int) -> np.ndarray:
        """Return numbers or, of labels that are classes, class indices."""
        if self.classes is not None and index == self.roles.labels[0]:
            logical = self.classes == text_labels.BOOLEANS
            known = ["0", "1"] if logical else self.classes
            cells = self._words(column) if logical else column
            return text_labels.indices_in(self, known, cells.combine_chunks(), first)
        if column.type == self._arrow.string():
            column = self._from_text(column, index, first)
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

    def _from_text(self, column: Any, index: int, first: int) -> Any:
        """Return numbers in a column that pyarrow could not parse as numbers."""
        text = self._words(column)
        if {*text.unique().tolist()} <= {"0", "1"}:
            self._logical |= {index}  # later pieces are parsed as booleans immediately
        if self._is_number(text):
            return self._with_point(text).cast(self._arrow.float64())
        row = bisect_left(range(len(text)), True, key=lambda i: not self._is_number(text[: i + 1]))
        cell = column[row].as_py()
        hint = "; decimal=',' reads it" if self._decimal == "." and COMMA.fullmatch(cell) else ""
        if not hint and first + row == 0 and isinstance(self._names, range):
            hint = " (is the first line a header?)"
        raise DataError(
            f"{self.name}: column {self._names[index]!r}: expected a number, got {cell!r} in row"
            f" {first + row}{hint}",
            first + row,
            self._names[index],
        )

    def _with_point(self, text: Any) -> Any:
        """Return text whose decimal marks are points; points make no numbers then."""
        from pyarrow import compute

        if self._decimal == ".":
            return text
        text = compute.replace_substring(text, ".", "?")
        return compute.replace_substring(text, self._decimal, ".")

    def _is_number(self, text: Any) -> bool:
        try:
            self._with_point(text).cast(self._arrow.float64())
        except self._arrow.ArrowInvalid:
            return False
        return True


class ZippedCsv(Sequential, Csv):
    """Compressed text, read as a stream."""

    _expected = "compressed text"

    def _opened(self, path: Path) -> IO[bytes]:
        codec = "gzip" if path.suffix.lower() == ".gz" else "zstd"
        raw = self._arrow.OSFile(str(path))
        stream: Any = self._arrow.CompressedInputStream(raw, codec)
        return io.BufferedReader(stream, CSV_STEP)

    def pieces(self, start: int) -> tuple[int, Iterator[Block]]:
        return 0, self._blocks()

    def _blocks(self) -> Iterator[Block]:
        row = 0
        for text in self._texts():
            block = self.empty(line_starts(text).size)
            self._parse(text, row, block)
            yield block
            row += len(block.features)


def _header(
    stream: IO[bytes], name: str, delimiter: str, layout: TextLayout
) -> tuple[list[str], int]:
    """Return the cells of the first line that is not blank, and where rows begin."""
    first = 0
    while line := stream.readline(LONGEST_HEADER):
        if line.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
            got = "compressed text; a name that ends in .gz or .zst says so"
            raise DataError(f"{name}: expected text in UTF-8, got {got}")
        if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in line:
            raise DataError(f"{name}: expected text in UTF-8, got UTF-16 or the like; {ENCODE}")
        start = len(codecs.BOM_UTF8) if first == 0 and line.startswith(codecs.BOM_UTF8) else 0
        line, first = line[start:], first + len(line)
        if line[:1] not in b"\r\n":
            break
    else:
        raise DataError(f"{name}: expected a header, got an empty file")
    if len(line) + start == LONGEST_HEADER:
        raise DataError(f"{name}: expected a first line of at most {LONGEST_HEADER} bytes")
    if b"\r" in line.rstrip(b"\r\n"):
        raise DataError(rf"{name}: expected lines that end in \n or \r\n, got \r alone")
    try:
        text = line.decode()
    except UnicodeDecodeError as wrong:
        got = f"got byte {line[wrong.start]:#04x} in the first line; {ENCODE}"
        raise DataError(f"{name}: expected text in UTF-8, {got}") from None
    cells = next(csv.reader([text], delimiter=delimiter, strict=True))
    others = [mark for mark in ";\t|," if mark in text and mark != delimiter]
    if len(cells) == 1 and layout.delimiter is None and '"' not in text and others:
        got = f"got {others[0]!r} in the first line; delimiter={others[0]!r} reads it"
        raise DataError(f"{name}: expected cells separated by {delimiter!r}, {got}")
    return cells, first if layout.header else first - len(line)


def line_starts(data: np.ndarray) -> np.ndarray:
    """Return where lines that are not blank begin; the first byte begins a line."""
    starts = np.concatenate(([0], np.flatnonzero(data == NEWLINE) + 1))
    starts = starts[: np.searchsorted(starts, data.size)]
    first = data[starts]
    lines: np.ndarray = starts[(first != NEWLINE) & (first != RETURN)]
    return lines
