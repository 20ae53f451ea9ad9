"""The drop-in: the plain function's numbers, types and manners."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastbp
from tests import reference
from tests.tolerances import ONE_UNIT_IN_FOURTH_DECIMAL

CASES = json.loads((Path(__file__).parents[1] / "cases" / "train_neuron.json").read_text())
THREE_ROWS = {
    "features": [[1.0, 2.0], [2.0, 1.0], [-1.0, -2.0]],
    "labels": [1, 0, 0],
    "initial_weights": [0.1, -0.2],
    "initial_bias": 0.0,
    "learning_rate": 0.1,
}


def assert_same_numbers(ours, plain, unrounded):
    """Equal, or one unit of the fourth decimal apart where the unrounded value is a near-tie."""
    for a, b, exact in zip(flat(ours), flat(plain), unrounded, strict=True):
        distance_to_tie = abs((exact * 1e4) % 1.0 - 0.5) * 1e-4
        assert a == b or (distance_to_tie < 1e-12 and abs(a - b) < ONE_UNIT_IN_FOURTH_DECIMAL)


def flat(result):
    weights, bias, losses = result
    return [*weights, bias, *losses]


def compare(**arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = fastbp.train_neuron(**arguments)
    x, y, w = (
        np.asarray(arguments[k], dtype=float) for k in ("features", "labels", "initial_weights")
    )
    b, rate, epochs = (arguments[k] for k in ("initial_bias", "learning_rate", "epochs"))
    exact = reference.fit_neuron(x, y, w, b, rate, epochs)
    assert_same_numbers(ours, reference.train_neuron(**arguments), flat(exact))
    return ours


@pytest.mark.parametrize(
    "case", CASES, ids=lambda c: f"{len(c['features'])}x{len(c['initial_weights'])}"
)
@pytest.mark.parametrize("convert", [list, tuple, np.array], ids=["lists", "tuples", "arrays"])
def test_published_cases(case, convert):
    arguments = {k: v for k, v in case.items() if k != "expected"}
    for name in ("features", "labels", "initial_weights"):
        arguments[name] = convert(arguments[name])
    expected = case["expected"]
    ours = fastbp.train_neuron(**arguments)
    assert ours == (expected["updated_weights"], expected["updated_bias"], expected["mse_values"])


def test_plain_python_out():
    weights, bias, losses = fastbp.train_neuron(**THREE_ROWS, epochs=2)
    assert type(weights) is list and type(losses) is list and type(bias) is float
    assert all(type(value) is float for value in [*weights, *losses])


@pytest.mark.parametrize("epochs", [0, np.int64(0)])
def test_no_epochs_gives_the_rounded_start(epochs):
    start = {**THREE_ROWS, "initial_weights": [0.12345, -1], "initial_bias": 7}
    assert fastbp.train_neuron(**start, epochs=epochs) == ([0.1234, -1.0], 7.0, [])


def test_integers_and_booleans():
    compare(
        features=[[1, 2], [0, 1], [3, 1]],
        labels=[True, False, True],
        initial_weights=[0, 1],
        initial_bias=1,
        learning_rate=1,
        epochs=3,
    )
    compare(
        features=np.array([[True, False], [False, True]]),
        labels=np.array([1, 0], dtype=np.uint8),
        initial_weights=np.array([0.5, 0.5], dtype=np.float32),
        initial_bias=np.float64(0.25),
        learning_rate=np.float32(0.5),
        epochs=3,
    )


@pytest.mark.parametrize("convert", [list, np.array], ids=["lists", "arrays"])
@pytest.mark.parametrize(
    ("name", "bias", "rate"), [("initial_bias", True, 0.1), ("learning_rate", 0.0, True)]
)
def test_a_boolean_is_no_number(convert, name, bias, rate):
    with pytest.raises(TypeError, match=f"{name}: expected a real number, got bool True"):
        fastbp.train_neuron(convert([[1.0]]), convert([1.0]), convert([0.1]), bias, rate, 1)


def test_labels_as_a_column():
    x = np.array(THREE_ROWS["features"])
    column = fastbp.train_neuron(x, np.array([[1], [0], [0]]), [0.1, -0.2], 0.0, 0.1, 2)
    assert column == fastbp.train_neuron(**THREE_ROWS, epochs=2)


@pytest.mark.parametrize("size", [1e3, 1e8, 1e150, 1e300])
def test_extreme_values_without_a_warning(size):
    features = [[size, -size], [-size, 2.0], [1.0, size]]
    compare(
        features=features,
        labels=[1, 0, 1],
        initial_weights=[0.3, -0.7],
        initial_bias=0.1,
        learning_rate=0.1,
        epochs=3,
    )


def test_a_value_too_large_to_scale_passes_unchanged():
    large = 1.5e305
    weights, bias, _ = fastbp.train_neuron([[0.0]], [0], [large], -large, 0.1, 1)
    assert weights == [large] and bias == -large
    weights, bias, _ = fastbp.train_neuron(np.zeros((1, 1)), [0], [large], -large, 0.1, 1)
    assert weights == [large] and bias == -large


def test_rounds_as_numpy_does():
    start = [0.00005, 0.00015, 1.00005, 2.67885, -0.00005, 1234.56785]
    rows = [[0.0] * 6]
    expected = np.round(start, 4).tolist()
    assert fastbp.train_neuron(rows, [0], start, 0.5, 0.0, 1)[0] == expected
    assert fastbp.train_neuron(np.array(rows), [0], start, 0.5, 0.0, 1)[0] == expected
    assert any(round(a, 4) != b for a, b in zip(start, expected, strict=True))


def test_arguments_untouched():
    arrays = [
        np.array(THREE_ROWS[k], dtype=float) for k in ("features", "labels", "initial_weights")
    ]
    copies = [a.copy() for a in arrays]
    fastbp.train_neuron(*arrays, 0.0, 0.1, 5)
    for a, b in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(a, b)
    for a in arrays:
        a.flags.writeable = False
    fastbp.train_neuron(*arrays, 0.0, 0.1, 5)


def test_lists_and_arrays_take_different_ways_to_the_same_numbers():
    rng = np.random.default_rng(3)
    for n, d, epochs in [(1, 1, 1), (8, 2, 3), (9, 2, 3), (65, 3, 5), (200, 40, 4), (700, 9, 3)]:
        x, y, w = rng.normal(size=(n, d)), rng.random(n), rng.normal(size=d)
        lists = fastbp.train_neuron(x.tolist(), y.tolist(), w.tolist(), 0.1, 0.5, epochs)
        assert lists == fastbp.train_neuron(x, y, w, 0.1, 0.5, epochs)


def test_large_problem():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(20_000, 5))
    compare(
        features=x,
        labels=(x @ rng.normal(size=5) > 0),
        initial_weights=np.zeros(5),
        initial_bias=0.0,
        learning_rate=2.0,
        epochs=20,
    )


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_random_problems(data):
    n = data.draw(st.integers(1, 40))
    d = data.draw(st.integers(1, 12))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    scale = data.draw(st.sampled_from([1e-3, 1.0, 30.0]))
    as_list = data.draw(st.booleans())
    x, y, w = rng.normal(size=(n, d)) * scale, rng.integers(0, 2, n), rng.normal(size=d)
    compare(
        features=x.tolist() if as_list else x,
        labels=y.tolist() if as_list else y,
        initial_weights=w.tolist() if as_list else w,
        initial_bias=float(rng.normal()),
        learning_rate=data.draw(st.sampled_from([0.0, 0.01, 1.0])),
        epochs=data.draw(st.integers(0, 6)),
    )


def test_nan_labels_in_lists_are_refused_even_without_epochs():
    for epochs in (0, 1):
        with pytest.raises(fastbp.DataError, match="labels"):
            fastbp.train_neuron([[1.0]], [math.nan], [0.0], 0.0, 0.1, epochs)


@pytest.mark.parametrize(("feature", "label"), [(1e307, 0), (-1e307, 1), (1e307, 1), (-1e307, 0)])
def test_a_saturated_neuron_stays_where_it_is(feature, label):
    ours = fastbp.train_neuron([[feature]], [label], [1.0], 0.0, 1.0, 1)
    assert ours == ([1.0], 0.0, [float((feature > 0.0) != label)])
