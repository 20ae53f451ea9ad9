"""Arrays and a line of JSON in a safetensors file, without executable content."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fastbp.errors import CheckpointError
from fastbp.system import output

FORMAT = 1

MISTAKES = TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError
"""What content that is not as it should be raises where it is taken apart."""

Content = tuple[dict[str, np.ndarray], dict[str, Any]]


def to_json(fields: dict[str, Any]) -> str:
    """Return fields as text; small arrays in them, such as a generator's state, become lists."""
    return json.dumps(fields, sort_keys=True, default=_plain)


def _plain(value: np.ndarray | np.generic) -> Any:
    is_array = isinstance(value, np.ndarray)
    return {"dtype": value.dtype.str, "array": value.tolist()} if is_array else value.item()


def _array_again(value: dict[str, Any]) -> Any:
    if value.keys() != {"dtype", "array"}:
        return value
    return np.array(value["array"], dtype=number_type(value["dtype"]))


def number_type(code: Any) -> np.dtype[Any]:
    """Return the dtype that a file names, which must be one of numbers: others may be huge."""
    dtype: np.dtype[Any] = np.dtype(code)
    if not isinstance(code, str) or dtype.kind not in "biuf":
        raise ValueError(f"expected a dtype of numbers, got {code!r}")
    return dtype


@contextmanager
def refusing(path: Path, what: str) -> Iterator[None]:
    """Raise a CheckpointError that names the file where its content is not what it should be.

    Its digest says only that it was not altered by accident: anybody can make one.
    """
    try:
        yield
    except MISTAKES as error:
        got = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path}: expected the content of {what}, got {got}") from None


def same(content: Content, other: Content) -> bool:
    """Return whether two contents are the same, to the bit."""
    (arrays, fields), (others, other_fields) = content, other
    return (
        arrays.keys() == others.keys()
        and all(_bits(a) == _bits(others[name]) for name, a in arrays.items())
        and to_json(fields) == to_json(other_fields)
    )


def _bits(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.str, array.shape, array.tobytes()


def write(path: Path, kind: str, content: Content) -> None:
    """Write a file, as :func:`fastbp.system.output.replacing` does.

    What a pipe or a device does not take is kept in the folder of temporary files; the error says
    where.
    """
    from safetensors.numpy import save as to_bytes

    arrays, fields = content
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    header = to_json({"format": FORMAT, "kind": kind, "fields": fields})
    # One entry only: with several, their order, and so the bytes, would not be fixed.
    metadata = {"fastbp": f"{_digest(header, arrays)} {header}"}
    content_bytes = to_bytes(arrays, metadata)
    begun = False
    try:
        with output.replacing(path) as file:
            begun = True
            file.write(content_bytes)
    except OSError as error:
        if not (begun and output.is_special(path)):
            raise
        handle, kept = tempfile.mkstemp(".safetensors", "fastbp-")
        with os.fdopen(handle, "wb") as rescued:
            rescued.write(content_bytes)
        what = f"{error.strerror}; what was to be written is in {kept}"
        raise OSError(error.errno, what, str(path)) from error


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
    except (SafetensorError, OSError, *MISTAKES) as error:
        got = f"a damaged one, or a file of another kind ({error})"
        raise CheckpointError(f"{path}: expected a safetensors file, got {got}") from None
    if "fastbp" not in metadata:
        raise CheckpointError(f"{path}: expected a safetensors file written by fastbp")
    digest, _, header = metadata["fastbp"].partition(" ")
    if _digest(header, arrays) != digest:
        raise CheckpointError(f"{path}: the file was altered: its digest does not match")
    with refusing(path, "a file of fastbp"):
        content = json.loads(header, object_hook=_array_again)
        version, kind, fields = content["format"], content["kind"], content["fields"]
        kinds = [type(value) for value in (content, version, kind, fields)]
        if kinds != [dict, int, str, dict] or version < 1:
            raise ValueError(f"format {version!r}, kind {kind!r}, fields {type(fields).__name__}")
    if version > FORMAT:
        raise CheckpointError(
            f"{path}: expected format {FORMAT} or older, got {version}: update fastbp"
        )
    return kind, (arrays, fields)


def _digest(header: str, arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()
