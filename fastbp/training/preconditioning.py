"""Variables for a problem: what its rows tell of how its loss bends."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastbp.data.moments import ColumnMoments, centred
from fastbp.data.rows import Block
from fastbp.kernels import layout
from fastbp.kernels.activations import IDENTITY
from fastbp.kernels.losses import BCE, CROSS_ENTROPY, HALF_MSE, MSE
from fastbp.training.objective import Objective
from fastbp.training.problem import Problem
from fastbp.training.variables import Decorrelated, Standardized, Variables

SAMPLE_ROWS, SAMPLE_ROWS_PER_FEATURE = 1024, 32
"""How many of the first rows tell what all are like: the larger of the two numbers."""
SAMPLE_ELEMENTS = 2**18  # of them at most
CURVATURE = 0.25
"""Of log loss by the pre-activation, at most, where no other is known; it need not be exact."""
MOST_EXPONENT = 500  # of a scale: its square is a number, too
MOST_FEATURES = 256  # with correlations: the matrices of more would take longer than the rows
ROWS_PER_FEATURE = 8
"""With fewer rows classes can often be told apart, and then few of the rows bend the loss."""
ROUNDING = {"float64": 1e-8, "float32": 1e-4}
"""Directions in which rows differ by less are lost among the rounding errors of a gradient, and
where means are large beside deviations, so are others."""
SHRINKAGE, SHRINKAGE_OF_SQUARES = 0.02, 0.001
"""Of the correlations, towards none: they change on the way, as rows bend the loss less, and the
rows after the first may have others. Less takes fewer iterations if they have not."""
MOST_CHANCE = 0.5  # in the correlations of the first rows
DOUBLINGS = 6  # of Newton's step, at most
MOST_PARABOLAS = 4.0
"""The first step, in steps to where a parabola would be at 0: log loss goes on falling after that,
but rows of which the first know nothing may be in the way."""


class _Output(NamedTuple):
    """An output a(z) of labels y, where the loss has the derivative a(z) - y times a multiple."""

    function: Callable[[np.ndarray], np.ndarray]
    multiple: float = 1.0
    slope: float = 1.0
    """Of the function, roughly: a scale for the penalty, and for where to look for a minimum."""
    is_linear: bool = False


class _Sample(NamedTuple):
    """The first rows, and what they tell.

    Attributes
    ----------
    features, centred : numpy.ndarray of float64, shape (n, n_features)
        As they are, and less their means here.
    labels : numpy.ndarray, shape (n, n_outputs), or (n, 1) of class indices
    weight : numpy.ndarray, shape (n,), or None
        The mean is 1.
    moments : ColumnMoments
    total : float
        The weights of all rows, if they are like these. (Those of all, summed up block by block,
        would have other last digits where blocks are cut elsewhere.)
    is_all : bool
        Whether there are no others.
    """

    features: np.ndarray
    centred: np.ndarray
    labels: np.ndarray
    weight: np.ndarray | None
    moments: ColumnMoments
    total: float
    is_all: bool

    def mean(self, values: np.ndarray) -> float:
        """Return the mean of a number of each row."""
        return float(values.mean() if self.weight is None else self.weight @ values / len(values))

    def outputs(self, packed: np.ndarray) -> np.ndarray:
        """Return the pre-activations of a single layer."""
        rows = packed.reshape(self.features.shape[1] + 1, -1)
        found: np.ndarray = self.features @ rows[:-1] + rows[-1]
        return found


def variables_of(
    objective: Objective, packed: np.ndarray, loss: float, gradient: np.ndarray
) -> tuple[Variables | None, float]:
    """Return variables for a problem, and how long the first step in them is to be.

    None stands for the packed parameters themselves. Loss and gradient are those there.

    Scales are powers of two, and means multiples of them, so that standardized features stay as
    they are, and the last digits of the moments, which depend on how rows are cut into blocks, make
    no difference. Most features are scaled alike in all rows: if they are standardized in the first
    ones, no others are read.

    A single layer's loss bends as its features' covariances say, as long as all rows bend it alike.
    Its variables are those of features without correlations, as far as the first rows tell,
    and the first step down the gradient is as long as they say.
    """
    problem, rows = objective.problem, objective.problem.rows
    alpha, (n_weights, n_outputs, is_only_layer) = problem.options.alpha, _sizes(problem)
    block = objective.first_rows(_sample_rows(rows.n_features, rows.n_rows))
    sample, moments = _sample(block, rows.n_rows), None
    found = None if sample is None else _scales(sample.moments, alpha, sample.total)
    if sample is None or (found is not None and not sample.is_all):
        moments = objective.moments(block.features[0])
        found = _scales(moments, alpha, moments.n)
    variables: Variables | None = None
    if found is not None:
        variables = Standardized(*found, n_weights, n_outputs)
    if sample is None or not is_only_layer:
        return variables, 1.0
    output = _output_of(problem, n_outputs)
    with np.errstate(over="ignore", invalid="ignore"):
        means, scales = sample.moments.means, sample.moments.scales
        if moments is not None:
            means, scales = _to_three_digits(moments)
        factor = _factor(problem, output, sample, means, scales)
        if factor is not None:
            variables = Decorrelated(means, scales, factor)
        if output is None:
            return variables, 1.0
        point = packed, loss, gradient
        return variables, _first_step(problem, output, sample, variables, *point)


def _sample_rows(n_features: int, n_rows: int) -> int:
    enough = max(SAMPLE_ROWS, SAMPLE_ROWS_PER_FEATURE * n_features)
    return min(n_rows, enough, max(1, SAMPLE_ELEMENTS // n_features))


def _sample(block: Block, n_rows: int) -> _Sample | None:
    """Return the sample in the first block of so many rows; None if none of it has a weight."""
    features, weight = block.features, block.weight
    found, moments = centred(features, features[0], weight), ColumnMoments(features.shape[1])
    if found is None:
        return None
    moments.origin = features[0]
    moments.add(found[1])
    if weight is not None:
        weight = weight * (len(weight) / moments.n)
    total, is_all = moments.n * (n_rows / len(features)), n_rows == len(features)
    assert block.labels is not None
    return _Sample(features, found[0], block.labels, weight, moments, total, is_all)


def _scales(
    moments: ColumnMoments, alpha: float, total: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return means and scales, rounded; None if they are 0 and 1.

    Where the penalty bends the loss more than the feature does, it decides on the scale. A column
    that never changes is left to the bias: its mean is all of it.
    """
    penalty = alpha / total / CURVATURE
    means, scales = moments.means, np.hypot(moments.scales, math.sqrt(penalty))
    with np.errstate(invalid="ignore", over="ignore"):
        known = np.isfinite(means) & np.isfinite(scales)
        exponents = np.round(np.log2(np.where(known, scales, 1.0)))
        scales = np.exp2(np.clip(exponents, -MOST_EXPONENT, MOST_EXPONENT))
        whole = np.where(moments.constant, means, scales * np.round(means / scales))
    means = np.where(known & np.isfinite(whole), whole, 0.0)
    return None if not means.any() and (scales == 1.0).all() else (means, scales)


def _to_three_digits(moments: ColumnMoments) -> tuple[np.ndarray, np.ndarray]:
    """Return means and scales, rounded little enough for correlations to fit them."""
    mantissas, exponents = np.frexp(np.where(np.isfinite(moments.scales), moments.scales, 1.0))
    scales = np.ldexp(np.round(mantissas * 1024.0) / 1024.0, exponents)
    means = np.where(
        moments.constant, moments.means, scales * np.round(moments.means / scales * 1024.0) / 1024.0
    )
    return np.where(np.isfinite(means), means, 0.0), scales


def _sizes(problem: Problem) -> tuple[int, int, bool]:
    """Return how many weights and first neurons there are, and whether there is one layer only."""
    weights, biases = problem.named(problem.parameters).values()
    if isinstance(weights, list):
        return sum(w.size for w in weights), len(biases[0]), len(weights) == 1
    return weights.size, 1, True


def _output_of(problem: Problem, n_outputs: int) -> _Output | None:
    """Return the output of a single layer, if its loss is one of those."""
    from scipy.special import expit, softmax  # scipy.optimize, which is needed next, takes longer

    settings, loss = problem.settings, problem.settings[layout.LOSS]
    if loss == BCE:
        return _Output(expit, slope=0.25)
    if loss == CROSS_ENTROPY:
        return _Output(lambda z: softmax(z, axis=1), slope=1.0 / n_outputs)
    code = problem.table[layout.LAYER_ACTIVATION] if problem.table else settings[layout.ACTIVATION]
    if code == IDENTITY and loss in (MSE, HALF_MSE):
        return _Output(lambda z: z, 2.0 / n_outputs if loss == MSE else 1.0, is_linear=True)
    return None


def _factor(
    problem: Problem,
    output: _Output | None,
    sample: _Sample,
    means: np.ndarray,
    scales: np.ndarray,
) -> np.ndarray | None:
    """Return the Cholesky factor of the features' correlations; None if they say little.

    A column that never changes in the sample has none.
    """
    n_features = scales.size
    bends_alike = output is not None and output.is_linear
    enough = bends_alike or problem.rows.n_rows >= ROWS_PER_FEATURE * n_features
    if n_features > MOST_FEATURES or not enough:
        return None
    x = sample.centred / sample.moments.scales
    if sample.weight is not None:
        x *= np.sqrt(sample.weight)[:, None]
    matrix = x.T @ x / len(x)
    if not sample.is_all and _chance(x, matrix) > MOST_CHANCE:
        return None
    dtype = problem.parameters.dtype
    shrinkage = SHRINKAGE
    if bends_alike:
        shrinkage = ROUNDING[dtype.name] if sample.is_all else SHRINKAGE_OF_SQUARES
    varies = ~sample.moments.constant
    distance = np.abs(means / scales)[varies].max(initial=0.0)
    matrix *= 1.0 - min(1.0, max(shrinkage, float(distance * np.finfo(dtype).eps)))
    curvature = CURVATURE if output is None else output.multiple * output.slope
    penalty = problem.options.alpha / sample.total / curvature
    np.fill_diagonal(matrix, 1.0 + penalty / scales**2)
    known = math.isfinite(matrix.sum()) and math.isfinite(scales.sum())
    return np.linalg.cholesky(matrix) if known else None


def _chance(x: np.ndarray, matrix: np.ndarray) -> float:
    """Return the share of chance in how much an estimate differs from the unit matrix.

    The squares of its elements' standard errors, over those of the differences: the shrinkage of
    Ledoit and Wolf (Journal of Multivariate Analysis 88, 2004). As a decision only: small variances
    along some direction, which matter here, are estimated with small errors.
    """
    squares = np.vdot(matrix, matrix)
    fourth = np.square(np.einsum("ij,ij->i", x, x)).mean()
    distance = squares - matrix.trace() ** 2 / len(matrix)
    return float((fourth - squares) / len(x) / distance) if distance > 0.0 else 1.0


def _first_step(
    problem: Problem,
    output: _Output,
    sample: _Sample,
    variables: Variables | None,
    packed: np.ndarray,
    loss: float,
    gradient: np.ndarray,
) -> float:
    """Return the length of the step down the gradient to the least loss; 1 if that is unknown."""
    slopes = gradient if variables is None else variables.gradient(gradient)
    fall = float(np.linalg.norm(slopes))
    if not 0.0 < fall < math.inf:
        return 1.0
    down = slopes / -fall
    if variables is not None:
        down = variables.parameters(down)
    length = _length(problem, output, sample, packed, down, fall)
    length = min(length, MOST_PARABOLAS * 2.0 * loss / fall)
    return length if 0.0 < length < math.inf else 1.0


def _length(
    problem: Problem,
    output: _Output,
    sample: _Sample,
    packed: np.ndarray,
    down: np.ndarray,
    fall: float,
) -> float:
    """Return how many times `down` leads to the least loss, as far as the sample tells.

    The loss of all rows falls by `fall` for each of them at first, and then by less as the outputs
    change. The mean of these changes is estimated by regression on how fast the loss of each row
    falls at first, of which the mean over all rows is known (Cochran, Sampling Techniques, 1977,
    chapter 7).
    """
    z, dz = sample.outputs(packed), sample.outputs(down)
    outputs = output.function(z)
    weights, slopes = packed[: -dz.shape[1]], down[: -dz.shape[1]]
    penalty = problem.options.alpha / sample.total
    of_penalty = penalty * float(slopes @ slopes)
    falls = output.multiple * (_of_labels(problem, sample, dz) - (outputs * dz).sum(axis=1))
    mean_fall = sample.mean(falls)
    deviations = falls - mean_fall
    variance = sample.mean(deviations**2)
    of_all = fall + penalty * float(weights @ slopes)
    correction = (of_all - mean_fall) / variance if variance > 0.0 else 0.0

    def fall_at(length: float) -> float:
        changes = ((output.function(z + length * dz) - outputs) * dz).sum(axis=1)
        change = sample.mean(changes) + correction * sample.mean(changes * deviations)
        return fall - output.multiple * change - length * of_penalty

    bend = output.multiple * output.slope * sample.mean((dz * dz).sum(axis=1)) + of_penalty
    newton = fall / bend if bend > 0.0 else 0.0
    return _root(fall_at, fall, newton) if 0.0 < newton < math.inf else 0.0


def _root(function: Callable[[float], float], at_0: float, guess: float) -> float:
    """Return about where a function that falls from `at_0`, above 0, is 0."""
    low, at_low, high = 0.0, at_0, guess
    for _ in range(DOUBLINGS):
        at_high = function(high)
        if not at_high > 0.0:
            break
        low, at_low, high = high, at_high, 2.0 * high
    else:
        return low
    for _ in range(2):  # of regula falsi
        between = low + (high - low) * at_low / (at_low - at_high)
        at_between = function(between)
        if abs(at_between) < at_0 / 100.0:
            break
        if at_between > 0.0:
            low, at_low = between, at_between
        else:
            high, at_high = between, at_between
    return between


def _of_labels(problem: Problem, sample: _Sample, dz: np.ndarray) -> np.ndarray:
    """Return the sums of labels times numbers of each output."""
    if problem.samples.class_indices:
        return np.take_along_axis(dz, sample.labels.astype(np.intp), axis=1)[:, 0]
    found: np.ndarray = (sample.labels * dz).sum(axis=1)
    return found
