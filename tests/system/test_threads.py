"""Threads that the system refuses."""

import threading

import numpy as np
import pytest

import fastbp
from fastbp.system import threads


@pytest.fixture(params=[0, 1], ids="{} threads".format)
def limited(request, monkeypatch):
    """The system lets the process have so many threads more, as a container's limit does."""
    start, alive = threading.Thread.start, []

    def start_if_allowed(thread):
        if sum(other.is_alive() for other in alive) >= request.param:
            raise RuntimeError("can't start new thread")
        start(thread)
        alive.append(thread)

    monkeypatch.setattr(threading.Thread, "start", start_if_allowed)


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40_000, 4))
    return x, (x[:, 0] > 0.0).astype(float)


def fits(problem, path, n_threads):
    """Bits of what a neuron and a network come to, in memory, from a file, with validation."""
    x, y = problem
    rows = fastbp.open_rows(path, target=4)
    layers = fastbp.initialize_network([4, 8, 1], activations=["tanh", "sigmoid"], random_state=0)
    how = {"n_threads": n_threads, "validation": 0.1}
    net = {"activations": ["tanh", "sigmoid"], "batch_size": 20_000, "n_threads": n_threads}
    done = [
        fastbp.fit_neuron(x, y, np.zeros(4), 0.0, 0.1, 3, **how),
        fastbp.fit_neuron(rows, None, np.zeros(4), 0.0, 0.1, 3, shuffle="window", random_state=0, **how),
        fastbp.fit_network(x, y, *layers, 0.1, 3, **net),
    ]  # fmt: skip
    return [fit.losses.tolist() for fit in done]


@pytest.fixture(scope="module")
def path(problem, tmp_path_factory):
    found = tmp_path_factory.mktemp("rows") / "rows.npy"
    np.save(found, np.column_stack(problem))
    return found


@pytest.fixture(scope="module")
def alone(problem, path):
    return fits(problem, path, 1)


@pytest.mark.parametrize("n_threads", [2, 3, 5])
def test_a_fit_goes_on_with_the_threads_there_are(limited, problem, path, alone, n_threads):
    assert fits(problem, path, n_threads) == alone


def test_so_does_all_that_is_cut_into_items(limited):
    seen = []
    with threads.team(3) as members:
        members.each(seen.append, range(100))
    assert sorted(seen) == list(range(100))
