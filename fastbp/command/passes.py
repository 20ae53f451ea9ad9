"""Passes over all rows outside of fits: here, or by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

from fastbp.data.rows import Rows
from fastbp.training.cluster.portions import over_portions

T = TypeVar("T")
OfBlocks = Callable[[Rows, int], Iterable[T]]
"""Yields something for each block of rows, whose first one has this index in all rows."""


def over_blocks(rows: Rows, function: OfBlocks[T]) -> Iterator[T]:
    """Yield what a function does for all blocks in order, wherever it is called.

    It must be one of a module, or an object, that can be sent to a worker.
    """
    if rows.cluster is None:
        yield from function(rows, 0)
        return
    for _, results in over_portions(rows, partial(_collected, function), rows.block_rows):
        yield from results


def _collected(function: OfBlocks[Any], rows: Rows, first: int) -> list[Any]:
    return list(function(rows, first))
