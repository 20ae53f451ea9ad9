"""The parameters of a neuron in one vector, and its outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp.data.arrays import is_plain, read_only
from fastbp.data.rows import BLOCK_BYTES, Rows
from fastbp.kernels import neuron as kernels
from fastbp.kernels.vector import LANES, whole_vectors
from fastbp.models.prediction import PREDICTED_DIRECTLY, in_calls


def neuron_vector(weights: np.ndarray, bias: float) -> np.ndarray:
    """Return the weights of one neuron, padded with zeros to whole vectors, and then its bias."""
    parameters = np.zeros(whole_vectors(weights.size) + LANES)
    parameters[: weights.size] = weights
    parameters[-LANES] = bias
    return parameters


def predicted_by_neuron(rows: Rows, parameters: np.ndarray, activation: int) -> np.ndarray:
    """Return the outputs (N,) of a neuron for rows of as many features."""
    d = rows.n_features
    tile = kernels.tile_rows(d)

    def compute(x: np.ndarray, outputs: np.ndarray) -> bool:
        work = np.empty(tile)
        finite: bool = kernels.neuron_outputs(x, parameters, activation, work, outputs)
        return finite

    step = max(tile, BLOCK_BYTES // (8 * d))
    return in_calls(compute, rows, np.empty(rows.n_rows), step, kernels.row_work(d))


def predicted_by_neuron_directly(
    features: Any, weights: Any, bias: Any, activation: int
) -> np.ndarray | None:
    """Return the outputs for a few rows in arrays that kernels take as they are, or None.

    For one row it takes a fifth of the time of the general path, to which it leaves all other
    arrays and all errors.
    """
    if not (is_plain(features, 2) and is_plain(weights, 1) and type(bias) is float):
        return None
    n, d = features.shape
    if n * d == 0 or weights.size != d or n * kernels.row_work(d) > PREDICTED_DIRECTLY:
        return None
    parameters = neuron_vector(weights, bias)
    outputs = np.empty(n)
    work = np.empty(kernels.tile_rows(d))
    finite = kernels.neuron_outputs(read_only(features), parameters, activation, work, outputs)
    return outputs if finite else None
