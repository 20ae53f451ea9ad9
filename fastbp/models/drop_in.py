"""The drop-in ``train_neuron``: lists in, rounded lists out."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.arguments import FLOAT64
from fastbp.data.arrays import rows_of
from fastbp.data.labels import samples
from fastbp.kernels import neuron as kernels
from fastbp.models.neuron import NeuronModel
from fastbp.training.driver import train
from fastbp.training.problem import Options

SMALL_WORK = 10**7  # units of the short way, 2 to 4 ms; an epoch costs 500 besides its rows


def train_neuron(
    features: Any,
    labels: Any,
    initial_weights: Any,
    initial_bias: float,
    learning_rate: float,
    epochs: int,
) -> tuple[list[float], float, list[float]]:
    """Train one sigmoid neuron on the mean squared error by full-batch gradient descent.

    The drop-in for the plain NumPy function of this name: the same numbers, rounded to four
    decimals as :func:`numpy.round` does, as plain Python objects. Unlike that one, it requires
    finite features, labels and initial values. The arguments are never changed. Ctrl-C raises
    ``KeyboardInterrupt``.

    Parameters
    ----------
    features : array-like, shape (n_samples, n_features), or Rows
        Real numbers: floats, integers or booleans.
    labels : array-like, shape (n_samples,)
    initial_weights : array-like, shape (n_features,)
    initial_bias, learning_rate : float
    epochs : int
        0 gives the initial values and no losses.

    Returns
    -------
    updated_weights : list of float
    updated_bias : float
    mse_values : list of float
        The mean squared error before each update.

    Raises
    ------
    TypeError
        Text, complex numbers, or a non-number where a number is expected.
    ValueError
        Inconsistent shapes, a negative number of epochs, a rate or bias that is not finite.
    DataError
        A ragged or non-finite row (a ``ValueError``, too).
    DivergenceError
        The weights stopped being finite.

    Notes
    -----
    With N rows and a = sigmoid(X w + b): w <- w - rate 2/N X'[(a - y) a (1 - a)], and b likewise
    (Rumelhart, Hinton and Williams, Nature 323, 1986, equations 4 to 8, for one unit).

    Examples
    --------
    >>> from fastbp import train_neuron
    >>> train_neuron([[1.0, 2.0], [2.0, 1.0], [-1.0, -2.0]], [1, 0, 0], [0.1, -0.2], 0.0, 0.1, 2)
    ([0.1036, -0.1425], -0.0167, [0.3033, 0.2942])
    """
    if type(features) is list and type(labels) is list and type(initial_weights) is list:
        results = _train_small(
            features, labels, initial_weights, initial_bias, learning_rate, epochs
        )
        if results is not None:
            return results
    rows = rows_of("features", features)
    model = NeuronModel(rows.n_features, initial_weights, initial_bias, "sigmoid", "mse")
    data = samples(rows, labels, None, model.targets, ("features", "labels", ""))
    options = Options(
        learning_rate=arguments.real("learning_rate", learning_rate),
        epochs=arguments.integer("epochs", epochs, minimum=0),
        batch_rows=rows.n_rows,
        returns_on_interrupt=False,
    )
    weights, bias, losses = model.result(train(model.problem(data, options)))
    together = np.concatenate([weights, [bias], losses])
    rounded: list[float] = _round_to_4_decimals(together).tolist()
    d = rows.n_features
    return rounded[:d], rounded[d], rounded[d + 1 :]


def _train_small(
    features: list[Any], labels: list[Any], weights: list[Any], bias: Any, rate: Any, epochs: Any
) -> tuple[list[float], float, list[float]] | None:
    """Train on small plain lists in the fewest steps; return None for anything else.

    The general path then trains, or raises the error.
    """
    n, d = len(labels), len(weights)
    if type(epochs) is not int or not 0 < (n * (d + 10) + 500) * epochs <= SMALL_WORK:
        return None
    if bool in (type(bias), type(rate)):
        return None
    try:
        x = np.array(features)
        values = np.array([*labels, *weights, bias, rate])
    except (ValueError, TypeError):
        return None
    if x.dtype is not FLOAT64:
        if x.dtype.kind not in "ib":
            return None
        x = x.astype(FLOAT64)
    matches = values.dtype is FLOAT64 and values.ndim == 1 and x.shape == (n, d)
    if not matches or d == 0 or n > kernels.chunk_rows(d):
        return None
    results = np.empty(d + 1 + epochs)
    if not kernels.neuron_small(x, values, epochs, kernels.tile_rows(d), results):
        return None
    rounded: list[float] = results.tolist()
    return rounded[:d], rounded[d], rounded[d + 1 :]


def _round_to_4_decimals(values: np.ndarray) -> np.ndarray:
    """Round as numpy.round does; a value too large to scale passes unchanged."""
    with np.errstate(over="ignore"):
        return np.where(np.isfinite(values * 1e4), np.round(values, 4), values)
