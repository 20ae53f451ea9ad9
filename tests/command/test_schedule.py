"""Learning rates that change: the options --schedule and --warm-up."""

import numpy as np
import pytest

import fastbp
from fastbp import schedules
from fastbp.command import fit
from tests.command.running import run

X = np.random.default_rng(0).normal(size=(50, 2))


@pytest.fixture
def table(tmp_path):
    np.save(tmp_path / "rows.npy", np.column_stack([X, X[:, 0] > X[:, 1]]))
    return tmp_path / "rows.npy"


@pytest.fixture
def rates(monkeypatch, table):
    """Train with these options; return the learning rate that the fit is given."""
    seen = []

    def fit_neuron(rows, labels, weights, bias, rate, epochs, **keywords):
        seen.append(rate)
        return original(rows, labels, weights, bias, rate, epochs, **keywords)

    original = fastbp.fit_neuron
    monkeypatch.setattr("fastbp.command.fit.fit_neuron", fit_neuron)

    def train(*options):
        run("train", table, "--learning-rate", 0.4, *options)
        return seen.pop()

    return train


EPOCHS = "--epochs", 20


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--schedule", "step:5"], schedules.step(0.4, 5)),
        (["--schedule", "step:5,0.25"], schedules.step(0.4, 5, 0.25)),
        (["--schedule", "cosine"], schedules.cosine(0.4, 20)),
        (["--schedule", "cosine:0.1"], schedules.cosine(0.4, 20, 0.1)),
        (["--warm-up", 4], schedules.warm_up(0.4, 4)),
        (["--schedule", "step:5", "--warm-up", 4], schedules.warm_up(schedules.step(0.4, 5), 4)),
        (["--schedule", "cosine", "--warm-up", 4], schedules.warm_up(schedules.cosine(0.4, 16), 4)),
    ],
)
def test_options_become_a_schedule(rates, options, expected):
    given = rates(*EPOCHS, *options)
    assert [given(epoch) for epoch in range(21)] == [expected(epoch) for epoch in range(21)]


def test_without_them_the_rate_is_a_number(rates):
    assert rates(*EPOCHS) == rates(*EPOCHS, "--warm-up", 0) == 0.4
    assert callable(rates("--epochs", 0, "--schedule", "cosine", "--warm-up", 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--schedule", "linear"],
            "expected step:EVERY, step:EVERY,FACTOR, cosine or cosine:LEAST",
        ),
        (["--schedule", "step"], "expected step:EVERY"),
        (["--schedule", "step:"], "expected step:EVERY"),
        (["--schedule", "step:3,0.1,2"], "expected step:EVERY"),
        (["--schedule", "step:2.5"], "expected step:EVERY"),
        (["--schedule", "cosine:a"], "expected step:EVERY"),
        (["--schedule", "step:0"], "every: expected at least 1, got 0, got 'step:0'"),
        (["--schedule", "step:3,nan"], "factor: expected a finite number"),
        (["--schedule", "cosine:-1"], "least: expected at least 0"),
        (["--schedule", "cosine:0.6"], "--schedule: least: expected at most the rate 0.5, got 0.6"),
        (["--warm-up", -1], "'--warm-up'"),
        (["--warm-up", 100], "--warm-up: expected fewer than the 100 --epochs"),
    ],
)
def test_others_are_refused_before_training(table, options, message, monkeypatch):
    monkeypatch.setattr("fastbp.command.train.fit_rows", None)
    refused = " ".join(run("train", table, *options, code=2).stderr.split())
    assert message in refused


def test_a_network_goes_on_from_its_checkpoint_with_a_schedule(tmp_path, table):
    def train(name, epochs, schedule, *more, code=0):
        return run("train", table, "--hidden", 5, "--epochs", epochs, "--warm-up", 2, "--save",
                   tmp_path / name, "--target", 2, "--schedule", schedule, *more, code=code)  # fmt: skip

    again = "--checkpoint", tmp_path / "c"
    train("whole", 9, "step:3")
    train("parts", 4, "step:3", *again)
    assert "after 4 epochs; for more" in train("parts", 4, "step:3", *again).stderr
    assert "after 4 epochs\n" in train("parts", 9, "step:3", *again).stderr
    whole, parts = (fastbp.load(tmp_path / name).fit for name in ("whole", "parts"))
    assert parts.losses.tolist() == whole.losses.tolist()
    assert all(map(np.array_equal, parts.weights, whole.weights))
    refused = train("parts", 9, "step:4", *again, code=1).stderr
    assert "learning_rate(5) was" in refused


def test_a_cosine_is_not_told_to_have_more_epochs(tmp_path, table):
    how = "--epochs", 5, "--schedule", "cosine", "--checkpoint", tmp_path / "c", "--target", 2
    run("train", table, *how)
    assert run("train", table, *how).stderr == f"continued from {tmp_path / 'c'} after 5 epochs\n"


def test_the_plain_loop_is_compared_with_one_rate_only(table, monkeypatch):
    original = fit.fit_rows
    monkeypatch.setattr("fastbp.command.train.fit_rows", lambda *a: (original(*a)[0], 0.06))
    assert "plain NumPy" in run("train", table, "--epochs", 3).stdout
    assert "plain NumPy" not in run("train", table, "--epochs", 3, "--warm-up", 1).stdout
