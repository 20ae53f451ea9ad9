"""The kernels of networks: products of tiles, BLAS, single rows, updates.

This file also runs with the JIT off (``NUMBA_DISABLE_JIT=1``), where it and ``test_kernels.py``
must reach every line of the kernels.
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
from fastbp.kernels import blas, layout, losses, matmul, plan, update
from fastbp.kernels import network as kernels
from fastbp.kernels import sparse_network as sparse_kernels
from fastbp.kernels.jit import JIT_ENABLED, kernel, vector_width
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

SEA = 1e300  # around what may be read: a stray store or a used stray load is seen


@kernel
def multiplied(mode, terms, outputs, width, w, term_stride, output_stride, a, b, result):
    matmul.multiply(
        mode, terms, outputs, width, pointer_to(w), term_stride, output_stride, pointer_to(a),
        pointer_to(b), pointer_to(result),
    )  # fmt: skip


@kernel
def summed(mode, width, p, n_p, p_stride, q, n_q, q_stride, factor, result, totals):
    matmul.sums_of_products(
        mode,
        width,
        pointer_to(p),
        n_p,
        p_stride,
        pointer_to(q),
        n_q,
        q_stride,
        pointer_to(factor),
        pointer_to(result),
    )
    matmul.sums_of_rows(mode, width, n_p, pointer_to(p), pointer_to(factor), pointer_to(totals))


@kernel
def transposed(x, columns, stride, order, shuffled, first, rows, scratch, result):
    kernels.transposed_rows(
        pointer_to(x),
        columns,
        stride,
        (pointer_to(order), shuffled),
        first,
        rows,
        pointer_to(scratch),
        pointer_to(result),
    )


@kernel
def row_multiplied(terms, outputs, a, w, b, result):
    matmul.multiply_row(
        terms, outputs, pointer_to(a), pointer_to(w), pointer_to(b), pointer_to(result)
    )


@kernel
def bad_row_of_sparse_rows(data, integers):
    return sparse_kernels.no_bad_row(pointer_to(data), pointer_to(integers), 0, 1)


@kernel
def by_blas(address, ta, tb, rows, columns, terms, a, b, factor, c):
    blas.gemm(
        address, ta, tb, rows, columns, terms, pointer_to(a), pointer_to(b), factor, pointer_to(c)
    )


MODES = ("PLAIN", "PLUS", "PLUS_START", "PLUS_START_RELU", "TIMES", "WHERE_POSITIVE", "DESCEND")


@pytest.fixture(params=[matmul.TALL_AND_WIDE] if JIT_ENABLED else [False, True])
def blocks(request, monkeypatch):
    """The blocks for this machine's registers, or, with the JIT off, for either kind."""
    monkeypatch.setattr(matmul, "TALL_AND_WIDE", request.param)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("outputs", [1, 3, 4, 9])
@pytest.mark.parametrize("width", [1, 8, 13, 32, 45])
@pytest.mark.parametrize("mode", MODES)
def test_products_of_every_shape(mode, outputs, width):
    rng = np.random.default_rng([outputs, width])
    terms, stride = 5, -(-width // 8) * 8
    w, start = rng.normal(size=(terms, outputs)), rng.normal(size=outputs)
    a = np.full((terms, stride), SEA)
    a[:, :width] = rng.normal(size=(terms, width))
    before, other = rng.normal(size=(2, outputs, width))
    product = w.T @ a[:, :width]
    other, expected = {
        "PLAIN": (start, product),
        "PLUS": (start, before + product),
        "PLUS_START": (start, start[:, None] + product),
        "PLUS_START_RELU": (start, np.maximum(start[:, None] + product, 0.0)),
        "TIMES": (other, other * product),
        "WHERE_POSITIVE": (other, np.where(other > 0.0, product, 0.0)),
        "DESCEND": (np.array([-0.5]), before - 0.5 * product),
    }[mode]
    code = getattr(matmul, mode)
    for flat, term_stride, output_stride in ((w, outputs, 1), (w.T.copy(), 1, terms)):
        result = np.full(outputs * width + 16, SEA)
        result[: before.size] = before.ravel()
        multiplied(code, terms, outputs, width, flat, term_stride, output_stride, a, other, result)
        np.testing.assert_allclose(
            result[: before.size].reshape(before.shape), expected, rtol=1e-13, atol=1e-14
        )
        assert (result[before.size :] == SEA).all()


@pytest.mark.parametrize("outputs", [1, 2, 8, 13, 16, 32, 45, 70])
def test_one_row_has_the_bits_of_many(outputs):
    rng = np.random.default_rng(outputs)
    terms, stride = 7, -(-outputs // 8) * 8
    a, w, b = rng.normal(size=terms), rng.normal(size=(terms, outputs)), rng.normal(size=stride)
    row, tile = np.empty(stride + 8), np.empty((outputs, 8))
    row_multiplied(terms, outputs, a, w, b, row)
    multiplied(matmul.PLUS_START, terms, outputs, 8, w, outputs, 1, np.repeat(a, 8), b, tile)
    np.testing.assert_array_equal(row[:outputs], tile[:, 3])


@pytest.mark.parametrize("n_p", [1, 2, 8, 11])
@pytest.mark.parametrize("n_q", [1, 3])
@pytest.mark.parametrize(
    ("mode", "kept", "factor"), [("PLAIN", 0.0, 1.0), ("PLUS", 1.0, 1.0), ("DESCEND", 1.0, -0.5)]
)
def test_sums_of_products(mode, kept, factor, n_p, n_q):
    rng = np.random.default_rng([n_p, n_q])
    p, q = rng.normal(size=(n_p, 16)), rng.normal(size=(n_q, 16))
    before, totals = rng.normal(size=(n_p, n_q)), rng.normal(size=n_p)
    expected = kept * before + factor * (p @ q.T)
    for p_stride, q_stride in ((n_q, 1), (1, n_p)):
        by_columns = (p_stride, q_stride) == (1, n_p)
        ours, sums = (before.T if by_columns else before).copy(), totals.copy()
        summed(
            getattr(matmul, mode), 16, p, n_p, p_stride, q, n_q, q_stride, np.array([factor]),
            ours, sums,
        )  # fmt: skip
        np.testing.assert_allclose(ours.T if by_columns else ours, expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(
            sums, kept * totals + factor * p.sum(axis=1), rtol=1e-12, atol=1e-14
        )


@pytest.mark.parametrize("columns", [1, 2, 8, 11])
@pytest.mark.parametrize("rows", [1, 8, 13])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("gap", [0, 3])
def test_transposition(columns, rows, shuffled, gap):
    wide = np.arange(20.0 * (columns + gap)).reshape(20, columns + gap) + 1.0
    x = wide[:, :columns]
    order = np.random.default_rng(0).permutation(20)
    stride = -(-rows // 8) * 8
    scratch = np.full(rows * columns + 7, SEA)
    result = np.full((-(-columns // 8) * 8, stride), SEA)
    transposed(wide, columns, columns + gap, order, shuffled, 3, rows, scratch, result)
    chosen = x[order[3 : 3 + rows]] if shuffled else x[3 : 3 + rows]
    np.testing.assert_array_equal(result[:columns, :rows], chosen.T)
    assert (result[:columns, rows:] == 0.0).all()


@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
@pytest.mark.parametrize("factor", [0.0, 1.0])
def test_blas_from_inside_a_kernel(ta, tb, factor):
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(3, 5)), rng.normal(size=(5, 4)), rng.normal(size=(3, 4))
    expected = a @ b + factor * c
    if factor == 0.0:
        c[:] = np.nan  # is overwritten, not multiplied
    left, right = (a.T.copy() if ta else a), (b.T.copy() if tb else b)
    by_blas(blas.gemm_address(), ta, tb, 3, 4, 5, left, right, factor, c)
    np.testing.assert_allclose(c, expected, rtol=1e-14)


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


@pytest.mark.parametrize("batch_size", [None, 1])
def test_every_way_of_a_layer(batch_size, monkeypatch):
    sizes = (17, 33, 9, 1)
    fitted, oracle, arguments, keywords = fit(
        sizes, 40, "bce", "sigmoid", batch_size=batch_size, alpha=0.1
    )
    expected = oracle(*arguments, **keywords)
    assert_same_network(fitted, expected)
    monkeypatch.setattr(plan, "BLAS_FROM", 1)
    monkeypatch.setattr(plan, "BLAS_FROM_NARROW", 1)
    plan.plan_network.cache_clear()
    by_blas, *_ = fit(sizes, 40, "bce", "sigmoid", batch_size=batch_size, alpha=0.1)
    assert_same_network(by_blas, expected)
    plan.plan_network.cache_clear()


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


def test_the_switch_to_blas():
    from_weights = plan.BLAS_FROM if vector_width() >= 512 else plan.BLAS_FROM_NARROW
    side = int(np.sqrt(from_weights)) + 1
    assert plan.plan_network((side, side), (0,), 1, 64).uses_blas
    assert not plan.plan_network((32, 32), (0,), 1, 64).uses_blas


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


@pytest.mark.parametrize(
    ("hidden", "blas"), [((5,), False), ((33, 2), False), ((64,), False), ((33, 20), True)]
)
@pytest.mark.parametrize("activation", [codes.RELU, codes.TANH])
def test_compressed_rows_give_what_dense_ones_do(hidden, blas, activation, monkeypatch):
    """Shuffled and weighted, in batches of two tiles, one of them cut, and rows without a value."""
    if blas:
        monkeypatch.setattr(
            plan, "plan_network", plan.plan_network.__wrapped__
        )  # no plan of others is kept
        monkeypatch.setattr(plan, "BLAS_FROM", 100)
        monkeypatch.setattr(plan, "BLAS_FROM_NARROW", 100)
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
