"""Validation: a loss after each epoch on rows held out, and early stopping based on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastbp.training.checkpoints import Snapshot
from fastbp.training.objective import Objective
from fastbp.training.run import Run
from fastbp.training.state import TrainingState


class Validation:
    """The losses on validation data; with `tol` they decide when to stop and what to return.

    Without an objective there are no such data, and nothing is decided.
    """

    def __init__(self, objective: Objective | None, run: Run) -> None:
        self._objective, self._run = objective, run
        self._tol = None
        if objective is not None:
            self._tol = run.options.tol
            run.memory.n_iter_no_change = 0  # their loss decides instead
        self.losses: list[float] = []
        self.best: Snapshot | None = None
        self._best_loss, self._stale_epochs = np.inf, 0

    @property
    def last(self) -> float | None:
        """The latest loss, if there is one."""
        return self.losses[-1] if self.losses else None

    @property
    def stale(self) -> bool:
        """Whether the loss has gone without improvement for long enough to stop the fit."""
        return self._tol is not None and self._stale_epochs >= self._run.options.n_iter_no_change

    def check_all(self) -> None:
        """Raise an error if the data are invalid."""
        if self._objective is not None:
            self._objective.check_all()

    def continue_from(
        self, state: TrainingState, losses: list[float] | None = None, best: Snapshot | None = None
    ) -> None:
        """Take over what an earlier fit left, or this one before it was killed."""
        self._best_loss, self._stale_epochs = state.best_loss, state.stale_epochs
        self.losses, self.best = losses or [], best

    def after_epoch(self) -> bool:
        """Compute the loss after an epoch, once; return False if an interrupt cut that short."""
        if self._objective is None or len(self.losses) == self._run.memory.epoch:
            return True
        loss = self._objective.loss(self._run.memory.parameters)
        if loss is None:
            return False
        lowest = min(self.losses, default=np.inf)
        self.losses.append(loss)
        if self._tol is not None:
            improved = self._best_loss - loss > self._tol
            self._best_loss = min(self._best_loss, loss)
            self._stale_epochs = 0 if improved else self._stale_epochs + 1
            if loss < lowest or self.best is None:
                self.best = self.snapshot()
        return True

    def snapshot(self) -> Snapshot:
        """Return the run as it is now."""
        state = self._run.training_state()
        if self._tol is not None:
            state = replace(state, best_loss=self._best_loss, stale_epochs=self._stale_epochs)
        return Snapshot(self._run.memory.parameters.copy(), state)

    def losses_of(self, n_epochs: int) -> np.ndarray | None:
        """Return the losses of these epochs; the last is NaN if an interrupt cut it short."""
        if self._objective is None:
            return None
        losses = np.full(n_epochs, np.nan)
        losses[: len(self.losses)] = self.losses
        return losses
