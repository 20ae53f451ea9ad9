"""What the README promises of rows and tables, for every reader that there is."""

import gzip
import itertools
import json
import re
from datetime import date

import numpy as np
import pytest

from fastbp import DataError, fit_neuron
from fastbp.data.sources.formats import FORMATS
from fastbp.data.sources.opening import open_rows
from tests.data.kinds import KINDS, NAMED, NAMES, NUMBERS, problem, table_of, written

pa = pytest.importorskip("pyarrow", reason="reads tables; CI has it")
pd = pytest.importorskip("pandas", reason="is read, too")
pl = pytest.importorskip("polars", reason="is read, too")
da = pytest.importorskip("dask.array", reason="is read, too")
dd = pytest.importorskip("dask.dataframe", reason="is read, too")

CUT = 120
MEMORY = {
    "array": (lambda rows: rows, NUMBERS),
    "lists": (lambda rows: rows.tolist(), NUMBERS),
    "objects": (lambda rows: rows.astype(object), NUMBERS),
    "pandas": (lambda rows: pd.DataFrame(rows, columns=NAMES), NAMED),
    "pandas without names": (pd.DataFrame, NUMBERS),
    "Polars": (lambda rows: pl.from_arrow(table_of(rows)), NAMED),
    "Arrow": (table_of, NAMED),
}
DASK = {  # in partitions
    "Dask array": (lambda rows: da.from_array(rows, chunks=(CUT, 2)), NUMBERS),
    "Dask DataFrame": (
        lambda rows: dd.from_pandas(pd.DataFrame(rows, columns=NAMES), chunksize=CUT),
        NAMED,
    ),
}
READERS = [
    *KINDS,
    *(f"folder of {kind}" for kind in KINDS),
    *MEMORY,
    *(f"blocks of {kind}" for kind in MEMORY),
    *DASK,
]


def opened(reader, folder, rows, **options):
    """The rows as the reader gives them; in two parts where it takes several."""
    kind = re.sub("^(folder|blocks) of ", "", reader)
    if reader in KINDS:
        path, usual = written(kind, folder, rows)
        return open_rows(path, **usual, **options)
    if reader.startswith("folder"):
        for i, part in enumerate((rows[:CUT], rows[CUT:])):
            _, usual = written(kind, folder, part, f"part{i}")
        return open_rows(folder, **usual, **options)
    make, usual = {**MEMORY, **DASK}[kind]
    if not reader.startswith("blocks"):
        return open_rows(make(rows), **usual, **options)
    return open_rows(lambda: map(make, (rows[:CUT], rows[CUT:])), **usual, **options)


FAULTS = {
    "feature": (1, np.nan, r"expected finite numbers, got nan in row {row}, column (1|'b'|'abc1')"),
    "label": (3, np.inf, r"target: expected finite numbers, got inf in row {row}"),
    "weight": (4, -1.0, r"weight: expected non-negative weights, got -1\.0 in row {row}"),
}


def raised(reader, folder, fault, row, **options):
    """The error of a fit on rows of which one is wrong, and the index it has in its file."""
    rows = problem()
    column, value, message = FAULTS[fault]
    rows[row, column] = value
    source = opened(reader, folder, rows, **options)
    with pytest.raises(DataError) as caught:
        fit_neuron(source, None, np.zeros(3), 0.0, 0.1, 1, activation="identity")
    return caught.value, source.locate(row), message


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("reader", READERS)
def test_rows_are_counted_from_0_in_every_message(reader, fault, tmp_path, monkeypatch):
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 1000)  # read block by block
    for row in (0, CUT + 1, 199):
        error, (_, index), _ = raised(reader, tmp_path, fault, row)
        in_parts = reader.startswith(("folder", "Dask"))
        assert index == (row - CUT if in_parts and row >= CUT else row)
        assert error.row == index and re.search(rf"\brow {index}\b", str(error))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("reader", READERS)
def test_an_error_names_the_argument_the_row_and_what_was_expected(reader, fault, tmp_path):
    error, (name, row), message = raised(reader, tmp_path, fault, CUT + 1)
    assert re.fullmatch(re.escape(name) + ": " + message.format(row=row), str(error))
    partition = "source, partition 1" if reader in DASK else "source"
    assert name == partition or name.startswith(("rows of ", str(tmp_path)))


TEXT_MESSAGES = {
    "csv": r"column 'b': expected a number, got 'x' in row 13$",
    "jsonl": r"expected JSON, one object per line, got .* in row 13$",
    "objects": r"expected real numbers, got str 'x' in row 13, column 1$",
    "pandas": r"expected real numbers, got str 'x' in row 13, column 1$",
}


@pytest.mark.parametrize("reader", ["csv", "jsonl", "objects", "pandas"])
@pytest.mark.parametrize("parts", [False, True])
def test_text_among_numbers_is_named(reader, parts, tmp_path):
    rows = problem().astype(object)
    rows[13, 1] = "x"
    path = tmp_path / f"rows.{reader}"
    if reader == "csv":
        path.write_text("\n".join([",".join(NAMES), *(",".join(map(str, r)) for r in rows)]))
    if reader == "jsonl":
        path.write_text("\n".join(json.dumps(dict(zip(NAMES, r, strict=True))) for r in rows))
    make = (lambda some: pd.DataFrame(some, columns=NAMES)) if reader == "pandas" else np.array
    columns = [0, 1] if reader == "objects" else ["a", "b"]
    source = make(rows) if reader in ("objects", "pandas") else path
    if parts:
        source = tmp_path if path.exists() else lambda: map(make, (rows[:7], rows[7:]))
    with pytest.raises((TypeError, DataError), match=TEXT_MESSAGES[reader]):
        open_rows(source, columns=columns).block(0, 200)


def others(n_rows):
    """Columns that no fit can take, of which two have the same name."""
    return {
        "note": [f"café, {i}" for i in range(n_rows)],
        "day": [date(2020, 1, 1)] * n_rows,
        "list": [[i, i] for i in range(n_rows)],
        "struct": [{"a": i, "b": "x"} for i in range(n_rows)],
        "binary": [b"\xff\x00"] * n_rows,
        "map": pa.array([[("k", 1)]] * n_rows, pa.map_(pa.string(), pa.int64())),
        "": [None] * n_rows,
    }


def with_others(rows):
    table = table_of(rows)
    for name, values in others(len(rows)).items():
        table = table.add_column(1, name, pa.array(values) if isinstance(values, list) else values)
    return table.append_column("note", pa.array(others(len(rows))["note"]))


def write_with_others(path, rows):
    """Write rows with other columns in the format of the suffix."""
    from pyarrow import feather, parquet

    suffix, _, codec = path.name.removeprefix("rows.").partition(".")
    notes = others(len(rows))["note"]
    if suffix == "npy":
        np.save(path, np.c_[rows, np.full(len(rows), np.nan)])
    elif suffix == "npz":
        columns = {name: rows[:, j] for j, name in enumerate(NAMES)}
        objects = np.array([{}] * 3, dtype=object)
        np.savez(path, note=np.array(notes), of=objects, other=np.ones((2, 2, 2)), **columns)
    elif suffix in ("csv", "tsv"):
        mark = "," if suffix == "csv" else "\t"
        lines = [mark.join(['"note"', *NAMES, "note", ""])]
        for note, row in zip(notes, rows.tolist(), strict=True):
            lines.append(mark.join([f'"{note}"', *map(repr, row), "2020-01-01", "0"]))
        path.write_bytes("\n".join(lines).encode("latin-1"))
    elif suffix == "jsonl":
        extra = {"note": "café", "list": [1], "struct": {"a": [{}]}, "none": None}
        mixed = itertools.cycle([1, "a", {"b": 1}, [None], True, {"b": []}])
        lines = [
            json.dumps({**extra, "mixed": next(mixed), **dict(zip(NAMES, r, strict=True))})
            for r in rows.tolist()
        ]
        path.write_text("\n".join(lines))
    elif suffix in ("parquet", "pq"):
        parquet.write_table(with_others(rows), path)
    else:
        feather.write_feather(with_others(rows), path)
    if codec:
        text = path.read_bytes()
        path.write_bytes(gzip.compress(text) if codec == "gz" else pa.compress(text, "zstd", True))


IN_MEMORY = {
    "Arrow": with_others,
    "pandas": lambda rows: with_others(rows).select(range(12)).to_pandas(),
    "Polars": lambda rows: pl.from_arrow(with_others(rows).select([0, 1, *range(4, 12)])),
    "objects": lambda rows: np.c_[rows.astype(object), others(len(rows))["note"]],
    "pandas without names": lambda rows: pd.DataFrame(
        dict(enumerate([*rows.T, others(len(rows))["list"]]))
    ),
}


@pytest.mark.parametrize("form", ["alone", "in parts"])
@pytest.mark.parametrize("reader", [*FORMATS, *IN_MEMORY])
def test_a_table_may_hold_other_columns_too(reader, form, tmp_path):
    rows = problem()
    named = reader not in (".npy", "objects", "pandas without names")
    target, weight, columns = ("y", "w", ["a", "b", "c"]) if named else (3, 4, [0, 1, 2])
    if reader in FORMATS:
        source = tmp_path / f"rows{reader}"
        write_with_others(source, rows)
        if form == "in parts":
            (tmp_path / "k=1").mkdir()
            source = source.rename(tmp_path / "k=1" / source.name).parents[1]
            if reader == ".npy":
                source /= "k=1"
    else:
        make = IN_MEMORY[reader]
        source = make(rows) if form == "alone" else lambda: map(make, (rows[:CUT], rows[CUT:]))
    found = open_rows(source, target=target, weight=weight, columns=columns).block(0, 200)
    np.testing.assert_array_equal(found.features, rows[:, :3])
    np.testing.assert_array_equal(found.labels[:, 0], rows[:, 3])
    np.testing.assert_array_equal(found.weight, rows[:, 4])
