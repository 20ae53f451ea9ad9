"""Folders: no file is left out without a word, and the names of folders are columns."""

import gzip
import os

import numpy as np
import pytest

from fastbp import DataError
from fastbp.data.sources.opening import open_rows
from tests.data.kinds import NAMED, assert_all_rows, problem, write_csv, write_parquet

pa = pytest.importorskip("pyarrow", reason="reads tables; CI has it")


def put(folder, files):
    """Write files of text, by their paths in a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())


def values(rows):
    block = rows.block(0, rows.n_rows)
    return block.features.tolist(), None if block.labels is None else block.labels[:, 0].tolist()


def test_compressed_files_beside_others(tmp_path):
    put(tmp_path, {"part-0.csv": "x,y\n1,no\n2,no\n", "part-1.csv.gz": "x,y\n3,yes\n"})
    rows = open_rows(tmp_path, target="y")
    assert values(rows) == ([[1.0], [2.0], [3.0]], [0.0, 0.0, 1.0])
    assert rows.classes == ["no", "yes"]


@pytest.mark.parametrize(
    "name",
    ["part-1.csv.bz2", "part-1.txt", "part-1", "README.md", "_delta_log/0.json", "more/part.csv",
     "model.safetensors", "_part.xlsx"],
)  # fmt: skip
def test_what_is_not_read_is_named(name, tmp_path):
    put(tmp_path, {"part-0.csv": "x,y\n1,2\n", name: "x,y\n3,4\n"})
    got = name.partition("/")[0]
    with pytest.raises(DataError, match=rf"expected files that end in .*month=1, got {got}$"):
        open_rows(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="makes a pipe")
def test_a_pipe_in_a_folder_is_named(tmp_path):
    os.mkfifo(tmp_path / "part-0.csv")
    with pytest.raises(DataError, match=r"expected files .*, got part-0\.csv$"):
        open_rows(tmp_path)


def test_marks_of_other_programs_and_hidden_files_do_not_count(tmp_path):
    put(
        tmp_path,
        {"a.csv": "x\n1\n", "_SUCCESS": "", "_metadata": "", ".a.csv.crc": "", ".b=1/c": ""},
    )
    assert values(open_rows(tmp_path)) == ([[1.0]], None)


def test_a_file_beside_partitions(tmp_path):
    put(tmp_path, {"part-0.csv": "x,y\n1,2\n", "b=1/part-1.csv": "x,y\n3,4\n"})
    message = r"part-0\.csv: expected the partitions \['b'\], as .*part-1\.csv has, got \[\]"
    with pytest.raises(DataError, match=message):
        open_rows(tmp_path)


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_partitions_are_columns(write, tmp_path):
    rows = problem()
    for month, start in (("10", 100), ("2", 150), ("1", 0)):
        (tmp_path / f"month={month}").mkdir()
        name = "part.csv" if write is write_csv else "part.pq"
        write(tmp_path / f"month={month}" / name, rows[start : start + 50])
    order = np.r_[0:50, 100:150, 150:200]  # of the names 1, 10, 2
    months = np.repeat([1.0, 10.0, 2.0], 50)
    found = open_rows(tmp_path, **NAMED)
    assert found.feature_names == ["a", "b", "c", "month"]
    block = found.block(0, 150)
    np.testing.assert_array_equal(block.features, np.c_[rows[order, :3], months])
    np.testing.assert_array_equal(block.labels[:, 0], rows[order, 3])
    np.testing.assert_array_equal(found.block(49, 51).features[:, 3], [1.0, 10.0])
    chosen = open_rows(tmp_path, target=["month", "a"], weight="w", columns=["c", "b"])
    block = chosen.block(40, 120)
    np.testing.assert_array_equal(block.features, rows[order][40:120, [2, 1]])
    np.testing.assert_array_equal(block.labels, np.c_[months, rows[order, 0]][40:120])
    assert_all_rows(open_rows(tmp_path, columns=["a", "b", "c"], **NAMED), rows[order])
    weighted = open_rows(tmp_path, columns=["a"], weight="month").block(0, 150)
    np.testing.assert_array_equal(weighted.weight, months)
    first = open_rows(tmp_path, columns=["month", "a"])
    np.testing.assert_array_equal(first.block(0, 150).features, np.c_[months, rows[order, 0]])
    assert first.digest() != open_rows(tmp_path, columns=["a", "month"]).digest()
    only = open_rows(tmp_path, columns=["month"])
    assert only.block(0, 150).features[:, 0].tolist() == months.tolist()


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_text_of_which_a_later_file_has_what_looks_like_numbers(suffix, tmp_path):
    texts = {"1": "x,y\n1,a\n2,3\n", "2": "x,y\n1,3\n2,10\n", "3": "x,y\n", "4": "x,y\n1,a\n"}
    for name, text in texts.items():
        content = gzip.compress(text.encode()) if suffix == "csv.gz" else text.encode()
        (tmp_path / f"{name}.{suffix}").write_bytes(content)
    rows = open_rows(tmp_path, target="y")
    assert rows.classes == ["10", "3", "a"]
    assert values(rows)[1] == [2.0, 1.0, 1.0, 0.0, 2.0]
    (tmp_path / f"1.{suffix}").rename(tmp_path / f"5.{suffix}")  # numbers come first
    with pytest.raises(
        DataError, match=r"expected numbers as labels, as in .*, got text as labels"
    ):
        open_rows(tmp_path, target="y")


def test_partitions_of_text(tmp_path):
    put(tmp_path, {"kind=a%20b/year=2020/1.csv": "x\n1\n2\n", "kind=c/year=2021/1.csv": "x\n3\n"})
    rows = open_rows(tmp_path, target="kind")
    assert rows.classes == ["a b", "c"] and rows.feature_names == ["x", "year"]
    assert values(rows) == ([[1.0, 2020.0], [2.0, 2020.0], [3.0, 2021.0]], [0.0, 0.0, 1.0])
    with pytest.raises(DataError, match=r"column 'kind': expected numbers in the names .*'a b';"):
        open_rows(tmp_path)
    assert values(open_rows(tmp_path, columns=["x"]))[0] == [[1.0], [2.0], [3.0]]


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({"b=x/1.csv": "a\n1\n", "b=__HIVE_DEFAULT_PARTITION__/1.csv": "a\n1\n"}, {"target": "b"},
         r"__HIVE.*1\.csv: column 'b': expected a label, got none"),
        ({"b=1/1.csv": "a,b\n1,2\n"}, {}, r"1\.csv: expected columns with other names .*\['b'\]"),
        ({"b=1/b=2/1.csv": "a\n1\n"}, {}, r"expected files .*, got b=1.b=2"),
        ({"b=1/1.csv": "a\n1\n"}, {"target": "b", "columns": ["a", "b"]}, "every column once"),
        ({"b=1/1.csv": "a\n1\n"}, {"columns": ["c"]}, r"columns: expected a column of .*'c'"),
        ({"b=1/1.csv": "1,2\n"}, {"header": False}, "expected columns with names in a folder such"),
    ],
)  # fmt: skip
def test_partitions_that_are_refused(files, options, message, tmp_path):
    put(tmp_path, files)
    with pytest.raises(ValueError, match=message):
        open_rows(tmp_path, **options)


def test_a_gap_among_partitions(tmp_path):
    put(tmp_path, {"b=1/1.csv": "a\n1\n", "b=__HIVE_DEFAULT_PARTITION__/1.csv": "a\n2\n"})
    np.testing.assert_array_equal(open_rows(tmp_path).block(0, 2).features, [[1, 1], [2, np.nan]])


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "jsonl", "parquet", "arrow"])
def test_text_as_a_target_in_folders_of_any_size(suffix, tmp_path, monkeypatch):
    from pyarrow import feather, parquet

    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 10)
    for part, words in enumerate(["bc", "ab", "d" * 50]):
        if "csv" in suffix:
            put(tmp_path, {f"{part}.{suffix}": "x,y\n" + "".join(f"1,{word}\n" for word in words)})
        elif suffix == "jsonl":
            lines = [f'{{"x": 1, "y": "{word}"}}\n' for word in words]
            put(tmp_path, {f"{part}.{suffix}": "".join(lines)})
        else:
            table = pa.table({"x": [1.0] * len(words), "y": list(words)})
            write = parquet.write_table if suffix == "parquet" else feather.write_feather
            write(table, tmp_path / f"{part}.{suffix}")
    rows = open_rows(tmp_path, target="y")
    assert rows.classes == list("abcd")
    assert values(rows)[1] == [1.0, 2.0, 0.0, 1.0, *[3.0] * 50]


def test_files_without_rows(tmp_path):
    put(
        tmp_path, {"0.csv": "x,y\n", "1.csv": "x,y\n1,a\n", "2.csv": "x,y\n", "3.csv": "x,y\n2,b\n"}
    )
    rows = open_rows(tmp_path, target="y")
    assert values(rows) == ([[1.0], [2.0]], [0.0, 1.0]) and rows.classes == ["a", "b"]


def test_many_names_that_differ(tmp_path):
    names = [f"c{j}" for j in range(500)]
    row = ",".join("1" * 500)
    put(tmp_path, {"1.csv": f"{','.join(names)}\n{row}\n"})
    for other, message in [
        (
            [*names[:499], "new"],
            r"2\.csv: expected the columns of .*1\.csv, got none named 'c499', but also 'new'$",
        ),
        ([*names, "new"], r"2\.csv: expected the columns of .*1\.csv, got also 'new'$"),
        ([*names[:498], "c499", "c498"], r"1\.csv, got 'c499', 'c498' in another order$"),
    ]:
        put(tmp_path, {"2.csv": f"{','.join(other)}\n{','.join('1' * len(other))}\n"})
        with pytest.raises(DataError, match=message):
            open_rows(tmp_path)


# --- lists of files ------------------------------------------------------------------------------


def test_a_list_is_its_files_in_its_order(tmp_path):
    rows = problem()
    write_csv(tmp_path / "b.csv", rows[:90])
    (tmp_path / "month=1").mkdir()
    write_parquet(tmp_path / "month=1" / "a.parquet", rows[90:])
    paths = [tmp_path / "b.csv", str(tmp_path / "month=1" / "a.parquet")]
    for given in (paths, tuple(paths)):
        source = open_rows(given, **NAMED)
        assert_all_rows(source, rows)
        assert source.name == f"{paths[0]} and 1 more" and source.feature_names == list("abc")
        assert source.locate(95) == (paths[1], 5)
    other = open_rows(paths[::-1], **NAMED)
    assert_all_rows(other, np.roll(rows, 110, axis=0))
    assert other.digest() != source.digest()
    twice = open_rows([paths[0]] * 2, **NAMED)
    assert_all_rows(twice, np.r_[rows[:90], rows[:90]])
    single = open_rows(paths[:1], **NAMED)
    assert single.name == str(paths[0]) and single.n_rows == 90


def test_classes_of_a_list(tmp_path):
    put(tmp_path, {"2.csv": "x;y\n1;no\n", "1.csv": "x;y\n2;yes\n3;no\n"})
    rows = open_rows([tmp_path / "2.csv", tmp_path / "1.csv"], target="y", delimiter=";")
    assert rows.classes == ["no", "yes"]
    assert values(rows) == ([[1.0], [2.0], [3.0]], [0.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ([], DataError, "source: expected at least one path, or one row, got none"),
        (["a.csv", 3], TypeError, "source: expected paths only, or none, in a list, got also int 3"),
        ([[1.0], "a.csv"], TypeError, "source: expected paths only, or none, .*, got also list"),
        (["a.csv", "none.csv"], FileNotFoundError, r"source\[1\]: expected a file that exists, got none"),
        (["a.csv", "folder"], ValueError, r"source\[1\]: expected a file, got the folder folder"),
        (["a.csv", "b.txt"], ValueError, "b.txt: expected a folder, or a file that ends in .npy"),
        (["a.csv", ""], ValueError, r"source\[1\]: expected a path that a file can have"),
        (["a.csv", "c.csv"], DataError, "c.csv: expected the columns of a.csv, got none named 'x'"),
    ],
)  # fmt: skip
def test_lists_that_are_refused(source, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, {"a.csv": "x\n1\n", "b.txt": "x\n1\n", "c.csv": "z\n1\n", "folder/d.csv": ""})
    with pytest.raises(error, match=message):
        open_rows(source)


def test_lists_of_numbers_are_arrays():
    assert values(open_rows([[1, 2], (3, 4)])) == ([[1.0, 2.0], [3.0, 4.0]], None)
    assert values(open_rows(([1, 2], np.array([3, 4])))) == ([[1.0, 2.0], [3.0, 4.0]], None)
