"""The exceptions that fastbp raises besides TypeError and ValueError."""

from __future__ import annotations

import copyreg
from typing import Any

import numpy as np


class FastbpError(Exception):
    """Base of all exceptions of this package."""


class DataError(FastbpError, ValueError):
    """A row cannot be used: it is ragged, or holds an invalid value.

    Attributes
    ----------
    row : int or None
        The first offending row, counted from 0, where there is one.
    column : str or int, or None
        The offending column of features, by name or index, where the message names one.
    fit : NeuronFit or NetworkFit
        The fit so far, where one was under way: on a cluster, or from a file that has changed.
        There is no such attribute otherwise.
    """

    def __init__(
        self, message: str, row: int | None = None, column: str | int | None = None
    ) -> None:
        super().__init__(message)
        self.row, self.column = row, column


class DivergenceError(FastbpError, ArithmeticError):
    """The loss or the parameters stopped being finite.

    Where features times weights overflow, to infinities of both signs in one row, the row's sum is
    not a number: even its sign is unknown. A BLAS that fuses products and sums may return the
    infinity that it met first, so a loop in NumPy can stay finite there by chance.

    Attributes
    ----------
    epoch : int
        The epoch, counted from 0, in which that happened.
    losses : numpy.ndarray of float64, shape (epoch,)
        The losses before that epoch.
    weights, and bias or biases
        The parameters at the start of that epoch: for a neuron an array and a float, for a network
        lists of arrays.
    """

    weights: Any
    bias: Any
    biases: Any

    def __init__(
        self, message: str, *, epoch: int, losses: np.ndarray, parameters: dict[str, Any]
    ) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.losses = losses
        vars(self).update(parameters)

    def __reduce__(self) -> tuple[Any, ...]:
        # By default pickle would rebuild the exception from its message alone.
        return copyreg.__newobj__, (type(self), str(self)), vars(self)  # type: ignore[attr-defined]


class CheckpointError(FastbpError, RuntimeError):
    """A model or checkpoint cannot be used, or written.

    It is damaged, of another kind, of a newer format, or the checkpoint of another fit. One that
    was raised while a fit was under way has the fit so far as its attribute ``fit``.
    """


class ClusterError(FastbpError, RuntimeError):
    """A cluster cannot go on with a fit.

    Its scheduler went away, workers died again and again, or one has other versions. Where a fit
    was under way, its attribute ``fit`` is the fit so far; a checkpoint goes on from there.
    """
