"""What differs between the releases of scikit-learn that the extra allows: 1.5 and newer."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from scipy.sparse import issparse

# scikit-learn's own, private or not: a new release that moves one breaks this file alone.
from sklearn.base import _fit_context
from sklearn.utils import check_array
from sklearn.utils._param_validation import (
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.multiclass import _check_partial_fit_first_call as check_partial_fit_first_call
from sklearn.utils.optimize import _check_optimize_result as check_optimize_result
from sklearn.utils.validation import _check_sample_weight as check_sample_weight

from fastbp.arguments import FLOAT32
from fastbp.data import frames
from fastbp.data.checks import (
    is_finite,
    number_array,
    refuse_gaps,
    refuse_missing_labels,
    refuse_special_objects,
)
from fastbp.data.sparse import SparseRows
from fastbp.errors import DataError

__all__ = [
    "UNREAD", "CallbackSupportMixin", "Interval", "Options", "StrOptions",
    "check_optimize_result", "check_partial_fit_first_call", "check_sample_weight", "fit_method",
    "is_usual", "validate", "validate_parameter_constraints",
]  # fmt: skip

OF_GAP = re.compile("Input (X|y) contains |NAType")
"""In what scikit-learn says of a missing value, or an infinity."""
Method = TypeVar("Method", bound=Callable[..., Any])

try:
    from sklearn.utils.validation import validate_data
except ImportError:  # before 1.6 a method

    def validate_data(estimator: Any, X: Any, *y: Any, **how: Any) -> Any:
        """Return X, or X and y, checked as scikit-learn does; with its names of features."""
        return estimator._validate_data(X, *y, **how)


def validate(estimator: Any, X: Any, *y: Any, name: Any = "X", **how: Any) -> Any:
    """Return X, or X and y, checked as scikit-learn does, which makes numbers of dates.

    A gap is refused in its words, with the row and the column before them.
    """
    X = frames.without_index(X, name)
    refuse_special_objects(name, X)
    for labels in y:
        refuse_special_objects("y", labels)
        refuse_missing_labels("y", labels)
    try:
        return validate_data(estimator, X, *y, **how)
    except OverflowError:
        number_array(name, X)
        raise
    except (ValueError, TypeError) as error:
        if gap := OF_GAP.search(str(error)):
            try:
                _refuse_gaps(name, X) if gap[1] != "y" else refuse_gaps("y", *y)
            except DataError as place:
                raise DataError(f"{place}\n{error}", place.row, place.column) from None
        raise


def _refuse_gaps(name: str, X: Any) -> None:
    if not issparse(X):
        refuse_gaps(name, X)
        return
    rows = SparseRows(X.tocsr(), name)
    for start, block in rows.blocks():
        rows.raise_if_not_finite(start, block.features)


try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: this release has no callbacks."""


def fit_method(method: Method) -> Method:
    """Decorate `fit` or `partial_fit`: check parameters, and end callbacks.

    scikit-learn checks them in the first call of `partial_fit` only; where it has nothing else to
    do in a later one, it is left out: that takes 20 microseconds.
    """
    checked = _fit_context(prefer_skip_nested_validation=True)(method)
    if method.__name__ != "partial_fit":
        return checked  # type: ignore[no-any-return]

    @functools.wraps(method)
    def partial_fit(estimator: Any, *arguments: Any, **keywords: Any) -> Any:
        own = vars(estimator)
        again = "n_features_in_" in own and "_skl_callbacks" not in own
        return (method if again else checked)(estimator, *arguments, **keywords)

    return partial_fit  # type: ignore[return-value]


def is_usual(estimator: Any, X: Any, y: Any) -> bool:
    """Return whether scikit-learn's checks would return these data as they are.

    True only for arrays of floats, finite, or integers as y, of which there are few, with the
    features that the estimator was fitted to: the checks take 200 microseconds.
    """
    own = vars(estimator)
    if not (type(X) is type(y) is np.ndarray) or "feature_names_in_" in own:
        return False
    if X.ndim != 2 or y.ndim not in (1, 2) or 0 in (X.size, y.size) or len(X) != len(y):
        return False
    numbers = y.dtype.kind in "iu" or is_finite(y, FLOAT32)
    return X.shape[1] == own.get("n_features_in_") and is_finite(X, FLOAT32) and numbers


_FINITE = next(name for name in inspect.signature(check_array).parameters if "all_finite" in name)
UNREAD = {_FINITE: False}
"""Arguments of `validate` that skip its check for non-finite values: the kernels check."""
