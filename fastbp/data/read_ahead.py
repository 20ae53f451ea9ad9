"""Blocks of rows for the kernel; the next ones are read while it computes one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait

from fastbp.data.arrays import read_only
from fastbp.data.rows import Block, Rows
from fastbp.errors import DataError
from fastbp.system.interrupts import Interrupts, WaitInterruptedError
from fastbp.system.threads import start_threads

WAIT_SECONDS = 0.1  # between checks for Ctrl-C


class ReadAhead:
    """Reads rows ahead on threads of its own.

    Parameters
    ----------
    rows : Rows
    batch_rows, chunk_rows : int
        A block ends after whole batches or, within a large batch, after whole chunks.
    readers : int
        Threads to read with; one if the rows come from front to back.
    check : callable
        Takes the index of the first row and the block; raises an error for a bad label or weight.
        It is called in the first pass over the rows only, as features are checked.
    interrupts : Interrupts
        Interrupts, which end a wait.
    """

    def __init__(
        self,
        rows: Rows,
        batch_rows: int,
        chunk_rows: int,
        readers: int,
        check: Callable[[int, Block], None],
        interrupts: Interrupts,
    ) -> None:
        self._source = self._rows = rows
        self._in_order = True
        self._check = check
        self._checked = False  # whether all rows have been
        self._interrupts = interrupts
        self._batch_rows = batch_rows
        self._unit = batch_rows if batch_rows <= rows.block_rows else chunk_rows
        self._block_rows = min(max(1, rows.block_rows // self._unit) * self._unit, rows.n_rows)
        self._ahead = readers + 1
        self._pool = start_threads(readers, "fastbp-read")
        self._pending: dict[int, Future[Block]] = {}
        self._free: list[Block] = []
        self._current: tuple[int, int, Block, Block] | None = None

    def visit(self, rows: Rows) -> None:
        """From now on read these rows: the source's in another order."""
        self._drop()
        self._rows = rows
        self._in_order = False

    def close(self) -> None:
        """End the threads, but do not wait for a user's iterator: it may never return."""
        self._pool.shutdown(wait=self._source.any_order, cancel_futures=True)

    def block(self, position: int, more_epochs: bool) -> tuple[int, int, Block]:
        """Return the start, the stop and the rows of the block that holds a position of the epoch.

        It is valid until the next call.
        """
        if self._current is not None:
            start, stop, block, buffer = self._current
            if start <= position < stop:
                return start, stop, block
            self._free.append(buffer)
            self._current = None
        if position not in self._pending:
            self._drop()
        start, checked = position, self._checked
        for _ in range(self._ahead):
            stop = self._stop(start)
            if start not in self._pending:
                buffer = self._free.pop() if self._free else self._source.empty(self._block_rows)
                self._pending[start] = self._pool.submit(self._read, start, stop, buffer, checked)
            start = stop
            if start == self._rows.n_rows:
                if not (more_epochs and self._in_order):
                    break
                start, checked = 0, True
        stop = self._stop(position)
        while not wait([self._pending[position]], WAIT_SECONDS).done:
            if self._interrupts.count:
                raise WaitInterruptedError
        buffer = self._pending.pop(position).result()
        self._checked |= stop == self._rows.n_rows
        block = buffer.part(0, stop - position).map(read_only)
        self._current = position, stop, block, buffer
        return position, stop, block

    def _drop(self) -> None:
        """Discard what was read ahead."""
        for future in self._pending.values():
            future.cancel()
        for future in self._pending.values():
            if not future.cancelled() and future.exception() is None:
                self._free.append(future.result())
        self._pending.clear()
        if self._current is not None:
            self._free.append(self._current[3])
            self._current = None

    def _stop(self, start: int) -> int:
        """Return where a block that starts here ends: after whole chunks, or whole batches."""
        batch = self._batch_rows
        stop = min(start + self._block_rows, self._rows.n_rows)
        return stop if batch == self._unit else min(stop, (start // batch + 1) * batch)

    def _read(self, start: int, stop: int, buffer: Block, checked: bool) -> Block:
        block = buffer.part(0, stop - start)
        self._rows.fill(start, stop, block)
        if checked:
            return buffer
        try:
            self._check(start, block)
        except DataError:
            if not self._in_order:  # find the row of the source
                for first, part in self._source.blocks():
                    self._check(first, part)
            raise
        return buffer
