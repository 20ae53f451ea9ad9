"""The loss, or the loss and its gradient, of all rows at given parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np

from fastbp.data.moments import ColumnMoments
from fastbp.data.rows import Block
from fastbp.kernels import layout
from fastbp.system.interrupts import Interrupts, WaitInterruptedError, deferred_interrupts
from fastbp.system.threads import ALONE
from fastbp.training.optimizers import LOSS_ONLY, Rule
from fastbp.training.problem import Options, Problem
from fastbp.training.run import Run
from fastbp.training.slices import workers


def pass_options(
    n_rows: int, rule: Rule = LOSS_ONLY, alpha: float = 0.0, n_threads: int | None = None
) -> Options:
    """Return the options of one pass over all rows that updates nothing."""
    return Options(0.0, 1, n_rows, rule, alpha=alpha, n_threads=n_threads)


class Objective(Run):
    """The weighted mean loss of a problem's rows at any parameters and, if asked for, its gradient.

    The problem's options are those of :func:`pass_options`.
    """

    after_slice: Callable[[int], None] | None = None
    """Is called with the number of rows computed so far."""

    @property
    def gradient(self) -> np.ndarray:
        """The gradient of the last loss, with ``GRADIENT_ONLY``; flat, overwritten by the next."""
        gradient: np.ndarray = self.memory.moments[0]
        return gradient

    def first_rows(self, n_rows: int) -> Block:
        """Return the first so many rows, as float64.

        Raises a WaitInterruptedError if an interrupt cut it short.
        """
        return self._computes.first_rows(n_rows)

    def moments(self, origin: np.ndarray) -> ColumnMoments:
        """Return the moments of all rows' features, by their weights, from an origin on.

        Raises a WaitInterruptedError if an interrupt cut it short.
        """
        return self._computes.moments(origin)

    def loss(self, parameters: np.ndarray) -> float | None:
        """Return the loss, which may be infinite or NaN; None if an interrupt cut it short."""
        memory = self.memory
        memory.start_again(parameters)
        while memory.epoch < 1 and memory.status == layout.RUNNING:
            if self.interrupts.count:
                return None
            try:
                self.slice()
            except WaitInterruptedError:
                return None
            if self.after_slice is not None:
                self.after_slice(memory.position or self.problem.rows.n_rows)
        self.raise_bad_row()
        return float(self.losses[0])


def evaluated(problem: Problem) -> tuple[float, np.ndarray]:
    """Return the loss at a problem's parameters, and the gradient; Ctrl-C raises."""
    if problem.brief:
        with Objective(problem, ALONE) as whole:
            loss, gradient = whole.loss(problem.parameters), whole.gradient.copy()
    else:
        with deferred_interrupts() as interrupts, objective(problem, 1, interrupts) as whole:
            loss, gradient = whole.loss(problem.parameters), whole.gradient.copy()
    assert loss is not None  # an interrupt has raised KeyboardInterrupt
    return loss, gradient


@contextlib.contextmanager
def objective(
    problem: Problem, passes: int = 1, interrupts: Interrupts | None = None
) -> Iterator[Objective]:
    """Yield the loss of a problem, to be computed about `passes` times."""
    with (
        workers(problem, passes) as (team, readers),
        Objective(problem, team, readers, interrupts) as found,
    ):
        yield found
