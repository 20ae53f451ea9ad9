"""A fit with what predictions for tables need: columns by name, their scaling, classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbp.data import checks, frames
from fastbp.data.sources.columns import ColumnRequest, parts_of
from fastbp.models.fits import Fit
from fastbp.models.network import NetworkFit
from fastbp.models.neuron import NeuronFit


@dataclass(frozen=True, eq=False)
class TableModel:
    """A trained neuron or network with everything that a prediction for a table needs.

    Attributes
    ----------
    fit : NeuronFit or NetworkFit
    columns : list of str
        The features, in the order of the weights.
    target : str
        The column that it was trained to predict.
    means, scales : numpy.ndarray of float64, shape (n_features,)
        Each feature is taken as (value - mean) / scale.
    classes : list of labels, or None
        What the outputs stand for. A single output below one half stands for the first class, any
        other for the second; with several outputs, each stands for its own. None for a number.
    positional : bool
        Whether the columns had no names, only numbers.
    """

    fit: Fit
    columns: list[str]
    target: str
    means: np.ndarray
    scales: np.ndarray
    classes: list[Any] | None
    positional: bool = False

    def outputs(self, table: Any) -> np.ndarray:
        """Return the outputs: shape (n_samples,), or (n_samples, n_outputs) if there are several.

        Parameters
        ----------
        table : table or array-like, shape (n_samples, n_features)
            A table of pandas, Polars or pyarrow has these columns by name, among others or not; an
            array has exactly `columns`, in order.
        """
        if not self.positional and frames.names_of(table) is not None:
            table = parts_of("table", table, ColumnRequest(columns=self.columns))[0]
        features = checks.matrix("table", table)
        return outputs_of(self.fit, (features - self.means) / self.scales)

    def predict(self, table: Any) -> list[Any]:
        """Return the predicted labels, or numbers without classes: see :meth:`outputs`."""
        return self.labels(self.outputs(table))

    def labels(self, outputs: np.ndarray) -> list[Any]:
        """Return the classes that outputs stand for, or the outputs if there are none."""
        if self.classes is None:
            values: list[Any] = outputs.tolist()
            return values
        return [self.classes[index] for index in class_indices_of(outputs).tolist()]

    def to_stored(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return its arrays and JSON fields for saving."""
        arrays, fields = self.fit.to_stored()
        return {**arrays, "means": self.means, "scales": self.scales}, {
            "model": type(self.fit).__name__,
            "fit": fields,
            "columns": self.columns,
            "target": self.target,
            "classes": self.classes,
            "positional": self.positional,
        }

    @classmethod
    def from_stored(cls, arrays: dict[str, np.ndarray], fields: dict[str, Any]) -> TableModel:
        """Rebuild it from saved arrays and fields."""
        kind = NetworkFit if fields.pop("model") == "NetworkFit" else NeuronFit
        return cls(
            fit=kind.from_stored(arrays, fields.pop("fit")),
            means=arrays["means"],
            scales=arrays["scales"],
            **fields,
        )


def outputs_of(fit: Fit, features: np.ndarray) -> np.ndarray:
    """Return the outputs for rows of features, of shape (n_samples,) if there is only one."""
    outputs: np.ndarray = fit.predict(features)
    return outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs


def class_indices_of(outputs: np.ndarray) -> np.ndarray:
    """Return the indices of the classes that outputs stand for: see :attr:`TableModel.classes`."""
    indices: np.ndarray = outputs.argmax(axis=1) if outputs.ndim == 2 else outputs >= 0.5
    return indices.astype(np.int64)
