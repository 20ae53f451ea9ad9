"""exp, tanh and log1p of eight numbers at once, without branches.

Errors are at most 2 units in the last place of float64 and of float32 over the whole range (tests
compare with 50 digits and with float64). All are right at 0, at plus and minus infinity, at NaN,
and where the result is subnormal.
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
    eighths_shift,
    exponent,
    mantissa,
    power_of_two,
    shift_for,
    two_to_eighths,
)
from fastbp.kernels.vector import (
    Vector,
    absolute,
    by_type,
    fma,
    is_single,
    where_less,
    with_sign_of,
)

LOG2_E = 1.4426950408889634
SQRT_2 = 1.4142135623730951
NAN = np.nan
INFINITY = np.inf

# ln 2 in two parts; for float64 the first has 32 bits, so that its product with an integer is
# exact, as are those of float32 where they are subtracted from what is near them.
LN_2_HIGH, LN_2_HIGH_SINGLE = 0.6931471803691238, 0.6931471824645996
LN_2_LOW, LN_2_LOW_SINGLE = 1.9082149292705877e-10, -1.9046542121259336e-09
LIMIT, LIMIT_SINGLE = 708.39, 87.33  # e to the power of minus this and its reciprocal are normal
LARGEST, LARGEST_SINGLE = (float(np.finfo(t).max) for t in (np.float64, np.float32))

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
# The same for float32.
EXP_0_SINGLE = 0.16666534543037415
EXP_1_SINGLE = 0.04166724160313606
EXP_2_SINGLE = 0.008367431350052357
EXP_3_SINGLE = 0.001386340125463903

# (e**r - 1 - r) / r**2 for |r| <= ln(2)/16; the error of e**r is below 2**-56.
NEAR_0 = 0.5000000000000051
NEAR_1 = 0.16666666666666724
NEAR_2 = 0.0416666666175068
NEAR_3 = 0.008333333327871156
NEAR_4 = 0.0013889587247893672
NEAR_5 = 0.0001984204579240919
# The same for float32, after 1/2.
NEAR_1_SINGLE = 0.166680246591568
NEAR_2_SINGLE = 0.041669271886348724

# (ln((1 + s)/(1 - s)) - 2 s) / s**3 in powers of s**2, for |s| <= 3 - sqrt(8); error 2**-56.
LOG_0 = 0.666666666666667
LOG_1 = 0.3999999999989889
LOG_2 = 0.28571428626253836
LOG_3 = 0.22222211089379496
LOG_4 = 0.1818289243253687
LOG_5 = 0.15331611722055008
LOG_6 = 0.14617807153417325
# The same for float32.
LOG_0_SINGLE = 0.6666668653488159
LOG_1_SINGLE = 0.3998878002166748
LOG_2_SINGLE = 0.29579949378967285


@device_function
def limit_for(x: Vector) -> float:
    """Return LIMIT for the type of x."""
    return by_type(x, LIMIT, LIMIT_SINGLE)


@device_function
def ln_2_for(x: Vector) -> tuple[float, float]:
    """Return the two parts of ln 2 for the type of x."""
    high = by_type(x, LN_2_HIGH, LN_2_HIGH_SINGLE)
    return high, by_type(x, LN_2_LOW, LN_2_LOW_SINGLE)


@device_function
def _beyond_first_order(r: Vector) -> Vector:
    """Return e**r - 1 - r for |r| <= ln(2)/2.

    Even and odd powers apart: half as long a chain of dependent operations as Horner's.
    """
    s = r * r
    if is_single(r):
        even = fma(EXP_3_SINGLE, s, EXP_1_SINGLE)
        odd = fma(EXP_2_SINGLE, s, EXP_0_SINGLE)
        even = fma(even, s, 0.5)
        return fma(odd, r, even) * s
    even = fma(EXP_9, s, EXP_7)
    odd = fma(EXP_8, s, EXP_6)
    even = fma(even, s, EXP_5)
    odd = fma(odd, s, EXP_4)
    even = fma(even, s, EXP_3)
    odd = fma(odd, s, EXP_2)
    even = fma(even, s, EXP_1)
    odd = fma(odd, s, EXP_0)
    even = fma(even, s, 0.5)
    return fma(odd, r, even) * s


@device_function
def exp(x: Vector) -> Vector:
    """Return e**x: 2**n e**r with n = round(x / ln 2) and r = x - n ln 2."""
    least, most = by_type(x, -746.0, -105.0), by_type(x, 710.0, 90.0)  # e**x is 0, infinite
    x = where_less(x, least, least, x)
    x = where_less(most, x, most, x)
    shift = shift_for(x)
    n = fma(x, LOG2_E, shift) - shift
    shifted = fma(n, 0.5, shift)  # 2**n itself may be subnormal or too large
    scale = power_of_two(shifted)
    high, low = ln_2_for(x)
    r = fma(n, -low, fma(n, -high, x))
    rest = power_of_two((n - (shifted - shift)) + shift)
    return fma(_beyond_first_order(r) + r, scale, scale) * rest


@device_function
def exp_limited(x: Vector) -> Vector:
    """Return e**x, 0 below -LIMIT, and anything above LIMIT: less work than exp.

    2**(n/8) e**r with n = round(8 x / ln 2) and r = x - n/8 ln 2: an eighth of the range of r
    takes half the polynomial, 1.15 times as fast (with AVX2 as well). Up to LIMIT neither the
    result nor its reciprocal is subnormal or infinite, but for the reciprocal of 0.
    """
    shift = eighths_shift(x)
    shifted = fma(x, 8.0 * LOG2_E, shift)
    n = shifted - shift
    scale = two_to_eighths(shifted)
    ln_2_high, ln_2_low = ln_2_for(x)
    r = fma(n, -ln_2_low / 8.0, fma(n, -ln_2_high / 8.0, x))
    s = r * r
    if is_single(x):
        p = fma(fma(NEAR_2_SINGLE, r, NEAR_1_SINGLE), r, 0.5)
    else:
        high = fma(NEAR_5, r, NEAR_4)
        middle = fma(NEAR_3, r, NEAR_2)
        p = fma(fma(high, s, middle), s, fma(NEAR_1, r, NEAR_0))
    e = fma(fma(p, s, r), scale, scale)
    return where_less(x, -limit_for(x), 0.0, e)


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
    least = by_type(x, -708.0, -87.0)  # beyond, e is not normal
    exact_u = absolute(x) * -2.0
    u = where_less(exact_u, least, least, exact_u)
    shift = shift_for(x)
    shifted = fma(u, LOG2_E, shift)
    n = shifted - shift
    scale = power_of_two(shifted)
    high, low = ln_2_for(x)
    r_exact = fma(n, -high, u)
    r = fma(n, -low, r_exact)
    r_lost = fma(n, -low, r_exact - r)
    offset = scale - 1.0
    lead = fma(scale, r, offset)
    lead_lost = fma(scale, r, offset - lead)
    beyond = _beyond_first_order(r)
    t = lead + fma(scale, beyond + r_lost, lead_lost)
    d = t + 2.0
    q = t / d
    lost = fma(-q, t - (d - 2.0), fma(-q, d, t))
    inverse = fma(-0.5, d, 1.457)  # of d in 1..2, within 5 %
    e = where_less(exact_u, least, 0.0, fma(beyond + r, scale, scale))
    return with_sign_of(fma(lost, inverse, q), x), e


@device_function
def log1p(x: Vector) -> Vector:
    """Return ln(1 + x) from the rounded sum s = 1 + x and what the rounding lost."""
    s = x + 1.0
    x_rounded = s - 1.0
    lost = (1.0 - (s - x_rounded)) + (x - x_rounded)
    log = log_of_sum(s, lost / s)
    log = where_less(by_type(x, LARGEST, LARGEST_SINGLE), x, x, log)
    below = where_less(x, -1.0, NAN, -INFINITY)
    log = where_less(x, by_type(x, -1.0 + 2.0**-53, -1.0 + 2.0**-24), below, log)
    return with_sign_of(log, x)


@device_function
def log_of_sum(s: Vector, correction: Vector) -> Vector:
    """Return ln s + correction: s positive and normal, the correction below its last place.

    s = 2**n (1 + f) with 1 + f in sqrt(1/2)..sqrt(2); ln(1 + f) by the series of
    ln((1 + t)/(1 - t)) at t = f/(2 + f).
    """
    n = exponent(s)
    m = mantissa(s)
    n = where_less(SQRT_2, m, n + 1.0, n)
    f = where_less(SQRT_2, m, m * 0.5, m) - 1.0
    t = f / (f + 2.0)
    z = t * t
    if is_single(s):
        p = fma(LOG_2_SINGLE, z, LOG_1_SINGLE)
        p = fma(p, z, LOG_0_SINGLE)
    else:
        p = fma(LOG_6, z, LOG_5)
        p = fma(p, z, LOG_4)
        p = fma(p, z, LOG_3)
        p = fma(p, z, LOG_2)
        p = fma(p, z, LOG_1)
        p = fma(p, z, LOG_0)
    # ln(1 + f) = f - t (f - z p) = f - (f**2/2 - t (f**2/2 + z p)), small terms first
    h = f * f * 0.5
    ln_2_high, ln_2_low = ln_2_for(s)
    low = fma(n, ln_2_low, correction)
    return fma(n, ln_2_high, f - (h - fma(t, fma(z, p, h), low)))
