"""Errors of fastbp, NumPy, PyTorch and JAX, against 50 digits.

The errors of the elementary functions in float64, each computed as its users would with that
library; and of the parameters of a trained neuron in float64 and float32, against the same training
without rounding. The errors depend on the processor: the libraries choose their code by its vector
registers. (``singles.py`` has fastbp's functions in float32, for all arguments that there are.)
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from mpmath import mp

import fastbp
from bench.workloads.neurons import PROVIDERS, Problem
from fastbp.kernels import exponential, losses, vector
from fastbp.kernels.jit import kernel

DIGITS = 50
POINTS = 20_000
EPOCHS = (1, 100, 10_000)
PROBLEMS = 6
UNIT_ROUNDOFFS = {"float64": 2.0**-53, "float32": 2.0**-24}
LN_SMALLEST = math.log(sys.float_info.min)  # -708.4: from here on e**z is a normal number,
LN_LARGEST = math.log(sys.float_info.max)  # 709.8: and up to here finite

Evaluate = Callable[..., Any]


class Error(NamedTuple):
    """Errors in units in the last place (ulp) of the correctly rounded result.

    Infinite where the computed value is infinite or NaN: the exact values are all finite. From
    2**52 = 5e15 on, no digit is right.
    """

    largest: float
    at: float
    mean: float


class Function(NamedTuple):
    """A range of arguments, the exact formula in mpmath, and how each provider computes it."""

    range: tuple[float, float]
    exact: Callable[[Any], Any]
    computed: dict[str, Evaluate]


# --- the functions ------------------------------------------------------------------------


@kernel
def apply_exponential(z: np.ndarray, out: np.ndarray) -> None:
    for i in range(0, z.size, vector.LANES):
        e = exponential.exp(vector.load_first(vector.pointer_to(z), i, z.size - i))
        vector.store_first(vector.pointer_to(out), i, e, z.size - i)


@kernel
def apply_log_loss(z: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    for i in range(0, z.size, vector.LANES):
        zs = vector.load_first(vector.pointer_to(z), i, z.size - i)
        ys = vector.load_first(vector.pointer_to(y), i, z.size - i)
        value, _ = losses.binary_cross_entropy(zs, ys)
        vector.store_first(vector.pointer_to(out), i, value, z.size - i)


def by_kernel(apply: Callable[..., None]) -> Evaluate:
    def evaluate(*arrays: np.ndarray) -> np.ndarray:
        out = np.empty_like(arrays[0])
        apply(*arrays, out)
        return out

    return evaluate


def activation(name: str) -> Evaluate:
    return lambda z: fastbp.predict_neuron(z[:, None], [1.0], 0.0, activation=name)


def in_torch(function: Evaluate) -> Evaluate:
    def evaluate(*arrays: np.ndarray) -> np.ndarray:
        import torch

        return function(torch, *map(torch.from_numpy, arrays)).numpy()

    return evaluate


def in_jax(function: Evaluate) -> Evaluate:
    def evaluate(*arrays: np.ndarray) -> np.ndarray:
        import jax

        jax.config.update("jax_enable_x64", True)
        return np.asarray(function(jax, *map(jax.numpy.asarray, arrays)))

    return evaluate


def of_margin(log_loss: Evaluate) -> Evaluate:
    """Return the log loss as a function of the margin (2 y - 1) z, for y = 1 and 0 in turn."""

    def evaluate(margin: np.ndarray) -> np.ndarray:
        y = 1.0 - np.arange(margin.size) % 2
        return log_loss((2.0 * y - 1.0) * margin, y)

    return evaluate


def numpy_sigmoid(z: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-z))


def numpy_log_loss(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The formula of the textbook: 0, infinite or NaN where a or 1 - a is rounded to 1."""
    a = numpy_sigmoid(z)
    return -(y * np.log(a) + (1.0 - y) * np.log(1.0 - a))


def torch_log_loss(torch: Any, z: Any, y: Any) -> Any:
    """Computed as (1 - y) z - ln a: of a small loss of label 0 only roundings of z are left."""
    return torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")


def jax_log_loss(jax: Any, z: Any, y: Any) -> Any:
    """The formula of optax.sigmoid_binary_cross_entropy."""
    return -y * jax.nn.log_sigmoid(z) - (1.0 - y) * jax.nn.log_sigmoid(-z)


EXPONENTIAL: dict[str, Evaluate] = {
    "fastbp": by_kernel(apply_exponential),
    "NumPy": np.exp,
    "PyTorch": in_torch(lambda torch, z: torch.exp(z)),
    "JAX": in_jax(lambda jax, z: jax.numpy.exp(z)),
}
SIGMOID: dict[str, Evaluate] = {
    "fastbp": activation("sigmoid"),
    "NumPy": numpy_sigmoid,
    "PyTorch": in_torch(lambda torch, z: torch.sigmoid(z)),
    "JAX": in_jax(lambda jax, z: jax.nn.sigmoid(z)),
}
TANH: dict[str, Evaluate] = {
    "fastbp": activation("tanh"),
    "NumPy": np.tanh,
    "PyTorch": in_torch(lambda torch, z: torch.tanh(z)),
    "JAX": in_jax(lambda jax, z: jax.numpy.tanh(z)),
}
LOG_LOSS: dict[str, Evaluate] = {
    "fastbp": of_margin(by_kernel(apply_log_loss)),
    "NumPy": of_margin(numpy_log_loss),
    "NumPy logaddexp": lambda margin: np.logaddexp(0.0, -margin),
    "PyTorch": of_margin(in_torch(torch_log_loss)),
    "PyTorch logsigmoid": in_torch(lambda torch, m: -torch.nn.functional.logsigmoid(m)),
    "JAX": of_margin(in_jax(jax_log_loss)),
}
# Up to where the result leaves the normal numbers. tanh is 1 beyond 20.
FUNCTIONS = {
    "exponential": Function((LN_SMALLEST, LN_LARGEST), mp.exp, EXPONENTIAL),
    "sigmoid": Function(
        (-exponential.LIMIT, exponential.LIMIT), lambda z: 1 / (1 + mp.exp(-z)), SIGMOID
    ),
    "tanh": Function((-20.0, 20.0), mp.tanh, TANH),
    "log loss": Function(
        (-exponential.LIMIT, exponential.LIMIT), lambda m: mp.log1p(mp.exp(-m)), LOG_LOSS
    ),
}


def arguments(ends: tuple[float, float], points: int) -> np.ndarray:
    """Return the ends and, a quarter each: the whole range, -20..20, -2..2, small numbers.

    The small ones have magnitudes from 1e-307 to 1, evenly in the logarithm, and both signs.
    """
    rng = np.random.default_rng(0)
    quarter = points // 4
    uniform = [rng.uniform(a, b, quarter) for a, b in (ends, (-20.0, 20.0), (-2.0, 2.0))]
    small = 10.0 ** rng.uniform(-307.0, 0.0, quarter) * rng.choice([-1.0, 1.0], quarter)
    return np.concatenate([ends, *uniform, small])


@functools.cache
def exact_values(name: str, points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return arguments, the exact values rounded to float64, and the rest of them in ulp."""
    z = arguments(FUNCTIONS[name].range, points)
    with mp.workdps(DIGITS):
        exact = [FUNCTIONS[name].exact(mp.mpf(argument)) for argument in z.tolist()]
        rest = [float((value - float(value)) / math.ulp(float(value))) for value in exact]
    return z, np.array(exact, dtype=np.float64), np.array(rest)


def ways(name: str, provider: str) -> list[str]:
    """Return the ways in which a provider computes a function, the plain one first."""
    return [way for way in FUNCTIONS[name].computed if way.split()[0] == provider]


def function_errors(name: str, provider: str, points: int = POINTS) -> Error:
    """Return a provider's errors in ulp; of the log loss, `at` is the margin (2 y - 1) z."""
    z, rounded, rest = exact_values(name, points)
    with np.errstate(all="ignore"):
        computed = FUNCTIONS[name].computed[provider](z)
        # exact = rounded + rest ulp; computed - rounded is without error where they are close
        errors = np.abs((computed - rounded) / np.spacing(np.abs(rounded)) - rest)
    errors[~np.isfinite(computed)] = np.inf
    worst = errors.argmax()
    return Error(float(errors[worst]), float(z[worst]), float(errors.mean()))


# --- drift of parameters ------------------------------------------------------------------


def problem(seed: int, dtype: str = "float64") -> Problem:
    """Return ten rows of two features; in 100 epochs the parameters reach the order of 1."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((10, 2))
    labels = (x @ rng.standard_normal(2) + rng.standard_normal(10) > 0.0).astype(np.float64)
    numbers = (a.astype(dtype) for a in (x, labels, rng.standard_normal(2) * 0.1))
    return Problem(*numbers, 0.9, "mse", len(x), dtype)


@functools.cache
def exact_parameters(
    seed: int, epochs: int, dtype: str = "float64", digits: int = DIGITS
) -> list[Any]:
    """Return weights and bias after training in that many digits on rows of that dtype."""
    data = problem(seed, dtype)
    with mp.workdps(digits):
        rows = [[*map(mp.mpf, row), mp.one] for row in data.x.tolist()]  # a one for the bias
        labels = [mp.mpf(label) for label in data.y.tolist()]
        parameters = [*map(mp.mpf, data.weights.tolist()), mp.zero]
        step = mp.mpf(data.rate) / len(rows)
        columns = list(zip(*rows, strict=True))
        for _ in range(epochs):
            outputs = [1 / (1 + mp.exp(-mp.fdot(row, parameters))) for row in rows]
            # d (a - y)**2 / d z = 2 (a - y) a (1 - a)
            dz = [2 * (a - y) * a * (1 - a) for a, y in zip(outputs, labels, strict=True)]
            gradient = [mp.fdot(column, dz) for column in columns]
            parameters = [p - step * g for p, g in zip(parameters, gradient, strict=True)]
        return parameters


def difference(parameters: list[Any], exact: list[Any]) -> float:
    """Return the largest difference, relative to the largest exact parameter."""
    with mp.workdps(2 * DIGITS):
        largest = max(abs(p - e) for p, e in zip(parameters, exact, strict=True))
        return float(largest / max(map(abs, exact)))


def drift(provider: str, epochs: int, dtype: str = "float64") -> float:
    """Return the largest error of weights and bias, in units of 2**-53 of the largest of them.

    Of float32, in units of 2**-24.

    The mean over some problems: that of one is a factor of two or more larger or smaller by luck.
    After 10,000 epochs two of them are so near their minimum that every update is rounded away,
    for all providers at about the same place: this is most of the figure.
    """
    errors = []
    for seed in range(PROBLEMS):
        weights, bias, _ = PROVIDERS[provider](problem(seed, dtype))(epochs)
        parameters = [*map(float, weights), float(bias)]
        errors.append(difference(parameters, exact_parameters(seed, epochs, dtype)))
    return float(np.mean(errors)) / UNIT_ROUNDOFFS[dtype]


def drift_title(epochs: int, dtype: str) -> str:
    """Return how a drift is called in the tables."""
    return f"{epochs:,}" if dtype == "float64" else f"{epochs:,}, {dtype}"


def check_exact() -> None:
    """Raise unless twice the digits give the same parameters, far below one rounding error."""
    error = difference(exact_parameters(0, 100), exact_parameters(0, 100, digits=2 * DIGITS))
    if error > 1e-40:
        raise ArithmeticError(f"{DIGITS} digits are not enough: an error of {error:.0e}")
