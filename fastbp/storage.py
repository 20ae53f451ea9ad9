"""Models on disk, in safetensors: numbers and a line of JSON, nothing that runs."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any, Protocol, get_args

import numpy as np

from fastbp.errors import CheckpointError
from fastbp.models.network import NetworkFit
from fastbp.models.neuron import NeuronFit
from fastbp.models.step_by_step import Layer, Perceptron
from fastbp.models.step_by_step_neuron import Neuron
from fastbp.models.table_model import TableModel
from fastbp.system import archive


class Storable(Protocol):
    """A model that can say what it is made of, and be made again from that."""

    def to_stored(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays, and what JSON can hold."""

    @classmethod
    def from_stored(cls, arrays: dict[str, np.ndarray], fields: dict[str, Any]) -> Any:
        """Make the model again."""


Model = Neuron | NeuronFit | NetworkFit | Layer | Perceptron | TableModel
KINDS: dict[str, type[Storable]] = {kind.__name__: kind for kind in get_args(Model)}
ESTIMATORS = {
    "MLPClassifier": "mlp.classifier",
    "MLPRegressor": "mlp.regressor",
    "NeuronClassifier": "neuron.classifier",
    "NeuronRegressor": "neuron.regressor",
}
"""Where they are: only they need scikit-learn."""


def save(model: Storable, path: str | os.PathLike[str]) -> None:
    """Write a model to a safetensors file.

    Parameters
    ----------
    model : NeuronFit, NetworkFit, Neuron, Layer, Perceptron, TableModel or an estimator
        A fit's `state` is kept with it, and all of an estimator, so that training can go on from
        the file. (An estimator's `callback` cannot be kept; scikit-learn's own callbacks are left
        out. A pipeline is no model of this library: it can be pickled.)
    path : path-like
        Its folder must exist. An old file is replaced at once or, if writing fails, left as it is.

    Raises
    ------
    TypeError
        If the model is of another type, or an estimator's parameter is a function.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import fastbp, tempfile, os
    >>> fit = fastbp.fit_neuron([[0.0], [1.0]], [0, 1], [0.0], 0.0, 1.0, 100)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.safetensors")
    ...     fastbp.save(fit, path)
    ...     again = fastbp.load(path)
    >>> again.bias == fit.bias
    True
    """
    kind = type(model).__name__
    if _kind(kind) is not type(model):
        raise TypeError(f"model: expected {_listed()}, got {kind}")
    archive.write(Path(path), kind, model.to_stored())


def load(path: str | os.PathLike[str]) -> Any:
    """Read what :func:`save` wrote.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    NeuronFit, NetworkFit, Neuron, Layer, Perceptron, TableModel or an estimator

    Raises
    ------
    OSError
        If the file cannot be read.
    CheckpointError
        If it is not such a file, was altered, or is of a newer format.
    """
    path = Path(path)
    kind, content = archive.read(path)
    found = _kind(kind)
    if found is None:
        raise CheckpointError(f"{path}: expected {_listed()}, got {kind}")
    return found.from_stored(*content)


def _kind(name: str) -> type[Storable] | None:
    """Return the class of this name, if such models can be stored."""
    if name not in ESTIMATORS:
        return KINDS.get(name)
    found: type[Storable] = getattr(
        importlib.import_module(f"fastbp.estimators.{ESTIMATORS[name]}"), name
    )
    return found


def _listed() -> str:
    return ", ".join(sorted([*KINDS, *ESTIMATORS]))
