"""Labels that are text: the distinct ones of a column, sorted, and the index of each row's label.

They come from the column `label` of a file, as arrays of NumPy or pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np

from fastbp.data.classes import lookup
from fastbp.data.sources.files import FileRows
from fastbp.errors import DataError

BOOLEANS = [False, True]
MOST_LABELS = 2**20
"""Distinct labels that are kept in memory: text that differs in every row is not a class label."""


def classes_in(rows: FileRows, pieces: Iterable[Any]) -> list[Any]:
    """Return the distinct labels, sorted, of a column in pieces."""
    found: set[Any] = set()
    row = 0
    for piece in pieces:
        values = piece.unique().tolist() if hasattr(piece, "unique") else np.unique(piece).tolist()
        if not all(values):
            gap = next(i for i, value in enumerate(piece.tolist()) if not value)
            _refuse(rows, None, row + gap)
        found.update(values)
        row += len(piece)
        if len(found) > MOST_LABELS:
            expected = f"expected at most {MOST_LABELS:,} different labels, got more"
            raise DataError(f"{rows.name}: column {rows.label!r}: {expected}")
    return sorted(found)


def indices_in(rows: FileRows, known: list[Any], piece: Any, first_row: int) -> np.ndarray:
    """Return the index in `known` of each label of a piece; it begins with row `first_row`."""
    if isinstance(piece, np.ndarray):
        indices, unknown = lookup(piece, np.array(known))
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
