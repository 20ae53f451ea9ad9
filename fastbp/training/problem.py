"""What a model brings to training, how to train it, and what comes of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from fastbp import arguments
from fastbp.data.labels import Samples, Targets, check_weights
from fastbp.data.order import Random
from fastbp.data.rows import Rows
from fastbp.kernels.plan import group_chunks
from fastbp.training.optimizers import LBFGS, SGD, Optimizer, Rule, optimizer_of
from fastbp.training.state import TrainingState

PLAIN = SGD()
# What an epoch takes besides its rows: 0.2 microseconds, or up to 60 where it is a slice of its
# own, draws an order, or is told to a callback.
EPOCH_WORK, SLICE_WORK = 500, 180_000
BRIEF_WORK = 2**23  # units of work, about 3 ms: Ctrl-C can wait for the end
FitType = TypeVar("FitType")
Kernel = Callable[..., bool]
Moments = tuple[np.ndarray, tuple[float, float]]
"""What an optimizer keeps: see :class:`~fastbp.training.state.TrainingState`."""


@dataclass(eq=False)  # frozen, it and the next two would take five times as long to make
class Outcome:
    """What training gave.

    The flat parameters, the losses of the completed epochs, why it stopped, what another fit needs
    to continue it, the losses on validation data, and the names of the features.
    """

    parameters: np.ndarray
    losses: np.ndarray
    stopped: str
    state: TrainingState
    validation_losses: np.ndarray | None
    feature_names: list[str] | None


class Model(ABC, Generic[FitType]):
    """A model to be trained, its arguments checked, before it meets its rows.

    Attributes
    ----------
    targets : Targets
        What its labels must be.
    """

    targets: Targets

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return what distinguishes it from other models, for the fingerprint of a checkpoint."""

    @abstractmethod
    def problem(self, samples: Samples, options: Options) -> Problem:
        """Return the problem of training it on these samples."""

    @abstractmethod
    def named(self, parameters: np.ndarray) -> dict[str, Any]:
        """Return the user's view of flat parameters: ``{"weights": ..., "bias": ...}``."""

    @abstractmethod
    def result(self, outcome: Outcome) -> FitType:
        """Return what ``fit_*`` returns."""


@dataclass(eq=False)
class Problem:
    """A model and its data, checked.

    Attributes
    ----------
    kernel
        Runs a slice: see :func:`fastbp.kernels.neuron.neuron_steps`.
    shared_kernel
        Runs it on several threads that share each batch; None: each takes chunks of it.
    samples, rows, options
        N rows of features with their labels, and how to train on them.
    parameters
        The initial values, flat and in whole vectors; the first `n_weights` are weights. Their
        dtype, float64 or float32, is that of the arithmetic.
    settings, table
        What else the kernel's integers hold of the model: by index, and the table of layers.
    tile_rows, chunk_rows, group_chunks, row_work, epoch_work, work_size
        Rows of a tile and of a chunk, chunks of a group; the work of a row, and of an epoch with
        its updates, in units of about a third of a nanosecond; the numbers of scratch of a tile.
    named
        The method of :class:`Model`.
    """

    kernel: Kernel
    samples: Samples
    options: Options
    parameters: np.ndarray
    n_weights: int
    settings: dict[int, int]
    tile_rows: int
    chunk_rows: int
    row_work: int
    work_size: int
    named: Callable[[np.ndarray], dict[str, Any]]
    table: tuple[int, ...] = ()
    shared_kernel: Kernel | None = None

    def __post_init__(self) -> None:
        self.rows: Rows = self.samples.rows
        options, n_rows, batch_rows = self.options, self.rows.n_rows, self.options.batch_rows
        busy = options.shuffle or options.pauses or options.callback is not None
        by_itself = SLICE_WORK if busy else EPOCH_WORK
        updates = n_rows // batch_rows * self.parameters.size
        self.epoch_work = n_rows * self.row_work + updates + by_itself
        self.group_chunks = group_chunks(self.parameters.size, self.row_work, self.chunk_rows)

    @property
    def group_rows(self) -> int:
        """Rows of a group."""
        return self.group_chunks * self.chunk_rows

    @property
    def brief(self) -> bool:
        """Whether training is sure to take a few milliseconds at most, on one thread."""
        options = self.options
        if type(options.optimizer) is LBFGS:  # nobody knows how many passes
            return False
        if options.calls_back or options.progress or callable(options.learning_rate):
            return False
        if self.rows.in_memory is None or options.n_threads not in (None, 1):
            return False
        return options.epochs * self.epoch_work <= BRIEF_WORK


@dataclass(eq=False)
class Options:
    """How to train: the keywords of ``fit_*``, checked.

    With `pauses`, every slice ends with its epoch at the latest, because validation runs there or a
    callback that sees the parameters or may stop the fit; `calls_back` says that the callback may
    take its time. `draw` makes the order of an epoch with ``shuffle=True``. Only a `resumable` fit,
    which may be continued in the middle of an epoch, keeps the generator's state from before the
    order of each (45 microseconds), and a checksum at the end. `moments` are those to begin with;
    None are zeros. With `tol_suffices`, as in scikit-learn, a loss that falls by no more than
    `tol`, or not at all if that is 0, has improved.
    """

    learning_rate: arguments.RateFunction | float
    epochs: int
    batch_rows: int
    optimizer: Rule = PLAIN
    shuffle: bool | str = False
    random: Random | None = None
    draw: Callable[[Random, int], np.ndarray] = lambda random, n_rows: random.permutation(n_rows)
    alpha: float = 0.0
    clip_norm: float | None = None
    tol: float | None = None
    n_iter_no_change: int = 10
    tol_suffices: bool = False
    n_threads: int | None = None
    callback: Callable[[Any], Any] | None = None
    calls_back: bool = False
    progress: bool | str = False
    state: TrainingState | None = None
    moments: Moments | None = None
    resumable: bool = True
    pauses: bool = False
    returns_on_interrupt: bool = True


def checked_options(rows: Rows, given: dict[str, Any], pauses: bool) -> Options:
    """Check the arguments that all ``fit_*`` share; `given` may hold others."""
    state, random_state, tol = given["state"], given["random_state"], given["tol"]
    batch_rows = rows.n_rows
    if given["batch_size"] is not None:
        size = arguments.integer("batch_size", given["batch_size"], minimum=1)
        batch_rows = min(rows.n_rows, size)
    how = _checked_shuffle(given["shuffle"], rows)
    if how and rows.cluster is not None:
        raise ValueError(
            f"shuffle: expected False on a cluster, whose rows stay where they are, got {how!r}"
        )
    rule = optimizer_of(given["optimizer"])
    rate = _checked_rate(given["learning_rate"], rule)
    if type(rule) is LBFGS:
        _refuse_batches(given)
    if state is not None:
        _check_state(state, rule)
    random = None
    if how or random_state is not None:  # making a generator takes 10 microseconds
        random = arguments.random_generator("random_state", random_state)
    check_weights("sample_weight", rows)
    threads = given["n_threads"]
    if threads is not None:
        threads = arguments.integer("n_threads", threads, minimum=1)
    patience = given["n_iter_no_change"]
    return Options(
        learning_rate=rate,
        epochs=arguments.integer("epochs", given["epochs"], minimum=0),
        batch_rows=batch_rows,
        optimizer=rule,
        shuffle=how,
        random=random,
        alpha=arguments.real("alpha", given["alpha"], minimum=0.0),
        clip_norm=_checked_norm(given["clip_norm"]),
        tol=None if tol is None else arguments.real("tol", tol, minimum=0.0),
        n_iter_no_change=arguments.integer("n_iter_no_change", patience, minimum=1),
        n_threads=threads,
        callback=arguments.optional_callable("callback", given["callback"]),
        calls_back=given["callback"] is not None,
        progress=arguments.progress("progress", given["progress"]),
        state=state,
        pauses=pauses or given["callback"] is not None,
    )


def _checked_norm(value: Any) -> float | None:
    if value is None:
        return None
    norm = arguments.real("clip_norm", value)
    if norm <= 0.0:
        raise ValueError(f"clip_norm: expected a number above 0, got {norm}")
    return norm


def _checked_rate(rate: Any, rule: Optimizer) -> arguments.RateFunction | float:
    """Return the rate; for L-BFGS a number that nothing reads."""
    if type(rule) is LBFGS:
        if rate is not None:
            raise ValueError(
                "learning_rate: expected None with optimizer='lbfgs', whose line search chooses the"
                f" steps, got {arguments.describe(rate)}"
            )
        return 0.0
    if rate is None:
        raise TypeError(
            "learning_rate: expected a real number, got NoneType None, which only"
            " optimizer='lbfgs' takes"
        )
    return rate if callable(rate) else arguments.real("learning_rate", rate)


def _refuse_batches(given: dict[str, Any]) -> None:
    """Refuse what L-BFGS has no use for."""
    for name, usual in (("batch_size", None), ("shuffle", False), ("clip_norm", None)):
        if not (given[name] is usual or (usual is False and given[name] is np.False_)):
            raise ValueError(
                f"{name}: expected {usual} with optimizer='lbfgs', which computes the loss of all"
                f" rows for each step, got {arguments.describe(given[name])}"
            )


def _check_state(state: Any, rule: Optimizer) -> None:
    if not isinstance(state, TrainingState):
        raise TypeError(
            f"state: expected the state of a fit (fit.state), got {arguments.describe(state)}"
        )
    if not (isinstance(state.optimizer, Rule) and state.optimizer == rule):
        raise ValueError(
            f"state: expected that of a fit with optimizer={rule}, got that of {state.optimizer}"
        )


def _checked_shuffle(shuffle: Any, rows: Rows) -> bool | str:
    if shuffle is False:
        return False
    if isinstance(shuffle, str) and shuffle == "window":
        return "window"
    if not isinstance(shuffle, bool | np.bool_):
        raise TypeError(f"shuffle: expected True, False or 'window', got {shuffle!r}")
    if shuffle and not rows.random_access:
        raise ValueError(
            f"shuffle: expected 'window' or False for {rows.name}, which does not support"
            " random access, got True"
        )
    return bool(shuffle)
