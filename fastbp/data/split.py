"""Rows held out of a source, chosen by a fixed hash."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from fastbp.data.arrays import settled
from fastbp.data.labels import Samples
from fastbp.data.rows import Block, Rows

PIECE_BYTES = 2**19  # what is read to choose from stays in the caches
MOST_HELD_OUT = 3 * 10**9  # products of two numbers of runs are int64
FEW = 64  # reading so many rows on end takes about as long as reaching a single one


class Subset(Rows):
    """Some rows of a source, in its order.

    A fraction f of N rows is held out like this: the rows are cut into floor(f N) runs of equal
    length (to one row), and of run j the row number hash(j) modulo its length, counted within it,
    is held out. The hash is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). So
    the choice depends on N and f alone, is spread over the whole source, and follows no period.
    """

    def __init__(self, rows: Rows, n_held_out: int, held_out: bool) -> None:
        self._rows = rows
        self._n_runs = n_held_out
        self._held_out = held_out
        self.n_rows = n_held_out if held_out else rows.n_rows - n_held_out
        self.name, self.n_features = rows.name, rows.n_features
        self.n_labels, self.weighted = rows.n_labels, rows.weighted
        self.feature_names, self.dtype = rows.feature_names, rows.dtype
        self.random_access, self.any_order = rows.random_access, rows.any_order
        self._local = threading.local()

    def numbers(self, positions: np.ndarray) -> np.ndarray:
        """Return the numbers in the source of the rows at these positions."""
        if self._held_out:
            return self._picked(positions)
        first, last = int(positions.min()), int(positions.max())
        if last - first < 4 * len(positions):  # close to each other
            numbers: np.ndarray = self._between(first, last + 1)[positions - first]
            return numbers
        return self._kept(positions)

    def _between(self, start: int, stop: int) -> np.ndarray:
        """Return the rows that are kept at consecutive positions: a tenth of the time."""
        first, last = self._kept(np.array([start, stop - 1])).tolist()
        n, runs = self._rows.n_rows, self._n_runs
        picked = self._picked(
            np.arange(max(0, first * runs // n - 1), min(runs, last * runs // n + 2))
        )
        kept = np.ones(last + 1 - first, dtype=bool)
        kept[picked[(picked >= first) & (picked <= last)] - first] = False
        rows = np.flatnonzero(kept)
        rows += first
        return rows

    def _kept(self, positions: np.ndarray) -> np.ndarray:
        # Run j begins at floor(j N / n), so floor(j (N - n) / n) rows are kept before it, and
        # position t lies in run ceil((t + 1) n / (N - n)) - 1. Exact: products in Python's integers
        # up to the first position, small ones after it.
        kept, runs = self.n_rows, self._n_runs
        first = int(positions.min())
        whole, rest = divmod((first + 1) * runs, kept)
        run = whole - 1 - (-(rest + (positions - first) * runs) // kept)
        row = positions + run
        numbers: np.ndarray = row + (row >= self._picked(run))
        return numbers

    def _begin(self, run: np.ndarray) -> np.ndarray:
        """Return the first row of a run."""
        whole, rest = divmod(self._rows.n_rows, self._n_runs)
        first: np.ndarray = run * whole + run * rest // self._n_runs
        return first

    def _picked(self, run: np.ndarray) -> np.ndarray:
        begin = self._begin(run)
        length = self._begin(run + 1) - begin
        picked: np.ndarray = begin + (hashed(run) % length.astype(np.uint64)).astype(np.int64)
        return picked

    @property
    def in_place(self) -> bool:
        return self.source()[0].in_place

    def source(self) -> tuple[Rows, Callable[[np.ndarray], np.ndarray]]:
        rows, numbers = self._rows.source()
        if numbers is None:
            return rows, self.numbers
        return rows, lambda positions: numbers(self.numbers(positions))

    def fill(self, start: int, stop: int, block: Block) -> None:
        numbers = self.numbers(np.arange(start, stop))
        if self.random_access and self.n_rows * FEW < self._rows.n_rows:
            self._rows.take(numbers, block)
            return
        first, last = int(numbers[0]), int(numbers[-1]) + 1
        step = max(1, PIECE_BYTES // self.row_bytes)
        for begin in range(first, last, step):
            end = min(begin + step, last)
            a, b = np.searchsorted(numbers, [begin, end])
            if a == b:
                continue
            source = self._read(begin, end)
            for there, here in zip(source.arrays, block.part(a, b).arrays, strict=True):
                if there is not None and here is not None:
                    np.take(there, numbers[a:b] - begin, axis=0, out=here, mode="clip")

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
        self._rows.take(self.numbers(indices), block)

    def digest(self) -> str:
        return self._rows.digest()

    def digests(self) -> dict[str, str]:
        return self._rows.digests()

    def place(self, row: int) -> tuple[str, int]:
        return self._rows.place(int(self.numbers(np.array([row]))[0]))


def hashed(numbers: np.ndarray) -> np.ndarray:
    """Return 64 bits for each number from 0 on: element `number` of SplitMix64's sequence of 0."""
    z = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


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
            f"validation: expected a fraction that leaves rows on both sides of {n}, got {fraction}"
        )
    parts = []
    for held_out in (False, True):
        rows = settled(Subset(samples.rows, n_held_out, held_out))
        part = Samples(rows, samples.classes, samples.targets)
        if rows.in_memory is not None:
            part.check(0, rows.in_memory)
            part = Samples(rows, samples.classes, None)
        parts.append(part)
    return parts[0], parts[1]
