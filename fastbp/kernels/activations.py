"""Activations and their derivatives, eight pre-activations at once: z in, a = phi(z) out.

An activation is a code here, its formula with its derivative, and a branch in
:func:`others_with_derivative`; what most networks have is in :func:`activate` and
:func:`activate_with_derivative` instead. A code that a choice does not name gives NaN.
"""

from __future__ import annotations

from fastbp.kernels.exponential import (
    INVERSE_ROOT_2_PI,
    NAN,
    exp,
    exp_limited,
    expm1_and_exponential,
    limit_for,
    log_of_sum,
    normal_tail,
    tanh,
    tanh_and_exponential,
)
from fastbp.kernels.jit import device_function, subroutine
from fastbp.kernels.vector import Vector, absolute, broadcast_like, fma, is_single, where_less

IDENTITY = 0
SIGMOID = 1
RELU = 2
TANH = 3
SOFTMAX = 4  # of an output layer only, all its neurons at once: see losses.py
EXPONENTIAL = 5  # of an output layer only, with the Poisson deviance
SOFTPLUS = 6
LEAKY_RELU = 7
ELU = 8
SILU = 9
GELU = 10

LEAK = 0.01  # the slope of the leaky ReLU below 0


@device_function
def sigmoid_and_derivative(z: Vector) -> tuple[Vector, Vector]:
    """Return a = 1/(1 + e**-z) and its derivative a (1 - a) = a e**-z a, with all their digits.

    Below minus the limit both are 0, and above it the derivative is. To take e**-|z| and choose by
    the sign of z at the end was slower.
    """
    return sigmoid_of(z, exp_limited(-z))


@device_function
def sigmoid_of(z: Vector, e: Vector) -> tuple[Vector, Vector]:
    """Return what :func:`sigmoid_and_derivative` does, for e = e**-z."""
    x, limit = -z, limit_for(z)
    a = 1.0 / (1.0 + e)
    if is_single(z):  # 1.7 units in the last place, and 3.0 in the derivative
        a = a + reciprocal_lost(e, a)
    a = where_less(limit, x, 0.0, a)
    return a, where_less(limit, x, 0.0, a * (e * a))


@device_function
def reciprocal_lost(e: Vector, s: Vector) -> Vector:
    """Return what the roundings of 1 + e and of s = 1/(1 + e) have lost, to first order."""
    d = 1.0 + e
    e_rounded = d - 1.0
    sum_lost = (1.0 - (d - e_rounded)) + (e - e_rounded)
    return fma(-s, sum_lost, fma(-s, d, 1.0)) * s


@device_function
def softplus_of_minus(e: Vector) -> tuple[Vector, Vector, Vector]:
    """Return ln(1 + e**-u), 1/(1 + e**-u) and 1/(1 + e**u), for e = e**-u and u >= 0.

    With all their digits; beyond the limit they are 0, 1 and 0.
    """
    s = 1.0 + e
    larger = 1.0 / s
    lost = e - (s - 1.0)
    return log_of_sum(s, lost * larger), larger, e * larger


@device_function
def softplus_and_derivative(z: Vector) -> tuple[Vector, Vector]:
    """Return a = ln(1 + e**z) and its derivative 1/(1 + e**-z), both with all their digits.

    As max(z, 0) + ln(1 + e**-|z|) no finite z makes it infinite (Dugas et al., NIPS 2000).
    """
    log, larger, smaller = softplus_of_minus(exp_limited(-absolute(z)))
    a = where_less(0.0, z, z, 0.0) + log
    return a, where_less(z, 0.0, smaller, larger)


@device_function
def leaky_relu_and_derivative(z: Vector) -> tuple[Vector, Vector]:
    """Return z and 1 above 0, else LEAK z and LEAK."""
    return where_less(0.0, z, z, z * LEAK), where_less(0.0, z, broadcast_like(z, 1.0), LEAK)


@device_function
def elu_and_derivative(z: Vector) -> tuple[Vector, Vector]:
    """Return e**z - 1 and e**z for z <= 0, else z and 1 (Clevert et al., ICLR 2016)."""
    t, e = expm1_and_exponential(where_less(0.0, z, 0.0, z))  # NaN stays NaN
    return where_less(z, 0.0, t, z), e


@device_function
def silu_and_derivative(z: Vector) -> tuple[Vector, Vector]:
    """Return a = z s and s (1 + z (1 - s)) with s = 1/(1 + e**-z) and 1 - s = e**-z s.

    What 1 + e**-z and the quotient lose is corrected; below minus the limit both are 0. (Elfwing,
    Uchibe and Doya, Neural Networks 107, 2018.)
    """
    x, limit = -z, limit_for(z)
    e = exp_limited(x)
    s = 1.0 / (1.0 + e)
    lost = reciprocal_lost(e, s)
    finite = where_less(limit, z, limit, z)  # infinity * 0 is NaN
    a = fma(z, s, finite * lost)
    s = s + lost
    derivative = s * fma(finite, e * s, 1.0)
    return where_less(limit, x, 0.0, a), where_less(limit, x, 0.0, derivative)


@device_function
def gelu_and_derivative(z: Vector) -> tuple[Vector, Vector]:
    """Return a = z Phi(z) = max(z, 0) - y Phi(-y) with y = |z|, and Phi(z) + z phi(z).

    Phi and phi are the standard normal distribution and its density (Hendrycks and Gimpel,
    arXiv:1606.08415, 2016): the exact form.
    """
    y, e, y_e, g = normal_tail(z)
    a = fma(y_e, -g, where_less(z, 0.0, 0.0, z))
    small = fma(y, -INVERSE_ROOT_2_PI, g) * e
    return a, where_less(z, 0.0, small, 1.0 - small)


@subroutine
def others_with_derivative(activation: int, z: Vector) -> tuple[Vector, Vector]:
    """Return phi(z) and phi'(z) of the activations that are rarer.

    As part of every loop over activations they would make each kernel compile for a fifth longer.
    """
    if activation == LEAKY_RELU:
        a, derivative = leaky_relu_and_derivative(z)
    elif activation == ELU:
        a, derivative = elu_and_derivative(z)
    elif activation == SILU:
        a, derivative = silu_and_derivative(z)
    elif activation == GELU:
        a, derivative = gelu_and_derivative(z)
    else:
        a = broadcast_like(z, NAN)
        derivative = a
    return a, derivative


@device_function
def activate(activation: int, z: Vector) -> Vector:
    """Return phi(z)."""
    if activation == SIGMOID:
        a, _ = sigmoid_and_derivative(z)
    elif activation == RELU:
        a = where_less(z, 0.0, 0.0, z)  # NaN stays NaN
    elif activation == TANH:
        a = tanh(z)
    elif activation == EXPONENTIAL:
        a = exp(z)
    elif activation == SOFTPLUS:
        a, _ = softplus_and_derivative(z)
    elif activation == IDENTITY:
        a = z
    else:
        a, _ = others_with_derivative(activation, z)
    return a


@device_function
def activate_with_derivative(activation: int, z: Vector) -> tuple[Vector, Vector]:
    """Return phi(z) and phi'(z); the derivative of ReLU is 0 at 0."""
    if activation == SIGMOID:
        a, derivative = sigmoid_and_derivative(z)
    elif activation == RELU:
        a = where_less(z, 0.0, 0.0, z)
        derivative = where_less(0.0, z, 1.0, 0.0)
    elif activation == TANH:
        a, e = tanh_and_exponential(z)
        sum_of_both = 1.0 + e
        derivative = 4.0 * e / (sum_of_both * sum_of_both)
    elif activation == SOFTPLUS:
        a, derivative = softplus_and_derivative(z)
    elif activation == IDENTITY:
        a = z
        derivative = broadcast_like(z, 1.0)
    else:
        a, derivative = others_with_derivative(activation, z)
    return a, derivative
