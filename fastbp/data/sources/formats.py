"""The file formats, each an entry of `FORMATS`: a suffix, and what opens such a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from fastbp.data.sources.arrow import Ipc, Parquet
from fastbp.data.sources.columns import ColumnRequest
from fastbp.data.sources.files import FileRows
from fastbp.data.sources.json_lines import JsonLines
from fastbp.data.sources.npy import open_npy
from fastbp.data.sources.npz import open_npz
from fastbp.data.sources.text import Csv, TextLayout, ZippedCsv
from fastbp.errors import DataError

FORMATS: dict[str, Callable[..., FileRows]] = {
    ".npy": open_npy,
    ".npz": open_npz,
    ".csv": Csv,
    ".tsv": Csv,
    ".csv.gz": ZippedCsv,
    ".csv.zst": ZippedCsv,
    ".tsv.gz": ZippedCsv,
    ".tsv.zst": ZippedCsv,
    ".jsonl": JsonLines,
    ".jsonl.gz": JsonLines,
    ".jsonl.zst": JsonLines,
    ".parquet": Parquet,
    ".pq": Parquet,
    ".arrow": Ipc,
    ".feather": Ipc,
    ".ipc": Ipc,
}


def _opener(path: Path) -> Callable[..., FileRows] | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return FORMATS.get("".join(suffixes[-2:])) or FORMATS.get("".join(suffixes[-1:]))


def is_known(path: Path) -> bool:
    """Return whether the path has the suffix of a format."""
    return _opener(path) is not None


def open_file(path: Path, request: ColumnRequest, layout: TextLayout) -> FileRows:
    """Open a file of a known format; `layout` is for text alone."""
    opens = _opener(path)
    assert opens is not None
    if opens in (Csv, ZippedCsv):
        return opens(path, request, layout)
    layout.refuse(str(path))
    return opens(path, request)


def _inside(folder: Path, keys: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Give what lies in a folder, and in folders such as ``month=1`` in it, sorted by name.

    What is hidden is left out, and marks of other programs such as ``_SUCCESS``.
    """
    for path in sorted(folder.iterdir()):
        key, is_partition, _ = path.name.partition("=")
        if path.name[0] == "." or (path.name[0] == "_" and path.suffix == "" and path.is_file()):
            continue
        if is_partition and key not in keys and path.is_dir():
            yield from _inside(path, keys | {key})
        else:
            yield path


def files_of(folder: Path) -> list[Path]:
    """Return the files of a folder; refuse what cannot be read."""
    files = list(_inside(folder))
    for path in files:
        if not (is_known(path) and path.is_file()):
            expected = f"files that end in {', '.join(FORMATS)}, or folders such as month=1"
            raise DataError(f"{folder}: expected {expected}, got {path.relative_to(folder)}")
    return files


def has_names(source: Path | list[Path], header: bool = True) -> bool:
    """Return whether columns have names: not in ``.npy`` files, nor in text without a header.

    They are those of a file, of the files of a folder, or of a list of files.
    """
    nameless = [open_npy] if header else [open_npy, Csv, ZippedCsv]
    files: Iterable[Path] = source if isinstance(source, list) else [source]
    if isinstance(source, Path) and source.is_dir():
        files = _inside(source)
    openers = [_opener(file) for file in files if is_known(file)]
    return not openers or any(opener not in nameless for opener in openers)
