"""What neurons are fitted to: rows of any source, and what scikit-learn takes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import RegressorMixin
from sklearn.utils import check_array

from fastbp.arguments import FLOAT32, FLOAT64
from fastbp.data import checks
from fastbp.data.arrays import ArrayRows, Labelled, is_plain, loaded_if_small, rows_of
from fastbp.data.labels import check_weights, weight_pieces
from fastbp.data.rows import Rows
from fastbp.data.sources.dask_rows import DaskRows
from fastbp.data.sources.pieces import Pieces, in_memory, is_collection
from fastbp.data.sparse import SparseRows
from fastbp.errors import DataError
from fastbp.estimators.base import dtype_of
from fastbp.estimators.scikit_learn import UNREAD, validate
from fastbp.training.cluster.connection import errors_translated

KINDS = [np.dtype(code) for code in "dfe?bBhHiIlLqQ"]
"""What `fit_neuron` and `fit_network` convert themselves, a block at a time if there is much."""


def checked(
    estimator: Any, X: Any, y: Any, dtype: np.dtype[Any] | None
) -> tuple[Rows, Any, np.dtype[Any]]:
    """Return features as rows, labels as scikit-learn checks them, and the dtype to compute in.

    That is the given one, of what is fitted already, or else that of the features. Labels in a Dask
    collection stay there if the features are in one.
    """
    reset = dtype is None
    if isinstance(X, str | os.PathLike):
        raise TypeError("X: expected rows, got a path; open_rows(path, target=...) opens it")
    if reset and are_plain(X, y):
        estimator.n_features_in_ = X.shape[1]
        vars(estimator).pop("feature_names_in_", None)
        return ArrayRows(X, "X", X.dtype), y, X.dtype
    if is_collection(X):
        X = rows_of("X", X)
    if is_collection(y) and not isinstance(X, DaskRows):
        y = in_memory(y)
    if not isinstance(X, Rows):
        several = isinstance(estimator, RegressorMixin)
        how = {"multi_output": several, "y_numeric": several, "accept_sparse": "csr", **UNREAD}
        X, y = validate(estimator, X, y, reset=reset, dtype=KINDS, **how)
        dtype = dtype or dtype_of(X.dtype)
        own = SparseRows(X, "X") if issparse(X) else ArrayRows(X, "X", dtype)
        return loaded_if_small(own), y, dtype
    check_columns(estimator, X, reset)
    if y is None and X.n_labels == 0:
        raise ValueError(
            f"y: expected labels, got None; {X.name} carries none, unlike"
            " rows of open_rows(..., target=...)"
        )
    if y is not None:
        if X.n_labels > 0:
            raise ValueError(f"y: expected None with rows that carry labels ({X.name})")
        if not is_collection(y):
            y = checked_labels("y", y)
            with errors_translated(X.cluster):  # lengths may be computed there
                n_rows = X.n_rows
            if len(y) != n_rows:
                raise ValueError(f"y: expected {n_rows} labels, got {len(y)}")
    rows = X if isinstance(X, DaskRows) else loaded_if_small(X)
    return rows, y, dtype or arithmetic_of(X)


def checked_labels(name: str, y: Any) -> np.ndarray:
    """Return labels as scikit-learn checks them."""
    checks.refuse_special_objects(name, y)
    checks.refuse_missing_labels(name, y)
    checks.refuse_gaps(name, y)
    labels: np.ndarray = check_array(
        y, ensure_2d=False, dtype=None, input_name=name, ensure_min_samples=0
    )
    return labels


def column_of_labels(name: str, y: Any) -> np.ndarray:
    """Return the labels in a partition of a Dask collection, shape (n,), checked."""
    return checked_labels(name, y).reshape(-1) if len(y) else np.empty(0)


def are_plain(X: Any, y: Any) -> bool:
    """Return whether scikit-learn's checks, which take 300 microseconds, would change nothing.

    True only for contiguous arrays of floats, and of integers, booleans or finite float64 as y.
    """
    if not (is_plain(X, 2) or is_plain(X, 2, FLOAT32)) or X.size == 0:
        return False
    if type(y) is not np.ndarray or y.shape != (len(X),):
        return False
    return y.dtype.kind in "biu" or (is_plain(y, 1) and bool(np.isfinite(y).all()))


def checked_features(estimator: Any, X: Any) -> tuple[Any, np.dtype[Any]]:
    """Return features to predict for, an array or rows, and their dtype."""
    if isinstance(X, Rows):
        check_columns(estimator, X, reset=False)
        return X, arithmetic_of(X)
    X = validate(estimator, X, reset=False, dtype=KINDS, accept_sparse="csr", **UNREAD)
    return (SparseRows(X, "X") if issparse(X) else X), X.dtype


def arithmetic_of(rows: Rows) -> np.dtype[Any]:
    """Return float32 for rows of a source that are stored in it, float64 for all others."""
    return FLOAT32 if rows.dtype == FLOAT32.name else FLOAT64


def check_columns(estimator: Any, rows: Rows, reset: bool) -> None:
    """Take over number and names of the rows' features, or compare them."""
    names = rows.feature_names
    if reset:
        estimator.n_features_in_ = rows.n_features
        vars(estimator).pop("feature_names_in_", None)
        if names is not None:
            estimator.feature_names_in_ = np.array(names, dtype=object)
        return
    if rows.n_features != estimator.n_features_in_:
        raise ValueError(
            f"{rows.name}: expected {estimator.n_features_in_} features, got {rows.n_features}"
        )
    expected = getattr(estimator, "feature_names_in_", None)
    if expected is not None:
        checks.same_names(rows.name, names, expected.tolist())


def labelled(
    rows: Rows, labels: np.ndarray | Pieces | None, sample_weight: Any, dtype: np.dtype[Any]
) -> Rows:
    """Return rows with these labels (N, K) and weights, if they do not carry them.

    Sums of the weights must be numbers of this dtype. Those of a Dask collection are read into
    memory if they are few, and no cluster has them.
    """
    refuse_two_weights(rows, sample_weight)
    if sample_weight is not None:
        if isinstance(rows, DaskRows) and is_collection(sample_weight):
            sample_weight = weight_pieces("sample_weight", sample_weight)
        else:
            given = in_memory(sample_weight)
            sample_weight = checks.sample_weights("sample_weight", given, rows.n_rows, dtype)
    if isinstance(rows, DaskRows):
        rows = loaded_if_small(rows.joined(labels, sample_weight))
    elif labels is not None or sample_weight is not None:
        assert not isinstance(labels, Pieces)
        rows = Labelled(rows, labels, sample_weight)
    check_weights("sample_weight", rows)
    return rows


def refuse_two_weights(rows: Rows, sample_weight: Any) -> None:
    """Refuse weights besides those that rows carry."""
    if rows.weighted and sample_weight is not None:
        raise ValueError(
            f"sample_weight: expected None with rows that carry sample weights ({rows.name})"
        )


@contextlib.contextmanager
def in_scikit_learns_words(estimator: Any, X: Any) -> Iterator[None]:
    """Re-raise errors about an array's rows, or rows held out, in scikit-learn's words."""
    try:
        yield
    except DataError as error:
        if isinstance(X, Rows):
            raise
        if is_collection(X):  # of what is given with X, rows carry it by then
            text = (
                str(error).replace(": target: ", ": y: ").replace(": weight: ", ": sample_weight: ")
            )
            raise DataError(text, error.row, error.column) from None
        validate(estimator, X, reset=False, dtype=KINDS, accept_sparse="csr")
        text = str(error).replace("X: target: ", "y: ").replace("'bce'", repr(estimator.loss))
        raise DataError(text, error.row) from None
    except ValueError as error:
        text = str(error)
        if not text.startswith("validation: "):
            raise
        raise ValueError(text.replace("validation", "validation_fraction", 1)) from None
