"""Rows written as a matrix in NumPy's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fastbp.data.rows import Block, Rows, ranges
from fastbp.system import output
from fastbp.system.threads import Team, team, threads_for

NUMBER_WORK = 3  # of a random number, 1 ns, in the unit of fastbp.system.threads


def generating_threads(rows: Rows) -> int:
    """Return how many threads are worth starting to generate these rows."""
    work = rows.n_rows * (rows.n_features + rows.n_labels) * NUMBER_WORK
    return threads_for(work, work, -(-rows.n_rows // rows.block_rows), None)


def fill_together(rows: Rows, start: int, whole: Block, threads: Team) -> None:
    """Write the rows from `start` on, each thread a block at a time; OUT whole."""
    n_rows, step = len(whole.features), rows.block_rows

    def fill(first: int) -> None:
        last = min(first + step, n_rows)
        rows.fill(start + first, start + last, whole.part(first, last))

    threads.each(fill, range(0, n_rows, step))


def write_npy(rows: Rows, path: Path) -> None:
    """Write features and labels side by side as a matrix in NumPy's format, in constant memory."""
    d, columns = rows.n_features, rows.n_features + rows.n_labels
    header = {
        "descr": np.dtype(np.float64).str,
        "fortran_order": False,
        "shape": (rows.n_rows, columns),
    }
    n_threads = generating_threads(rows)
    step = min(rows.n_rows, n_threads * rows.block_rows)
    block, matrix = rows.empty(step), np.empty((step, columns))
    with team(n_threads) as threads, output.replacing(path) as file:
        np.lib.format.write_array_header_2_0(file, header)
        for start, stop in ranges(0, rows.n_rows, step):
            n = stop - start
            part = block.part(0, n)
            fill_together(rows, start, part, threads)
            matrix[:n, :d] = part.features
            matrix[:n, d:] = part.labels
            file.write(matrix[:n].data)
