"""Errors of fastbp, NumPy, PyTorch and JAX in float64, as tables in Markdown.

    python -m bench.accuracy            # about half a minute
    python -m bench.accuracy --quick    # fewer points, at most 100 epochs

It prints the tables that ``bench.report`` writes into ``bench/README.md`` from a saved run.
"""

from __future__ import annotations

import argparse

from bench.providers import installed
from bench.readme import accuracy_tables
from bench.workloads.accuracy import (
    EPOCHS,
    FUNCTIONS,
    POINTS,
    PROBLEMS,
    check_exact,
    drift,
    function_errors,
    ways,
)
from bench.workloads.neurons import PROVIDERS


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer points, at most 100 epochs")
    quick = parser.parse_args().quick
    points, epochs = (POINTS // 5, EPOCHS[:2]) if quick else (POINTS, EPOCHS)
    providers = [name for name in PROVIDERS if installed(name)]
    check_exact()
    errors = {
        name: {w: function_errors(name, w, points) for p in providers for w in ways(name, p)}
        for name in FUNCTIONS
    }
    drifts = {str(count): {name: drift(name, count) for name in providers} for count in epochs}
    print(accuracy_tables(errors, drifts))
    print(f"Errors in ulp: the largest, and in brackets the mean, of {points:,} points.")
    print(
        f"Drift: the largest error of weights and bias in units of 2**-53, mean of {PROBLEMS} runs."
    )
    print(*(f"Not installed: {name}." for name in PROVIDERS if name not in providers))


if __name__ == "__main__":
    main()
