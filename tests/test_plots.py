"""The picture of fits: what is drawn where, and whatever has losses is taken."""

import sys

import numpy as np
import pytest

import fastbp
from fastbp.models.table_model import TableModel
from tests.problems import python

matplotlib = pytest.importorskip("matplotlib")
X = np.random.default_rng(0).normal(size=(60, 3))
Y = (X.sum(axis=1) + np.random.default_rng(1).normal(size=60) > 0.0).astype(float)


@pytest.fixture(autouse=True)
def pyplot():
    """Give pyplot without windows, and close what a test has opened."""
    before = matplotlib.get_backend()
    matplotlib.use("agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")
    matplotlib.use(before)


def fit(rate=0.5, epochs=6, **keywords):
    return fastbp.fit_neuron(X, Y, np.zeros(3), 0.0, rate, epochs, loss="bce", **keywords)


def drawn(axes):
    """The lines by label: where they are, and what they show."""
    lines = {line.get_label(): line for line in axes.get_lines()}
    return {name: (line.get_xdata(), line.get_ydata()) for name, line in lines.items()}


def labels(legend):
    return [text.get_text() for text in legend.get_texts()]


def test_one_fit(pyplot, tmp_path):
    one = fit(validation=0.25, epochs=40)
    axes = fastbp.plot_losses(one)
    assert axes.figure is pyplot.gcf() and axes is pyplot.gca()
    lines, best = drawn(axes), int(np.argmin(one.validation_losses))
    lowest = f"lowest: {one.validation_losses[best]:.4g}, epoch {best + 1}"
    training, validation = "training (before an epoch)", "validation (after an epoch)"
    assert list(lines) == [training, validation, lowest]
    assert lines[training][0].tolist() == list(range(40))
    assert lines[training][1].tolist() == one.losses.tolist()
    assert lines[validation][0].tolist() == list(range(1, 41))
    assert lines[validation][1].tolist() == one.validation_losses.tolist()
    assert [a[0] for a in lines[lowest]] == [best + 1, one.validation_losses[best]]
    assert axes.get_title(loc="left") == repr(one)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epochs", "loss (bce)")
    (legend,) = axes.figure.legends
    assert labels(legend) == list(lines) and axes.get_legend() is None
    axes.figure.savefig(tmp_path / "losses.png")
    assert not legend.get_window_extent().overlaps(axes.get_window_extent())


def test_batches_are_drawn_between_epochs():
    for batch_size, first in ((7, 0.5), (60, 0.0), (100, 0.0)):
        (line,) = drawn(fastbp.plot_losses(fit(batch_size=batch_size))).values()
        assert line[0].tolist() == [first + epoch for epoch in range(6)]


@pytest.mark.parametrize(
    ("lowest", "scale", "ticks"),
    [(1.0, "linear", None), (0.2, "log", [0.2, 0.5, 1.0, 2.0]), (1e-4, "log", [1e-4, 1e-3, 0.01])],
)
def test_a_log_scale_where_it_helps(lowest, scale, ticks):
    made = fit()
    made.losses[:] = np.geomspace(2.5, lowest, 6)
    axes = fastbp.plot_losses(made)
    axes.figure.canvas.draw()
    assert axes.get_yscale() == scale
    if ticks is not None:
        assert {f"{tick:g}" for tick in ticks} <= {t.get_text() for t in axes.get_yticklabels()}
    made.losses[-1] = 0.0
    assert fastbp.plot_losses(made).get_yscale() == "linear"


def test_several_fits(pyplot):
    several = {"slow": fit(0.01), "fast": fit(1.0, batch_size=10, validation=0.25, epochs=9)}
    axes = fastbp.plot_losses(several, title="two rates")
    lines, fast = drawn(axes), several["fast"]
    best = int(np.argmin(fast.validation_losses))
    named = f"fast: validation (lowest {fast.validation_losses[best]:.4g}, epoch {best + 1})"
    assert labels(axes.figure.legends[0]) == ["slow: training", "fast: training", named]
    assert lines["slow: training"][1].tolist() == several["slow"].losses.tolist()
    assert lines["fast: training"][0].tolist() == [0.5 + epoch for epoch in range(9)]
    assert lines[named][0].tolist() == list(range(1, 10))
    assert axes.get_title(loc="left") == "two rates"
    colours = {line.get_label(): line.get_color() for line in axes.get_lines()}
    assert colours[named] == colours["fast: training"] != colours["slow: training"]
    unnamed = fastbp.plot_losses(list(several.values()))
    assert labels(unnamed.figure.legends[0])[:2] == ["fit 1: training", "fit 2: training"]
    assert unnamed.get_title(loc="left") == ""
    other = fastbp.fit_neuron(X, Y, np.zeros(3), 0.0, 0.1, 3)
    assert fastbp.plot_losses([fit(), other]).get_ylabel() == "loss"


def test_it_draws_in_the_users_axes(pyplot):
    figure, (left, right) = pyplot.subplots(1, 2)
    assert fastbp.plot_losses(fit(), axes=right, title="") is right
    assert not left.lines and len(right.lines) == 1 and figure.legends == []
    assert labels(right.get_legend()) == ["training (before an epoch)"]
    assert pyplot.get_fignums() == [figure.number] and right.get_title(loc="left") == ""


def test_estimators_and_models_of_the_command():
    pytest.importorskip("sklearn")
    neural = fastbp.MLPClassifier(
        max_iter=8, tol=0.0, batch_size=10, early_stopping=True, random_state=0
    )
    with pytest.warns(match="Maximum iterations"):
        neural.fit(X, Y)
    lines = list(drawn(fastbp.plot_losses(neural)).values())
    assert lines[0][0][0] == 0.5 and lines[0][1].tolist() == neural.loss_curve_
    assert lines[1][1].tolist() == neural.validation_loss_curve_
    single = fastbp.NeuronClassifier(max_iter=5, tol=None).fit(X, Y)
    axes = fastbp.plot_losses(single)
    ((where, losses),) = drawn(axes).values()
    assert where[0] == 0.0 and losses.tolist() == single.loss_curve_
    assert axes.get_title(loc="left") == "NeuronClassifier"
    fitted = fit()
    model = TableModel(fitted, ["a", "b", "c"], "y", np.zeros(3), np.ones(3), None)
    axes = fastbp.plot_losses(model)
    ((_, losses),) = drawn(axes).values()
    assert losses.tolist() == fitted.losses.tolist()
    assert axes.get_title(loc="left") == repr(fitted)


@pytest.mark.parametrize(("batch_size", "first"), [("auto", 0.0), (len(X), 0.0), (10, 0.5)])
def test_a_batch_of_all_rows_is_one_update(batch_size, first):
    pytest.importorskip("sklearn")
    model = fastbp.MLPClassifier(max_iter=3, batch_size=batch_size, random_state=0)
    with pytest.warns(match="Maximum iterations"):
        model.fit(X, Y)
    ((where, _),) = drawn(fastbp.plot_losses(model)).values()
    assert where[0] == first


@pytest.mark.parametrize(("epochs", "validation"), [(0, None), (0, 0.25), (1, 0.25)])
def test_hardly_any_epochs(epochs, validation):
    fastbp.plot_losses(fit(epochs=epochs, validation=validation)).figure.canvas.draw()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (None, TypeError, "fit: expected a fit, or an estimator .* got NoneType None$"),
        ("fit", TypeError, "fit: expected a fit, or an estimator"),
        ({"a": fit(), "b": 3}, TypeError, "got int 3 for 'b'$"),
        ([], ValueError, "fit: expected at least one, got none"),
        (fastbp.NeuronClassifier(), TypeError, "has a loss_curve_, got NeuronClassifier"),
    ],
)
def test_what_has_no_losses_is_refused(wrong, error, message, pyplot):
    with pytest.raises(error, match=message):
        fastbp.plot_losses(wrong)
    assert pyplot.get_fignums() == []


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"plot_losses needs Matplotlib: pip install 'fastbp\[p"):
        fastbp.plot_losses(fit())


def test_matplotlib_is_imported_only_to_draw():
    code = """
        import sys
        from fastbp import plot_losses
        print("matplotlib" in sys.modules)
        """
    assert python(code) == "False\n"


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_epochs_are_whole_numbers(epochs):
    axes = fastbp.plot_losses(fit(epochs=epochs))
    assert (axes.get_xticks() % 1 == 0).all()
