"""A CSV of losses, written during training."""

from __future__ import annotations

import contextlib
import csv
import itertools
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from fastbp.models.fits import Fit
from fastbp.system import archive
from fastbp.training.callbacks import EpochState

HEADER = ("epoch", "loss", "validation_loss", "seconds")
Line = tuple[str, ...]


class LossLog:
    """A CSV of losses: one line per epoch as it ends; at the end the whole file once more.

    Its seconds count from when it is made.

    Parameters
    ----------
    path : Path
    continues : bool
        Whether the fit continues from a checkpoint: then the lines of its epochs are kept.
    """

    def __init__(self, path: Path, continues: bool) -> None:
        self._path = path
        self._lines = _read(path) if continues else {}
        self._file: IO[str] | None = None
        self._before = 0.0  # seconds of earlier runs
        self._started = time.perf_counter()

    def __call__(self, state: EpochState) -> None:
        """Write the line of an epoch."""
        file = self._file or self._begin(state.epoch)
        seconds = f"{self._before + time.perf_counter() - self._started:.3f}"
        line = _line(state.epoch + 1, state.loss, state.validation_loss, seconds)
        self._lines[state.epoch + 1] = line
        file.write(_text([line]))
        file.flush()

    def _begin(self, epochs: int) -> IO[str]:
        """Open the file only now: a fit that cannot start leaves the old one as it is."""
        self._lines = {e: self._lines[e] for e in sorted(self._lines) if e <= epochs}
        self._before = float(self._seconds(epochs) or 0.0)
        self._file = self._path.open("w", newline="")
        self._file.write(_text([HEADER, *self._lines.values()]))
        return self._file

    def _seconds(self, epoch: int) -> str:
        return self._lines[epoch][3] if epoch in self._lines else ""

    def finish(self, fit: Fit) -> None:
        """Rewrite the file with all epochs, also those that it has lost; close the log first."""
        validation = fit.validation_losses
        against = itertools.repeat(None) if validation is None else validation
        pairs = zip(fit.losses, against, strict=False)
        lines = [_line(e, *pair, self._seconds(e)) for e, pair in enumerate(pairs, 1)]
        with archive.replacing(self._path) as file:
            file.write(_text([HEADER, *lines]).encode())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _read(path: Path) -> dict[int, Line]:
    """Return the lines of an earlier run by epoch, as far as they are complete."""
    lines: dict[int, Line] = {}
    with contextlib.suppress(OSError, ValueError), path.open(newline="") as file:
        for row in csv.reader(file):
            if len(row) == len(HEADER) and row[0].isdecimal():
                lines[int(row[0])] = tuple(row)
    return lines


def _line(epoch: int, loss: float, validation_loss: float | None, seconds: str) -> Line:
    losses = (loss, math.nan if validation_loss is None else validation_loss)
    return str(epoch), *("" if math.isnan(x) else repr(float(x)) for x in losses), seconds


def _text(lines: Iterable[Line]) -> str:
    return "".join(",".join(line) + "\n" for line in lines)
