"""A CSV of losses, written as training goes on."""

from __future__ import annotations

import contextlib
import csv
import math
import time
from pathlib import Path
from typing import IO

from fastbp.models.fits import Fit
from fastbp.system import archive
from fastbp.training.callbacks import EpochState


class LossLog:
    """A CSV of losses: a line an epoch as it ends; at the end the whole file once more.

    Parameters
    ----------
    path : Path
    goes_on : bool
        Whether the fit goes on from a checkpoint: then the lines of its epochs are kept.
    """

    HEADER = ("epoch", "loss", "validation_loss", "seconds")

    def __init__(self, path: Path, goes_on: bool) -> None:
        self._path = path
        self._lines = self._earlier() if goes_on else {}
        self._file: IO[str] | None = None
        self._before = 0.0  # seconds of earlier runs
        self._started = 0.0

    def start(self) -> None:
        """Take the time from now on."""
        self._started = time.perf_counter()

    def _earlier(self) -> dict[int, tuple[str, ...]]:
        """Return the lines of an earlier run by epoch, as far as they are in order."""
        lines: dict[int, tuple[str, ...]] = {}
        with contextlib.suppress(OSError, ValueError), self._path.open(newline="") as file:
            rows = csv.reader(file)
            next(rows, None)
            for row in rows:
                lines[int(row[0])] = tuple(row)
        return {e: line for e, line in lines.items() if len(line) == len(self.HEADER)}

    def __call__(self, state: EpochState) -> None:
        """Write the line of an epoch."""
        if self._file is None:
            self._begin(state.epoch)
        assert self._file is not None
        seconds = f"{self._before + time.perf_counter() - self._started:.3f}"
        line = self._line(state.epoch + 1, state.loss, state.validation_loss, seconds)
        self._lines[state.epoch + 1] = line
        self._file.write(",".join(line) + "\n")
        self._file.flush()

    def _begin(self, epochs: int) -> None:
        """Open the file only now: a fit that cannot start leaves the old one as it is."""
        self._lines = {e: line for e, line in self._lines.items() if e <= epochs}
        before = self._lines.get(epochs, ("", "", "", ""))[3]
        self._before = float(before) if before else 0.0
        self._file = self._path.open("w", newline="")
        self._file.writelines(",".join(line) + "\n" for line in [self.HEADER, *self._ordered()])

    def _ordered(self) -> list[tuple[str, ...]]:
        return [self._lines[epoch] for epoch in sorted(self._lines)]

    def _line(
        self, epoch: int, loss: float, validation_loss: float | None, seconds: str
    ) -> tuple[str, ...]:
        blank = validation_loss is None or math.isnan(validation_loss)
        return str(epoch), repr(float(loss)), "" if blank else repr(validation_loss), seconds

    def finish(self, fit: Fit) -> None:
        """Write all epochs that the fit holds, also those whose lines were lost."""
        self.close()
        validation = fit.validation_losses
        against = [None] * fit.n_epochs if validation is None else validation.tolist()
        lines: list[tuple[str, ...]] = [self.HEADER]
        for epoch, (loss, other) in enumerate(zip(fit.losses.tolist(), against, strict=True), 1):
            seconds = self._lines.get(epoch, ("", "", "", ""))[3]
            lines.append(self._line(epoch, loss, other, seconds))
        with archive.replacing(self._path) as file:
            file.write("".join(",".join(line) + "\n" for line in lines).encode())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
