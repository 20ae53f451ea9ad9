"""The file of the picture that ``--plot`` asks for; the picture is drawn in ``plots.py``."""

from __future__ import annotations

import io
from pathlib import Path

import click

from fastbp import plots
from fastbp.models.fits import Fit
from fastbp.system import output


def check_suffix(path: Path) -> None:
    """Refuse a plot without Matplotlib, or with a suffix that it cannot write."""
    try:
        known = plots.file_types()
    except ImportError as error:
        raise click.ClickException(str(error)) from None
    if path.suffix.lower().lstrip(".") not in known:
        listed = ", ".join(f".{suffix}" for suffix in known)
        raise click.UsageError(f"--plot: {path}: expected a file that ends in {listed}")


def write_plot(path: Path, title: str, fit: Fit) -> None:
    """Draw the losses of a fit into a file, whose suffix says what it is."""
    picture = io.BytesIO()  # not all formats can be written to a pipe
    plots.figure_of(fit, title).savefig(picture, format=path.suffix.lower().lstrip("."))
    with output.replacing(path) as file:
        file.write(picture.getvalue())
