"""The file formats, each an entry of `FORMATS`: a suffix, and what opens such a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fastbp.data.sources.arrow import Ipc, Parquet
from fastbp.data.sources.columns import ColumnRequest
from fastbp.data.sources.files import FileRows
from fastbp.data.sources.json_lines import JsonLines
from fastbp.data.sources.npy import open_npy
from fastbp.data.sources.npz import open_npz
from fastbp.data.sources.text import Csv

FORMATS: dict[str, Callable[[Path, ColumnRequest], FileRows]] = {
    ".npy": open_npy,
    ".npz": open_npz,
    ".csv": Csv,
    ".tsv": Csv,
    ".jsonl": JsonLines,
    ".parquet": Parquet,
    ".pq": Parquet,
    ".arrow": Ipc,
    ".feather": Ipc,
    ".ipc": Ipc,
}


def is_known(path: Path) -> bool:
    """Return whether the path has the suffix of a format."""
    return path.suffix.lower() in FORMATS


def open_file(path: Path, request: ColumnRequest) -> FileRows:
    """Open a file of a known format."""
    return FORMATS[path.suffix.lower()](path, request)


def files_of(path: Path) -> list[Path]:
    """Return the file itself or, for a folder, its files of known formats, sorted by name."""
    inside = path.iterdir() if path.is_dir() else [path]
    return sorted(p for p in inside if is_known(p) and p.is_file() and not p.name.startswith("."))


def has_names(path: Path) -> bool:
    """Return whether columns have names; in ``.npy`` files they only have indices."""
    files = files_of(path)
    return not files or any(FORMATS[file.suffix.lower()] is not open_npy for file in files)
