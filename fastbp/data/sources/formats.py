"""The formats that files of rows may have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fastbp.data.sources.arrow import open_ipc, open_parquet
from fastbp.data.sources.columns import ColumnRequest
from fastbp.data.sources.files import FileRows
from fastbp.data.sources.npy import open_npy
from fastbp.data.sources.npz import open_npz
from fastbp.data.sources.text import open_csv

KINDS: dict[str, Callable[[Path, ColumnRequest], FileRows]] = {
    ".npy": open_npy,
    ".npz": open_npz,
    ".csv": open_csv,
    ".tsv": open_csv,
    ".parquet": open_parquet,
    ".pq": open_parquet,
    ".arrow": open_ipc,
    ".feather": open_ipc,
    ".ipc": open_ipc,
}
