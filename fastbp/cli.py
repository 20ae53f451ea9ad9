"""The command line: make rows, train on them, predict, describe the machine."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.filesize import decimal

from fastbp import _plot
from fastbp._interrupt import EXIT_CODE, raise_on_interrupt
from fastbp._progress import rows_bar
from fastbp._report import Lines, print_grid, time_lines, training_lines
from fastbp._synth import write_rows
from fastbp._training_data import (
    Parts,
    Source,
    built_in,
    feature_blocks,
    has_no_names,
    open_source,
    prepare,
    text_explained,
)
from fastbp._training_run import (
    NETWORK_BATCH,
    Fit,
    LossLog,
    Settings,
    epochs_in,
    fit_rows,
    get_ready,
    held_out_figure,
    plain_loop,
)
from fastbp._version import __version__
from fastbp.datasets import DISTRIBUTIONS
from fastbp.environment import environment, kernel_cache
from fastbp.errors import DivergenceError, FastbpError
from fastbp.network import LOSSES
from fastbp.neuron import ACTIVATIONS
from fastbp.readiness import CALLS, warmup
from fastbp.sources import KINDS
from fastbp.storage import load, save
from fastbp.tables import TableModel, check_classes, outputs_of


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what a user can mend into one clear line and exit code 1."""
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
        raise click.BadParameter(f"{path.parent} is no folder")
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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fastbp")
def command() -> None:
    """Backpropagation for one neuron and small networks, as fast as the machine allows."""


@command.command()
@click.argument("shape", callback=parse_shape, metavar="ROWSxFEATURES")
@output_option("--out", text="The .npy file to write; an old one is replaced.", required=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--noise",
    type=click.FloatRange(min=0.0),
    default=1.0,
    show_default=True,
    help="Standard deviation of what is added before the label is decided; 3 drowns it.",
)
@click.option(
    "--distribution", type=click.Choice(list(DISTRIBUTIONS)), default="normal", show_default=True
)
def synth(shape: tuple[int, int], out: Path, seed: int, noise: float, distribution: str) -> None:
    """Write a file of synthetic rows, larger than memory if need be.

    1000000x20 is a million rows of 20 features. The column after them is the target: 0 or 1, as a
    neuron with weights of its own says.
    """
    if out.suffix != ".npy":
        raise click.UsageError(f"--out: expected a name that ends in .npy, got {out}")
    n_rows, n_features = shape
    size, free = 8 * n_rows * (n_features + 1), shutil.disk_usage(out.absolute().parent).free
    if size > free:
        raise click.ClickException(
            f"{out}: {decimal(size)} expected to be free, got {decimal(free)}"
        )
    raise_on_interrupt()
    with one_line_errors():
        write_rows(out, n_rows, n_features, noise, seed, distribution)
    lines = [
        ("rows x features", f"{n_rows:,} x {n_features:,}"),
        ("target", f"0 or 1, in the last column, {n_features}"),
        ("file", f"{out}, {decimal(out.stat().st_size)}"),
        ("train on it", f"fastbp train {out}"),
    ]
    print_grid(lines, "bold", "none")


@command.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--target",
    help="Column of FILE to predict. In a .npy it is a number: from 0, or -1 for the last one,"
    " which is the default there.",
)
@click.option(
    "--hidden",
    callback=parse_sizes,
    metavar="SIZES",
    help="Train a network with hidden layers of these sizes, such as 64,32.",
)
@click.option("--epochs", default=100, show_default=True, help="Passes over all rows.")
@click.option(
    "--learning-rate",
    type=float,
    help="Default: 0.003 with adam, 0.5 for a sigmoid neuron with sgd, 0.05 otherwise.",
)
@click.option(
    "--optimizer",
    type=click.Choice(["sgd", "adam"]),
    help="Default: sgd for a neuron, adam for a network.",
)
@click.option(
    "--activation",
    type=click.Choice(list(ACTIVATIONS)),
    help="Of the neuron (default: sigmoid) or the hidden layers (default: relu).",
)
@click.option(
    "--loss",
    type=click.Choice(list(LOSSES)),
    help="Default: bce for two classes, cross_entropy for more, mse for a number. A network"
    " predicts a number with mse or half_mse, a neuron with another activation than sigmoid.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    help=f"Rows of each update. Default: all for a neuron, {NETWORK_BATCH} for a network.",
)
@click.option(
    "--shuffle/--no-shuffle",
    default=None,
    help="Mix the rows anew in each epoch. Default: with batches.",
)
@click.option("--alpha", type=click.FloatRange(min=0.0), default=0.0, help="L2 penalty on weights.")
@click.option("--standardize", is_flag=True, help="Bring every feature to mean 0, deviation 1.")
@click.option(
    "--held-out",
    type=click.FloatRange(min=0.0, max=1.0, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of rows to test on at the end.",
)
@click.option(
    "--validation",
    type=click.FloatRange(min=0.0, max=1.0, min_open=True, max_open=True),
    metavar="FRACTION",
    help="Share of the other rows to take a loss on after each epoch.",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    metavar="N",
    help="Stop after N epochs without a lower loss on the validation rows, and keep the best"
    " parameters; without --validation, on the training rows.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of start values, order of rows and built-in rows. Held-out rows do not depend on it.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Default: as many as are of use.")
@click.option("--compare/--no-compare", default=True, help="Time the plain NumPy loop as well.")
@output_option("--save", "model_file", text="Write the model here.")
@output_option("--log", "log_file", text="Write a CSV of losses, a line an epoch as it ends.")
@output_option("--plot", "plot_file", text="Draw the losses: .png, .svg, .pdf (Matplotlib).")
@output_option(
    "--checkpoint",
    text="Save the state here now and then, and go on from it if the file is there.",
)
@click.option(
    "--checkpoint-every",
    type=click.FloatRange(min=0.0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
)
def train(
    file: Path | None,
    target: str | None,
    standardize: bool,
    held_out: float,
    compare: bool,
    model_file: Path | None,
    log_file: Path | None,
    plot_file: Path | None,
    **options: Any,
) -> None:
    """Train a neuron, or a network, on the rows of FILE.

    FILE is a .csv or .tsv with a header, .npy, .npz, .parquet, .arrow or .feather, or a folder of
    such files, and may be larger than memory. Text as a target makes classes, in files of up to
    64 MiB. Without FILE: a built-in synthetic set of 1,000,000 rows and 20 features.

    Ctrl-C ends training: what there is gets saved, and the exit code is 130.
    """
    settings = _settings(**options)
    outputs = [model_file, log_file, plot_file, settings.checkpoint]
    _check_files(file, target, [path for path in outputs if path is not None])
    with one_line_errors():
        if plot_file is not None:
            _plot.check_suffix(plot_file)
        source = _open(file, target, settings)
        with text_explained(source.target, file, settings.number_option):
            parts = prepare(source, held_out, standardize, settings.predicts_classes)
        if parts.classes is not None:
            _check_classes(parts.classes, source, settings)
        before = epochs_in(settings.checkpoint)
        log = None if log_file is None else LossLog(log_file, before > 0)
        fit, seconds = _fit(parts, source, settings, log, model_file)
        _warn(fit, settings, before)
        if model_file is not None:
            save(_model(fit, parts, source), model_file)
        if log is not None:
            log.finish(fit)
        n_classes = len(parts.classes or ())
        kind = f"{n_classes} classes" if n_classes else "a number"
        model = settings.described(len(source.names), n_classes)
        if plot_file is not None:
            shape = f"{source.rows.n_rows:,} rows x {parts.training.n_features:,} features"
            _plot.plot_losses(
                plot_file, f"{model}: {shape}", fit.loss, fit.losses, fit.validation_losses
            )
        about = [("target", source.target, kind), ("model", model, "")]
        _report(fit, seconds, fit.n_epochs - before, parts, about, settings, compare)
    for what, path in (("model", model_file), ("losses", log_file), ("plot", plot_file)):
        if path is not None:
            click.echo(f"{what} written to {path}")
    if fit.stopped == "interrupted":
        _end_interrupted(fit, settings, model_file)


def _settings(
    *,
    hidden: tuple[int, ...],
    activation: str | None,
    loss: str | None,
    optimizer: str | None,
    learning_rate: float | None,
    batch_size: int | None,
    shuffle: bool | None,
    **rest: Any,
) -> Settings:
    """Fill in the defaults that depend on other options."""
    if not hidden and loss == "cross_entropy":
        raise click.UsageError("--loss cross_entropy goes with --hidden: a neuron has one output")
    activation = activation or ("relu" if hidden else "sigmoid")
    optimizer = optimizer or ("adam" if hidden else "sgd")
    if learning_rate is None:
        plain_neuron = 0.5 if activation == "sigmoid" and not hidden else 0.05
        learning_rate = 0.003 if optimizer == "adam" else plain_neuron
    if batch_size is None and hidden:
        batch_size = NETWORK_BATCH
    return Settings(
        hidden=hidden,
        activation=activation,
        loss=loss,
        optimizer=optimizer,
        learning_rate=learning_rate,
        batch_size=batch_size,
        shuffle=batch_size is not None if shuffle is None else shuffle,
        **rest,
    )


def _check_files(file: Path | None, target: str | None, outputs: list[Path]) -> None:
    """Refuse a target without a file, and outputs that would be written over each other."""
    guessed = file is not None and file.exists() and has_no_names(file)
    if (file is None) != (target is None) and not (target is None and guessed):
        raise click.UsageError("FILE and --target go together")
    places = [path.resolve() for path in outputs]
    if len(set(places)) < len(places):
        raise click.UsageError("--save, --log, --plot and --checkpoint: expected different files")
    for path in places:
        if file is None:
            continue
        if path == file.resolve():
            raise click.UsageError(f"{file} would be written over")
        if path.parent == file.resolve() and path.suffix.lower() in KINDS:
            raise click.UsageError(f"{path.name} would be taken for rows of the folder {file}")


def _open(file: Path | None, target: str | None, settings: Settings) -> Source:
    """Open the file, or make the built-in rows."""
    if file is None:
        return built_in(settings.seed)
    with text_explained(target, file, settings.number_option):
        source = open_source(file, target or "-1", settings.predicts_classes)
    if target is None:
        click.echo(f"no --target: column {source.target}, the last one, is predicted", err=True)
    return source


def _check_classes(classes: list[Any], source: Source, settings: Settings) -> None:
    hint = "for numbers give --loss mse"
    if not settings.hidden:
        hint = "for numbers give --activation identity --loss mse, for more classes --hidden"
    name = source.rows.name
    check_classes(classes, settings.two_classes, source.target, name, hint)


def _fit(
    parts: Parts, source: Source, settings: Settings, log: LossLog | None, model_file: Path | None
) -> tuple[Fit, float]:
    """Train; what an error leaves of a fit is saved before the error is passed on."""
    get_ready(settings)
    raise_on_interrupt()
    try:
        return fit_rows(parts.training, settings, len(parts.classes or ()), log)
    except DivergenceError as error:
        raise click.ClickException(
            f"the loss is no longer finite in epoch {error.epoch}: try a lower --learning-rate"
            f" than {settings.learning_rate:g}, or --standardize"
        ) from None
    except Exception as error:
        fit = getattr(error, "fit", None)
        if fit is not None and model_file is not None:
            with contextlib.suppress(OSError):
                save(_model(fit, parts, source), model_file)
                click.echo(f"model so far written to {model_file}", err=True)
        raise
    finally:
        if log is not None:
            log.close()


def _model(fit: Fit, parts: Parts, source: Source) -> TableModel:
    about = (source.names, source.target, parts.means, parts.scales)
    return TableModel(fit, *about, parts.classes, source.positional)


def _warn(fit: Fit, settings: Settings, before: int) -> None:
    """Say what may not be as expected; the checkpoint held `before` epochs."""
    if before:
        more = "; for more, raise --epochs" if before == fit.n_epochs == settings.epochs else ""
        click.echo(f"went on from {settings.checkpoint} after {before:,} epochs{more}", err=True)
    if fit.n_epochs and fit.losses[-1] > fit.losses[0]:
        click.echo(
            f"Warning: the loss rose from {fit.losses[0]:.6g} to {fit.losses[-1]:.6g}:"
            f" try a lower --learning-rate than {settings.learning_rate:g}, or --standardize",
            err=True,
        )


def _report(
    fit: Fit,
    seconds: float,
    epochs: int,
    parts: Parts,
    about: Lines,
    settings: Settings,
    compare: bool,
) -> None:
    """Print the table of a finished training, of which so many epochs are this run's."""
    interrupted = fit.stopped == "interrupted"
    compared = None
    if compare and epochs and not interrupted:
        compared = plain_loop(parts.training, settings, fit.loss, epochs)
    held_out = parts.held_out
    validated = int((settings.validation or 0.0) * parts.training.n_rows)  # as the fit has it
    rows = parts.training.n_rows - validated
    lines = training_lines(fit, about, rows, parts.training.n_features, validated, held_out)
    # Whoever pressed Ctrl-C does not want to wait for another pass over a large file.
    if held_out is not None and not (interrupted and held_out.resident is None):
        name, figure = held_out_figure(fit, held_out, parts.classes is not None)
        lines.append((name, figure, "on the held-out rows"))
    if epochs:
        lines += time_lines(seconds, rows, epochs, compared)
    print_grid(lines, "bold", "", "dim")


def _end_interrupted(fit: Fit, settings: Settings, model_file: Path | None) -> None:
    """Say what an interrupt has left, and exit."""
    saved = f"model written to {model_file}" if model_file else "no model written (--save)"
    text = f"interrupted after {fit.n_epochs:,} epochs; {saved}"
    if settings.checkpoint is not None:
        text += f"; run the same command again to go on from {settings.checkpoint}"
    click.echo(text, err=True)
    sys.exit(EXIT_CODE)


@command.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@output_option("--out", text="Write here instead of printing.")
def predict(model: Path, file: Path, out: Path | None) -> None:
    """Predict the rows of FILE with MODEL, which `fastbp train --save` wrote; the output is CSV.

    FILE is of any kind that `fastbp train` takes, and may be larger than memory. Beside a predicted
    class comes its probability: of the second of two classes, of each of several.
    """
    with one_line_errors():
        loaded = load(model)
        if not isinstance(loaded, TableModel):
            raise click.ClickException(f"{model}: expected a model of the train command")
        n_rows, blocks = feature_blocks(loaded, file)
        raise_on_interrupt()
        if out is None:
            _write_predictions(sys.stdout, loaded, n_rows, blocks)
            return
        temporary = out.with_name(f".{out.name}.part")
        try:
            with temporary.open("w", newline="") as stream:
                _write_predictions(stream, loaded, n_rows, blocks)
            temporary.replace(out)
        finally:
            temporary.unlink(missing_ok=True)


def _write_predictions(
    stream: Any, model: TableModel, n_rows: int, blocks: Iterator[np.ndarray]
) -> None:
    """Write a line for each row, a block at a time."""
    writer = csv.writer(stream, lineterminator="\n")
    with rows_bar(n_rows, "predicting") as bar:
        for number, features in enumerate(blocks):
            outputs = outputs_of(model.fit, (features - model.means) / model.scales)
            if number == 0:  # only now: an error in the first block leaves nothing written
                writer.writerow(_header(model))
            writer.writerows(_lines(model, outputs))
            bar.update(len(features))


def _header(model: TableModel) -> list[str]:
    classes = model.classes
    if classes is None:
        return [model.target]
    several = len(classes) > 2 or model.fit.loss == "cross_entropy"
    return [model.target, *(f"probability_of_{c}" for c in classes[0 if several else 1 :])]


def _lines(model: TableModel, outputs: np.ndarray) -> Iterator[Any]:
    labels, numbers = model.labels(outputs), outputs.tolist()
    if model.classes is None:
        return ([label] for label in labels)
    if outputs.ndim == 1:
        return zip(labels, numbers, strict=True)
    return ([label, *row] for label, row in zip(labels, numbers, strict=True))


@command.command("warmup")
@click.argument("functions", nargs=-1, type=click.Choice(list(CALLS)), metavar="[FUNCTION]...")
def compile_ahead(functions: tuple[str, ...]) -> None:
    """Compile the kernels of each FUNCTION ahead of time, say in a container's image.

    They are kept in a cache on disk, for this user, these versions and this kind of processor.
    Without FUNCTION: train_neuron, fit_neuron, predict_neuron, fit_network, loss_and_gradient,
    predict_network, make_neuron_dataset and make_network_dataset.
    """
    with one_line_errors():
        click.echo(warmup(*functions, progress=True))
    click.echo(f"kernel cache: {kernel_cache()}")


@command.command()
def info() -> None:
    """Print versions, threads, vector width and cache folder, for bug reports."""
    with one_line_errors():
        print_grid(list(environment().items()), "bold", "none")


def main() -> None:
    """Run the command; Ctrl-C exits with 130, as shells have it."""
    try:
        command(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(EXIT_CODE)
    except BrokenPipeError:  # whoever read the output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
