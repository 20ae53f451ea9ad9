"""Crafted contents of model files and checkpoints: refused with an error that names the file."""

import json

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")
from safetensors.numpy import load, save

import fastbp
from fastbp.system import archive
from tests import mutated


def test_mutations():
    """A sample: ``python -m tests.mutated 10000`` is the whole."""
    refused, wrong = mutated.run(300, seed=1)
    assert wrong == []
    assert refused > 200  # most change something that matters


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The content of a file of each kind."""
    path = tmp_path_factory.mktemp("files") / "m"
    contents = {}
    for model in mutated.models():
        fastbp.save(model, path)
        contents[type(model).__name__] = path.read_bytes()
    return contents


def crafted(content, change, arrays_too=None):
    """A file of other fields, text or arrays, with its digest."""
    size = int.from_bytes(content[:8], "little")
    text = json.loads(content[8 : 8 + size])["__metadata__"]["fastbp"].partition(" ")[2]
    arrays = load(content)
    if arrays_too is not None:
        arrays_too(arrays)
    text = change(text)
    return save(arrays, {"fastbp": f"{archive._digest(text, arrays)} {text}"})


def field(*names, value):
    def change(text):
        header = json.loads(text)
        place = header
        for name in names[:-1]:
            place = place[name]
        place[names[-1]] = value
        return json.dumps(header)

    return change


def without(*names):
    def change(text):
        header = json.loads(text)
        del header["fields"][names[0]]
        return json.dumps(header)

    return change


CRAFTED = {
    "activation 5": ("NeuronFit", field("fields", "activation", value=5)),
    "activation of an output": ("NeuronFit", field("fields", "activation", value="softmax")),
    "fields a list": ("NeuronFit", field("fields", value=[])),
    "kind a list": ("NeuronFit", field("kind", value=[])),
    "kind a dict": ("NeuronFit", field("kind", value={})),
    "format a list": ("NeuronFit", field("format", value=[])),
    "format text": ("NeuronFit", field("format", value="1")),
    "no JSON": ("NeuronFit", lambda text: "{" + text),
    "empty": ("NeuronFit", lambda text: ""),
    "a list": ("NeuronFit", lambda text: "[]"),
    "nested": ("NeuronFit", lambda text: mutated.DEEP),
    "nested fields": ("Neuron", lambda text: text.replace('"fields": {', '"fields": {"a": ' + mutated.DEEP + ", ")),
    "digits": ("NeuronFit", lambda text: text.replace("1", "1" * 10_000)),
    "more than there is": ("Neuron", field("fields", "more", value=1)),
    "a huge dtype": ("NetworkFit", field("fields", "state", "random_state", "key", value={"dtype": "V99999999999", "array": [0]})),
    "classes of another number": ("TableModel", field("fields", "classes", value=["a"])),
    "columns of another number": ("TableModel", field("fields", "columns", value=["a"])),
    "a parameter": ("NeuronClassifier", field("fields", "max_iter", value="x")),
    "a method": ("NeuronClassifier", field("fields", "predict", value=5)),
    "classes": ("MLPClassifier", field("fields", "classes_", value=5)),
    "a scalar of 10 GB": ("MLPClassifier", field("fields", "loss_", value={"scalar": ["V9999999999", 1]})),
    "text of 10 GB": ("MLPClassifier", field("fields", "stopped_", value={"objects": ["U999999999", [1], {"list": ["a"]}]})),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "change"), CRAFTED.values(), ids=CRAFTED)
def test_a_right_digest_and_wrong_content(kind, change, files, tmp_path):
    path = tmp_path / "m"
    path.write_bytes(crafted(files[kind], change))
    with pytest.raises(fastbp.CheckpointError) as caught:
        fastbp.load(path)
    assert str(path) in str(caught.value)


def test_no_key_may_be_missing(files, tmp_path):
    path = tmp_path / "m"
    for content in files.values():
        size = int.from_bytes(content[:8], "little")
        text = json.loads(content[8 : 8 + size])["__metadata__"]["fastbp"].partition(" ")[2]
        header, names = json.loads(text), sorted(load(content))
        path.write_bytes(crafted(content, str))
        fastbp.load(path)
        optional = {"stopped_", "state"} | {n for n in header["fields"] if n.startswith("_")}
        optional |= {"loss_", "t_", "best_loss_", "best_validation_score_", "validation_scores_"}
        optional |= {"loss_curve_", "validation_loss_curve_", "n_iter_"}
        for name in header["fields"].keys() - optional:
            path.write_bytes(crafted(content, without(name)))
            with pytest.raises(fastbp.CheckpointError):
                fastbp.load(path)
        for name in set(names) - {"validation_losses"}:
            path.write_bytes(crafted(content, str, lambda arrays, n=name: arrays.pop(n)))
            with pytest.raises(fastbp.CheckpointError):
                fastbp.load(path)


def test_arrays_of_another_dtype(files, tmp_path):
    path = tmp_path / "m"
    for kind, content in files.items():
        if kind.endswith(("Classifier", "Regressor")):
            continue  # theirs may be float32, as scikit-learn's are
        for name, array in load(content).items():
            wrong = {name: array.astype(np.float32)}
            path.write_bytes(crafted(content, str, lambda arrays, new=wrong: arrays.update(new)))
            with pytest.raises(fastbp.CheckpointError):
                fastbp.load(path)


CHECKPOINTS = {
    "fingerprint": ["fingerprint", []],
    "state": ["state", []],
    "epochs": ["epochs", "x"],
    "reported": ["reported", -1],
    "stopped": ["stopped", 7],
    "best": ["best.state", None],
    "more": ["state", {}],
}


@pytest.mark.parametrize(("name", "value"), CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_a_checkpoint_of_wrong_content(name, value, tmp_path):
    path = tmp_path / "c"
    mutated.checkpointed(path)
    path.write_bytes(crafted(path.read_bytes(), field("fields", name, value=value)))
    with pytest.raises(fastbp.CheckpointError) as caught:
        mutated.checkpointed(path)
    assert str(path) in str(caught.value)


def test_arrays_of_a_checkpoint(tmp_path):
    path = tmp_path / "c"
    mutated.checkpointed(path)
    good = path.read_bytes()
    for name, array in load(good).items():
        wrong = [array.astype(np.float32), array[None]]
        wrong += [] if name in ("validation_losses", "rates") else [array[:-1]]  # one may be due
        for value in wrong if array.size else wrong[:2]:
            arrays = {name: np.ascontiguousarray(value)}
            path.write_bytes(crafted(good, str, lambda a, new=arrays: a.update(new)))
            with pytest.raises(fastbp.CheckpointError):
                mutated.checkpointed(path)
