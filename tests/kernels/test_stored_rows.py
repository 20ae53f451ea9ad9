"""A fit of rows as they are stored has the bits of a fit of the same rows as float64."""

import numpy as np
import pytest

import fastbp
from fastbp.kernels import stored
from fastbp.kernels.jit import JIT_ENABLED
from tests.problems import network_bits

ALL = sorted((t.name for t in stored.DTYPES - {np.dtype(float)}), key=str)
SOME = ["float32", "float16", "uint8"]  # of these, each kernel
N = 3000 if JIT_ENABLED else 60


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
    y, weights = (rng.random(len(x)) < 0.5) * 1.0, rng.normal(size=x.shape[1]) * 0.1
    return neuron_bits(fastbp.fit_neuron(x, y, weights, 0.1, 0.01, 2, **keywords))


BATCHES = [{}, {"batch_size": 100, "shuffle": True, "random_state": 0}]


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("layout", ["contiguous", "columns"])
def test_neurons(dtype, layout):
    for d in (1, 2, 3, 10, 37):
        x = rows_of_type(dtype, N, d)
        assert (
            fastbp.data.arrays.rows_of("x", laid_out(x, layout)).in_memory.features.dtype == dtype
        )
        for keywords in [*BATCHES, {"n_threads": 2, "batch_size": N - 1}]:
            expected = fitted_neuron(x.astype(float), **keywords)
            assert fitted_neuron(laid_out(x, layout), **keywords) == expected


@pytest.mark.parametrize("dtype", SOME)
def test_neurons_row_by_row_with_weights_and_their_outputs(dtype):
    for d in (2, 10):
        x = rows_of_type(dtype, 50, d)
        weight = np.random.default_rng(2).random(50) + 0.5
        for keywords in ({"batch_size": 1}, {"batch_size": 20, "sample_weight": weight}):
            assert fitted_neuron(x, **keywords) == fitted_neuron(x.astype(float), **keywords)
        outputs = [fastbp.predict_neuron(a, np.ones(d), 0.1) for a in (x, x.astype(float))]
        np.testing.assert_array_equal(*outputs)


def ends_of(dtype):
    """Return the least and the greatest number, and a weight that keeps their sums finite."""
    if dtype == "bool":
        return [False, True], 1.0
    if dtype.startswith("float"):
        return [np.finfo(dtype).min, np.finfo(dtype).max], 1e-38
    return [np.iinfo(dtype).min, np.iinfo(dtype).max], 1e-19


@pytest.mark.parametrize("dtype", ALL)
def test_the_least_and_the_greatest_number(dtype):
    """Those of 64-bit integers are rounded, as NumPy rounds them."""
    ends, weight = ends_of(dtype)
    x = np.array([[end, 0] for end in ends] * 20, dtype=dtype)
    ours, theirs = (
        fastbp.fit_neuron(a, np.zeros(40), [weight, 0.0], 0.0, 0.0, 1, activation="identity")
        for a in (x, x.astype(float))
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


@pytest.mark.parametrize("dtype", ALL)
def test_networks(dtype):
    for sizes in ((1, 5, 2), (21, 6, 3)):
        x = rows_of_type(dtype, 70, sizes[0])
        for layout in ("contiguous", "columns"):
            keywords = {"batch_size": 32, "shuffle": layout == "columns", "random_state": 0}
            ours = fitted_network(laid_out(x, layout), sizes, **keywords)
            assert network_bits(ours) == network_bits(
                fitted_network(x.astype(float), sizes, **keywords)
            )


@pytest.mark.parametrize("dtype", SOME)
def test_networks_by_each_kernel(dtype):
    sizes = 21, 6, 3
    x = rows_of_type(dtype, 70, 21)
    for keywords in ({"batch_size": 1}, {"optimizer": "adam"}, {"n_threads": 2}):
        ours, theirs = (fitted_network(a, sizes, **keywords) for a in (x, x.astype(float)))
        assert network_bits(ours) == network_bits(theirs)
    for rows in (x, x[:1]):
        np.testing.assert_array_equal(ours.predict(rows), theirs.predict(rows.astype(float)))


@pytest.mark.parametrize("dtype", SOME)
@pytest.mark.parametrize("target", ["beside", "inside"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_files(dtype, target, shuffle, tmp_path, monkeypatch):
    """Mapped: the labels, too, if they are a column of the same array."""
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 0)
    x = rows_of_type(dtype, 300, 6)
    x[:, -1] = x[:, -1] > 0
    np.save(tmp_path / "x.npy", x)
    keywords = {"batch_size": 50, "shuffle": shuffle, "random_state": 0, "loss": "bce"}
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
