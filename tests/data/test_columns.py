"""Which columns of a source are features: `columns`, `exclude`, and what errors say of them."""

import numpy as np
import pytest

from fastbp import DataError, fit_neuron, open_rows
from tests.problems import signatures

NAMES = ["a", "b", "c", "y"]
VALUES = np.arange(12.0).reshape(3, 4)


def table(folder, kind, text=()):
    """Write the values, columns named in `text` as text; return the path."""
    import pyarrow as pa
    from pyarrow import csv, feather, parquet

    path = folder / f"t{kind}"
    columns = {n: v.astype(str) if n in text else v for n, v in zip(NAMES, VALUES.T, strict=True)}
    named = pa.table({n: [f"word {x}" for x in v] if n in text else v for n, v in columns.items()})
    if kind == ".npz":
        np.savez(path, **columns)
    elif kind == ".jsonl":
        path.write_text(named.to_pandas().to_json(orient="records", lines=True))
    else:
        {".csv": csv.write_csv, ".parquet": parquet.write_table}.get(kind, feather.write_feather)(
            named, path
        )
    return path


@pytest.mark.parametrize("kind", [".csv", ".npz", ".parquet", ".arrow", ".jsonl"])
def test_excluded_columns_are_no_features_whatever_they_hold(tmp_path, kind):
    path = table(tmp_path, kind, text="b")
    with pytest.raises(DataError) as refused:
        open_rows(path, target="y").block(0, 3)
    assert refused.value.column == "b"
    rows = open_rows(path, target="y", exclude=["b"])
    assert rows.feature_names == ["a", "c"]
    np.testing.assert_array_equal(rows.block(0, 3).features, VALUES[:, [0, 2]])
    assert open_rows(path, columns=["c", "b", "a"], exclude=["b"]).feature_names == ["c", "a"]
    with pytest.raises(ValueError, match=r"exclude: expected a column of .* got 'z'"):
        open_rows(path, exclude=["z"])
    with pytest.raises(TypeError, match="exclude: expected a sequence of columns, got"):
        open_rows(path, exclude="b")


def test_columns_without_names_are_excluded_by_index(tmp_path):
    np.save(tmp_path / "t.npy", VALUES)
    rows = open_rows(tmp_path / "t.npy", target=-1, exclude=[1])
    np.testing.assert_array_equal(rows.block(0, 3).features, VALUES[:, [0, 2]])


def test_weights_of_an_array_are_contiguous_as_the_kernels_were_compiled_for():
    from fastbp.kernels.neuron import neuron_steps

    for names in ({}, {"weight": 2}):
        rows = open_rows(VALUES, target=-1, columns=[0], **names)
        fit_neuron(rows, None, [0.0], 0.0, 0.01, 1, activation="identity")
        assert rows.weight_array is None or rows.weight_array.flags.c_contiguous
    assert len(signatures(neuron_steps)) == 1


def test_the_column_of_a_value_that_is_not_finite(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, np.nan], "y": [0.0, 1.0]})
    rows = open_rows(frame, target="y")
    with pytest.raises(DataError) as refused:
        rows.raise_if_not_finite(0, rows.block(0, 2).features)
    assert (refused.value.row, refused.value.column) == (1, "a")
