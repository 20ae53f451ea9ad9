"""leaky_relu, elu, silu and gelu against 50 digits and, in float32, float64.

This file also runs with the JIT off (``NUMBA_DISABLE_JIT=1``). What was measured of all arguments
of float32 is in the comments; derivatives lose relative accuracy only near their zeros.
"""

import numpy as np
import pytest
from mpmath import mp
from scipy.special import expit, ndtr

from fastbp.kernels import activations
from fastbp.kernels.jit import JIT_ENABLED, kernel
from fastbp.kernels.vector import LANES, load, pointer_to, store
from tests.kernels.both import SINGLE, both
from tests.kernels.test_exponential import errors_in_units, spread, worst_ulps

CODES = {
    "leaky_relu": activations.LEAKY_RELU,
    "elu": activations.ELU,
    "silu": activations.SILU,
    "gelu": activations.GELU,
}


@kernel
def both_of(code, z, out):
    """OUT out (2, n): phi and phi'."""
    p, q, n = pointer_to(z), pointer_to(out), z.size
    for i in range(0, n, LANES):
        a, derivative = activations.activate_with_derivative(code, load(p, i))
        store(q, i, a)
        store(q, i + n, derivative)


def values(name, z):
    """phi(z) and phi'(z)."""
    padded = np.zeros(-(-z.size // LANES) * LANES, z.dtype)
    padded[: z.size] = z
    out = np.empty((2, padded.size), z.dtype)
    both_of(CODES[name], padded, out)
    return out[:, : z.size]


def exact_silu_slope(z):
    s = 1 / (1 + mp.exp(-z))
    return s * (1 + z * (1 - s))


@pytest.mark.parametrize(
    ("name", "part", "ends", "exact", "most"),
    [
        ("elu", 0, [(-708, 0), (-2, 0), (-1e-5, 0)], mp.expm1, 1.5),
        ("elu", 1, [(-708, 0), (-2, 0)], mp.exp, 1.5),
        ("silu", 0, [(-708, 708), (-40, 40), (-2, 2)], lambda z: z / (1 + mp.exp(-z)), 2.1),
        ("silu", 1, [(-1, 40), (-708, -2)], exact_silu_slope, 4.0),
        ("gelu", 0, [(-37.6, 0), (-2, 0)], lambda z: z * mp.ncdf(z), 3.0),
        ("gelu", 0, [(0, 40), (0, 2)], lambda z: z * mp.ncdf(z), 2.0),
        ("gelu", 1, [(-0.5, 40), (-37, -2)], lambda z: mp.ncdf(z) + z * mp.npdf(z), 5.5),
    ],
)
def test_units_in_the_last_place(name, part, ends, exact, most):
    z = spread(*ends)
    assert worst_ulps(z, values(name, z)[part], exact) <= most


FORMULAS = {
    "leaky_relu": (
        lambda z: np.where(z > 0.0, z, 0.01 * z),
        lambda z: np.where(z > 0.0, 1.0, 0.01),
    ),
    "elu": (
        lambda z: np.where(z > 0.0, z, np.expm1(np.minimum(z, 0.0))),
        lambda z: np.exp(np.minimum(z, 0.0)),
    ),
    "silu": (lambda z: z * expit(z), lambda z: expit(z) * (1.0 + z * expit(-z))),
    "gelu": (
        lambda z: z * ndtr(z),
        lambda z: ndtr(z) + z * np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi),
    ),
}
MOST = {  # in units of the last place, of phi and phi'; from where on, and not between
    "leaky_relu": (1.0, 1.0, -3e38, (0.0, 0.0)),
    "elu": (1.5, 1.5, -87.0, (0.0, 0.0)),  # 0.98, 0.97
    "silu": (2.5, 6.5, -87.33, (-1.6, -0.96)),  # 2.35, 5.9
    "gelu": (3.0, 5.5, -13.0, (-0.97, -0.55)),  # 2.76, 5.2
}
STRIDE = 4093 if JIT_ENABLED else 1_000_003


@pytest.mark.parametrize("name", CODES)
def test_float32(name):
    bits = np.arange(0, 2**32, STRIDE, dtype=np.uint64).astype(np.uint32)
    most, most_of_slope, least, (start, stop) = MOST[name]
    with np.errstate(all="ignore"):
        z = bits.view(np.float32)
        z = z[np.isfinite(z) & (z >= least)]
        exact = [formula(z.astype(float)) for formula in FORMULAS[name]]
        a, slope = values(name, z)
        assert errors_in_units(a, exact[0]).max() <= most
        elsewhere = ~((z > start) & (z < stop))
        assert errors_in_units(slope, exact[1])[elsewhere].max() <= most_of_slope
        assert abs(slope - exact[1])[~elsewhere].max(initial=0.0) <= 2.0**-24


@both
@pytest.mark.parametrize("name", CODES)
def test_special_values(name, dtype):
    infinity = np.inf
    z = np.array([0.0, -0.0, infinity, -infinity, np.nan, 1e30, -1e30, 1.0], dtype)
    a, slope = values(name, z)
    leaks = name == "leaky_relu"
    low = {"leaky_relu": -infinity, "elu": -1.0}.get(name, 0.0)
    np.testing.assert_array_equal(a[:5], [0.0, 0.0, infinity, low, np.nan])
    assert a[5] == z[5]
    assert a[6] == (z[6] * dtype.type(0.01) if leaks else low)
    leak = dtype.type(0.01) if leaks else 0.0
    if leaks:
        np.testing.assert_array_equal(slope[2:4], [1.0, leak])
    else:
        np.testing.assert_array_equal(slope[2:5], [1.0, 0.0, np.nan])
    np.testing.assert_array_equal(slope[5:7], [1.0, leak])
    assert slope[0] == {"leaky_relu": leak, "elu": 1.0}.get(name, 0.5)
    assert np.signbit(a[1])


def test_the_limits_of_float32():
    """Below, silu and gelu are 0; of what is kept there, nothing is infinite or NaN."""
    z = np.array([-87.4, -88.0, -104.0, -1e30], SINGLE)
    for name in ("silu", "gelu"):
        a, slope = values(name, z)
        assert (a == 0.0).all() and (slope == 0.0).all()
