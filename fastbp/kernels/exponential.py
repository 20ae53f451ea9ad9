"""exp, tanh and log1p of eight numbers at once, without branches.

Errors are at most 2 units in the last place over the whole range (a test compares with 50
digits). All are right at 0, at plus and minus infinity, at NaN, and where the result is subnormal.
`math.exp` in a kernel is a call of the C library for every element; these take a vector.

`exp` and `log1p` are the general forms; `exp_limited` and `log_of_sum` do less: just what the
sigmoid and log loss need.

Method: the usual range reductions (J.-M. Muller, Elementary Functions, chapter 11) with
Chebyshev fits of our own, made with 60 digits by mpmath's `chebyfit`.
"""

from __future__ import annotations

import numpy as np

from fastbp.kernels.jit import device_function
from fastbp.kernels.powers import (
    EIGHTHS,
    SHIFT,
    exponent,
    mantissa,
    power_of_two,
    two_to_eighths,
)
from fastbp.kernels.vector import Vector, absolute, broadcast, fma, where_less, with_sign_of

LOG2_E = 1.4426950408889634
LN_2_HIGH = 0.6931471803691238  # ln 2 to 32 bits: its product with an integer is exact
LN_2_LOW = 1.9082149292705877e-10  # the rest of ln 2
LIMIT = 708.39  # e**-708.39 and its reciprocal are normal numbers
SQRT_2 = 1.4142135623730951
LARGEST = float(np.finfo(np.float64).max)
NAN = np.nan
INFINITY = np.inf

# (e**r - 1 - r - r**2/2) / r**3 for |r| <= ln(2)/2; the error of e**r is below 2**-55.
EXP_0 = 0.16666666666666669
EXP_1 = 0.041666666666666664
EXP_2 = 0.008333333333330062
EXP_3 = 0.0013888888888886552
EXP_4 = 0.00019841269863053618
EXP_5 = 2.4801587317144498e-05
EXP_6 = 2.7557268459997064e-06
EXP_7 = 2.755728296954995e-07
EXP_8 = 2.510038549551032e-08
EXP_9 = 2.0911236630261545e-09

# (e**r - 1 - r) / r**2 for |r| <= ln(2)/16; the error of e**r is below 2**-56.
NEAR_0 = 0.5000000000000051
NEAR_1 = 0.16666666666666724
NEAR_2 = 0.0416666666175068
NEAR_3 = 0.008333333327871156
NEAR_4 = 0.0013889587247893672
NEAR_5 = 0.0001984204579240919

# (ln((1 + s)/(1 - s)) - 2 s) / s**3 in powers of s**2, for |s| <= 3 - sqrt(8); error 2**-56.
LOG_0 = 0.666666666666667
LOG_1 = 0.3999999999989889
LOG_2 = 0.28571428626253836
LOG_3 = 0.22222211089379496
LOG_4 = 0.1818289243253687
LOG_5 = 0.15331611722055008
LOG_6 = 0.14617807153417325


@device_function
def _beyond_first_order(r: Vector) -> Vector:
    """Return e**r - 1 - r for |r| <= ln(2)/2.

    Even and odd powers apart: half as long a chain of dependent operations as Horner's.
    """
    s = r * r
    even = fma(broadcast(EXP_9), s, broadcast(EXP_7))
    odd = fma(broadcast(EXP_8), s, broadcast(EXP_6))
    even = fma(even, s, broadcast(EXP_5))
    odd = fma(odd, s, broadcast(EXP_4))
    even = fma(even, s, broadcast(EXP_3))
    odd = fma(odd, s, broadcast(EXP_2))
    even = fma(even, s, broadcast(EXP_1))
    odd = fma(odd, s, broadcast(EXP_0))
    even = fma(even, s, broadcast(0.5))
    return fma(odd, r, even) * s


@device_function
def exp(x: Vector) -> Vector:
    """Return e**x: 2**n e**r with n = round(x / ln 2) and r = x - n ln 2."""
    x = where_less(x, broadcast(-746.0), broadcast(-746.0), x)  # e**-746 is 0, e**710 infinite
    x = where_less(broadcast(710.0), x, broadcast(710.0), x)
    shift = broadcast(SHIFT)
    n = fma(x, broadcast(LOG2_E), shift) - shift
    shifted = fma(n, broadcast(0.5), shift)  # 2**n itself may be subnormal or too large
    scale = power_of_two(shifted)
    r = fma(n, broadcast(-LN_2_LOW), fma(n, broadcast(-LN_2_HIGH), x))
    rest = power_of_two((n - (shifted - shift)) + shift)
    return fma(_beyond_first_order(r) + r, scale, scale) * rest


@device_function
def exp_limited(x: Vector) -> Vector:
    """Return e**x, 0 below -LIMIT, and anything above LIMIT: less work than exp.

    2**(n/8) e**r with n = round(8 x / ln 2) and r = x - n/8 ln 2: an eighth of the range of r
    takes half the polynomial, 1.15 times as fast (with AVX2 as well). Up to LIMIT neither the
    result nor its reciprocal is subnormal or infinite, but for the reciprocal of 0.
    """
    shift = broadcast(EIGHTHS)
    shifted = fma(x, broadcast(8.0 * LOG2_E), shift)
    n = shifted - shift
    scale = two_to_eighths(shifted)
    r = fma(n, broadcast(-LN_2_LOW / 8.0), fma(n, broadcast(-LN_2_HIGH / 8.0), x))
    s = r * r
    high = fma(broadcast(NEAR_5), r, broadcast(NEAR_4))
    middle = fma(broadcast(NEAR_3), r, broadcast(NEAR_2))
    low = fma(broadcast(NEAR_1), r, broadcast(NEAR_0))
    e = fma(fma(fma(fma(high, s, middle), s, low), s, r), scale, scale)
    return where_less(x, broadcast(-LIMIT), broadcast(0.0), e)


@device_function
def tanh(x: Vector) -> Vector:
    """Return tanh x."""
    value, _ = tanh_and_exponential(x)
    return value


@device_function
def tanh_and_exponential(x: Vector) -> tuple[Vector, Vector]:
    """Return tanh x and e = e**-2|x|, with which its derivative is 4 e / (1 + e)**2.

    Where e is not normal, it is 0.

    tanh x = -t / (2 + t) with the sign of x, where t = e - 1.

    The roundings of r, of t's leading part, of 2 + t and of the quotient are each corrected to
    first order: errors stay below 1.7 units in the last place, against 2.5 without.
    """
    least = broadcast(-708.0)  # beyond, e is not normal
    exact_u = absolute(x) * broadcast(-2.0)
    u = where_less(exact_u, least, least, exact_u)
    shift = broadcast(SHIFT)
    shifted = fma(u, broadcast(LOG2_E), shift)
    n = shifted - shift
    scale = power_of_two(shifted)
    r_exact = fma(n, broadcast(-LN_2_HIGH), u)
    r = fma(n, broadcast(-LN_2_LOW), r_exact)
    r_lost = fma(n, broadcast(-LN_2_LOW), r_exact - r)
    offset = scale - broadcast(1.0)
    lead = fma(scale, r, offset)
    lead_lost = fma(scale, r, offset - lead)
    beyond = _beyond_first_order(r)
    t = lead + fma(scale, beyond + r_lost, lead_lost)
    d = t + broadcast(2.0)
    q = t / d
    lost = fma(-q, t - (d - broadcast(2.0)), fma(-q, d, t))
    inverse = fma(broadcast(-0.5), d, broadcast(1.457))  # of d in 1..2, within 5 %
    e = where_less(exact_u, least, broadcast(0.0), fma(beyond + r, scale, scale))
    return with_sign_of(fma(lost, inverse, q), x), e


@device_function
def log1p(x: Vector) -> Vector:
    """Return ln(1 + x) from the rounded sum s = 1 + x and what the rounding lost."""
    one = broadcast(1.0)
    s = x + one
    x_rounded = s - one
    lost = (one - (s - x_rounded)) + (x - x_rounded)
    log = log_of_sum(s, lost / s)
    log = where_less(broadcast(LARGEST), x, x, log)
    below = where_less(x, -one, broadcast(NAN), broadcast(-INFINITY))
    log = where_less(x, broadcast(-1.0 + 2.0**-53), below, log)
    return with_sign_of(log, x)


@device_function
def log_of_sum(s: Vector, correction: Vector) -> Vector:
    """Return ln s + correction: s positive and normal, the correction below its last place.

    s = 2**n (1 + f) with 1 + f in sqrt(1/2)..sqrt(2); ln(1 + f) by the series of
    ln((1 + t)/(1 - t)) at t = f/(2 + f).
    """
    one = broadcast(1.0)
    n = exponent(s)
    m = mantissa(s)
    large = broadcast(SQRT_2)
    n = where_less(large, m, n + one, n)
    f = where_less(large, m, m * broadcast(0.5), m) - one
    t = f / (f + broadcast(2.0))
    z = t * t
    p = fma(broadcast(LOG_6), z, broadcast(LOG_5))
    p = fma(p, z, broadcast(LOG_4))
    p = fma(p, z, broadcast(LOG_3))
    p = fma(p, z, broadcast(LOG_2))
    p = fma(p, z, broadcast(LOG_1))
    p = fma(p, z, broadcast(LOG_0))
    # ln(1 + f) = f - t (f - z p) = f - (f**2/2 - t (f**2/2 + z p)), small terms first
    h = f * f * broadcast(0.5)
    low = fma(n, broadcast(LN_2_LOW), correction)
    return fma(n, broadcast(LN_2_HIGH), f - (h - fma(t, fma(z, p, h), low)))
