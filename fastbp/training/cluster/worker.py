"""What a worker does: it keeps parts of the rows, and adds their groups up at given parameters.

Dask sends these functions by name: a worker runs those of its own installation.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastbp import arguments
from fastbp.data.arrays import ArrayRows, Labelled, loaded_if_small
from fastbp.data.labels import Samples, Targets
from fastbp.data.moments import BlockMoments, moments_by_block
from fastbp.data.rows import Block, Rows
from fastbp.kernels import layout
from fastbp.system.interrupts import Interrupts
from fastbp.system.threads import Team
from fastbp.system.versions import what_bits_depend_on
from fastbp.training.memory import Memory
from fastbp.training.optimizers import Rule
from fastbp.training.problem import Kernel, Options, Problem
from fastbp.training.slices import Slices, workers


class Piece(NamedTuple):
    """Some rows of a part, where they come from.

    Attributes
    ----------
    name : str
        What messages call the partition.
    rows : slice or numpy.ndarray of int64
        Which of its rows.
    """

    name: str
    rows: slice | np.ndarray

    def __len__(self) -> int:
        if isinstance(self.rows, slice):
            return int(self.rows.stop - self.rows.start)
        return len(self.rows)

    def row(self, index: int) -> int:
        """Return the row of the partition that one of these is."""
        if isinstance(self.rows, slice):
            return int(self.rows.start + index)
        return int(self.rows[index])


class PartRows(Labelled):
    """The rows of a part in memory, that know which partitions they come from."""

    def __init__(self, block: Block, pieces: list[Piece], dtype: np.dtype[Any]) -> None:
        super().__init__(ArrayRows(block.features, dtype=dtype), block.labels, block.weight)
        self._pieces = pieces

    def locate(self, row: int) -> tuple[str, int]:
        """Return the name of the partition that a row comes from, and the row in it."""
        for piece in self._pieces:
            if row < len(piece):
                break
            row -= len(piece)
        return piece.name, piece.row(row)


@dataclass(eq=False)
class Part:
    """Consecutive rows of a fit, in whole groups but for the last ones, that a worker keeps."""

    samples: Samples

    def __sizeof__(self) -> int:  # for Dask, which weighs moving it against waiting
        rows = self.samples.rows
        return 0 if rows.in_memory is None else rows.n_rows * rows.row_bytes


class Checks(NamedTuple):
    """What to check in the rows of a part: see :class:`~fastbp.data.labels.Samples`."""

    class_indices: bool
    targets: Targets
    names: tuple[str, str]
    feature_names: list[str] | None

    def part(self, rows: Rows) -> Part:
        """Return the part of these rows, checked if they are in memory."""
        rows.feature_names = self.feature_names  # for messages
        samples = Samples(rows, self.class_indices, self.targets, self.names)
        return Part(samples.checked_in_memory())


class Facts(NamedTuple):
    """What is known of a part once its rows are."""

    bits: dict[str, str]
    has_weight: bool


@dataclass(frozen=True, eq=False)
class Pass:
    """What is computed for each group: a problem without its rows and its parameters."""

    rule: Rule
    settings: dict[int, int]
    table: tuple[int, ...]
    n_weights: int
    tile_rows: int
    chunk_rows: int
    row_work: int
    work_size: int
    group_chunks: int
    n_threads: int

    @classmethod
    def of(cls, problem: Problem, rule: Rule) -> Pass:
        """Return that of a problem, with the rule of what to keep."""
        own = {name: getattr(problem, name) for name in _OWN}
        n_threads = problem.options.n_threads or 1
        return cls(rule=rule, group_chunks=problem.group_chunks, n_threads=n_threads, **own)

    def problem(self, samples: Samples, parameters: np.ndarray) -> Problem:
        """Return the problem of a part, whose batches are groups."""
        own = {name: getattr(self, name) for name in _OWN}
        kernel: Kernel  # imported by workers only
        if self.table:
            from fastbp.kernels.network import network_steps as kernel
        else:
            from fastbp.kernels.neuron import neuron_steps as kernel
        group_rows = min(self.group_chunks * self.chunk_rows, samples.rows.n_rows)
        options = Options(0.0, 1, group_rows, self.rule, n_threads=self.n_threads)
        found = Problem(kernel, samples, options, parameters, named=_nameless, **own)
        found.group_chunks = self.group_chunks
        return found


_OWN = (
    "settings", "table", "n_weights", "tile_rows", "chunk_rows", "row_work", "work_size",
)  # fmt: skip


def _nameless(parameters: np.ndarray) -> dict[str, Any]:
    return {}


def _sums(problem: Problem, team: Team, readers: int, first: int, stop: int) -> list[np.ndarray]:
    """Return the gradient, if it is kept, and the other sums of groups `first` to `stop`.

    They are batches that are not followed by an update.
    """
    memory, batch_rows = Memory(problem, team.size), problem.options.batch_rows
    chunks = -(-batch_rows // memory.chunk_rows)
    has_gradient = problem.options.optimizer.n_moments > 0
    rates, losses, found = np.zeros(1), np.empty(1), []
    memory.batch_start = first * batch_rows
    with contextlib.closing(Slices(problem, memory, team, readers, Interrupts())) as slices:
        for group in range(first, stop):
            while memory.batch_start == group * batch_rows and memory.epoch == 0:
                slices.allow_chunks(chunks - memory.next_chunk)
                slices.step(slices.next_budget(), 1, rates, losses)
                slices.raise_bad_row()
                if memory.status == layout.DIVERGED:  # as the sums will show
                    break
            rows = min(batch_rows, problem.rows.n_rows - group * batch_rows)
            gradient, sums = memory.sums_of_group(rows)
            found.append(np.concatenate([gradient, sums]) if has_gradient else sums.copy())
    return found


def leave_interrupts_to_the_client() -> None:
    """Let a Ctrl-C in the terminal of a cluster's client end the fit only, not this worker as well.

    A worker that another process of Python started is ended by that. Others are left as they are.
    """
    from distributed import get_worker

    if multiprocessing.parent_process() is not None:
        get_worker().loop.add_callback(_ignore_interrupts)


def _ignore_interrupts() -> None:
    if threading.current_thread() is threading.main_thread():  # the only one that may
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def part_of_blocks(blocks: list[Block], pieces: list[Piece], checks: Checks) -> Part:
    """Return the part that consists of these rows of some partitions, checked."""
    leave_interrupts_to_the_client()
    block = joined(blocks)
    return checks.part(PartRows(block, pieces, checks.targets.dtype))


def picked(block: Block, rows: slice | np.ndarray) -> Block:
    """Return some rows of a partition."""
    return block.map(lambda array: array[rows])


def joined(blocks: list[Block]) -> Block:
    """Return the rows of several blocks as one."""
    if len(blocks) == 1:
        return blocks[0]
    arrays = zip(*(block.arrays for block in blocks), strict=True)
    return Block(*(None if each[0] is None else np.concatenate(each) for each in arrays))  # type: ignore[arg-type]


def part_of_rows(rows: Rows, checks: Checks) -> Part:
    """Return the part that consists of rows that this worker reads itself, where they lie."""
    leave_interrupts_to_the_client()
    return checks.part(loaded_if_small(rows))


def facts_of(part: Part) -> Facts:
    """Return what the client has to know of a part: its weights, and on what machine it is."""
    rows = part.samples.rows
    blocks = rows.blocks() if rows.weighted else ()
    has_weight = any(block.weight is not None and block.weight.any() for _, block in blocks)
    return Facts(what_bits_depend_on(), has_weight)


def first_of_part(part: Part, n_rows: int) -> Block:
    """Return a part's first rows."""
    rows = part.samples.rows
    return rows.block(0, min(n_rows, rows.n_rows))


def moments_of_part(part: Part, origin: np.ndarray) -> list[BlockMoments | None]:
    """Return the moments of each block of a part's rows."""
    return list(moments_by_block(part.samples.rows, origin))


def check_part(part: Part, dtype: str) -> None:
    """Raise a DataError for the first invalid row."""
    part.samples.check_all(arguments.DTYPES[dtype])


def kept(parameters: np.ndarray) -> np.ndarray:
    """Return parameters: of this task all others get them, and a new one where it is lost."""
    return parameters


def group_sums(
    parts: list[Part], what: Pass, parameters: np.ndarray, bounds: list[tuple[int, int]]
) -> tuple[list[np.ndarray], dict[str, str]]:
    """Return the sums of some groups of each part, and what their bits depend on.

    `bounds` are the first group of each part and the one after the last. Of shape (groups, P + 8)
    with gradients, or (groups, 8).
    """
    found = []
    for part, (first, stop) in zip(parts, bounds, strict=True):
        problem = what.problem(part.samples, parameters)
        with workers(problem, 1) as (team, readers):
            found.append(np.stack(_sums(problem, team, readers, first, stop)))
    return found, what_bits_depend_on()
