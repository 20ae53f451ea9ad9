"""The files that the command writes: which it refuses, and what is in them in any locale."""

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import fastbp
from fastbp.command.app import command
from fastbp.system.interrupts import EXIT_CODE
from tests.command.running import run

X = np.random.default_rng(0).normal(size=(40, 2))


@pytest.fixture
def table(tmp_path):
    """Rows whose classes no ASCII console can show, in a file whose name it cannot show either."""
    path = tmp_path / "größen.csv"
    lines = [f"{a},{b},{'süß' if a > b else 'źle'}" for a, b in X]
    path.write_text("\n".join(["a,b,y", *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def model(tmp_path, table):
    path = tmp_path / "model"
    run("train", table, "--target", "y", "--epochs", 2, "--no-compare", "--save", path)
    return path


def test_predictions_do_not_overwrite_what_they_are_made_from(tmp_path, table, model):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "part.csv").write_bytes(table.read_bytes())
    (tmp_path / "link").symlink_to(table)
    (tmp_path / "second name").hardlink_to(model)
    before = table.read_bytes(), model.read_bytes()
    for rows, out in [
        (table, table),
        (table, tmp_path / "link"),
        (table, model),
        (table, tmp_path / "second name"),
        (folder, folder / "part.csv"),
    ]:
        refused = run("predict", model, rows, "--out", out, code=2).stderr
        assert f", got {out}: " in refused
        assert ("expected to write another file than those that are read" in refused) == (
            "would be overwritten" in refused
        )
        assert (f"expected to write outside the folder {folder}" in refused) == (
            "it would be taken for rows" in refused
        )
    assert (table.read_bytes(), model.read_bytes()) == before
    run("predict", model, table, "--out", folder / "predictions.txt")


def test_training_does_not_overwrite_its_rows_by_another_name(tmp_path, table):
    (tmp_path / "second name").hardlink_to(table)
    before = table.read_bytes()
    arguments = ["train", table, "--target", "y", "--log", tmp_path / "second name"]
    assert "would be overwritten" in run(*arguments, code=2).stderr
    assert table.read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="needs devices")
def test_several_outputs_into_nothing(tmp_path, table):
    nothing = os.devnull
    if os.geteuid() == 0:  # who could replace it for the whole machine
        nothing = tmp_path / "null"
        os.mknod(nothing, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    run("train", table, "--target", "y", "--save", nothing, "--log", nothing, "--epochs", 2)
    assert stat.S_ISCHR(Path(nothing).stat().st_mode)


def test_a_model_that_cannot_take_its_place_is_kept(tmp_path, table, monkeypatch):
    path = tmp_path / "model.safetensors"

    def busy(*arguments):
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr("pathlib.Path.replace", busy)
    refused = run("train", table, "--target", "y", "--save", path, code=1).stderr
    assert f"{path}: Device or resource busy; what was to be written is in " in refused
    assert fastbp.load(refused.rpartition(" ")[2].strip()).target == "y"


def test_where_the_model_of_a_failed_training_is(tmp_path, table, monkeypatch):
    def stop(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device", "losses.csv")

    monkeypatch.setattr("fastbp.command.loss_log.LossLog.__call__", stop)
    monkeypatch.setattr("pathlib.Path.replace", stop)
    arguments = ["train", table, "--target", "y", "--log", tmp_path / "l", "--save", tmp_path / "m"]
    result = CliRunner().invoke(command, [str(a) for a in arguments])
    text, error = result.stderr.splitlines()
    assert text.startswith(f"model so far: {tmp_path / 'm'}: No space") and "Error: losses" in error
    assert fastbp.load(text.rpartition(" ")[2]).fit.n_epochs == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_synth_into_a_pipe(tmp_path):
    path = tmp_path / "rows.npy"
    os.mkfifo(path)
    reader = subprocess.Popen(["cat", path], stdout=subprocess.PIPE)
    printed = run("synth", "100x2", "--out", path).output
    content, _ = reader.communicate(timeout=10)
    path.unlink()
    run("synth", "100x2", "--out", path)
    assert content == path.read_bytes()
    assert "train on it" not in printed


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("option", ["--checkpoint", "--log", "--save"])
def test_no_pipe_is_waited_for_before_training(tmp_path, table, option, monkeypatch):
    monkeypatch.setattr("fastbp.command.train.fit_rows", None)
    os.mkfifo(tmp_path / "pipe")
    arguments = ["train", table, "--target", "y", option, tmp_path / "pipe"]
    assert CliRunner().invoke(command, [str(a) for a in arguments]).exit_code == 1


C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("locale", [C_LOCALE, {"PYTHONIOENCODING": "latin-1"}], ids=str)
def test_a_console_that_lacks_characters(tmp_path, table, model, locale):
    """What it shows is escaped; what goes into files and to other programs is UTF-8."""

    def start(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "fastbp", *map(str, arguments)],
            env={**os.environ, **locale},
            capture_output=True,
            check=True,
        )

    arguments = ["--target", "y", "--epochs", 2, "--no-compare", "--save", tmp_path / "źle"]
    done = start("train", table, *arguments)
    assert b"written to" in done.stdout and b"?" not in done.stdout
    done.stdout.decode("ascii" if locale is C_LOCALE else "latin-1")
    expected = "y,probability_of_źle\n".encode()
    assert start("predict", model, table).stdout.startswith(expected)
    start("predict", model, table, "--out", tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_bytes().startswith(expected)


def waited_for(condition, process):
    """Wait until something is so, while a process runs."""
    for _ in range(6000):
        if condition():
            return
        assert process.poll() is None
        time.sleep(0.01)
    raise AssertionError("not reached")


@pytest.mark.skipif(os.name == "nt", reason="other signals")
@pytest.mark.parametrize("when", ["copying", "training"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_the_copy_of_standard_input_does_not_stay(name, when, tmp_path, monkeypatch):
    copies, log = tmp_path / "tmp", tmp_path / "log.csv"
    copies.mkdir()
    options = ["--target", "y", "--epochs", str(10**7), "--log", str(log), "--no-compare"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fastbp", "train", "-", *options],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(copies)},
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(b"a,y\n1,0\n2,1\n" * 10**6 if when == "copying" else b"a,y\n1,0\n2,1\n")
    process.stdin.flush()
    if when == "training":
        process.stdin.close()
        waited_for(lambda: log.exists() and log.stat().st_size > 100, process)
    (copy,) = copies.iterdir()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    process.send_signal(getattr(signal, name))
    process.wait(60)
    ended = {"SIGINT": EXIT_CODE}.get(name, -getattr(signal, name))
    assert process.returncode == ended
    process.stdin.close()
    if name == "SIGKILL":  # the next run removes it
        assert list(copies.iterdir()) == [copy]
        monkeypatch.setattr("tempfile.tempdir", str(copies))
        run("train", "-", "--target", "y", "--epochs", 1, stdin=b"a,y\n1,0\n2,1\n")
    assert not list(copies.iterdir())


def test_a_copy_that_fails_says_what_to_do(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    told = run("train", "-", "--target", "y", code=1, stdin=b"a,y\n1,0\n").stderr
    expected = "standard input: No space left on device, while it was copied into "
    assert expected in told and "TMPDIR" in told


@pytest.mark.parametrize("name", ["p.csv.gz", "p.parquet", "p.tsv", "p.npy"])
def test_predictions_are_written_as_csv_only(tmp_path, table, model, name):
    refused = run("predict", model, table, "--out", tmp_path / name, code=2)
    assert f"'--out': expected a name that ends in .csv, got {tmp_path / name}" in " ".join(
        refused.stderr.split()
    )
    assert not (tmp_path / name).exists()
    for usual in ("p.CSV", "predictions"):
        run("predict", model, table, "--out", tmp_path / usual)
