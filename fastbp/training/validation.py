"""Validation: a loss after each epoch on rows held out, and early stopping based on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastbp.training.checkpoints import Snapshot
from fastbp.training.objective import Objective
from fastbp.training.run import Run
from fastbp.training.state import Best, TrainingState


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
        self._lowest = np.inf  # of all losses, and of what the fit that this one continues reached
        self._due_before = False  # whether its last epoch still lacks a loss

    @property
    def last(self) -> float | None:
        """The latest loss, if there is one."""
        return self.losses[-1] if self.losses else None

    @property
    def stale(self) -> bool:
        """Whether the loss has gone without improvement for long enough to stop the fit."""
        return self._tol is not None and self._stale_epochs >= self._run.options.n_iter_no_change

    @property
    def due(self) -> bool:
        """Whether the loss after the last epoch is still to be computed."""
        if self._objective is None:
            return False
        return self._due_before or len(self.losses) < self._run.memory.epoch

    def check_all(self) -> None:
        """Raise an error if the data are invalid."""
        if self._objective is not None:
            self._objective.check_all()

    def check(self, losses: np.ndarray, best: Snapshot | None) -> None:
        """Refuse what a file holds if no fit with such validation data leaves it behind."""
        if losses.size and self._objective is None:
            raise ValueError("validation_losses: expected none without validation data")
        start = self._run.options.state
        before = start is not None and (start.best is not None or start.validation_due)
        if (best is not None) != (losses.size > 0 and self._tol is not None) and not before:
            raise ValueError("best: expected the best parameters with tol and validation data only")

    def continue_from(
        self, state: TrainingState, losses: list[float] | None = None, best: Snapshot | None = None
    ) -> None:
        """Take over what an earlier fit left, or this one before it was killed."""
        self._best_loss, self._stale_epochs = state.best_loss, state.stale_epochs
        self.losses, self.best = losses or [], best
        self._due_before = state.validation_due
        start = self._run.options.state
        if start is not None and start.best is not None and self._tol is not None:
            self._lowest = start.best.loss
            self.best = self.best or Snapshot(start.best.parameters, start.best.state)
        self._lowest = min(self._lowest, *self.losses, np.inf)

    def after_epoch(self) -> bool:
        """Compute the loss that is due; return False if an interrupt cut that short."""
        assert self._objective is not None
        loss = self._objective.loss(self._run.memory.parameters)
        if loss is None:
            return False
        lowest, self._lowest = self._lowest, min(self._lowest, loss)  # never NaN
        if not self._due_before:
            self.losses.append(loss)
        self._due_before = False
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
        if self._due_before:
            state = replace(state, validation_due=True)
        return Snapshot(self._run.memory.parameters.copy(), state)

    def unfinished(self, state: TrainingState) -> TrainingState:
        """Return the state of a fit that was cut short, with what one that continues it needs."""
        best = None
        if self.best is not None:
            best = Best(float(self._lowest), self.best.parameters, self.best.state)
        return replace(state, best=best, validation_due=self.due)

    def losses_of(self, n_epochs: int) -> np.ndarray | None:
        """Return the losses of these epochs; the last is NaN if an interrupt cut it short."""
        if self._objective is None:
            return None
        losses = np.full(n_epochs, np.nan)
        losses[: len(self.losses)] = self.losses
        return losses
