"""What may happen to a fit on a cluster: workers, the scheduler or the client die, rows are bad."""

import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from concurrent.futures import ThreadPoolExecutor

import dask
import numpy as np
import pandas as pd
import pytest

import fastbp
from fastbp.kernels.neuron import chunk_rows
from fastbp.system import archive
from fastbp.training.run import Run
from tests.training.clusters import (
    GROUP_CHUNKS,
    Workers,
    TWO,
    WEIGHT,
    D,
    X,
    in_chunks,
    local_cluster,
    mortal_cluster,
    neuron,
    quietly,
    same,
    small_groups,  # noqa: F401  # a fixture
)

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.usefixtures("small_groups")
LOST = "lost the connection to the scheduler at tcp://127.0.0.1:"


@pytest.fixture(scope="module")
def mortal():
    """A client of a cluster whose workers are killed, and these."""
    with mortal_cluster(2) as found:
        yield found


@pytest.fixture(scope="module")
def client():
    with local_cluster(2) as found:
        yield found


class Killed(BaseException):
    """What no handler of the library takes for an error of the caller's functions."""


class Moment:
    """A callback that has something done soon after an epoch, in mid-pass."""

    def __init__(self, epoch, what, after=0.005):
        self._epoch, self._timer = epoch, threading.Timer(after, what)
        self.came = None

    def __call__(self, state):
        if state.epoch == self._epoch:
            self._timer.start()
            self.came = time.monotonic()


def test_workers_that_are_killed_again_and_again(mortal):
    _, workers = mortal
    dice, dead, killer = random.Random(0), [], None

    def kill(process):
        workers.kill(process)
        workers.add()
        dead.append(process)

    def callback(state):
        nonlocal killer
        if killer is None or not killer.is_alive():
            if len(dead) >= 20:
                return True
            moment = dice.random() * 0.05  # epochs take about as long
            killer = threading.Timer(moment, kill, [dice.choice(workers.processes)])
            killer.start()
        return False

    x, y = in_chunks(X, TWO)
    fit = quietly(neuron, x, y, epochs=5000, callback=callback)
    assert fit.stopped == "callback"
    assert same(fit, neuron(X, TWO, epochs=fit.n_epochs))


def test_a_worker_that_joins_late_goes_on_alone(mortal):
    client, workers = mortal
    for process in workers.processes[1:]:
        workers.kill(process)

    def callback(state):
        if state.epoch == 3:
            workers.add()
            client.wait_for_workers(2)
        if state.epoch == 6:
            workers.kill(workers.processes[0])

    x, y = in_chunks(X, TWO)
    fit = quietly(neuron, x, y, epochs=10, callback=callback)
    assert same(fit, neuron(X, TWO, epochs=10))
    workers.add()


@pytest.mark.parametrize("what", [{}, {"validation": 0.2, "tol": 0.0}], ids=str)
def test_checkpoints_go_from_cluster_to_machine_and_back(client, tmp_path, what):
    x, y, w = in_chunks(X, TWO, WEIGHT)
    for where, then in ((x, y, w), (X, TWO, WEIGHT)), ((X, TWO, WEIGHT), (x, y, w)):
        path = tmp_path / type(where[0]).__name__
        quietly(neuron, *where, epochs=3, checkpoint=path, **what)
        again = quietly(neuron, *then, epochs=6, checkpoint=path, **what)
        assert same(again, neuron(X, TWO, WEIGHT, epochs=6, **what))


def cut_within(monkeypatch, chunks, where, path, **how):
    """End a fit as a kill does, when its checkpoint holds so many chunks of a batch, or more."""

    def cut(self):
        if self.memory.epoch > 1 and self.memory.next_chunk >= chunks:
            raise Killed
        original(self)

    original = Run.slice
    with monkeypatch.context() as patch:
        patch.setattr("fastbp.training.run.SLICE_SECONDS", 0.0)  # of one chunk
        patch.setattr("fastbp.training.cluster.passes.WAIT_SECONDS", 0.002)
        patch.setattr(Run, "slice", cut)
        with pytest.raises(Killed):
            quietly(neuron, *where, checkpoint=path, checkpoint_every=0.0, **how)
    return archive.read(path)[1][1]["state"]["next_chunk"]


@pytest.mark.parametrize("batch", [None, 2 * GROUP_CHUNKS])
def test_a_fit_killed_within_an_epoch_goes_on_from_its_checkpoint(
    client, tmp_path, monkeypatch, batch
):
    how = {"epochs": 20, "optimizer": "adam", "rate": 0.01}
    if batch is not None:
        how["batch_size"] = batch * chunk_rows(D)
    one, cluster = (X, TWO, WEIGHT), in_chunks(X, TWO, WEIGHT, rows=1000)
    expected = neuron(*one, **how)
    for number, (where, then) in enumerate([(cluster, cluster), (cluster, one), (one, cluster)]):
        path = tmp_path / str(number)
        done = cut_within(monkeypatch, GROUP_CHUNKS, where, path, **how)
        assert done > 0
        assert done % GROUP_CHUNKS == 0
        assert same(quietly(neuron, *then, checkpoint=path, **how), expected)


def test_a_fit_cut_within_a_group_cannot_go_on_on_a_cluster(client, tmp_path, monkeypatch):
    one, cluster = (X, TWO, WEIGHT), in_chunks(X, TWO, WEIGHT)
    done = cut_within(monkeypatch, GROUP_CHUNKS + 1, one, tmp_path / "c")
    assert done % GROUP_CHUNKS
    with pytest.raises(ValueError, match="state: expected that of a fit that was not interrupted"):
        quietly(neuron, *cluster, checkpoint=tmp_path / "c")
    assert same(neuron(*one, checkpoint=tmp_path / "c"), neuron(*one))


def test_a_client_that_is_killed_again_and_again(client, tmp_path):
    path, code = tmp_path / "c", """
        import sys
        import distributed
        import fastbp.training.problem
        from tests.training.clusters import TWO, X, in_chunks, neuron, quietly

        fastbp.training.problem.group_chunks = lambda *sizes: 2
        with distributed.Client(sys.argv[1]):
            x, y = in_chunks(X, TWO)
            quietly(
                neuron, x, y, epochs=60, checkpoint=sys.argv[2], checkpoint_every=0.0,
                callback=lambda state: print(state.epoch, flush=True),
            )
        """  # fmt: skip
    command = [sys.executable, "-c", textwrap.dedent(code), client.scheduler.address, str(path)]
    for last in (2, 17, 31):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if int(line) >= last:
                    process.kill()
        assert process.returncode == -signal.SIGKILL
    x, y = in_chunks(X, TWO)
    epochs = []
    fit = quietly(
        neuron, x, y, epochs=60, checkpoint=path, callback=lambda state: epochs.append(state.epoch)
    )
    assert same(fit, neuron(X, TWO, epochs=60))
    assert epochs[0] >= 31


@contextmanager
def dask_process(*arguments):
    """A process of a command of Dask's, and what it says first."""
    command = [sys.executable, "-m", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()
            process.stderr.read()


@pytest.fixture
def scheduler():
    """The process of a scheduler, and its address."""
    how = "--host", "127.0.0.1", "--port", "0", "--dashboard-address", ":0"
    with dask_process("distributed.cli.dask_scheduler", *how) as process:
        line = next(line for line in process.stderr if "Scheduler at:" in line)
        yield process, line.split()[-1]


def test_a_scheduler_that_is_killed(scheduler, client, tmp_path):
    process, address = scheduler
    workers = Workers(address)
    workers.add()
    try:
        with distributed.Client(address, timeout=1):
            x, y = in_chunks(X, TWO)
            moment = Moment(5, process.kill)
            with pytest.raises(fastbp.ClusterError, match=LOST) as caught:
                quietly(neuron, x, y, epochs=5000, checkpoint=tmp_path / "c", callback=moment)
    finally:
        workers.kill(workers.processes[0])
    assert time.monotonic() - moment.came < 5
    fit, more = caught.value.fit, {"epochs": caught.value.fit.n_epochs + 5}
    assert fit.n_epochs >= 6
    assert same(fit, neuron(X, TWO, epochs=fit.n_epochs))
    with client.as_current():
        again = quietly(neuron, *in_chunks(X, TWO), checkpoint=tmp_path / "c", **more)
    assert same(again, neuron(X, TWO, **more))
