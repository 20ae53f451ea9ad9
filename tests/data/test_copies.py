"""Files that many epochs read are read once: the rest is a temporary copy, with the same bits."""

import gzip
import io
import os
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest

import fastbp
from fastbp.data.sources import spool, text
from fastbp.errors import DataError
from tests.data.kinds import every_kind, write_csv, write_parquet, written

N, D, EPOCHS = 400, 3, 11
FREE = 8 * N * (D + 2) * 4  # the least room for a copy of features, labels and weights


def rows_of_a_file():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D))
    y = (x[:, :1] + rng.normal(size=(N, 1)) > 0) * 1.0
    return np.hstack([x, y, rng.random((N, 1)) + 0.5])


ROWS = rows_of_a_file()


@pytest.fixture(autouse=True)
def large_files(monkeypatch):
    """Files are read in several blocks, not as a whole; there is room for copies."""
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 1000)
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 4000)
    monkeypatch.setattr(spool, "disk_space", lambda: FREE)


@pytest.fixture
def copies(monkeypatch):
    """Return the list of the copies that are made."""
    made = []

    class Recorded(spool.Spool):
        def __init__(self, rows, descriptor):
            super().__init__(rows, descriptor)
            made.append(rows.n_rows)

    monkeypatch.setattr(spool, "Spool", Recorded)
    return made


def fit(rows, labels=None, epochs=EPOCHS, **options):
    how = {"learning_rate": 0.5, "loss": "bce", "n_threads": 1, "random_state": 3, **options}
    return fastbp.fit_neuron(rows, labels, np.zeros(D), 0.0, epochs=epochs, **how)


def in_memory(rows=ROWS, **options):
    return fit(rows[:, :D], rows[:, D], sample_weight=rows[:, D + 1], **options)


def assert_same(found, expected):
    np.testing.assert_array_equal(found.weights, expected.weights)
    np.testing.assert_array_equal(found.losses, expected.losses)
    assert found.bias == expected.bias


def csv(tmp_path, rows=ROWS):
    write_csv(tmp_path / "rows.csv", rows)
    return fastbp.open_rows(tmp_path / "rows.csv", target="y", weight="w")


@every_kind
@pytest.mark.parametrize("threads", [1, 3])
def test_the_bits_are_those_of_rows_in_memory(kind, threads, tmp_path):
    path, options = written(kind, tmp_path, ROWS)
    rows = fastbp.open_rows(path, **options)
    for how in ({}, {"batch_size": 60, "shuffle": "window", "optimizer": "adam"}):
        assert_same(fit(rows, n_threads=threads, **how), in_memory(n_threads=threads, **how))


@pytest.mark.parametrize(
    ("how", "made"),
    [
        ({}, [N]),
        ({"epochs": 3}, [N]),
        ({"epochs": 2}, []),
        ({"shuffle": "window"}, [N]),
        ({"validation": 0.25}, [N - N // 4, N // 4]),
        ({"optimizer": "lbfgs", "learning_rate": None, "epochs": 20}, [N]),
        ({"dtype": "float32"}, [N]),
        ({"n_threads": 2}, [N]),
    ],
    ids=str,
)
def test_files_are_copied_where_that_pays(how, made, copies, tmp_path, monkeypatch):
    csv(tmp_path)
    rows = fastbp.open_rows(tmp_path / "rows.csv", target="y", exclude=["w"])
    read = []
    fill = text.Csv.fill

    def counted(self, start, stop, block):
        read.append(stop - start)
        fill(self, start, stop, block)

    monkeypatch.setattr(text.Csv, "fill", counted)
    found = fit(rows, **how)
    assert copies == made
    assert sum(read) <= N * (len(made) or 2)  # once for each copy, or once an epoch
    monkeypatch.setattr(spool, "disk_space", lambda: 0)
    assert_same(found, fit(rows, **how))
    assert copies == made


@pytest.mark.parametrize(("epochs", "made"), [(9, []), (10, [N])])
@pytest.mark.parametrize("kind", ["parquet", "folder"])
def test_what_is_faster_to_read_pays_later(kind, epochs, made, copies, tmp_path):
    if kind == "parquet":
        write_parquet(tmp_path / "rows.parquet", ROWS)
    else:
        np.save(tmp_path / "1.npy", ROWS[:250])
        np.save(tmp_path / "2.npy", ROWS[250:])
    names = {"target": D, "weight": D + 1} if kind == "folder" else {"target": "y", "weight": "w"}
    fit(fastbp.open_rows(tmp_path, **names), epochs=epochs)
    assert copies == made


def test_what_is_mapped_or_made_is_not_copied(copies, tmp_path):
    np.save(tmp_path / "rows.npy", ROWS[:, : D + 1])
    fit(fastbp.open_rows(tmp_path / "rows.npy", target=D))
    fit(fastbp.open_rows(lambda: iter([(ROWS[:, :D], ROWS[:, D])])))
    fit(ROWS[:, :D], ROWS[:, D])
    fit(fastbp.datasets.make_neuron_dataset(N, D, virtual=True)[0])
    assert copies == []


def test_no_room(copies, tmp_path, monkeypatch):
    rows = csv(tmp_path)
    monkeypatch.setattr(spool, "disk_space", lambda: FREE - 4)
    assert_same(fit(rows), in_memory())
    assert copies == []


@pytest.mark.parametrize("failure", ["full disk", "no folder"])
def test_a_copy_that_fails_costs_nothing_but_time(failure, copies, tmp_path, monkeypatch):
    class Full(io.RawIOBase):
        written = 0

        def write(self, data):
            if self.written > 5000:
                raise OSError(28, "No space left on device")
            self.written += len(data)
            return len(data)

    def fail(**_):
        raise FileNotFoundError(2, "No usable temporary directory found")

    rows, zipped = csv(tmp_path), tmp_path / "rows.csv.gz"
    zipped.write_bytes(gzip.compress((tmp_path / "rows.csv").read_bytes()))
    make = fail if failure == "no folder" else lambda **_: Full()
    monkeypatch.setattr(tempfile, "TemporaryFile", make)
    assert_same(fit(rows), in_memory())
    rows = fastbp.open_rows(zipped, target="y", weight="w")
    assert_same(fit(rows), in_memory())
    expected = r"temporary copy of .*rows\.csv\.gz, of 16000 bytes.*TMPDIR"
    with pytest.raises(OSError, match=expected):
        fit(rows, epochs=1, shuffle="window")  # which cannot do without
    assert copies == []


@pytest.mark.parametrize("what", ["feature", "label", "text", "weight"])
def test_a_bad_row_is_one_of_the_file(what, tmp_path):
    wrong = ROWS.copy()
    column = {"feature": 1, "text": 1, "label": D, "weight": D + 1}[what]
    wrong[313, column] = {"feature": np.nan, "text": 7.25, "label": 2.0, "weight": -1.0}[what]
    write_csv(tmp_path / "rows.csv", wrong)
    if what == "text":
        path = tmp_path / "rows.csv"
        path.write_text(path.read_text().replace("7.25", "seven"))
    with pytest.raises(DataError, match=r"rows\.csv") as caught:
        fit(fastbp.open_rows(tmp_path / "rows.csv", target="y", weight="w"))
    assert what == "text" or caught.value.row == 313


def test_a_file_that_cannot_be_read_is_no_lack_of_room(tmp_path):
    """Errors of the source are its own, not those of the copy."""
    rows = csv(tmp_path)
    (tmp_path / "rows.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"rows\.csv"):
        fit(rows)


def test_ctrl_c_while_rows_are_copied(tmp_path, monkeypatch):
    rows, fill = csv(tmp_path), text.Csv.fill

    def interrupt(self, start, stop, block):
        if start > 0:
            os.kill(os.getpid(), signal.SIGINT)
        fill(self, start, stop, block)

    with monkeypatch.context() as patch:
        patch.setattr(text.Csv, "fill", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fit(rows)
    assert_same(fit(rows), in_memory())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="lists what is open")
def test_nothing_stays_open(tmp_path):
    def opened():
        found = []
        for name in Path("/proc/self/fd").iterdir():
            try:
                found.append(str(name.readlink()))
            except OSError:  # that of the listing itself
                continue
        return {name for name in found if name.endswith("(deleted)")}

    rows = csv(tmp_path)
    fit(rows)
    before = opened()
    fit(rows, validation=0.25)
    with pytest.raises(ValueError, match="stop"):
        fit(rows, callback=_stop)
    assert opened() <= before


def _stop(state):
    raise ValueError("stop")


def test_a_checkpoint_of_a_copy_is_one_of_the_file(tmp_path, copies):
    rows, path = csv(tmp_path), tmp_path / "fit.checkpoint"
    with pytest.raises(ValueError, match="stop"):
        fit(rows, checkpoint=path, checkpoint_every=0, callback=_stop_at(4))
    assert_same(fit(rows, checkpoint=path), in_memory())
    assert copies == [N, N]
    assert_same(fit(rows, checkpoint=path), in_memory())  # which has ended
    assert copies == [N, N]


def _stop_at(epoch):
    def callback(state):
        if state.epoch == epoch:
            raise ValueError("stop")

    return callback


def test_the_bar_of_a_copy(tmp_path, monkeypatch):
    shown = []

    class Bar:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def update(self, n):
            shown.append(n)

    monkeypatch.setattr("fastbp.data.copies.rows_bar", lambda *_: Bar())
    rows = csv(tmp_path)
    fit(rows)
    assert shown == []
    fit(rows, progress=True)
    assert sum(shown) == N and len(shown) > 1
