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
    eighths_lost,
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
# The same for float32 with 14 bits in the first part: its product with an integer is exact.
LN_2_SHORT_SINGLE, LN_2_REST_SINGLE = 0.69317626953125, -2.9088971132296138e-05
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


# e**(y*y/2) Phi(-y) = Q(y) / (ROOT_2_PI y Q(y) + P(y)) for 0 <= y <= 37.65, relative error 2**-57:
# P/Q is what the continued fraction of Mills' ratio adds to y, and small where y is large.
# P_0 = 2 Q_0 makes it 1/2 at 0; both have few bits, so that what their sums lose is found exactly.
ROOT_2_PI, INVERSE_ROOT_2_PI = 2.5066282746310007, 0.3989422804014327
NORMAL_LIMIT, NORMAL_LIMIT_SINGLE = 37.64, 13.216  # e**(-y*y/2) is normal up to here
TAIL_P_0 = 3.71875
TAIL_P_1 = 4.601358342515171
TAIL_P_2 = 2.9119557983057622
TAIL_P_3 = 1.1963615978301232
TAIL_P_4 = 0.346544525177487
TAIL_P_5 = 0.07284927102440475
TAIL_P_6 = 0.011083601393965135
TAIL_P_7 = 0.0011782793222067395
TAIL_P_8 = 7.985291299625588e-05
TAIL_P_9 = 2.6597143479969842e-06
TAIL_Q_0 = 1.859375
TAIL_Q_1 = 3.147493540085765
TAIL_Q_2 = 2.6354121599444773
TAIL_Q_3 = 1.4129921608525338
TAIL_Q_4 = 0.532630033062698
TAIL_Q_5 = 0.14690348912897802
TAIL_Q_6 = 0.029996421426727222
TAIL_Q_7 = 0.004485430545002941
TAIL_Q_8 = 0.0004721875862626062
TAIL_Q_9 = 3.185670318970301e-05
TAIL_Q_10 = 1.0610725073016723e-06
# The same for float32, for 0 <= y <= 13.22; error 2**-29.
TAIL_P_0_SINGLE = 3.5
TAIL_P_1_SINGLE = 2.1935083866119385
TAIL_P_2_SINGLE = 0.7223768830299377
TAIL_P_3_SINGLE = 0.1292434185743332
TAIL_P_4_SINGLE = 0.010755223222076893
TAIL_Q_0_SINGLE = 1.75
TAIL_Q_1_SINGLE = 1.8937560319900513
TAIL_Q_2_SINGLE = 0.9845752120018005
TAIL_Q_3_SINGLE = 0.29626181721687317
TAIL_Q_4_SINGLE = 0.051584392786026
TAIL_Q_5_SINGLE = 0.004290224518626928


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
        r = r + eighths_lost(shifted)  # the rounding of 2**(n/8), half of the whole error
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
def expm1_and_exponential(exact_u: Vector) -> tuple[Vector, Vector]:
    """Return t = e**u - 1 and e = e**u for u <= 0; where e is not normal, it is 0.

    The roundings of r and of t's leading part are each corrected to first order.
    """
    least = by_type(exact_u, -708.0, -87.0)  # beyond, e is not normal
    u = where_less(exact_u, least, least, exact_u)
    shift = shift_for(u)
    shifted = fma(u, LOG2_E, shift)
    n = shifted - shift
    scale = power_of_two(shifted)
    high, low = ln_2_for(u)
    r_exact = fma(n, -high, u)
    r = fma(n, -low, r_exact)
    r_lost = fma(n, -low, r_exact - r)
    offset = scale - 1.0
    lead = fma(scale, r, offset)
    lead_lost = fma(scale, r, offset - lead)
    beyond = _beyond_first_order(r)
    t = lead + fma(scale, beyond + r_lost, lead_lost)
    return t, where_less(exact_u, least, 0.0, fma(beyond + r, scale, scale))


@device_function
def tanh_and_exponential(x: Vector) -> tuple[Vector, Vector]:
    """Return tanh x and e = e**-2|x|, with which its derivative is 4 e / (1 + e)**2.

    Where e is not normal, it is 0.

    tanh x = -t / (2 + t) with the sign of x, where t = e - 1. The roundings of 2 + t and of the
    quotient are corrected to first order, as those of t are: errors stay below 1.7 units in the
    last place, against 2.5 without.
    """
    t, e = expm1_and_exponential(absolute(x) * -2.0)
    d = t + 2.0
    q = t / d
    lost = fma(-q, t - (d - 2.0), fma(-q, d, t))
    inverse = fma(-0.5, d, 1.457)  # of d in 1..2, within 5 %
    return with_sign_of(fma(lost, inverse, q), x), e


@device_function
def normal_tail(z: Vector) -> tuple[Vector, Vector, Vector, Vector]:
    """Return y = |z|, e = e**(-y*y/2), y e and g = Phi(-y)/e, for the normal distribution Phi.

    Above NORMAL_LIMIT, y is that, and e and y e are 0. As `exp`, but r is that of the exact y*y/2:
    n ln 2 is exact, and their difference one multiply-add. What q, d and the quotient lose is
    corrected to first order.
    """
    limit, exact_y = by_type(z, NORMAL_LIMIT, NORMAL_LIMIT_SINGLE), absolute(z)
    y = where_less(limit, exact_y, limit, exact_y)
    s = y * y
    shift = shift_for(y)
    shifted = fma(s, -0.5 * LOG2_E, shift)
    n = shifted - shift
    scale = where_less(limit, exact_y, 0.0, power_of_two(shifted))
    high = by_type(y, LN_2_HIGH, LN_2_SHORT_SINGLE)
    low = by_type(y, LN_2_LOW, LN_2_REST_SINGLE)
    r = fma(n, -low, fma(y * -0.5, y, n * -high))
    change = _beyond_first_order(r) + r
    y_scale = y * scale
    p_slope, q_slope = _tail_polynomials(y, s)  # (P - P_0)/y and (Q - Q_0)/y
    p_0 = by_type(y, TAIL_P_0, TAIL_P_0_SINGLE)
    q_0 = by_type(y, TAIL_Q_0, TAIL_Q_0_SINGLE)
    q = fma(q_slope, y, q_0)
    q_lost = fma(q_slope, y, q_0 - q)
    slope = fma(q, ROOT_2_PI, fma(q_lost, ROOT_2_PI, p_slope))
    d = fma(slope, y, p_0)
    inverse = 1.0 / d
    g = q * inverse
    lost = fma(-g, fma(slope, y, p_0 - d), fma(-g, d, q) + q_lost)
    g = fma(lost, inverse, g)
    return y, fma(change, scale, scale), fma(change, y_scale, y_scale), g


@device_function
def _tail_polynomials(y: Vector, s: Vector) -> tuple[Vector, Vector]:
    """Return (P(y) - P_0)/y and (Q(y) - Q_0)/y for s = y*y, odd and even powers apart."""
    if is_single(y):
        p_odd = fma(TAIL_P_3_SINGLE, s, TAIL_P_1_SINGLE)
        p_even = fma(TAIL_P_4_SINGLE, s, TAIL_P_2_SINGLE)
        q_odd = fma(fma(TAIL_Q_5_SINGLE, s, TAIL_Q_3_SINGLE), s, TAIL_Q_1_SINGLE)
        q_even = fma(TAIL_Q_4_SINGLE, s, TAIL_Q_2_SINGLE)
    else:
        p_odd = fma(fma(TAIL_P_9, s, TAIL_P_7), s, TAIL_P_5)
        p_even = fma(fma(TAIL_P_8, s, TAIL_P_6), s, TAIL_P_4)
        q_odd = fma(fma(TAIL_Q_9, s, TAIL_Q_7), s, TAIL_Q_5)
        q_even = fma(fma(TAIL_Q_10, s, TAIL_Q_8), s, TAIL_Q_6)
        p_odd = fma(fma(p_odd, s, TAIL_P_3), s, TAIL_P_1)
        p_even = fma(p_even, s, TAIL_P_2)
        q_odd = fma(fma(q_odd, s, TAIL_Q_3), s, TAIL_Q_1)
        q_even = fma(fma(q_even, s, TAIL_Q_4), s, TAIL_Q_2)
    return fma(p_even, y, p_odd), fma(q_even, y, q_odd)


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
