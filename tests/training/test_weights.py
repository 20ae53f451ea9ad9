"""Rows of weight 0: a batch of them changes nothing, and somewhere there must be a weight."""

import numpy as np
import pytest

import fastbp
from fastbp import SGD, Adam
from fastbp.data.split import Selection
from tests.problems import network_problem

N, D = 60, 5
X, Y, W, B, RNG = network_problem((D, 6, 1), N)
WEIGHT = RNG.random(N) + 0.5
CHOICES = [
    {"batch_size": 1},
    {"batch_size": 1, "alpha": 0.1},
    {"batch_size": 1, "optimizer": Adam()},
    {"batch_size": 10},
    {"batch_size": 10, "alpha": 0.1},
    {"batch_size": 10, "optimizer": SGD(momentum=0.9, nesterov=True)},
    {"batch_size": 10, "optimizer": "rmsprop"},
]


def neuron(x, y, weight, epochs=3, **keywords):
    return fastbp.fit_neuron(x, y, np.ones(D), 0.1, 0.05, epochs, sample_weight=weight, **keywords)


def network(x, y, weight, epochs=3, **keywords):
    return fastbp.fit_network(
        x, y, W, B, 0.05, epochs, activations=["tanh", "identity"], sample_weight=weight, **keywords
    )


def bits(fit):
    parameters, biases, losses = fit
    arrays = [*parameters, *biases] if isinstance(parameters, list) else [parameters, [biases]]
    return [np.asarray(array).tobytes() for array in (*arrays, losses)]


@pytest.mark.parametrize("keywords", CHOICES, ids=str)
@pytest.mark.parametrize("fit", [neuron, network])
@pytest.mark.parametrize("far", [1.0, 1e200], ids=["near", "far"])
def test_a_batch_without_weight_changes_nothing(fit, keywords, far):
    """Not even where its own losses overflow; it is as if its rows were not there."""
    weight, x = WEIGHT.copy(), X.copy()
    weight[20:30] = weight[50:] = weight[0:10] = 0.0
    x[20:30] *= far
    there = weight > 0.0
    y = np.where(there, 0.5, 1e200)[:, None] * Y
    whole, part = fit(x, y, weight, **keywords), fit(x[there], y[there], weight[there], **keywords)
    assert bits(whole) == bits(part)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_batch_of_several_chunks(n_threads, monkeypatch):
    monkeypatch.setattr("fastbp.models.neuron.kernels.chunk_rows", lambda d: 4)
    weight = WEIGHT.copy()
    weight[20:40] = 0.0
    there = weight > 0.0
    keywords = {"batch_size": 20, "n_threads": n_threads}
    whole, part = (
        neuron(X, Y, weight, **keywords),
        neuron(X[there], Y[there], weight[there], **keywords),
    )
    assert bits(whole) == bits(part)


@pytest.mark.parametrize("shuffle", [True, "window"])
def test_any_order_of_rows_in_memory_and_in_a_file(shuffle, tmp_path):
    weight = np.where(np.arange(N) % 7, 0.0, WEIGHT)
    np.save(tmp_path / "x.npy", np.column_stack([X, Y, weight]))
    keywords = {"batch_size": 2, "shuffle": shuffle, "random_state": 3, "epochs": 6}
    rows = fastbp.open_rows(tmp_path / "x.npy", target=D, weight=D + 1)
    for fit in (neuron, network):
        assert bits(fit(rows, None, None, **keywords)) == bits(fit(X, Y, weight, **keywords))


def test_rows_that_are_read(monkeypatch):
    """As blocks of an iterator, which is not kept in memory."""
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 0)
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 8 * 7 * 10)
    weight = WEIGHT.copy()
    weight[:30] = 0.0

    def blocks():
        for first in range(0, N, 15):
            yield X[first : first + 15], Y[first : first + 15], weight[first : first + 15]

    for batch_size in (1, 10, 30):
        read = neuron(fastbp.open_rows(blocks), None, None, batch_size=batch_size)
        assert bits(read) == bits(neuron(X[30:], Y[30:], weight[30:], batch_size=batch_size))
    weight[:] = 0.0
    with pytest.raises(
        ValueError, match="sample_weight: expected rows with a weight above 0, got z"
    ):
        neuron(fastbp.open_rows(blocks), None, None)


@pytest.mark.parametrize("fit", [neuron, network])
def test_validation_without_any_weight_is_refused_before_training(fit):
    def never(state):
        raise AssertionError

    held_out = np.zeros(N)
    everything = fit(X, Y, WEIGHT, validation=0.1)
    picked = Selection(len(X), 6, True).indices(np.arange(6))
    held_out[picked] = 1.0
    message = "{}: expected rows with a weight above 0, got zeros only"
    for weight, validation, name in [
        (WEIGHT * (1 - held_out), 0.1, "validation"),
        (WEIGHT * held_out, 0.1, "sample_weight"),
        (WEIGHT, (X, Y, np.zeros(N)), "validation"),
        (np.zeros(N), None, "sample_weight"),
    ]:
        with pytest.raises(ValueError, match=message.format(name)):
            fit(X, Y, weight, validation=validation, callback=never)
    assert np.isfinite(everything.validation_losses).all()


@pytest.mark.parametrize("value", [1e-320, 1e300, -1.0])
def test_a_weight_that_no_sum_can_be_divided_by(value):
    weight = WEIGHT.copy()
    weight[7] = value
    with pytest.raises(fastbp.DataError, match=r"sample_weight: expected .*weight.* in row 7"):
        neuron(X, Y, weight)
