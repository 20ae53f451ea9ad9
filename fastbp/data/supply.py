"""The rows that the kernel computes next: in place, gathered in an order, or read ahead."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from fastbp.data.arrays import read_only
from fastbp.data.labels import Samples
from fastbp.data.order import Order, Ordered, Windowed, WindowOrder
from fastbp.data.read_ahead import ReadAhead
from fastbp.data.rows import Block, Choose, Mapped, Rows, Wrapped, pairs, ranges
from fastbp.system.interrupts import Interrupts

INDICES_AHEAD = 2**16  # of the coming epochs' orders: 512 KiB


class Supply(ABC):
    """Supplies rows by their position in the epoch; close it at the end.

    Attributes
    ----------
    epochs_ahead : int
        How many epochs' orders it can take at a time.
    """

    epochs_ahead = 1

    @abstractmethod
    def rows(self, position: int, more_epochs: bool) -> tuple[int, int, Block, np.ndarray | None]:
        """Return the first position of some rows, their end, the rows, and their order or None.

        The order has, for each of these positions, the index of its row in the block; after it
        follow those of further epochs, if there are. All of this is valid until the next call.
        """

    @abstractmethod
    def reorder(self, orders: list[Order]) -> None:
        """Supply the rows of the next epochs in these orders."""

    def used(self, start: int, stop: int | None) -> None:
        """Check the rows that a slice has used, up to a position or to the epoch's end.

        Raises a DataError if a mapped file was shortened meanwhile, or if a label is invalid.
        """

    @abstractmethod
    def close(self) -> None:
        """End the threads that read; drop a mapping."""


class InPlace(Supply):
    """Rows in memory, or mapped, that stay where they are; an order is an array of indices."""

    def __init__(
        self, samples: Samples, whole: Block, mapped: Mapped | None, choose: Choose | None
    ) -> None:
        self._samples, self._whole, self._mapped, self._choose = samples, whole, mapped, choose
        self._order = None if choose is None else read_only(choose(np.arange(samples.rows.n_rows)))
        self._unchecked = mapped is not None and samples.targets is not None
        self.epochs_ahead = max(1, INDICES_AHEAD // samples.rows.n_rows)

    def rows(self, position: int, more_epochs: bool) -> tuple[int, int, Block, np.ndarray | None]:
        if self._mapped is not None:
            self._mapped.read_ahead(position)
        return 0, self._samples.rows.n_rows, self._whole, self._order

    def reorder(self, orders: list[Order]) -> None:
        drawn = [order[0 : self._samples.rows.n_rows] for order in orders]
        indices = drawn[0] if len(drawn) == 1 else np.concatenate(drawn)
        self._order = read_only(indices if self._choose is None else self._choose(indices))

    def used(self, start: int, stop: int | None) -> None:
        if self._mapped is not None:
            self._mapped.verify()
        if self._unchecked:  # until the end of the first epoch
            rows = self._samples.rows
            for first, last in ranges(start, stop or rows.n_rows, rows.block_rows):
                self._samples.check(first, self._whole.part(first, last))
            self._unchecked = stop is not None

    def close(self) -> None:
        del self._whole
        if self._mapped is not None:
            self._mapped.close()


class Streamed(Supply):
    """Rows that other threads read in their order."""

    def __init__(self, rows: Rows, read_ahead: ReadAhead) -> None:
        self._rows, self._read_ahead = rows, read_ahead

    def rows(self, position: int, more_epochs: bool) -> tuple[int, int, Block, np.ndarray | None]:
        return *self._read_ahead.block(position, more_epochs), None

    def reorder(self, orders: list[Order]) -> None:
        (order,) = orders
        kind: Any = Windowed if isinstance(order, WindowOrder) else Ordered
        self._read_ahead.visit(kind(self._rows, order))

    def close(self) -> None:
        self._read_ahead.close()


class Gathered(Streamed):
    """Mapped rows, which the kernel gathers by indices that other threads compute."""

    def __init__(
        self, indices: RowIndices, read_ahead: ReadAhead, mapped: Mapped, shuffled: bool
    ) -> None:
        super().__init__(indices, read_ahead)
        self._mapped, self._shuffled = mapped, shuffled

    def rows(self, position: int, more_epochs: bool) -> tuple[int, int, Block, np.ndarray | None]:
        start, stop, block = self._read_ahead.block(position, more_epochs)
        order = block.features[:, 0]
        if not self._shuffled:
            self._mapped.read_ahead(int(order[0]))
        return start, stop, self._mapped.block, order

    def used(self, start: int, stop: int | None) -> None:
        self._mapped.verify()

    def close(self) -> None:
        super().close()
        self._mapped.close()


class RowIndices(Wrapped):
    """The indices of rows that stay in place, as one feature of int64, in the order of visits.

    Weights are copied too, and labels if they have to be checked.
    """

    def __init__(self, rows: Rows, whole: Block, choose: Choose | None, labels: bool) -> None:
        super().__init__(rows)
        self._whole, self._choose = whole, choose
        self.n_features = 1
        self.n_labels = rows.n_labels if labels else 0

    def empty(self, n_rows: int) -> Block:
        block = super().empty(n_rows)
        return Block(np.empty((n_rows, 1), dtype=np.int64), block.labels, block.weight)

    def fill(self, start: int, stop: int, block: Block) -> None:
        self.take(np.arange(start, stop), block)

    def take(self, indices: np.ndarray, block: Block) -> None:
        if self._choose is not None:
            indices = self._choose(indices)
        block.features[:, 0] = indices
        for source, target in list(pairs(self._whole, block))[1:]:
            target[:] = source[indices]  # numpy.take would first copy a source with a stride


def open_supply(
    samples: Samples,
    batch_rows: int,
    chunk_rows: int,
    readers: int,
    shuffle: bool | str,
    interrupts: Interrupts,
) -> Supply:
    """Return the supply for some samples: in place if in memory or mapped; all others are read.

    The arguments are those of :class:`~fastbp.data.read_ahead.ReadAhead`; `shuffle` says whether
    and how the rows will be reordered: True, False or "window".
    """

    def read_ahead(rows: Rows) -> ReadAhead:
        return ReadAhead(rows, batch_rows, chunk_rows, readers, samples.check, interrupts)

    rows = samples.rows
    base, choose = rows.base()
    mapped = base.mapped()
    if mapped is not None and (shuffle or choose is not None):
        indices = RowIndices(rows, mapped.block, choose, samples.targets is not None)
        return Gathered(indices, read_ahead(indices), mapped, bool(shuffle))
    whole = base.in_memory if mapped is None else mapped.block
    if whole is not None:
        return InPlace(samples, whole, mapped, choose)
    return Streamed(rows, read_ahead(rows))
