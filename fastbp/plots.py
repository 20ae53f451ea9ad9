"""The picture of fits: their losses by epoch. Matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp import arguments
from fastbp.models.fits import Fit, best_epoch
from fastbp.models.table_model import TableModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE = "#2a6fbb", "#d9822b"
COLOURS = BLUE, ORANGE, "#3a9a5b", "#b0413e", "#7d5ba6", "#6b6b6b", "#c2185b", "#1b9e9e"
"""Of several fits, in turn."""
SINGLE_POINTS = 30  # a line of fewer epochs shows them as dots, too
DECADE = 10.0
MISSING = "needs Matplotlib: pip install 'fastbp[plot]'"


def plot_losses(fit: Any, *, title: str | None = None, axes: Axes | None = None) -> Axes:
    """Draw the losses of a fit, or of several, by epoch.

    Each is drawn where it was taken: a validation loss after its epoch; the training loss before
    the only update of its epoch or, as the mean over all updates in batches, half-way. The lowest
    validation loss is marked. Losses over more than a decade get a logarithmic scale.

    Parameters
    ----------
    fit : fit or estimator, or a dict or sequence of them
        What :func:`fit_neuron` and :func:`fit_network` return, models of the command, and
        estimators that have a `loss_curve_`, even scikit-learn's own. The keys of a dict are the
        names of several.
    title : str, optional
        By default one fit's layers, parameters and epochs.
    axes : matplotlib.axes.Axes, optional
        Where to draw. By default in a new figure of pyplot.

    Returns
    -------
    matplotlib.axes.Axes
        Its ``figure.savefig("losses.png")`` saves the picture.

    Raises
    ------
    ImportError
        Without Matplotlib, which the extra ``fastbp[plot]`` installs.
    TypeError
        If it is something else, or an estimator that has no losses by epoch.

    Examples
    --------
    >>> from fastbp import fit_neuron, plot_losses
    >>> fit = fit_neuron([[0.0], [1.0]], [0, 1], [0.0], 0.0, 1.0, 100)
    >>> axes = plot_losses(fit)  # doctest: +SKIP
    >>> axes = plot_losses({"slow": slow, "fast": fast}, title="two rates")  # doctest: +SKIP
    """
    curves = _all_curves(fit)
    if axes is not None:
        _draw(axes, curves)
        axes.legend(frameon=False, fontsize=9)
    else:
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError(f"plot_losses {MISSING}") from error
        axes = _drawn(pyplot.figure(**_look()), curves)
    title = _title(fit) if title is None else title
    if title:
        axes.set_title(title, loc="left", fontsize=11, wrap=True)
    return axes


def figure_of(fit: Fit, title: str) -> Figure:
    """Return the same picture without pyplot: it keeps no state, and opens no window."""
    from matplotlib.figure import Figure

    figure = Figure(dpi=150, **_look())
    _drawn(figure, _all_curves(fit)).set_title(title, loc="left", fontsize=11, wrap=True)
    return figure


def file_types() -> list[str]:
    """Return the suffixes of files that pictures can be saved to, without their dots."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"--plot {MISSING}") from error
    return sorted(Figure().canvas.get_supported_filetypes())


@dataclass(frozen=True, eq=False)
class Curves:
    """What is drawn of a fit.

    Attributes
    ----------
    name : str
        Of one of several; otherwise empty.
    losses, validation : numpy.ndarray
        By epoch; of validation there may be none.
    batches : bool
        Whether an epoch has several updates.
    kind : str
        The name of the loss, if known.
    """

    name: str
    losses: np.ndarray
    validation: np.ndarray | None
    batches: bool
    kind: str


def _all_curves(fits: Any) -> list[Curves]:
    if isinstance(fits, Mapping):
        several = [_curves(value, str(name)) for name, value in fits.items()]
    elif isinstance(fits, Sequence) and not isinstance(fits, str):
        several = [_curves(value, f"fit {i}") for i, value in enumerate(fits, 1)]
    else:
        return [_curves(fits, "")]
    if not several:
        raise ValueError("fit: expected at least one, got none")
    return several


def _curves(fit: Any, name: str) -> Curves:
    fit = _inside(fit)
    if isinstance(fit, Fit):
        rows, batch_rows, _ = (1, 1, False) if fit.state is None else fit.state.batching
        return Curves(name, fit.losses, fit.validation_losses, batch_rows < rows, fit.loss)
    losses = getattr(fit, "loss_curve_", None)
    if losses is None:
        where = f" for {name!r}" if name else ""
        raise TypeError(
            "fit: expected a fit, or an estimator that has learned in epochs and has a"
            f" loss_curve_, got {arguments.describe(fit)}{where}"
        )
    against = np.array(getattr(fit, "validation_loss_curve_", []), dtype=np.float64)
    batches = _has_batches(fit)
    kind = str(getattr(fit, "loss", ""))
    return Curves(
        name, np.array(losses, np.float64), against if against.size else None, batches, kind
    )


def _has_batches(estimator: Any) -> bool:
    """Return whether an epoch of an estimator's fit had several updates."""
    batch_rows = getattr(estimator, "batch_size", None)
    if batch_rows == "auto":
        from fastbp.estimators.mlp.stochastic import AUTO_BATCH  # scikit-learn's, which is there

        batch_rows = AUTO_BATCH
    seen, epochs = getattr(estimator, "t_", None), getattr(estimator, "n_iter_", 0)
    if batch_rows is None or not seen or not epochs:
        return batch_rows is not None
    return bool(batch_rows < seen / epochs)


def _inside(fit: Any) -> Any:
    """Return the fit of a model of the command, and everything else as it is."""
    return fit.fit if isinstance(fit, TableModel) else fit


def _title(fit: Any) -> str:
    """Return what one fit is."""
    fit = _inside(fit)
    if isinstance(fit, Mapping | Sequence):
        return ""
    return repr(fit) if isinstance(fit, Fit) else type(fit).__name__


def _look() -> dict[str, Any]:
    return {"figsize": (7.5, 4.5), "layout": "constrained"}


def _drawn(figure: Figure, curves: list[Curves]) -> Axes:
    """Draw in a figure of its own, whose legend stands over no curve."""
    axes = figure.subplots()
    _draw(axes, curves)
    validated = any(each.validation is not None for each in curves)
    columns = 2 if len(curves) > 1 and validated else 3
    figure.legend(frameon=False, loc="outside lower left", ncols=columns, fontsize=9)
    return axes


def _draw(axes: Axes, curves: list[Curves]) -> None:
    if len(curves) == 1:
        _draw_one(axes, curves[0])
    else:
        _draw_several(axes, curves)
    values = [a for each in curves for a in (each.losses, each.validation) if a is not None]
    drawn = np.concatenate(values)
    _scale(axes, drawn[np.isfinite(drawn)])
    kinds = {each.kind for each in curves} - {""}
    axes.set_xlabel("epochs")
    axes.locator_params(axis="x", integer=True)
    if max(each.losses.size for each in curves) < 2:
        axes.set_xlim(-0.5, 1.5)  # around the only epoch
    axes.set_ylabel(f"loss ({kinds.pop()})" if len(kinds) == 1 else "loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)


def _draw_one(axes: Axes, curves: Curves) -> None:
    """Draw one fit: training and validation in colours of their own."""
    if curves.batches:
        _line(axes, curves.losses, 0.5, BLUE, "training (mean over an epoch)")
    else:
        _line(axes, curves.losses, 0.0, BLUE, "training (before an epoch)")
    if curves.validation is not None:
        _line(axes, curves.validation, 1.0, ORANGE, "validation (after an epoch)")
    best = best_epoch(curves.validation)
    if best is not None:
        _mark(axes, best, ORANGE, f"lowest: {best[1]:.4g}, epoch {best[0]:,}")


def _draw_several(axes: Axes, several: list[Curves]) -> None:
    """Draw fits in colours of their own: training as lines, then validation as dashed ones."""
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(several))]
    for each, colour in zip(several, colours, strict=True):
        first = 0.5 if each.batches else 0.0
        _line(axes, each.losses, first, colour, f"{each.name}: training")
    for each, colour in zip(several, colours, strict=True):
        if each.validation is not None:
            best, label = best_epoch(each.validation), f"{each.name}: validation"
            if best is not None:
                label += f" (lowest {best[1]:.4g}, epoch {best[0]:,})"
                _mark(axes, best, colour, None)
            _line(axes, each.validation, 1.0, colour, label, "--")


def _mark(axes: Axes, place: tuple[int, float], colour: str, label: str | None) -> None:
    how: dict[str, Any] = {"markersize": 7, "markerfacecolor": "white", "zorder": 3}
    axes.plot(*place, "o", color=colour, label=label, **how)


def _line(
    axes: Axes, values: np.ndarray, first: float, colour: str, label: str, style: str = "-"
) -> None:
    how: dict[str, Any] = {"linewidth": 1.6, "linestyle": style, "markersize": 3.5}
    how["marker"] = "o" if len(values) <= SINGLE_POINTS else None
    axes.plot(np.arange(len(values)) + first, values, color=colour, label=label, **how)


def _scale(axes: Axes, values: np.ndarray) -> None:
    """Take a log scale for losses over more than a decade, and integers for epochs."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    if values.size and values.min() > 0.0 and values.max() > DECADE * values.min():
        axes.set_yscale("log")
        few = values.max() < DECADE**2 * values.min()
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda epoch, _: f"{epoch:,.0f}"))
