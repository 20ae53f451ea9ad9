"""Passes over rows that lie on a cluster: groups are summed up there, and added up here."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from importlib import import_module
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
FETCH_SECONDS = 1.0  # at first; a result that is large is given twice as long each time
LOOK_SECONDS = 1.0  # between questions to the scheduler about its workers
PATIENCE_SECONDS = 60.0  # with a cluster of which no worker takes tasks
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

    def __init__(self, problem: Problem, memory: Memory, interrupts: Interrupts) -> None:
        rows, options = problem.rows, problem.options
        if options.batch_rows < rows.n_rows and options.batch_rows % problem.group_rows:
            raise ValueError(
                f"batch_size: expected None or a multiple of {problem.group_rows:,} rows on a"
                f" cluster, whose workers sum up so many at least, got {options.batch_rows:,}"
            )
        self._problem, self._memory, self._interrupts = problem, memory, interrupts
        self._client = rows.cluster
        if self._client.asynchronous:
            raise TypeError(
                "cluster: expected a distributed.Client that waits for results, outside of an event"
                " loop, got an asynchronous one"
            )
        rule = LOSS_ONLY if options.optimizer.code == KEEP_LOSS else GRADIENT_ONLY
        self._pass = Pass.of(problem, rule)
        self._waiting: deque[Any] = deque()  # futures of sums, in the order of their groups
        self._seen: dict[str, str] = {}
        self._idle_since = self._next_look = time.monotonic()

    def _parts(self) -> list[Placed]:
        """Return the parts, which other problems of the same samples may have placed."""
        samples, key = self._problem.samples, self._problem.group_rows
        if key not in samples.placed:
            check_installed(self._client, self._result)
            samples.placed[key] = place(samples, key, self._client)
            self._check_facts(samples, samples.placed[key])
        found: list[Placed] = samples.placed[key]
        return found

    def _check_facts(self, samples: Samples, placed: list[Placed]) -> None:
        """Wait for all parts; refuse rows without weight and workers of other versions."""
        found = [self._result(future) for future in facts(placed, self._client)]
        for each in found:
            self._compare(each.bits)
        if samples.rows.weighted and not any(each.has_weight for each in found):
            raise ValueError("sample_weight: expected rows with a weight above 0, got zeros only")

    def step(self, rates: np.ndarray, losses: np.ndarray) -> None:
        """Wait some time for sums; complete the batch when all are there."""
        memory, group_chunks = self._memory, self._problem.group_chunks
        with self._translated():
            if not self._waiting:
                self._begin()
            until = time.perf_counter() + WAIT_SECONDS
            while self._waiting and time.perf_counter() < until:
                if self._waiting[0].done():
                    self._add(*self._result(self._waiting[0]))
                    self._waiting.popleft()
                else:
                    self._wait()
        if not self._waiting:
            assert memory.next_chunk % group_chunks == 0
            memory.complete_batch()
            memory.allow((0, 0), None, (memory.epoch, memory.epoch + 1, 1), 0)
            finish_sums(memory.integers, memory.floats, memory.vectors, rates, losses)

    def _begin(self) -> None:
        """Have the rest of the batch computed, a task for each part."""
        memory, problem = self._memory, self._problem
        if memory.next_chunk % problem.group_chunks:
            raise ValueError(
                "state: expected that of a fit that was not interrupted within a group of"
                f" {problem.group_rows:,} rows, to continue it on a cluster"
            )
        self._idle_since = time.monotonic()  # nobody has looked while the callback took its time
        group_rows, options = problem.group_rows, problem.options
        begin = memory.batch_start // group_rows + memory.next_chunk // problem.group_chunks
        end = min(problem.rows.n_rows, memory.batch_start + options.batch_rows)
        parameters: Any = memory.parameters.copy()
        if parameters.nbytes > SENT_WITH_EACH_TASK:
            parameters = self._client.submit(kept, parameters, pure=False)
        for first, stop, part in self._parts():
            a, b = max(first, begin), min(stop, -(-end // group_rows))
            if a < b:
                future = self._client.submit(
                    group_sums, part, self._pass, parameters, a - first, b - first, pure=False
                )
                self._waiting.append(future)

    def _add(self, sums: np.ndarray, bits: dict[str, str]) -> None:
        self._compare(bits)
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
        try:
            with self._translated():
                for future in [
                    self._client.submit(check_part, each.part, dtype, pure=False)
                    for each in self._parts()
                ]:
                    self._result(future)
        except WaitInterruptedError:
            self._interrupts.raise_if_any()

    def _result(self, future: Any) -> Any:
        """Return a result, which is computed again if the worker that holds it dies meanwhile."""
        seconds = FETCH_SECONDS
        while True:
            if future.status == "error":
                return future.result()
            if future.done():
                try:
                    return future.result(timeout=seconds)
                except TimeoutError:
                    seconds *= 2
            self._wait()

    def _wait(self) -> None:
        """Wait a moment; raise an error if nothing can come any more, or if Ctrl-C does."""
        if self._interrupts.count:
            self.cancel()
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

    def cancel(self) -> None:
        """Have what is not computed yet forgotten."""
        self._forget(self._waiting)
        self._waiting.clear()

    def close(self) -> None:
        """Have the rows forgotten, too, which an exception might refer to for some time."""
        self.cancel()
        placed = self._problem.samples.placed
        self._forget(each.part for parts in placed.values() for each in parts)
        placed.clear()

    def _forget(self, futures: Iterable[Any]) -> None:
        if self._client.status == "running":
            with suppress(OSError, RuntimeError):  # of a connection that is lost by now
                self._client.cancel(list(futures))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise ClusterErrors for what goes wrong with the cluster, not with the rows."""
        import distributed

        try:
            yield
        except (FastbpError, ValueError, TypeError, Warning, WaitInterruptedError):
            raise
        except distributed.KilledWorker as error:
            raise ClusterError(
                "workers died again and again while they computed the same part; perhaps they have"
                f" too little memory for it, or no fastbp: {error}"
            ) from error
        except MemoryError as error:
            raise ClusterError(f"a worker ran out of memory: {error}") from error
        except Exception as error:
            if self._client.status != "running" or isinstance(error, OSError | CancelledError):
                raise _lost(self._client) from error
            raise ClusterError(f"a worker failed with {type(error).__name__}: {error}") from error


def check_installed(
    client: Any, result: Callable[[Any], Any] = lambda future: future.result()
) -> None:
    """Refuse workers without fastbp: they would die of tasks that they cannot even read."""
    futures = {
        address: client.submit(
            import_module, group_sums.__module__,
            workers=[address], allow_other_workers=True, pure=False,
        )
        for address in client.nthreads()
    }  # fmt: skip
    for address, future in futures.items():
        try:
            result(future)
        except ImportError as error:
            raise ClusterError(
                f"expected fastbp on every worker, but {address} cannot import it: {error}"
            ) from error


def _lost(client: Any) -> ClusterError:
    address = getattr(client.scheduler, "address", None)
    where = f" at {address}" if address else ", whose client is closed"
    return ClusterError(f"lost the connection to the scheduler{where}")
