"""``--cluster``: a client of a Dask cluster for as long as a command runs."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

import click

from fastbp.command.options import echo
from fastbp.errors import ClusterError
from fastbp.system.threads import available_threads

LOCAL = "local"
ANSWER_SECONDS = 5


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Give a client of the cluster at an address, or of one of this machine; None without one.

    Workers of this machine end with this process, however it ends.
    """
    if address is None:
        yield None
        return
    try:
        import distributed
    except ImportError:
        raise click.ClickException("--cluster needs Dask: pip install 'fastbp[cluster]'") from None
    with _logs_disabled():
        if address == LOCAL:
            with _local(distributed) as cluster, _closing(distributed.Client(cluster)) as client:
                yield _announced(client)
            return
        try:
            client = distributed.Client(address, timeout=ANSWER_SECONDS)
        except (OSError, ValueError) as error:  # no answer; no address
            unknown = isinstance(error, ValueError)
            got = str(error) if unknown else f"no answer from {address}"
            raise ClusterError(
                f"--cluster: expected {LOCAL} or the address of a scheduler, such as"
                f" tcp://host:8786, got {got}"
            ) from None
        with _closing(client):
            yield _announced(client)


@contextmanager
def _local(distributed: Any) -> Iterator[Any]:
    """Start a worker for each processor, whose threads Ctrl-C does not reach."""
    with _interrupts_blocked():
        cluster = distributed.LocalCluster(
            n_workers=available_threads(), threads_per_worker=1, processes=True,
            dashboard_address=":0", silence_logs=logging.CRITICAL,
        )  # fmt: skip
    with _closing(cluster):
        yield cluster


@contextmanager
def _closing(opened: Any) -> Iterator[Any]:
    """Close a client or a cluster at the end; Ctrl-C waits until that is done.

    Where it cut this short, Dask would take 10 seconds more when the process ends.
    """
    try:
        yield opened
    finally:
        with _interrupts_blocked():
            opened.close()


def _announced(client: Any) -> Any:
    threads = client.nthreads().values()
    of_threads = f", {sum(threads)} threads" if sum(threads) != len(threads) else ""
    workers = f"{len(threads)} worker{'s' if len(threads) != 1 else ''}{of_threads}"
    echo(f"cluster of {workers} at {client.scheduler.address}", err=True)
    return client


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Let Ctrl-C wait; threads and processes that are started meanwhile never get it.

    A terminal sends it to them as well, and they must live on until the fit has ended.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # when it starts, it lets the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _logs_disabled() -> Iterator[None]:
    """Keep Dask from writing lines of its own between those of the command."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
