"""Checkpoints: written now and then, picked up by the same call, refused where they do not fit."""

import json
import os
import shutil
import signal

import numpy as np
import pytest

import fastbp
from fastbp.kernels.plan import plan_network
from fastbp.system import archive
from fastbp.training import checkpoints
from fastbp.training.optimizers import LOSS_ONLY
from fastbp.training.run import Run
from tests.problems import network_bits, network_problem, python

X, Y, W, B, RNG = network_problem((4, 6, 1), 200)
WEIGHT = RNG.random(200) + 0.1
CHOICES = [
    {},
    {"batch_size": 7},
    {"batch_size": 1, "optimizer": fastbp.SGD(momentum=0.9, nesterov=True)},
    {"batch_size": 7, "shuffle": True, "optimizer": "adam", "alpha": 0.1},
    {"batch_size": 7, "shuffle": "window", "sample_weight": WEIGHT},
    {"batch_size": 20, "validation": 0.2, "tol": 1e-9, "n_iter_no_change": 4},
    {"batch_size": 20, "validation": (X, -Y), "tol": 0.0, "n_iter_no_change": 3},  # best at first
    {"dtype": "float32", "batch_size": 20, "shuffle": True, "optimizer": "adam"},
    {"dtype": "float32", "batch_size": 20, "validation": 0.2, "tol": 1e-9, "n_iter_no_change": 4},
]


def fit(epochs, rate=0.02, random_state=3, **keywords):
    return fastbp.fit_network(
        X, Y, W, B, rate, epochs, activations=["tanh", "identity"], random_state=random_state,
        **keywords,
    )  # fmt: skip


def same(a, b):
    assert network_bits(a) == network_bits(b)
    assert a.stopped == b.stopped
    if a.validation_losses is not None:
        assert a.validation_losses.tobytes() == b.validation_losses.tobytes()


class Killed(BaseException):
    """What no handler of the library takes for an error of the caller's functions."""


def test_a_callback_that_comes_with_the_checkpoint(tmp_path):
    """It begins with the latest epoch: the parameters of the others are gone."""
    fit(5, checkpoint=tmp_path / "c")
    seen = []
    fit(7, checkpoint=tmp_path / "c", callback=lambda epoch: seen.append(epoch.epoch))
    assert seen == [4, 5, 6]


@pytest.mark.parametrize("keywords", CHOICES, ids=str)
@pytest.mark.parametrize("every", [1, 5, 13])
def test_a_run_that_was_cut_off_goes_on_to_the_same_bits(keywords, every, tmp_path, monkeypatch):
    """Cut off after every few slices, in the middle of epochs and batches, again and again."""
    monkeypatch.setattr("fastbp.training.slices.SLICE_SECONDS", 0.0)  # slices of one chunk
    monkeypatch.setattr("fastbp.kernels.plan.MOST_ROWS", 8)
    monkeypatch.setattr("fastbp.kernels.plan.LEAST_ROWS", 8)
    monkeypatch.setattr("fastbp.kernels.plan.CHUNK_WORK", 1)
    plan_network.cache_clear()
    whole = fit(8, **keywords)
    original, slices, cuts, within = Run.slice, 0, 0, False

    def cut_off(self):
        nonlocal slices
        if self.options.optimizer is not LOSS_ONLY:  # of the validation loss
            slices += 1
            if slices % (every + 1) == 0:
                raise Killed
        original(self)

    monkeypatch.setattr(Run, "slice", cut_off)
    path = tmp_path / "fit.checkpoint"
    while True:
        try:
            again = fit(8, checkpoint=path, checkpoint_every=0.0, **keywords)
            break
        except Killed:
            within |= path.exists() and archive.read(path)[1][1]["state"]["next_chunk"] > 0
            cuts += 1
            assert cuts < 2000
    same(whole, again)
    assert cuts > 1
    assert within == (keywords.get("batch_size", 200) > 8)  # sums of a batch of several chunks
    plan_network.cache_clear()


def test_a_finished_run_returns_immediately_and_continues_with_more_epochs(tmp_path, monkeypatch):
    path = tmp_path / "c"
    keywords = {"batch_size": 7, "shuffle": True, "optimizer": "adam"}
    first = fit(4, checkpoint=path, **keywords)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "slice", None)  # not a single one is run
        same(fit(4, checkpoint=path, **keywords), first)
    same(fit(9, checkpoint=str(path), n_threads=1, progress=True, **keywords), fit(9, **keywords))
    with pytest.raises(fastbp.CheckpointError, match=r"c: expected epochs to be at least 9: the"):
        fit(5, checkpoint=path, **keywords)


def test_runs_that_stopped_by_themselves(tmp_path):
    patient = {"tol": 10.0, "n_iter_no_change": 2}
    first = fit(50, checkpoint=tmp_path / "tol", **patient)
    assert (first.stopped, first.n_epochs) == ("tol", 3)
    same(fit(80, checkpoint=tmp_path / "tol", **patient), first)
    calls = []

    def stop(state):
        calls.append(state.epoch)
        return state.epoch == 3

    first = fit(10, checkpoint=tmp_path / "callback", callback=stop)
    assert (first.stopped, first.n_epochs) == ("callback", 4)
    same(fit(10, checkpoint=tmp_path / "callback", callback=stop), first)
    same(fit(12, checkpoint=tmp_path / "callback", callback=stop), fit(12))
    assert calls == list(range(12))


def interrupting(*epochs, then=False):
    """A callback during which Ctrl-C is pressed after some epochs."""

    def callback(state):
        if state.epoch in epochs:
            signal.raise_signal(signal.SIGINT)
        return then and state.epoch in epochs

    return callback


@pytest.mark.filterwarnings("ignore:interrupted")
@pytest.mark.parametrize("how", [{}, {"validation": (X, -Y)}], ids=["loss", "validation loss"])
def test_an_interrupt_in_the_epoch_that_stops_it(how, tmp_path):
    patient = {"tol": 10.0, "n_iter_no_change": 2, **how}
    whole = fit(50, **patient)
    last = whole.n_epochs - 1
    cut = fit(50, checkpoint=tmp_path / "tol", callback=interrupting(last), **patient)
    assert cut.stopped == "interrupted"
    same(fit(50, checkpoint=tmp_path / "tol", **patient), whole)
    stopping = interrupting(3, then=True)
    assert fit(9, checkpoint=tmp_path / "callback", callback=stopping).stopped == "interrupted"
    again = fit(9, checkpoint=tmp_path / "callback", callback=stopping)
    assert (again.stopped, again.n_epochs) == ("callback", 4)


def test_a_callback_that_raised_is_told_again(tmp_path):
    seen = []

    def log(state):
        if state.epoch == 2 and not mended:
            raise OSError("full")
        seen.append(state.epoch)

    mended = False
    patient = {"tol": 10.0, "n_iter_no_change": 2, "checkpoint": tmp_path / "c"}
    with pytest.raises(OSError, match="full"):
        fit(9, callback=log, **patient)
    mended = True
    again = fit(9, callback=log, **patient)
    assert seen == [0, 1, 2]
    assert (again.stopped, again.n_epochs) == ("tol", 3)  # it was to stop there anyway


def test_fewer_epochs_than_were_begun(tmp_path, monkeypatch):
    def cut_off(self):
        if self.memory.epoch == 2 and self.memory.position > 0:
            raise Killed
        original(self)

    keywords = {"batch_size": 50, "checkpoint": tmp_path / "c", "checkpoint_every": 0.0}
    original = Run.slice
    with monkeypatch.context() as patch:
        patch.setattr("fastbp.training.slices.SLICE_SECONDS", 0.0)
        patch.setattr(Run, "slice", cut_off)
        with pytest.raises(Killed):
            fit(8, **keywords)
    with pytest.raises(
        fastbp.CheckpointError, match="epochs to be at least 3: the checkpoint has begun"
    ):
        fit(2, **keywords)
    same(fit(3, **keywords), fit(3, batch_size=50))


@pytest.mark.filterwarnings("ignore:interrupted")
def test_after_ctrl_c_the_latest_parameters_are_returned(tmp_path):
    keywords = {"validation": (X, -Y), "tol": 0.0, "n_iter_no_change": 9}
    cut = fit(9, callback=interrupting(4), **keywords)
    plain = fit(5)
    for ours, theirs in zip(cut.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_state_that_it_goes_on_from_counts(tmp_path):
    keywords = {"shuffle": True, "batch_size": 50}
    for seed in (1, 2):
        start = fit(0, random_state=seed, **keywords)
        if seed == 1:
            fit(2, state=start.state, checkpoint=tmp_path / "c", **keywords)
    with pytest.raises(fastbp.CheckpointError, match="state differ"):
        fit(2, state=start.state, checkpoint=tmp_path / "c", **keywords)


def test_a_link_to_a_file(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "c")
    fit(2, checkpoint=tmp_path / "link", validation=np.float32(0.25))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "c").exists()


def test_a_neuron_and_train_state_go_together(tmp_path):
    def neuron(epochs, start, bias, **keywords):
        return fastbp.fit_neuron(X, Y[:, 0], start, bias, 0.1, epochs, **keywords)

    first = neuron(3, np.zeros(4), 0.0, optimizer="adam")
    whole = neuron(9, np.zeros(4), 0.0, optimizer="adam")
    for epochs in (2, 6):
        second = neuron(
            epochs, first.weights, first.bias, optimizer="adam", state=first.state,
            checkpoint=tmp_path / "c",
        )  # fmt: skip
    assert second.weights.tobytes() == whole.weights.tobytes()
    assert second.losses.tobytes() == whole.losses[3:].tobytes()


def test_what_the_callers_functions_raise_is_not_lost(tmp_path):
    def broken(epoch):
        if epoch == 5 and not mended:
            raise OSError("no rate today")
        return 0.02 / (epoch + 1)

    mended = False
    with pytest.raises(OSError, match="no rate today"):
        fit(8, rate=broken, checkpoint=tmp_path / "c")
    mended = True
    same(fit(8, rate=broken, checkpoint=tmp_path / "c"), fit(8, rate=broken))


def test_divergence_after_a_cut_carries_the_start_of_its_epoch(tmp_path, monkeypatch):
    def steep(epoch):
        return 0.02 if epoch < 3 else 1e300

    def cut_off(self):
        if self.memory.epoch == 3 and self.memory.position > 100:
            raise Killed
        original(self)

    keywords = {"batch_size": 40, "checkpoint": tmp_path / "c", "checkpoint_every": 0.0}
    original = Run.slice
    with monkeypatch.context() as patch:
        patch.setattr("fastbp.training.slices.SLICE_SECONDS", 0.0)
        patch.setattr(Run, "slice", cut_off)
        with pytest.raises(Killed):
            fit(8, rate=steep, **keywords)
    with pytest.raises(fastbp.DivergenceError) as caught:
        fit(8, rate=steep, **keywords)
    expected = fit(3, rate=steep, batch_size=40)
    assert caught.value.epoch == 3
    for ours, theirs in zip(caught.value.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_rate_is_compared_by_its_past_values(tmp_path):
    path = tmp_path / "c"
    fit(4, rate=lambda epoch: 0.1 / (epoch + 1), checkpoint=path)
    fit(6, rate=lambda epoch: 0.1 / (epoch + 1) if epoch < 4 else 0.5, checkpoint=path)
    with pytest.raises(
        fastbp.CheckpointError, match=r"c: .* learning_rate\(4\) was 0\.5, is 0\.02"
    ):
        fit(8, rate=lambda epoch: 0.1 / (epoch + 1), checkpoint=path)


OTHERS = {
    "learning_rate was 0.02, is 0.03": {"rate": 0.03},
    "learning_rate was 0.02, is 'a function'": {"rate": lambda epoch: 0.02},
    "batch_size was 200, is 7": {"batch_size": 7},
    "optimizer was 'SGD.*, is 'Adam": {"optimizer": "adam"},
    "alpha was 0.0, is 0.5": {"alpha": 0.5},
    "tol was None, is 0.1": {"tol": 0.1},
    "n_iter_no_change was 10, is 3": {"n_iter_no_change": 3},
    "shuffle was False, is True; random_state was None, is 3": {"shuffle": True},
    "loss was 'mse', is 'half_mse'": {"loss": "half_mse"},
    "sample_weight differ": {"sample_weight": WEIGHT},
    "validation was None, is 0.2": {"validation": 0.2},
    "validation .*validation features differ": {"validation": (X, Y)},
}


@pytest.mark.parametrize(("message", "keywords"), OTHERS.items(), ids=OTHERS)
def test_a_checkpoint_of_another_problem_is_refused(message, keywords, tmp_path):
    path = tmp_path / "c"
    fit(2, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(
        fastbp.CheckpointError, match=f"c: expected the checkpoint of this fit.*{message}"
    ):
        fit(4, checkpoint=path, **keywords)
    assert path.read_bytes() == before


def test_other_rows_are_refused(tmp_path):
    def neuron(x, y=Y, w=(0.0,) * 4, **keywords):
        return fastbp.fit_neuron(x, y[:, 0], w, 0.0, 0.1, 2, checkpoint=tmp_path / "c", **keywords)

    neuron(X)
    changed = X.copy()
    changed[17, 2] += 1e-9
    refused = {
        "features differ": lambda: neuron(changed),
        "labels differ": lambda: neuron(X, Y + 1e-9),
        r"features.shape was \[200, 4\], is \[199, 4\]": lambda: neuron(X[:199], Y[:199]),
        "features.dtype was 'float64', is 'float32'": lambda: neuron(X.astype(np.float32)),
        "initial_weights and initial_bias differ": lambda: neuron(X, w=[0, 0, 0, 1e-9]),
    }
    for message, call in refused.items():
        with pytest.raises(fastbp.CheckpointError, match=message):
            call()
    assert neuron(X.copy(), n_threads=2, progress=True, callback=print).n_epochs == 2


def test_the_source_of_random_orders_counts(tmp_path):
    path = tmp_path / "c"
    keywords = {"shuffle": True, "checkpoint": path}
    fit(2, random_state=np.random.default_rng(5), **keywords)
    fit(3, random_state=np.random.default_rng(5), **keywords)
    with pytest.raises(fastbp.CheckpointError, match="random_state differ"):
        fit(4, random_state=np.random.default_rng(6), **keywords)
    path.unlink()
    fit(2, random_state=None, **keywords)  # drawn from the system: the checkpoint has what it was
    assert fit(4, random_state=None, **keywords).n_epochs == 4


def test_damaged_and_foreign_files_are_refused_and_left_alone(tmp_path, monkeypatch):
    path = tmp_path / "c"
    fit(2, checkpoint=path)
    good = path.read_bytes()
    middle = bytearray(good)
    middle[-20] ^= 1
    damages = {
        "expected a safetensors file": [b"", good[:-30], good[: len(good) // 2], b"noise" * 100],
        "the file was altered": [bytes(middle)],
    }
    for message, contents in damages.items():
        for content in contents:
            path.write_bytes(content)
            with pytest.raises(fastbp.CheckpointError, match=message) as caught:
                fit(4, checkpoint=path)
            assert str(caught.value).endswith("Use another path for the checkpoint")
            assert path.read_bytes() == content
    fastbp.save(fit(1), path)
    with pytest.raises(fastbp.CheckpointError, match="expected a checkpoint, got a NetworkFit"):
        fit(4, checkpoint=path)
    path.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(archive, "FORMAT", 2)
        fit(2, checkpoint=path)
    with pytest.raises(fastbp.CheckpointError, match="expected format 1 or older, got 2"):
        fit(4, checkpoint=path)
    with pytest.raises(
        fastbp.CheckpointError, match=r"c: expected .*, got a checkpoint, which only its fit"
    ):
        path.write_bytes(good)
        fastbp.load(path)


@pytest.mark.parametrize("failure", ["full disk", "vanished folder"])
def test_a_checkpoint_that_cannot_be_written(failure, tmp_path, monkeypatch):
    path = tmp_path / "folder" / "c"
    path.parent.mkdir()
    fit(3, checkpoint=path)
    before = path.read_bytes()

    def fail(descriptor):
        if failure == "full disk":
            raise OSError(28, "No space left on device")
        shutil.rmtree(path.parent)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(
        fastbp.CheckpointError, match=r"c: the checkpoint cannot be written: No s"
    ) as caught:
        fit(6, checkpoint=path)
    monkeypatch.undo()
    same_parameters = fit(6)
    assert network_bits(caught.value.fit) == network_bits(same_parameters)
    if failure == "full disk":
        assert path.read_bytes() == before
        assert [p.name for p in path.parent.iterdir()] == ["c"]


def test_the_last_step_fails(tmp_path, monkeypatch):
    def busy(*arguments):
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr("pathlib.Path.replace", busy)
    with pytest.raises(fastbp.CheckpointError, match="busy; what was to be written is in ") as e:
        fit(4, checkpoint=tmp_path / "c")
    monkeypatch.undo()
    (kept,) = tmp_path.iterdir()
    assert str(kept) in str(e.value)
    kept.rename(tmp_path / "c")
    same(fit(6, checkpoint=tmp_path / "c"), fit(6))


def test_what_cannot_be_written_is_refused_before_training(tmp_path, monkeypatch):
    def full_or_read_only(*arguments):
        raise OSError(30, "Read-only file system")

    path = tmp_path / "c"
    finished = fit(3, checkpoint=path)
    early = {"checkpoint": tmp_path / "tol", "tol": 10.0, "n_iter_no_change": 2}
    stopped = fit(5, **early)
    monkeypatch.setattr("fastbp.system.output._new_file", full_or_read_only)
    before = path.stat()
    same(fit(3, checkpoint=path), finished)  # it has nothing to write
    same(fit(9, **early), stopped)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    monkeypatch.setattr(fastbp.training.run.Run, "slice", None)
    for name in ("c", "new"):
        with pytest.raises(fastbp.CheckpointError, match=f"{name}: .* cannot be written: Read-on"):
            fit(4, checkpoint=tmp_path / name)


def test_what_is_no_checkpoint_is_not_called_one(tmp_path):
    """Nobody is told to remove data or a model."""
    np.save(tmp_path / "data.npy", X)
    fastbp.save(fit(1), tmp_path / "model")
    (tmp_path / "notes").write_text("a text")
    for path in tmp_path.iterdir():
        before = path.read_bytes()
        with pytest.raises(fastbp.CheckpointError, match=rf"{path.name}: expected") as caught:
            fit(4, checkpoint=path)
        assert "remove" not in str(caught.value) and "another path" in str(caught.value)
        assert path.read_bytes() == before


def test_two_fits_on_one_path_do_not_meet(tmp_path, monkeypatch):
    """One writes its checkpoint while the other does; the last one stays."""
    path, nested = tmp_path / "c", []

    def fsync(descriptor):
        if not nested:
            nested.append(True)
            fit(3, rate=0.01, checkpoint=path)

    monkeypatch.setattr("os.fsync", fsync)
    one = fit(4, checkpoint=path)
    same(fit(4, checkpoint=path), one)
    assert nested and list(tmp_path.iterdir()) == [path]


def test_a_link_planted_beside_it_is_not_followed(tmp_path):
    (tmp_path / "theirs").write_bytes(b"old")
    (tmp_path / ".c.part").symlink_to(tmp_path / "theirs")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / ".c.part")
    fit(2, checkpoint=tmp_path / "c")
    fit(2, checkpoint=tmp_path / "folder" / "c")
    assert (tmp_path / "theirs").read_bytes() == b"old"


def test_arguments(tmp_path):
    with pytest.raises(TypeError, match="checkpoint: expected a path, got int 3"):
        fit(1, checkpoint=3)
    with pytest.raises(ValueError, match="checkpoint_every: expected at least 0, got -1"):
        fit(1, checkpoint_every=-1)
    with pytest.raises(fastbp.CheckpointError, match="checkpoint: expected a folder that exists"):
        fit(1, checkpoint=tmp_path / "nowhere" / "c")
    with pytest.raises(fastbp.CheckpointError, match="checkpoint: expected a file, got the folder"):
        fit(1, checkpoint=tmp_path)


def test_a_reader_of_the_old_file_is_not_disturbed(tmp_path):
    path = tmp_path / "c"
    fit(2, checkpoint=path)
    before = path.read_bytes()
    with path.open("rb") as old:
        fit(4, checkpoint=path)
        assert old.read() == before
    assert path.read_bytes() != before


def test_nothing_is_pickled(tmp_path):
    fit(2, checkpoint=tmp_path / "c", shuffle=True, random_state=np.random.RandomState(1))
    content = (tmp_path / "c").read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(
        json.loads(content[8 : 8 + size])["__metadata__"]["fastbp"].partition(" ")[2]
    )
    assert header["kind"] == checkpoints.KIND
    assert header["fields"]["state"]["random_state"]["bit_generator"] == "MT19937"


def test_after_an_interrupt_the_same_call_goes_on(tmp_path):
    printed = python(
        f"""
        import os, signal, warnings
        import numpy as np, fastbp
        warnings.simplefilter("ignore")
        x = np.random.default_rng(0).normal(size=(40_000, 5))
        y = (x.sum(axis=1) > 0) * 1.0

        def fit(callback=None, **keywords):
            return fastbp.fit_neuron(x, y, np.zeros(5), 0.0, 0.1, 30, callback=callback, **keywords)

        def stop(state):
            if state.epoch == 4:
                os.kill(os.getpid(), signal.SIGINT)

        path = {str(tmp_path / "c")!r}
        first = fit(stop, checkpoint=path)
        again = fit(checkpoint=path)
        print(first.stopped, first.n_epochs, again.stopped, again.weights.tobytes() == fit().weights.tobytes())
        """
    )
    assert printed == "interrupted 5 epochs True\n"


KILLS = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np
import fastbp
from fastbp.system import archive
from fastbp.training import run

folder = sys.argv[1] if len(sys.argv) > 1 else {folder!r}
rng = np.random.default_rng(0)
n = 30_000
x = rng.normal(size=(n, 8))
y = (x @ rng.normal(size=8) > 0).astype(float)
np.save(os.path.join(folder, "x.npy"), x.astype(np.float32))
rows = fastbp.open_rows(os.path.join(folder, "x.npy"))
run.SLICE_SECONDS = 0.002  # many slices, so that kills fall everywhere
weights, biases = fastbp.initialize_network([8, 6, 1], activations=["relu", "sigmoid"], random_state=0)

def neuron(epochs, path=None):
    return fastbp.fit_neuron(
        x, y, np.zeros(8), 0.0, 0.5, epochs, loss="bce", checkpoint=path, checkpoint_every=0.0)

def network(epochs, path=None):
    return fastbp.fit_network(
        rows, y, weights, biases, 0.002, epochs, activations=["relu", "sigmoid"], loss="bce",
        optimizer="adam", batch_size=500, shuffle="window", random_state=7, validation=0.1,
        checkpoint=path, checkpoint_every=0.0)

def bits(fit):
    arrays = [np.ravel(a) for a in (*fit[:2], fit[2])] if not isinstance(fit[0], list) else [
        *map(np.ravel, fit[0]), *fit[1], fit[2]]
    return np.concatenate(arrays).tobytes()

def written(path):
    return os.stat(path).st_mtime_ns if os.path.exists(path) else 0

random.seed(1)
for train, epochs in ((neuron, 1000), (network, 60)):
    path = os.path.join(folder, train.__name__)
    started = time.perf_counter()
    whole = train(epochs)
    seconds = time.perf_counter() - started
    kills, places = 0, set()
    while kills < {kills}:
        child = os.fork()
        if child == 0:
            try:
                train(epochs + 1, path)
            finally:
                os._exit(0)
        before = written(path)
        while kills % 3 and written(path) == before and not os.waitid(
            os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT
        ):
            time.sleep(0.001)  # two of three kills come after it got on, one at any time
        time.sleep(random.uniform(0.0, seconds / 8))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if status == 0:
            os.unlink(path)  # it came to its end first: start over
            continue
        kills += 1
        places.add(written(path))
    if os.path.exists(path) and len(archive.read(Path(path))[1][0]["losses"]) > epochs:
        os.unlink(path)
    again = train(epochs, path)
    print(train.__name__, kills, len(places) > {kills} // 2, bits(tuple(again)) == bits(tuple(whole)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork: children begin with warm kernels")
def test_killed_again_and_again(tmp_path):
    """SIGKILL at random moments, 36 times in all; the last run ends with the bits of an unkilled one."""
    printed = python(KILLS.format(folder=str(tmp_path), kills=18), timeout=300)
    assert printed == "neuron 18 True True\nnetwork 18 True True\n"
