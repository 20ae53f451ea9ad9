"""The kernels' own pieces: vector operations, elementary functions, every way through a step.

This file also runs with the JIT off (``NUMBA_DISABLE_JIT=1``), where it must reach every line of
the kernels.
"""

import math
import operator

import numpy as np
import pytest
from mpmath import mp

import fastbp
from fastbp.data.arrays import ArrayRows
from fastbp.data.labels import samples
from fastbp.kernels import (
    activations,
    atomics,
    exponential,
    lanes,
    layout,
    losses,
    neuron,
    powers,
    steps,
    update,
    vector,
)
from fastbp.kernels.jit import JIT_ENABLED, kernel
from fastbp.models.activations import ACTIVATIONS
from fastbp.models.losses import LOSSES
from fastbp.models.neuron import NeuronModel
from fastbp.system.threads import Team
from fastbp.training.problem import Options
from fastbp.training.run import NO_FLOATS, NO_ORDER, Run
from tests import reference
from tests.tolerances import ULPS

SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, -5e-324, 1.0])
POINTS = 4000 if JIT_ENABLED else 400


@kernel
def apply_exp(x, out):
    for i in range(0, x.size, vector.LANES):
        vector.store(
            vector.pointer_to(out), i, exponential.exp(vector.load(vector.pointer_to(x), i))
        )


@kernel
def apply_exp_limited(x, out):
    for i in range(0, x.size, vector.LANES):
        e = exponential.exp_limited(vector.load(vector.pointer_to(x), i))
        vector.store(vector.pointer_to(out), i, e)


@kernel
def apply_tanh(x, out):
    for i in range(0, x.size, vector.LANES):
        vector.store(
            vector.pointer_to(out), i, exponential.tanh(vector.load(vector.pointer_to(x), i))
        )


@kernel
def apply_log1p(x, out):
    for i in range(0, x.size, vector.LANES):
        vector.store(
            vector.pointer_to(out), i, exponential.log1p(vector.load(vector.pointer_to(x), i))
        )


@kernel
def apply_softplus(x, out):
    for i in range(0, x.size, vector.LANES):
        a, _ = activations.softplus_and_derivative(vector.load(vector.pointer_to(x), i))
        vector.store(vector.pointer_to(out), i, a)


@kernel
def apply_with_derivative(activation, x, out, derivative):
    for i in range(0, x.size, vector.LANES):
        z = vector.load(vector.pointer_to(x), i)
        a, slope = activations.activate_with_derivative(activation, z)
        vector.store(vector.pointer_to(out), i, a)
        vector.store(vector.pointer_to(derivative), i, slope)


def values(function, x):
    out = np.empty_like(x)
    with np.errstate(all="ignore"):
        function(x, out)
    return out


def worst_ulps(x, computed, exact):
    """The largest error in units of the last place of the correctly rounded result."""
    worst = 0.0
    with mp.workdps(50):
        for argument, value in zip(x.tolist(), computed.tolist(), strict=True):
            true = exact(mp.mpf(argument))
            rounded = float(true)
            if math.isinf(rounded) or math.isinf(value):
                assert value == rounded, argument
            else:
                worst = max(worst, float(abs(mp.mpf(value) - true)) / math.ulp(rounded))
    return worst


def spread(*intervals):
    rng = np.random.default_rng(11)
    n = POINTS // len(intervals) // 8 * 8
    return np.concatenate([rng.uniform(low, high, n) for low, high in intervals])


def magnitudes(low, high):
    rng = np.random.default_rng(12)
    return 10.0 ** rng.uniform(low, high, POINTS // 2 // 8 * 8)


EXP_POINTS = spread((-746, 710), (-2, 2), (-746, -700), (709, 709.79), (-1e-5, 1e-5))
TANH_POINTS = np.concatenate([spread((-22, 22), (-2, 2), (-0.6, 0.6)), magnitudes(-320, 1)])
LOG1P_POINTS = np.concatenate(
    [
        spread((-1, 1), (-0.5, 0.5), (0, 3)),
        magnitudes(-320, 308),
        -magnitudes(-20, 0),
        magnitudes(-15, 0) - 1.0,
    ]
)


@pytest.mark.parametrize(
    ("function", "points", "exact"),
    [
        (apply_exp, EXP_POINTS, mp.exp),
        (apply_tanh, TANH_POINTS, mp.tanh),
        (apply_log1p, LOG1P_POINTS, mp.log1p),
        (apply_exp_limited, spread((-708.39, 708.39), (-2, 2)), mp.exp),
    ],
    ids=["exp", "tanh", "log1p", "exp_limited"],
)
def test_two_units_in_the_last_place_over_the_whole_range(function, points, exact):
    assert worst_ulps(points, values(function, points), exact) <= ULPS


@pytest.mark.parametrize(
    ("function", "numpy_function"),
    [(apply_exp, np.exp), (apply_tanh, np.tanh), (apply_log1p, np.log1p)],
    ids=["exp", "tanh", "log1p"],
)
def test_special_values(function, numpy_function):
    more = np.array([-1.0, -2.0, 1e308, -1e308, 710.0, -746.0, 1e-300, -1e-300])
    for x in (SPECIAL, more):
        with np.errstate(all="ignore"):
            expected = numpy_function(x)
        got = values(function, x)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
        np.testing.assert_array_equal(
            np.signbit(got[expected == 0]), np.signbit(expected[expected == 0])
        )
        np.testing.assert_allclose(got, expected, rtol=4e-16, atol=0)


def test_softplus_keeps_its_digits():
    x = spread((-708, 708), (-40, 40), (-1, 1))
    assert worst_ulps(x, values(apply_softplus, x), lambda z: mp.log1p(mp.exp(z))) <= ULPS
    with np.errstate(all="ignore"):
        expected = np.logaddexp(0.0, SPECIAL)
    np.testing.assert_allclose(values(apply_softplus, SPECIAL), expected, rtol=4e-16, atol=3e-308)


def test_sigmoid_keeps_the_digits_of_its_derivative():
    x = spread((-350, 350), (-40, 40), (-1, 1))
    a, derivative = np.empty_like(x), np.empty_like(x)
    apply_with_derivative(activations.SIGMOID, x, a, derivative)
    assert worst_ulps(x, a, lambda z: 1 / (1 + mp.exp(-z))) <= 3.0
    assert worst_ulps(x, derivative, lambda z: 1 / (2 + mp.exp(z) + mp.exp(-z))) <= 5.0
    with np.errstate(all="ignore"):
        apply_with_derivative(activations.SIGMOID, SPECIAL, a[:8], derivative[:8])
    np.testing.assert_array_equal(a[:7], [0.5, 0.5, 1, 0, np.nan, 0.5, 0.5])
    np.testing.assert_array_equal(derivative[:7], [0.25, 0.25, 0, 0, np.nan, 0.25, 0.25])
    outputs = fastbp.predict_neuron([[-1000.0], [-707.0], [1000.0]], [1.0], 0.0)
    np.testing.assert_allclose(outputs, [0.0, float(mp.exp(-707)), 1.0], rtol=1e-15, atol=0)


SATURATED = np.array([-1e307, -1e10, -746.0, -710.0, 710.0, 746.0, 1e10, 1e307])


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus"])
def test_derivatives_underflow_to_zero(name):
    row, a, derivative = ACTIVATIONS[name], np.empty(8), np.empty(8)
    with np.errstate(all="ignore"):
        apply_with_derivative(row.code, SATURATED, a, derivative)
    expected = np.where(SATURATED > 0.0, float(name == "softplus"), 0.0)
    np.testing.assert_array_equal(derivative, expected)
    least = {"sigmoid": 0.0, "tanh": -1.0, "softplus": 0.0}[name]
    np.testing.assert_array_equal(a, np.where(SATURATED > 0.0, row.phi(SATURATED), least))
    np.testing.assert_allclose(row.derivative(SATURATED, a), expected, rtol=0, atol=5e-309)


@kernel
def vector_operations(a, b, out):
    u, v = vector.load(vector.pointer_to(a), 0), vector.load(vector.pointer_to(b), 0)
    p = vector.pointer_to(out)
    vector.store(p, 0, u + v)
    vector.store(p, 8, u - v)
    vector.store(p, 16, u * v)
    vector.store(p, 24, u / v)
    vector.store(p, 32, -u)
    vector.store(p, 40, vector.absolute(u))
    vector.store(p, 48, vector.with_sign_of(u, v))
    vector.store(p, 56, vector.where_less(u, v, u, v))
    vector.store(p, 64, powers.power_of_two(u + vector.broadcast(powers.SHIFT)))
    vector.store(p, 72, powers.exponent(vector.absolute(u)))
    vector.store(p, 80, powers.mantissa(vector.absolute(u)))
    vector.store(p, 88, vector.keep_first(u, 3))
    vector.store(p, 96, vector.load_first(vector.at(vector.pointer_to(a), 2), 1, 4))
    vector.store(p, 104, lanes.evens(u, v))
    vector.store(p, 112, lanes.odds(u, v))
    vector.store(p, 120, lanes.sum_each(u, v, -u, -v, u + v, u - v, u * v, u))
    vector.store(p, 128, vector.fma(u, v, u))
    eighths = u * vector.broadcast(8.0) + vector.broadcast(powers.EIGHTHS)
    vector.store(p, 136, powers.two_to_eighths(eighths))
    vector.store(p, 144, lanes.sum_everywhere(u))
    out[152] = lanes.sum_lanes(u)
    columns = lanes.columns_of(u, v, -u, -v, u + v, u - v, u * v, u)
    vector.store(p, 160, columns[0])
    vector.store(p, 168, columns[1])
    vector.store(p, 176, columns[2])
    vector.store(p, 184, columns[3])
    vector.store(p, 192, columns[4])
    vector.store(p, 200, columns[5])
    vector.store(p, 208, columns[6])
    vector.store(p, 216, columns[7])


def test_vector_operations():
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=8) * 4, rng.normal(size=8)
    out = np.zeros(224)
    vector_operations(u, v, out)
    with np.errstate(all="ignore"):
        fraction, exponent = np.frexp(np.abs(u))

    def tree(a):
        return ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]))

    expected = [
        u + v,
        u - v,
        u * v,
        u / v,
        -u,
        np.abs(u),
        np.copysign(u, v),
        np.minimum(u, v),
        2.0 ** np.rint(u),
        exponent - 1.0,
        fraction * 2.0,
        np.append(u[:3], np.zeros(5)),
        np.append(u[3:7], np.zeros(4)),
        np.append(u[::2], v[::2]),
        np.append(u[1::2], v[1::2]),
        [tree(a) for a in (u, v, -u, -v, u + v, u - v, u * v, u)],
    ]
    np.testing.assert_array_equal(out[:128], np.concatenate(expected))
    np.testing.assert_allclose(out[128:136], u * v + u, rtol=1e-15)
    np.testing.assert_allclose(out[136:144], 2.0 ** (np.rint(u * 8.0) / 8.0), rtol=2.0**-53)
    assert out[152] == tree(u)
    assert np.array_equal(out[144:152], np.full(8, tree(u)))
    rows = np.array([u, v, -u, -v, u + v, u - v, u * v, u])
    np.testing.assert_array_equal(out[160:224].reshape(8, 8), rows.T)


def test_fma_rounds_once():
    @np.vectorize
    def exact(a, b, c):
        with mp.workdps(60):
            return float(mp.mpf(a) * b + c)

    a, b = np.full(8, 1.0 + 2.0**-30), np.arange(1.0, 9.0) + 2.0**-28
    out = np.zeros(224)
    vector_operations(a, b, out)
    np.testing.assert_array_equal(out[128:136], exact(a, b, a))


@kernel
def atomic_operations(state):
    p = vector.pointer_to(state)
    atomics.atomic_store(p, 0, 5)
    state[1] = atomics.atomic_add(p, 0, 3)
    state[2] = atomics.atomic_load(p, 0)
    state[3] = atomics.compare_and_swap(p, 0, 7, 1)
    state[4] = atomics.compare_and_swap(p, 0, 8, 2)


def test_atomic_operations():
    state = np.zeros(5, dtype=np.int64)
    atomic_operations(state)
    assert state.tolist() == [2, 5, 8, 0, 1]


@kernel
def composed_step(x, y, w, bias, activation, loss, a, value, dz):
    """The pieces one after the other, with arrays between them."""
    for i in range(0, y.size, vector.LANES):
        z = vector.load(vector.pointer_to(a), i)
        v, d = losses.output_loss(activation, loss, z, vector.load(vector.pointer_to(y), i))
        vector.store(vector.pointer_to(value), i, v)
        vector.store(vector.pointer_to(dz), i, d)
        vector.store(vector.pointer_to(a), i, activations.activate(activation, z))


@pytest.mark.parametrize(("activation", "loss"), reference.PAIRS)
@pytest.mark.parametrize("d", [1, 2, 3, 21, 60])
def test_fused_equals_composed(activation, loss, d):
    rng = np.random.default_rng(d)
    n = 64
    x, y, w, b = rng.normal(size=(n, d)), rng.random(n), rng.normal(size=d) / d, 0.25
    codes = (
        ACTIVATIONS[activation].code,
        LOSSES[loss].code,
    )
    z, value, dz = x @ w + b, np.empty(n), np.empty(n)
    composed_step(x, y, w, b, *codes, z, value, dz)
    fit = fastbp.fit_neuron(x, y, w, b, 1.0, 1, activation=activation, loss=loss)
    np.testing.assert_allclose(
        z, fastbp.predict_neuron(x, w, b, activation=activation), rtol=1e-12, atol=1e-14
    )
    assert fit.losses[0] == pytest.approx(value.mean(), rel=1e-13)
    np.testing.assert_allclose(w - fit.weights, x.T @ dz / n, rtol=1e-11, atol=1e-14)
    assert b - fit.bias == pytest.approx(dz.mean(), rel=1e-11, abs=1e-14)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 63, 65, 130])
@pytest.mark.parametrize("d", [1, 2, 3, 8, 9, 32, 33, 41, 49, 56, 64])
def test_every_shape_of_tile(n, d):
    rng = np.random.default_rng(n * 100 + d)
    x, y, w = rng.normal(size=(n, d)), rng.random(n), rng.normal(size=d) / d
    weight = rng.random(n) + 0.5
    for keywords in ({}, {"sample_weight": weight, "alpha": 0.1}):
        fit = fastbp.fit_neuron(x, y, w, 0.5, 0.1, 2, **keywords)
        expected = reference.fit_neuron(x, y, w, 0.5, 0.1, 2, **keywords)
        np.testing.assert_allclose(fit.weights, expected.weights, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(fit.losses, expected.losses, rtol=1e-12)


@pytest.mark.parametrize("d", [1, 2])
def test_narrow_rows_of_two_tiles(d):
    rng = np.random.default_rng(d)
    n = neuron.tile_rows(d) + 5
    x, y, w = rng.normal(size=(n, d)), rng.random(n), rng.normal(size=d)
    fit = fastbp.fit_neuron(x, y, w, 0.5, 0.1, 1)
    expected = reference.fit_neuron(x, y, w, 0.5, 0.1, 1)
    np.testing.assert_allclose(fit.weights, expected.weights, rtol=1e-12)
    np.testing.assert_allclose(fit.losses, expected.losses, rtol=1e-12)


def test_a_block_that_is_prefetched():
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(260, 4101)), rng.random(260), rng.normal(size=4101) / 100
    assert x.size > neuron.CACHED_ELEMENTS
    fit = fastbp.fit_neuron(x, y, w, 0.5, 0.1, 1)
    expected = reference.fit_neuron(x, y, w, 0.5, 0.1, 1)
    np.testing.assert_allclose(fit.weights, expected.weights, rtol=1e-11, atol=1e-13)


def test_nothing_beyond_the_arrays_is_read():
    """Rows, labels and weights lie in a sea of NaN: one stray load and the result is NaN."""
    rng = np.random.default_rng(0)
    for n, d in [(1, 1), (3, 1), (5, 2), (9, 3), (13, 11), (70, 33)]:
        pieces = []
        for size in (n * d, n, n):
            sea = np.full(size + 128, np.nan)
            sea[64 : 64 + size] = rng.random(size)
            pieces.append(sea[64 : 64 + size])
        x, y, weight = pieces[0].reshape(n, d), pieces[1], pieces[2]
        for batch in (None, 1):
            fit = fastbp.fit_neuron(
                x, y, np.zeros(d), 0.0, 0.1, 2, sample_weight=weight, batch_size=batch
            )
            assert np.isfinite(fit.weights).all() and np.isfinite(fit.losses).all()
        assert np.isfinite(fastbp.predict_neuron(x, fit.weights, fit.bias)).all()


def run_for(x, y, workers, **keywords):
    """A fit under way whose kernel the test calls itself."""
    model = NeuronModel(x.shape[1], np.zeros(x.shape[1]), 0.0, "sigmoid", "mse")
    data = samples(ArrayRows(x), y, None, model.targets, ("features", "labels", ""))
    options = Options(**{"learning_rate": 0.1, "epochs": 2, "batch_rows": len(x), **keywords})
    return Run(model.problem(data, options), Team(workers, None))


@pytest.mark.parametrize("suffices", [False, True])
def test_a_loss_that_falls_by_tol_and_no_more(suffices):
    """By 0, here: it has improved where `tol` suffices, as scikit-learn has it."""
    how = {"tol": 0.0, "n_iter_no_change": 2, "tol_suffices": suffices}
    run = run_for(np.ones((9, 2)), np.ones(9), 1, learning_rate=0.0, epochs=8, **how)
    while run.memory.status == layout.RUNNING and run.memory.epoch < 8:
        run.slice()
    assert run.memory.epoch == (8 if suffices else 3)


def test_one_thread_of_a_team_can_do_all_the_work():
    rng = np.random.default_rng(0)
    n = neuron.chunk_rows(1030) * 3 + 5
    x, y = rng.normal(size=(n, 1030)), rng.random(n)
    run = run_for(x, y, 2)  # made for two threads, but only worker 0 comes
    while run.memory.epoch < 2:
        run.slice()
    expected = fastbp.fit_neuron(x, y, np.zeros(1030), 0.0, 0.1, 2, n_threads=1)
    np.testing.assert_array_equal(run.losses, expected.losses)
    np.testing.assert_array_equal(run.memory.parameters[:1030], expected.weights)


def test_a_thread_without_work_gives_the_interpreter_a_turn(monkeypatch):
    if not JIT_ENABLED:
        monkeypatch.setattr(steps, "PATIENCE", 10)
    run = run_for(np.ones((3, 2)), np.ones(3), 2)
    memory = run.memory
    memory.ticket = steps.UNOPENED
    memory.plain[layout.ROW_STRIDE], memory.plain[layout.LABEL_STRIDE] = 2, 1
    block = run.problem.rows.in_memory
    data = block.features, block.labels, NO_FLOATS, NO_ORDER
    assert not run.problem.kernel(
        data, memory.integers, memory.floats, np.array([0.1]), run.losses, 1
    )


def test_small_problems_in_one_call():
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(70, 5)), rng.random(70), rng.normal(size=5)
    lists = fastbp.train_neuron(x.tolist(), y.tolist(), w.tolist(), 0.5, 0.1, 3)
    assert lists == reference.train_neuron(x, y, w, 0.5, 0.1, 3)
    large = fastbp.train_neuron([[0.0]], [0], [1.5e305], 0.0, 0.1, 1)
    assert large[0] == [1.5e305]


@pytest.mark.parametrize("batch", [1, 20])
@pytest.mark.parametrize("d", [2, 5, 8, 19])
@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_shuffled_and_weighted(loss, d, batch):
    rng = np.random.default_rng(0)
    x, y, weight = rng.normal(size=(70, d)), rng.random(70), rng.random(70) + 0.1
    orders = [np.random.default_rng(4).permutation(70)]
    keywords = {"loss": loss, "batch_size": batch, "sample_weight": weight, "alpha": 0.1}
    fit = fastbp.fit_neuron(
        x, y, np.zeros(d), 0.0, 0.01, 1, shuffle=True, random_state=4, **keywords
    )
    expected = reference.fit_neuron(x, y, np.zeros(d), 0.0, 0.01, 1, orders=orders, **keywords)
    np.testing.assert_allclose(fit.weights, expected.weights, rtol=1e-12)
    np.testing.assert_allclose(fit.bias, expected.bias, rtol=1e-12)
    np.testing.assert_allclose(fit.losses, expected.losses, rtol=1e-13)


@pytest.mark.parametrize("batch", [1, 10])
def test_a_batch_without_weight_changes_nothing(batch):
    rng = np.random.default_rng(0)
    x, y, weight = rng.normal(size=(70, 9)), rng.random(70), rng.random(70) + 0.1
    weight[20:40] = 0.0
    there = weight > 0.0
    whole, part = (
        fastbp.fit_neuron(*rows, np.ones(9), 0.1, 0.1, 2, batch_size=batch, sample_weight=w)
        for rows, w in (((x, y), weight), ((x[there], y[there]), weight[there]))
    )
    np.testing.assert_array_equal(whole.weights, part.weights)
    np.testing.assert_array_equal(whole.losses, part.losses)


def test_online_rows_that_are_not_finite():
    x = np.ones((20, 3))
    x[13, 1] = np.nan
    with pytest.raises(fastbp.DataError, match="got nan in row 13, column 1"):
        fastbp.fit_neuron(x, np.zeros(20), np.zeros(3), 0.0, 0.1, 2, batch_size=1)
    with pytest.raises(fastbp.DivergenceError) as caught:
        fastbp.fit_neuron(
            np.full((9, 1), 1e200), np.ones(9), [0.0], 0.0, 1.0, 5, activation="identity",
            batch_size=1,
        )  # fmt: skip
    assert caught.value.epoch == 0
    np.testing.assert_array_equal(caught.value.weights, [0.0])


def test_divergence_and_tolerance_are_seen_in_the_kernel():
    x = np.full((3, 2), 1e200)
    with pytest.raises(fastbp.DivergenceError) as caught:
        fastbp.fit_neuron(x, np.ones(3), np.zeros(2), 0.0, 1.0, 5, activation="identity")
    assert caught.value.epoch == 1
    np.testing.assert_array_equal(caught.value.weights, [2e200, 2e200])
    fit = fastbp.fit_neuron(x, np.ones(3), np.zeros(2), 0.0, 0.0, 50, tol=0.0, n_iter_no_change=4)
    assert (fit.n_epochs, fit.stopped) == (5, "tol")


@pytest.mark.skipif(JIT_ENABLED, reason="a lost race can be staged in plain Python only")
def test_a_lost_race_is_run_again(monkeypatch):
    outcomes = iter([False, True, False])

    def contended(pointer, index, expected, value):
        return next(outcomes, True) and atomics.compare_and_swap(pointer, index, expected, value)

    monkeypatch.setattr(steps, "compare_and_swap", contended)
    run = run_for(np.ones((3, 2)), np.ones(3), 2)
    while run.memory.epoch < 2:
        run.slice()
    expected = fastbp.fit_neuron(np.ones((3, 2)), np.ones(3), np.zeros(2), 0.0, 0.1, 2)
    np.testing.assert_array_equal(run.losses, expected.losses)
    state = np.array([5])
    outcomes = iter([False])
    steps.keep_least(state, 0, 3)
    assert state[0] == 3


@pytest.mark.skipif(
    JIT_ENABLED, reason="a thread that is held up can be staged in plain Python only"
)
def test_a_thread_that_is_held_up_closes_no_later_segment(monkeypatch):
    """Between counting its chunk as done and comparing with the size of the segment."""
    rng = np.random.default_rng(0)
    n = neuron.chunk_rows(1030) * 3
    x, y = rng.normal(size=(n, 1030)), rng.random(n)
    run = run_for(x, y, 2)
    run.memory.integers[layout.SLOTS] = 2  # segments of two chunks and of one
    run._budget = 3
    meanwhile = []  # what the other thread does

    def run_kernel(call, abandon):
        meanwhile.append(lambda: call(1))
        call(0)

    def held_up(pointer, index, value):
        before = atomics.atomic_add(pointer, index, value)
        while meanwhile:
            meanwhile.pop()()
        return before

    monkeypatch.setattr(run._threads, "run", run_kernel)
    monkeypatch.setattr(steps, "atomic_add", held_up)
    while run.memory.epoch < 2:
        run.slice()
    expected = fastbp.fit_neuron(x, y, np.zeros(1030), 0.0, 0.1, 2, n_threads=1)
    np.testing.assert_array_equal(run.losses, expected.losses)
    np.testing.assert_array_equal(run.memory.parameters[:1030], expected.weights)


def test_update_pieces():
    @kernel
    def pieces(a, b):
        p, q = vector.pointer_to(a), vector.pointer_to(b)
        update.copy(8, p, q)
        update.add(8, p, q)
        b[8] = update.sum_of_squares(8, p)
        b[9] = update.all_finite(8, p)
        b[10] = update.all_finite(11, q)
        update.fill(8, 3.0, p)

    a, b = np.arange(8.0), np.zeros(12)
    b[11] = np.nan
    pieces(a, b)
    np.testing.assert_array_equal(b[:8], np.arange(8.0) * 2)
    assert b[8:11].tolist() == [140.0, 1.0, 1.0]
    assert (a == 3.0).all()


@pytest.mark.parametrize("where", [0, 5, 8, 70])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_bad_rows_are_found(where, value):
    x = np.ones((100, 3))
    x[where, 1] = value
    x[90] = np.nan
    for keywords in ({}, {"batch_size": 9}, {"shuffle": True, "random_state": 0}):
        with pytest.raises(fastbp.DataError, match=f"row {where}, column 1") as caught:
            fastbp.fit_neuron(x, np.ones(100), np.zeros(3), 0.0, 0.1, 3, **keywords)
        assert caught.value.row == where


def test_operators_are_left_alone_for_other_types():
    @kernel
    def plus(a, b):
        return a + b

    assert plus(1, 2) == 3
    assert plus(1.5, 2.0) == operator.add(1.5, 2.0)
