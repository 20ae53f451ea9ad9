"""Networks against NumPy, PyTorch and JAX on one thread, and fastbp on two: Markdown tables.

    python -m bench.network                    # all, some minutes
    python -m bench.network 64-100-10-b32      # one of them

All providers take turns in one process that is bound to one processor; the fastest of several
rounds counts. Answers are checked against the plain oracle of the tests before anything is timed.
"""

from __future__ import annotations

import argparse
import sys
import timeit

import numpy as np

import fastbp
from bench.network_providers import (
    PROVIDERS,
    NetworkProblem,
    Train,
    activations,
    fastbp_provider,
)
from bench.providers import installed
from bench.timing import interleaved, on_one_processor, processors, seconds_per_epoch
from tests import reference

CASES = {  # sizes, rows, rows of a batch
    "1-10-1": ((1, 10, 1), 100, 100),
    "4-8-1": ((4, 8, 1), 1000, 1000),
    "10-32-1-online": ((10, 32, 1), 1000, 1),
    "20-64-32-1-b64": ((20, 64, 32, 1), 6400, 64),
    "64-100-10-b32": ((64, 100, 10), 3200, 32),
    "64-100-10-b200": ((64, 100, 10), 2000, 200),
    "784-256-10-b128": ((784, 256, 10), 1280, 128),
}
TWO_THREADS = "20-64-1, 100,000 rows"


def problem(sizes: tuple[int, ...], rows: int, batch_size: int) -> NetworkProblem:
    """Return a problem of the given size, the same each time."""
    rng = np.random.default_rng([rows, *sizes])
    names = ["relu"] * (len(sizes) - 2) + ["identity"]
    weights, biases = fastbp.initialize_network(sizes, activations=names, random_state=rng)
    x, y = rng.standard_normal((rows, sizes[0])), rng.standard_normal((rows, sizes[-1]))
    return NetworkProblem(x, y, weights, biases, batch_size, 1e-4)


def check(train: Train, data: NetworkProblem) -> None:
    """Raise unless three epochs agree with the oracle."""
    x, y, weights, biases, batch_size, rate = data
    expected = reference.fit_network(
        x, y, weights, biases, rate, 3, activations=activations(data), loss="half_mse",
        batch_size=batch_size,
    )  # fmt: skip
    ours = train(3)
    for group, theirs in zip(ours[:2], expected[:2], strict=True):
        for a, e in zip(group, theirs, strict=True):
            np.testing.assert_allclose(a, e, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours[2], expected.losses, rtol=1e-9)


def one_thread(cases: list[str]) -> None:
    """Print the table of all providers on one processor."""
    providers, absent = installed(PROVIDERS)
    others = [name for name in providers if name != "fastbp"]
    print(f"| network | fastbp, microseconds a step | {' | '.join(others)} |")
    print("|---|" + "---:|" * (len(others) + 1))
    for case in cases:
        data = problem(*CASES[case])
        trains = {name: make(data) for name, make in providers.items()}
        for train in trains.values():
            check(train, data)
        steps = len(data.x) // data.batch_size
        times = seconds_per_epoch(trains)
        cells = " | ".join(f"{times[name] / times['fastbp']:.3g}" for name in others)
        print(f"| {case} | {times['fastbp'] / steps * 1e6:,.2f} | {cells} |", flush=True)
    print("\nThe others: how many times as long.", *(f"Not installed: {n}." for n in absent))


def two_threads() -> None:
    """Print one thread against two, full batch."""
    data = problem((20, 64, 1), 100_000, 100_000)
    trains: dict[str, Train] = {"1": fastbp_provider(data, 1), "2": fastbp_provider(data, 2)}
    ours = {name: train(3) for name, train in trains.items()}
    check(trains["1"], data)
    for group in zip(ours["1"], ours["2"], strict=True):
        for a, b in zip(*group, strict=True):
            assert np.array_equal(a, b)
    times = seconds_per_epoch(trains)
    print(
        f"{TWO_THREADS}, full batch: {times['1'] * 1e6:,.0f} microseconds an epoch with one thread,"
        f" {times['2'] * 1e6:,.0f} with two: {times['1'] / times['2']:.2f} times as fast, the same"
        " bits.\n",
        flush=True,
    )


def one_row() -> None:
    """Print what a prediction of one row takes."""
    data = problem((64, 100, 10), 1, 1)
    names = activations(data)

    def predict() -> None:
        fastbp.predict_network(data.x, data.weights, data.biases, activations=names)

    def plain() -> None:
        hidden = np.maximum(data.x @ data.weights[0] + data.biases[0], 0.0)
        hidden @ data.weights[1] + data.biases[1]

    calls = {"ours": predict, "plain": plain}
    repeated = {name: lambda c=call: timeit.timeit(c, number=2000) for name, call in calls.items()}
    best = interleaved(repeated, 7)
    print(
        f"Predicting one row, 64-100-10: {best['ours'] / 2000 * 1e6:.1f} microseconds with all"
        f" checks, plain NumPy without any {best['plain'] / 2000 * 1e6:.1f}.\n"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)} (default: all)")
    cases = parser.parse_args().cases or list(CASES)
    unknown = [case for case in cases if case not in CASES]
    if unknown:
        parser.error(f"expected cases of {', '.join(CASES)}, got {', '.join(unknown)}")
    if processors() >= 2 and len(cases) == len(CASES):
        two_threads()
    on_one_processor()
    one_row()
    one_thread(cases)


if __name__ == "__main__":
    sys.exit(main())
