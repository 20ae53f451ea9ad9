"""The variables of L-BFGS: parameters as they would be if features were standardized."""

from __future__ import annotations

import math
from typing import Self

import numpy as np

from fastbp.data.moments import ColumnMoments
from fastbp.training.objective import Objective

SAMPLE_ROWS, SAMPLE_ELEMENTS = 1024, 2**18
"""Of the first rows, which tell whether all are to be read for their moments."""
CURVATURE = 0.25
"""Of log loss by the pre-activation, at most; that of squares is 1. It need not be exact."""
MOST_EXPONENT = 500  # of a scale: its square is a number, too


class Variables:
    """Packed parameters by which a loss is minimized, and back.

    Weights w of features with means m and deviations s, and biases b, become w s and b + m w:
    those that the features (x - m) / s would have. L-BFGS then takes steps, and ends, as if the
    features were standardized. Scales are powers of two, and means multiples of them: features that
    are standardized already stay as they are, to the bit, and the last digits of the moments, which
    depend on how rows are cut into blocks, make no difference.

    Parameters
    ----------
    means, scales : numpy.ndarray of float64, shape (n_features,)
    n_weights : int
        All weights of the model: the biases of the first layer follow them.
    n_outputs : int
        The neurons of the first layer.
    """

    def __init__(
        self, means: np.ndarray, scales: np.ndarray, n_weights: int, n_outputs: int
    ) -> None:
        self._means, self._scales = means[:, None], scales[:, None]
        self._shape = means.size, n_outputs
        self._weights = slice(0, means.size * n_outputs)
        self._biases = slice(n_weights, n_weights + n_outputs)

    @classmethod
    def of(cls, objective: Objective, n_weights: int, n_outputs: int) -> Self | None:
        """Return those for the features of a problem; None if the parameters may as well stay.

        Most features are scaled alike in all rows: if they are standardized in the first ones, no
        others are read.
        """
        rows = objective.problem.rows
        few = min(rows.n_rows, SAMPLE_ROWS, max(1, SAMPLE_ELEMENTS // rows.n_features))
        found = _of_first(objective, few)
        if found is not None and few < rows.n_rows:
            found = _of_first(objective, rows.n_rows)
        return None if found is None else cls(*found, n_weights, n_outputs)

    def of_parameters(self, packed: np.ndarray) -> np.ndarray:
        """Return the variables of packed parameters."""
        found = packed.copy()
        weights = packed[self._weights].reshape(self._shape)
        found[self._weights] = (weights * self._scales).ravel()
        found[self._biases] += (weights * self._means).sum(axis=0)
        return found

    def parameters(self, variables: np.ndarray) -> np.ndarray:
        """Return the packed parameters of variables."""
        found = variables.copy()
        weights = variables[self._weights].reshape(self._shape) / self._scales
        found[self._weights] = weights.ravel()
        found[self._biases] -= (weights * self._means).sum(axis=0)
        return found

    def gradient(self, packed: np.ndarray) -> np.ndarray:
        """Return the derivatives by the variables of those by packed parameters."""
        found = packed.astype(np.float64)
        weights = found[self._weights].reshape(self._shape)
        weights -= self._means * found[self._biases]
        weights /= self._scales
        return found


def _of_first(objective: Objective, n_rows: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return means and scales as the first so many rows have them; None if they are 0 and 1."""
    problem, moments = objective.problem, objective.moments(n_rows)
    weight = moments.n * (problem.rows.n_rows / n_rows)  # of all rows, if they are like these
    penalty = problem.options.alpha / weight / CURVATURE if weight > 0.0 else 0.0
    return _rounded(moments, penalty)


def _rounded(moments: ColumnMoments, penalty: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Return means and scales, rounded; None if they are 0 and 1.

    Where the penalty bends the loss more than the feature does, it decides on the scale. A column
    that never changes is left to the bias: its mean is all of it.
    """
    means, scales = moments.means, np.hypot(moments.scales, math.sqrt(penalty))
    with np.errstate(invalid="ignore", over="ignore"):
        known = np.isfinite(means) & np.isfinite(scales)
        exponents = np.round(np.log2(np.where(known, scales, 1.0)))
        scales = np.exp2(np.clip(exponents, -MOST_EXPONENT, MOST_EXPONENT))
        whole = np.where(moments.constant, means, scales * np.round(means / scales))
    means = np.where(known & np.isfinite(whole), whole, 0.0)
    return None if not means.any() and (scales == 1.0).all() else (means, scales)


def scale_of_loss(loss: float) -> float:
    """Return a power of two to multiply losses by, so that tolerances go by the first of them.

    Those of SciPy are absolute for losses below 1.
    """
    if not 0.0 < loss < 0.5:
        return 1.0
    return math.ldexp(1.0, min(-math.frexp(loss)[1], 1000))
