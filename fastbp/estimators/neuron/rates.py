"""A learning rate that is safe for given rows: one over a bound on the loss's curvature."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp.data.checks import INFINITE
from fastbp.data.rows import Rows
from fastbp.errors import DataError
from fastbp.estimators.neuron.labels import Survey
from fastbp.models.activations import ACTIVATIONS
from fastbp.models.losses import LOSSES


def curvature(loss: str, activation: str, n_outputs: int) -> float:
    """Return an upper bound on the second derivative of a row's loss with respect to z."""
    return LOSSES[loss].curvature(ACTIVATIONS[activation].curvature, n_outputs)


def smoothness(
    found: Survey,
    weights: np.ndarray,
    bound: float,
    rows: Rows,
    batch: int,
    alpha: float,
    dtype: np.dtype[Any],
) -> float:
    """Return a bound on the Hessian's largest eigenvalue, for batches of this size.

    For all rows at once it is bound (mean |x|**2 + 1), from the Hessian's trace; for single rows,
    bound (max |x|**2 + 1); for batches of other sizes, in between: the expected smoothness of
    Gower et al., SGD: General Analysis and Improved Rates, ICML 2019, for batches drawn from all
    rows. In the part of the single rows, another 4 mean |x|**2 keeps the excess loss due to
    gradient noise at one eighth (Widrow and Stearns, Adaptive Signal Processing, 1985: rate times
    trace over two). The penalty adds alpha over the smallest batch's mean sum of weights.
    """
    n_rows, total = rows.n_rows, float(weights @ found.weights)
    mean = float(weights @ found.squares) / total if total > 0.0 else found.longest
    single = (n_rows - batch) / (batch * (n_rows - 1)) if n_rows > batch else 0.0
    smooth = bound * ((1.0 - single) * mean + single * (found.longest + 4.0 * mean) + 1.0)
    smooth += alpha / ((total / n_rows or 1.0) * (n_rows % batch or batch))
    if not smooth < INFINITE[dtype]:
        raise DataError(
            f"{rows.name}: expected features whose squares {dtype} can hold, got larger ones;"
            " scale them, or set learning_rate_init"
        )
    return smooth
