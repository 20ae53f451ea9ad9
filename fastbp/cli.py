"""The command line: train on a table or on synthetic rows, predict, describe the machine."""

from __future__ import annotations

import csv
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
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
@click.option("--learning-rate", type=float, help="Default: 0.5 with sigmoid, 0.05 otherwise.")
@click.option(
    "--activation", type=click.Choice(list(ACTIVATIONS)), default="sigmoid", show_default=True
)
@click.option(
    "--loss", type=click.Choice(list(LOSSES)), help="Default: bce with sigmoid, mse otherwise."
)
@click.option("--standardize", is_flag=True, help="Bring every feature to mean 0, deviation 1.")
@click.option("--held-out", default=0.2, show_default=True, help="Share of rows to test on.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Chooses the held-out rows.",
)
@click.option("--compare/--no-compare", default=True, help="Time the plain NumPy loop as well.")
@click.option("--save", "model_file", type=click.Path(path_type=Path), help="Write the model here.")
def train(
    file: Path | None,
    target: str | None,
    epochs: int,
    learning_rate: float | None,
    activation: str,
    loss: str | None,
    standardize: bool,
    held_out: float,
    seed: int,
    compare: bool,
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
    sigmoid = activation == "sigmoid"
    loss = loss or ("bce" if sigmoid else "mse")
    rate = learning_rate or (0.5 if sigmoid else 0.05)
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
        fit, seconds = _timed_fit(x, y, rate, epochs, activation, loss)
        if model_file is not None:
            names = data.names
            save(
                TableModel(fit, names, data.target, means, scales, data.classes, data.positional),
                model_file,
            )
        compared = None
        if compare and fit.n_epochs and fit.stopped != "interrupted":
            compared = _compare(x, y, rate, epochs, activation, loss)
        _report(fit, x.shape, seconds, compared, x_test, y_test, data.classes)
        if model_file is not None:
            click.echo(f"model written to {model_file}")
        if fit.stopped == "interrupted":
            click.echo(f"interrupted after {fit.n_epochs} epochs", err=True)
            sys.exit(130)


def _timed_fit(
    x: np.ndarray, y: np.ndarray, rate: float, epochs: int, activation: str, loss: str
) -> tuple[NeuronFit, float]:
    """Train, and return the seconds it took once compiled."""
    if sys.stderr.isatty():
        click.echo("compiling...\r", nl=False, err=True)
    warmup()
    import tqdm.auto  # noqa: F401  # what it takes to load is not training

    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an interrupt is reported by the caller
            start = np.zeros(x.shape[1])
            fit = fit_neuron(
                x, y, start, 0.0, rate, epochs, activation=activation, loss=loss, progress=True
            )
    except DivergenceError as error:
        raise click.ClickException(
            f"the loss is no longer finite in epoch {error.epoch}: try a lower --learning-rate"
            f" than {rate:g}, or --standardize"
        ) from None
    seconds = time.perf_counter() - started
    if fit.n_epochs and fit.losses[-1] > fit.losses[0]:
        click.echo(
            f"Warning: the loss rose from {fit.losses[0]:.6g} to {fit.losses[-1]:.6g}:"
            f" try a lower --learning-rate than {rate:g}, or --standardize",
            err=True,
        )
    return fit, seconds


def _compare(
    x: np.ndarray, y: np.ndarray, rate: float, epochs: int, activation: str, loss: str
) -> plain.LoopTime | None:
    """Time the plain NumPy loop; Ctrl-C leaves it out of the table."""
    start = np.zeros(x.shape[1])
    try:
        return plain.seconds_of_loop(
            x, y, start, 0.0, rate, epochs, activation, loss, PLAIN_SECONDS
        )
    except KeyboardInterrupt:
        return None


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
    n_test = min(n_rows - 1, max(1, round(held_out * n_rows))) if held_out else 0
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
) -> None:
    """Print the table of a finished training."""
    rows = [("rows x features", f"{shape[0]:,} x {shape[1]:,}", f"{len(y_test):,} rows held out")]
    if fit.n_epochs:
        losses = f"{fit.losses[0]:.6g} -> {fit.losses[-1]:.6g}"
        rows.append(("loss", losses, f"{fit.loss}, {fit.n_epochs:,} epochs"))
    if len(y_test):
        outputs = fit.predict(x_test)
        name, figure = "root mean square error", f"{np.sqrt(np.mean((outputs - y_test) ** 2)):.6g}"
        if classes is not None:
            name, figure = "accuracy", f"{np.mean((outputs >= 0.5) == y_test):.2%}"
        rows.append((name, figure, "on the held-out rows"))
    if fit.n_epochs:
        rows.append(("seconds", f"{seconds:.3g}", ""))
        rows.append(("rows per second", f"{shape[0] * fit.n_epochs / seconds:,.0f}", ""))
    if compared is not None:
        ratio = f"{compared.seconds / seconds:.1f} times as long"
        measured = "" if compared.complete else f" (from {compared.epochs} epochs)"
        rows.append(("seconds, plain NumPy", f"{compared.seconds:.3g}", f"{ratio}{measured}"))
    _print_grid(rows, "bold", "", "dim")


def _print_grid(rows: Sequence[tuple[str, ...]], *styles: str) -> None:
    """Print columns as wide as they need to be, figures to the right, nothing cut off."""
    grid = Grid(show_header=False, box=None, pad_edge=False)
    for style in styles:
        grid.add_column(style=style, no_wrap=True, justify="right" if style == "" else "left")
    for row in rows:
        grid.add_row(*row)
    console = Console(width=1000)
    with console.capture() as capture:
        console.print(grid)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())


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


def _prediction_rows(model: TableModel, outputs: np.ndarray) -> tuple[list[str], list[Any]]:
    if model.classes is None:
        return [model.target], [[output] for output in outputs.tolist()]
    header = [model.target, f"probability_of_{model.classes[1]}"]
    return header, list(zip(model.labels(outputs), outputs.tolist(), strict=True))


@command.command()
def info() -> None:
    """Print versions, threads, vector width and cache folder, for bug reports."""
    with one_line_errors():
        _print_grid(list(environment().items()), "bold", "none")


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
