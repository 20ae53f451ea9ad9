"""What the fits of a neuron and of a network share: results, and how they are saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.data import checks, frames
from fastbp.data.rows import Rows
from fastbp.data.sources import pieces
from fastbp.training.problem import Outcome
from fastbp.training.state import TrainingState

STOPPED = "epochs", "tol", "callback", "interrupted", "error"


class Fit(ABC):
    """The base of :class:`NeuronFit` and :class:`NetworkFit`, whose fields it works with."""

    losses: np.ndarray
    loss: str
    stopped: str
    validation_losses: np.ndarray | None
    state: TrainingState | None
    feature_names: list[str] | None

    @property
    def n_epochs(self) -> int:
        """The number of completed epochs."""
        return int(self.losses.shape[0])

    def history(self) -> dict[str, np.ndarray]:
        """Return the losses by epoch, as columns that ``pandas.DataFrame`` takes.

        Returns
        -------
        dict of numpy.ndarray, shape (n_epochs,)
            ``epoch``, from 1 in each fit; ``loss``, taken before the epoch's updates;
            ``validation_loss``, after them, if the fit had validation data. They are copies.

        Examples
        --------
        >>> from fastbp import fit_neuron
        >>> fit = fit_neuron([[0.0], [1.0]], [0, 1], [0.0], 0.0, 1.0, 3)
        >>> {name: column.round(3).tolist() for name, column in fit.history().items()}
        {'epoch': [1, 2, 3], 'loss': [0.25, 0.235, 0.222]}
        """
        columns = {"epoch": np.arange(1, self.n_epochs + 1), "loss": self.losses.copy()}
        if self.validation_losses is not None:
            columns["validation_loss"] = self.validation_losses.copy()
        return columns

    def __repr__(self) -> str:
        layers, n_parameters, dtype = self._size()
        kind = "parameter" if dtype == np.float64 else f"{dtype} parameter"
        parts = [layers, counted(n_parameters, kind), counted(self.n_epochs, "epoch")]
        if self.n_epochs:
            parts.append(f"loss {self.losses[-1]:.4g}")
        if self.stopped != "epochs":
            parts.append(f"stopped={self.stopped!r}")
        return f"{type(self).__name__}({', '.join(parts)})"

    @abstractmethod
    def _size(self) -> tuple[str, int, np.dtype[Any]]:
        """Return a word on its layers, the number of its parameters, and their dtype."""

    @abstractmethod
    def predict(self, features: Any) -> np.ndarray:
        """Return the outputs for rows of features."""

    @abstractmethod
    def to_stored(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return its arrays and JSON fields for saving."""

    def _stored(
        self, parameters: dict[str, np.ndarray], fields: dict[str, Any]
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return these arrays and fields for saving, with those that both kinds of fit have."""
        arrays = {**parameters, "losses": self.losses}
        if self.validation_losses is not None:
            arrays["validation_losses"] = self.validation_losses
        shared = "loss", "stopped", "feature_names"
        fields = {**fields, **{name: getattr(self, name) for name in shared}}
        if self.state is not None:
            of_state, fields["state"] = self.state.to_stored()
            arrays |= of_state
        return arrays, fields


def counted(number: int, what: str) -> str:
    """Return a number and what it counts, such as ``7,510 parameters``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def best_epoch(validation_losses: np.ndarray | None) -> tuple[int, float] | None:
    """Return the epoch of the lowest validation loss, counted from 1, and the loss, if any."""
    if validation_losses is None or not np.isfinite(validation_losses).any():
        return None
    best = int(np.nanargmin(validation_losses))
    return best + 1, float(validation_losses[best])


def restored_dtype(name: str, array: np.ndarray) -> np.dtype[Any]:
    """Return the dtype of a model from an array of its parameters that a file holds."""
    return arguments.dtype(f"{name}.dtype", array.dtype)


def restored(
    arrays: dict[str, np.ndarray], fields: dict[str, Any], n_features: int, dtype: np.dtype[Any]
) -> dict[str, Any]:
    """Return the fields of a fit in `dtype` from saved arrays and fields, checked.

    They are all but its parameters.
    """
    if "state" in fields:
        fields = {**fields, "state": TrainingState.from_stored(arrays, fields["state"])}
        fields["state"].check_dtype(dtype)
    arguments.choice("stopped", fields["stopped"], STOPPED)
    stored_names(fields, n_features)
    losses, against = arrays["losses"], arrays.get("validation_losses")
    for array in (losses, losses if against is None else against):
        if array.dtype != np.float64 or array.shape != losses.shape or array.ndim != 1:
            raise ValueError(f"losses: expected one an epoch, got {arguments.describe(array)}")
    checks.all_finite("losses", losses)
    return {**fields, "losses": losses, "validation_losses": against}


def stored_names(fields: dict[str, Any], n_features: int) -> list[str] | None:
    """Return the names of features that a file holds, checked."""
    names: list[str] | None = fields["feature_names"]
    if names is not None and [type(name) for name in names] != [str] * n_features:
        raise ValueError(f"feature_names: expected {n_features} names, got {names!r}")
    return names


def fields_of(outcome: Outcome) -> dict[str, Any]:
    """Return the fields of a fit that come from training, without its parameters."""
    fields = dict(vars(outcome))
    del fields["parameters"]
    return fields


def check_names(features: Any, expected: list[str] | None) -> None:
    """Refuse a table, or rows, whose columns are not those that a model was fitted to, in order."""
    if expected is not None and type(features) is not np.ndarray:
        is_rows = isinstance(features, Rows)
        of = pieces if pieces.is_collection(features) else frames
        names = features.feature_names if is_rows else of.names_of(features)
        if names is not None and not is_rows:  # as rows_of leaves it out
            index = frames.index_names(getattr(features, "schema", None))
            names = [name for name in names if name not in index]
        checks.same_names("features", names, expected)


def by_layer(weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the parameters of layers under their names in a file."""
    arrays = {f"weights.{index}": w for index, w in enumerate(weights)}
    return arrays | {f"biases.{index}": b for index, b in enumerate(biases)}


def layers_in(
    arrays: dict[str, np.ndarray], n_layers: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return what :func:`by_layer` was given."""
    layers = range(n_layers)
    return [arrays[f"weights.{i}"] for i in layers], [arrays[f"biases.{i}"] for i in layers]
