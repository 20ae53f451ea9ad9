"""The command line: make rows, train on them, predict, describe the machine."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import click

from fastbp._version import __version__
from fastbp.command.options import dtype_option, echo, one_line_errors
from fastbp.command.predict import predict
from fastbp.command.report import print_grid
from fastbp.command.synth import synth
from fastbp.command.train import train
from fastbp.system.interrupts import EXIT_CODE
from fastbp.system.versions import environment, kernel_cache
from fastbp.warm_up import CALLS, FunctionName, warmup


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="fastbp")
def command() -> None:
    """Backpropagation for one neuron and small networks, as fast as the machine allows."""


@command.command(
    "warmup",
    help=f"""Compile the kernels of each FUNCTION ahead of time, for example in a container image.

    They are kept in a cache on disk, for this user, these versions and this kind of processor.
    Without FUNCTION: {", ".join(CALLS)}. The exit status is 1 if kernels were
    compiled and cannot be kept.
    """,
)
@click.argument("functions", nargs=-1, type=click.Choice(list(CALLS)), metavar="[FUNCTION]...")
@dtype_option
def compile_ahead(functions: tuple[FunctionName, ...], dtype: Any) -> None:
    """Compile ahead of time."""
    with one_line_errors():
        done = warmup(*functions, progress=True, dtype=dtype)
        echo(done)
    if done.not_kept:
        sys.exit(1)
    echo(f"kernel cache: {kernel_cache()}")


@command.command()
def info() -> None:
    """Print versions, threads, vector width and cache folder, for bug reports."""
    with one_line_errors():
        print_grid(list(environment().items()), "bold", "none")


for subcommand in (synth, train, predict):
    command.add_command(subcommand)


def main() -> None:
    """Run the command; Ctrl-C exits with 130, by the convention of shells."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console may lack letters of names
            stream.reconfigure(errors="backslashreplace")
    try:
        command(standalone_mode=False)
    except click.ClickException as error:
        error.show(file=sys.stderr)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        echo("interrupted", err=True)
        sys.exit(EXIT_CODE)
    except BrokenPipeError:  # the program that reads the output has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
