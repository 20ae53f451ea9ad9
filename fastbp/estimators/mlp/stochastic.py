"""Training a perceptron in mini-batches, with scikit-learn's draws, schedules and stopping."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from fastbp.data.labels import Samples, check_weights
from fastbp.errors import DivergenceError
from fastbp.estimators.mlp.epochs import AfterEpoch, HeldOut
from fastbp.estimators.mlp.solver import Solver
from fastbp.estimators.scikit_learn import Tasks
from fastbp.models.layers import Layers
from fastbp.training.driver import train
from fastbp.training.objective import pass_options
from fastbp.training.optimizers import SGD, Adam
from fastbp.training.problem import Options, Outcome

if TYPE_CHECKING:
    from fastbp.estimators.mlp.base import BaseMLP

CALLER = 6  # frames from a function that `fit_stochastic` calls to whoever called `fit`
AUTO_BATCH = 200
NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and"
    " need to be preprocessed."
)


class Data(NamedTuple):
    """Checked features, labels as the kernels want them, and weights of samples."""

    X: Any
    labels: np.ndarray
    weight: np.ndarray | None

    def part(self, rows: np.ndarray) -> Data:
        """Return some rows."""
        weight = None if self.weight is None else self.weight[rows]
        return Data(self.X[rows], self.labels[rows], weight)


def fit_stochastic(
    model: BaseMLP,
    data: Data,
    validation: Data | None,
    incremental: bool,
    tasks: Tasks,
    accept: Callable[[], None],
) -> None:
    """Train: a whole fit, or `incremental`, one epoch of `partial_fit`.

    `accept` is called when all has been checked.
    """
    solver = model._optimizer = _solver(model, incremental)
    if model.early_stopping and validation is None:
        if incremental:
            raise ValueError(
                "partial_fit does not support early_stopping=True without X_val and y_val"
            )
        data, validation = _split(model, data)
    _prepare(model, incremental)
    samples = model._samples(data)
    layers = model._layers()
    parameters = layers.flat(model.coefs_, model.intercepts_)
    held_out = None if validation is None else _held_out(model, layers, validation)
    after = AfterEpoch(model, solver, len(data.labels), held_out, tasks)
    options = _options(model, samples, solver, incremental, parameters, after)
    problem = layers.problem(parameters, samples, options)
    against = None
    if held_out is not None:
        once = pass_options(held_out.samples.rows.n_rows)
        against = layers.problem(parameters, held_out.samples, once)
    accept()
    model.n_iter_ = 0
    tasks.begin(model._reconstruction)
    with _keeping(model, layers, after):
        outcome = train(problem, options, against)
        _take(model, outcome, layers, after, incremental)


def _solver(model: BaseMLP, incremental: bool) -> Solver:
    """Return the optimizer of this fit: a new one, but where training goes on."""
    old: Solver | None = getattr(model, "_optimizer", None)
    if old is not None and incremental:
        return old
    rate = float(model.learning_rate_init)
    if model.solver == "adam":
        adam = Adam(beta_1=model.beta_1, beta_2=model.beta_2, epsilon=model.epsilon)
        new = Solver(adam, rate, rate)
    else:
        sgd = SGD(momentum=model.momentum, nesterov=bool(model.nesterovs_momentum))
        new = Solver(sgd, rate, rate, model.learning_rate, model.power_t)
    if old is not None and model.warm_start and model.keep_optimizer:
        new.go_on_from(old)
    return new


def _split(model: BaseMLP, data: Data) -> tuple[Data, Data]:
    """Return data to train on and data held out, chosen as scikit-learn does."""
    kept, held_out = train_test_split(
        np.arange(len(data.labels)),
        random_state=model._random_state,
        test_size=model.validation_fraction,
        stratify=data.labels.astype(bool) if model._stratifies() else None,
    )
    if len(held_out) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your"
            " dataset."
        )
    return data.part(kept), data.part(held_out)


def _prepare(model: BaseMLP, incremental: bool) -> None:
    """Begin what early stopping needs, where it does not go on from call to call."""
    if model.early_stopping and model.validation_scores_ is None:  # switched on since the last fit
        model.validation_scores_, model.best_validation_score_ = [], -np.inf
    elif not model.early_stopping and model.best_loss_ is None:
        model.best_loss_ = np.inf
    by_call = incremental and model.early_stopping
    if by_call and not model.__dict__.get("_stops_by_call"):  # the scores of `fit` were others'
        model.best_validation_score_, model._no_improvement_count = -np.inf, 0
    elif by_call:
        return
    model._stops_by_call = by_call
    if model.early_stopping:
        model._keep_best(model.coefs_, model.intercepts_)


def _held_out(model: BaseMLP, layers: Layers, data: Data) -> HeldOut:
    samples = model._samples(data)

    def score(coefs: list[np.ndarray], intercepts: list[np.ndarray]) -> float:
        outputs = model._predicted(data.X, layers, coefs, intercepts)
        return model._score_of(outputs, data.labels, data.weight)

    return HeldOut(samples, score)


def _options(
    model: BaseMLP,
    samples: Samples,
    solver: Solver,
    incremental: bool,
    parameters: np.ndarray,
    after: AfterEpoch,
) -> Options:
    n_rows = samples.rows.n_rows
    batch_rows = AUTO_BATCH if model.batch_size == "auto" else int(model.batch_size)
    if batch_rows > n_rows and model.batch_size != "auto":
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
            stacklevel=CALLER,
        )
    batch_rows = min(batch_rows, n_rows)
    if not model.shuffle:
        check_weights("sample_weight", samples.rows, batch_rows)
    return Options(
        learning_rate=lambda epoch: solver.learning_rate,
        epochs=1 if incremental else model.max_iter,
        batch_rows=batch_rows,
        optimizer=solver.rule,
        shuffle=bool(model.shuffle),
        random=model._random_state,
        draw=_cumulative_orders(),
        alpha=float(model.alpha),
        n_threads=model.n_threads,
        callback=after,
        progress=model.progress,
        state=solver.state_for(parameters),
        resumable=False,
        pauses=True,
    )


def _cumulative_orders() -> Callable[[Any, int], np.ndarray]:
    """Return a way to draw orders as scikit-learn does: each shuffles the one before it."""
    order: np.ndarray | None = None

    def draw(random: Any, n_rows: int) -> np.ndarray:
        nonlocal order
        drawn = random.permutation(n_rows)
        order = drawn if order is None else order[drawn]
        return order

    return draw


@contextlib.contextmanager
def _keeping(model: BaseMLP, layers: Layers, after: AfterEpoch) -> Iterator[None]:
    """Lose nothing that was computed before an exception."""
    try:
        yield
    except DivergenceError as error:
        model._set(error.weights, error.biases)
        after.diverged()
        if not model.early_stopping:
            raise ValueError(NOT_FINITE) from error
        model.coefs_, model.intercepts_ = model._best_coefs, model._best_intercepts
        warnings.warn(
            f"Stochastic Optimizer: diverged in iteration {model.n_iter_}; the parameters with"
            " the best validation score were restored.",
            ConvergenceWarning,
            stacklevel=CALLER + 1,
        )
    except Exception as error:
        outcome = error.__dict__.pop("fit", None)  # that of the callback's own exception
        if isinstance(outcome, Outcome):
            model._set(*layers.named(outcome.parameters).values())
            model._optimizer.keep(outcome.state)
        raise


def _take(
    model: BaseMLP, outcome: Outcome, layers: Layers, after: AfterEpoch, incremental: bool
) -> None:
    """Take over what training gave."""
    model._optimizer.keep(outcome.state)
    model._set(*layers.named(outcome.parameters).values())
    model.stopped_ = "tol" if after.early else outcome.stopped
    if outcome.stopped == "interrupted":
        warnings.warn("Training interrupted by user.", stacklevel=CALLER)
    elif outcome.stopped == "epochs" and not incremental:
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({model.max_iter}) reached and the"
            " optimization hasn't converged yet.",
            ConvergenceWarning,
            stacklevel=CALLER,
        )
    if model.early_stopping and (after.early or not incremental):
        model.coefs_, model.intercepts_ = model._best_coefs, model._best_intercepts
