"""Options that several commands share, and how errors are shown."""

from __future__ import annotations

import functools
import math
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from fastbp.arguments import DTYPES
from fastbp.data.sources.formats import is_known
from fastbp.data.sources.text import TextLayout
from fastbp.errors import FastbpError
from fastbp.system import output

MOST = 2**62
"""The library takes no larger integers."""
STANDARD = Path("-")
"""Standard input or output, by the convention of shells."""


class Real(click.FloatRange):
    """A finite number in a range; NaN is in every range of click's."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return the number, or refuse the value."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class Whole(click.IntRange):
    """An integer that the library takes."""

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Return the number, or refuse the value."""
        number: int = super().convert(value, param, ctx)
        if number > MOST:
            self.fail(f"{value} is larger than {MOST}.", param, ctx)
        return number


def echo(text: object, err: bool = False) -> None:
    """Print a line; click's own function writes UTF-8 to a console that is for ASCII only."""
    print(text, file=sys.stderr if err else sys.stdout, flush=True)


OF_STDIN = re.compile(rf"\S*{output.TEMPORARY.pattern}")
"""The copy of standard input."""
OF_OPTION = re.compile("(target|columns|exclude|weights|delimiter|decimal|no-header|batch-size): ")
"""How errors begin about what an option says of the columns, or of the rows."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an error that a user can fix into one clear line, and a warning, too.

    The exit code is 1, or 2 if an option is wrong.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = lambda text, *_: echo(f"Warning: {reworded(text)}", err=True)
            yield
    except (FastbpError, ValueError, TypeError, ImportError, MemoryError) as error:
        text = reworded(error)
        of_option = OF_OPTION.match(text) and not isinstance(error, FastbpError)
        raise (click.UsageError(f"--{text}") if of_option else click.ClickException(text)) from None
    except OSError as error:
        if isinstance(error, BrokenPipeError) and error.filename is None:
            raise  # of standard output
        named = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise click.ClickException(named) from None


def reworded(text: object) -> str:
    """Return a message with options for arguments of `open_rows`, and `-` by its usual name."""
    named = re.sub(r"^weight: ", "weights: ", str(text))
    named = re.sub(r"\b(columns|exclude)=\[\.\.\.\]", r"--\1", named)
    named = re.sub(r"^header: (.*), got False$", r"no-header: \1", named)
    named = re.sub(r"\bheader=False\b", "--no-header", named)
    named = re.sub(r"\b(delimiter|decimal)=(?=')", r"--\1 ", named)
    named = re.sub(r"^batch_size: expected None or a ", "batch-size: expected a ", named)
    return OF_STDIN.sub("standard input", named)


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


def check_mark(context: click.Context, parameter: click.Parameter, mark: str | None) -> str | None:
    r"""Refuse what is no mark to separate cells or decimals; a tab may be written as \t."""
    if mark is None:
        return None
    layout: dict[str, Any] = {"delimiter": None, "decimal": ".", "header": True}
    layout[str(parameter.name)] = mark = "\t" if mark == "\\t" else mark
    try:
        TextLayout.checked(**layout)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return mark


def layout_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of text; `layout` gets those that are given, as `open_rows` calls them."""

    @functools.wraps(command)
    def with_layout(
        delimiter: str | None, decimal: str | None, no_header: bool, **rest: Any
    ) -> Any:
        given = {"delimiter": delimiter, "decimal": decimal, "header": False if no_header else None}
        layout = {name: value for name, value in given.items() if value is not None}
        return command(layout=layout, **rest)

    mark: dict[str, Any] = {"callback": check_mark, "metavar": "MARK"}
    for option in (
        click.option("--no-header", is_flag=True, help="Take the first line of text for a row."),
        click.option("--decimal", **mark, help="Decimal mark in text, such as a comma."),
        click.option("--delimiter", **mark, help="What separates cells in text, such as ';'."),
    ):
        with_layout = option(with_layout)
    return with_layout


dtype_option = click.option(
    "--dtype",
    type=click.Choice(list(DTYPES)),
    default="float64",
    help="Of the arithmetic: float32 is faster, and good to about 7 digits.",
)


def check_output(
    context: click.Context, parameter: click.Parameter, path: Path | None
) -> Path | None:
    """Refuse a file that cannot be written before anything is done."""
    # A finished checkpoint is only read: the fit looks at whether it has to be written.
    if path is None or (parameter.name == "checkpoint" and path.is_file()):
        return path
    if path == STANDARD:
        if parameter.name != "out":
            raise click.BadParameter("expected a file, got standard output")
        return path
    try:
        output.check(path, replaced=parameter.name != "log_file")
    except IsADirectoryError:
        raise click.BadParameter(f"{path} is a folder") from None
    except OSError as error:
        why = error.strerror if path.parent.is_dir() else f"{path.parent} is not a folder"
        raise click.BadParameter(f"{path} cannot be written: {why}") from None
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
                expected = "expected to write another file than those that are read"
                raise click.UsageError(f"{expected}, got {path}: {file} would be overwritten")
            within = file.resolve() in path.resolve().parents
            if within and file.is_dir() and is_known(path):
                expected = f"expected to write outside the folder {file}"
                raise click.UsageError(f"{expected}, got {path}: it would be taken for rows")


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
