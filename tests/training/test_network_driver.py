"""What the driver promises holds for networks: bits, threads, forks, Ctrl-C, memory."""

import os
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastbp
from fastbp.kernels import network as kernels
from tests import reference
from tests.problems import (
    assert_same_network,
    network_bits,
    network_problem,
    python,
    signatures,
)

ROWS = {
    (20, 64, 1): 20_000,
    (3, 5, 2): 20_000,
    (64, 100, 10): 20_000,
    (1, 10, 1): 20_000,
    (300, 280, 5): 2000,  # wide: some hundred rows are work enough for two threads
}
SHAPES = list(ROWS)


def fit(sizes, n, epochs=3, rate=0.05, **keywords):
    x, y, w, b, _ = network_problem(sizes, n)
    x = keywords.pop("convert", np.array)(x)
    names = ["relu"] * (len(sizes) - 2) + ["identity"]
    return fastbp.fit_network(x, y, w, b, rate, epochs, activations=names, **keywords)


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"batch_size": 5000},
        {"batch_size": 300},
        {"batch_size": 100},
        {"shuffle": True, "random_state": 5, "batch_size": 4000},
        {"alpha": 0.1, "optimizer": "adam"},
        {"alpha": 0.1, "optimizer": "adam", "batch_size": 250},
    ],
    ids=str,
)
def test_same_bits_for_any_threads_and_with_or_without_company(sizes, keywords):
    def bits(**more):
        return network_bits(fit(sizes, ROWS[sizes], **keywords, **more))

    expected = bits(n_threads=1)
    for n_threads in (None, 2, 3, 7):
        assert bits(n_threads=n_threads) == expected
    assert bits(callback=lambda _: None, n_threads=3) == expected
    assert bits(progress="always") == expected


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_threads_take_part_where_they_are_asked_for_and_are_gone_afterwards(sizes):
    """So that the comparison above is one of threads."""

    def helpers(_=None):
        return sum(thread.name.startswith("fastbp") for thread in threading.enumerate())

    for n_threads in (1, 2):
        seen = []
        fit(sizes, ROWS[sizes], n_threads=n_threads, callback=lambda _, s=seen: s.append(helpers()))
        assert seen == [n_threads - 1] * 3
        assert helpers() == 0


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
@pytest.mark.parametrize("batch_size", [None, 700, 5])
def test_many_tiles_against_the_oracle(sizes, batch_size):
    expected = fit(sizes, 3000, batch_size=batch_size, n_threads=1)
    x, y, w, b, _ = network_problem(sizes, 3000)
    names = ["relu"] * (len(sizes) - 2) + ["identity"]
    oracle = reference.fit_network(x, y, w, b, 0.05, 3, activations=names, batch_size=batch_size)
    assert_same_network(expected, oracle)
    for n_threads in (2, 3):
        again = fit(sizes, 3000, batch_size=batch_size, n_threads=n_threads)
        assert network_bits(again) == network_bits(expected)


def test_an_exception_in_a_callback_ends_a_threaded_fit():
    def broken(_):
        raise LookupError

    before = threading.active_count()
    with pytest.raises(LookupError) as caught:
        fit((20, 64, 1), 20_000, callback=broken, n_threads=2)
    assert threading.active_count() == before
    assert caught.value.fit.n_epochs == 1
    assert network_bits(caught.value.fit) == network_bits(fit((20, 64, 1), 20_000, epochs=1))


def test_any_array_gives_the_same_bits(monkeypatch):
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 0)
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 2**12)
    convert = [
        np.array,
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: x.astype(">f8"),
    ]
    for keywords in (
        {},
        {"batch_size": 64},
        {"batch_size": 200},  # more than a block, and still one tile
        {"batch_size": 1},
        {"batch_size": 64, "shuffle": True, "random_state": 2},
        {"batch_size": 1, "shuffle": True, "random_state": 2},
    ):
        results = {network_bits(fit((5, 7, 2), 3000, convert=c, **keywords)) for c in convert}
        assert len(results) == 1


@pytest.mark.parametrize(("sizes", "n"), [((20, 64, 1), 5000), ((300, 280, 5), 1000)], ids=str)
def test_slices_and_slots_change_no_bit(sizes, n, monkeypatch):
    for keywords in ({}, {"batch_size": 1}, {"batch_size": 900, "optimizer": "adam"}):
        keywords |= {"rate": 1e-3}
        expected = network_bits(fit(sizes, n, **keywords))
        for seconds in (0.0, 1e-4, 10.0):
            monkeypatch.setattr("fastbp.training.slices.SLICE_SECONDS", seconds)
            assert network_bits(fit(sizes, n, n_threads=2, **keywords)) == expected
        monkeypatch.setattr("fastbp.training.memory.MOST_SLOTS", 2)
        assert network_bits(fit(sizes, n, n_threads=2, **keywords)) == expected
        monkeypatch.undo()


@pytest.mark.parametrize(("sizes", "n"), [((20, 64, 1), 8000), ((300, 280, 5), 600)], ids=str)
def test_32_fits_from_8_threads_at_once(sizes, n):
    expected = network_bits(fit(sizes, n, n_threads=1))
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda i: network_bits(fit(sizes, n, n_threads=1 + i % 3)), range(32))
        assert set(results) == {expected}


FORKED = """
import os, numpy as np, fastbp
rng = np.random.default_rng(0)
sizes, names = {sizes}, ["relu", "tanh"]
x, y = rng.normal(size=({n}, sizes[0])), rng.random({n})
start = fastbp.initialize_network(sizes, activations=names, random_state=0)
def fit(callback=None):
    done = fastbp.fit_network(
        x, y, *start, 0.1, 5, activations=names, n_threads=2, callback=callback
    )
    return done.weights[0]
def fork(state=None):
    if state is None or state.epoch == 2:
        child = os.fork()
        if child == 0:
            os._exit(0 if np.array_equal(fit(), before) else 3)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
before = fit()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize(("sizes", "n"), [((5, 30, 1), 20_000), ((300, 280, 1), 600)], ids=str)
@pytest.mark.parametrize("when", ["fork()", "assert np.array_equal(fit(fork), before)"])
def test_a_fit_in_a_child_forked_after_or_during_a_threaded_fit(sizes, n, when):
    code = FORKED.format(sizes=sizes, n=n) + when + "\nprint(np.array_equal(fit(), before))"
    assert python(code) == "0\nTrue\n"


@pytest.mark.parametrize(
    "keywords",
    ["n_threads=1", "n_threads=2", "batch_size=1", "batch_size=1, optimizer='adam'"],
)
def test_ctrl_c_returns_what_there_is_within_half_a_second(keywords):
    # As for the neuron: the fastest of three answers is held against the promise.
    printed = python(
        textwrap.dedent(
            f"""
            import os, signal, threading, time, warnings
            import numpy as np, fastbp
            rng = np.random.default_rng(0)
            x, y = rng.normal(size=(100_000, 20)), rng.random(100_000)
            names = ["relu", "identity"]
            start = fastbp.initialize_network([20, 64, 1], activations=names, random_state=0)
            fastbp.warmup()
            sent = []
            def press():
                time.sleep(0.3)
                sent.append(time.perf_counter())
                os.kill(os.getpid(), signal.SIGINT)
            def fit(epochs):
                return fastbp.fit_network(x, y, *start, 1e-4, epochs, activations=names, {keywords})
            waits = []
            for _ in range(3):
                threading.Thread(target=press, daemon=True).start()
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    done = fit(10**6)
                waits.append(time.perf_counter() - sent[-1])
                assert done.stopped == "interrupted" and done.n_epochs < 10**6
                assert ["interrupted" in str(w.message) for w in caught] == [True]
            whole = fit(done.n_epochs)
            assert np.array_equal(done.losses, whole.losses)
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            print(min(waits) < 0.5)
            """
        )
    )
    assert printed == "True\n"


def test_importing_compiles_no_network():
    printed = python(
        """
        import sys, fastbp
        from numba.core.dispatcher import Dispatcher
        import fastbp.kernels.network as kernels
        compiled = [k for k, v in vars(kernels).items() if isinstance(v, Dispatcher) and v.overloads]
        print(compiled, "scipy.linalg" in sys.modules)
        """
    )
    assert printed == "[] False\n"


def test_one_specialisation_a_kernel():
    x, y, w, b, _ = network_problem((3, 5, 1), 40)
    locked = x.copy()
    locked.flags.writeable = False
    names = ["relu", "identity"]
    for array in (x, locked, x.tolist(), np.asfortranarray(x)):
        for keywords in (
            {},
            {"shuffle": True},
            {"sample_weight": y[:, 0] + 1.0},
            {"batch_size": 1},
            {"optimizer": "adam"},
        ):
            fastbp.fit_network(array, y, w, b, 0.1, 1, activations=names, **keywords)
        fastbp.predict_network(array, w, b, activations=names)
        fastbp.loss_and_gradient(array, y[:, 0], w, b, activations=names)
    classes = np.arange(40) % 2
    start = fastbp.initialize_network([3, 2], activations=["softmax"])
    fastbp.fit_network(x, classes, *start, 0.1, 1, activations=["softmax"], loss="cross_entropy")
    for kernel in (kernels.network_steps, kernels.tile_steps, kernels.online_steps):
        assert len(signatures(kernel)) == 1
    assert len(signatures(kernels.network_outputs)) == 1


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads Linux's /proc")  # noqa: PTH110
def test_no_temporary_of_the_size_of_a_prediction():
    printed = python(
        """
        import threading, time
        import numpy as np, fastbp
        def anonymous():
            with open("/proc/self/status") as file:
                return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024
        x = np.empty((400_000, 20))
        x[:] = np.random.default_rng(0).normal(size=20)
        y = np.arange(400_000) % 2.0
        names = ["relu", "identity"]
        start = fastbp.initialize_network([20, 64, 1], activations=names, random_state=0)
        fastbp.fit_network(x[:100_000], y[:100_000], *start, 1e-3, 2, activations=names, n_threads=2)
        before, peak, done = anonymous(), 0.0, threading.Event()
        def watch():
            global peak
            while not done.is_set():
                peak = max(peak, anonymous())
                time.sleep(0.002)
        watcher = threading.Thread(target=watch)
        watcher.start()
        fit = fastbp.fit_network(x, y, *start, 1e-3, 3, activations=names)
        fit.predict(x)
        done.set(); watcher.join()
        print(peak - before)
        """
    )
    assert float(printed) < 24.0  # the hidden layer of all rows would be 195
