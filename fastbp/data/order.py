"""The order in which an epoch visits the rows, and rows read in that order."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from fastbp.data.rows import Block, Rows, Wrapped, gather

BLOCK_ELEMENTS = 2**18  # feature values in a block that stays together: 2 MiB
WINDOW_BLOCKS = 8  # blocks whose rows are shuffled together: 16 MiB
HELD_WINDOWS = 3  # 48 MiB of features; some 64 MiB in all are promised

Random = np.random.Generator | np.random.RandomState


class WindowOrder:
    """The window shuffle: blocks in random order, then the rows of every eight blocks shuffled.

    A slice of it is what that slice of an array of all row indices would be, int64, but it takes
    no more memory than a window. A block is as many rows as hold 2**18 feature values, so the
    order depends on the shape and the seed alone.

    Parameters
    ----------
    seed : int
        Drawn for the epoch.
    n_rows, n_features : int
    """

    def __init__(self, seed: int, n_rows: int, n_features: int) -> None:
        self._seed = seed
        self._block_rows = max(1, BLOCK_ELEMENTS // n_features)
        self._n_rows = n_rows
        n_blocks = -(-n_rows // self._block_rows)
        self._blocks = np.random.default_rng([seed, 0]).permutation(n_blocks)
        ends = np.cumsum(np.minimum(self._block_rows, n_rows - self._blocks * self._block_rows))
        self.starts = np.array([0, *ends[WINDOW_BLOCKS - 1 : -1 : WINDOW_BLOCKS], n_rows])
        """Where each window begins in the order, and where the last one ends."""

    def ranges(self, window: int) -> list[tuple[int, int]]:
        """Return the first row of each of a window's blocks, and one past its last row."""
        blocks = self._blocks[window * WINDOW_BLOCKS : (window + 1) * WINDOW_BLOCKS]
        starts = (blocks * self._block_rows).tolist()
        return [(start, min(start + self._block_rows, self._n_rows)) for start in starts]

    def shuffling(self, window: int) -> np.ndarray:
        """Return the order of the rows within a window."""
        size = int(self.starts[window + 1] - self.starts[window])
        return np.random.default_rng([self._seed, window + 1]).permutation(size)

    def windows(self, start: int, stop: int) -> range:
        """Return the windows that hold the positions from start to stop."""
        first, last = np.searchsorted(self.starts, [start, stop - 1], side="right") - 1
        return range(int(first), int(last) + 1)

    def __getitem__(self, positions: slice) -> np.ndarray:
        start, stop = positions.start, positions.stop
        parts = []
        for window in self.windows(start, stop):
            rows = np.concatenate([np.arange(*r) for r in self.ranges(window)])
            first = int(self.starts[window])
            shuffling = self.shuffling(window)[max(0, start - first) : stop - first]
            parts.append(rows[shuffling])
        return np.concatenate(parts)


Order = np.ndarray | WindowOrder
"""The index of the row at each position; a slice of it is an array of int64."""


def window_order(random: Random, n_rows: int, n_features: int) -> WindowOrder:
    """Draw a window shuffle."""
    if isinstance(random, np.random.RandomState):
        seed = int(random.randint(2**63 - 1, dtype=np.int64))
    else:
        seed = int(random.integers(2**63 - 1))
    return WindowOrder(seed, n_rows, n_features)


class Ordered(Wrapped):
    """The rows of a source in another order, each reached on its own."""

    def __init__(self, rows: Rows, order: Order) -> None:
        super().__init__(rows)
        self._order = order

    def fill(self, start: int, stop: int, block: Block) -> None:
        self._rows.take(self._order[start:stop], block)


class Windowed(Ordered):
    """The rows of a source in a window order; each window is read once."""

    _order: WindowOrder

    def __init__(self, rows: Rows, order: WindowOrder) -> None:
        super().__init__(rows, order)
        self._lock = threading.Lock()
        self._held: OrderedDict[int, tuple[threading.Lock, list[Any]]] = OrderedDict()

    def fill(self, start: int, stop: int, block: Block) -> None:
        for window in self._order.windows(start, stop):
            rows, shuffling = self._window(window)
            begin, end = self._order.starts[window : window + 2].tolist()
            first, last = max(start, begin), min(stop, end)
            part = block.part(first - start, last - start)
            gather(rows, shuffling[first - begin : last - begin], part)

    def _window(self, window: int) -> tuple[Block, np.ndarray]:
        """Return the rows of a window and their order; the first thread to ask reads them."""
        with self._lock:
            lock, content = self._held.setdefault(window, (threading.Lock(), []))
            self._held.move_to_end(window)
            while len(self._held) > HELD_WINDOWS:
                self._held.popitem(last=False)
        with lock:
            if not content:
                content += [self._read(window), self._order.shuffling(window)]
        return content[0], content[1]

    def _read(self, window: int) -> Block:
        ranges = self._order.ranges(window)
        block = self._rows.empty(sum(stop - start for start, stop in ranges))
        done = 0
        for start, stop in ranges:
            self._rows.fill(start, stop, block.part(done, done + stop - start))
            done += stop - start
        return block
