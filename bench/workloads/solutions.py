"""Linear models, fitted until their objective is within 1e-4, relatively, of the least.

The objective is the mean loss, the log loss or half the squared error, plus ALPHA/2 times the sum
of the squared weights over the number of rows; intercepts are not penalized. A provider takes a
problem and finds the fewest iterations that reach the goal; what is timed is the complete fit with
them, from NumPy's arrays to NumPy's arrays.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bench import THREADS
from bench.workloads.goals import Solution, fastest, solved, tried

ALPHA = 1.0
NEAR = 1e-4  # relatively, of the least objective
MOST = 1000  # iterations
MOST_EPOCHS, MOST_ROWS = 200, 5_000_000  # of stochastic gradient descent
NEVER = 1e-12  # a tolerance that ends no fit before its iterations do
SOLVERS = {  # of scikit-learn; "saga" takes 7 to 30 times as long as the fastest of these
    "LogisticRegression": ("lbfgs", "newton-cholesky", "newton-cg"),
    "Ridge": ("cholesky", "lsqr", "sparse_cg", "svd"),
}


class Problem(NamedTuple):
    """Rows, targets (numbers, or classes from 0), the number of outputs, the least objective."""

    x: np.ndarray
    y: np.ndarray
    outputs: int
    least: float

    @property
    def classes(self) -> bool:
        """Whether the targets are classes."""
        return self.y.dtype != np.float64


Parameters = tuple[Any, Any]
"""Weights (D,) or (D, K), and an intercept or K of them."""
Gradient = Callable[[np.ndarray], tuple[Any, Any]]
"""From flat parameters, the weights first, to the objective and its gradient."""


def problem(data: str, n: int = 0, d: int = 0) -> Problem:
    """Return "breast cancer" (standardized), "digits" / 16, or what is synthetic.

    That is "classes", "numbers", or numbers of "correlated" features.
    """
    has_numbers = data in ("numbers", "correlated")
    if data == "classes" or has_numbers:
        from fastbp.datasets import make_neuron_dataset

        x, y, weights, bias = make_neuron_dataset(n, d, noise=2.0, seed=0)
        if data == "correlated":
            x = x @ np.random.default_rng(1).standard_normal((d, d))
        if has_numbers:
            y = x @ weights + bias + 2.0 * np.random.default_rng(0).standard_normal(n)
    else:
        from sklearn import datasets
        from sklearn.preprocessing import scale

        digits = data == "digits"
        load = datasets.load_digits if digits else datasets.load_breast_cancer
        x, y = load(return_X_y=True)
        x = x / 16.0 if digits else scale(x)
    y = y if has_numbers else y.astype(np.int64)
    several = not has_numbers and y.max() > 1
    p = Problem(x, y, int(y.max()) + 1 if several else 1, np.nan)
    return p._replace(least=objective(p, minimized(with_numpy(p), p, 100 * MOST)))


def expected(p: Problem, fits: int) -> float:
    """Return the least objective."""
    return p.least


def objective(p: Problem, parameters: Parameters) -> float:
    """Return the objective at these parameters."""
    weights, intercepts = map(np.asarray, parameters)
    return float(with_numpy(p)(np.append(weights, intercepts))[0])


def near(p: Problem, parameters: Parameters) -> bool:
    """Return whether the goal is reached."""
    return objective(p, parameters) <= p.least * (1.0 + NEAR)


# --- objectives -----------------------------------------------------------------------------------


def split(p: Problem, flat: Any) -> tuple[Any, Any]:
    """Return the weights and intercepts of flat parameters."""
    if p.outputs == 1:
        return flat[:-1], flat[-1]
    return flat[: -p.outputs].reshape(-1, p.outputs), flat[-p.outputs :]


def with_numpy(p: Problem) -> Gradient:
    """Return the objective and its gradient in NumPy, each row read twice."""
    y = p.y if p.outputs > 1 else p.y.astype(np.float64)
    loss_of = half_squares if not p.classes else log_losses if p.outputs == 1 else cross_entropies

    def gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights, intercepts = split(p, flat)
        loss, dz = loss_of(p.x @ weights + intercepts, y)
        loss += 0.5 * ALPHA * np.vdot(weights, weights)
        dw = p.x.T @ dz + ALPHA * weights
        return loss / len(y), np.append(dw, dz.sum(axis=0)) / len(y)

    return gradient


def half_squares(z: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the sum of half the squared errors, and its derivatives."""
    dz = z - y
    return 0.5 * np.vdot(dz, dz), dz


def log_losses(z: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the sum of the log losses of two classes, and its derivatives."""
    e = np.exp(-np.abs(z))
    loss = np.maximum(z, 0.0).sum() + np.log1p(e).sum() - np.vdot(y, z)
    return loss, np.where(z >= 0.0, 1.0, e) / (1.0 + e) - y


def cross_entropies(z: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the sum of the log losses of several classes, and its derivatives."""
    rows = np.arange(len(y))
    z -= z.max(axis=1, keepdims=True)
    e = np.exp(z)
    sums = e.sum(axis=1, keepdims=True)
    loss = np.log(sums).sum() - z[rows, y].sum()
    e /= sums
    e[rows, y] -= 1.0
    return loss, e


def with_jax(p: Problem) -> Any:
    """Return a compiled function of parameters, rows and targets: objective and gradient."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def loss(flat: Any, x: Any, y: Any) -> Any:
        weights, intercepts = split(p, flat)
        z = x @ weights + intercepts
        if not p.classes:
            losses = 0.5 * (z - y) ** 2
        elif p.outputs == 1:
            losses = jax.nn.softplus(z) - y * z
        else:
            losses = jax.nn.logsumexp(z, axis=1) - z[jnp.arange(len(y)), y]
        return losses.mean() + 0.5 * ALPHA / len(y) * (weights**2).sum()

    return jax.jit(jax.value_and_grad(loss))


# --- fits -----------------------------------------------------------------------------------------


def minimized(gradient: Gradient, p: Problem, iterations: int) -> Parameters:
    """Minimize with SciPy's L-BFGS-B, from zeros."""
    from scipy.optimize import minimize

    start = np.zeros((p.x.shape[1] + 1) * p.outputs)
    options = {"maxiter": iterations, "maxfun": 10 * iterations, "ftol": 0.0, "gtol": NEVER}
    found = minimize(gradient, start, method="L-BFGS-B", jac=True, options=options)
    return split(p, found.x)


def fit_with_fastbp(p: Problem, iterations: int) -> Parameters:
    """This package's estimators, as they are."""
    import fastbp

    kind = fastbp.NeuronClassifier if p.classes else fastbp.NeuronRegressor
    return fitted(p, kind(alpha=ALPHA, max_iter=iterations, n_threads=THREADS))


def fit_with_scipy(p: Problem, iterations: int) -> Parameters:
    """SciPy's L-BFGS-B, over NumPy's gradient."""
    return minimized(with_numpy(p), p, iterations)


def fit_with_pytorch(p: Problem, iterations: int) -> Parameters:
    """PyTorch's L-BFGS, over automatic differentiation."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(THREADS)
    x, y = torch.from_numpy(p.x), torch.from_numpy(p.y)
    y = y if p.outputs > 1 else y.double()
    flat = torch.zeros((x.shape[1] + 1) * p.outputs, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [flat], max_iter=iterations, max_eval=10 * iterations, line_search_fn="strong_wolfe",
        tolerance_grad=NEVER, tolerance_change=0.0,
    )  # fmt: skip

    def closure() -> Any:
        optimizer.zero_grad()
        weights, intercepts = split(p, flat)
        z = x @ weights + intercepts
        if not p.classes:
            loss = 0.5 * functional.mse_loss(z, y)
        elif p.outputs == 1:
            loss = functional.binary_cross_entropy_with_logits(z, y)
        else:
            loss = functional.cross_entropy(z, y)
        loss = loss + 0.5 * ALPHA / len(y) * weights.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return split(p, flat.detach().numpy())


def fitted(p: Problem, model: Any) -> Parameters:
    """Fit a model of scikit-learn's interface."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(p.x, p.y)
    weights, intercepts = np.asarray(model.coef_), np.asarray(model.intercept_)
    return (weights.T, intercepts) if p.outputs > 1 else (weights.ravel(), intercepts)


def linear_model(p: Problem, iterations: int, name: str, **how: Any) -> Parameters:
    """Fit one of scikit-learn's linear models."""
    from sklearn import linear_model as models

    if name != "LinearRegression":
        how |= {"max_iter": iterations}
    return fitted(p, getattr(models, name)(**how))


# --- providers ------------------------------------------------------------------------------------


def to_the_goal(fit: Callable[[Problem, int], Parameters]) -> Callable[[Problem], Solution]:
    """Return what prepares the fits of one way."""
    return lambda p: solved(functools.partial(fit, p), functools.partial(near, p), MOST)


def by_jax(p: Problem) -> Solution:
    """SciPy's L-BFGS-B, over JAX's gradient, which is compiled before."""
    import jax.numpy as jnp

    function = with_jax(p)

    def fit(iterations: int) -> Parameters:
        x, y = jnp.asarray(p.x), jnp.asarray(p.y)

        def gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = function(flat, x, y)
            return float(value), np.asarray(slope)

        return minimized(gradient, p, iterations)

    return solved(fit, functools.partial(near, p), MOST)


def by_scikit_learn(p: Problem) -> Solution:
    """LogisticRegression or Ridge, whichever of its solvers is fastest."""
    name = "LogisticRegression" if p.classes else "Ridge"
    how = {"tol": NEVER, **({"C": 1.0 / ALPHA} if p.classes else {"alpha": ALPHA})}
    fits = {
        solver: functools.partial(linear_model, p, name=name, solver=solver, **how)
        for solver in SOLVERS[name]
    }
    return fastest(fits, functools.partial(near, p), MOST)


def by_stochastic_descent(p: Problem) -> Solution:
    """SGDClassifier, with its schedule; it may not reach the goal in as many epochs as it has."""
    fit = functools.partial(
        linear_model, p, name="SGDClassifier", loss="log_loss", alpha=ALPHA / len(p.y), tol=None,
        random_state=0,
    )  # fmt: skip
    most = min(MOST_EPOCHS, max(10, MOST_ROWS // len(p.y)))
    return tried(fit, functools.partial(near, p), most)


def by_least_squares(p: Problem) -> Solution:
    """LinearRegression: without a penalty, which makes no difference to these problems."""
    fit = functools.partial(linear_model, p, name="LinearRegression")
    return solved(fit, functools.partial(near, p), 1)


COMMON: dict[str, Callable[[Problem], Solution]] = {
    "fastbp": to_the_goal(fit_with_fastbp),
    "SciPy": to_the_goal(fit_with_scipy),
    "PyTorch": to_the_goal(fit_with_pytorch),
    "JAX": by_jax,
    "scikit-learn": by_scikit_learn,
}
# Not of several classes: SGDClassifier separates each from all others, which is another objective.
TWO_CLASSES = {**COMMON, "SGDClassifier": by_stochastic_descent}
NUMBERS = {**COMMON, "LinearRegression": by_least_squares}
