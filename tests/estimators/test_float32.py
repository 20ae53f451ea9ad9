"""Float32 features: arithmetic in float32, scikit-learn's numbers, and models that stay in it."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import neural_network as theirs
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.preprocessing import scale

import fastbp
from fastbp import MLPClassifier, MLPRegressor, NeuronClassifier, NeuronRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # scikit-learn 1.5's own class, with a SciPy that is much newer
    pytest.mark.filterwarnings("ignore:.*iprint:DeprecationWarning"),
]
SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)

# How far losses and parameters are from scikit-learn's in float32, after 20 epochs (60 to 180
# updates). Both round at 6e-8, in another order; Adam's steps, divided by the gradient's size, keep
# the relative error of small gradients, and a log loss near 0 that of 1 - p. Measured over four
# seeds: losses 5e-6, parameters 3e-6 at most. Where z is about 0, ReLU's derivative may be 0 for
# one and 1 for the other: a row's share of a step, 2e-4, was seen once in ten fits.
LOSS, PARAMETERS, ACROSS_A_KINK = 2e-5, 1e-5, 2e-3


def _data():
    digits, cancer, diabetes = (
        load(return_X_y=True) for load in (load_digits, load_breast_cancer, load_diabetes)
    )
    return {
        "digits": ((digits[0] / 16.0).astype(SINGLE), digits[1]),
        "cancer": (scale(cancer[0]).astype(SINGLE), cancer[1]),
        # float64 targets would have scikit-learn compute gradients in float64
        "diabetes": (scale(diabetes[0]).astype(SINGLE), scale(diabetes[1]).astype(SINGLE)),
    }


DATA = _data()
KINDS = {
    "digits": (theirs.MLPClassifier, MLPClassifier),
    "cancer": (theirs.MLPClassifier, MLPClassifier),
    "diabetes": (theirs.MLPRegressor, MLPRegressor),
}


def arrays(model):
    return [*model.coefs_, *model.intercepts_]


def assert_same_bits(one, other):
    for a, b in zip(arrays(one), arrays(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def distance(one, other):
    pairs = zip(arrays(one), arrays(other), strict=True)
    return max(float(np.abs(a.astype(DOUBLE) - b).max()) for a, b in pairs)


# --- perceptrons --------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("name", DATA)
def test_training_is_that_of_scikit_learn_in_float32(name, activation, solver):
    X, y = DATA[name]
    parameters = {
        "activation": activation, "solver": solver, "max_iter": 20, "random_state": 0, "tol": 0,
        "learning_rate_init": 0.002 if name == "digits" else 0.02,
    }  # fmt: skip
    their, our = (kind(**parameters).fit(X, y) for kind in KINDS[name])
    assert {a.dtype for a in arrays(our)} == {SINGLE} == {a.dtype for a in arrays(their)}
    kinks = activation == "relu"
    np.testing.assert_allclose(
        our.loss_curve_, their.loss_curve_, rtol=ACROSS_A_KINK if kinks else LOSS
    )
    assert distance(our, their) < (ACROSS_A_KINK if kinks else PARAMETERS)


def test_the_log_loss_is_clipped_at_the_epsilon_of_float32():
    """Scikit-learn's clips a probability at the epsilon of its dtype, here 1.2e-7."""
    X, y = DATA["cancer"]
    parameters = {"activation": "identity", "learning_rate_init": 0.02, "max_iter": 20, "tol": 0}
    curves = [
        kind(random_state=0, **parameters).fit(x, y).loss_curve_
        for kind in KINDS["cancer"]
        for x in (X, X.astype(DOUBLE))
    ]
    their, theirs_in_float64, our, ours_in_float64 = map(np.array, curves)
    np.testing.assert_allclose(our, their, rtol=LOSS)
    np.testing.assert_allclose(ours_in_float64, theirs_in_float64, rtol=1e-6)
    assert np.abs(their / theirs_in_float64 - 1.0).max() > 100 * LOSS


@pytest.mark.parametrize("name", ["cancer", "diabetes"])
def test_lbfgs_evaluates_in_float32_as_scikit_learn_does(name):
    X, y = DATA[name]
    parameters = {"solver": "lbfgs", "activation": "tanh", "max_iter": 5, "random_state": 0}
    their, our = (kind(**parameters).fit(X, y) for kind in KINDS[name])
    assert our.n_iter_ == their.n_iter_ == 5
    np.testing.assert_allclose(our.loss_, their.loss_, rtol=1e-4)  # measured: 4e-7 and 6e-6
    assert distance(our, their) < 1e-3  # measured: 2e-6 and 2e-5
    double = KINDS[name][1](**parameters).fit(X.astype(DOUBLE), y)
    assert {a.dtype for a in arrays(our)} == {SINGLE}
    assert abs(our.loss_ - double.loss_) > 0.0
    packed = np.concatenate([a.ravel() for a in arrays(our)])
    labels = y[:, None].astype(DOUBLE)
    loss, gradient = our._loss_grad_lbfgs(packed, X, labels)
    assert gradient.dtype == SINGLE and loss == pytest.approx(our.loss_, rel=1e-7)


def test_the_arithmetic_is_that_of_fit_network_in_float32():
    X, y = DATA["diabetes"]
    model = MLPRegressor(
        hidden_layer_sizes=(8,), activation="tanh", solver="sgd", momentum=0.0, alpha=0.0,
        shuffle=False, batch_size=50, learning_rate_init=0.01, max_iter=1, random_state=0,
        warm_start=True,
    )  # fmt: skip
    start = pickle.loads(pickle.dumps(model.fit(X, y)))
    model.set_params(max_iter=6).fit(X, y)
    how = {"activations": ["tanh", "identity"], "loss": "half_mse", "batch_size": 50}
    begin = start.coefs_, start.intercepts_, 0.01, 6
    fits = {kind: fastbp.fit_network(X, y, *begin, dtype=kind, **how) for kind in (SINGLE, DOUBLE)}
    single, double = fits[SINGLE], fits[DOUBLE]
    for ours, own in zip(arrays(model), [*single.weights, *single.biases], strict=True):
        np.testing.assert_array_equal(ours, own)
    assert (model.coefs_[0] != double.weights[0].astype(SINGLE)).any()
    for x in (X, np.asfortranarray(X), X[np.arange(20_000) % len(X)]):  # read as they are, or not
        np.testing.assert_array_equal(model.predict(x), single.predict(x)[:, 0])


def test_initial_parameters_are_drawn_in_float64_and_rounded():
    X, y = DATA["digits"]
    begun = []
    for kind in (theirs.MLPClassifier, MLPClassifier):
        model = kind((5,), solver="sgd", learning_rate_init=1e-30, max_iter=1, random_state=3)
        begun.append(model.fit(X, y))
    assert_same_bits(*begun)


@pytest.mark.parametrize("solver", ["sgd", "adam", "rmsprop", "lbfgs"])
@pytest.mark.parametrize("kept", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_everything_of_a_model_is_float32(solver, kept):
    X, y = DATA["digits"]
    X = np.where(X > 0.7, X, SINGLE.type(0))  # few enough to stay sparse
    seen = set()

    def callback(state):
        seen.update(a.dtype for a in (*state.weights, *state.biases))

    early = solver != "lbfgs"
    model = MLPClassifier(
        (20,), solver=solver, max_iter=3, random_state=0, early_stopping=early, callback=callback
    )
    model.fit(kept(X), y)
    assert seen == {SINGLE} == {a.dtype for a in arrays(model)}
    if early:
        assert {a.dtype for a in (*model._best_coefs, *model._best_intercepts)} == {SINGLE}
        assert model._optimizer.moments.dtype == SINGLE
    assert all(a.base is model.coefs_[0].base is not None for a in arrays(model))  # not copied
    assert model.predict_proba(kept(X)).dtype == SINGLE
    assert model.predict_log_proba(kept(X)).dtype == SINGLE
    dense = MLPClassifier(**model.get_params()).fit(X, y)
    assert distance(model, dense) < 1e-5
    np.testing.assert_allclose(model.predict_proba(kept(X)), dense.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("own", [SINGLE, DOUBLE])
@pytest.mark.parametrize("rows", [1, 5, 1797])
def test_outputs_have_the_dtype_of_scikit_learn(own, rows):
    X, y = DATA["digits"]
    X = (16.0 * X).astype(own)
    their = theirs.MLPClassifier((5,), max_iter=2, random_state=0).fit(X, y)
    our = MLPClassifier.from_sklearn(their)
    for kind in (np.float16, np.float32, np.float64, np.uint8, np.int16, np.int64):
        few = X[:rows].astype(kind)
        for x in (few, np.asfortranarray(few)):
            outputs, expected = our.predict_proba(x), their.predict_proba(x)
            assert outputs.dtype == expected.dtype
            rtol = 1e-12 if outputs.dtype == DOUBLE else 1e-5
            np.testing.assert_allclose(outputs, expected, rtol=rtol, atol=1e-30)


@pytest.mark.parametrize("own", [SINGLE, DOUBLE])
def test_a_model_stays_in_its_dtype(own):
    """As in scikit-learn, where rows of the other dtype follow."""
    X, y = DATA["cancer"]
    other = DOUBLE if own == SINGLE else SINGLE
    models = [
        kind((7,), activation="tanh", max_iter=2, random_state=0, warm_start=True).fit(
            X.astype(own), y
        )
        for kind in KINDS["cancer"]
    ]
    for go_on in ("partial_fit", "fit", "partial_fit"):
        for model in models:
            getattr(model, go_on)(X.astype(other), y)
        assert {a.dtype for a in arrays(models[1])} == {own} == {a.dtype for a in arrays(models[0])}
        assert distance(*models) < (PARAMETERS if own == SINGLE else 1e-9)


def test_parameters_that_are_set_decide():
    X, y = DATA["cancer"]
    model = MLPClassifier((7,), max_iter=2, random_state=0).fit(X, y)
    model.coefs_[0] = model.coefs_[0].astype(DOUBLE) + 1e-9
    assert model.predict_proba(X).dtype == DOUBLE == model.predict_proba(X[:2]).dtype
    assert model.partial_fit(X, y).predict_proba(X).dtype == DOUBLE
    assert {a.dtype for a in arrays(model)} == {DOUBLE}
    model.coefs_, model.intercepts_ = ([a.astype(SINGLE) for a in part] for part in (
        model.coefs_, model.intercepts_,
    ))  # fmt: skip
    assert {a.dtype for a in arrays(model.partial_fit(X, y))} == {SINGLE}
    model.coefs_ = [w.astype(np.float16) for w in model.coefs_]
    few = np.where(X > 1.0, X, SINGLE.type(0))
    np.testing.assert_allclose(
        model.predict_proba(sparse.csr_matrix(few)), model.predict_proba(few), rtol=1e-5
    )


@pytest.mark.parametrize("name", DATA)
def test_it_goes_on_from_files_and_from_scikit_learn(name, tmp_path):
    X, y = DATA[name]
    parameters = {"hidden_layer_sizes": (6,), "activation": "tanh", "random_state": 0}
    their, our = (kind(**parameters) for kind in KINDS[name])
    for model in (their, our):
        for _ in range(3):
            model.partial_fit(X, y, **({} if name == "diabetes" else {"classes": np.unique(y)}))
    assert distance(their, our) < PARAMETERS
    fastbp.save(our, tmp_path / "model.safetensors")
    copies = [fastbp.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(our))]
    assert not [attribute for attribute in vars(our) if "dtype" in attribute]
    read = KINDS[name][1].from_sklearn(their)
    assert read._optimizer.moments.dtype == SINGLE
    for model in (their, our, read, *copies):
        model.partial_fit(X, y)
    for copied in copies:
        assert_same_bits(copied, our)
    assert {a.dtype for a in arrays(read)} == {SINGLE}
    assert distance(read, their) < PARAMETERS


def test_a_file_of_an_older_release_goes_on():
    """Its moments were float64, its parameters the rounded ones."""
    X, y = DATA["cancer"]
    model = MLPClassifier((6,), random_state=0, max_iter=3).fit(X, y)
    stored, fields = model.to_stored()
    for name in stored:
        if "moments" in name:
            stored[name] = stored[name].astype(DOUBLE)
    old = MLPClassifier.from_stored(stored, {**fields, "_dtype": "float32"})
    assert_same_bits(old.partial_fit(X, y), model.partial_fit(X, y))


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_any_number_of_threads_gives_the_same_bits(solver):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 30)).astype(SINGLE)
    fits = [
        MLPRegressor(solver=solver, batch_size=1500, max_iter=4, random_state=0, n_threads=n).fit(
            X, X[:, 0]
        )
        for n in (1, 2, 3)
    ]
    for fit in fits[1:]:
        assert_same_bits(fit, fits[0])
        np.testing.assert_array_equal(fit.predict(X), fits[0].predict(X))


def test_what_float32_cannot_hold_is_refused():
    X, y = DATA["diabetes"]
    model = MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, random_state=0, warm_start=True).fit(
        X, y
    )
    before = [a.copy() for a in arrays(model)]
    large = X.astype(DOUBLE)
    large[7, 1] = 1e39
    with pytest.raises(ValueError, match=r"X: .* got 1e\+39, too large for float32, in row 7"):
        model.fit(large, y)
    labels = y.astype(DOUBLE)
    labels[3] = -1e39
    with pytest.raises(ValueError, match=r"y: .* got -1e\+39, too large for float32, in row 3"):
        model.fit(X, labels)
    with pytest.raises(ValueError, match=r"y_val: .* too large for float32, in row 3"):
        model.fit(X, y, X_val=X, y_val=labels)
    weights = np.ones(len(y))
    weights[5] = 1e30
    with pytest.raises(ValueError, match=r"sample_weight: expected 0, or a weight from 1.2e-38"):
        model.fit(X, y, weights)
    for a, b in zip(arrays(model), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.isfinite(model.predict(large)).all()  # in float64
    MLPRegressor(hidden_layer_sizes=(4,), max_iter=2).fit(X.astype(DOUBLE), labels / 1e30, weights)


# --- neurons ------------------------------------------------------------------------------------


def classes_of(name):
    X, y = DATA[name]
    return X, y % 3 if name == "digits" else y


@pytest.mark.parametrize("name", ["digits", "cancer"])
@pytest.mark.parametrize(
    "how", [{"solver": "sgd"}, {"batch_size": 32, "solver": "adam", "max_iter": 5}]
)
def test_neurons_compute_in_float32(name, how):
    X, y = classes_of(name)
    model = NeuronClassifier(random_state=0, **how).fit(X, y)
    double = NeuronClassifier(random_state=0, **how).fit(X.astype(DOUBLE), y)
    assert model.coef_.dtype == SINGLE == model.intercept_.dtype
    assert double.coef_.dtype == DOUBLE == double.intercept_.dtype
    assert (model.coef_ != double.coef_.astype(SINGLE)).any()
    np.testing.assert_allclose(model.coef_, double.coef_, atol=2e-5)  # measured: 2e-6
    for method in (model.decision_function, model.predict_proba, model.predict_log_proba):
        assert method(X).dtype == SINGLE == method(X[:1]).dtype
        assert method(X.astype(DOUBLE)).dtype == DOUBLE == method(X[:1].astype(DOUBLE)).dtype
        assert getattr(double, method.__name__)(X).dtype == DOUBLE
    exact = X.astype(DOUBLE) @ model.coef_.T.astype(DOUBLE) + model.intercept_
    scores = model.decision_function(X.astype(DOUBLE)).reshape(exact.shape)
    np.testing.assert_allclose(scores, exact, rtol=0, atol=1e-13)


def test_the_arithmetic_is_that_of_fit_neuron_in_float32():
    X, y = DATA["diabetes"]
    how = {"learning_rate_init": 0.1, "momentum": 0.0, "max_iter": 7, "alpha": 0.0}
    model = NeuronRegressor(**how).fit(X, y)
    begin = np.zeros(X.shape[1]), 0.0, 0.1, 7
    fit = fastbp.fit_neuron(
        X, y, *begin, activation="identity", loss="half_mse", dtype=SINGLE, batch_size=None
    )
    np.testing.assert_array_equal(model.coef_, fit.weights)
    assert model.intercept_ == fit.bias and model.coef_.dtype == SINGLE
    np.testing.assert_array_equal(model.predict(X), fit.predict(X))
    several = NeuronRegressor(**how).fit(X, np.column_stack([y, y]))
    assert several.coef_.dtype == SINGLE == several.predict(X).dtype
    np.testing.assert_allclose(several.coef_[1], model.coef_, rtol=0, atol=1e-6)


def test_rows_count_by_the_dtype_that_they_are_stored_in(tmp_path):
    X, y = classes_of("cancer")
    table = np.column_stack([X, y.astype(SINGLE)])
    np.save(tmp_path / "single.npy", table)
    np.save(tmp_path / "double.npy", table.astype(DOUBLE))
    names = [f"x{j}" for j in range(X.shape[1])] + ["y"]
    pd.DataFrame(table, columns=names).to_csv(tmp_path / "rows.csv", index=False)
    expected = NeuronClassifier(batch_size=50, max_iter=3, random_state=0).fit(X, y)
    sources = {
        name: fastbp.open_rows(tmp_path / name, target="y" if name == "rows.csv" else X.shape[1])
        for name in ("single.npy", "double.npy", "rows.csv")
    }
    for name, rows in sources.items():
        model = NeuronClassifier(batch_size=50, max_iter=3, random_state=0).fit(rows)
        own = SINGLE if name == "single.npy" else DOUBLE
        assert model.coef_.dtype == own == model.decision_function(rows).dtype
        assert expected.decision_function(rows).dtype == own
        if own == SINGLE:
            np.testing.assert_array_equal(model.coef_, expected.coef_)
    for kind in (sparse.csr_matrix, np.asfortranarray):
        model = NeuronClassifier(batch_size=50, max_iter=3, random_state=0).fit(kind(X), y)
        np.testing.assert_array_equal(model.coef_, expected.coef_)
        assert model.coef_.dtype == SINGLE == model.decision_function(kind(X)).dtype
    for kind in (np.float16, np.int32):
        model = NeuronClassifier(max_iter=2).fit(X.astype(kind), y)
        assert model.coef_.dtype == DOUBLE


@pytest.mark.parametrize("name", ["digits", "cancer"])
def test_neurons_go_on_in_their_dtype(name, tmp_path):
    X, y = classes_of(name)
    how = {"solver": "adam", "batch_size": 50, "random_state": 0}
    whole = NeuronClassifier(max_iter=4, tol=None, **how).fit(X, y)
    parts = NeuronClassifier(**how)
    for _ in range(3):
        parts.partial_fit(X, y, classes=np.unique(y))
    fastbp.save(parts, tmp_path / "model.safetensors")
    loaded = fastbp.load(tmp_path / "model.safetensors")
    for model in (parts, loaded):
        model.partial_fit(X, y)
        np.testing.assert_array_equal(model.coef_, whole.coef_)
        np.testing.assert_array_equal(model.intercept_, whole.intercept_)
    parts.partial_fit(X.astype(DOUBLE), y)  # rows of another dtype change nothing
    loaded.partial_fit(X, y)
    assert parts.coef_.dtype == SINGLE
    np.testing.assert_array_equal(parts.coef_, loaded.coef_)
    parts.coef_ = parts.coef_.astype(DOUBLE)  # but parameters do; the optimizer starts over
    assert parts.partial_fit(X, y).coef_.dtype == DOUBLE


def test_probabilities_sum_to_1_where_all_outputs_underflow():
    X, y = classes_of("digits")
    model = NeuronClassifier("bce", solver="sgd", max_iter=5).fit(X, y)
    for shift in (70.0, 100.0, 2000.0):  # float32 ends at e**-103
        model.intercept_ = np.array([-shift, -shift - 1.0, -shift - 2.0], SINGLE)
        p = model.predict_proba(X)
        assert p.dtype == SINGLE
        np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-6)
        np.testing.assert_allclose(p, np.exp(model.predict_log_proba(X)), rtol=1e-3)


def test_rows_too_large_for_a_rate_in_float32_are_refused():
    X, y = DATA["diabetes"]
    with pytest.raises(ValueError, match="whose squares float32 can hold"):
        NeuronRegressor(solver="sgd").fit(X * SINGLE.type(1e25), y)
    with pytest.raises(ValueError, match=r"y: .*too large for float32, in row 0"):
        NeuronRegressor().fit(X, np.full(len(y), 1e39))
    large = X.astype(DOUBLE) * 1e25
    assert NeuronRegressor(max_iter=3).fit(large, y).coef_.dtype == DOUBLE


def test_sparse_values_beyond_float32_are_refused():
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(40, 30)) * (rng.random((40, 30)) < 0.05)
    y = rng.integers(2, size=40)
    model = MLPClassifier((4,), random_state=0)
    model.partial_fit(sparse.csr_matrix(dense.astype(np.float32)), y, classes=[0, 1])
    dense[7, 3] = 1e39
    with pytest.raises(
        fastbp.DataError, match=r"1e\+39, too large for float32, in row 7, column 3"
    ):
        model.partial_fit(sparse.csr_matrix(dense), y)
