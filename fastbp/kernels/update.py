"""Optimizers, each a rule for the update, and other passes over the flat vector of parameters.

P parameters, rounded up to whole vectors; the first `n_weights` are weights, which alpha
shrinks, the others biases. A rule reads its constants at `layout.RULE`, in the order in which
``training/optimizers.py`` lists them.
"""

from __future__ import annotations

import math

import numpy as np

from fastbp.kernels import layout
from fastbp.kernels.jit import device_function, subroutine
from fastbp.kernels.lanes import sum_lanes
from fastbp.kernels.reading import read
from fastbp.kernels.vector import (
    LANES,
    Pointer,
    Vector,
    as_doubles,
    at,
    broadcast_like,
    fma,
    load,
    load_up_to,
    square_root,
    store,
    zeros,
)

PLAIN_SGD = 0
MOMENTUM_SGD = 1
NESTEROV_SGD = 2
ADAM = 3
KEEP_GRADIENT = 4  # no update: the gradient is the result
KEEP_LOSS = 5  # no gradient either; a network does not go backward
RMSPROP = 6
ADAMW = 7

Range = tuple[int, int]
"""The first parameter and the one after the last, in whole vectors."""


@device_function
def copy(size: int, source: Pointer, target: Pointer) -> None:
    """Copy whole vectors, in the type of the target; OUT target."""
    for i in range(0, size, LANES):
        store(target, i, load(source, i))


@device_function
def fill(size: int, value: float, target: Pointer) -> None:
    """Fill whole vectors with a number; OUT target."""
    for i in range(0, size, LANES):
        store(target, i, broadcast_like(target, value))


@device_function
def add(size: int, source: Pointer, target: Pointer) -> None:
    """Add target += source in whole vectors; ACC target."""
    for i in range(0, size, LANES):
        store(target, i, load(target, i) + read(source, i, target))


@device_function
def begin_update(integers: Pointer, floats: Pointer) -> None:
    """Count an update, once for all ranges of parameters: Adam keeps powers as products.

    `pow` differs between C libraries.
    """
    if integers[layout.OPTIMIZER] in (ADAM, ADAMW):
        floats[layout.POWER_1] *= floats[layout.RULE]
        floats[layout.POWER_2] *= floats[layout.RULE + 1]


@subroutine
def update(
    integers: Pointer,
    floats: Pointer,
    parameters: Pointer,
    rate: float,
    n: float,
    gradient: Pointer,
    start: int,
    stop: int,
) -> None:
    """Update parameters from `start` to `stop` in place with (gradient + alpha w) / n.

    ACC parameters, behind which are the moments, by whole vectors. The rules are those of
    scikit-learn's `_stochastic_optimizers`, AdamW's is PyTorch's. An unknown optimizer makes the
    parameters NaN.
    """
    optimizer = integers[layout.OPTIMIZER]
    some = start, stop
    p, n_weights = integers[layout.N_PARAMETERS], integers[layout.N_WEIGHTS]
    alpha = floats[layout.ALPHA]
    if optimizer == PLAIN_SGD:
        sgd_update(some, n_weights, rate / n, alpha, gradient, parameters)
    elif optimizer in (MOMENTUM_SGD, NESTEROV_SGD):
        nesterov = optimizer == NESTEROV_SGD
        momentum_update(integers, floats, parameters, rate / n, nesterov, gradient, some)
    elif optimizer in (ADAM, ADAMW):
        decays = optimizer == ADAMW
        adam_update(integers, floats, parameters, rate, n, decays, gradient, some)
    elif optimizer == RMSPROP:
        rmsprop_update(integers, floats, parameters, rate, n, gradient, some)
    elif optimizer == KEEP_GRADIENT:
        for i in range(start, stop, LANES):
            g = penalized(i, n_weights, alpha, gradient, parameters)
            store(parameters, 2 * p + i, g / broadcast_like(g, n))
    elif optimizer != KEEP_LOSS:
        fill(stop - start, np.nan, at(parameters, start))


@device_function
def penalized(
    i: int, n_weights: int, alpha: float, gradient: Pointer, parameters: Pointer
) -> Vector:
    """Return a vector of the gradient, with alpha w added where there are weights."""
    shrink = broadcast_like(parameters, alpha if i < n_weights else 0.0)
    return fma(shrink, load(parameters, i), load(gradient, i))


@device_function
def penalized_squares(
    integers: Pointer, floats: Pointer, parameters: Pointer, gradient: Pointer
) -> float:
    """Return the sum of the squares of a gradient with that of the penalty, in float64."""
    p, n_weights = integers[layout.N_PARAMETERS], integers[layout.N_WEIGHTS]
    s = as_doubles(zeros(parameters))
    for i in range(0, p, LANES):
        g = as_doubles(penalized(i, n_weights, floats[layout.ALPHA], gradient, parameters))
        s = fma(g, g, s)
    return sum_lanes(s)


@device_function
def momentum_update(
    integers: Pointer,
    floats: Pointer,
    parameters: Pointer,
    step: float,
    nesterov: bool,
    gradient: Pointer,
    some: Range,
) -> None:
    """Update v <- momentum v - step g and p += v, or momentum v - step g with the new v."""
    p, n_weights = integers[layout.N_PARAMETERS], integers[layout.N_WEIGHTS]
    alpha = floats[layout.ALPHA]
    velocity = at(parameters, 2 * p)
    minus_step = broadcast_like(parameters, -step)
    momentum = broadcast_like(parameters, floats[layout.RULE])
    for i in range(some[0], some[1], LANES):
        change = minus_step * penalized(i, n_weights, alpha, gradient, parameters)
        v = fma(momentum, load(velocity, i), change)
        store(velocity, i, v)
        if nesterov:
            v = fma(momentum, v, change)
        store(parameters, i, load(parameters, i) + v)


@device_function
def adam_update(
    integers: Pointer,
    floats: Pointer,
    parameters: Pointer,
    rate: float,
    n: float,
    decays: bool,
    gradient: Pointer,
    some: Range,
) -> None:
    """Update m and v, moving averages of g and g**2, and p -= rate_t m / (sqrt v + epsilon).

    rate_t = rate root/(1 - beta_1**t) with root = sqrt(1 - beta_2**t) in update t (Kingma and Ba,
    Adam, 2015, end of section 2). AdamW, which `decays`, divides by sqrt(v)/root + epsilon instead,
    which is the same with epsilon root, and takes rate * decay * p off as well: as a product with
    1 - rate * decay it would lose most of its digits in float32.
    """
    p, n_weights = integers[layout.N_PARAMETERS], integers[layout.N_WEIGHTS]
    alpha = floats[layout.ALPHA]
    first, second = at(parameters, 2 * p), at(parameters, 3 * p)
    root = math.sqrt(1.0 - floats[layout.POWER_2])
    small, decay = floats[layout.RULE + 2], 0.0
    if decays:
        small, decay = small * root, rate * floats[layout.RULE + 3]
    minus_rate = broadcast_like(parameters, -(rate * root / (1.0 - floats[layout.POWER_1])))
    beta_1 = broadcast_like(parameters, floats[layout.RULE])
    beta_2 = broadcast_like(parameters, floats[layout.RULE + 1])
    rest_1 = broadcast_like(parameters, 1.0 - floats[layout.RULE])
    rest_2 = broadcast_like(parameters, 1.0 - floats[layout.RULE + 1])
    epsilon, minus_decay = broadcast_like(parameters, small), broadcast_like(parameters, -decay)
    for i in range(some[0], some[1], LANES):
        g = penalized(i, n_weights, alpha, gradient, parameters) / broadcast_like(parameters, n)
        m = fma(beta_1, load(first, i), rest_1 * g)
        v = fma(beta_2, load(second, i), rest_2 * g * g)
        store(first, i, m)
        store(second, i, v)
        before = load(parameters, i)
        change = fma(minus_decay, before, minus_rate * m / (square_root(v) + epsilon))
        store(parameters, i, before + change)


@device_function
def rmsprop_update(
    integers: Pointer,
    floats: Pointer,
    parameters: Pointer,
    rate: float,
    n: float,
    gradient: Pointer,
    some: Range,
) -> None:
    """Update v, a moving average of g**2, and p -= rate g / (sqrt v + epsilon)."""
    p, n_weights = integers[layout.N_PARAMETERS], integers[layout.N_WEIGHTS]
    alpha = floats[layout.ALPHA]
    mean_square = at(parameters, 2 * p)
    minus_rate = broadcast_like(parameters, -rate)
    rho = broadcast_like(parameters, floats[layout.RULE])
    rest = broadcast_like(parameters, 1.0 - floats[layout.RULE])
    epsilon = broadcast_like(parameters, floats[layout.RULE + 1])
    for i in range(some[0], some[1], LANES):
        g = penalized(i, n_weights, alpha, gradient, parameters) / broadcast_like(parameters, n)
        v = fma(rho, load(mean_square, i), rest * g * g)
        store(mean_square, i, v)
        change = minus_rate * g / (square_root(v) + epsilon)
        store(parameters, i, load(parameters, i) + change)


@device_function
def sgd_update(
    some: Range, n_weights: int, step: float, alpha: float, gradient: Pointer, parameters: Pointer
) -> None:
    """Update p -= step (g + alpha p), alpha for the weights only; ACC parameters."""
    start, stop = some
    minus_step = broadcast_like(parameters, -step)
    shrink = broadcast_like(parameters, alpha)
    if alpha == 0.0:
        n_weights = 0
    for i in range(start, min(stop, n_weights), LANES):
        p = load(parameters, i)
        store(parameters, i, fma(minus_step, fma(shrink, p, load(gradient, i)), p))
    for i in range(max(start, n_weights), stop, LANES):
        p = load(parameters, i)
        store(parameters, i, fma(minus_step, load(gradient, i), p))


@device_function
def sum_of_squares(size: int, a: Pointer) -> float:
    """Return the sum of the squares of whole vectors, in float64."""
    s = as_doubles(zeros(a))
    for i in range(0, size, LANES):
        v = as_doubles(load(a, i))
        s = fma(v, v, s)
    return sum_lanes(s)


@device_function
def all_finite(size: int, a: Pointer) -> bool:
    """Return whether none of `size` numbers is infinite or NaN: only then is x * 0 always 0."""
    zero = zeros(a)
    s, t, u, v = zero, zero, zero, zero  # one sum would wait for itself: 4 times as long
    whole = size // (4 * LANES) * 4 * LANES
    for i in range(0, whole, 4 * LANES):
        s = fma(load(a, i), zero, s)
        t = fma(load(a, i + LANES), zero, t)
        u = fma(load(a, i + 2 * LANES), zero, u)
        v = fma(load(a, i + 3 * LANES), zero, v)
    for i in range(whole, size, LANES):
        s = fma(load_up_to(a, i, size - i), zero, s)
    return sum_lanes((s + t) + (u + v)) == 0.0
