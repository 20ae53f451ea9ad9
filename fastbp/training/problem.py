"""What a model brings to training, how to train it, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.data.labels import Samples
from fastbp.data.order import Random
from fastbp.data.rows import Rows
from fastbp.training.optimizers import SGD, Optimizer
from fastbp.training.state import TrainingState

PLAIN = SGD()

Kernel = Callable[..., bool]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What training gave.

    Flat parameters, the losses of whole epochs, why it stopped, the losses on validation data, and
    what there is to go on from; of ``GradientOnly`` the gradient instead, flat like the parameters.
    """

    parameters: np.ndarray
    losses: np.ndarray
    stopped: str
    state: TrainingState | None
    gradient: np.ndarray | None = None
    validation_losses: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Problem:
    """A model and its data, checked.

    Attributes
    ----------
    kernel
        Runs a slice: see :func:`fastbp.kernels.neuron.neuron_steps`.
    samples
        N rows of features with their labels.
    parameters
        The start values, flat and in whole vectors; the first `n_weights` are weights.
    settings, table
        What else the kernel's integers hold of the model: by place, and the table of layers.
    tile_rows, chunk_rows, row_work, work_size
        Rows of a tile and of a chunk; the work of a row in units of about a third of a
        nanosecond; the float64 scratch of one thread.
    uses_blas
        Whether the kernel calls BLAS.
    named
        Gives the user's view of flat parameters: ``{"weights": ..., "bias": ...}``.
    result
        Makes what ``fit_*`` returns.
    """

    kernel: Kernel
    samples: Samples
    parameters: np.ndarray
    n_weights: int
    settings: dict[int, int]
    tile_rows: int
    chunk_rows: int
    row_work: int
    work_size: int
    named: Callable[[np.ndarray], dict[str, Any]]
    result: Callable[[Outcome], Any]
    table: tuple[int, ...] = ()
    uses_blas: bool = False

    @property
    def rows(self) -> Rows:
        """The rows of the samples."""
        return self.samples.rows


@dataclass(frozen=True, eq=False)
class Options:
    """How to train: the keywords of ``fit_*``, checked.

    With `pauses`, every slice ends with the epoch at the latest: something is to be done then.
    `draw` makes the order of an epoch where rows are shuffled freely. Only a `resumable` fit, which
    could be gone on with in mid-epoch, keeps the generator's state of each epoch (45 microseconds).
    """

    learning_rate: arguments.RateFunction | float
    epochs: int
    batch_rows: int
    optimizer: Optimizer = PLAIN
    shuffle: bool | str = False
    random: Random | None = None
    draw: Callable[[Random, int], np.ndarray] = lambda random, n_rows: random.permutation(n_rows)
    alpha: float = 0.0
    tol: float | None = None
    n_iter_no_change: int = 10
    n_threads: int | None = None
    callback: Callable[[Any], Any] | None = None
    progress: bool | str = False
    state: TrainingState | None = None
    resumable: bool = True
    pauses: bool = False
    returns_on_interrupt: bool = True
    raises_on_divergence: bool = True
