"""``fastbp train``: open the rows, train on them, report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from fastbp.command import plot
from fastbp.command.cluster import LOCAL, connected
from fastbp.command.data import (
    Parts,
    Source,
    Table,
    built_in,
    open_source,
    opened_table,
    prepare,
    refuse_text,
)
from fastbp.command.fit import epochs_in, fit_rows, get_ready
from fastbp.command.inputs import Input, input_argument
from fastbp.command.loss_log import LossLog
from fastbp.command.options import (
    STANDARD,
    Real,
    Whole,
    dtype_option,
    echo,
    layout_options,
    one_line_errors,
    output_option,
    parse_sizes,
    refuse_overwriting,
    reworded,
)
from fastbp.command.report import described, print_report
from fastbp.command.schedule import parse_schedule
from fastbp.command.settings import (
    ADAPTIVE,
    ADAPTIVE_RATE,
    NETWORK_BATCH,
    Settings,
    settings_of,
)
from fastbp.data.classes import MOST_CLASSES, are_ambiguous, check_classes, shown
from fastbp.data.sources.formats import FORMATS
from fastbp.errors import DivergenceError
from fastbp.models.activations import hidden_activations
from fastbp.models.fits import Fit
from fastbp.models.losses import LOSSES
from fastbp.models.table_model import TableModel
from fastbp.storage import save
from fastbp.system.interrupts import EXIT_CODE, raise_on_interrupt
from fastbp.training.optimizers import OPTIMIZERS

COUNT = Whole(min=1)
NUMBER_LOSSES = " or ".join(name for name, row in LOSSES.items() if not row.for_classes)


@click.command(
    help=f"""Train a neuron, or a network, on the rows of FILE.

    FILE ends in {", ".join(FORMATS)}, or is a folder of such files, or a pattern in quotes such as
    'shards/*.parquet', and may be larger than memory. Several are taken as one, in order. On
    standard input, for which FILE is "-", a CSV is expected. Without FILE: a built-in synthetic set
    of 1,000,000 rows and 20 features.

    COLUMN is a name or, where there are none, a number: from 0, or -1 for the last one.

    Ctrl-C ends training: the model so far is saved, and the exit code is 130.
    """
)
@input_argument("file", required=False)
@click.option(
    "--target",
    metavar="COLUMN",
    help="Column to predict. Default where columns have no names: the last one.",
)
@click.option(
    "--columns",
    multiple=True,
    metavar="COLUMN",
    help="Feature column; repeat for several. Default: all others.",
)
@click.option(
    "--exclude", multiple=True, metavar="COLUMN", help="Column to leave out; repeat for several."
)
@click.option("--weights", metavar="COLUMN", help="Column of sample weights.")
@layout_options
@click.option(
    "--classes/--number",
    default=None,
    help="Predict classes or a number. Default: classes, if the target is text, true and false, or"
    " few distinct numbers.",
)
@click.option(
    "--class-weight",
    type=click.Choice(["balanced"]),
    help="Weight rows so that all classes count the same.",
)
@click.option(
    "--hidden",
    callback=parse_sizes,
    metavar="SIZES",
    help="Train a network with hidden layers of these sizes, such as 64,32.",
)
@click.option(
    "--epochs",
    type=Whole(min=0),
    default=100,
    help="Passes over all rows; the most iterations of lbfgs.",
)
@click.option(
    "--learning-rate",
    type=Real(min=0.0),
    help=f"Default: {ADAPTIVE_RATE} with {' or '.join(ADAPTIVE)}, 0.5 for a sigmoid neuron with"
    " sgd, 0.05 otherwise. lbfgs has none.",
)
@click.option(
    "--schedule",
    callback=parse_schedule,
    metavar="NAME",
    help="step:30 divides the rate by 10 every 30 epochs, step:30,0.5 halves it; cosine lowers it"
    " to 0 over all epochs, cosine:0.001 to that. Default: it stays the same.",
)
@click.option(
    "--warm-up",
    type=Whole(min=0),
    default=0,
    metavar="N",
    help="Raise the learning rate step by step in the first N epochs.",
)
@click.option(
    "--optimizer",
    type=click.Choice(list(OPTIMIZERS)),
    help="Default: sgd for a neuron, adam for a network, or lbfgs for one on a cluster if no option"
    " of rates or batches is given. lbfgs goes by the loss of all rows: often the fastest for a"
    " neuron.",
)
@click.option(
    "--activation",
    type=click.Choice(list(hidden_activations())),
    help="Activation of the neuron (default: sigmoid for classes, identity for a number) or the"
    " hidden layers (default: relu).",
)
@click.option(
    "--loss",
    type=click.Choice(list(LOSSES)),
    help="Default: bce for two classes, cross_entropy for more, mse for a number. A network"
    f" predicts a number with {NUMBER_LOSSES}.",
)
@click.option(
    "--batch-size",
    type=COUNT,
    help="Rows of each update. Default: all for a neuron or lbfgs, or on a cluster, else"
    f" {NETWORK_BATCH} for a network.",
)
@click.option(
    "--shuffle/--no-shuffle",
    default=None,
    help="Reshuffle the rows in every epoch. Default: if there are batches; never on a cluster.",
)
@click.option("--alpha", type=Real(min=0.0), default=0.0, help="L2 penalty on weights.")
@click.option("--clip-norm", type=Real(min=0.0, min_open=True), help="Limit of gradients' norms.")
@dtype_option
@click.option(
    "--standardize/--no-standardize",
    default=True,
    help="Scale every feature to mean 0, standard deviation 1.",
)
@click.option(
    "--held-out",
    type=Real(min=0.0, max=1.0, max_open=True),
    default=0.2,
    help="Fraction of the rows held out for the final test.",
)
@click.option(
    "--validation",
    type=Real(min=0.0, max=1.0, min_open=True, max_open=True),
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
    type=Whole(min=0),
    default=0,
    help="Seed for the initial weights, the shuffles and the built-in rows; held-out rows do not"
    " depend on it.",
)
@click.option(
    "--threads",
    type=COUNT,
    help="Default: chosen by the amount of work. On a cluster: of each task, 1 by default.",
)
@click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Have the workers of a Dask cluster read FILE and sum up the gradients; the results are"
    " the same. ADDRESS is that of its scheduler, such as tcp://host:8786, and"
    f" {LOCAL!r} starts a worker for each processor of this machine.",
)
@click.option(
    "--compare/--no-compare",
    default=True,
    help="Time the plain NumPy loop as well, where it trains the same (a neuron by sgd with a rate"
    " and all rows in memory at once) and the fit takes long enough to compare.",
)
@output_option("--save", "model_file", text="Write the model here.")
@output_option("--log", "log_file", text="Write the losses to a CSV as the epochs end.")
@output_option("--plot", "plot_file", text="Draw the losses: .png, .svg, .pdf (Matplotlib).")
@output_option(
    "--checkpoint", text="Save the state here periodically, and continue from it if it exists."
)
@click.option("--checkpoint-every", type=Real(min=0.0), default=30.0, metavar="SECONDS")
def train(
    file: Input | None,
    target: str | None,
    columns: tuple[str, ...],
    exclude: tuple[str, ...],
    weights: str | None,
    layout: dict[str, Any],
    held_out: float,
    compare: bool,
    model_file: Path | None,
    log_file: Path | None,
    plot_file: Path | None,
    **options: Any,
) -> None:
    """Open the rows, train on them, report."""
    settings = settings_of(options)
    outputs = [model_file, log_file, plot_file, settings.checkpoint]
    refuse_overwriting([path for path in outputs if path is not None], file.files if file else [])
    if plot_file is not None:
        plot.check_suffix(plot_file)
    chosen = target, columns, exclude, weights, layout
    if file is None and any(chosen):
        raise click.UsageError("the options of columns and of text go with FILE")
    if settings.cluster is not None and (file is None or file.path == STANDARD):
        raise click.UsageError("--cluster goes with FILE, which its workers read")
    with (
        one_line_errors(),
        connected(settings.cluster) as client,
        opened_table(file, client, *chosen) as table,
    ):
        source = _open(table, settings)
        parts = prepare(source, held_out, settings)
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
            n = parts.rows_trained_on(settings)
            title = f"{described(parts, settings)}: {n:,} rows x {len(source.names):,} features"
            plot.write_plot(plot_file, title, fit)
        print_report(fit, parts, settings, seconds, fit.n_epochs - before, compare)
    for what, path in (("model", model_file), ("losses", log_file), ("plot", plot_file)):
        if path is not None:
            echo(f"{what} written to {path}")
    if fit.stopped == "interrupted":
        _end_interrupted(fit, settings, model_file)


def _open(table: Table | None, settings: Settings) -> Source:
    """Open the file, or make the built-in rows."""
    if table is None:
        return built_in(settings.seed)
    if table.target is None and table.named:
        raise click.UsageError(reworded(f"--target: {table.expected_target()}"))
    source = open_source(table)
    refuse_text(source, settings.number_option)
    if table.target is None:
        echo(f"no --target: column {source.target}, the last one, is predicted", err=True)
    return source


def _check_classes(parts: Parts, settings: Settings) -> None:
    """Refuse labels that are not two classes or, with several outputs, a number of classes."""
    labels = parts.classes
    if labels is None:
        return
    name = f"{parts.source.rows.name}: column {parts.source.target!r}"
    two = settings.output(3)[0] == 1  # one output cannot tell three classes apart
    numbers = parts.source.classes is None
    network = "" if settings.hidden else " --hidden 16"
    if numbers and settings.classes is None and are_ambiguous(labels):
        n, way = f"{len(labels)}", f", --classes{network} takes each for a class"
        if len(labels) > MOST_CLASSES:
            n, way = f"more than {MOST_CLASSES}", ""
        raise ValueError(
            f"{name}: expected --number or --classes for {n} different numbers, got none"
            f" ({shown(labels)}); --number predicts them{way}"
        )
    hint = "for more classes give --hidden 16" if network and len(labels) > 2 else ""
    hint = f"--number predicts a number; {hint}".removesuffix("; ") if numbers else hint
    check_classes(name, labels, hint, two=two, fractions=bool(settings.classes))


def _fit(
    parts: Parts, settings: Settings, log: LossLog | None, model_file: Path | None
) -> tuple[Fit, float]:
    """Train; save what an error leaves of the fit before passing it on."""
    try:
        return fit_rows(parts.training, settings, len(parts.classes or ()), log)
    except DivergenceError as error:
        raise click.ClickException(
            f"the loss is no longer finite in epoch {error.epoch}: {_remedy(settings)}"
        ) from None
    except Exception as error:
        fit = getattr(error, "fit", None)
        if fit is not None and model_file is not None:
            text = f"model so far written to {model_file}"
            try:
                save(_model(fit, parts), model_file)
            except OSError as failed:
                text = f"model so far: {model_file}: {failed.strerror}"
            echo(text, err=True)
        raise
    finally:
        if log is not None:
            log.close()


def _model(fit: Fit, parts: Parts) -> TableModel:
    source = parts.source
    about = (source.names, source.target, parts.means, parts.scales)
    scaling = (parts.target_mean, parts.target_scale)
    return TableModel(fit, *about, parts.classes, source.positional, *scaling)


def _warn(fit: Fit, settings: Settings, before: int) -> None:
    """Warn of what may be unexpected; the checkpoint held `before` epochs."""
    if before:
        more = "; for more, raise --epochs" if before == fit.n_epochs == settings.epochs else ""
        if settings.schedule is not None and settings.schedule.name == "cosine":
            more = ""  # they would be another schedule
        echo(f"continued from {settings.checkpoint} after {before:,} epochs{more}", err=True)
    if fit.n_epochs and fit.losses[-1] > fit.losses[0]:
        echo(
            f"Warning: the loss rose from {fit.losses[0]:.6g} to {fit.losses[-1]:.6g}:"
            f" {_remedy(settings)}",
            err=True,
        )


def _remedy(settings: Settings) -> str:
    rate = settings.learning_rate
    remedies = [] if rate is None else [f"try a lower --learning-rate than {rate:g}"]
    if not settings.standardize:
        remedies.append("leave out --no-standardize")
    return ", or ".join(remedies) or "features or initial weights are too large"


def _end_interrupted(fit: Fit, settings: Settings, model_file: Path | None) -> None:
    """Say what an interrupt has left, and exit."""
    saved = f"model written to {model_file}" if model_file else "no model written (--save)"
    text = f"interrupted after {fit.n_epochs:,} epochs; {saved}"
    if settings.checkpoint is not None:
        text += f"; run the same command again to continue from {settings.checkpoint}"
    echo(text, err=True)
    sys.exit(EXIT_CODE)
