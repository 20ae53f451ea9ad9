"""The command as a user runs it."""

import csv
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import fastbp
from fastbp import plain
from fastbp.cli import command
from tests import reference


def run(*arguments, code=0):
    result = CliRunner().invoke(command, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + str(result.exception)
    if code == 1:
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
        assert "Traceback" not in result.stderr
    return result


@pytest.fixture
def cancer(tmp_path):
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    path = tmp_path / "cancer.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*data.feature_names, "diagnosis"])
        for row, target in zip(data.data, data.target, strict=True):
            writer.writerow([*row, data.target_names[target]])
    return path


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    path = tmp_path / "t.csv"
    lines = [f"{a},{b},{c},{int(a > b)}" for a, b, c in x]
    path.write_text("\n".join(["a,b,c,y", *lines]) + "\n")
    return path


def test_real_data(cancer, tmp_path):
    model = tmp_path / "model.safetensors"
    result = run("train", cancer, "--target", "diagnosis", "--standardize", "--save", model)
    accuracy = next(line for line in result.output.splitlines() if line.startswith("accuracy"))
    assert float(accuracy.split()[1].rstrip("%")) >= 97.0
    for word in ("rows x features", "loss", "seconds", "rows per second", "seconds, plain NumPy"):
        assert word in result.output
    predicted = list(csv.reader(run("predict", model, cancer).output.splitlines()))
    assert predicted[0] == ["diagnosis", "probability_of_malignant"]
    with cancer.open() as file:
        truth = [row["diagnosis"] for row in csv.DictReader(file)]
    assert np.mean([p[0] == t for p, t in zip(predicted[1:], truth, strict=True)]) >= 0.97


def test_prediction_follows_names_not_positions(cancer, tmp_path):
    model = tmp_path / "model.safetensors"
    run("train", cancer, "--target", "diagnosis", "--standardize", "--save", model)
    expected = run("predict", model, cancer).output
    with cancer.open() as file:
        rows = list(csv.reader(file))
    turned, lacking = tmp_path / "turned.csv", tmp_path / "lacking.csv"
    with turned.open("w", newline="") as file:
        csv.writer(file).writerows(row[::-1] for row in rows)
    with lacking.open("w", newline="") as file:
        csv.writer(file).writerows(row[1:] for row in rows)
    assert run("predict", model, turned).output == expected
    refused = run("predict", model, lacking, code=1)
    assert "expected the columns of the model, got none named 'mean radius'" in refused.stderr
    out = tmp_path / "out.csv"
    run("predict", model, turned, "--out", out)
    assert out.read_text() == expected


@pytest.mark.parametrize("target", ["3", "-"])
def test_npy(tmp_path, target):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    x[:, 3] = x[:, 0] > x[:, 1]
    path, model = tmp_path / "m.npy", tmp_path / "model"
    np.save(path, x)
    if target == "-":
        refused = run("train", path, "--target", "9", code=1)
        assert "expected a column '9', got columns 0, 1, 2, 3" in refused.stderr
        return
    run("train", path, "--target", target, "--save", model)
    with_target = run("predict", model, path).output
    np.save(path, x[:, :3])
    assert run("predict", model, path).output == with_target
    np.save(path, x[:, :2])
    assert "none named '2'" in run("predict", model, path, code=1).stderr


def test_npz_and_regression(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    path, model = tmp_path / "m.npz", tmp_path / "model"
    np.savez(path, x=x, y=x @ [1.0, -2.0] + 0.5, z=rng.normal(size=300))
    result = run("train", path, "--target", "y", "--activation", "identity", "--learning-rate", 0.2,
                 "--save", model)  # fmt: skip
    assert "root mean square error" in result.output
    rows = run("predict", model, path).output.splitlines()
    assert rows[0] == "y"
    np.testing.assert_allclose(np.array(rows[1:], dtype=float), x @ [1.0, -2.0] + 0.5, atol=1e-6)
    loaded = fastbp.load(model)
    assert loaded.columns == ["x0", "x1", "z"] and loaded.classes is None


def test_text_labels_in_npz(tmp_path):
    path = tmp_path / "m.npz"
    np.savez(path, x=np.arange(20.0)[:, None], y=np.array(["no"] * 10 + ["yes"] * 10))
    run("train", path, "--target", "y", "--save", tmp_path / "model")
    assert fastbp.load(tmp_path / "model").classes == ["no", "yes"]


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "a,y\n1,0\nx,1\n", "column 'a': expected a number, got 'x' in row 1"),
        ("t.csv", "a,y\n1,0\n,1\n", "column 'a': expected a number, got nan in row 1"),
        ("t.csv", "a,y\n1,0\n2,\n3,1\n", "column 'y': expected a number, got nan in row 1"),
        ("t.csv", "a,y\n1,0\n2\n3,1\n", "Expected 2 columns, got 1"),
        ("t.csv", "a,y\n1,0\n2,1\n3,2\n", "column 'y': expected two different labels, got 3"),
        ("t.csv", "a,y\n", "expected at least one row"),
        ("t.csv", "", "Empty CSV file"),
        ("t.csv", "y\n1\n0\n", "expected at least one column beside 'y'"),
        ("t.csv", "a,a,y\n1,2,0\n", "columns of different names, got 'a' twice"),
        ("t.csv", "a,b\n1,2\n", "expected a column 'y', got columns a, b"),
        ("t.csv", "a,y\n1,no\n2,\n3,yes\n", "column 'y': expected a label, got none in row 1"),
        ("t.csv", b"a,y\n1,\xff\n2,b\n", "t.csv: "),
        ("t.npy", b"noise", "expected a matrix of numbers"),
        ("t.npz", b"noise", "expected an archive of arrays"),
        ("t.parquet", b"", "expected a file that ends in .csv, .npy, .npz"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    path = write(tmp_path, name, content)
    assert message in run("train", path, "--target", "y", code=1).stderr


def test_other_mistakes(tmp_path, table):
    assert "No such file" in run("train", tmp_path / "none.csv", "--target", "y", code=1).stderr
    assert "go together" in run("train", table, code=2).stderr
    assert "go together" in run("train", "--target", "y", code=2).stderr
    assert "--held-out" in run("train", table, "--target", "y", "--held-out", 1, code=2).stderr
    assert (
        "is no folder"
        in run("train", table, "--target", "y", "--save", tmp_path / "no" / "m", code=2).stderr
    )
    assert (
        "loss: 'bce'"
        in run(
            "train", table, "--target", "y", "--activation", "tanh", "--loss", "bce", code=1
        ).stderr
    )
    assert (
        "epochs: expected at least 0"
        in run("train", table, "--target", "y", "--epochs", -1, code=1).stderr
    )
    diverges = ["--activation", "identity", "--learning-rate", 1e200]
    assert (
        "try a lower --learning-rate than 1e+200"
        in run("train", table, "--target", "y", *diverges, code=1).stderr
    )
    assert "safetensors" in run("predict", table, table, code=1).stderr
    fit = tmp_path / "fit"
    fastbp.save(fastbp.fit_neuron([[1.0]], [1], [0.0], 0.0, 0.1, 1), fit)
    assert "a model of the train command" in run("predict", fit, table, code=1).stderr


def test_a_repeated_name_in_an_archive(tmp_path):
    path = tmp_path / "m.npz"
    np.savez(path, x=np.ones((4, 2)), x0=np.zeros(4), y=np.array([0, 1, 0, 1]))
    assert "different names, got 'x0' twice" in run("train", path, "--target", "y", code=1).stderr


def test_a_model_of_named_columns_refuses_a_matrix_without_names(tmp_path, table):
    model, matrix = tmp_path / "model", tmp_path / "m.npy"
    run("train", table, "--target", "y", "--save", model)
    np.save(matrix, np.ones((5, 3)))
    assert "got none named 'a', 'b', 'c'" in run("predict", model, matrix, code=1).stderr


def test_a_reader_that_has_had_enough(tmp_path, table):
    model = tmp_path / "model"
    run("train", table, "--target", "y", "--save", model)
    command_line = f"{sys.executable} -m fastbp predict {model} {table} | true"
    done = subprocess.run(command_line, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_no_epochs_and_nothing_held_out(table):
    output = run("train", table, "--target", "y", "--epochs", 0, "--held-out", 0).output
    assert "accuracy" not in output and "per second" not in output
    output = run("train", table, "--target", "y", "--held-out", 0.0001, "--no-compare").output
    assert " 1 rows held out" in output and "plain NumPy" not in output


def test_nothing_is_cut_off_or_padded(table):
    lines = run("train", table, "--target", "y", "--epochs", 10**5).output.splitlines()
    assert "100,000 epochs" in lines[1] and "times as long" in lines[-1]
    assert not any("…" in line or line != line.rstrip() for line in lines)


def test_a_loss_that_rose_is_said(table):
    arguments = ["--activation", "identity", "--learning-rate", 1.5, "--epochs", 20]
    result = run("train", table, "--target", "y", *arguments)
    assert "Warning: the loss rose from" in result.stderr
    assert "lower --learning-rate than 1.5" in result.stderr


def test_a_model_takes_arrays_too(table, tmp_path):
    run("train", table, "--target", "y", "--save", tmp_path / "model")
    model = fastbp.load(tmp_path / "model")
    assert set(model.predict([[9.0, -9.0, 0.0], [-9.0, 9.0, 0.0]])) == {0, 1}
    with pytest.raises(ValueError, match="table: expected 2 dimensions"):
        model.predict([1.0, 2.0, 3.0])


def test_built_in_rows(monkeypatch):
    monkeypatch.setattr("fastbp.cli.BUILT_IN_ROWS", 20_000)
    output = run("train", "--epochs", 50).output
    accuracy = float(output.split("accuracy")[1].split()[0].rstrip("%"))
    assert accuracy > 80.0
    assert "16,000 x 20" in output and "4,000 rows held out" in output


def test_info_and_version():
    output = run("info").output
    for word in ("python", "numba", "vector width", "threads", "kernel cache", "fastbp"):
        assert word in output
    assert fastbp.__version__ in run("--version").output
    assert "train" in run("--help").output


def test_show_versions(capsys):
    fastbp.show_versions()
    assert "vector width" in capsys.readouterr().out


@pytest.mark.parametrize("when", ["in the fit", "before it"])
def test_ctrl_c_exits_with_130_and_saves_what_there_is(tmp_path, table, when):
    model = tmp_path / "model"
    arguments = ["train", table, "--target", "y", "--epochs", 10**9, "--save", model]
    code = f"""
import os, signal, sys, threading
from fastbp import cli
name = "fit_neuron" if {when!r} == "in the fit" else "_split"
original = getattr(cli, name)
def interrupted(*args, **keywords):
    delay = 0.3 if name == "fit_neuron" else 0.0
    threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
    if name == "_split":
        threading.Event().wait(30)
    return original(*args, **keywords)
setattr(cli, name, interrupted)
sys.argv = ["fastbp", *{[str(a) for a in arguments]!r}]
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert "interrupted" in done.stderr
    assert ("model written to" in done.stdout) == (when == "in the fit")
    assert model.exists() == (when == "in the fit")
    if model.exists():
        assert fastbp.load(model).fit.stopped == "interrupted"


@pytest.mark.parametrize(("activation", "loss"), reference.PAIRS)
def test_the_plain_loop_computes_the_same(activation, loss):
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(30, 3)), rng.random(30), rng.normal(size=3)
    expected = reference.fit_neuron(x, y, w, 0.2, 0.1, 1, activation=activation, loss=loss)
    bias = plain.one_epoch(x, y, w, 0.2, 0.1, activation, loss)
    np.testing.assert_allclose(w, expected.weights, rtol=1e-12)
    assert bias == pytest.approx(expected.bias, rel=1e-12)


def test_the_plain_loop_is_cut_short():
    x, y, w = np.ones((10, 2)), np.ones(10), np.zeros(2)
    assert plain.seconds_of_loop(x, y, w, 0.0, 0.1, 5, "sigmoid", "mse", 60.0).complete
    cut = plain.seconds_of_loop(x, y, w, 0.0, 0.1, 10**9, "sigmoid", "mse", 0.01)
    assert not cut.complete and cut.epochs < 10**9 and cut.seconds > 1.0
    assert w.tolist() == [0.0, 0.0]


def test_without_the_extra_the_command_says_what_it_needs():
    code = "import sys; sys.modules['click'] = None; from fastbp.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "needs click: install fastbp with its extra 'cli'" in done.stderr
