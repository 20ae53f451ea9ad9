"""Which columns of a source are features, labels and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastbp import arguments
from fastbp.data import checks, frames
from fastbp.data.arrays import as_ready
from fastbp.data.rows import Block
from fastbp.data.sources import text_labels
from fastbp.errors import DataError

LISTED = 20
"""Names that a message lists."""


class ColumnRequest(NamedTuple):
    """What the caller wants of a source: columns by name or, where they have none, by index."""

    target: Any = None
    weight: Any = None
    columns: Any = None

    def expanded(self, arrays: Mapping[str, Sequence[str]]) -> ColumnRequest:
        """Return the request with the columns of an array in place of the array's name."""

        def each(values: Sequence[Any]) -> list[Any]:
            return [c for v in values for c in (arrays.get(v, [v]) if isinstance(v, str) else [v])]

        weight = each([self.weight])
        if len(weight) > 1:
            raise DataError(
                f"weight: expected one column, got {len(weight)} in the array {self.weight!r}"
            )
        columns = self.columns if isinstance(self.columns, str | None) else each(self.columns)
        return ColumnRequest(each(self._targets), weight[0] if weight else None, columns)

    @property
    def _targets(self) -> list[Any]:
        several = isinstance(self.target, list | tuple)
        return [t for t in (self.target if several else [self.target]) if t is not None]

    def roles(self, name: str, known: Sequence[str] | int) -> Roles:
        """Return the indices of the columns, of which `known` are the names or the number."""
        labels = _indices("target", self._targets, name, known)
        weight = _indices("weight", [] if self.weight is None else [self.weight], name, known)
        if self.columns is None:
            width = known if isinstance(known, int) else len(known)
            features = [j for j in range(width) if j not in {*labels, *weight}]
        else:
            listed = arguments.sequence("columns", self.columns, "columns")
            features = _indices("columns", listed, name, known)
        both = next((j for j in features if j in {*labels, *weight}), None)
        if both is not None:
            raise ValueError(
                f"columns: expected features only, got {_label(known, both)}, which is the target"
                " or the weight"
            )
        every = [*labels, *weight, *features]
        if len(set(every)) < len(every):
            twice = next(j for j in every if every.count(j) > 1)
            raise ValueError(
                f"{name}: expected every column once, got {_label(known, twice)} twice"
            )
        return Roles(features, labels, weight[0] if weight else None)


def _indices(
    argument: str, values: Sequence[Any], name: str, known: Sequence[str] | int
) -> list[int]:
    if isinstance(known, int):
        indices = [arguments.whole(argument, value, minimum=-(2**62)) for value in values]
        for index in indices:
            if not -known <= index < known:
                raise ValueError(
                    f"{argument}: expected a column of {name}, which has {known}, got {index}"
                )
        return [index % known for index in indices]
    found = {column: j for j, column in enumerate(known)}
    for value in values:
        if not isinstance(value, str):
            got = arguments.describe(value)
            raise TypeError(f"{argument}: expected the name of a column of {name}, got {got}")
    unknown = [value for value in values if value not in found]
    if unknown:
        a_column = "a column" if len(unknown) == 1 else "columns"
        raise ValueError(
            f"{argument}: expected {a_column} of {name} ({_listed(known)}), got {_listed(unknown)}"
        )
    return [found[value] for value in values]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:LISTED])) + (", ..." if len(names) > LISTED else "")


def _label(known: Sequence[str] | int, index: int) -> str:
    return str(index) if isinstance(known, int) else repr(known[index])


def refuse_repeated(name: str, names: Sequence[str]) -> None:
    """Refuse names of which two are the same."""
    if len(set(names)) < len(names):
        repeated = next(n for n in names if list(names).count(n) > 1)
        raise DataError(f"{name}: expected columns of different names, got {repeated!r} twice")


@dataclass(frozen=True)
class Roles:
    """The indices of a source's columns: those of features, of labels, and of the weight."""

    features: list[int]
    labels: list[int]
    weight: int | None = None

    @property
    def sides(self) -> list[list[int]]:
        """The indices for each array of a block."""
        return [self.features, self.labels, [] if self.weight is None else [self.weight]]

    @property
    def all(self) -> list[int]:
        """All indices, in the order in which `spread` expects columns."""
        return [index for side in self.sides for index in side]

    def spread(self, columns: Sequence[np.ndarray], block: Block) -> None:
        """Write columns where they belong; OUT `block`."""
        rest = iter(columns)
        for indices, target in zip(self.sides, sides(block), strict=True):
            for j, column in enumerate(next(rest) for _ in indices):
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


class Parts(NamedTuple):
    """What of a matrix or a table is what; only features are as they came, the rest is float64."""

    features: np.ndarray
    block: Block
    names: list[str] | None
    classes: list[Any] | None


def parts_of(name: str, value: Any, request: ColumnRequest) -> Parts:
    """Take a matrix apart by the indices of its columns, or a table by their names."""
    names = frames.names_of(value)
    if names is None:
        value = checks.number_array(name, value)
        if value.ndim != 2:
            raise DataError(
                f"{name}: expected 2 dimensions (n_samples, n_features), got {value.ndim} (shape"
                f" {value.shape})"
            )
    else:
        refuse_repeated(name, names)
        if not frames.is_pandas(value):
            value = frames.as_arrow(value, name)
    roles = request.roles(name, value.shape[1] if names is None else names)

    def pick(indices: list[int]) -> np.ndarray:
        if names is None:
            return value[:, as_slice(indices)] if indices else value[:, :0]
        return checks.number_array(name, frames.select(value, indices))

    features, labels, weight, classes = pick(roles.features), None, None, None
    if roles.weight is not None:
        weight = as_ready(pick([roles.weight])[:, 0])
    text = None
    if names is not None and len(roles.labels) == 1:
        text = frames.text_in(value, roles.labels[0])
    if text is not None and names is not None:
        column = names[roles.labels[0]]
        classes = text_labels.classes_in(name, column, [text])
        labels = as_ready(text_labels.indices_in(classes, text, name, column)[:, None])
    elif roles.labels:
        labels = as_ready(pick(roles.labels))
    used = None if names is None else [names[j] for j in roles.features]
    return Parts(features, Block(features, labels, weight), used, classes)


def as_slice(indices: list[int]) -> slice | list[int]:
    """Return indices that follow each other as a slice: that copies nothing."""
    first = indices[0]
    follow = indices == list(range(first, first + len(indices)))
    return slice(first, first + len(indices)) if follow else indices
