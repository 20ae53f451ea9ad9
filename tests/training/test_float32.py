"""Fits in float32: how they go on, and which of float64 they refuse."""

import dataclasses
from itertools import combinations

import numpy as np
import pytest

import fastbp
from fastbp import Adam
from fastbp.system import archive
from fastbp.training.memory import Memory
from fastbp.training.optimizers import GRADIENT_ONLY
from fastbp.training.run import Run
from fastbp.training.state import Best
from tests.problems import network_bits, network_problem, python

X, Y, W, B, _ = network_problem((4, 6, 1), 300)
OTHER = {"float32": "float64", "float64": "float32"}
CASES = [
    {"batch_size": 70, "optimizer": Adam()},
    {"batch_size": 70, "shuffle": True, "random_state": 1},
    {"tol": 0.0, "validation": 0.2, "batch_size": 70},
]


def fit(epochs=4, start=(W, B), dtype="float32", **keywords):
    how = {"activations": ["tanh", "identity"], "dtype": dtype}
    return fastbp.fit_network(X, Y, *start, 0.02, epochs, **how, **keywords)


@pytest.mark.parametrize("dtype", OTHER)
@pytest.mark.parametrize("keywords", CASES, ids=str)
def test_a_state_of_the_other_dtype(dtype, keywords):
    first = fit(dtype=OTHER[dtype], **keywords)
    start = [[a.astype(dtype) for a in part] for part in list(first)[:2]]
    message = f"^state: expected that of a fit in {dtype}, got that of one in {OTHER[dtype]}$"
    for parameters in (start, list(first)[:2]):
        with pytest.raises(ValueError, match=message):
            fit(start=parameters, dtype=dtype, state=first.state, **keywords)
    own = dataclasses.replace(first.state, moments=first.state.moments.astype(dtype))
    with pytest.raises(ValueError, match=r"^state: expected"):  # as if of this one
        fit(start=start, dtype=dtype, state=own, **keywords)


def test_parts_of_a_state_of_the_other_dtype():
    first = fit(**CASES[0])
    start, state = list(first)[:2], first.state
    begun = dataclasses.replace(
        state, batch_start=70, epoch_sums=(3.0, 0.0, 70.0),
        epoch_start=np.zeros(state.moments.shape[1], np.float32),
    )  # fmt: skip
    assert fit(start=start, state=begun, **CASES[0]).n_epochs == 4
    double = dataclasses.replace(begun, epoch_start=np.zeros(state.moments.shape[1]))
    sums = dataclasses.replace(state, partial_sums=np.zeros(0, np.float32))
    best = dataclasses.replace(state, best=Best(0.1, np.zeros(state.moments.shape[1]), state))
    for wrong, where in [(double, "epoch_start"), (sums, "partial_sums"), (best, "best")]:
        with pytest.raises(ValueError, match=f"^state: expected {where} to "):
            fit(start=start, state=wrong, **CASES[0])


def test_a_state_is_saved_in_its_dtype(tmp_path):
    first = fit(**CASES[0])
    best = Best(0.1, np.zeros(first.state.moments.shape[1], np.float32), first.state)
    first.state = dataclasses.replace(first.state, best=best)
    fastbp.save(first, tmp_path / "m")
    again = fastbp.load(tmp_path / "m").state
    assert again.moments.dtype == again.best.parameters.dtype == np.float32
    other = Best(0.1, best.parameters, fit(dtype="float64", **CASES[0]).state)
    mixed = dataclasses.replace(first, state=dataclasses.replace(first.state, best=other))
    fastbp.save(mixed, tmp_path / "m")
    with pytest.raises(
        fastbp.CheckpointError, match="state: expected that of a fit in float32, got"
    ):
        fastbp.load(tmp_path / "m")
    arrays, fields = first.to_stored()
    for name in ("moments", "epoch_start", "best_state.parameters", "best_state.moments"):
        changed = {**arrays, name: arrays[name].astype(np.float64)}
        archive.write(tmp_path / "m", "NetworkFit", (changed, fields))
        with pytest.raises(fastbp.CheckpointError, match="float"):
            fastbp.load(tmp_path / "m")


@pytest.mark.parametrize("dtype", OTHER)
def test_a_checkpoint_of_the_other_dtype(dtype, tmp_path):
    path = tmp_path / "c"
    whole = fit(6, dtype=dtype, **CASES[1])
    fit(3, dtype=dtype, checkpoint=path, **CASES[1])
    expected = f"dtype was '{dtype}', is '{OTHER[dtype]}'"
    with pytest.raises(fastbp.CheckpointError, match=expected):
        fit(6, dtype=OTHER[dtype], checkpoint=path, **CASES[1])
    again = fit(6, dtype=dtype, checkpoint=path, **CASES[1])
    assert network_bits(again) == network_bits(whole)
    arrays, fields = archive.read(path)[1]
    changed = {**arrays, "parameters": arrays["parameters"].astype(OTHER[dtype])}
    archive.write(path, "Checkpoint", (changed, fields))
    with pytest.raises(fastbp.CheckpointError, match=f"parameters: expected .* of {dtype}, got"):
        fit(9, dtype=dtype, checkpoint=path, **CASES[1])


def test_killed_and_resumed_by_another_process(tmp_path):
    code = f"""
        import os, sys
        import numpy as np, fastbp
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(5000, 20)).astype(np.float32), rng.random(5000)
        keywords = dict(loss="bce", batch_size=1000, shuffle=True, random_state=1, optimizer="adam",
                        dtype="float32")
        def fit(**more):
            return fastbp.fit_neuron(x, y, np.zeros(20), 0.0, 0.01, 20, **keywords, **more)
        def killed(state):
            if state.epoch == int(sys.argv[1]):
                os._exit(1)
        path = {str(tmp_path / "c")!r}
        if sys.argv[1:]:
            fit(checkpoint=path, checkpoint_every=0.0, callback=killed)
        again, whole = fit(checkpoint=path, n_threads=2), fit()
        print(again.weights.dtype, again.bias == whole.bias, (again.weights == whole.weights).all(),
              (again.losses == whole.losses).all())
        """
    started = code.replace("sys.argv[1:]", "True").replace("int(sys.argv[1])", "7")
    with pytest.raises(AssertionError):  # it exits with 1
        python(started)
    assert len(archive.read(tmp_path / "c")[1][0]["losses"]) == 7
    assert python(code) == "float32 True True True\n"


@pytest.mark.parametrize("dtype", OTHER)
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize(
    "optimizer", [fastbp.SGD(), fastbp.SGD(momentum=0.5), Adam(), GRADIENT_ONLY]
)
def test_each_array_of_a_run_begins_with_a_cache_line(dtype, threads, optimizer, monkeypatch):
    seen = []
    original = Memory.__init__

    def made(self, problem, workers):
        original(self, problem, threads)
        seen.append((self, problem))

    monkeypatch.setattr(Memory, "__init__", made)
    monkeypatch.setattr(Run, "__enter__", lambda self: (_ for _ in ()).throw(KeyError))
    for n in (1, 3, 9):
        w, b = [np.zeros((4, n)), np.zeros((n, 1))], [np.zeros(n), np.zeros(1)]
        with pytest.raises(KeyError):
            if optimizer is GRADIENT_ONLY:
                names = ["tanh", "identity"]
                fastbp.loss_and_gradient(X, Y, w, b, activations=names, dtype=dtype)
            else:
                fit(start=(w, b), dtype=dtype, optimizer=optimizer)
    for memory, problem in seen:
        arrays = memory.integers, memory.floats, memory.vectors
        assert [array.ctypes.data % 64 for array in arrays] == [0, 0, 0]
        assert [array.dtype.name for array in arrays] == ["int64", "float64", dtype]
        p, moments = problem.parameters.size, len(memory.moments)
        assert memory.moments.shape == (moments, p)
        own = problem.work_size * (1 if problem.shared_kernel else threads)
        assert memory.vectors.size >= (2 + moments) * p + own
        assert not any(np.shares_memory(a, b) for a, b in combinations(arrays, 2))
