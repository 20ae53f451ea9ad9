"""What all four estimators owe scikit-learn: its checks, and work with its tools."""

import pickle
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from fastbp import SGD, MLPClassifier, MLPRegressor, NeuronClassifier, NeuronRegressor
from fastbp.estimators.scikit_learn import validate_parameter_constraints
from tests.estimators.estimator_checks import checked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_iris(return_X_y=True)
NAMES = ["a", "b", "c", "d"]
MODELS = [
    MLPClassifier((5,), max_iter=30, random_state=0, class_weight="balanced"),
    MLPRegressor(hidden_layer_sizes=(5,), max_iter=30, random_state=0),
    NeuronClassifier(max_iter=50, tol=None, solver=SGD(momentum=0.5), class_weight="balanced"),
    NeuronRegressor(max_iter=50, tol=None, batch_size=40, random_state=0),
]
of_all = pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)


@checked(
    MLPClassifier(max_iter=100), MLPRegressor(max_iter=100), NeuronClassifier(), NeuronRegressor()
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def outputs(model, rows):
    return model.predict_proba(rows) if is_classifier(model) else model.predict(rows)


@of_all
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_grid_search_in_parallel(model, backend):
    pipeline = make_pipeline(StandardScaler(), clone(model))
    grid = {f"{type(model).__name__.lower()}__alpha": [1e-4, 1.0, 100.0]}
    with joblib.parallel_backend(backend), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # in the workers, too
        search = GridSearchCV(pipeline, grid, n_jobs=2, cv=3).fit(X, Y)
    alone = GridSearchCV(pipeline, grid, cv=3).fit(X, Y)
    for split in range(3):
        key = f"split{split}_test_score"
        np.testing.assert_array_equal(search.cv_results_[key], alone.cv_results_[key])


@of_all
def test_cross_validation_clones_pickles_and_html(model):
    model = clone(model)
    assert cross_val_score(model, scale(X), Y, cv=3).shape == (3,)
    assert repr(clone(model)) == repr(model)
    model.fit(X, Y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(outputs(again, X), outputs(model, X))
    assert not hasattr(clone(model), "n_features_in_")
    assert type(model).__name__ in model._repr_html_()


@of_all
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_names_of_features(model, library):
    frames = pytest.importorskip(library)
    table = frames.DataFrame(dict(zip(NAMES, scale(X).T, strict=True)))
    if not hasattr(StandardScaler().fit(table), "feature_names_in_"):
        pytest.skip(f"scikit-learn {sklearn.__version__} does not know the names of {library}")
    model = clone(model).fit(table, Y)
    assert model.feature_names_in_.tolist() == NAMES
    expected = clone(model).fit(table.to_numpy(), Y)
    np.testing.assert_array_equal(model.predict(table), expected.predict(table.to_numpy()))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict(table.to_numpy())
    with pytest.raises(ValueError, match="feature names"):
        model.predict(table[["b", "a", "c", "d"]])


@of_all
def test_outputs_of_transformers(model):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=NAMES)
    pipeline = make_pipeline(StandardScaler(), clone(model)).set_output(transform="pandas")
    assert pipeline.fit(table, Y)[-1].feature_names_in_.tolist() == NAMES
    expected = clone(model).fit(scale(X), Y).predict(scale(X))
    np.testing.assert_allclose(pipeline.predict(table), expected, rtol=1e-9, atol=1e-12)


@of_all
def test_weights_are_routed(model):
    weight = np.arange(1.0, 151.0)
    with sklearn.config_context(enable_metadata_routing=True):
        asking = clone(model).set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, asking).fit(X, Y, sample_weight=weight)
    expected = clone(model).fit(scale(X), Y, sample_weight=weight)
    np.testing.assert_allclose(outputs(pipeline, X), outputs(expected, scale(X)))
    other = clone(model).fit(scale(X), Y)
    assert abs(outputs(other, scale(X)) - outputs(expected, scale(X))).max() > 1e-3


def test_importing_fastbp_needs_no_scikit_learn():
    code = """
import sys
sys.modules["sklearn"] = None
import fastbp
assert "MLPClassifier" in dir(fastbp)
try:
    fastbp.MLPClassifier
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.stdout == "the estimators need scikit-learn: pip install 'fastbp[estimators]'\n"


@of_all
def test_defaults_are_valid(model):
    """A fit does not check them."""
    own, kind = type(model)(), type(model)
    parameters = own.get_params(deep=False)
    validate_parameter_constraints(kind._parameter_constraints, parameters, kind.__name__)
    assert set(parameters) <= set(kind._parameter_constraints)
