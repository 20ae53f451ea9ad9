"""What may happen to a fit on a cluster: workers, the scheduler or the client die, rows are bad."""

import asyncio
import os
import pickle
import pickletools
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import dask
import numba
import numpy as np
import pandas as pd
import pytest

import fastbp
from fastbp.kernels.neuron import chunk_rows
from fastbp.system import archive
from fastbp.training.run import Run
from tests.training.clusters import (
    GROUP_CHUNKS,
    TWO,
    WEIGHT,
    D,
    Workers,
    X,
    dask_array,
    in_chunks,
    local_cluster,
    mortal_cluster,
    neuron,
    quietly,
    same,
    small_groups,  # noqa: F401  # a fixture
)

dask_frame = pytest.importorskip("dask.dataframe")
distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.usefixtures("small_groups")
LOST = "lost the connection to the scheduler at tcp://127.0.0.1:"


@pytest.fixture(scope="module")
def two_mortals():
    with mortal_cluster(2) as found:
        yield found


@pytest.fixture
def mortal(two_mortals):
    """A client of a cluster whose workers are killed, and these."""
    with two_mortals[0].as_current():
        yield two_mortals


@pytest.fixture(scope="module")
def two_workers():
    with local_cluster(2) as found:
        yield found


@pytest.fixture
def client(two_workers):
    """A client of a cluster that is left in order."""
    with two_workers.as_current():
        yield two_workers


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
        patch.setattr("fastbp.training.slices.SLICE_SECONDS", 0.0)  # of one chunk
        patch.setattr("fastbp.training.cluster.passes.WAIT_SECONDS", 0.002)
        patch.setattr("fastbp.training.cluster.passes.TASK_SECONDS", 0.0)  # one a part
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
def dask_process(*arguments, **how):
    """A process of a command of Dask's."""
    command = [sys.executable, "-m", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **how) as process:
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


def test_no_worker_for_some_time(mortal, monkeypatch):
    client, workers = mortal
    monkeypatch.setattr("fastbp.training.cluster.connection.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("fastbp.training.cluster.connection.PATIENCE_SECONDS", 0.5)

    def kill_all():
        while workers.processes:
            workers.kill(workers.processes[0])

    x, y = in_chunks(X, TWO)
    expected = "expected a worker at tcp://127.0.0.1:[0-9]+, got none for 0 seconds"
    try:
        with pytest.raises(fastbp.ClusterError, match=expected) as caught:
            quietly(neuron, x, y, epochs=5000, callback=Moment(3, kill_all))
        assert caught.value.fit.n_epochs >= 4
        with pytest.raises(fastbp.ClusterError, match=expected):
            quietly(neuron, x, y)
    finally:
        for _ in range(2):
            workers.add()
    client.wait_for_workers(2)


def test_workers_with_too_little_memory():
    rows = 4_000_000
    big = [dask_array.ones(shape, chunks=(rows, *shape[1:])) for shape in ((rows, D), (rows,))]
    few = {"distributed.scheduler.allowed-failures": 0}
    with (
        dask.config.set(few),
        local_cluster(1, memory_limit="500MB"),
        pytest.raises(fastbp.ClusterError, match="perhaps they have too little memory") as caught,
    ):
        neuron(*big)
    assert caught.value.fit.n_epochs == 0


def pretend(**other):
    """Have a worker say that it has other versions."""
    from fastbp.system.versions import what_bits_depend_on
    from fastbp.training.cluster import worker

    worker.what_bits_depend_on = lambda: what_bits_depend_on() | other


def test_workers_that_die_of_the_rows_before_the_fit_begins():
    """When the lengths of partitions are found out."""
    frame = dask_frame.from_pandas(pd.DataFrame(X), npartitions=2)
    x = frame.map_partitions(die, meta=frame._meta)
    with local_cluster(1) as client:
        client.run_on_scheduler(allow_failures, 0)
        for fit in (neuron, fastbp.NeuronClassifier().fit):
            with pytest.raises(fastbp.ClusterError, match="workers died again and again"):
                fit(x, TWO)


def allow_failures(count, dask_scheduler):
    dask_scheduler.allowed_failures = count


def die(frame):
    os.kill(os.getpid(), signal.SIGKILL)


def test_other_versions_on_the_workers(client):
    x, y = in_chunks(X, TWO)
    try:
        client.run(pretend, numba="0.1")
        expected = f"expected numba {numba.__version__} on every worker, as here, got 0.1"
        with pytest.raises(fastbp.ClusterError, match=expected):
            quietly(neuron, x, y)
        client.run(pretend, processor="an abacus")
        with pytest.warns(UserWarning, match=r"another processor than this machine \(an abacus;"):
            assert quietly(neuron, x, y).n_epochs == 4
    finally:
        client.run(pretend)
    assert same(quietly(neuron, x, y), neuron(X, TWO))


@pytest.mark.parametrize("files", [False, True], ids=["arrays", "files"])
def test_workers_without_fastbp(scheduler, tmp_path, monkeypatch, files):
    _, address = scheduler
    (tmp_path / "fastbp.py").write_text("raise ImportError('none of that name here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    how = address, "--nthreads", "1", "--no-nanny", "--dashboard-address", ":0"
    expected = "expected fastbp on every worker, but tcp://.* cannot import it: none of that name"
    with (
        dask_process("distributed.cli.dask_worker", *how, cwd=tmp_path),
        distributed.Client(address) as client,
    ):
        client.wait_for_workers(1)
        rows = in_chunks(X, TWO)
        if files:
            np.save(tmp_path / "x.npy", np.c_[X, TWO])
            rows = fastbp.open_rows([tmp_path / "x.npy"], target=-1, cluster=client), None
        for checkpoint in (None, tmp_path / "c"):
            with pytest.raises(fastbp.ClusterError, match=expected):
                quietly(neuron, *rows, checkpoint=checkpoint)


def with_one(array, row, value):
    changed = array.copy()
    changed[row] = value
    return changed


@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs"])
def test_bad_rows_are_named(client, tmp_path, optimizer):
    how = {"rate": None, "optimizer": "lbfgs"} if optimizer == "lbfgs" else {}
    x, y, w = in_chunks(X, TWO, WEIGHT)
    first, second = pd.DataFrame(X[:8000]), pd.DataFrame(with_one(X[8000:], (7, 3), np.nan))
    for name, frame, labels in ("0", first, TWO[:8000]), ("1", second, TWO[8000:]):
        frame.columns = [f"x{j}" for j in range(D)]
        frame.assign(y=labels).to_parquet(tmp_path / f"{name}.parquet")
    shards = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    files = fastbp.open_rows(shards, target="y", cluster=client)
    for rows, message, row in (
        (
            in_chunks(with_one(X, (8000, 3), np.inf), TWO),
            "features, partition 1: expected finite numbers, got inf in row 1000, column 3",
            1000,
        ),
        (
            [x, *in_chunks(with_one(TWO, 15_000, 7.0))],
            "features, partition 2: labels: expected values from 0 to 1 for 'bce', got 7.0 in row",
            1000,
        ),
        (
            [x, y, *in_chunks(with_one(WEIGHT, 19_999, -1.0))],
            "features, partition 2: sample_weight: expected .* got -1.0 in row 5999",
            5999,
        ),
        ((files, None), "1.parquet: expected finite numbers, got nan in row 7, column 'x3'", 7),
        (
            (dask_frame.from_pandas(second[[*second]], npartitions=2), TWO[8000:]),
            "features, partition 0: expected finite numbers, got nan in row 7, column 'x3'",
            7,
        ),
    ):
        for epochs in (0, 4):
            with pytest.raises(fastbp.DataError, match=message) as caught:
                quietly(neuron, *rows, epochs=epochs, **how)
            assert caught.value.row == row
        assert caught.value.fit.n_epochs == 0
    with pytest.raises(ValueError, match="sample_weight: expected rows with a weight above 0"):
        quietly(neuron, x, y, 0.0 * w, **how)


def test_divergence(client):
    def rate(epoch):
        return 0.5 if epoch < 3 else 1e308

    x, y = in_chunks(100.0 * X, TWO)
    errors = []
    for rows in (x, y), (100.0 * X, TWO):
        with pytest.raises(fastbp.DivergenceError) as caught:
            quietly(neuron, *rows, rate=rate, epochs=9)
        errors.append(caught.value)
    cluster, here = errors
    assert str(cluster) == str(here)
    assert cluster.epoch == here.epoch == 3
    for name in ("weights", "losses"):
        np.testing.assert_array_equal(getattr(cluster, name), getattr(here, name))


def idle(client):
    """Wait until no worker computes anything."""
    deadline = time.monotonic() + 10
    while any(client.processing().values()):
        assert time.monotonic() < deadline


INTERRUPTED = """
    import fastbp.training.problem
    from tests.training.clusters import TWO, X, in_chunks, local_cluster, neuron, quietly, same
    from tests.training.test_cluster_faults import idle

    fastbp.training.problem.group_chunks = lambda *sizes: 2
    with local_cluster(2) as client:
        x, y = in_chunks(X, TWO)
        before = sorted(client.scheduler_info(n_workers=-1)["workers"])
        say = lambda state: print(state.epoch, flush=True)
        fit = quietly(neuron, x, y, epochs=100_000, callback=say)
        idle(client)
        assert same(fit, neuron(X, TWO, epochs=fit.n_epochs))
        assert same(quietly(neuron, x, y), neuron(X, TWO))
        assert before == sorted(client.scheduler_info(n_workers=-1)["workers"])
    print(fit.stopped)
    """


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["client", "terminal"])
def test_ctrl_c(send):
    """In a terminal, the workers of a cluster that was started there get it, too."""
    command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        next(line for line in process.stdout if line == "5\n")
        send(process.pid, signal.SIGINT)
        said, warned = process.communicate(timeout=60)
    assert said.endswith("interrupted\n")
    assert "UserWarning: interrupted after " in warned
    assert "Traceback" not in warned, warned


def test_ctrl_c_before_there_is_a_worker():
    def press_soon():
        threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()

    with local_cluster(0):
        rows = in_chunks(X, TWO)
        press_soon()
        with pytest.warns(UserWarning, match="interrupted after 0 epochs"):
            assert quietly(neuron, *rows).stopped == "interrupted"
        press_soon()
        with pytest.raises(KeyboardInterrupt):
            quietly(neuron, *rows, epochs=0)


def test_progress_says_how_many_rows_a_second(client, capsys):
    quietly(neuron, *in_chunks(X, TWO), epochs=20, progress="always")
    assert re.search(r"epoch [0-9]+/20 .*[0-9]k?row/s", capsys.readouterr().err)


def test_nothing_is_kept_after_a_fit(client):
    x, y = in_chunks(X, TWO)
    quietly(neuron, x, y, validation=0.2)
    with pytest.raises(fastbp.DataError):
        quietly(neuron, *in_chunks(with_one(X, 8000, np.nan), TWO))
    quietly(neuron, x, y, rate=None, optimizer="lbfgs")
    idle(client)
    deadline = time.monotonic() + 10
    while any(keys for keys in client.has_what().values()):
        assert time.monotonic() < deadline


@pytest.mark.filterwarnings("ignore:.* rows move to another worker")
def test_fits_at_the_same_time(client):
    x, y = in_chunks(X, TWO)
    ways = [{"epochs": 30, "optimizer": name} for name in ("sgd", "adam", "rmsprop")]

    def fit(how):
        with client.as_current():
            return neuron(x, y, **how)

    with ThreadPoolExecutor() as executor:
        fits = list(executor.map(fit, ways))
    for fit, how in zip(fits, ways, strict=True):
        assert same(fit, neuron(X, TWO, **how))


def test_a_warning_that_is_an_error_stays_one(client):
    with pytest.raises(UserWarning, match="rows move to another worker"):
        neuron(*in_chunks(X, TWO))


def test_clients_that_cannot_be_waited_for(tmp_path):
    np.save(tmp_path / "x.npy", np.c_[X, TWO])
    with local_cluster(1) as client:
        rows = fastbp.open_rows([tmp_path / "x.npy"], target=-1, cluster=client)

        async def fit_there():
            async with distributed.Client(client.scheduler.address, asynchronous=True):
                neuron(*in_chunks(X, TWO))

        with pytest.raises(TypeError, match=r"cluster: expected a distributed\.Client that waits"):
            asyncio.run(fit_there())
    with pytest.raises(fastbp.ClusterError, match="scheduler, whose client is closed"):
        neuron(rows, None)


def test_what_is_sent_with_each_task(client, monkeypatch):
    """A description of the pass, the parameters and numbers; no model, no function of its own."""
    sent = []
    submit = client.map

    def note(function, parts, *arguments, **how):
        sent.append(pickle.dumps(arguments))
        return submit(function, parts, *arguments, **how)

    monkeypatch.setattr(client, "map", note)
    quietly(neuron, *in_chunks(X, TWO), epochs=2, callback=lambda state: None)
    names = {
        argument
        for data in sent
        for _, argument, _ in pickletools.genops(data)
        if isinstance(argument, str) and argument.startswith("fastbp.")
    }
    assert names == {"fastbp.training.cluster.worker", "fastbp.training.optimizers"}
