"""What scikit-learn's stochastic solvers carry from epoch to epoch: rates, and moments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastbp.estimators.names import optimizer_of
from fastbp.training.optimizers import SGD, Optimizer
from fastbp.training.problem import Moments
from fastbp.training.state import all_real, check_moments

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
        The moments of the gradient, in the order of the kernels; None are zeros.
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

    def __post_init__(self) -> None:
        rates = self.learning_rate_init, self.learning_rate, self.power_t
        if not (isinstance(self.rule, Optimizer) and all_real(rates)):
            raise TypeError("optimizer: expected a rule and its rates, got others")
        if not isinstance(self.moments, np.ndarray | None):
            raise TypeError(f"moments: expected an array, got {self.moments!r}")
        if self.moments is not None:
            check_moments(self.rule, self.moments, self.powers)

    def moments_for(self, parameters: np.ndarray) -> Moments | None:
        """Return what a fit from these parameters continues with."""
        shape = (self.rule.n_moments, *parameters.shape)
        if self.moments is None or self.moments.shape != shape:
            return None
        return self.moments, self.powers

    def iteration_ends(self, time_step: int) -> None:
        """Set the rate of the next epoch, after so many samples in all."""
        if self.schedule == "invscaling":
            self.learning_rate = self.learning_rate_init / (time_step + 1) ** self.power_t

    def trigger_stopping(self, message: str) -> tuple[bool, str]:
        """Return whether to stop after no improvement, and the message completed.

        An adaptive rate falls first.
        """
        if self.schedule == "adaptive" and self.learning_rate > LEAST_RATE:
            self.learning_rate /= 5.0
            return False, f"{message} Setting learning rate to {self.learning_rate:f}"
        why = " Learning rate too small." if self.schedule == "adaptive" else ""
        return True, f"{message}{why} Stopping."


def solver_of(settings: Any, old: Solver | None) -> Solver:
    """Return an estimator's optimizer, which may continue the one before."""
    rule, rate = optimizer_of(settings), float(settings.learning_rate_init)
    schedule = settings.learning_rate if isinstance(rule, SGD) else "constant"
    new = Solver(rule, rate, rate, schedule, float(settings.power_t))
    keeps = settings.warm_start and settings.keep_optimizer
    if old is not None and keeps and type(old.rule) is type(rule):
        new.moments, new.powers = old.moments, old.powers
        if (rate, schedule) == (old.learning_rate_init, old.schedule):
            new.learning_rate = old.learning_rate
    return new
