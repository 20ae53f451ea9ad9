"""Labels that are text: a column's different ones, sorted, and the index of each row's in them.

The labels are those of the column `label` of a file; they come as arrays of NumPy's or pyarrow's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fastbp.errors import DataError

if TYPE_CHECKING:
    from fastbp.data.sources.files import FileRows

BOOLEANS = [False, True]
MOST_CLASSES = 2**20
"""They are kept in memory: names or texts that differ in every row are no classes."""


def classes_in(rows: FileRows, pieces: Iterable[Any]) -> list[Any]:
    """Return the sorted different labels, which come in pieces."""
    found: set[Any] = set()
    row = 0
    for piece in pieces:
        values = piece.unique().tolist() if hasattr(piece, "unique") else np.unique(piece).tolist()
        if not all(values):
            gap = next(i for i, value in enumerate(piece.tolist()) if not value)
            _refuse(rows, None, row + gap)
        found.update(values)
        row += len(piece)
        if len(found) > MOST_CLASSES:
            expected = f"expected at most {MOST_CLASSES:,} different labels, got more"
            raise DataError(f"{rows.name}: column {rows.label!r}: {expected}")
    return sorted(found)


def indices_in(rows: FileRows, known: list[Any], piece: Any, first_row: int) -> np.ndarray:
    """Return the index in `known` of each label of a piece that begins with `first_row`."""
    if isinstance(piece, np.ndarray):
        sorted_labels = np.array(known)
        indices = np.minimum(np.searchsorted(sorted_labels, piece), len(known) - 1)
        unknown = sorted_labels[indices] != piece
    else:
        import pyarrow
        from pyarrow import compute

        found = compute.index_in(piece, pyarrow.array(known, piece.type))
        unknown = found.is_null().to_numpy(zero_copy_only=False)
        indices = found.fill_null(0).to_numpy(zero_copy_only=False)
    if unknown.any():
        row = int(np.argmax(unknown))
        _refuse(rows, piece.tolist()[row], first_row + row)
    return indices


def _refuse(rows: FileRows, label: Any, row: int) -> NoReturn:
    got = "none" if label in (None, "") else repr(label)
    text = f"{rows.name}: column {rows.label!r}: expected a label, got {got} in row {row}"
    raise DataError(text, row)
