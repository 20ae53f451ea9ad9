"""The connection to a cluster: waits for what its workers compute, and says what went wrong."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib import import_module
from typing import Any

from fastbp.errors import ClusterError, FastbpError
from fastbp.kernels.cache import users_level
from fastbp.system.interrupts import Interrupts, WaitInterruptedError
from fastbp.system.versions import what_bits_depend_on

POLL_SECONDS = 0.001
FETCH_SECONDS = 1.0  # at first; a result that is large is given twice as long each time
LOOK_SECONDS = 1.0  # between questions to the scheduler about its workers
PATIENCE_SECONDS = 60.0  # with a cluster of which no worker takes tasks


class Connection:
    """A client, and how long to be patient with its cluster.

    Raises
    ------
    TypeError
        If the client is an asynchronous one.
    """

    def __init__(self, client: Any, interrupts: Interrupts | None = None) -> None:
        if client.asynchronous:
            raise TypeError(
                "cluster: expected a distributed.Client that waits for results, outside of an event"
                " loop, got an asynchronous one"
            )
        self.client = client
        self._interrupts = interrupts or Interrupts()
        self._seen: dict[str, str] = {}
        self._idle_since = self._next_look = time.monotonic()

    def threads(self) -> dict[str, int]:
        """Return the threads of each worker by its address; wait until there is a worker."""
        while not (found := self.client.nthreads()):
            self.wait()
        return dict(sorted(found.items()))

    def result(self, future: Any) -> Any:
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
            self.wait()

    def begin(self) -> None:
        """Be patient anew: nobody has looked at the workers for some time."""
        self._idle_since = time.monotonic()

    def cancel(self, futures: Iterable[Any]) -> None:
        """Have results forgotten, and tasks that are not computed yet."""
        if self.client.status == "running":
            with suppress(OSError, RuntimeError):  # of a connection that is lost by now
                self.client.cancel(list(futures))

    def check_installed(self) -> None:
        """Refuse workers without fastbp: they would die of tasks that they cannot even read."""
        with self.translated():
            futures = {
                address: self.client.submit(
                    import_module, "fastbp.training.cluster.worker",
                    workers=[address], allow_other_workers=True, pure=False,
                )
                for address in self.threads()
            }  # fmt: skip
            for address, future in futures.items():
                try:
                    self.result(future)
                except ImportError as error:
                    raise ClusterError(
                        f"expected fastbp on every worker, but {address} cannot import it: {error}"
                    ) from error

    def wait(self) -> None:
        """Wait a moment; raise an error if nothing can come any more, or if Ctrl-C does."""
        if self._interrupts.count:
            raise WaitInterruptedError
        if self.client.status != "running":
            raise self._lost()
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._look_at_workers(now)
        time.sleep(POLL_SECONDS)

    def _look_at_workers(self, now: float) -> None:
        """Raise a ClusterError if for some time there has been no worker that takes tasks."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        if any(worker["status"] == "running" for worker in workers):
            self._idle_since = now
        elif now - self._idle_since > PATIENCE_SECONDS:
            paused = " that is not paused for lack of memory" if workers else ""
            raise ClusterError(
                f"expected a worker{paused} at {self.client.scheduler.address}, got none for"
                f" {PATIENCE_SECONDS:.0f} seconds"
            )

    def compare(self, bits: dict[str, str]) -> None:
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

    @contextmanager
    def translated(self) -> Iterator[None]:
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
            lost = isinstance(error, OSError | CancelledError)
            of_a_file = getattr(error, "filename", None) is not None
            if self.client.status != "running" or (lost and not of_a_file):
                raise self._lost() from error
            raise ClusterError(f"a worker failed with {type(error).__name__}: {error}") from error

    def _lost(self) -> ClusterError:
        address = getattr(self.client.scheduler, "address", None)
        where = f" at {address}" if address else ", whose client is closed"
        return ClusterError(f"lost the connection to the scheduler{where}")


def errors_translated(client: Any) -> AbstractContextManager[None]:
    """Raise ClusterErrors for what goes wrong with a client's cluster, if there is a client."""
    return nullcontext() if client is None else Connection(client).translated()
