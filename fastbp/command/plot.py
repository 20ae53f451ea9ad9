"""The picture of a fit: its losses by epoch."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from fastbp.command.fit import best_epoch
from fastbp.models.fits import Fit
from fastbp.system import output

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE = "#2a6fbb", "#d9822b"
SINGLE_POINTS = 30  # a line of fewer epochs shows them as dots, too
DECADE = 10.0


def check_suffix(path: Path) -> None:
    """Refuse a plot without Matplotlib, or with a suffix that it cannot write."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        text = "--plot needs Matplotlib: pip install 'fastbp[plot]'"
        raise click.ClickException(text) from None
    known = sorted(Figure().canvas.get_supported_filetypes())
    if path.suffix.lower().lstrip(".") not in known:
        listed = ", ".join(f".{suffix}" for suffix in known)
        raise click.UsageError(f"--plot: {path}: expected a file that ends in {listed}")


def plot_losses(path: Path, title: str, fit: Fit, batches: bool) -> None:
    """Draw losses by the epochs that were complete when they were taken.

    A validation loss comes after its epoch; the lowest one is marked. A training loss comes before
    the only update of its epoch, or is the mean over all updates in batches: it is drawn an epoch
    or half an epoch earlier. The suffix of the file says what it is.
    """
    losses, validation = fit.losses, fit.validation_losses
    from matplotlib.figure import Figure  # not pyplot: no state, no window

    figure = Figure(figsize=(7.5, 4.5), dpi=150, layout="constrained")
    axes = figure.subplots()
    if batches:
        _line(axes, losses, 0.5, BLUE, "training (mean over an epoch)")
    else:
        _line(axes, losses, 0.0, BLUE, "training (before an epoch)")
    if validation is not None:
        _line(axes, validation, 1.0, ORANGE, "validation (after an epoch)")
    best = best_epoch(fit)
    if best is not None:
        label = f"lowest: {best[1]:.4g}, epoch {best[0]:,}"
        axes.plot(*best, "o", color=ORANGE, markersize=7, markerfacecolor="white", label=label)
    figure.legend(frameon=False, loc="outside lower left", ncols=3, fontsize=9)  # over no curve
    drawn = losses if validation is None else np.concatenate([losses, validation])
    _scale(axes, drawn[np.isfinite(drawn)])
    axes.set_title(title, loc="left", fontsize=11, wrap=True)
    axes.set_xlabel("epochs")
    axes.set_ylabel(f"loss ({fit.loss})")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    picture = io.BytesIO()  # not all formats can be written to a pipe
    figure.savefig(picture, format=path.suffix.lower().lstrip("."))
    with output.replacing(path) as file:
        file.write(picture.getvalue())


def _line(axes: Axes, values: np.ndarray, first: float, color: str, label: str) -> None:
    dots = "o" if len(values) <= SINGLE_POINTS else None
    epochs = np.arange(len(values)) + first
    axes.plot(epochs, values, color=color, label=label, linewidth=1.6, marker=dots, markersize=3.5)


def _scale(axes: Axes, values: np.ndarray) -> None:
    """Take a log scale for losses over more than a decade, and integers for epochs."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if values.size and values.min() > 0.0 and values.max() > DECADE * values.min():
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda epoch, _: f"{epoch:,.0f}"))
