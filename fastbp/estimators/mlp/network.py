"""A perceptron as the kernels know it: its layers, its rows with labels, its outputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from fastbp.arguments import FLOAT64
from fastbp.data import checks
from fastbp.data.arrays import Labelled, loaded_if_small, rows_of
from fastbp.data.labels import Samples
from fastbp.data.rows import Rows
from fastbp.data.sparse import CompressedRows, SparseRows, is_sparse_enough
from fastbp.estimators.base import dtype_of
from fastbp.estimators.names import CODES, PHI, loss_codes_of
from fastbp.models.layers import Layers
from fastbp.models.network_prediction import predicted

Parameters = tuple[list[np.ndarray], list[np.ndarray]]
"""Weights and biases, one of each per layer."""


class Data(NamedTuple):
    """Checked features, labels as the kernels take them, and sample weights."""

    X: Any
    labels: np.ndarray
    weight: np.ndarray | None

    def part(self, rows: np.ndarray) -> Data:
        """Return some rows."""
        weight = None if self.weight is None else self.weight[rows]
        return Data(self.X[rows], self.labels[rows], weight)

    def checked(self, name: str, dtype: np.dtype[Any]) -> Data:
        """Return them if labels of this name, and weights, can be computed with in this dtype."""
        checks.finite_rows(name, self.labels, dtype)
        if self.weight is None:
            return self
        n_rows = len(self.labels)
        weight = checks.sample_weights("sample_weight", self.weight, n_rows, dtype)
        return self._replace(weight=weight)

    def samples(self, layers: Layers, dtype: np.dtype[Any]) -> Samples:
        """Return them for kernels that compute in this dtype.

        Rows that are sparse enough stay compressed.
        """
        classes = self.labels.shape[1] == 1 < layers.sizes[-1]
        compressed = _stays_sparse(self.X, layers)
        rows = CompressedRows(self.X, "X", dtype) if compressed else _rows(self.X, dtype)
        return Samples(Labelled(rows, self.labels, self.weight), classes, None)


def activation_codes(hidden: str, output: str, n_layers: int) -> tuple[int, ...]:
    """Return the kernels' codes of the activations of all layers."""
    return (*(CODES[hidden],) * (n_layers - 1), CODES[output])


def layers_of(
    coefs: list[np.ndarray], hidden: str = "identity", output: str = "identity", loss: str = "mse"
) -> Layers:
    """Return layers with weights of these shapes; where parameters are follows from those alone."""
    sizes = (len(coefs[0]), *(w.shape[1] for w in coefs))
    activations = activation_codes(hidden, output, len(coefs))
    return Layers(sizes, activations, *loss_codes_of(loss, output))


def flat(coefs: list[np.ndarray], intercepts: list[np.ndarray]) -> np.ndarray:
    """Return all parameters in one vector, as the kernels keep them."""
    return layers_of(coefs).flat(coefs, intercepts, dtype=dtype_of(*coefs, *intercepts))


def copied(coefs: list[np.ndarray], intercepts: list[np.ndarray]) -> Parameters:
    """Return copies, all of one dtype: views of one vector, which predictions need not copy."""
    named = layers_of(coefs).named(flat(coefs, intercepts))
    return named["weights"], named["biases"]


def checked(coefs: Any, intercepts: Any, n_features: int) -> Parameters:
    """Return parameters as arrays that match each other and the data: anybody may have set them."""
    if len(coefs) != len(intercepts) or not coefs:
        raise ValueError(
            f"coefs_, intercepts_: expected one of each for each layer, got {len(coefs)} and"
            f" {len(intercepts)}"
        )
    coefs, intercepts = [np.asarray(w) for w in coefs], [np.asarray(b) for b in intercepts]
    n_inputs = n_features
    for index, (w, b) in enumerate(zip(coefs, intercepts, strict=True)):
        if w.ndim != 2 or w.shape[0] != n_inputs or b.shape != (w.shape[1],):
            raise ValueError(
                f"coefs_[{index}], intercepts_[{index}]: expected shapes ({n_inputs}, m) and"
                f" (m,), got {w.shape} and {b.shape}"
            )
        n_inputs = w.shape[1]
    return coefs, intercepts


def outputs_of(
    X: Any,
    layers: Layers,
    parameters: Parameters,
    n_threads: int | None,
    dtype: np.dtype[Any] = FLOAT64,
) -> np.ndarray:
    """Return the outputs (N, K), computed in this dtype.

    For rows that are sparse enough, the first layer is SciPy's.
    """
    coefs, intercepts = parameters
    if _stays_sparse(X, layers):
        X = PHI[layers.activations[0]](X @ coefs[0] + intercepts[0])
        layers = replace(layers, sizes=layers.sizes[1:], activations=layers.activations[1:])
        coefs, intercepts = coefs[1:], intercepts[1:]
    return predicted(_rows(X, dtype), layers, coefs, intercepts, n_threads, dtype)


def _stays_sparse(X: Any, layers: Layers) -> bool:
    """Return whether rows go to the first layer compressed."""
    return sparse.issparse(X) and len(layers.activations) > 1 and is_sparse_enough(X)


def _rows(X: Any, dtype: np.dtype[Any]) -> Rows:
    if sparse.issparse(X):
        return loaded_if_small(SparseRows(X.tocsr(), "X"))
    return rows_of("X", X, dtype)
