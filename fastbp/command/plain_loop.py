"""The plain NumPy loop that everything here is measured against."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from fastbp.models.activations import ACTIVATIONS

LOSSES = "mse", "half_mse", "bce"  # that it can compute
LEAST_SECONDS = 0.05
"""What takes less is chance."""


@dataclass(frozen=True)
class LoopTime:
    """How long the loop takes for all epochs, and from how many that was measured."""

    seconds: float
    epochs: int
    complete: bool


def seconds_of_loop(
    x: np.ndarray, y: np.ndarray, rate: float, epochs: int, activation: str, loss: str, limit: float
) -> LoopTime:
    """Time the full-batch loop from zeros, from as many epochs as take 50 ms or more.

    It computes in the dtype of `x` and `y`. Past `limit` seconds the rest is extrapolated.
    """
    weights, bias = np.zeros(x.shape[1], x.dtype), 0.0
    started = time.perf_counter()
    seconds = 0.0
    done = 0
    with np.errstate(all="ignore"):
        while seconds < limit and (done < epochs or seconds < LEAST_SECONDS):
            bias = one_epoch(x, y, weights, bias, rate, activation, loss)
            done += 1
            seconds = time.perf_counter() - started
    return LoopTime(seconds * epochs / max(done, 1), done, done >= epochs)


def one_epoch(
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    bias: float,
    rate: float,
    activation: str,
    loss: str,
) -> float:
    """Compute one epoch; change `weights` in place, return the bias."""
    row = ACTIVATIONS[activation]
    assert row.phi is not None
    assert row.derivative is not None
    z = x @ weights + bias
    a = row.phi(z)
    error = a - y
    # The loop that this stands for computes its loss, too: it is timed, not used.
    if loss == "bce":
        np.mean(-(y * np.log(a) + (1.0 - y) * np.log(1.0 - a)))
        dz = error / y.size
    else:
        np.mean(error**2)
        slope = row.derivative(z, a).astype(z.dtype, copy=False)
        dz = error * slope * ((2.0 if loss == "mse" else 1.0) / y.size)
    weights -= rate * (x.T @ dz)
    return float(bias - rate * dz.sum())
