"""The array interface against the plain oracle, and its properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastbp
from tests import reference
from tests.tolerances import CENTRAL_DIFFERENCE, ROUNDING, SQUARED_ROUNDING


def problem(n, d, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * scale
    return x, rng.random(n), rng.normal(size=d) * 0.3, float(rng.normal() * 0.3), rng


def assert_close(fit, expected):
    scale = max(1.0, float(np.abs(expected.weights).max()))
    np.testing.assert_allclose(fit.weights, expected.weights, rtol=ROUNDING, atol=ROUNDING * scale)
    assert fit.bias == pytest.approx(expected.bias, rel=ROUNDING, abs=ROUNDING * scale)
    np.testing.assert_allclose(fit.losses, expected.losses, rtol=ROUNDING, atol=SQUARED_ROUNDING)


def same_bits(a, b):
    return (
        np.array_equal(a.weights, b.weights)
        and a.bias == b.bias
        and np.array_equal(a.losses, b.losses)
    )


@pytest.mark.parametrize(("activation", "loss"), reference.PAIRS)
@pytest.mark.parametrize("batch_size", [None, 1, 7])
@pytest.mark.parametrize("shape", [(5, 1), (30, 2), (41, 3), (20, 8), (70, 13), (9, 45)], ids=str)
def test_every_pair_and_batch_mode(activation, loss, batch_size, shape):
    x, y, w, b, rng = problem(*shape)
    weight = rng.random(shape[0]) + 0.1
    for keywords in ({}, {"alpha": 0.3}, {"sample_weight": weight}):
        keywords |= {"activation": activation, "loss": loss, "batch_size": batch_size}
        fit = fastbp.fit_neuron(x, y, w, b, 0.02, 4, **keywords)
        assert_close(fit, reference.fit_neuron(x, y, w, b, 0.02, 4, **keywords))


@pytest.mark.parametrize(
    "shape", [(3000, 3), (9000, 2), (4000, 10), (700, 100), (130, 1030), (17, 5000)], ids=str
)
@pytest.mark.parametrize("batch_size", [None, 1500])
def test_many_tiles_and_chunks(shape, batch_size):
    x, y, w, b, _ = problem(*shape)
    w /= np.sqrt(shape[1])
    fit = fastbp.fit_neuron(x, y, w, b, 0.1, 3, batch_size=batch_size)
    assert_close(fit, reference.fit_neuron(x, y, w, b, 0.1, 3, batch_size=batch_size))


@pytest.mark.parametrize(("activation", "loss"), reference.PAIRS)
@pytest.mark.parametrize("d", [2, 5])
def test_gradient_against_central_differences(activation, loss, d):
    x, y, w, b, rng = problem(40, d, seed=1)
    weight, alpha, step = rng.random(40) + 0.1, 0.2, 1e-5
    keywords = {"activation": activation, "loss": loss, "sample_weight": weight, "alpha": alpha}
    after = fastbp.fit_neuron(x, y, w, b, 1.0, 1, **keywords)  # rate 1: the step is the gradient
    gradient = np.append(w - after.weights, b - after.bias)

    def at(parameters):
        return fastbp.fit_neuron(x, y, parameters[:-1], parameters[-1], 0.0, 1, **keywords).losses[
            0
        ]

    p = np.append(w, b)
    for i, unit in enumerate(np.eye(d + 1)):
        slope = (at(p + step * unit) - at(p - step * unit)) / (2 * step)
        assert gradient[i] == pytest.approx(slope, rel=CENTRAL_DIFFERENCE, abs=1e-9)


@pytest.mark.parametrize("random_state", [7, np.int64(7), "generator", "legacy"])
def test_shuffle_is_a_new_permutation_each_epoch(random_state):
    def fresh():
        return {
            "generator": lambda: np.random.default_rng(7),
            "legacy": lambda: np.random.RandomState(7),
        }.get(random_state, lambda: np.random.default_rng(7))()

    x, y, w, b, rng = problem(53, 4)
    weight = rng.random(53) + 0.1
    source = fresh()
    orders = [source.permutation(53) for _ in range(5)]
    seed = fresh() if isinstance(random_state, str) else random_state
    keywords = {"batch_size": 8, "sample_weight": weight}
    fit = fastbp.fit_neuron(x, y, w, b, 0.1, 5, shuffle=True, random_state=seed, **keywords)
    assert_close(fit, reference.fit_neuron(x, y, w, b, 0.1, 5, orders=orders, **keywords))


def test_unseeded_shuffle_differs_from_run_to_run():
    x, y, w, b, _ = problem(53, 4)
    first, second = (
        fastbp.fit_neuron(x, y, w, b, 0.1, 2, batch_size=5, shuffle=True) for _ in range(2)
    )
    assert not same_bits(first, second)


def test_learning_rate_as_a_function_is_called_once_an_epoch_in_order():
    x, y, w, b, _ = problem(20, 3)
    called = []

    def rate(epoch):
        called.append(epoch)
        return 0.5 / (1 + epoch)

    fit = fastbp.fit_neuron(x, y, w, b, rate, 300)
    assert called == list(range(300))
    assert_close(fit, reference.fit_neuron(x, y, w, b, lambda e: 0.5 / (1 + e), 300))


def test_callback_sees_every_epoch_and_can_stop():
    x, y, w, b, _ = problem(20, 3)
    seen = []

    def callback(state):
        assert state.validation_loss is None
        with pytest.raises(ValueError, match="read-only"):
            state.weights[0] = 0.0
        seen.append((state.epoch, state.loss, state.weights.copy(), state.bias))
        return state.epoch == 4

    fit = fastbp.fit_neuron(x, y, w, b, 0.1, 100, callback=callback)
    assert fit.stopped == "callback"
    assert fit.n_epochs == 5
    assert [epoch for epoch, *_ in seen] == list(range(5))
    assert [loss for _, loss, *_ in seen] == fit.losses.tolist()
    np.testing.assert_array_equal(seen[-1][2], fit.weights)
    assert seen[-1][3] == fit.bias
    for epoch, _, weights, _ in seen:
        np.testing.assert_array_equal(
            weights, fastbp.fit_neuron(x, y, w, b, 0.1, epoch + 1).weights
        )
    assert same_bits(fit, fastbp.fit_neuron(x, y, w, b, 0.1, 5))


def test_callback_that_returns_something_else_does_not_stop():
    x, y, w, b, _ = problem(20, 3)
    assert fastbp.fit_neuron(x, y, w, b, 0.1, 3, callback=lambda state: state.loss).n_epochs == 3
    assert fastbp.fit_neuron(x, y, w, b, 0.1, 3, callback=lambda _: np.True_).n_epochs == 1


@pytest.mark.parametrize("where", ["callback", "learning_rate"])
def test_an_exception_of_the_callers_own_carries_the_fit_so_far(where):
    x, y, w, b, _ = problem(20, 3)

    def fails(state_or_epoch):
        epoch = getattr(state_or_epoch, "epoch", state_or_epoch)
        if epoch == 50:
            raise KeyError("mine")
        return 0.1 if where == "learning_rate" else None

    with pytest.raises(KeyError, match="mine") as caught:
        if where == "callback":
            fastbp.fit_neuron(x, y, w, b, 0.1, 100, callback=fails)
        else:
            fastbp.fit_neuron(x, y, w, b, fails, 100)
    done = 51 if where == "callback" else 50
    assert same_bits(caught.value.fit, fastbp.fit_neuron(x, y, w, b, 0.1, done))


@pytest.mark.parametrize(("tol", "patience"), [(0.0, 1), (1e-4, 3), (0.02, 5), (10.0, 10)])
@pytest.mark.parametrize("callback", [None, lambda _: None])
def test_tol_tests_every_epoch(tol, patience, callback):
    x, y, w, b, _ = problem(30, 3)
    rates = np.random.default_rng(2).normal(size=500) * 2
    keywords = {"tol": tol, "n_iter_no_change": patience, "callback": callback}
    fit = fastbp.fit_neuron(x, y, w, b, lambda e: rates[e], 500, **keywords)
    losses = reference.fit_neuron(x, y, w, b, lambda e: rates[e], fit.n_epochs).losses
    best, stale, stop = math.inf, 0, None
    for epoch, loss in enumerate(losses):
        stale = 0 if best - loss > tol else stale + 1
        best = min(best, loss)
        if stale >= patience and stop is None:
            stop = epoch + 1
    assert fit.stopped == "tol"
    assert fit.n_epochs == stop


def test_result():
    x, y, w, b, _ = problem(20, 3)
    fit = fastbp.fit_neuron(x, y, w, b, 0.1, 5)
    weights, bias, losses = fit
    assert weights is fit.weights and bias == fit.bias and losses is fit.losses
    assert weights.dtype == losses.dtype == np.float64 and type(bias) is float
    assert (fit.n_epochs, fit.stopped, fit.activation, fit.validation_losses) == (
        5,
        "epochs",
        "sigmoid",
        None,
    )
    np.testing.assert_array_equal(fit.predict(x), fastbp.predict_neuron(x, weights, bias))
    start = fastbp.fit_neuron(x, y, w, b, 0.1, 0)
    np.testing.assert_array_equal(start.weights, w)
    assert start.bias == b and start.losses.shape == (0,)


def test_train_neuron_is_the_rounded_fit():
    x, y, w, b, _ = problem(300, 7)
    fit = fastbp.fit_neuron(x, y, w, b, 0.5, 20)
    for convert in (np.asarray, np.ndarray.tolist):
        weights, bias, losses = fastbp.train_neuron(convert(x), convert(y), convert(w), b, 0.5, 20)
        assert weights == np.round(fit.weights, 4).tolist()
        assert (bias, losses) == (round(fit.bias, 4), np.round(fit.losses, 4).tolist())


def layouts(x):
    wide = np.zeros((x.shape[0], x.shape[1] + 1))
    wide[:, :-1] = x
    unaligned = np.frombuffer(b"\0" + x.tobytes(), dtype=np.uint8)[1:].view(np.float64)
    return {
        "fortran": np.asfortranarray(x),
        "a slice of columns": wide[:, :-1],
        "reversed": x[::-1].copy()[::-1],
        "big-endian": x.astype(">f8"),
        "unaligned": unaligned.reshape(x.shape),
        "read-only": np.frombuffer(x.tobytes()).reshape(x.shape),
        "long double": x.astype(np.longdouble),
        "objects": x.astype(object),
    }


@pytest.mark.parametrize("whole_bytes", [2**26, 0], ids=["whole", "by blocks"])
@pytest.mark.parametrize(
    "keywords",
    [{}, {"batch_size": 64}, {"batch_size": 5000}, {"shuffle": True, "batch_size": 100}],
    ids=str,
)
def test_every_layout_and_dtype_gives_the_same_bits(monkeypatch, whole_bytes, keywords):
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", whole_bytes)
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 2**15)
    x, y, w, b, rng = problem(9000, 3)
    keywords = {**keywords, "sample_weight": rng.random(9000) + 0.1}

    def fit(array, n_threads=None):
        return fastbp.fit_neuron(
            array, y, w, b, 0.1, 2, random_state=1, n_threads=n_threads, **keywords
        )

    expected = fit(x)
    for name, array in layouts(x).items():
        assert same_bits(fit(array), expected), name
        assert same_bits(fit(array, n_threads=3), expected), name
    for dtype in (np.float32, np.float16, np.int8, np.uint64, bool):
        array = (x * 3).astype(dtype)
        assert same_bits(fit(array), fit(array.astype(np.float64))), dtype


def test_data_frames_and_other_array_likes():
    x, y, w, b, _ = problem(10, 2)

    class Wrapped:
        def __init__(self, array):
            self.array = array

        def __array__(self, dtype=None, copy=None):
            return np.array(self.array, dtype=dtype)

    expected = fastbp.fit_neuron(x, y, w, b, 0.1, 3)
    assert same_bits(fastbp.fit_neuron(Wrapped(x), Wrapped(y), Wrapped(w), b, 0.1, 3), expected)


def test_arguments_are_never_written():
    x, y, w, b, rng = problem(50, 3)
    weight = rng.random(50)
    arrays = (x, y, w, weight)
    copies = [a.copy() for a in arrays]
    fastbp.fit_neuron(x, y, w, b, 0.1, 5, sample_weight=weight, shuffle=True, batch_size=7)
    for a, c in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(a, c)


random_shapes = st.tuples(st.integers(1, 60), st.integers(1, 20), st.integers(0, 2**32))


@settings(max_examples=100, deadline=None)
@given(
    random_shapes,
    st.sampled_from(reference.PAIRS),
    st.integers(1, 70),
    st.floats(0, 1),
    st.booleans(),
)
def test_random_problems_against_the_oracle(shape, pair, batch_size, alpha, weighted):
    x, y, w, b, rng = problem(*shape)
    keywords = {"activation": pair[0], "loss": pair[1], "batch_size": batch_size, "alpha": alpha}
    if weighted:
        keywords["sample_weight"] = rng.random(shape[0]) + 0.01
    fit = fastbp.fit_neuron(x, y, w, b, 0.01, 3, **keywords)
    assert_close(fit, reference.fit_neuron(x, y, w, b, 0.01, 3, **keywords))


@settings(max_examples=50, deadline=None)
@given(random_shapes, st.sampled_from(reference.PAIRS), st.integers(1, 70))
def test_zero_rate_leaves_every_bit(shape, pair, batch_size):
    x, y, w, b, _ = problem(*shape)
    fit = fastbp.fit_neuron(
        x, y, w, b, 0.0, 3, activation=pair[0], loss=pair[1], batch_size=batch_size
    )
    np.testing.assert_array_equal(fit.weights, w)
    assert fit.bias == b and np.ptp(fit.losses) == 0.0


@settings(max_examples=50, deadline=None)
@given(random_shapes, st.sampled_from(reference.PAIRS))
def test_row_order_changes_only_rounding(shape, pair):
    x, y, w, b, rng = problem(*shape)
    order = rng.permutation(shape[0])
    keywords = {"activation": pair[0], "loss": pair[1]}
    fit = fastbp.fit_neuron(x, y, w, b, 0.01, 3, **keywords)
    assert_close(fastbp.fit_neuron(x[order], y[order], w, b, 0.01, 3, **keywords), fit)


@settings(max_examples=50, deadline=None)
@given(random_shapes, st.sampled_from(reference.PAIRS))
def test_duplicated_data_leaves_the_mean_gradient(shape, pair):
    x, y, w, b, _ = problem(*shape)
    keywords = {"activation": pair[0], "loss": pair[1]}
    fit = fastbp.fit_neuron(x, y, w, b, 0.01, 3, **keywords)
    twice = fastbp.fit_neuron(np.vstack([x, x]), np.append(y, y), w, b, 0.01, 3, **keywords)
    assert_close(twice, fit)
    weighted = fastbp.fit_neuron(
        x, y, w, b, 0.01, 3, sample_weight=np.full(shape[0], 2.0), **keywords
    )
    assert_close(weighted, fit)


def test_log_loss_stays_finite_where_the_output_saturates():
    x = np.array([[1e5], [-1e5], [800.0], [-800.0], [40.0]])
    fit = fastbp.fit_neuron(x, [0, 1, 0, 1, 1], [1.0], 0.0, 1e-9, 2, loss="bce")
    assert fit.losses[0] == pytest.approx((2e5 + 1600 + math.exp(-40)) / 5, rel=1e-15)
    tiny = fastbp.fit_neuron([[40.0]], [1], [1.0], 0.0, 1.0, 1, loss="bce")
    assert tiny.losses[0] == pytest.approx(math.exp(-40), rel=1e-14, abs=0)
    assert tiny.bias == pytest.approx(math.exp(-40), rel=1e-14, abs=0)  # a - y alone would give 0


def test_the_derivative_of_relu_is_0_at_0():
    fit = fastbp.fit_neuron([[1.0, 2.0, 3.0]], [1], [0.0, 0.0, 0.0], 0.0, 1.0, 1, activation="relu")
    assert fit.weights.tolist() == [0.0, 0.0, 0.0] and fit.bias == 0.0


def test_a_learning_rate_that_fails_is_asked_once():
    calls = []

    def rate(epoch):
        calls.append(epoch)
        if epoch == 50:
            raise OSError("gone")
        return 0.1

    with pytest.raises(OSError, match="gone") as caught:
        fastbp.fit_neuron([[1.0]], [1], [0.0], 0.0, rate, 100)
    assert calls == list(range(51))
    assert caught.value.fit.n_epochs == 50


def test_an_exception_that_takes_no_attribute_still_passes_through():
    class FrozenError(Exception):
        __slots__ = ()

        def __setattr__(self, name, value):
            if not name.startswith("__"):
                raise AttributeError(name)

    def callback(_):
        raise FrozenError

    with pytest.raises(FrozenError):
        fastbp.fit_neuron([[1.0]], [1], [0.0], 0.0, 0.1, 1, callback=callback)


def test_epochs_without_end_cost_nothing():
    fit = fastbp.fit_neuron([[1.0]], [1], [0.0], 0.0, 0.0, 10**15, tol=0.0, n_iter_no_change=3000)
    assert (fit.n_epochs, fit.stopped) == (3001, "tol")


def test_fits_compare_and_hash_by_identity():
    fit = fastbp.fit_neuron([[1.0]], [1], [0.0], 0.0, 0.1, 1)
    assert fit == fit and {fit: 1}[fit] == 1


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
@pytest.mark.parametrize("shape", [(1, 1), (7, 2), (100, 3), (65, 9), (5000, 20)], ids=str)
def test_predictions(activation, shape):
    x, _, w, b, _ = problem(*shape)
    outputs = fastbp.predict_neuron(x, w, b, activation=activation)
    np.testing.assert_allclose(
        outputs, reference.activate(activation, x @ w + b), rtol=ROUNDING, atol=1e-14
    )
    assert outputs.shape == (shape[0],)
    alone = [fastbp.predict_neuron(row[None], w, b, activation=activation)[0] for row in x[:70]]
    np.testing.assert_array_equal(outputs[:70], alone)


def test_predictions_of_many_rows(monkeypatch):
    x, _, w, b, _ = problem(300_000, 4)
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 0)
    outputs = dict.fromkeys((1, 2))
    for threads in outputs:
        monkeypatch.setattr(
            "fastbp.system.threads.get_num_threads", lambda threads=threads: threads
        )
        outputs[threads] = fastbp.predict_neuron(x, w, b)
    np.testing.assert_array_equal(outputs[1], outputs[2])
    np.testing.assert_array_equal(outputs[1], fastbp.predict_neuron(np.asfortranarray(x), w, b))


@pytest.mark.parametrize("batch_size", [None, 1])
@pytest.mark.parametrize(
    ("activation", "loss"),
    [(a, loss) for a in ("sigmoid", "tanh") for loss in ("mse", "half_mse", "huber")]
    + [("sigmoid", "bce")],
)
def test_a_saturated_neuron_stays_where_it_is(activation, loss, batch_size):
    x = np.array([[1e307], [-1e307]])
    lowest = 0.0 if activation == "sigmoid" else -1.0
    for y in ([1.0, lowest], [lowest, 1.0]):
        if loss == "bce" and y[0] == 0.0:
            continue  # its gradient does not vanish there: a - y is 1
        how = {"activation": activation, "loss": loss, "batch_size": batch_size}
        fit = fastbp.fit_neuron(x, y, [1.0], 0.0, 1.0, 1, **how)
        assert (fit.weights.tolist(), fit.bias) == ([1.0], 0.0)
        neuron = fastbp.Neuron(1, activation=activation)
        neuron.weights[:] = 1.0
        neuron.forward(x[0])
        np.testing.assert_array_equal(neuron.backward(1.0), 0.0)


def test_products_that_overflow():
    """Of one sign they saturate the neuron, of both signs there is no sum."""
    w = [1e200, 1e200, 1e200]
    same = [[1e200, 1e200, 1e200], [-1e200, -1e200, -1e200]]
    fit = fastbp.fit_neuron(same, [1, 0], w, 0.0, 1.0, 2)
    assert (fit.weights.tolist(), fit.losses.tolist()) == (w, [0.0, 0.0])
    with pytest.raises(fastbp.DivergenceError):
        fastbp.fit_neuron([[1e200, -1e200, 1e200]], [1], w, 0.0, 1.0, 1)
