"""What the command does between reading and reporting: start values, the fit, the log of losses."""

from __future__ import annotations

import contextlib
import csv
import math
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from fastbp import archive, plain
from fastbp.errors import CheckpointError
from fastbp.network import NetworkFit, fit_network, initialize_network
from fastbp.neuron import NeuronFit, fit_neuron
from fastbp.readiness import warmup
from fastbp.rows import Rows
from fastbp.tables import class_numbers_of, outputs_of
from fastbp.training import EpochState

Fit = NeuronFit | NetworkFit

NUMBER_LOSSES = ("mse", "half_mse")
NETWORK_BATCH = 32  # as Keras has it; 100 epochs of larger ones are too few for some hundred rows
PLAIN_SECONDS = 3.0  # after so long the plain loop is not run to its end, but extrapolated


@dataclass(frozen=True)
class Settings:
    """What is to be trained and how: the options of the command, with their defaults filled in.

    Attributes
    ----------
    hidden : tuple of int
        Sizes of hidden layers; none for a neuron.
    activation : str
        That of the neuron or of the hidden layers.
    loss : str or None
        None follows from the target.
    """

    hidden: tuple[int, ...]
    activation: str
    loss: str | None
    optimizer: str
    learning_rate: float
    epochs: int
    batch_size: int | None
    shuffle: bool
    seed: int
    alpha: float
    validation: float | None
    patience: int | None
    threads: int | None
    checkpoint: Path | None
    checkpoint_every: float

    @property
    def predicts_classes(self) -> bool:
        """Whether the target is classes: of a neuron with sigmoid, of a network by the loss."""
        if self.hidden:
            return self.loss not in NUMBER_LOSSES
        return self.activation == "sigmoid"

    @property
    def number_option(self) -> str | None:
        """The option by which the target is a number, if it is one."""
        if self.predicts_classes:
            return None
        return f"--loss {self.loss}" if self.hidden else f"--activation {self.activation}"

    @property
    def two_classes(self) -> bool:
        """Whether only two classes will do."""
        return not self.hidden or self.loss == "bce"

    def output(self, n_classes: int) -> tuple[int, str, str]:
        """Return the number of outputs, their activation and the loss; 0 classes for a number."""
        if not self.hidden:
            usual = "bce" if self.activation == "sigmoid" else "mse"
            return 1, self.activation, self.loss or usual
        if n_classes == 0:
            return 1, "identity", self.loss or "mse"
        if n_classes == 2 and self.loss != "cross_entropy":
            return 1, "sigmoid", "bce"
        return n_classes, "softmax", "cross_entropy"

    def described(self, n_features: int, n_classes: int) -> str:
        """Return a line on the model, such as ``20-64-32-1, relu and sigmoid``."""
        n_outputs, activation, _ = self.output(n_classes)
        sizes = "-".join(map(str, (n_features, *self.hidden, n_outputs)))
        if not self.hidden:
            return f"neuron, {activation}"
        both = dict.fromkeys((self.activation, activation))
        return f"{sizes}, {' and '.join(both)}"


def fit_rows(
    rows: Rows, settings: Settings, n_classes: int, log: LossLog | None
) -> tuple[Fit, float]:
    """Train; return the fit, and the seconds it took once compiled."""
    n_outputs, activation, loss = settings.output(n_classes)
    keywords: dict[str, Any] = {
        "loss": loss,
        "optimizer": settings.optimizer,
        "batch_size": settings.batch_size,
        "shuffle": "window" if settings.shuffle else False,
        "random_state": settings.seed,
        "alpha": settings.alpha,
        "validation": settings.validation,
        "tol": None if settings.patience is None else 0.0,
        "n_iter_no_change": settings.patience or 1,
        "n_threads": settings.threads,
        "checkpoint": settings.checkpoint,
        "checkpoint_every": settings.checkpoint_every,
        "callback": log,
        "progress": True,
    }
    how = (settings.learning_rate, settings.epochs)
    started = time.perf_counter()
    if log is not None:
        log.start()
    fit: Fit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an interrupt is reported by the command
        if settings.hidden:
            names = [settings.activation] * len(settings.hidden) + [activation]
            start = initialize_network(
                (rows.n_features, *settings.hidden, n_outputs),
                activations=names,
                scheme="he_normal" if settings.activation == "relu" else "glorot_uniform",
                random_state=settings.seed,
            )
            fit = fit_network(rows, None, *start, *how, activations=names, **keywords)
        else:
            zeros = np.zeros(rows.n_features)
            fit = fit_neuron(rows, None, zeros, 0.0, *how, activation=activation, **keywords)
    return fit, time.perf_counter() - started


def get_ready(settings: Settings) -> None:
    """Compile or load what this training needs: it is not training."""
    import tqdm.auto  # noqa: F401

    if not settings.hidden:
        needed = "fit_neuron", "predict_neuron"
    elif settings.optimizer == "adam":  # a single kernel of the three: it saves a third
        needed = "loss_and_gradient", "predict_network"
    else:
        needed = "fit_network", "predict_network"
    warmup(*needed, progress=True)


def epochs_in(checkpoint: Path | None) -> int:
    """Return how many whole epochs a checkpoint holds; 0 without one."""
    if checkpoint is None:
        return 0
    with contextlib.suppress(OSError, CheckpointError):  # the fit itself will say what is wrong
        _, (arrays, _) = archive.read(checkpoint)
        return len(arrays.get("losses", ()))
    return 0


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
        temporary = self._path.with_name(f".{self._path.name}.part")
        with temporary.open("w", newline="") as file:
            file.write(",".join(self.HEADER) + "\n")
            pairs = zip(fit.losses.tolist(), against, strict=True)
            for epoch, (loss, other) in enumerate(pairs, 1):
                seconds = self._lines.get(epoch, ("", "", "", ""))[3]
                file.write(",".join(self._line(epoch, loss, other, seconds)) + "\n")
        temporary.replace(self._path)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def held_out_figure(fit: Fit, rows: Rows, classes: bool) -> tuple[str, str]:
    """Return what the fit is worth on rows that it has not seen: a name and a number."""
    total = 0.0
    for _, block in rows.blocks():
        assert block.labels is not None
        outputs, labels = outputs_of(fit, block.features), block.labels[:, 0]
        hits = class_numbers_of(outputs) == labels if classes else (outputs - labels) ** 2
        total += float(hits.sum())
    if classes:
        return "accuracy", f"{total / rows.n_rows:.2%}"
    return "root mean square error", f"{math.sqrt(total / rows.n_rows):.6g}"


def plain_loop(rows: Rows, settings: Settings, loss: str, epochs: int) -> plain.LoopTime | None:
    """Time the plain NumPy loop, where it does the same; Ctrl-C leaves it out of the report."""
    all_at_once = settings.batch_size is None or settings.batch_size >= rows.n_rows
    same = not settings.hidden and settings.optimizer == "sgd" and settings.alpha == 0.0
    if rows.resident is None or not (same and all_at_once) or settings.validation is not None:
        return None
    x, y = rows.resident.features, rows.resident.labels
    assert y is not None
    how = (settings.learning_rate, epochs, settings.activation, loss)
    try:
        start = np.zeros(rows.n_features)
        return plain.seconds_of_loop(x, y[:, 0], start, 0.0, *how, PLAIN_SECONDS)
    except KeyboardInterrupt:
        return None


def best_epoch(fit: Fit) -> int | None:
    """Return the epoch of the least validation loss, counted from 1, if there is any."""
    validation = fit.validation_losses
    if validation is None or not np.isfinite(validation).any():
        return None
    return int(np.nanargmin(validation)) + 1
