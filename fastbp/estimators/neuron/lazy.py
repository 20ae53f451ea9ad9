"""Predictions for Dask collections: lazy arrays, computed partition by partition."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastbp.data.arrays import rows_of
from fastbp.data.sources.dask_rows import mapped_rows
from fastbp.data.sources.pieces import is_collection
from fastbp.errors import DataError
from fastbp.estimators.neuron.rows import check_columns

Method = TypeVar("Method", bound=Callable[..., Any])
NEEDED = "loss", "activation", "coef_", "intercept_", "classes_", "n_features_in_"
"""What predictions follow from."""


def takes_collections(method: Method) -> Method:
    """Decorate a method of predictions: for a Dask collection it returns a lazy Dask array."""
    name = method.__name__

    @functools.wraps(method)
    def predict(estimator: Any, X: Any) -> Any:
        if type(X) is np.ndarray or not is_collection(X):
            return method(estimator, X)
        check_is_fitted(estimator, "coef_")
        rows = rows_of("X", X)
        check_columns(estimator, rows, reset=False)
        light = Predictor(estimator, name)
        usual = light(np.zeros((1, rows.n_features), rows.dtype), "X")
        n_outputs = usual.shape[1] if usual.ndim == 2 else None
        return mapped_rows("X", X, light, n_outputs, usual.dtype)

    return predict  # type: ignore[return-value]


class Predictor:
    """A method of a fitted estimator, that can be sent to a worker.

    Parameters
    ----------
    estimator
    method : str
    dtype : numpy.dtype, optional
        What features are converted to.
    """

    def __init__(self, estimator: Any, method: str, dtype: np.dtype[Any] | None = None) -> None:
        own = vars(estimator)
        self._estimator = object.__new__(type(estimator))
        self._estimator.__dict__.update(
            (name, copy.copy(own[name])) for name in NEEDED if name in own
        )
        self._method, self._dtype = method, dtype

    def __call__(self, features: np.ndarray, name: str = "X") -> np.ndarray:
        """Return what is predicted for some rows, which messages call `name`."""
        if self._dtype is not None:
            features = features.astype(self._dtype, copy=False)
        try:
            found: np.ndarray = getattr(self._estimator, self._method)(features)
        except DataError as error:
            text = f"{name}{str(error).removeprefix('X')}"
            raise DataError(text, error.row, error.column) from None
        return found
