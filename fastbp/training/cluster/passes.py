"""Passes over rows that lie on a cluster: groups are summed up there, and added up here."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

import numpy as np

from fastbp.data.labels import Samples
from fastbp.errors import ClusterError, FastbpError
from fastbp.kernels.cache import users_level
from fastbp.kernels.steps import finish_sums
from fastbp.kernels.update import KEEP_LOSS
from fastbp.system.interrupts import Interrupts, WaitInterruptedError
from fastbp.system.versions import what_bits_depend_on
from fastbp.training.cluster.placement import Placed, facts, place
from fastbp.training.cluster.worker import Pass, check_part, group_sums, kept
from fastbp.training.memory import Memory
from fastbp.training.optimizers import GRADIENT_ONLY, LOSS_ONLY
from fastbp.training.problem import Problem

WAIT_SECONDS = 0.05  # for results, before Ctrl-C, progress and checkpoints have their turn
POLL_SECONDS = 0.001
LOOK_SECONDS = 1.0  # between questions to the scheduler about its workers
PATIENCE_SECONDS = 60.0  # with a cluster of which no worker takes tasks
SENT_WITH_EACH_TASK = 2**16  # bytes of parameters; more are the result of a task of their own


class Passes:
    """The batches of a problem, whose groups the workers of a cluster sum up.

    Raises
    ------
    ValueError
        If a batch is not of whole groups.
    """

    def __init__(self, problem: Problem, memory: Memory, interrupts: Interrupts) -> None:
        rows, options = problem.rows, problem.options
        if options.batch_rows < rows.n_rows and options.batch_rows % problem.group_rows:
            raise ValueError(
                f"batch_size: expected None or a multiple of {problem.group_rows:,} rows on a"
                f" cluster, whose workers sum up so many at least, got {options.batch_rows:,}"
            )
        self._problem, self._memory, self._interrupts = problem, memory, interrupts
        self._client = rows.cluster
        rule = LOSS_ONLY if options.optimizer.code == KEEP_LOSS else GRADIENT_ONLY
        self._pass = Pass.of(problem, rule)
        self._waiting: deque[Any] = deque()  # futures of sums, in the order of their groups
        self._seen: dict[str, str] = {}
        self._idle_since = self._next_look = time.monotonic()

    def _parts(self) -> list[Placed]:
        """Return the parts, which other problems of the same samples may have placed."""
        samples, key = self._problem.samples, self._problem.group_rows
        if key not in samples.placed:
            placed = place(samples, key, self._client)
            self._check_facts(samples, placed)
            samples.placed[key] = placed
        found: list[Placed] = samples.placed[key]
        return found

    def _check_facts(self, samples: Samples, placed: list[Placed]) -> None:
        """Wait for all parts; refuse rows without weight and workers of other versions."""
        found = [self._result(future) for future in facts(placed, self._client)]
        for each in found:
            self._compare(each.bits)
        if samples.rows.weighted and not any(each.has_weight for each in found):
            raise ValueError("sample_weight: expected rows with a weight above 0, got zeros only")

    epochs_ahead = 1

    def reorder(self, orders: list[Any]) -> None:
        """Rows are visited where they lie."""
        raise AssertionError

    def next_budget(self) -> int:
        """Return 1: a batch is not computed in advance."""
        return 1

    def step(self, budget: int, limit: int, rates: np.ndarray, losses: np.ndarray) -> None:
        """Wait some time for sums; complete the batch when all are there; OUT losses."""
        memory, group_chunks = self._memory, self._problem.group_chunks
        with self._translated():
            if not self._waiting:
                self._begin()
            until = time.perf_counter() + WAIT_SECONDS
            while self._waiting and time.perf_counter() < until:
                ready = list(takewhile(lambda future: future.done(), self._waiting))
                for sums, bits in self._client.gather(ready):
                    self._waiting.popleft()
                    self._compare(bits)
                    self._add(sums)
                if not ready:
                    self._wait()
        if not self._waiting:
            assert memory.next_chunk % group_chunks == 0
            memory.complete_batch()
            memory.allow((0, 0), None, (memory.epoch, limit, len(rates)), 0)
            finish_sums(memory.integers, memory.floats, memory.vectors, rates, losses)

    def _begin(self) -> None:
        """Have the rest of the batch computed, a task for each part."""
        memory, problem = self._memory, self._problem
        if memory.next_chunk % problem.group_chunks:
            raise ValueError(
                "state: expected that of a fit that was not interrupted within a group of"
                f" {problem.group_rows:,} rows, to continue it on a cluster"
            )
        group_rows, options = problem.group_rows, problem.options
        begin = memory.batch_start // group_rows + memory.next_chunk // problem.group_chunks
        end = min(problem.rows.n_rows, memory.batch_start + options.batch_rows)
        parameters: Any = memory.parameters.copy()
        if parameters.nbytes > SENT_WITH_EACH_TASK:
            parameters = self._client.submit(kept, parameters, pure=False)
        tasks = [
            (part, self._pass, parameters, a - first, b - first)
            for first, stop, part in self._parts()
            for a, b in [(max(first, begin), min(stop, -(-end // group_rows)))]
            if a < b
        ]
        columns = zip(*tasks, strict=True)  # one message for all
        self._waiting.extend(self._client.map(group_sums, *columns, pure=False))

    def _add(self, sums: np.ndarray) -> None:
        """Add groups to those of the batch, in order."""
        n = self._memory.parameters.size if self._pass.rule is GRADIENT_ONLY else 0
        for each in sums:
            self._memory.add_group(each[:n], each[n:], self._problem.group_chunks)

    def _compare(self, bits: dict[str, str]) -> None:
        """Refuse a worker of other versions; warn of one with another processor."""
        own = what_bits_depend_on()
        if bits == own or bits == self._seen:
            return
        for name, version in bits.items():
            if name != "processor" and version != own[name]:
                raise ClusterError(
                    f"expected {name} {own[name]} on every worker, as here, got {version}"
                )
        warnings.warn(
            f"workers with another processor than this machine ({bits['processor']};"
            f" {own['processor']}): the last digits of the result depend on which computes what",
            stacklevel=users_level(),
        )
        self._seen = bits

    def check_all(self) -> None:
        """Raise a DataError for the first invalid row."""
        dtype = self._memory.parameters.dtype.name
        with self._translated():
            for future in [
                self._client.submit(check_part, each.part, dtype, pure=False)
                for each in self._parts()
            ]:
                self._result(future)

    def raise_bad_row(self) -> None:
        """Do nothing: workers raise the error."""

    def _result(self, future: Any) -> Any:
        while not future.done():
            self._wait()
        return future.result()

    def _wait(self) -> None:
        """Wait a moment; raise an error if nothing can come any more, or if Ctrl-C does."""
        if self._interrupts.count:
            self.close()
            raise WaitInterruptedError
        if self._client.status != "running":
            raise _lost(self._client)
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._look_at_workers(now)
        time.sleep(POLL_SECONDS)

    def _look_at_workers(self, now: float) -> None:
        """Raise a ClusterError if for some time there has been no worker that takes tasks."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        if any(worker["status"] == "running" for worker in workers):
            self._idle_since = now
        elif now - self._idle_since > PATIENCE_SECONDS:
            paused = " that is not paused for lack of memory" if workers else ""
            raise ClusterError(
                f"expected a worker{paused} at {self._client.scheduler.address}, got none for"
                f" {PATIENCE_SECONDS:.0f} seconds"
            )

    def close(self) -> None:
        """Have what is not computed yet forgotten."""
        for future in self._waiting:
            future.cancel()
        self._waiting.clear()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise ClusterErrors for what goes wrong with the cluster, not with the rows."""
        import distributed

        try:
            yield
        except (FastbpError, ValueError, TypeError, WaitInterruptedError):
            raise
        except distributed.KilledWorker as error:
            raise ClusterError(
                "workers died again and again while they computed the same part; perhaps they have"
                f" too little memory for it: {error}"
            ) from error
        except MemoryError as error:
            raise ClusterError(f"a worker ran out of memory: {error}") from error
        except Exception as error:
            if self._client.status != "running" or isinstance(error, OSError):
                raise _lost(self._client) from error
            raise ClusterError(f"a worker failed with {type(error).__name__}: {error}") from error


def _lost(client: Any) -> ClusterError:
    address = getattr(client.scheduler, "address", "its address")
    return ClusterError(f"lost the connection to the scheduler at {address}")
