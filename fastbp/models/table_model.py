"""A fit with what predictions for tables need: columns by name, their scaling, classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.data import checks, frames
from fastbp.data.arrays import rows_of
from fastbp.data.classes import shown
from fastbp.data.rows import Rows
from fastbp.data.sources.columns import ColumnRequest, parts_of
from fastbp.errors import DataError
from fastbp.models.fits import Fit
from fastbp.models.network import NetworkFit
from fastbp.models.neuron import NeuronFit


@dataclass(frozen=True, eq=False, repr=False)
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
    target_mean, target_scale : float
        A number is predicted as output * scale + mean.
    """

    fit: Fit
    columns: list[str]
    target: str
    means: np.ndarray
    scales: np.ndarray
    classes: list[Any] | None
    positional: bool = False
    target_mean: float = 0.0
    target_scale: float = 1.0

    def __repr__(self) -> str:
        predicts = "a number" if self.classes is None else f"classes {shown(self.classes)}"
        kind = f"{type(self.fit).__name__} of {len(self.columns)} columns"
        return f"<TableModel: {kind}, predicts {self.target!r}, {predicts}>"

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the parameters, and of the arithmetic."""
        found: np.dtype[Any] = self.fit.weights[0].dtype  # type: ignore[attr-defined]
        return found

    def outputs(self, table: Any) -> np.ndarray:
        """Return the outputs: shape (n_samples,), or (n_samples, n_outputs) if there are several.

        They are float64, computed in the dtype of the fit. Numbers are in the units of the target.

        Parameters
        ----------
        table : table, Rows, or array-like, shape (n_samples, n_features)
            A table of pandas, Polars or pyarrow, and the rows of :func:`open_rows`, have these
            columns by name, in any order and among others or not; an array, or rows without names,
            have exactly `columns`, in order. Rows are read a block at a time.

        Raises
        ------
        ValueError
            If a column is missing: the message names it. If the number of columns without names
            is another.
        DataError
            If a value of these columns is not finite, or too large for the dtype of the fit.
        """
        if not isinstance(table, Rows):
            names = frames.names_of(table)
            if names is not None and not self.positional:
                self._indices("table", names)
                table = parts_of("table", table, ColumnRequest(columns=self.columns))[0]
            table = rows_of("table", table)
        return np.concatenate(list(self.outputs_by_block(table)))

    def outputs_by_block(self, rows: Rows) -> Iterator[np.ndarray]:
        """Yield the outputs of each block of rows, in order: see `outputs`."""
        n, dtype = len(self.columns), self.dtype
        indices = list(range(n))
        if rows.feature_names is not None and not self.positional:
            indices = self._indices(rows.name, rows.feature_names)
        elif rows.n_features != n:
            got = rows.n_features
            raise ValueError(f"{rows.name}: expected {n} columns of features, got {got}")
        for start, block in rows.blocks():
            features = block.features[:, indices]  # others may hold anything
            row = checks.first_bad_row(features)
            if row is not None:
                checks.raise_for_row(*rows.locate(start + row), features[row], self.columns)
            with np.errstate(over="ignore"):
                scaled = (features - self.means) / self.scales
            row = checks.first_bad_row(scaled, dtype)
            if row is not None:
                name, index = rows.locate(start + row)
                j = int(np.argmax(~checks.finite_in(dtype, scaled[row])))
                raise DataError(
                    f"{name}: expected numbers that {dtype} can hold once they are standardized,"
                    f" got {features[row, j]} in row {index}, column {self.columns[j]!r}",
                    index, self.columns[j],
                )  # fmt: skip
            outputs = outputs_of(self.fit, scaled).astype(np.float64)
            yield outputs * self.target_scale + self.target_mean

    def _indices(self, name: str, names: list[str]) -> list[int]:
        """Return where the model's columns are among others, or name those that are missing."""
        where = {column: index for index, column in enumerate(names)}
        missing = [column for column in self.columns if column not in where]
        if missing:
            listed = checks.listed(missing)
            raise ValueError(f"{name}: expected the columns of the model, got none named {listed}")
        return [where[column] for column in self.columns]

    def predict(self, table: Any) -> np.ndarray:
        """Return the labels, or numbers without classes, of shape (n_samples,): see `outputs`."""
        return self.labels(self.outputs(table))

    def predict_proba(self, table: Any) -> np.ndarray:
        """Return the probability of each of `classes`, of shape (n_samples, n_classes).

        Parameters
        ----------
        table : table, Rows, or array-like, shape (n_samples, n_features)
            As for :meth:`outputs`.

        Raises
        ------
        TypeError
            If a number is predicted.
        """
        if self.classes is None:
            raise TypeError(f"predict_proba: expected a model of classes, got {self!r}")
        outputs = self.outputs(table)
        return np.column_stack([1.0 - outputs, outputs]) if outputs.ndim == 1 else outputs

    def labels(self, outputs: np.ndarray) -> np.ndarray:
        """Return the classes that outputs stand for, or the outputs if there are none."""
        if self.classes is None:
            return outputs
        labels: np.ndarray = np.array(self.classes)[class_indices_of(outputs)]
        return labels

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
            "target_mean": self.target_mean,
            "target_scale": self.target_scale,
        }

    @classmethod
    def from_stored(cls, arrays: dict[str, np.ndarray], fields: dict[str, Any]) -> TableModel:
        """Rebuild it from saved arrays and fields."""
        kind: Any = {"NetworkFit": NetworkFit, "NeuronFit": NeuronFit}[fields["model"]]
        own = {name: value for name, value in fields.items() if name not in ("model", "fit")}
        fit = kind.from_stored(arrays, fields["fit"])
        model = cls(fit=fit, means=arrays["means"], scales=arrays["scales"], **own)
        model._check_stored()
        return model

    def _check_stored(self) -> None:
        """Refuse what does not fit together: anybody can have made a file."""
        if isinstance(self.fit, NetworkFit):
            d, n_outputs = len(self.fit.weights[0]), self.fit.weights[-1].shape[1]
        else:
            assert isinstance(self.fit, NeuronFit)
            d, n_outputs = self.fit.weights.size, 1
        names = arguments.sequence("columns", self.columns, "names")
        if len(names) != d or not all(type(n) is str for n in [*names, self.target]):
            raise ValueError(f"columns, target: expected {d} names and one, got {names!r}")
        for name, array in (("means", self.means), ("scales", self.scales)):
            if array.dtype != np.float64 or array.shape != (d,) or not np.isfinite(array).all():
                raise ValueError(f"{name}: expected finite numbers, one a feature, got {array!r}")
        if not self.scales.all():
            raise ValueError("scales: expected numbers other than 0, got 0")
        arguments.real("target_mean", self.target_mean)
        if not arguments.real("target_scale", self.target_scale) > 0.0:
            raise ValueError(f"target_scale: expected a number above 0, got {self.target_scale}")
        if type(self.positional) is not bool:
            raise TypeError(f"positional: expected True or False, got {self.positional!r}")
        labels = self.classes
        if labels is not None and (
            not isinstance(labels, list)
            or len(labels) != max(2, n_outputs)
            or not all(isinstance(label, str | int | float) for label in labels)
        ):
            raise ValueError(f"classes: expected a label for each output, got {labels!r}")


def outputs_of(fit: Fit, features: np.ndarray) -> np.ndarray:
    """Return the outputs for rows of features, of shape (n_samples,) if there is only one."""
    outputs: np.ndarray = fit.predict(features)
    return outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs


def class_indices_of(outputs: np.ndarray) -> np.ndarray:
    """Return the indices of the classes that outputs stand for: see :attr:`TableModel.classes`."""
    indices: np.ndarray = outputs.argmax(axis=1) if outputs.ndim == 2 else outputs >= 0.5
    return indices.astype(np.int64)
