"""The plain NumPy loop that everything here is measured against."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LoopTime:
    """How long the loop takes for all epochs, and from how many that was measured."""

    seconds: float
    epochs: int
    complete: bool


def seconds_of_loop(
    x: np.ndarray, y: np.ndarray, rate: float, epochs: int, activation: str, loss: str, limit: float
) -> LoopTime:
    """Time the full-batch loop from zeros; past `limit` seconds the rest is extrapolated."""
    weights, bias = np.zeros(x.shape[1]), 0.0
    started = time.perf_counter()
    seconds = 0.0
    done = 0
    with np.errstate(all="ignore"):
        while done < epochs and seconds < limit:
            bias = one_epoch(x, y, weights, bias, rate, activation, loss)
            done += 1
            seconds = time.perf_counter() - started
    return LoopTime(seconds * epochs / max(done, 1), done, done == epochs)


def one_epoch(
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    bias: float,
    rate: float,
    activation: str,
    loss: str,
) -> float:
    """Do one epoch as one would write it; `weights` changes in place, the bias is returned."""
    z = x @ weights + bias
    if activation == "sigmoid":
        a = 1.0 / (1.0 + np.exp(-z))
        derivative = a * (1.0 - a)
    elif activation == "tanh":
        a = np.tanh(z)
        derivative = 1.0 - a * a
    elif activation == "relu":
        a = np.maximum(z, 0.0)
        derivative = (z > 0.0).astype(np.float64)
    else:
        a = z
        derivative = np.ones_like(z)
    error = a - y
    if loss == "bce":
        np.mean(-(y * np.log(a) + (1.0 - y) * np.log(1.0 - a)))
        dz = error / y.size
    else:
        np.mean(error**2)
        dz = error * derivative * ((2.0 if loss == "mse" else 1.0) / y.size)
    weights -= rate * (x.T @ dz)
    return float(bias - rate * dz.sum())
