"""Text files: how they are laid out, and what their messages tell."""

import gzip

import numpy as np
import pytest

from fastbp import DataError
from fastbp.data.sources import text
from fastbp.data.sources.opening import open_rows

pa = pytest.importorskip("pyarrow", reason="reads text; CI has it")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Make pieces small, so that small sources have several."""
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 1000)
    monkeypatch.setattr(text, "CSV_STEP", 700)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize(("suffix", "delimiter"), [("csv", ";"), ("csv", "\t"), ("tsv", "|")])
def test_layouts(suffix, delimiter, decimal, header, tmp_path):
    rows = np.random.default_rng(0).normal(size=(300, 3))
    rows[:, 1] = np.arange(300) % 2
    words = np.array(["no", "yes"])[np.arange(300) % 2]
    lines = [
        delimiter.join([*(repr(float(v)).replace(".", decimal) for v in row), word])
        for row, word in zip(rows, words, strict=True)
    ]
    lines[7] = lines[7].replace("1" + decimal + "0", "true")
    path = tmp_path / f"rows.{suffix}"
    path.write_text("\n".join([delimiter.join("abcy")] * header + lines) + "\n")
    layout = {"delimiter": delimiter, "decimal": decimal, "header": header}
    target, columns = ("y", ["c", "a", "b"]) if header else (-1, [2, 0, 1])
    for source in (path, tmp_path):
        found = open_rows(source, target=target, columns=columns, **layout)
        assert found.feature_names == (columns if header else None)
        assert found.classes == ["no", "yes"]
        block = found.block(0, 300)
        np.testing.assert_array_equal(block.features, rows[:, [2, 0, 1]])
        np.testing.assert_array_equal(block.labels[:, 0], np.arange(300) % 2)
    path.write_text(path.read_text().replace("no", ""))
    name = "'y'" if header else "3"
    with pytest.raises(DataError, match=rf"column {name}: expected a label, got none in row 0"):
        open_rows(path, target=target, columns=columns, **layout)


def test_a_number_has_one_decimal_mark(tmp_path):
    path = tmp_path / "rows.csv"
    for cell in ("1.5", "1.000,5", "1,5,5"):
        path.write_text(f"a;b\n1,5;0,5\n2,5;{cell}\n")
        with pytest.raises(
            DataError, match=f"column 'b': expected a number, got '{cell}' in row 1"
        ):
            open_rows(path, delimiter=";", decimal=",").block(0, 2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"delimiter": ";;"},
            ValueError,
            "delimiter: expected a single punctuation mark, got ';;'",
        ),
        ({"delimiter": "1"}, ValueError, "delimiter: expected a single punctuation mark, got '1'"),
        ({"delimiter": 3}, TypeError, "delimiter: expected a character, got int 3"),
        ({"decimal": None}, TypeError, "decimal: expected a character, got NoneType None"),
        ({"decimal": "\n"}, ValueError, "decimal: expected a single punctuation mark"),
        ({"decimal": ";", "delimiter": ";"}, ValueError, "decimal: expected another mark than"),
        ({"decimal": ","}, ValueError, "decimal: expected another mark than"),
        ({"header": 0}, TypeError, "header: expected True or False, got int 0"),
    ],
)
def test_layouts_that_are_none(options, error, message, tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    with pytest.raises(error, match=message):
        open_rows(tmp_path / "rows.csv", **options)


HINT = "; header=False takes the first line for a row$"


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_first_line_that_may_be_a_row(suffix, tmp_path):
    def write(text):
        content = text.encode()
        path.write_bytes(gzip.compress(content) if suffix == ".csv.gz" else content)

    path = tmp_path / f"rows{suffix}"
    write("0.5,-1e3,1\n1.5,2,0\n")
    with pytest.warns(UserWarning, match="the column '0.5' is called by a number" + HINT):
        assert open_rows(path, target="1").n_rows == 1
    assert open_rows(path, header=False, target=2).n_rows == 2
    with pytest.raises(ValueError, match=r"target: .*, got 'y'" + HINT):
        open_rows(path, target="y")
    write("0,0,1\n1,2,0\n")
    with pytest.raises(DataError, match="got '0' twice" + HINT):
        open_rows(path, target="1")
    write("2020,2021,y\n1,2,0\n")
    assert open_rows(path, target="y").feature_names == ["2020", "2021"]
    with pytest.raises(ValueError, match=r"got 'z'$"):
        open_rows(path, target="z")
    with pytest.raises(DataError, match=r"got 'y' in row 0 \(is the first line a header\?\)$"):
        open_rows(path, header=False, columns=[2]).block(0, 2)
    write("1,2\n3,x\n")
    with pytest.raises(DataError, match=r"got 'x' in row 1$"):
        open_rows(path, header=False).block(0, 2)


@pytest.mark.parametrize("options", [{"delimiter": ";"}, {"decimal": "'"}, {"header": False}])
def test_a_layout_is_for_text_alone(options, tmp_path):
    np.save(tmp_path / "rows.npy", np.ones((2, 2)))
    sources = [tmp_path, tmp_path / "rows.npy", np.ones((2, 2)), lambda: [np.ones((2, 2))]]
    for source in (*sources, open_rows(np.ones((2, 2)))):
        argument = next(iter(options))
        with pytest.raises(ValueError, match=f"{argument}: expected none for .*no .csv or .tsv"):
            open_rows(source, **options)


LINES = "x,y\n1,0\n2,1\n3,caf\u00e9\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x,y\n1,0\n2\n", "expected 2 cells, got 1 in row 1$"),
        (b"x,y\n1,0\n\n2,1,\n", "expected 2 cells, got 3 in row 1$"),
        (LINES.replace("y", "\u00e9").encode("latin-1"), "expected text in UTF-8, got byte 0xe9 in the"
         " first line; save the file as UTF-8$"),
        (LINES.encode("latin-1"), "expected text in UTF-8, got byte 0xe9 in row 2; save the file as"),
        (LINES.encode("utf-16"), "expected text in UTF-8, got UTF-16 or the like; save the file as"),
        (LINES.encode("utf-16-le"), "expected text in UTF-8, got UTF-16 or the like; save the file"),
        (LINES.encode("utf-16-be"), "expected text in UTF-8, got UTF-16 or the like; save the file"),
        (LINES.encode("utf-32"), "expected text in UTF-8, got UTF-16 or the like; save the file"),
        (b"x,y\r1,0\r2,1\r", r"expected lines that end in \\n or \\r\\n, got \\r alone$"),
        (b"x;y\n1,5;2\n", "expected cells separated by ',', got ';' in the first line; delimiter=';'"),
        (b"x\ty\n1\t2\n", r"expected cells separated by ',', got '\\t' in .*; delimiter='\\t' reads"),
        (b'x,y\n"1,5",0\n', "column 'x': expected a number, got '1,5' in row 0; decimal=',' reads it"),
        (b'x,y\n1,0\n"2\n3",1\n', "expected one row per line, got one that ends within quotes in row 1$"),
        (b"x,y\n1,0\n2,1\r3,1\n", r"expected one row per line, got one with \\r inside in row 1$"),
        (b'"x,y\n1,0\n', "expected (compressed )?text, got unexpected end of data$"),
        (gzip.compress(b"x,y\n1,0\n", mtime=0), "expected text in UTF-8, got compressed text; a name that"),
        (pa.compress(b"x,y\n1,0\n", "zstd", True), "expected text in UTF-8, got compressed text;"),
        (b"", "expected a header, got an empty file$"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "folder"])
def test_messages_tell_the_place_and_the_way_out(suffix, content, message, tmp_path):
    path = tmp_path / ("rows.csv" if suffix == "folder" else f"rows.{suffix}")
    path.write_bytes(gzip.compress(content) if suffix == "csv.gz" else content)
    with pytest.raises(DataError, match=rf"^.*rows\.csv(\.gz)?: {message}") as caught:
        rows = open_rows(tmp_path if suffix == "folder" else path)
        rows.block(0, rows.n_rows)
    if "in row" in message:
        assert f"row {caught.value.row}" in str(caught.value)


def test_the_way_out_is_one(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("x;y\n1,5;2\n")
    rows = open_rows(path, delimiter=";", decimal=",")
    assert rows.block(0, 1).features.tolist() == [[1.5, 2.0]]
    path.write_text('"x;y"\n1\n')  # quoted, so that it is a name
    assert open_rows(path).feature_names == ["x;y"]
    path.write_text("x;y\n1\n")
    assert open_rows(path, delimiter=",").feature_names == ["x;y"]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_the_first_row_without_a_header(bom, tmp_path):
    (tmp_path / "rows.csv").write_bytes(bom + b"\n\n1,2\n\n3,4\n")
    rows = open_rows(tmp_path / "rows.csv", header=False)
    assert rows.block(0, 2).features.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    with pytest.raises(ValueError, match=r"target: expected .* which has 2, got 2$"):
        open_rows(tmp_path / "rows.csv", header=False, target=2)


@pytest.mark.parametrize("codec", ["gz", "zst"])
def test_compressed_text_that_is_damaged(codec, tmp_path):
    text = b"x,y\n" + b"1,2\n" * 5000
    whole = gzip.compress(text) if codec == "gz" else pa.compress(text, "zstd", asbytes=True)
    path = tmp_path / f"rows.csv.{codec}"
    for content in (whole[: len(whole) // 2], whole[:5], text, b"\0" * 100):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"rows\.csv\.{codec}: expected compressed text, got "):
            open_rows(path)
    path.write_bytes(whole)
    rows = open_rows(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"rows\.csv\.{codec}: expected compressed text, got "):
        rows.block(0, 5000)


def test_a_first_line_without_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "LONGEST_HEADER", 1000)
    (tmp_path / "rows.csv").write_bytes(b"12 " * 1000)
    with pytest.raises(DataError, match=r"rows\.csv: expected a first line of at most 1000 bytes"):
        open_rows(tmp_path / "rows.csv")


ROWS = b'{"x": 1, "y": 0}\n' * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ROWS + b'{"x": 1, "y":\n' + ROWS, "expected JSON, one object per line, got .* in row 3$"),
        (ROWS + b'{"x": "a", "y": 1}\n', "got .* changed from number to string in row 3$"),
        (ROWS + b"[1, 2]\n" + ROWS, "expected JSON, one object per line, got .* in row 3$"),
        (ROWS * 40 + b"no\n" + ROWS, "expected JSON, one object per line, got .* in row 120$"),
        (ROWS.replace(b"x", b"\xe9"), "got text that is not UTF-8, byte 0xe9$"),
        (ROWS.replace(b"0", b'"\xe9"'), "got text that is not UTF-8, byte 0xe9$"),
    ],
)
def test_messages_of_json_lines(content, message, tmp_path, monkeypatch):
    monkeypatch.setattr("fastbp.data.sources.json_lines.BLOCK_BYTES", 1000)
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=rf"rows\.jsonl: .*{message}") as caught:
        open_rows(tmp_path / "rows.jsonl", target="y").block(0, 3)
    if "in row" in message:
        assert str(caught.value).endswith(f" in row {caught.value.row}")
