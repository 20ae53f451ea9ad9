"""What scikit-learn's stochastic solvers carry from epoch to epoch: rates, and running means."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastbp.estimators.names import optimizer_of
from fastbp.training.optimizers import SGD, Optimizer
from fastbp.training.state import TrainingState

LEAST_RATE = 1e-6  # an adaptive rate that is not above it ends the fit


@dataclass(eq=False)
class Solver:
    """The optimizer of an estimator.

    Attributes
    ----------
    rule : Optimizer
    learning_rate_init : float
    learning_rate : float
        That of the next epoch, at first the same. Adam corrects it in each update.
    schedule : {"constant", "invscaling", "adaptive"}
        Of SGD; that of all others is constant.
    power_t : float
    moments : numpy.ndarray or None
        The running means of the gradient, in the order of the kernels; None are zeros.
    powers : tuple of float
        Adam's beta_1 and beta_2 to the power of the updates made.
    """

    rule: Optimizer
    learning_rate_init: float
    learning_rate: float
    schedule: str = "constant"
    power_t: float = 0.5
    moments: np.ndarray | None = field(default=None, repr=False)
    powers: tuple[float, float] = (1.0, 1.0)

    def go_on_from(self, old: Solver) -> None:
        """Take over running means of the same kind, and the rate, if it began as this one's."""
        if type(self.rule) is type(old.rule):
            self.moments, self.powers = old.moments, old.powers
            begun = self.learning_rate_init, self.schedule
            if begun == (old.learning_rate_init, old.schedule):
                self.learning_rate = old.learning_rate

    def state_for(self, parameters: np.ndarray) -> TrainingState | None:
        """Return what a fit from these parameters goes on from."""
        shape = (self.rule.n_moments, *parameters.shape)
        if self.moments is None or self.moments.shape != shape:
            return None
        return TrainingState(
            optimizer=self.rule,
            epoch=0,
            moments=self.moments,
            powers=self.powers,
            checksum=zlib.crc32(parameters.data),
        )

    def keep(self, state: TrainingState | None) -> None:
        """Take over what a fit has left."""
        if state is not None:
            self.moments, self.powers = state.moments, state.powers

    def iteration_ends(self, time_step: int) -> None:
        """Set the rate of the next epoch, after so many samples in all."""
        if self.schedule == "invscaling":
            self.learning_rate = self.learning_rate_init / (time_step + 1) ** self.power_t

    def trigger_stopping(self, message: str) -> tuple[bool, str]:
        """Return whether to stop where nothing gets better, and the message with what is done.

        An adaptive rate falls first.
        """
        stops = True
        if self.schedule != "adaptive":
            message += " Stopping."
        elif self.learning_rate <= LEAST_RATE:
            message += " Learning rate too small. Stopping."
        else:
            self.learning_rate /= 5.0
            message += f" Setting learning rate to {self.learning_rate:f}"
            stops = False
        return stops, message


def solver_of(settings: Any, old: Solver | None) -> Solver:
    """Return an estimator's optimizer, which may go on from the one before."""
    rule, rate = optimizer_of(settings), float(settings.learning_rate_init)
    schedule = settings.learning_rate if isinstance(rule, SGD) else "constant"
    new = Solver(rule, rate, rate, schedule, settings.power_t)
    if old is not None and settings.warm_start and settings.keep_optimizer:
        new.go_on_from(old)
    return new
