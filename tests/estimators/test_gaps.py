"""Values that are missing: each is named with its row and column, whatever the array is."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")
pd = pytest.importorskip("pandas", reason="tables with gaps")

from scipy import sparse  # noqa: E402

import fastbp  # noqa: E402
from fastbp import DataError  # noqa: E402
from tests.estimators.every_kind import KINDS, made  # noqa: E402

N = 12
TRUTH = [True, None, False, True] * 3
Y = [0, 1, 0, 1] * 3
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def table(column):
    return pd.DataFrame({"a": np.arange(1.0, N + 1), "b": column})


def numbers(gap):
    return np.column_stack([np.arange(1.0, N + 1), [1.0, gap, 2.0, 3.0] * 3])


FEATURES = {
    "objects of pandas": table(TRUTH),
    "read from a CSV": table(pd.Series([True, np.nan, False, True] * 3, dtype=object)),
    "booleans of pandas": table(pd.array(TRUTH, dtype="boolean")),
    "integers of pandas": table(pd.array([1, None, 3, 4] * 3, dtype="Int64")),
    "NA among objects": table(pd.Series([True, pd.NA, False, True] * 3, dtype=object)),
    "floats of pandas": table([1.0, np.nan, 2.0, 3.0] * 3),
    "objects": table(TRUTH).to_numpy(dtype=object),
    "lists": table(TRUTH).to_numpy(dtype=object).tolist(),
    "floats": numbers(np.nan),
    "float32": numbers(np.nan).astype(np.float32),
    "infinity": numbers(-np.inf),
    "infinity among objects": numbers(np.inf).astype(object),
    "compressed rows": sparse.csr_matrix(numbers(np.nan)),
    "compressed columns": sparse.csc_matrix(numbers(np.inf)),
}


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("kind", KINDS)
def test_features(kind, features):
    X = FEATURES[features]
    name = "b" if isinstance(X, pd.DataFrame) else 1
    filled = table(1.0) if isinstance(X, pd.DataFrame) else numbers(1.0)
    fitted = made(kind).fit(filled, Y)
    message = rf"X: expected finite numbers, got (nan|-?inf) in row 1, column {name!r}\n"
    for call in (made(kind).fit, fitted.partial_fit):
        with pytest.raises(DataError, match=message) as caught:
            call(X, Y)
        assert (caught.value.row, caught.value.column) == (1, name)
        assert features == "NA among objects" or "Input X contains " in str(caught.value)
    with pytest.raises((ValueError, TypeError), match=f"{message}|got None in row 1, column 1$"):
        fitted.predict(X)
    if kind.startswith("MLP"):
        with pytest.raises(DataError, match=message.replace("X", "X_val", 1)):
            made(kind).fit(filled, Y, X_val=X, y_val=Y)


def test_too_large_integers():
    X = table([1, 10**400, 2, 3] * 3)
    for kind in KINDS:
        with pytest.raises(
            DataError, match=r"X: expected numbers that float64 can hold, .* row 1$"
        ):
            made(kind).fit(X, Y)


LABELS = {
    "objects": np.array(TRUTH, dtype=object),
    "objects of pandas": pd.Series(TRUTH),
    "booleans of pandas": pd.Series(TRUTH, dtype="boolean"),
    "integers of pandas": pd.Series([1, None, 0, 1] * 3, dtype="Int64"),
    "list": TRUTH,
    "text": ["a", None, "b", "a"] * 3,
    "NaN among text": np.array(["a", np.nan, "b", "a"] * 3, dtype=object),
    "categories": pd.Series(["a", None, "b", "a"] * 3, dtype="category"),
    "text of pandas": pd.Series(["a", None, "b", "a"] * 3, dtype="string"),
}


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("kind", KINDS)
def test_labels(kind, labels):
    y = LABELS[labels]
    message = "y: expected (a label, got none|finite numbers, got nan) in row 1$"
    with pytest.raises(DataError, match=f"(?m)^{message}") as caught:
        made(kind).fit(numbers(1.0), y)
    assert caught.value.row == 1
    if kind.startswith("Neuron"):
        with pytest.raises(DataError, match=message):
            made(kind).fit(fastbp.open_rows(numbers(1.0)), y)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_that_are_floats(kind):
    with pytest.raises(ValueError, match=r"y: expected finite numbers, got nan in row 1\n"):
        made(kind).fit(numbers(1.0), [1.0, np.nan, 0.0, 1.0] * 3)
