"""The variables of L-BFGS: parameters in which a loss bends about equally in all directions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

LARGE = 2.0**200  # a loss: products of such are still numbers


class Variables(ABC):
    """Packed parameters by which a loss is minimized, and back."""

    @abstractmethod
    def of_parameters(self, packed: np.ndarray) -> np.ndarray:
        """Return the variables of packed parameters."""

    @abstractmethod
    def parameters(self, variables: np.ndarray) -> np.ndarray:
        """Return the packed parameters of variables."""

    @abstractmethod
    def gradient(self, packed: np.ndarray) -> np.ndarray:
        """Return the derivatives by the variables of those by packed parameters."""


class Standardized(Variables):
    """Those of a model whose features are standardized.

    Weights w of features with means m and scales s, and biases b, become w s and b + m w: those
    that the features (x - m) / s would have.

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

    def of_parameters(self, packed: np.ndarray) -> np.ndarray:
        found = packed.copy()
        weights = found[self._weights].reshape(self._shape)
        found[self._biases] += (weights * self._means).sum(axis=0)
        weights *= self._scales
        return found

    def parameters(self, variables: np.ndarray) -> np.ndarray:
        found = variables.copy()
        weights = found[self._weights].reshape(self._shape)
        weights /= self._scales
        found[self._biases] -= (weights * self._means).sum(axis=0)
        return found

    def gradient(self, packed: np.ndarray) -> np.ndarray:
        found = packed.astype(np.float64)
        weights = found[self._weights].reshape(self._shape)
        weights -= self._means * found[self._biases]
        weights /= self._scales
        return found


class Decorrelated(Variables):
    """Those of a single layer whose features are standardized and without correlations.

    With correlations L L^T of the features, the weights v of the standardized ones become L^T v.

    Parameters
    ----------
    means, scales : numpy.ndarray of float64, shape (n_features,)
    factor : numpy.ndarray, shape (n_features, n_features)
        The lower triangular L.
    """

    def __init__(self, means: np.ndarray, scales: np.ndarray, factor: np.ndarray) -> None:
        n = means.size
        self._means, self._forth = means, factor.T * scales
        self._matrix = np.zeros((n + 1, n + 1))  # from variables to weights, and the bias below
        self._matrix[:n, :n] = np.linalg.inv(factor).T / scales[:, None]
        self._matrix[n, :n] = -(means @ self._matrix[:n, :n])
        self._matrix[n, n] = 1.0

    def of_parameters(self, packed: np.ndarray) -> np.ndarray:
        rows = packed.reshape(len(self._matrix), -1)
        weights, biases = rows[:-1], rows[-1]
        return np.vstack([self._forth @ weights, biases + self._means @ weights]).ravel()

    def parameters(self, variables: np.ndarray) -> np.ndarray:
        found: np.ndarray = self._matrix @ variables.reshape(len(self._matrix), -1)
        return found.ravel()

    def gradient(self, packed: np.ndarray) -> np.ndarray:
        rows = packed.astype(np.float64, copy=False).reshape(len(self._matrix), -1)
        found: np.ndarray = self._matrix.T @ rows
        return found.ravel()


def scale_of_loss(loss: float) -> float:
    """Return a power of two to multiply losses by, so that tolerances go by the first of them.

    Those of SciPy are absolute for losses below 1, and it sums up squares of derivatives.
    """
    if loss == 0.0 or 0.5 <= loss < LARGE:
        return 1.0
    return math.ldexp(1.0, min(-math.frexp(loss)[1], 1000))
