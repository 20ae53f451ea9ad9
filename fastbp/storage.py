"""Models on disk, in safetensors: numbers and a line of JSON, no executable content."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, Union

import numpy as np

from fastbp import arguments
from fastbp.errors import CheckpointError
from fastbp.system import archive

if TYPE_CHECKING:
    from fastbp.estimators.mlp.classifier import MLPClassifier
    from fastbp.estimators.mlp.regressor import MLPRegressor
    from fastbp.estimators.neuron.classifier import NeuronClassifier
    from fastbp.estimators.neuron.regressor import NeuronRegressor
    from fastbp.models.network import NetworkFit
    from fastbp.models.neuron import NeuronFit
    from fastbp.models.step_by_step_layers import Layer, Perceptron
    from fastbp.models.step_by_step_neuron import Neuron
    from fastbp.models.table_model import TableModel

StoredModel: TypeAlias = Union[
    "Layer",
    "MLPClassifier",
    "MLPRegressor",
    "NetworkFit",
    "Neuron",
    "NeuronClassifier",
    "NeuronFit",
    "NeuronRegressor",
    "Perceptron",
    "TableModel",
]
HOMES = {
    "Layer": "models.step_by_step_layers",
    "MLPClassifier": "estimators.mlp.classifier",
    "MLPRegressor": "estimators.mlp.regressor",
    "NetworkFit": "models.network",
    "Neuron": "models.step_by_step_neuron",
    "NeuronClassifier": "estimators.neuron.classifier",
    "NeuronFit": "models.neuron",
    "NeuronRegressor": "estimators.neuron.regressor",
    "Perceptron": "models.step_by_step_layers",
    "TableModel": "models.table_model",
}
"""The classes that a file may hold, and where they are: imported when one is met, since only the
estimators need scikit-learn."""


class Storable(Protocol):
    """A model that can be turned into arrays and JSON, and rebuilt from them."""

    def to_stored(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays, and what JSON can hold."""

    @classmethod
    def from_stored(cls, arrays: dict[str, np.ndarray], fields: dict[str, Any]) -> Any:
        """Rebuild the model."""


def save(model: Storable, path: str | os.PathLike[str]) -> None:
    """Write a model to a safetensors file.

    Parameters
    ----------
    model : NeuronFit, NetworkFit, Neuron, Layer, Perceptron, TableModel or an estimator
        A fit's `state` is kept with it, and all of an estimator, so that training can continue from
        the file. (An estimator's `callback` cannot be kept; scikit-learn's own callbacks are left
        out. A scikit-learn pipeline is not supported; pickle it instead.)
    path : path-like
        Its folder must exist. Links are followed. An old file is replaced atomically, by one of
        the same mode and owner, or, if writing fails, left as it is; a pipe is written to.

    Raises
    ------
    TypeError
        If the model is of another type, or an estimator's parameter is a function.
    ValueError
        If no file can have that path.
    OSError
        If the file cannot be written. If only the old one cannot be replaced, the message says
        where the new one is.

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
    if _class_named(kind) is not type(model):
        full = f"{type(model).__module__}.{kind}"
        theirs = full.startswith("sklearn.neural_network.") and kind in HOMES
        more = f"; fastbp.{kind}.from_sklearn(model) makes one of it" if theirs else ""
        raise TypeError(f"model: expected {', '.join(HOMES)} of fastbp, got {full}{more}")
    path = arguments.path("path", path)
    with arguments.path_errors("path", "a file, in a folder that exists"):
        archive.write(path, kind, model.to_stored())


def load(path: str | os.PathLike[str]) -> StoredModel:
    """Read what :func:`save` wrote.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    NeuronFit, NetworkFit, Neuron, Layer, Perceptron, TableModel or an estimator

    Raises
    ------
    ValueError
        If no file can have that path.
    OSError
        If the file cannot be read.
    CheckpointError
        If it is not such a file, was altered, or is of a newer format.
    """
    path = arguments.path("path", path)
    with arguments.path_errors("path", "a file that exists"):
        kind, content = archive.read(path)
    found = _class_named(kind)
    if found is None:
        from fastbp.training.checkpoints import KIND

        got = "a checkpoint, which only its fit goes on from" if kind == KIND else kind
        raise CheckpointError(f"{path}: expected {', '.join(HOMES)}, got {got}")
    with archive.refusing(path, f"a {kind}"):
        model: StoredModel = found.from_stored(*content)
        if not archive.same(model.to_stored(), content):  # a field is missing, or one too many
            raise ValueError("more or less than it is made of")
    return model


def _class_named(name: str) -> type[Storable] | None:
    """Return the class of this name, if such models can be stored."""
    if name not in HOMES:
        return None
    found: type[Storable] = getattr(import_module(f"fastbp.{HOMES[name]}"), name)
    return found
