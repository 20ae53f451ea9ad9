"""The outputs of a network."""

from __future__ import annotations

import functools
import weakref
from typing import Any

import numpy as np

from fastbp.arguments import FLOAT64
from fastbp.data.arrays import is_plain, read_only, rows_of
from fastbp.data.rows import BLOCK_BYTES, Rows
from fastbp.kernels import layout
from fastbp.kernels import network as kernels
from fastbp.kernels import plan as plans
from fastbp.models.layers import Layers, check_finite, sizes_of, whole_vector
from fastbp.models.prediction import PREDICTED_DIRECTLY, in_calls

MOST_KNOWN = 64  # networks that are recognized
CALL_WORK = 2**22  # units in one call, 1.5 ms: threads share the calls, Ctrl-C waits for one only


def predicted(
    rows: Rows,
    layers: Layers,
    w: list[np.ndarray],
    b: list[np.ndarray],
    n_threads: int | None = None,
    dtype: np.dtype[Any] = FLOAT64,
) -> np.ndarray:
    """Return the outputs (N, K) of a network for rows of as many features."""
    plan, integers = _prediction_plan(
        layers.sizes, layers.activations, min(rows.n_rows, plans.MOST_ROWS)
    )
    parameters = whole_vector(plan, (*w, *b), dtype)
    most = min(BLOCK_BYTES // (8 * rows.n_features), CALL_WORK // plan.row_work)
    step = max(1, most // plan.tile_rows) * plan.tile_rows

    def compute(x: np.ndarray, outputs: np.ndarray) -> bool:
        work = np.empty(plan.work_size, dtype)
        finite: bool = kernels.network_outputs(x, parameters, integers, work, outputs)
        if not finite:
            check_finite("", w, b, dtype)
        return finite

    outputs = np.empty((rows.n_rows, layers.sizes[-1]), dtype)
    return in_calls(compute, rows, outputs, step, plan.row_work, n_threads)


def predicted_part(
    features: np.ndarray,
    name: str,
    layers: Layers,
    w: list[np.ndarray],
    b: list[np.ndarray],
    dtype: np.dtype[Any],
) -> np.ndarray:
    """Return the outputs for some rows, which messages call `name`."""
    return predicted(rows_of(name, features, dtype), layers, w, b, dtype=dtype)


def predicted_directly(
    features: Any,
    weights: Any,
    biases: Any,
    activations: tuple[int, ...],
    dtype: np.dtype[Any] = FLOAT64,
) -> np.ndarray | None:
    """Return a network's outputs for a few rows in arrays that kernels take as they are, or None.

    For one row it takes half the time of the general path, to which it leaves all other arrays and
    all errors.
    """
    if not (is_plain(features, 2) or is_plain(features, 2, dtype)):
        return None
    n, d = features.shape
    known = _recognized(weights, biases, dtype)
    sizes, parameters = known or (sizes_of(weights, biases, d, dtype), None)
    if sizes is None or sizes[0] != d or n == 0:
        return None
    plan, integers = _prediction_plan(sizes, activations, min(n, plans.MOST_ROWS))
    if n * plan.row_work > PREDICTED_DIRECTLY:
        return None
    if parameters is None:
        parameters = whole_vector(plan, weights + biases, dtype)
        if parameters is weights[0].base:
            _remember(weights + biases, sizes)
    outputs = np.empty((n, sizes[-1]), dtype)
    work = np.empty(plan.work_size, dtype)
    finite = kernels.network_outputs(read_only(features), parameters, integers, work, outputs)
    return outputs if finite else None


Known = tuple[list[weakref.ref[np.ndarray]], list[tuple[int, ...]], tuple[int, ...]]
_known: dict[int, Known] = {}
"""Of some networks whose parameters are views of one vector: their arrays, the shapes of these,
and their sizes; by the id of the first array. It keeps no array alive."""
_UNKNOWN: Known = [], [], ()


def _recognized(
    weights: Any, biases: Any, dtype: np.dtype[Any]
) -> tuple[tuple[int, ...], np.ndarray] | None:
    """Return the sizes and whole vector of a network of this dtype that was remembered, or None.

    An array that is the same object, of the same shape, lies where it lay. To look at them closely
    takes as long as to compute the outputs of a row.
    """
    if not (type(weights) is type(biases) is list and weights):
        return None
    references, shapes, sizes = _known.get(id(weights[0]), _UNKNOWN)
    arrays: list[Any] = weights + biases
    if not len(arrays) == len(shapes) == 2 * len(weights):
        return None
    seen: Any = zip(arrays, references, shapes, strict=True)
    for array, reference, shape in seen:
        if reference() is not array or array.shape != shape:
            return None
    whole = arrays[0].base
    return (sizes, whole) if whole.dtype == dtype else None


def _remember(arrays: list[np.ndarray], sizes: tuple[int, ...]) -> None:
    """Remember a network whose parameters are views of one vector, laid out as planned."""
    if len(_known) >= MOST_KNOWN:
        _known.clear()
    _known[id(arrays[0])] = [weakref.ref(a) for a in arrays], [a.shape for a in arrays], sizes


@functools.lru_cache(maxsize=256)
def _prediction_plan(
    sizes: tuple[int, ...], activations: tuple[int, ...], batch_rows: int
) -> tuple[plans.Plan, np.ndarray]:
    """Return the plan of a network, and the kernel's integers, which it only reads."""
    plan = plans.plan_network(sizes, activations, 0, batch_rows)
    integers = np.zeros(layout.N_INTEGERS + len(plan.table), dtype=np.int64)
    integers[layout.N_FEATURES] = sizes[0]
    integers[layout.TILE_ROWS] = plan.tile_rows
    integers[layout.N_LAYERS] = len(activations)
    integers[layout.LAYERS :] = plan.table
    return plan, integers
