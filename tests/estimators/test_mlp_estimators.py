"""The multi-layer perceptrons with scikit-learn's interface: its numbers, and what they add."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn import neural_network as theirs
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    make_multilabel_classification,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import scale
from sklearn.utils.class_weight import compute_sample_weight

import fastbp
from fastbp import MLPClassifier, MLPRegressor
from fastbp.estimators.names import TORCH

NEW = tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 7)  # losses, weights of samples
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # scikit-learn 1.5's own class, with a SciPy that is much newer
    pytest.mark.filterwarnings("ignore:.*iprint:DeprecationWarning"),
]

# What the issue of these estimators allows. Measured: losses 2e-11, parameters 2e-10 at most, of
# Adam with tanh on the digits, where rounding grows from epoch to epoch; the others 2e-12.
LOSS, PARAMETERS = 1e-6, 1e-4


def _data():
    digits, cancer, diabetes = (
        load(return_X_y=True) for load in (load_digits, load_breast_cancer, load_diabetes)
    )
    return {
        "digits": digits,
        "cancer": (scale(cancer[0]), cancer[1]),
        "diabetes": (scale(diabetes[0]), scale(diabetes[1])),
    }


DATA = _data()
X_IRIS, Y_IRIS = load_iris(return_X_y=True)


def kinds(name):
    return (
        (theirs.MLPRegressor, MLPRegressor)
        if name == "diabetes"
        else (theirs.MLPClassifier, MLPClassifier)
    )


def both(name, **parameters):
    """Return scikit-learn's model and ours, fitted to the same data."""
    X, y = DATA[name]
    return tuple(kind(**parameters).fit(X, y) for kind in kinds(name))


def assert_same_training(their, our, X):
    assert our.n_iter_ == their.n_iter_
    assert our.t_ == their.t_
    np.testing.assert_allclose(our.loss_curve_, their.loss_curve_, rtol=LOSS)
    assert_same_parameters(their, our)
    if hasattr(their, "classes_"):
        np.testing.assert_array_equal(our.predict(X), their.predict(X))
    else:
        np.testing.assert_allclose(our.predict(X), their.predict(X), rtol=LOSS, atol=LOSS)


def assert_same_parameters(their, our):
    for name in ("coefs_", "intercepts_"):
        pairs = zip(getattr(our, name), getattr(their, name), strict=True)
        for ours, other in pairs:
            assert ours.dtype == other.dtype
            np.testing.assert_allclose(ours, other, rtol=0, atol=PARAMETERS)


SOLVERS = {
    "adam": {"solver": "adam"},
    "constant": {"solver": "sgd", "learning_rate": "constant"},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 1e-3, "n_iter_no_change": 3},
    "plain": {"solver": "sgd", "momentum": 0.0, "alpha": 0.0, "batch_size": 50},
    "heavy ball": {"solver": "sgd", "nesterovs_momentum": False, "shuffle": False},
    "early": {"solver": "adam", "early_stopping": True, "n_iter_no_change": 5, "tol": 0.01},
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("name", DATA)
def test_training_is_that_of_scikit_learn(name, activation, solver):
    parameters = {"learning_rate_init": 0.002 if name == "digits" else 0.02, **SOLVERS[solver]}
    their, our = both(
        name,
        activation=activation,
        hidden_layer_sizes=(20, 10),
        random_state=1,
        max_iter=80,
        **parameters,
    )
    assert_same_training(their, our, DATA[name][0])
    if not parameters.get("early_stopping"):
        assert our.best_loss_ == pytest.approx(their.best_loss_, rel=LOSS)
    else:
        assert our.best_loss_ is None
        np.testing.assert_allclose(our.validation_scores_, their.validation_scores_, rtol=LOSS)
        assert our.best_validation_score_ == pytest.approx(their.best_validation_score_, rel=LOSS)
        assert len(our.validation_loss_curve_) == our.n_iter_


@pytest.mark.parametrize("name", DATA)
def test_defaults_to_the_end(name):
    assert_same_training(*both(name, random_state=0), DATA[name][0])


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("name", DATA)
def test_lbfgs_is_that_of_scikit_learn(name, activation):
    X, y = DATA[name]
    kind, our_kind = kinds(name)
    their, our = (
        k(solver="lbfgs", activation=activation, max_iter=5, random_state=0, alpha=0.1).fit(X, y)
        for k in (kind, our_kind)
    )
    assert our.n_iter_ == their.n_iter_ == 5
    assert our.loss_ == pytest.approx(their.loss_, rel=LOSS)
    packed = np.concatenate([a.ravel() for a in (*their.coefs_, *their.intercepts_)])
    targets = their._label_binarizer.transform(y) if hasattr(their, "classes_") else y[:, None]
    weight = np.random.default_rng(0).uniform(0.5, 2.0, len(X))
    for sample_weight in (None, weight) if NEW else (None,):
        loss, gradient = our._loss_grad_lbfgs(packed, X, targets, sample_weight)
        other, other_gradient = _their_loss(their, packed, X, targets, sample_weight)
        assert loss == pytest.approx(other, rel=1e-12)
        size = np.abs(other_gradient).max()
        np.testing.assert_allclose(gradient, other_gradient, rtol=1e-12, atol=1e-12 * size)
    # Beyond 50 iterations scikit-learn's own path leaves itself if X is disturbed by 1e-15.
    their, our = both(name, solver="lbfgs", activation=activation, max_iter=50, random_state=0)
    assert our.loss_ == pytest.approx(their.loss_, rel=LOSS)


def _saturated(labels):
    X, y = load_breast_cancer(return_X_y=True)  # unscaled: 3 % of the rows are saturated
    return X, np.column_stack([y, X[:, 0] > 13.0]).astype(int) if labels == "two labels" else y


@pytest.mark.parametrize("labels", ["two classes", "two labels"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_saturated_rows_are_rounded_as_scikit_learn_rounds_them(labels, activation):
    X, y = _saturated(labels)
    for iterations in (1, 5, 10):
        how = {"solver": "lbfgs", "activation": activation, "max_iter": iterations}
        their, our = (
            kind(random_state=0, **how).fit(X, y) for kind in (theirs.MLPClassifier, MLPClassifier)
        )
        assert our.loss_ == pytest.approx(their.loss_, rel=1e-9)  # 4e-2 before


def _their_loss(model, packed, X, y, sample_weight):
    n = model.n_layers_ - 1
    lists = [X] + [None] * n, [None] * n, [None] * n, [None] * n
    weight = (sample_weight,) if NEW else ()
    return model._loss_grad_lbfgs(packed, X, y, *weight, *lists)


@pytest.mark.skipif(not NEW, reason="weights of samples came with scikit-learn 1.7")
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("name", DATA)
def test_sample_weight_is_that_of_scikit_learn(name, solver):
    X, y = DATA[name]
    weight = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)
    their, our = (
        kind(solver=solver, max_iter=5, random_state=0).fit(X, y, sample_weight=weight)
        for kind in kinds(name)
    )
    assert our.loss_ == pytest.approx(their.loss_, rel=LOSS)
    assert_same_parameters(their, our)


@pytest.mark.skipif(not NEW, reason="the Poisson loss came with scikit-learn 1.7")
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_poisson_is_that_of_scikit_learn(solver):
    X, _ = DATA["diabetes"]
    y = np.random.default_rng(0).poisson(np.exp(0.5 * X[:, :2]))
    y[:5] = 0
    their, our = (
        kind(loss="poisson", solver=solver, max_iter=10, random_state=0).fit(X, y)
        for kind in (theirs.MLPRegressor, MLPRegressor)
    )
    if solver != "lbfgs":
        assert_same_training(their, our, X)
    assert our.loss_ == pytest.approx(their.loss_, rel=LOSS)
    assert our.out_activation_ == "exp"
    with pytest.raises(ValueError, match="y: expected no negative numbers with loss='poisson'"):
        our.fit(X, -y)


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_several_outputs(solver):
    X, _ = DATA["diabetes"]
    Y = X[:, :3] ** 2
    their, our = (
        kind(solver=solver, max_iter=5, random_state=0, alpha=1.0).fit(X, Y)
        for kind in (theirs.MLPRegressor, MLPRegressor)
    )
    assert our.loss_ == pytest.approx(their.loss_, rel=LOSS)
    np.testing.assert_allclose(our.predict(X), their.predict(X), atol=LOSS)
    X, Y = make_multilabel_classification(200, random_state=0)
    their, our = (
        kind(solver=solver, max_iter=5, random_state=0).fit(X, Y)
        for kind in (theirs.MLPClassifier, MLPClassifier)
    )
    assert our.loss_ == pytest.approx(their.loss_, rel=LOSS)
    np.testing.assert_allclose(our.predict_proba(X), their.predict_proba(X), atol=LOSS)
    np.testing.assert_array_equal(our.predict(X), their.predict(X))


def test_sparse_rows_and_labels():
    X, y = DATA["digits"]
    dense = MLPClassifier(max_iter=3, random_state=0).fit(X, y)
    for make in (sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array):
        model = MLPClassifier(max_iter=3, random_state=0).fit(make(X), y)
        assert model.loss_curve_ == dense.loss_curve_
        np.testing.assert_array_equal(model.predict(make(X)), dense.predict(X))


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_thin_sparse_rows_are_never_made_dense(monkeypatch, solver):
    X = sparse.random(400, 3000, 0.01, format="csr", random_state=0)
    y = np.arange(400) % 3
    parameters = {"solver": solver, "hidden_layer_sizes": (20, 5), "max_iter": 4}
    their = theirs.MLPClassifier(random_state=0, **parameters).fit(X, y)
    monkeypatch.setattr("fastbp.data.sparse.SparseRows.fill", None)
    fits = []
    for n_threads in (1, 2):
        for kind in (sparse.csr_matrix, sparse.csc_array):
            model = MLPClassifier(random_state=0, n_threads=n_threads, **parameters)
            fits.append(model.fit(kind(X), y))
    assert len({fit.loss_ for fit in fits}) == 1
    assert fits[0].loss_ == pytest.approx(their.loss_, rel=LOSS)
    assert_same_parameters(their, fits[0])
    np.testing.assert_allclose(
        fits[0].predict_proba(X), their.predict_proba(X), rtol=LOSS, atol=LOSS
    )
    for activation in ("identity", "logistic", "tanh"):
        models = [
            kind(activation=activation, random_state=0, early_stopping=True, **parameters)
            for kind in (theirs.MLPClassifier, MLPClassifier)
        ]
        losses = [model.fit(X, y).loss_ for model in models]
        assert losses[1] == pytest.approx(losses[0], rel=LOSS)
        np.testing.assert_array_equal(models[1].predict(X), models[0].predict(X))


def test_sparse_rows_that_point_beyond_the_columns_are_refused():
    X = sparse.random(20, 50, 0.05, format="csr", random_state=0)
    X.indices[3] = 10**6
    with pytest.raises(ValueError, match=r"(indices|index values) must be"):
        MLPClassifier((3,), max_iter=1).fit(X, np.arange(20) % 2)


def test_large_sparse_rows_are_read_in_blocks(monkeypatch):
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 1000)
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 20_000)
    X, y = DATA["digits"]
    for shuffle in (False, True):
        fits = [
            MLPClassifier(max_iter=2, random_state=0, shuffle=shuffle, batch_size=30).fit(rows, y)
            for rows in (X, sparse.csr_matrix(X))
        ]
        assert fits[0].loss_curve_ == fits[1].loss_curve_
        np.testing.assert_array_equal(fits[1].predict(sparse.csr_matrix(X)), fits[0].predict(X))


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_any_number_of_threads_gives_the_same_bits(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 30))
    y = (X[:, 0] > 0) if kind is MLPClassifier else X[:, 0]
    for solver in ("sgd", "adam", "lbfgs"):
        fits = [
            kind(solver=solver, batch_size=1500, max_iter=4, random_state=0, n_threads=n).fit(X, y)
            for n in (1, 2, 3)
        ]
        for other in fits[1:]:
            assert other.loss_ == fits[0].loss_
            for a, b in zip(other.coefs_, fits[0].coefs_, strict=True):
                np.testing.assert_array_equal(a, b)


# --- going on -----------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [{}, {"solver": "sgd", "learning_rate": "invscaling"}])
def test_warm_start_and_partial_fit_are_those_of_scikit_learn(parameters):
    X, y = DATA["digits"]
    models = [
        kind(max_iter=3, random_state=0, warm_start=True, **parameters)
        for kind in (theirs.MLPClassifier, MLPClassifier)
    ]
    for model in models:
        model.fit(X, y).fit(X, y)
    assert_same_training(*models, X)
    for model in models:
        model.partial_fit(X[:500], y[:500]).partial_fit(X[500:], y[500:])
    assert_same_training(*models, X)


def test_the_optimizer_can_be_kept_over_warm_starts():
    X, y = DATA["cancer"]
    whole = MLPClassifier(max_iter=6, shuffle=False, random_state=0).fit(X, y)
    parts = MLPClassifier(
        max_iter=3, shuffle=False, random_state=0, warm_start=True, keep_optimizer=True
    )
    parts.fit(X, y).fit(X, y)
    assert parts.loss_curve_ == whole.loss_curve_
    parts.set_params(keep_optimizer=False).fit(X, y)
    assert parts.loss_curve_[7] != pytest.approx(
        MLPClassifier(max_iter=9, shuffle=False, random_state=0).fit(X, y).loss_curve_[7], rel=1e-6
    )


def test_layers_can_be_set():
    X, y = DATA["cancer"]
    model = MLPClassifier(hidden_layer_sizes=(5,), max_iter=2, random_state=0).fit(X, y)
    before = model.predict_proba(X)
    model.coefs_ = [w * 2.0 for w in model.coefs_]
    assert abs(model.predict_proba(X) - before).max() > 0.01
    fresh = MLPClassifier(warm_start=True, max_iter=1, random_state=0)
    fresh.coefs_, fresh.intercepts_ = model.coefs_, model.intercepts_
    fresh.fit(X, y)
    assert [w.shape for w in fresh.coefs_] == [(30, 5), (5, 1)]
    assert fresh.loss_ == model.set_params(warm_start=True, max_iter=1).fit(X, y).loss_
    with pytest.raises(ValueError, match="X has 1 features, but MLPClassifier is expecting 30"):
        fresh.predict(X[:, :1].copy())
    model.coefs_ = [w.tolist() for w in model.coefs_]
    np.testing.assert_array_equal(model.predict(X), fresh.predict(X))
    model.coefs_[1] = np.ones((6, 1))
    with pytest.raises(
        ValueError, match=r"coefs_\[1\], intercepts_\[1\]: expected shapes \(5, m\)"
    ):
        model.partial_fit(X, y)


def test_validation_data_of_ones_own():
    X, y = DATA["cancer"]
    train, held_out = (X[:400], y[:400]), (X[400:], y[400:])
    model = MLPClassifier(
        early_stopping=True, n_iter_no_change=3, learning_rate_init=0.05, random_state=0
    )
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        model.partial_fit(*train, classes=[0, 1])
    for _ in range(200):
        model.partial_fit(*train, classes=[0, 1], X_val=held_out[0], y_val=held_out[1])
        if model.stopped_ == "tol":
            break
    assert model.stopped_ == "tol" and len(model.loss_curve_) < 100
    assert model.score(*held_out) == model.best_validation_score_ == max(model.validation_scores_)
    assert len(model.validation_loss_curve_) == len(model.validation_scores_)
    whole = clone(model).fit(*train, X_val=held_out[0], y_val=held_out[1])
    assert whole.score(*held_out) == whole.best_validation_score_
    watching = MLPClassifier(random_state=0, max_iter=5)
    watching.fit(*train, X_val=held_out[0], y_val=held_out[1])
    assert len(watching.validation_loss_curve_) == 5 and watching.validation_scores_ is None
    assert watching.loss_curve_ == MLPClassifier(random_state=0, max_iter=5).fit(*train).loss_curve_


def test_validation_loss_is_the_loss_without_penalty():
    X, y = DATA["digits"]
    model = MLPClassifier(alpha=10.0, random_state=0, max_iter=3)
    model.fit(X[:1000], y[:1000], X_val=X[1000:], y_val=y[1000:])
    log = -model.predict_log_proba(X[1000:])[np.arange(797), y[1000:]].mean()
    assert model.validation_loss_curve_[-1] == pytest.approx(log, rel=1e-12)


# --- what scikit-learn does not have ------------------------------------------------------------


def test_class_weight_is_a_weight_of_samples():
    X, y = DATA["digits"]
    for class_weight in ("balanced", {c: 1.0 + c for c in range(10)}):
        ours = MLPClassifier(class_weight=class_weight, max_iter=3, random_state=0).fit(X, y)
        weight = compute_sample_weight(class_weight, y)
        other = MLPClassifier(max_iter=3, random_state=0).fit(X, y, sample_weight=weight)
        assert ours.loss_curve_ == other.loss_curve_
    with pytest.raises(ValueError, match="class_weight: 'balanced' is for fit"):
        MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=range(10))


@pytest.mark.parametrize("loss", ["bce", "cross_entropy", "mse", "half_mse"])
def test_losses_of_fit_network(loss):
    X, y = DATA["digits"]
    model = MLPClassifier(
        (20,), loss=loss, solver="sgd", shuffle=False, random_state=0, max_iter=4, alpha=0.5
    )
    start = clone(model).set_params(max_iter=1, learning_rate_init=1e-300).fit(X, y)
    model.fit(X, y)
    soft = loss == "cross_entropy"
    fit = fastbp.fit_network(
        X,
        y if soft else np.eye(10)[y],
        start.coefs_,
        start.intercepts_,
        0.001,
        4,
        activations=["relu", "softmax" if soft else "sigmoid"],
        loss=loss,
        optimizer=fastbp.SGD(momentum=0.9, nesterov=True),
        batch_size=200,
        alpha=0.5,
    )
    assert model.loss_curve_ == fit.losses.tolist()
    np.testing.assert_array_equal(model.coefs_[0], fit.weights[0])
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X))


@pytest.mark.parametrize("loss", ["bce", "cross_entropy", "mse", "half_mse"])
def test_losses_of_fit_network_for_numbers(loss):
    X, _ = DATA["diabetes"]
    Y = np.random.default_rng(0).dirichlet([1.0, 2.0], len(X))
    model = MLPRegressor(loss=loss, random_state=0, max_iter=2).fit(X, Y)
    names = ["relu", {"bce": "sigmoid", "cross_entropy": "softmax"}.get(loss, "identity")]
    own, *_ = fastbp.loss_and_gradient(
        X, Y, model.coefs_, model.intercepts_, activations=names, loss=loss, alpha=1e-4
    )
    again = MLPRegressor(
        loss=loss, random_state=0, max_iter=1, warm_start=True, batch_size=len(X), shuffle=False
    )
    again.coefs_, again.intercepts_ = model.coefs_, model.intercepts_
    assert again.fit(X, Y).loss_ == own


def test_log_probabilities_stay_finite():
    X, y = DATA["digits"]
    model = MLPClassifier(max_iter=2, random_state=0).fit(X, y)
    model.coefs_ = [w * 30.0 for w in model.coefs_]
    logs = model.predict_log_proba(X)
    assert model.predict_proba(X).min() == 0.0
    assert np.isfinite(logs).all() and logs.min() < -745.0


def test_callback_sees_each_epoch_and_may_stop():
    X, y = DATA["cancer"]
    seen = []

    def callback(state):
        seen.append((state.epoch, state.loss, state.weights[0].shape, state.biases[1].shape))
        return len(seen) == 4

    for solver in ("adam", "lbfgs"):
        seen.clear()
        model = MLPClassifier((7,), solver=solver, callback=callback, random_state=0).fit(X, y)
        assert [epoch for epoch, *_ in seen] == [0, 1, 2, 3]
        assert seen[-1][1:] == (model.loss_, (30, 7), (1,))
        assert model.n_iter_ == 4 and model.stopped_ == "callback"


@pytest.mark.parametrize(
    "parameters",
    [
        {"tol": 1e-3, "n_iter_no_change": 2},
        {"tol": 0.0, "n_iter_no_change": 2, "learning_rate_init": 1e-300, "shuffle": False},
        {"tol": 1e300, "n_iter_no_change": np.inf},
        {"tol": 1e300, "n_iter_no_change": 10**30},
        {"solver": "sgd", "activation": "identity", "learning_rate_init": 3.0},
        {"loss": "huber"},
    ],
    ids=["ends", "stays equal", "infinite patience", "much patience", "diverges", "own loss"],
)
def test_epochs_that_nobody_watches_are_the_same(parameters):
    """They are noted several at a time, and the kernel itself counts those without improvement."""
    X, y = DATA["diabetes"]
    models = []
    for callback in (None, lambda epoch: None):
        model = MLPRegressor(max_iter=40, random_state=0, callback=callback, **parameters)
        with contextlib.suppress(ValueError):
            model.fit(X, y)
        models.append(vars(model))
    unwatched, watched = models
    for name in ("n_iter_", "t_", "stopped_", "best_loss_", "_no_improvement_count"):
        assert unwatched[name] == watched[name]
    np.testing.assert_array_equal(unwatched["loss_curve_"], watched["loss_curve_"])
    for a, b in zip(unwatched["coefs_"], watched["coefs_"], strict=True):
        np.testing.assert_array_equal(a, b)


def test_tol_of_float32_ends_a_fit_where_float64_does():
    """NumPy would compare in float32, the kernel does not."""
    X, y = DATA["diabetes"]
    ends = []
    for tol in (np.float32(1e-9), float(np.float32(1e-9))):
        for callback in (None, lambda epoch: None):
            model = MLPRegressor(
                max_iter=300, tol=tol, n_iter_no_change=2, random_state=0, solver="sgd",
                learning_rate_init=1e-12, shuffle=False, callback=callback,
            )  # fmt: skip
            model.fit(X, y)
            ends.append((model.n_iter_, model._no_improvement_count, model.stopped_))
    assert len(set(ends)) == 1


def test_epochs_that_are_noted_are_no_brief_work():
    """Each costs microseconds of Python: a fit of many can be interrupted."""
    X, y = DATA["diabetes"]
    brief = []
    original = fastbp.training.driver.train

    def noted(problem, *others):
        brief.append(problem.brief)
        problem.options.epochs = 1
        return original(problem, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastbp.estimators.mlp.stochastic.train", noted)
        MLPRegressor(hidden_layer_sizes=(5,), shuffle=False, max_iter=100).fit(X[:10, :3], y[:10])
    assert brief == [False]


@pytest.mark.skipif(sys.platform == "win32", reason="no signal that a process can send itself")
def test_ctrl_c_within_an_epoch_that_nobody_watches(monkeypatch):
    """Also the epochs of the same slice are noted."""
    X, y = DATA["diabetes"]
    original = fastbp.training.run.Run.slice

    def interrupted(self):
        self._computes.allow_chunks(5 * self.memory.chunks + 2)
        original(self)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(fastbp.training.run.Run, "slice", interrupted)
    model = MLPRegressor(max_iter=10**6, tol=0.0, batch_size=50, shuffle=False, random_state=0)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, y)
    assert model.n_iter_ == len(model.loss_curve_) == 5 and model.t_ == 5 * len(X)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_was_computed_survives_a_callback_that_fails(error):
    X, y = DATA["cancer"]

    def callback(state):
        if state.epoch == 2:
            raise error("mine")

    model = MLPClassifier(callback=callback, random_state=0)
    with pytest.raises(error, match="mine"):
        model.fit(X, y)
    expected = MLPClassifier(max_iter=3, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])
    assert model.loss_curve_ == expected.loss_curve_


@pytest.mark.parametrize("make", [MLPClassifier, fastbp.NeuronClassifier])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_sees_the_estimator_as_it_is_by_then(make, solver):
    X, y = DATA["cancer"]
    found = []

    def callback(state):
        first = model.coefs_[0][0] if make is MLPClassifier else model.coef_[0]
        given = state.weights[0][0] if make is MLPClassifier else state.weights
        assert np.array_equal(first, given)
        found.append(model.score(X, y))

    model = make(solver=solver, max_iter=8, callback=callback, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    assert len(set(found)) > 1 and found[-1] == model.score(X, y)


def test_divergence_leaves_what_was_there_before():
    X, y = DATA["diabetes"]
    model = MLPRegressor(activation="identity", solver="sgd", learning_rate_init=50.0)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        model.fit(X, y)
    assert all(np.isfinite(w).all() for w in model.coefs_)
    assert np.isfinite(model.loss_curve_[:-1]).all() and np.isnan(model.loss_curve_[-1])
    assert model.stopped_ == "diverged" and model.t_ == model.n_iter_ * len(X)
    model.set_params(early_stopping=True)
    with pytest.warns(ConvergenceWarning, match="diverged in iteration"):
        model.fit(X, y)
    assert np.isnan(model.validation_scores_[-1]) and model.stopped_ == "diverged"
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.skipif(sys.platform == "win32", reason="no signal that a process can send itself")
def test_ctrl_c_ends_the_fit_with_what_there_is():
    code = """
import os, signal, warnings
import numpy as np
from fastbp import MLPRegressor
X = np.random.default_rng(0).normal(size=(100, 3))
def callback(state):
    if state.epoch == 5:
        os.kill(os.getpid(), signal.SIGINT)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    model = MLPRegressor(callback=callback, random_state=0).fit(X, X[:, 0])
print(model.n_iter_, model.stopped_, len(model.loss_curve_), caught[0].message)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.stdout == "6 interrupted 6 Training interrupted by user.\n", done.stderr


def test_scikit_learns_own_callbacks():
    callbacks = pytest.importorskip("sklearn.callback", reason="came with scikit-learn 1.9")
    X, y = DATA["cancer"]

    class Watching:
        def __init__(self):
            self.reported = []

        def setup(self, estimator, context):
            self.reported.append("setup")

        def teardown(self, estimator, context):
            self.reported.append("teardown")

        def on_fit_task_begin(self, estimator, context, *, X=None):
            self.reported.append(f"begin {context.task_name}")

        def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
            self.reported.append(f"end {context.task_name} {fitted_estimator.score(X, y) > 0.5}")
            return context.task_name == "epoch" and context.task_id == 1

    assert isinstance(Watching(), callbacks.FitCallback)
    for solver in ("adam", "lbfgs"):
        watching = Watching()
        model = MLPClassifier(solver=solver, random_state=0).set_callbacks(watching).fit(X, y)
        epoch = ["begin epoch", "end epoch True"]
        assert watching.reported == [
            "setup", "begin fit", *epoch, *epoch, "end fit True", "teardown",
        ]  # fmt: skip
        assert model.n_iter_ == 2 and model.stopped_ == "callback"


def test_scikit_learns_callbacks_are_told_of_each_epoch_once():
    pytest.importorskip("sklearn.callback", reason="came with scikit-learn 1.9")
    X, y = DATA["cancer"]

    class Counting:
        def __init__(self):
            self.epochs = 0

        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, X=None):
            self.epochs += context.task_name == "epoch" and X is not None

    for parameters in (
        {"solver": "lbfgs", "tol": 1e-2},
        {"max_iter": 4},
        {"callback": lambda state: state.epoch == 2},
        {"early_stopping": True, "n_iter_no_change": 1, "tol": 0.1},
    ):
        counting = Counting()
        model = MLPClassifier((3,), random_state=0, **parameters).set_callbacks(counting)
        assert model.fit(X, y).n_iter_ == counting.epochs
        counting = Counting()
        if "solver" not in parameters and "early_stopping" not in parameters:
            model.set_callbacks(counting).partial_fit(X, y)
            assert counting.epochs == 1


# --- other libraries, files ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [{}, {"solver": "sgd", "learning_rate": "invscaling"}, {"solver": "sgd", "momentum": 0.0}],
)
def test_a_model_of_scikit_learn_goes_on(parameters):
    X, y = DATA["digits"]
    random_state = np.random.RandomState(3)
    their = theirs.MLPClassifier(max_iter=3, random_state=random_state, **parameters).fit(X, y)
    our = MLPClassifier.from_sklearn(their)
    np.testing.assert_array_equal(our.predict(X), their.predict(X))
    for model in (their, our):
        model.partial_fit(X, y).partial_fit(X, y)
    assert_same_training(their, our, X)
    with pytest.raises(
        TypeError, match="model: expected scikit-learn's MLPClassifier, got sklearn"
    ):
        MLPClassifier.from_sklearn(theirs.MLPRegressor())
    assert MLPRegressor.from_sklearn(theirs.MLPRegressor(alpha=3.0)).alpha == 3.0


def _labels(kind):
    _, y = DATA["digits"]
    return {
        "words": np.array(["no", "yes"], dtype=object)[y % 2],
        "numbers": y,
        "several": np.stack([y > 3, y % 2], axis=1).astype(int),
        "regression": y / 9.0,
    }[kind]


@pytest.mark.parametrize("labels", ["words", "numbers", "several", "regression"])
@pytest.mark.parametrize("way", ["file", "pickle"])
def test_saved_models_predict_and_go_on(tmp_path, way, labels):
    X, _ = DATA["digits"]
    y = _labels(labels)
    kind = MLPRegressor if labels == "regression" else MLPClassifier
    model = kind(hidden_layer_sizes=(10,), max_iter=3, random_state=np.random.RandomState(0)).fit(
        X, y
    )
    if way == "file":
        fastbp.save(model, tmp_path / "model.safetensors")
        again = fastbp.load(tmp_path / "model.safetensors")
    else:
        again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert repr(again.get_params()["hidden_layer_sizes"]) == "(10,)"
    assert again.loss_curve_ == model.loss_curve_
    again.partial_fit(X, y)
    assert again.loss_ == model.partial_fit(X, y).loss_


def test_files_hold_no_functions(tmp_path):
    X, y = DATA["cancer"]
    model = MLPClassifier(callback=print, max_iter=1).fit(X, y)
    with pytest.raises(TypeError, match="got callback=<built-in function print>; set it to None"):
        fastbp.save(model, tmp_path / "model.safetensors")
    model.set_params(callback=None, class_weight={0: 1.0, 1: np.float32(2.0)})
    fastbp.save(model, tmp_path / "model.safetensors")
    assert fastbp.load(tmp_path / "model.safetensors").class_weight == {0: 1.0, 1: 2.0}


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("labels", ["words", "numbers", "several", "regression"])
def test_there_and_back_with_pytorch(labels, double):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed", exc_type=ImportError)
    dtype = np.float64 if double else np.float32
    X, y = DATA["digits"][0].astype(dtype), _labels(labels)
    kind = MLPRegressor if labels == "regression" else MLPClassifier
    model = kind(hidden_layer_sizes=(10, 5), activation="tanh", max_iter=3, random_state=0).fit(
        X, y
    )
    module = model.to_torch()
    with torch.no_grad():
        outputs = module(torch.from_numpy(X)).numpy()
    close = {"rtol": 1e-12 if double else 1e-4, "atol": 0 if double else 1e-6}
    if kind is MLPRegressor:
        own = model.predict(X)[:, None]
    else:
        own = model.predict_proba(X)[:, -outputs.shape[1] :]
    np.testing.assert_allclose(outputs, own, **close)
    classes = model.classes_ if labels in ("words", "numbers") else None
    again = kind.from_torch(module, **({} if classes is None else {"classes": classes}))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.hidden_layer_sizes == (10, 5) and again.coefs_[0].dtype == dtype
    again.partial_fit(X, y)
    first = kind(**{**model.get_params(), "warm_start": True}).set_params(max_iter=1)
    first.coefs_, first.intercepts_ = model.coefs_, model.intercepts_
    loss = first.set_params(random_state=5).fit(X, y).loss_
    again = kind.from_torch(
        module, random_state=5, **({} if classes is None else {"classes": classes})
    )
    assert again.partial_fit(X, y).loss_ == pytest.approx(loss, rel=1e-6)


def test_modules_of_pytorch(monkeypatch):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed", exc_type=ImportError)
    nn = torch.nn
    X = DATA["digits"][0]
    two = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 2))
    two = two.double().eval()
    model = MLPClassifier.from_torch(two, classes=["a", "b"], solver="sgd", alpha=0.0)
    with torch.no_grad():
        expected = torch.softmax(two(torch.from_numpy(X)), 1).numpy()
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-9)
    assert model.activation == "relu" and model.solver == "sgd"
    linear, tanh, relu = nn.Linear(4, 4), nn.Tanh(), nn.ReLU()
    for bad, error, message in (
        (linear, TypeError, "module: expected torch.nn.Sequential, got Linear"),
        (nn.Sequential(relu), ValueError, "got ReLU.* as part 0"),
        (nn.Sequential(linear, relu, linear, tanh, linear), ValueError, "one activation"),
        (nn.Sequential(linear, nn.Hardswish(), linear), ValueError, "got Hardswish.* as part 1"),
        (nn.Sequential(linear, nn.GELU("tanh"), linear), ValueError, "got GELU.* as part 1"),
        (nn.Sequential(linear, nn.LeakyReLU(0.2), linear), ValueError, "got LeakyReLU.* as part 1"),
        (nn.Sequential(linear, nn.ELU(2.0), linear), ValueError, "got ELU.* as part 1"),
        (nn.Sequential(linear, nn.Softplus(2.0), linear), ValueError, "got Softplus.* as part 1"),
        (
            nn.Sequential(linear, nn.Softplus(threshold=0.5), linear),
            ValueError,
            "got Softplus.* as part 1",
        ),
        (
            nn.Sequential(linear, relu, linear, tanh),
            ValueError,
            "at the end of a classifier, got T",
        ),
        (nn.Sequential(linear, nn.Softmax(0)), ValueError, "got Softmax.* as part 1"),
        (nn.Sequential(nn.Linear(4, 1), nn.Softmax(1)), ValueError, "got Softmax of 1"),
        (nn.Sequential(linear, relu, nn.Linear(5, 3)), ValueError, r"shapes \(4, m\)"),
        (nn.Sequential(linear, nn.Softmax(1), linear), ValueError, "one activation"),
    ):
        with pytest.raises(error, match=message):
            MLPClassifier.from_torch(bad)
    with pytest.raises(ValueError, match="classes: expected 4 classes in ascending order"):
        MLPClassifier.from_torch(nn.Sequential(linear, relu, linear), classes=[3, 2, 1, 0])
    with pytest.raises(ValueError, match="expected a linear output for a regressor, got Tanh"):
        MLPRegressor.from_torch(nn.Sequential(linear, relu, linear, tanh))
    assert MLPRegressor.from_torch(nn.Sequential(linear, relu, linear, nn.Sigmoid())).loss == "bce"
    soft = nn.Sequential(linear, nn.Softmax(1))
    with pytest.raises(ValueError, match="loss: expected one for a Softmax at the end, got 'bce'"):
        MLPClassifier.from_torch(soft, loss="bce")
    with pytest.raises(TypeError, match="activation: expected none"):
        MLPClassifier.from_torch(soft, activation="tanh")
    alone = MLPClassifier.from_torch(soft.double())
    assert alone.hidden_layer_sizes == () and type(alone.to_torch()[-1]) is nn.Softmax
    X, y = DATA["digits"]
    model = MLPClassifier(loss="bce", max_iter=1).fit(X, y)
    with pytest.raises(ValueError, match="logits: expected True for one-vs-rest classes"):
        model.to_torch()
    with torch.no_grad():
        logits = model.to_torch(logits=True)(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(logits, model._outputs(X, "identity"), rtol=1e-9, atol=1e-9)
    monkeypatch.delitem(TORCH, "relu")
    with pytest.raises(ValueError, match="one that PyTorch has a module for, got 'relu'"):
        model.to_torch(logits=True)


# --- odd turns ----------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_another_number_of_outputs_is_refused(solver):
    X, y = DATA["diabetes"]
    targets = {1: y, **{n: np.tile(y[:, None], n) for n in (2, 3, 50)}}
    for first, second in ((1, 50), (50, 1), (3, 2)):
        model = MLPRegressor(hidden_layer_sizes=(6,), solver=solver, max_iter=2)
        model.set_params(warm_start=True).fit(X, targets[first])
        before = [w.copy() for w in model.coefs_]
        with pytest.raises(ValueError, match=f"y: expected the {first} outputs that the model has"):
            model.fit(X, targets[second])
        np.testing.assert_array_equal(model.coefs_[1], before[1])
        assert model.predict(X).shape == ((len(X), first) if first > 1 else (len(X),))


def test_the_loss_may_change_between_warm_starts():
    X, y = DATA["digits"]
    model = MLPClassifier((8,), loss="bce", warm_start=True, max_iter=2, random_state=0).fit(X, y)
    model.set_params(loss="log_loss").fit(X, y)
    assert model.out_activation_ == "softmax"
    fresh = MLPClassifier((8,), warm_start=True, max_iter=2, random_state=0)
    bce = MLPClassifier((8,), loss="bce", max_iter=2, random_state=0).fit(X, y)
    fresh.coefs_, fresh.intercepts_ = bce.coefs_, bce.intercepts_
    assert fresh.fit(X, y).loss_curve_ == model.loss_curve_[2:]


def test_labels_of_another_kind_are_refused():
    X, y = DATA["digits"]
    model = MLPClassifier((8,), max_iter=1).fit(X, y)
    with pytest.raises(ValueError, match="not fitted with multilabel input"):
        model.partial_fit(X, np.eye(10, dtype=int)[y])
    with pytest.raises(TypeError, match="y: expected numbers, got text"):
        MLPRegressor(max_iter=1).fit(X, y.astype(str))
    with pytest.raises(TypeError, match="float"):
        MLPClassifier((3.7,)).fit(X, y)


@pytest.mark.parametrize("way", ["one class", "one row", "sparse labels", "words", "booleans"])
def test_odd_labels_are_taken_as_scikit_learn_takes_them(way):
    X, y = DATA["digits"]
    if way == "sparse labels":
        X, dense = make_multilabel_classification(100, random_state=0)
        y = sparse.csr_matrix(dense)
    else:
        y = {
            "one class": np.full(len(y), 7),
            "one row": y,
            "words": np.array(["a", "b", "c"], dtype=object)[y % 3],
            "booleans": y > 4,
        }[way]
    rows = slice(0, 1) if way == "one row" else slice(None)
    their, our = (
        kind(hidden_layer_sizes=(8,), max_iter=3, random_state=0).fit(X[rows], y[rows])
        for kind in (theirs.MLPClassifier, MLPClassifier)
    )
    np.testing.assert_allclose(our.loss_curve_, their.loss_curve_, rtol=LOSS)
    predicted, expected = our.predict(X), their.predict(X)
    assert type(predicted) is type(expected) and predicted.dtype == expected.dtype
    if way == "sparse labels":
        predicted, expected = predicted.toarray(), expected.toarray()
    np.testing.assert_array_equal(predicted, expected)


def test_class_weight_where_a_batch_lacks_classes():
    X, y = DATA["cancer"]
    model = MLPClassifier((8,), class_weight={1: 10.0}, random_state=0)
    model.partial_fit(X[y == 0], y[y == 0], classes=[0, 1])
    other = MLPClassifier((8,), random_state=0).partial_fit(X[y == 0], y[y == 0], classes=[0, 1])
    assert model.loss_ == other.loss_
    X, Y = make_multilabel_classification(100, n_classes=2, random_state=0)
    weights = [{0: 1.0, 1: 3.0}, {0: 2.0, 1: 1.0}]
    model = MLPClassifier((8,), class_weight=weights, max_iter=2, random_state=0).fit(X, Y)
    weight = np.where(Y[:, 0], 3.0, 1.0) * np.where(Y[:, 1], 1.0, 2.0)
    other = MLPClassifier((8,), max_iter=2, random_state=0).fit(X, Y, sample_weight=weight)
    assert model.loss_curve_ == other.loss_curve_


@pytest.mark.parametrize(
    "parameters",
    [
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 1},
        {"early_stopping": True, "n_iter_no_change": 2, "tol": 0.01},
        {"max_iter": 3},
    ],
)
def test_verbose_prints_what_scikit_learn_does(parameters, capsys):
    printed = []
    for kind in kinds("digits"):
        kind(verbose=True, random_state=0, **parameters).fit(*DATA["digits"])
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] and printed[0].count("\n") >= 3


@pytest.mark.parametrize("early_stopping", [False, True])
def test_as_much_is_drawn_as_by_scikit_learn(early_stopping):
    X, y = DATA["cancer"]
    states = []
    for kind in kinds("cancer"):
        random_state = np.random.RandomState(0)
        kind(
            random_state=random_state, early_stopping=early_stopping, tol=0.01, n_iter_no_change=2
        ).fit(X, y)
        states.append(random_state.randint(2**31, size=3).tolist())
    assert states[0] == states[1]


def test_warnings_point_to_the_caller():
    X, y = DATA["cancer"]
    diverging = MLPRegressor(
        activation="identity", solver="sgd", learning_rate_init=1e6, early_stopping=True
    )
    for model, data in (
        (MLPClassifier(max_iter=1), (X, y)),
        (MLPClassifier(batch_size=1000, max_iter=1), (X, y)),
        (diverging, (100.0 * X, X[:, 0])),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(*data)
        assert caught and {warning.filename for warning in caught} == {__file__}


def test_a_refused_fit_changes_nothing():
    X, y = DATA["digits"]
    model = MLPClassifier((8,), max_iter=2, random_state=0).fit(X, y)
    before = pickle.dumps(model)
    bad = (
        lambda: model.fit(X, y, X_val=X),
        lambda: model.fit(X, y, sample_weight=-np.ones(len(y))),
        lambda: model.fit(X[:, :3], y + 1, sample_weight=[1.0]),
        lambda: model.fit(X, y, X_val=X, y_val=np.full(len(y), 11)),
        lambda: model.partial_fit(X, y + 1),
    )
    for fit in bad:
        with pytest.raises(ValueError, match=r"X_val|sample_weight|y_val|not in"):
            fit()
        assert pickle.dumps(model) == before


def test_a_fit_interrupted_before_it_begins_changes_nothing(monkeypatch):
    X, y = DATA["digits"]
    model = MLPClassifier((8,), max_iter=2, random_state=0).fit(X, y)
    before = pickle.dumps(model)

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastbp.estimators.mlp.targets.Classes.labels", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X[:, :3], y > 4)
    assert pickle.dumps(model) == before


def test_a_first_partial_fit_that_is_refused_knows_no_classes():
    model = MLPClassifier(random_state=0)
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit([[np.nan, 1.0]], [0], classes=[0, 1])
    assert vars(model) == vars(MLPClassifier(random_state=0))
    assert model.partial_fit([[0.0, 1.0]], [0], classes=[0, 1, 2]).coefs_[-1].shape == (100, 3)


def test_other_solvers_between_warm_starts():
    X, y = DATA["cancer"]
    model = MLPClassifier((8,), warm_start=True, keep_optimizer=True, max_iter=3, random_state=0)
    model.fit(X, y).set_params(solver="sgd").fit(X, y)
    assert isinstance(model._optimizer.rule, fastbp.SGD)
    model.set_params(solver="lbfgs").fit(X, y).set_params(solver="adam", early_stopping=True)
    model.fit(X, y)
    assert model.best_loss_ is not None and len(model.validation_scores_) == model.n_iter_


def test_early_stopping_by_call_starts_over_after_fit():
    X, y = DATA["cancer"]
    model = MLPClassifier((8,), early_stopping=True, n_iter_no_change=3, random_state=0)
    model.fit(X[:300], y[:300])
    assert model._no_improvement_count > 3
    model.partial_fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    assert model._no_improvement_count == 0
    assert model.best_validation_score_ == model.validation_scores_[-1]


def test_validation_losses_stand_beside_their_epochs():
    X, y = DATA["cancer"]
    model = MLPClassifier((8,), random_state=0)
    for held_out in (None, X, None):
        validation = {} if held_out is None else {"X_val": held_out, "y_val": y}
        model.partial_fit(X, y, classes=[0, 1], **validation)
    assert np.isnan(model.validation_loss_curve_).tolist() == [True, False, True]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_may_say_numpys_true_and_write_nothing(solver):
    X, y = DATA["cancer"]

    def callback(state):
        with pytest.raises(ValueError, match="read-only"):
            state.weights[0][:] = 5.0
        return np.bool_(state.epoch == 1)

    assert MLPClassifier((8,), solver=solver, callback=callback).fit(X, y).n_iter_ == 2


def test_how_lbfgs_ends():
    X, y = DATA["digits"]
    for parameters, stopped in (
        ({"max_iter": 3}, "epochs"),
        ({"max_fun": 3}, "max_fun"),
        ({"tol": 1.0}, "tol"),
    ):
        model = MLPClassifier((8,), solver="lbfgs", random_state=0, **parameters).fit(X, y)
        assert model.stopped_ == stopped
    with pytest.raises(ValueError, match="X_val: expected None with solver='lbfgs'"):
        model.fit(X, y, X_val=X, y_val=y)


@pytest.mark.parametrize("way", ["bar", "none"])
def test_progress(way, capsys):
    MLPClassifier((8,), max_iter=2, progress="always" if way == "bar" else False).fit(
        *DATA["cancer"]
    )
    assert ("epoch 2/2" in capsys.readouterr().err) == (way == "bar")


def test_wide_layers_are_not_copied_to_predict(monkeypatch):
    X, y = DATA["digits"]
    model = MLPClassifier((300,), max_iter=1, random_state=0).fit(X, y)
    expected = pickle.loads(pickle.dumps(model)).predict_proba(X[:5])
    model.coefs_[0][0, 0] += 1.0
    changed = pickle.loads(pickle.dumps(model)).predict_proba(X)
    monkeypatch.setattr("fastbp.models.layers.flat_vector", None)
    np.testing.assert_array_equal(model.predict_proba(X), changed)
    model.coefs_[0][0, 0] -= 1.0
    np.testing.assert_allclose(model.predict_proba(X[:5].copy()), expected, rtol=1e-12)
    monkeypatch.undo()
    deep = MLPClassifier((128, 128, 128), max_iter=1, random_state=0).fit(X, y)
    first, second, third, last = deep.coefs_
    deep.coefs_ = [first, third, second, last]  # of one vector still, but not in their places
    other = pickle.loads(pickle.dumps(deep)).predict_proba(X)
    np.testing.assert_array_equal(deep.predict_proba(X), other)
    model.coefs_[1] = 2.0 * model.coefs_[1]
    other = pickle.loads(pickle.dumps(model)).predict_proba(X)
    np.testing.assert_array_equal(model.predict_proba(X), other)


def test_few_rows_of_float32_are_predicted_without_validation(monkeypatch):
    X, y = DATA["cancer"]
    X = X.astype(np.float32)
    model = MLPClassifier((8,), max_iter=2, random_state=0).fit(X, y)
    expected = model.predict_proba(X.tolist()[:3]).astype(np.float32)
    monkeypatch.setattr("fastbp.estimators.mlp.base.validate", None)
    assert model.predict_proba(X[:3]).dtype == np.float32
    np.testing.assert_allclose(model.predict_proba(X[:3]), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alpha": -1.0}, "'alpha' parameter of MLPClassifier must be"),
        ({"class_weight": "fair"}, "'class_weight' parameter of MLPClassifier must be"),
        ({"n_threads": 0}, "'n_threads' parameter of MLPClassifier must be"),
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes must be > 0, got"),
        ({"loss": "cross_entropy"}, "loss: expected 'log_loss' or 'bce' with two classes"),
    ],
)
def test_wrong_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**parameters).fit(*DATA["cancer"])


def test_wrong_validation_data_and_weights():
    X, y = DATA["cancer"]
    model = MLPClassifier(max_iter=1)
    for arguments, message in (
        ({"X_val": X}, "X_val, y_val: expected both or neither"),
        ({"X_val": X[:, 1:], "y_val": y}, "X has 29 features, but MLPClassifier is expecting 30"),
        ({"X_val": X, "y_val": y[1:]}, "y_val: expected 569 rows, as X_val has, got 568"),
        ({"X_val": X, "y_val": y + 1}, "y_val: expected classes of"),
        ({"sample_weight": -np.ones(569)}, "sample_weight: expected non-negative weights"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(X, y, **arguments)


def test_a_row_is_predicted_as_in_a_batch():
    X, _ = DATA["digits"]
    for labels in ("words", "numbers", "several", "regression"):
        kind = MLPRegressor if labels == "regression" else MLPClassifier
        model = kind(hidden_layer_sizes=(10,), max_iter=3, random_state=0).fit(X, _labels(labels))
        for predict in ("predict", "predict_proba")[: 1 if labels == "regression" else 2]:
            whole = getattr(model, predict)(X)
            np.testing.assert_array_equal(getattr(model, predict)(X[3:4]), whole[3:4])
            np.testing.assert_array_equal(getattr(model, predict)(X[3:4].tolist()), whole[3:4])
    with pytest.raises(ValueError, match="X has 3 features, but"):
        model.predict(np.ones((1, 3)))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.predict(np.full((1, 64), np.nan))


class TestPartialFitOfUsualData:
    """Data that scikit-learn's checks would return as they are go past them."""

    X, Y = load_digits(return_X_y=True)
    X, Y = X[:96], Y[:96].astype(np.int64)

    def fitted(self, model, classes=None, y=Y):
        known = {} if classes is None else {"classes": classes}
        model.partial_fit(self.X[:32], y[:32], **known)
        for start in (32, 64):
            model.partial_fit(self.X[start : start + 32], y[start : start + 32])
        return model

    @pytest.mark.parametrize("seed", [0, np.int64(0)])
    @pytest.mark.parametrize("solver", ["adam", "sgd"])
    def test_equals_that_of_others(self, solver, seed, monkeypatch):
        def models():
            yield self.fitted(MLPClassifier((9,), solver=solver, random_state=seed), range(10))
            numbers = MLPRegressor(hidden_layer_sizes=(9,), solver=solver, random_state=seed)
            yield self.fitted(numbers, y=self.Y * 1.5)

        usual = list(models())
        monkeypatch.setattr("fastbp.estimators.mlp.base.is_usual", lambda *_: False)
        monkeypatch.setattr("fastbp.estimators.mlp.targets.Classes.include", lambda *_: False)
        for ours, checked in zip(usual, models(), strict=True):
            assert ours.loss_curve_ == checked.loss_curve_
            np.testing.assert_array_equal(ours.coefs_[0], checked.coefs_[0])
            np.testing.assert_array_equal(
                ours._random_state.random(3), checked._random_state.random(3)
            )

    def test_is_checked_no_more(self, monkeypatch):
        model = self.fitted(MLPClassifier((9,), random_state=0), range(10))
        for name in ("base.validate", "classifier.unique_labels", "classifier.LabelBinarizer"):
            monkeypatch.setattr(f"fastbp.estimators.mlp.{name}", None)
        model.partial_fit(self.X[:32], self.Y[:32])

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda X, y: (X[:, :5], y), "X has 5 features, but MLPClassifier is expecting 64"),
            (lambda X, y: (X[0], y), "Expected 2D array, got 1D array instead"),
            (lambda X, y: (X[:9], y), "inconsistent numbers of samples"),
            (lambda X, y: (X * np.nan, y), "contains NaN"),
            (lambda X, y: (X + np.inf, y), "contains infinity"),
            (lambda X, y: (X, y * np.nan), "contains NaN"),
            (lambda X, y: (X, y + 10), "`y` has classes not in `self.classes_`"),
            (lambda X, y: (X, y - 1), "`y` has classes not in `self.classes_`"),
            (lambda X, y: (X, y + 0.5), "Unknown label type|has classes not in"),
            (lambda X, y: (X[:0], y[:0]), "0 sample"),
        ],
    )  # fmt: skip
    def test_nothing_else_passes(self, change, message):
        model = self.fitted(MLPClassifier((9,), random_state=0), range(10))
        X, y = change(self.X[:32], self.Y[:32])
        with pytest.raises(ValueError, match=message):
            model.partial_fit(X, y)

    def test_a_seed_is_used_again_but_no_generator_of_the_users(self):
        own = np.random.RandomState(3)
        model = MLPClassifier((9,), random_state=own)
        self.fitted(model, range(10))
        state = own.get_state()[1:3]
        model.set_params(random_state=5)
        self.fitted(model)
        np.testing.assert_equal(own.get_state()[1:3], state)
        drawn = model._random_state
        self.fitted(model)
        assert model._random_state is drawn
        expected = np.random.RandomState(5)
        expected.permutation(32)
        assert drawn.random() == expected.random()

    def test_parameters_are_checked_in_the_first_call(self):
        with pytest.raises(ValueError, match="'alpha' parameter"):
            self.fitted(MLPClassifier(alpha=-1.0), range(10))
