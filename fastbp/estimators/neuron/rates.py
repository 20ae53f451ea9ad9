"""A learning rate that is safe for given rows: one over a bound of the loss's curvature."""

from __future__ import annotations

import numpy as np

from fastbp.estimators.neuron.labels import Survey


def curvature(loss: str, activation: str, n_outputs: int) -> float:
    """Return the most that a row's loss bends: its second derivative by a pre-activation.

    For the squared errors of sigmoid and tanh, labels are taken to be possible outputs. Half of
    the sigmoid's bends the most for y = 0: a**2 (1 - a) (2 - 3 a), at a = (15 - sqrt(33))/24
    0.0771. tanh is a sigmoid twice as high and twice as steep, which makes it 16 times that.
    """
    if loss == "bce":
        return 0.25  # a (1 - a)
    half = {"identity": 1.0, "relu": 1.0, "sigmoid": 0.0771, "tanh": 16 * 0.0771}[activation]
    return 2.0 * half / n_outputs if loss == "mse" else half


def smoothness(found: Survey, weights: np.ndarray, bend: float, n_rows: int, batch: int) -> float:
    """Return a bound of the Hessian's largest eigenvalue, for batches of this size.

    Of all rows it is bend (mean |x|**2 + 1), the Hessian's trace; of one row, bend (max |x|**2 +
    1). Batches between lie between: the expected smoothness of Gower et al., SGD: General Analysis
    and Improved Rates, ICML 2019, for batches drawn from all rows. Four times the mean more, in
    the part of the single rows, keeps what their noise adds to the loss at an eighth (Widrow and
    Stearns, Adaptive Signal Processing, 1985: rate times trace over two).
    """
    total = float(weights @ found.weights)
    mean = float(weights @ found.squares) / total if total > 0.0 else found.longest
    single = (n_rows - batch) / (batch * (n_rows - 1)) if n_rows > batch else 0.0
    return bend * ((1.0 - single) * mean + single * (found.longest + 4.0 * mean) + 1.0)
