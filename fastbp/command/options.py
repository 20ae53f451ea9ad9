"""Options that several commands share, and how errors are shown."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from fastbp.data.sources.formats import is_known
from fastbp.errors import FastbpError
from fastbp.system import output


def echo(text: object, err: bool = False) -> None:
    """Print a line; click's own function writes UTF-8 to a console that is for ASCII only."""
    print(text, file=sys.stderr if err else sys.stdout, flush=True)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an error that a user can mend into one clear line and exit code 1."""
    try:
        yield
    except (FastbpError, ValueError, TypeError, ImportError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        if isinstance(error, BrokenPipeError) and error.filename is None:
            raise  # of standard output
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
    # A finished checkpoint is only read: the fit looks at whether it has to be written.
    if path is None or (parameter.name == "checkpoint" and path.is_file()):
        return path
    try:
        output.check(path, replaced=parameter.name != "log_file")
    except FileNotFoundError:
        raise click.BadParameter(f"{path.parent} is not a folder") from None
    except IsADirectoryError:
        raise click.BadParameter(f"{path} is a folder") from None
    except OSError as error:
        raise click.BadParameter(f"{path} cannot be written: {error.strerror}") from None
    return path


def refuse_overwriting(outputs: list[Path], inputs: list[Path]) -> None:
    """Refuse outputs that would overwrite rows, a model or each other."""
    for i, path in enumerate(outputs):
        if output.is_special(path):
            continue
        if any(output.is_same(path, other) for other in outputs[:i]):
            raise click.UsageError(f"expected different files to write, got {path} twice")
        for file in inputs:
            if output.is_same(path, file):
                raise click.UsageError(f"{file} would be overwritten")
            within = file.resolve() in path.resolve().parents
            if within and file.is_dir() and is_known(path):
                raise click.UsageError(f"{path} would be taken for rows of the folder {file}")


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
