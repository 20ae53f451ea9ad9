"""A fit of rows as they are stored has the bits of a fit of the same rows as float64.

Where arithmetic is in float32, it has those of a fit of that float64 rounded to float32.
"""

import numpy as np
import pytest

import fastbp
from fastbp.kernels import stored
from fastbp.kernels.jit import JIT_ENABLED
from tests.kernels.both import DOUBLE, SINGLE, in_both
from tests.problems import network_bits

ALL = sorted((t.name for t in stored.DTYPES - {np.dtype(float)}), key=str)
SOME = ["float32", "float16", "uint8"]  # of these, each kernel
SOME_IN_SINGLE = ["float64", "uint8", "int64"]  # each takes seconds to compile
N = 3000 if JIT_ENABLED else 60


def stored_in(names, names_in_single):
    """Stored types, each with a type of arithmetic."""
    pairs = [(name, DOUBLE) for name in names] + [(name, SINGLE) for name in names_in_single]
    return pytest.mark.parametrize(("dtype", "arithmetic"), pairs, ids=str)


@pytest.fixture(autouse=True)
def few_rows_are_read_as_stored(monkeypatch):
    monkeypatch.setattr("fastbp.data.arrays.FEW", 0)
    monkeypatch.setattr("fastbp.data.arrays.IN_CACHE", 0)


def rows_of_type(dtype, n, d):
    """Return rows whose numbers are not too large for a neuron."""
    rng = np.random.default_rng(d)
    if dtype == "bool":
        return rng.random((n, d)) < 0.5
    if dtype.startswith("float"):
        return (rng.normal(size=(n, d)) * 2.0).astype(dtype)
    least = 0 if dtype.startswith("u") else -9
    return rng.integers(least, 10, size=(n, d)).astype(dtype)


def converted(x, arithmetic):
    """Return rows as they are read."""
    return x.astype(float).astype(arithmetic)


def laid_out(x, layout):
    """Return the same rows, contiguous or as columns of a wider array."""
    if layout == "contiguous":
        return x
    wide = np.ones((len(x), x.shape[1] + 3), dtype=x.dtype)
    wide[:, 2:-1] = x
    return wide[:, 2:-1]


def neuron_bits(fit):
    return fit.weights.tobytes(), fit.bias, fit.losses.tobytes()


def fitted_neuron(x, **keywords):
    rng = np.random.default_rng(1)
    y, weights = (rng.random(len(x)) < 0.5) * 1.0, in_both(rng.normal(size=x.shape[1]) * 0.1)
    return neuron_bits(fastbp.fit_neuron(x, y, weights, 0.1, 0.01, 2, **keywords))


BATCHES = [{}, {"batch_size": 100, "shuffle": True, "random_state": 0}]


@stored_in(ALL, SOME_IN_SINGLE)
@pytest.mark.parametrize("layout", ["contiguous", "columns"])
def test_neurons(dtype, layout, arithmetic):
    for d in (1, 2, 3, 10, 37):
        x = rows_of_type(dtype, N, d)
        rows = fastbp.data.arrays.rows_of("x", laid_out(x, layout), arithmetic)
        assert rows.in_memory.features.dtype == dtype
        for keywords in [*BATCHES, {"n_threads": 2, "batch_size": N - 1}]:
            keywords = {**keywords, "dtype": arithmetic}
            expected = fitted_neuron(converted(x, arithmetic), **keywords)
            assert fitted_neuron(laid_out(x, layout), **keywords) == expected


@stored_in(SOME, ["float64"])
def test_neurons_row_by_row_with_weights_and_their_outputs(dtype, arithmetic):
    for d in (2, 10):
        x = rows_of_type(dtype, 50, d)
        weight = np.random.default_rng(2).random(50) + 0.5
        both = x, converted(x, arithmetic)
        for keywords in ({"batch_size": 1}, {"batch_size": 20, "sample_weight": weight}):
            ours, theirs = (fitted_neuron(a, **keywords, dtype=arithmetic) for a in both)
            assert ours == theirs
        outputs = [fastbp.predict_neuron(a, np.ones(d), 0.1, dtype=arithmetic) for a in both]
        np.testing.assert_array_equal(*outputs)


def ends_of(dtype):
    """Return the least and the greatest number, and a weight that keeps their sums finite."""
    if dtype == "bool":
        return [False, True], 1.0
    if dtype.startswith("float"):
        return [np.finfo(dtype).min, np.finfo(dtype).max], 1e-38
    return [np.iinfo(dtype).min, np.iinfo(dtype).max], 1e-19


@stored_in(ALL, ["uint8", "int64"])
def test_the_least_and_the_greatest_number(dtype, arithmetic):
    """Those of 64-bit integers are rounded, as NumPy rounds them."""
    ends, weight = ends_of(dtype)
    x = np.array([[end, 0] for end in ends] * 20, dtype=dtype)
    how = {"activation": "identity", "dtype": arithmetic}
    ours, theirs = (
        fastbp.fit_neuron(a, np.zeros(40), [weight, 0.0], 0.0, 0.0, 1, **how)
        for a in (x, converted(x, arithmetic))
    )
    assert neuron_bits(ours) == neuron_bits(theirs)


def fitted_network(x, sizes, **keywords):
    activations = ["relu", "softmax"]
    weights, biases = fastbp.initialize_network(sizes, activations=activations, random_state=0)
    y = np.random.default_rng(1).integers(sizes[-1], size=len(x))
    return fastbp.fit_network(
        x, y, weights, biases, 0.01, 2,
        activations=activations, loss="cross_entropy", **keywords,
    )  # fmt: skip


@stored_in(ALL, ["float64", "uint8"])
def test_networks(dtype, arithmetic):
    for sizes in ((1, 5, 2), (21, 6, 3)):
        x = rows_of_type(dtype, 70, sizes[0])
        for layout in ("contiguous", "columns"):
            keywords = {"batch_size": 32, "shuffle": layout == "columns", "random_state": 0}
            keywords["dtype"] = arithmetic
            ours = fitted_network(laid_out(x, layout), sizes, **keywords)
            theirs = fitted_network(converted(x, arithmetic), sizes, **keywords)
            assert network_bits(ours) == network_bits(theirs)


@stored_in(SOME, ["float64"])
def test_networks_by_each_kernel(dtype, arithmetic):
    sizes = 21, 6, 3
    x = rows_of_type(dtype, 70, 21)
    both = x, converted(x, arithmetic)
    for keywords in ({"batch_size": 1}, {"optimizer": "adam"}, {"n_threads": 2}):
        ours, theirs = (fitted_network(a, sizes, **keywords, dtype=arithmetic) for a in both)
        assert network_bits(ours) == network_bits(theirs)
    for n in (70, 1):
        np.testing.assert_array_equal(*(ours.predict(a[:n]) for a in both))


@stored_in(SOME, ["float32"])
@pytest.mark.parametrize("target", ["beside", "inside"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_files(dtype, target, shuffle, arithmetic, tmp_path, monkeypatch):
    """Mapped: the labels, too, if they are a column of the same array."""
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 0)
    x = rows_of_type(dtype, 300, 6)
    x[:, -1] = x[:, -1] > 0
    np.save(tmp_path / "x.npy", x)
    keywords = {"batch_size": 50, "shuffle": shuffle, "random_state": 0, "loss": "bce"}
    keywords["dtype"] = arithmetic
    if target == "inside":
        rows, labels = fastbp.open_rows(tmp_path / "x.npy", target=5), None
        features = x[:, :5].astype(float)
    else:
        rows, labels = fastbp.open_rows(tmp_path / "x.npy"), x[:, -1]
        features = x.astype(float)
    assert rows.in_place and rows.mapped().block.features.dtype == dtype
    start = np.full(features.shape[1], 0.1)
    expected = fastbp.fit_neuron(features, x[:, -1].astype(float), start, 0.1, 0.01, 3, **keywords)
    ours = fastbp.fit_neuron(rows, labels, start, 0.1, 0.01, 3, **keywords)
    assert neuron_bits(ours) == neuron_bits(expected)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_that_are_not_finite_are_named(dtype):
    x = rows_of_type(dtype, 40, 5)
    x[17, 3] = np.inf
    with pytest.raises(fastbp.DataError, match="row 17"):
        fastbp.fit_neuron(x, np.zeros(40), np.zeros(5), 0.0, 0.1, 2)
    with pytest.raises(fastbp.DataError, match="row 17"):
        fitted_network(x, (5, 3, 2), batch_size=8)


def test_what_is_not_worth_a_kernel_is_converted(monkeypatch):
    monkeypatch.undo()
    for dtype, few, many in (("float32", 2**13, 2**13 + 1), ("uint8", 2**20, 2**20 + 1)):
        for n, expected in ((few, "float64"), (many, dtype)):
            rows = fastbp.data.arrays.rows_of("x", np.ones((n, 1), dtype=dtype))
            assert rows.in_memory.features.dtype == expected and rows.dtype == dtype
