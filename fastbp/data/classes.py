"""Labels that are classes: the distinct ones, and the index of each label among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fastbp.data.rows import Block, Rows
from fastbp.errors import DataError

Labels = Sequence[Any] | np.ndarray

CLEARLY_CLASSES = 20
"""Up to so many distinct whole numbers stand for classes, as do more if they are 0, 1, 2..."""
MOST_CLASSES = 1000
"""More distinct labels than these are numbers to predict, not classes."""


def lookup(labels: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of each label among sorted classes, of any where there is none; and where.

    The latter are booleans (N,): whether a label is none of the classes.
    """
    indices = np.minimum(np.searchsorted(classes, labels), classes.size - 1)
    return indices, classes[indices] != labels


def class_indices(
    labels: np.ndarray, classes: np.ndarray, locate: Callable[[int], tuple[str, int]]
) -> np.ndarray:
    """Return the index of each label (N,) among the sorted classes, or raise a DataError.

    `locate` takes the position of a label and gives the name of its source and its row there.
    """
    indices, unknown = lookup(labels, classes)
    if unknown.any():
        first = int(np.argmax(unknown))
        name, row = locate(first)
        got = shown(labels[first : first + 1])
        raise DataError(
            f"{name}: expected labels of the classes {shown(classes)}, got {got} in row {row}", row
        )
    return indices


def whole_number_classes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the distinct labels (N,) in order, and the index of each label as float64 (N,).

    None where they are not whole numbers, or booleans, within a range of N / 2: ``numpy.unique``
    takes any, and with the indices three to ten times as long.
    """
    kind = labels.dtype.kind
    if kind not in "biuf" or not labels.size:
        return None
    numbers = labels.view(np.uint8) if kind == "b" else labels
    low, high = numbers.min().item(), numbers.max().item()
    narrow = high - low < min(labels.size // 2, MOST_CLASSES)  # NaN is not
    if not (narrow and -(2**53) < low < 2**53 and low % 1 == high % 1 == 0):
        return None
    # Each array as long as the labels is new memory, which takes longer than what is done to it.
    indices = np.empty(labels.shape)
    exact = np.float64 if kind == "f" else np.intp
    np.subtract(numbers, low, out=indices, dtype=exact, casting="unsafe")
    if kind == "f" and not np.array_equal(np.rint(indices), indices):
        return None
    found = np.ones(int(high - low) + 1, dtype=bool)
    if found.size > 2:  # or there are no others than the lowest and the highest
        codes = indices.astype(np.intp)
        found = np.bincount(codes) > 0
        if not found.all():
            indices = np.cumsum(found, dtype=np.float64)[codes] - 1.0
    classes = (np.flatnonzero(found) + low).astype(labels.dtype)
    return classes, indices


def plain_labels(classes: np.ndarray) -> list[Any]:
    """Return labels as plain objects: integral numbers as integers, whatever their dtype."""
    exact = classes.dtype.kind == "f" and bool((np.abs(classes) < 2.0**53).all())
    whole = exact and bool((classes == np.round(classes)).all())
    labels: list[Any] = (classes.astype(np.int64) if whole else classes).tolist()
    return labels


def have_fractions(classes: Labels) -> bool:
    """Return whether there are fractions among more than two labels."""
    return len(classes) > 2 and any(isinstance(c, float) and not c.is_integer() for c in classes)


def are_ambiguous(classes: Labels) -> bool:
    """Return whether distinct numbers may as well be numbers to predict as classes."""
    many = len(classes) > CLEARLY_CLASSES and list(classes) != list(range(len(classes)))
    return many or have_fractions(classes)


def check_classes(
    name: str,
    classes: Labels,
    hint: str,
    fewest: int = 2,
    two: bool = False,
    fractions: bool = False,
) -> None:
    """Refuse too few or too many labels for classes, or fractions where they are not allowed.

    The message ends with the hint.
    """
    n, most = len(classes), 2 if two else MOST_CLASSES
    if fewest <= n <= most and (fractions or not have_fractions(classes)):
        return
    expected = "two different labels" if two else f"{fewest} to {most} classes"
    expected += "" if two or fractions else ", no fractions"
    got = f"{n}" if n <= MOST_CLASSES else f"more than {MOST_CLASSES}"
    got += f" ({shown(classes)})" + (f"; {hint}" if hint else "")
    raise ValueError(f"{name}: expected {expected}, got {got}")


def shown(classes: Labels) -> str:
    """Return the first labels, as messages list them."""
    labels = plain_labels(classes[:5]) if isinstance(classes, np.ndarray) else classes[:5]
    return ", ".join(map(repr, labels)) + (", ..." if len(classes) > 5 else "")


def with_distinct_labels(
    rows: Rows, check: Callable[[int, Block], None], collect: bool = True
) -> Iterator[tuple[int, Block, np.ndarray]]:
    """Go through all rows once.

    `check` takes the index of a block's first row and the block, and raises an error if its labels
    are invalid.

    Yields
    ------
    start : int
        The index of the block's first row.
    block : Block
    labels : numpy.ndarray of float64
        The distinct labels up to the end of the block, in order, if they are to be collected; if
        there are more than `MOST_CLASSES`, only the first `MOST_CLASSES` + 1.
    """
    distinct = np.empty(0)
    for start, block in rows.blocks():
        check(start, block)
        if collect and block.labels is not None:
            distinct = united(distinct, block.labels)
        yield start, block, distinct


def united(distinct: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return distinct labels and others, each once, in order: the first `MOST_CLASSES` + 1."""
    if np.isin(labels, distinct).all():
        return distinct
    return np.union1d(distinct, labels)[: MOST_CLASSES + 1]
