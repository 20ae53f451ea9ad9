"""The teaching object: one step at a time agrees with the formulas and with whole fits."""

import json
from pathlib import Path

import numpy as np
import pytest

import fastbp
from fastbp import Neuron
from tests import reference

CASES = Path(__file__).parents[1] / "cases"


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
def test_steps_by_hand_are_online_training(activation):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 4)), rng.random(20)
    neuron = Neuron(4, activation=activation, random_state=3)
    start = neuron.weights.copy(), neuron.bias
    for row, target in zip(x, y, strict=True):
        neuron.forward(row)
        neuron.backward(target, learning_rate=0.1)
    fit = fastbp.fit_neuron(
        x, y, *start, 0.1, 1, activation=activation, loss="half_mse", batch_size=1
    )
    np.testing.assert_allclose(neuron.weights, fit.weights, rtol=1e-12)
    assert neuron.bias == pytest.approx(fit.bias, rel=1e-12)


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
def test_a_hidden_neuron_uses_its_own_derivative(activation):
    neuron = Neuron(2, weights=[0.3, -0.4], bias=0.25, activation=activation)
    z = neuron.weights @ [1.0, 2.0] + 0.25
    for x in ([1.0, 2.0], [-1.0, -2.0]):
        z = neuron.weights @ x + neuron.bias
        before = neuron.weights.copy(), neuron.bias
        neuron.forward(x)
        delta = neuron.backward(
            downstream_deltas=[0.5, -0.2], downstream_weights=[2.0, 1.0], learning_rate=0.1
        )
        assert (
            delta
            == neuron.delta
            == pytest.approx(0.8 * reference.derivative(activation, z), rel=1e-13)
        )
        np.testing.assert_allclose(
            neuron.weights, before[0] - 0.1 * delta * np.array(x), rtol=1e-15
        )
        assert neuron.bias == before[1] - 0.1 * delta


def test_the_published_node_trace():
    """One hidden ReLU node and a linear output: ten steps, printed to four digits."""
    case = json.loads((CASES / "one_relu_node.json").read_text())
    hidden = Neuron(1, weights=[case["w"]], bias=case["b"], activation="relu")
    output = Neuron(1, weights=[case["v"]], bias=case["c"], activation="identity")
    rate, target = case["learning_rate"], case["y_target"]
    for row in case["published"]:
        prediction = output.forward([hidden.forward([case["x"]])])
        cost = 0.5 * (prediction - target) ** 2
        before = output.weights.copy()
        delta = output.backward(target, learning_rate=rate)
        hidden.backward(downstream_deltas=delta, downstream_weights=before, learning_rate=rate)
        assert (f"{cost:.4f}", f"{prediction:.2f}") == (row["cost"], row["prediction"])
        assert hidden.weights[0] == pytest.approx(row["w"], rel=1e-12)
        assert f"{hidden.bias:.4f}" == row["b"]
        assert f"{output.weights[0]:.2f}" == row["v"]
        assert f"{output.bias:.4f}" == row["c"]


@pytest.mark.parametrize(
    "name",
    [
        "two sigmoid layers, one output, online",
        "two sigmoid layers, three outputs, online",
        "exercise: two rows, targets 1.0 and 0.7",
        "exercise: two rows, one-hot targets",
    ],
)
def test_a_network_of_neurons(name):
    """Two layers by hand, with the downstream weights from before their update."""
    case = next(c for c in json.loads((CASES / "networks.json").read_text()) if c["name"] == name)
    rate = case["learning_rate"]

    def layer(weights, biases):
        columns = np.array(weights).T
        return [Neuron(len(w), weights=w, bias=b) for w, b in zip(columns, biases, strict=True)]

    first, second = map(layer, case["initial_weights"], case["initial_biases"])
    for _ in range(case["epochs"]):
        for x, targets in zip(case["features"], case["labels"], strict=True):
            hidden = [neuron.forward(x) for neuron in first]
            for neuron in second:
                neuron.forward(hidden)
            before = np.array([neuron.weights for neuron in second])
            deltas = [
                n.backward(t, learning_rate=rate)
                for n, t in zip(second, np.atleast_1d(targets), strict=True)
            ]
            for j, neuron in enumerate(first):
                neuron.backward(
                    downstream_deltas=deltas, downstream_weights=before[:, j], learning_rate=rate
                )
    for neurons, weights, biases in zip(
        (first, second), case["expected"]["weights"], case["expected"]["biases"], strict=True
    ):
        np.testing.assert_allclose(np.array([n.weights for n in neurons]).T, weights, rtol=1e-9)
        np.testing.assert_allclose([n.bias for n in neurons], biases, rtol=1e-9)


def test_one_downstream_neuron_as_plain_numbers():
    neuron = Neuron(1, weights=[1.0], bias=0.0, activation="identity")
    neuron.forward([2.0])
    assert neuron.backward(downstream_deltas=0.5, downstream_weights=3.0) == 1.5


def test_forward_keeps_inputs_and_output():
    neuron = Neuron(2, weights=[1, 2], bias=0)
    assert neuron.inputs is None and neuron.output is None and neuron.delta is None
    x = np.array([0.5, -0.25])
    output = neuron.forward(x)
    x[:] = 9.0
    assert output == neuron.output == 0.5
    assert neuron.inputs.tolist() == [0.5, -0.25]
    assert type(output) is float


def test_zero_weights_and_bias_are_kept():
    neuron = Neuron(2, weights=[0, 0], bias=0)
    assert neuron.weights.tolist() == [0.0, 0.0] and neuron.bias == 0.0
    assert Neuron(1, weights=np.zeros(1), bias=0.0).weights.tolist() == [0.0]


def test_start_values_are_normal_and_uniform():
    neurons = [Neuron(50, random_state=seed) for seed in range(200)]
    weights = np.concatenate([n.weights for n in neurons])
    biases = np.array([n.bias for n in neurons])
    assert abs(weights.mean()) < 0.05 and abs(weights.std() - 1.0) < 0.05
    assert biases.min() >= 0.0 and biases.max() < 1.0 and abs(biases.mean() - 0.5) < 0.1
    assert Neuron(random_state=1).weights.tolist() == Neuron(random_state=1).weights.tolist()
    assert Neuron().weights.shape == (3,)


def test_the_callers_weights_are_never_written():
    weights = np.array([1.0, 2.0])
    neuron = Neuron(2, weights=weights, bias=0.0)
    neuron.forward([1.0, 1.0])
    neuron.backward(0.0)
    neuron.fit([[1.0, 2.0]], [0], 0.1, 3)
    assert weights.tolist() == [1.0, 2.0]


def test_fit_and_predict():
    x, y = [[0.0], [1.0], [2.0]], [0, 0, 1]
    neuron = Neuron(1, weights=[0.5], bias=0.1)
    assert neuron.fit(x, y, 0.5, 20, loss="bce") is neuron
    fit = fastbp.fit_neuron(x, y, [0.5], 0.1, 0.5, 20, loss="bce")
    assert neuron.weights.tolist() == fit.weights.tolist() and neuron.bias == fit.bias
    assert neuron.losses_.tolist() == fit.losses.tolist()
    np.testing.assert_array_equal(neuron.predict(x), fit.predict(x))


def test_repr_makes_it_again():
    neuron = Neuron(2, random_state=0, activation="tanh")
    again = eval(repr(neuron))
    assert (again.weights.tolist(), again.bias) == (neuron.weights.tolist(), neuron.bias)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"activation": "swish"}, ValueError, "activation: expected one of"),
        ({"weights": [1.0]}, ValueError, r"weights: expected 3 values \(one per input\), got 1"),
        ({"weights": [1.0, np.nan, 0.0]}, ValueError, "weights: expected finite"),
        ({"bias": "b"}, TypeError, "bias: expected a real number"),
        ({"n_inputs": 0}, ValueError, "n_inputs: expected at least 1"),
        ({"n_inputs": 2.0}, TypeError, "n_inputs: expected an integer"),
    ],
)
def test_wrong_neurons(arguments, error, message):
    with pytest.raises(error, match=message):
        Neuron(**arguments)


def test_wrong_steps():
    neuron = Neuron(2, random_state=0)
    with pytest.raises(RuntimeError, match="forward"):
        neuron.backward(1.0)
    with pytest.raises(ValueError, match="x: expected 2 values"):
        neuron.forward([1.0])
    neuron.forward([1.0, 2.0])
    for arguments in (
        {},
        {"target": 1.0, "downstream_deltas": [1.0], "downstream_weights": [1.0]},
    ):
        with pytest.raises(TypeError, match="either target, or downstream_deltas"):
            neuron.backward(**arguments)
    with pytest.raises(TypeError, match="downstream_weights"):
        neuron.backward(downstream_deltas=[1.0])
    with pytest.raises(ValueError, match="downstream_weights: expected 1 values"):
        neuron.backward(downstream_deltas=[1.0], downstream_weights=[1.0, 2.0])
    with pytest.raises(
        fastbp.DataError, match="downstream_deltas: expected a single value in every"
    ):
        neuron.backward(downstream_deltas=[1.0, [1.0, 2.0]], downstream_weights=[1.0])
    with pytest.raises(ValueError, match="learning_rate"):
        neuron.backward(1.0, learning_rate=np.nan)
