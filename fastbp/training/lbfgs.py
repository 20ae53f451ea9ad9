"""L-BFGS: SciPy's iterations over the loss and gradient of all rows.

What happens between the iterations of a fit is in ``driver.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from inspect import Parameter, Signature
from typing import Any, NamedTuple

import numpy as np

from fastbp.arguments import FLOAT64
from fastbp.kernels import layout
from fastbp.kernels.losses import BCE, CROSS_ENTROPY
from fastbp.system.interrupts import WaitInterruptedError
from fastbp.training.objective import Objective
from fastbp.training.optimizers import LBFGS
from fastbp.training.preconditioning import variables_of
from fastbp.training.problem import Problem
from fastbp.training.variables import Variables, scale_of_loss

UNLIMITED = 2**31 - 1
SIGNATURE = Signature([Parameter("intermediate_result", Parameter.POSITIONAL_OR_KEYWORD)])
"""SciPy calls a function with this parameter; to find that out takes it 40 microseconds."""
LEAST_FTOL_IN_FLOAT32 = 2.0**-26
"""Below, a loss falls by chance; the line search would take 40 passes to find no lower one."""


class _Point(NamedTuple):
    """Packed parameters, and as SciPy's vector, with the loss and its derivatives, as SciPy's.

    The latter are those by the vector, and times the factor.
    """

    packed: np.ndarray
    vector: np.ndarray
    loss: float
    gradient: np.ndarray


class Minimization:
    """The minimization of a problem's loss, from its parameters on.

    It is begun and run with one thread for the BLAS: see ``system/blas.py``.

    Packed parameters are those without the padding, in float64, all weights before all biases (as
    in scikit-learn, whose iterations are therefore the same). SciPy's vectors are their variables,
    in units of the first step's length.

    Parameters
    ----------
    objective : Objective
        That of a problem with ``GRADIENT_ONLY``.
    parameters : numpy.ndarray
        Flat, where to begin.
    scaled : bool
        Whether SciPy is to go by the variables and the length of the first step that `variables_of`
        chooses, and its tolerances by the first loss. Otherwise variables are the packed parameters
        themselves.
    """

    def __init__(
        self, objective: Objective, parameters: np.ndarray, *, scaled: bool = False
    ) -> None:
        self._objective, self._scaled = objective, scaled
        self._flat, self._rounds = parameters.copy(), parameters.dtype != FLOAT64
        self._indices = _packed_indices(objective.problem)
        packed = self._flat[self._indices].astype(np.float64)
        self._variables: Variables | None = None
        self._now = self._latest = _Point(packed, packed, np.nan, self._flat[:0])
        self._factor = self._length = 1.0
        self._is_first = True
        self._error: StopIteration | None = None

    @property
    def loss(self) -> float:
        """The loss after the last complete iteration; NaN before all of them."""
        return self._now.loss / self._factor

    @property
    def parameters(self) -> np.ndarray:
        """The parameters after the last complete iteration: flat, a new array."""
        flat = np.zeros_like(self._flat)
        with np.errstate(over="ignore"):
            flat[self._indices] = self._now.packed
        return flat

    def _packed(self, vector: np.ndarray) -> np.ndarray:
        if self._length != 1.0:
            vector = vector * self._length
        return vector if self._variables is None else self._variables.parameters(vector)

    def evaluate(self, packed: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss and the packed gradient, of the dtype of the arithmetic.

        Raises a WaitInterruptedError if an interrupt cut it short.
        """
        if self._rounds:
            with np.errstate(over="ignore"):
                self._flat[self._indices] = packed
        else:
            self._flat[self._indices] = packed
        loss = self._objective.loss(self._flat)
        if loss is None:
            raise WaitInterruptedError
        return loss, self._objective.gradient[self._indices]

    def begin(self) -> float:
        """Compute the loss of the first parameters, to be called before :meth:`run`; return it."""
        packed = vector = self._now.packed
        loss, gradient = self.evaluate(packed)
        if self._scaled and math.isfinite(loss):  # or there is nothing to minimize
            problem = self._objective.problem
            if problem.settings[layout.LOSS] not in (BCE, CROSS_ENTROPY):
                self._factor = scale_of_loss(loss)  # of numbers, whose units it has
            self._variables, self._length = variables_of(self._objective, packed, loss, gradient)
            if self._variables is not None:
                vector = self._variables.of_parameters(packed)
            with np.errstate(over="ignore"):
                vector = vector / self._length
        self._now = self._latest = _Point(packed, vector, *self._scaled_up(loss, gradient))
        return loss

    def run(
        self,
        rule: LBFGS,
        after: Callable[[], bool],
        iterations: int = UNLIMITED,
        evaluations: int = UNLIMITED,
    ) -> Any:
        """Run as many iterations as there may be; return SciPy's result.

        `after` is called after each of them, and returns whether to stop. Interrupts are raised as
        by :meth:`evaluate`.
        """
        import scipy.optimize  # 0.4 s, which few fits need

        self._is_first = True

        def after_iteration(intermediate_result: Any) -> None:
            self._now = self._latest  # SciPy has computed it last
            try:
                stop = after()
            except StopIteration as error:  # of the user's function: SciPy would keep it
                self._error = error
                raise
            if stop:
                raise StopIteration

        after_iteration.__signature__ = SIGNATURE  # type: ignore[attr-defined]
        rule = attainable(rule, self._flat.dtype)
        options = {
            "maxcor": rule.memory,
            # Of derivatives by the variables; where the factor is not 1, in units of the labels.
            "gtol": rule.gtol * self._length * math.sqrt(self._factor),
            "ftol": rule.ftol,
            "maxiter": iterations,
            "maxfun": evaluations,
        }
        start, how = self._now.vector, {"callback": after_iteration, "options": options}
        found = scipy.optimize.minimize(self._tried, start, jac=True, method="L-BFGS-B", **how)
        if self._error is not None:
            raise self._error
        return found

    def _tried(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss and the gradient at a step of the line search, times the factor."""
        is_first, self._is_first = self._is_first, False
        if is_first and np.array_equal(vector, self._now.vector):  # `begin` has computed it
            return self._now.loss, self._now.gradient
        vector = vector.copy()  # SciPy will change its own
        packed = self._packed(vector)
        loss, gradient = self._scaled_up(*self.evaluate(packed))
        if math.isfinite(loss) and np.isfinite(gradient).all():
            self._latest = _Point(packed, vector, loss, gradient)
            return loss, gradient
        # A line search that interpolates infinities would get NaN. Return those of a parabola along
        # the step, which has its minimum at a tenth of it.
        now = self._now
        slope = abs(float(now.gradient @ (vector - now.vector)))
        return now.loss + 4.0 * slope, -9.0 * now.gradient

    def _scaled_up(self, loss: float, gradient: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss and its derivatives by SciPy's vector, times the factor."""
        if not self._scaled:
            return loss, gradient
        with np.errstate(over="ignore", invalid="ignore"):
            if self._variables is not None:
                gradient = self._variables.gradient(gradient)
            return loss * self._factor, gradient * (self._factor * self._length)


def attainable(rule: LBFGS, dtype: np.dtype[Any]) -> LBFGS:
    """Return the rule with a tolerance of losses that can be told apart in this dtype."""
    if dtype == FLOAT64:
        return rule
    return replace(rule, ftol=max(rule.ftol, LEAST_FTOL_IN_FLOAT32))


def _packed_indices(problem: Problem) -> np.ndarray:
    """Return which of the flat parameters are some, in the order in which they have names."""
    named = problem.named(np.arange(problem.parameters.size, dtype=np.float64)).values()
    arrays = [array for part in named for array in (part if isinstance(part, list) else [part])]
    return np.concatenate([np.ravel(array) for array in arrays]).astype(np.intp)
