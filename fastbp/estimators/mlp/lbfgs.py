"""Training a perceptron with L-BFGS-B, by SciPy, over all rows at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.optimize

from fastbp.data.arrays import read_only
from fastbp.data.labels import check_weights
from fastbp.estimators.mlp.stochastic import Data
from fastbp.estimators.scikit_learn import Tasks, check_optimize_result
from fastbp.models.layers import Layers
from fastbp.system.blas import limit_this_thread, one_blas_thread
from fastbp.system.interrupts import Requests
from fastbp.system.threads import team, threads_for
from fastbp.training.callbacks import EpochState, asks_to_stop
from fastbp.training.objective import Objective, pass_options
from fastbp.training.optimizers import GradientOnly

if TYPE_CHECKING:
    from fastbp.estimators.mlp.base import BaseMLP


class Packing:
    """Turns flat parameters into a vector without what fills them up, and back.

    The order, all weights before all biases, is scikit-learn's, too.
    """

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        self._parameters = layers.flat(*layers.named(np.ones(layers.n_parameters)).values())
        self._places = np.flatnonzero(self._parameters)

    def packed(self, flat: np.ndarray) -> np.ndarray:
        """Return such a vector."""
        vector: np.ndarray = flat[self._places]
        return vector

    def flat(self, packed: np.ndarray) -> np.ndarray:
        """Return flat parameters, which the next call overwrites."""
        self._parameters[self._places] = packed
        return self._parameters

    def named(self, packed: np.ndarray) -> dict[str, list[np.ndarray]]:
        """Return read-only weights and biases by layer."""
        return self._layers.named(read_only(self.flat(packed).copy()))


@contextlib.contextmanager
def objective(
    model: BaseMLP, data: Data, passes: int
) -> Iterator[tuple[Callable[[np.ndarray], tuple[float, np.ndarray]], Packing]]:
    """Give the function from packed parameters to the loss and its packed gradient."""
    layers, samples = model._layers(), model._samples(data)
    n_rows = samples.rows.n_rows
    check_weights("sample_weight", samples.rows, n_rows)
    start = layers.flat(model.coefs_, model.intercepts_)
    options = pass_options(n_rows, GradientOnly(), float(model.alpha))
    problem = layers.problem(start, samples, options)
    work = n_rows * problem.row_work
    pieces = -(-n_rows // min(problem.chunk_rows, n_rows))
    threads = threads_for(work, passes * work, pieces, model.n_threads)
    blas = problem.uses_blas
    packing = Packing(layers)
    with (
        one_blas_thread() if blas else contextlib.nullcontext(),
        team(threads, limit_this_thread if blas else None) as workers,
    ):
        rows_loss = Objective(problem, options, workers, Requests())

        def evaluate(packed: np.ndarray) -> tuple[float, np.ndarray]:
            loss = rows_loss.loss(packing.flat(packed))
            assert loss is not None  # no interrupt is deferred here
            return loss, packing.packed(rows_loss.gradient)

        try:
            yield evaluate, packing
        finally:
            rows_loss.close()


def fit_lbfgs(model: BaseMLP, data: Data, tasks: Tasks, accept: Callable[[], None]) -> None:
    """Train until SciPy says so, or a callback does; `accept` is called when all is checked."""
    with objective(model, data, model.max_iter) as (evaluate, packing):
        accept()
        model.n_iter_ = 0
        tasks.begin(model._reconstruction)
        after = AfterIteration(model, packing, tasks)
        start = packing.packed(model._layers().flat(model.coefs_, model.intercepts_))
        try:
            found = scipy.optimize.minimize(
                evaluate,
                start,
                method="L-BFGS-B",
                jac=True,
                callback=after,
                options={"maxfun": model.max_fun, "maxiter": model.max_iter, "gtol": model.tol},
            )
        except BaseException:  # of a callback, or Ctrl-C: nothing is lost
            model._set(*packing.named(start if after.last is None else after.last).values())
            raise
    model._set(*packing.named(found.x).values())
    model.loss_ = float(found.fun)
    if after.asked:
        model.n_iter_, model.stopped_ = int(found.nit), "callback"
    else:
        model.n_iter_ = check_optimize_result("lbfgs", found, model.max_iter)
        ends = {0: "tol", 1: "epochs" if found.nit >= model.max_iter else "max_fun"}
        model.stopped_ = ends.get(found.status, "line search")


class AfterIteration:
    """SciPy's callback: keeps count, prints, and asks the model's own callbacks."""

    def __init__(self, model: BaseMLP, packing: Packing, tasks: Tasks) -> None:
        self._model, self._packing, self._tasks = model, packing, tasks
        self.last: np.ndarray | None = None
        """The parameters after the last iteration."""
        self.asked = False
        """Whether a callback has asked to stop."""

    def __call__(self, intermediate_result: Any) -> None:
        """Note an iteration."""
        model = self._model
        self.last = intermediate_result.x
        model.loss_ = float(intermediate_result.fun)
        model.n_iter_ += 1
        if model.verbose:
            print(f"Iteration {model.n_iter_}, loss = {model.loss_:.8f}")
        if model.callback is None and not self._tasks:
            return
        named = self._packing.named(self.last)  # read-only
        state = EpochState(model.n_iter_ - 1, model.loss_, None, named)
        self.asked = asks_to_stop(model.callback, state)
        self.asked |= self._tasks.next(lambda: model._reconstruction(*named.values()), self.asked)
        if self.asked:
            raise StopIteration
