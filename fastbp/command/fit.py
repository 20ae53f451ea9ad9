"""The command's fit, and how good and how fast it is."""

from __future__ import annotations

import contextlib
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from fastbp.arguments import DTYPES, FLOAT64
from fastbp.command import plain_loop
from fastbp.command.loss_log import LossLog
from fastbp.command.settings import Settings
from fastbp.data.rows import Rows
from fastbp.errors import CheckpointError
from fastbp.models.fits import Fit
from fastbp.models.initialization import initialize_network
from fastbp.models.network import fit_network
from fastbp.models.neuron import fit_neuron
from fastbp.system import archive
from fastbp.warm_up import FunctionName, made_ready

PLAIN_SECONDS = 3.0  # after which the plain loop is cut short, and its time extrapolated


def fit_rows(
    rows: Rows, settings: Settings, n_classes: int, log: LossLog | None
) -> tuple[Fit, float]:
    """Train; return the fit, and the seconds it took once compiled."""
    activation: Any  # a name, known to be right
    n_outputs, activation, loss = settings.output(n_classes)
    keywords: dict[str, Any] = {
        "loss": loss,
        "optimizer": settings.optimizer,
        "batch_size": settings.batch_size,
        "shuffle": "window" if settings.shuffle else False,
        "random_state": settings.seed,
        "alpha": settings.alpha,
        "clip_norm": settings.clip_norm,
        "dtype": settings.dtype,
        "validation": settings.validation,
        "tol": None if settings.patience is None else 0.0,
        "n_iter_no_change": settings.patience or 1,
        "n_threads": settings.threads,
        "checkpoint": settings.checkpoint,
        "checkpoint_every": settings.checkpoint_every,
        "callback": log,
        "progress": True,
    }
    how = (settings.rates, settings.epochs)
    started = time.perf_counter()
    fit: Fit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # an interrupt is reported by the command
        warnings.filterwarnings("default", "workers with another processor", UserWarning)
        if settings.hidden:
            names: list[Any] = [settings.activation] * len(settings.hidden) + [activation]
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
    """Compile or load what this training needs, so that its time does not count."""
    needed: tuple[FunctionName, ...]
    if not settings.hidden:
        needed = "fit_neuron", "predict_neuron"
    elif settings.optimizer == "sgd":
        needed = "fit_network", "predict_network"
    else:  # all others have a single kernel of the three: it saves a third
        needed = "loss_and_gradient", "predict_network"
    if settings.optimizer == "lbfgs":
        import scipy.optimize  # noqa: F401
    made_ready(needed, True, DTYPES[settings.dtype], [FLOAT64])  # as rows are prepared


def epochs_in(checkpoint: Path | None) -> int:
    """Return how many completed epochs a checkpoint holds; 0 without one."""
    if checkpoint is None:
        return 0
    with contextlib.suppress(OSError, CheckpointError):  # the fit itself will say what is wrong
        _, (arrays, _) = archive.read(checkpoint)
        return len(arrays.get("losses", ()))
    return 0


def time_plain_loop(
    rows: Rows, settings: Settings, loss: str, epochs: int, seconds: float
) -> plain_loop.LoopTime | None:
    """Time the plain NumPy loop, if it computes the same as a fit that took so many seconds.

    A comparison with a shorter time would be chance. Ctrl-C leaves it out of the report.
    """
    if seconds < plain_loop.LEAST_SECONDS or rows.weighted:
        return None
    same = (
        not settings.hidden
        and settings.optimizer == "sgd"
        and not (settings.alpha or settings.clip_norm)
    )
    same = same and settings.validation is None and loss in plain_loop.LOSSES
    same = same and not callable(settings.rates)
    all_at_once = settings.batch_size is None or settings.batch_size >= rows.n_rows
    if rows.in_memory is None or not (same and all_at_once):
        return None
    block = rows.block(0, rows.n_rows)
    assert settings.learning_rate is not None
    assert block.labels is not None
    x, y = (a.astype(settings.dtype, copy=False) for a in (block.features, block.labels))
    how = (settings.learning_rate, epochs, settings.activation, loss)
    try:
        return plain_loop.seconds_of_loop(x, y[:, 0], *how, PLAIN_SECONDS)
    except KeyboardInterrupt:
        return None
