"""Errors of the kernels' functions in float32, for all arguments that there are.

The exact values are those of NumPy in float64, whose errors are below 2**-28 of a unit in the last
place of float32. Subnormal results are compared in units of the smallest one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bench.workloads.accuracy import Error
from fastbp.kernels import activations, exponential, vector
from fastbp.kernels.jit import kernel

BLOCK = 2**22  # arguments at a time
LIMIT = np.float32(exponential.LIMIT_SINGLE)
SMALLEST = float(np.finfo(np.float32).tiny)
LARGEST = float(np.finfo(np.float32).max)


@kernel
def apply(function: int, x: np.ndarray, out: np.ndarray) -> None:
    source, target = vector.pointer_to(x), vector.pointer_to(out)
    for i in range(0, x.size, vector.LANES):
        v = vector.load(source, i)
        if function == 0:
            result = exponential.exp(v)
        elif function == 1:
            result = exponential.exp_limited(v)
        elif function == 2:
            result = exponential.tanh(v)
        elif function == 3:
            result = exponential.log1p(v)
        elif function == 4:
            result = exponential.log_of_sum(v, vector.zeros(v))
        elif function == 5:
            result = activations.activate(activations.SOFTPLUS, v)
        else:
            result = activations.activate(activations.SIGMOID, v)
        vector.store(target, i, result)


Exact = Callable[[np.ndarray], np.ndarray]
FUNCTIONS: dict[str, tuple[Exact, Callable[[np.ndarray], np.ndarray]]] = {
    "exp": (np.exp, lambda x: ~np.isnan(x)),
    "exp_limited": (
        lambda x: np.where(x < -LIMIT, 0.0, np.exp(x)),
        lambda x: x <= LIMIT,
    ),
    "tanh": (np.tanh, lambda x: ~np.isnan(x)),
    "log1p": (np.log1p, lambda x: x > -1.0),
    "log_of_sum": (np.log, lambda x: (x >= SMALLEST) & np.isfinite(x)),
    "softplus": (
        lambda x: np.where(x < -LIMIT, 0.0, np.logaddexp(0.0, x)),
        lambda x: ~np.isnan(x),
    ),
    "sigmoid": (lambda x: 1.0 / (1.0 + np.exp(-x)), lambda x: x >= -LIMIT),
}
"""The exact function, and the arguments that it is meant for."""


def arguments(stride: int) -> Iterator[np.ndarray]:
    """Yield every float32 number, or every `stride`-th one."""
    for first in range(0, 2**32, BLOCK * stride):
        bits = np.arange(first, min(first + BLOCK * stride, 2**32), stride, dtype=np.uint32)
        yield bits[: bits.size // vector.LANES * vector.LANES].view(np.float32)


def errors(name: str, stride: int = 1) -> Error:
    """Return the errors in units of float32's last place."""
    exact, meant = FUNCTIONS[name]
    code = list(FUNCTIONS).index(name)
    worst, at, total, count = 0.0, 0.0, 0.0, 0
    with np.errstate(all="ignore"):
        for x in arguments(stride):
            x = x[meant(x)]
            x = x[: x.size // vector.LANES * vector.LANES]
            if x.size == 0:
                continue
            computed = np.empty_like(x)
            apply(code, x, computed)
            right = exact(x.astype(np.float64))
            found = _in_units(computed, right)
            place = int(found.argmax())
            if found[place] > worst:
                worst, at = float(found[place]), float(x[place])
            total, count = total + float(found.sum()), count + x.size
    return Error(worst, at, total / max(count, 1))


def _in_units(computed: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return errors in units of the last place; 0 where both are beyond the range."""
    beyond = np.abs(right) > LARGEST
    unit = np.spacing(np.minimum(np.abs(right), LARGEST).astype(np.float32)).astype(np.float64)
    difference = np.abs(computed.astype(np.float64) - np.where(beyond, 0.0, right)) / unit
    same = np.isinf(computed) & (np.sign(computed) == np.sign(right))
    almost = LARGEST - np.abs(computed.astype(np.float64)) <= 2.0 * unit
    result: Any = np.where(beyond, np.where(same | almost, 0.0, np.inf), difference)
    return np.asarray(np.where(np.isnan(result), np.inf, result))
