"""Arrays and a line of JSON in a safetensors file, without executable content."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from fastbp.errors import CheckpointError
from fastbp.system import output

FORMAT = 1

Content = tuple[dict[str, np.ndarray], dict[str, Any]]


def to_json(fields: dict[str, Any]) -> str:
    """Return fields as text; small arrays in them, such as a generator's state, become lists."""
    return json.dumps(fields, sort_keys=True, default=_plain)


def _plain(value: np.ndarray | np.generic) -> Any:
    is_array = isinstance(value, np.ndarray)
    return {"dtype": value.dtype.str, "array": value.tolist()} if is_array else value.item()


def _array_again(value: dict[str, Any]) -> Any:
    is_array = value.keys() == {"dtype", "array"}
    return np.array(value["array"], dtype=value["dtype"]) if is_array else value


def write(path: Path, kind: str, content: Content) -> None:
    """Write a file, as :func:`fastbp.system.output.replacing` does."""
    from safetensors.numpy import save as to_bytes

    arrays, fields = content
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    header = to_json({"format": FORMAT, "kind": kind, "fields": fields})
    # One entry only: with several, their order, and so the bytes, would not be fixed.
    metadata = {"fastbp": f"{_digest(header, arrays)} {header}"}
    with output.replacing(path) as file:
        file.write(to_bytes(arrays, metadata))


def read(path: Path) -> tuple[str, Content]:
    """Return the kind of a file and its content.

    Raises
    ------
    OSError
        If it cannot be read.
    CheckpointError
        If it is of another format, altered or truncated.
    """
    from safetensors import SafetensorError, safe_open

    if output.is_special(path):  # to open a pipe would wait for its writer
        raise CheckpointError(f"{path}: expected an ordinary file, got a pipe or a device")
    with path.open("rb"):
        pass  # raises the OSError of a missing or unreadable file
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        got = f"a damaged one, or a file of another kind ({error})"
        raise CheckpointError(f"{path}: expected a safetensors file, got {got}") from None
    if "fastbp" not in metadata:
        raise CheckpointError(f"{path}: expected a safetensors file written by fastbp")
    digest, _, header = metadata["fastbp"].partition(" ")
    if _digest(header, arrays) != digest:
        raise CheckpointError(f"{path}: the file was altered: its digest does not match")
    content = json.loads(header, object_hook=_array_again)
    if content["format"] > FORMAT:
        raise CheckpointError(
            f"{path}: expected format {FORMAT} or older, got {content['format']}: update fastbp"
        )
    return content["kind"], (arrays, content["fields"])


def _digest(header: str, arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()
