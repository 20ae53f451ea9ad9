"""Training a perceptron with L-BFGS-B, by SciPy, over all rows at once."""

from __future__ import annotations

from typing import Any

from fastbp.data.arrays import read_only
from fastbp.data.labels import check_weights
from fastbp.estimators.base import dtype_of
from fastbp.estimators.mlp.fitting import Fit
from fastbp.estimators.mlp.network import Data
from fastbp.estimators.scikit_learn import check_optimize_result
from fastbp.models.layers import Layers
from fastbp.system.blas import one_blas_thread
from fastbp.training.callbacks import EpochState
from fastbp.training.lbfgs import Minimization
from fastbp.training.objective import objective, pass_options
from fastbp.training.optimizers import GRADIENT_ONLY, LBFGS
from fastbp.training.problem import Problem

FTOL = 1e7 * 2.0**-52  # SciPy's default, which scikit-learn's perceptrons leave as it is


def problem_of(settings: Any, learned: Any, layers: Layers, data: Data) -> Problem:
    """Return the problem of one pass for loss and gradient, from what is learned.

    Of the estimator, `settings`, `alpha` and `n_threads` are read; `learned` has `coefs_` and
    `intercepts_`.
    """
    dtype = dtype_of(*learned.coefs_, *learned.intercepts_)
    samples = data.samples(layers, dtype)
    check_weights("sample_weight", samples.rows)
    flat = layers.flat(learned.coefs_, learned.intercepts_, dtype=dtype)
    how = GRADIENT_ONLY, float(settings.alpha), settings.n_threads
    return layers.problem(flat, samples, pass_options(samples.rows.n_rows, *how))


class Lbfgs:
    """Training by iterations of L-BFGS-B.

    Parameters
    ----------
    fit : Fit
    """

    def __init__(self, fit: Fit) -> None:
        self._fit, self._settings, self._learned = fit, fit.settings, fit.learned
        self._problem = problem_of(fit.settings, fit.learned, fit.layers, fit.data)
        self._asked = False  # whether a callback has asked to stop

    def train(self) -> None:
        """Train until SciPy or a callback ends it; nothing learned is lost."""
        settings, learned, problem = self._settings, self._learned, self._problem
        self._fit.callbacks.begin(*learned.parameters)
        rule = LBFGS(gtol=float(settings.tol), ftol=FTOL)
        most = settings.max_iter, settings.max_fun
        with objective(problem, settings.max_iter) as whole, one_blas_thread():
            minimization = Minimization(whole, problem.parameters)
            minimization.begin()
            try:
                found = minimization.run(rule, lambda: self._after_iteration(minimization), *most)
            finally:  # of a callback's exception or Ctrl-C, too
                learned.set(*problem.named(minimization.parameters).values())
        learned.loss_ = float(found.fun)
        if self._asked:
            learned.n_iter_, learned.stopped_ = int(found.nit), "callback"
        else:
            learned.n_iter_ = check_optimize_result("lbfgs", found, settings.max_iter)
            ends = {0: "tol", 1: "epochs" if found.nit >= settings.max_iter else "max_fun"}
            learned.stopped_ = ends.get(found.status, "line search")

    def _after_iteration(self, minimization: Minimization) -> bool:
        """Count, print, and ask the callbacks; return whether to stop."""
        learned, callbacks = self._learned, self._fit.callbacks
        learned.loss_ = minimization.loss
        learned.n_iter_ += 1
        callbacks.say(f"Iteration {learned.n_iter_}, loss = {learned.loss_:.8f}")
        if callbacks:
            named = self._problem.named(read_only(minimization.parameters))
            state = EpochState(learned.n_iter_ - 1, learned.loss_, None, named)
            self._asked = bool(callbacks.epoch_ends(state))
        return self._asked
