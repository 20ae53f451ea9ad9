"""Models on disk: bit-identical models back, or a clear error."""

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import fastbp
from fastbp.models.table_model import TableModel


def models():
    fit = fastbp.fit_neuron([[0.1], [1.3]], [0, 1], [0.7], 0.2, 0.5, 20, activation="tanh")
    table = TableModel(fit, ["länge"], "art", np.array([0.5]), np.array([2.0]), ["a", "b"])
    names = ["relu", "softmax"]
    start = fastbp.initialize_network([2, 3, 2], activations=names, random_state=1)
    network = fastbp.fit_network(
        [[0.1, 2.0], [1.3, 0.2]], [0, 1], *start, 0.1, 5, activations=names, loss="cross_entropy",
        optimizer=fastbp.Adam(beta_1=0.8), shuffle=True, random_state=3,
    )  # fmt: skip
    layer = fastbp.Layer(2, 3, "tanh", random_state=1)
    perceptron = fastbp.Perceptron([layer, fastbp.Layer(3, 1, random_state=2)])
    neuron = fastbp.Neuron(3, random_state=1, activation="relu")
    return [fit, neuron, table, network, layer, perceptron]


def content(model):
    arrays, fields = model.to_stored()
    return {name: array.tolist() for name, array in arrays.items()}, fields


@pytest.mark.parametrize("model", models(), ids=lambda m: type(m).__name__)
def test_round_trip(model, tmp_path):
    path = tmp_path / "model.safetensors"
    fastbp.save(model, path)
    again = fastbp.load(str(path))
    assert type(again) is type(model)
    assert content(again) == content(model)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_readable_by_other_programs(tmp_path):
    from safetensors import safe_open

    fit = models()[0]
    fastbp.save(fit, tmp_path / "m")
    with safe_open(tmp_path / "m", framework="numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("weights"), fit.weights)
        assert json.loads(file.metadata()["fastbp"].partition(" ")[2])["kind"] == "NeuronFit"


def test_an_old_file_survives_a_failed_write(tmp_path, monkeypatch):
    path = tmp_path / "model"
    fit = models()[0]
    fastbp.save(fit, path)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        fastbp.save(models()[1], path)
    assert content(fastbp.load(path)) == content(fit)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


PLACES = {
    "nowhere/rows.npy": (FileNotFoundError, "none"),
    ".": (IsADirectoryError, "a folder"),
    "/": (IsADirectoryError, "a folder"),
    "rows.npy": (IsADirectoryError, "a folder"),
    "file/rows.npy": (NotADirectoryError, "a path that leads through a file"),
    f"{'n' * 300}.npy": (OSError, "too long a name"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="other errors")
@pytest.mark.parametrize("place", PLACES)
def test_a_path_that_is_not_that_of_a_file(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("rows.npy").mkdir()
    Path("file").touch()
    error, got = PLACES[place]
    to_write = f"expected a file, in a folder that exists, got {got}: '"
    rows = [[0.0], [1.0]], [0, 1], [0.0], 0.0, 0.1, 1
    calls = {
        "path: " + to_write: lambda: fastbp.save(models()[0], place),
        f"path: expected a file that exists, got {got}: '": lambda: fastbp.load(place),
    }
    if place.endswith(".npy"):
        make = fastbp.datasets.make_neuron_dataset
        calls["out: " + to_write] = lambda: make(10, 2, out=place)
    if error is not IsADirectoryError:
        told = f"source: expected a file or folder that exists, got {got}: '"
        calls[told] = lambda: fastbp.open_rows(place)
    if error is OSError:
        calls["checkpoint: " + to_write] = lambda: fastbp.fit_neuron(*rows, checkpoint=place)
    for told, call in calls.items():
        with pytest.raises(error, match=re.escape(told)) as caught:
            call()
        folder = tmp_path if told.startswith("checkpoint") else Path()
        assert Path(caught.value.filename) == folder / place
    if error is not OSError:
        with pytest.raises(fastbp.CheckpointError, match=r"^checkpoint: expected "):
            fastbp.fit_neuron(*rows, checkpoint=place)


def test_a_pattern_is_told_what_to_become():
    told = "that exists (for the files of a pattern, the list that glob.glob returns), got none: '"
    with pytest.raises(FileNotFoundError, match=re.escape(told)):
        fastbp.open_rows("shards/*.parquet")


def test_no_path():
    for path in ("", "a\0"):
        with pytest.raises(ValueError, match=r"^path: expected a path that a file can have, got '"):
            fastbp.save(models()[0], path)
        with pytest.raises(ValueError, match=r"^path: expected a path that a file can have, got '"):
            fastbp.load(path)


def test_refusals(tmp_path):
    path = tmp_path / "model"
    with pytest.raises(
        TypeError, match=r"model: expected Layer, .* of fastbp, got builtins\.dict$"
    ):
        fastbp.save({}, path)
    neural_network = pytest.importorskip("sklearn.neural_network")
    with pytest.raises(
        TypeError, match=r"got sklearn\..*MLPClassifier; fastbp\.MLPClassifier\.from_sk"
    ):
        fastbp.save(neural_network.MLPClassifier(), path)
    fastbp.save(models()[0], path)
    good = path.read_bytes()
    altered = bytearray(good)
    altered[-1] ^= 1
    header = good.replace(b'\\"format\\": 1', b'\\"format\\": 2')
    for damaged, message in [
        (b"", "expected a safetensors file"),
        (good[:-5], "expected a safetensors file"),
        (
            b"noise" * 100,
            "expected a safetensors file, got a damaged one, or a file of another kind",
        ),
        (bytes(altered), "the file was altered"),
        (header, "the file was altered"),
    ]:
        assert damaged != good
        path.write_bytes(damaged)
        with pytest.raises(fastbp.CheckpointError, match=message):
            fastbp.load(path)
        assert path.read_bytes() == damaged
    assert issubclass(fastbp.CheckpointError, RuntimeError)


@pytest.mark.parametrize("path", ["a\0b", "\ud800", b"model", 3, None])
def test_what_no_file_can_have_is_no_path(path):
    calls = {
        "path": [lambda: fastbp.save(models()[0], path), lambda: fastbp.load(path)],
        "source": [lambda: fastbp.open_rows(path)],
        "out": [lambda: fastbp.datasets.make_neuron_dataset(3, 1, out=path)],
        "checkpoint": [
            lambda: fastbp.fit_neuron([[1.0]], [1], [0.0], 0.0, 0.1, 1, checkpoint=path)
        ],
    }
    error = ValueError if isinstance(path, str) else TypeError
    for name, made in calls.items():
        if path is None and name != "path":  # which says that there is none
            continue
        if name == "source" and error is TypeError:  # which may be other things than a path
            continue
        for call in made:
            with pytest.raises(error, match=f"^{name}: expected a path"):
                call()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(ValueError, match=r"out: expected an ordinary file, got .*pipe\.npy"):
        fastbp.datasets.make_neuron_dataset(3, 1, out=tmp_path / "pipe.npy")
    for path in (tmp_path / "pipe.npy", "/dev/zero"):
        with pytest.raises(fastbp.CheckpointError, match=f"{path}: expected an ordinary file"):
            fastbp.load(path)
        with pytest.raises(fastbp.CheckpointError, match=f"{path}: expected an ordinary file"):
            fastbp.fit_neuron([[1.0]], [1], [0.0], 0.0, 0.1, 1, checkpoint=path)


def test_newer_and_foreign_files(tmp_path, monkeypatch):
    from safetensors.numpy import save_file

    path = tmp_path / "model"
    save_file({"weights": np.zeros(2)}, path)
    with pytest.raises(
        fastbp.CheckpointError, match="expected a safetensors file written by fastbp"
    ):
        fastbp.load(path)
    monkeypatch.setattr("fastbp.system.archive.FORMAT", 2)
    fastbp.save(models()[0], path)
    monkeypatch.undo()
    with pytest.raises(fastbp.CheckpointError, match="expected format 1 or older, got 2"):
        fastbp.load(path)
    fastbp.save(models()[0], path)
    monkeypatch.setattr("fastbp.storage.HOMES", {"Forest": "models.forest", "Tree": "models.tree"})
    with pytest.raises(fastbp.CheckpointError, match="expected Forest, Tree, got NeuronFit"):
        fastbp.load(path)


@pytest.mark.skipif(sys.platform != "linux", reason="the device that is always full is Linux's")
def test_what_a_device_does_not_take_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fit = fastbp.fit_neuron([[0.0], [1.0]], [0, 1], [0.0], 0.0, 1.0, 2)
    with pytest.raises(OSError, match="No space left on device; what was to be written is in "):
        fastbp.save(fit, "/dev/full")
    (kept,) = tmp_path.iterdir()
    assert fastbp.load(kept).bias == fit.bias
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="No space left on device"):
        fastbp.save(fit, "/dev/full")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_checkpoint_is_no_model(tmp_path):
    fastbp.fit_neuron(
        [[0.0], [1.0]], [0, 1], [0.0], 0.0, 1.0, 2, checkpoint=tmp_path / "c", checkpoint_every=0.0
    )
    with pytest.raises(
        fastbp.CheckpointError, match=r"c: expected Layer, .*, got a checkpoint, which only"
    ):
        fastbp.load(tmp_path / "c")
