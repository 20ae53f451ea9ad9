"""One pass over rows: here, or by the workers of a cluster, which read them where they lie."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

from fastbp.data.rows import Block, Rows
from fastbp.system.versions import what_bits_depend_on
from fastbp.training.cluster.connection import Connection
from fastbp.training.cluster.worker import PartRows, Piece

T = TypeVar("T")
OfBlocks = Callable[[Rows, int], Iterable[T]]
"""Yields something for each block of rows, whose first one has this index in all rows."""
PORTIONS_OF_A_THREAD = 4  # more show better how far the pass is, but each opens the rows


def over_blocks(rows: Rows, function: OfBlocks[T]) -> Iterator[T]:
    """Yield what a function does for all blocks in order, wherever it is called.

    It must be one of a module, or an object, that can be sent to a worker. The blocks are the same
    everywhere, but for those of a Dask collection on a cluster, which begin with each partition.
    """
    if rows.cluster is None:
        yield from function(rows, 0)
        return
    for _, results in over_portions(rows, partial(_collected, function), rows.block_rows):
        yield from results


def _collected(function: OfBlocks[Any], rows: Rows, first: int) -> list[Any]:
    return list(function(rows, first))


def over_portions(
    rows: Rows, function: Callable[[Rows, int], Any], multiple: int
) -> Iterator[tuple[int, Any]]:
    """Have workers call a function of a module on consecutive portions of rows.

    It is given a portion as rows of its own, and the index of its first row.

    Yields
    ------
    n_rows : int
        How many rows the portion has: a multiple of `multiple`, but for the last one; those of a
        partition if the rows are of a Dask collection.
    result : object
        What the function returns, in the order of the portions.
    """
    connection = Connection(rows.cluster)
    waiting: deque[tuple[int, Any]] = deque()
    try:
        with connection.translated():
            if rows.partitioned:
                waiting += _of_partitions(rows, function, connection)
            else:
                waiting += _submitted(rows, function, multiple, connection)
        while waiting:
            n_rows, future = waiting[0]
            with connection.translated():
                result, bits = connection.result(future)
                connection.compare(bits)
            waiting.popleft()
            yield n_rows, result
    finally:
        connection.cancel(future for _, future in waiting)


def _submitted(
    rows: Rows, function: Callable[[Rows, int], Any], multiple: int, connection: Connection
) -> Iterator[tuple[int, Any]]:
    threads, submit = connection.threads(), connection.client.submit
    for start, stop, how in cut(rows, multiple, threads, PORTIONS_OF_A_THREAD):
        yield stop - start, submit(of_portion, function, rows.portion(start, stop), start, **how)


def cut(
    rows: Rows, multiple: int, threads: dict[str, int], each: int
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Cut rows into portions for workers to read: `each` for a thread, if there are enough rows.

    `threads` are those of each worker, by its address.

    Yields
    ------
    start, stop : int
        They are multiples of `multiple`, or the end.
    how : dict
        Arguments of ``Client.submit``: the worker to read it, if it is not busy.
    """
    addresses, n = list(threads), -(-rows.n_rows // multiple)
    n_portions = min(n, each * sum(threads.values()))
    bounds = [min(rows.n_rows, multiple * (n * i // n_portions)) for i in range(n_portions + 1)]
    rows.close()  # open files cannot be sent
    for i, (start, stop) in enumerate(pairwise(bounds)):
        where = addresses[i * len(addresses) // n_portions]
        yield start, stop, {"workers": [where], "allow_other_workers": True, "pure": False}


def _of_partitions(
    rows: Any, function: Callable[[Rows, int], Any], connection: Connection
) -> Iterator[tuple[int, Any]]:
    client = connection.client
    blocks = client.compute(rows.parts)
    for (start, stop), block in zip(pairwise(rows.starts), blocks, strict=True):
        name = rows.locate(start)[0]
        named = name, rows.feature_names
        yield stop - start, client.submit(of_block, function, block, named, start, pure=False)


def of_block(
    function: Callable[[Rows, int], Any],
    block: Block,
    named: tuple[str, list[str] | None],
    start: int,
) -> tuple[Any, dict[str, str]]:
    """Return what a function makes of a partition, and what its bits depend on.

    `named` are the names of the partition and of its features, for messages.
    """
    name, names = named
    rows = PartRows(block, [Piece(name, slice(0, len(block.features)))], block.features.dtype)
    rows.feature_names = names
    return of_portion(function, rows, start)


def of_portion(
    function: Callable[[Rows, int], Any], portion: Rows, start: int
) -> tuple[Any, dict[str, str]]:
    """Return what a function makes of a portion, and what its bits depend on."""
    try:
        return function(portion, start), what_bits_depend_on()
    finally:
        portion.close()
