"""One pass over rows by the workers of a cluster, which read them where they lie."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from fastbp.data.rows import Rows
from fastbp.system.versions import what_bits_depend_on
from fastbp.training.cluster.connection import Connection

PORTIONS_OF_A_THREAD = 4  # more show better how far the pass is, but each opens the rows


def over_portions(
    rows: Rows, function: Callable[[Rows, int], Any], multiple: int
) -> Iterator[tuple[int, Any]]:
    """Have workers call a function of a module on consecutive portions of rows.

    It is given a portion as rows of its own, and the index of its first row.

    Yields
    ------
    n_rows : int
        How many rows the portion has: a multiple of `multiple`, but for the last one.
    result : object
        What the function returns, in the order of the portions.
    """
    connection = Connection(rows.cluster)
    waiting: deque[tuple[int, Any]] = deque()
    try:
        with connection.translated():
            waiting += _submitted(rows, function, multiple, connection)
        while waiting:
            n_rows, future = waiting[0]
            with connection.translated():
                result, bits = connection.result(future)
                connection.compare(bits)
            waiting.popleft()
            yield n_rows, result
    finally:
        for _, future in waiting:
            future.cancel()


def _submitted(
    rows: Rows, function: Callable[[Rows, int], Any], multiple: int, connection: Connection
) -> Iterator[tuple[int, Any]]:
    threads, n = connection.threads(), -(-rows.n_rows // multiple)
    addresses, n_portions = list(threads), min(n, PORTIONS_OF_A_THREAD * sum(threads.values()))
    bounds = [min(rows.n_rows, multiple * (n * i // n_portions)) for i in range(n_portions + 1)]
    rows.close()  # open files cannot be sent
    for i, (start, stop) in enumerate(pairwise(bounds)):
        where = addresses[i * len(addresses) // n_portions]
        future = connection.client.submit(
            of_portion, function, rows.portion(start, stop), start,
            workers=[where], allow_other_workers=True, pure=False,
        )  # fmt: skip
        yield stop - start, future


def of_portion(
    function: Callable[[Rows, int], Any], portion: Rows, start: int
) -> tuple[Any, dict[str, str]]:
    """Return what a function makes of a portion, and what its bits depend on."""
    try:
        return function(portion, start), what_bits_depend_on()
    finally:
        portion.close()
