"""What the command saves, used in Python."""

import re

import numpy as np
import pandas as pd
import pytest

import fastbp
from fastbp.models.table_model import TableModel

X = np.random.default_rng(0).normal(size=(40, 2))


def model(activation="sigmoid", loss="bce", classes=(0, 1), **others):
    """Return a neuron of a table with the columns a and b."""
    labels = (X[:, 0] > 0).astype(float)
    fit = fastbp.fit_neuron(X, labels, [0.0, 0.0], 0.0, 0.5, 20, activation=activation, loss=loss)
    known = None if classes is None else list(classes)
    return TableModel(fit, ["a", "b"], "y", np.zeros(2), np.ones(2), known, **others)


@pytest.mark.parametrize(
    ("classes", "kind"),
    [(["no", "yes"], "U"), ([False, True], "b"), ([3, 7], "i"), ([0.5, 1.5], "f")],
)
def test_probabilities_and_labels_are_arrays(classes, kind):
    found = model(classes=classes)
    probabilities = found.predict_proba(X)
    assert probabilities.shape == (40, 2)
    np.testing.assert_array_equal(probabilities[:, 1], found.fit.predict(X))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-15)
    labels = found.predict(X)
    assert isinstance(labels, np.ndarray) and labels.dtype.kind == kind
    assert labels.tolist() == [classes[i] for i in (found.fit.predict(X) >= 0.5).astype(int)]


def test_probabilities_of_several_classes():
    start = fastbp.initialize_network([2, 3], activations=["softmax"], random_state=0)
    fit = fastbp.fit_network(
        X, np.arange(40) % 3, *start, 0.1, 2, activations=["softmax"], loss="cross_entropy"
    )
    found = TableModel(fit, ["a", "b"], "y", np.zeros(2), np.ones(2), ["r", "g", "b"])
    np.testing.assert_array_equal(found.predict_proba(X), fit.predict(X))
    assert found.predict(X).shape == (40,)


def test_numbers_are_in_the_units_of_the_target(tmp_path):
    found = model("identity", "mse", None, target_mean=100.0, target_scale=20.0)
    np.testing.assert_array_equal(found.predict(X), found.fit.predict(X) * 20.0 + 100.0)
    with pytest.raises(TypeError, match="predict_proba: expected a model of classes"):
        found.predict_proba(X)
    fastbp.save(found, tmp_path / "m")
    np.testing.assert_array_equal(fastbp.load(tmp_path / "m").predict(X), found.predict(X))


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_a_scale_that_no_target_has_is_refused(tmp_path, scale):
    fastbp.save(model("identity", "mse", None, target_scale=scale), tmp_path / "m")
    with pytest.raises(
        fastbp.CheckpointError, match=f"target_scale: expected a number above 0, got {scale}"
    ):
        fastbp.load(tmp_path / "m")


def test_a_tiny_unit_of_the_target_in_float32(tmp_path):
    fit = fastbp.fit_neuron(
        X, X[:, 0], [0.0, 0.0], 0.0, 0.5, 20, activation="identity", dtype="float32"
    )
    found = TableModel(fit, ["a", "b"], "y", np.zeros(2), np.ones(2), None, target_scale=1e-60)
    np.testing.assert_allclose(found.predict(X), fit.predict(X).astype(float) * 1e-60, rtol=1e-7)


@pytest.mark.parametrize("classes", [[0, 1], None])
def test_the_repr_holds_no_array(classes):
    text = repr(model(classes=classes))
    assert "NeuronFit" in text and "'y'" in text and "2 columns" in text
    assert "array" not in text and len(text) < 120


@pytest.mark.parametrize(("dtype", "value"), [("float64", 1e300), ("float32", 1e32)])
@pytest.mark.parametrize("kind", ["array", "frame", "file"])
def test_what_is_too_large_is_named(tmp_path, monkeypatch, dtype, value, kind):
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 160)  # ten rows
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 0)
    fit = fastbp.fit_neuron(X, X[:, 0], [0.0, 0.0], 0.0, 0.5, 2, activation="identity", dtype=dtype)
    found = TableModel(fit, ["a", "b"], "y", np.zeros(2), np.array([1.0, 1e-10]), None)
    x = X.copy()
    x[25, 1] = value
    np.save(tmp_path / "x.npy", x)
    table, name = {
        "array": (x, "table"),
        "frame": (pd.DataFrame(x, columns=["a", "b"])[["b", "a"]], "table"),
        "file": (fastbp.open_rows(tmp_path / "x.npy"), r".*x\.npy"),
    }[kind]
    message = rf"^{name}: expected numbers that {dtype} can hold once they are standardized, got {re.escape(str(value))} in row 25, column 'b'$"
    with pytest.raises(fastbp.DataError, match=message) as error:
        found.predict(table)
    assert (error.value.row, error.value.column) == (25, "b")
    x[25, 1] = np.nan
    with pytest.raises(
        fastbp.DataError, match=r"^table: expected finite numbers, got nan in row 25, column 'b'$"
    ):
        found.predict(x)


@pytest.mark.parametrize("width", [1, 3])
def test_an_array_of_another_width_is_refused(width):
    with pytest.raises(ValueError, match=f"^table: expected 2 columns of features, got {width}$"):
        model().predict(np.ones((5, width)))
