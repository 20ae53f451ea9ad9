"""``fastbp synth``: a file of synthetic rows."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.filesize import decimal

from fastbp.command.options import Real, Whole, one_line_errors, output_option, parse_shape
from fastbp.command.report import print_grid
from fastbp.data.rows import Block, Rows, Wrapped
from fastbp.data.sources.writing import write_npy
from fastbp.datasets import DISTRIBUTIONS, Distribution, make_neuron_dataset
from fastbp.system import output
from fastbp.system.interrupts import raise_on_interrupt
from fastbp.system.progress import rows_bar


@click.command()
@click.argument("shape", callback=parse_shape, metavar="ROWSxFEATURES")
@output_option("--out", text="The .npy file to write; an old one is replaced.", required=True)
@click.option("--seed", type=Whole(min=0), default=0)
@click.option(
    "--noise",
    type=Real(min=0.0),
    default=1.0,
    help="Standard deviation of the noise added before the label is decided; 3 is as large as the"
    " signal.",
)
@click.option("--distribution", type=click.Choice(list(DISTRIBUTIONS)), default="normal")
def synth(
    shape: tuple[int, int], out: Path, seed: int, noise: float, distribution: Distribution
) -> None:
    """Write a file of synthetic rows, even larger than memory.

    1000000x20 is a million rows of 20 features. The column after them is the target: 0 or 1, as
    decided by a neuron with random weights.
    """
    if out.suffix != ".npy":
        raise click.UsageError(f"--out: expected a name that ends in .npy, got {out}")
    n_rows, n_features = shape
    size, kept = 8 * n_rows * (n_features + 1), not output.is_special(out)
    free = shutil.disk_usage(out.resolve().parent).free
    if kept and size > free:
        raise click.ClickException(
            f"{out}: expected {decimal(size)} of free disk space, got {decimal(free)}"
        )
    raise_on_interrupt()
    with one_line_errors(), rows_bar(n_rows, "writing") as bar:
        rows, _, _, _ = make_neuron_dataset(
            n_rows, n_features, noise=noise, seed=seed, distribution=distribution, virtual=True
        )
        write_npy(Counted(rows, bar), out)
    lines = [
        ("rows x features", f"{n_rows:,} x {n_features:,}"),
        ("target", f"0 or 1, in the last column, {n_features}"),
        ("file", f"{out}, {decimal(out.stat().st_size if kept else size)}"),
    ]
    if kept:
        lines.append(("train on it", f"fastbp train {out}"))
    print_grid(lines, "bold", "none")


class Counted(Wrapped):
    """Rows that move a bar as they are computed, by any number of threads."""

    def __init__(self, rows: Rows, bar: Any) -> None:
        super().__init__(rows)
        self._bar, self._lock = bar, threading.Lock()

    def _complete(self, rows: slice | np.ndarray, inside: Block, block: Block) -> None:
        with self._lock:
            self._bar.update(len(block.features))
