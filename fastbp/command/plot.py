"""The picture of a fit: its losses by epoch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastbp.command.fit import best_epoch
from fastbp.models.fits import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#2a6fbb", "#d9822b", "#666666"
SINGLE_POINTS = 30  # a line of fewer epochs shows them as dots, too
DECADE = 10.0


def check_suffix(path: Path) -> None:
    """Raise ImportError without Matplotlib, ValueError for a suffix that it cannot write."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("--plot needs Matplotlib: pip install 'fastbp[plot]'") from None
    known = sorted(Figure().canvas.get_supported_filetypes())
    if path.suffix.lower().lstrip(".") not in known:
        listed = ", ".join(f".{suffix}" for suffix in known)
        raise ValueError(f"{path}: expected a file that ends in {listed}")


def plot_losses(path: Path, title: str, fit: Fit) -> None:
    """Draw losses by epoch, counted from 1; the suffix of the file says what it is.

    The lowest validation loss is marked.
    """
    losses, validation = fit.losses, fit.validation_losses
    from matplotlib.figure import Figure  # not pyplot: no state, no window

    figure = Figure(figsize=(7.5, 4.5), dpi=150, layout="constrained")
    axes = figure.subplots()
    _line(axes, losses, BLUE, "training")
    if validation is not None:
        _line(axes, validation, ORANGE, "validation")
        _mark_lowest(axes, fit)
        axes.legend(frameon=False, loc="upper right")
    drawn = losses if validation is None else np.concatenate([losses, validation])
    _scale(axes, drawn[np.isfinite(drawn)])
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"loss ({fit.loss})")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    figure.savefig(path)


def _line(axes: Axes, values: np.ndarray, color: str, label: str) -> None:
    dots = "o" if len(values) <= SINGLE_POINTS else None
    epochs = np.arange(1, len(values) + 1)
    axes.plot(epochs, values, color=color, label=label, linewidth=1.6, marker=dots, markersize=3.5)


def _mark_lowest(axes: Axes, fit: Fit) -> None:
    best = best_epoch(fit)
    if best is None:
        return
    epoch, lowest = best
    axes.plot(epoch, lowest, "o", color=ORANGE, markersize=7, markerfacecolor="white")
    late = epoch - 1 > fit.n_epochs / 2
    axes.annotate(
        f"lowest: {lowest:.4g} in epoch {epoch:,}",
        best,
        xytext=(-6 if late else 6, 10),
        textcoords="offset points",
        ha="right" if late else "left",
        color=GREY,
        fontsize=9,
    )


def _scale(axes: Axes, values: np.ndarray) -> None:
    """Take a log scale for losses over more than a decade, and integers for epochs."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if values.size and values.min() > 0.0 and values.max() > DECADE * values.min():
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda epoch, _: f"{epoch:,.0f}"))
