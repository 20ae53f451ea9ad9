"""Columns that the names of folders hold, such as `month` of ``month=1/part.parquet``."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from fastbp import arguments
from fastbp.data import frames
from fastbp.data.rows import Block
from fastbp.data.sources.columns import LEAVE_OUT, ColumnRequest, sides
from fastbp.data.sources.files import FileRows
from fastbp.errors import DataError


class HivePartitions:
    """The columns that the names of folders hold: each has one value a file.

    Without a folder there are none.

    Attributes
    ----------
    keys : list of str
        Their names, the outer folder's first.
    rest : ColumnRequest
        What is asked of the files.
    columns : list of lists
        For each array of a block, the key of a column, or None if it comes from the file.
    feature_names : list of str
    classes : list of str or None
        The values of a single target that are not all numbers.
    """

    columns: list[list[str | None]]
    feature_names: list[str]
    classes: list[str] | None = None

    def __init__(self, folder: Path | None, files: list[Path], request: ColumnRequest) -> None:
        self._folder, self._files = folder, files
        self._parts = [file.relative_to(folder or file.parent).parent.parts for file in files]
        found = [[unquote(part.partition("=")[0]) for part in parts] for parts in self._parts]
        self.keys = found[0]
        for file, keys in zip(files, found, strict=True):
            if keys != self.keys:
                expected = f"expected the partitions {self.keys}, as {files[0]} has"
                raise DataError(f"{file}: {expected}, got {keys}")
        self._targets, self._weights = (
            list(value) if isinstance(value, list | tuple) else [] if value is None else [value]
            for value in (request.target, request.weight)
        )
        self._features, self._exclude = (
            None if value is None else arguments.sequence(name, value, "columns")
            for name, value in (("columns", request.columns), ("exclude", request.exclude))
        )
        targets, weights, features, exclude = (
            None if names is None else [name for name in names if name not in self.keys]
            for names in (self._targets, self._weights, self._features, self._exclude)
        )
        rest = ColumnRequest(targets or None, weights[0] if weights else None, features, exclude)
        self.rest = rest if self.keys else request

    def place(self, first: FileRows) -> None:
        """Decide where the columns go among those of the first file, and read their values."""
        names, features = first.feature_names, self._features
        if names is None:
            expected = "expected columns with names in a folder such as month=1"
            raise DataError(f"{first.name}: {expected}, got none")
        if features is None:
            others = [k for k in self.keys if k not in (*self._targets, *self._weights)]
            features = [*names, *others]
            if both := set(names) & set(others):
                expected = "expected columns with other names than the folders"
                raise DataError(f"{first.name}: {expected}, got {sorted(both)}")
        features = [name for name in features if name not in (self._exclude or ())]
        self.columns = [
            [name if name in self.keys else None for name in side]
            for side in (features, self._targets, self._weights)
        ]
        used = [key for side in self.columns for key in side if key is not None]
        if len(set(used)) < len(used) or self.columns[0].count(None) != len(names):
            expected = "expected every column once, and arrays of one column"
            raise ValueError(f"{self._folder}: {expected}, got {used} of its folders")
        rest = iter(names)
        self.feature_names = [key or next(rest) for key in self.columns[0]]
        self._values = {key: self._column(key) for key in used}

    def _column(self, key: str) -> list[float]:
        """Return the values of a column, one a file; of a single target, class indices."""
        pa = frames.pyarrow_for(str(self._folder))
        from pyarrow import dataset

        schema = pa.schema([(k, pa.string()) for k in self.keys])
        hive = dataset.partitioning(schema, flavor="hive")
        found = [
            dataset.get_partition_keys(hive.parse("/".join(parts) + "/"))[key]
            for parts in self._parts
        ]
        try:
            return list(frames.numbers(pa.array(found, pa.string())))
        except pa.ArrowInvalid:
            pass
        if self.columns[1] == [key]:
            if None in found:
                file = self._files[found.index(None)]
                raise DataError(f"{file}: column {key!r}: expected a label, got none", 0)
            self.classes = sorted(set(found))
            return [float(self.classes.index(value)) for value in found]
        text = next(value for value in found if value is not None)
        raise DataError(
            f"{self._folder}: column {key!r}: expected numbers in the names of folders, got"
            f" {text!r}{LEAVE_OUT}",
            column=key,
        )

    def complete(self, number: int, inside: Block, block: Block) -> None:
        """Write the rows of a file, from its number, with its values; OUT `block`."""
        for keys, source, target in zip(self.columns, sides(inside), sides(block), strict=True):
            if target is None:
                continue
            rest = iter(() if source is None else source.T)
            for j, key in enumerate(keys):
                target[:, j] = next(rest) if key is None else self._values[key][number]

    @property
    def identity(self) -> str:
        """What a digest covers: the names of the folders, and the columns taken of them."""
        return repr((self._parts, self.columns))
