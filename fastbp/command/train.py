"""``fastbp train``: open the rows, train on them, report."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import click

from fastbp.command import plot
from fastbp.command.data import Parts, Source, built_in, open_source, prepare, refuse_text
from fastbp.command.fit import epochs_in, fit_rows, get_ready
from fastbp.command.loss_log import LossLog
from fastbp.command.options import one_line_errors, output_option, parse_sizes
from fastbp.command.report import described, print_report
from fastbp.command.settings import ADAPTIVE, ADAPTIVE_RATE, NETWORK_BATCH, Settings
from fastbp.data.classes import check_classes
from fastbp.data.sources.formats import FORMATS, has_names, is_known
from fastbp.errors import DivergenceError
from fastbp.models.activations import hidden_activations
from fastbp.models.fits import Fit
from fastbp.models.losses import LOSSES, neuron_loss_names
from fastbp.models.table_model import TableModel
from fastbp.storage import save
from fastbp.system.interrupts import EXIT_CODE, raise_on_interrupt
from fastbp.training.optimizers import OPTIMIZERS

COUNT = click.IntRange(min=1)
NUMBER_LOSSES = " or ".join(name for name, row in LOSSES.items() if not row.for_classes)


@click.command(
    help=f"""Train a neuron, or a network, on the rows of FILE.

    FILE ends in {", ".join(FORMATS)}, or is a folder of such files, and may be larger than memory.
    Text files have a header. A target of text makes classes. Without FILE: a built-in synthetic
    set of 1,000,000 rows and 20 features.

    Ctrl-C ends training: the model so far is saved, and the exit code is 130.
    """
)
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
@click.option("--epochs", default=100, help="Passes over all rows.")
@click.option(
    "--learning-rate",
    type=float,
    help=f"Default: {ADAPTIVE_RATE} with {' or '.join(ADAPTIVE)}, 0.5 for a sigmoid neuron with"
    " sgd, 0.05 otherwise.",
)
@click.option(
    "--optimizer",
    type=click.Choice(list(OPTIMIZERS)),
    help="Default: sgd for a neuron, adam for a network.",
)
@click.option(
    "--activation",
    type=click.Choice(list(hidden_activations())),
    help="Activation of the neuron (default: sigmoid) or the hidden layers (default: relu).",
)
@click.option(
    "--loss",
    type=click.Choice(list(LOSSES)),
    help="Default: bce for two classes, cross_entropy for more, mse for a number. A network"
    f" predicts a number with {NUMBER_LOSSES}, a neuron with another activation than sigmoid.",
)
@click.option(
    "--batch-size",
    type=COUNT,
    help=f"Rows of each update. Default: all for a neuron, {NETWORK_BATCH} for a network.",
)
@click.option(
    "--shuffle/--no-shuffle",
    default=None,
    help="Reshuffle the rows in every epoch. Default: if there are batches.",
)
@click.option("--alpha", type=click.FloatRange(min=0.0), default=0.0, help="L2 penalty on weights.")
@click.option(
    "--standardize", is_flag=True, help="Scale every feature to mean 0, standard deviation 1."
)
@click.option(
    "--held-out",
    type=click.FloatRange(min=0.0, max=1.0, max_open=True),
    default=0.2,
    help="Fraction of the rows held out for the final test.",
)
@click.option(
    "--validation",
    type=click.FloatRange(min=0.0, max=1.0, min_open=True, max_open=True),
    metavar="FRACTION",
    help="Fraction of the other rows, to compute a loss on after each epoch.",
)
@click.option(
    "--patience",
    type=COUNT,
    metavar="N",
    help="Stop after N epochs without a lower loss on the validation rows, and keep the best"
    " parameters; without --validation, on the training rows.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    help="Seed for the initial weights, the shuffles and the built-in rows; held-out rows do not"
    " depend on it.",
)
@click.option("--threads", type=COUNT, help="Default: chosen by the amount of work.")
@click.option("--compare/--no-compare", default=True, help="Time the plain NumPy loop as well.")
@output_option("--save", "model_file", text="Write the model here.")
@output_option("--log", "log_file", text="Write the losses to a CSV as the epochs end.")
@output_option("--plot", "plot_file", text="Draw the losses: .png, .svg, .pdf (Matplotlib).")
@output_option(
    "--checkpoint", text="Save the state here periodically, and continue from it if it exists."
)
@click.option("--checkpoint-every", type=click.FloatRange(min=0.0), default=30.0, metavar="SECONDS")
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
    """Open the rows, train on them, report."""
    settings = _settings(options)
    outputs = [model_file, log_file, plot_file, settings.checkpoint]
    _check_files(file, target, [path for path in outputs if path is not None])
    with one_line_errors():
        if plot_file is not None:
            plot.check_suffix(plot_file)
        source = _open(file, target, settings)
        parts = prepare(source, held_out, standardize, settings.predicts_classes)
        _check_classes(parts, settings)
        before = epochs_in(settings.checkpoint)
        get_ready(settings)
        raise_on_interrupt()
        log = None if log_file is None else LossLog(log_file, before > 0)
        fit, seconds = _fit(parts, settings, log, model_file)
        _warn(fit, settings, before)
        if model_file is not None:
            save(_model(fit, parts), model_file)
        if log is not None:
            log.finish(fit)
        if plot_file is not None:
            shape = f"{source.rows.n_rows:,} rows x {source.rows.n_features:,} features"
            plot.plot_losses(plot_file, f"{described(parts, settings)}: {shape}", fit)
        print_report(fit, parts, settings, seconds, fit.n_epochs - before, compare)
    for what, path in (("model", model_file), ("losses", log_file), ("plot", plot_file)):
        if path is not None:
            click.echo(f"{what} written to {path}")
    if fit.stopped == "interrupted":
        _end_interrupted(fit, settings, model_file)


def _settings(options: dict[str, Any]) -> Settings:
    """Fill in the defaults that depend on other options."""
    hidden, loss = options["hidden"], options["loss"]
    if not hidden and loss not in (None, *neuron_loss_names()):
        raise click.UsageError(f"--loss {loss} goes with --hidden: a neuron has one output")
    found: dict[str, Any] = {"activation": "sigmoid", "optimizer": "sgd"}
    if hidden:
        found = {"activation": "relu", "optimizer": "adam", "batch_size": NETWORK_BATCH}
    found |= {name: value for name, value in options.items() if value is not None}
    rate = 0.5 if found["activation"] == "sigmoid" and not hidden else 0.05
    if found["optimizer"] in ADAPTIVE:
        rate = ADAPTIVE_RATE
    usual = {"learning_rate": rate, "shuffle": "batch_size" in found}
    return Settings(**{**options, **usual, **found})


def _check_files(file: Path | None, target: str | None, outputs: list[Path]) -> None:
    """Refuse a target without a file, and outputs that would overwrite rows or each other."""
    guessed = file is not None and file.exists() and not has_names(file)
    if (file is None) != (target is None) and not (target is None and guessed):
        raise click.UsageError("FILE and --target go together")
    paths = [path.resolve() for path in outputs]
    if len(set(paths)) < len(paths):
        raise click.UsageError("--save, --log, --plot and --checkpoint: expected different files")
    if file is None:
        return
    for path in paths:
        if path == file.resolve():
            raise click.UsageError(f"{file} would be overwritten")
        if path.parent == file.resolve() and is_known(path):
            raise click.UsageError(f"{path.name} would be taken for rows of the folder {file}")


def _open(file: Path | None, target: str | None, settings: Settings) -> Source:
    """Open the file, or make the built-in rows."""
    if file is None:
        return built_in(settings.seed)
    source = open_source(file, target or "-1")
    refuse_text(source, settings.number_option)
    if target is None:
        click.echo(f"no --target: column {source.target}, the last one, is predicted", err=True)
    return source


def _check_classes(parts: Parts, settings: Settings) -> None:
    """Refuse labels that are not two classes or, with several outputs, a number of classes."""
    if parts.classes is None:
        return
    hint = "--loss mse"
    if not settings.hidden:
        hint = "--activation identity --loss mse, for more classes --hidden"
    name = f"{parts.source.rows.name}: column {parts.source.target!r}"
    two = settings.output(3)[0] == 1  # one output cannot tell three classes apart
    check_classes(name, parts.classes, f"for numbers give {hint}", two=two)


def _fit(
    parts: Parts, settings: Settings, log: LossLog | None, model_file: Path | None
) -> tuple[Fit, float]:
    """Train; save what an error leaves of the fit before passing it on."""
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
                save(_model(fit, parts), model_file)
                click.echo(f"model so far written to {model_file}", err=True)
        raise
    finally:
        if log is not None:
            log.close()


def _model(fit: Fit, parts: Parts) -> TableModel:
    source = parts.source
    about = (source.names, source.target, parts.means, parts.scales)
    return TableModel(fit, *about, parts.classes, source.positional)


def _warn(fit: Fit, settings: Settings, before: int) -> None:
    """Warn of what may be unexpected; the checkpoint held `before` epochs."""
    if before:
        more = "; for more, raise --epochs" if before == fit.n_epochs == settings.epochs else ""
        click.echo(f"continued from {settings.checkpoint} after {before:,} epochs{more}", err=True)
    if fit.n_epochs and fit.losses[-1] > fit.losses[0]:
        click.echo(
            f"Warning: the loss rose from {fit.losses[0]:.6g} to {fit.losses[-1]:.6g}:"
            f" try a lower --learning-rate than {settings.learning_rate:g}, or --standardize",
            err=True,
        )


def _end_interrupted(fit: Fit, settings: Settings, model_file: Path | None) -> None:
    """Say what an interrupt has left, and exit."""
    saved = f"model written to {model_file}" if model_file else "no model written (--save)"
    text = f"interrupted after {fit.n_epochs:,} epochs; {saved}"
    if settings.checkpoint is not None:
        text += f"; run the same command again to continue from {settings.checkpoint}"
    click.echo(text, err=True)
    sys.exit(EXIT_CODE)
