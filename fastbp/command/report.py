"""What the command prints when it is done."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table as Grid

from fastbp.command import plain_loop
from fastbp.command.fit import best_epoch
from fastbp.data.rows import Rows
from fastbp.models.fits import Fit

Lines = list[tuple[str, str, str]]

STOPPED = {"tol": ", stopped early", "interrupted": ", interrupted"}


def training_lines(
    fit: Fit, about: Lines, rows: int, n_features: int, validated: int, held_out: Rows | None
) -> Lines:
    """Return what was trained, on how many rows, and what became of the loss."""
    rest = f"{0 if held_out is None else held_out.n_rows:,} rows held out"
    rest += f", {validated:,} for validation" if validated else ""
    lines = [("rows x features", f"{rows:,} x {n_features:,}", rest), *about]
    if fit.n_epochs == 0:
        return lines
    losses = f"{fit.losses[0]:.6g} -> {fit.losses[-1]:.6g}"
    how = f"{fit.loss}, {fit.n_epochs:,} epochs{STOPPED.get(fit.stopped, '')}"
    lines.append(("loss", losses, how))
    best = best_epoch(fit)
    if best is not None and fit.validation_losses is not None:
        least = f"{fit.validation_losses[best - 1]:.6g}"
        lines.append(("validation loss", least, f"the least, in epoch {best:,}"))
    return lines


def time_lines(
    seconds: float, n_rows: int, epochs: int, compared: plain_loop.LoopTime | None
) -> Lines:
    """Return how long these epochs took, and the plain loop."""
    lines = [
        ("seconds", f"{seconds:.3g}", ""),
        ("rows per second", f"{n_rows * epochs / seconds:,.0f}", ""),
    ]
    if compared is not None:
        ratio = f"{compared.seconds / seconds:.1f} times as long"
        measured = "" if compared.complete else f" (from {compared.epochs} epochs)"
        lines.append(("seconds, plain NumPy", f"{compared.seconds:.3g}", f"{ratio}{measured}"))
    return lines


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
        click.echo(line.rstrip())
