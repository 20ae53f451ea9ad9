"""Arithmetic in float32: what it gives, from whatever rows, and what it refuses."""

import warnings

import numpy as np
import pytest

import fastbp
from fastbp import Adam, fit_network, fit_neuron, loss_and_gradient, predict_network, predict_neuron
from fastbp.arguments import FLOAT32, FLOAT64
from fastbp.data import checks
from fastbp.data.arrays import rows_of
from fastbp.models import network_prediction, neuron_prediction
from fastbp.models.activations import ACTIVATIONS
from fastbp.models.layers import Layers, codes_of
from fastbp.models.neuron import NeuronFit
from fastbp.models.table_model import TableModel
from fastbp.system import archive
from tests.problems import network_bits

NAMES = ["tanh", "sigmoid"]
TOO_LARGE = 3.5e38  # for float32, not for float64
ONE_FIT = 2e-6
"""Absolute, of parameters about 1 after some updates: float32's rounding, 6e-8, some ten times."""


def problem(n=300, d=5, seed=0):
    """Rows, labels, and a start of a neuron and of a network: of numbers that float32 has."""
    rng = np.random.default_rng([seed, n, d])
    x = rng.normal(size=(n, d)).astype(FLOAT32).astype(float)
    y = (x @ rng.normal(size=d) > 0).astype(float)
    w = rng.normal(size=d).astype(FLOAT32).astype(float)
    start = fastbp.initialize_network([d, 6, 1], activations=NAMES, random_state=seed)
    layers = tuple([a.astype(FLOAT32).astype(float) for a in part] for part in start)
    return x, y, w, layers


def neuron(x, y, w, _, **keywords):
    keywords = {"loss": "bce", "dtype": "float32", **keywords}
    return fit_neuron(x, y, w, 0.25, 0.1, keywords.pop("epochs", 3), **keywords)


def network(x, y, _, layers, **keywords):
    keywords = {"loss": "bce", "dtype": "float32", "activations": NAMES, **keywords}
    return fit_network(x, y, *layers, 0.1, keywords.pop("epochs", 3), **keywords)


def parameters(fit):
    """The parameters of either kind, as one list of arrays."""
    if isinstance(fit, NeuronFit):
        return [fit.weights, np.array([fit.bias])]
    return [*fit.weights, *fit.biases]


def bits(fit):
    return b"".join(array.tobytes() for array in (*parameters(fit), fit.losses))


both = pytest.mark.parametrize("fit", [neuron, network])
CHOICES = [
    {},
    {"batch_size": 64},
    {"batch_size": 1},
    {"batch_size": 64, "shuffle": True, "random_state": 1, "alpha": 0.1},
    {"batch_size": 50, "shuffle": "window", "random_state": 1, "optimizer": "adam"},
]


# --- what it gives ---------------------------------------------------------------------------


@both
@pytest.mark.parametrize("keywords", CHOICES, ids=str)
def test_it_is_float64s_fit_to_roundings(fit, keywords):
    given = problem()
    ours, expected = fit(*given, **keywords), fit(*given, dtype="float64", **keywords)
    assert ours.losses.dtype == np.float64
    np.testing.assert_allclose(ours.losses, expected.losses, rtol=ONE_FIT)
    exact = True
    for a, b in zip(parameters(ours), parameters(expected), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=10 * ONE_FIT)
        exact &= np.array_equal(a, b)
    assert not exact


@pytest.mark.parametrize(("activation", "loss"), [
    ("sigmoid", "bce"), ("sigmoid", "mse"), ("tanh", "half_mse"), ("relu", "mse"),
    ("identity", "huber"), ("softplus", "huber"),
])  # fmt: skip
@pytest.mark.parametrize("d", [1, 2, 5, 40])
def test_every_formula_of_a_neuron(activation, loss, d):
    given = problem(d=d)
    ours, expected = (
        neuron(*given, activation=activation, loss=loss, epochs=1, dtype=dtype)
        for dtype in ("float32", "float64")
    )
    np.testing.assert_allclose(ours.losses, expected.losses, rtol=10 * ONE_FIT)
    np.testing.assert_allclose(ours.weights, expected.weights, atol=10 * ONE_FIT)


@both
def test_dtypes(fit):
    ours = fit(*problem(), optimizer=Adam())
    arrays = [ours.weights] if fit is neuron else parameters(ours)
    assert {a.dtype for a in arrays} == {FLOAT32}
    if fit is neuron:
        assert type(ours.bias) is float and ours.bias == np.float32(ours.bias)
    assert ours.state.moments.dtype == ours.state.epoch_start.dtype == FLOAT32
    assert ours.state.partial_sums.dtype == ours.losses.dtype == np.float64
    assert ours.predict(problem()[0]).dtype == FLOAT32


@pytest.mark.parametrize("name", ["float32", np.float32, FLOAT32, np.str_("float32")], ids=repr)
def test_the_names_of_a_dtype(name):
    x, y, w, layers = problem()
    assert neuron(x, y, w, layers, dtype=name).weights.dtype == FLOAT32
    assert (
        fastbp.initialize_network([2, 1], activations=["relu"], dtype=name)[0][0].dtype == FLOAT32
    )


@pytest.mark.parametrize("value", ["float16", "f4", np.float16, np.dtype(int), np.dtype(">f4"), ""])
def test_other_dtypes_are_refused(value):
    x, y, w, layers = problem()
    calls = [
        lambda: neuron(x, y, w, layers, dtype=value),
        lambda: network(x, y, w, layers, dtype=value),
        lambda: predict_neuron(x, w, 0.0, dtype=value),
        lambda: predict_network(x, *layers, activations=NAMES, dtype=value),
        lambda: loss_and_gradient(x, y, *layers, activations=NAMES, dtype=value),
        lambda: fastbp.initialize_network([2, 1], activations=["relu"], dtype=value),
        lambda: fastbp.warmup("predict_neuron", dtype=value),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"^dtype: expected 'float64' or 'float32', got "):
            call()


@pytest.mark.parametrize("value", [None, 32, ["float32"], np.ones(2)], ids=repr)
def test_what_is_no_dtype(value):
    with pytest.raises(TypeError, match=r"^dtype: expected 'float64' or 'float32', got "):
        neuron(*problem(), dtype=value)


# --- the same bits ---------------------------------------------------------------------------


def layouts(x):
    return {
        "float32": x.astype(FLOAT32),
        "list": x.tolist(),
        "Fortran": np.asfortranarray(x.astype(FLOAT32)),
        "every other": np.repeat(x.astype(FLOAT32), 2, axis=0)[::2],
        "part of wider rows": np.column_stack([x, x]).astype(FLOAT32)[:, : x.shape[1]],
        "read-only": np.broadcast_to(x.astype(FLOAT32)[None], (1, *x.shape))[0],
        "swapped": x.astype(">f4"),
    }


@both
@pytest.mark.parametrize("keywords", CHOICES, ids=str)
def test_every_layout_and_dtype_of_the_rows(fit, keywords):
    x, y, w, layers = problem()
    expected = bits(fit(x, y, w, layers, **keywords))
    for name, array in layouts(x).items():
        assert bits(fit(array, y, w, layers, **keywords)) == expected, name
    small = np.round(x * 9.0)
    expected = bits(fit(small, y, w, layers, **keywords))
    for dtype in (np.int8, np.int64, np.float16):
        assert bits(fit(small.astype(dtype), y, w, layers, **keywords)) == expected, dtype


def test_float32_rows_are_read_in_place():
    for n in (1, 100, 2**14):
        array = np.ones((n, 1), FLOAT32)
        assert np.shares_memory(rows_of("x", array, FLOAT32).in_memory.features, array)
        assert rows_of("x", array.astype(np.float16), FLOAT32).in_memory.features.dtype == float


@both
def test_the_start_is_rounded(fit):
    x, y, w, layers = problem()
    w, layers = w + 1e-10, tuple([a + 1e-10 for a in part] for part in layers)
    rounded = w.astype(FLOAT32), tuple([a.astype(FLOAT32) for a in part] for part in layers)
    assert bits(fit(x, y, w, layers)) == bits(fit(x, y, *rounded))
    assert [a.dtype for a in layers[0]] == [float, float]  # the caller's are as they were


@both
@pytest.mark.parametrize("keywords", [*CHOICES, {"sample_weight": True}], ids=str)
def test_any_number_of_threads(fit, keywords):
    given = problem(20_000, 30)
    if "sample_weight" in keywords:
        keywords = {"sample_weight": np.random.default_rng(0).random(20_000)}
    expected = bits(fit(*given, n_threads=1, **keywords))
    x32 = given[0].astype(FLOAT32)
    for n_threads in (2, 3, 5):
        assert bits(fit(*given, n_threads=n_threads, **keywords)) == expected
        assert bits(fit(x32, *given[1:], n_threads=n_threads, **keywords)) == expected


@both
@pytest.mark.parametrize("keywords", [CHOICES[0], CHOICES[1], CHOICES[4]], ids=str)
def test_every_source(fit, keywords, tmp_path, monkeypatch):
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 2**12)
    x, y, *start = problem(400)
    expected = bits(fit(x, y, *start, **keywords))
    np.save(tmp_path / "x.npy", x.astype(FLOAT32))
    np.save(tmp_path / "xy.npy", np.column_stack([x, y]).astype(FLOAT32))
    lines = [",".join(map(repr, row)) for row in np.column_stack([x, y]).tolist()]
    (tmp_path / "xy.csv").write_text("\n".join(["a,b,c,d,e,y", *lines]))
    for whole_bytes in (2**26, 0):  # in memory; mapped, or read by blocks
        monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", whole_bytes)
        sources = [
            (fastbp.open_rows(tmp_path / "x.npy"), y),
            (fastbp.open_rows(tmp_path / "xy.npy", target=5), None),
            (fastbp.open_rows(tmp_path / "xy.csv", target="y"), None),
            (fastbp.open_rows(lambda: iter([x[:170].astype(FLOAT32), x[170:]])), y),
            (x.astype(FLOAT32), y),
            (np.asfortranarray(x.astype(FLOAT32)), y),
        ]
        for rows, labels in sources:
            assert bits(fit(rows, labels, *start, **keywords)) == expected, rows
            if whole_bytes == 0 and labels is None and keywords:
                assert bits(fit(rows, labels, *start, n_threads=3, **keywords)) == expected


@both
def test_validation_is_in_the_same_dtype(fit):
    x, y, *start = problem()
    ours = fit(x, y, *start, validation=(x, y), epochs=4)
    # The loss after an epoch is the one before the next.
    np.testing.assert_array_equal(ours.validation_losses[:-1], ours.losses[1:])
    x32 = x.astype(FLOAT32)
    again = fit(x32, y, *start, validation=(x32, y), epochs=4)
    np.testing.assert_array_equal(ours.validation_losses, again.validation_losses)


# --- predictions, gradients, starts ----------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3, 100, 5000, 300_000])
def test_predictions_of_a_neuron(n):
    x, _, w, _ = problem(n)
    expected = predict_neuron(x.tolist() if n < 9999 else x, w.tolist(), 0.25, dtype="float32")
    assert expected.dtype == FLOAT32
    np.testing.assert_allclose(expected, predict_neuron(x, w, 0.25), atol=ONE_FIT)
    for rows in (x, x.astype(FLOAT32), np.asfortranarray(x)):
        for weights in (w, w.astype(FLOAT32)):
            np.testing.assert_array_equal(
                predict_neuron(rows, weights, 0.25, dtype=FLOAT32), expected, strict=True
            )
    if n < 9999:
        code = ACTIVATIONS["sigmoid"].code
        directly = neuron_prediction.predicted_by_neuron_directly
        for rows in (x, x.astype(FLOAT32)) if n < 5000 else ():
            found = directly(rows, w.astype(FLOAT32), 0.25, code, FLOAT32)
            np.testing.assert_array_equal(found, expected, strict=True)
        assert directly(x.astype(FLOAT32), w, 0.25, code) is None


@pytest.mark.parametrize("hidden", [6, 200])  # few parameters are copied, many recognized
@pytest.mark.parametrize("n", [1, 3, 50, 50_000])
def test_predictions_of_a_network(n, hidden):
    x, *_ = problem(n)
    how = {"activations": NAMES, "dtype": "float32"}
    layers = fastbp.initialize_network([5, hidden, 2], **how, random_state=0)
    exact = [[a.astype(float) for a in part] for part in layers]
    expected = predict_network(x.tolist() if n < 9999 else x, *exact, **how)
    assert expected.dtype == FLOAT32 and expected.shape == (n, 2)
    np.testing.assert_allclose(
        expected, predict_network(x, *exact, activations=NAMES), atol=10 * ONE_FIT
    )
    for rows in (x, x.astype(FLOAT32), np.asfortranarray(x)):
        for start in (layers, exact, layers, [[a.tolist() for a in part] for part in layers]):
            found = predict_network(rows, *start, **how)
            np.testing.assert_array_equal(found, expected, strict=True)
    # The same arrays in the other dtype, remembered or not.
    doubles = predict_network(x, *layers, activations=NAMES)
    np.testing.assert_array_equal(
        doubles, predict_network(x, *exact, activations=NAMES), strict=True
    )


def test_many_parameters_are_not_copied(monkeypatch):
    how = {"activations": NAMES, "dtype": "float32"}
    layers = fastbp.initialize_network([5, 200, 1], **how, random_state=0)
    x = problem()[0].astype(FLOAT32)
    network_prediction._known.clear()
    monkeypatch.setattr("fastbp.models.layers.flat_vector", None)
    first = network_prediction.predicted_directly(x[:2], *layers, codes_of(tuple(NAMES)), FLOAT32)
    assert len(network_prediction._known) == 1
    again = predict_network(x[:2], *layers, **how)
    np.testing.assert_array_equal(first, again, strict=True)
    whole = Layers((5, 200, 1), codes_of(tuple(NAMES)), 0).whole(*layers, dtype=FLOAT32)
    assert whole is layers[0][0].base


@both
def test_a_fit_predicts_in_its_own_dtype(fit):
    x, y, *start = problem()
    fitted = fit(x, y, *start)
    if fit is neuron:
        expected = predict_neuron(x, fitted.weights, fitted.bias, dtype="float32")
    else:
        expected = predict_network(x, *list(fitted)[:2], activations=NAMES, dtype="float32")
    np.testing.assert_array_equal(fitted.predict(x), expected, strict=True)
    np.testing.assert_array_equal(fitted.predict(x.astype(FLOAT32)[:3]), expected[:3], strict=True)
    assert fit(x, y, *start, dtype="float64").predict(x.astype(FLOAT32)).dtype == np.float64


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_the_gradient(alpha):
    x, y, _, layers = problem()
    how = {"activations": NAMES, "loss": "bce", "alpha": alpha}
    ours = loss_and_gradient(x, y, *layers, **how, dtype="float32")
    expected = loss_and_gradient(x, y, *layers, **how)
    assert type(ours[0]) is float and abs(ours[0] - expected[0]) < ONE_FIT
    for a, b in zip([*ours[1], *ours[2]], [*expected[1], *expected[2]], strict=True):
        assert a.dtype == FLOAT32
        np.testing.assert_allclose(a, b, atol=ONE_FIT)
    rounded = [[a.astype(FLOAT32) for a in part] for part in layers]
    again = loss_and_gradient(x.astype(FLOAT32), y, *rounded, **how, dtype="float32")
    assert again[0] == ours[0]
    for a, b in zip([*ours[1], *ours[2]], [*again[1], *again[2]], strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize("scheme", ["glorot_uniform", "he_normal", "zeros"])
def test_a_start_is_drawn_as_that_of_float64(scheme):
    how = {"activations": NAMES, "scheme": scheme}
    random = np.random.default_rng(1), np.random.default_rng(1)
    ours = fastbp.initialize_network([5, 7, 1], **how, random_state=random[0], dtype="float32")
    expected = fastbp.initialize_network([5, 7, 1], **how, random_state=random[1])
    assert random[0].random() == random[1].random()
    for a, b in zip([*ours[0], *ours[1]], [*expected[0], *expected[1]], strict=True):
        np.testing.assert_array_equal(a, b.astype(FLOAT32), strict=True)


def test_objects_stay_in_float64(tmp_path):
    x, y, *_ = problem()
    unit = fastbp.Neuron(5, random_state=0).fit(x, y, epochs=2, dtype="float32")
    stack = fastbp.Perceptron([fastbp.Layer(5, 2), fastbp.Layer(2, 1)])
    stack.fit(x, y, epochs=2, dtype="float32")
    for model in (unit, stack):
        arrays, _ = model.to_stored()
        assert {a.dtype for a in arrays.values()} == {np.dtype(float)}
        assert model.predict(x).dtype == np.float64
        fastbp.save(model, tmp_path / "m")
        np.testing.assert_array_equal(fastbp.load(tmp_path / "m").predict(x), model.predict(x))


# --- files -----------------------------------------------------------------------------------


@both
def test_it_is_saved_in_its_dtype(fit, tmp_path):
    x, y, *start = problem()
    fitted = fit(x, y, *start, optimizer="adam", validation=0.2)
    fastbp.save(fitted, tmp_path / "m")
    again = fastbp.load(tmp_path / "m")
    assert bits(again) == bits(fitted)
    for ours, theirs in zip(parameters(again), parameters(fitted), strict=True):
        assert ours.dtype == theirs.dtype
    assert again.state.moments.dtype == FLOAT32
    np.testing.assert_array_equal(again.predict(x), fitted.predict(x), strict=True)


@both
@pytest.mark.parametrize("with_state", [True, False])
def test_a_file_of_several_dtypes(fit, with_state, tmp_path):
    fitted = fit(*problem(), optimizer="adam")
    fitted.state = fitted.state if with_state else None
    arrays, fields = fitted.to_stored()
    for name in arrays:
        for dtype in (np.float64, np.float32, np.float16):
            if arrays[name].dtype == dtype:
                continue
            changed = {**arrays, name: arrays[name].astype(dtype)}
            archive.write(tmp_path / "m", type(fitted).__name__, (changed, fields))
            with pytest.raises(fastbp.CheckpointError):
                fastbp.load(tmp_path / "m")


@both
def test_a_file_with_another_fits_state(fit, tmp_path):
    ours, other = (fit(*problem(), dtype=dtype) for dtype in ("float32", "float64"))
    ours.state = other.state
    fastbp.save(ours, tmp_path / "m")
    with pytest.raises(
        fastbp.CheckpointError, match="state: expected that of a fit in float32, got"
    ):
        fastbp.load(tmp_path / "m")


def test_a_table_model(tmp_path):
    x, y, *start = problem()
    fitted = network(x, y, *start)
    about = {"columns": list("abcde"), "target": "y", "means": np.zeros(5), "scales": np.ones(5)}
    model = TableModel(fitted, **about, classes=[0, 1])
    fastbp.save(model, tmp_path / "m")
    again = fastbp.load(tmp_path / "m")
    np.testing.assert_array_equal(again.outputs(x), fitted.predict(x)[:, 0].astype(float))
    # In the target's units: its digits are not those of float32.
    shifted = TableModel(fitted, **about, classes=None, target_mean=1e9)
    np.testing.assert_array_equal(shifted.predict(x), fitted.predict(x)[:, 0].astype(float) + 1e9)


# --- what is refused -------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    "keywords", [*CHOICES, {"epochs": 0}, {"n_threads": 2}, {"validation": True}], ids=str
)
def test_a_number_too_large_for_float32(fit, keywords):
    x, y, *start = problem()
    x[[211, 77], [3, 1]] = TOO_LARGE, -TOO_LARGE
    expected = "expected finite numbers, got -3.5e.38, too large for float32, in row 77, column 1"
    rows, name = x, "features"
    if "validation" in keywords:
        keywords, name = {"validation": (x, y)}, r"validation\[0\]"
        rows = problem()[0]
    with pytest.raises(fastbp.DataError, match=f"^{name}: {expected}$") as caught:
        fit(rows, y, *start, **keywords)
    assert caught.value.row == 77
    if not keywords:
        limit = np.finfo(FLOAT32).max
        fit_neuron(np.full((4, 1), limit), np.zeros(4), [0.0], 0.0, 0.0, 1, dtype="float32")


@both
def test_rows_that_are_not_finite(fit):
    x, y, *start = problem()
    x[7, 2] = np.nan
    for rows in (x, x.astype(FLOAT32)):
        with pytest.raises(fastbp.DataError, match=r"got nan in row 7, column 2$"):
            fit(rows, y, *start)


def test_the_largest_numbers():
    least = 2.0**128 - 2.0**103  # half a unit beyond the largest
    around = np.array(
        [np.nextafter(least, 0.0), least, np.nextafter(least, np.inf), np.inf, np.nan]
    )
    with np.errstate(over="ignore"):
        expected = np.isfinite(around.astype(FLOAT32))
    np.testing.assert_array_equal(expected, [True, False, False, False, False])
    for sign in (1.0, -1.0):
        np.testing.assert_array_equal(checks.finite_in(FLOAT32, sign * around), expected)
        np.testing.assert_array_equal(
            checks.finite_in(FLOAT64, sign * around), [True] * 3 + [False] * 2
        )


def test_predictions_of_numbers_too_large():
    x, _, w, layers = problem()
    x[77, 1] = TOO_LARGE
    expected = "^features: expected finite numbers, got 3.5e.38, too large for float32, in row 77,"
    for n in (1, 300):
        rows, at = (x[77:78], "row 0") if n == 1 else (x, "row 77")
        with pytest.raises(fastbp.DataError, match=expected.replace("row 77", at)):
            predict_neuron(rows, w, 0.0, dtype="float32")
        with pytest.raises(fastbp.DataError, match=expected.replace("row 77", at)):
            predict_network(rows, *layers, activations=NAMES, dtype="float32")
        assert np.isfinite(predict_neuron(rows, w * 0.0, 0.0)).all()


@pytest.mark.parametrize("value", [TOO_LARGE, np.nan])
def test_starts_that_are_not_finite(value):
    x, y, w, (weights, biases) = problem()
    got = r"3.5e.38, too large for float32" if value == TOO_LARGE else "nan"
    bad = w.copy()
    bad[3] = value
    with pytest.raises(
        ValueError, match=f"^initial_weights: expected finite numbers, got {got},? at 3"
    ):
        fit_neuron(x, y, bad, 0.0, 0.1, 1, dtype="float32")
    with pytest.raises(ValueError, match=f"^initial_bias: expected a finite number, got {got}$"):
        fit_neuron(x, y, w, value, 0.1, 1, dtype="float32")
    for rows in (x, x[:1]):
        with pytest.raises(
            ValueError, match=f"^weights: expected finite numbers, got {got},? at 3"
        ):
            predict_neuron(rows, bad, 0.0, dtype="float32")
        with pytest.raises(ValueError, match=f"^bias: expected a finite number, got {got}$"):
            predict_neuron(rows, w.astype(FLOAT32), value, dtype="float32")
    bad = [weights[0], weights[1].copy()]
    bad[1][2, 0] = value
    where = rf"weights\[1\]: expected finite numbers, got {got},? at \(2, 0\)"
    with pytest.raises(ValueError, match=f"^initial_{where}"):
        fit_network(x, y, bad, biases, 0.1, 1, activations=NAMES, dtype="float32")
    with pytest.raises(ValueError, match=f"^{where}"):
        loss_and_gradient(x, y, bad, biases, activations=NAMES, dtype="float32")
    for rows in (x, x[:1]):
        with pytest.raises(ValueError, match=f"^{where}"):
            predict_network(rows, bad, biases, activations=NAMES, dtype="float32")


@both
def test_labels_and_weights_too_large(fit, tmp_path):
    x, y, *start = problem()
    how = {"loss": "mse"} if fit is neuron else {"loss": "mse", "activations": ["relu", "identity"]}
    y[5] = TOO_LARGE
    with pytest.raises(
        fastbp.DataError, match=r"^labels: .*got 3.5e.38, too large for float32, in row 5$"
    ):
        fit(x, y, *start, **how)
    np.save(tmp_path / "xy.npy", np.column_stack([x, y]))
    with pytest.raises(fastbp.DataError, match=r"too large for float32, in row 5$"):
        fit(fastbp.open_rows(tmp_path / "xy.npy", target=5), None, *start, **how)
    y[5] = 0.0
    for weight in (1e-40, 1e30):
        with pytest.raises(
            fastbp.DataError,
            match=r"^sample_weight: expected 0, or a weight from 1.2e-38 to 1.8e.19",
        ):
            fit(x, y, *start, sample_weight=np.where(y > 0, 1.0, weight), **how)


@both
def test_what_overflows_diverges(fit):
    x, y, *start = problem()
    how = {"loss": "mse"} if fit is neuron else {"loss": "mse", "activations": ["relu", "identity"]}
    how = {**how, "activation": "identity"} if fit is neuron else how
    with pytest.raises(fastbp.DivergenceError) as caught:
        fit(1e25 * x, y, *start, **how, epochs=4)
    assert caught.value.epoch == 0
    assert {np.asarray(a).dtype for a in caught.value.weights} <= {FLOAT32}


def test_no_warning_of_numpys():
    x, y, w, layers = problem()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny = [[a * 1e-300 for a in part] for part in layers]  # they become 0
        assert network_bits(network(x, y, w, tiny)) == network_bits(
            network(x, y, w, [[a * 0.0 for a in part] for part in layers])
        )
