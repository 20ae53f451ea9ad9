"""The command line: train on a table or on synthetic rows, predict, describe the machine."""

from __future__ import annotations

import csv
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table as Grid

from fastbp import plain
from fastbp._version import __version__
from fastbp.datasets import make_neuron_dataset
from fastbp.environment import environment, warmup
from fastbp.errors import DivergenceError, FastbpError
from fastbp.neuron import ACTIVATIONS, LOSSES, NeuronFit, fit_neuron
from fastbp.storage import load, save
from fastbp.tables import TableModel, read_table, two_classes

BUILT_IN_ROWS, BUILT_IN_FEATURES = 1_000_000, 20
PLAIN_SECONDS = 3.0  # after so long the plain loop is not run to its end, but extrapolated


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what a user can mend into one clear line and exit code 1."""
    try:
        yield
    except (FastbpError, ValueError, TypeError) as error:
        raise click.ClickException(str(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        named = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise click.ClickException(named) from None


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fastbp")
def command() -> None:
    """Backpropagation for one neuron, as fast as the machine allows."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--target", help="Column of FILE to predict (a number from 0 for .npy).")
@click.option("--epochs", default=100, show_default=True, help="Passes over all rows.")
@click.option("--learning-rate", default=0.5, show_default=True)
@click.option(
    "--activation", type=click.Choice(list(ACTIVATIONS)), default="sigmoid", show_default=True
)
@click.option(
    "--loss", type=click.Choice(list(LOSSES)), help="Default: bce with sigmoid, mse otherwise."
)
@click.option("--standardize", is_flag=True, help="Bring every feature to mean 0, deviation 1.")
@click.option("--held-out", default=0.2, show_default=True, help="Share of rows to test on.")
@click.option("--seed", default=0, show_default=True, help="Chooses the held-out rows.")
@click.option("--save", "model_file", type=click.Path(path_type=Path), help="Write the model here.")
def train(
    file: Path | None,
    target: str | None,
    epochs: int,
    learning_rate: float,
    activation: str,
    loss: str | None,
    standardize: bool,
    held_out: float,
    seed: int,
    model_file: Path | None,
) -> None:
    """Train a neuron on FILE (.csv with a header, .npy or .npz).

    Without FILE: on a built-in synthetic set of 1,000,000 rows and 20 features.
    """
    if (file is None) != (target is None):
        raise click.UsageError("FILE and --target go together")
    if not 0.0 <= held_out < 1.0:
        raise click.BadParameter("expected a share from 0 to below 1", param_hint="--held-out")
    if model_file is not None and not model_file.absolute().parent.is_dir():
        raise click.BadParameter(f"{model_file.parent} is no folder", param_hint="--save")
    if model_file is not None and model_file.is_dir():
        raise click.BadParameter(f"{model_file} is a folder", param_hint="--save")
    loss = loss or ("bce" if activation == "sigmoid" else "mse")
    with one_line_errors():
        data = _data(file, target, activation, seed)
        train_rows, test_rows = _split(len(data.labels), held_out, seed)
        x, y = data.features[train_rows], data.labels[train_rows]
        x_test, y_test = data.features[test_rows], data.labels[test_rows]
        data.features = x_test  # the rest is not needed any more
        means, scales = np.zeros(x.shape[1]), np.ones(x.shape[1])
        if standardize:
            means, scales = x.mean(axis=0), x.std(axis=0)
            scales[scales == 0.0] = 1.0
            x -= means
            x /= scales
            x_test = (x_test - means) / scales
        start = np.zeros(x.shape[1])
        if sys.stderr.isatty():
            click.echo("compiling...\r", nl=False, err=True)
        warmup()
        started = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an interrupt is reported below
                fit = fit_neuron(
                    x,
                    y,
                    start,
                    0.0,
                    learning_rate,
                    epochs,
                    activation=activation,
                    loss=loss,
                    progress=True,
                )
        except DivergenceError as error:
            raise click.ClickException(
                f"the loss is no longer finite in epoch {error.epoch}: try a lower --learning-rate"
                f" than {learning_rate:g}, or --standardize"
            ) from None
        seconds = time.perf_counter() - started
        if model_file is not None:
            model = TableModel(
                fit, data.names, data.target, means, scales, data.classes, data.positional
            )
            save(model, model_file)
        if fit.stopped == "interrupted":
            click.echo(f"interrupted after {fit.n_epochs} epochs", err=True)
            sys.exit(130)
        try:
            compared = plain.seconds_of_loop(
                x, y, start, 0.0, learning_rate, epochs, activation, loss, PLAIN_SECONDS
            )
        except KeyboardInterrupt:  # the comparison is not worth the rest of the table
            compared = None
        _report(fit, x.shape, seconds, compared, x_test, y_test, data.classes, model_file)


@dataclass
class _Data:
    """What to train on; `classes` are the two labels that 0 and 1 stand for, if any."""

    features: np.ndarray
    labels: np.ndarray
    names: list[str]
    target: str
    classes: list[Any] | None
    positional: bool = False


def _data(file: Path | None, target: str | None, activation: str, seed: int) -> _Data:
    """Read the file, or make the built-in rows."""
    if file is None or target is None:
        features, labels, _, _ = make_neuron_dataset(
            BUILT_IN_ROWS, BUILT_IN_FEATURES, noise=1.0, seed=seed
        )
        return _Data(features, labels, [f"x{j}" for j in range(BUILT_IN_FEATURES)], "y", [0, 1])
    table = read_table(file)
    column = table.column(target)
    names = [name for name in table.columns if name != target]
    if not names:
        raise ValueError(f"{file}: expected at least one column beside {target!r}")
    features = table.features(names)
    if activation == "sigmoid":
        labels, classes = two_classes(column, target, table.source)
    else:
        labels, classes = table.features([target])[:, 0], None
    return _Data(features, labels, names, target, classes, table.positional)


def _split(n_rows: int, held_out: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train on and those to test on, each in their own order."""
    n_test = min(n_rows - 1, round(held_out * n_rows))
    order = np.random.default_rng(seed).permutation(n_rows)
    return np.sort(order[n_test:]), np.sort(order[:n_test])


def _report(
    fit: NeuronFit,
    shape: tuple[int, ...],
    seconds: float,
    compared: plain.LoopTime | None,
    x_test: np.ndarray,
    y_test: np.ndarray,
    classes: list[Any] | None,
    model_file: Path | None,
) -> None:
    """Print the table of a finished training."""
    grid = Grid(show_header=False, box=None, pad_edge=False)
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_row(
        "rows x features", f"{shape[0]:,} x {shape[1]:,}", f"{len(y_test):,} rows held out"
    )
    if fit.n_epochs:
        grid.add_row(
            "loss",
            f"{fit.losses[0]:.6g} -> {fit.losses[-1]:.6g}",
            f"{fit.loss}, {fit.n_epochs} epochs",
        )
    if len(y_test):
        outputs = fit.predict(x_test)
        if classes is not None:
            grid.add_row(
                "accuracy", f"{np.mean((outputs >= 0.5) == y_test):.2%}", "on the held-out rows"
            )
        else:
            error = float(np.sqrt(np.mean((outputs - y_test) ** 2)))
            grid.add_row("root mean square error", f"{error:.6g}", "on the held-out rows")
    grid.add_row("seconds", f"{seconds:.3g}", "")
    grid.add_row("rows per second", f"{shape[0] * fit.n_epochs / seconds:,.0f}", "")
    if compared is not None:
        ratio = f"{compared.seconds / seconds:.1f} times as long"
        measured = "" if compared.complete else f" (from {compared.epochs} epochs)"
        grid.add_row("seconds, plain NumPy", f"{compared.seconds:.3g}", f"{ratio}{measured}")
    Console(soft_wrap=True).print(grid)
    if model_file is not None:
        click.echo(f"model written to {model_file}")


@command.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write here instead of printing.")
def predict(model: Path, file: Path, out: Path | None) -> None:
    """Predict the rows of FILE with MODEL, which `fastbp train --save` wrote; the output is CSV."""
    with one_line_errors():
        loaded = load(model)
        if not isinstance(loaded, TableModel):
            raise click.ClickException(f"{model}: expected a model of the train command")
        table = read_table(file)
        outputs = loaded.outputs(table)
        header, rows = _prediction_rows(loaded, outputs)
        if out is None:
            csv.writer(sys.stdout, lineterminator="\n").writerows([header, *rows])
        else:
            with out.open("w", newline="") as stream:
                csv.writer(stream, lineterminator="\n").writerows([header, *rows])


def _prediction_rows(model: TableModel, outputs: np.ndarray) -> tuple[list[str], list[list[Any]]]:
    if model.classes is None:
        return [model.target], [[output] for output in outputs.tolist()]
    classes = model.classes
    header = [model.target, f"probability_of_{classes[1]}"]
    return header, [[classes[output >= 0.5], output] for output in outputs.tolist()]


@command.command()
def info() -> None:
    """Print versions, threads, vector width and cache folder, for bug reports."""
    grid = Grid(show_header=False, box=None, pad_edge=False)
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    with one_line_errors():
        for name, value in environment().items():
            grid.add_row(name, value)
    Console(soft_wrap=True).print(grid)


def main() -> None:
    """Run the command; Ctrl-C exits with 130, as shells have it."""
    try:
        command(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
