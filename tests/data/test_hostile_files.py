"""Files that somebody made to do harm end in an error of ours that names them, and soon."""

import os
import struct
import zipfile

import numpy as np
import pytest

from fastbp import DataError
from fastbp.data.sources.opening import open_rows
from tests.data.kinds import KINDS, problem

pa = pytest.importorskip("pyarrow", reason="reads tables; CI has it")
LARGE = [2**54, 2**62, -5, 10**6, 2**31]


def table():
    words = [str(i % 3) for i in range(100)]
    columns = {"a": np.arange(100.0), "b": np.arange(100), "s": words}
    return pa.table({**columns, "y": pa.array(words).dictionary_encode()})


def error_of(path, damaged, **options):
    """What comes of reading a file of these bytes: an error that names it, or None."""
    path.write_bytes(damaged)
    try:
        rows = open_rows(path, **options)
        for start in range(0, min(rows.n_rows, 1000), 100):
            rows.block(start, min(start + 100, rows.n_rows))
    except ValueError as error:
        caught = error
    else:
        return None
    assert str(path) in str(caught)
    assert isinstance(caught, DataError) or "expected a column of" in str(caught)
    return caught


@pytest.mark.parametrize("codec", [None, "zstd", "lz4"])
@pytest.mark.parametrize("suffix", ["arrow", "feather"])
def test_sizes_in_arrow_files_are_not_believed(suffix, codec, tmp_path):
    """Eighteen petabytes were asked for, and wrong offsets ended the process."""
    path = tmp_path / f"rows.{suffix}"
    new = pa.ipc.new_file if suffix == "arrow" else pa.ipc.new_stream
    with new(path, table().schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as file:
        file.write_table(table(), max_chunksize=33)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for position in rng.choice(len(whole) // 8, 150, replace=False).tolist():
        damaged = bytearray(whole)
        damaged[8 * position : 8 * position + 8] = struct.pack("<q", rng.choice(LARGE))
        options = {"target": "sy"[position % 2], "columns": ["a", "b"]}
        refused += error_of(path, damaged, **options) is not None
    assert refused > 10


@pytest.mark.parametrize("compress", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_sizes_in_archives_are_not_believed(compress, tmp_path):
    path = tmp_path / "rows.npz"
    with zipfile.ZipFile(path, "w", compress) as archive, archive.open("x.npy", "w") as member:
        header = {"descr": "<f8", "fortran_order": False, "shape": (1, 2**50)}
        np.lib.format.write_array_header_1_0(member, header)
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    extra = struct.pack("<HHQ", 1, 8, 2**53 + 128)  # the size in 64 bits
    data[directory + 24 : directory + 28] = b"\xff" * 4
    data[directory + 30 : directory + 32] = struct.pack("<H", len(extra))
    data[directory + 51 : directory + 51] = extra
    end = data.index(b"PK\x05\x06")
    size = struct.unpack_from("<I", data, end + 12)[0]
    data[end + 12 : end + 16] = struct.pack("<I", size + len(extra))
    path.write_bytes(data)
    assert zipfile.ZipFile(path).infolist()[0].file_size == 2**53 + 128
    with pytest.raises(DataError, match=r"rows\.npz: x: expected at most .* bytes in a file of"):
        open_rows(path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [("npy", "more than one array"), ("arrow stream", "expected one stream, got more after its")],
)
def test_rows_after_the_end_are_not_passed_over(kind, message, tmp_path):
    suffix, write, options = KINDS[kind]
    path = tmp_path / f"rows{suffix}"
    write(path, problem())
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(DataError, match=rf"rows\{suffix}: .*{message}"):
        open_rows(path, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipe_is_refused_at_once(kind, tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("makes a pipe")
    path = tmp_path / f"rows{KINDS[kind][0]}"
    os.mkfifo(path)
    with pytest.raises(ValueError, match=r"rows\..*got a pipe or device: write it into a file"):
        open_rows(path)
    link = tmp_path / f"link{KINDS[kind][0]}"
    link.symlink_to(path)
    with pytest.raises(ValueError, match=r"link\..*got a pipe or device"):
        open_rows(link)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="has no devices")  # noqa: PTH110
def test_a_device_is_refused():
    with pytest.raises(ValueError, match=r"/dev/zero: expected .*got a pipe or device"):
        open_rows("/dev/zero")


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_that_are_overwritten(kind, tmp_path):
    suffix, write, options = KINDS[kind]
    path = tmp_path / f"rows{suffix}"
    write(path, problem(40))
    whole = path.read_bytes()
    rng = np.random.default_rng(3)
    for position in rng.integers(0, len(whole), 40).tolist():
        damaged = bytearray(whole)
        damaged[position : position + 6] = rng.choice([b"\xff" * 6, b"\x7f" * 6, b"\x80" * 6])
        error_of(path, damaged, **options)
