"""Predictions of any model: calls of a kernel for some rows each, by several threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastbp.data.arrays import read_only
from fastbp.data.rows import Rows
from fastbp.kernels.stored import passed
from fastbp.system.threads import team, threads_for

PREDICTED_DIRECTLY = 2**16  # units of work, 20 microseconds


def in_calls(
    compute: Callable[[np.ndarray, np.ndarray], bool],
    rows: Rows,
    outputs: np.ndarray,
    step: int,
    row_work: int,
    n_threads: int | None = None,
) -> np.ndarray:
    """Fill the outputs, `step` rows per call, with several threads where that is faster."""
    whole = rows.in_memory

    def fill(start: int) -> None:
        stop = min(start + step, rows.n_rows)
        block = rows.block(start, stop) if whole is None else whole.part(start, stop)
        x = np.ascontiguousarray(block.features)
        if not compute(read_only(passed(x)), outputs[start:stop]):
            rows.raise_if_not_finite(start, x, outputs.dtype)

    if rows.n_rows <= step:
        fill(0)  # a single row takes some microseconds in all: no time for a team
        return outputs
    starts = list(range(0, rows.n_rows, step))
    work = rows.n_rows * row_work
    n_threads = threads_for(work, work, len(starts), n_threads) if rows.any_order else 1
    with team(n_threads) as threads:
        threads.each(fill, starts)
    return outputs
