"""Options that several commands share, and how errors are shown."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from fastbp.errors import FastbpError


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an error that a user can fix into one clear line and exit code 1."""
    try:
        yield
    except (FastbpError, ValueError, TypeError, ImportError) as error:
        raise click.ClickException(str(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        named = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise click.ClickException(named) from None


def parse_sizes(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, ...]:
    """Return the sizes of hidden layers of an option such as 64,32; none without it."""
    if value is None:
        return ()
    if not re.fullmatch(r"\s*[1-9][0-9]*\s*(,\s*[1-9][0-9]*\s*)*", value):
        raise click.BadParameter(f"expected the sizes of layers such as 64,32, got {value!r}")
    return tuple(int(size) for size in value.split(","))


def parse_shape(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, int]:
    """Return the rows and features of an argument such as 1000000x20."""
    found = re.fullmatch(r"([0-9_,]*[0-9])\s*[xX×]\s*([0-9_,]*[0-9])", value)
    numbers = [int(re.sub("[_,]", "", part)) for part in found.groups()] if found else []
    if not numbers or 0 in numbers:
        raise click.BadParameter(f"expected rows x features such as 1000000x20, got {value!r}")
    return numbers[0], numbers[1]


def check_output(
    context: click.Context, parameter: click.Parameter, path: Path | None
) -> Path | None:
    """Refuse a file that cannot be written before anything is done."""
    if path is None:
        return None
    folder = path.absolute().parent
    if not folder.is_dir():
        raise click.BadParameter(f"{path.parent} is not a folder")
    if path.is_dir():
        raise click.BadParameter(f"{path} is a folder")
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise click.BadParameter(f"{path} cannot be written")
    return path


def output_option(*names: str, text: str, required: bool = False) -> Callable[[Any], Any]:
    """Return the option of a file to write."""
    return click.option(
        *names,
        type=click.Path(path_type=Path),
        callback=check_output,
        metavar="FILE",
        required=required,
        help=text,
    )
