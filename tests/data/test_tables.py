"""Tables: what is a number in them, which columns are features, and what is said of the choice."""

import gzip
import json
import re
from decimal import Decimal

import numpy as np
import pytest

from fastbp import DataError, fit_neuron
from fastbp.data.sources.opening import open_rows

pa = pytest.importorskip("pyarrow", reason="reads tables; CI has it")


def write(path, table):
    from pyarrow import feather, parquet

    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    else:
        feather.write_feather(table, path)
    return path


@pytest.fixture(params=["parquet", "feather", "Arrow", "pandas", "Polars", "blocks"])
def source_of(request, tmp_path):
    """A function that makes a source of a table of Arrow."""
    if request.param in ("parquet", "feather"):
        return lambda table: write(tmp_path / f"rows.{request.param}", table)
    if request.param == "pandas":
        pd = pytest.importorskip("pandas", reason="is read, too")
        return lambda table: table.to_pandas(types_mapper=pd.ArrowDtype)
    if request.param == "Polars":
        return pytest.importorskip("polars", reason="is read, too").from_arrow
    return (lambda table: table) if request.param == "Arrow" else (lambda table: lambda: [table])


@pytest.mark.parametrize("role", ["target", "columns", "weight"])
@pytest.mark.parametrize(
    "kind", [pa.duration("s"), pa.duration("ns"), pa.timestamp("ms"), pa.time64("us"), pa.date32()]
)
def test_durations_and_dates_are_no_numbers(kind, role, source_of):
    """Their unit would decide what is predicted."""
    days = pa.array([1, 2], pa.int32() if kind == pa.date32() else pa.int64()).cast(kind)
    source = source_of(pa.table({"x": [1.0, 2.0], "d": days}))
    options = {"columns": ["x"], "target": None, role: ["d"] if role == "columns" else "d"}
    expected = r"expected (real )?numbers, got \w+"
    with pytest.raises((DataError, TypeError), match=expected):
        open_rows(source, **options)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize("dtype", ["m8[s]", "M8[D]"])
def test_durations_and_dates_of_numpy_are_no_numbers(dtype, suffix, tmp_path):
    array = np.array([[1, 2]]).astype(dtype)
    path = tmp_path / f"rows.{suffix}"
    np.save(path, array) if suffix == "npy" else np.savez(path, x=array)
    expected = r"rows\.np.: (x: )?expected real numbers, got (dates|durations)"
    with pytest.raises(DataError, match=expected):
        open_rows(path)


def test_decimals_are_numbers(source_of):
    table = pa.table({"p": [Decimal("10.5"), Decimal("9.25"), None], "x": [1.0, 2.0, 3.0]})
    rows = open_rows(source_of(table), target="p")
    assert rows.classes is None
    np.testing.assert_array_equal(rows.block(0, 3).labels, [[10.5], [9.25], [np.nan]])
    rows = open_rows(source_of(table))
    np.testing.assert_array_equal(rows.block(0, 3).features, [[10.5, 1], [9.25, 2], [np.nan, 3]])


def test_decimals_become_the_nearest_numbers(source_of):
    drawn = np.random.default_rng(0).integers(-(10**12), 10**12, 200)
    decimals = [Decimal("2.80"), *(Decimal(int(number)).scaleb(-2) for number in drawn)]
    rows = open_rows(source_of(pa.table({"x": [1.0] * 201, "p": decimals})), target="p")
    assert rows.block(0, 201).labels[:, 0].tolist() == list(map(float, decimals))


CELLS = ["100_1", "1_0", "0x10", "0b1", "1L", "$1", "1,000", "1 000", "\u0663", "1.5f", "--1", "x"]


@pytest.mark.parametrize("cell", CELLS)
def test_what_is_no_number_in_text(cell, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(f'x,y\n1,0\n"{cell}",1\n', encoding="utf-8")
    expected = rf"column 'x': expected a number, got '{re.escape(cell)}' in row 1"
    with pytest.raises(DataError, match=expected):
        open_rows(path, target="y").block(0, 2)
    assert open_rows(path, target="x").classes == sorted(["1", cell])


@pytest.mark.parametrize("cell", ["+1.5", ".5", "5.", "1e3", "1E-3", " 2 ", "-0", "1e400", "007"])
def test_what_is_a_number_in_text(cell, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(f"x,y\n1,0\n{cell},1\n")
    assert open_rows(path, target="y").block(0, 2).features[1, 0] == float(cell)
    assert open_rows(path, target="x").block(0, 2).labels[1, 0] == float(cell)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet", "feather"])
@pytest.mark.parametrize("gap", [0, 1, 5])
def test_a_gap_among_booleans_is_named(gap, suffix, tmp_path):
    truth = [True, False, True, True, False, True]
    truth[gap] = None
    path = tmp_path / f"rows.{suffix}"
    words = ["" if value is None else str(value).lower() for value in truth]
    if suffix in ("csv", "tsv"):
        mark = "," if suffix == "csv" else "\t"
        path.write_text(f"x{mark}y\n" + "".join(f"{word}{mark}1\n" for word in words))
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps({"x": value, "y": 1}) + "\n" for value in truth))
    else:
        write(path, pa.table({"x": truth, "y": [1] * 6}))
    expected = rf"rows\.\w+: expected finite numbers, got nan in row {gap}, column 'x'"
    with pytest.raises(DataError, match=expected):
        fit_neuron(open_rows(path, target="y"), None, [0.0], 0.0, 0.1, 1)
    expected = rf"column 'x': expected a label, got none in row {gap}"
    with pytest.raises(DataError, match=expected):
        open_rows(path, target="x").block(0, 6)


MIXED = {
    "text": [1, "a", 2, None],
    "number": [None, "a", 2, "b"],
    "inside": [{"b": 1}, {"b": "c"}, {"b": [1]}, None],
    "list": [["a"], [1], [], [{}]],
    "struct": [True, {"b": 1}, [1], "x"],
}


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
@pytest.mark.parametrize("kind", MIXED)
def test_a_column_that_changes_its_type_matters_if_it_is_used(kind, suffix, tmp_path):
    rows = [
        {"u": u, "x": x, "y": y, "day": "2024-01-02"}
        for u, x, y in zip(MIXED[kind], [1, None, 2.5, 3], [True, False, True, True], strict=True)
    ]
    path = tmp_path / f"rows{suffix}"
    text = "\n".join(json.dumps(row) for row in rows).encode()
    path.write_bytes(gzip.compress(text) if suffix == ".jsonl.gz" else text)
    for source in (path, tmp_path):
        found = open_rows(source, target="y", columns=["x"])
        assert found.classes == [False, True] and found.feature_names == ["x"]
        np.testing.assert_array_equal(found.block(0, 4).features[:, 0], [1, np.nan, 2.5, 3])
        assert found.block(0, 4).labels[:, 0].tolist() == [1, 0, 1, 1]
    assert open_rows(path, target="y", exclude=["u", "day"]).feature_names == ["x"]
    with pytest.raises(DataError, match=r"rows\.jsonl.*: (column 'u'|.* in row 1$)") as caught:
        open_rows(path, target="y", exclude=["day"]).block(0, 4)
    assert caught.value.column == "u"
    with pytest.raises(DataError, match=r"column 'day': expected numbers, got timestamp"):
        open_rows(path, target="y", exclude=["u"])
    with pytest.raises(ValueError, match=r"expected a column of .*\('u', 'x', 'y', 'day'\)"):
        open_rows(path, target="none")
    path.write_bytes(gzip.compress(text[:-1]) if suffix == ".jsonl.gz" else text[:-1])
    with pytest.raises(DataError, match=r"expected JSON, .* in row 3$"):
        open_rows(path, target="y", columns=["x"]).block(0, 4)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("n_rows", [3, 2000])
def test_an_array_of_one_column_goes_by_its_name(n_rows, save, tmp_path, monkeypatch):
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 1000)
    y = np.arange(n_rows)[:, None] % 2
    save(tmp_path / "rows.npz", x=np.ones((n_rows, 2)), y=y)
    for source in (tmp_path / "rows.npz", tmp_path):
        for target in ("y", "y0"):
            rows = open_rows(source, target=target)
            np.testing.assert_array_equal(rows.block(0, n_rows).labels, y)
            assert rows.feature_names == ["x0", "x1"]
            fit_neuron(rows, None, [0.0, 0.0], 0.0, 0.1, 1)


# --- the index of pandas -------------------------------------------------------------------------


def with_index(name, table):
    """Add what pandas writes when it keeps an index of this name."""
    index = {"kind": "range", "name": None, "start": 0, "stop": 3, "step": 1}
    metadata = {"index_columns": [name if name in table.column_names else index]}
    return table.replace_schema_metadata({"pandas": json.dumps(metadata)})


@pytest.mark.parametrize("name", ["__index_level_0__", "id"])
@pytest.mark.parametrize("form", ["parquet", "feather", "folder", "Arrow", "blocks"])
def test_the_index_is_no_feature(form, name, tmp_path):
    table = with_index(name, pa.table({"a": [3.0, 1.0, 2.0], "y": [1, 0, 1], name: [2, 0, 1]}))
    forms = {"Arrow": table, "blocks": lambda: [table, table], "folder": tmp_path}
    source = forms.get(form, tmp_path / f"rows.{form}")
    if form in ("folder", "parquet", "feather"):
        write(tmp_path / f"rows.{form if form != 'folder' else 'parquet'}", table)
    with pytest.warns(UserWarning, match=rf"left out '{name}', which its metadata call the index"):
        rows = open_rows(source, target="y")
    assert rows.feature_names == ["a"]
    assert open_rows(source, target="y", columns=[name]).block(0, 3).features[0, 0] == 2.0
    rows = open_rows(source, target=name, columns=["a"])
    assert rows.block(0, 3).labels[:, 0].tolist() == [2.0, 0.0, 1.0]


def test_a_range_is_no_column_that_could_be_left_out(tmp_path):
    table = with_index("none", pa.table({"a": [3.0], "y": [1]}))
    rows = open_rows(write(tmp_path / "rows.parquet", table), target="y")
    assert rows.feature_names == ["a"]


@pytest.mark.parametrize("metadata", [b"{", b"[]", b'{"index_columns": 3}', b"\xff"])
def test_metadata_that_are_none(metadata, tmp_path):
    table = pa.table({"a": [3.0]}).replace_schema_metadata({"pandas": metadata})
    for source in (write(tmp_path / "rows.feather", table), table):
        assert open_rows(source).feature_names == ["a"]


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "__index_level_0__"])
@pytest.mark.parametrize("form", ["csv", "csv.gz", "parquet", "pandas", "folder"])
def test_a_column_without_a_name_is_warned_about(form, name, tmp_path):
    import gzip

    frame = {name: [2, 0, 1], "a": [3.0, 1.0, 2.0], "y": [1, 0, 1]}
    source = tmp_path / f"rows.{form}"
    text = f"{name},a,y\n2,3,1\n0,1,0\n1,2,1\n".encode()
    if form == "pandas":
        source = pytest.importorskip("pandas", reason="is read, too").DataFrame(frame)
    elif form == "parquet":
        write(source, pa.table(frame))
    elif form == "folder":
        source.mkdir()
        for part in "12":
            (source / f"{part}.csv").write_bytes(text)
    else:
        source.write_bytes(gzip.compress(text) if form == "csv.gz" else text)
    with pytest.warns(UserWarning, match=f"the feature '{name}' has no name") as told:
        rows = open_rows(source, target="y")
    assert len(told) == 1 and told[0].filename == __file__
    assert rows.feature_names == [name, "a"]
    assert open_rows(source, target="y", columns=["a"]).feature_names == ["a"]


def test_a_missing_column_lists_similar_names_first(tmp_path):
    names = [f"column_{j}" for j in range(500)]
    (tmp_path / "rows.csv").write_text(",".join(["Price", *names]) + "\n" + "1," * 500 + "1\n")
    with pytest.raises(
        ValueError, match=r"\('column_412', .*, \.\.\.\), got 'colum_412'"
    ) as caught:
        open_rows(tmp_path / "rows.csv", target="colum_412")
    assert len(str(caught.value)) < 600
    with pytest.raises(ValueError, match=r"\('Price', .*got 'price'"):
        open_rows(tmp_path / "rows.csv", target="price")


def test_names_that_occur_twice_matter_only_if_they_are_taken(tmp_path):
    (tmp_path / "rows.csv").write_text("a,b,b,y\n1,x,2,3\n")
    assert open_rows(tmp_path / "rows.csv", target="y", columns=["a"]).n_features == 1
    for options in ({}, {"target": "b", "columns": ["a"]}, {"columns": ["b"]}):
        with pytest.raises(DataError, match="expected columns of different names, got 'b' twice"):
            open_rows(tmp_path / "rows.csv", **options)
