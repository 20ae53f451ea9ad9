"""Which columns of a source are features, labels and weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastbp import arguments
from fastbp.data import checks, frames
from fastbp.data.arrays import readable
from fastbp.data.rows import Block
from fastbp.errors import DataError

LISTED = 20
"""Names that a message lists."""


class ColumnRequest(NamedTuple):
    """What the caller wants of a source: names or, where columns have none, numbers."""

    target: Any = None
    weight: Any = None
    columns: Any = None

    def roles(self, name: str, known: Sequence[str] | int) -> Roles:
        """Return the places of the columns, of which `known` are the names or the number."""
        several = isinstance(self.target, list | tuple)
        targets = list(self.target) if several else [self.target]
        labels = [_place("target", t, name, known) for t in targets if t is not None]
        weight = None if self.weight is None else _place("weight", self.weight, name, known)
        taken = {*labels, weight}
        if self.columns is None:
            width = known if isinstance(known, int) else len(known)
            features = [j for j in range(width) if j not in taken]
        else:
            listed = arguments.sequence("columns", self.columns, "columns")
            features = [_place("columns", c, name, known) for c in listed]
        for place in features:
            if place in taken:
                raise ValueError(
                    f"columns: expected features only, got {_label(known, place)}, which is the"
                    " target or the weight"
                )
        every = [*labels, *([] if weight is None else [weight]), *features]
        if len(set(every)) < len(every):
            twice = next(place for place in every if every.count(place) > 1)
            raise ValueError(
                f"{name}: expected every column once, got {_label(known, twice)} twice"
            )
        return Roles(features, labels, weight)


def _place(argument: str, value: Any, name: str, known: Sequence[str] | int) -> int:
    if isinstance(known, int):
        number = arguments.whole(argument, value, minimum=-(2**62))
        if not -known <= number < known:
            raise ValueError(
                f"{argument}: expected a column of {name}, which has {known}, got {number}"
            )
        return number % known
    if not isinstance(value, str):
        raise TypeError(
            f"{argument}: expected the name of a column of {name}, got {arguments.describe(value)}"
        )
    if value not in known:
        listed = ", ".join(map(repr, known[:LISTED])) + (", ..." if len(known) > LISTED else "")
        raise ValueError(f"{argument}: expected a column of {name} ({listed}), got {value!r}")
    return known.index(value)


def _label(known: Sequence[str] | int, place: int) -> str:
    return str(place) if isinstance(known, int) else repr(known[place])


def refuse_repeated(name: str, names: Sequence[str]) -> None:
    """Refuse names of which two are the same."""
    if len(set(names)) < len(names):
        repeated = next(n for n in names if list(names).count(n) > 1)
        raise DataError(f"{name}: expected columns of different names, got {repeated!r} twice")


@dataclass(frozen=True)
class Roles:
    """The places of a source's columns: those of features, of labels, and of the weight."""

    features: list[int]
    labels: list[int]
    weight: int | None = None

    @property
    def sides(self) -> list[list[int]]:
        """The places for each array of a block."""
        return [self.features, self.labels, [] if self.weight is None else [self.weight]]

    @property
    def all(self) -> list[int]:
        """All places, in the order in which `spread` expects columns."""
        return [place for side in self.sides for place in side]

    def spread(self, columns: Sequence[np.ndarray], block: Block) -> None:
        """Write columns where they belong; OUT `block`."""
        rest = iter(columns)
        for places, target in zip(self.sides, sides(block), strict=True):
            for j, column in enumerate(next(rest) for _ in places):
                if target is not None:
                    target[:, j] = column


def sides(block: Block) -> list[np.ndarray | None]:
    """Return the arrays of a block, each with two dimensions."""
    weight = None if block.weight is None else block.weight[:, None]
    return [block.features, block.labels, weight]


def side_by_side(block: Block) -> np.ndarray:
    """Return features, labels and weight as the columns of one array."""
    parts = [array for array in sides(block) if array is not None]
    return parts[0] if len(parts) == 1 else np.hstack(parts)


def parts_of(
    name: str, value: Any, choice: ColumnRequest
) -> tuple[np.ndarray, Block, list[str] | None]:
    """Return the features as they are, labels and weight as float64, and names of features."""
    names = frames.names_of(value)
    if names is None:
        matrix = checks.number_array(name, frames.array_like(value, name))
        if matrix.ndim != 2:
            raise DataError(
                f"{name}: expected 2 dimensions (n_samples, n_features), got {matrix.ndim} (shape"
                f" {matrix.shape})"
            )
        roles = choice.roles(name, matrix.shape[1])
    else:
        refuse_repeated(name, names)
        roles = choice.roles(name, names)
        if not frames.is_pandas(value):
            value = frames.as_arrow(value, name)

    def pick(places: list[int]) -> np.ndarray:
        if names is None:
            return matrix[:, as_slice(places)] if places else matrix[:, :0]
        some = value.iloc[:, places] if frames.is_pandas(value) else value.select(places)
        return checks.number_array(name, frames.array_like(some, name))

    features, labels, weight = map(pick, roles.sides)
    extra = Block(
        features,
        readable(labels) if roles.labels else None,
        readable(weight[:, 0]) if roles.weight is not None else None,
    )
    return features, extra, None if names is None else [names[j] for j in roles.features]


def as_slice(places: list[int]) -> slice | list[int]:
    """Return places that follow each other as a slice: that copies nothing."""
    first = places[0]
    follow = places == list(range(first, first + len(places)))
    return slice(first, first + len(places)) if follow else places
