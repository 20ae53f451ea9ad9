"""Text files: how they are laid out, and what their messages tell."""

import numpy as np
import pytest

from fastbp import DataError
from fastbp.data.sources import text
from fastbp.data.sources.opening import open_rows

pytest.importorskip("pyarrow", reason="reads text; CI has it")


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


@pytest.mark.parametrize("options", [{"delimiter": ";"}, {"decimal": "'"}, {"header": False}])
def test_a_layout_is_for_text_alone(options, tmp_path):
    np.save(tmp_path / "rows.npy", np.ones((2, 2)))
    sources = [tmp_path, tmp_path / "rows.npy", np.ones((2, 2)), lambda: [np.ones((2, 2))]]
    for source in (*sources, open_rows(np.ones((2, 2)))):
        argument = next(iter(options))
        with pytest.raises(ValueError, match=f"{argument}: expected none for .*no .csv or .tsv"):
            open_rows(source, **options)
