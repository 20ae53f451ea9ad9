"""The command as a user runs it."""

import csv
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import fastbp
from fastbp.command import plain_loop
from fastbp.command.app import command
from tests import reference
from tests.command.running import cells, run


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
    result = run("train", cancer, "--target", "diagnosis", "--save", model)
    accuracy = next(line for line in result.output.splitlines() if line.startswith("accuracy"))
    assert float(accuracy.split()[1].rstrip("%")) >= 97.0
    for word in ("rows x features", "loss", "seconds", "rows per second"):
        assert word in result.output
    predicted = list(csv.reader(run("predict", model, cancer).output.splitlines()))
    assert predicted[0] == ["diagnosis", "probability_of_malignant"]
    with cancer.open() as file:
        truth = [row["diagnosis"] for row in csv.DictReader(file)]
    assert np.mean([p[0] == t for p, t in zip(predicted[1:], truth, strict=True)]) >= 0.97


def test_prediction_follows_names_not_positions(cancer, tmp_path):
    model = tmp_path / "model.safetensors"
    run("train", cancer, "--target", "diagnosis", "--save", model)
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
    assert "lacking.csv (" in refused.stderr and "'mean texture'" in refused.stderr
    assert refused.stderr.endswith("got none named 'mean radius'\n")
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
        refused = run("train", path, "--target", "9", code=2)
        assert "m.npy, which has 4, got 9" in refused.stderr
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
        ("t.csv", "a,y\n1,0\n,1\n", "expected finite numbers, got nan in row 1, column 'a'"),
        ("t.csv", "a,y\n1,0\n2,\n3,1\n", "column 'y': expected a number, got nan in row 1"),
        ("t.csv", "a,y\n1,0\n2\n3,1\n", "expected 2 cells, got 1 in row 1"),
        ("t.csv", "a,y\n1,0\n2,1\n3,2\n", "column 'y': expected two different labels, got 3"),
        ("t.csv", "a,y\n", "expected at least one row"),
        ("t.csv", "", "expected a header, got an empty file"),
        ("t.csv", "y\n1\n0\n", "at least one row and one column of features, got 2 and 0"),
        ("t.csv", "a,a,y\n1,2,0\n", "columns of different names, got 'a' twice"),
        ("t.csv", "a,b\n1,2\n", "--target: expected a column of t.csv ('a', 'b'), got 'y'"),
        ("t.csv", "a,y\n1,no\n2,\n3,yes\n", "column 'y': expected a label, got none in row 1"),
        ("t.csv", b"a,y\n1,\xff\n2,b\n", "t.csv: "),
        ("t.npy", b"noise", "expected a header of NumPy's format"),
        ("t.npz", b"noise", "expected an archive of arrays"),
        ("t.parquet", b"", "t.parquet: "),
        ("t.arrow", b"noise", "t.arrow: "),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    path, target = write(tmp_path, name, content), "0" if name == "t.npy" else "y"
    code = 2 if message.startswith("--target: ") else 1
    refused = run("train", path, "--target", target, code=code).stderr
    assert message in refused.replace(f"{tmp_path}/", "")


def test_other_mistakes(tmp_path, table):
    assert (
        "is not a folder"
        in run("train", table, "--target", "y", "--save", tmp_path / "no" / "m", code=2).stderr
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


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        (["--activation", "tanh"], " (for classes leave out --activation tanh)"),
        (["--activation", "relu", "--loss", "mse"], " (for classes leave out --activation relu)"),
        (["--hidden", 3, "--loss", "half_mse"], " (for classes leave out --loss half_mse)"),
    ],
)
def test_text_where_an_option_asks_for_a_number(tmp_path, options, remedy):
    path = write(tmp_path, "t.csv", "a,y\n1,no\n2,yes\n3,no\n4,yes\n5,yes\n")
    refused = run("train", path, "--target", "y", *options, code=1).stderr
    assert refused.endswith(f"column 'y': expected a number, got 'no' in row 0{remedy}\n")
    path.write_text("a,y\n1,2\n2,\n")
    assert "for classes" not in run("train", path, "--target", "y", *options, code=1).stderr
    path.write_text("a,y\nno,2\n2,3\n")
    assert "for classes" not in run("train", path, "--target", "y", *options, code=1).stderr


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
    assert " 1 row held out" in output and "plain NumPy" not in output


def test_nothing_is_cut_off_or_padded(table):
    lines = run("train", table, "--target", "y", "--epochs", 10**5).output.splitlines()
    assert "100,000 epochs" in lines[3] and "times as long" in lines[-1]
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
    expected = model.outputs([[1.0, 2.0, 0.5]])
    for library in ("pandas", "polars"):
        frame = pytest.importorskip(library).DataFrame
        named = frame({"text": ["t"], "c": [0.5], "b": [2.0], "a": [1]})
        np.testing.assert_array_equal(model.outputs(named), expected)
        with pytest.raises(ValueError, match="columns of the model, got none named 'a', 'c'"):
            model.outputs(frame({"b": [2.0], "d": [0.0]}))


def test_built_in_rows(monkeypatch):
    monkeypatch.setattr("fastbp.command.data.BUILT_IN_ROWS", 20_000)
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


def test_show_versions(capsys, monkeypatch):
    fastbp.show_versions()
    shown = capsys.readouterr().out
    for word in ("vector width", "threadpoolctl", "dask"):
        assert word in shown
    monkeypatch.setenv("FASTBP_NUM_THREADS", "all")
    fastbp.show_versions()
    assert "threads: FASTBP_NUM_THREADS: expected a positive integer" in capsys.readouterr().out


@pytest.mark.parametrize("when", ["in the fit", "before it"])
def test_ctrl_c_exits_with_130_and_saves_what_there_is(tmp_path, table, when):
    model = tmp_path / "model"
    arguments = ["train", table, "--target", "y", "--epochs", 10**9, "--save", model]
    code = f"""
import os, signal, sys, threading
from fastbp.command import fit, train
inside = {when!r} == "in the fit"
module, name = (fit, "fit_neuron") if inside else (train, "prepare")
original = getattr(module, name)
def interrupted(*args, **keywords):
    threading.Timer(0.3 if inside else 0.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    if not inside:
        threading.Event().wait(30)
    return original(*args, **keywords)
setattr(module, name, interrupted)
sys.argv = ["fastbp", *{[str(a) for a in arguments]!r}]
from fastbp.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert "interrupted" in done.stderr and "Traceback" not in done.stderr
    for text in (done.stdout, done.stderr):
        assert ("model written to" in text) == (when == "in the fit")
    assert model.exists() == (when == "in the fit")
    if model.exists():
        assert fastbp.load(model).fit.stopped == "interrupted"


@pytest.mark.parametrize(
    ("activation", "loss"), [pair for pair in reference.PAIRS if pair[1] in plain_loop.LOSSES]
)
def test_the_plain_loop_computes_the_same(activation, loss):
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(30, 3)), rng.random(30), rng.normal(size=3)
    expected = reference.fit_neuron(x, y, w, 0.2, 0.1, 1, activation=activation, loss=loss)
    bias = plain_loop.one_epoch(x, y, w, 0.2, 0.1, activation, loss)
    np.testing.assert_allclose(w, expected.weights, rtol=1e-12)
    assert bias == pytest.approx(expected.bias, rel=1e-12)


def test_losses_that_the_plain_loop_does_not_know_are_not_compared(table, monkeypatch):
    monkeypatch.setattr(plain_loop, "LEAST_SECONDS", 0.0)
    arguments = ["train", table, "--target", "y", "--activation", "softplus", "--epochs", 3]
    assert "plain NumPy" in run(*arguments).output
    assert "plain NumPy" not in run(*arguments, "--loss", "huber").output


def test_the_plain_loop_is_cut_short():
    x, y = np.ones((10, 2)), np.ones(10)
    assert plain_loop.seconds_of_loop(x, y, 0.1, 5, "sigmoid", "mse", 60.0).complete
    cut = plain_loop.seconds_of_loop(x, y, 0.1, 10**9, "sigmoid", "mse", 0.01)
    assert not cut.complete and cut.epochs < 10**9 and cut.seconds > 1.0


def test_without_the_extra_the_command_says_what_it_needs():
    code = "import sys; sys.modules['click'] = None; from fastbp.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "needs click: pip install 'fastbp[cli]'" in done.stderr


# --- sources -------------------------------------------------------------------------------------

NAMES = ["a", "b", "c", "y"]
KINDS = [
    "t.csv", "t.tsv", "t.npy", "t.npz", "z.npz", "t.parquet", "t.arrow", "t.feather", "csv folder",
    "npy folder",
]  # fmt: skip


def numbers(n=240, k=2, seed=0):
    """Return rows of three features, on very different scales, and the number of a class."""
    x = np.random.default_rng(seed).normal(size=(n, 3)) * [1.0, 100.0, 0.01] + [0.0, 5.0, -7.0]
    return np.column_stack([x, np.digitize(x[:, 0], np.linspace(-0.6, 0.6, k + 1)[1:-1])])


def written(folder, kind, rows, classes=None):
    """Write rows as a file or folder of this kind; return its path and the name of the target.

    `classes` are what the labels are the indices of.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv
    from pyarrow import feather, parquet

    path = folder / kind.replace(" ", "_")
    columns = dict(zip(NAMES, rows.T, strict=True))
    if classes is not None:
        columns["y"] = np.array(classes)[rows[:, 3].astype(int)]
    named = pa.table(columns)
    if kind.endswith("folder"):
        path.mkdir()
        for i, part in enumerate(np.array_split(rows, 3)):
            written(path, f"{i}.{kind.split()[0]}", part, classes)
        return path, "3" if kind.startswith("npy") else "y"
    if path.suffix in (".csv", ".tsv"):
        delimiter = "," if path.suffix == ".csv" else "\t"
        arrow_csv.write_csv(named, path, arrow_csv.WriteOptions(delimiter=delimiter))
    elif path.suffix == ".npy":
        np.save(path, rows)
        return path, "-1"
    elif path.suffix == ".npz":
        write = np.savez if kind.startswith("t") else np.savez_compressed
        write(path, **columns)
    elif path.suffix == ".parquet":
        parquet.write_table(named, path, row_group_size=50)
    else:
        feather.write_feather(named, path, compression="uncompressed")
    return path, "y"


@pytest.fixture
def streams(monkeypatch):
    """Have every file read a block at a time, as if it were large."""
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 0)
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 50 * 32)


def bits(model):
    """Return everything of a model that does not depend on how the file names its columns."""
    arrays, fields = fastbp.load(model).to_stored()
    del fields["fit"]["feature_names"]
    return {name: a.tobytes() for name, a in arrays.items()}, fields["classes"], fields["fit"]


TRAININGS = {
    "neuron": ["--epochs", 5],
    "batches": ["--no-standardize", "--batch-size", 16, "--epochs", 4, "--learning-rate", 1e-5,
                "--validation", 0.2],
    "network": ["--hidden", "6,5", "--epochs", 3, "--held-out", 0],
    "number": ["--hidden", 4, "--loss", "half_mse", "--epochs", 3],
}  # fmt: skip


@pytest.mark.parametrize("training", TRAININGS)
def test_the_same_bits_from_every_source(tmp_path, monkeypatch, request, training):
    rows, models = numbers(), []

    def train_each():
        for kind in KINDS:
            path = tmp_path / kind.replace(" ", "_")
            path, target = (
                written(tmp_path, kind, rows)
                if not path.exists()
                else (path, "3" if "npy" in kind else "y")
            )
            models.append(tmp_path / f"{len(models)}.model")
            run("train", path, "--target", target, *TRAININGS[training], "--save", models[-1])

    train_each()
    expected = bits(models[0])
    assert all(bits(model) == expected for model in models)
    models.clear()
    request.getfixturevalue("streams")
    train_each()
    streamed = bits(models[0])
    assert all(bits(model) == streamed for model in models)
    if "--no-standardize" in TRAININGS[training]:  # means of smaller blocks are rounded otherwise
        assert streamed == expected
    else:
        a, b = fastbp.load(models[0]), fastbp.load(tmp_path / "0.model")
        np.testing.assert_allclose(a.means, b.means, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_of_streams_are_those_of_tables(tmp_path, request, kind):
    path, target = written(tmp_path, kind, numbers(k=3))
    model, out = tmp_path / "model", tmp_path / "out.csv"
    run("train", path, "--target", target, "--hidden", 8, "--save", model)
    expected = run("predict", model, path).output
    assert expected.count("\n") == 241
    request.getfixturevalue("streams")
    run("predict", model, path, "--out", out)
    assert out.read_text() == expected
    without = tmp_path / "without"
    without.mkdir()
    if "npy" in kind:  # a matrix of the features alone
        np.save(without / "x.npy", numbers(k=3)[:, :3])
        assert run("predict", model, without / "x.npy").output == expected
        np.save(without / "x.npy", numbers(k=3)[:, :2])
        assert "got none named '2'" in run("predict", model, without / "x.npy", code=1).stderr
    else:
        np.save(without / "x.npy", numbers(k=3)[:, :3])
        refused = run("predict", model, without / "x.npy", code=1)
        assert "got none named 'a', 'b', 'c'" in refused.stderr


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "npy" not in kind])
@pytest.mark.parametrize("words", [["b", "NA", "true"], [True, False]])
def test_classes_are_the_same_from_small_and_large_files(tmp_path, request, kind, words):
    rows = numbers(k=len(words))
    path, _ = written(tmp_path, kind, rows, words)
    models = [tmp_path / "1", tmp_path / "2"]
    options = ["--hidden", 4, "--epochs", 2, "--no-standardize"]
    run("train", path, "--target", "y", *options, "--save", models[0])
    expected = run("predict", models[0], path).output
    request.getfixturevalue("streams")
    run("train", path, "--target", "y", *options, "--save", models[1])
    assert bits(models[0]) == bits(models[1])
    assert fastbp.load(models[0]).classes == sorted(words)
    assert run("predict", models[1], path).output == expected
    number = run("train", path, "--target", "y", *options, "--loss", "mse", code=words[0] == "b")
    if words[0] == "b":
        row = int(np.argmax([words[int(c)] != "x" for c in rows[:, 3]]))
        got = f"column 'y': expected a number, got {words[int(rows[row, 3])]!r} in row {row}"
        assert f"{got} (for classes leave out --loss mse)\n" in number.stderr


@pytest.mark.parametrize("large", [False, True])
def test_predictions_need_only_the_columns_of_the_model(tmp_path, request, large):
    import pyarrow as pa
    from pyarrow import csv as arrow_csv
    from pyarrow import feather, parquet

    if large:
        request.getfixturevalue("streams")
    path, _ = written(tmp_path, "t.csv", numbers())
    run("train", path, "--target", "y", "--epochs", 2, "--save", tmp_path / "model")
    expected = run("predict", tmp_path / "model", path).output
    columns = dict(zip(NAMES[2::-1], numbers().T[2::-1], strict=True))
    text = ["some text", *["more"] * 239]
    table = pa.table({"note": text, **columns, "y": [None, *text[1:]]})
    arrow_csv.write_csv(table, tmp_path / "o.csv")
    for name, values in (("list", [1, 2]), ("struct", {"a": 1}), ("binary", b"\xff")):
        table = table.add_column(1, name, pa.array([values] * 240))
    parquet.write_table(table, tmp_path / "o.parquet")
    feather.write_feather(table, tmp_path / "o.arrow")
    np.savez(tmp_path / "o.npz", note=np.array(text), **columns)
    for suffix in ("csv", "parquet", "arrow", "npz"):
        assert run("predict", tmp_path / "model", tmp_path / f"o.{suffix}").output == expected


def test_labels_of_one_kind(tmp_path):
    path = write(tmp_path, "t.csv", "a,y\n1,true\n2,true\n3,true\n")
    refused = run("train", path, "--target", "y", code=1).stderr
    assert "expected two different labels, got 1 (True)" in refused
    path.write_text("a,y\n1,2\n2,two\n3,2\n")
    refused = run("train", path, "--target", "y", "--activation", "tanh", code=1).stderr
    assert "got 'two' in row 1 (for classes leave out --activation tanh)" in refused


def test_rows_held_out_of_a_stream_are_looked_at(tmp_path, streams):
    from fastbp.data.arrays import ArrayRows
    from fastbp.data.split import Subset

    rows = numbers()
    held_out = Subset(ArrayRows(rows), 24, True).selection.indices(np.arange(24))[-1]
    rows[held_out, 1] = np.nan
    path, _ = written(tmp_path, "t.csv", rows)
    arguments = ["--activation", "identity", "--learning-rate", 1e-5, "--held-out", 0.1]
    refused = run("train", path, "--target", "y", *arguments, code=1).stderr
    assert f"t.csv: expected finite numbers, got nan in row {held_out}, column 'b'" in refused


def test_numbers_of_classes_need_not_begin_with_0_nor_follow_each_other(tmp_path, request):
    rows = numbers(k=3)
    rows[:, 3] = np.array([-1.0, 4.0, 7.0])[rows[:, 3].astype(int)]
    path, _ = written(tmp_path, "t.npy", rows)
    first, second = tmp_path / "1", tmp_path / "2"
    arguments = ["train", path, "--no-standardize", "--hidden", 4, "--epochs", 2, "--save"]
    run(*arguments, first)
    request.getfixturevalue("streams")
    run(*arguments, second)
    assert bits(first) == bits(second) and fastbp.load(first).classes == [-1, 4, 7]


def test_what_streams_refuse(tmp_path, streams, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text("a,y\n" + "1,0\n2,1\n" * 5 + "3,\n")
    refused = run("train", path, "--target", "y", code=1).stderr
    assert "column 'y': expected a number, got nan in row 10" in refused
    path.write_text("a,y\n" + "1,0\n2,1\n" * 5 + ",1\n")
    refused = run("train", path, "--target", "y", code=1).stderr
    assert "expected finite numbers, got nan in row 10, column 'a'" in refused
    path, _ = written(tmp_path, "t.npy", numbers(k=3))
    more = run("train", path, "--target", "-1", code=1).stderr
    assert "for more classes give --hidden 16" in more
    refused = run("train", path, "--hidden", 3, "--target", 0, code=1).stderr
    assert "--number or --classes for 240 different numbers" in refused
    refused = run("train", path, "--target", "y", code=2).stderr
    assert f"--target: expected the number of a column of {path}, got 'y'" in refused
    assert "which has 4, got 9" in run("train", path, "--target", "9", code=2).stderr
    archive = tmp_path / "m.npz"
    np.savez(archive, x=np.ones((4, 2)), y=np.ones((4, 2)))
    assert "one column 'y'" in run("train", archive, "--target", "y", code=1).stderr


def test_the_target_of_a_matrix(tmp_path):
    path, _ = written(tmp_path, "t.npy", numbers())
    models = [tmp_path / str(i) for i in range(3)]
    result = run("train", path, "--epochs", 2, "--save", models[0])
    assert "no --target: column 3, the last one, is predicted" in result.stderr
    run("train", path, "--target", "-1", "--epochs", 2, "--save", models[1])
    run("train", path, "--target", "3", "--epochs", 2, "--save", models[2])
    assert bits(models[0]) == bits(models[1]) == bits(models[2])
    assert fastbp.load(models[0]).target == "3"
    folder, _ = written(tmp_path, "csv folder", numbers())
    assert "('a', 'b', 'c', 'y'), got none" in run("train", folder, code=2).stderr


def test_means_and_deviations(tmp_path):
    from fastbp.command.scaling import first_pass
    from fastbp.data.arrays import ArrayRows, Labelled
    from fastbp.data.moments import ColumnMoments, moments_of
    from fastbp.data.split import Subset

    x = np.random.default_rng(0).normal(size=(1000, 3)) * 1e-3 + 1e6
    x[:, 2] = 0.1
    moments = ColumnMoments(3)
    assert moments.means.tolist() == [0, 0, 0] and moments.scales.tolist() == [1, 1, 1]
    moments.origin = x[0]
    for part in (*np.array_split(x, 7), x[:0]):
        moments.add(moments_of(part, x[0]))
    exact = x.astype(np.longdouble)
    np.testing.assert_allclose(moments.means, exact.mean(axis=0).astype(float), rtol=1e-15)
    np.testing.assert_allclose(moments.scales[:2], exact.std(axis=0)[:2].astype(float), rtol=1e-9)
    assert moments.scales[2] == 1.0 and moments.means[2] == 0.1  # exactly constant
    for n_held_out in (1, 7, 333, 999):  # the rows that are held out do not count
        moments, rows = ColumnMoments(3), ArrayRows(x)
        kept = Subset(rows, n_held_out, False).block(0, 1000 - n_held_out).features
        rows = Labelled(rows, x[:, :1], None)
        whole = rows.in_memory
        rows.blocks = lambda whole=whole: ((s, whole.part(s, s + 10)) for s in range(0, 1000, 10))
        first_pass(rows, "y", Subset(rows, n_held_out, False), moments, None, False)
        np.testing.assert_allclose(moments.means, kept.mean(axis=0), rtol=1e-13)


# --- networks ------------------------------------------------------------------------------------


def test_a_network_tells_three_classes_of_text_apart(tmp_path):
    from sklearn.datasets import load_iris

    data, path, model = load_iris(), tmp_path / "iris.csv", tmp_path / "model"
    lines = [",".join([*map(str, x), data.target_names[t]]) for x, t in zip(data.data, data.target, strict=True)]  # fmt: skip
    path.write_text("\n".join(["a,b,c,d,kind", *lines]) + "\n")
    output = run("train", path, "--target", "kind", "--hidden", "16,8",
                 "--save", model).output  # fmt: skip
    assert "4-16-8-3, relu and softmax" in output and "plain NumPy" not in output
    predicted = list(csv.reader(run("predict", model, path).output.splitlines()))
    assert predicted[0] == ["kind", *(f"probability_of_{c}" for c in data.target_names)]
    assert np.mean([p[0] == data.target_names[t] for p, t in zip(predicted[1:], data.target, strict=True)]) > 0.9  # fmt: skip
    assert np.allclose(np.array([p[1:] for p in predicted[1:]], dtype=float).sum(axis=1), 1.0)
    assert fastbp.load(model).predict(data.data[:2]).tolist() == [p[0] for p in predicted[1:3]]


@pytest.mark.parametrize(
    ("loss", "activations", "columns"),
    [
        (None, ("tanh", "sigmoid"), ["y", "probability_of_1"]),
        ("cross_entropy", ("tanh", "softmax"), ["y", "probability_of_0", "probability_of_1"]),
        ("mse", ("tanh", "identity"), ["y"]),
        ("huber", ("tanh", "identity"), ["y"]),
    ],
)
def test_what_a_network_predicts_follows_from_the_loss(tmp_path, table, loss, activations, columns):
    model = tmp_path / "model"
    arguments = [] if loss is None else ["--loss", loss]
    run("train", table, "--target", "y", "--hidden", 3, "--activation", "tanh", *arguments,
        "--optimizer", "sgd", "--save", model)  # fmt: skip
    loaded = fastbp.load(model)
    assert loaded.fit.activations == activations and loaded.fit.state.optimizer == fastbp.SGD()
    assert run("predict", model, table).output.splitlines()[0] == ",".join(columns)


def test_options_reach_the_fit(table, monkeypatch):
    seen = {}

    def fit_network(rows, labels, *start, **keywords):
        seen.update(keywords, start=start)
        raise ValueError("enough")

    monkeypatch.setattr("fastbp.command.fit.fit_network", fit_network)
    arguments = ["train", table, "--target", "y", "--hidden", 3]
    run(*arguments, code=1)
    assert (seen["batch_size"], seen["shuffle"], seen["optimizer"]) == (32, "window", "adam")
    assert seen["tol"] is None and seen["start"][2:] == (0.003, 100)
    run(*arguments, "--no-shuffle", "--threads", 2, "--alpha", 0.5, "--patience", 3, "--seed", 9,
        "--validation", 0.25, "--learning-rate", 0.0, "--batch-size", 7, "--dtype", "float32",
        code=1)  # fmt: skip
    for name, value in {
        "shuffle": False, "n_threads": 2, "alpha": 0.5, "tol": 0.0, "n_iter_no_change": 3,
        "random_state": 9, "validation": 0.25, "batch_size": 7, "dtype": "float32",
    }.items():  # fmt: skip
        assert seen[name] == value
    assert seen["start"][2] == 0.0


NEURON = ["neuron_steps", "online_neuron_steps", "neuron_outputs"]
ADAM = ["network_steps", "shared_steps", "network_outputs"]
SGD = ["network_steps", "tile_steps", "online_steps", "shared_steps", "network_outputs"]


@pytest.mark.parametrize(
    ("options", "kernels"),
    [
        ([], NEURON),
        (["--optimizer", "adam", "--batch-size", 16], NEURON),
        (["--hidden", 3], ADAM),
        (["--hidden", 3, "--validation", 0.2], ADAM),
        (["--hidden", 3, "--optimizer", "sgd"], SGD),
        (["--hidden", 3, "--optimizer", "sgd", "--alpha", 0.1], SGD),
        (["--dtype", "float32"], NEURON),
        (["--dtype", "float32", "--hidden", 3, "--optimizer", "sgd"], SGD),
    ],
)
def test_what_training_needs_is_compiled_before_it(table, options, kernels):
    code = """
from fastbp import warm_up
from fastbp.command import app, train
original = train.fit_rows
def compiled():
    return [kernel.__name__ for kernel in warm_up.KERNELS for _ in kernel.overloads]
def fit_rows(*arguments):
    before = compiled()
    done = original(*arguments)
    print(before, before == compiled())
    return done
train.fit_rows = fit_rows
app.main()
"""
    arguments = ["train", table, "--target", "y", "--epochs", 1, *options]
    command_line = [sys.executable, "-c", code, *map(str, arguments)]
    printed = subprocess.run(command_line, capture_output=True, text=True, check=True).stdout
    assert f"{kernels} True\n" in printed


# --- log, plot, checkpoint, interrupt -------------------------------------------------------------


def log_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_log_plot_and_early_stopping(tmp_path, table):
    log, plot, model = tmp_path / "l.csv", tmp_path / "l.png", tmp_path / "model"
    output = run("train", table, "--target", "y", "--hidden", 8, "--epochs", 500, "--validation", 0.3,
                 "--patience", 5, "--log", log, "--plot", plot, "--save", model).output  # fmt: skip
    lines, fit = log_of(log), fastbp.load(model).fit
    assert list(lines[0]) == ["epoch", "loss", "validation_loss", "seconds"]
    assert [float(line["loss"]) for line in lines] == fit.losses.tolist()
    assert [int(line["epoch"]) for line in lines] == list(range(1, fit.n_epochs + 1))
    validation = [float(line["validation_loss"]) for line in lines]
    assert fit.stopped == "tol" and fit.n_epochs < 500
    assert np.argmin(validation) == fit.n_epochs - 6
    assert f"lowest, in epoch {fit.n_epochs - 5}" in output and "stopped early" in output
    assert "112 x 3" in output and "40 rows held out, 48 for validation" in output
    seconds = [float(line["seconds"]) for line in lines]
    assert seconds == sorted(seconds)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert all(f"written to {path}" in output for path in (log, plot, model))


@pytest.mark.parametrize(("suffix", "begins"), [(".svg", b"<?xml"), (".PDF", b"%PDF")])
def test_the_suffix_says_what_the_plot_is(tmp_path, table, suffix, begins):
    plot = tmp_path / f"l{suffix}"
    run("train", table, "--target", "y", "--epochs", 3, "--plot", plot)
    assert plot.read_bytes().startswith(begins)
    run("train", table, "--target", "y", "--epochs", 0, "--plot", plot)


def test_a_plot_that_cannot_be_made_is_refused_before_training(tmp_path, table, monkeypatch):
    monkeypatch.setattr("fastbp.command.train.fit_rows", None)
    arguments = ["train", table, "--target", "y", "--plot"]
    refused = run(*arguments, tmp_path / "l.txt", code=2).stderr
    assert "l.txt: expected a file that ends in" in refused
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    refused = run(*arguments, tmp_path / "l.png", code=1).stderr
    assert "--plot needs Matplotlib: pip install 'fastbp[plot]'" in refused


def test_a_run_goes_on_from_its_checkpoint(tmp_path, table):
    def train(name, epochs, *more):
        checkpoint = [] if name == "whole" else ["--checkpoint", tmp_path / "c"]
        return run("train", table, "--target", "y", "--hidden", 5, "--validation", 0.2, "--epochs", epochs,
                   "--log", tmp_path / f"{name}.csv", "--save", tmp_path / name, *checkpoint, *more)  # fmt: skip

    train("whole", 9)
    train("parts", 4)
    before = log_of(tmp_path / "parts.csv")
    result = train("parts", 9)
    assert f"continued from {tmp_path / 'c'} after 4 epochs\n" in result.stderr
    assert bits(tmp_path / "parts") == bits(tmp_path / "whole")
    after = log_of(tmp_path / "parts.csv")
    assert after[:4] == before and len(after) == 9
    assert float(after[4]["seconds"]) >= float(before[3]["seconds"])
    for one, other in zip(after, log_of(tmp_path / "whole.csv"), strict=True):
        assert {**one, "seconds": ""} == {**other, "seconds": ""}
    result = train("parts", 9)
    assert "after 9 epochs; for more, raise --epochs" in result.stderr
    assert "rows per second" not in result.output and log_of(tmp_path / "parts.csv") == after
    (tmp_path / "parts.csv").unlink()  # what can be known of lost lines is there again
    train("parts", 10)
    lines = log_of(tmp_path / "parts.csv")
    assert [line["loss"] for line in lines[:9]] == [line["loss"] for line in after]
    assert [line["seconds"] == "" for line in lines] == [True] * 9 + [False]
    refused = run("train", table, "--target", "y", "--checkpoint", tmp_path / "c", code=1)
    assert "another one" in refused.stderr and refused.stdout == ""


def test_other_labels_are_another_training(tmp_path, table):
    arguments = ["train", table, "--target", "y", "--epochs", 3, "--checkpoint", tmp_path / "c"]
    run(*arguments)
    text = table.read_text().splitlines()
    text[7] = text[7][:-1] + str(1 - int(text[7][-1]))
    table.write_text("\n".join(text) + "\n")
    assert "features differ" in run(*arguments, code=1).stderr


@pytest.fixture
def interrupt_after(monkeypatch):
    """Press Ctrl-C once, at the end of an epoch that is written to the log."""
    import signal

    from fastbp.command.loss_log import LossLog

    original = LossLog.__call__

    def set_up(epochs):
        def call(self, state):
            original(self, state)
            if state.epoch + 1 == epochs:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(LossLog, "__call__", call)

    return set_up


@pytest.mark.parametrize("saves", [True, False])
def test_an_interrupt_leaves_everything_written(tmp_path, table, interrupt_after, saves):
    interrupt_after(3)
    log, plot, model, checkpoint = (tmp_path / n for n in ("l.csv", "l.svg", "m", "c"))
    arguments = ["train", table, "--target", "y", "--epochs", 8, "--log", log, "--plot", plot]
    if saves:
        arguments += ["--save", model, "--checkpoint", checkpoint]
    result = run(*arguments, code=130)
    assert "interrupted after 3 epochs" in result.stderr and "accuracy" in result.stdout
    assert len(log_of(log)) == 3 and plot.exists()
    if not saves:
        assert "no model written (--save)" in result.stderr
        return
    assert f"model written to {model}; run the same command again to continue" in result.stderr
    assert fastbp.load(model).fit.n_epochs == 3
    interrupt_after(0)
    run(*arguments)
    assert fastbp.load(model).fit.n_epochs == 8 and len(log_of(log)) == 8


def test_an_interrupt_spares_the_held_out_rows_of_a_stream(tmp_path, interrupt_after, streams):
    interrupt_after(1)
    path, _ = written(tmp_path, "t.npy", numbers())
    result = run("train", path, "--epochs", 5, "--log", tmp_path / "l.csv", code=130)
    assert "accuracy" not in result.stdout and "loss" in result.stdout


def test_an_error_in_the_fit_leaves_the_model_so_far(tmp_path, table, monkeypatch):
    def full(self, state):
        if state.epoch == 4:
            raise OSError(28, "No space left on device", "l.csv")

    monkeypatch.setattr("fastbp.command.loss_log.LossLog.__call__", full)
    model = tmp_path / "model"
    arguments = ["train", table, "--target", "y", "--log", tmp_path / "l.csv", "--save", model]
    result = CliRunner().invoke(command, [str(a) for a in arguments])
    assert result.exit_code == 1
    assert "model so far written" in result.stderr
    assert "Error: l.csv: No space left on device" in result.stderr
    assert fastbp.load(model).fit.n_epochs == 5


def test_a_fit_that_cannot_start_leaves_the_old_log(tmp_path, table):
    log = tmp_path / "l.csv"
    run("train", table, "--target", "y", "--epochs", 3, "--log", log)
    before = log.read_bytes()
    run("train", table, "--target", "z", "--log", log, code=2)
    assert log.read_bytes() == before


@pytest.mark.parametrize("option", ["--save", "--log", "--plot", "--checkpoint"])
def test_outputs_that_cannot_be_written_are_refused_at_once(tmp_path, table, option, monkeypatch):
    monkeypatch.setattr("fastbp.command.train.open_source", None)
    arguments = ["train", table, "--target", "y", option]
    assert "is not a folder" in run(*arguments, tmp_path / "no" / "m.png", code=2).stderr
    assert "is a folder" in run(*arguments, tmp_path, code=2).stderr
    assert "would be overwritten" in run(*arguments, table, code=2).stderr
    other = "--log" if option == "--save" else "--save"
    both = run(*arguments, tmp_path / "o.png", other, tmp_path / "o.png", code=2)
    assert "expected different files" in both.stderr
    shard = ["train", tmp_path, "--target", "y", option, tmp_path / "new.csv"]
    assert "it would be taken for rows" in run(*shard, code=2).stderr

    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    assert (
        "cannot be written: Permission denied" in run(*arguments, tmp_path / "m.png", code=2).stderr
    )


def test_wrong_options(table):
    arguments = ["train", table, "--target", "y"]
    for text in ("64,", "0", "a", "64;32", ""):
        assert "sizes of layers such as 64,32" in run(*arguments, "--hidden", text, code=2).stderr
    assert "goes with --hidden" in run(*arguments, "--loss", "cross_entropy", code=2).stderr
    for option in ("--batch-size", "--threads", "--patience", "--validation"):
        assert f"'{option}'" in run(*arguments, option, 0, code=2).stderr


# --- synth ---------------------------------------------------------------------------------------


def test_synth(tmp_path):
    path = tmp_path / "rows.npy"
    output = run("synth", "3_000x4", "--out", path, "--seed", 3, "--noise", 0.5,
                 "--distribution", "uniform").output  # fmt: skip
    for text in ("3,000 x 4", "0 or 1, in the last column, 4", f"{path}, 120.1 kB"):
        assert text in output
    x, y, _, _ = fastbp.datasets.make_neuron_dataset(
        3000, 4, noise=0.5, seed=3, distribution="uniform"
    )
    assert np.array_equal(np.load(path), np.column_stack([x, y]))
    command_line = output.splitlines()[-1].split("fastbp ")[1].split()
    assert "3,000" not in run(*command_line, "--epochs", 2).output


@pytest.mark.parametrize("shape", ["10", "10y3", "0x3", "3x0", "-1x3", "1.5x3", "x", "10x", "_x3"])
def test_synth_refuses_other_shapes(tmp_path, shape):
    refused = run("synth", "--out", tmp_path / "r.npy", "--", shape, code=2).stderr
    assert "expected rows x features such as 1000000x20" in refused


def test_synth_refuses_what_cannot_be_written(tmp_path):
    assert "Missing option" in run("synth", "3x3", code=2).stderr
    assert "ends in .npy" in run("synth", "3x3", "--out", tmp_path / "r.csv", code=2).stderr
    assert (
        "is not a folder" in run("synth", "3x3", "--out", tmp_path / "n" / "r.npy", code=2).stderr
    )
    refused = run("synth", f"{10**15}x3", "--out", tmp_path / "r.npy", code=1).stderr
    assert "expected 32.0 PB of free disk space" in refused
    assert list(tmp_path.iterdir()) == []


# --- the bar -------------------------------------------------------------------------------------


def test_the_bar_fits_80_columns_and_counts_from_where_it_begins(capsys, monkeypatch):
    from fastbp.system.progress import Progress

    monkeypatch.setenv("COLUMNS", "80")
    with Progress("always", 1000, 800_000) as progress:
        progress.begin(300, 0)
        bar = progress._bar
        bar.ncols, bar.dynamic_ncols, bar.mininterval = 79, False, 0.0
        bar.start_t -= 10.0
        progress.show(305, 0, 0.00123456, 0.2345678)
        assert bar.format_dict["n"] - bar.format_dict["initial"] == 5 * 800_000
        text = str(bar)
    assert text.startswith("epoch 305/1000  30%|") and len(text) <= 79
    assert " loss 0.001235 val 0.2346 " in text and "row/s 00:10<" in text
    assert "?" not in text
    for show in (False, True):  # nothing where the output is no terminal
        with Progress(show, 10, 10) as progress:
            progress.begin(1, 0)
            progress.show(2, 0, 0.5)
    capsys.readouterr()


@pytest.mark.parametrize("hidden", [(), ("--hidden", "4")])
def test_lbfgs_converges_without_a_rate(cancer, tmp_path, hidden):
    how = ("--target", "diagnosis", "--optimizer", "lbfgs", "--alpha", "1", *hidden)
    path = tmp_path / "fit.safetensors"
    report = run("train", cancer, *how, "--epochs", "400", "--checkpoint", path)
    assert "converged" in cells(report, "loss")[1]
    assert float(cells(report, "accuracy")[0].rstrip("%")) >= 95.0
    run("train", cancer, *how, "--epochs", "400", "--checkpoint", path)  # nothing is left to do
    early = run(
        "train", cancer, *how, "--alpha", "0", "--validation", "0.2", "--patience", "3",
        "--dtype", "float32",
    )  # fmt: skip
    assert "stopped early" in cells(early, "loss")[1]


@pytest.mark.parametrize(
    "option", [("--learning-rate", "0"), ("--batch-size", "8"), ("--shuffle",)]
)
def test_lbfgs_has_no_batches(cancer, option):
    how = ("--target", "diagnosis", "--optimizer", "lbfgs")
    refused = run("train", cancer, *how, *option, code=2)
    assert f"{option[0]}: not with --optimizer lbfgs" in refused.stderr
    run("train", cancer, *how, "--no-shuffle", "--epochs", "2")


def test_lbfgs_diverges_at_the_start_only(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,y\n" + "".join(f"{i}e200,{i}e200\n" for i in range(9)))
    how = ("--target", "y", "--number", "--optimizer", "lbfgs", "--no-standardize")
    failed = run("train", path, *how, "--activation", "relu", code=1)
    assert "the loss is no longer finite in epoch 0: leave out --no-standardize" in failed.stderr
