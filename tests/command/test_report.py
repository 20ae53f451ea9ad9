"""What the command tells at the end: its figures, the comparison with a plain loop, the plot."""

import numpy as np
import pytest
from sklearn.metrics import r2_score, recall_score, root_mean_squared_error

import fastbp
from fastbp.command import fit, plain_loop
from fastbp.data.arrays import ArrayRows
from fastbp.data.split import Subset
from tests.command.running import cells, run


@pytest.fixture
def save(tmp_path):
    """Write a matrix whose last column is the target; return its path."""

    def write(x, y, weight=None):
        np.save(tmp_path / "t.npy", np.column_stack([x, *([] if weight is None else [weight]), y]))
        return tmp_path / "t.npy"

    return write


def held_out(x, y):
    """Return the rows that the command holds out."""
    n = round(0.2 * len(x))
    indices = Subset(ArrayRows(x), n, True).selection.indices(np.arange(n))
    return x[indices], y[indices], indices


def test_accuracy_beside_the_most_frequent_class_and_recalls(tmp_path, save):
    x = np.random.default_rng(0).normal(size=(500, 3))
    y = np.digitize(x[:, 0], [-1.0, 0.8]).astype(float)
    result = run("train", save(x, y), "--hidden", 5, "--epochs", 5, "--save", tmp_path / "m")
    features, labels, _ = held_out(x, y)
    predicted = fastbp.load(tmp_path / "m").predict(features)
    share = np.mean(labels == 1)
    expected = f"on the held-out rows, of which {share:.2%} are 1"
    assert cells(result, "accuracy") == (f"{np.mean(predicted == labels):.2%}", expected)
    for c, recall in enumerate(recall_score(labels, predicted, average=None)):
        n = int(np.sum(labels == c))
        assert cells(result, f"recall of {c}") == (f"{recall:.2%}", f"{round(recall * n)} of {n}")


def test_more_than_ten_classes_have_no_recalls(save):
    x = np.arange(220.0)
    for k, some in ((10, True), (11, False)):
        result = run("train", save(x, x % k), "--hidden", 3, "--epochs", 1)
        assert ("recall" in result.stdout) == some and "accuracy" in result.stdout


def test_a_class_that_no_row_held_out_has(save):
    y = np.zeros(100)
    x = np.arange(100.0)
    _, _, indices = held_out(x[:, None], y)
    y[np.setdiff1d(np.arange(100), indices)[:30]] = 1.0
    assert cells(run("train", save(x, y), "--epochs", 1), "recall of 1") == ("-", "0 of 0")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("hidden", [[], ["--hidden", 4]])
def test_r2_beside_the_error_in_the_units_of_the_target(tmp_path, save, weighted, hidden):
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(300, 2)), rng.integers(0, 3, 300)
    y = 1e4 + 50.0 * x[:, 0] + 10.0 * rng.normal(size=300)
    path = save(x, y, weight if weighted else None)
    options = ["--weights", 2] if weighted else []
    result = run("train", path, "--number", *hidden, *options, "--save", tmp_path / "m")
    features, labels, indices = held_out(x, y)
    predicted = fastbp.load(tmp_path / "m").predict(features)
    by_weight = {"sample_weight": weight[indices]} if weighted else {}
    error = root_mean_squared_error(labels, predicted, **by_weight)
    where = "on the held-out rows" + (", weighted" if weighted else "")
    assert cells(result, "root mean square error") == (f"{error:.6g}", where)
    r2 = r2_score(labels, predicted, **by_weight)
    assert cells(result, "R2") == (f"{r2:.4f}", "0 is what the mean would reach")
    assert cells(result, "target")[1] == "a number, standardized for training"


def test_r2_of_labels_that_are_all_the_same_is_left_out(save):
    path = save(np.arange(50.0), np.ones(50))
    output = run("train", path, "--number", "--epochs", 2).stdout
    assert "root mean square error" in output and "R2" not in output


def test_rows_held_out_that_weigh_nothing_have_no_figures(save):
    x, y = np.arange(100.0), np.arange(100) % 2
    weight = np.ones(100)
    weight[held_out(x[:, None], y)[2]] = 0.0
    output = run("train", save(x, y, weight), "--weights", 1, "--epochs", 1).stdout
    assert "accuracy" not in output


def test_times_that_would_be_chance_are_not_compared(save, monkeypatch):
    path = save(np.arange(50.0), np.arange(50) % 2)
    for seconds, compared in ((0.049, False), (0.051, True)):
        original = fit.fit_rows

        def took(*arguments, seconds=seconds, original=original):
            return original(*arguments)[0], seconds

        monkeypatch.setattr("fastbp.command.train.fit_rows", took)
        output = run("train", path, "--epochs", 2).stdout
        assert ("plain NumPy" in output) == compared


def test_the_plain_loop_is_repeated_until_it_is_no_chance(monkeypatch):
    clock = iter(np.arange(0.0, 1.0, 0.004))
    monkeypatch.setattr(plain_loop.time, "perf_counter", lambda: next(clock))
    done = plain_loop.seconds_of_loop(np.ones((3, 2)), np.ones(3), 0.1, 2, "sigmoid", "mse", 3.0)
    assert done.complete and done.epochs == 13
    assert done.seconds == pytest.approx(2 * 0.004)


@pytest.fixture
def figure(monkeypatch):
    """Give the figures that are drawn, instead of saving them."""
    from matplotlib.figure import Figure

    drawn = []
    original = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (drawn.append(self), original(self, *a, **k))
    )
    return drawn


@pytest.mark.parametrize(
    ("options", "rows", "starts"),
    [
        (["--validation", 0.25, "--batch-size", 8], 60, [0.5, 1.0, None]),
        (["--validation", 0.25], 60, [0.0, 1.0, None]),
        (["--batch-size", 8], 80, [0.5]),
        (["--batch-size", 80], 80, [0.0]),
    ],
)
def test_the_plot(tmp_path, save, figure, options, rows, starts):
    x = np.random.default_rng(0).normal(size=(100, 2))
    path, model = save(x, x[:, 0] > x[:, 1]), tmp_path / "m"
    run("train", path, *options, "--epochs", 6, "--plot", tmp_path / "p.png", "--save", model)
    (axes,), fitted = figure[0].axes, fastbp.load(model).fit
    assert axes.get_title(loc="left") == f"neuron, sigmoid: {rows} rows x 2 features"
    lines = axes.get_lines()
    assert len(lines) == len(starts)
    losses = [fitted.losses, fitted.validation_losses]
    for line, start, values in zip(lines, starts, losses, strict=False):
        assert line.get_xdata().tolist() == [start + epoch for epoch in range(6)]
        assert line.get_ydata().tolist() == values.tolist()
    if len(starts) == 3:  # the least of the validation losses, after its epoch
        best = int(np.argmin(fitted.validation_losses))
        assert lines[2].get_xdata()[0] == best + 1
    assert not axes.texts and axes.get_legend() is None
    legend = figure[0].legends[0].get_window_extent()
    assert not legend.overlaps(axes.get_window_extent())
