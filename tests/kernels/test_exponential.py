"""exp, tanh, logarithms and what is made of them, against 50 digits and, in float32, float64.

This file also runs with the JIT off (``NUMBA_DISABLE_JIT=1``).
"""

import math

import numpy as np
import pytest
from mpmath import mp
from scipy.special import expit

import fastbp
from fastbp.kernels import activations, exponential
from fastbp.kernels.jit import JIT_ENABLED, kernel
from fastbp.kernels.vector import LANES, load, pointer_to, store, zeros
from fastbp.models.activations import ACTIVATIONS
from tests.kernels.both import DOUBLE, SINGLE, both
from tests.tolerances import ULPS

POINTS = 4000 if JIT_ENABLED else 400
NAMES = (
    "exp", "exp_limited", "tanh", "e of tanh", "tanh'", "log1p", "log", "softplus", "softplus'",
    "sigmoid", "sigmoid'",
)  # fmt: skip
LEAST = {t: np.finfo(t).smallest_subnormal for t in (DOUBLE, SINGLE)}
NORMAL = {t: np.finfo(t).tiny for t in (DOUBLE, SINGLE)}
LIMITS = {DOUBLE: exponential.LIMIT, SINGLE: exponential.LIMIT_SINGLE}


@kernel
def all_functions(x, out):
    """OUT out (functions, n), in the order of NAMES."""
    p, q, n = pointer_to(x), pointer_to(out), x.size
    for i in range(0, n, LANES):
        v = load(p, i)
        t, e = exponential.tanh_and_exponential(v)
        softplus, softplus_slope = activations.softplus_and_derivative(v)
        sigmoid, sigmoid_slope = activations.sigmoid_and_derivative(v)
        _, tanh_slope = activations.activate_with_derivative(activations.TANH, v)
        store(q, i, exponential.exp(v))
        store(q, i + n, exponential.exp_limited(v))
        store(q, i + 2 * n, t)
        store(q, i + 3 * n, e)
        store(q, i + 4 * n, tanh_slope)
        store(q, i + 5 * n, exponential.log1p(v))
        store(q, i + 6 * n, exponential.log_of_sum(v, zeros(v)))
        store(q, i + 7 * n, softplus)
        store(q, i + 8 * n, softplus_slope)
        store(q, i + 9 * n, sigmoid)
        store(q, i + 10 * n, sigmoid_slope)


def values(x):
    """All functions of some numbers, by their names."""
    x = np.asarray(x)
    padded = np.zeros(-(-x.size // LANES) * LANES, x.dtype)
    padded[: x.size] = x
    out = np.full((len(NAMES), padded.size), np.nan, x.dtype)
    all_functions(padded, out)
    return dict(zip(NAMES, out[:, : x.size], strict=True))


# --- float64, against 50 digits -------------------------------------------------------------


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
SOFTPLUS_POINTS = spread((-708, 708), (-40, 40), (-1, 1))
SIGMOID_POINTS = spread((-350, 350), (-40, 40), (-1, 1))


@pytest.mark.parametrize(
    ("name", "points", "exact", "most"),
    [
        ("exp", EXP_POINTS, mp.exp, ULPS),
        ("tanh", TANH_POINTS, mp.tanh, ULPS),
        ("log1p", LOG1P_POINTS, mp.log1p, ULPS),
        ("exp_limited", spread((-708.39, 708.39), (-2, 2)), mp.exp, ULPS),
        ("log", np.concatenate([magnitudes(-307, 308), spread((0.3, 3))]), mp.log, ULPS),
        ("softplus", SOFTPLUS_POINTS, lambda z: mp.log1p(mp.exp(z)), ULPS),
        ("softplus'", SOFTPLUS_POINTS, lambda z: 1 / (1 + mp.exp(-z)), 3.0),
        ("sigmoid", SIGMOID_POINTS, lambda z: 1 / (1 + mp.exp(-z)), 3.0),
        ("sigmoid'", SIGMOID_POINTS, lambda z: 1 / (2 + mp.exp(z) + mp.exp(-z)), 5.0),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_two_units_in_the_last_place_over_the_whole_range(name, points, exact, most):
    assert worst_ulps(points, values(points)[name], exact) <= most


# --- float32, of all its bit patterns every so many-th, against float64 -----------------------

STRIDE = 1021 if JIT_ENABLED else 1_000_003  # primes: 4,206,578 and 4295 of the 2**32 arguments
MOST = {  # units of the last place; of all arguments, measured in C: in the comment
    "exp": 2.0,  # 1.03
    "exp_limited": 2.0,  # 0.58
    "tanh": 2.0,  # 1.78
    "e of tanh": 2.0,  # 1.03
    "tanh'": 4.5,  # 4.22
    "log1p": 2.0,  # 0.86
    "log": 2.0,  # 0.86
    "softplus": 2.0,  # 1.55
    "softplus'": 3.0,  # 2.53 of every 509th
    "sigmoid": 2.0,  # 1.70
    "sigmoid'": 3.3,  # 2.98 of every 509th
}


def exact_values(name, x):
    """A function of float32 numbers, in float64, and for which of them it is promised."""
    limit = np.float32(LIMITS[SINGLE])
    if name in ("exp", "exp_limited"):
        return np.exp(x), (abs(x) <= limit) | (name == "exp")
    if name in ("tanh", "tanh'"):
        slope = 4.0 * np.exp(-2.0 * abs(x)) / (1.0 + np.exp(-2.0 * abs(x))) ** 2
        return (np.tanh(x), True) if name == "tanh" else (slope, abs(x) <= 43.5)
    if name == "e of tanh":
        return np.exp(-2.0 * abs(x)), abs(x) <= 43.5
    if name == "log1p":
        return np.log1p(x), True
    if name == "log":
        return np.log(x), x >= NORMAL[SINGLE]
    if name == "softplus":
        return np.where(x > 0.0, x, 0.0) + np.log1p(np.exp(-abs(x))), x >= -limit
    if name == "sigmoid'":
        return expit(x) * expit(-x), abs(x) <= limit
    return expit(x), x >= -limit


def errors_in_units(computed, exact):
    """The errors of float32 numbers in units of the last place of the right ones.

    An infinity stands for 2**128, the power of two that were next.
    """
    computed, exact = computed.astype(float), np.clip(exact, -(2.0**128), 2.0**128)
    computed = np.where(np.isinf(computed), np.copysign(2.0**128, computed), computed)
    units = np.ldexp(1.0, np.maximum(np.frexp(exact)[1] - 24, -149))
    units = np.where(abs(exact) == 2.0**128, 2.0**104, units)
    return abs(computed - exact) / units


@pytest.fixture(scope="module")
def worst():
    """The largest errors of all functions, and where they are."""
    found = dict.fromkeys(NAMES, (-1.0, 0.0))
    bits = np.arange(0, 2**32, STRIDE, dtype=np.uint64).astype(np.uint32)
    with np.errstate(all="ignore"):
        for x in np.array_split(bits.view(np.float32), -(-bits.size // 2**19)):
            exact_x = x.astype(float)
            for name, computed in values(x).items():
                exact, promised = exact_values(name, exact_x)
                promised = promised & ~np.isnan(exact)
                if name != "log":  # of what is not positive, it need not be NaN
                    assert np.isnan(computed[np.isnan(x)]).all(), name
                if name in ("exp", "tanh", "log1p"):
                    np.testing.assert_array_equal(np.isnan(computed), np.isnan(exact))
                error = np.where(promised, errors_in_units(computed, exact), -1.0)
                at = int(np.argmax(error))  # the first NaN, if there is one
                if not error[at] <= found[name][0]:
                    found[name] = float(error[at]), float(x[at])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_float32_over_its_whole_range(name, worst):
    error, where = worst[name]
    assert 0.4 < error <= MOST[name], where


def test_beyond_the_limits_of_float32():
    """What is left out above: 0 where a result is not normal, or its reciprocal."""
    limit, largest = np.float32(LIMITS[SINGLE]), np.finfo(SINGLE).max
    for x in (np.nextafter(limit, largest), np.float32(88.0), np.float32(104.0), largest):
        found = {name: result[0] for name, result in values(np.array([-x])).items()}
        assert found["exp_limited"] == found["sigmoid"] == found["sigmoid'"] == 0.0
        assert found["softplus"] == found["softplus'"] == 0.0
        found = {name: result[0] for name, result in values(np.array([x])).items()}
        assert found["sigmoid'"] == 0.0
        assert found["softplus"] == x
        assert found["sigmoid"] == found["softplus'"] == 1.0
    for x in (np.nextafter(np.float32(43.5), largest), np.float32(52.0), largest):
        for argument in (x, -x):
            found = {n: result[0] for n, result in values(np.array([argument])).items()}
            assert found["e of tanh"] == found["tanh'"] == 0.0
            assert found["tanh"] == np.copysign(1.0, argument)
    found = values(np.array([-limit, np.float32(-43.5), limit], SINGLE))
    assert (found["exp_limited"][[0, 2]] >= NORMAL[SINGLE]).all()
    assert np.isfinite(1.0 / found["exp_limited"][[0, 2]]).all()
    assert found["sigmoid"][0] >= NORMAL[SINGLE] and found["sigmoid'"][2] >= NORMAL[SINGLE]
    assert found["e of tanh"][1] >= NORMAL[SINGLE]


# --- both ---------------------------------------------------------------------------------


def special(dtype):
    least = LEAST[dtype]
    return np.array([0.0, -0.0, np.inf, -np.inf, np.nan, least, -least, 1.0], dtype)


MORE = {
    DOUBLE: [-1.0, -2.0, 1e308, -1e308, 710.0, -746.0, 1e-300, -1e-300, -745.1, 709.7],
    SINGLE: [
        -1.0, -2.0, 1e38, -1e38, 90.0, -105.0, 1e-38, -1e-38, 88.72, 88.73, -103.9, -104.0, -87.4,
        np.finfo(SINGLE).max, np.finfo(SINGLE).min, -1.0 + 2.0**-24, -1.0 - 2.0**-23, 2.0**-127,
    ],
}  # fmt: skip


@both
@pytest.mark.parametrize(
    ("name", "function"), [("exp", np.exp), ("tanh", np.tanh), ("log1p", np.log1p)]
)
def test_special_values(name, function, dtype):
    for x in (special(dtype), np.array(MORE[dtype], dtype)):
        with np.errstate(all="ignore"):
            expected = function(x.astype(float)).astype(dtype)
        got = values(x)[name]
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
        zero = expected == 0
        assert (got[zero] == 0.0).all()
        np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(expected[zero]))
        np.testing.assert_allclose(got, expected, rtol=2 * np.finfo(dtype).eps, atol=LEAST[dtype])


@both
def test_special_values_of_what_is_made_of_them(dtype):
    x = special(dtype)
    found = values(x)
    np.testing.assert_array_equal(found["sigmoid"][:7], [0.5, 0.5, 1, 0, np.nan, 0.5, 0.5])
    np.testing.assert_array_equal(found["sigmoid'"][:7], [0.25, 0.25, 0, 0, np.nan, 0.25, 0.25])
    np.testing.assert_array_equal(found["tanh'"][:7], [1, 1, 0, 0, np.nan, 1, 1])
    np.testing.assert_array_equal(found["softplus'"][:7], [0.5, 0.5, 1, 0, np.nan, 0.5, 0.5])
    with np.errstate(all="ignore"):
        expected = np.logaddexp(0.0, x.astype(float))
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(found["softplus"], expected, rtol=2 * eps, atol=NORMAL[dtype] * 1.01)


@pytest.mark.parametrize(("dtype", "limit"), [("float64", 707.0), ("float32", 87.0)])
def test_outputs_keep_their_digits(dtype, limit):
    outputs = fastbp.predict_neuron([[-1000.0], [-limit], [1000.0]], [1.0], 0.0, dtype=dtype)
    rtol = 3.0 * np.finfo(dtype).eps
    np.testing.assert_allclose(outputs, [0.0, float(mp.exp(-limit)), 1.0], rtol=rtol, atol=0)


SATURATED = {
    DOUBLE: np.array([-1e307, -1e10, -746.0, -710.0, 710.0, 746.0, 1e10, 1e307]),
    SINGLE: np.array([-1e38, -1e10, -106.0, -88.0, 88.0, 106.0, 1e10, 1e38], SINGLE),
}


@both
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus"])
def test_derivatives_underflow_to_zero(name, dtype):
    row, x = ACTIVATIONS[name], SATURATED[dtype]
    found = values(x)
    expected = np.where(x > 0.0, float(name == "softplus"), 0.0)
    np.testing.assert_array_equal(found[f"{name}'"], expected)
    least = {"sigmoid": 0.0, "tanh": -1.0, "softplus": 0.0}[name]
    with np.errstate(all="ignore"):
        phi = row.phi(x)
        np.testing.assert_array_equal(found[name], np.where(x > 0.0, phi, least))
        slope = row.derivative(x, found[name])
    np.testing.assert_allclose(slope, expected, rtol=0, atol=NORMAL[dtype])
