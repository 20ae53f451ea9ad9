"""The kernels of networks: tiles, single rows, sparse rows, losses, updates.

This file also runs with the JIT off (``NUMBA_DISABLE_JIT=1``), where this folder must reach every
line of the kernels. Products are in ``test_matmul.py``.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit, softmax, xlogy

import fastbp
from fastbp.data.arrays import Labelled, rows_of
from fastbp.data.labels import Samples
from fastbp.data.sparse import CompressedRows
from fastbp.kernels import activations as codes
from fastbp.kernels import layout, losses, plan, update
from fastbp.kernels import network as kernels
from fastbp.kernels import sparse_network as sparse_kernels
from fastbp.kernels.jit import kernel
from fastbp.kernels.lanes import lane
from fastbp.kernels.vector import load, pointer_to, square_root, store, store_first
from fastbp.models import network_prediction
from fastbp.models.layers import Layers
from fastbp.training.driver import train
from fastbp.training.objective import objective, pass_options
from fastbp.training.optimizers import GRADIENT_ONLY, LOSS_ONLY, Adam
from fastbp.training.problem import Options
from tests import reference
from tests.problems import assert_same_network, network_bits, network_problem
from tests.tolerances import CENTRAL_DIFFERENCE, ROUNDING


@kernel
def bad_row_of_sparse_rows(data, integers):
    return sparse_kernels.no_bad_row(pointer_to(data), pointer_to(integers), 0, 1)


def test_vector_pieces():
    @kernel
    def pieces(a, b, n):
        store_first(pointer_to(b), 0, square_root(load(pointer_to(a), 0)), n)
        store(pointer_to(b), 8, load(pointer_to(a), 0))
        b[16] = lane(load(pointer_to(a), 0), n)

    a, b = np.arange(8.0) ** 2, np.zeros(17)
    pieces(a, b, 3)
    assert b.tolist() == [0.0, 1.0, 2.0, *[0.0] * 5, *a, 9.0]


def fit(sizes, n, loss, output, epochs=2, **keywords):
    x, y, w, b, _ = network_problem(sizes, n, loss)
    names = [*("relu", "tanh", "sigmoid")[: len(sizes) - 2], output]
    keywords |= {"activations": names, "loss": loss}
    fitted = fastbp.fit_network(x, y, w, b, 0.05, epochs, **keywords)
    return fitted, reference.fit_network, (x, y, w, b, 0.05, epochs), keywords


@pytest.mark.parametrize(("output", "loss"), reference.OUTPUT_PAIRS)
@pytest.mark.parametrize("batch_size", [None, 1, 6])
def test_a_network_against_the_oracle(output, loss, batch_size):
    fitted, oracle, arguments, keywords = fit((3, 4, 2), 11, loss, output, batch_size=batch_size)
    assert_same_network(fitted, oracle(*arguments, **keywords))
    x, _, w, b = arguments[:4]
    for rows in (x, x[:1]):
        expected = reference.outputs(rows, w, b, keywords["activations"])[1][-1]
        ours = fastbp.predict_network(rows, w, b, activations=keywords["activations"])
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("batch_size", [None, 1, 9])
@pytest.mark.parametrize("sizes", [(17, 33, 9, 1), (300, 20, 2)], ids=str)
def test_every_way_of_a_layer(sizes, batch_size):
    """Both sums of gradients, and of more inputs than are added up at once, too."""
    table = np.reshape(plan.plan_network(sizes, (0,) * (len(sizes) - 1), 1, 40).table, (-1, 8))
    assert set(table[:, layout.METHOD]) == {plan.INNER, plan.OUTER}
    fitted, oracle, arguments, keywords = fit(
        sizes, 40, "bce", "sigmoid", batch_size=batch_size, alpha=0.1
    )
    assert_same_network(fitted, oracle(*arguments, **keywords))


def test_several_tiles_and_chunks(monkeypatch):
    monkeypatch.setattr(plan, "MOST_ROWS", 8)
    monkeypatch.setattr(plan, "LEAST_ROWS", 8)
    for work in (1, 2**17):
        monkeypatch.setattr(plan, "CHUNK_WORK", work)
        plan.plan_network.cache_clear()
        for sizes in ((2, 3, 1), (16, 8, 2)):
            fitted, oracle, arguments, keywords = fit(sizes, 27, "mse", "tanh", epochs=1)
            assert_same_network(fitted, oracle(*arguments, **keywords))
    plan.plan_network.cache_clear()


@pytest.mark.parametrize("batch_size", [1, 4])
def test_shuffled_and_weighted(batch_size):
    x, y, w, b, rng = network_problem((3, 4, 1), 11)
    order = np.random.default_rng(4).permutation(11)
    keywords = {"activations": ["relu", "tanh"], "batch_size": batch_size}
    keywords["sample_weight"] = rng.random(11) + 0.1
    fitted = fastbp.fit_network(x, y, w, b, 0.1, 1, shuffle=True, random_state=4, **keywords)
    expected = reference.fit_network(x, y, w, b, 0.1, 1, orders=[order], **keywords)
    assert_same_network(fitted, expected)


def test_rows_one_by_one_out_of_blocks(monkeypatch):
    whole, oracle, arguments, keywords = fit((3, 41, 1), 11, "mse", "tanh", batch_size=1)
    assert_same_network(whole, oracle(*arguments, **keywords))
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 0)
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 100)
    x = np.asfortranarray(arguments[0])
    blocks = fastbp.fit_network(x, *arguments[1:], **keywords)
    assert network_bits(blocks) == network_bits(whole)


def test_classes():
    x, _, w, b, rng = network_problem((3, 4, 3), 11)
    classes = rng.integers(3, size=11)
    keywords = {"activations": ["relu", "softmax"], "loss": "cross_entropy"}
    ours = [
        fastbp.fit_network(x, y, w, b, 0.1, 1, **keywords) for y in (classes, np.eye(3)[classes])
    ]
    assert network_bits(ours[0]) == network_bits(ours[1])


@pytest.mark.parametrize(
    ("optimizer", "oracle"),
    [
        (fastbp.SGD(momentum=0.9), reference.Momentum(0.9)),
        (fastbp.SGD(momentum=0.9, nesterov=True), reference.Momentum(0.9, nesterov=True)),
        (fastbp.Adam(), reference.Adam()),
    ],
    ids=str,
)
def test_optimizers(optimizer, oracle):
    x, y, w, b, _ = network_problem((3, 4, 1), 11)
    keywords = {"activations": ["relu", "tanh"], "batch_size": 4, "alpha": 0.1}
    fitted = fastbp.fit_network(x, y, w, b, 0.1, 2, optimizer=optimizer, **keywords)
    assert_same_network(
        fitted, reference.fit_network(x, y, w, b, 0.1, 2, optimizer=oracle, **keywords)
    )
    assert optimizer.code != update.PLAIN_SGD


def test_loss_and_gradient():
    x, y, w, b, _ = network_problem((3, 4, 1), 11)
    loss, dws, dbs = fastbp.loss_and_gradient(x, y, w, b, activations=["relu", "tanh"], alpha=0.1)
    expected = reference.network_gradient(x, y, w, b, ["relu", "tanh"], "mse", alpha=0.1)
    for ours, theirs in zip((*dws, *dbs), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)
    assert loss == pytest.approx(
        reference.network_loss(x, y, w, b, ["relu", "tanh"], "mse", alpha=0.1), rel=1e-13
    )


@pytest.mark.parametrize("batch_size", [None, 1, 4])
@pytest.mark.parametrize("shuffle", [False, True])
def test_bad_rows_are_found(batch_size, shuffle):
    x, y, w, b, _ = network_problem((3, 4, 1), 11)
    x[7, 1] = np.inf
    x[9, 0] = np.nan
    for n_inputs_weights in (w, [np.zeros((3, 4)), w[1]]):
        with pytest.raises(fastbp.DataError, match="row 7, column 1"):
            fastbp.fit_network(
                x, y, n_inputs_weights, b, 0.1, 3, activations=["relu", "tanh"],
                batch_size=batch_size, shuffle=shuffle, random_state=0,
            )  # fmt: skip
    with pytest.raises(fastbp.DataError, match="row 7, column 1"):
        fastbp.predict_network(x, w, b, activations=["relu", "tanh"])


def test_nothing_beyond_the_arrays_is_read_or_written():
    """Rows, labels and weights lie in a sea of NaN: one stray load and the result is NaN."""
    rng = np.random.default_rng(0)
    for n, d, k in [(1, 1, 1), (3, 1, 2), (9, 3, 1), (13, 11, 3)]:
        pieces = []
        for size in (n * d, n * k, n):
            sea = np.full(size + 128, np.nan)
            sea[64 : 64 + size] = rng.random(size)
            pieces.append(sea[64 : 64 + size])
        x, y, weight = pieces[0].reshape(n, d), pieces[1].reshape(n, k), pieces[2]
        names = ["tanh", "sigmoid"]
        start = fastbp.initialize_network([d, 5, k], activations=names, random_state=0)
        for batch_size in (None, 1):
            fitted = fastbp.fit_network(
                x, y, *start, 0.1, 2, activations=names, sample_weight=weight, batch_size=batch_size
            )
            assert all(np.isfinite(p).all() for p in (*fitted.weights, fitted.losses))
            assert np.isfinite(fitted.predict(x)).all()
            assert np.isfinite(fitted.predict(x[:1])).all()


@pytest.mark.parametrize(
    "sizes", [(1, 10, 1), (20, 64, 1), (784, 256, 10), (5000, 9000, 10)], ids=str
)
def test_tiles_and_chunks_do_not_depend_on_how_many_rows_there_are(sizes):
    plans = {
        plan.plan_network(sizes, (0,) * (len(sizes) - 1), 1, n) for n in (256, 1000, 1001, 10**9)
    }
    assert len(plans) == 1
    (made,) = plans
    assert made.tile_rows % 8 == 0 < made.tile_rows
    assert made.chunk_rows % made.tile_rows == 0
    assert made.chunk_rows * made.row_work < 2**28  # under a tenth of a second, for Ctrl-C


@pytest.mark.parametrize("sizes", [(3, 5, 2), (17, 20, 9, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("batch_size", [None, 9])
def test_steps_without_a_stored_gradient_change_no_bit(sizes, batch_size, monkeypatch):
    keywords = {"batch_size": batch_size, "epochs": 3}
    expected, *_ = fit(sizes, 40, "half_mse", "identity", **keywords)
    monkeypatch.setattr(kernels, "tile_steps", kernels.network_steps)
    by_gradient, *_ = fit(sizes, 40, "half_mse", "identity", **keywords)
    assert network_bits(by_gradient) == network_bits(expected)


def loss_at(parameters, layers, samples, options):
    with objective(layers.problem(parameters, samples, options)) as whole:
        return whole.loss(parameters)


def reported(loss, z, y, weight):
    """The loss of a batch as scikit-learn's MLP reports it, from z, without the penalty."""
    eps = np.finfo(float).eps
    if loss == losses.HALF_MSE:
        each = (z - y) ** 2 / 2 / z.shape[1]
    elif loss == losses.BCE:
        p = np.clip(expit(z), eps, 1 - eps)  # scikit-learn's rounding near 1, too
        each = -xlogy(y, p) - xlogy(1 - y, 1 - p)
    elif loss == losses.CROSS_ENTROPY:
        each = -xlogy(y, np.clip(softmax(z, axis=1), eps, 1 - eps))
    else:
        each = xlogy(y, y / np.exp(z)) - y + np.exp(z)
    return np.average(each.sum(axis=1), weights=weight)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("loss", "output"),
    [
        (losses.HALF_MSE, codes.IDENTITY),
        (losses.BCE, codes.SIGMOID),
        (losses.CROSS_ENTROPY, codes.SOFTMAX),
        (losses.HALF_POISSON_DEVIANCE, codes.EXPONENTIAL),
    ],
)
def test_losses_as_scikit_learn_reports_them(loss, output, weighted):
    """By its rows counts each batch, whatever their weights; probabilities stay off 0 and 1."""
    n, k, alpha = 45, 3, 0.25
    layers = Layers((k, k, k), (codes.IDENTITY, output), loss, layout.SCIKIT_LEARN)
    rng = np.random.default_rng(loss)
    z = rng.choice([-60.0, -9.0, -1.0, 0.0, 0.5, 7.0, 30.0, 35.0, 60.0], (n, k))
    z /= 60.0 if loss == losses.HALF_POISSON_DEVIANCE else 1.0
    w, b = [np.eye(k), np.eye(k)], [np.zeros(k), np.zeros(k)]
    if loss == losses.CROSS_ENTROPY:
        y = np.eye(k)[rng.integers(0, k, n)]
    else:
        y = rng.integers(0, 2 if loss == losses.BCE else 4, (n, k)).astype(float)
    weight = rng.uniform(0.5, 2.0, n) if weighted else None
    samples = Samples(Labelled(rows_of("x", z), y, weight), False, None)
    start = layers.flat(w, b)
    reported_losses = []
    for rule in (GRADIENT_ONLY, LOSS_ONLY):
        options = replace(pass_options(n, rule, alpha), batch_rows=8)
        reported_losses.append(loss_at(start, layers, samples, options))
    assert reported_losses[0] == reported_losses[1]
    expected = 0.0
    for batch in np.split(np.arange(n), range(8, n, 8)):
        part = None if weight is None else weight[batch]
        penalty = alpha / 2 * 2 * k / (len(batch) if part is None else part.sum())
        expected += len(batch) * (reported(loss, z[batch], y[batch], part) + penalty)
    np.testing.assert_allclose(reported_losses[0], expected / n, rtol=ROUNDING)
    if loss in (losses.BCE, losses.CROSS_ENTROPY):  # as right as can be
        samples = Samples(
            Labelled(rows_of("x", 120.0 * np.eye(k) - 60.0), np.eye(k), None), False, None
        )
        right = loss_at(start, layers, samples, pass_options(k))
        least = -np.log1p(-np.finfo(float).eps) * (k if loss == losses.BCE else 1)
        np.testing.assert_allclose(right, least, rtol=ROUNDING)


def test_poisson_deviance_descends_by_its_derivative():
    layers = Layers((3, 4, 2), (codes.TANH, codes.EXPONENTIAL), losses.HALF_POISSON_DEVIANCE)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 3)), rng.integers(0, 3, (9, 2)).astype(float)
    start = layers.flat(
        [rng.normal(size=(3, 4)), rng.normal(size=(4, 2))], [np.ones(4), np.ones(2)]
    )
    samples = Samples(Labelled(rows_of("x", x), y, None), False, None)
    (w, b), rows = layers.named(start).values(), rows_of("x", x)
    expected = np.exp(np.tanh(x @ w[0] + b[0]) @ w[1] + b[1])
    np.testing.assert_allclose(
        network_prediction.predicted(rows, layers, w, b), expected, rtol=ROUNDING
    )

    options = pass_options(9, GRADIENT_ONLY)
    with objective(layers.problem(start, samples, options)) as whole:
        whole.loss(start)
        gradient = whole.gradient.copy()
    for i in np.flatnonzero(start):
        step = np.zeros_like(start)
        step[i] = 1e-5
        above, below = (loss_at(start + s, layers, samples, pass_options(9)) for s in (step, -step))
        difference = above - below
        np.testing.assert_allclose(
            gradient[i], difference / 2e-5, rtol=CENTRAL_DIFFERENCE, atol=CENTRAL_DIFFERENCE
        )


@pytest.mark.parametrize("hidden", [(5,), (33, 2), (64,), (33, 20)])
@pytest.mark.parametrize("activation", [codes.RELU, codes.TANH])
def test_compressed_rows_give_what_dense_ones_do(hidden, activation):
    """Shuffled and weighted, in batches of two tiles, one of them cut, and rows without a value."""
    rng = np.random.default_rng(len(hidden))
    n, d, k = 300, 21, 2
    x = rng.normal(size=(n, d)) * (rng.random((n, d)) < 0.2)
    x[3] = 0.0
    y, weight = rng.normal(size=(n, k)), rng.uniform(0.5, 2.0, n)
    sizes = (d, *hidden, k)
    names = (activation,) * len(hidden) + (codes.IDENTITY,)
    layers = Layers(sizes, names, losses.HALF_MSE)
    weights = [rng.normal(size=shape) / 3 for shape in pairwise(sizes)]
    start = layers.flat(weights, [rng.normal(size=m) for m in sizes[1:]])

    def options_with(rule):
        return Options(0.01, 2, 290, rule, True, np.random.RandomState(0), alpha=0.5, pauses=True)

    outcomes, found = [], []
    for rows in (rows_of("x", x), CompressedRows(sparse.csr_matrix(x))):
        samples = Samples(Labelled(rows, y, weight), False, None)
        options = options_with(Adam())
        outcomes.append(train(layers.problem(start, samples, options)))
        options = options_with(GRADIENT_ONLY)
        with objective(layers.problem(start, samples, options)) as whole:
            loss = whole.loss(start)
            found.append([loss, *whole.gradient])
        assert loss_at(start, layers, samples, options_with(LOSS_ONLY)) == loss
    dense, compressed = outcomes
    np.testing.assert_allclose(compressed.losses, dense.losses, rtol=ROUNDING)
    np.testing.assert_allclose(compressed.parameters, dense.parameters, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[1], found[0], rtol=ROUNDING, atol=ROUNDING)
    data = (np.ones(1), np.ones(1, int)), np.ones(1), np.ones(1), np.ones(1, int)
    assert bad_row_of_sparse_rows(data, np.ones(1, int)) == layout.NO_ROW
