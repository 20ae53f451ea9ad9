"""One neuron against NumPy, PyTorch and JAX on one thread, and fastbp on two: Markdown tables.

    python -m bench.neuron            # all sizes, some minutes
    python -m bench.neuron 1000x10    # one of them

All providers take turns in one process that is bound to one processor; the fastest of several
rounds counts. Answers are checked against the plain oracle of the tests before anything is timed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bench.providers import PROVIDERS, Problem, Train, fastbp_provider, installed
from bench.timing import ROUNDS, interleaved, on_one_processor, processors, seconds_per_epoch
from tests import reference

SIZES = {
    "100x2": (100, 2),
    "1000x10": (1000, 10),
    "10000x2": (10_000, 2),
    "10000x20": (10_000, 20),
    "2000x100": (2000, 100),
    "100000x10": (100_000, 10),
    "100000x100": (100_000, 100),
    "1000000x50": (1_000_000, 50),
}
TWO_THREADS = ("100000x10", "100000x100", "1000000x50")


def problem(size: str) -> Problem:
    """Return a problem of the given size, the same each time."""
    n, d = SIZES[size]
    rng = np.random.default_rng(n + d)
    x = rng.standard_normal((n, d))
    labels = (x @ rng.standard_normal(d) > 0.0).astype(np.float64)
    return Problem(x, labels, rng.standard_normal(d) * 0.1, 0.5)


def check(train: Train, data: Problem) -> None:
    """Raise unless three epochs agree with the oracle."""
    expected = reference.fit_neuron(data.x, data.y, data.weights, 0.0, data.rate, 3)
    weights, bias, losses = train(3)
    np.testing.assert_allclose(weights, expected.weights, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose([bias, *losses], [expected.bias, *expected.losses], rtol=1e-9)


def call_overhead() -> tuple[float, float]:
    """Return seconds of a call on three rows, two features, two epochs: fastbp, plain NumPy."""
    import fastbp

    arguments = ([[1.0, 2.0], [2.0, 1.0], [-1.0, -2.0]], [1, 0, 0], [0.1, -0.2], 0.0, 0.1, 2)
    assert fastbp.train_neuron(*arguments) == reference.train_neuron(*arguments)

    def repeated(function: Callable[..., object]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(2000):
                function(*arguments)

        return run

    best = interleaved(
        {"ours": repeated(fastbp.train_neuron), "plain": repeated(plain_train_neuron)}, ROUNDS
    )
    return best["ours"] / 2000, best["plain"] / 2000


def plain_train_neuron(features, labels, initial_weights, initial_bias, learning_rate, epochs):  # type: ignore[no-untyped-def]
    """Train as one writes it in NumPy without a guard against overflow."""
    x, y = np.array(features), np.array(labels)
    weights, bias = np.array(initial_weights), initial_bias
    mse_values = []
    for _ in range(epochs):
        prediction = 1 / (1 + np.exp(-(np.dot(x, weights) + bias)))
        error = prediction - y
        mse_values.append(round(float(np.mean(error**2)), 4))
        slope = error * prediction * (1 - prediction)
        weights = weights - learning_rate * 2 / len(y) * np.dot(x.T, slope)
        bias = bias - learning_rate * 2 / len(y) * np.sum(slope)
    return np.round(weights, 4).tolist(), round(float(bias), 4), mse_values


def one_thread(sizes: list[str]) -> None:
    """Print the table of all providers on one processor."""
    providers, missing = installed(PROVIDERS)
    others = [name for name in providers if name != "fastbp"]
    print(f"| rows x features | fastbp, microseconds an epoch | {' | '.join(others)} |")
    print("|---|" + "---:|" * (len(others) + 1))
    for size in sizes:
        data = problem(size)
        trains = {name: make(data) for name, make in providers.items()}
        for train in trains.values():
            check(train, data)
        times = seconds_per_epoch(trains)
        ours = times["fastbp"]
        cells = " | ".join(f"{times[name] / ours:.1f}" for name in others)
        print(f"| {size} | {ours * 1e6:,.2f} | {cells} |", flush=True)
    print("\nThe others: how many times as long.", *(f"Not installed: {n}." for n in missing))


def two_threads(sizes: list[str]) -> None:
    """Print one thread against two, and the share of the read bandwidth that two reach."""
    print("| rows x features | 1 thread | 2 threads | ratio | share of read bandwidth |")
    print("|---|---:|---:|---:|---:|")
    with ThreadPoolExecutor(2) as pool:
        for size in sizes:
            data = problem(size)
            halves = np.array_split(data.x.reshape(-1), 2)
            trains: dict[str, Train] = {
                "1": fastbp_provider(data, 1),
                "2": fastbp_provider(data, 2),
                "read": lambda epochs: [list(pool.map(np.sum, halves)) for _ in range(epochs)],  # noqa: B023
            }
            check(trains["2"], data)
            times = seconds_per_epoch(trains)
            print(
                f"| {size} | {times['1'] * 1e6:,.0f} | {times['2'] * 1e6:,.0f} |"
                f" {times['1'] / times['2']:.2f} | {times['read'] / times['2']:.0%} |",
                flush=True,
            )
    print("\nMicroseconds an epoch.")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sizes", nargs="*", help=f"of {', '.join(SIZES)} (default: all)")
    sizes = parser.parse_args().sizes or list(SIZES)
    unknown = [size for size in sizes if size not in SIZES]
    if unknown:
        parser.error(f"expected sizes of {', '.join(SIZES)}, got {', '.join(unknown)}")
    if processors() >= 2 and set(sizes) & set(TWO_THREADS):
        two_threads([size for size in sizes if size in TWO_THREADS])
    on_one_processor()
    ours, plain = call_overhead()
    print(f"\nA call on 3x2, 2 epochs: {ours * 1e6:.2f} microseconds, plain NumPy"
          f" {plain * 1e6:.2f}, {plain / ours:.1f} times as long.\n")  # fmt: skip
    one_thread(sizes)


if __name__ == "__main__":
    sys.exit(main())
