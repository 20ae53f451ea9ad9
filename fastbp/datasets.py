"""Synthetic data, to try things on: labels from a neuron that is known."""

from __future__ import annotations

import numpy as np

from fastbp import _validation as check


def make_neuron_dataset(
    n_samples: int,
    n_features: int,
    *,
    noise: float = 0.0,
    seed: int | np.random.Generator | np.random.RandomState | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Draw rows whose labels a known sigmoid neuron, the teacher, decides.

    Parameters
    ----------
    n_samples, n_features : int
        At least 1.
    noise : float
        Standard deviation of what is added to the teacher's pre-activation, which itself has
        one of about 3, before its sign gives the label.
    seed : int, numpy.random.Generator or numpy.random.RandomState, optional

    Returns
    -------
    features : numpy.ndarray of float64, shape (n_samples, n_features)
        Standard normal.
    labels : numpy.ndarray of float64, shape (n_samples,)
        0 or 1.
    weights : numpy.ndarray of float64, shape (n_features,)
    bias : float
        Those of the teacher.

    Raises
    ------
    TypeError, ValueError
        For numbers of another kind, or too small.

    Examples
    --------
    >>> from fastbp import datasets
    >>> X, y, weights, bias = datasets.make_neuron_dataset(1000, 3, seed=1)
    >>> X.shape, y.shape, bool((((X @ weights + bias) > 0) == y).all())
    ((1000, 3), (1000,), True)
    """
    n_samples = check.whole("n_samples", n_samples, minimum=1)
    n_features = check.whole("n_features", n_features, minimum=1)
    noise = check.real("noise", noise, minimum=0.0)
    random = check.random_generator("seed", seed)
    weights = random.standard_normal(n_features) * (3.0 / np.sqrt(n_features))
    bias = float(random.standard_normal() * 0.5)
    features = random.standard_normal((n_samples, n_features))
    z = features @ weights + bias
    if noise > 0.0:
        z += noise * random.standard_normal(n_samples)
    return features, (z > 0.0).astype(np.float64), weights, bias
