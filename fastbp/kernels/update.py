"""Parameters as one flat vector: sums of partial gradients, the update, the finiteness test.

P parameters, rounded up to whole vectors; the first `n_weights` are weights, which alpha
shrinks, the others biases.
"""

from __future__ import annotations

from fastbp.kernels._jit import device_function
from fastbp.kernels.vector import LANES, Pointer, broadcast, fma, load, store, sum_lanes


@device_function
def copy(size: int, source: Pointer, target: Pointer) -> None:
    """Copy whole vectors; OUT target."""
    for i in range(0, size, LANES):
        store(target, i, load(source, i))


@device_function
def clear(size: int, target: Pointer) -> None:
    """Zero whole vectors; OUT target."""
    for i in range(0, size, LANES):
        store(target, i, broadcast(0.0))


@device_function
def add(size: int, source: Pointer, target: Pointer) -> None:
    """Add target += source in whole vectors; ACC target."""
    for i in range(0, size, LANES):
        store(target, i, load(target, i) + load(source, i))


@device_function
def sgd_update(
    size: int, n_weights: int, step: float, alpha: float, gradient: Pointer, parameters: Pointer
) -> None:
    """Update p -= step (g + alpha p), alpha for the weights only; ACC parameters."""
    minus_step = broadcast(-step)
    shrink = broadcast(alpha)
    if alpha == 0.0:
        n_weights = 0
    for i in range(0, n_weights, LANES):
        p = load(parameters, i)
        store(parameters, i, fma(minus_step, fma(shrink, p, load(gradient, i)), p))
    for i in range(n_weights, size, LANES):
        store(parameters, i, fma(minus_step, load(gradient, i), load(parameters, i)))


@device_function
def sum_of_squares(size: int, a: Pointer) -> float:
    """Return the sum of the squares of whole vectors."""
    s = broadcast(0.0)
    for i in range(0, size, LANES):
        v = load(a, i)
        s = fma(v, v, s)
    return sum_lanes(s)


@device_function
def all_finite(size: int, a: Pointer) -> bool:
    """Return whether no element is infinite or NaN: only then is x * 0 always 0."""
    s = broadcast(0.0)
    for i in range(0, size, LANES):
        s = fma(load(a, i), broadcast(0.0), s)
    return sum_lanes(s) == 0.0
