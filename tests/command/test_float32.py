"""``--dtype float32``: trained, saved and predicted in it."""

import csv
import io

import numpy as np
import pytest

import fastbp
from fastbp.command import plain_loop
from tests.command.running import cells, run


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    np.savetxt(tmp_path / "t.csv", np.column_stack([x, x[:, 0] > x[:, 1]]), delimiter=",",
               header="a,b,c,y", comments="", fmt="%.17g")  # fmt: skip
    return tmp_path / "t.csv"


def parameters(fit):
    return [fit.weights] if isinstance(fit.weights, np.ndarray) else [*fit.weights, *fit.biases]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--optimizer", "adam", "--batch-size", 64],
        ["--hidden", 5],
        ["--hidden", 5, "--loss", "cross_entropy"],
        ["--number"],
        ["--number", "--hidden", 5],
    ],
    ids=str,
)
def test_what_is_trained_is_predicted(options, table, tmp_path):
    model, double = tmp_path / "m", tmp_path / "d"
    arguments = ["train", table, "--target", "y", "--epochs", 20, *options]
    report = run(*arguments, "--dtype", "float32", "--save", model)
    expected = run(*arguments, "--save", double)
    ours, theirs = fastbp.load(model), fastbp.load(double)
    for a, b in zip(parameters(ours.fit), parameters(theirs.fit), strict=True):
        assert (a.dtype, b.dtype) == (np.float32, np.float64)
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert cells(report, "loss")[0] == cells(expected, "loss")[0]
    figure = "root mean square error" if "--number" in options else "accuracy"
    assert cells(report, figure)[0][:4] == cells(expected, figure)[0][:4]
    lines = list(csv.reader(io.StringIO(run("predict", model, table).output)))
    x = np.loadtxt(table, delimiter=",", skiprows=1)[:, :3]
    outputs = ours.outputs(x)
    shown = np.array(lines[1:], dtype=float)[:, 1 if len(lines[0]) > 1 else 0 :]
    if "--number" in options:
        np.testing.assert_allclose(
            np.squeeze(shown), outputs, rtol=0, atol=6e-9 * ours.target_scale
        )
        assert max(len(line[0].partition(".")[2]) for line in lines[1:]) <= 9
    else:  # as many digits as tell one number of float32 from another
        np.testing.assert_array_equal(np.squeeze(shown).astype(np.float32), outputs)
        assert max(len(text) for line in lines[1:] for text in line[1:]) <= 13
    np.testing.assert_allclose(outputs, theirs.outputs(x), atol=1e-4)
    features = (x - ours.means) / ours.scales
    of_fit = np.squeeze(ours.fit.predict(features))
    assert of_fit.dtype == np.float32
    np.testing.assert_array_equal(
        outputs, of_fit.astype(float) * ours.target_scale + ours.target_mean
    )


def test_a_checkpoint_of_the_command(table, tmp_path):
    arguments = ["train", table, "--target", "y", "--hidden", 4, "--checkpoint", tmp_path / "c"]
    run(*arguments, "--dtype", "float32", "--epochs", 3)
    assert "dtype was 'float32', is 'float64'" in run(*arguments, "--epochs", 5, code=1).stderr
    more = run(*arguments, "--epochs", 5, "--dtype", "float32", "--save", tmp_path / "m")
    assert "continued from" in more.stderr and fastbp.load(tmp_path / "m").fit.n_epochs == 5
    whole = [*arguments[:-2], "--epochs", 5, "--dtype", "float32", "--save", tmp_path / "w"]
    run(*whole)
    ours, expected = (fastbp.load(tmp_path / name).fit for name in "mw")
    for a, b in zip(parameters(ours), parameters(expected), strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", [[], ["--activation", "relu", "--number"]], ids=str)
def test_the_plain_loop_is_in_the_same_dtype(dtype, options, table, monkeypatch):
    seen = set()

    def one_epoch(x, y, weights, *rest, original=plain_loop.one_epoch):
        seen.update(a.dtype.name for a in (x, y, weights))
        return original(x, y, weights, *rest)

    monkeypatch.setattr(plain_loop, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(plain_loop, "one_epoch", one_epoch)
    report = run("train", table, "--target", "y", "--epochs", 3, "--dtype", dtype, *options)
    assert "plain NumPy" in report.output and seen == {dtype}


def test_another_dtype():
    refused = run("train", "--dtype", "float16", code=2)
    assert "'float16' is not one of 'float64', 'float32'" in refused.stderr
