"""Every kind of source gives the same rows as the array it was made from, or a clear refusal."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbp import DataError
from fastbp.data import frames
from fastbp.data.arrays import ArrayRows, Labelled, Loaded
from fastbp.data.sources import files, folder, npy, npz, text, text_labels
from fastbp.data.sources.opening import open_rows
from fastbp.data.sources.spool import spooled
from tests.data.kinds import (
    KINDS,
    NAMED,
    NAMES,
    NUMBERS,
    assert_all_rows,
    assert_rows,
    csv_text,
    every_kind,
    problem,
    table_of,
    write_arrow,
    write_csv,
    write_npy,
    write_npz,
    write_npz_of_columns,
    write_parquet,
    written,
)  # fmt: skip

pa = pytest.importorskip("pyarrow", reason="reads tables; CI has it")


def copy_of(rows):
    return spooled(rows, (block for _, block in rows.blocks()))


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Make pieces small, so that small sources have several."""
    for module in (files, npy, npz):
        monkeypatch.setattr(module, "PIECE_BYTES", 1000)
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 1000)
    monkeypatch.setattr(text, "CSV_STEP", 700)
    monkeypatch.setattr(folder, "OPEN_SHARDS", 2)
    monkeypatch.setattr(files, "_LOCAL", threading.local())


# --- the same rows -----------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("n_rows", [1, 2, 200])
def test_a_file_is_its_array(kind, n_rows, tmp_path):
    rows = problem(n_rows)
    path, options = written(kind, tmp_path, rows)
    source = open_rows(str(path), **options)
    assert_all_rows(source, rows)
    assert source.name == str(path) and source.locate(0) == (str(path), 0)
    if "npz" in kind and kind != "npz of columns":
        assert source.feature_names == ["abc0", "abc1", "abc2"]
    elif options is NAMED:
        assert source.feature_names == ["a", "b", "c"]
    source.close()
    assert_all_rows(source, rows)


@every_kind
def test_what_the_caller_has_is_not_read(kind, tmp_path):
    rows = problem()
    path, options = written(kind, tmp_path, rows)
    ours = Labelled(open_rows(path, **options), np.ones((200, 2)), np.arange(200.0))
    block = ours.block(150, 160)
    np.testing.assert_array_equal(block.features, rows[150:160, :3])
    assert block.labels.shape == (10, 2) and block.weight[0] == 150.0


@every_kind
def test_rows_that_are_being_read_can_be_sent(kind, tmp_path):
    """Dask moves what a worker holds, whether files are open or not."""
    rows = problem()
    path, options = written(kind, tmp_path, rows)
    for source in (open_rows(path, **options), open_rows([path], **options)):
        source.block(0, 3)
        again = pickle.loads(pickle.dumps(Loaded(source)))
        assert_all_rows(again, rows)
        assert_all_rows(pickle.loads(pickle.dumps(source)), rows)


@every_kind
def test_a_folder_is_its_files(kind, tmp_path):
    rows = problem()
    cuts = [0, 50, 51, 120, 200]
    for i, (start, stop) in enumerate(pairwise(cuts)):
        _, options = written(kind, tmp_path, rows[start:stop], f"part{i}")
    (tmp_path / ".hidden.npy").write_text("no")
    (tmp_path / "_SUCCESS").write_text("no")
    folder = open_rows(tmp_path, **options)
    assert_all_rows(folder, rows)
    name, row = folder.locate(119)
    assert Path(name).name.startswith("part2.") and row == 68
    folder.close()
    assert_all_rows(folder, rows)
    assert folder.any_order == (
        kind[:3] in ("npy", "npz", "csv", "tsv")
        and not any(word in kind for word in ("compressed", "gzip", "zstd"))
    )


def test_a_folder_of_several_kinds(tmp_path):
    rows = problem()
    write_csv(tmp_path / "1.csv", rows[:90])
    write_parquet(tmp_path / "2.pq", rows[90:91])
    write_arrow(tmp_path / "3.ipc", rows[91:])
    folder = open_rows(tmp_path, **NAMED)
    assert_all_rows(folder, rows)
    assert folder.feature_names == ["a", "b", "c"] and not folder.random_access


def blocks_of(rows, cuts, form):
    bounds = [0, *sorted(cuts), len(rows)]
    for start, stop in pairwise(bounds):
        part = rows[start:stop]
        if form == "matrix":
            yield part
        elif form == "tuple":
            yield part[:, :3], part[:, 3].tolist(), part[:, 4]
        elif form == "Table":
            yield table_of(part)
        else:
            yield table_of(part).combine_chunks().to_batches()[0] if len(part) else table_of(part)


FORMS = {"matrix": NUMBERS, "tuple": {}, "Table": NAMED, "RecordBatch": NAMED}


@pytest.mark.parametrize("form", FORMS)
def test_a_callable_is_its_blocks(form):
    rows = problem()
    source = open_rows(lambda: blocks_of(rows, [0, 10, 10, 150], form), **FORMS[form])
    assert_all_rows(source, rows)
    assert source.name == "rows of test_a_callable_is_its_blocks.<locals>.<lambda>"
    assert source.feature_names == (["a", "b", "c"] if FORMS[form] is NAMED else None)


def test_blocks_of_other_types():
    small = [[[1, 2]], [], np.array([[3, 4]], np.float32), np.empty((0, 2)), [[True, False]]]
    source = open_rows(lambda: small)
    np.testing.assert_array_equal(source.block(0, 3).features, [[1.0, 2.0], [3.0, 4.0], [1.0, 0.0]])


cut_lists = st.lists(st.integers(0, 60), max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([*KINDS, *FORMS]), cut_lists, cut_lists, st.booleans())
def test_any_cuts_give_the_same_rows(kind, parts, reads, spool):
    rows = problem(60)
    with tempfile.TemporaryDirectory() as name:
        if kind in FORMS:
            source = open_rows(lambda: blocks_of(rows, parts, kind), **FORMS[kind])
        else:
            bounds = [0, *sorted(parts), 60]
            if "json lines" in kind:  # no rows, no columns
                bounds = sorted(set(bounds))
            for i, (start, stop) in enumerate(pairwise(bounds)):
                _, options = written(kind, Path(name), rows[start:stop], f"part{i}")
            source = open_rows(name, **options)
        assert_all_rows(copy_of(source) if spool else source, rows, reads)
        source.close()


@every_kind
def test_threads_read_at_once(kind, tmp_path):
    rows = problem()
    for i in range(4):
        _, options = written(kind, tmp_path, rows[50 * i : 50 * i + 50], f"part{i}")
    source = open_rows(tmp_path, **options)
    wrong = []

    def read(seed):
        rng = np.random.default_rng(seed)
        for _ in range(20):
            start, stop = sorted(rng.integers(0, 201, 2).tolist())
            try:
                assert_rows(source.block(start, stop), rows[start:stop])
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", ">f8", "f2", "g", "i1", ">i8", "u2", "?"])
def test_dtypes(dtype, order, tmp_path):
    array = np.array([[0, 1, 0], [1, 1, 1], [1, 0, 5]]).astype(dtype, order=order)
    np.save(tmp_path / "rows.npy", array)
    np.savez(tmp_path / "rows.npz", x=array)
    for name in ("rows.npy", "rows.npz"):
        rows = open_rows(tmp_path / name)
        np.testing.assert_array_equal(rows.block(1, 3).features, array[1:].astype(float))
        assert rows.dtype == array.dtype.name


def test_a_column(tmp_path):
    np.save(tmp_path / "rows.npy", np.arange(5.0))
    np.testing.assert_array_equal(open_rows(tmp_path / "rows.npy").block(3, 5).features, [[3], [4]])


def test_chosen_columns(tmp_path):
    rows = problem()
    write_npy(tmp_path / "rows.npy", rows)
    write_csv(tmp_path / "rows.csv", rows)
    write_npz_of_columns(tmp_path / "rows.npz", rows)
    write_parquet(tmp_path / "rows.pq", rows)
    for name in ("rows.npy", "rows.csv", "rows.npz", "rows.pq"):
        numbered = name == "rows.npy"
        columns, target = ([4, 0], [-2, 1]) if numbered else (["w", "a"], ["y", "b"])
        block = open_rows(tmp_path / name, columns=columns, target=target).block(10, 190)
        np.testing.assert_array_equal(block.features, rows[10:190, [4, 0]])
        np.testing.assert_array_equal(block.labels, rows[10:190, [3, 1]])
        assert block.weight is None


def test_true_and_false_are_numbers(tmp_path):
    lines = ["a,b", *["true, 0.5", "False,1", "1,true", "0,"] * 40]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    rows = open_rows(tmp_path / "rows.csv")
    for _ in range(2):
        features = rows.block(0, 160).features
        np.testing.assert_array_equal(features[4:8], [[1, 0.5], [0, 1], [1, 1], [0, np.nan]])
    lines = ["a,b", *["true,0.5", "FALSE,1"] * 40]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    rows = open_rows(tmp_path / "rows.csv")
    for _ in range(2):
        np.testing.assert_array_equal(rows.block(1, 3).features, [[0, 1], [1, 0.5]])
    assert rows._logical == {0}


def test_lines_longer_than_what_is_read_at_once(tmp_path):
    rows = problem(300).reshape(3, 500)
    lines = [
        ",".join(f"c{j}" for j in range(500)),
        *[",".join(map(str, row.tolist())) for row in rows],
    ]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    source = open_rows(tmp_path / "rows.csv")
    np.testing.assert_array_equal(source.block(0, 3).features, rows)
    np.testing.assert_array_equal(source.block(2, 3).features, rows[2:])


def test_types_of_arrow(tmp_path):
    from decimal import Decimal

    columns = {
        "i": pa.array([1, None, 2**62 + 1]),
        "b": pa.array([True, False, None]),
        "h": pa.array([0.5, 1.5, None], pa.float32()),
        "d": pa.array([Decimal("1.5"), None, Decimal("2.5")]),
        "k": pa.array([0.25, None, 0.25]).dictionary_encode(),
        "t": pa.array(["text", "is not", "taken"]),
    }
    expected = [
        [1, 1, 0.5, 1.5, 0.25],
        [np.nan, 0, 1.5, np.nan, np.nan],
        [2.0**62, np.nan, np.nan, 2.5, 0.25],
    ]
    from pyarrow import feather, parquet

    parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")
    feather.write_feather(pa.table(columns), tmp_path / "rows.feather")
    for name in ("rows.parquet", "rows.feather"):
        block = open_rows(tmp_path / name, columns=list("ibhdk")).block(0, 3)
        np.testing.assert_array_equal(block.features, expected)


# --- in memory ---------------------------------------------------------------------------------


class OnlyStream:
    """A table that nothing is known of but Arrow's protocol."""

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


def test_arrays_and_tables_in_memory():
    rows = problem()
    table = table_of(rows)
    for value in (rows, rows.tolist(), np.asfortranarray(rows)):
        assert_all_rows(open_rows(value, **NUMBERS), rows)
    for value in (table, table.combine_chunks().to_batches()[0], OnlyStream(table)):
        source = open_rows(value, **NAMED)
        assert_all_rows(source, rows)
        assert source.feature_names == ["a", "b", "c"]
    assert open_rows(source) is source
    reader = table.to_reader()
    assert frames.names_of(reader) == NAMES
    assert_all_rows(open_rows(reader, **NAMED), rows)


def test_arrays_come_back_as_they_are():
    for value in (np.ones(3), [1.0], (1,), "text", None):
        assert frames.array_like(value) is value
        assert frames.names_of(value) is None
    column = pa.chunked_array([[1, None], [3]])
    for value in (column, OnlyStream(column), pa.array([1, None, 3])):
        np.testing.assert_array_equal(frames.array_like(value), [1.0, np.nan, 3.0])
        assert frames.names_of(value) is None
    with pytest.raises(TypeError, match="labels: column 't': expected real numbers, got string"):
        frames.array_like(pa.table({"t": ["text"]}), "labels")


def test_pandas():
    pd = pytest.importorskip("pandas", reason="takes tables of pandas")
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None], "Int64"),
            "b": [True, False],
            "f": pd.array([None, 0.5], "Float64"),
            "l": pd.array([None, True], "boolean"),
            "t": ["some", "text"],
        }
    )
    expected = [[1.0, 1.0, np.nan, np.nan], [np.nan, 0.0, 0.5, 1.0]]
    numbers = frame[list("ibfl")]
    np.testing.assert_array_equal(frames.array_like(numbers), expected)
    np.testing.assert_array_equal(frames.array_like(frame["f"]), [np.nan, 0.5])
    plain = pd.DataFrame(np.ones((2, 2)))
    assert frames.array_like(plain) is plain  # no copy
    assert frames.array_like(frame) is frame  # NumPy finds the text, and it is refused
    assert frames.names_of(frame) == list("ibflt") and frames.names_of(frame["i"]) is None
    assert frames.names_of(pd.DataFrame([[1.0]])) is None
    source = open_rows(frame, target="l", columns=["f", "b"])
    np.testing.assert_array_equal(source.block(0, 2).features, [[np.nan, 1.0], [0.5, 0.0]])
    np.testing.assert_array_equal(source.block(0, 2).labels, [[np.nan], [1.0]])
    source = open_rows(lambda: iter([frame, frame]), target="b", columns=["i"])
    np.testing.assert_array_equal(source.block(1, 3).features, [[np.nan], [1.0]])
    with pytest.raises(TypeError, match="block 0 from row 0 on: expected real numbers"):
        open_rows(lambda: iter([frame]))


def test_polars():
    pl = pytest.importorskip("polars", reason="takes tables of Polars")
    frame = pl.DataFrame({"i": [1, None], "b": [True, False], "y": [0.5, 1.5]})
    source = open_rows(frame, target="y")
    np.testing.assert_array_equal(source.block(0, 2).features, [[1.0, 1.0], [np.nan, 0.0]])
    np.testing.assert_array_equal(frames.array_like(frame["i"]), [1.0, np.nan])


# --- digests, and copies on disk ---------------------------------------------------------------


@every_kind
def test_digests(kind, tmp_path):
    rows = problem(20000)
    for name in ("here", "there", "changed"):
        (tmp_path / name).mkdir()
    changed = rows.copy()
    changed[-1, 2] += 1.0
    here, options = written(kind, tmp_path / "here", rows)
    there, _ = written(kind, tmp_path / "there", rows, "other")
    other, _ = written(kind, tmp_path / "changed", changed)
    digest = open_rows(here, **options).digest()
    assert open_rows(there, **options).digest() == digest
    assert open_rows(other, **options).digest() != digest
    assert open_rows(here, target=options["target"]).digest() != digest
    folders = [open_rows(tmp_path / n, **options).digest() for n in ("here", "there", "changed")]
    assert folders[0] == folders[1] != folders[2]


def test_the_digest_of_a_callable_is_that_of_its_rows():
    rows = problem(9000)
    digests = {
        open_rows(lambda c=cuts: blocks_of(rows, c, "matrix"), **NUMBERS).digest()
        for cuts in ([], [4096], [1, 5000, 8999])
    }
    assert len(digests) == 1
    assert open_rows(lambda: blocks_of(rows, [], "tuple")).digest() in digests
    rows[8999, 0] += 1.0
    assert open_rows(lambda: [rows], **NUMBERS).digest() not in digests


@every_kind
def test_a_copy_on_disk(kind, tmp_path):
    rows = problem()
    path, options = written(kind, tmp_path, rows)
    source = open_rows(path, **options)
    copy = copy_of(source)
    assert copy.random_access and copy.any_order
    assert_all_rows(copy, rows)
    assert copy.digest() == source.digest() and copy.locate(3) == source.locate(3)
    assert (copy.name, copy.dtype) == (source.name, source.dtype)
    assert copy.feature_names == source.feature_names
    copy.close()


def test_a_copy_of_features_alone():
    rows = problem()
    copy = copy_of(ArrayRows(rows))
    np.testing.assert_array_equal(copy.block(3, 200).features, rows[3:])


def test_a_full_disk_is_named():
    rows = problem()

    class Full(io.RawIOBase):
        def write(self, _):
            raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
        expected = r"No space .*temporary copy of features, of 8000 bytes, in .*set TMPDIR"
        with pytest.raises(OSError, match=expected) as caught:
            copy_of(ArrayRows(rows))
    assert caught.value.errno == 28


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="this is how it reads there anyhow")
def test_reading_without_preadv(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "preadv")
    rows = problem()
    write_npy(tmp_path / "rows.npy", rows)
    assert_all_rows(open_rows(tmp_path / "rows.npy", **NUMBERS), rows)


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="there is nothing to shorten")
def test_reads_that_return_less(tmp_path, monkeypatch):
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, out, at: whole(fd, [out[0][:100]], at))
    rows = problem()
    write_npy(tmp_path / "rows.npy", rows)
    assert_all_rows(open_rows(tmp_path / "rows.npy", **NUMBERS), rows)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts the open files of Linux")
def test_files_are_not_kept_open(tmp_path):
    for i in range(20):
        np.save(tmp_path / f"{i:02}.npy", np.full((3, 2), float(i)))
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    rows = open_rows(tmp_path)
    rows.digest()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert rows.block(0, 60).features[59, 1] == 19.0
    assert len(os.listdir("/proc/self/fd")) <= before + 2  # noqa: PTH208
    rows.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


# --- refusals ----------------------------------------------------------------------------------


def test_unknown_columns(tmp_path):
    rows = problem(3)
    write_csv(tmp_path / "r.csv", rows)
    write_npy(tmp_path / "r.npy", rows)
    table, matrix = tmp_path / "r.csv", tmp_path / "r.npy"
    for path, options, error, message in [
        (table, {"target": "z"}, ValueError, r"target: expected .* \('a', 'b', .*\), got 'z'"),
        (table, {"columns": ["a", "z"]}, ValueError, "columns: expected .*got 'z'"),
        (table, {"columns": "a"}, TypeError, "columns: expected a sequence of columns, got str"),
        (table, {"weight": 3}, TypeError, "weight: expected the name of a column of .*, got int 3"),
        (
            table,
            {"target": "a", "columns": ["a"]},
            ValueError,
            "every column once as .*, got 'a' twice",
        ),
        (table, {"columns": ["a", "a"]}, ValueError, "every column once as .*, got 'a' twice"),
        (table, {"columns": []}, DataError, "at least one row and one column of features, got 3"),
        (matrix, {"target": 5}, ValueError, "target: expected a column .*, which has 5, got 5"),
        (matrix, {"target": [0, -6]}, ValueError, "target: expected .*, which has 5, got -6"),
        (matrix, {"weight": "w"}, TypeError, "weight: expected an integer, got str 'w'"),
        (rows, {"weight": 9}, ValueError, "weight: expected a column of source, which has 5"),
    ]:
        with pytest.raises(error, match=message):
            open_rows(path, **options)


def test_sources_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.npy"):
        open_rows(tmp_path / "missing.npy")
    with pytest.raises(DataError, match=r"expected files that end in \.npy, .*, got none"):
        open_rows(tmp_path)
    path = tmp_path / "rows.csv.bz2"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"rows\.csv\.bz2: expected .*\.npy, \.npz, .*\.ipc"):
        open_rows(path)
    with pytest.raises(
        TypeError, match=r"callable that returns a fresh iterator .*, got generator"
    ):
        open_rows(iter([[1.0]] for _ in range(3)))
    with pytest.raises(TypeError, match="to choose columns of, got Rows"):
        open_rows(ArrayRows(np.ones((1, 2))), target=1)
    with pytest.raises(DataError, match=r"source: expected at least one row .*, got 0 and 2"):
        open_rows(np.ones((0, 2)))
    with pytest.raises(TypeError, match="source: expected"):
        open_rows(None)


def test_pyarrow_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for kind in ("csv", "parquet", "arrow"):
        path = tmp_path / f"rows.{kind}"
        path.write_text("a\n1\n")
        with pytest.raises(ImportError, match=r"rows\..*pip install 'fastbp\[files\]'"):
            open_rows(path)
    with pytest.raises(ImportError, match=r"pip install 'fastbp\[files\]'"):
        frames.array_like(OnlyStream(None))


def cut(path, n_bytes):
    with path.open("r+b") as file:
        file.truncate(n_bytes)


@every_kind
@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", bytes(range(256)) * 40, b"PK\x03\x04" * 50])
def test_noise(kind, content, tmp_path):
    path = tmp_path / f"rows{KINDS[kind][0]}"
    path.write_bytes(content)
    with pytest.raises((DataError, ValueError), match=r"rows\.") as caught:
        open_rows(path).block(0, 1)
    assert isinstance(caught.value, DataError)


@pytest.mark.parametrize(
    "kind", [k for k in KINDS if KINDS[k][0] not in (".csv", ".tsv", ".jsonl")]
)
def test_cut_files(kind, tmp_path):
    rows = problem()
    path, options = written(kind, tmp_path, rows)
    size = path.stat().st_size
    whole = path.read_bytes()
    for length in (size - 1, size // 2, 100, 20):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"rows\."):
            open_rows(path, **options).block(0, 200)


@every_kind
def test_flipped_bytes(kind, tmp_path):
    """Whatever is wrong, nothing but a DataError comes, or other rows."""
    rows = problem(40)
    path, options = written(kind, tmp_path, rows)
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(60):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), 4):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        outcome = None
        try:
            source = open_rows(path, **options)
            source.block(0, min(source.n_rows, 1000))
        except (ValueError, TypeError) as error:
            outcome = error
        assert outcome is None or "rows." in str(outcome)
        if not isinstance(outcome, DataError | None):
            assert "expected a column of" in str(outcome)  # its name was hit


def test_messages_of_damaged_arrays(tmp_path):
    path = tmp_path / "rows.npy"
    write_npy(path, problem())
    cut(path, 1000)
    with pytest.raises(
        DataError, match=r"rows\.npy: expected 8128 bytes .*, got 1000.*is truncated"
    ):
        open_rows(path)
    for array, message in [
        (np.array([[1, "a"]], dtype=object), "expected real numbers, got Python objects, .*pickle"),
        (np.ones((2, 2), complex), "expected real numbers, got complex numbers"),
        (np.array([["a"]]), "expected real numbers, got text"),
        (np.zeros(2, [("a", float)]), "expected real numbers, got records of several fields"),
        (np.ones((2, 2, 2)), r"expected 1 or 2 dimensions, got shape \(2, 2, 2\)"),
        (np.ones((0, 2)), "expected at least one row and one column of features, got 0 and 2"),
    ]:
        np.save(path, array, allow_pickle=True)
        with pytest.raises(DataError, match=r"rows\.npy: " + message):
            open_rows(path)
        np.savez(tmp_path / "rows.npz", x=array, z=np.float64(1.0))
        with pytest.raises(DataError, match=r"rows\.npz: (x: )?" + message):
            open_rows(tmp_path / "rows.npz", columns=["x"])
    np.savez(tmp_path / "rows.npz", x=np.ones((3, 2)), y=np.ones(2))
    with pytest.raises(DataError, match=r"rows\.npz: expected 3 rows in every .*in x, got 2 in y"):
        open_rows(tmp_path / "rows.npz")
    np.savez(tmp_path / "rows.npz", t=np.array(["a"]), x=np.ones((1, 2)), z=np.float64(1.0))
    assert open_rows(tmp_path / "rows.npz", columns=["x"]).n_features == 2


@pytest.mark.parametrize(
    ("text", "message", "row"),
    [
        ("a,b\n1,2\n\n3,four\n", "column 'b': expected a number, got 'four' in row 1", 1),
        ("a,b\n1,2\n\n3,4,5\n", "expected 2 cells, got 3 in row 1", 1),
        ("a,b\n1,2\n3\n", "expected 2 cells, got 1 in row 1", 1),
        ('a,b\n1,2\n"3\n",4\n', "", None),
        ("a,b\n1,2\r3,4\n", r"expected one row per line, got one with \\r inside in row 0", 0),
        ("a,a\n1,2\n", "expected columns of different names, got 'a' twice", None),
        ("a,b\n", "expected at least one row", None),
        ("\n\n", "expected a header, got an empty file", None),
    ],
)
def test_messages_of_damaged_text(text, message, row, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(text, newline="")
    with pytest.raises(DataError, match=rf"rows\.csv: {message}") as caught:
        rows = open_rows(path)
        rows.block(0, rows.n_rows)
    assert row is None or caught.value.row == row


def test_the_row_of_bad_text_in_the_middle(tmp_path):
    rows = problem()
    lines = csv_text(rows).splitlines()
    lines[151] = lines[151].replace(",", ",x", 1)
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    source = open_rows(tmp_path / "rows.csv", **NAMED)
    assert_rows(source.block(100, 150), rows[100:150])
    with pytest.raises(DataError, match=r"rows\.csv: column 'b': .* got 'x.* in row 150"):
        source.block(100, 200)


def test_text_in_tables(tmp_path):
    from pyarrow import parquet

    table = pa.table({"a": [1.0], "t": ["text"]})
    parquet.write_table(table, tmp_path / "rows.parquet")
    with pa.ipc.new_file(tmp_path / "rows.arrow", table.schema) as file:
        file.write_table(table)
    for name in ("rows.parquet", "rows.arrow"):
        with pytest.raises(DataError, match=f"{name}: column 't': expected numbers, got string"):
            open_rows(tmp_path / name)
        assert open_rows(tmp_path / name, columns=["a"]).block(0, 1).features == 1.0


def test_shards_that_differ(tmp_path):
    np.save(tmp_path / "1.npy", np.ones((2, 3)))
    np.save(tmp_path / "2.npy", np.ones((2, 4)))
    with pytest.raises(DataError, match=r"2\.npy: expected 3 features, as in .*1\.npy, got 4"):
        open_rows(tmp_path)
    (tmp_path / "2.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"2\.npy: expected a header"):
        open_rows(tmp_path)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text("b,a\n1,2\n")
    with pytest.raises(
        DataError, match=r"2\.csv: expected the columns .*got 'b', 'a' in another order"
    ):
        open_rows(tmp_path)


@pytest.mark.parametrize("kind", ["npy", "npy, Fortran", "npz", "csv"])
def test_a_file_that_shrinks(kind, tmp_path):
    rows = problem()
    path, options = written(kind, tmp_path, rows)
    source, size = open_rows(path, **options), path.stat().st_size
    assert_rows(source.block(0, 200), rows)
    cut(path, size // 2)
    with pytest.raises(
        DataError, match=r"rows\..*expected .*bytes.*got only .*shortened"
    ) as caught:
        source.block(0, 200)
    if kind == "npy":
        assert caught.value.row == (size // 2 - 128) // 40
        assert "expected 200 rows (8128 bytes), got only 4064 bytes, up to row 98" in str(
            caught.value
        )
    with pytest.raises(DataError, match=r"rows\..*shortened"):
        source.digest()


@pytest.mark.parametrize("kind", ["npz, compressed", "parquet", "arrow", "arrow stream"])
def test_a_sequential_file_that_shrinks(kind, tmp_path):
    path, options = written(kind, tmp_path, problem())
    source = open_rows(path, **options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"rows\."):
        source.block(0, 200)


def test_a_sequential_file_with_other_rows(tmp_path):
    source = {}
    for kind in ("npz, compressed", "parquet", "arrow stream"):
        path, options = written(kind, tmp_path, problem())
        source[kind] = open_rows(path, **options)
        written(kind, tmp_path, problem(150))
        with pytest.raises(DataError, match=r"rows\..*expected 200 rows, got only 150") as caught:
            source[kind].block(0, 200)
        assert caught.value.row == 150
        written(kind, tmp_path, problem(201))
        if kind != "npz, compressed":
            with pytest.raises(DataError, match="expected 200 rows, got at least 201"):
                source[kind].block(0, 200)
        written(kind, tmp_path, problem())
        assert_all_rows(source[kind], problem())


def test_callables_that_misbehave():
    once = iter([np.ones((2, 3))])
    with pytest.raises(DataError, match="expected a fresh iterator at every call, got one that is"):
        open_rows(lambda: once).block(0, 2)
    lengths = iter([3, 2, 4, 3])
    rows = open_rows(lambda: [np.ones((next(lengths), 3))])
    with pytest.raises(DataError, match=r"rows of .*: expected 3 rows, got only 2"):
        rows.block(0, 3)
    with pytest.raises(DataError, match=r"rows of .*: expected 3 rows, got at least 4"):
        rows.block(0, 3)
    assert rows.block(0, 3).features.sum() == 9.0
    for blocks, error, message in [
        (None, TypeError, "returns an iterator of blocks, got NoneType"),
        ([], DataError, "expected at least one row, got none"),
        (
            [np.ones((4, 2)), np.ones((1, 3))],
            DataError,
            "block 1 from row 4 on: expected 2 features",
        ),
        ([np.ones(3)], DataError, "block 0 from row 0 on: expected 2 dimensions"),
        ([[["a"]]], TypeError, "block 0 from row 0 on: expected real numbers, got text"),
        ([[[1.0, 2.0], [3.0]]], DataError, "block 0 .*: expected 2 values in every row, got 1"),
        (
            [(np.ones((2, 1)), [1.0])],
            DataError,
            r"block 0 .*: expected labels of 2 rows, got shape",
        ),
        ([()], DataError, "block 0 .*: expected features, labels and weights, got a tuple of 0"),
        (
            [(np.ones((1, 1)), [1.0]), np.ones((1, 1))],
            DataError,
            "block 1 from row 1 on: .* labels",
        ),
    ]:
        with pytest.raises(error, match=r"rows of .*: .*" + message):
            open_rows(lambda b=blocks: b)


def test_an_error_in_a_callable_passes():
    calls = []

    def blocks():
        calls.append(None)
        yield np.ones((2, 3))
        if len(calls) == 2:
            raise KeyboardInterrupt
        yield np.ones((2, 3))

    rows = open_rows(blocks)
    with pytest.raises(KeyboardInterrupt):
        rows.block(0, 4)
    assert rows.block(0, 4).features.sum() == 12.0


def test_going_on_costs_no_new_start(tmp_path):
    starts = []

    def blocks():
        starts.append(None)
        yield from blocks_of(problem(), [50, 100], "matrix")

    rows = open_rows(blocks)
    for start in range(0, 200, 20):
        rows.block(start, start + 20)
    assert len(starts) == 2  # one to count
    path, options = written("parquet", tmp_path, problem())
    rows = open_rows(path, **options)
    assert rows.pieces(100)[0] == 99  # the row group begins there


def test_arrays_are_read_without_pyarrow(tmp_path):
    write_npy(tmp_path / "rows.npy", problem())
    program = (
        f"import sys; from fastbp.data.sources.opening import open_rows; open_rows({str(tmp_path)!r}).block(0, 9);"
        "assert not {'pyarrow', 'pandas', 'polars'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_an_encrypted_archive_is_refused(tmp_path):
    path = tmp_path / "rows.npz"
    write_npz(path, problem())
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        data[data.index(signature) + flags] |= 1
    path.write_bytes(data)
    assert zipfile.ZipFile(path).infolist()[0].flag_bits & 1
    with pytest.raises(
        DataError, match=r"rows\.npz: expected an archive of arrays, got .*encrypted"
    ):
        open_rows(path)


# --- labels that are text ------------------------------------------------------------------------

WORDS = ["no", "yes", "NA", "\u00e4h"]


def labelled(path, words, x=None):
    """Write features and labels in the format that the name asks for."""
    from pyarrow import parquet

    x = np.arange(float(len(words))) if x is None else x
    kind = path.name.split(".")[0]
    types = {"dictionary": pa.dictionary(pa.int8(), pa.string()), "large": pa.large_string()}
    column = pa.array(words, types.get(kind, pa.string_view() if kind == "view" else None))
    table = pa.table({"x": x, "y": column})
    if path.suffix in (".csv", ".tsv"):
        separator = "," if path.suffix == ".csv" else "\t"
        shown = ["" if word is None else str(word) for word in words]
        lines = [f"{a}{separator}{b}" for a, b in zip(x, shown, strict=True)]
        path.write_text("\n".join([f"x{separator}y", *lines]) + "\n", encoding="utf-8")
    elif path.suffix == ".npz":
        save = np.savez_compressed if kind == "zipped" else np.savez
        y = np.array(["" if word is None else word for word in words])
        save(path, x=x, y=y[:, None] if kind == "wide" else y, other=np.array(["text"] * len(x)))
    elif path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=33)
    else:
        new = pa.ipc.new_stream if path.suffix == ".feather" else pa.ipc.new_file
        with new(path, table.schema) as file:
            file.write_table(table, max_chunksize=33)
    return path


TEXTS = [
    "t.csv", "t.tsv", "t.npz", "zipped.npz", "wide.npz", "t.parquet", "dictionary.parquet", "t.arrow",
    "large.arrow", "view.arrow", "dictionary.arrow", "t.feather",
]  # fmt: skip
of_text = {"target": "y", "columns": ["x"]}


@pytest.mark.parametrize("name", TEXTS)
def test_text_makes_classes(name, tmp_path):
    words = np.random.default_rng(0).choice(WORDS, 500).tolist()
    rows = open_rows(labelled(tmp_path / name, words), **of_text)
    assert rows.classes == sorted(WORDS)
    indices = np.array([sorted(WORDS).index(word) for word in words], dtype=float)
    for start, stop in [(0, 500), (3, 8), (250, 251), (490, 500)]:
        block = rows.block(start, stop)
        np.testing.assert_array_equal(block.labels[:, 0], indices[start:stop])
        np.testing.assert_array_equal(block.features[:, 0], np.arange(start, stop))
    if rows.random_access:
        block, numbers = rows.empty(4), np.array([400, 3, 499, 4])
        rows.take(numbers, block)
        np.testing.assert_array_equal(block.labels[:, 0], indices[numbers])
    assert copy_of(rows).classes == rows.classes
    for gap in (2, 444):
        broken = [None if row >= gap else word for row, word in enumerate(words)]
        labelled(tmp_path / name, broken)
        expected = f"{name}: column 'y0?': expected a label, got none in row {gap}$"
        with pytest.raises(DataError, match=expected) as caught:
            open_rows(tmp_path / name, **of_text)
        assert caught.value.row == gap


@pytest.mark.parametrize("suffix", ["csv", "npz", "parquet", "arrow", "feather"])
def test_the_files_of_a_folder_share_their_classes(suffix, tmp_path):
    for name, words in [("1", "bc"), ("2", "ab"), ("3", "d")]:
        labelled(tmp_path / f"{name}.{suffix}", list(words))
    rows = open_rows(tmp_path, **of_text)
    assert rows.classes == list("abcd")
    assert rows.block(0, 5).labels.tolist() == [[1.0], [2.0], [0.0], [1.0], [3.0]]
    if suffix not in ("npz", "csv"):  # in text the same digits can be a label
        labelled(tmp_path / f"2.{suffix}", [1, 2])
        with pytest.raises(DataError, match=r"2\..*: expected text as labels, as in .*, got num"):
            open_rows(tmp_path, **of_text)


def test_true_and_false_are_classes(tmp_path):
    truth = [True, False, True] * 100
    for name in ("t.csv", "t.parquet", "t.feather"):
        rows = open_rows(labelled(tmp_path / name, truth), target="y")
        assert rows.classes == [False, True]
        assert rows.block(0, 300).labels[:, 0].tolist() == truth
        labelled(tmp_path / name, [*truth, None])
        rows = open_rows(tmp_path / name, target="y")
        with pytest.raises(DataError, match="column 'y': expected a label, got none in row 300"):
            rows.block(0, 301)
    np.savez(tmp_path / "t.npz", x=np.ones(300), y=np.array(truth))
    np.save(tmp_path / "t.npy", np.array([truth, truth]).T)
    for rows in (
        open_rows(tmp_path / "t.npz", target="y"),
        open_rows(tmp_path / "t.npy", target=1),
    ):
        assert rows.classes == [False, True]
        assert rows.block(0, 300).labels[:, 0].tolist() == truth
    (tmp_path / "t.csv").write_text("x,y\n" + "1,true\n2, False\n" * 600 + "3,maybe\n")
    rows = open_rows(tmp_path / "t.csv", target="y")
    assert rows.block(0, 1200).labels.sum() == 600.0
    with pytest.raises(DataError, match="column 'y': expected a label, got 'maybe' in row 1200"):
        rows.block(600, 1201)


def test_the_first_labels_of_text_decide(tmp_path):
    path = tmp_path / "t.csv"
    for cells in ("0\n1\n", '0\n""\n', " 1\nNA\n", "1.5\ntrue\n"):
        path.write_text("x,y\n" + "".join(f"1,{cell}\n" for cell in cells.split("\n")[:-1]))
        assert open_rows(path, target="y").classes is None
    path.write_text("x,y\n1,1\n1,no\n1,1\n")
    assert open_rows(path, target="y").classes == ["1", "no"]
    path.write_text("x,y\n" + "1,0\n" * 1000 + "1,no\n")
    rows = open_rows(path, target="y")
    assert rows.classes is None
    with pytest.raises(DataError, match="column 'y': expected a number, got 'no' in row 1000"):
        rows.block(0, 1001)
    labelled(path, ["a"] * 1000)
    rows = open_rows(path, target="y")
    path.write_text(path.read_text().replace("999.0,a", "999.0,b"))
    with pytest.raises(DataError, match="column 'y': expected a label, got 'b' in row 999"):
        rows.block(0, 1000)


def test_text_among_several_targets(tmp_path):
    from pyarrow import feather, parquet

    columns = {"x": np.ones(2), "y": np.array(["a", "b"]), "z": np.ones(2)}
    np.savez(tmp_path / "t.npz", **columns)
    (tmp_path / "t.csv").write_text("x,y,z\n1,a,1\n1,b,1\n")
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    feather.write_feather(pa.table(columns), tmp_path / "t.arrow")
    for name in ("t.npz", "t.csv", "t.parquet", "t.arrow"):
        with pytest.raises(DataError, match=r"(column 'y'|: y): expected .*number"):
            open_rows(tmp_path / name, target=["y", "z"]).block(0, 2)


def test_too_many_different_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(text_labels, "MOST_LABELS", 3)
    path = labelled(tmp_path / "t.csv", list("abcd"))
    with pytest.raises(DataError, match="column 'y': expected at most 3 different labels"):
        open_rows(path, target="y")


def test_arrays_of_an_archive_by_name_and_by_column(tmp_path):
    x = np.arange(12.0).reshape(4, 3)
    np.savez(tmp_path / "m.npz", x=x, one=x[:, :1], y=x[:, 1])
    for options, expected in [
        ({"target": "one"}, (["x0", "x1", "x2", "y"], 1)),
        ({"target": "one0", "columns": ["x2", "y"]}, (["x2", "y"], 1)),
        ({"target": "x", "weight": "one"}, (["y"], 3)),
        ({"target": ["y", "x1"], "columns": ["one", "x0"]}, (["one0", "x0"], 2)),
    ]:
        rows = open_rows(tmp_path / "m.npz", **options)
        assert (rows.feature_names, rows.n_labels) == expected
    for options, message in [
        ({"weight": "x"}, "weight: expected one column"),
        ({"target": "x3"}, r"target: expected a column of .*m\.npz \('x0', .*\), got 'x3'"),
    ]:
        with pytest.raises(ValueError, match=message):
            open_rows(tmp_path / "m.npz", **options)


def test_json_lines_from_any_block_on(tmp_path, monkeypatch):
    monkeypatch.setattr("fastbp.data.sources.json_lines.BLOCK_BYTES", 2000)
    path = tmp_path / "rows.jsonl"
    values = [
        {"a": i if i < 900 else i + 0.5, "y": "yn"[i % 2], "note": {"n": i}} for i in range(1000)
    ]
    del values[8]["a"]
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    rows = open_rows(path, target="y", columns=["a"])
    assert (rows.n_rows, rows.classes) == (1000, ["n", "y"])
    block = rows.block(899, 902)
    assert block.features[:, 0].tolist() == [899.0, 900.5, 901.5]
    assert block.labels[:, 0].tolist() == [0.0, 1.0, 0.0]
    assert np.isnan(rows.block(8, 9).features[0, 0])
    values[700]["a"] = "many"
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    with pytest.raises(
        DataError, match=r"rows\.jsonl: expected JSON, .* string in row 700$"
    ) as caught:
        open_rows(path, columns=["a"]).block(690, 710)
    assert caught.value.row == 700
