"""The parameters of a neuron in one vector, and its outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.arguments import FLOAT64
from fastbp.data import checks
from fastbp.data.arrays import is_plain, read_only, rows_of
from fastbp.data.rows import BLOCK_BYTES, Rows
from fastbp.kernels import neuron as kernels
from fastbp.kernels.vector import LANES, whole_vectors
from fastbp.models.prediction import PREDICTED_DIRECTLY, in_calls

ORDINARY = 2.0**127  # numbers below it are finite in every dtype of arithmetic


def checked_vector(
    weights_name: str, weights: Any, bias_name: str, bias: Any, d: int, dtype: np.dtype[Any]
) -> np.ndarray:
    """Return a neuron's weights and bias, checked, in one vector of this dtype."""
    w = checks.vector(weights_name, weights, d, "one per feature", rows=False, dtype=dtype)
    b = arguments.real(bias_name, bias)
    if abs(b) >= checks.INFINITE[dtype]:
        got = checks.described(b, dtype).removesuffix(",")
        raise ValueError(f"{bias_name}: expected a finite number, got {got}")
    return neuron_vector(w, b, dtype)


def neuron_vector(weights: np.ndarray, bias: float, dtype: np.dtype[Any] = FLOAT64) -> np.ndarray:
    """Return the weights of one neuron, padded with zeros to whole vectors, and then its bias.

    They are rounded to the dtype, which is that of arithmetic with them.
    """
    parameters = np.zeros(whole_vectors(weights.size) + LANES, dtype)
    parameters[: weights.size] = weights
    parameters[-LANES] = bias
    return parameters


def predicted_by_neuron(rows: Rows, parameters: np.ndarray, activation: int) -> np.ndarray:
    """Return the outputs (N,) of a neuron for rows of as many features."""
    d, dtype = rows.n_features, parameters.dtype
    tile = kernels.tile_rows(d)

    def compute(x: np.ndarray, outputs: np.ndarray) -> bool:
        work = np.empty(tile, dtype)
        finite: bool = kernels.neuron_outputs(x, parameters, activation, work, outputs)
        return finite

    step = max(tile, BLOCK_BYTES // (8 * d))
    return in_calls(compute, rows, np.empty(rows.n_rows, dtype), step, kernels.row_work(d))


def predicted_part(
    features: np.ndarray, name: str, parameters: np.ndarray, activation: int
) -> np.ndarray:
    """Return the outputs for some rows, which messages call `name`."""
    rows = rows_of(name, features, parameters.dtype)
    return predicted_by_neuron(rows, parameters, activation)


def predicted_by_neuron_directly(
    features: Any, weights: Any, bias: Any, activation: int, dtype: np.dtype[Any] = FLOAT64
) -> np.ndarray | None:
    """Return the outputs for a few rows in arrays that kernels take as they are, or None.

    For one row it takes a fifth of the time of the general path, to which it leaves all other
    arrays and all errors.
    """
    if not (is_plain(features, 2) or is_plain(features, 2, dtype)):
        return None
    if not (is_plain(weights, 1, dtype) and type(bias) is float and abs(bias) < ORDINARY):
        return None
    n, d = features.shape
    if n * d == 0 or weights.size != d or n * kernels.row_work(d) > PREDICTED_DIRECTLY:
        return None
    parameters = neuron_vector(weights, bias, dtype)
    outputs = np.empty(n, dtype)
    work = np.empty(kernels.tile_rows(d), dtype)
    finite = kernels.neuron_outputs(read_only(features), parameters, activation, work, outputs)
    return outputs if finite else None
