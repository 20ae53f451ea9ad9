"""L-BFGS: SciPy's iterations over the one pass, and all that a fit promises besides."""

import signal
from itertools import pairwise

import numpy as np
import pytest
import scipy.optimize
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.preprocessing import scale

import fastbp
from fastbp import LBFGS
from fastbp.training import lbfgs, slices
from fastbp.training.lbfgs import Minimization
from fastbp.training.objective import Objective
from fastbp.training.preconditioning import SAMPLE_ROWS
from fastbp.training.variables import Decorrelated, Standardized
from tests.problems import network_bits, network_problem

CANCER = scale(load_breast_cancer().data), load_breast_cancer().target
MANY = np.random.default_rng(0).normal(size=(8_000, 30))  # three chunks
MANY = MANY, (MANY[:, 0] + MANY[:, 1] ** 2 > 0.5).astype(float)
DIGITS = load_digits().data / 16.0, load_digits().target
ALPHA = 1.0
X, Y, W, B, _ = network_problem((4, 6, 3), 300, "cross_entropy")
NETWORK = {"activations": ["tanh", "softmax"], "loss": "cross_entropy", "optimizer": "lbfgs"}


def neuron(epochs=100, data=CANCER, start=None, **keywords):
    features, labels = data
    zeros = np.zeros(features.shape[1] if isinstance(features, np.ndarray) else 30)
    start = (zeros, 0.0) if start is None else (start.weights, start.bias)
    how = {"loss": "bce", "alpha": ALPHA, "optimizer": "lbfgs", **keywords}
    return fastbp.fit_neuron(features, labels, *start, None, epochs, **how)


def network(epochs=40, **keywords):
    return fastbp.fit_network(X, Y, W, B, None, epochs, **{**NETWORK, **keywords})


def bits(fit):
    return b"".join(np.asarray(part).tobytes() for part in fit)


@pytest.fixture
def evaluations(monkeypatch):
    """Counts how often loss and gradient are computed."""
    seen, evaluate = [], Minimization.evaluate

    def counted(self, packed):
        seen.append(packed)
        return evaluate(self, packed)

    monkeypatch.setattr(Minimization, "evaluate", counted)
    return seen


# --- the iterations -----------------------------------------------------------------------------


def logistic(packed, x, y, weight, alpha):
    """The weighted mean log loss of a neuron and its gradient, in NumPy."""
    w, b, n = packed[:-1], packed[-1], weight.sum()
    z = x @ w + b
    loss = weight @ (np.logaddexp(0.0, z) - y * z) + alpha / 2.0 * w @ w
    dz = weight * (1.0 / (1.0 + np.exp(-z)) - y)
    return loss / n, np.append(x.T @ dz + alpha * w, dz.sum()) / n


def softmax(packed, x, y, alpha):
    """The mean cross-entropy of a layer and its gradient, in NumPy."""
    (n, d), k = x.shape, y.shape[1]
    w, b = packed[: d * k].reshape(d, k), packed[d * k :]
    z = x @ w + b
    z -= z.max(axis=1, keepdims=True)
    a = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    loss = -(y * np.log(a)).sum() + alpha / 2.0 * (w**2).sum()
    dw, db = x.T @ (a - y) + alpha * w, (a - y).sum(axis=0)
    return loss / n, np.concatenate([dw.ravel(), db]) / n


@pytest.fixture
def chosen(monkeypatch):
    """Notes the variables of each fit and the length of the first step."""
    seen, variables_of = [], lbfgs.variables_of

    def noted(*arguments):
        seen.append(variables_of(*arguments))
        return seen[-1]

    monkeypatch.setattr(lbfgs, "variables_of", noted)
    return seen


def path_in(variables, length, function, start, iterations, *arguments, **options):
    """The packed parameters that SciPy comes to in these variables."""

    def in_variables(vector):
        value, slopes = function(variables.parameters(vector * length), *arguments)
        return value, variables.gradient(slopes) * length

    begin = variables.of_parameters(start) / length
    points = path_of(in_variables, begin, iterations, **options)
    return [variables.parameters(point * length) for point in points]


def path_of(function, start, iterations, *arguments, **options):
    points = []
    scipy.optimize.minimize(
        function, start, arguments, method="L-BFGS-B", jac=True, callback=lambda x: points.append(x.copy()),
        options={"maxiter": iterations, "ftol": 2.0**-46, "gtol": 1e-6, **options},
    )  # fmt: skip
    return points


@pytest.mark.parametrize("memory", [2, 10])
def test_a_neurons_iterates_are_those_of_scipy(memory, chosen):
    x, y = CANCER
    weight, points = np.random.default_rng(0).uniform(0.5, 2.0, len(y)), []
    fit = neuron(
        12, optimizer=LBFGS(memory=memory), sample_weight=weight,
        callback=lambda state: points.append(np.append(state.weights, state.bias)),
    )  # fmt: skip
    arguments = x, y, weight, ALPHA
    theirs = path_in(*chosen[0], logistic, np.zeros(31), 12, *arguments, maxcor=memory)
    np.testing.assert_allclose(points, theirs, rtol=1e-8, atol=1e-8)
    assert (fit.stopped, fit.n_epochs) == ("epochs", 12)
    losses = [logistic(p, *arguments)[0] for p in (np.zeros(31), *theirs[:-1])]
    np.testing.assert_allclose(fit.losses, losses, rtol=1e-10)  # before each iteration
    np.testing.assert_array_equal(np.append(fit.weights, fit.bias), points[-1])


def test_a_layers_iterates_are_those_of_scipy(chosen):
    x, c = DIGITS
    y, points = np.eye(10)[c], []
    fit = fastbp.fit_network(
        x, c, [np.zeros((64, 10))], [np.zeros(10)], None, 15, activations=["softmax"],
        loss="cross_entropy", alpha=ALPHA, optimizer="lbfgs",
        callback=lambda s: points.append(np.concatenate([s.weights[0].ravel(), s.biases[0]])),
    )  # fmt: skip
    theirs = path_in(*chosen[0], softmax, np.zeros(650), 15, x, y, ALPHA)
    np.testing.assert_allclose(points, theirs, rtol=1e-7, atol=1e-7)
    assert fit.losses[-1] == pytest.approx(softmax(theirs[-2], x, y, ALPHA)[0], rel=1e-10)


@pytest.mark.parametrize(("dtype", "close"), [("float64", 1e-3), ("float32", 5e-3)])
def test_it_converges_to_logistic_regression(dtype, close, evaluations):
    fit = neuron(dtype=dtype)
    theirs = LogisticRegression(C=1.0 / ALPHA, tol=1e-10, max_iter=10_000).fit(*CANCER)
    assert fit.stopped == "tol" and fit.weights.dtype == dtype
    np.testing.assert_allclose(fit.weights, theirs.coef_[0], atol=close)
    assert fit.bias == pytest.approx(theirs.intercept_[0], abs=close)
    assert fit.n_epochs < len(evaluations) < 1.3 * fit.n_epochs  # a failed line search takes 40


@pytest.mark.parametrize(("dtype", "close"), [("float64", 1e-3), ("float32", 5e-3)])
def test_several_classes_converge_to_logistic_regression(dtype, close):
    start = [np.zeros((64, 10))], [np.zeros(10)]
    how = {"activations": ["softmax"], "loss": "cross_entropy", "optimizer": "lbfgs"}
    fit = fastbp.fit_network(*DIGITS, *start, None, 1000, alpha=ALPHA, dtype=dtype, **how)
    theirs = LogisticRegression(C=1.0 / ALPHA, tol=1e-10, max_iter=10_000).fit(*DIGITS)
    assert fit.stopped == "tol"
    np.testing.assert_allclose(fit.weights[0].T, theirs.coef_, atol=close)


def test_tolerances_end_it():
    strict, loose = neuron(optimizer=LBFGS(gtol=1e-9)), neuron(optimizer=LBFGS(gtol=1e-3))
    rough = neuron(optimizer=LBFGS(gtol=0.0, ftol=1e-3))
    assert loose.n_epochs < strict.n_epochs and rough.n_epochs < strict.n_epochs
    assert {fit.stopped for fit in (strict, loose, rough)} == {"tol"}
    to_the_last_bit = neuron(1000, optimizer=LBFGS(gtol=0.0, ftol=0.0))
    assert to_the_last_bit.stopped == "tol"  # no step lowers the loss
    np.testing.assert_allclose(to_the_last_bit.weights, strict.weights, atol=1e-5)


def test_the_fits_own_tolerance_ends_it_like_any_other():
    full = neuron()
    falls = -np.diff(full.losses)
    fit = neuron(tol=1e-3, n_iter_no_change=2)
    stale = [epoch for epoch in range(1, full.n_epochs) if max(falls[epoch - 1 :][:2]) <= 1e-3]
    assert fit.stopped == "tol" and fit.n_epochs == stale[0] + 2 < full.n_epochs
    np.testing.assert_array_equal(fit.losses, full.losses[: fit.n_epochs])


def test_at_a_minimum_it_ends_at_once():
    start = neuron(1000, optimizer=LBFGS(gtol=1e-9))
    fit = neuron(start=start)
    assert (fit.stopped, fit.n_epochs, fit.losses.shape) == ("tol", 0, (0,))
    np.testing.assert_array_equal(fit.weights, start.weights)
    assert neuron(0).stopped == "epochs"


# --- as with the other optimizers ---------------------------------------------------------------


def test_threads_change_no_bit():
    assert len({bits(neuron(data=MANY, n_threads=n)) for n in (1, 2, 3)}) == 1
    assert len({network_bits(network(n_threads=n)) for n in (1, 2)}) == 1
    assert bits(neuron(callback=lambda state: None)) == bits(neuron())


@pytest.mark.parametrize("whole_bytes", [2**26, 0], ids=["whole", "by blocks"])
def test_sources_change_no_bit(tmp_path, monkeypatch, whole_bytes):
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", whole_bytes)
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 2**15)
    x, y = MANY
    expected = bits(neuron(20, data=MANY))
    table = np.column_stack([x, y])
    np.save(tmp_path / "rows.npy", table)
    lines = [",".join(map(repr, row)) for row in table.tolist()]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    sources = [
        fastbp.open_rows(tmp_path / "rows.npy", target=-1),
        fastbp.open_rows(tmp_path / "rows.csv", target=-1, header=False),
        fastbp.open_rows(lambda: (part for part in np.array_split(table, 7)), target=-1),
    ]
    for rows in sources:
        assert bits(neuron(20, data=(rows, None))) == expected
    assert bits(neuron(20, data=(np.asfortranarray(x), y))) == expected


def test_a_file_is_gone_over_once_an_evaluation(evaluations, monkeypatch):
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 0)
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 2**15)
    table, passes = np.column_stack(MANY), []

    def blocks():
        passes.append(1)
        yield from np.array_split(table, 3)

    rows = fastbp.open_rows(blocks, target=-1)
    before = len(passes)
    fit = neuron(10, data=(rows, None))
    assert len(passes) - before == len(evaluations) >= fit.n_epochs + 1


def test_weights_count_rows():
    x, y = CANCER
    times = np.random.default_rng(0).integers(0, 3, len(y))
    repeated = neuron(data=(np.repeat(x, times, axis=0), np.repeat(y, times)))
    weighted = neuron(sample_weight=times.astype(float))
    np.testing.assert_allclose(weighted.weights, repeated.weights, atol=1e-4)


def test_a_callback_hears_of_every_iteration_and_may_stop():
    heard = []

    def callback(state):
        heard.append((state.epoch, state.loss, state.weights.copy()))
        return state.epoch == 4

    fit = neuron(callback=callback)
    assert (fit.stopped, fit.n_epochs) == ("callback", 5)
    assert [epoch for epoch, *_ in heard] == list(range(5))
    np.testing.assert_array_equal([loss for _, loss, _ in heard], fit.losses)
    for epoch, _, weights in heard:
        np.testing.assert_array_equal(weights, neuron(epoch + 1).weights)


@pytest.mark.parametrize("kind", [ValueError, StopIteration])
def test_an_exception_of_a_callback_carries_the_fit(kind):
    def callback(state):
        if state.epoch == 2:
            raise kind("enough")

    with pytest.raises(kind, match="enough") as caught:
        neuron(callback=callback)
    assert (caught.value.fit.stopped, caught.value.fit.n_epochs) == ("error", 3)
    np.testing.assert_array_equal(caught.value.fit.weights, neuron(3).weights)


def test_progress(capsys, monkeypatch):
    fit = neuron(progress="always")
    assert f"epoch {fit.n_epochs}/100" in capsys.readouterr().err
    shown = []
    show = "fastbp.training.driver.Progress.show"
    monkeypatch.setattr(show, lambda self, *figures: shown.append(figures))
    monkeypatch.setattr("fastbp.training.slices.SLICE_SECONDS", 1e-9)  # a chunk
    fit = neuron(3, data=MANY)
    within = [rows for epoch, rows, *_ in shown if epoch == 1]
    assert within[0] == 0 < within[1] < within[2] < within[3] == len(MANY[1])
    assert shown[-1] == (3, 0, fit.losses[2], None)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_validation_chooses_the_best(dtype):
    fit = neuron(alpha=0.0, validation=0.3, tol=0.0, n_iter_no_change=4, dtype=dtype)
    best = int(fit.validation_losses.argmin())
    assert fit.stopped == "tol" and fit.n_epochs == best + 5
    expected = neuron(best + 1, alpha=0.0, validation=0.3, dtype=dtype)
    np.testing.assert_array_equal(fit.weights, expected.weights)
    np.testing.assert_array_equal(expected.validation_losses, fit.validation_losses[: best + 1])


def interrupted_fit(**keywords):
    with pytest.warns(UserWarning, match="interrupted after 3 epochs"):
        fit = neuron(**keywords)
    assert (fit.stopped, fit.n_epochs) == ("interrupted", 3)
    assert not fit.state.within_epoch
    np.testing.assert_array_equal(fit.weights, neuron(3).weights)


def test_an_interrupt_between_iterations_returns_what_there_is():
    def callback(state):
        if state.epoch == 2:
            signal.raise_signal(signal.SIGINT)

    interrupted_fit(callback=callback)


def test_an_interrupt_within_an_iteration_returns_the_last_complete_one(monkeypatch):
    original, done = Objective.loss, []

    def loss(self, parameters):
        done.append(1)
        if len(done) == after:
            signal.raise_signal(signal.SIGINT)
        return original(self, parameters)

    after = 0
    monkeypatch.setattr(Objective, "loss", loss)
    neuron(3)
    after, done[:] = len(done) + 1, []
    interrupted_fit()


# --- continued ----------------------------------------------------------------------------------


def test_a_checkpoint_continues_with_an_empty_memory(tmp_path, evaluations):
    path = tmp_path / "fit.safetensors"
    first = neuron(5, checkpoint=path)
    del evaluations[:]
    heard = []
    resumed = neuron(60, checkpoint=path, callback=lambda state: heard.append(state.epoch))
    assert heard == list(range(4, resumed.n_epochs))  # the latest one is reported
    anew = neuron(55, start=first)  # from the same parameters
    np.testing.assert_array_equal(resumed.weights, anew.weights)
    np.testing.assert_array_equal(resumed.losses, [*first.losses, *anew.losses])
    assert resumed.stopped == anew.stopped == "tol"
    del evaluations[:]
    again = neuron(60, checkpoint=path)
    assert bits(again) == bits(resumed) and again.stopped == "tol"
    assert not evaluations


def test_a_checkpoint_of_every_iteration_says_that_it_has_ended(tmp_path, evaluations):
    path = tmp_path / "fit.safetensors"
    fit = neuron(checkpoint=path, checkpoint_every=0.0)
    del evaluations[:]
    assert bits(neuron(checkpoint=path, checkpoint_every=0.0)) == bits(fit)
    assert not evaluations
    with pytest.raises(fastbp.CheckpointError, match="optimizer was"):
        neuron(checkpoint=path, optimizer=LBFGS(memory=5))


def test_a_checkpoint_keeps_early_stopping(tmp_path):
    how = {"alpha": 0.0, "validation": 0.3, "tol": 0.0, "n_iter_no_change": 4}
    path = tmp_path / "fit.safetensors"
    first = neuron(4, checkpoint=path, **how)
    fit = neuron(100, checkpoint=path, **how)
    np.testing.assert_array_equal(fit.validation_losses[:4], first.validation_losses)
    best = int(fit.validation_losses.argmin())
    assert fit.stopped == "tol" and fit.n_epochs == best + 5


@pytest.mark.parametrize("stored", [False, True])
def test_a_state_continues_with_an_empty_memory(tmp_path, stored):
    first = neuron(4)
    if stored:
        fastbp.save(first, tmp_path / "fit.safetensors")
        first = fastbp.load(tmp_path / "fit.safetensors")
    heard = []
    second = neuron(
        start=first, state=first.state, callback=lambda state: heard.append(state.epoch)
    )
    assert heard[0] == 4 and second.state.epoch == 4 + second.n_epochs
    anew = neuron(start=first)
    assert bits(second) == bits(anew)
    with pytest.raises(ValueError, match="state: expected that of a fit with optimizer=SGD"):
        fastbp.fit_neuron(*CANCER, first.weights, first.bias, 0.1, 1, loss="bce", state=first.state)


# --- what is not finite, what is refused --------------------------------------------------------


def test_a_loss_that_is_not_finite_at_the_start_diverges():
    x, y = CANCER
    how = {"activation": "identity", "optimizer": "lbfgs"}
    with pytest.raises(fastbp.DivergenceError, match="initial parameters is not finite") as caught:
        fastbp.fit_neuron(x, y, np.full(30, 1e200), 0.5, None, 10, **how)
    assert caught.value.epoch == 0 and caught.value.losses.size == 0
    assert caught.value.weights[0] == 1e200 and caught.value.bias == 0.5
    assert "learning_rate" not in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "size", "steps"),
    [("float64", 1e154, 1), ("float64", 1e156, 3), ("float32", 1e19, 1), ("float32", 1e22, 4)],
)
def test_a_line_search_steps_back_from_what_is_not_finite(dtype, size, steps, evaluations):
    """Its first step has length 1: the first rows do not tell how large the others are.

    (Of an output whose curvature is known, it would be shorter.)
    """
    ordinary = scale(np.random.default_rng(0).normal(size=(SAMPLE_ROWS, 1)))
    x = np.concatenate([ordinary, np.array([[1.0], [2.0], [3.0]]) * size])
    how = {"activation": "softplus", "optimizer": LBFGS(gtol=0.0), "dtype": dtype}
    y = np.append(np.ones(SAMPLE_ROWS), np.log(2.0) + np.array([1.0, 2.0, 3.0]) * 1e-5)
    fit = fastbp.fit_neuron(x, y, [0.0], 0.0, None, 1, **how)
    tried = [float(packed[0]) for packed in evaluations[1 : steps + 2]]
    np.testing.assert_allclose(tried, 0.1 ** np.arange(steps + 1), rtol=1e-6)
    assert np.isfinite(fit.losses).all() and np.isfinite(fit.weights).all()


def test_a_bad_row_is_reported():
    x, y = CANCER[0].copy(), CANCER[1]
    x[7, 3] = np.inf
    with pytest.raises(fastbp.DataError, match="got inf in row 7, column 3"):
        neuron(data=(x, y))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "learning_rate",
            0.1,
            "expected None .* whose line search chooses the steps, got float 0.1",
        ),
        ("learning_rate", lambda epoch: 0.1, "expected None .* whose line search"),
        ("batch_size", 32, "expected None .* the loss of all rows for each step, got int 32"),
        ("shuffle", True, "expected False .* the loss of all rows"),
        ("shuffle", "window", "expected False .* the loss of all rows"),
    ],
)
def test_what_it_has_no_use_for_is_refused(name, value, message):
    how = {"learning_rate": None, "optimizer": "lbfgs", name: value}
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        fastbp.fit_neuron(*CANCER, np.zeros(30), 0.0, epochs=1, **how)
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        fastbp.fit_network(X, Y, W, B, epochs=1, **{**NETWORK, **how})


@pytest.mark.parametrize("optimizer", ["sgd", "adam", fastbp.RMSprop()])
def test_the_others_need_a_rate(optimizer):
    with pytest.raises(TypeError, match=r"learning_rate: expected a real number, .*'lbfgs'"):
        neuron(optimizer=optimizer)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"memory": 0}, ValueError),
        ({"memory": 2.5}, TypeError),
        ({"gtol": -1.0}, ValueError),
        ({"ftol": np.nan}, ValueError),
        ({"ftol": "small"}, TypeError),
    ],
)
def test_its_values_are_checked(wrong, error):
    with pytest.raises(error, match=f"{next(iter(wrong))}: expected"):
        LBFGS(**wrong)


def problems_in_other_units():
    """Features and labels, in units in which tolerances and first steps would be far off."""
    x, y = load_diabetes(return_X_y=True)
    x = scale(x)
    rng = np.random.default_rng(0)
    years = 1.6e9 + 86_400.0 * np.arange(500.0)[:, None]  # as seconds
    people = rng.lognormal(17.0, 2.0, size=(500, 2))
    return {
        "small labels": (x, y * 1e-9),
        "large labels": (x, y * 1e9),
        "far from zero": (x + 1e6, y),
        "small features": (x * 1e-8, y),
        "large features": (x * 1e15, y),
        "units of all kinds": (x * 10.0 ** np.arange(-5, 5), y),
        "skewed": (people, people @ [2.0, 3.0] + 5.0),
        "seconds": (years, years[:, 0] * 3e-7 + rng.normal(size=500)),
        "a constant": (np.c_[x, np.full(len(x), 1e6)], y),
    }


OTHER_UNITS = problems_in_other_units()


@pytest.mark.parametrize("loss", ["half_mse", "mse", "huber"])
@pytest.mark.parametrize("name", OTHER_UNITS)
def test_units_make_no_difference(name, loss):
    x, y = OTHER_UNITS[name]
    if loss == "huber":
        y = (y - y.mean()) / y.std() / 100.0  # all in its parabola
    fit = fastbp.fit_neuron(
        x, y, np.zeros(x.shape[1]), 0.0, None, 200, activation="identity", loss=loss,
        optimizer="lbfgs",
    )  # fmt: skip
    z = (x - x.mean(axis=0)) / (x.std(axis=0) + (x == x[0]).all(axis=0))
    least = LinearRegression().fit(z, y).predict(z)
    assert fit.stopped == "tol" and fit.n_epochs < 60
    missing = np.sum((fit.predict(x) - y) ** 2) - np.sum((least - y) ** 2)
    assert missing < 1e-6 * np.sum((y - y.mean()) ** 2)


@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e9])
def test_units_of_weights_make_no_difference_either(unit):
    x, y = OTHER_UNITS["units of all kinds"]
    weight = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    one, other = (
        fastbp.fit_neuron(
            x, y, np.zeros(10), 0.0, None, 200, activation="identity", loss="half_mse",
            optimizer="lbfgs", sample_weight=w,
        )
        for w in (weight, unit * weight)
    )  # fmt: skip
    assert one.n_epochs == other.n_epochs < 60
    np.testing.assert_allclose(one.weights, other.weights, rtol=1e-6)


def test_features_as_they_are_measured_and_a_penalty():
    """Some deviations are 0.003: there the penalty bends the loss more than the feature does."""
    x, y = load_breast_cancer(return_X_y=True)
    fit = fastbp.fit_neuron(
        x, y, np.zeros(30), 0.0, None, 1000, loss="bce", alpha=1.0, optimizer=LBFGS(memory=30)
    )
    theirs = LogisticRegression(solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(x, y)
    assert fit.stopped == "tol" and fit.n_epochs < 400
    np.testing.assert_allclose(fit.weights, theirs.coef_[0], atol=1e-3)


def standardized(rng, d, n_outputs, n_weights):
    return Standardized(rng.normal(size=d), 2.0 ** rng.integers(-3, 4, d), n_weights, n_outputs)


def decorrelated(rng, d, n_outputs, n_weights):
    factor = np.linalg.cholesky(np.cov(rng.normal(size=(d, 20))))
    return Decorrelated(rng.normal(size=d), 2.0 ** rng.integers(-3, 4, d), factor)


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        (standardized, (5, 1)),
        (standardized, (5, 3)),
        (standardized, (5, 4, 2)),
        (decorrelated, (5, 1)),
        (decorrelated, (5, 3)),
    ],
)
def test_variables_and_parameters(kind, sizes):
    """There and back, and their derivatives."""
    rng = np.random.default_rng(0)
    n_weights = sum(a * b for a, b in pairwise(sizes))
    variables = kind(rng, *sizes[:2], n_weights)
    packed = rng.normal(size=n_weights + sum(sizes[1:]))
    found = variables.of_parameters(packed)
    np.testing.assert_allclose(variables.parameters(found), packed, rtol=1e-12, atol=1e-12)
    slopes, numbers = rng.normal(size=packed.size), np.empty(packed.size)
    for i in range(packed.size):
        step = np.zeros(packed.size)
        step[i] = 1.0
        numbers[i] = slopes @ (variables.parameters(found + step) - variables.parameters(found))
    np.testing.assert_allclose(variables.gradient(slopes), numbers, rtol=1e-9, atol=1e-12)


def test_variables_of_features_without_correlations():
    """The hessian of squares is the unit matrix."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4)) * [1.0, 1e3, 1e-3, 1.0] + 5.0
    factor = np.linalg.cholesky(np.corrcoef(x, rowvar=False))
    variables = Decorrelated(x.mean(axis=0), x.std(axis=0), factor)
    design = np.c_[x, np.ones(50)]
    columns = [variables.gradient(design.T @ (design @ variables.parameters(e))) for e in np.eye(5)]
    np.testing.assert_allclose(np.array(columns) / 50, np.eye(5), atol=1e-10)


@pytest.mark.parametrize("scaled", [True, False])
def test_rows_after_the_first_are_read_if_those_are_not_standardized(scaled, monkeypatch):
    x = scale(np.random.default_rng(0).normal(size=(3000, 4)))
    y = (x[:, 0] > 0.5).astype(float)
    seen, computed = [], {name: getattr(slices.Slices, name) for name in ("first_rows", "moments")}
    for name, method in computed.items():

        def noted(self, argument, name=name, method=method):
            seen.append((name, argument) if name == "first_rows" else (name,))
            return method(self, argument)

        monkeypatch.setattr(slices.Slices, name, noted)
    neuron(5, data=(x if scaled else x * 8.0 + 3.0, y))
    first = [("first_rows", SAMPLE_ROWS)]
    assert seen == (first if scaled else [*first, ("moments",)])


# --- the first rows -------------------------------------------------------------------------------


def correlated(n_rows, d=20, seed=0):
    """Columns of which the last ones differ from the first by little."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_rows, d // 2))
    x = np.c_[x, x + 0.1 * rng.normal(size=x.shape)]
    return x, x @ rng.normal(size=d) + rng.normal(size=n_rows)


def of_squares(x, y, epochs=100, **how):
    return fastbp.fit_neuron(
        x, y, np.zeros(x.shape[1]), 0.0, None, epochs, activation="identity", loss="half_mse",
        **{"optimizer": LBFGS(gtol=1e-9), **how},
    )  # fmt: skip


@pytest.mark.parametrize("alpha", [0.0, 100.0])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_squares_take_a_step_or_two_where_the_sample_is_all_rows(alpha, dtype, evaluations):
    x, y = correlated(1000)
    in_float32 = dtype == "float32"
    fit = of_squares(
        x, y, alpha=alpha, dtype=dtype, optimizer=LBFGS(gtol=1e-4 if in_float32 else 1e-9)
    )
    best = Ridge(alpha=alpha, solver="cholesky").fit(x, y)
    np.testing.assert_allclose(fit.weights, best.coef_, atol=1e-3 if in_float32 else 1e-6)
    assert fit.stopped == "tol" and len(evaluations) <= 4


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("labels", ["numbers", "classes"])
def test_correlations_cost_few_iterations(labels, weighted):
    x, y = correlated(20_000)
    weight = np.random.default_rng(1).integers(0, 3, len(y)) * 0.5 if weighted else None
    if labels == "numbers":
        fit = of_squares(x, y, sample_weight=weight)
    else:
        y = (y > 0.0).astype(float)
        fit = neuron(data=(x, y), sample_weight=weight)
    assert fit.stopped == "tol" and fit.n_epochs <= 25


def test_first_rows_that_mislead_cost_no_more_than_iterations():
    """Sorted ones, in which half of the columns never change, and the others are other ones."""
    x, y = correlated(6000)
    x[:2000, 10:] = 0.0
    x[:2000, :10] = x[:2000, :1] + 1e-3 * x[:2000, :10]
    best = LinearRegression().fit(x, y)
    fit = of_squares(x, y, 1000)
    assert fit.stopped == "tol"
    np.testing.assert_allclose(fit.weights, best.coef_, atol=1e-3)
    classes = neuron(1000, data=(x, (y > 0.0).astype(float)))
    assert classes.stopped == "tol"


@pytest.mark.parametrize(("dtype", "size"), [("float64", 1e12), ("float32", 1e5)])
@pytest.mark.parametrize("kind", ["constant", "collinear"])
def test_rounding_of_large_features_does_no_harm(kind, dtype, size):
    """Along a direction in which rows do not differ, a gradient is rounding errors alone."""
    x, y = correlated(300)
    if kind == "constant":
        x[:, 2] = size
    else:
        x = np.c_[x[:, :4], x[:, 0] + x[:, 1], x[:, 2] - x[:, 3]] + size / 1e3
    fit = of_squares(x, y, dtype=dtype)
    best = LinearRegression().fit(x, y).predict(x)
    assert fit.stopped == "tol"
    assert np.mean((fit.predict(x) - y) ** 2) < 1.01 * np.mean((best - y) ** 2)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("size", [1e200, 1e-158, 1e-250])
def test_features_whose_squares_are_no_numbers(size, alpha):
    """They are as they were without variables; the others are fitted."""
    x, y = correlated(300)
    extreme = size * np.random.default_rng(1).normal(size=(300, 1))
    fit = of_squares(np.c_[x, extreme], y, alpha=alpha)
    assert np.isfinite(fit.weights).all()
    if size < 1.0:
        best = Ridge(alpha=alpha, solver="cholesky").fit(x, y).predict(x)
        outputs = fit.predict(np.c_[x, extreme])
        assert np.mean((outputs - y) ** 2) < 1.001 * np.mean((best - y) ** 2)


@pytest.mark.parametrize("first", ["sorted", "larger"])
def test_first_rows_in_other_places_cost_few_iterations(first):
    x, y = correlated(20_000)
    if first == "sorted":
        x = x[np.argsort(x[:, 0])]
    else:
        x[:1024] *= 100.0
    assert of_squares(x, x @ np.arange(20.0) + y).n_epochs <= 50


def test_sources_that_cut_blocks_elsewhere_change_no_bit(monkeypatch):
    x, y = correlated(20_000)
    weight, found = np.random.default_rng(1).uniform(size=len(y)), set()
    for size in (2**22, 2**16, 99_999):
        monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", size)
        fit = of_squares(8.0 * x + 3.0, y, sample_weight=weight, alpha=1e5)
        found.add((fit.weights.tobytes(), fit.bias))
    assert len(found) == 1


@pytest.mark.parametrize("unit", [1e-150, 1e76, 1e140])
def test_labels_near_the_ends_of_the_range(unit):
    x, y = correlated(1000)
    fit = of_squares(x, y * unit)
    np.testing.assert_allclose(fit.weights, LinearRegression().fit(x, y).coef_ * unit, rtol=1e-5)


def test_first_rows_without_weight():
    x, y = correlated(3000)
    fit = of_squares(x, y, sample_weight=np.arange(3000) >= SAMPLE_ROWS)
    best = LinearRegression().fit(x[SAMPLE_ROWS:], y[SAMPLE_ROWS:])
    np.testing.assert_allclose(fit.weights, best.coef_, atol=1e-5)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("signal", [0.1, 10.0])
def test_the_first_step_is_as_long_as_it_should_be(signal, size, evaluations):
    """The loss would fall by next to nothing if it were shorter or longer."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, 3))
    y = (x @ [signal, signal, 0.0] + rng.logistic(size=5000) > 0.0).astype(float)
    neuron(1, data=(x * size, y), alpha=0.0)
    step = evaluations[1]
    shape = x * size, y, np.ones(5000), 0.0
    at = {times: logistic(step * times, *shape)[0] for times in (0.0, 0.8, 1.0, 1.25)}
    assert at[1.0] < at[0.8] + 0.02 * (at[0.0] - at[1.0])
    assert at[1.0] < at[1.25] + 0.02 * (at[0.0] - at[1.0])


def test_the_first_step_where_there_is_nothing_to_gain():
    x = scale(np.random.default_rng(0).normal(size=(100, 2)))
    fit = of_squares(x, np.zeros(100))
    assert (fit.stopped, fit.n_epochs) == ("tol", 0)
