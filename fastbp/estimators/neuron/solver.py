"""Which optimizer trains neurons, and the rows of its batches."""

from __future__ import annotations

from typing import Any, Literal

from fastbp.arguments import describe
from fastbp.data.rows import Rows
from fastbp.estimators.names import optimizer_of
from fastbp.training.optimizers import LBFGS, OPTIMIZERS, Optimizer, OptimizerName

SolverName = Literal["auto", OptimizerName]  # for type checkers
SOLVERS = ("auto", *OPTIMIZERS)
USUAL_BATCH = 200
"""Rows of a batch of `partial_fit` where nothing is said, as in scikit-learn's perceptrons.

On a cluster all rows are one batch: smaller ones must be whole groups there.
"""


def solver_of(settings: Any, rows: Rows, incremental: bool) -> tuple[Optimizer, int | None]:
    """Return an estimator's optimizer, and the rows of a batch, None for all of them.

    `incremental` is for ``partial_fit``.
    """
    batch_size: int | None = settings.batch_size
    if isinstance(settings.solver, str) and settings.solver == "auto":
        given = batch_size is not None or not _is_auto(settings.learning_rate_init)
        if not (incremental or given):
            return optimizer_of(settings, "lbfgs"), None
        usual = USUAL_BATCH if incremental and rows.cluster is None else None
        return optimizer_of(settings, "sgd"), usual if batch_size is None else batch_size
    rule = optimizer_of(settings)
    if type(rule) is not LBFGS:
        return rule, batch_size
    if incremental:
        raise ValueError(
            "solver: expected 'auto', 'sgd' or another that trains by batches with partial_fit, got"
            f" {settings.solver!r}, which goes over all rows again and again"
        )
    if batch_size is not None and batch_size < rows.n_rows:
        raise ValueError(
            f"batch_size: expected None, or at least the {rows.n_rows} rows, with solver='lbfgs',"
            f" which computes the loss of all rows for each step, got {batch_size}"
        )
    if not _is_auto(settings.learning_rate_init):
        raise ValueError(
            "learning_rate_init: expected 'auto' with solver='lbfgs', whose line search chooses"
            f" the steps, got {describe(settings.learning_rate_init)}"
        )
    return rule, None


def rate_follows_from_rows(settings: Any, rule: Optimizer) -> bool:
    """Return whether the learning rate is to be found from the rows."""
    usual = rule.usual_rate is not None or type(rule) is LBFGS
    return _is_auto(settings.learning_rate_init) and not usual


def usual_rate(settings: Any, rule: Optimizer) -> Any:
    """Return the learning rate that is given, or the optimizer's usual one, None if none is."""
    given = settings.learning_rate_init
    return rule.usual_rate if _is_auto(given) else given


def when_to_stop(settings: Any, rule: Optimizer) -> dict[str, Any]:
    """Return the arguments of ``fit_*`` that say so: L-BFGS has tolerances of its own."""
    held_out = float(settings.validation_fraction) if settings.early_stopping else None
    if type(rule) is LBFGS and held_out is None:
        return {}
    how = {"tol": settings.tol, "n_iter_no_change": settings.n_iter_no_change}
    return {**how, "validation": held_out}


def complaint(settings: Any, rule: Optimizer, fit: Any) -> str | None:
    """Return what to warn of: a fit that has not converged, or has not learned."""
    if fit.stopped == "epochs" and settings.tol is not None:
        if type(rule) is LBFGS:
            return (
                f"reached max_iter={settings.max_iter} before L-BFGS had converged: raise alpha or"
                f" max_iter, or set solver=fastbp.LBFGS(gtol=...) above {rule.gtol}"
            )
        return (
            f"reached max_iter={settings.max_iter} while the loss still fell by more than"
            f" tol={settings.tol}: scale the features (StandardScaler), or raise either"
        )
    if fit.stopped == "tol" and fit.losses.size and fit.losses[-1] > fit.losses[0]:
        return "ended with a higher loss than it began with: lower learning_rate_init"
    return None


def _is_auto(rate: Any) -> bool:
    return isinstance(rate, str)  # the only text that is valid
