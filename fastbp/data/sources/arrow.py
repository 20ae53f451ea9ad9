"""Parquet and Arrow's own formats, read as record batches."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fastbp.data import frames
from fastbp.data.rows import BLOCK_BYTES, Block
from fastbp.data.sources.columns import ColumnRequest, Roles, refuse_repeated
from fastbp.data.sources.files import File, FileRows, Sequential, damage_named
from fastbp.errors import DataError


class Batches(Sequential, FileRows):
    """A file that pyarrow reads as record batches, from some rows on.

    Parameters
    ----------
    starts : list of int
        The first row of each place from which batches can be read.
    batches : callable
        Takes the number of such a place and gives the batches from there on.
    """

    def __init__(
        self,
        path: Path,
        n_rows: int,
        roles: Roles,
        names: list[str],
        starts: list[int],
        batches: Callable[[int], Iterator[Any]],
    ) -> None:
        FileRows.__init__(self, File(path), n_rows, roles, names, "float64")
        self._used = [names[j] for j in roles.all]
        self._starts, self._batches = starts, batches
        self.begin()

    def pieces(self, start: int) -> tuple[int, Iterator[Block]]:
        """Begin at the last place from which the row can be reached."""
        i = bisect_right(self._starts, start) - 1
        return self._starts[i], self._blocks(i)

    def _blocks(self, place: int) -> Iterator[Block]:
        step = max(1, BLOCK_BYTES // self.row_bytes)
        with damage_named(self.name, "record batches"):
            for batch in self._batches(place):
                for a in range(0, batch.num_rows, step):
                    part = batch.slice(a, step)
                    block = self.empty(part.num_rows)
                    columns = [frames.numbers(part.column(name)) for name in self._used]
                    self.roles.spread(columns, block)
                    yield block


def _roles_in(path: Path, schema: Any, choice: ColumnRequest) -> Roles:
    refuse_repeated(str(path), schema.names)
    roles = choice.roles(str(path), schema.names)
    for place in roles.all:
        field = schema.field(place)
        if not frames.is_number(field.type):
            raise DataError(
                f"{path}: column {field.name!r}: expected numbers, got {field.type};"
                " columns=[...] names those to take"
            )
    return roles


def open_parquet(path: Path, choice: ColumnRequest) -> FileRows:
    """Open a Parquet file."""
    frames.pyarrow_for(str(path))
    from pyarrow import parquet

    def reader() -> Any:  # buffered: not whole columns of a row group in memory at once
        return parquet.ParquetFile(str(path), memory_map=False, buffer_size=2**16)

    with damage_named(path, "a Parquet file"), reader() as file:
        schema, meta = file.schema_arrow, file.metadata
        lengths = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
    roles = _roles_in(path, schema, choice)
    step = max(1, BLOCK_BYTES // (8 * max(1, len(roles.all))))

    def batches(group: int) -> Iterator[Any]:
        with reader() as file:
            yield from file.iter_batches(
                step, list(range(group, file.num_row_groups)), [schema.names[j] for j in roles.all]
            )

    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    return Batches(path, sum(lengths), roles, schema.names, starts, batches)


def open_ipc(path: Path, choice: ColumnRequest) -> FileRows:
    """Open Arrow's own format, as a file or as a stream; a record batch at a time is in memory."""
    pa = frames.pyarrow_for(str(path))
    with path.open("rb") as file:
        stream = file.read(6) != b"ARROW1"

    def batches(first: int, places: list[int]) -> Iterator[Any]:
        options = pa.ipc.IpcReadOptions(included_fields=places)
        with pa.OSFile(str(path)) as source:
            if stream:
                yield from pa.ipc.open_stream(source, options=options)
            else:
                reader = pa.ipc.open_file(source, options=options)
                yield from (reader.get_batch(i) for i in range(first, reader.num_record_batches))

    with damage_named(path, "Arrow's file or stream format"), pa.OSFile(str(path)) as source:
        schema = (pa.ipc.open_stream if stream else pa.ipc.open_file)(source).schema
    roles = _roles_in(path, schema, choice)
    with damage_named(path, "Arrow's file or stream format"):
        lengths = [batch.num_rows for batch in batches(0, roles.all[:1])]
    starts = [0] if stream else [sum(lengths[:i]) for i in range(len(lengths))]
    return Batches(
        path, sum(lengths), roles, schema.names, starts, lambda first: batches(first, roles.all)
    )
