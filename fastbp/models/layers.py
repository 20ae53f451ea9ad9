"""Layers: from their sizes to a plan, flat parameters and a problem for training."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.arguments import FLOAT64
from fastbp.data import checks
from fastbp.data.arrays import address, is_plain
from fastbp.data.labels import Samples
from fastbp.kernels import layout
from fastbp.kernels import network as kernels
from fastbp.kernels import plan as plans
from fastbp.kernels.shared_network import shared_steps
from fastbp.kernels.sparse_network import sparse_steps
from fastbp.kernels.update import PLAIN_SGD
from fastbp.models.activations import ACTIVATIONS, ActivationName
from fastbp.training.problem import Kernel, Options, Problem

SHARED_CHUNKS = 8  # most chunks of a batch that all threads compute together
MANY = 2**10  # parameters: with more, copying costs more than checking that no copy is needed


def layer_sizes(value: Any) -> list[int]:
    """Return the inputs, the neurons of each hidden layer, and the outputs."""
    value = value.tolist() if isinstance(value, np.ndarray) else value
    sizes = [
        arguments.integer(f"layer_sizes[{i}]", n, minimum=1)
        for i, n in enumerate(arguments.sequence("layer_sizes", value, "integers"))
    ]
    if len(sizes) < 2:
        raise ValueError(f"layer_sizes: expected at least 2 sizes, got {len(sizes)}")
    return sizes


def activations_of(name: str, value: Any, n_layers: int) -> tuple[ActivationName, ...]:
    """Return one known activation a layer; only the last may have one that is for outputs."""
    names = arguments.sequence(name, value, "names, one per layer")
    if len(names) != n_layers:
        raise ValueError(f"{name}: expected {n_layers} names (one per layer), got {len(names)}")
    for index, activation in enumerate(names):
        if type(activation) is not str or activation not in ACTIVATIONS:
            arguments.choice(f"{name}[{index}]", activation, ACTIVATIONS)
        if ACTIVATIONS[activation].output_only and index < n_layers - 1:
            raise ValueError(f"{name}[{index}]: expected {activation!r} on the last layer only")
    return tuple(names)


@functools.lru_cache(maxsize=256)
def codes_of(activations: tuple[str, ...]) -> tuple[int, ...]:
    """Return the kernels' codes of activations."""
    return tuple(ACTIVATIONS[name].code for name in activations)


def layer_weights(name: str, value: Any, n_inputs: int | None, bias: Any) -> np.ndarray:
    """Return the weights of a layer as C-contiguous float64 (n_inputs, n_outputs).

    If the shape does not fit, the message says how many outputs the biases, unchecked, expect.
    """
    array = checks.number_array(name, value)
    if array.ndim != 2:
        raise ValueError(
            f"{name}: expected 2 dimensions (n_inputs, n_outputs), got {array.ndim}"
            f" (shape {array.shape})"
        )
    if array.size == 0 or n_inputs not in (None, array.shape[0]):
        inputs = "n_inputs" if n_inputs is None else n_inputs
        outputs = len(bias) if isinstance(bias, Sequence) else getattr(bias, "size", 1)
        raise ValueError(
            f"{name}: expected ({inputs}, {outputs or 'n_outputs'}), got {array.shape}"
        )
    return np.ascontiguousarray(array, dtype=np.float64)


def layer_biases(name: str, value: Any, n_outputs: int) -> np.ndarray:
    """Return the biases of a layer as float64 (n_outputs,); (1, n_outputs) also passes."""
    array = checks.number_array(name, value)
    if array.size != n_outputs or array.ndim > 2:
        raise ValueError(f"{name}: expected ({n_outputs},), one per neuron, got {array.shape}")
    return np.ascontiguousarray(array.reshape(n_outputs), dtype=np.float64)


def checked_parameters(
    prefix: str,
    weights: Any,
    biases: Any,
    n_features: int | None,
    dtype: np.dtype[Any] = FLOAT64,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return weights and biases of layers that match each other and, if given, the features.

    They are of float64, or all as they were given if of `dtype`, that of arithmetic.
    """
    if n_features is not None and sizes_of(weights, biases, n_features, dtype) is not None:
        return weights, biases  # the usual case
    w_name, b_name = f"{prefix}weights", f"{prefix}biases"
    weights = arguments.sequence(w_name, weights, "2-D arrays, one per layer")
    biases = arguments.sequence(b_name, biases, "arrays, one per layer")
    if not weights:
        raise ValueError(f"{w_name}: expected at least one layer, got none")
    if len(biases) != len(weights):
        raise ValueError(
            f"{b_name}: expected {len(weights)} arrays (one per layer), got {len(biases)}"
        )
    checked_w: list[np.ndarray] = []
    checked_b: list[np.ndarray] = []
    n_inputs = n_features
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        w = layer_weights(f"{w_name}[{index}]", weight, n_inputs, bias)
        checked_w.append(w)
        checked_b.append(layer_biases(f"{b_name}[{index}]", bias, w.shape[1]))
        n_inputs = w.shape[1]
    return checked_w, checked_b


def sizes_of(
    weights: Any, biases: Any, n_inputs: int, dtype: np.dtype[Any] = FLOAT64
) -> tuple[int, ...] | None:
    """Return the sizes of layers, inputs first; None if the parameters must be looked at closely.

    That is if they are not lists of arrays of this dtype which match each other and the inputs.
    """
    if not (type(weights) is type(biases) is list and len(weights) == len(biases) > 0):
        return None
    sizes = [n_inputs]
    for w, b in zip(weights, biases, strict=True):
        plain = is_plain(w, 2, dtype) and is_plain(b, 1, dtype)
        if not (plain and w.shape == (n_inputs, b.size)):
            return None
        n_inputs = b.size
        sizes.append(n_inputs)
    return None if 0 in sizes else tuple(sizes)


def check_finite(
    prefix: str,
    weights: list[np.ndarray],
    biases: list[np.ndarray],
    dtype: np.dtype[Any] = FLOAT64,
) -> None:
    """Refuse parameters that are infinite or NaN as numbers of this dtype."""
    for index, (w, b) in enumerate(zip(weights, biases, strict=True)):
        checks.all_finite(f"{prefix}weights[{index}]", w, dtype)
        checks.all_finite(f"{prefix}biases[{index}]", b, dtype)


@dataclass
class Layers:
    """Sizes, inputs first, with the kernels' codes of activations and loss.

    `report` says how losses are reported: fastbp's way, or scikit-learn's.
    """

    sizes: tuple[int, ...]
    activations: tuple[int, ...]
    loss: int
    report: int = layout.OWN

    def plan(self, label_columns: int, batch_rows: int, compressed: bool = False) -> plans.Plan:
        """Return the layout; that of the parameters is the same for all rows and batches."""
        return plans.plan_network(
            self.sizes, self.activations, label_columns, batch_rows, compressed
        )

    @property
    def n_parameters(self) -> int:
        """The size of a vector of all parameters, padding included."""
        return self.plan(1, 1).n_parameters

    def flat(
        self,
        weights: Sequence[np.ndarray],
        biases: Sequence[np.ndarray],
        *,
        dtype: np.dtype[Any] = FLOAT64,
    ) -> np.ndarray:
        """Return all parameters in one vector, each array padded with zeros to whole vectors.

        They are rounded to the dtype, which is that of arithmetic with them.
        """
        return flat_vector(self.plan(1, 1), (*weights, *biases), dtype)

    def whole(
        self,
        weights: Sequence[np.ndarray],
        biases: Sequence[np.ndarray],
        *,
        dtype: np.dtype[Any] = FLOAT64,
    ) -> np.ndarray:
        """Return the same to be read only: where they are views of such a vector, that one."""
        return whole_vector(self.plan(1, 1), (*weights, *biases), dtype)

    def named(self, parameters: np.ndarray) -> dict[str, list[np.ndarray]]:
        """Return views of such a vector by layer."""
        plan, weights, biases, n = self.plan(1, 1), [], [], self.sizes[0]
        for at_w, at_b, m in zip(plan.weights_at, plan.biases_at, self.sizes[1:], strict=True):
            weights.append(parameters[at_w : at_w + n * m].reshape(n, m))
            biases.append(parameters[at_b : at_b + m])
            n = m
        return {"weights": weights, "biases": biases}

    def problem(self, parameters: np.ndarray, samples: Samples, options: Options) -> Problem:
        """Return the problem of these rows, from flat initial values."""
        label_columns = samples.rows.n_labels
        inside = samples.rows.in_memory
        compressed = inside is not None and isinstance(inside.features, tuple)
        plan = self.plan(label_columns, options.batch_rows, compressed)
        kernel = sparse_steps if compressed else _kernel(plan, options)
        return Problem(
            kernel=kernel,
            shared_kernel=None
            if options.clip_norm
            else _shared_kernel(kernel, plan, options.batch_rows, parameters.dtype),
            samples=samples,
            options=options,
            parameters=parameters,
            n_weights=plan.n_weights,
            settings={
                layout.LOSS: self.loss,
                layout.REPORT: self.report,
                layout.N_LAYERS: len(self.activations),
                layout.LABEL_COLUMNS: label_columns,
                layout.CLASSES: samples.class_indices,
            },
            tile_rows=plan.tile_rows,
            chunk_rows=plan.chunk_rows,
            row_work=plan.row_work,
            work_size=plan.work_size,
            named=self.named,
            table=plan.table,
        )


def _kernel(plan: plans.Plan, options: Options) -> Kernel:
    """Return the kernel for batches of this kind.

    Where two would do, their results are bit-identical. A batch of one tile is part of one chunk,
    which is never cut between two blocks of rows.
    """
    plain = options.optimizer.code == PLAIN_SGD and options.clip_norm is None
    if plain and options.batch_rows == 1:
        return kernels.online_steps
    one_tile = options.batch_rows <= plan.tile_rows
    return kernels.tile_steps if plain and one_tile and not options.alpha else kernels.network_steps


def _shared_kernel(
    kernel: Kernel, plan: plans.Plan, batch_rows: int, dtype: np.dtype[Any]
) -> Kernel | None:
    """Return the kernel for several threads in each batch, if batches are cut into few chunks.

    Of many chunks, or of several groups, each thread takes some; of float32 of any, whose gradients
    are added in float64.
    """
    chunks = -(-batch_rows // plan.chunk_rows)
    most = min(SHARED_CHUNKS, plans.group_chunks(plan.n_parameters, plan.row_work, plan.chunk_rows))
    tiles = chunks == 1 or (plan.chunk_rows == plan.tile_rows and dtype == FLOAT64)
    dense = kernel in (kernels.network_steps, kernels.tile_steps)
    return shared_steps if dense and tiles and chunks <= most else None


def flat_vector(
    plan: plans.Plan, arrays: Sequence[np.ndarray], dtype: np.dtype[Any] = FLOAT64
) -> np.ndarray:
    """Return weights and biases in one vector of this dtype, laid out as planned."""
    parameters = np.zeros(plan.n_parameters, dtype)
    for start, array in zip(plan.weights_at + plan.biases_at, arrays, strict=True):
        given = array if array.dtype == dtype else _rounded(array, dtype)
        parameters[start : start + array.size] = given.ravel()
    return parameters


def _rounded(array: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    with np.errstate(over="ignore"):  # infinities are refused by those who may have any
        return array.astype(dtype)


def whole_vector(
    plan: plans.Plan, arrays: Sequence[np.ndarray], dtype: np.dtype[Any] = FLOAT64
) -> np.ndarray:
    """Return all parameters in one vector: if many, the one that they are views of, else a copy."""
    base = arrays[0].base
    if base is None or plan.n_parameters < MANY:
        return flat_vector(plan, arrays, dtype)
    if not is_plain(base, 1, dtype) or base.size != plan.n_parameters:
        return flat_vector(plan, arrays, dtype)
    try:
        first = address(base)
        for start, array in zip(plan.weights_at + plan.biases_at, arrays, strict=True):
            if array.base is not base or address(array) != first + dtype.itemsize * start:
                return flat_vector(plan, arrays, dtype)
    except TypeError:  # one of them is read-only, or transposed
        return flat_vector(plan, arrays, dtype)
    return base
