"""The file formats, each a row of `FORMATS`: a suffix, and what opens such a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fastbp.data.sources.arrow import Ipc, Parquet
from fastbp.data.sources.columns import ColumnRequest
from fastbp.data.sources.files import FileRows
from fastbp.data.sources.json_lines import JsonLines
from fastbp.data.sources.npy import open_npy
from fastbp.data.sources.npz import open_npz
from fastbp.data.sources.text import Csv, TextLayout

FORMATS: dict[str, Callable[..., FileRows]] = {
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


def open_file(path: Path, request: ColumnRequest, layout: TextLayout) -> FileRows:
    """Open a file of a known format; `layout` is for text alone."""
    opens = FORMATS[path.suffix.lower()]
    if opens is Csv:
        return opens(path, request, layout)
    layout.refuse(str(path))
    return opens(path, request)


def files_of(path: Path) -> list[Path]:
    """Return the file itself or, of a folder, those of known formats, sorted by name."""
    inside = path.iterdir() if path.is_dir() else [path]
    return sorted(p for p in inside if is_known(p) and p.is_file() and not p.name.startswith("."))


def has_names(path: Path, header: bool = True) -> bool:
    """Return whether columns have names: not in ``.npy`` files, nor in text without a header."""
    nameless = {open_npy} if header else {open_npy, Csv}
    files = files_of(path)
    return not files or any(FORMATS[file.suffix.lower()] not in nameless for file in files)
