"""Labels that are text: a column's different ones, sorted, and the index of each row's in them.

Columns are arrays of NumPy's or of pyarrow's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np

from fastbp.errors import DataError

BOOLEANS = [False, True]
MOST_CLASSES = 2**20
"""They are kept in memory: names or texts that differ in every row are no classes."""


def classes_in(name: str, column: str, pieces: Iterable[Any]) -> list[Any]:
    """Return the sorted distinct values of a column of text, which comes in pieces."""
    found: set[Any] = set()
    row = 0
    for piece in pieces:
        values = piece.unique().tolist() if hasattr(piece, "unique") else np.unique(piece).tolist()
        if not all(values):
            gap = next(i for i, value in enumerate(piece.tolist()) if not value)
            _refuse(name, column, None, row + gap)
        found.update(values)
        row += len(piece)
        if len(found) > MOST_CLASSES:
            raise DataError(
                f"{name}: column {column!r}: expected at most {MOST_CLASSES:,} different labels,"
                f" got more in rows 0 to {row - 1}"
            )
    return sorted(found)


def indices_in(
    classes: list[Any], piece: Any, name: str, column: str, first_row: int | None = None
) -> np.ndarray:
    """Return the index in `classes` of each value of a piece, which begins with `first_row`."""
    if isinstance(piece, np.ndarray):
        known = np.array(classes)
        indices = np.minimum(np.searchsorted(known, piece), len(known) - 1)
        unknown = known[indices] != piece
    else:
        import pyarrow
        from pyarrow import compute

        found = compute.index_in(piece, pyarrow.array(classes, piece.type))
        unknown = found.is_null().to_numpy(zero_copy_only=False)
        indices = found.fill_null(0).to_numpy(zero_copy_only=False)
    if unknown.any():
        row = int(np.argmax(unknown))
        _refuse(name, column, piece.tolist()[row], None if first_row is None else first_row + row)
    return indices


def _refuse(name: str, column: str, value: Any, row: int | None) -> NoReturn:
    got = "none" if value in (None, "") else repr(value)
    where = "" if row is None else f" in row {row}"
    raise DataError(f"{name}: column {column!r}: expected a label, got {got}{where}", row)
