"""Every wrong input is refused with the argument's name, what came and what was expected."""

import pickle
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import fastbp

X, Y, W = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [0, 1, 1], [0.1, 0.2]
DEFAULTS = {
    "features": X,
    "labels": Y,
    "initial_weights": W,
    "initial_bias": 0.0,
    "learning_rate": 0.1,
    "epochs": 2,
}

SHARED = [  # wrong for train_neuron and fit_neuron alike: argument, value, error, message
    (
        "features",
        [[1.0, 2.0], [np.nan, 4.0], [5.0, 6.0]],
        fastbp.DataError,
        "features: expected finite numbers, got nan in row 1, column 0",
    ),
    (
        "features",
        [[1.0, 2.0], [3.0, 4.0], [5.0, -np.inf]],
        fastbp.DataError,
        "features: expected finite numbers, got -inf in row 2, column 1",
    ),
    (
        "features",
        [[1.0, 2.0], [3.0], [5.0, 6.0]],
        fastbp.DataError,
        "features: expected 2 values in every row, got 1 in row 1",
    ),
    (
        "features",
        [[1.0, 2.0], 3.0, [5.0, 6.0]],
        fastbp.DataError,
        "features: expected 2 values in every row, got a single value in row 1",
    ),
    (
        "features",
        [[[1.0], [2.0]], [[3.0]], [[1.0]]],
        fastbp.DataError,
        "features: expected 2 values in every row, got 1 in row 1",
    ),
    (
        "features",
        [[[1.0], [2.0, 3.0]], [[3.0], [4.0]]],
        fastbp.DataError,
        "features: expected a rectangular array",
    ),
    (
        "features",
        [1.0, 2.0, 3.0],
        ValueError,
        r"features: expected 2 dimensions \(n_samples, n_features\), got 1 \(shape \(3,\)\)",
    ),
    (
        "features",
        [[[1.0]], [[2.0]], [[3.0]]],
        ValueError,
        "features: expected 2 dimensions .* got 3",
    ),
    ("features", 5.0, ValueError, "features: expected 2 dimensions .* got 0"),
    ("features", [], ValueError, "features: expected 2 dimensions"),
    (
        "features",
        np.empty((0, 2)),
        fastbp.DataError,
        r"features: expected at least one row and one column, got shape \(0, 2\)",
    ),
    (
        "features",
        [[], [], []],
        fastbp.DataError,
        "features: expected at least one row and one column",
    ),
    (
        "features",
        [["1", "2"], ["3", "4"], ["5", "6"]],
        TypeError,
        "features: expected real numbers, got text",
    ),
    (
        "features",
        [["a", 2.0], [3.0, 4.0], [5.0, 6.0]],
        TypeError,
        "features: expected real numbers, got text",
    ),
    (
        "features",
        [[1j, 2.0], [3.0, 4.0], [5.0, 6.0]],
        TypeError,
        "features: expected real numbers, got complex numbers",
    ),
    (
        "features",
        [[1.0, 2.0], [3.0, None], [5.0, 6.0]],
        TypeError,
        "features: expected real numbers, got None in row 1",
    ),
    (
        "features",
        np.array([[1.0, 2.0], [3.0, "x"], [5.0, 6.0]], dtype=object),
        TypeError,
        "features: expected real numbers, got str 'x' in row 1",
    ),
    (
        "features",
        np.zeros((3, 2), dtype="datetime64[s]"),
        TypeError,
        "features: expected real numbers, got dates",
    ),
    (
        "features",
        np.zeros((3, 2), dtype="V8"),
        TypeError,
        "features: expected real numbers, got dtype",
    ),
    (
        "features",
        [[10**400, 2], [3, 4], [5, 6]],
        fastbp.DataError,
        "features: expected numbers that float64 can hold",
    ),
    (
        "features",
        np.ma.masked_less([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], 2),
        fastbp.DataError,
        "features: expected numbers, got masked",
    ),
    ("features", "text", TypeError, "features: expected real numbers, got text"),
    ("features", None, TypeError, "features: expected an array of real numbers, got NoneType"),
    ("features", object(), TypeError, "features: expected an array of real numbers, got object"),
    ("labels", [0, 1], ValueError, r"labels: expected 3 values \(one per row of features\), got 2"),
    (
        "labels",
        [0, np.nan, 1],
        fastbp.DataError,
        "labels: expected finite numbers, got nan in row 1",
    ),
    (
        "labels",
        [[0, 1], [1, 0], [0, 1]],
        ValueError,
        r"labels: expected 1 dimension, got 2 \(shape \(3, 2\)\)",
    ),
    ("labels", ["a", "b", "c"], TypeError, "labels: expected real numbers, got text"),
    ("labels", [0, None, 1], TypeError, "labels: expected real numbers, got None in row 1"),
    ("labels", [0, 1j, 1], TypeError, "labels: expected real numbers, got complex"),
    (
        "labels",
        [0, [1], 1],
        fastbp.DataError,
        "labels: expected a single value in every row, got 1 in row 1",
    ),
    (
        "initial_weights",
        [0.1],
        ValueError,
        r"initial_weights: expected 2 values \(one per feature\), got 1",
    ),
    (
        "initial_weights",
        [0.1, np.inf],
        ValueError,
        "initial_weights: expected finite numbers, got inf at 1",
    ),
    ("initial_weights", ["a", "b"], TypeError, "initial_weights: expected real numbers, got text"),
    ("initial_weights", 0.5, ValueError, "initial_weights: expected 1 dimension, got 0"),
    ("initial_bias", np.nan, ValueError, "initial_bias: expected a finite number, got nan"),
    ("initial_bias", "0", TypeError, "initial_bias: expected a real number, got str '0'"),
    ("initial_bias", None, TypeError, "initial_bias: expected a real number, got NoneType None"),
    ("initial_bias", [0.1, 0.2], TypeError, "initial_bias: expected a real number, got list"),
    ("initial_bias", 1j, TypeError, "initial_bias: expected a real number, got complex"),
    ("learning_rate", np.inf, ValueError, "learning_rate: expected a finite number, got inf"),
    ("learning_rate", "0.1", TypeError, "learning_rate: expected a real number, got str '0.1'"),
    (
        "learning_rate",
        np.zeros(2),
        TypeError,
        r"learning_rate: expected a real number, got an array of shape \(2,\)",
    ),
    ("initial_bias", 10**400, ValueError, "initial_bias: expected a finite number, got inf"),
    (
        "initial_bias",
        np.array("0"),
        TypeError,
        "initial_bias: expected a real number, got an array",
    ),
    ("epochs", 10**20, ValueError, "epochs: expected at most"),
    ("epochs", -1, ValueError, "epochs: expected at least 0, got -1"),
    ("epochs", 2.5, TypeError, "epochs: expected an integer, got float 2.5"),
    ("epochs", 2.0, TypeError, "epochs: expected an integer, got float 2.0"),
    ("epochs", "2", TypeError, "epochs: expected an integer, got str '2'"),
    ("epochs", None, TypeError, "epochs: expected an integer, got NoneType None"),
]

FIT_ONLY = [
    ("initial_bias", np.ma.masked, {}, TypeError, "initial_bias: expected a real number"),
    ("labels", [0, 1, 1.5], {"loss": "bce"}, fastbp.DataError, "labels: expected values from 0 to 1 for 'bce', got 1.5 in row 2"),
    ("labels", [0, -1, 1], {"loss": "bce"}, fastbp.DataError, "got -1.0 in row 1"),
    ("activation", "softmax", {}, ValueError, "activation: expected one of 'identity', 'sigmoid', 'relu', 'tanh', 'softplus', 'leaky_relu', 'elu', 'silu', 'gelu', got 'softmax'"),
    ("activation", 3, {}, TypeError, "activation: expected a name, got int 3"),
    ("loss", "hinge", {}, ValueError, "loss: expected one of 'mse', 'half_mse', 'huber', 'mae', 'bce', got 'hinge'"),
    ("loss", "bce", {"activation": "tanh"}, ValueError, "loss: expected output activation 'sigmoid' with 'bce', got 'tanh'"),
    ("optimizer", "adagrad", {}, ValueError, "optimizer: expected one of 'sgd', 'adam', 'adamw', 'rmsprop', 'lbfgs', got 'adagrad'"),
    ("batch_size", 0, {}, ValueError, "batch_size: expected at least 1, got 0"),
    ("batch_size", 1.5, {}, TypeError, "batch_size: expected an integer"),
    ("shuffle", "windows", {}, TypeError, "shuffle: expected True, False or .window., got .windows."),
    ("random_state", "seed", {}, TypeError, "random_state: expected an integer"),
    ("random_state", -1, {}, ValueError, "random_state: expected at least 0"),
    ("sample_weight", [1, 1], {}, ValueError, "sample_weight: expected 3 values"),
    ("sample_weight", [1, -1, 1], {}, fastbp.DataError, "sample_weight: expected non-negative weights, got -1.0 in row 1"),
    ("sample_weight", [1, np.nan, 1], {}, fastbp.DataError, "sample_weight: expected finite numbers"),
    ("sample_weight", [0, 0, 0], {}, ValueError, "sample_weight: expected rows with a weight above 0, got zeros only"),
    ("sample_weight", [1e308] * 3, {}, fastbp.DataError, "sample_weight: expected 0, or a weight from 2.2e-308 to 9.7e.288, got 1e.308 in row 0"),
    ("sample_weight", [1e-320] * 3, {}, fastbp.DataError, "sample_weight: expected 0, or a weight from .* in row 0"),
    ("alpha", -0.1, {}, ValueError, "alpha: expected at least 0, got -0.1"),
    ("alpha", np.nan, {}, ValueError, "alpha: expected a finite number"),
    ("tol", -1, {}, ValueError, "tol: expected at least 0"),
    ("tol", "small", {}, TypeError, "tol: expected a real number"),
    ("n_iter_no_change", 0, {}, ValueError, "n_iter_no_change: expected at least 1"),
    ("n_threads", 0, {}, ValueError, "n_threads: expected at least 1"),
    ("n_threads", "all", {}, TypeError, "n_threads: expected an integer"),
    ("callback", 5, {}, TypeError, "callback: expected a callable or None, got int 5"),
    ("n_iter_no_change", 10**30, {}, ValueError, "n_iter_no_change: expected at most"),
    ("progress", np.array([1, 2]), {}, TypeError, "progress: expected True, False or 'always'"),
    ("progress", None, {}, TypeError, "progress: expected True, False or 'always', got None"),
    ("progress", "yes", {}, ValueError, "progress: expected True, False or 'always', got 'yes'"),
    ("learning_rate", lambda _: np.nan, {}, ValueError, r"learning_rate\(0\): expected a finite number, got nan"),
    ("learning_rate", lambda _: "fast", {}, TypeError, r"learning_rate\(0\): expected a real number, got str 'fast'"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "error", "message"), SHARED)
@pytest.mark.parametrize("function", [fastbp.train_neuron, fastbp.fit_neuron])
@pytest.mark.parametrize("epochs", [2, 0])
def test_refused(function, name, value, error, message, epochs):
    arguments = {**DEFAULTS, "epochs": epochs, name: value}
    with pytest.raises(error, match=message):
        function(**arguments)


@pytest.mark.parametrize(("name", "value", "others", "error", "message"), FIT_ONLY)
def test_refused_by_fit_neuron(name, value, others, error, message):
    with pytest.raises(error, match=message):
        fastbp.fit_neuron(**{**DEFAULTS, **others, name: value})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[1.0, np.nan]], W, 0.0), fastbp.DataError, "features: .* nan in row 0, column 1"),
        ((X, [1.0], 0.0), ValueError, r"features: expected 1 columns \(one per weight\), got 2"),
        ((X, W, "b"), TypeError, "bias: expected a real number"),
        (([1.0, 2.0], W, 0.0), ValueError, "features: expected 2 dimensions"),
        # arrays of the kernel's own kind, which need no conversion
        ((np.array([[1.0, np.nan]]), np.ones(2), 0.0), fastbp.DataError, "nan in row 0, column 1"),
        ((np.array([[1.0, np.inf]]), np.zeros(2), 0.0), fastbp.DataError, "inf in row 0, column 1"),
        ((np.ones((1, 2)), np.array([np.nan, 1.0]), 0.0), ValueError, "weights: .* got nan at 0"),
        ((np.ones((1, 2)), np.ones(2), np.inf), ValueError, "bias: expected a finite number"),
        ((np.ones((1, 3)), np.ones(2), 0.0), ValueError, "features: expected 2 columns"),
        ((np.empty((0, 2)), np.ones(2), 0.0), fastbp.DataError, "features: expected at least one"),
        ((np.empty((1, 0)), np.empty(0), 0.0), fastbp.DataError, "features: expected at least one"),
    ],
)
def test_refused_by_predict_neuron(arguments, error, message):
    with pytest.raises(error, match=message):
        fastbp.predict_neuron(*arguments)
    with pytest.raises(ValueError, match="activation: expected one of"):
        fastbp.predict_neuron(X, W, 0.0, activation="softmax")


SHARED_KEYWORDS = sorted(
    {row[0] for row in FIT_ONLY if not row[2]}
    - {"activation", "initial_bias", "labels", "loss", "sample_weight"}
)
NETWORK = {
    "features": X,
    "labels": [[0.0], [1.0], [1.0]],
    "initial_weights": [np.zeros((2, 10)), np.zeros((10, 1))],
    "initial_biases": [np.zeros(10), np.zeros(1)],
    "learning_rate": 0.1,
    "epochs": 2,
    "activations": ["relu", "sigmoid"],
}
SOFTMAX = {
    "activations": ["relu", "softmax"],
    "loss": "cross_entropy",
    "initial_weights": [np.zeros((2, 10)), np.zeros((10, 3))],
    "initial_biases": [np.zeros(10), np.zeros(3)],
}
NAN_IN_LAYER_1 = [np.zeros((2, 10)), np.where(np.arange(10) == 3, np.inf, 0.0)[:, None]]

NETWORK_ONLY = [  # argument, value, other arguments, error, message
    ("initial_weights", [np.zeros((2, 10)), np.zeros((1, 10))], {}, ValueError, r"initial_weights\[1\]: expected \(10, 1\), got \(1, 10\)"),
    ("initial_weights", [np.zeros((3, 10)), np.zeros((10, 1))], {}, ValueError, r"initial_weights\[0\]: expected \(2, 10\), got \(3, 10\)"),
    ("initial_weights", [np.zeros(2), np.zeros((10, 1))], {}, ValueError, r"initial_weights\[0\]: expected 2 dimensions \(n_inputs, n_outputs\), got 1 \(shape \(2,\)\)"),
    ("initial_weights", np.zeros((2, 10)), {}, TypeError, "initial_weights: expected a sequence of 2-D arrays, one per layer, got an array of shape"),
    ("initial_biases", np.zeros(11), {}, TypeError, "initial_biases: expected a sequence of arrays, one per layer, got an array of shape"),
    ("initial_weights", [np.zeros((2, 0)), np.zeros((0, 1))], {}, ValueError, r"initial_weights\[0\]: expected \(2, 10\), got \(2, 0\)"),
    ("initial_weights", [], {"initial_biases": []}, ValueError, "initial_weights: expected at least one layer, got none"),
    ("initial_weights", 5, {}, TypeError, "initial_weights: expected a sequence of 2-D arrays, one per layer, got int 5"),
    ("initial_weights", [np.zeros((2, 10)), [["a"]] * 10], {}, TypeError, r"initial_weights\[1\]: expected real numbers, got text"),
    ("initial_weights", NAN_IN_LAYER_1, {}, ValueError, r"initial_weights\[1\]: expected finite numbers, got inf at \(3, 0\)"),
    ("initial_biases", [np.zeros(10)], {}, ValueError, r"initial_biases: expected 2 arrays \(one per layer\), got 1"),
    ("initial_biases", [np.zeros(10), np.zeros(2)], {}, ValueError, r"initial_biases\[1\]: expected \(1,\), one per neuron, got \(2,\)"),
    ("initial_biases", [np.zeros(10), [np.nan]], {}, ValueError, r"initial_biases\[1\]: expected finite numbers, got nan at 0"),
    ("initial_biases", [np.zeros(10), [1j]], {}, TypeError, r"initial_biases\[1\]: expected real numbers, got complex"),
    ("activations", ["relu"], {}, ValueError, r"activations: expected 2 names \(one per layer\), got 1"),
    ("activations", "relu", {}, TypeError, "activations: expected a sequence of names, one per layer, got str 'relu'"),
    ("activations", ["relu", "step"], {}, ValueError, r"activations\[1\]: expected one of 'identity', .*'softmax', got 'step'"),
    ("activations", ["relu", None], {}, TypeError, r"activations\[1\]: expected a name, got NoneType None"),
    ("activations", ["softmax", "sigmoid"], {}, ValueError, r"activations\[0\]: expected 'softmax' on the last layer only"),
    ("activations", ["relu", "softmax"], {}, ValueError, "loss: expected 'cross_entropy' with 'softmax', got 'mse'"),
    ("loss", "cross_entropy", {}, ValueError, "loss: expected output activation 'softmax' with 'cross_entropy', got 'sigmoid'"),
    ("loss", "bce", {"activations": ["relu", "tanh"]}, ValueError, "loss: expected output activation 'sigmoid' with 'bce', got 'tanh'"),
    ("loss", "hinge", {}, ValueError, "loss: expected one of .*'cross_entropy', got 'hinge'"),
    ("labels", [0.0, 1.0], {}, ValueError, r"labels: expected shape \(3, 1\), .* got \(2, 1\)"),
    ("labels", np.zeros((3, 2)), {}, ValueError, r"labels: expected shape \(3, 1\), .* got \(3, 2\)"),
    ("labels", [0.0, np.nan, 1.0], {}, fastbp.DataError, "labels: expected finite numbers, got nan in row 1$"),
    ("labels", [0.0, 1.5, 1.0], {"loss": "bce"}, fastbp.DataError, "labels: expected values from 0 to 1 for 'bce', got 1.5 in row 1"),
    ("labels", [0, 1, 3], SOFTMAX, fastbp.DataError, "labels: expected class indices from 0 to 2, got 3.0 in row 2"),
    ("labels", [0, -1, 2], SOFTMAX, fastbp.DataError, "labels: expected class indices from 0 to 2, got -1.0 in row 1"),
    ("labels", [0, 0.5, 2], SOFTMAX, fastbp.DataError, "got 0.5 in row 1"),
    ("labels", [0, np.nan, 2], SOFTMAX, fastbp.DataError, "got nan in row 1"),
    ("labels", [[1, 0, 0], [0.5, 0.4, 0], [0, 0, 1]], SOFTMAX, fastbp.DataError, r"labels: expected rows that are not negative and sum to 1 .* got \[0.5, 0.4, 0.0\] in row 1"),
    ("labels", [[1, 0, 0], [2, -1, 0], [0, 0, 1]], SOFTMAX, fastbp.DataError, "in row 1"),
    ("labels", ["a", "b", "c"], SOFTMAX, TypeError, "labels: expected real numbers, got text; numpy.unique.* gives class indices"),
    ("optimizer", "adagrad", {}, ValueError, "optimizer: expected one of 'sgd', 'adam', 'adamw', 'rmsprop', 'lbfgs', got 'adagrad'"),
    ("optimizer", fastbp.SGD, {}, TypeError, r"optimizer: expected SGD\(\), Adam\(\), AdamW\(\), RMSprop\(\), LBFGS\(\) or a name, got the class SGD"),
    ("features", [[1.0, 2.0], [np.nan, 4.0], [5.0, 6.0]], {}, fastbp.DataError, "features: expected finite numbers, got nan in row 1, column 0"),
    ("features", [[1.0], [2.0], [3.0]], {}, ValueError, r"initial_weights\[0\]: expected \(1, 10\), got \(2, 10\)"),
    ("batch_size", 0, {}, ValueError, "batch_size: expected at least 1, got 0"),
    ("sample_weight", [1, -1, 1], {}, fastbp.DataError, "sample_weight: expected non-negative weights, got -1.0 in row 1"),
    ("sample_weight", [0, 0, 0], {"batch_size": 1}, ValueError, "sample_weight: expected rows with a weight above 0"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "others", "error", "message"), NETWORK_ONLY)
@pytest.mark.parametrize("epochs", [2, 0])
def test_refused_by_fit_network(name, value, others, error, message, epochs):
    with pytest.raises(error, match=message):
        fastbp.fit_network(**{**NETWORK, "epochs": epochs, **others, name: value})


@pytest.mark.parametrize("name", SHARED_KEYWORDS)
def test_the_shared_keywords_are_checked_for_networks_too(name):
    cases = [row for row in FIT_ONLY if row[0] == name and not row[2]]
    for _, value, _, error, message in cases:
        with pytest.raises(error, match=message):
            fastbp.fit_network(**{**NETWORK, name: value})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"features": [[1.0, np.nan]]}, fastbp.DataError, "features: .* nan in row 0, column 1"),
        ({"features": [[1.0, 2.0]] * 9 + [[np.inf, 0.0]]}, fastbp.DataError, "in row 9, column 0"),
        ({"features": [[1.0]]}, ValueError, r"features: expected 2 columns \(inputs\), got 1"),
        ({"features": np.array([[np.nan, 0.0]])}, fastbp.DataError, "nan in row 0, column 0"),
        ({"features": np.empty((0, 2))}, fastbp.DataError, "features: expected at least one row"),
        ({"features": np.ones((1, 3))}, ValueError, r"features: expected 2 columns \(inputs\), got 3"),
        ({"weights": NAN_IN_LAYER_1}, ValueError, r"weights\[1\]: .* got inf at \(3, 0\)"),
        ({"biases": [np.zeros(10), [np.nan]]}, ValueError, r"biases\[1\]: .* got nan at 0"),
        ({"weights": [np.zeros((2, 10)), np.zeros((9, 1))]}, ValueError, r"weights\[1\]: expected \(10, 1\)"),
        ({"weights": [np.zeros(2), np.zeros((10, 1))]}, ValueError, r"weights\[0\]: expected 2 dimensions"),
        ({"activations": ["softmax", "relu"]}, ValueError, "on the last layer only"),
    ],
)  # fmt: skip
def test_refused_by_predict_network(changes, error, message):
    arguments = {
        "features": X,
        "weights": NETWORK["initial_weights"],
        "biases": NETWORK["initial_biases"],
        "activations": NETWORK["activations"],
        **changes,
    }
    with pytest.raises(error, match=message):
        fastbp.predict_network(**arguments)
    if changes.keys() & {"biases", "activations"}:
        with pytest.raises(error, match=message):
            fastbp.loss_and_gradient(labels=[0, 1, 1], **arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([2], ["relu"]), ValueError, "layer_sizes: expected at least 2 sizes, got 1"),
        ((3, ["relu"]), TypeError, "layer_sizes: expected a sequence of integers, got int 3"),
        (([2, 0], ["relu"]), ValueError, r"layer_sizes\[1\]: expected at least 1, got 0"),
        (([2, 1.5], ["relu"]), TypeError, r"layer_sizes\[1\]: expected an integer"),
        (([2, 1], ["relu", "tanh"]), ValueError, "activations: expected 1 names"),
        (([2, 1], ["relu"], "xavier"), ValueError, "scheme: expected one of 'glorot_uniform'"),
        (([2, 1], ["relu"], "normal", -1), ValueError, "random_state: expected at least 0"),
    ],
)
def test_refused_by_initialize_network(arguments, error, message):
    names = ["layer_sizes", "activations", "scheme", "random_state"]
    with pytest.raises(error, match=message):
        fastbp.initialize_network(**dict(zip(names, arguments, strict=False)))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fastbp.SGD(momentum=1.1), ValueError, "momentum: expected a number from 0 to"),
        (lambda: fastbp.SGD(momentum=-0.1), ValueError, "momentum: expected a number from 0 to"),
        (lambda: fastbp.SGD(momentum="high"), TypeError, "momentum: expected a real number"),
        (lambda: fastbp.SGD(nesterov=1), TypeError, "nesterov: expected True or False, got int 1"),
        (lambda: fastbp.Adam(beta_1=1.0), ValueError, "beta_1: expected a number from 0 to"),
        (lambda: fastbp.Adam(beta_2=np.nan), ValueError, "beta_2: expected a finite number"),
        (lambda: fastbp.Adam(epsilon=0.0), ValueError, "epsilon: expected a number above 0"),
    ],
)
def test_refused_by_optimizers(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_biases_in_the_shapes_of_published_examples():
    flat = fastbp.fit_network(**NETWORK)
    shaped = fastbp.fit_network(**{**NETWORK, "initial_biases": [np.zeros((1, 10)), 0.0]})
    for a, b in zip(flat.biases, shaped.biases, strict=True):
        np.testing.assert_array_equal(a, b)


def test_numbers_of_any_kind():
    for number in (Fraction(1, 2), Decimal("0.5"), np.float32(0.5), np.array([0.5]), np.array(0.5)):
        fit = fastbp.fit_neuron(X, Y, W, number, number, 1)
        assert fit.bias == fastbp.fit_neuron(X, Y, W, 0.5, 0.5, 1).bias
    assert fastbp.fit_neuron(X, Y, W, 10**20, 0.0, 0).bias == 1e20


@pytest.mark.parametrize("error", [ValueError, OSError, KeyError, RuntimeError, TypeError])
@pytest.mark.parametrize(
    "protocol", ["__array__", "__arrow_c_stream__", "__arrow_c_array__", "__dataframe__"]
)
def test_an_array_that_cannot_be_made(protocol, error):
    def fail(self, *arguments, **keywords):
        raise error("broken")

    broken = type("Broken", (), {protocol: fail})()
    for name in ("features", "labels", "initial_weights"):
        with pytest.raises((fastbp.DataError, TypeError), match=rf"{name}: expected .* .*broken"):
            fastbp.fit_neuron(**{**DEFAULTS, name: broken})


def test_a_number_that_no_float_can_be():
    wrong = Decimal("sNaN")
    for name in ("initial_bias", "learning_rate"):
        with pytest.raises(ValueError, match=f"{name}: expected a finite number, got nan"):
            fastbp.fit_neuron(**{**DEFAULTS, name: wrong})
    with pytest.raises(ValueError, match=r"learning_rate\(0\): expected a finite number"):
        fastbp.fit_neuron(**{**DEFAULTS, "learning_rate": lambda epoch: wrong})
    with pytest.raises(fastbp.DataError, match=r"features: .* got Decimal .*sNaN.* in row 1"):
        fastbp.fit_neuron(**{**DEFAULTS, "features": [[1, 2], [3, wrong], [5, 6]]})
    with pytest.raises(fastbp.DataError, match=r"labels: .* got Decimal .*sNaN.* in row 2"):
        fastbp.fit_neuron(**{**DEFAULTS, "labels": [0, 1, wrong]})


def neuron_classifier(**arguments):
    return fastbp.NeuronClassifier(**arguments).fit(X, Y)


def mlp_classifier(**arguments):
    return fastbp.MLPClassifier(**arguments).fit(X, Y)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda **k: fastbp.fit_neuron(**{**DEFAULTS, **k}), "epochs batch_size n_iter_no_change"),
        (lambda **k: fastbp.fit_neuron(**{**DEFAULTS, **k}, shuffle=True), "random_state"),
        (lambda **k: fastbp.fit_neuron(**{**DEFAULTS, **k}), "n_threads"),
        (lambda **k: fastbp.train_neuron(**{**DEFAULTS, **k}), "epochs"),
        (fastbp.set_num_threads, "n_threads"),
        (lambda n_inputs: fastbp.Layer(n_inputs, 1), "n_inputs"),
        (lambda n_neurons: fastbp.Layer(1, n_neurons), "n_neurons"),
        (fastbp.Neuron, "n_inputs"),
        (lambda **k: fastbp.datasets.make_neuron_dataset(**{"n_samples": 2, "n_features": 2, **k}),
         "n_samples n_features seed"),
        (neuron_classifier, "random_state n_threads max_iter"),
        (mlp_classifier,
         "max_iter batch_size n_iter_no_change max_fun n_threads random_state"),
    ],
)  # fmt: skip
def test_true_is_no_count(call, name):
    for each in name.split():
        with pytest.raises((TypeError, ValueError), match=rf"{each}.*(integer|int in).*True"):
            call(**{each: True})


@pytest.mark.parametrize("value", [True, np.True_, np.array([False])])
@pytest.mark.parametrize(
    "name", ["initial_bias", "learning_rate", "alpha", "tol", "checkpoint_every"]
)
def test_true_is_no_real_number(name, value):
    with pytest.raises(TypeError, match=f"{name}: expected a real number, got"):
        fastbp.fit_neuron(**{**DEFAULTS, name: value})


@pytest.mark.parametrize("value", ["no", 1, None, [True]])
def test_flags_are_true_or_false(value):
    perceptron = fastbp.Perceptron([fastbp.Layer(2, 1)])
    for name, call in {
        "virtual": lambda: fastbp.datasets.make_neuron_dataset(2, 2, virtual=value),
        "verbose": lambda: perceptron.fit(X, Y, epochs=1, verbose=value),
        "nesterov": lambda: fastbp.SGD(nesterov=value),
        "shuffle": lambda: fastbp.fit_neuron(**DEFAULTS, shuffle=value),
    }.items():
        with pytest.raises(TypeError, match=f"{name}: expected True.* False"):
            call()
    assert len(perceptron.fit(X, Y, epochs=1, verbose=np.bool_(False)).losses_) == 1


def test_errors_survive_pickling():
    with pytest.raises(fastbp.DivergenceError) as caught:
        fastbp.fit_neuron([[1e200]], [1], [0.0], 0.0, 1.0, 5, activation="identity")
    error = pickle.loads(pickle.dumps(caught.value))
    assert str(error) == str(caught.value)
    assert (error.epoch, error.bias) == (caught.value.epoch, caught.value.bias)
    assert error.weights.tolist() == caught.value.weights.tolist()
    assert pickle.loads(pickle.dumps(fastbp.DataError("text", 3))).row == 3


def test_what_a_data_error_is():
    assert issubclass(fastbp.DataError, ValueError)
    assert issubclass(fastbp.DataError, fastbp.FastbpError)
    with pytest.raises(fastbp.DataError) as caught:
        fastbp.fit_neuron([[1.0], [2.0], [np.nan]], [0, 1, 0], [0.0], 0.0, 0.1, 1)
    assert caught.value.row == 2


def test_a_bad_row_far_inside_is_named_in_every_mode():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50_000, 3))
    x[40_321, 2] = np.inf
    x[49_000, 0] = np.nan
    y, w = np.zeros(50_000), np.zeros(3)
    for array in (x, np.asfortranarray(x), x.astype(np.float32), np.repeat(x, 60, axis=0)[::60]):
        for keywords in (
            {},
            {"batch_size": 64},
            {"n_threads": 3},
            {"shuffle": True, "random_state": 0, "batch_size": 100},
        ):
            with pytest.raises(fastbp.DataError, match="row 40321, column 2"):
                fastbp.fit_neuron(array, y, w, 0.0, 0.1, 2, **keywords)
        with pytest.raises(fastbp.DataError, match="row 40321, column 2"):
            fastbp.predict_neuron(array, w, 0.0)
        with pytest.raises(fastbp.DataError, match="row 40321, column 2"):
            fastbp.fit_neuron(array, y, w, 0.0, 0.1, 0)


class TestDivergence:
    def fit(self, **keywords):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(200, 3))
        return fastbp.fit_neuron(
            x, x @ [1.0, 2.0, 3.0], np.zeros(3), 0.0, activation="identity", **keywords
        )

    @pytest.mark.parametrize(
        "keywords",
        [{}, {"batch_size": 10}, {"n_threads": 2}, {"callback": lambda _: None}],
        ids=lambda keywords: ", ".join(keywords) or "plain",
    )
    def test_carries_what_was_before(self, keywords):
        with pytest.raises(fastbp.DivergenceError, match="Lower learning_rate") as caught:
            self.fit(learning_rate=5.0, epochs=10_000, **keywords)
        error = caught.value
        assert isinstance(error, ArithmeticError)
        assert f"in epoch {error.epoch}" in str(error)
        before = self.fit(learning_rate=5.0, epochs=error.epoch, **keywords)
        np.testing.assert_array_equal(error.weights, before.weights)
        assert error.bias == before.bias
        np.testing.assert_array_equal(error.losses, before.losses)
        assert np.isfinite(error.losses).all()

    @pytest.mark.parametrize(
        "keywords",
        [{}, {"batch_size": 10}, {"batch_size": 1}, {"n_threads": 2}, {"optimizer": "adam"}],
        ids=str,
    )
    def test_of_a_network_carries_what_was_before(self, keywords):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(900, 3)) * 1e3
        start = fastbp.initialize_network(
            [3, 5, 1], activations=["relu", "identity"], random_state=2
        )

        def fit(epochs):
            rate = 1e300 if keywords.get("optimizer") else 1.0
            return fastbp.fit_network(
                x, x @ [1.0, 2.0, 3.0], *start, lambda epoch: rate if epoch > 1 else 1e-12, epochs,
                activations=["relu", "identity"], **keywords,
            )  # fmt: skip

        with pytest.raises(fastbp.DivergenceError, match="Lower learning_rate") as caught:
            fit(1000)
        error, before = caught.value, fit(caught.value.epoch)
        assert error.epoch >= 2
        for name in ("weights", "biases"):
            for a, b in zip(getattr(error, name), getattr(before, name), strict=True):
                np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(error.losses, before.losses)
        again = pickle.loads(pickle.dumps(error))
        np.testing.assert_array_equal(again.biases[0], error.biases[0])

    def test_large_but_finite_is_no_divergence(self):
        fit = fastbp.fit_neuron([[1e200], [-1e200]], [1, 0], [1e200], 0.0, 0.1, 3)
        assert fit.losses.tolist() == [0.0, 0.0, 0.0]
        fit = fastbp.fit_neuron([[1e200], [-1e200]], [1, 0], [1e200], 0.0, 0.1, 3, batch_size=1)
        assert fit.n_epochs == 3

    def test_train_neuron_diverges_too(self):
        for convert in (list, np.array):
            with pytest.raises(fastbp.DivergenceError):
                fastbp.train_neuron(convert([[1e308]]), [0], [1e-308], 0.0, 1e10, 5)
            with pytest.raises(fastbp.DivergenceError):
                fastbp.train_neuron(convert([[1.0]]), [1e200], [0.5], 0.0, 0.1, 2)
