"""Rows held out of a source, chosen by a fixed hash."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from fastbp.data.arrays import loaded_if_small
from fastbp.data.labels import Samples
from fastbp.data.rows import Block, Choose, Rows, Wrapped, gather, ranges
from fastbp.kernels.random import GAMMA, mixed

CACHED_BYTES = 2**19  # so that rows stay cached while some are picked from them
MOST_HELD_OUT = 3 * 10**9  # products of two such numbers fit int64
FEW = 64  # reading this many consecutive rows takes about as long as reading a single one


class Selection:
    """Which of N rows are held out, or which are not.

    To hold out a fraction f of N rows, the rows are cut into floor(f N) runs of equal length (to
    one row); of run j, the row with index hash(j) modulo its length, counted within the run, is
    held out. The hash is element j of the SplitMix64 generator's sequence from 0 (Steele, Lea and
    Flood, OOPSLA 2014). So the choice depends on N and f alone, is spread over the whole source,
    and follows no period.

    Attributes
    ----------
    size : int
        How many are selected.
    """

    def __init__(self, n_rows: int, n_held_out: int, held_out: bool) -> None:
        self._n_rows, self._n_runs, self._held_out = n_rows, n_held_out, held_out
        self.size = n_held_out if held_out else n_rows - n_held_out

    def indices(self, positions: np.ndarray) -> np.ndarray:
        """Return the indices in the source of the rows at these positions."""
        if self._held_out:
            return self._picked(positions)
        first, last = int(positions.min()), int(positions.max())
        if last - first >= 4 * len(positions):
            return self._kept_indices(positions)
        # Positions close to each other take a tenth of the time in one go.
        start, stop = self._kept_indices(np.array([first, last])).tolist()
        indices: np.ndarray = np.flatnonzero(self.kept(start, stop + 1))[positions - first]
        indices += start
        return indices

    def kept(self, start: int, stop: int) -> np.ndarray:
        """Return which of the rows start to stop of the source are not held out."""
        n, runs = self._n_rows, self._n_runs
        nearby = np.arange(max(0, start * runs // n - 1), min(runs, stop * runs // n + 2))
        picked = self._picked(nearby)
        kept = np.ones(stop - start, dtype=bool)
        kept[picked[(picked >= start) & (picked < stop)] - start] = False
        return kept

    def _kept_indices(self, positions: np.ndarray) -> np.ndarray:
        # Run j begins at floor(j N / n), so floor(j (N - n) / n) rows are kept before it, and
        # position t lies in run ceil((t + 1) n / (N - n)) - 1. Exact: products in Python's integers
        # up to the first position, small ones after it.
        kept, runs = self.size, self._n_runs
        first = int(positions.min())
        whole, rest = divmod((first + 1) * runs, kept)
        run = whole - 1 - (-(rest + (positions - first) * runs) // kept)
        row = positions + run
        indices: np.ndarray = row + (row >= self._picked(run))
        return indices

    def _begin(self, run: np.ndarray) -> np.ndarray:
        """Return the first row of a run."""
        whole, rest = divmod(self._n_rows, self._n_runs)
        first: np.ndarray = run * whole + run * rest // self._n_runs
        return first

    def _picked(self, run: np.ndarray) -> np.ndarray:
        """Return the row of a run that is held out."""
        begin = self._begin(run)
        length = (self._begin(run + 1) - begin).astype(np.uint64)
        hashes = mixed((run.astype(np.uint64) + 1) * GAMMA)
        picked: np.ndarray = begin + (hashes % length).astype(np.int64)
        return picked


class Subset(Wrapped):
    """Some rows of a source, in its order: those that are held out, or the others."""

    def __init__(self, rows: Rows, n_held_out: int, held_out: bool) -> None:
        super().__init__(rows)
        self.selection = Selection(rows.n_rows, n_held_out, held_out)
        self.n_rows, self._indices = self.selection.size, self.selection.indices
        self._made_of = rows, n_held_out, held_out
        self._local = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        return Subset, self._made_of

    @property
    def in_place(self) -> bool:
        return self._rows.in_place

    def base(self) -> tuple[Rows, Choose]:
        rows, choose = self._rows.base()
        if choose is None:
            return rows, self._indices
        return rows, partial(_through, choose, self._indices)

    def fill(self, start: int, stop: int, block: Block) -> None:
        indices = self._indices(np.arange(start, stop))
        if self.random_access and self.n_rows * FEW < self._rows.n_rows:
            self._rows.take(indices, block)
            return
        step = max(1, CACHED_BYTES // self.row_bytes)
        for begin, end in ranges(int(indices[0]), int(indices[-1]) + 1, step):
            a, b = np.searchsorted(indices, [begin, end])
            if a < b:
                gather(self._read(begin, end), indices[a:b] - begin, block.part(a, b))

    def _read(self, start: int, stop: int) -> Block:
        """Return rows of the source, in memory that each thread uses again."""
        if self._rows.in_memory is not None:
            return self._rows.in_memory.part(start, stop)
        n_rows = stop - start
        buffer: Block | None = getattr(self._local, "buffer", None)
        if buffer is None or len(buffer.features) < n_rows:
            buffer = self._local.buffer = self._rows.empty(n_rows)
        block = buffer.part(0, n_rows)
        self._rows.fill(start, stop, block)
        return block

    def take(self, indices: np.ndarray, block: Block) -> None:
        self._rows.take(self._indices(indices), block)

    def locate(self, row: int) -> tuple[str, int]:
        return self._rows.locate(int(self._indices(np.array([row]))[0]))


def _through(outer: Choose, inner: Choose, positions: np.ndarray) -> np.ndarray:
    return outer(inner(positions))


def split(samples: Samples, fraction: float) -> tuple[Samples, Samples]:
    """Return the rows to train on and those held out."""
    n = samples.rows.n_rows
    n_held_out = int(fraction * n) if 0.0 < fraction < 1.0 else 0
    if n_held_out > MOST_HELD_OUT:
        raise ValueError(
            f"validation: expected at most {MOST_HELD_OUT:,} rows to hold out, got {n_held_out:,}"
        )
    if n_held_out == 0:
        raise ValueError(
            f"validation: expected a fraction that leaves some of {n} rows for training and some"
            f" for validation, got {fraction}"
        )
    training, held_out = (
        replace(samples, rows=loaded_if_small(Subset(samples.rows, n_held_out, side)))
        for side in (False, True)
    )
    return training.checked_in_memory(), held_out.checked_in_memory()
