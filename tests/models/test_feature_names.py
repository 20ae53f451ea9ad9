"""Names of columns: a fit remembers them, a model file finds its columns by them."""

import numpy as np
import pytest

import fastbp
from fastbp.models.table_model import TableModel

pd = pytest.importorskip("pandas", reason="tables with names")
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(RNG.normal(size=(40, 2)), columns=["a", "b"])
OTHER = FRAME[["b", "a"]]
Y = (FRAME["a"] > 0).to_numpy() * 1.0
W, B = fastbp.initialize_network([2, 3, 1], activations=["tanh", "sigmoid"], random_state=0)


def neuron(rows, labels=Y, **keywords):
    return fastbp.fit_neuron(rows, labels, [0.0, 0.0], 0.0, 1.0, 20, **keywords)


def network(rows, labels=Y, **keywords):
    names = ["tanh", "sigmoid"]
    return fastbp.fit_network(rows, labels, W, B, 1.0, 20, activations=names, **keywords)


def single(rows, labels=Y, **keywords):
    return fastbp.Neuron(2, [0.0, 0.0], 0.0).fit(rows, labels, 1.0, 20, **keywords)


def perceptron(rows, labels=Y, **keywords):
    layers = [fastbp.Layer(2, 3, random_state=0), fastbp.Layer(3, 1, random_state=1)]
    return fastbp.Perceptron(layers).fit(rows, labels, 5, **keywords)


FITS = [neuron, network, single, perceptron]


@pytest.mark.parametrize("stored", [False, True], ids=["fit", "file"])
@pytest.mark.parametrize("fit", FITS)
def test_a_fit_holds_scikit_learns_rule(fit, stored, tmp_path):
    model = fit(FRAME)
    if stored:
        fastbp.save(model, tmp_path / "m")
        model = fastbp.load(tmp_path / "m")
    right = model.predict(FRAME.to_numpy())
    np.testing.assert_array_equal(model.predict(FRAME), right)
    np.testing.assert_array_equal(model.predict(fastbp.open_rows(FRAME)), right)
    expected = r"features: expected the columns of the fit \('a', 'b'\), got "
    for table, got in [
        (OTHER, "'b', 'a' in another order"),
        (fastbp.open_rows(OTHER), "'b', 'a' in another order"),
        (FRAME.rename(columns={"a": "A"}), "none named 'a', but also 'A'"),
        (FRAME[["b"]], "none named 'a'"),
        (FRAME.assign(c=1.0), "also 'c'"),
    ]:
        with pytest.raises(ValueError, match=expected + got):
            model.predict(table)


@pytest.mark.parametrize("fit", FITS)
def test_rows_without_names(fit):
    model = fit(FRAME.to_numpy())
    np.testing.assert_array_equal(model.predict(FRAME), model.predict(FRAME.to_numpy()))
    numbered = FRAME.set_axis([0, 1], axis=1)
    np.testing.assert_array_equal(fit(FRAME).predict(numbered), model.predict(FRAME.to_numpy()))


@pytest.mark.parametrize("kind", ["polars", "pyarrow"])
def test_other_tables(kind):
    library = pytest.importorskip(kind, reason="a table of another library")
    make = library.DataFrame if kind == "polars" else library.table
    columns = {name: FRAME[name].to_numpy() for name in FRAME}
    model = neuron(make(columns))
    assert model.feature_names == ["a", "b"]
    with pytest.raises(ValueError, match="in another order"):
        model.predict(make({name: columns[name] for name in "ba"}))


def test_columns_of_a_file_and_of_validation_rows(tmp_path):
    FRAME.assign(y=Y).to_csv(tmp_path / "x.csv", index=False)
    model = network(fastbp.open_rows(tmp_path / "x.csv", target="y"), None)
    assert model.feature_names == ["a", "b"]
    with pytest.raises(ValueError, match="in another order"):
        model.predict(fastbp.open_rows(tmp_path / "x.csv", columns=["b", "a"]))
    for fit in (neuron, network):
        fit(FRAME, validation=(FRAME, Y))
        with pytest.raises(ValueError, match=r"validation\[0\]: expected .* in another order"):
            fit(FRAME, validation=(OTHER, Y))


def test_a_bad_value_is_named():
    with pytest.raises(fastbp.DataError, match="got nan in row 3, column 'b'"):
        neuron(FRAME.assign(b=np.where(np.arange(40) == 3, np.nan, 1.0)))


def table_model(fit=neuron, **keywords):
    scaling = np.array([0.5, -0.5]), np.array([2.0, 3.0])
    return TableModel(fit(FRAME), ["a", "b"], "y", *scaling, ["no", "yes"], **keywords)


@pytest.mark.parametrize("fit", [neuron, network])
def test_a_model_file_goes_by_name(fit, tmp_path, monkeypatch):
    fastbp.save(table_model(fit), tmp_path / "m")
    model = fastbp.load(tmp_path / "m")
    right = model.outputs(FRAME.to_numpy())
    more = OTHER.assign(c=np.nan).iloc[:, [2, 0, 1]]
    more.to_csv(tmp_path / "x.csv", index=False)
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 8 * 3 * 7)  # several blocks
    for table in (
        FRAME,
        OTHER,
        more,
        fastbp.open_rows(tmp_path / "x.csv"),
        fastbp.open_rows(OTHER),
    ):
        np.testing.assert_array_equal(model.outputs(table), right)
        assert list(model.predict(table)) == list(model.predict(FRAME))
    np.testing.assert_array_equal(model.outputs(fastbp.open_rows(FRAME.to_numpy())), right)
    for table in (FRAME[["a"]], fastbp.open_rows(FRAME[["a"]])):
        with pytest.raises(
            ValueError, match="expected the columns of the model, got none named 'b'"
        ):
            model.predict(table)
    with pytest.raises(ValueError, match="source: expected 2 columns of features, got 1"):
        model.predict(fastbp.open_rows(FRAME[["a"]].to_numpy()))


def test_values_that_are_not_finite_are_located(tmp_path):
    FRAME.assign(b=np.where(np.arange(40) == 3, np.nan, 1.0)).to_csv(
        tmp_path / "x.csv", index=False
    )
    with pytest.raises(fastbp.DataError, match=r"x.csv: .* got nan in row 3, column 'b'"):
        table_model().predict(fastbp.open_rows(tmp_path / "x.csv", columns=["b", "a"]))


def test_a_model_without_names_goes_by_position():
    model = table_model(positional=True)
    np.testing.assert_array_equal(
        model.outputs(OTHER), model.outputs(fastbp.open_rows(OTHER.to_numpy()))
    )


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_the_index_of_pandas_is_no_feature():
    pa = pytest.importorskip("pyarrow", reason="tables of Arrow")
    pytest.importorskip("sklearn", reason="the estimators need scikit-learn")
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [4.0, 1.0, 3.0, 2.0]})
    shuffled = frame.sample(frac=1.0, random_state=0).rename_axis("id")
    table = pa.Table.from_pandas(shuffled)
    assert table.column_names == ["a", "b", "id"]
    y, start = [0, 1, 0, 1], ([0.0, 0.0], 0.0, 0.1, 3)
    layers = [np.ones((2, 1))], [np.zeros(1)]
    expected = fastbp.fit_neuron(shuffled, y, *start)
    outputs = expected.predict(shuffled)
    kinds = {"NeuronClassifier": {"tol": None}, "MLPRegressor": {"random_state": 0}}
    for source in (table, table.to_batches()[0]):
        told = "features: left out 'id', which its metadata call the index; open_rows\\(columns="
        with pytest.warns(UserWarning, match=told) as warned:
            fit = fastbp.fit_neuron(source, y, *start)
        assert len(warned) == 1 and warned[0].filename == __file__
        assert fit.feature_names == ["a", "b"]
        np.testing.assert_array_equal(fit.weights, expected.weights)
        with pytest.warns(UserWarning, match=told) as warned:
            np.testing.assert_array_equal(expected.predict(source), outputs)
        assert len(warned) == 1 and warned[0].filename == __file__
        with pytest.warns(UserWarning, match="left out 'id'"):
            net = fastbp.fit_network(source, y, *layers, 0.1, 3, activations=["sigmoid"])
        assert net.feature_names == ["a", "b"]
        with pytest.warns(UserWarning, match=r"validation\[0\]: left out 'id'"):
            fastbp.fit_neuron(shuffled, y, *start, validation=(source, y))
        for kind, parameters in kinds.items():
            model = getattr(fastbp, kind)(max_iter=3, **parameters)
            with pytest.warns(UserWarning, match="X: left out 'id'") as warned:
                model.fit(source, y)
            assert {each.filename for each in warned} == {__file__}
            assert model.feature_names_in_.tolist() == ["a", "b"]
            with pytest.warns(UserWarning, match="X: left out 'id'"):
                found = model.predict(source)
            np.testing.assert_array_equal(found, model.predict(shuffled))
    plain = table.replace_schema_metadata(None)
    assert fastbp.fit_neuron(plain, y, [0.0] * 3, *start[1:]).feature_names == ["a", "b", "id"]
