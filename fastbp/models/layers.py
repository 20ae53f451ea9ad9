"""Layers: from their sizes to a plan, flat parameters and a problem for the driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.data import checks
from fastbp.data.labels import Samples
from fastbp.data.sparse import Compressed
from fastbp.kernels import layout
from fastbp.kernels import network as kernels
from fastbp.kernels import plan as plans
from fastbp.kernels.blas import gemm_address
from fastbp.kernels.sparse_network import sparse_steps
from fastbp.kernels.update import PLAIN_SGD
from fastbp.models.activations import ACTIVATIONS
from fastbp.training.problem import Kernel, Options, Outcome, Problem


def activations_of(name: str, value: Any, n_layers: int) -> tuple[str, ...]:
    """Return one known activation a layer, softmax on the last only."""
    names = arguments.sequence(name, value, "names, one a layer")
    if len(names) != n_layers:
        raise ValueError(f"{name}: expected {n_layers} names (one a layer), got {len(names)}")
    for index, activation in enumerate(names):
        arguments.choice(f"{name}[{index}]", activation, ACTIVATIONS)
        if activation == "softmax" and index < n_layers - 1:
            raise ValueError(f"{name}[{index}]: expected 'softmax' on the last layer only")
    return tuple(names)


def checked_parameters(
    prefix: str, weights: Any, biases: Any, n_features: int | None
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return weights and biases of layers that fit each other, and the features if given."""
    w_name, b_name = f"{prefix}weights", f"{prefix}biases"
    weights = arguments.sequence(w_name, weights, "2-D arrays, one a layer")
    biases = arguments.sequence(b_name, biases, "arrays, one a layer")
    if not weights:
        raise ValueError(f"{w_name}: expected at least one layer, got none")
    if len(biases) != len(weights):
        raise ValueError(
            f"{b_name}: expected {len(weights)} arrays (one a layer), got {len(biases)}"
        )
    checked_w: list[np.ndarray] = []
    checked_b: list[np.ndarray] = []
    n_inputs = n_features
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        w = checks.layer_weights(f"{w_name}[{index}]", weight, n_inputs, bias)
        checked_w.append(w)
        checked_b.append(checks.layer_biases(f"{b_name}[{index}]", bias, w.shape[1]))
        n_inputs = w.shape[1]
    return checked_w, checked_b


def check_finite(prefix: str, weights: list[np.ndarray], biases: list[np.ndarray]) -> None:
    """Refuse parameters that are infinite or NaN."""
    for index, (w, b) in enumerate(zip(weights, biases, strict=True)):
        checks.all_finite(f"{prefix}weights[{index}]", w)
        checks.all_finite(f"{prefix}biases[{index}]", b)


@dataclass(frozen=True)
class Layers:
    """Sizes, inputs first, with the kernels' numbers of activations and loss.

    `report` is how losses are told: the contract's way, or scikit-learn's.
    """

    sizes: tuple[int, ...]
    activations: tuple[int, ...]
    loss: int
    report: int = layout.OWN

    def plan(self, label_columns: int, batch_rows: int, compressed: bool = False) -> plans.Plan:
        """Return where everything lies; the parameters lie alike for all rows."""
        return plans.plan_network(
            self.sizes, self.activations, label_columns, batch_rows, compressed
        )

    @property
    def n_parameters(self) -> int:
        """Numbers in a vector of all parameters, with what fills it up."""
        return self.plan(1, 1).n_parameters

    def flat(self, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> np.ndarray:
        """Return all parameters in one vector, each array filled up with zeros to whole vectors."""
        return flat_vector(self.plan(1, 1), (*weights, *biases))

    def named(self, parameters: np.ndarray) -> dict[str, list[np.ndarray]]:
        """Return views of such a vector by layer."""
        plan = self.plan(1, 1)
        shapes = list(pairwise(self.sizes))
        return {
            "weights": [
                parameters[start : start + n * m].reshape(n, m)
                for start, (n, m) in zip(plan.weights_at, shapes, strict=True)
            ],
            "biases": [
                parameters[start : start + m]
                for start, (_, m) in zip(plan.biases_at, shapes, strict=True)
            ],
        }

    def problem(
        self,
        parameters: np.ndarray,
        samples: Samples,
        options: Options,
        result: Callable[[Outcome], Any] = lambda outcome: outcome,
    ) -> Problem:
        """Return the problem of these rows, from flat start values."""
        label_columns = samples.rows.n_labels
        inside = samples.rows.in_memory
        compressed = inside is not None and isinstance(inside.features, Compressed)
        plan = self.plan(label_columns, options.batch_rows, compressed)
        kernel = sparse_steps if compressed else _kernel(plan, options)
        uses_blas = plan.uses_blas and kernel is not kernels.online_steps
        return Problem(
            kernel=kernel,
            samples=samples,
            parameters=parameters,
            n_weights=plan.n_weights,
            settings={
                layout.LOSS: self.loss,
                layout.REPORT: self.report,
                layout.N_LAYERS: len(self.activations),
                layout.LABEL_COLUMNS: label_columns,
                layout.CLASSES: samples.class_indices,
                layout.GEMM: gemm_address() if uses_blas else 0,
            },
            tile_rows=plan.tile_rows,
            chunk_rows=plan.chunk_rows,
            row_work=plan.row_work,
            work_size=plan.work_size,
            named=self.named,
            result=result,
            table=plan.table,
            uses_blas=uses_blas,
        )


def _kernel(plan: plans.Plan, options: Options) -> Kernel:
    """Return the kernel for batches of this kind; where two would do, they give the same bits.

    A batch of one tile is part of one chunk, which is never cut between two blocks of rows.
    """
    batch_rows = options.batch_rows
    if options.optimizer.code != PLAIN_SGD:
        return kernels.network_steps
    if batch_rows == 1:
        return kernels.online_steps
    one_tile = batch_rows <= plan.tile_rows and not plan.uses_blas and options.alpha == 0.0
    return kernels.tile_steps if one_tile else kernels.network_steps


def flat_vector(plan: plans.Plan, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return weights and biases in one vector, laid out as planned."""
    parameters = np.zeros(plan.n_parameters)
    for start, array in zip(plan.weights_at + plan.biases_at, arrays, strict=True):
        parameters[start : start + array.size] = array.reshape(-1)
    return parameters
