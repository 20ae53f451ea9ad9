"""Clusters on this machine, and fits on them whose groups are small."""

import asyncio
import gc
import logging
import multiprocessing
import os
import warnings
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest

import fastbp

dask_array = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

N, D = 20_000, 20
GROUP_CHUNKS = 2
SIZES, ACTIVATIONS = (D, 8, 3), ("relu", "softmax")


@contextmanager
def local_cluster(n_workers, default=True, **how):
    """A client of a cluster of processes: by default the active one."""
    how = {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50, **how}
    gc.collect()  # a client that failed to connect: deleted while another starts, it never returns
    with (
        mock.patch.dict(os.environ),  # Dask's nannies leave OMP_NUM_THREADS=1 there
        distributed.LocalCluster(n_workers=n_workers, processes=True, **how) as cluster,
        distributed.Client(cluster, set_as_default=default) as client,
    ):
        if n_workers:
            client.wait_for_workers(n_workers)
        yield client


class Workers:
    """Processes with a worker each, which may be killed at any moment: no nanny minds them."""

    def __init__(self, address):
        self._address = address
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["distributed", "fastbp.training.cluster.worker"])
        self.processes = []

    def add(self):
        """Start one; return its process."""
        process = self._context.Process(target=_serve, args=(self._address,), daemon=True)
        process.start()
        self.processes.append(process)
        return process

    def kill(self, process):
        """End one as ``kill -9`` does."""
        process.kill()
        process.join()
        self.processes.remove(process)


def _serve(address):
    async def serve():
        async with distributed.Worker(address, nthreads=1, dashboard=False) as worker:
            await worker.finished()

    logging.disable()
    asyncio.run(serve())


@contextmanager
def mortal_cluster(n_workers):
    """A client of a cluster of workers that no nanny minds, and these."""
    with local_cluster(0) as client:
        workers = Workers(client.scheduler.address)
        try:
            for _ in range(n_workers):
                workers.add()
            client.wait_for_workers(n_workers)
            yield client, workers
        finally:
            while workers.processes:
                workers.kill(workers.processes[0])


@pytest.fixture
def small_groups(monkeypatch):
    """Groups of two chunks: the client decides how large they are."""
    monkeypatch.setattr("fastbp.training.problem.group_chunks", lambda *sizes: GROUP_CHUNKS)


def rows_of_numbers(n=N, seed=0):
    """Features, labels that are two classes, those that are three, and weights."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, D))
    score = x[:, 0] + rng.normal(size=n)
    return (
        x,
        (score > 0).astype(float),
        np.digitize(score, [-0.5, 0.5]).astype(float),
        rng.random(n),
    )


X, TWO, THREE, WEIGHT = rows_of_numbers()


def neuron(x, y, w=None, epochs=4, rate=0.5, **how):
    """A fit of a neuron."""
    return fastbp.fit_neuron(
        x, y, np.zeros(D), 0.0, rate, epochs, loss="bce", sample_weight=w, **how
    )


def network(x, y, w=None, epochs=4, rate=0.1, **how):
    """A fit of a network."""
    start = fastbp.initialize_network(SIZES, activations=ACTIVATIONS, random_state=0)
    return fastbp.fit_network(
        x, y, *start, rate, epochs, activations=ACTIVATIONS, loss="cross_entropy",
        sample_weight=w, **how,
    )  # fmt: skip


def in_chunks(*arrays, rows=7000):
    """Dask's arrays of some."""
    return [dask_array.from_array(array, chunks=(rows, *array.shape[1:])) for array in arrays]


def quietly(fit, *arguments, **how):
    """A fit whose warnings of moved rows are not of interest."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* rows move to another worker", UserWarning)
        return fit(*arguments, **how)


def same(found, expected):
    """Whether two fits have the same bits."""
    parts = [[np.array(part, dtype=object).ravel() for part in fit] for fit in (found, expected)]
    equal = all(
        np.array_equal(a, b)
        for one, two in zip(*parts, strict=True)
        for a, b in zip(one, two, strict=True)
    )
    validation = found.validation_losses, expected.validation_losses
    return equal and (validation[1] is None or np.array_equal(*validation))
