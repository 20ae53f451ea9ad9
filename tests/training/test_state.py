"""A state that somebody made: every field is checked against the fit that it is handed to."""

from dataclasses import replace as changed

import numpy as np
import pytest

import fastbp
from fastbp import Adam
from fastbp.training.state import Best
from tests.problems import network_problem

X, Y, W, B, _ = network_problem((4, 6, 1), 300)
KEYWORDS = {"optimizer": Adam(), "batch_size": 70, "shuffle": True, "random_state": 1}


def network(start, state=None, **keywords):
    return fastbp.fit_network(
        X, Y, *start, 0.05, 2, activations=["tanh", "identity"], state=state, **KEYWORDS, **keywords
    )


def neuron(start, state=None, **keywords):
    return fastbp.fit_neuron(X, Y.ravel(), *start, 0.05, 2, state=state, **KEYWORDS, **keywords)


@pytest.fixture(scope="module")
def fits():
    """Each function, with the start values and the state of a fit of it."""
    pairs = [(network, (W, B)), (neuron, (W[0][:, 0], B[0][0]))]
    return {f.__name__: (f, [*fit][:2], fit.state) for f, start in pairs for fit in [f(start)]}


GENERATOR = np.random.default_rng(1).bit_generator.state
TWISTER = np.random.MT19937(1).state
PHILOX = np.random.Philox(1).state
WRONG = [
    ("epoch", [-1, 2**62, 2**70, 1.0, True, "3", None, np.zeros(3)]),
    ("stale_epochs", [-1, 2**63, 0.5, None]),
    ("checksum", [-1, "x", 2**70, np.zeros(2)]),
    ("batch_start", [300, 350, 10**9, -70, 35, 2**63, 70.0, np.array([70, 70]), None]),
    ("next_chunk", [-1, -(2**62), 1, 5, 2**62, 2**63, 0.0, None]),
    ("moments", [None, np.zeros((2, 3)), np.zeros((1, 8)), np.zeros(0), [[0.0]], "x"]),
    ("powers", [(np.nan, 1.0), (1.0, np.nan), (2.0, 0.5), (-0.1, 0.5), (1.0,), 1.0, ("a", "b"), None]),
    ("random_state", [5, {}, {"bit_generator": "Nowhere"}, {"bit_generator": "BitGenerator"},
                      {"bit_generator": []}, {"bit_generator": "PCG64"}, {**GENERATOR, "state": None},
                      {**GENERATOR, "bit_generator": "MT19937"}, {**PHILOX, "legacy": True, "state": 3},
                      {**TWISTER, "state": {**TWISTER["state"], "pos": 10**7}},
                      {**TWISTER, "state": {**TWISTER["state"], "pos": -5}},
                      {**PHILOX, "buffer_pos": -(10**6)}]),
    ("partial_sums", [np.zeros(3), None, np.zeros((1, 0))]),
    ("epoch_start", [np.zeros(3), np.zeros(10**3), None]),
    ("batching", [None, (), (300, 70), (300, 70, True, 1), "abc", (300.0, 70, True), (300, 70, "zz"), np.zeros(3)]),
    ("epoch_sums", [(np.nan, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0), None, ("a", 0.0, 0.0)]),
    ("best_loss", [np.nan, -np.inf, "x", None, True]),
    ("ended", ["epochs", 3, [], np.zeros(2)]),
    ("validation_due", [None, 1, "x", np.zeros(2)]),
    ("best", [5, (), (0.5, np.zeros(3), None), Best(0.5, np.zeros(3), None), []]),
]  # fmt: skip
WITHIN = [
    ("epoch_start", [np.zeros(0), np.zeros(3), np.nan, np.inf, np.float32(0.0)]),
    ("epoch_sums", [(0.0, 0.0, -1.0), (0.0, 0.0, np.inf), (0.0, 0.0, np.nan)]),
    ("batch_start", [35, 300]),
    ("batching", [(300, 60, True), (300, 70, False), (200, 70, True)]),
]


def refused(function, start, state, message="state: expected.*, got "):
    with pytest.raises(ValueError, match=message):
        function(start, state)


@pytest.mark.parametrize("function", ["network", "neuron"])
@pytest.mark.parametrize(("field", "values"), WRONG, ids=[field for field, _ in WRONG])
def test_a_field_that_no_fit_leaves_behind(field, values, function, fits):
    function, start, state = fits[function]
    for value in values:
        refused(function, start, changed(state, **{field: value}))


@pytest.mark.parametrize("function", ["network", "neuron"])
@pytest.mark.parametrize(("field", "values"), WITHIN, ids=[field for field, _ in WITHIN])
def test_a_field_of_an_epoch_under_way(field, values, function, fits):
    function, start, state = fits[function]
    size = state.moments.shape[1]
    begun = {"batch_start": 70, "epoch_start": np.zeros(size), "epoch_sums": (3.0, 0.0, 70.0)}
    for value in values:
        if np.isscalar(value) and field == "epoch_start":
            value = np.full(size, value)
        refused(function, start, changed(state, **{**begun, field: value}))
    assert function(start, changed(state, **begun)).n_epochs == 2


def test_moments_and_sums(fits):
    function, start, state = fits["network"]
    for row, value in [(0, np.nan), (1, np.nan), (1, -1.0)]:
        moments = state.moments.copy()
        moments[row, 3] = value
        refused(function, start, changed(state, moments=moments))
    moments = state.moments.copy()
    moments[1, 3] = np.inf  # the square of a gradient of 1e200
    assert function(start, changed(state, moments=moments)).n_epochs == 2


@pytest.mark.parametrize(("group_chunks", "n_sums"), [(19, 1), (4, 2)])
def test_sums_of_a_batch_under_way(monkeypatch, group_chunks, n_sums):
    monkeypatch.setattr("fastbp.models.neuron.kernels.chunk_rows", lambda d: 16)
    monkeypatch.setattr("fastbp.training.problem.group_chunks", lambda *sizes: group_chunks)
    start = fastbp.fit_neuron(X, Y.ravel(), W[0][:, 0], 0.0, 0.05, 1)
    size = 16  # 4 weights and a bias, each in whole vectors
    good = {
        "next_chunk": 5, "epoch_start": np.zeros(size), "batching": (300, 300, False),
        "partial_sums": np.zeros(n_sums * (size + 8)),
    }  # fmt: skip
    heavy = np.zeros(n_sums * (size + 8))
    heavy[-7] = -1.0

    def going_on(start, state):
        return fastbp.fit_neuron(X, Y.ravel(), *[*start][:2], 0.05, 2, state=state)

    for wrong in [
        {"next_chunk": 19}, {"partial_sums": np.zeros(size)}, {"partial_sums": np.zeros(0)},
        {"partial_sums": np.zeros((3 - n_sums) * (size + 8))}, {"partial_sums": heavy}, {"epoch_start": np.zeros(0)},
    ]:  # fmt: skip
        refused(going_on, start, changed(start.state, **{**good, **wrong}))
    assert going_on(start, changed(start.state, **good)).n_epochs == 2


def test_an_optimizer_that_is_none(fits):
    function, start, state = fits["network"]
    for value in (None, 5, np.zeros(3), "adam"):
        refused(
            function, start, changed(state, optimizer=value),
            "state: expected that of a fit with optimizer=",
        )  # fmt: skip


def test_a_state_that_load_gave(tmp_path):
    fit = network((W, B))
    crafted = changed(fit, state=changed(fit.state, next_chunk=-5))
    fastbp.save(crafted, tmp_path / "m")
    again = fastbp.load(tmp_path / "m")
    refused(
        network, [*again][:2], again.state, "state: expected next_chunk to be an integer from 0"
    )


def test_the_best_of_a_fit_that_was_cut_short(fits):
    function, start, state = fits["network"]
    parameters = np.zeros(state.moments.shape[1])
    begun = {"batch_start": 70, "epoch_start": parameters, "epoch_sums": (3.0, 0.0, 70.0)}
    nested = state
    for _ in range(2000):
        nested = changed(nested, best=Best(0.5, parameters, nested))
    for wrong in [
        Best(0.5, parameters, changed(state, optimizer=None)), Best(0.5, parameters, nested),
        Best(0.5, parameters, changed(state, optimizer=parameters)),
        Best("x", parameters, state), Best(0.5, parameters[1:], state), Best(0.5, None, state),
        Best(0.5, parameters * np.nan, state), Best(0.5, parameters, changed(state, epoch=-1)),
        Best(0.5, parameters, changed(state, **begun)),
        *(Best(0.5, parameters, changed(state, batch_start=v)) for v in ("x", None, [], parameters)),
        *(Best(0.5, parameters, changed(state, next_chunk=v)) for v in ("x", None, [], parameters)),
        Best(0.5, parameters, changed(state, best=Best(0.5, parameters, state))),
        Best(0.5, parameters, changed(state, optimizer=fastbp.SGD())),
    ]:  # fmt: skip
        refused(function, start, changed(state, best=wrong))
    assert function(start, changed(state, best=Best(0.5, parameters, state))).n_epochs == 2
