"""What is no number to any estimator, whatever it comes in: dates, durations, signaling NaN."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")
pd = pytest.importorskip("pandas", reason="tables of dates")

import fastbp  # noqa: E402
from fastbp.estimators.base import NOT_NEGATIVE, POSITIVE, Number  # noqa: E402
from tests.estimators.every_kind import KINDS, made  # noqa: E402

N = 20
X = np.random.default_rng(0).normal(size=(N, 2))
Y = (X[:, 0] > 0) * 1.0
DATES = np.datetime64("2020-01-01") + np.arange(N).astype("m8[D]")
SPANS = np.arange(N).astype("m8[s]")


def table(column):
    return pd.DataFrame({"a": X[:, 0], "when": column})


FEATURES = {
    "dates": np.column_stack([DATES, DATES]),
    "durations": np.column_stack([SPANS, SPANS]),
    "NaT": np.full((N, 2), "NaT", "M8[s]"),
    "objects": np.array([[1.0, np.timedelta64(3, "s")]] * N, dtype=object),
    "dates among objects": np.array([[1.0, np.datetime64("2020-01-01")]] * N, dtype=object),
    "NaT among objects": np.array([[1.0, pd.NaT]] * N, dtype=object),
    "lists": np.column_stack([DATES, DATES]).tolist(),
    "table of dates": table(pd.to_datetime(DATES)),
    "table of dates only": table(pd.to_datetime(DATES))[["when", "when"]].set_axis(["a", "when"], axis=1),
    "table of zoned dates": table(pd.to_datetime(DATES).tz_localize("UTC")),
    "table of durations": table(pd.to_timedelta(SPANS)),
    "table of missing dates": table([pd.NaT] * N),
}  # fmt: skip
LABELS = {
    "dates": DATES,
    "durations": SPANS,
    "NaT": np.full(N, "NaT", "m8[s]"),
    "list": list(DATES),
    "objects": np.array([np.timedelta64(i % 2, "s") for i in range(N)], dtype=object),
    "NaT among objects": np.array([1.0, pd.NaT] * (N // 2), dtype=object),
    "series": pd.Series(DATES),
    "periods": pd.Series(pd.period_range("2020-01", periods=N, freq="M")),
    "zoned series": pd.Series(pd.to_datetime(DATES).tz_localize("UTC")),
}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def with_arrow(values, make):
    """The values, and one more of a library that may be missing."""
    pa = pytest.importorskip("pyarrow", reason="tables of Arrow")
    return {**values, "arrow": make(pa)}


@pytest.mark.parametrize("kind", KINDS)
def test_features(kind):
    fitted = made(kind).fit(X, Y)
    days = DATES.astype("M8[ms]")
    everything = with_arrow(FEATURES, lambda pa: pa.table({"a": X[:, 0], "when": days}))
    for features in everything.values():
        for call in (made(kind).fit, fitted.partial_fit):
            with pytest.raises(TypeError, match="X: expected real numbers, got "):
                call(features, Y)
        with pytest.raises(TypeError, match="X: expected real numbers, got "):
            fitted.predict(features)
    with pytest.raises(
        TypeError, match=r"X: expected real numbers, got datetime.* in column 'when'"
    ):
        fitted.predict(FEATURES["table of dates"])


@pytest.mark.parametrize("kind", KINDS)
def test_labels(kind):
    fitted = made(kind).fit(X, Y)
    for labels in with_arrow(LABELS, lambda pa: pa.array(DATES.astype("M8[ms]"))).values():
        for call in (made(kind).fit, fitted.partial_fit, fitted.score):
            with pytest.raises(TypeError, match="y: expected real numbers, got "):
                call(X, labels)
        if kind.startswith("MLP"):
            with pytest.raises(TypeError, match="y_val: expected real numbers, got "):
                made(kind).fit(X, Y, X_val=X, y_val=labels)
    with pytest.raises(TypeError, match="sample_weight: expected real numbers, got durations"):
        made(kind).fit(X, Y, sample_weight=SPANS)
    rows = fastbp.open_rows(X)
    if kind.startswith("Neuron"):
        with pytest.raises(TypeError, match="y: expected real numbers, got durations"):
            made(kind).fit(rows, SPANS)


def test_given_validation_features():
    with pytest.raises(TypeError, match="X_val: expected real numbers, got dates"):
        made("MLPRegressor").fit(X, Y, X_val=FEATURES["dates"], y_val=Y)


@pytest.mark.parametrize("value", FEATURES.values(), ids=FEATURES)
def test_the_array_interface(value):
    with pytest.raises(TypeError, match="features: "):
        fastbp.fit_neuron(value, Y, [0.0, 0.0], 0.0, 0.1, 1)
    with pytest.raises(TypeError, match="features: "):
        fastbp.predict_neuron(value, [0.0, 0.0], 0.0)


@pytest.mark.parametrize("value", LABELS.values(), ids=LABELS)
def test_labels_of_the_array_interface(value):
    with pytest.raises(TypeError, match="labels: "):
        fastbp.fit_neuron(X, value, [0.0, 0.0], 0.0, 0.1, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_that_float64_cannot_hold(kind):
    signal = Decimal("sNaN")
    message = r"{}: expected numbers that float64 can hold, got Decimal .* in row 1"
    with pytest.raises(ValueError, match=message.format("X")):
        made(kind).fit([[1.0, 2.0], [1.0, signal]], [0.0, 1.0])
    with pytest.raises(ValueError, match=message.format("y")):
        made(kind).fit([[1.0, 2.0], [1.0, 2.0]], [0.0, signal])


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_arrow_that_cannot_be_read(kind):
    pytest.importorskip("pyarrow", reason="tables of Arrow")

    class Broken:
        def __arrow_c_stream__(self, requested_schema=None):
            raise RuntimeError("broken")

    with pytest.raises(fastbp.DataError, match=r"^X: expected a table of Arrow.*broken"):
        made(kind).fit(Broken(), Y)
    with pytest.raises(fastbp.DataError, match=r"^y: expected a table of Arrow.*broken"):
        made(kind).fit(X, Broken())


SPAN = np.timedelta64(1, "ns")  # to NumPy an integer
NO_NUMBERS = [SPAN, np.timedelta64("NaT"), DATES[0], Decimal("sNaN"), np.array(SPAN), pd.NaT]
PARAMETERS = [
    (kind, parameter)
    for kind in KINDS
    for parameter, kinds in getattr(fastbp, kind)._parameter_constraints.items()
    if parameter == "verbose" or any(isinstance(each, Number) for each in kinds)
]


@pytest.mark.parametrize(("kind", "parameter"), PARAMETERS, ids=str)
def test_parameters(kind, parameter):
    message = f"'{parameter}' parameter of {kind} must be |{parameter}: expected an integer, got"
    for value in [*NO_NUMBERS, np.nan]:
        with pytest.raises((ValueError, TypeError), match=message):
            made(kind).set_params(**{parameter: value}).fit(X, Y)
    fractions = {"hidden_layer_sizes": (SPAN,)}
    if getattr(fastbp, kind)._parameter_constraints[parameter][0] in (NOT_NEGATIVE, POSITIVE):
        made(kind).set_params(**{parameter: Fraction(1, 2)}).fit(X, Y)
        fractions = {parameter: 10**400}
    if parameter in fractions:
        with pytest.raises((ValueError, TypeError), match=message):
            made(kind).set_params(**fractions).fit(X, Y)


@pytest.mark.parametrize("value", [SPAN, np.datetime64(1, "ns"), np.array([SPAN])])
def test_arguments_of_functions(value):
    fit = [X, Y, [0.0, 0.0], 0.0, 0.1, 1]
    with pytest.raises(TypeError, match="learning_rate: expected a real number, got "):
        fastbp.fit_neuron(*fit[:4], value, 1)
    with pytest.raises(TypeError, match="alpha: expected a real number, got "):
        fastbp.fit_neuron(*fit, alpha=value)
    with pytest.raises(TypeError, match="momentum: expected a real number, got "):
        fastbp.SGD(momentum=value)
