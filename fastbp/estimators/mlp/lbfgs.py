"""Training a perceptron with L-BFGS-B, by SciPy, over all rows at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.optimize

from fastbp.data.arrays import read_only
from fastbp.data.labels import check_weights
from fastbp.estimators.base import dtype_of
from fastbp.estimators.mlp.fitting import Fit
from fastbp.estimators.mlp.network import Data
from fastbp.estimators.scikit_learn import check_optimize_result
from fastbp.models.layers import Layers
from fastbp.training.callbacks import EpochState
from fastbp.training.objective import objective, pass_options
from fastbp.training.optimizers import GRADIENT_ONLY


class WholeLoss:
    """The loss of all rows and its gradient, for packed parameters.

    Those are flat without the padding: all weights before all biases, as in scikit-learn.

    Parameters
    ----------
    settings
        The estimator: its `alpha` and `n_threads` are read.
    learned
        Has `coefs_` and `intercepts_`.
    layers : Layers
    data : Data
    passes : int
        How often it is computed, about.
    """

    def __init__(
        self, settings: Any, learned: Any, layers: Layers, data: Data, passes: int
    ) -> None:
        dtype = dtype_of(*learned.coefs_, *learned.intercepts_)
        samples = data.samples(layers, dtype)
        n_rows = samples.rows.n_rows
        check_weights("sample_weight", samples.rows)
        self._layers = layers
        self._flat = layers.flat(learned.coefs_, learned.intercepts_, dtype=dtype)
        # Positions of the real parameters, without the padding.
        filled = layers.flat(*layers.named(np.ones(layers.n_parameters)).values())
        self._indices = np.flatnonzero(filled)
        alpha, n_threads = float(settings.alpha), settings.n_threads
        options = pass_options(n_rows, GRADIENT_ONLY, alpha, n_threads)
        self._problem = layers.problem(self._flat, samples, options)
        self._passes = passes
        self.start: np.ndarray = self._flat[self._indices]
        """The parameters it was made with."""

    def named(self, packed: np.ndarray) -> dict[str, list[np.ndarray]]:
        """Return read-only weights and biases by layer."""
        flat = np.zeros_like(self._flat)
        flat[self._indices] = packed
        return self._layers.named(read_only(flat))

    @contextlib.contextmanager
    def function(self) -> Iterator[Callable[[np.ndarray], tuple[float, np.ndarray]]]:
        """Yield the function from packed parameters to the loss and its packed gradient."""
        with objective(self._problem, self._passes) as whole:

            def evaluate(packed: np.ndarray) -> tuple[float, np.ndarray]:
                self._flat[self._indices] = packed
                loss = whole.loss(self._flat)
                assert loss is not None  # no interrupt is deferred here
                return loss, whole.gradient[self._indices]

            yield evaluate


class Lbfgs:
    """Training by iterations of L-BFGS-B.

    Parameters
    ----------
    fit : Fit
    """

    def __init__(self, fit: Fit) -> None:
        self._fit, self._settings, self._learned = fit, fit.settings, fit.learned
        passes = fit.settings.max_iter
        self._loss = WholeLoss(fit.settings, fit.learned, fit.layers, fit.data, passes)
        self._last = self._loss.start
        self._asked = False  # whether a callback has asked to stop

    def train(self) -> None:
        """Train until SciPy or a callback ends it; nothing learned is lost."""
        settings, learned = self._settings, self._learned
        self._fit.callbacks.begin(*learned.parameters)
        options = {"maxfun": settings.max_fun, "maxiter": settings.max_iter, "gtol": settings.tol}
        how = {"jac": True, "callback": self._after_iteration, "options": options}
        try:
            with self._loss.function() as evaluate:
                found = scipy.optimize.minimize(evaluate, self._last, method="L-BFGS-B", **how)
            self._last = found.x
        finally:  # of a callback's exception or Ctrl-C, too
            learned.set(*self._loss.named(self._last).values())
        learned.loss_ = float(found.fun)
        if self._asked:
            learned.n_iter_, learned.stopped_ = int(found.nit), "callback"
        else:
            learned.n_iter_ = check_optimize_result("lbfgs", found, settings.max_iter)
            ends = {0: "tol", 1: "epochs" if found.nit >= settings.max_iter else "max_fun"}
            learned.stopped_ = ends.get(found.status, "line search")

    def _after_iteration(self, intermediate_result: Any) -> None:
        """Count, print, and ask the callbacks; the argument's name is SciPy's."""
        learned, callbacks = self._learned, self._fit.callbacks
        self._last = intermediate_result.x
        learned.loss_ = float(intermediate_result.fun)
        learned.n_iter_ += 1
        callbacks.say(f"Iteration {learned.n_iter_}, loss = {learned.loss_:.8f}")
        if callbacks:
            named = self._loss.named(self._last)  # read-only
            state = EpochState(learned.n_iter_ - 1, learned.loss_, None, named)
            self._asked = callbacks.epoch_ends(state)
            if self._asked:
                raise StopIteration
