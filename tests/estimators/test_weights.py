"""Weights of samples that are 0, as resampling makes them."""

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn.datasets import load_iris  # noqa: E402
from sklearn.ensemble import BaggingClassifier  # noqa: E402
from sklearn.preprocessing import scale  # noqa: E402

import fastbp  # noqa: E402

X, Y = load_iris(return_X_y=True)
X = scale(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("batch_size", [1, 2])
def test_bagging(batch_size):
    model = fastbp.NeuronClassifier(batch_size=batch_size, max_iter=20, random_state=0)
    bag = BaggingClassifier(model, n_estimators=3, random_state=0).fit(X, Y)
    assert bag.score(X, Y) > 0.9


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_perceptrons_skip_a_batch_without_weight(solver, shuffle):
    weight = np.where(np.arange(len(Y)) % 10, 0.0, 1.0)
    model = fastbp.MLPClassifier(
        (5,), solver=solver, batch_size=2, max_iter=5, shuffle=shuffle, random_state=0
    ).fit(X, Y, weight)
    assert np.isfinite(model.loss_curve_).all()
    if not shuffle:
        there = weight > 0.0
        keep = np.repeat(there.reshape(-1, 2).any(axis=1), 2)
        part = fastbp.MLPClassifier(
            (5,), solver=solver, batch_size=2, max_iter=5, shuffle=False, random_state=0
        ).fit(X[keep], Y[keep], weight[keep])
        for ours, theirs in zip(model.coefs_, part.coefs_, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert model.loss_curve_ == part.loss_curve_


def models(**keywords):
    """Each estimator that stops early."""
    yield fastbp.NeuronClassifier(**keywords)
    yield fastbp.NeuronRegressor(**keywords)
    yield fastbp.MLPClassifier((3,), **keywords)
    yield fastbp.MLPRegressor(hidden_layer_sizes=(3,), **keywords)


def test_held_out_rows_without_weight_are_refused_before_training():
    def never(state):
        raise AssertionError

    one = np.eye(len(Y))[3]  # held out or not: the other rows have no weight
    message = (
        "(validation_fraction|sample_weight): expected rows with a weight above 0, got zeros only"
    )
    for model in models(early_stopping=True, callback=never, random_state=0):
        with pytest.raises(ValueError, match=message):
            model.fit(X, Y, one)
    for model in models(callback=never):
        with pytest.raises(ValueError, match=r"(?i)sample.weight.*zero"):
            model.fit(X, Y, np.zeros(len(Y)))
