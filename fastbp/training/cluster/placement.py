"""Where the rows of a fit lie on a cluster: parts of whole groups, one task each."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from fastbp.data.labels import Samples
from fastbp.data.rows import WHOLE_BYTES, Choose
from fastbp.kernels.cache import users_level
from fastbp.training.cluster.portions import cut
from fastbp.training.cluster.worker import (
    Checks,
    Piece,
    facts_of,
    part_of_blocks,
    part_of_rows,
    picked,
)

PARTS_OF_A_THREAD = 2  # of files: so much is to be computed again where a worker dies


class Placed(NamedTuple):
    """The groups `first` to `stop` of some rows, and the future of the part that holds them."""

    first: int
    stop: int
    part: Any


def place(samples: Samples, group_rows: int, client: Any, threads: dict[str, int]) -> list[Placed]:
    """Cut rows into parts and have workers hold them; return the parts in order.

    `threads` are those of each worker, by its address.

    Rows of a Dask collection stay where they are, but for those of a group that begins in one
    partition and ends in another; a warning says how many move. Others are read by the workers.
    """
    rows, n_rows = samples.rows, samples.rows.n_rows
    base: Any
    base, choose = rows.base()
    if not base.partitioned:
        placed = []
        for start, stop, how in cut(rows, group_rows, threads, PARTS_OF_A_THREAD):
            part = client.submit(part_of_rows, rows.portion(start, stop), _checks(samples), **how)
            placed.append(Placed(start // group_rows, -(-stop // group_rows), part))
        return placed
    starts = [_position(start, choose, n_rows) for start in base.starts]
    n_groups = -(-n_rows // group_rows)
    bounds = _bounds(starts, group_rows, n_groups, math.ceil(n_groups / sum(threads.values())))
    return _of_partitions(samples, bounds, group_rows, client)


def _checks(samples: Samples) -> Checks:
    assert samples.targets is not None
    names = samples.rows.feature_names
    return Checks(samples.class_indices, samples.targets, samples.names, names)


def _position(row: int, choose: Choose | None, n_rows: int) -> int:
    """Return how many of the chosen rows are before a row of the source."""
    if choose is None:
        return row
    low, high = 0, n_rows
    while low < high:
        middle = (low + high) // 2
        if int(choose(np.array([middle]))[0]) < row:
            low = middle + 1
        else:
            high = middle
    return low


def _bounds(starts: list[int], group_rows: int, n_groups: int, most: int) -> list[int]:
    """Return the groups that parts begin with: near to where partitions do, `most` in each."""
    near = {min(n_groups, round(start / group_rows)) for start in starts}
    found = sorted({0, *near, n_groups})
    return [
        first + (stop - first) * i // n
        for first, stop in pairwise(found)
        for n in [-(-(stop - first) // most)]
        for i in range(n)
    ] + [n_groups]


def _of_partitions(
    samples: Samples, bounds: list[int], group_rows: int, client: Any
) -> list[Placed]:
    """Cut and join the partitions of a Dask collection where they lie."""
    rows, n_rows = samples.rows, samples.rows.n_rows
    base: Any
    base, choose = rows.base()
    blocks = client.compute(base.parts)
    placed, moved = [], 0
    for first, stop in pairwise(bounds):
        pieces = _pieces(base, choose, first * group_rows, min(stop * group_rows, n_rows))
        parts = [
            blocks[i] if whole else client.submit(picked, blocks[i], piece.rows, pure=False)
            for i, piece, whole in pieces
        ]
        sizes = [len(piece) for _, piece, _ in pieces]
        moved += sum(sizes) - max(sizes)
        part = client.submit(
            part_of_blocks, parts, [piece for _, piece, _ in pieces], _checks(samples), pure=False
        )  # fmt: skip
        placed.append(Placed(first, stop, part))
    if moved and (len(bounds) > 2 or moved * rows.row_bytes > WHOLE_BYTES):  # not for a few rows
        warnings.warn(
            f"{rows.name}: {moved:,} of {n_rows:,} rows move to another worker, once, because"
            f" groups of {group_rows:,} rows are summed up on one; chunks of that many rows, or of"
            " a multiple, would stay where they are",
            stacklevel=users_level(),
        )
    return placed


def _pieces(
    base: Any, choose: Choose | None, start: int, stop: int
) -> list[tuple[int, Piece, bool]]:
    """Return the number of each partition that rows lie in, which of its rows, whether all."""
    begin, end, chosen = start, stop, None
    if choose is not None:
        chosen = choose(np.arange(start, stop))
        begin, end = int(chosen[0]), int(chosen[-1]) + 1
    found = []
    for i, (first, last) in enumerate(pairwise(base.starts)):
        a, b = max(first, begin), min(last, end)
        if a >= b:
            continue
        some: slice | np.ndarray = slice(a - first, b - first)
        if chosen is not None:
            some = chosen[np.searchsorted(chosen, a) : np.searchsorted(chosen, b)] - first
        if isinstance(some, slice) or len(some):
            whole = some == slice(0, last - first) if isinstance(some, slice) else False
            found.append((i, Piece(base.locate(first)[0], some), whole))
    return found


def facts(placed: list[Placed], client: Any) -> list[Any]:
    """Return futures of what is known of each part."""
    return [client.submit(facts_of, each.part, pure=False) for each in placed]
