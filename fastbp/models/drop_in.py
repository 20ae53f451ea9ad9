"""What makes a drop-in of ``train_neuron``: small plain lists in the fewest steps, and rounding."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp.arguments import FLOAT64
from fastbp.kernels import neuron as kernels

SMALL_WORK = 10**7  # units of the short way, 2 to 4 ms; an epoch costs 500 besides its rows


def train_small(
    features: list[Any], labels: list[Any], weights: list[Any], bias: Any, rate: Any, epochs: Any
) -> tuple[list[float], float, list[float]] | None:
    """Train on small plain lists in the fewest steps; return None for anything else.

    The general path then trains, or raises the error.
    """
    n, d = len(labels), len(weights)
    if type(epochs) is not int or not 0 < (n * (d + 10) + 500) * epochs <= SMALL_WORK:
        return None
    try:
        x = np.array(features)
        values = np.array([*labels, *weights, bias, rate])
    except (ValueError, TypeError):
        return None
    if x.dtype is not FLOAT64:
        if x.dtype.kind not in "ib":
            return None
        x = x.astype(FLOAT64)
    matches = values.dtype is FLOAT64 and values.ndim == 1 and x.shape == (n, d)
    if not matches or d == 0 or n > kernels.chunk_rows(d):
        return None
    results = np.empty(d + 1 + epochs)
    if not kernels.neuron_small(x, values, epochs, kernels.tile_rows(d), results):
        return None
    rounded: list[float] = results.tolist()
    return rounded[:d], rounded[d], rounded[d + 1 :]


def round_to_4_decimals(values: np.ndarray) -> np.ndarray:
    """Round as numpy.round does; a value too large to scale passes unchanged."""
    with np.errstate(over="ignore"):
        return np.where(np.isfinite(values * 1e4), np.round(values, 4), values)
