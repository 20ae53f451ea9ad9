"""What a fit leaves behind so that the next one can continue it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastbp.training.optimizers import OPTIMIZERS, Optimizer

ARRAYS = "moments", "partial_sums", "epoch_start"


@dataclass(frozen=True, eq=False)
class TrainingState:
    """What a fit leaves behind, besides its parameters, so that another can continue it.

    Pass it as `state`, with the fit's parameters as initial values and otherwise the same
    arguments: the two fits together equal one that never stopped, bit for bit, even if the first
    one was interrupted within an epoch. The initial values and the optimizer are checked and,
    within an epoch, how it is divided; other rows, losses or rates may be intended and are
    accepted. A generator whose state it holds is used again, whatever `random_state` says.

    Attributes
    ----------
    optimizer : SGD, Adam or RMSprop
    epoch : int
        Epochs completed, of all fits together.
    moments : numpy.ndarray of float64, shape (0, 1 or 2, n)
        The optimizer's moments of each parameter, in the order of the kernels.
    powers : tuple of float
        beta_1 and beta_2 of Adam to the power of the updates made.
    random_state : dict or None
        The state of the generator that draws the orders, from before the order of an epoch under
        way was drawn.
    batch_start, next_chunk : int
        In an epoch under way: how many of its rows the parameters have learned from, and how many
        chunks of the next batch are in the partial sums.
    partial_sums, epoch_start : numpy.ndarray of float64
        The sums of gradient, loss and weight; the parameters at the start of the epoch. Empty
        if nothing is under way.
    batching : tuple
        How an epoch is divided: its rows, those of a batch, whether and how they are shuffled.
    epoch_sums : tuple of float
        The loss of the epoch so far, what its rounding lost, and its weight.
    best_loss, stale_epochs
        The lowest loss, and the epochs since it fell by more than `tol`.
    checksum : int
        CRC-32 of the parameters that belong to it.
    """

    optimizer: Optimizer
    epoch: int
    moments: np.ndarray = field(repr=False)
    powers: tuple[float, float] = (1.0, 1.0)
    random_state: dict[str, Any] | None = field(default=None, repr=False)
    batch_start: int = 0
    next_chunk: int = 0
    partial_sums: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    epoch_start: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    batching: tuple[int, int, bool | str] = (0, 0, False)
    epoch_sums: tuple[float, float, float] = (0.0, 0.0, 0.0)
    best_loss: float = float("inf")
    stale_epochs: int = 0
    checksum: int = 0

    def to_stored(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return its arrays, and the rest as JSON can hold it."""
        fields = dict(vars(self))
        arrays = {name: fields.pop(name) for name in ARRAYS}
        kind = type(self.optimizer).__name__
        return arrays, {**fields, "optimizer": {"kind": kind, **vars(self.optimizer)}}

    @classmethod
    def from_stored(cls, arrays: dict[str, np.ndarray], fields: dict[str, Any]) -> TrainingState:
        """Rebuild it; `arrays` may hold others too."""
        optimizer = dict(fields["optimizer"])
        kind = {kind.__name__: kind for kind in OPTIMIZERS.values()}[optimizer.pop("kind")]
        tuples = {name: tuple(fields[name]) for name in ("powers", "epoch_sums", "batching")}
        own = {name: arrays[name] for name in ARRAYS}
        return cls(**{**fields, **tuples, **own, "optimizer": kind(**optimizer)})


def generator_state(random: np.random.Generator | np.random.RandomState) -> dict[str, Any]:
    """Return the state of a generator of either kind."""
    if isinstance(random, np.random.RandomState):
        return dict(random.get_state(legacy=False), legacy=True)
    return dict(random.bit_generator.state)


def generator_from(state: dict[str, Any]) -> np.random.Generator | np.random.RandomState:
    """Return a new generator in that state."""
    name = state["bit_generator"]
    bits = getattr(np.random, name, None)
    if not (isinstance(bits, type) and issubclass(bits, np.random.BitGenerator)):
        raise ValueError(f"state: expected a bit generator of NumPy, got {name!r}")
    generator = bits()
    generator.state = state
    if state.get("legacy"):
        legacy = np.random.RandomState(generator)
        legacy.set_state(state)
        return legacy
    return np.random.Generator(generator)
