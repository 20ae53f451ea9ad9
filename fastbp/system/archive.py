"""Arrays and a line of JSON in a safetensors file, without executable content."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fastbp.errors import CheckpointError

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


def write(path: Path, kind: str, content: Content, temporary: Path | None = None) -> None:
    """Write a file beside the old one, then rename it over that."""
    from safetensors.numpy import save as to_bytes

    arrays, fields = content
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    header = to_json({"format": FORMAT, "kind": kind, "fields": fields})
    # One entry only: with several, their order, and so the bytes, would not be fixed.
    metadata = {"fastbp": f"{_digest(header, arrays)} {header}"}
    with replacing(path, temporary) as file:
        file.write(to_bytes(arrays, metadata))


@contextmanager
def replacing(path: Path, temporary: Path | None = None) -> Iterator[BinaryIO]:
    """Yield a new file beside `path`, which takes its name once complete, or else is removed.

    Raises
    ------
    OSError
        With the name of `path`; an old file is then unchanged.
    """
    temporary = temporary or path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):  # the folder itself may be gone
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    with suppress(OSError):  # the renaming is to survive a loss of power; Windows cannot do that
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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

    with path.open("rb"):
        pass  # raises the OSError of a missing or unreadable file
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: expected a safetensors file, got {error}") from None
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
