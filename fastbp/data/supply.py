"""What the kernel computes next: rows in place or read ahead, one after another or in an order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastbp.data.arrays import read_only
from fastbp.data.labels import Samples
from fastbp.data.order import InOrder, Order, Ordered, Windowed, WindowOrder
from fastbp.data.read_ahead import ReadAhead
from fastbp.data.rows import BLOCK_BYTES, Block, Rows
from fastbp.data.sources.spool import spooled
from fastbp.system.interrupts import Requests

Choose = Callable[[np.ndarray], np.ndarray]


class Supply:
    """Hands out rows by their position in the epoch; close it at the end.

    Rows in memory, or in a file that can be mapped, stay where they are, and in another order the
    kernel gathers them by their numbers. All others are read, in that order, on other threads.

    Parameters
    ----------
    samples : Samples
    batch_rows, chunk_rows : int
        What blocks must not cut: see :class:`~fastbp.data.read_ahead.ReadAhead`.
    readers : int
        Threads to read with.
    shuffle : bool or "window"
        Whether and how the rows will be reordered.
    requests : Requests
        Interrupts, which end a wait for rows.
    """

    def __init__(
        self,
        samples: Samples,
        batch_rows: int,
        chunk_rows: int,
        readers: int,
        shuffle: bool | str,
        requests: Requests,
    ) -> None:
        self._samples = samples
        self._rows = samples.rows
        base, self._choose = samples.rows.source()
        self._mapped = base.mapped()
        self._whole = base.in_memory if self._mapped is None else self._mapped.block
        self._spool: Rows | None = None
        self._feed: ReadAhead | None = None
        self._order: np.ndarray | None = None
        self._epochs = 0  # begun
        self._shuffled = bool(shuffle)
        ordered = self._shuffled or self._choose is not None
        check = samples.check if samples.targets is not None else None
        how = batch_rows, chunk_rows, max(1, readers), check, requests
        if self._whole is None:
            self._source = samples.rows
            if shuffle == "window" and not self._source.any_order:
                self._source = self._spool = spooled(self._source, requests.raise_if_any)
            self._feed = ReadAhead(self._source, *how)
        elif self._mapped is not None and ordered:
            self._feed = ReadAhead(self._numbers(InOrder()), *how)
        elif ordered:
            self.reorder(InOrder())
        self._unchecked = self._mapped is not None and check is not None and not ordered

    def _numbers(self, order: Order) -> RowNumbers:
        assert self._whole is not None
        unchecked = self._samples.targets is not None and self._epochs < 2
        return RowNumbers(self._rows, self._whole, order, self._choose, unchecked)

    def reorder(self, order: Order) -> None:
        """Hand out the rows of the next epoch in this order."""
        self._epochs += 1
        if self._feed is None:
            chosen = order.part(0, self._rows.n_rows)
            self._order = read_only(chosen if self._choose is None else self._choose(chosen))
        elif self._whole is not None:
            self._feed.visit(self._numbers(order))
        elif isinstance(order, WindowOrder):
            self._feed.visit(Windowed(self._source, order))
        else:
            self._feed.visit(Ordered(self._source, order))

    def rows(self, position: int, more_epochs: bool) -> tuple[int, int, Block, np.ndarray | None]:
        """Return positions from and to which rows are at hand, the rows, and their order, if any.

        The order has the number in the block of the row at each of these positions. All of it is
        valid until the next call.
        """
        if self._feed is None:
            assert self._whole is not None
            if self._mapped is not None:
                self._mapped.read_ahead(position)
            return 0, self._rows.n_rows, self._whole, self._order
        if self._whole is not None and not self._shuffled and position == 0:
            self._epochs += 1
            if self._epochs == 2:  # the labels have been looked at
                self._feed.visit(self._numbers(InOrder()))
        start, stop, block = self._feed.block(position, more_epochs)
        if self._whole is None:
            return start, stop, block, None
        order = block.features[:, 0]
        if self._mapped is not None and not self._shuffled:
            self._mapped.read_ahead(int(order[0]))
        return start, stop, self._whole, order

    def weights(self) -> np.ndarray | None:
        """Return all weights in their order, if they are in memory."""
        if self._feed is not None or self._whole is None or self._whole.weight is None:
            return None
        weight = self._whole.weight
        return weight if self._order is None else np.take(weight, self._order)

    def used(self, start: int, stop: int | None) -> None:
        """Look at what a slice has just used, from one position to another, or the epoch's end.

        Raises the DataError of a mapped file that was shortened meanwhile, or of a label.
        """
        if self._mapped is not None:
            self._mapped.verify()
        if not self._unchecked:
            return
        assert self._whole is not None
        end = stop or self._rows.n_rows
        step = max(1, BLOCK_BYTES // self._rows.row_bytes)
        for first in range(start, end, step):
            self._samples.check(first, self._whole.part(first, min(first + step, end)))
        self._unchecked = stop is not None

    def close(self) -> None:
        """End the threads that read; drop a temporary copy, or a mapping."""
        if self._feed is not None:
            self._feed.close()
        if self._spool is not None:
            self._spool.close()
        self._whole = None
        if self._mapped is not None:
            self._mapped.close()


class RowNumbers(Rows):
    """The numbers of rows that stay in place, as a feature of int64, in the order of visits.

    Labels come along as long as they are to be looked at, and weights.
    """

    n_features = 1

    def __init__(
        self, rows: Rows, whole: Block, order: Order, choose: Choose | None, labels: bool
    ) -> None:
        self._rows, self._whole, self._order, self._choose = rows, whole, order, choose
        self.name, self.n_rows = rows.name, rows.n_rows
        self.n_labels = rows.n_labels if labels else 0
        self.weighted = rows.weighted

    def empty(self, n_rows: int) -> Block:
        block = super().empty(n_rows)
        return Block(np.empty((n_rows, 1), dtype=np.int64), block.labels, block.weight)

    def fill(self, start: int, stop: int, block: Block) -> None:
        numbers = self._order.part(start, stop)
        if self._choose is not None:
            numbers = self._choose(numbers)
        block.features[:, 0] = numbers
        for target, source in (
            (block.labels, self._whole.labels),
            (block.weight, self._whole.weight),
        ):
            if target is not None and source is not None:
                target[:] = source[numbers]  # `take` would copy all of a source with gaps first

    def digest(self) -> str:
        return self._rows.digest()

    def place(self, row: int) -> tuple[str, int]:
        return self._rows.place(row)
