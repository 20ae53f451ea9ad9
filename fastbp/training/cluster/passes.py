"""Passes over rows that lie on a cluster: groups are summed up there, and added up here."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastbp.data.labels import Samples
from fastbp.data.moments import ColumnMoments
from fastbp.data.rows import Block
from fastbp.kernels.steps import finish_sums
from fastbp.kernels.update import KEEP_LOSS
from fastbp.system.interrupts import Interrupts, WaitInterruptedError
from fastbp.training.cluster.connection import Connection
from fastbp.training.cluster.placement import Placed, facts, place
from fastbp.training.cluster.worker import (
    Pass,
    check_part,
    first_of_part,
    group_sums,
    joined,
    kept,
    moments_of_part,
)
from fastbp.training.memory import Memory
from fastbp.training.optimizers import GRADIENT_ONLY, LOSS_ONLY
from fastbp.training.problem import Problem
from fastbp.training.slices import UNIT_SECONDS

WAIT_SECONDS = 0.05  # for results, before Ctrl-C, progress and checkpoints have their turn
TASK_SECONDS = 0.25  # of work that a task takes on, of parts that lie on one worker
SENT_WITH_EACH_TASK = 2**16  # bytes of parameters; more are the result of a task of their own


class Passes:
    """The batches of a problem, whose groups the workers of a cluster sum up.

    Raises
    ------
    TypeError
        If the client is an asynchronous one.
    ValueError
        If a batch is not of whole groups.
    """

    epochs_ahead = 1

    def __init__(self, problem: Problem, memory: Memory, interrupts: Interrupts) -> None:
        rows, options = problem.rows, problem.options
        if options.batch_rows < rows.n_rows and options.batch_rows % problem.group_rows:
            raise ValueError(
                f"batch_size: expected None or a multiple of {problem.group_rows:,} rows on a"
                f" cluster, whose workers sum up so many at least, got {options.batch_rows:,}"
            )
        self._problem, self._memory, self._interrupts = problem, memory, interrupts
        self._client, self._connection = rows.cluster, Connection(rows.cluster, interrupts)
        rule = LOSS_ONLY if options.optimizer.code == KEEP_LOSS else GRADIENT_ONLY
        self._pass = Pass.of(problem, rule)
        self._waiting: deque[int] = deque()  # the numbers of parts whose sums are still to add
        self._holders: list[str] = []  # the worker of each part, when it was placed
        self._futures: list[Any] = []
        self._indices: dict[str, list[int]] = {}  # the parts of each of them, by its key
        self._arriving: Any = None
        self._arrived: dict[int, np.ndarray] = {}

    def _parts(self) -> list[Placed]:
        """Return the parts, which other problems of the same samples may have placed."""
        samples, key = self._problem.samples, self._problem.group_rows
        if key not in samples.placed:
            self._connection.check_installed()
            samples.placed[key] = place(samples, key, self._client, self._connection.threads())
            self._check_facts(samples, samples.placed[key])
        found: list[Placed] = samples.placed[key]
        if not self._holders:
            where = self._client.who_has([each.part for each in found])
            self._holders = [(*where[each.part.key], "")[0] for each in found]
        return found

    def _check_facts(self, samples: Samples, placed: list[Placed]) -> None:
        """Wait for all parts; refuse rows without weight and workers of other versions."""
        found = [self._connection.result(future) for future in facts(placed, self._client)]
        for each in found:
            self._connection.compare(each.bits)
        if samples.rows.weighted and not any(each.has_weight for each in found):
            raise ValueError("sample_weight: expected rows with a weight above 0, got zeros only")

    def first_rows(self, n_rows: int) -> Block:
        """Return the first so many rows, as float64."""
        with self._connection.translated():
            starts = [(part, first * self._problem.group_rows) for first, _, part in self._parts()]
            futures = [
                self._client.submit(first_of_part, part, n_rows - start, pure=False)
                for part, start in starts
                if start < n_rows
            ]
            return joined([self._connection.result(future) for future in futures])

    def moments(self, origin: np.ndarray) -> ColumnMoments:
        """Return the moments of all rows' features, by their weights, from an origin on."""
        found = ColumnMoments(self._problem.rows.n_features)
        found.origin = origin
        with self._connection.translated():
            parts = [each.part for each in self._parts()]
            for future in self._client.map(moments_of_part, parts, origin=origin, pure=False):
                for block in self._connection.result(future):
                    found.add(block)
        return found

    def reorder(self, orders: list[Any]) -> None:
        """Rows are visited where they lie."""
        raise AssertionError

    def next_budget(self) -> int:
        """Return 1: a batch is not computed in advance."""
        return 1

    def step(self, budget: int, limit: int, rates: np.ndarray, losses: np.ndarray) -> None:
        """Wait some time for sums; complete the batch when all are there; OUT losses."""
        memory, group_chunks = self._memory, self._problem.group_chunks
        with self._connection.translated():
            if not self._waiting:
                self._begin()
            until = time.perf_counter() + WAIT_SECONDS
            while self._waiting and time.perf_counter() < until:
                self._fetch()
                while self._waiting and self._waiting[0] in self._arrived:
                    self._add(self._arrived.pop(self._waiting.popleft()))
                if self._waiting:
                    self._wait()
        if not self._waiting:
            assert memory.next_chunk % group_chunks == 0
            memory.complete_batch()
            memory.allow((0, 0), None, (memory.epoch, limit, len(rates)), 0)
            finish_sums(memory.integers, memory.floats, memory.vectors, rates, losses)

    def _begin(self) -> None:
        """Have the rest of the batch computed, by a task for each part or for several."""
        memory, problem = self._memory, self._problem
        if memory.next_chunk % problem.group_chunks:
            raise ValueError(
                "state: expected that of a fit that was not interrupted within a group of"
                f" {problem.group_rows:,} rows, to continue it on a cluster"
            )
        from distributed import as_completed

        self._connection.begin()
        self._futures.clear()
        self._indices.clear()
        group_rows, options = problem.group_rows, problem.options
        begin = memory.batch_start // group_rows + memory.next_chunk // problem.group_chunks
        end = min(problem.rows.n_rows, memory.batch_start + options.batch_rows)
        parameters: Any = memory.parameters.copy()
        if parameters.nbytes > SENT_WITH_EACH_TASK:
            parameters = self._client.submit(kept, parameters, pure=False)
        wanted = [
            (index, part, (a - first, b - first))
            for index, (first, stop, part) in enumerate(self._parts())
            for a, b in [(max(first, begin), min(stop, -(-end // group_rows)))]
            if a < b
        ]
        self._waiting.extend(index for index, *_ in wanted)
        tasks = [tuple(map(list, zip(*some, strict=True))) for some in self._together(wanted)]
        of_tasks = [(parts, self._pass, parameters, bounds) for _, parts, bounds in tasks]
        self._futures = self._client.map(group_sums, *zip(*of_tasks, strict=True), pure=False)
        for future, (indices, _, _) in zip(self._futures, tasks, strict=True):
            self._indices[future.key] = indices
        # Dask fetches results as they come, from elsewhere if a worker dies meanwhile.
        how = {"with_results": True, "raise_errors": False, "loop": self._client.loop}
        self._arriving = as_completed(self._futures, **how)

    def _together(self, wanted: list[Any]) -> Iterator[list[Any]]:
        """Yield what one task each is to sum up: parts on one worker that take a moment only."""
        problem = self._problem
        tasks: dict[str, tuple[list[Any], float]] = {}
        group_seconds = problem.group_rows * problem.row_work * UNIT_SECONDS
        for each in wanted:
            index, _, (first, stop) = each
            holder = self._holders[index]
            some, seconds = tasks.get(holder, ([], 0.0))
            seconds += (stop - first) * group_seconds
            if some and seconds > TASK_SECONDS:
                yield some
                some, seconds = [], (stop - first) * group_seconds
            tasks[holder] = [*some, each], seconds
        yield from (some for some, _ in tasks.values())

    def _fetch(self) -> None:
        """Take what has arrived; raise an error of a task."""
        for future, result in self._arriving.next_batch(block=False):
            if future.status == "error":
                _, error, trace = result
                raise error.with_traceback(trace)
            if isinstance(result, BaseException):  # that it was cancelled
                raise result
            sums, bits = result
            self._connection.compare(bits)
            self._arrived.update(zip(self._indices[future.key], sums, strict=True))

    def _add(self, sums: np.ndarray) -> None:
        """Add groups to those of the batch, in order."""
        n = self._memory.parameters.size if self._pass.rule is GRADIENT_ONLY else 0
        for each in sums:
            self._memory.add_group(each[:n], each[n:], self._problem.group_chunks)

    def _wait(self) -> None:
        """Wait a moment; after Ctrl-C nobody needs what is being computed."""
        try:
            self._connection.wait()
        except WaitInterruptedError:
            self.cancel()
            raise

    def check_all(self) -> None:
        """Raise a DataError for the first invalid row."""
        dtype = self._memory.parameters.dtype.name
        try:
            with self._connection.translated():
                for future in [
                    self._client.submit(check_part, each.part, dtype, pure=False)
                    for each in self._parts()
                ]:
                    self._connection.result(future)
        except WaitInterruptedError:
            self._interrupts.raise_if_any()

    def raise_bad_row(self) -> None:
        """Do nothing: workers raise the error."""

    def cancel(self) -> None:
        """Have what is not computed yet forgotten."""
        self._connection.cancel(self._futures)
        for each in (self._waiting, self._futures, self._indices, self._arrived):
            each.clear()

    def close(self) -> None:
        """Have the rows forgotten, too, which an exception might refer to for some time."""
        self.cancel()
        placed = self._problem.samples.placed
        self._connection.cancel(each.part for parts in placed.values() for each in parts)
        placed.clear()
