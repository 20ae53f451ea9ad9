"""``fastbp predict``: a CSV of predictions."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from fastbp.arguments import FLOAT32
from fastbp.command.inputs import Input, input_argument, on_disk
from fastbp.command.options import (
    STANDARD,
    layout_options,
    one_line_errors,
    output_option,
    refuse_overwriting,
)
from fastbp.data.arrays import loaded_if_small
from fastbp.data.checks import listed
from fastbp.data.rows import Rows
from fastbp.data.sources.formats import has_names, is_known
from fastbp.data.sources.opening import open_rows
from fastbp.models.table_model import TableModel
from fastbp.storage import load
from fastbp.system import output
from fastbp.system.interrupts import raise_on_interrupt
from fastbp.system.progress import rows_bar

SINGLE_DIGITS = 8
"""Decimals of a standardized number in float32, whose rounding errors are about 1e-7."""

MOST_DECIMALS = 300  # beyond, a power of ten is infinite


@click.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@input_argument("file")
@layout_options
@output_option("--out", text="Write here instead of printing.")
def predict(model: Path, file: Input, layout: dict[str, Any], out: Path | None) -> None:
    """Predict the rows of FILE with MODEL, which `fastbp train --save` wrote; the output is CSV.

    FILE is of any kind that `fastbp train` takes, and may be larger than memory. A predicted class
    is followed by probabilities: of the second of two classes, or of each of several.
    """
    out = None if out == STANDARD else out
    if out is not None and is_known(out) and out.suffix.lower() != ".csv":
        raise click.BadParameter(
            f"expected a name that ends in .csv, got {out}", param_hint="'--out'"
        )
    refuse_overwriting([] if out is None else [out], [model, *file.files])
    with one_line_errors(), on_disk(file) as readable:
        loaded = load(model)
        if not isinstance(loaded, TableModel):
            raise click.ClickException(f"{model}: expected a model of the train command")
        rows = loaded_if_small(_columns_for(loaded, readable, layout))
        if rows.in_memory is not None:  # an error leaves nothing written
            rows.raise_if_not_finite(0, rows.in_memory.features)
        raise_on_interrupt()
        if out is None:
            if not sys.stdout.isatty():  # but a file, or another program
                sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
            _write_predictions(sys.stdout, loaded, rows)
            return
        with output.replacing(out) as written:
            stream = io.TextIOWrapper(written, encoding="utf-8", newline="")
            _write_predictions(stream, loaded, rows)
            stream.flush()


def _columns_for(model: TableModel, file: Input, layout: dict[str, Any]) -> Rows:
    """Open an input with the columns that the model needs, in their order."""
    rows = _opened(model, file, layout)
    if file.several:
        rows.name = str(file.path)  # instead of those of the files
    return rows


def _opened(model: TableModel, file: Input, layout: dict[str, Any]) -> Rows:
    if has_names(file.source, layout.get("header", True)):
        try:
            return open_rows(file.source, columns=model.columns, **layout)
        except ValueError as error:
            if not str(error).startswith("columns: "):
                raise
            found, _, names = str(error).rpartition(", got ")
            raise _lacking(found.removeprefix("columns: expected a column of "), names) from None
    rows = open_rows(file.source, **layout)
    if model.positional and rows.n_features == len(model.columns):
        return rows  # a matrix without the target
    known = [str(j) for j in range(rows.n_features)]
    if missing := [name for name in model.columns if name not in known]:
        raise _lacking(str(file.path), listed(missing))
    return open_rows(file.source, columns=[int(name) for name in model.columns], **layout)


def _lacking(source: str, names: str) -> ValueError:
    return ValueError(f"expected the columns of the model in {source}, got none named {names}")


def _write_predictions(stream: Any, model: TableModel, rows: Rows) -> None:
    """Write a line for each row, a block at a time."""
    writer = csv.writer(stream, lineterminator="\n")
    with rows_bar(rows.n_rows, "predicting") as bar:
        for i, outputs in enumerate(model.outputs_by_block(rows)):
            if i == 0:  # only now: an error in the first block leaves nothing written
                writer.writerow(_header(model, outputs))
            writer.writerows(_lines(model, outputs))
            bar.update(len(outputs))


def _header(model: TableModel, outputs: np.ndarray) -> list[str]:
    classes = model.classes or []
    named = classes[1:] if outputs.ndim == 1 else classes  # a single output is for the second one
    return [model.target, *(f"probability_of_{c}" for c in named)]


def _lines(model: TableModel, outputs: np.ndarray) -> Iterator[Any]:
    """Return what is written of each row; of float32 no more digits than it has."""
    single = model.dtype == FLOAT32
    if model.classes is None:
        if single:
            decimals = SINGLE_DIGITS - math.floor(math.log10(model.target_scale))
            outputs = outputs.round(min(decimals, MOST_DECIMALS))
        return ([number] for number in outputs.tolist())
    labels = model.labels(outputs).tolist()
    probabilities = outputs.reshape(len(outputs), -1)
    listed = (probabilities.astype(FLOAT32).astype(str) if single else probabilities).tolist()
    return ([label, *row] for label, row in zip(labels, listed, strict=True))
