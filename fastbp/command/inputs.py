"""FILE: rows in a file, a folder, the files that match a pattern, or on standard input."""

from __future__ import annotations

import glob
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from fastbp.command.options import STANDARD
from fastbp.data.sources.formats import FORMATS, is_known
from fastbp.system import output

WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Input:
    """What FILE stands for.

    Attributes
    ----------
    path : Path
        FILE as it was given, which is what messages call it.
    matching : tuple of Path
        The files that match it, in the order of their names, if it is a pattern.
    """

    path: Path
    matching: tuple[Path, ...] = ()

    @property
    def files(self) -> list[Path]:
        """The files of a pattern, or the file or folder."""
        return list(self.matching) or [self.path]

    @property
    def source(self) -> Path | list[Path]:
        """What `open_rows` opens."""
        return list(self.matching) or self.path


class InputType(click.Path):
    """A file of a known format, a folder, a pattern, or - for standard input."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, exists=True, allow_dash=True)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the input, or refuse the value."""
        if WILDCARD.search(os.fspath(value)) and not os.path.lexists(value):
            found = glob.glob(os.fspath(value), recursive=True)  # noqa: PTH207  # or it would
            files = tuple(sorted(map(Path, found)))  # take no absolute pattern
            if not files:
                self.fail(f"expected a pattern that files match, got {value}", param, ctx)
            for path in files:
                if path.is_dir() or not is_known(path):
                    expected = f"expected files that end in {', '.join(FORMATS)}"
                    self.fail(f"{expected}, got {path}, which matches {value}", param, ctx)
            return Input(Path(value), files)
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path != STANDARD and not path.is_dir() and not is_known(path):
            expected = f"expected a folder, or a file that ends in {', '.join(FORMATS)}"
            self.fail(f"{expected}, got {path}", param, ctx)
        return Input(path)


def input_argument(name: str, *, required: bool = True) -> Callable[[Any], Any]:
    """Return the argument of rows."""
    return click.argument(name, type=InputType(), required=required)


@contextmanager
def on_disk(file: Input) -> Iterator[Input]:
    """Give files to read; standard input is copied, since rows are read repeatedly."""
    if file.path != STANDARD:
        yield file
        return
    with output.temporary_csv() as (copied, stream):
        try:
            # Unbuffered: else a signal may wait for input that never comes.
            source = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
            shutil.copyfileobj(source, stream)
            stream.flush()
        except OSError as error:
            where = f"while it was copied into {copied.parent} (TMPDIR chooses another folder)"
            raise OSError(error.errno, f"{error.strerror}, {where}", "standard input") from error
        yield Input(copied)
