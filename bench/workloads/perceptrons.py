"""Perceptrons of one hidden layer, trained by Adam until their loss on other rows reaches a goal.

All use mini-batches and a ReLU, and shuffle the rows in each epoch. A provider takes a problem and
finds how many epochs reach the goal: the median of a few seeds. What is timed is the complete
training with that seed, which returns a function from rows to outputs.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bench import THREADS
from bench.workloads.goals import Solution, solved

HIDDEN, BATCH, RATE = 100, 200, 0.001  # scikit-learn's defaults
SEEDS = range(3)
MOST = 500  # epochs


class Problem(NamedTuple):
    """Rows and targets for training, others for validation, and the loss to reach on those."""

    x: np.ndarray
    y: np.ndarray
    x_other: np.ndarray
    y_other: np.ndarray
    goal: float

    @property
    def classes(self) -> int:
        """How many classes there are; 0: the targets are numbers."""
        return 0 if self.y.dtype == np.float64 else int(self.y.max()) + 1


Outputs = Callable[[np.ndarray], Any]
"""From rows to probabilities of classes, or to numbers."""


def problem(data: str, goal: float) -> Problem:
    """Return "digits", or "numbers": Friedman's first problem, standardized."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import scale

    if data == "digits":
        x, y = datasets.load_digits(return_X_y=True)
    else:
        x, y = map(scale, datasets.make_friedman1(5000, noise=1.0, random_state=0))
    x, x_other, y, y_other = train_test_split(x, y, random_state=0)
    return Problem(x, y, x_other, y_other, goal)


def expected(p: Problem, fits: int) -> float:
    """Return the loss to reach."""
    return p.goal


def above_goal(p: Problem, outputs: Outputs) -> float:
    """Return the loss on the other rows, or the goal if that is not above it."""
    return max(loss(p, outputs), p.goal)


def loss(p: Problem, outputs: Outputs) -> float:
    """Return the log loss or the mean squared error on the other rows."""
    found = np.asarray(outputs(p.x_other))
    if p.classes:
        return float(-np.log(found[np.arange(len(found)), p.y_other]).mean())
    return float(np.mean((found.ravel() - p.y_other) ** 2))


def trained(p: Problem, epochs: int, seed: int, provider: str) -> Outputs:
    """Train fastbp's or scikit-learn's estimator."""
    from sklearn.exceptions import ConvergenceWarning

    if provider == "fastbp":
        import fastbp as models

        how = {"n_threads": THREADS}
    else:
        from sklearn import neural_network as models

        how = {}
    model = getattr(models, "MLPClassifier" if p.classes else "MLPRegressor")(
        hidden_layer_sizes=(HIDDEN,), batch_size=BATCH, learning_rate_init=RATE, alpha=0.0,
        random_state=seed, max_iter=epochs, tol=0.0, n_iter_no_change=epochs, **how,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(p.x, p.y)
    outputs: Outputs = model.predict_proba if p.classes else model.predict
    return outputs


def trained_by_pytorch(p: Problem, epochs: int, seed: int) -> Outputs:
    """Train in the usual loop."""
    import torch
    from torch import nn

    torch.set_num_threads(THREADS)
    torch.manual_seed(seed)
    layers = nn.Linear(p.x.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, p.classes or 1)
    model = nn.Sequential(*layers).double()
    measure = nn.CrossEntropyLoss() if p.classes else nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    x, y = torch.from_numpy(p.x), torch.from_numpy(p.y)
    y = y if p.classes else y[:, None]
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for start in range(0, len(x), BATCH):
            rows = order[start : start + BATCH]
            optimizer.zero_grad()
            measure(model(x[rows]), y[rows]).backward()
            optimizer.step()

    @torch.no_grad()
    def outputs(rows: np.ndarray) -> Any:
        z = model(torch.from_numpy(rows))
        return (torch.softmax(z, dim=1) if p.classes else z).numpy()

    return outputs


def with_jax(p: Problem) -> tuple[Any, Any]:
    """Return a forward pass, and an epoch over rows in a given order that is compiled once."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def forward(parameters: Any, x: Any) -> Any:
        (w_1, b_1), (w_2, b_2) = parameters
        return jnp.maximum(x @ w_1 + b_1, 0.0) @ w_2 + b_2

    def measure(parameters: Any, x: Any, y: Any) -> Any:
        z = forward(parameters, x)
        if p.classes:
            return (jax.nn.logsumexp(z, axis=1) - z[jnp.arange(len(y)), y]).mean()
        return ((z[:, 0] - y) ** 2).mean()

    def step(state: Any, x: Any, y: Any) -> Any:
        parameters, m, v, t = state
        slopes, t = jax.grad(measure)(parameters, x, y), t + 1
        m = jax.tree.map(lambda m, g: m + 0.1 * (g - m), m, slopes)
        v = jax.tree.map(lambda v, g: v + 0.001 * (g * g - v), v, slopes)
        rate = RATE * jnp.sqrt(1.0 - 0.999**t) / (1.0 - 0.9**t)
        new = jax.tree.map(lambda a, m, v: a - rate * m / (jnp.sqrt(v) + 1e-8), parameters, m, v)
        return new, m, v, t

    @jax.jit
    def epoch(state: Any, x: Any, y: Any, order: Any) -> Any:
        whole = len(order) // BATCH * BATCH
        parts = order[:whole].reshape(-1, BATCH)
        state, _ = jax.lax.scan(lambda s, rows: (step(s, x[rows], y[rows]), None), state, parts)
        rest = order[whole:]
        return step(state, x[rest], y[rest]) if len(rest) else state

    return forward, epoch


def trained_by_jax(p: Problem, epochs: int, seed: int, forward: Any, epoch: Any) -> Outputs:
    """Train from Glorot's initial values."""
    import jax
    import jax.numpy as jnp

    random = np.random.default_rng(seed)
    sizes = (p.x.shape[1], HIDDEN), (HIDDEN, p.classes or 1)
    start = [(random.uniform(-1.0, 1.0, s) * np.sqrt(6.0 / sum(s)), np.zeros(s[1])) for s in sizes]
    zeros = jax.tree.map(np.zeros_like, start)
    state = jax.tree.map(jnp.asarray, (start, zeros, zeros, 0))
    x, y = jnp.asarray(p.x), jnp.asarray(p.y)
    for _ in range(epochs):
        state = epoch(state, x, y, random.permutation(len(x)))
    parameters = jax.block_until_ready(state[0])

    def outputs(rows: np.ndarray) -> Any:
        z = forward(parameters, rows)
        return jax.nn.softmax(z, axis=1) if p.classes else z

    return outputs


def to_the_goal(p: Problem, train: Callable[[Problem, int, int], Outputs]) -> Solution:
    """Return the training whose number of epochs is the median of the seeds'."""

    def reaches(outputs: Outputs) -> bool:
        return loss(p, outputs) <= p.goal

    each = [solved(lambda k, s=seed: train(p, k, s), reaches, MOST) for seed in SEEDS]
    return sorted(each, key=lambda s: s.iterations)[len(each) // 2]


def by_jax(p: Problem) -> Solution:
    """Return trainings whose epoch is compiled before."""
    forward, epoch = with_jax(p)
    return to_the_goal(p, functools.partial(trained_by_jax, forward=forward, epoch=epoch))


PROVIDERS: dict[str, Callable[[Problem], Solution]] = {
    "fastbp": functools.partial(to_the_goal, train=functools.partial(trained, provider="fastbp")),
    "PyTorch": functools.partial(to_the_goal, train=trained_by_pytorch),
    "JAX": by_jax,
    "scikit-learn": functools.partial(
        to_the_goal, train=functools.partial(trained, provider="scikit-learn")
    ),
}
