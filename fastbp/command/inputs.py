"""FILE: rows in files, a folder, the files that match a pattern, or on standard input."""

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
        What messages call it: FILE as it was given, or the first of several and how many more.
    several : tuple of Path
        The files, if several were given, or a pattern: then in the order of their names.
    """

    path: Path
    several: tuple[Path, ...] = ()

    @property
    def files(self) -> list[Path]:
        """The files, or the folder."""
        return list(self.several) or [self.path]

    @property
    def source(self) -> Path | list[Path]:
        """What `open_rows` opens."""
        return list(self.several) or self.path


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
    """Return the argument of rows: one input, or None."""
    return click.argument(name, type=InputType(), nargs=-1, required=required, callback=_as_one)


def _as_one(ctx: click.Context, param: click.Parameter, given: tuple[Input, ...]) -> Input | None:
    """Return what was given as one input: a shell makes many files of a pattern without quotes."""
    if len(given) < 2:
        return given[0] if given else None
    files = tuple(path for each in given for path in each.files)
    for path in files:
        if path == STANDARD or path.is_dir():
            what = "standard input" if path == STANDARD else f"the folder {path}"
            raise click.BadParameter(f"expected {what} alone, got {len(given)} inputs", ctx, param)
    return Input(Path(f"{given[0].path} and {len(given) - 1} more"), files)


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
