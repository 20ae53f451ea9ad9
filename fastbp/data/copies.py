"""Rows that cost more to read than to train on, copied into a temporary file for later epochs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

from fastbp.data.labels import Samples
from fastbp.data.read_ahead import ReadAhead
from fastbp.data.rows import Block, Rows
from fastbp.system.interrupts import Interrupts, WaitInterruptedError
from fastbp.system.progress import rows_bar
from fastbp.system.threads import get_num_threads

DISK_SHARE = 0.25  # of what is free: the most that a copy may take


@contextlib.contextmanager
def copied(
    samples: Samples,
    passes: int,
    shuffle: bool | str,
    n_threads: int | None,
    interrupts: Interrupts,
    progress: bool | str,
) -> Iterator[Samples]:
    """Yield samples whose rows are copied, if they have to be or if so many passes are worth it.

    They have to be for window shuffle, if they come from front to back. Otherwise rows that cannot
    be copied after all are left as they are. The copy is dropped in the end.
    """
    rows = samples.rows
    must = passes > 0 and shuffle == "window" and not (rows.any_order or rows.in_place)
    copy: Rows | None = None
    if must or _is_worth_it(rows, passes):
        from fastbp.data.sources.spool import NoCopyError  # 10 ms, which few fits need

        try:
            copy = _copy(samples, n_threads, interrupts, progress)
        except NoCopyError:
            if must:
                raise
    if copy is None:
        yield samples
        return
    with closing(copy):
        yield replace(samples, rows=copy, targets=None)  # they are checked


def _is_worth_it(rows: Rows, passes: int) -> bool:
    if passes < rows.copy_pays_from or rows.cluster is not None or rows.in_place:
        return False
    from fastbp.data.sources.spool import disk_space

    return rows.n_rows * rows.row_bytes <= DISK_SHARE * disk_space()


def _copy(
    samples: Samples, n_threads: int | None, interrupts: Interrupts, progress: bool | str
) -> Rows:
    from fastbp.data.sources.spool import spooled

    rows = samples.rows
    readers = max(1, (n_threads or get_num_threads()) // 2) if rows.any_order else 1
    bar: Any = rows_bar(rows.n_rows, "copying the rows") if progress else None
    with contextlib.ExitStack() as stack:
        ahead = ReadAhead(rows, rows.block_rows, 1, readers, samples.check, interrupts)
        stack.enter_context(closing(ahead))
        if bar is not None:
            stack.enter_context(bar)
        try:
            return spooled(rows, _blocks(ahead, rows.n_rows, bar))
        except WaitInterruptedError:
            interrupts.raise_if_any()
            raise


def _blocks(ahead: ReadAhead, n_rows: int, bar: Any) -> Iterator[Block]:
    position = 0
    while position < n_rows:
        start, position, block = ahead.block(position, more_epochs=False)
        yield block
        if bar is not None:
            bar.update(position - start)
