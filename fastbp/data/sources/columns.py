"""Which columns of a source are features, labels and weights."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fastbp import arguments
from fastbp.data import checks, frames
from fastbp.data.arrays import readable
from fastbp.data.rows import Block
from fastbp.errors import DataError

NAMELESS = re.compile(r"|Unnamed: \d+|__index_level_\d+__")
"""How an index that pandas wrote is called where no metadata say so."""


LEAVE_OUT = "; exclude=[...] leaves columns out"
"""The end of a message about a column that holds no numbers."""


class ColumnRequest(NamedTuple):
    """The columns that the caller asks for: by name or, where they have none, by index."""

    target: Any = None
    weight: Any = None
    columns: Any = None
    exclude: Any = None

    def roles(
        self,
        name: str,
        known: Sequence[str] | range,
        arrays: Mapping[str, list[str]] | None = None,
        index: Collection[str] = (),
    ) -> Roles:
        """Return the indices of the columns; `known` are all names, or the range of indices.

        The name of one of `arrays` stands for its columns. What metadata call the `index` is no
        feature unless it is asked for.
        """

        def find(argument: str, values: Any) -> list[int]:
            if arrays is not None:
                each = (arrays.get(v, [v]) if isinstance(v, str) else [v] for v in values)
                values = [column for columns in each for column in columns]
            return _indices(argument, values, name, known)

        several = isinstance(self.target, list | tuple)
        targets = self.target if several else [self.target]
        labels = find("target", [target for target in targets if target is not None])
        weight = find("weight", [] if self.weight is None else [self.weight])
        if len(weight) > 1:
            raise ValueError(f"weight: expected one column of {name}, got {len(weight)}")
        remarks, exclude = [], []
        if self.exclude is not None:
            exclude = find("exclude", arguments.sequence("exclude", self.exclude, "columns"))
        if self.columns is None:
            rest = [j for j in range(len(known)) if j not in {*labels, *weight, *exclude}]
            features = [j for j in rest if known[j] not in index]
            if left_out := [str(known[j]) for j in rest if known[j] in index]:
                told = "its metadata call the index; columns=[...] takes it"
                remarks.append(f"left out {checks.listed(left_out)}, which {told}")
            if nameless := [n for j in features if NAMELESS.fullmatch(n := str(known[j]))]:
                told = "has no name, as an index that was written; exclude=[...] leaves it out"
                remarks.append(f"the feature {checks.listed(nameless)} {told}")
        else:
            features = find("columns", arguments.sequence("columns", self.columns, "columns"))
            features = [j for j in features if j not in exclude]
        every = [*labels, *weight, *features]
        if len(set(every)) < len(every):
            twice = next(j for j in every if every.count(j) > 1)
            raise ValueError(
                f"{name}: expected every column once as target, weight or feature, got"
                f" {known[twice]!r} twice"
            )
        if not isinstance(known, range):
            taken = {known[j] for j in every}
            _refuse_repeated(name, [column for column in known if column in taken])
        return Roles(features, labels, weight[0] if weight else None, tuple(remarks))


def _indices(
    argument: str, values: Sequence[Any], name: str, known: Sequence[str] | range
) -> list[int]:
    if isinstance(known, range):
        width = len(known)
        indices = [arguments.integer(argument, value, minimum=-(2**62)) for value in values]
        for index in indices:
            if not -width <= index < width:
                raise ValueError(
                    f"{argument}: expected a column of {name}, which has {width}, got {index}"
                )
        return [index % width for index in indices]
    for value in values:
        if not isinstance(value, str):
            got = arguments.describe(value)
            raise TypeError(f"{argument}: expected the name of a column of {name}, got {got}")
    found = {column: j for j, column in enumerate(known)}
    unknown = [value for value in values if value not in found]
    if unknown:
        import difflib  # few need it

        similar = difflib.get_close_matches(unknown[0], known, checks.LISTED)
        expected = f"a column of {name} ({checks.listed(list(dict.fromkeys([*similar, *known])))})"
        raise ValueError(f"{argument}: expected {expected}, got {checks.listed(unknown)}")
    return [found[value] for value in values]


def _refuse_repeated(name: str, names: Sequence[str]) -> None:
    """Refuse a name that occurs twice."""
    if len(set(names)) < len(names):
        repeated = next(n for n in names if list(names).count(n) > 1)
        raise DataError(f"{name}: expected columns of different names, got {repeated!r} twice")


@dataclass(frozen=True)
class Roles:
    """The indices of a source's columns: of features, of labels, and of the weight.

    `remarks` are what the user should know about the choice.
    """

    features: list[int]
    labels: list[int]
    weight: int | None = None
    remarks: tuple[str, ...] = field(default=(), repr=False)

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


def parts_of(
    name: str, value: Any, request: ColumnRequest, first_row: int = 0
) -> tuple[np.ndarray, Block, list[str] | None, tuple[str, ...]]:
    """Return the features as stored, labels and weight as float64, the features' names, remarks."""
    names, index = frames.names_of(value), frozenset[str]()
    if names is not None and not frames.is_pandas(value):
        value = frames.as_arrow(value, name)
        index = frames.index_names(value.schema)
    elif names is None and not (frames.is_pandas(value) or isinstance(value, np.ndarray)):
        value = checks.number_array(name, value, first_row)
    if len(value.shape) != 2:
        raise DataError(
            f"{name}: expected 2 dimensions (n_samples, n_features), got {len(value.shape)} (shape"
            f" {value.shape})"
        )
    roles = request.roles(name, range(value.shape[1]) if names is None else names, index=index)

    def pick(indices: list[int]) -> np.ndarray:
        """Return some columns: the others may hold anything."""
        some: Any
        if isinstance(value, np.ndarray):
            some = value[:, as_slice(indices) if indices else slice(0)]
        else:
            some = value.iloc[:, indices] if frames.is_pandas(value) else value.select(indices)
        return checks.number_array(name, some, first_row)

    features, labels, weight = map(pick, roles.sides)
    block = Block(
        features,
        readable(labels) if roles.labels else None,
        np.ascontiguousarray(weight[:, 0], np.float64) if roles.weight is not None else None,
    )
    chosen = None if names is None else [names[j] for j in roles.features]
    return features, block, chosen, roles.remarks


def as_slice(indices: list[int]) -> slice | list[int]:
    """Return consecutive indices as a slice, which copies nothing."""
    first = indices[0]
    follow = indices == list(range(first, first + len(indices)))
    return slice(first, first + len(indices)) if follow else indices
