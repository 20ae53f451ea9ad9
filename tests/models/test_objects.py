"""Layer and Perceptron: steps by hand agree with whole fits, published examples come out."""

import json
from pathlib import Path

import numpy as np
import pytest

import fastbp
from fastbp import Layer, Perceptron
from tests import reference
from tests.problems import network_problem

CASES = Path(__file__).parents[1] / "cases"


def perceptron(activations, weights, biases):
    return Perceptron(
        [Layer(*w.shape, a, w, b) for a, w, b in zip(activations, weights, biases, strict=True)]
    )


def parameters(model):
    return [p for layer in model.layers for p in (layer.weights, layer.biases)]


@pytest.mark.parametrize("output", reference.ACTIVATIONS)
@pytest.mark.parametrize("hidden", reference.ACTIVATIONS)
def test_steps_by_hand_are_online_training(hidden, output):
    x, y, w, b, _ = network_problem((4, 6, 3), 30)
    by_hand = perceptron([hidden, output], w, b)
    for row, target in zip(x, y, strict=True):
        d = by_hand.forward(row) - target
        for layer in reversed(by_hand.layers):
            d = layer.backward(d, learning_rate=0.1)
    fitted = perceptron([hidden, output], w, b)
    fitted.fit(x, y, epochs=1, learning_rate=0.1, loss="half_mse")
    for ours, theirs in zip(parameters(by_hand), parameters(fitted), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("output", "loss"), [("sigmoid", "bce"), ("softmax", "cross_entropy")])
def test_steps_by_hand_with_dz(output, loss):
    x, y, w, b, _ = network_problem((4, 6, 3), 30, loss)
    by_hand = perceptron(["relu", output], w, b)
    for row, target in zip(x, y, strict=True):
        a = by_hand.forward(row)
        hidden, last = by_hand.layers
        hidden.backward(last.backward(dz=a - target, learning_rate=0.1), 0.1)
    fitted = perceptron(["relu", output], w, b).fit(x, y, 1, 0.1, loss=loss)
    for ours, theirs in zip(parameters(by_hand), parameters(fitted), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("activation", [*reference.ACTIVATIONS, "softmax"])
def test_backward_over_rows_is_the_chain_rule(activation):
    x, _, (w,), (b,), rng = network_problem((3, 4), 5)
    upstream = rng.normal(size=(5, 4))
    layer = Layer(3, 4, activation, w, b)
    layer.forward(x)
    d_inputs = layer.backward(upstream, learning_rate=0.5)

    def total(x, w, b):
        return float(np.sum(upstream * reference.outputs(x, [w], [b], [activation])[1][-1]))

    for array, gradient in ((x, d_inputs), (w, layer.d_weights), (b, layer.d_biases)):
        assert gradient.shape == array.shape
        for index in np.ndindex(array.shape):
            slopes = []
            for step in (1e-6, -1e-6):
                array[index] += step
                slopes.append(total(x, w, b) / (2 * step))
                array[index] -= step
            assert gradient[index] == pytest.approx(sum(slopes), rel=1e-6, abs=1e-8)
    np.testing.assert_allclose(layer.weights, w - 0.5 * layer.d_weights, rtol=1e-15)
    np.testing.assert_allclose(layer.biases, b - 0.5 * layer.d_biases, rtol=1e-15)


def test_fit_is_fit_network_to_the_bit():
    x, y, w, b, _ = network_problem((4, 6, 1), 30)
    y = (y > 0.5).astype(float)
    model = perceptron(["relu", "sigmoid"], w, b)
    assert model.fit(x, y.ravel(), epochs=20, learning_rate=0.05) is model
    fit = fastbp.fit_network(
        x, y, w, b, 0.05, 20, activations=["relu", "sigmoid"], loss="bce", batch_size=1
    )
    for index, layer in enumerate(model.layers):
        np.testing.assert_array_equal(layer.weights, fit.weights[index])
        np.testing.assert_array_equal(layer.biases, fit.biases[index])
    np.testing.assert_array_equal(model.losses_, fit.losses)
    assert model.stopped_ == "epochs"
    np.testing.assert_array_equal(model.predict(x), fit.predict(x))
    np.testing.assert_array_equal(model.forward(x), fit.predict(x))
    np.testing.assert_array_equal(model.forward(x[3]), fit.predict(x[3:4])[0])


def test_the_loss_falls_every_epoch_with_the_defaults():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-1.5, 0.5, (30, 2)), rng.normal(1.5, 0.5, (30, 2))])
    labels = np.repeat([0, 1], 30)
    order = rng.permutation(60)
    model = Perceptron([Layer(2, 6, "relu", random_state=0), Layer(6, 1, random_state=1)])
    model.fit(x[order], labels[order], epochs=100, learning_rate=0.01)
    assert (np.diff(model.losses_) < 0.0).all()
    assert ((model.predict(x).ravel() > 0.5) == labels).all()


def test_verbose_shows_each_epoch(capsys):
    x, y, w, b, _ = network_problem((3, 4, 1), 20)
    seen = []
    model = perceptron(["relu", "sigmoid"], w, b)
    model.fit(x, y, 12, 0.1, verbose=True, callback=lambda state: seen.append(state.epoch))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"epoch {i}: average loss {v:.3f}" for i, v in enumerate(model.losses_, 1)]
    assert seen == [*range(12)]
    assert perceptron(["relu", "sigmoid"], w, b).fit(x, y, 3).losses_.size == 3
    assert capsys.readouterr().out == ""


def test_steps_are_in_place_and_too_large_ones_change_nothing():
    layer = Layer(2, 2, "identity", random_state=0)
    neuron = fastbp.Neuron(2, [0.1, 0.2], 0.3, "identity")
    arrays = layer.weights, layer.biases, neuron.weights
    before = [array.copy() for array in arrays]
    layer.forward([1e10, 1.0])
    with pytest.raises(
        ValueError, match=r"weights after the step: expected finite numbers, got -?inf"
    ):
        layer.backward([1e300, 1e300], 1.0)
    neuron.forward([1e10, 1.0])
    with pytest.raises(ValueError, match="weights and bias after the step: expected finite"):
        neuron.backward(1e300, learning_rate=1e300)
    assert neuron.bias == 0.3
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)
    layer.forward([1.0, 1.0]), neuron.forward([1.0, 1.0])
    layer.backward([1.0, 1.0]), neuron.backward(1.0)
    for array, old in zip(arrays, before, strict=True):
        assert (array != old).all()
    assert layer.weights is arrays[0] and layer.biases is arrays[1] and neuron.weights is arrays[2]


def test_a_neuron_goes_on_from_its_state():
    x, y, w, *_ = network_problem((3, 1), 20)
    once, twice = fastbp.Neuron(3, w[0][:, 0], 0.0), fastbp.Neuron(3, w[0][:, 0], 0.0)
    once.fit(x, y > 0.5, 0.1, 8, optimizer="adam")
    twice.fit(x, y > 0.5, 0.1, 4, optimizer="adam")
    twice.fit(x, y > 0.5, 0.1, 4, optimizer="adam", state=twice.state_)
    assert repr(once) == repr(twice)


def test_a_saturated_sigmoid_learns_through_dz():
    layer = Layer(1, 1, "sigmoid", [[1000.0]], [0.0])
    output = layer.forward([1.0])
    assert output[0] == 1.0
    layer.backward(dz=output - 0.0, learning_rate=1.0)
    assert (layer.weights[0, 0], layer.biases[0]) == (999.0, -1.0)


@pytest.mark.parametrize(
    "name",
    [
        "two sigmoid layers, one output, online",
        "two sigmoid layers, three outputs, online",
        "exercise: two rows, targets 1.0 and 0.7",
        "exercise: two rows, one-hot targets",
        "ReLU hidden, sigmoid output, log loss, online",
    ],
)
def test_published_examples(name):
    case = next(c for c in json.loads((CASES / "networks.json").read_text()) if c["name"] == name)
    start = ([np.array(p) for p in case[k]] for k in ("initial_weights", "initial_biases"))
    model = perceptron(case["activations"], *start)
    model.fit(
        case["features"],
        case["labels"],
        case["epochs"],
        case["learning_rate"],
        loss=case["loss"],
    )
    for layer, w, b in zip(
        model.layers, case["expected"]["weights"], case["expected"]["biases"], strict=True
    ):
        np.testing.assert_allclose(layer.weights, w, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(layer.biases, b, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(model.losses_, case["expected"]["losses"], rtol=1e-12)


def test_derivatives_keep_their_digits():
    from mpmath import mp

    with mp.workdps(60):
        for z in (0.3, -5.0, 17.0, 20.0, -40.0, 300.0):
            exact = float(1 / mp.cosh(z) ** 2)
            layer = Layer(1, 1, "tanh", [[1.0]], [0.0])
            layer.forward([z])
            layer.backward([1.0], 0.0)
            assert layer.dz[0] == pytest.approx(exact, rel=1e-15)
            _, dws, _ = fastbp.loss_and_gradient(
                [[1.0]], [0.0], [[[z]], [[1.0]]], [[0.0], [-np.tanh(z) + 1.0]],
                activations=["tanh", "identity"], loss="half_mse",
            )  # fmt: skip
            assert dws[0][0, 0] == pytest.approx(exact, rel=2e-15)


def test_no_draw_where_weights_are_given():
    random = np.random.default_rng(0)
    Layer(2, 2, weights=np.eye(2), random_state=random)
    assert random.random() == np.random.default_rng(0).random()


def test_start_values_and_repr():
    layer = Layer(3, 2, "relu", scheme="he_normal", random_state=4)
    (weights,), (biases,) = fastbp.initialize_network(
        [3, 2], activations=["relu"], scheme="he_normal", random_state=4
    )
    np.testing.assert_array_equal(layer.weights, weights)
    np.testing.assert_array_equal(layer.biases, biases)
    assert repr(Perceptron([layer])) == "Perceptron([Layer(3, 2, activation='relu')])"
    given = np.ones((3, 2))
    copied = Layer(3, 2, weights=given)
    copied.weights = [[1, 1], [1, 1], [1, 1]]
    copied.biases = [0, 0]
    copied.forward(np.ones(3))
    copied.backward(np.ones(2), 0.1)
    assert (given == 1.0).all()


L32, L23 = Layer(3, 2, random_state=0), Layer(2, 3, random_state=0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Layer(0, 2), ValueError, "n_inputs: expected at least 1, got 0"),
        (lambda: Layer(3, 2.5), TypeError, "n_neurons: expected an integer"),
        (lambda: Layer(3, 2, "step"), ValueError, "activation: expected one of"),
        (
            lambda: Layer(3, 2, weights=np.ones((2, 3))),
            ValueError,
            r"weights: expected \(3, 2\), got \(2, 3\)",
        ),
        (
            lambda: Layer(3, 2, weights=np.ones((3, 4))),
            ValueError,
            r"weights: expected \(3, 2\), got \(3, 4\)",
        ),
        (lambda: Layer(3, 2, biases=[1.0]), ValueError, r"biases: expected \(2,\), .* got \(1,\)"),
        (
            lambda: Layer(1, 1, weights=[[np.nan]]),
            ValueError,
            r"weights: expected finite numbers, got nan at \(0, 0\)",
        ),
        (lambda: Layer(3, 2, scheme="best"), ValueError, "scheme: expected one of"),
        (lambda: Layer(3, 2).forward([1.0]), ValueError, "inputs: expected 3 numbers per row, got 1"),
        (lambda: Layer(3, 2).forward("abc"), TypeError, "inputs: expected real numbers"),
        (lambda: Layer(3, 2).backward([1, 2], 0.1), RuntimeError, "expected forward to be called first"),
        (lambda: L32.forward([1, 2, 3]) is L32.backward([1.0], 0.1), ValueError, r"d_activation: expected shape \(2,\)"),
        (lambda: L32.backward(dz=[1.0, np.inf]), ValueError, "dz: expected finite numbers, got inf at 1"),
        (lambda: L32.backward(), TypeError, "expected either d_activation or dz"),
        (lambda: L32.backward([1, 2], dz=[1, 2]), TypeError, "expected either d_activation or dz"),
        (lambda: Perceptron([]), ValueError, "layers: expected at least one"),
        (lambda: Perceptron(L32), TypeError, "layers: expected a sequence"),
        (lambda: Perceptron([L32, 5]), TypeError, r"layers\[1\]: expected a Layer, got int 5"),
        (lambda: Perceptron([L32, Layer(3, 2)]), ValueError, r"layers\[1\]: expected 2 inputs, .* got 3"),
        (lambda: Perceptron([L23, Layer(3, 2), L23]), ValueError, r"layers\[2\]: expected distinct layers, got the same one twice"),
        (lambda: Perceptron([L32]).fit([[1.0]], [[0, 1]]), ValueError, r"training_data: expected 3 columns \(inputs\), got 1"),
        (lambda: Perceptron([L32]).fit([[1, 2, np.nan]], [[0, 1]]), fastbp.DataError, "training_data: expected finite numbers, got nan in row 0, column 2"),
        (lambda: L32.forward([[1, 2, 3], [1]]), fastbp.DataError, "inputs: expected 3 values in every row, got 1 in row 1"),
        (
            lambda: Perceptron([Layer(3, 2, "softmax"), L23]),
            ValueError,
            r"layers\[0\]: expected 'softmax' on the last layer only",
        ),
        (
            lambda: Perceptron([Layer(3, 2, "relu")]).fit(np.ones((2, 3)), np.ones((2, 2))),
            ValueError,
            "loss: expected output activation 'sigmoid' with 'bce'",
        ),
        (lambda: Perceptron([L32]).fit([[1, 2, 3]], [[0, 1]], callback=5), TypeError, "callback"),
        (lambda: Perceptron([L32]).fit([[1, 2, 3]], [[0, 1]], activations=[]), TypeError, "activations: expected none, since the layers have theirs"),
        (lambda: L32.forward([1, np.nan, 2]), fastbp.DataError, "inputs: expected finite numbers, got nan in row 0, column 1"),
        (lambda: setattr(L32, "weights", np.ones((2, 3))), ValueError, r"weights: expected \(3, 2\), got \(2, 3\)"),
        (lambda: setattr(L32, "biases", [np.nan, 1]), ValueError, "biases: expected finite numbers, got nan at 0"),
    ],
)  # fmt: skip
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
