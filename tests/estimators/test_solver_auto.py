"""The solver that the neurons' estimators choose, and L-BFGS behind their interface."""

import os
import signal

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import scale
from threadpoolctl import threadpool_limits

from fastbp import (
    LBFGS,
    SGD,
    Adam,
    NeuronClassifier,
    NeuronRegressor,
    fit_network,
    load,
    open_rows,
    save,
    schedules,
)
from fastbp.estimators.neuron import classifier

# The oldest scikit-learn passes an option to SciPy that the newest is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:.*iprint.*L-BFGS-B:DeprecationWarning")
CANCER, DIGITS, IRIS, DIABETES = (
    (scale(X), y)
    for X, y in (
        data(return_X_y=True)
        for data in (load_breast_cancer, load_digits, load_iris, load_diabetes)
    )
)
CLASSES = {"cancer": CANCER, "digits": DIGITS, "iris": IRIS}
THREE_DIGITS = 1e-3
"""Of the largest coefficient: what the default tolerances of L-BFGS promise."""
Y2 = np.column_stack([DIABETES[1], DIABETES[0][:, 0] * 30 + 1])


def optimizer_of(model):
    return model._reached[0].optimizer


def agree(model, expected):
    size = np.abs(expected.coef_).max()
    assert np.abs(model.coef_ - expected.coef_).max() < THREE_DIGITS * size
    # Without a penalty, the loss is flatter along the intercepts.
    assert np.abs(model.intercept_ - expected.intercept_).max() < 2 * THREE_DIGITS * size


@threadpool_limits.wrap(limits=1)  # more of BLAS take longer where other processes run
def logistic_regression(alpha, *data, **how):
    return LogisticRegression(C=1 / alpha, tol=1e-8, max_iter=10_000, **how).fit(*data)


# --- the same minimum ---------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CLASSES)
def test_coefficients_are_those_of_logistic_regression(name, weighted):
    X, y = CLASSES[name]
    weight = np.random.default_rng(0).integers(0, 4, len(y)) * 0.5 if weighted else None
    for alpha in (1.0, 10.0):
        model = NeuronClassifier(alpha=alpha).fit(X, y, weight)
        best = logistic_regression(alpha, X, y, weight)
        agree(model, best)
        p, log_p = best.predict_proba(X), best.predict_log_proba(X)
        np.testing.assert_allclose(model.predict_proba(X), p, rtol=0, atol=1e-3)
        np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), np.exp(log_p), atol=1e-3)
        np.testing.assert_array_equal(model.classes_, best.classes_)
        assert model.stopped_ == "tol"


def test_balanced_classes_are_those_of_logistic_regression():
    X, y = CANCER
    for labels in (y, y + X.argmax(axis=1) % 2):
        how = {"class_weight": "balanced"}
        model = NeuronClassifier(alpha=1.0, **how).fit(X, labels)
        agree(model, logistic_regression(1.0, X, labels, **how))


@pytest.mark.parametrize("y", [DIABETES[1], Y2], ids=["one", "two"])
@pytest.mark.parametrize("alpha", [1e-4, 100.0])
def test_coefficients_are_those_of_ridge(y, alpha):
    X = DIABETES[0]
    weight = np.random.default_rng(0).random(len(y))
    for given in (None, weight):
        model = NeuronRegressor(alpha=alpha).fit(X, y, given)
        best = Ridge(alpha).fit(X, y, given)
        agree(model, best)


def test_rates_and_batches_come_to_the_same_softmax():
    X, y = IRIS
    exact = NeuronClassifier(alpha=1.0, solver=LBFGS(gtol=1e-9)).fit(X, y)
    how = {"solver": "sgd", "alpha": 1.0, "tol": 0.0, "max_iter": 20_000}
    np.testing.assert_allclose(NeuronClassifier(**how).fit(X, y).coef_, exact.coef_, atol=1e-6)


def test_softmax_is_a_network_of_one_layer():
    X, y = IRIS
    how = {"alpha": 0.5, "batch_size": 32, "shuffle": True, "random_state": 3}
    for rule in (SGD(momentum=0.5), "adam"):
        model = NeuronClassifier(solver=rule, learning_rate_init=0.1, max_iter=4, tol=None, **how)
        fit = fit_network(
            X, y, [np.zeros((4, 3))], [np.zeros(3)], 0.1, 4,
            activations=["softmax"], loss="cross_entropy", optimizer=rule, **how,
        )  # fmt: skip
        assert model.fit(X, y).coef_.tobytes() == fit.weights[0].T.tobytes()
        assert model.loss_curve_ == fit.losses.tolist()
        np.testing.assert_array_equal(model.predict_proba(X), fit.predict(X))


# --- what is chosen, and what is refused ----------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "chosen"),
    [
        ({}, LBFGS),
        ({"solver": "lbfgs"}, LBFGS),
        ({"solver": LBFGS(gtol=1e-3)}, LBFGS),
        ({"solver": "lbfgs", "batch_size": 442}, LBFGS),
        ({"early_stopping": True}, LBFGS),
        ({"batch_size": 50}, SGD),
        ({"batch_size": 1000}, SGD),
        ({"learning_rate_init": 0.1}, SGD),
        ({"learning_rate_init": schedules.cosine(0.1, epochs=2)}, SGD),
        ({"loss": "mae"}, LBFGS),
        ({"loss": "huber"}, LBFGS),
        ({"solver": "adam"}, Adam),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else value.__name__,
)
def test_auto_is_lbfgs_unless_there_are_batches_or_a_rate(how, chosen):
    X, y = DIABETES
    for model in (NeuronRegressor(**how), NeuronClassifier(**how)):
        model.set_params(max_iter=2, tol=None, momentum=0.7).fit(X, y > 150)
        rule = optimizer_of(model)
        assert type(rule) is chosen
        if chosen is SGD:
            assert rule == SGD(momentum=0.7, nesterov=True)


def test_partial_fit_is_sgd_in_batches_of_200():
    X, y = CANCER
    models = [
        NeuronClassifier(random_state=0, **how).partial_fit(X, y, classes=[0, 1])
        for how in ({}, {"batch_size": 200}, {"solver": "sgd", "batch_size": 200})
    ]
    for model in models:
        assert type(optimizer_of(model)) is SGD
        model.partial_fit(X[:150], y[:150])
        np.testing.assert_array_equal(model.coef_, models[0].coef_)
    whole = NeuronClassifier(random_state=0, solver="sgd").partial_fit(X, y, classes=[0, 1])
    assert (whole.coef_ != models[0].coef_).all()
    models = [NeuronRegressor(**how).partial_fit(X[:99], y[:99]) for how in ({}, {"solver": "sgd"})]
    np.testing.assert_array_equal(models[0].coef_, models[1].coef_)
    after = NeuronClassifier(random_state=0).fit(X, y)
    before = after.coef_.copy()
    assert type(optimizer_of(after.partial_fit(X, y))) is SGD
    assert 0 < np.abs(after.coef_ - before).max() < 1.0 and after.score(X, y) > 0.98


@pytest.mark.parametrize("solver", ["lbfgs", LBFGS()], ids=str)
def test_what_lbfgs_cannot_take_is_refused(solver):
    X, y = CANCER
    for how, message in (
        ({"batch_size": 100}, "batch_size: expected None, or at least the 569 rows,.* got 100"),
        ({"learning_rate_init": 0.1}, "learning_rate_init: expected 'auto' .* got float 0.1"),
        ({"learning_rate_init": np.sqrt}, "learning_rate_init: expected 'auto' .* got"),
    ):
        with pytest.raises(ValueError, match=message):
            NeuronClassifier(solver=solver, **how).fit(X, y)
    with pytest.raises(ValueError, match=r"solver: expected 'auto', .* with partial_fit, got"):
        NeuronClassifier(solver=solver).partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"solver: expected 'auto', .* with partial_fit, got"):
        NeuronRegressor(solver=solver).partial_fit(X, y)


def test_tolerances_are_those_of_lbfgs():
    X, y = CANCER
    losses = [
        NeuronClassifier(alpha=1.0, **how).fit(X, y).loss_curve_
        for how in ({}, {"tol": 1e9, "n_iter_no_change": 1}, {"tol": None}, {"tol": 0.0})
    ]
    assert losses[0] == losses[1] == losses[2] == losses[3]
    loose = NeuronClassifier(alpha=1.0, solver=LBFGS(gtol=1e-2)).fit(X, y)
    assert loose.n_iter_ < len(losses[0]) and loose.stopped_ == "tol"
    early = NeuronClassifier(early_stopping=True, tol=0.01, n_iter_no_change=3, random_state=0)
    early.fit(X, y)
    best = int(np.argmin(early.validation_loss_curve_))
    assert early.n_iter_ <= best + 4 < 30 and early.stopped_ == "tol"
    with pytest.warns(ConvergenceWarning, match="max_iter=4 before L-BFGS had converged") as told:
        NeuronClassifier(max_iter=4).fit(X, y)
    assert told[0].filename == __file__


# --- what may be asked of a fit -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cancer", "iris"])
def test_a_default_fit_reads_the_rows_for_lbfgs_only(name, monkeypatch):
    X, y = CLASSES[name]
    expected = NeuronClassifier(alpha=1.0).fit(X, y)
    monkeypatch.setattr(classifier, "survey", None)
    monkeypatch.setattr(classifier, "coded", None)
    unique = np.unique

    def few(values, *arguments, **how):  # for scikit-learn's checks
        assert np.size(values) < len(y)
        return unique(values, *arguments, **how)

    monkeypatch.setattr(np, "unique", few)
    for labels in (y, y.astype(np.int8), y.astype(float)):
        model = NeuronClassifier(alpha=1.0).fit(X, labels)
        np.testing.assert_array_equal(model.coef_, expected.coef_)
        assert model.classes_.dtype == labels.dtype


@pytest.mark.parametrize("name", ["cancer", "iris"])
def test_rows_of_every_kind(name, tmp_path):
    X, y = CLASSES[name]
    settings = {"alpha": 1.0, "solver": LBFGS(gtol=1e-9, ftol=0.0)}
    expected = NeuronClassifier(**settings).fit(X, y)
    frame = pd.DataFrame(X).assign(y=y).rename(columns=str)
    frame.to_csv(tmp_path / "rows.csv", index=False, float_format="%.17g")
    rows = open_rows(tmp_path / "rows.csv", target="y")
    names = np.array(["a", "b", "c"])[y]
    for data in (
        (rows,), (open_rows(X), y), (sparse.csr_array(X), y), (np.asfortranarray(X), y), (X, names),
        (X.tolist(), y.tolist()), (np.repeat(X, 2, axis=0), np.repeat(y, 2), np.full(2 * len(y), 0.5)),
    ):  # fmt: skip
        model = NeuronClassifier(**settings).fit(*data)
        np.testing.assert_allclose(model.coef_, expected.coef_, rtol=0, atol=1e-6)
    table = NeuronClassifier(**settings).fit(frame.drop(columns="y"), y)
    assert len(table.feature_names_in_) == X.shape[1]
    assert not hasattr(table.fit(X, y), "feature_names_in_")  # scikit-learn forgets them, too


@pytest.mark.parametrize("name", ["cancer", "iris"])
def test_float32(name):
    X, y = CLASSES[name]
    model = NeuronClassifier(alpha=1.0).fit(X.astype(np.float32), y)
    double = NeuronClassifier(alpha=1.0).fit(X, y)
    assert model.coef_.dtype == np.float32 == model.predict_log_proba(X[:9].astype("f")).dtype
    np.testing.assert_allclose(model.coef_, double.coef_, rtol=0, atol=0.02)
    assert abs(model.loss_curve_[-1] - double.loss_curve_[-1]) < 1e-5
    several = NeuronRegressor().fit(DIABETES[0].astype(np.float32), Y2)
    agree(several, NeuronRegressor().fit(DIABETES[0], Y2))


@pytest.mark.parametrize("name", ["cancer", "iris"])
def test_a_warm_start_at_the_minimum_stays_there(name, tmp_path):
    X, y = CLASSES[name]
    model = NeuronClassifier(alpha=1.0, warm_start=True).fit(X, y)
    before = clone(model).fit(X, y)
    assert model.fit(X, y).n_iter_ == len(model.loss_curve_) < 2
    np.testing.assert_allclose(model.coef_, before.coef_, rtol=0, atol=1e-4)
    save(model, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    more = NeuronClassifier(alpha=0.1, warm_start=True).fit(X, y).set_params(alpha=1.0).fit(X, y)
    agree(more, before)


@pytest.mark.parametrize("name", ["cancer", "iris"])
def test_callbacks_progress_and_threads_change_no_bit(name, capsys):
    X, y = CLASSES[name]
    seen = []

    def callback(state):
        seen.append(state.loss)
        return len(seen) == 5

    expected = NeuronClassifier(alpha=1.0).fit(X, y)
    how = {"progress": "always", "n_threads": 2, "verbose": True}
    model = NeuronClassifier(alpha=1.0, **how).fit(X, y)
    assert model.coef_.tobytes() == expected.coef_.tobytes()
    shown = capsys.readouterr()
    assert "loss" in shown.err and f"Iteration {model.n_iter_}, loss = " in shown.out
    stopped = NeuronClassifier(alpha=1.0, callback=callback).fit(X, y)
    assert stopped.stopped_ == "callback" and stopped.loss_curve_ == seen == model.loss_curve_[:5]
    limited = NeuronClassifier(alpha=1.0, max_iter=5, tol=None).fit(X, y)
    np.testing.assert_array_equal(limited.coef_, stopped.coef_)


def test_an_interrupted_fit_returns_what_there_is():
    X, y = CANCER

    def callback(state):
        if state.epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)

    model = NeuronClassifier(callback=callback)
    with pytest.warns(UserWarning, match="interrupted after [34] epochs"):
        model.fit(X, y)
    assert model.stopped_ == "interrupted" and model.score(X, y) > 0.9


@pytest.mark.skipif(not hasattr(NeuronClassifier, "set_callbacks"), reason="scikit-learn 1.9")
@pytest.mark.parametrize("name", ["cancer", "iris"])
def test_scikit_learns_callbacks(name):
    class Recorder:
        def __init__(self):
            self.scores, self.open = [], 0

        def setup(self, estimator, context): ...

        def teardown(self, estimator, context): ...

        def on_fit_task_begin(self, estimator, context):
            self.open += 1

        def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
            self.open -= 1
            if fitted_estimator is not None:
                self.scores.append(fitted_estimator.score(X, y))
            return False

    X, y = CLASSES[name]
    recorder = Recorder()
    model = NeuronClassifier(alpha=1.0).set_callbacks(recorder).fit(X, y)
    assert recorder.open == 0 and len(recorder.scores) >= model.n_iter_
    assert recorder.scores[-1] == model.score(X, y)
    assert model.coef_.tobytes() == NeuronClassifier(alpha=1.0).fit(X, y).coef_.tobytes()


@pytest.mark.parametrize("loss", ["log_loss", "bce", "squared_error", "mse", "huber"])
def test_which_output_a_model_has_follows_from_its_loss_and_classes(loss, tmp_path):
    X, y = IRIS
    model = clone(NeuronClassifier(loss, alpha=1.0)).fit(X, y)
    save(model, tmp_path / "model.safetensors")
    z = X @ model.coef_.T + model.intercept_
    np.testing.assert_allclose(model.decision_function(X), z, atol=1e-12)
    a = np.exp(z) if loss == "log_loss" else 1 / (1 + np.exp(-z))
    for one in (model, load(tmp_path / "model.safetensors")):
        np.testing.assert_allclose(one.predict_proba(X), a / a.sum(axis=1, keepdims=True))
        np.testing.assert_allclose(np.exp(one.predict_log_proba(X)), one.predict_proba(X))
