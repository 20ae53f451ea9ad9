"""The command on ordinary tables: which columns it takes, and what the target is."""

import csv

import numpy as np
import pytest

import fastbp
from tests.command.running import cells, run

TARGET = ["--target", "y", "--epochs", 3]


def write(folder, columns, name="t.csv", delimiter=",", header=True):
    """Write columns as text; return the path."""
    path = folder / name
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        if header:
            writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def columns(n=60):
    """Return two features, an index, a name, a date and gaps, and a target that follows them."""
    a, b = np.random.default_rng(0).normal(size=(2, n))
    return {
        "a": a.tolist(),
        "id": list(range(n)),
        "full name": [f"Mr {i}" for i in range(n)],
        "day": ["2024-01-02"] * n,
        "gap": ["" if i == 7 else i for i in range(n)],
        "b": b.tolist(),
        "y": (a > b).astype(int).tolist(),
    }


def taken(model):
    """Return the columns of a model that was saved."""
    return fastbp.load(model).columns


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_error_names_every_column_in_the_way_and_the_ways_out(tmp_path, kind):
    import pyarrow as pa
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    path = write(tmp_path, columns())
    if kind == "parquet":
        table, path = arrow_csv.read_csv(path), tmp_path / "t.parquet"
        assert table.schema.field("day").type == pa.date32()
        parquet.write_table(table, path)
    refused = run("train", path, *TARGET, code=1).stderr
    assert f"{path}: column 'full name': expected " in refused
    options = ["--exclude", "full name", "--exclude", "day", "--exclude", "gap"]
    assert "--exclude 'full name' --exclude day --exclude gap" in refused
    assert "scikit-learn" in refused and "README" in refused
    run("train", path, *TARGET, *options, "--save", tmp_path / "m")
    assert taken(tmp_path / "m") == ["a", "id", "b"]
    run("train", path, *TARGET, "--columns", "b", "--columns", "a", "--save", tmp_path / "m")
    assert taken(tmp_path / "m") == ["b", "a"]
    run("predict", tmp_path / "m", path)


def test_the_way_out_of_a_stream(tmp_path, monkeypatch):
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 0)
    path = write(tmp_path, columns())
    refused = run("train", path, *TARGET, code=1).stderr
    assert "in row 0; leave out with --exclude 'full name', or make" in refused


def test_the_pipeline_of_the_readme_takes_text_and_gaps():
    pandas = pytest.importorskip("pandas")
    from sklearn import compose, impute, pipeline, preprocessing

    encode = compose.make_column_transformer(
        (preprocessing.OneHotEncoder(sparse_output=False), ["sex"]),
        remainder=impute.SimpleImputer(),
    )
    model = pipeline.make_pipeline(
        encode, preprocessing.StandardScaler(), fastbp.NeuronClassifier()
    )
    table = pandas.DataFrame({"sex": ["m", "f"] * 20, "age": [20.0, np.nan, 30.0, 40.0] * 10})
    assert model.fit(table, [1, 0] * 20).score(table, [1, 0] * 20) == 1.0


def test_an_index_that_was_written_is_warned_about_in_one_line(tmp_path):
    path = write(tmp_path, {"": [0, 1, 2, 3], "a": [1, 2, 3, 4], "y": [0, 1, 0, 1]})
    warned = run("train", path, *TARGET).stderr
    assert warned.startswith(f"Warning: {path}: the feature '' has no name")
    assert "--exclude leaves it out" in warned and warned.count("\n") == 1
    assert run("train", path, *TARGET, "--exclude", "").stderr == ""


def test_marks_header_and_standard_input(tmp_path):
    n = 40
    values = {"a": np.arange(n) / 4, "b": np.arange(n) % 5 / 2, "y": np.arange(n) % 2}
    plain = write(tmp_path, {name: v.tolist() for name, v in values.items()})
    texts = {name: [f"{x:g}".replace(".", ",") for x in v] for name, v in values.items()}
    semicolons = write(tmp_path, texts, "semicolons.csv", ";")
    tabs = write(tmp_path, {n: v.tolist() for n, v in values.items()}, "tabs.csv", "\t")
    nameless = write(tmp_path, texts, "nameless.csv", ";", header=False)
    european = ["--delimiter", ";", "--decimal", ","]
    sources = [
        ([plain, *TARGET], [plain], None),
        ([semicolons, *TARGET, *european], [semicolons, *european], None),
        ([tabs, *TARGET, "--delimiter", "\\t"], [tabs, "--delimiter", "\\t"], None),
        (["-", *TARGET], ["-", "--out", "-"], plain.read_bytes()),
        ([nameless, "--epochs", 3, *european, "--no-header"],
         [nameless, *european, "--no-header"], None),
    ]  # fmt: skip
    found = []
    for training, prediction, stdin in sources:
        run("train", *training, "--save", tmp_path / "m", stdin=stdin)
        predicted = run("predict", tmp_path / "m", *prediction, stdin=stdin).stdout
        found.append(
            (fastbp.load(tmp_path / "m").fit.weights.tolist(), predicted.split("\n", 1)[1])
        )
    assert all(each == found[0] for each in found)
    assert taken(tmp_path / "m") == ["0", "1"]
    assert "--delimiter ';' reads it" in run("train", semicolons, *TARGET, code=1).stderr
    for option in ("target", "columns", "exclude", "weights"):
        wrong = [*TARGET, f"--{option}", "z"]
        refused = run("train", "-", *wrong, code=2, stdin=plain.read_bytes()).stderr
        assert (
            f"--{option}: expected a column of standard input ('a', 'b', 'y'), got 'z'" in refused
        )
    assert (
        "--target: expected a column of standard input ('a'"
        in run("train", "-", code=2, stdin=plain.read_bytes()).stderr
    )
    warned = run("train", "-", *TARGET, stdin=b"a,Unnamed: 0,y\n1,2,0\n2,3,1\n").stderr
    assert warned.startswith("Warning: standard input: the feature 'Unnamed: 0' has no name")


def test_an_option_of_text_that_is_missing_or_one_too_many(tmp_path):
    table = dict(zip("aby", np.random.default_rng(0).normal(size=(3, 30)).tolist(), strict=True))
    nameless = write(tmp_path, table, "nameless.csv", header=False)
    named = write(tmp_path, table)
    hint = "; --no-header takes the first line for a row\n"
    options = ["--number", "--epochs", 2, "--no-compare"]
    for target in ([], ["--target", 2], ["--target", "y"]):
        assert run("train", nameless, *target, *options, code=2).stderr.endswith(hint)
    run("train", nameless, "--no-header", *options, "--save", tmp_path / "m")
    assert run("predict", tmp_path / "m", nameless, code=1).stderr.endswith(hint)
    refused = run("predict", tmp_path / "m", named, "--no-header", code=1).stderr
    assert "got 'a' in row 0 (is the first line a header?)" in refused
    np.save(tmp_path / "rows.npy", np.ones((4, 3)))
    for option, got in ((["--no-header"], ""), (["--decimal", ","], ", got ','")):
        for arguments in (["train"], ["predict", tmp_path / "m"]):
            refused = run(*arguments, tmp_path / "rows.npy", *option, code=2).stderr
            expected = f"{option[0]}: expected none for {tmp_path}/rows.npy, which is no .csv or"
            assert refused.endswith(f"{expected} .tsv file{got}\n")


def test_columns_without_names_are_numbers(tmp_path):
    values = np.random.default_rng(0).normal(size=(50, 5))
    values[:, 1] = values[:, 0] > 0
    values[:, 3], values[9, 2] = np.abs(values[:, 3]), np.nan
    np.save(tmp_path / "t.npy", values)
    arguments = ["train", tmp_path / "t.npy", "--target", "-4", "--weights", 3, "--epochs", 2]
    refused = run(*arguments, code=1).stderr
    assert "row 9, column '2'; leave out with --exclude 2, or" in refused
    run(*arguments, "--exclude", "2", "--save", tmp_path / "m")
    model = fastbp.load(tmp_path / "m")
    assert (model.columns, model.target) == (["0", "4"], "1")
    run(*arguments, "--columns", "-1", "--save", tmp_path / "m")
    assert taken(tmp_path / "m") == ["4"]
    for wrong in (["--exclude", 9], ["--columns", "a"], ["--weights", 5]):
        refused = run(*arguments, *wrong, code=2).stderr
        assert "t.npy" in refused and f"{wrong[0]}: expected" in refused


def test_a_hint_is_given_once(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    spans = pa.array([1, 2], pa.int64()).cast(pa.duration("s"))
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"a": [1.0, 2.0], "d": spans, "y": [0, 1]}), path)
    refused = run("train", path, *TARGET, code=1).stderr
    assert refused.count("--exclude") == 1 and "got duration[s]; leave out with" in refused
    assert run("train", path, "--target", "d", code=1).stderr.endswith("got duration[s]\n")


def test_weights_of_rows(tmp_path):
    data = columns()
    data = {name: data[name] for name in "aby"}
    weight = np.random.default_rng(1).integers(0, 4, 60)
    path = write(tmp_path, {**data, "w": weight.tolist()})
    options = [*TARGET, "--weights", "w", "--held-out", 0, "--no-standardize"]
    run("train", path, *options, "--save", tmp_path / "m")
    assert taken(tmp_path / "m") == ["a", "b"]
    x, y = np.column_stack([data["a"], data["b"]]), np.array(data["y"])
    keywords = {"loss": "bce", "sample_weight": weight}
    expected = fastbp.fit_neuron(x, y, [0.0, 0.0], 0.0, 0.5, 3, **keywords)
    assert fastbp.load(tmp_path / "m").fit.weights.tolist() == expected.weights.tolist()
    run("train", path, *options, "--class-weight", "balanced", "--save", tmp_path / "m")
    sums = np.bincount(y, weight)
    keywords["sample_weight"] = weight * (sums.sum() / 2 / sums)[y]
    expected = fastbp.fit_neuron(x, y, [0.0, 0.0], 0.0, 0.5, 3, **keywords)
    assert fastbp.load(tmp_path / "m").fit.weights.tolist() == expected.weights.tolist()
    for bad in (-1, ""):
        wrong = write(tmp_path, {**data, "w": [*weight[:40].tolist(), bad, *weight[41:].tolist()]})
        refused = run("train", wrong, *options, code=1).stderr
        assert "--weights: expected a finite number, not negative, got" in refused
        assert refused.endswith("in row 40\n")


@pytest.mark.parametrize("large", [False, True])
def test_balanced_classes_weigh_the_same_from_memory_and_from_a_stream(tmp_path, request, large):
    if large:
        request.getfixturevalue("monkeypatch").setattr("fastbp.data.arrays.WHOLE_BYTES", 0)
    x = np.random.default_rng(0).normal(size=200)
    path = write(tmp_path, {"x": x.tolist(), "y": ["rare" if a > 1.2 else "often" for a in x]})
    rates = []
    for option in ([], ["--class-weight", "balanced"]):
        result = run("train", path, "--target", "y", "--epochs", 30, *option)
        rates.append(float(cells(result, "recall of rare")[0].rstrip("%")))
    assert rates[0] < rates[1]


def test_numbers_to_predict_or_classes(tmp_path):
    n = 300
    x = np.random.default_rng(0).normal(size=n)
    prices = write(tmp_path, {"x": x.tolist(), "y": [int(1000 + 100 * a) for a in x]})
    for options in ([], ["--hidden", 4]):
        refused = run("train", prices, *TARGET, *options, code=1).stderr
        assert "column 'y': expected --number or --classes for " in refused
        assert "--number predicts them, --classes" in refused
    for options in (["--number"], ["--number", "--hidden", 8], ["--activation", "identity"]):
        result = run("train", prices, "--target", "y", "--epochs", 300, *options,
                     "--save", tmp_path / "m")  # fmt: skip
        assert float(cells(result, "R2")[0]) > 0.9
        error = float(cells(result, "root mean square error")[0])
        assert error < 30.0  # of a deviation of 100: in the units of the target
        predicted = run("predict", tmp_path / "m", prices).stdout.split()[1:]
        assert abs(np.mean(np.array(predicted, dtype=float)) - 1000.0) < 30.0
        model = fastbp.load(tmp_path / "m")
        assert model.predict([[x.mean()]]).shape == (1,) and abs(model.target_mean - 1000) < 30
    run("train", prices, *TARGET, "--classes", "--hidden", 4, "--save", tmp_path / "m")
    assert len(fastbp.load(tmp_path / "m").classes) > 100
    assert "two different labels" in run("train", prices, *TARGET, "--classes", code=1).stderr


@pytest.mark.parametrize(
    ("labels", "ambiguous"),
    [
        (list(range(21)), False),
        (list(range(1, 21)), False),
        (list(range(1, 22)), True),
        ([*range(20), 40], True),
        ([0.5, 1.5], False),
        ([0.5, 1.5, 2.0], True),
        (["a", "b", "c"] + [str(i) for i in range(30)], False),
    ],
)
def test_which_numbers_are_clearly_classes(tmp_path, labels, ambiguous):
    y = labels * 3
    path = write(tmp_path, {"x": list(range(len(y))), "y": y})
    result = run("train", path, *TARGET, "--hidden", 2, code=int(ambiguous))
    assert ("--number predicts them, --classes takes" in result.stderr) == ambiguous
    run("train", path, *TARGET, "--hidden", 2, "--classes")


def test_activations_with_a_range_of_their_own_leave_the_target(tmp_path):
    x = np.random.default_rng(0).normal(size=100)
    path = write(tmp_path, {"x": x.tolist(), "y": np.exp(x).tolist()})
    run("train", path, *TARGET, "--activation", "softplus", "--save", tmp_path / "m")
    model = fastbp.load(tmp_path / "m")
    assert (model.target_mean, model.target_scale) == (0.0, 1.0)
    assert (model.predict(x[:, None]) > 0.0).all()


def test_features_are_standardized_unless_told_otherwise(tmp_path):
    data = columns()
    path = write(tmp_path, {"a": [1e6 * v for v in data["a"]], "b": data["b"], "y": data["y"]})
    result = run("train", path, "--target", "y", "--save", tmp_path / "m")
    assert result.stderr == "" and fastbp.load(tmp_path / "m").scales[0] > 1e5
    result = run("train", path, "--target", "y", "--no-standardize", "--save", tmp_path / "m")
    assert "the loss rose" in result.stderr and "leave out --no-standardize" in result.stderr
    assert fastbp.load(tmp_path / "m").scales.tolist() == [1.0, 1.0]


def test_more_numbers_than_there_can_be_classes_have_one_way_out(tmp_path):
    path = write(tmp_path, {"x": list(range(1002)), "y": [i / 2 for i in range(1002)]})
    refused = run("train", path, *TARGET, "--hidden", 2, code=1).stderr
    assert "more than 1000 different numbers" in refused
    assert refused.endswith("; --number predicts them\n")


def test_a_model_too_large_for_memory_is_an_error_of_one_line(tmp_path):
    path = write(tmp_path, {"x": [1.0, 2.0], "y": [0, 1]})
    assert "allocate" in run("train", path, *TARGET, "--hidden", 10**13, code=1).stderr


@pytest.mark.parametrize("large", ["a", "y"])
def test_numbers_too_large_to_standardize(tmp_path, large):
    data = {"a": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.0, 3.0, 5.0]}
    data[large] = [1e200 * value for value in data[large]]
    refused = run("train", write(tmp_path, data), *TARGET, "--number", code=1).stderr
    assert f"column {large!r}: expected numbers whose squares float64 can hold" in refused
    assert ("--exclude a" in refused) == (large == "a")


USAGE = [
    (["FILE"], "--target: expected a column of "),
    (["FILE"], "('a', 'b', 'y'), got none"),
    (["FOLDER"], "('a', 'b', 'y'), got none"),
    (["--target", "y"], "go with FILE"),
    (["--exclude", "y"], "go with FILE"),
    (["--no-header"], "go with FILE"),
    (["none.csv", "--target", "y"], "does not exist"),
    (["t.txt", "--target", "y"], "expected a folder, or a file that ends in .npy"),
    (["FILE", *TARGET, "--learning-rate", -0.1], "--learning-rate"),
    (["FILE", *TARGET, "--learning-rate", "nan"], "nan is not a finite number"),
    (["FILE", *TARGET, "--learning-rate", "inf"], "inf is not a finite number"),
    (["FILE", *TARGET, "--alpha", "nan"], "--alpha"),
    (["FILE", *TARGET, "--held-out", 1], "--held-out"),
    (["FILE", *TARGET, "--held-out", "nan"], "--held-out"),
    (["FILE", *TARGET, "--validation", "nan"], "--validation"),
    (["FILE", *TARGET, "--checkpoint-every", "nan"], "--checkpoint-every"),
    (["FILE", *TARGET, "--epochs", -1], "--epochs"),
    (["FILE", *TARGET, "--seed", 10**20], "--seed"),
    (["FILE", *TARGET, "--save", "-"], "--save"),
    (["FILE", *TARGET, "--delimiter", ";;"], "--delimiter"),
    (["FILE", *TARGET, "--decimal", "5"], "--decimal"),
    (["FILE", *TARGET, "--plot", "l.txt"], "l.txt: expected a file that ends in"),
    (["FILE", *TARGET, "--activation", "tanh", "--loss", "bce"], "goes with --activation sigmoid"),
    (["FILE", *TARGET, "--number", "--loss", "bce"], "--number: not with --loss bce"),
    (["FILE", *TARGET, "--number", "--activation", "sigmoid"], "not with --activation sigmoid"),
    (["FILE", *TARGET, "--classes", "--activation", "tanh"], "not with --activation tanh"),
    (["FILE", *TARGET, "--classes", "--hidden", 2, "--loss", "mse"], "--classes: not with --loss"),
    (["FILE", *TARGET, "--number", "--class-weight", "balanced"], "not with --number"),
]


@pytest.mark.parametrize(("arguments", "message"), USAGE)
def test_errors_of_usage_exit_with_2(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    data = columns()
    path = write(tmp_path, {name: data[name] for name in "aby"})
    (tmp_path / "t.txt").write_text("")
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder", {name: data[name] for name in "aby"})
    names = {"FILE": path, "FOLDER": tmp_path / "folder"}
    refused = run("train", *(names.get(a, a) for a in arguments), code=2).stderr
    assert message in refused and refused.startswith("Usage: ")


def test_other_commands_exit_with_2_on_errors_of_usage(tmp_path):
    path = write(tmp_path, {"a": [1.0]})
    assert "does not exist" in run("predict", tmp_path / "none", path, code=2).stderr
    assert "does not exist" in run("predict", path, tmp_path / "none.csv", code=2).stderr
    assert "--noise" in run("synth", "3x3", "--out", "x.npy", "--noise", "nan", code=2).stderr


def test_a_column_of_json_that_changes_its_type_can_be_left_out(tmp_path):
    import json

    values, path = columns(), tmp_path / "t.jsonl"
    a, b, y = values["a"], values["b"], values["y"]
    rows = [
        {"u": i if i < 30 else "many", "a": p, "b": q, "y": t}
        for i, (p, q, t) in enumerate(zip(a, b, y, strict=True))
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    refused = run("train", path, *TARGET, code=1).stderr
    assert "in row 30; leave out with --exclude u, or make numbers" in refused
    run("train", path, *TARGET, "--exclude", "u", "--save", tmp_path / "m")
    predicted = run("predict", tmp_path / "m", path).stdout
    assert predicted == run("predict", tmp_path / "m", write(tmp_path, values)).stdout
