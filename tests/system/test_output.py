"""The one writer of files: whatever stands at a path, and whatever happens on the way."""

import errno
import os
import socket
import stat
import struct
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

import fastbp
from fastbp.command.app import command
from fastbp.command.loss_log import LossLog
from fastbp.command.plot import write_plot
from fastbp.data.sources.writing import write_npy
from fastbp.models.table_model import TableModel
from fastbp.system import output
from fastbp.training.callbacks import EpochState
from tests.problems import python

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, pipes and modes of POSIX")

FIT = fastbp.fit_neuron([[0.0], [1.0]], [0, 1], [0.0], 0.0, 1.0, 3)


def log(path):
    lines = LossLog(path, continues=False)
    for epoch, loss in enumerate(FIT.losses):
        lines(EpochState(epoch, loss, None, {}))
    lines.close()
    lines.finish(FIT)


def rows(path):
    made, *_ = fastbp.datasets.make_neuron_dataset(20, 2, seed=1, virtual=True)
    write_npy(made, path)


def predictions(path):
    with tempfile.TemporaryDirectory() as folder:
        table, model = Path(folder) / "rows.csv", Path(folder) / "model"
        table.write_text("a\n1\n2\n", encoding="utf-8")
        fastbp.save(TableModel(FIT, ["a"], "größe", np.zeros(1), np.ones(1), None), model)
        result = CliRunner().invoke(
            command, ["predict", str(model), str(table), "--out", str(path)]
        )
    assert result.exit_code == 0, result.output


WRITERS = {
    "model.safetensors": lambda path: fastbp.save(FIT, path),
    "losses.csv": log,
    "losses.pdf": lambda path: write_plot(path, "losses", FIT),
    "rows.npy": rows,
    "predictions.csv": predictions,
}


@pytest.fixture(params=WRITERS)
def path(request, tmp_path, monkeypatch):
    """A path of each kind of output, which the function of its name writes."""
    monkeypatch.setattr("fastbp.command.loss_log.time", SimpleNamespace(perf_counter=lambda: 0.0))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")  # Matplotlib writes no other date
    return tmp_path / request.param


def write(path, name=None):
    WRITERS[name or path.name](path)


def reading(path):
    """Read a pipe on another thread; call the result to wait for what came."""
    read = []
    thread = threading.Thread(target=lambda: read.append(path.read_bytes()), daemon=True)
    thread.start()

    def content():
        thread.join(10)
        return read[0]

    return content


def test_a_pipe_stays_one_and_gets_what_a_file_gets(path):
    write(path)
    expected = path.read_bytes()
    path.unlink()
    os.mkfifo(path)
    content = reading(path)
    write(path)
    assert content() == expected
    assert stat.S_ISFIFO(path.stat().st_mode)
    name = path.name
    if name == "losses.pdf":  # the suffix says what is drawn
        return
    theirs, ours = os.pipe()  # as >(command) in a shell
    write(Path(f"/dev/fd/{ours}"), name)
    os.close(ours)
    with os.fdopen(theirs, "rb") as file:
        assert file.read() == expected


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root makes devices")
def test_a_device_stays_one(path):
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))  # another /dev/null
    write(path)
    assert stat.S_ISCHR(path.stat().st_mode)


@pytest.mark.parametrize("exists", [True, False])
def test_links_are_followed(path, exists):
    (path.parent / "there").mkdir()
    target = path.parent / "there" / "target"
    if exists:
        target.write_bytes(b"old" * 10_000)
    path.symlink_to("there/target")
    write(path)
    assert path.is_symlink()
    content = path.read_bytes()
    path.unlink()
    write(path)
    assert content == path.read_bytes() == target.read_bytes()
    assert [p.name for p in target.parent.iterdir()] == ["target"]


def test_mode_and_owner_stay(path):
    path.write_bytes(b"")
    path.chmod(0o640)
    owner = (os.geteuid(), os.getegid())
    if owner[0] == 0:
        owner = 12345, 12346
        os.chown(path, *owner)
    write(path)
    status = path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o640
    assert (status.st_uid, status.st_gid) == owner
    assert status.st_size > 0


def test_a_new_file_has_the_usual_mode(path):
    usual = path.with_name("usual")
    usual.touch()
    write(path)
    assert path.stat().st_mode == usual.stat().st_mode


def test_rights_of_single_users_stay(path):
    entries = [(1, 6, -1), (2, 6, 12345), (4, 0, -1), (16, 6, -1), (32, 0, -1)]
    rights = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    path.write_bytes(b"")
    try:
        os.setxattr(path, output.ACCESS_LIST, rights)
    except (OSError, AttributeError):
        pytest.skip("no access lists here")
    write(path)
    assert os.getxattr(path, output.ACCESS_LIST) == rights


REPLACING = [name for name in WRITERS if name != "losses.csv"]  # which is written in place


@pytest.mark.parametrize("name", REPLACING)
def test_rights_of_a_group_are_not_given_to_another(name, tmp_path, monkeypatch):
    path = tmp_path / name
    path.write_bytes(b"")
    path.chmod(0o664)

    def refuse(*arguments):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.fchown", refuse)
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_what_cannot_take_its_place_stays_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")

    def busy(self, target):
        raise OSError(errno.EBUSY, "Device or resource busy", str(self), None, str(target))

    monkeypatch.setattr("pathlib.Path.replace", busy)
    with pytest.raises(OSError, match="busy; what was to be written is in ") as caught:
        fastbp.save(FIT, path)
    kept = caught.value.strerror.rpartition(" ")[2]
    assert (caught.value.errno, caught.value.filename) == (errno.EBUSY, str(path))
    assert fastbp.load(kept).bias == FIT.bias
    assert path.read_bytes() == b"old"
    assert {str(p) for p in tmp_path.iterdir()} == {str(path), kept}
    assert kept.startswith(str(tmp_path / "model-")) and kept.endswith(".safetensors")


def test_an_error_of_the_contents_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"rows\.csv"), output.replacing(tmp_path / "p"):
        (tmp_path / "rows.csv").open()
    with pytest.raises(OSError, match="of a library"), output.replacing(tmp_path / "p"):
        raise OSError("an error of a library")
    assert list(tmp_path.iterdir()) == []


def test_two_writers_of_one_path_do_not_meet(tmp_path):
    path = tmp_path / "p"
    with output.replacing(path) as one:
        with output.replacing(path) as other:
            one.write(b"one")
            other.write(b"other")
        assert path.read_bytes() == b"other"
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_killed_runs_left_is_removed(tmp_path):
    path = tmp_path / "p"
    python(f"""
        import os
        from pathlib import Path
        from fastbp.system import output

        for name in ("one", "other"):
            if os.fork() == 0:
                with output.replacing(Path({str(tmp_path)!r}) / name) as file:
                    file.write(b"half of it")
                    file.flush()
                    os.kill(os.getpid(), 9)
            os.wait()
    """)
    assert [output.TEMPORARY.fullmatch(p.name) is not None for p in tmp_path.iterdir()] == [True]
    with output.replacing(path):  # which is under way, so that nobody removes its file
        output.check(tmp_path / "other")
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == [path]


def temporary(number, machine=None):
    return f".fastbp-{machine or output._machine()}-{number:016x}.part"


def test_files_of_other_machines_are_left_alone_for_a_day(tmp_path):
    old, new = tmp_path / temporary(0, "0" * 8), tmp_path / temporary(1, "0" * 8)
    for path, age in ((old, 2), (new, 0.5)):
        path.touch()
        os.utime(path, times=(time.time() - age * 24 * 3600,) * 2)
    output.check(tmp_path / "p")
    assert list(tmp_path.iterdir()) == [new]


def test_what_others_planted_does_no_harm(path):
    folder = path.parent
    (folder / "theirs").write_bytes(b"old")
    (folder / temporary(0)).symlink_to(folder / "theirs")
    os.mkfifo(folder / temporary(1))
    (folder / temporary(2)).hardlink_to(folder / "theirs")
    (folder / f".{path.name}.part").symlink_to(folder / "theirs")
    write(path)
    assert (folder / "theirs").read_bytes() == b"old"
    assert path.stat().st_size > 0


@pytest.mark.parametrize("error", [BlockingIOError(), OSError(errno.ENOLCK, "No locks")])
def test_a_lock_that_is_refused(error, tmp_path, monkeypatch):
    """By somebody who takes the new file for a leftover, or by a file system without locks."""
    original, calls = output._lock, []

    def lock(descriptor):
        calls.append(descriptor)
        if len(calls) == 1:
            raise error
        original(descriptor)

    monkeypatch.setattr(output, "_lock", lock)
    with output.replacing(tmp_path / "p") as file:
        file.write(b"new")
    assert (tmp_path / "p").read_bytes() == b"new"
    with output.replacing(tmp_path / "p"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["p"]


def test_what_cannot_be_written_is_refused_before(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where nothing is kept, either
    for bad, error in [
        (tmp_path, errno.EISDIR),
        (tmp_path.root, errno.EISDIR),
        (tmp_path / "no" / "p", errno.ENOENT),
        (tmp_path / "loop", errno.ELOOP),
        (tmp_path / "socket", errno.EINVAL),
    ]:
        bad = Path(bad)
        if bad.name == "loop":
            bad.symlink_to(bad)
        if bad.name == "socket":
            server = socket.socket(socket.AF_UNIX)
            server.bind(str(bad))
            server.close()
        for use in (output.check, output.in_place, lambda path: fastbp.save(FIT, path)):
            with pytest.raises(OSError, match=f"{bad}") as caught:
                use(bad)
            assert (caught.value.errno, caught.value.filename) == (error, str(bad))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["loop", "socket"]


def test_what_is_written_in_place_needs_no_new_file(tmp_path, monkeypatch):
    """A log that was made for a user in a folder that is not his."""

    def refuse(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    log(tmp_path / "losses.csv")
    monkeypatch.setattr(output, "_new_file", refuse)
    output.check(tmp_path / "losses.csv", replaced=False)
    log(tmp_path / "losses.csv")
    for path, replaced in (("losses.csv", True), ("new", False)):
        with pytest.raises(PermissionError):
            output.check(tmp_path / path, replaced)


def test_a_file_that_must_not_be_written_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "p"
    path.write_bytes(b"old")
    original = os.open

    def refuse(name, *arguments):
        if name == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return original(name, *arguments)

    monkeypatch.setattr("os.open", refuse)  # as the system does, though not to root
    with pytest.raises(PermissionError):
        output.check(path)
    with pytest.raises(PermissionError):
        fastbp.save(FIT, path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
