"""The memory of a run: the three arrays that its kernel works in, and names for what they hold.

The indices are those of ``kernels/layout.py``.
"""

from __future__ import annotations

import functools
import math
import zlib
from typing import Any

import numpy as np

from fastbp.arguments import FLOAT32, FLOAT64
from fastbp.data.arrays import aligned, read_only
from fastbp.kernels import layout
from fastbp.kernels.steps import UNOPENED
from fastbp.kernels.vector import whole_vectors
from fastbp.training.problem import Options, Problem
from fastbp.training.state import NOTHING, Batching, TrainingState

NONE = {dtype: read_only(np.empty(0, dtype)) for dtype in (FLOAT64, FLOAT32)}
MOST_SLOTS, MOST_SLOT_ELEMENTS = 4096, 2**20  # of partial sums, one for each chunk of a segment


@functools.lru_cache(maxsize=256)
def _as_array(table: tuple[int, ...]) -> np.ndarray:
    return np.array(table, dtype=np.int64)


class Integer:
    """A name for one of the kernel's integers."""

    def __init__(self, index: int) -> None:
        self._index = index

    def __get__(self, memory: Memory, owner: type[Memory]) -> int:
        number: int = memory.plain[self._index]
        return number

    def __set__(self, memory: Memory, value: int) -> None:
        memory.plain[self._index] = value


class Memory:
    """The kernel's integers, sums and vectors.

    Attributes
    ----------
    integers : numpy.ndarray of int64
        The problem, what one call may do, and the position. The class attributes below are names
        for its entries.
    plain : memoryview
        The same memory, read and written as Python's own integers, which takes half the time.
    chunks : int
        Chunks of an epoch.
    floats : numpy.ndarray of float64
        Options that are numbers, and all sums.
    epoch_sums, powers : numpy.ndarray of float64
        Views of it: see :class:`~fastbp.training.state.TrainingState`.
    vectors : numpy.ndarray of the problem's dtype
        The three that follow are views of it. It also holds the threads' scratch memory.
    parameters, epoch_start : numpy.ndarray
        The parameters, flat, and as they were at the start of the epoch.
    moments : numpy.ndarray, shape (n_moments, n_parameters)
        What the optimizer keeps; with ``GRADIENT_ONLY`` the gradient.
    """

    chunk_rows = Integer(layout.CHUNK_ROWS)
    n_iter_no_change = Integer(layout.N_ITER_NO_CHANGE)
    # What one call may do
    shuffled = Integer(layout.SHUFFLED)
    budget = Integer(layout.BUDGET)
    ticket = Integer(layout.TICKET)
    workers = Integer(layout.WORKERS)
    # The position
    epoch = Integer(layout.EPOCH)
    batch_start = Integer(layout.BATCH_START)
    next_chunk = Integer(layout.NEXT_CHUNK)
    group_first = Integer(layout.GROUP_FIRST)
    status = Integer(layout.STATUS)
    bad_row = Integer(layout.BAD_ROW)
    stale_epochs = Integer(layout.STALE_EPOCHS)

    def __init__(self, problem: Problem, workers: int) -> None:
        rows, options, p = problem.rows, problem.options, problem.parameters.size
        rule, n_moments = options.optimizer, options.optimizer.n_moments
        chunk_rows = min(problem.chunk_rows, options.batch_rows)
        slots = chunks = -(-options.batch_rows // chunk_rows)
        if slots > 1:
            most = min(MOST_SLOTS, problem.group_chunks)
            slots = min(slots, most, max(2 * workers, MOST_SLOT_ELEMENTS // p))
        several = chunks > problem.group_chunks
        partials = slots + 1 + several
        n_integers = layout.N_INTEGERS + len(problem.table)
        first = whole_vectors(n_integers)  # of the floats: each array begins with a cache line
        dtype = problem.parameters.dtype
        start = first + layout.SUMS + partials * layout.SUMS_IN_ROW  # of the vectors
        if dtype != FLOAT64:
            start += (1 + several) * p
        scratches = workers if problem.shared_kernel is None else 1
        n_numbers = (2 + n_moments + partials) * p
        n_bytes = (n_numbers + scratches * problem.work_size) * dtype.itemsize
        memory = aligned(start - (-n_bytes // 8))
        memory[: start + n_numbers * dtype.itemsize // 8].fill(0.0)  # all but the scratch
        self.integers, self.floats = memory[:n_integers].view(np.int64), memory[first:start]
        self.vectors = memory[start:] if dtype == FLOAT64 else memory[start:].view(dtype)
        if problem.table:
            self.integers[layout.LAYERS :] = _as_array(problem.table)
        self.plain = n = self.integers.data
        n[layout.N_ROWS], n[layout.N_FEATURES] = rows.n_rows, rows.n_features
        n[layout.BATCH_ROWS], n[layout.CHUNK_ROWS] = options.batch_rows, chunk_rows
        n[layout.TILE_ROWS], n[layout.GROUP_CHUNKS] = problem.tile_rows, problem.group_chunks
        n[layout.WEIGHTED] = rows.weighted
        n[layout.OPTIMIZER], n[layout.N_MOMENTS] = rule.code, n_moments
        n[layout.N_PARAMETERS], n[layout.N_WEIGHTS] = p, problem.n_weights
        n[layout.N_ITER_NO_CHANGE] = 0 if options.tol is None else options.n_iter_no_change
        n[layout.TOL_SUFFICES] = options.tol_suffices
        n[layout.SLOTS], n[layout.PARTIALS], n[layout.BAD_ROW] = slots, partials, layout.NO_ROW
        n[layout.WORKERS], n[layout.WORK_SIZE] = workers, problem.work_size
        for index, value in problem.settings.items():
            n[index] = value
        numbers: Any = self.floats.data
        if n_moments:
            for index, constant in enumerate(rule.constants, layout.RULE):
                numbers[index] = constant
        numbers[layout.ALPHA], numbers[layout.TOL] = options.alpha, options.tol or 0.0
        numbers[layout.BEST_LOSS], numbers[layout.CLIP] = math.inf, options.clip_norm or 0.0
        numbers[layout.POWER_1] = numbers[layout.POWER_2] = 1.0
        batches, rest = divmod(rows.n_rows, options.batch_rows)
        self.chunks = batches * -(-options.batch_rows // chunk_rows) - (-rest // chunk_rows)
        vectors = self.vectors[:n_numbers].reshape(-1, p)
        self.parameters, self.epoch_start = vectors[0], vectors[1]
        self.moments, self._partials = vectors[2 : 2 + n_moments], vectors[2 + n_moments :]
        vectors[:2] = problem.parameters
        if options.moments is not None:
            self.moments[:], self.powers[:] = options.moments

    @property
    def sums_under_way(self) -> list[np.ndarray]:
        """The gradient of a group under way, of its chunks so far, and its other sums.

        After them those of the batch, of its groups before that, if it has several.
        """
        p, n = self.parameters.size, self.plain[layout.PARTIALS]
        rows = self.floats[layout.SUMS :][: n * layout.SUMS_IN_ROW].reshape(n, -1)
        gradients = self._partials
        if self.vectors.dtype != FLOAT64:
            gradients = self.floats[layout.SUMS + rows.size :].reshape(-1, p)
        found = [gradients[0], rows[0]]
        return found if n == self.plain[layout.SLOTS] + 1 else [*found, gradients[-1], rows[-1]]

    def sums_of_group(self, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the gradient and the other sums of a complete batch of one group."""
        gradient, sums = self.sums_under_way[:2]
        return self._partials[0] if rows <= self.chunk_rows else gradient, sums

    @property
    def powers(self) -> np.ndarray:
        """See the class."""
        return self.floats[layout.POWER_1 : layout.POWER_2 + 1]

    @property
    def epoch_sums(self) -> np.ndarray:
        """See the class."""
        return self.floats[layout.EPOCH_LOSS : layout.EPOCH_WEIGHT + 1]

    @property
    def within_epoch(self) -> bool:
        """Whether an epoch is under way."""
        n = self.plain
        return n[layout.BATCH_START] > 0 or n[layout.NEXT_CHUNK] > 0

    @property
    def position(self) -> int:
        """How many rows of the epoch under way have been computed."""
        n = self.plain  # not by name: every slice asks
        computed = n[layout.BATCH_START] + n[layout.NEXT_CHUNK] * n[layout.CHUNK_ROWS]
        return min(computed, n[layout.N_ROWS])

    def allow(
        self,
        rows: tuple[int, int],
        order: np.ndarray | None,
        epochs: tuple[int, int, int],
        budget: int,
    ) -> None:
        """Set what the next call may do.

        `rows`: from which to which; `order`: of all `epochs`, or of each; `epochs`: that of the
        first rate and the first order, the last one, and how many have a rate of their own;
        `budget`: chunks.
        """
        n = self.plain
        n[layout.BLOCK_START], n[layout.BLOCK_STOP] = rows
        n[layout.SHUFFLED] = order is not None
        several = order is not None and order.size > n[layout.N_ROWS]
        n[layout.ORDER_STRIDE] = n[layout.N_ROWS] if several else 0
        n[layout.FIRST_EPOCH], n[layout.EPOCH_LIMIT], n[layout.N_RATES] = epochs
        n[layout.BUDGET], n[layout.TICKET] = budget, UNOPENED

    def add_group(self, gradient: np.ndarray, sums: np.ndarray, chunks: int) -> None:
        """Add the sums of a group of chunks that was computed elsewhere to those of the batch.

        The gradient may be empty: that of a loss alone is not computed.
        """
        of_batch = self.sums_under_way[-2:]  # or of the only group
        for array, more in zip(of_batch, (gradient, sums), strict=True):
            if more.size and self.next_chunk == 0:
                array[:] = more
            elif more.size:
                array += more
        self.next_chunk += chunks
        self.group_first = self.next_chunk

    def complete_batch(self) -> None:
        """Put the sums of all groups of a batch where the kernel's update expects them."""
        with np.errstate(over="ignore"):  # in float32
            self._partials[0][:] = self.sums_under_way[-2]
        self.sums_under_way[1][:] = self.sums_under_way[-1]

    def start_from(self, parameters: np.ndarray) -> None:
        """Begin an epoch with these parameters."""
        self.parameters[:] = self.epoch_start[:] = parameters

    def start_again(self, parameters: np.ndarray) -> None:
        """Forget all but the problem, and begin with other parameters."""
        self.start_from(parameters)
        self.epoch_sums[:] = 0.0
        self.epoch = self.batch_start = self.next_chunk = self.group_first = 0
        self.stale_epochs = 0
        self.status, self.bad_row = layout.RUNNING, layout.NO_ROW

    def completed(self, loss: float, parameters: np.ndarray) -> None:
        """Count an epoch that was computed elsewhere, as the kernels' ``finish_epoch`` does."""
        self.start_from(parameters)
        self.epoch += 1
        best, tol = self.floats[layout.BEST_LOSS], self.floats[layout.TOL]
        self.stale_epochs = 0 if best - loss > tol else self.stale_epochs + 1
        self.floats[layout.BEST_LOSS] = min(best, loss)
        if 0 < self.n_iter_no_change <= self.stale_epochs:
            self.status = layout.NO_IMPROVEMENT

    def restore(self, state: TrainingState, epochs: int) -> None:
        """Restore all but the parameters, after this number of `epochs` of this fit."""
        self.epoch = epochs
        self.batch_start, self.next_chunk = state.batch_start, state.next_chunk
        self.stale_epochs = state.stale_epochs
        self.moments[:] = state.moments
        self.powers[:] = state.powers
        self.epoch_sums[:] = state.epoch_sums
        self.floats[layout.BEST_LOSS] = state.best_loss
        if state.epoch_start.size:
            self.epoch_start[:] = state.epoch_start
        self.group_first = state.next_chunk - state.next_chunk % self.plain[layout.GROUP_CHUNKS]
        if state.partial_sums.size:
            sums, at = self.sums_under_way, 0
            for array in sums:
                array[:] = state.partial_sums[at : at + array.size]
                at += array.size

    def training_state(
        self,
        options: Options,
        epoch: int,
        random_state: dict[str, Any] | None,
        batching: Batching,
    ) -> TrainingState:
        """Return what another fit needs to continue; the arguments are fields not kept here.

        Only if it is `resumable`, with a checksum: of 7,500 parameters that takes 14 microseconds.
        """
        n, numbers = self.plain, self.floats[: layout.SUMS].tolist()
        batch_start, next_chunk = n[layout.BATCH_START], n[layout.NEXT_CHUNK]
        return TrainingState(
            optimizer=options.optimizer,  # type: ignore[arg-type]
            epoch=epoch,
            moments=self.moments.copy(),
            powers=tuple(numbers[layout.POWER_1 : layout.POWER_2 + 1]),
            random_state=random_state,
            batch_start=batch_start,
            next_chunk=next_chunk,
            partial_sums=np.concatenate(self.sums_under_way) if next_chunk else NOTHING,
            epoch_start=self.epoch_start.copy() if self.within_epoch else NONE[self.vectors.dtype],
            batching=batching,
            epoch_sums=tuple(numbers[layout.EPOCH_LOSS : layout.EPOCH_WEIGHT + 1]),
            best_loss=numbers[layout.BEST_LOSS],
            stale_epochs=n[layout.STALE_EPOCHS],
            checksum=zlib.crc32(self.parameters.data) if options.resumable else 0,
        )
