"""How many threads to use, and teams of them that run a kernel together.

They are Python's own threads, and kernels run without the interpreter's lock. They live for one
fit, so nothing is left behind that a fork could lose.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fastbp import arguments
from fastbp.kernels.jit import JIT_ENABLED

WORK_PER_THREAD = 2**16  # a smaller share of a batch, 20 microseconds, is not worth a thread
WORK_TO_START = 2**24  # 5 ms: worth starting a thread, which costs some 100 microseconds

_chosen: int | None = None


def available_threads() -> int:
    """Return how many processors this process may use.

    That depends on the affinity mask, a container's CPU quota and, in a worker of
    joblib, the share that it was given.
    """
    known = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    quota = _container_quota()
    if quota is not None:
        count = min(count, max(1, math.floor(quota)))
    if _inside_joblib():
        count = min(count, _openmp_threads() or 1)
    return count


def _openmp_threads() -> int | None:
    """Return ``OMP_NUM_THREADS``, which joblib and others set for their worker processes."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdecimal() and int(text) > 0 else None


def _container_quota(folder: str = "/sys/fs/cgroup") -> float | None:
    """Return how many processors a Linux control group allows (version 2, then version 1)."""
    for names in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        with contextlib.suppress(OSError, ValueError):  # no such files, or "max": no limit
            quota, period = (
                int(n)
                for name in names
                for n in Path(folder, name).read_text(encoding="utf-8").split()
            )
            return quota / period if quota > 0 and period > 0 else None  # -1: no limit
    return None


def _inside_joblib() -> bool:
    """Return whether this is a worker of joblib, whose siblings use the other processors."""
    joblib = sys.modules.get("joblib.parallel")
    if joblib is None:
        return False
    backend, _ = joblib.get_active_backend()
    return bool(getattr(backend, "nesting_level", 0))


def get_num_threads() -> int:
    """Return how many threads a call without `n_threads` uses at most.

    That is the number given to :func:`set_num_threads`, else the environment variable
    ``FASTBP_NUM_THREADS``, else ``OMP_NUM_THREADS``, else all processors that this process may use
    (affinity, container limits, the share of a joblib worker), and never more than those.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If ``FASTBP_NUM_THREADS`` is not a positive integer.

    Examples
    --------
    >>> import fastbp
    >>> fastbp.set_num_threads(1)
    >>> fastbp.get_num_threads()
    1
    >>> fastbp.set_num_threads(None)
    """
    text = os.environ.get("FASTBP_NUM_THREADS")
    requested, available = _chosen or _openmp_threads(), available_threads()
    if _chosen is None and text:
        if not text.isdecimal() or int(text) == 0:
            raise ValueError(f"FASTBP_NUM_THREADS: expected a positive integer, got {text!r}")
        requested = int(text)
    return min(requested or available, available)


def set_num_threads(n_threads: int | None) -> None:
    """Set how many threads a call without `n_threads` uses at most.

    Parameters
    ----------
    n_threads : int or None
        At least 1; None restores the default (see :func:`get_num_threads`). Never more are used
        than the process may use.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer, or below 1.

    Examples
    --------
    >>> import fastbp
    >>> fastbp.set_num_threads(1)
    >>> fastbp.set_num_threads(None)
    """
    global _chosen
    if n_threads is not None:
        n_threads = arguments.integer("n_threads", n_threads, minimum=1)
    _chosen = n_threads


def threads_for(
    batch_work: int,
    fit_work: int,
    parts: int,
    requested: int | None,
    least_work: int = WORK_PER_THREAD,
) -> int:
    """Return the number of threads for a fit: what was requested, or what its size is worth.

    The work of a batch and of the whole fit is in units of about a third of a nanosecond, as is the
    least share of a batch that is worth a thread. More threads than a batch has parts would find
    nothing to do. Results do not depend on their number.
    """
    if not JIT_ENABLED:
        return 1  # plain Python has no atomic operations
    if requested is not None:
        return min(requested, parts)
    most = min(parts, batch_work // least_work)
    if fit_work < WORK_TO_START or most < 2:  # to ask the system takes 200 microseconds
        return 1
    return min(get_num_threads(), most)


class _Threads(ThreadPoolExecutor):
    """Threads; where the system refuses another, its work is done by those there are."""

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise


class _CallingThread(Executor):
    """Does work where it is submitted."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **keywords: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **keywords))
        except BaseException as error:
            future.set_exception(error)
        return future


def start_threads(count: int, name: str) -> Executor:
    """Return threads: at most `count`, as many as the system allows.

    If it allows none, what is submitted is done at once by the calling thread.
    """
    threads = _Threads(count, name)
    try:
        threads.submit(int)
    except RuntimeError:
        return _CallingThread()
    return threads


class Team:
    """Threads that run one kernel call together; the calling thread is worker 0."""

    def __init__(self, size: int, pool: Executor | None) -> None:
        self.size = size
        self._pool = pool

    def run(self, call: Callable[[int], bool], abandon: Callable[[], None] = lambda: None) -> None:
        """Run `call(worker)` on every thread until it returns True.

        If worker 0 is stopped by an exception, `abandon` must let the others return.
        """
        if self._pool is None:
            _repeat(call, 0)
            return
        others: list[Future[None]] = []
        try:
            for worker in range(1, self.size):
                others.append(self._pool.submit(_repeat, call, worker))
            _repeat(call, 0)
        except BaseException:
            abandon()
            raise
        finally:
            for other in others:
                other.result()

    def each(self, call: Callable[[int], None], items: Iterable[int]) -> None:
        """Run `call(item)` for every item, each on the next thread that is free."""
        shared = iter(list(items))  # drawing from a list's iterator is atomic

        def work(worker: int) -> bool:
            for item in shared:
                call(item)
            return True

        self.run(work)


def _yield() -> None:
    """Let another thread have the processor, if one waits for it.

    On Linux ``time.sleep(0)`` would sleep for some 60 microseconds, within which the others run out
    of work and go to sleep in their turn: a tenth of the time of small batches.
    """
    if hasattr(os, "sched_yield"):
        os.sched_yield()
    else:
        time.sleep(0)


def _repeat(call: Callable[[int], bool], worker: int) -> None:
    while not call(worker):
        _yield()  # there is nothing to do at the moment


ALONE = Team(1, None)
"""The calling thread."""


@contextlib.contextmanager
def team(size: int) -> Iterator[Team]:
    """Yield a team of `size` threads for the length of a fit."""
    if size == 1:
        yield ALONE
        return
    with start_threads(size - 1, "fastbp") as pool:
        yield Team(size, pool if isinstance(pool, _Threads) else None)
