"""The loss, or the loss and its gradient, of all rows at given parameters."""

from __future__ import annotations

import numpy as np

from fastbp.kernels import layout
from fastbp.system.interrupts import Requests, WaitInterruptedError
from fastbp.system.threads import Team
from fastbp.training.optimizers import LossOnly, Rule
from fastbp.training.problem import Options, Problem
from fastbp.training.run import Run

LOSS_ONLY = LossOnly()


def pass_options(n_rows: int, rule: Rule = LOSS_ONLY, alpha: float = 0.0) -> Options:
    """Return the options of one pass over all rows that updates nothing."""
    return Options(learning_rate=0.0, epochs=1, batch_rows=n_rows, optimizer=rule, alpha=alpha)


class Objective:
    """The weighted mean loss of a problem's rows at any parameters and, if asked for, its gradient.

    Parameters
    ----------
    problem : Problem
    options : Options
        Those of :func:`pass_options` that the problem was made with.
    threads : Team
    requests : Requests
        Interrupts, which cut a pass short.
    """

    def __init__(
        self, problem: Problem, options: Options, threads: Team, requests: Requests
    ) -> None:
        self.samples = problem.samples
        self._requests = requests
        self._run = Run(problem, options, threads, requests=requests)

    @property
    def gradient(self) -> np.ndarray:
        """The gradient of the last loss, with ``GradientOnly``; flat, and overwritten each time."""
        gradient: np.ndarray = self._run.memory.moments[0]
        return gradient

    def loss(self, parameters: np.ndarray) -> float | None:
        """Return the loss, which may be infinite or NaN; None if an interrupt cut it short."""
        run, memory = self._run, self._run.memory
        memory.start_again(parameters)
        while memory.epoch < 1 and memory.status == layout.RUNNING:
            if self._requests.count:
                return None
            try:
                run.slice()
            except WaitInterruptedError:
                return None
        run.raise_bad_row()
        return float(run.losses[0])

    def close(self) -> None:
        """End what reads the rows."""
        self._run.close()
