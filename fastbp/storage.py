"""Models on disk, in safetensors: numbers and a line of JSON, nothing that runs."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any, Protocol, get_args

import numpy as np

from fastbp.errors import CheckpointError
from fastbp.network import NetworkFit
from fastbp.neuron import NeuronFit
from fastbp.objects import Layer, Neuron, Perceptron
from fastbp.tables import TableModel

FORMAT = 1


class Storable(Protocol):
    """A model that can say what it is made of, and be made again from that."""

    def to_stored(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays, and what JSON can hold."""

    @classmethod
    def from_stored(cls, arrays: dict[str, np.ndarray], fields: dict[str, Any]) -> Any:
        """Make the model again."""


Model = Neuron | NeuronFit | NetworkFit | Layer | Perceptron | TableModel
KINDS: dict[str, type[Storable]] = {kind.__name__: kind for kind in get_args(Model)}


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model to a safetensors file.

    Parameters
    ----------
    model : NeuronFit, NetworkFit, Neuron, Layer, Perceptron or TableModel
        A fit's `state` is kept with it, so that training can go on from the file.
    path : path-like
        Its folder must exist. An old file is replaced at once or, if writing fails, left as it is.

    Raises
    ------
    TypeError
        If the model is of another type.
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
    from safetensors.numpy import save as to_bytes

    kind = type(model).__name__
    if KINDS.get(kind) is not type(model):
        raise TypeError(f"model: expected {_listed()}, got {kind}")
    arrays, fields = model.to_stored()
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    header = json.dumps({"format": FORMAT, "kind": kind, "fields": fields}, sort_keys=True)
    metadata = {"fastbp": header, "sha256": _digest(header, arrays)}
    _replace(Path(path), to_bytes(arrays, metadata))


def load(path: str | os.PathLike[str]) -> Any:
    """Read what :func:`save` wrote.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    NeuronFit, NetworkFit, Neuron, Layer, Perceptron or TableModel

    Raises
    ------
    OSError
        If the file cannot be read.
    CheckpointError
        If it is not such a file, was altered, or is of a newer format.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    with path.open("rb"):
        pass  # a missing or unreadable file is an OSError
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: expected a safetensors file, got {error}") from None
    if "fastbp" not in metadata:
        raise CheckpointError(f"{path}: expected a model of fastbp, got other safetensors")
    header = metadata["fastbp"]
    if _digest(header, arrays) != metadata.get("sha256"):
        raise CheckpointError(f"{path}: the file was altered: its digest does not match")
    content = json.loads(header)
    if content["format"] > FORMAT:
        raise CheckpointError(
            f"{path}: expected format {FORMAT} or older, got {content['format']}: update fastbp"
        )
    if content["kind"] not in KINDS:
        raise CheckpointError(f"{path}: expected {_listed()}, got {content['kind']}")
    return KINDS[content["kind"]].from_stored(arrays, content["fields"])


def _listed() -> str:
    return ", ".join(sorted(KINDS))


def _digest(header: str, arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def _replace(path: Path, content: bytes) -> None:
    """Write a file beside the old one, then rename it over that."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise type(error)(error.errno, error.strerror, str(path)) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
