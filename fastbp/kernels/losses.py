"""Losses and their derivatives with respect to the pre-activation, eight rows at once.

z is the output's pre-activation, a = phi(z) the output, y the label; dz is d loss / d z. The
softmax of a row takes all its outputs: those lie in one panel, (K, 8) (see ``matmul.py``).

A loss is a code here, its formula and a branch in :func:`output_loss`; a mean over the outputs
also has a branch in :func:`share_of_output`. A code that is not known gives NaN.
"""

from __future__ import annotations

from fastbp.kernels.activations import (
    SIGMOID,
    activate_with_derivative,
    sigmoid_of,
    softplus_of_minus,
)
from fastbp.kernels.exponential import NAN, exp, exp_limited, log1p, log_of_sum
from fastbp.kernels.jit import device_function
from fastbp.kernels.vector import (
    LANES,
    Pointer,
    Vector,
    absolute,
    broadcast_like,
    by_type,
    fma,
    load,
    store,
    where_less,
    zeros,
)

MSE = 0
HALF_MSE = 1
BCE = 2
CROSS_ENTROPY = 3
HALF_POISSON_DEVIANCE = 4  # of networks only
HUBER = 5
MAE = 6


@device_function
def squared_error(activation: int, z: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Return (a - y)**2 and its dz = 2 (a - y) phi'(z)."""
    a, derivative = activate_with_derivative(activation, z)
    return squared_error_of(a, derivative, y)


@device_function
def squared_error_of(a: Vector, derivative: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Return what :func:`squared_error` does, for a = phi(z) and phi'(z)."""
    error = a - y
    return error * error, (error + error) * derivative


@device_function
def half_squared_error(activation: int, z: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Return (a - y)**2 / 2 and its dz = (a - y) phi'(z)."""
    value, dz = squared_error(activation, z, y)
    return value * 0.5, dz * 0.5


@device_function
def huber(activation: int, z: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Return e**2 / 2 where |e| <= 1 and |e| - 1/2 elsewhere, for e = a - y, and its dz.

    dz is phi'(z) times e held within -1 and 1 (Huber, Annals of Mathematical Statistics 35, 1964).
    """
    a, derivative = activate_with_derivative(activation, z)
    error = a - y
    held = where_less(error, -1.0, -1.0, error)
    held = where_less(1.0, held, 1.0, held)  # NaN stays NaN
    return held * fma(-0.5, held, error), held * derivative


@device_function
def absolute_error(activation: int, z: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Return |a - y| and its dz, phi'(z) with the sign of a - y, 0 where that is 0."""
    a, derivative = activate_with_derivative(activation, z)
    error = a - y
    sign = where_less(error, 0.0, -1.0, where_less(0.0, error, 1.0, error))  # NaN stays NaN
    return absolute(error), sign * derivative


@device_function
def binary_cross_entropy(z: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Return -[y ln a + (1 - y) ln(1 - a)] for a = sigmoid(z), and its dz = a - y."""
    return binary_cross_entropy_of(z, exp_limited(-absolute(z)), y)


@device_function
def binary_cross_entropy_of(z: Vector, e: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Return what :func:`binary_cross_entropy` does, for e = e**-|z|.

    With the logarithms in terms of z this is max(z, 0) - y z + ln(1 + e**-|z|), which no
    finite z makes infinite; dz is a (1 - y) - (1 - a) y, which stays accurate where the difference
    is small.
    """
    log, larger, smaller = softplus_of_minus(e)
    a = where_less(z, 0.0, smaller, larger)
    complement = where_less(z, 0.0, larger, smaller)
    one_minus_y = 1.0 - y
    # max(z, 0) - y z = (1 - y) z for positive z, -y z for negative z
    linear = z * where_less(0.0, z, one_minus_y, -y)
    return linear + log, fma(-y, complement, one_minus_y * a)


@device_function
def half_poisson_deviance(z: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Return y ln(y/a) - y + a for a = e**z and y from 0 on, and its dz = a - y.

    0 ln 0 is 0 (McCullagh and Nelder, Generalized Linear Models, 1989, table 2.1).
    """
    a = exp(z)
    log_y = log_of_sum(where_less(0.0, y, y, 1.0), zeros(y))
    error = a - y
    return fma(y, log_y - z, error), error


@device_function
def output_loss(activation: int, loss: int, z: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Return the loss of eight rows and its dz, for an output of one number."""
    if loss == BCE:
        value, dz = binary_cross_entropy(z, y)
    elif loss == MSE:
        value, dz = squared_error(activation, z, y)
    elif loss == HALF_MSE:
        value, dz = half_squared_error(activation, z, y)
    elif loss == HUBER:
        value, dz = huber(activation, z, y)
    elif loss == MAE:
        value, dz = absolute_error(activation, z, y)
    elif loss == HALF_POISSON_DEVIANCE:
        value, dz = half_poisson_deviance(z, y)
    else:
        value = broadcast_like(z, NAN)
        dz = value
    return value, dz


@device_function
def takes_exponential(activation: int, loss: int) -> bool:
    """Return whether :func:`sigmoid_loss` computes this pair."""
    return loss == BCE or (loss == MSE and activation == SIGMOID)


@device_function
def exponential_for(loss: int, z: Vector) -> Vector:
    """Return the only exponential that the loss of a sigmoid needs."""
    return exp_limited(-absolute(z) if loss == BCE else -z)


@device_function
def sigmoid_loss(loss: int, z: Vector, e: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Return what :func:`output_loss` does, bit for bit, for e = :func:`exponential_for` z."""
    if loss == BCE:
        value, dz = binary_cross_entropy_of(z, e, y)
    else:
        a, derivative = sigmoid_of(z, e)
        value, dz = squared_error_of(a, derivative, y)
    return value, dz


@device_function
def share_of_output(loss: int, n_outputs: int) -> float:
    """Return the weight of one output's loss in that of a row: 1/K in a mean, 1 in a sum."""
    return 1.0 / n_outputs if loss in (MSE, HUBER, MAE) else 1.0


@device_function
def as_scikit_learn_reports(loss: int, value: Vector, y: Vector, n_outputs: int) -> Vector:
    """Return the loss of one output as scikit-learn's MLP reports it; the gradient is the same.

    Its squared error is a mean over the outputs. Its log loss takes the logarithm of a rounded
    probability, clipped to [eps, 1 - eps] for the machine epsilon; for label 0 it is that of 1 - p,
    for the rounded p of label 1. That is 1/(1 + e), whose sum rounds to twice the spacing of the
    numbers below 1: the line search of L-BFGS sees it where rows are saturated.
    """
    if loss == HALF_MSE:
        value = value * broadcast_like(value, 1.0 / n_outputs)
    elif loss in (BCE, CROSS_ENTROPY):
        epsilon = by_type(value, 2.0**-52, 2.0**-23)
        least, most = epsilon, 1.0 - epsilon
        p = exp(-value)
        p = where_less(y, 0.5, 1.0 - 1.0 / (1.0 + p / (1.0 - p)), p)
        p = where_less(p, least, least, p)
        p = where_less(most, p, most, p)
        value = (value - value) - log_of_sum(p, zeros(p))  # NaN stays NaN
    return value


@device_function
def label_of(y: Pointer, classes: bool, k: int) -> Vector:
    """Return the labels of output k for eight rows: y (K, 8), or (8,) class indices."""
    if classes:
        distance = absolute(load(y, 0) - broadcast_like(y, float(k)))
        label = where_less(distance, 0.5, 1.0, 0.0)
    else:
        label = load(y, k * LANES)
    return label


@device_function
def greatest_of(z: Pointer, n_outputs: int) -> tuple[Vector, Vector]:
    """Return the largest z of eight rows, and the index of the first output that has it."""
    greatest = load(z, 0)
    best = zeros(z)
    for k in range(1, n_outputs):
        v = load(z, k * LANES)
        best = where_less(greatest, v, broadcast_like(z, float(k)), best)
        greatest = where_less(greatest, v, v, greatest)
    return greatest, best


@device_function
def exponentials(z: Pointer, greatest: Vector, best: Vector, n_outputs: int) -> Vector:
    """Turn z into e**(z - greatest) for eight rows; ACC z. Returns the sum of all but the best.

    The sum of all is 1 more: added separately from the 1, small terms keep their digits.
    """
    rest = zeros(z)
    for k in range(n_outputs):
        e = exp(load(z, k * LANES) - greatest)
        store(z, k * LANES, e)
        distance = absolute(best - broadcast_like(z, float(k)))
        rest = where_less(distance, 0.5, rest, rest + e)
    return rest


@device_function
def softmax(z: Pointer, n_outputs: int) -> None:
    """Turn z into a = e**z / sum e**z for eight rows; ACC z."""
    greatest, best = greatest_of(z, n_outputs)
    scale = exponentials(z, greatest, best, n_outputs) + 1.0
    for k in range(n_outputs):
        store(z, k * LANES, load(z, k * LANES) / scale)


@device_function
def cross_entropy(z: Pointer, y: Pointer, classes: bool, n_outputs: int) -> Vector:
    """Return -sum y ln a for a = softmax z, and turn z into dz = a sum(y) - y; ACC z.

    ln a = z - greatest - ln(1 + rest), and dz = ((e sum(y) - y) - y rest) / (1 + rest), which stays
    accurate where the output almost equals the label.
    """
    greatest, best = greatest_of(z, n_outputs)
    value = zeros(z)
    total = zeros(z)
    for k in range(n_outputs):
        label = label_of(y, classes, k)
        value = fma(label, greatest - load(z, k * LANES), value)
        total = total + label
    rest = exponentials(z, greatest, best, n_outputs)
    scale = rest + 1.0
    for k in range(n_outputs):
        label = label_of(y, classes, k)
        e = load(z, k * LANES)
        store(z, k * LANES, fma(-label, rest, fma(e, total, -label)) / scale)
    return fma(total, log1p(rest), value)
