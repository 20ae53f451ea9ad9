"""A CSV of losses, written during training."""

from __future__ import annotations

import contextlib
import csv
import itertools
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from fastbp.models.fits import Fit
from fastbp.system import output
from fastbp.training.callbacks import EpochState

HEADER = ("epoch", "loss", "validation_loss", "seconds")
Line = tuple[str, ...]


class LossLog:
    """A CSV of losses: a line an epoch as it ends; at the end the whole file, if some are missing.

    Its seconds count from when it is made. It is written in place, for those who watch it.

    Parameters
    ----------
    path : Path
    continues : bool
        Whether the fit continues from a checkpoint: then the lines of its epochs are kept.
    """

    def __init__(self, path: Path, continues: bool) -> None:
        self._path = path
        self._can_be_read = not output.is_special(path)
        self._lines = _read(path) if continues and self._can_be_read else {}
        self._file: BinaryIO | None = None
        self._before = 0.0  # seconds of earlier runs
        self._started = time.perf_counter()

    def __call__(self, state: EpochState) -> None:
        """Write the line of an epoch."""
        with output.errors_named(self._path):
            file = self._file or self._begin(state.epoch)
            seconds = f"{self._before + time.perf_counter() - self._started:.3f}"
            line = _line(state.epoch + 1, state.loss, state.validation_loss, seconds)
            self._lines[state.epoch + 1] = line
            file.write(_text([line]))
            file.flush()

    def _begin(self, epochs: int) -> BinaryIO:
        """Open the file only now: a fit that cannot start leaves the old one as it is."""
        self._lines = {e: self._lines[e] for e in sorted(self._lines) if e <= epochs}
        self._before = float(self._seconds(epochs) or 0.0)
        self._file = output.in_place(self._path)
        self._file.write(_text([HEADER, *self._lines.values()]))
        return self._file

    def _seconds(self, epoch: int) -> str:
        return self._lines[epoch][3] if epoch in self._lines else ""

    def finish(self, fit: Fit) -> None:
        """Write all epochs of the fit, unless all their lines are there; close it before."""
        validation = fit.validation_losses
        against = itertools.repeat(None) if validation is None else validation
        pairs = zip(fit.losses, against, strict=False)
        lines = [_line(e, *pair, self._seconds(e)) for e, pair in enumerate(pairs, 1)]
        text = _text([HEADER, *lines])
        if self._can_be_read:
            complete = self._path.is_file() and self._path.read_bytes() == text
        else:
            complete = self._file is not None
        if not complete:
            with output.errors_named(self._path), output.in_place(self._path) as file:
                file.write(text)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _read(path: Path) -> dict[int, Line]:
    """Return the lines of an earlier run by epoch, as far as they are complete."""
    lines: dict[int, Line] = {}
    with contextlib.suppress(OSError, ValueError), path.open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            if len(row) == len(HEADER) and row[0].isdecimal():
                lines[int(row[0])] = tuple(row)
    return lines


def _line(epoch: int, loss: float, validation_loss: float | None, seconds: str) -> Line:
    losses = (loss, math.nan if validation_loss is None else validation_loss)
    return str(epoch), *("" if math.isnan(x) else repr(float(x)) for x in losses), seconds


def _text(lines: Iterable[Line]) -> bytes:
    return "".join(",".join(line) + "\n" for line in lines).encode()
