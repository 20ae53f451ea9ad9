"""The neurons' estimators with Dask collections, here and on a cluster: the bits of arrays."""

import os
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

from fastbp import DataError, NeuronClassifier, NeuronRegressor, open_rows
from fastbp.data.sources.dask_rows import DaskRows
from fastbp.data.sources.folder import Shards
from tests.training.clusters import (
    THREE,
    TWO,
    WEIGHT,
    D,
    X,
    in_chunks,
    local_cluster,
    quietly,
    small_groups,  # noqa: F401  # a fixture
)

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")

pytestmark = pytest.mark.usefixtures("small_groups")
NAMES = [f"x{j}" for j in range(D)]
TEXT = np.array(["no", "yes", "maybe"])[THREE.astype(int)]
NUMBERS = X[:, :2] @ [[1.0, 0.5], [-2.0, 1.0]] + WEIGHT[:, None]
BRIEF = {"max_iter": 5, "tol": None}
PREDICTIONS = "predict", "predict_proba", "predict_log_proba", "decision_function"


@pytest.fixture(scope="module")
def two_workers():
    with local_cluster(2, default=False) as client:
        yield client


@pytest.fixture(params=["here", "on a cluster"])
def where(request):
    """Whether Dask computes here or on a cluster, the active client."""
    if request.param == "here":
        yield None
        return
    client = request.getfixturevalue("two_workers")
    with client.as_current():
        yield client


@contextmanager
def nothing_is_fetched(client):
    """No rows are read by this process if there is a cluster."""

    def refused(*_):
        raise AssertionError("rows were read by the client")

    with pytest.MonkeyPatch.context() as patch:
        if client is not None:
            patch.setattr(DaskRows, "fill", refused)
            patch.setattr(Shards, "fill", refused)
        yield


def assert_same(found, expected):
    for name in ("coef_", "intercept_", "loss_curve_"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    if hasattr(expected, "classes_"):
        np.testing.assert_array_equal(found.classes_, expected.classes_)
        assert found.classes_.dtype == expected.classes_.dtype
    if getattr(expected, "early_stopping", False):
        assert found.validation_loss_curve_ == expected.validation_loss_curve_


def frame(values=X, rows=6000, **others):
    table = pd.DataFrame(values, columns=NAMES).assign(**others)
    return dd.from_pandas(table, chunksize=rows)


# --- fits ----------------------------------------------------------------------------------------

FITS = {
    "two": (NeuronClassifier(), TWO),
    "booleans": (NeuronClassifier(), TWO > 0.0),
    "softmax": (NeuronClassifier(), THREE.astype(int)),
    "text": (NeuronClassifier(), TEXT),
    "one-vs-rest": (NeuronClassifier(loss="bce"), TEXT),
    "balanced": (NeuronClassifier(class_weight="balanced"), TEXT),
    "weights of classes": (NeuronClassifier(class_weight={"no": 2.0, "maybe": 0.5}), TEXT),
    "held out": (NeuronClassifier(early_stopping=True), THREE),
    "held out, coded": (NeuronClassifier(early_stopping=True, loss="bce"), TEXT),
    "number": (NeuronRegressor(), NUMBERS[:, 0]),
    "numbers": (NeuronRegressor(loss="mse"), NUMBERS),
}


@pytest.mark.parametrize(("model", "y"), FITS.values(), ids=FITS)
def test_bits_of_arrays(where, model, y):
    model.set_params(**BRIEF)
    expected = type(model)(**model.get_params()).fit(X, y)
    x, (labels,) = in_chunks(X)[0], in_chunks(y, rows=9000)
    with nothing_is_fetched(where):
        assert_same(quietly(model.fit, x, labels), expected)
        score = model.score(x, labels)
    assert score == pytest.approx(expected.score(X, y), rel=1e-12)


@pytest.mark.parametrize("settings", [{}, {"class_weight": {"no": 2.0}}])
def test_weights(where, settings):
    expected = NeuronClassifier(**settings, **BRIEF).fit(X, TEXT, WEIGHT)
    x, y, w = in_chunks(X, TEXT, WEIGHT)
    for weight in (w, WEIGHT):
        model = NeuronClassifier(**settings, **BRIEF)
        with nothing_is_fetched(where):
            assert_same(quietly(model.fit, x, y, weight), expected)
            score = model.score(x, y, weight)
        assert score == pytest.approx(expected.score(X, TEXT, WEIGHT), rel=1e-12)


def test_a_data_frame(where):
    table = frame(y=TEXT, n=NUMBERS[:, 0])
    expected = NeuronClassifier(**BRIEF).fit(pd.DataFrame(X, columns=NAMES), pd.Series(TEXT))
    kinds = (table["y"], table[["y"]], table["y"].astype("category"), table["y"].astype(object))
    for y in kinds:
        model = NeuronClassifier(**BRIEF)
        with nothing_is_fetched(where):
            assert_same(quietly(model.fit, table[NAMES], y), expected)
        assert model.feature_names_in_.tolist() == NAMES
    assert_same(quietly(NeuronClassifier(**BRIEF).fit, table[NAMES], TEXT.astype(object)), expected)
    regressor = quietly(NeuronRegressor(**BRIEF).fit, table[NAMES], table["n"])
    assert_same(regressor, NeuronRegressor(**BRIEF).fit(X, NUMBERS[:, 0]))
    with pytest.raises(ValueError, match=r"X: expected the columns of the fit ..x0', .*, got 'x1'"):
        model.predict(table[NAMES[::-1]].rename(columns={"x19": "x1", "x1": "x19"}))


def test_rows_that_carry_labels(where):
    rows = open_rows(frame(y=TWO, w=WEIGHT), target="y", weight="w")
    for settings in ({}, {"class_weight": {1.0: 3.0}}, {"class_weight": "balanced"}):
        expected = NeuronClassifier(**settings, **BRIEF).fit(X, TWO.astype(int), WEIGHT)
        model = NeuronClassifier(**settings, **BRIEF)
        with nothing_is_fetched(where):
            quietly(model.fit, rows)
            score = model.score(rows)
        # The sums of fractions that make the classes balanced are added up by partition.
        exact = where is None or settings.get("class_weight") != "balanced"
        assert_close = np.testing.assert_array_equal if exact else np.testing.assert_allclose
        assert_close(model.coef_, expected.coef_)
        assert score == pytest.approx(expected.score(X, TWO, WEIGHT), rel=1e-12)
    regressor = quietly(NeuronRegressor(**BRIEF).fit, rows)
    expected = NeuronRegressor(**BRIEF).fit(X, TWO, WEIGHT)
    assert_same(regressor, expected)
    assert regressor.score(rows) == pytest.approx(expected.score(X, TWO, WEIGHT), rel=1e-12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("shards")
    table = pd.DataFrame(X, columns=NAMES).assign(y=TEXT, n=NUMBERS[:, 0])
    for i, (start, stop) in enumerate([(0, 6000), (6000, 6001), (6001, 20_000)]):
        table[start:stop].to_parquet(path / f"{i}.parquet")
    return path


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"loss": "bce"},
        {"class_weight": "balanced"},
        {"early_stopping": True, "class_weight": {"no": 2.0}},
        {"solver": "sgd"},
    ],
    ids=str,
)
def test_bits_of_files(two_workers, folder, settings):
    choice = {"target": "y", "exclude": ["n"], "cluster": two_workers}
    rows = open_rows(sorted(folder.iterdir()), **choice)
    expected = NeuronClassifier(**settings, **BRIEF).fit(X, TEXT)
    model = NeuronClassifier(**settings, **BRIEF)
    with nothing_is_fetched(two_workers):
        assert_same(model.fit(rows), expected)
        score = model.score(rows)
    assert score == pytest.approx(expected.score(X, TEXT), rel=1e-12)


def test_files_with_other_labels(two_workers, folder):
    rows = open_rows(sorted(folder.iterdir()), exclude=["y", "n"], cluster=two_workers)
    with nothing_is_fetched(two_workers):
        assert_same(
            NeuronClassifier(**BRIEF).fit(rows, TEXT), NeuronClassifier(**BRIEF).fit(X, TEXT)
        )
    rows = open_rows(folder, target="n", exclude=["y"], cluster=two_workers)
    expected = NeuronRegressor(**BRIEF).fit(X, NUMBERS[:, 0])
    with nothing_is_fetched(two_workers):
        model = NeuronRegressor(**BRIEF).fit(rows)
        assert model.score(rows) == pytest.approx(expected.score(X, NUMBERS[:, 0]), rel=1e-12)
    assert_same(model, expected)


def test_partial_fit(where):
    x, y = in_chunks(X, TWO)
    model = NeuronClassifier(learning_rate_init=0.5)
    for _ in range(3):
        quietly(model.partial_fit, x, y, classes=[0, 1])
    # A cluster takes all rows as one batch; here they are visited in windows.
    rows = {"batch_size": len(X)} if where else {"shuffle": "window", "batch_size": 200}
    expected = NeuronClassifier(learning_rate_init=0.5, **rows)
    if where is None:
        model = NeuronClassifier(learning_rate_init=0.5, shuffle="window", random_state=0)
        expected.random_state = 0
        for _ in range(3):
            model.partial_fit(x, y, classes=[0, 1])
    for _ in range(3):
        expected.partial_fit(X, TWO, classes=[0, 1])
    assert_same(model, expected)
    assert model.n_iter_ == 3
    with pytest.raises(
        DataError, match=r"y, partition .: expected labels of the classes 1, 2, got 0"
    ):
        NeuronClassifier().partial_fit(x, y, classes=[1, 2])
    if where is not None:
        few = NeuronClassifier(batch_size=200, shuffle=False)
        with pytest.raises(ValueError, match="batch_size: expected None or a multiple of"):
            few.partial_fit(x, y, classes=[0, 1])


def test_the_automatic_rate(where):
    x, y = in_chunks(X, NUMBERS[:, 0])
    settings = {"solver": "sgd", **BRIEF}
    expected = NeuronRegressor(**settings).fit(X, NUMBERS[:, 0])
    with nothing_is_fetched(where):
        model = quietly(NeuronRegressor(**settings).fit, x, y)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-12)  # sums by partition


def test_float32(where):
    x = X.astype(np.float32)
    model = quietly(NeuronClassifier(**BRIEF).fit, *in_chunks(x, TEXT))
    expected = NeuronClassifier(**BRIEF).fit(x, TEXT)
    assert_same(model, expected)
    found = model.predict_proba(in_chunks(x)[0])
    assert model.coef_.dtype == found.dtype == np.float32
    np.testing.assert_array_equal(found.compute(), expected.predict_proba(x))


# --- predictions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "y"),
    [("log_loss", TWO), ("log_loss", TEXT), ("bce", TEXT)],
    ids=["two", "text", "one-vs-rest"],
)
def test_predictions_are_lazy(where, loss, y):
    model = NeuronClassifier(loss, max_iter=5, tol=None).fit(X, y)
    x, lazy = in_chunks(X)[0], da.from_delayed(dask.delayed(no_rows)(), (5, D), "f8")
    table = frame()
    for name in PREDICTIONS:
        expected = getattr(model, name)(X)
        found = getattr(model, name)(x)
        assert getattr(model, name)(lazy).shape == (5, *expected.shape[1:])
        assert found.chunks[0] == x.chunks[0]
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found.compute(), expected, strict=True)
        np.testing.assert_array_equal(getattr(model, name)(table).compute(), expected)


def no_rows():
    raise AssertionError("was computed")


@pytest.mark.parametrize("y", [NUMBERS[:, 0], NUMBERS], ids=["one", "two"])
def test_predicted_numbers(where, y):
    model = NeuronRegressor().fit(X, y)
    found = model.predict(in_chunks(X)[0])
    assert found.shape == y.shape
    np.testing.assert_array_equal(found.compute(), model.predict(X), strict=True)


def test_predictions_are_refused_at_the_call():
    model = NeuronClassifier().fit(X, TWO)
    x = in_chunks(X)[0]
    for name in PREDICTIONS:
        with pytest.raises(ValueError, match="X: expected 20 features, got 3"):
            getattr(model, name)(x[:, :3])
        with pytest.raises(AttributeError, match="not fitted"):
            getattr(NeuronClassifier(), name)(x)
    bad = X.copy()
    bad[7020, 3] = np.nan
    with pytest.raises(
        DataError, match=r"X, partition 1: expected finite .* nan in row 20, column 3"
    ):
        model.predict(in_chunks(bad)[0]).compute()


# --- what is refused -----------------------------------------------------------------------------


def changed(array, value, dtype=None):
    array = np.array(array, dtype=dtype)
    array[7020] = value
    return array


REFUSED = {
    "one class": (0.0 * TWO, "y: expected at least two classes, got one class: 0.0"),
    "text": (np.full(len(X), "a"), "y: expected at least two classes, got one class: a"),
    "missing": (changed(TWO, np.nan), "y, partition 1: expected finite numbers, got nan in row 20"),
    "no text": (changed(TEXT, None, object), "y, partition 1: expected a label, got none in row 20"),
    "fractions": (WEIGHT, "y: expected 1 to 1000 classes, no fractions, got more than 1000"),
    "one fraction": (np.where(TWO > 0.0, 0.5, 1.0), "Unknown label type: continuous"),
    "many": (np.arange(len(X)), "y: expected 1 to 1000 classes, no fractions, got more than 1000"),
    "columns": (NUMBERS, "y: expected one column, the classes, got 2"),
    "rows": (TWO[1:], r"y: expected 20000 values \(one per row of features\), got 19999"),
}  # fmt: skip


@pytest.mark.parametrize(("y", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_classes(where, y, message):
    x, labels = in_chunks(X, y)
    with pytest.raises(ValueError, match=message):
        quietly(NeuronClassifier().fit, x, labels)


def test_refused_numbers(where):
    x, y, w = in_chunks(X, changed(TWO, np.inf), changed(WEIGHT, -1.0))
    with pytest.raises(DataError, match=r"X, partition 1: y: expected finite .* inf in row 20"):
        quietly(NeuronRegressor().fit, x, y)
    with pytest.raises(DataError, match="X, partition 1: sample_weight: expected non-negative"):
        quietly(NeuronRegressor().fit, x, TWO, w)
    with pytest.raises(ValueError, match="sample_weight: expected 1 column, got 2"):
        NeuronClassifier().fit(x, TWO, in_chunks(NUMBERS)[0])
    with pytest.raises(TypeError, match="y: expected real numbers, got text"):
        NeuronRegressor().fit(x, in_chunks(TEXT)[0])
    with pytest.raises(ValueError, match="y: expected labels, got None; X carries none"):
        NeuronClassifier().fit(x)
    with pytest.raises(DataError, match=r"X, partition 1: expected finite .* nan in row 20"):
        quietly(NeuronClassifier().fit, in_chunks(changed(X, np.nan))[0], TWO)


def test_labels_of_dask_for_other_rows():
    expected = NeuronClassifier().fit(X, TEXT, WEIGHT)
    y, w = in_chunks(TEXT, WEIGHT)
    for rows in (X, pd.DataFrame(X), open_rows(X)):
        model = NeuronClassifier().fit(rows, y, w)
        assert_same(model, expected)
    score = model.score(X, y, w)
    assert score == pytest.approx(expected.score(X, TEXT, WEIGHT), rel=1e-12)


def test_dask_is_not_imported_for_arrays():
    code = (
        "import sys, fastbp.estimators.neuron.classifier as c\n"
        "model = c.NeuronClassifier().fit([[1.0], [2.0]], [0, 1])\n"
        "model.predict([[1.0]]), model.score([[1.0]], [1])\n"
        "assert not {'dask', 'distributed'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
