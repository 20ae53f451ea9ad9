"""A file of every format: its suffix, what writes a matrix into it, and its columns."""

import gzip
import json
from itertools import pairwise

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="reads tables; CI has it")
NAMES = ["a", "b", "c", "y", "w"]


def problem(n_rows=200, seed=1):
    """Return a matrix: three columns of features, labels, weights."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n_rows, 5)) * 10.0 ** rng.integers(-9, 9, size=(n_rows, 5))
    rows[:, 4] = rng.random(n_rows) + 0.5
    return rows


def table_of(rows):
    return pa.table({name: rows[:, j] for j, name in enumerate(NAMES)})


def write_npy(path, rows):
    np.save(path, rows)


def write_fortran(path, rows):
    np.save(path, np.asfortranarray(rows))


def write_swapped(path, rows):
    np.save(path, rows.astype(rows.dtype.newbyteorder()))


def write_npz(path, rows, save=np.savez):
    save(path, abc=rows[:, :3], y=rows[:, 3], w=rows[:, 4:])


def write_npz_of_columns(path, rows):
    np.savez(path, **{name: rows[:, j] for j, name in enumerate(NAMES)})


def write_zipped(path, rows):
    write_npz(path, rows, np.savez_compressed)


def write_zipped_fortran(path, rows):
    write_npz(path, np.asfortranarray(rows), np.savez_compressed)


def csv_text(rows, end="\n", separator=","):
    lines = [NAMES, *[[repr(float(value)) for value in row] for row in rows]]
    return "".join(separator.join(line) + end for line in lines)


def write_csv(path, rows):
    path.write_text(csv_text(rows))


def write_odd_csv(path, rows):
    lines = csv_text(rows, "\r\n").replace("a,b", '"a","b"').split("\r\n")
    lines[1:1] = ["", ""]
    path.write_bytes(b"\xef\xbb\xbf\r\n" + "\r\n".join(lines).strip().encode())


def write_tsv(path, rows):
    path.write_text(csv_text(rows, separator="\t"))


def write_json_lines(path, rows):
    numbers = np.where(np.isnan(rows), None, rows).tolist()
    named = (dict(zip(NAMES, row, strict=True)) for row in numbers)
    path.write_text("".join(json.dumps(row) + "\n" for row in named))


def compressed(write, codec):
    def write_compressed(path, rows):
        write(path, rows)
        text = path.read_bytes()
        parts = [text[:2000], text[2000:]]  # as of a log that was continued
        squeeze = (
            gzip.compress if codec == "gzip" else lambda part, mtime: pa.compress(part, codec, True)
        )
        path.write_bytes(b"".join(squeeze(part, mtime=0) for part in parts))

    return write_compressed


def write_parquet(path, rows):
    from pyarrow import parquet

    parquet.write_table(table_of(rows), path, row_group_size=33)


def write_arrow(path, rows, new=pa.ipc.new_file):
    with new(path, table_of(rows).schema) as file:
        file.write_table(table_of(rows), max_chunksize=33)


def write_stream(path, rows):
    write_arrow(path, rows, pa.ipc.new_stream)


NUMBERS = {"target": 3, "weight": -1}
NAMED = {"target": "y", "weight": "w"}
KINDS = {
    "npy": (".npy", write_npy, NUMBERS),
    "npy, Fortran": (".npy", write_fortran, NUMBERS),
    "npy, other byte order": (".npy", write_swapped, NUMBERS),
    "npz": (".npz", write_npz, NAMED),
    "npz of columns": (".npz", write_npz_of_columns, NAMED),
    "npz, compressed": (".npz", write_zipped, NAMED),
    "npz, compressed, Fortran": (".npz", write_zipped_fortran, NAMED),
    "csv": (".csv", write_csv, NAMED),
    "csv, odd": (".csv", write_odd_csv, NAMED),
    "tsv": (".tsv", write_tsv, NAMED),
    "json lines": (".jsonl", write_json_lines, NAMED),
    "csv, gzip": (".csv.gz", compressed(write_odd_csv, "gzip"), NAMED),
    "csv, zstd": (".csv.zst", compressed(write_csv, "zstd"), NAMED),
    "tsv, gzip": (".tsv.gz", compressed(write_tsv, "gzip"), NAMED),
    "json lines, zstd": (".jsonl.zst", compressed(write_json_lines, "zstd"), NAMED),
    "parquet": (".parquet", write_parquet, NAMED),
    "arrow": (".arrow", write_arrow, NAMED),
    "arrow stream": (".feather", write_stream, NAMED),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def written(kind, folder, rows, stem="rows"):
    suffix, write, options = KINDS[kind]
    write(folder / (stem + suffix), rows)
    return folder / (stem + suffix), options


def assert_rows(block, rows):
    np.testing.assert_array_equal(block.features, rows[:, :3], strict=True)
    np.testing.assert_array_equal(block.labels, rows[:, 3:4], strict=True)
    np.testing.assert_array_equal(block.weight, rows[:, 4], strict=True)


def assert_all_rows(source, rows, cuts=(7, 40, 41, 160)):
    """Read forwards in pieces, then backwards, then single rows."""
    assert (source.n_rows, source.n_features) == (len(rows), 3)
    assert (source.n_labels, source.weighted) == (1, True)
    bounds = sorted({0, *(cut for cut in cuts if cut < len(rows)), len(rows)})
    pieces = list(pairwise(bounds))
    for start, stop in [*pieces, *reversed(pieces), (0, len(rows))]:
        assert_rows(source.block(start, stop), rows[start:stop])
    if source.random_access:
        indices = np.random.default_rng(2).permutation(np.r_[:60, 100:110, :3] % len(rows))
        indices[5:15] = np.arange(10) % len(rows)
        block = source.empty(len(indices))
        source.take(indices, block)
        assert_rows(block, rows[indices])
