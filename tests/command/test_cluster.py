"""The command on a Dask cluster: the same models to the bit, and clear errors; also patterns."""

import logging
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import fastbp
from fastbp.command.app import command
from fastbp.system.interrupts import EXIT_CODE
from fastbp.training.cluster.portions import over_portions
from tests.command.running import cells, run
from tests.training.clusters import D, local_cluster, rows_of_numbers, small_groups  # noqa: F401

N = 5000
X, TWO, THREE, WEIGHT = rows_of_numbers(N)
SMALL_BLOCK = 2**15  # bytes: some 170 rows
COLUMNS = ["two", "three", "text", "number", "weight"]


def only(target, weights=None):
    """The options that choose a target, and leave out the other ones."""
    left = [column for column in COLUMNS if column not in (target, weights)]
    excluded = [part for column in left for part in ("--exclude", column)]
    chosen = [] if weights is None else ["--weights", weights]
    return ["--target", target, *chosen, *excluded, "--no-compare", "--epochs", 4]


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(1)
    features = X * rng.uniform(0.1, 100.0, D) + rng.normal(size=D)
    features[:, -1] = 3.0  # never changes
    return pd.DataFrame(features, columns=[f"x{j}" for j in range(D)]).assign(
        two=TWO,
        three=THREE,
        text=np.where(TWO == 1.0, "yes", "no"),
        number=1e4 + 50.0 * X[:, 0],
        weight=WEIGHT,
    )


@pytest.fixture(scope="module")
def shards(table, tmp_path_factory):
    """Folders of files of several lengths."""
    path = tmp_path_factory.mktemp("shards")
    for kind, write in (("parquet", table.to_parquet), ("csv", table.to_csv)):
        (path / kind).mkdir()
        for i, (start, stop) in enumerate([(0, 2000), (2000, 2001), (2001, N)]):
            write = getattr(table[start:stop], f"to_{kind}")
            write(path / kind / f"{i}.{kind}", index=False)
    return path


@pytest.fixture(scope="module")
def address():
    with local_cluster(2) as client:
        client.run(set_block_bytes)
        yield client.scheduler.address


def set_block_bytes():
    from fastbp.data import rows

    rows.BLOCK_BYTES = SMALL_BLOCK


@pytest.fixture
def small(small_groups, monkeypatch):  # noqa: F811
    """Groups and blocks of few rows, here and on the workers."""
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", SMALL_BLOCK)


def lines(result):
    """What is printed on the fit, but for the time it took and the names of files."""
    unlike = "seconds", "rows per second", "model written"
    return [line for line in result.stdout.splitlines() if not line.startswith(unlike)]


WAYS = {
    "classes": only("two"),
    "text, balanced": [*only("text"), "--class-weight", "balanced", "--dtype", "float32"],
    "a number": [*only("number", "weight"), "--number", "--alpha", 0.1],
    "nothing scaled": [*only("two", "weight"), "--no-standardize", "--learning-rate", 1e-4],
    "several classes": [*only("three"), "--hidden", 8, "--optimizer", "lbfgs"],
    "validation": [*only("three", "weight"), "--hidden", 8, "--optimizer", "adam", "--batch-size",
                   N, "--no-shuffle", "--validation", 0.2, "--patience", 2, "--threads", 2],
    "nothing held out": [*only("number"), "--number", "--held-out", 0, "--optimizer", "lbfgs"],
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_the_model_has_the_same_bits(way, shards, address, small, tmp_path):
    way = WAYS[way]
    here = run("train", shards / "parquet", *way, "--save", tmp_path / "here")
    there = run(
        "train", shards / "parquet" / "*.parquet", *way, "--save", tmp_path / "there",
        "--cluster", address,
    )  # fmt: skip
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()
    assert lines(there) == lines(here) and "loss" in here.stdout
    assert there.stderr == f"cluster of 2 workers at {address}\n"


def test_classes_that_are_in_a_file_each(table, address, small, tmp_path):
    for i, label in enumerate([3, 1, 2]):
        some = table[1000 * i : 1000 * (i + 1)].assign(two=label)
        some.to_parquet(tmp_path / f"{i}.parquet")
    way = [tmp_path / "*.parquet", *only("two"), "--hidden", 3, "--optimizer", "lbfgs", "--save"]
    run("train", *way, tmp_path / "there", "--cluster", address)
    assert fastbp.load(tmp_path / "there").classes == [1, 2, 3]
    run("train", *way, tmp_path / "here")
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()


def test_files_of_text_and_a_folder_by_a_relative_path(
    shards, address, small, tmp_path, monkeypatch
):
    run("train", shards / "parquet", *WAYS["classes"], "--save", tmp_path / "here")
    monkeypatch.chdir(shards)  # not for the workers
    for file in ("csv", "csv/?.csv"):
        run("train", file, *WAYS["classes"], "--save", tmp_path / "m", "--cluster", address)
        assert (tmp_path / "m").read_bytes() == (tmp_path / "here").read_bytes()


def test_defaults_of_a_network(shards, address, small, tmp_path):
    """L-BFGS, unless something asks for steps: then all rows at once."""
    network = [shards / "parquet", *only("three"), "--hidden", 8]
    whole = ["--batch-size", N, "--no-shuffle"]
    for given, same in (
        ([], ["--optimizer", "lbfgs"]),
        (["--learning-rate", 0.01], ["--learning-rate", 0.01, *whole]),
    ):
        run("train", *network, *given, "--cluster", address, "--save", tmp_path / "there")
        run("train", *network, *same, "--save", tmp_path / "here")
        assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()


def test_outputs_and_a_checkpoint_that_either_continues(shards, address, small, tmp_path):
    way = [shards / "parquet", *only("two"), "--no-standardize", "--learning-rate", 1e-4]
    there = ["--cluster", address]
    run("train", *way, "--epochs", 8, "--save", tmp_path / "here", "--log", tmp_path / "here.csv")
    outputs = ["--save", tmp_path / "m", "--log", tmp_path / "m.csv", "--plot", tmp_path / "m.svg"]
    for epochs, more in ((2, []), (5, there), (6, []), (8, [*there, *outputs])):
        done = run("train", *way, "--epochs", epochs, "--checkpoint", tmp_path / "c", *more)
        assert ("continued from" in done.stderr) == (epochs > 2)
    weights = [fastbp.load(tmp_path / name).fit.weights for name in ("here", "m")]
    assert np.array_equal(*weights)
    losses = [
        [line.split(",")[:2] for line in (tmp_path / name).read_text().splitlines()]
        for name in ("here.csv", "m.csv")
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 9
    assert (tmp_path / "m.svg").stat().st_size > 0


def test_rows_are_read_by_workers_only(shards, address, small, monkeypatch):
    """The client reads the first row: all others are subtracted from it."""
    read = []
    fill = "fastbp.data.sources.folder.Shards.fill"
    from fastbp.data.sources.folder import Shards

    original = Shards.fill
    monkeypatch.setattr(
        fill, lambda self, a, b, block: read.append(b - a) or original(self, a, b, block)
    )
    for way in ("text, balanced", "a number"):
        run("train", shards / "parquet", *WAYS[way], "--cluster", address)
    assert 0 < len(read) <= 3 and max(read) == 1


def test_the_first_bad_row_is_named_as_without_a_cluster(table, address, small, tmp_path):
    for column, value, said in (
        ("x3", np.nan, "expected finite numbers, got nan in row 999, column 'x3'"),
        ("two", np.inf, "column 'two': expected a number, got inf in row 999"),
        ("weight", -1.0, "--weights: expected a finite number, not negative, got -1.0 in row 999"),
    ):
        wrong = table.copy()
        wrong.loc[[2999, 4001], column] = value
        for i in range(3):
            wrong[2000 * i : 2000 * (i + 1)].to_parquet(tmp_path / f"{i}.parquet")
        way = [tmp_path / "*.parquet", *only("two", "weight")]
        here = run("train", *way, code=1).stderr
        there = CliRunner().invoke(command, ["train", *map(str, way), "--cluster", address])
        announced, error = there.stderr.splitlines()
        assert there.exit_code == 1 and announced.startswith("cluster of 2 workers")
        assert said in error and "1.parquet" in error and here == f"{error}\n"


def bounds(rows, start):
    return start, rows.n_rows, rows.block(0, 1).features[0, 0]


def fails(rows, start):
    raise RuntimeError("on purpose")


def test_portions_are_whole_blocks_in_order(shards, address):
    import distributed

    with distributed.Client(address, set_as_default=False) as client:
        rows = fastbp.open_rows(shards / "parquet", columns=["x0"], cluster=client)
        found = list(over_portions(rows, bounds, 300))
        expected = fastbp.open_rows(shards / "parquet", columns=["x0"])
        at = 0
        for n, (start, n_rows, first) in found:
            assert (start, n_rows) == (at, n)
            assert first == expected.block(at, at + 1).features[0, 0]
            at += n
            assert n % 300 == 0 or at == N
        assert at == N and len(found) == 8
        with pytest.raises(fastbp.ClusterError, match="a worker failed with RuntimeError: on pur"):
            list(over_portions(rows, fails, 300))


# --- errors ---------------------------------------------------------------------------------------


def test_what_does_not_go_with_a_cluster(shards, address, small):
    way = [shards / "parquet", *only("two"), "--cluster", address]
    assert "--cluster goes with FILE" in run("train", "--cluster", "local", code=2).stderr
    assert "--cluster goes with FILE" in run("train", "-", *way[1:], code=2, stdin="").stderr
    assert "--shuffle: not with --cluster" in run("train", *way, "--shuffle", code=2).stderr
    refused = run("train", *way, "--batch-size", 7, code=2).stderr
    assert "Error: --batch-size: expected a multiple of " in refused


def test_an_address_that_does_not_answer(shards, monkeypatch):
    monkeypatch.setattr("fastbp.command.cluster.ANSWER_SECONDS", 1)
    way = [shards / "parquet", *only("two"), "--cluster"]
    started = time.perf_counter()
    refused = run("train", *way, "tcp://127.0.0.1:9", code=1).stderr
    assert refused.endswith(", such as tcp://host:8786, got no answer from tcp://127.0.0.1:9\n")
    assert time.perf_counter() - started < 5.0
    assert "unknown address scheme" in run("train", *way, "nothing://here", code=1).stderr
    assert logging.root.manager.disable == 0


def test_the_missing_extra(shards):
    """In a process of its own: the clusters of this one need what is missing."""
    code = (
        "import sys; sys.modules['distributed'] = None; from fastbp import __main__ as m; m.main()"
    )
    arguments = ["train", shards / "parquet", *only("two"), "--cluster", "local"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "Error: --cluster needs Dask: pip install 'fastbp[cluster]'\n"


def test_a_lost_scheduler_leaves_the_model_so_far(shards, small, tmp_path, monkeypatch):
    with local_cluster(1) as client:
        client.run(set_block_bytes)

        def stop(log, state):
            if state.epoch == 2:
                client.shutdown()

        monkeypatch.setattr("fastbp.command.loss_log.LossLog.__call__", stop)
        arguments = [
            "train", shards / "parquet", *only("two"), "--log", tmp_path / "l", "--epochs", 50,
            "--save", tmp_path / "m", "--cluster", client.scheduler.address,
        ]  # fmt: skip
        result = CliRunner().invoke(command, [str(a) for a in arguments])
    assert result.exit_code == 1
    _, text, error = result.stderr.splitlines()
    assert text == f"model so far written to {tmp_path / 'm'}" and error.startswith("Error: ")
    assert 3 <= fastbp.load(tmp_path / "m").fit.n_epochs < 50


# --- a cluster of this machine --------------------------------------------------------------------


def test_local_workers(shards, tmp_path):
    run("train", shards / "parquet", *only("three"), "--hidden", 4, "--optimizer", "lbfgs", "--save",
        tmp_path / "here")  # fmt: skip
    arguments = [shards / "csv" / "*.csv", *only("three"), "--hidden", 4, "--save", tmp_path / "m"]
    done = subprocess.run(
        [sys.executable, "-m", "fastbp", "train", *map(str, arguments), "--cluster", "local"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("cluster of ") and done.stderr.count("\n") == 1
    assert (tmp_path / "m").read_bytes() == (tmp_path / "here").read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="needs groups of processes")
def test_an_interrupt_of_all_processes_leaves_the_model(shards, tmp_path):
    """As a terminal sends it: workers must not end before the fit has."""
    arguments = [
        shards / "parquet", *only("two"), "--epochs", 10**6, "--save", tmp_path / "m",
        "--log", tmp_path / "log", "--cluster", "local",
    ]  # fmt: skip
    fit = subprocess.Popen(
        [sys.executable, "-m", "fastbp", "train", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    until = time.monotonic() + 60.0
    while not (tmp_path / "log").exists() and fit.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(fit.pid, signal.SIGINT)
    printed, said = fit.communicate(timeout=30)
    assert fit.returncode == EXIT_CODE, said
    announced, interrupted = said.splitlines()
    assert announced.startswith("cluster of ") and interrupted.startswith("interrupted after ")
    assert f"model written to {tmp_path / 'm'}" in printed
    assert fastbp.load(tmp_path / "m").fit.stopped == "interrupted"


# --- patterns -------------------------------------------------------------------------------------


def test_a_pattern_is_the_files_that_match_it(table, shards, tmp_path):
    (tmp_path / "all").mkdir()
    table.to_parquet(tmp_path / "all" / "t.parquet")
    run("train", tmp_path / "all", *only("number"), "--number", "--save", tmp_path / "whole")
    for pattern in ("*", "[0-2].parquet", "?.parquet"):
        path = shards / "parquet" / pattern
        run("train", path, *only("number"), "--number", "--save", tmp_path / "m")
        assert (tmp_path / "m").read_bytes() == (tmp_path / "whole").read_bytes()
    outputs = [
        run("predict", tmp_path / "m", shards / "csv" / name).stdout for name in ("", "*.csv")
    ]
    assert outputs[0] == outputs[1] and outputs[0].count("\n") == N + 1
    refused = run("train", shards / "csv" / "*.csv", *only("three")[2:], code=2).stderr
    assert "--target: expected a column" in refused


def test_several_files_are_one(table, shards, tmp_path):
    """As a shell gives them where a pattern has no quotes."""
    files = sorted((shards / "csv").glob("*.csv"))
    run("train", shards / "csv" / "*.csv", *only("number"), "--number", "--save", tmp_path / "p")
    run("train", *files, *only("number"), "--number", "--save", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == (tmp_path / "p").read_bytes()
    outputs = [run("predict", tmp_path / "f", *given).stdout for given in (files, [shards / "csv"])]
    assert outputs[0] == outputs[1]
    refused = run("train", *files, *only("number"), code=1).stderr
    assert f"{files[0]} and {len(files) - 1} more: column 'number'" in refused
    for alone, told in ((shards, f"the folder {shards}"), ("-", "standard input")):
        refused = run("train", alone, files[0], code=2).stderr
        assert f"expected {told} alone, got 2 inputs" in refused.replace("\n", " ")
    way = ["train", *files, *only("two"), "--save"]
    assert "would be overwritten" in run(*way, files[-1], code=2).stderr


def test_a_file_whose_name_looks_like_a_pattern(table, tmp_path):
    table[:100].to_csv(tmp_path / "t[1].csv")
    run("train", tmp_path / "t[1].csv", *only("two"))


def test_patterns_that_are_refused(shards, tmp_path):
    nothing = run("train", shards / "csv" / "*.parquet", code=2).stderr
    assert f"expected a pattern that files match, got {shards / 'csv' / '*.parquet'}" in nothing
    folders = run("train", shards / "*", code=2).stderr
    assert f"got {shards / 'csv'}, which matches {shards / '*'}" in folders
    way = ["train", shards / "csv" / "*.csv", *only("two"), "--save"]
    assert "would be overwritten" in run(*way, shards / "csv" / "1.csv", code=2).stderr
    run(*way, tmp_path / "m")
    refused = run("predict", tmp_path / "m", way[1], "--out", shards / "csv" / "2.csv", code=2)
    assert "would be overwritten" in refused.stderr


def test_messages_name_the_pattern(shards):
    pattern = shards / "csv" / "*.csv"
    refused = run("train", pattern, *only("number"), code=1).stderr
    assert f"{pattern}: column 'number'" in refused
    assert cells(run("train", pattern, *only("two")), "target") == ("two", "2 classes")
