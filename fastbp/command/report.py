"""What the command prints when it is done."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as Grid

from fastbp.command.data import Parts
from fastbp.command.figures import held_out_figures
from fastbp.command.fit import time_plain_loop
from fastbp.command.options import echo
from fastbp.command.settings import Settings
from fastbp.models.fits import Fit, best_epoch

STOPPED = {"tol": ", stopped early", "interrupted": ", interrupted"}


def print_report(
    fit: Fit, parts: Parts, settings: Settings, seconds: float, epochs: int, compare: bool
) -> None:
    """Print the table of a finished training; `epochs` and `seconds` are those of this run."""
    training, held_out, interrupted = parts.training, parts.held_out, fit.stopped == "interrupted"
    rows = parts.rows_trained_on(settings)
    validated = training.n_rows - rows
    n = 0 if held_out is None else held_out.n_rows
    rest = f"{n:,} row{'s' if n != 1 else ''} held out"
    rest += f", {validated:,} for validation" if validated else ""
    kind = "a number" if parts.classes is None else f"{len(parts.classes)} classes"
    kind += ", standardized for training" if settings.scales_target else ""
    lines = [
        ("rows x features", f"{rows:,} x {training.n_features:,}", rest),
        ("target", parts.source.target, kind),
        ("model", described(parts, settings), ""),
    ]
    if fit.n_epochs:
        converged = fit.stopped == "tol" and settings.patience is None  # only L-BFGS can
        stopped = ", converged" if converged else STOPPED.get(fit.stopped, "")
        how = f"{fit.loss}, {fit.n_epochs:,} epochs{stopped}"
        lines.append(("loss", f"{fit.losses[0]:.6g} -> {fit.losses[-1]:.6g}", how))
    best = best_epoch(fit.validation_losses)
    if best is not None:
        epoch, lowest = best
        kept, which = lowest, f"lowest, in epoch {epoch:,}"
        if settings.patience is None and epoch < fit.n_epochs:  # the last parameters are kept
            assert fit.validation_losses is not None
            kept, which = fit.validation_losses[-1], f"last; lowest {lowest:.6g} in epoch {epoch:,}"
        lines.append(("validation loss", f"{kept:.6g}", which))
    # Whoever pressed Ctrl-C does not want to wait for another pass over a large file.
    if held_out is not None and not (interrupted and held_out.in_memory is None):
        lines += held_out_figures(fit, parts)
    if epochs:
        lines.append(("seconds", f"{seconds:.3g}", ""))
        lines.append(("rows per second", f"{rows * epochs / seconds:,.0f}", ""))
    if epochs and compare and not interrupted:
        plain = time_plain_loop(training, settings, fit.loss, epochs, seconds)
        if plain is not None:
            ratio = f"{plain.seconds / seconds:.1f} times as long"
            measured = "" if plain.complete else f" (from {plain.epochs} epochs)"
            lines.append(("seconds, plain NumPy", f"{plain.seconds:.3g}", ratio + measured))
    print_grid(lines, "bold", "", "dim")


def described(parts: Parts, settings: Settings) -> str:
    """Return a line on the model, such as ``20-64-32-1, relu and sigmoid``."""
    n_outputs, activation, _ = settings.output(len(parts.classes or ()))
    if not settings.hidden:
        return f"neuron, {activation}"
    sizes = "-".join(map(str, (parts.training.n_features, *settings.hidden, n_outputs)))
    return f"{sizes}, {' and '.join(dict.fromkeys((settings.activation, activation)))}"


def print_grid(rows: Sequence[tuple[str, ...]], *styles: str) -> None:
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
        echo(line.rstrip())
