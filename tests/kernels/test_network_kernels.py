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
from fastbp.kernels.jit import JIT_ENABLED, kernel
from fastbp.kernels.vector import pointer_to
from fastbp.models import network_prediction
from fastbp.models.layers import Layers
from fastbp.system.threads import Team
from fastbp.training.driver import train
from fastbp.training.objective import Objective, objective, pass_options
from fastbp.training.optimizers import GRADIENT_ONLY, LOSS_ONLY, Adam
from fastbp.training.problem import Options
from tests import problems, reference
from tests.kernels.both import DOUBLE, FORMULA, SINGLE, STEPS, assert_close, both, in_both
from tests.problems import assert_same_network, network_bits
from tests.tolerances import CENTRAL_DIFFERENCE, ROUNDING


@kernel
def bad_row_of_sparse_rows(data, integers, vectors):
    data, integers, vectors = pointer_to(data), pointer_to(integers), pointer_to(vectors)
    return sparse_kernels.no_bad_row(data, integers, vectors, 0, 1)


def network_problem(*arguments):
    """A problem of numbers that both types have."""
    x, y, w, b, rng = problems.network_problem(*arguments)
    y = np.rint(y * 2**10) / 2**10
    if "cross_entropy" in arguments:
        y[:, -1] = 1.0 - y[:, :-1].sum(axis=1)
    return in_both(x), y, [in_both(a) for a in w], [in_both(a) for a in b], rng


def fit(sizes, n, loss, output, dtype=DOUBLE, epochs=2, **keywords):
    x, y, w, b, _ = network_problem(sizes, n, loss)
    names = [*("relu", "tanh", "sigmoid")[: len(sizes) - 2], output]
    keywords |= {"activations": names, "loss": loss}
    fitted = fastbp.fit_network(x, y, w, b, 0.05, epochs, **keywords, dtype=dtype)
    return fitted, reference.fit_network, (x, y, w, b, 0.05, epochs), keywords


@both
@pytest.mark.parametrize(("output", "loss"), reference.OUTPUT_PAIRS)
@pytest.mark.parametrize("batch_size", [None, 1, 6])
def test_a_network_against_the_oracle(output, loss, batch_size, dtype):
    how = {"batch_size": batch_size, "dtype": dtype}
    fitted, oracle, arguments, keywords = fit((3, 4, 2), 11, loss, output, **how)
    assert_same_network(fitted, oracle(*arguments, **keywords), STEPS[dtype])
    x, _, w, b = arguments[:4]
    for rows in (x, x[:1]):
        expected = reference.outputs(rows, w, b, keywords["activations"])[1][-1]
        how = {"activations": keywords["activations"], "dtype": dtype}
        assert_close(fastbp.predict_network(rows, w, b, **how), expected, dtype, FORMULA)


@both
@pytest.mark.parametrize("batch_size", [None, 1, 9])
@pytest.mark.parametrize("sizes", [(17, 33, 9, 1), (300, 20, 2)], ids=str)
def test_every_way_of_a_layer(sizes, batch_size, dtype):
    """Both sums of gradients, and of more inputs than are added up at once, too."""
    table = np.reshape(plan.plan_network(sizes, (0,) * (len(sizes) - 1), 1, 40).table, (-1, 8))
    assert set(table[:, layout.METHOD]) == {plan.INNER, plan.OUTER}
    how = {"batch_size": batch_size, "alpha": 0.1, "dtype": dtype}
    n = 40 if JIT_ENABLED else 11
    fitted, oracle, arguments, keywords = fit(sizes, n, "bce", "sigmoid", **how)
    assert_same_network(fitted, oracle(*arguments, **keywords), STEPS[dtype])


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of eight rows, each of them a chunk."""
    monkeypatch.setattr(plan, "MOST_ROWS", 8)
    monkeypatch.setattr(plan, "LEAST_ROWS", 8)
    monkeypatch.setattr(plan, "CHUNK_WORK", 1)
    plan.plan_network.cache_clear()
    yield
    plan.plan_network.cache_clear()


@both
@pytest.mark.usefixtures("small_tiles")
def test_several_tiles_and_chunks(monkeypatch, dtype):
    for work in (1, 2**17):
        monkeypatch.setattr(plan, "CHUNK_WORK", work)
        plan.plan_network.cache_clear()
        for sizes in ((2, 3, 1), (16, 8, 2)):
            fitted, oracle, arguments, keywords = fit(sizes, 27, "mse", "tanh", dtype, epochs=1)
            assert_same_network(fitted, oracle(*arguments, **keywords), STEPS[dtype])


def gradient_sums(layers, start, x, y, workers=1):
    """The sums of the gradient and of the loss; exact, because the rows are a power of two."""
    samples = Samples(Labelled(rows_of("x", x), y, None), False, None)
    options = replace(pass_options(len(x), GRADIENT_ONLY), n_threads=workers)
    problem = layers.problem(start, samples, options)
    assert workers == 1 or problem.shared_kernel is None
    with Objective(problem, Team(workers, None)) as whole:
        loss = whole.loss(start)
        return whole.gradient * start.dtype.type(len(x)), loss * len(x)


@pytest.mark.usefixtures("small_tiles")
def test_gradients_of_chunks_in_float32_are_added_up_in_float64():
    layers = Layers((16, 9, 2), (codes.TANH, codes.IDENTITY), losses.HALF_MSE)
    x, y, w, b, _ = network_problem(layers.sizes, 64)
    start = layers.flat(w, b, dtype=SINGLE)
    total, by_single, total_loss = 0.0, 0.0, 0.0
    for i in range(0, 64, 8):
        part, loss = gradient_sums(layers, start, x[i : i + 8], y[i : i + 8])
        total, by_single = total + part.astype(float), by_single + part
        total_loss += loss
    expected = total.astype(SINGLE)
    assert (expected != by_single).any()
    for workers in range(1, 8) if JIT_ENABLED else (1, 2):
        gradient, loss = gradient_sums(layers, start, x, y, workers)
        np.testing.assert_array_equal(gradient, expected)
        assert loss == total_loss


@both
@pytest.mark.parametrize("weight", [None, 0.3])
def test_losses_and_weights_are_added_up_in_float64(weight, dtype):
    n = 2**19 if JIT_ENABLED else 2**11
    x, y, w, b, _ = network_problem((3, 4, 1), 1)
    found = []
    for rows in (n, 1):
        samples = Samples(
            Labelled(
                rows_of("x", np.repeat(x, rows, axis=0)),
                np.repeat(y, rows, axis=0),
                None if weight is None else np.full(rows, weight),
            ),
            False,
            None,
        )
        layers = Layers((3, 4, 1), (codes.TANH, codes.SIGMOID), losses.BCE)
        found.append(loss_at(layers.flat(w, b, dtype=dtype), layers, samples, pass_options(rows)))
    np.testing.assert_allclose(*found, rtol=1e-12)


@both
@pytest.mark.parametrize("batch_size", [1, 4])
def test_shuffled_and_weighted(batch_size, dtype):
    x, y, w, b, rng = network_problem((3, 4, 1), 11)
    order = np.random.default_rng(4).permutation(11)
    keywords = {"activations": ["relu", "tanh"], "batch_size": batch_size}
    keywords["sample_weight"] = in_both(rng.random(11) + 0.1)
    how = {**keywords, "shuffle": True, "random_state": 4, "dtype": dtype}
    fitted = fastbp.fit_network(x, y, w, b, 0.1, 1, **how)
    expected = reference.fit_network(x, y, w, b, 0.1, 1, orders=[order], **keywords)
    assert_same_network(fitted, expected, STEPS[dtype])


@both
def test_rows_one_by_one_out_of_blocks(monkeypatch, dtype):
    whole, oracle, arguments, keywords = fit((3, 41, 1), 11, "mse", "tanh", dtype, batch_size=1)
    assert_same_network(whole, oracle(*arguments, **keywords), STEPS[dtype])
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 0)
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 100)
    x = np.asfortranarray(arguments[0])
    blocks = fastbp.fit_network(x, *arguments[1:], **keywords, dtype=dtype)
    assert network_bits(blocks) == network_bits(whole)


@both
def test_classes(dtype):
    x, _, w, b, rng = network_problem((3, 4, 3), 11)
    classes = rng.integers(3, size=11)
    keywords = {"activations": ["relu", "softmax"], "loss": "cross_entropy", "dtype": dtype}
    ours = [
        fastbp.fit_network(x, y, w, b, 0.1, 1, **keywords) for y in (classes, np.eye(3)[classes])
    ]
    assert network_bits(ours[0]) == network_bits(ours[1])


@both
@pytest.mark.parametrize(
    ("optimizer", "oracle"),
    [
        (fastbp.SGD(momentum=0.9), lambda: reference.Momentum(0.9)),
        (
            fastbp.SGD(momentum=0.9, nesterov=True),
            lambda: reference.Momentum(0.9, nesterov=True),
        ),
        (fastbp.Adam(epsilon=1e-3), lambda: reference.Adam(epsilon=1e-3)),
        (fastbp.RMSprop(epsilon=1e-3), lambda: reference.RMSprop(epsilon=1e-3)),
    ],
    ids=lambda value: None if callable(value) else str(value),
)
def test_optimizers(optimizer, oracle, dtype):
    """(With a smaller epsilon, the sign of a gradient near 0 would decide on a whole step.)"""
    x, y, w, b, _ = network_problem((3, 4, 1), 11)
    keywords = {"activations": ["relu", "tanh"], "batch_size": 4, "alpha": 0.1}
    how = {**keywords, "optimizer": optimizer, "dtype": dtype}
    fitted = fastbp.fit_network(x, y, w, b, 0.1, 2, **how)
    expected = reference.fit_network(x, y, w, b, 0.1, 2, optimizer=oracle(), **keywords)
    assert_same_network(fitted, expected, STEPS[dtype])
    assert optimizer.code != update.PLAIN_SGD


@both
def test_loss_and_gradient(dtype):
    x, y, w, b, _ = network_problem((3, 4, 1), 11)
    how = {"activations": ["relu", "tanh"], "alpha": 0.1}
    loss, dws, dbs = fastbp.loss_and_gradient(x, y, w, b, **how, dtype=dtype)
    expected = reference.network_gradient(x, y, w, b, ["relu", "tanh"], "mse", alpha=0.1)
    for ours, theirs in zip((*dws, *dbs), expected, strict=True):
        assert_close(ours, theirs, dtype, FORMULA, 0.1)
    expected = reference.network_loss(x, y, w, b, ["relu", "tanh"], "mse", alpha=0.1)
    assert loss == pytest.approx(expected, rel=FORMULA[dtype])


@both
@pytest.mark.parametrize("batch_size", [None, 1, 4])
@pytest.mark.parametrize("shuffle", [False, True])
def test_bad_rows_are_found(batch_size, shuffle, dtype):
    x, y, w, b, _ = network_problem((3, 4, 1), 11)
    x[7, 1] = np.inf
    x[9, 0] = np.nan
    how = {"activations": ["relu", "tanh"], "dtype": dtype}
    for n_inputs_weights in (w, [np.zeros((3, 4)), w[1]]):
        with pytest.raises(fastbp.DataError, match="row 7, column 1"):
            fastbp.fit_network(
                x, y, n_inputs_weights, b, 0.1, 3, **how,
                batch_size=batch_size, shuffle=shuffle, random_state=0,
            )  # fmt: skip
    with pytest.raises(fastbp.DataError, match="row 7, column 1"):
        fastbp.predict_network(x, w, b, **how)


@both
def test_nothing_beyond_the_arrays_is_read_or_written(dtype):
    """Rows, labels and weights lie in a sea of NaN: one stray load and the result is NaN."""
    rng = np.random.default_rng(0)
    for n, d, k in [(1, 1, 1), (3, 1, 2), (9, 3, 1), (13, 11, 3)]:
        pieces = []
        for size, own in ((n * d, dtype), (n * k, DOUBLE), (n, DOUBLE)):
            sea = np.full(size + 128, np.nan, own)
            sea[64 : 64 + size] = rng.random(size)
            pieces.append(sea[64 : 64 + size])
        x, y, weight = pieces[0].reshape(n, d), pieces[1].reshape(n, k), pieces[2]
        names = ["tanh", "sigmoid"]
        start = fastbp.initialize_network([d, 5, k], activations=names, random_state=0)
        how = {"activations": names, "sample_weight": weight, "dtype": dtype}
        for batch_size in (None, 1):
            fitted = fastbp.fit_network(x, y, *start, 0.1, 2, **how, batch_size=batch_size)
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


@both
@pytest.mark.parametrize("sizes", [(3, 5, 2), (17, 20, 9, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("batch_size", [None, 9])
def test_steps_without_a_stored_gradient_change_no_bit(sizes, batch_size, dtype, monkeypatch):
    keywords = {"batch_size": batch_size, "epochs": 3, "dtype": dtype}
    expected, *_ = fit(sizes, 40, "half_mse", "identity", **keywords)
    monkeypatch.setattr(kernels, "tile_steps", kernels.network_steps)
    by_gradient, *_ = fit(sizes, 40, "half_mse", "identity", **keywords)
    assert network_bits(by_gradient) == network_bits(expected)


def loss_at(parameters, layers, samples, options):
    with objective(layers.problem(parameters, samples, options)) as whole:
        return whole.loss(parameters)


def reported(loss, z, y, weight, dtype):
    """The loss of a batch as scikit-learn's MLP reports it, from z, without the penalty."""
    eps, z = np.finfo(dtype).eps, z.astype(dtype)
    if loss == losses.HALF_MSE:
        each = (z - y) ** 2 / 2 / z.shape[1]
    elif loss == losses.BCE:
        p = np.clip(expit(z), eps, 1 - eps).astype(float)  # its rounding near 1, too
        each = -xlogy(y, p) - xlogy(1 - y, 1 - p)
    elif loss == losses.CROSS_ENTROPY:
        each = -xlogy(y, np.clip(softmax(z, axis=1), eps, 1 - eps).astype(float))
    else:
        z = z.astype(float)
        each = xlogy(y, y / np.exp(z)) - y + np.exp(z)
    return np.average(each.sum(axis=1), weights=weight)


REPORTED = {DOUBLE: ROUNDING, SINGLE: 1e-3}
"""Relative: 1 - p for p near 1 has few digits, and the kernel's p are rounded once more or less."""


@both
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
def test_losses_as_scikit_learn_reports_them(loss, output, weighted, dtype):
    """By its rows counts each batch, whatever their weights; probabilities stay off 0 and 1."""
    n, k, alpha = 45, 3, 0.25
    layers = Layers((k, k, k), (codes.IDENTITY, output), loss, layout.SCIKIT_LEARN)
    rng = np.random.default_rng(loss)
    z = rng.choice([-60.0, -9.0, -1.0, 0.0, 0.5, 7.0, 30.0, 35.0, 60.0], (n, k))
    z = in_both(z / (60.0 if loss == losses.HALF_POISSON_DEVIANCE else 1.0))
    w, b = [np.eye(k), np.eye(k)], [np.zeros(k), np.zeros(k)]
    if loss == losses.CROSS_ENTROPY:
        y = np.eye(k)[rng.integers(0, k, n)]
    else:
        y = rng.integers(0, 2 if loss == losses.BCE else 4, (n, k)).astype(float)
    weight = rng.uniform(0.5, 2.0, n) if weighted else None
    samples = Samples(Labelled(rows_of("x", z), y, weight), False, None)
    start = layers.flat(w, b, dtype=dtype)
    reported_losses = []
    for rule in (GRADIENT_ONLY, LOSS_ONLY):
        options = replace(pass_options(n, rule, alpha), batch_rows=8)
        reported_losses.append(loss_at(start, layers, samples, options))
    assert reported_losses[0] == reported_losses[1]
    expected = 0.0
    for batch in np.split(np.arange(n), range(8, n, 8)):
        part = None if weight is None else weight[batch]
        penalty = alpha / 2 * 2 * k / (len(batch) if part is None else part.sum())
        expected += len(batch) * (reported(loss, z[batch], y[batch], part, dtype) + penalty)
    np.testing.assert_allclose(reported_losses[0], expected / n, rtol=REPORTED[dtype])
    if loss in (losses.BCE, losses.CROSS_ENTROPY):  # as right as can be
        samples = Samples(
            Labelled(rows_of("x", 120.0 * np.eye(k) - 60.0), np.eye(k), None), False, None
        )
        right = loss_at(start, layers, samples, pass_options(k))
        least = -np.log1p(-float(np.finfo(dtype).eps)) * (k if loss == losses.BCE else 1)
        np.testing.assert_allclose(right, least, rtol=FORMULA[dtype])


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


@pytest.fixture
def few_sparse_rows(monkeypatch):
    """Rows for two tiles, of which the second one is cut; without the JIT, of small tiles."""
    if not JIT_ENABLED:
        monkeypatch.setattr(plan, "MOST_ROWS", 16)
        monkeypatch.setattr(plan, "LEAST_ROWS", 16)
    plan.plan_network.cache_clear()
    yield 300 if JIT_ENABLED else 30
    plan.plan_network.cache_clear()


@both
@pytest.mark.parametrize("hidden", [(5,), (33, 2), (64,), (33, 20)])
@pytest.mark.parametrize("activation", [codes.RELU, codes.TANH] if JIT_ENABLED else [codes.TANH])
def test_compressed_rows_give_what_dense_ones_do(hidden, activation, few_sparse_rows, dtype):
    """Shuffled and weighted, in batches of two tiles, and rows without a value."""
    rng = np.random.default_rng(len(hidden))
    n, d, k = few_sparse_rows, 21, 2
    x = in_both(rng.normal(size=(n, d)) * (rng.random((n, d)) < 0.2))
    x[3] = 0.0
    y, weight = rng.normal(size=(n, k)), rng.uniform(0.5, 2.0, n)
    sizes = (d, *hidden, k)
    names = (activation,) * len(hidden) + (codes.IDENTITY,)
    layers = Layers(sizes, names, losses.HALF_MSE)
    weights = [rng.normal(size=shape) / 3 for shape in pairwise(sizes)]
    start = layers.flat(weights, [rng.normal(size=m) for m in sizes[1:]], dtype=dtype)

    def options_with(rule):
        random = np.random.RandomState(0)
        return Options(0.01, 2, n - 10, rule, True, random, alpha=0.5, pauses=True)

    outcomes, found = [], []
    for rows in (rows_of("x", x), CompressedRows(sparse.csr_matrix(x))):
        samples = Samples(Labelled(rows, y, weight), False, None)
        problem = layers.problem(start, samples, options_with(Adam(epsilon=1e-3)))
        assert problem.tile_rows < n - 10 or type(rows) is not CompressedRows
        outcomes.append(train(problem))
        options = options_with(GRADIENT_ONLY)
        with objective(layers.problem(start, samples, options)) as whole:
            loss = whole.loss(start)
            found.append([loss, *whole.gradient])
        assert loss_at(start, layers, samples, options_with(LOSS_ONLY)) == loss
    dense, compressed = outcomes
    assert_close(compressed.losses, dense.losses, dtype, least=0.0)
    assert_close(compressed.parameters, dense.parameters, dtype)
    assert_close(found[1], found[0], dtype)
    data = (np.ones(1), np.ones(1, int)), np.ones(1), np.ones(1), np.ones(1, int)
    assert bad_row_of_sparse_rows(data, np.ones(1, int), np.ones(1, dtype)) == layout.NO_ROW
