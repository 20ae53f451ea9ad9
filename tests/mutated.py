"""Model files and checkpoints that somebody made: mutated, with a digest that is right.

``python -m tests.mutated 10000`` makes so many and says which were neither refused nor usable; the
tests make a few hundred.
"""

from __future__ import annotations

import copy
import json
import struct
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

import fastbp
from fastbp.errors import CheckpointError, DivergenceError
from fastbp.models.table_model import TableModel
from fastbp.system import archive
from tests.problems import network_problem

X, Y, W, B, _ = network_problem((3, 4, 1), 40)
CLASSES = (X[:, 0] > 0) * 1
DEEP = "[" * 100_000 + "]" * 100_000
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 5, 2**62, 2**70, -(2**63), 0.5, float("nan"), float("inf"), "", "x",
    "sigmoid", [], {}, [0], [[1]], [None] * 3, {"a": 1}, {"array": "x"}, {"array": []}, {"list": 3},
    {"tuple": []}, {"dict": [[1]]}, {"SGD": {"dict": {"list": []}}}, {"RandomState": {}},
    {"scalar": ["V99999999999", 1]}, {"objects": ["U99999999", [1], {"list": ["a"]}]},
    {"dtype": "V999999999", "array": [0]}, {"dtype": "<f8", "array": "x"},
    {"dtype": "O", "array": [1]},
]  # fmt: skip
ARRAYS = [
    lambda a: a[:0], lambda a: a[:1], lambda a: a[None], lambda a: a.ravel(), lambda a: -a,
    lambda a: np.full_like(a, np.nan), lambda a: np.full_like(a, np.inf), lambda a: np.zeros(10**3),
    lambda a: a.astype(np.float32), lambda a: a.astype(np.int64), lambda a: np.zeros((2, 3)),
    lambda a: np.concatenate([a, a]), lambda a: np.array(0.0), lambda a: np.zeros_like(a),
    lambda a: a.T.copy(), lambda a: a.astype(np.uint8), lambda a: a * 1e200,
]  # fmt: skip


def models() -> list[Any]:
    """Return a model of each kind that can be saved."""
    names = ["tanh", "sigmoid"]
    table = [f"x{j}" for j in range(3)]
    neuron = fastbp.fit_neuron(X, Y.ravel(), W[0][:, 0], 0.0, 0.05, 2, validation=0.2, tol=0.0)
    network = fastbp.fit_network(
        X, CLASSES, W, B, 0.05, 2, activations=names, loss="bce", optimizer="adam", shuffle=True,
        random_state=np.random.RandomState(1), batch_size=7,
    )  # fmt: skip
    layers = [fastbp.Layer(3, 4, "relu", random_state=0), fastbp.Layer(4, 1, random_state=1)]
    about = table, "y", np.zeros(3), np.ones(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = np.array(["a", "b", "c"])[np.arange(40) % 3]
        fitted = [
            fastbp.NeuronClassifier(max_iter=2, solver="adam").fit(X, text),
            fastbp.NeuronRegressor(max_iter=2, early_stopping=True).fit(X, Y.ravel()),
            fastbp.MLPClassifier((4,), max_iter=2, random_state=0).fit(X, text),
            fastbp.MLPRegressor(max_iter=2, early_stopping=True, solver="sgd").fit(X, Y.ravel()),
        ]
    return [
        neuron, network, TableModel(network, *about, ["no", "yes"]), TableModel(neuron, *about, None),
        fastbp.Neuron(3, random_state=1), layers[0], fastbp.Perceptron(layers), *fitted,
    ]  # fmt: skip


def checkpointed(path: Path) -> Any:
    """Train with a checkpoint there, or continue from it."""
    return fastbp.fit_network(
        X, Y, W, B, lambda epoch: 0.05, 4, activations=["tanh", "identity"], optimizer="adam",
        batch_size=7, shuffle=True, random_state=1, validation=0.2, tol=0.0, n_iter_no_change=9,
        checkpoint=path,
    )  # fmt: skip


class Mutations:
    """Draws mutations of a file: of its fields, its arrays, its header or its bytes."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def of(self, content: bytes) -> bytes:
        """Return a mutation."""
        kind = self.random.integers(10)
        if kind == 0:
            return self._bytes(content)
        size = struct.unpack("<Q", content[:8])[0]
        text = json.loads(content[8 : 8 + size])["__metadata__"]["fastbp"].partition(" ")[2]
        header, arrays = json.loads(text), load(content)
        if kind <= 2:
            self._mutate_arrays(arrays)
        else:
            for _ in range(self.random.integers(1, 3)):
                self._mutate(header if kind == 3 else header["fields"])
        text = json.dumps(header, sort_keys=True)
        if kind == 4 and self.random.integers(3) == 0:
            text = self._nested(text)
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        return save(arrays, {"fastbp": f"{archive._digest(text, arrays)} {text}"})

    def _pick(self, values: Any) -> Any:
        return values[int(self.random.integers(len(values)))]

    def _bytes(self, content: bytes) -> bytes:
        changed = bytearray(content)
        for _ in range(self.random.integers(1, 4)):
            where = int(self.random.integers(min(len(changed), 2000)))
            changed[where] = int(self.random.integers(256))
        cut = int(self.random.integers(len(changed)))
        return bytes(changed[:cut] if self.random.integers(4) == 0 else changed)

    def _nested(self, text: str) -> str:
        where = self._pick([i for i, c in enumerate(text) if c == ":"])
        return text[: where + 1] + DEEP + "," + text[where + 1 :]

    def _mutate_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        name = self._pick(sorted(arrays))
        kind = self.random.integers(8)
        if kind == 0:
            del arrays[name]
        elif kind == 1:
            arrays[name + "2"] = arrays[name]
        elif kind == 2:
            arrays[name] = arrays[self._pick(sorted(arrays))]
        else:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                arrays[name] = self._pick(ARRAYS)(arrays[name])

    def _mutate(self, value: Any) -> None:
        """Change something somewhere in lists and dicts."""
        keys = sorted(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = self._pick(keys)
        inner = value[key]
        if isinstance(inner, dict | list) and inner and self.random.integers(4):
            self._mutate(inner)
        elif isinstance(value, dict) and self.random.integers(4) == 0:
            del value[key]
        elif isinstance(value, dict) and self.random.integers(8) == 0:
            value[self._pick(["predict", "__class__", "coef_", "n_iter_", "x", ""])] = inner
        else:
            value[key] = copy.deepcopy(self._pick(VALUES))


def use(model: Any) -> None:
    """Do with a loaded model what is done with one: it works, or says what does not fit."""
    repr(model)
    try:
        if isinstance(model, fastbp.Layer):
            model.forward(X)
        elif not hasattr(model, "get_params") or hasattr(model, "n_iter_"):
            assert len(model.predict(X)) == len(X)
        if hasattr(model, "state"):
            keywords = {"state": model.state, "optimizer": model.state and model.state.optimizer}
            going_on = {**keywords, "shuffle": True, "batch_size": 7} if model.state else {}
            if isinstance(model, fastbp.models.network.NetworkFit):
                names = model.activations
                start = model.weights, model.biases
                fastbp.fit_network(X, CLASSES, *start, 0.0, 1, activations=names, **going_on)
            else:
                fastbp.fit_neuron(X, CLASSES, model.weights, model.bias, 0.0, 1, **going_on)
        elif hasattr(model, "n_iter_") and not getattr(model, "early_stopping", False):
            labels = model.classes_[CLASSES] if hasattr(model, "classes_") else CLASSES
            model.partial_fit(X, labels)
    except (ValueError, TypeError, DivergenceError) as error:
        if not any(word in str(error) for word in ("expected", "no longer finite", "non-finite")):
            raise


def names_file(path: Path, error: CheckpointError) -> bool:
    """Return True if a refusal names the file, or else raise."""
    if str(path) not in str(error):
        raise LookupError("a message without the file") from error
    return True


def try_model(content: bytes, path: Path) -> bool:
    """Load a file; return whether it was refused."""
    path.write_bytes(content)
    try:
        model = fastbp.load(path)
    except CheckpointError as error:
        return names_file(path, error)
    use(model)
    return False


def try_checkpoint(content: bytes, path: Path) -> bool:
    """Continue from a checkpoint; return whether it was refused."""
    path.write_bytes(content)
    try:
        checkpointed(path)
    except CheckpointError as error:
        return names_file(path, error)
    except DivergenceError:
        pass
    return False


def run(count: int, seed: int = 0) -> tuple[int, list[str]]:
    """Try so many mutations; return how many were refused, and what went wrong with others."""
    mutations, refused, wrong = Mutations(seed), 0, []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "m"
        trials = []
        for model in models():
            fastbp.save(model, path)
            trials.append((try_model, path.read_bytes()))
        path.unlink()
        checkpointed(path)
        trials += [(try_checkpoint, path.read_bytes())] * 3
        for number in range(count):
            attempt, content = trials[number % len(trials)]
            mutated = mutations.of(content)
            try:
                refused += attempt(mutated, path)
            except Exception as error:
                wrong.append(f"{number} {attempt.__name__}: {type(error).__name__}: {error}")
    return refused, wrong


if __name__ == "__main__":
    count = int(sys.argv[1])
    refused, wrong = run(count, *map(int, sys.argv[2:]))
    print(f"{refused} of {count} refused, {len(wrong)} wrong", *wrong[:60], sep="\n")
