"""One neuron behind scikit-learn's interface."""

import dataclasses
import os
import signal
import threading
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError

from fastbp import (
    SGD,
    Adam,
    DataError,
    DivergenceError,
    NeuronClassifier,
    NeuronRegressor,
    datasets,
    fit_network,
    fit_neuron,
    load,
    open_rows,
    save,
)
from fastbp.estimators.neuron.rates import curvature
from fastbp.system.interrupts import Interrupts
from tests.tolerances import ROUNDING


def standardised(load):
    X, y = load(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def two_classes(n=300, d=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    y = (X @ rng.normal(size=d) + rng.normal(size=n) > 0.3).astype(int)
    return X, y


def three_classes(n=300, d=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return X, (X @ rng.normal(size=(d, 3)) + rng.normal(size=(n, 3))).argmax(axis=1)


def same(a, b):
    np.testing.assert_array_equal(a.coef_, b.coef_)
    np.testing.assert_array_equal(a.intercept_, b.intercept_)
    assert a.loss_curve_ == b.loss_curve_


def close(a, b, rtol=1e-9):
    np.testing.assert_allclose(a.coef_, b.coef_, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(a.intercept_, b.intercept_, rtol=rtol, atol=rtol)


# --- the engine -------------------------------------------------------------------------------

HOW = {
    "full": {"solver": "sgd"},
    "batches": {"batch_size": 32, "shuffle": True, "random_state": 3},
    "online": {"batch_size": 1, "shuffle": "window", "random_state": 3, "momentum": 0.0},
    "adam": {"solver": "adam", "batch_size": 50, "shuffle": False},
    "own": {"solver": Adam(beta_1=0.8), "alpha": 0.5},
}


@pytest.mark.parametrize("how", HOW)
def test_two_classes_are_a_fit_of_a_neuron_bit_for_bit(how):
    X, y = two_classes()
    model = NeuronClassifier(learning_rate_init=0.05, max_iter=7, tol=None, **HOW[how]).fit(X, y)
    given = {"alpha": 1e-4, "batch_size": None, "shuffle": False, **HOW[how]}
    sgd = SGD(momentum=given.pop("momentum", 0.9), nesterov=True)
    solver = given.pop("solver", "sgd")
    solver = sgd if solver == "sgd" else solver
    fit = fit_neuron(X, y, np.zeros(4), 0.0, 0.05, 7, loss="bce", optimizer=solver, **given)
    assert model.coef_.tobytes() == fit.weights.tobytes() and model.coef_.shape == (1, 4)
    assert model.intercept_.tolist() == [fit.bias]
    assert model.loss_curve_ == fit.losses.tolist() and model.n_iter_ == 7
    np.testing.assert_array_equal(model.predict_proba(X)[:, 1], fit.predict(X))


@pytest.mark.parametrize("loss", ["squared_error", "mse", "half_mse", "bce"])
def test_losses_go_by_both_kinds_of_name(loss):
    X, y = two_classes()
    model = NeuronClassifier(loss, learning_rate_init=0.05, max_iter=3, tol=None).fit(X, y)
    name = "half_mse" if loss == "squared_error" else loss
    rule = SGD(momentum=0.9, nesterov=True)
    fit = fit_neuron(X, y, np.zeros(4), 0.0, 0.05, 3, loss=name, optimizer=rule, alpha=1e-4)
    assert model.loss_curve_ == fit.losses.tolist()


@pytest.mark.parametrize("loss", ["bce", "squared_error"])
@pytest.mark.parametrize("how", [{}, {"batch_size": 20, "random_state": 1}], ids=["full", "batch"])
def test_many_classes_are_a_neuron_each_against_the_rest(loss, how):
    X, y = three_classes()
    settings = {"loss": loss, "learning_rate_init": 0.1, "max_iter": 20, "tol": None, **how}
    model = NeuronClassifier(**settings).fit(X, y)
    singles = [NeuronClassifier(**settings).fit(X, y == k) for k in range(3)]
    np.testing.assert_allclose(model.coef_, np.vstack([m.coef_ for m in singles]), rtol=1e-10)
    np.testing.assert_allclose(
        model.intercept_, np.concatenate([m.intercept_ for m in singles]), rtol=1e-10
    )
    together = np.sum([m.loss_curve_ for m in singles], axis=0)
    np.testing.assert_allclose(model.loss_curve_, together, rtol=ROUNDING)


def test_several_outputs_are_a_neuron_each():
    X, _ = two_classes()
    Y = X @ np.arange(12.0).reshape(4, 3) + 1.0
    settings = {"solver": "sgd", "max_iter": 30, "tol": None}
    model = NeuronRegressor(**settings).fit(X, Y)
    assert model.coef_.shape == (3, 4) and model.predict(X).shape == (300, 3)
    for k in range(3):
        single = NeuronRegressor(**settings).fit(X, Y[:, k])
        assert single.coef_.shape == (4,) and isinstance(single.intercept_, float)
        np.testing.assert_allclose(model.coef_[k], single.coef_, rtol=1e-10, atol=1e-12)
    fit = fit_network(
        X, Y, [np.zeros((4, 3))], [np.zeros(3)], 0.1, 5,
        activations=["tanh"], loss="mse", alpha=1e-4,
    )  # fmt: skip
    model = NeuronRegressor(
        "mse", activation="tanh", momentum=0, learning_rate_init=0.1, max_iter=5, tol=None
    ).fit(X, Y)
    assert model.coef_.tobytes() == fit.weights[0].T.tobytes()


@pytest.mark.parametrize("load", [load_breast_cancer, load_iris])
def test_it_finds_the_optimum_of_the_penalized_log_loss(load):
    X, y = standardised(load)
    alpha = 1.0
    settings = {"alpha": alpha, "tol": 0.0, "n_iter_no_change": 500, "max_iter": 100_000}
    model = NeuronClassifier("bce", solver="sgd", **settings).fit(X, y)
    for k, row in enumerate(model.coef_):
        label = y == (k if len(model.coef_) > 1 else 1)
        best = LogisticRegression(C=1 / alpha, tol=1e-12, solver="newton-cholesky").fit(X, label)
        np.testing.assert_allclose(row, best.coef_[0], atol=1e-6)
        np.testing.assert_allclose(model.intercept_[k], best.intercept_[0], atol=1e-6)


def test_it_finds_the_least_squares():
    X, y = standardised(load_diabetes)
    model = NeuronRegressor(solver="sgd", alpha=0, tol=1e-12, max_iter=100_000).fit(X, y)
    best = LinearRegression().fit(X, y)
    np.testing.assert_allclose(model.predict(X), best.predict(X), atol=0.1)
    assert model.score(X, y) == pytest.approx(best.score(X, y), abs=1e-6)


def test_defaults_learn_and_repeat():
    for how in ({}, {"solver": "sgd"}):
        for data, least in ((load_iris, 0.95), (load_breast_cancer, 0.98)):
            X, y = standardised(data)
            model = NeuronClassifier(**how).fit(X, y)
            assert model.score(X, y) >= least and model.stopped_ == "tol"
            same(model, NeuronClassifier(**how).fit(X, y))
        X, y = standardised(load_diabetes)
        assert NeuronRegressor(**how).fit(X, y).score(X, y) > 0.517


@pytest.mark.parametrize("batch_size", [None, 1, 7, 64])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_automatic_rate_does_not_diverge(batch_size, scale):
    X, y = standardised(load_diabetes)
    settings = {"batch_size": batch_size, "max_iter": 40, "tol": None, "random_state": 0}
    model = NeuronRegressor(solver="sgd", **settings)
    losses = model.fit(scale * X, y).loss_curve_
    assert max(losses) < 0.5 * (y**2).mean() * (1 + 1e-12)
    assert losses[-1] < losses[0] or batch_size == 1  # which learns within the first epoch


def test_the_automatic_rate_is_one_over_the_bound():
    X, y = two_classes()
    weight = np.random.default_rng(0).random(300)
    squares = (X**2).sum(axis=1)
    bend = 0.25 * (weight @ squares / weight.sum() + 1) + 3.0 / weight.sum()
    settings = {"solver": "sgd", "alpha": 3.0, "max_iter": 5, "tol": None}
    auto = NeuronClassifier(**settings).fit(X, y, weight)
    close(auto, NeuronClassifier(learning_rate_init=1 / bend, **settings).fit(X, y, weight))
    online = NeuronClassifier(batch_size=1, shuffle=False, **settings).fit(X, y)
    bend = 0.25 * (squares.max() + 4 * squares.mean() + 1) + 3.0
    settings |= {"batch_size": 1, "shuffle": False, "learning_rate_init": (1 - 0.9) / bend}
    close(online, NeuronClassifier(**settings).fit(X, y))
    bend = 0.5 * (squares.mean() + 1) + 3.0 / 300
    settings = {"solver": "sgd", "alpha": 3.0, "max_iter": 5, "tol": None}
    several = NeuronClassifier(**settings).fit(X, np.arange(300) % 3)
    given = NeuronClassifier(learning_rate_init=1 / bend, **settings)
    close(several, given.fit(X, np.arange(300) % 3))
    adam = NeuronClassifier(solver="adam", max_iter=5, tol=None).fit(X, y)
    same(adam, clone(adam).set_params(learning_rate_init=0.01).fit(X, y))


def test_curvature_is_a_bound():
    z, y = np.linspace(-6, 6, 601)[:, None], np.linspace(0, 1, 21)
    h = z[1, 0] - z[0, 0]
    a = 1 / (1 + np.exp(-z))
    values = {
        ("bce", "sigmoid"): -(y * np.log(a) + (1 - y) * np.log(1 - a)),
        ("half_mse", "sigmoid"): 0.5 * (a - y) ** 2,
        ("mse", "sigmoid"): (a - y) ** 2,
        ("half_mse", "tanh"): 0.5 * (np.tanh(z) - (2 * y - 1)) ** 2,
        ("half_mse", "identity"): 0.5 * (z - y) ** 2,
    }
    for (loss, activation), value in values.items():
        second = np.abs(np.diff(value, 2, axis=0)).max() / h**2
        assert 0.99 * curvature(loss, activation, 1) < second
        assert second < 1.001 * curvature(loss, activation, 1), (loss, activation)


def test_relu_leaves_zero_and_the_same_seed_gives_the_same_start():
    X, _ = two_classes()
    y = np.maximum(X @ [1.0, -2.0, 0.5, 1.0] + 0.5, 0)
    models = [
        NeuronRegressor(activation="relu", random_state=seed, callback=callback).fit(X, y)
        for seed in (np.random.RandomState(1), np.random.RandomState(1))
        for callback in (None,)
    ]
    assert models[0].score(X, y) > 0.98
    same(*models)


# --- scikit-learn's tools ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        NeuronClassifier(solver=Adam(beta_1=0.8), class_weight={"a": 2.0}),
        NeuronClassifier(random_state=3),
        NeuronClassifier("bce", solver="sgd"),
        NeuronRegressor(batch_size=32, random_state=3),
        NeuronRegressor(random_state=3),
    ],
    ids=str,
)
def test_files_keep_all_that_goes_on(tmp_path, model):
    X, y = three_classes()
    if isinstance(model, NeuronClassifier):
        y = np.array(["a", "b", "c"])[y]
    table = pd.DataFrame(X, columns=[*"abcd"])
    model = clone(model).set_params(max_iter=3, tol=None).fit(table, y)
    save(model, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    if isinstance(model, NeuronClassifier):
        np.testing.assert_array_equal(again.predict_proba(table), model.predict_proba(table))
    assert repr(again) == repr(model) and type(again) is type(model)
    assert (again.predict(table) == model.predict(table)).all()
    same(again.partial_fit(table, y), model.partial_fit(table, y))


@pytest.mark.parametrize("make", [two_classes, three_classes])
@pytest.mark.parametrize("given", [{0: 2.0, 1: 0.5}, "balanced"], ids=["dict", "balanced"])
def test_class_weights_multiply_weights(make, given):
    X, y = make()
    own = np.random.default_rng(0).random(len(y))
    for weight in (None, own):
        sums = np.bincount(y, weight)
        factors = sums.sum() / (len(sums) * sums) if given == "balanced" else [2.0, 0.5, 1.0]
        expected = np.take(factors, y) * (1.0 if weight is None else weight)
        for how in ({"solver": "sgd"}, {"batch_size": 300}, {}):
            settings = {"max_iter": 5 if how == {} else 30, "tol": None, **how}
            weighted = NeuronClassifier(class_weight=given, **settings).fit(X, y, weight)
            close(weighted, NeuronClassifier(**settings).fit(X, y, expected), rtol=1e-9)


def test_weights_count_like_rows():
    X, y = two_classes(60)
    weight = np.random.default_rng(0).integers(0, 4, len(y))
    for how in ({"solver": "sgd", "max_iter": 30}, {"max_iter": 5}):
        weighted = NeuronClassifier(tol=None, **how).fit(X, y, weight)
        repeated = NeuronClassifier(tol=None, **how)
        close(weighted, repeated.fit(np.repeat(X, weight, 0), np.repeat(y, weight)))


def test_text_and_any_other_labels_are_classes():
    X, y = three_classes()
    expected = NeuronClassifier().fit(X, y)
    for names in (np.array(["a", "b", "c"]), np.array([-1.0, 0.0, 7.0]), np.array([3, 5, 9])):
        model = NeuronClassifier().fit(X, names[y])
        assert model.classes_.tolist() == names.tolist()
        same(model, expected)
        assert (model.predict(X) == names[expected.predict(X)]).all()


# --- one after another ------------------------------------------------------------------------


@pytest.mark.parametrize("make", [two_classes, three_classes])
@pytest.mark.parametrize("how", HOW)
def test_partial_fits_are_the_epochs_of_a_fit(make, how):
    X, y = make()
    settings = {"max_iter": 4, "tol": None, **HOW[how]}
    whole = NeuronClassifier(**settings).fit(X, y)
    parts = NeuronClassifier(**settings)
    for _ in range(4):
        parts.partial_fit(X, y, classes=np.unique(y))
    same(parts, whole)
    assert parts.n_iter_ == 4
    same(parts.partial_fit(X, y), clone(whole).set_params(max_iter=5).fit(X, y))
    numbers = [NeuronRegressor(**settings) for _ in range(2)]
    for _ in range(4):
        numbers[0].partial_fit(X, y)
    same(numbers[0], numbers[1].fit(X, y))


def test_partial_fit_takes_other_rows_classes_and_parameters():
    X, y = three_classes()
    model = NeuronClassifier(random_state=0)
    with pytest.raises(ValueError, match="classes must be passed"):
        model.partial_fit(X, y)
    model.partial_fit(X[y < 2], y[y < 2], classes=[0, 1, 2]).partial_fit(100 * X[y == 2], y[y == 2])
    for start in range(0, 300, 50):
        model.partial_fit(X[start : start + 50], y[start : start + 50])
    assert np.isfinite(model.coef_).all()
    with pytest.raises(ValueError, match="row 1"):
        model.partial_fit(X[:2], [0, 5])
    for settings in ({"solver": "adam"}, {"solver": "adam", "learning_rate_init": 0.5}):
        model.coef_, model.intercept_ = np.zeros((3, 4)), np.zeros(3)  # the optimizer starts over
        model.set_params(**settings).partial_fit(X, y)
        fresh = NeuronClassifier(**settings).partial_fit(X, y, classes=[0, 1, 2])
        np.testing.assert_array_equal(model.coef_, fresh.coef_)
    for wrong in ({"early_stopping": True}, {"class_weight": "balanced"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            NeuronClassifier(**wrong).partial_fit(X, y, classes=[0, 1, 2])


def test_later_rows_do_not_raise_the_automatic_rate_again():
    X, y = two_classes()
    long = 1.0 / (((10 * X) ** 2).sum(axis=1).mean() + 1)
    auto = NeuronRegressor(alpha=0, solver="sgd").partial_fit(10 * X, y).partial_fit(X, y)
    given = clone(auto).set_params(learning_rate_init=long).partial_fit(10 * X, y)
    close(auto, given.partial_fit(X, y))
    short = 1.0 / ((X**2).sum(axis=1).mean() + 1)
    close(auto.fit(X, y), given.set_params(learning_rate_init=short).fit(X, y))


def test_partial_fit_after_an_epoch_that_was_cut_short():
    X, y = two_classes()
    settings = {"batch_size": 10, "shuffle": False}
    whole, cut = (NeuronClassifier(**settings).partial_fit(X, y, [0, 1]) for _ in range(2))
    state = cut._reached[0]
    cut._reached[0] = dataclasses.replace(state, batch_start=50, epoch_sums=(9.0, 0.0, 50.0))
    same(cut.partial_fit(X[:100], y[:100]), whole.partial_fit(X[:100], y[:100]))


def test_warm_start_begins_where_the_last_fit_ended():
    X, y = two_classes()
    settings = {"solver": "sgd", "momentum": 0.0, "tol": None}
    whole = NeuronClassifier(max_iter=10, **settings).fit(X, y)
    halves = NeuronClassifier(max_iter=5, warm_start=True, **settings).fit(X, y).fit(X, y)
    np.testing.assert_array_equal(halves.coef_, whole.coef_)
    assert halves.loss_curve_ == whole.loss_curve_[5:] and halves.n_iter_ == 5
    with pytest.raises(ValueError, match="to continue with"):
        halves.fit(X, y + 1)
    with pytest.raises(ValueError, match="features"):
        halves.fit(X[:, :2], y)
    numbers = NeuronRegressor(max_iter=5, warm_start=True, **settings).fit(X, y)
    with pytest.raises(ValueError, match="coef_"):
        numbers.fit(X, np.column_stack([y, y]))
    cold = NeuronClassifier(max_iter=5, **settings).fit(X, y).fit(X, y)
    same(cold, NeuronClassifier(max_iter=5, **settings).fit(X, y))


def test_early_stopping_goes_by_rows_held_out():
    X, y = two_classes(400)
    model = NeuronClassifier(early_stopping=True, validation_fraction=0.25).fit(X, y)
    fit = fit_neuron(X, y, np.zeros(4), 0.0, 0.1, 5, loss="bce", validation=0.25)
    assert len(model.validation_loss_curve_) == model.n_iter_
    assert model.validation_loss_curve_[0] < fit.validation_losses[0]
    assert model.stopped_ == "tol"
    sgd = clone(model).set_params(solver="sgd").fit(X, y)
    assert sgd.validation_loss_curve_[0] < fit.validation_losses[0] and sgd.stopped_ == "tol"
    model.set_params(early_stopping=False).fit(X, y)
    assert not hasattr(model, "validation_loss_curve_")


# --- predictions ------------------------------------------------------------------------------


def test_predictions_follow_the_parameters_that_are_set():
    X, y = two_classes()
    model = NeuronClassifier().fit(X, y)
    before = model.predict(X)
    model.coef_, model.intercept_ = -model.coef_, -model.intercept_
    assert (model.predict(X) == 1 - before).all()
    np.testing.assert_allclose(model.decision_function(X), X @ model.coef_[0] + model.intercept_)
    numbers = NeuronRegressor().fit(X, y)
    numbers.coef_, numbers.intercept_ = np.arange(4.0), 2.0
    np.testing.assert_allclose(numbers.predict(X), X @ np.arange(4.0) + 2.0)


@pytest.mark.parametrize("make", [two_classes, three_classes])
@pytest.mark.parametrize("loss", ["log_loss", "bce", "mse"])
def test_probabilities(make, loss):
    X, y = make()
    model = NeuronClassifier(loss).fit(X, y)
    p, z = model.predict_proba(X), model.decision_function(X)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    np.testing.assert_allclose(np.log(p), model.predict_log_proba(X), atol=1e-13)
    assert (model.classes_[p.argmax(axis=1)] == model.predict(X)).all()
    own = np.exp(z) if z.ndim == 2 and loss == "log_loss" else 1 / (1 + np.exp(-z))
    if z.ndim == 2:
        np.testing.assert_allclose(p, own / own.sum(axis=1, keepdims=True))
    else:
        np.testing.assert_allclose(p[:, 1], own)
    model.intercept_ = model.intercept_ - 2000.0  # every output runs under
    assert np.isfinite(model.predict_proba(X)).all()
    assert np.isfinite(model.predict_log_proba(X)).all()
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)


def test_a_row_alone_is_predicted_without_validation(monkeypatch):
    X, y = two_classes()
    model = NeuronClassifier().fit(X, y)
    expected = model.predict(X.astype(np.float32).astype(object)[:5])
    monkeypatch.setattr("fastbp.estimators.neuron.rows.validate", None)
    for kind in (np.float64, np.float32):
        assert (model.predict(X[:5].astype(kind)) == expected).all()
    with pytest.raises(TypeError):
        model.predict(X[:5].astype(np.float16))


def test_predictions_are_checked():
    X, y = two_classes()
    with pytest.raises(NotFittedError):
        NeuronClassifier().predict(X)
    model = NeuronClassifier().fit(X, y)
    for wrong in (X[0], X[:, :2], X[:0]):
        with pytest.raises(ValueError, match=r"1D|features|0 sample"):
            model.predict(wrong)
    for bad in (np.nan, np.inf):
        X[7, 1] = bad
        for kind in (np.float64, np.float32):
            with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
                model.predict(X.astype(kind))
            with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
                NeuronRegressor().fit(X.astype(kind), y)


# --- rows from everywhere ---------------------------------------------------------------------


def sources(X, y, weight, folder):
    """The same rows, with labels and weights, from every kind of source."""
    table = np.column_stack([X, y, weight])
    names = [*(f"x{j}" for j in range(X.shape[1])), "y", "w"]
    frame = pd.DataFrame(table, columns=names)
    np.save(folder / "rows.npy", table)
    frame.to_csv(folder / "rows.csv", index=False, float_format="%.17g")
    (folder / "shards").mkdir()
    np.save(folder / "shards" / "a.npy", table[:100])
    np.save(folder / "shards" / "b.npy", table[100:])
    by_number = {"target": -2, "weight": -1}
    by_name = {"target": "y", "weight": "w"}
    yield "npy", open_rows(folder / "rows.npy", **by_number)
    yield "folder", open_rows(folder / "shards", **by_number)
    yield "generator", open_rows(lambda: ((X[i : i + 70], y[i : i + 70], weight[i : i + 70]) for i in range(0, len(X), 70)))  # fmt: skip
    yield "memory", open_rows(table, **by_number)
    yield "csv", open_rows(folder / "rows.csv", **by_name)
    if pytest.importorskip("pyarrow"):
        frame.to_parquet(folder / "rows.parquet")
        yield "parquet", open_rows(folder / "rows.parquet", **by_name)


@pytest.mark.parametrize("read", ["whole", "by block"])
@pytest.mark.parametrize("labels", [[0, 1], [3, 8], [-1, 2, 5]], ids=str)
def test_rows_of_every_source_give_the_same_bits(tmp_path, labels, read, monkeypatch):
    if read == "by block":
        monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 0)
        monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 4096)
    X, y = (two_classes if len(labels) == 2 else three_classes)()
    y = np.array(labels, dtype=float)[y]
    weight = np.random.default_rng(0).random(len(y))
    settings = {"class_weight": {labels[0]: 3.0, labels[1]: 0.5}, "max_iter": 6, "tol": None}
    batches = {"batch_size": 16, "shuffle": "window", "random_state": 0}
    for how in ({}, {"solver": "sgd"}, {"loss": "bce", "solver": "sgd"}, batches):
        model = NeuronClassifier(**settings, **how)
        expected = clone(model).fit(X, y, weight)
        for name, rows in sources(X, y, weight, tmp_path):
            assert clone(model).fit(rows).classes_.tolist() == labels, name
            close(clone(model).fit(rows), expected, rtol=1e-13)
            parts = clone(model).set_params(batch_size=how.get("batch_size", 300))
            parts.partial_fit(rows, classes=labels)
            assert parts.loss_curve_[0] == pytest.approx(expected.loss_curve_[0], rel=1e-13)
            np.testing.assert_array_equal(expected.predict(rows), expected.predict(X))
            np.testing.assert_array_equal(expected.predict_proba(rows), expected.predict_proba(X))
            assert expected.score(rows) == pytest.approx(expected.score(X, y, weight))
            rows.close()
        for path in (tmp_path / "shards").iterdir():
            path.unlink()
        (tmp_path / "shards").rmdir()


def test_regression_of_rows(tmp_path):
    X, _ = two_classes()
    Y = X @ np.arange(8.0).reshape(4, 2)
    np.savetxt(tmp_path / "rows.csv", np.column_stack([X, Y]), "%.17g", ",", header="a,b,c,d,y,z", comments="")  # fmt: skip
    rows = open_rows(tmp_path / "rows.csv", target=["y", "z"])
    model = NeuronRegressor().fit(rows)
    same(model, NeuronRegressor().fit(X, Y))
    assert model.feature_names_in_.tolist() == list("abcd")
    assert model.score(rows) == pytest.approx(model.score(pd.DataFrame(X, columns=list("abcd")), Y))
    other = open_rows(tmp_path / "rows.csv", columns=list("abdc"))
    with pytest.raises(ValueError, match="'a', 'b', 'c', 'd'"):
        model.predict(other)
    with pytest.raises(ValueError, match="expected 4 features, got 3"):
        model.predict(open_rows(tmp_path / "rows.csv", columns=list("abc")))
    single = open_rows(tmp_path / "rows.csv", target="y", columns=list("abcd"))
    assert NeuronRegressor().fit(single).coef_.shape == (4,)


def test_data_sets_that_are_never_kept():
    rows, *_ = datasets.make_neuron_dataset(20_000, 5, seed=0, virtual=True)
    model = NeuronClassifier(batch_size=100, max_iter=3, tol=None, random_state=0).fit(rows)
    assert model.score(rows) > 0.97
    X, y, *_ = datasets.make_neuron_dataset(20_000, 5, seed=0)
    same(model, clone(model).fit(X, y))
    rows, *_ = datasets.make_network_dataset(
        3000, [4, 8, 3], task="classification", seed=0, virtual=True
    )
    assert NeuronClassifier(max_iter=50, tol=None).fit(rows).coef_.shape == (3, 4)


def test_labels_of_ones_own_go_with_rows_too():
    X, y = three_classes()
    weight = np.arange(300.0)
    names = np.array(["a", "b", "c"])[y]
    same(NeuronClassifier().fit(open_rows(X), names), NeuronClassifier().fit(X, names))
    same(NeuronRegressor().fit(open_rows(X), y, weight), NeuronRegressor().fit(X, y, weight))


def test_rows_that_cannot_be_reached_at_random_are_shuffled_in_windows(tmp_path, monkeypatch):
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 0)
    X, y = two_classes()
    settings = {"batch_size": 10, "max_iter": 3, "tol": None, "random_state": 0}
    rows = open_rows(lambda: [(X[:100], y[:100]), (X[100:], y[100:])])
    windows = NeuronClassifier(shuffle="window", **settings).fit(X, y)
    close(NeuronClassifier(**settings).fit(rows), windows, rtol=1e-13)


def test_rows_with_classes_of_text(tmp_path):
    X, y = two_classes()
    words = np.array(["no", "yes"])[y]
    lines = [",".join([*map(repr, row.tolist()), word]) for row, word in zip(X, words, strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,c,d,y", *lines]) + "\n")
    rows = open_rows(tmp_path / "rows.csv", target="y")
    model, expected = NeuronClassifier().fit(rows), NeuronClassifier().fit(X, words)
    assert model.classes_.tolist() == ["no", "yes"]
    np.testing.assert_array_equal(model.coef_, expected.coef_)
    assert model.score(rows) == expected.score(X, words)
    with pytest.raises(ValueError, match=r"y: expected the classes \['n', 'y'\] to continue with"):
        NeuronClassifier().partial_fit(rows, classes=["n", "y"])


def test_partial_fit_of_files_that_lack_a_class_of_text(tmp_path):
    X, y = two_classes()
    words = np.array(["a", "c"])[y]
    words[::7] = "b"
    both = [], []
    for i, some in enumerate([words != "c", words != "b", words != "x"]):
        lines = [
            ",".join([*map(repr, x.tolist()), w]) for x, w in zip(X[some], words[some], strict=True)
        ]
        (tmp_path / f"{i}.csv").write_text("\n".join(["p,q,r,s,y", *lines]) + "\n")
        both[0].append((open_rows(tmp_path / f"{i}.csv", target="y"), None))
        both[1].append((X[some], words[some]))
    models = [NeuronClassifier(solver="adam", batch_size=50, shuffle=False) for _ in both]
    for model, parts in zip(models, both, strict=True):
        for rows, labels in parts:
            model.partial_fit(rows, labels, classes=["a", "b", "c"])
    np.testing.assert_array_equal(models[0].coef_, models[1].coef_)
    assert models[0].score(both[0][2][0]) == models[1].score(X, words)


def test_rows_with_weights_take_no_others():
    X, y = two_classes()
    rows = open_rows(np.column_stack([X, y, y + 1.0]), target=-2, weight=-1)
    model = NeuronClassifier(max_iter=3, tol=None).fit(rows)
    for call in (model.fit, model.score):
        with pytest.raises(ValueError, match="sample_weight: expected None with rows that carry"):
            call(rows, None, np.ones(len(y)))


def test_what_is_wrong_with_rows_is_said():
    X, y = two_classes()

    def refused(error, match, rows, *labels, model=None):
        with pytest.raises(error, match=match):
            (model or NeuronClassifier()).fit(rows, *labels)

    refused(ValueError, "carries none", open_rows(X))
    refused(ValueError, "rows that carry labels", open_rows(X, target=-1), y)
    refused(ValueError, "300 labels", open_rows(X), y[:5])
    refused(ValueError, "one column", open_rows(X, target=[2, 3]))
    refused(ValueError, "fractions", open_rows(X, target=-1))
    refused(ValueError, "at least two classes", open_rows(np.column_stack([X, 0 * y]), target=-1))
    refused(
        ValueError, "carry sample weights", open_rows(np.abs(X), target=0, weight=1), None, y + 1
    )
    table = np.column_stack([X, y])
    for row, column, match in ((5, 1, "nan in row 5, column 1"), (7, 4, "nan in row 7")):
        bad = table.copy()
        bad[row, column] = np.nan
        refused(DataError, match, open_rows(bad, target=-1))
        bad = open_rows(bad, target=-1)
        refused(DataError, match, bad, model=NeuronRegressor(learning_rate_init=0.1, max_iter=2))
        refused(DataError, match, bad, model=NeuronRegressor())
        refused(DataError, match, bad, model=NeuronClassifier(solver="sgd"))
    with pytest.raises(DataError, match="labels of the classes 0, 2, got 1 in row"):
        NeuronClassifier().partial_fit(open_rows(table, target=-1), classes=[0, 2])
    labels = np.zeros(300)
    labels[[80, 290]] = 1
    blocks = [(X[:100], labels[:100]), (X[100:], labels[100:])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastbp.data.arrays.WHOLE_BYTES", 0)
        patch.setattr("fastbp.estimators.neuron.labels.WHOLE_BYTES", 0)
        patch.setattr("fastbp.data.rows.BLOCK_BYTES", 1024)
        model = NeuronClassifier(learning_rate_init=0.1, batch_size=3, shuffle=False)
        with pytest.raises(DataError, match="got 1 in row 80"):
            model.partial_fit(open_rows(lambda: blocks), classes=[0, 2])
    many = np.column_stack([X, np.arange(300)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastbp.data.classes.MOST_CLASSES", 100)
        refused(ValueError, "expected 1 to 100 classes", open_rows(many, target=-1))


def test_early_stopping_on_rows_read_by_block(tmp_path, monkeypatch):
    X, y = three_classes()
    np.save(tmp_path / "rows.npy", np.column_stack([X, y + 3]))
    settings = {"early_stopping": True, "batch_size": 20, "shuffle": False, "max_iter": 20}
    model = NeuronClassifier(class_weight="balanced", tol=None, **settings)
    expected = clone(model).fit(X, y + 3)
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 0)
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 4096)
    model.fit(open_rows(tmp_path / "rows.npy", target=-1))
    close(model, expected, rtol=1e-13)
    np.testing.assert_allclose(model.validation_loss_curve_, expected.validation_loss_curve_)


def test_sparse_rows():
    X, y = three_classes()
    X[X < 0.5] = 0.0
    model = NeuronClassifier().fit(sparse.csr_array(X), y)
    same(model, NeuronClassifier().fit(X, y))
    np.testing.assert_array_equal(model.predict(sparse.csc_array(X)), model.predict(X))


@pytest.mark.parametrize("many", [False, True])
def test_large_arrays_and_maps_are_not_copied(tmp_path, many):
    n, d = 200_000, 60  # 96 MB: more than is ever converted whole
    path = tmp_path / "X.npy"
    X = np.lib.format.open_memmap(path, "w+", np.float64, (n, d))
    X[:] = np.random.default_rng(0).standard_normal((1000, d)).repeat(n // 1000, axis=0)
    y = X[:, :3].argmax(axis=1) if many else X[:, 0] > 0
    X = np.load(path, mmap_mode="r")
    model = NeuronClassifier(max_iter=2, tol=None)
    tracemalloc.start()
    try:
        for given in (X, np.asarray(X)):
            model.fit(given, y).predict(given)
        rows = open_rows(path)
        model.fit(rows, y).predict(rows)
        np.lib.format.open_memmap(path, "r+")[:, -1] = 3 + y
        rows = open_rows(path, target=-1)
        assert model.fit(rows).classes_[0] == 3
        model.predict(rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40e6


# --- what may happen --------------------------------------------------------------------------


def test_callbacks_see_every_epoch_and_may_stop():
    X, y = three_classes()
    seen = []

    def callback(state):
        seen.append((state.epoch, state.loss, state.biases[0].copy()))
        return state.epoch == 4

    model = NeuronClassifier(callback=callback).fit(X, y)
    assert [epoch for epoch, _, _ in seen] == list(range(5)) and model.stopped_ == "callback"
    assert [loss for _, loss, _ in seen] == model.loss_curve_
    np.testing.assert_array_equal(seen[-1][2], model.intercept_)
    same(model, NeuronClassifier(max_iter=5, tol=None).fit(X, y))


def test_progress_and_threads_change_no_bit(capsys):
    X, y = three_classes()
    expected = NeuronClassifier().fit(X, y)
    same(NeuronClassifier(progress="always", n_threads=2).fit(X, y), expected)
    assert "loss" in capsys.readouterr().err


def test_what_was_computed_survives_an_exception():
    X, y = two_classes()

    def fails(state):
        if state.epoch == 3:
            raise RuntimeError("mine")

    model = NeuronClassifier(callback=fails)
    with pytest.raises(RuntimeError, match="mine"):
        model.fit(X, y)
    same(model, NeuronClassifier(max_iter=4, tol=None).fit(X, y))
    for Y in (y, np.column_stack([y, y])):
        model = NeuronRegressor(learning_rate_init=1e6, momentum=0, tol=None)
        with pytest.raises(DivergenceError) as caught:
            model.fit(X, Y)
        assert model.loss_curve_ == caught.value.losses.tolist() and model.n_iter_ > 3
        assert np.isfinite(model.coef_).all() and len(model.predict(X)) == 300


def test_an_interrupted_fit_returns_what_there_is():
    X, y = two_classes()

    def callback(state):
        if state.epoch == 2:
            threading.Timer(0.0, os.kill, (os.getpid(), signal.SIGINT)).start()
            while not interrupted:
                pass

    interrupted = []
    before = signal.getsignal(signal.SIGINT)
    model = NeuronClassifier(callback=callback, max_iter=10**6, tol=None)
    handle = Interrupts.handle

    def noted(self, signum, frame):
        interrupted.append(True)
        handle(self, signum, frame)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Interrupts, "handle", noted)
        with pytest.warns(UserWarning, match="interrupted") as warned:
            model.fit(X, y)
    assert signal.getsignal(signal.SIGINT) is before
    assert model.stopped_ == "interrupted" and model.n_iter_ == len(model.loss_curve_) >= 3
    assert warned[0].filename == __file__
    model.callback = None
    assert np.isfinite(model.partial_fit(X, y).coef_).all()


def test_it_warns_where_max_iter_came_first():
    X, y = two_classes()
    with pytest.warns(ConvergenceWarning, match="max_iter=2 before L-BFGS"):
        NeuronClassifier(max_iter=2).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="max_iter=3 while the loss still fell by"):
        NeuronClassifier(max_iter=3, solver="sgd").fit(X, y)
    with pytest.warns(ConvergenceWarning, match="higher loss") as told:
        NeuronRegressor(learning_rate_init=2.0, momentum=0.0).fit(X, y)
    assert told[0].filename == __file__
    NeuronClassifier(max_iter=3, tol=None).fit(X, y)


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": "hinge"},
        {"solver": "newton"},
        {"alpha": -1},
        {"batch_size": 0},
        {"learning_rate_init": 0.0},
        {"learning_rate_init": "optimal"},
        {"max_iter": 0},
        {"shuffle": "windows"},
        {"tol": -1.0},
        {"momentum": 1.0},
        {"validation_fraction": 1.0},
        {"class_weight": "even"},
        {"callback": 3},
        {"progress": "never"},
        {"n_threads": 0},
    ],
    ids=str,
)
def test_parameters_are_validated(wrong):
    X, y = two_classes()
    with pytest.raises(InvalidParameterError, match=next(iter(wrong))):
        NeuronClassifier(**wrong).fit(X, y)


def test_arguments_are_validated():
    X, y = two_classes()
    with pytest.raises(ValueError, match="with a weight above 0"):
        NeuronClassifier().fit(X, y, np.zeros(300))
    with pytest.raises(ValueError, match="negative"):
        NeuronClassifier().fit(X, y, -np.ones(300))
    with pytest.raises(ValueError, match="300 values"):
        NeuronClassifier().fit(X, y, np.ones(3))
    with pytest.raises(ValueError, match="Unknown label type"):
        NeuronClassifier().fit(X, X[:, 0])
    with pytest.raises(DataError, match="squares"):
        NeuronRegressor(solver="sgd").fit(1e200 * X, y)
    with pytest.raises(ValueError, match="expected output activation 'sigmoid' with 'bce'"):
        NeuronRegressor("log_loss").fit(X, y)
    share = 1 / (1 + np.exp(-X @ np.arange(4.0)))
    model = NeuronRegressor("log_loss", activation="sigmoid", alpha=0)
    np.testing.assert_allclose(model.fit(X, share).coef_, np.arange(4.0), atol=1e-5)


@pytest.mark.skipif(not hasattr(NeuronClassifier, "set_callbacks"), reason="scikit-learn 1.9")
@pytest.mark.parametrize("make", [two_classes, three_classes])
def test_scikit_learns_callbacks(make):
    class Recorder:
        def __init__(self):
            self.calls = []

        def setup(self, estimator, context):
            self.calls.append("setup")

        def teardown(self, estimator, context):
            self.calls.append("teardown")

        def on_fit_task_begin(self, estimator, context):
            self.calls.append(f"begin {context.task_name}")

        def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
            self.calls.append(f"end {context.task_name}")
            self.scores = [*getattr(self, "scores", []), fitted_estimator.score(X, y)]
            return context.task_name == "epoch" and len(self.scores) == 3

    X, y = make()
    recorder = Recorder()
    model = NeuronClassifier(max_iter=10, tol=None).set_callbacks(recorder).fit(X, y)
    epoch = ["begin epoch", "end epoch"]
    assert recorder.calls == ["setup", "begin fit", *epoch * 3, "end fit", "teardown"]
    assert recorder.scores[-1] == model.score(X, y)
    same(model, NeuronClassifier(max_iter=3, tol=None).fit(X, y))
    model = NeuronClassifier(max_iter=10, callback=lambda state: state.epoch == 1)
    assert model.set_callbacks(Recorder()).fit(X, y).n_iter_ == 2
    recorder = Recorder()
    model = NeuronRegressor("huber", max_iter=2, tol=None)
    model.set_callbacks(recorder).fit(X, y)
    assert recorder.calls == ["setup", "begin fit", *epoch * 2, "end fit", "teardown"]


def test_verbose_prints_each_epoch(capsys):
    X, y = two_classes()
    model = NeuronClassifier(verbose=True, max_iter=2, tol=None, early_stopping=True).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == (
        f"Iteration 2, loss = {model.loss_curve_[1]:.8f},"
        f" validation loss = {model.validation_loss_curve_[1]:.8f}"
    )
    NeuronClassifier(verbose=True, batch_size=300).partial_fit(X, y, classes=[0, 1])
    assert capsys.readouterr().out.startswith("Iteration 1, loss = 0.69314718")
