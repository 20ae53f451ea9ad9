"""Losses and their derivatives with respect to the pre-activation, eight rows at once.

z is the output's pre-activation, a = phi(z) the output, y the label; dz is d loss / d z.
"""

from __future__ import annotations

from fastbp.kernels._jit import device_function
from fastbp.kernels.activations import activate_with_derivative
from fastbp.kernels.exponential import exp_clamped, log_of_sum
from fastbp.kernels.vector import Vector, absolute, broadcast, fma, where_less

MSE = 0
HALF_MSE = 1
BCE = 2


@device_function
def squared_error(activation: int, z: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Return (a - y)**2 and its dz = 2 (a - y) phi'(z)."""
    a, derivative = activate_with_derivative(activation, z)
    error = a - y
    return error * error, (error + error) * derivative


@device_function
def half_squared_error(activation: int, z: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Return (a - y)**2 / 2 and its dz = (a - y) phi'(z)."""
    value, dz = squared_error(activation, z, y)
    half = broadcast(0.5)
    return value * half, dz * half


@device_function
def binary_cross_entropy(z: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Return -[y ln a + (1 - y) ln(1 - a)] for a = sigmoid(z), and its dz = a - y.

    With the logarithms in terms of z this is max(z, 0) - y z + ln(1 + e**-|z|), which no
    finite z makes infinite; dz is a (1 - y) - (1 - a) y, which keeps the digits of a small
    difference.
    """
    zero = broadcast(0.0)
    one = broadcast(1.0)
    e = exp_clamped(-absolute(z))
    s = one + e
    larger = one / s
    smaller = e * larger
    a = where_less(z, zero, smaller, larger)
    complement = where_less(z, zero, larger, smaller)
    one_minus_y = one - y
    # max(z, 0) - y z = (1 - y) z for positive z, -y z for negative z
    linear = z * where_less(zero, z, one_minus_y, -y)
    lost = e - (s - one)
    return linear + log_of_sum(s, lost * larger), fma(-y, complement, one_minus_y * a)


@device_function
def output_loss(activation: int, loss: int, z: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Return the loss of each row and its dz, for an output of one number."""
    if loss == BCE:
        value, dz = binary_cross_entropy(z, y)
    elif loss == MSE:
        value, dz = squared_error(activation, z, y)
    else:
        value, dz = half_squared_error(activation, z, y)
    return value, dz
