"""Errors of fastbp, NumPy, PyTorch and JAX, as tables in Markdown.

    python -m bench.accuracy            # about half a minute
    python -m bench.accuracy --quick    # fewer points, at most 100 epochs
    python -m bench.accuracy --float32  # functions in float32: all 2**32 arguments, ten minutes

It prints the tables that ``bench.report`` writes into ``bench/README.md`` from a saved run.
"""

from __future__ import annotations

import argparse

from bench.providers import installed
from bench.readme import accuracy_tables
from bench.workloads import singles
from bench.workloads.accuracy import (
    EPOCHS,
    FUNCTIONS,
    POINTS,
    PROBLEMS,
    UNIT_ROUNDOFFS,
    check_exact,
    drift,
    drift_title,
    function_errors,
    ways,
)
from bench.workloads.neurons import PROVIDERS


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer points, at most 100 epochs")
    parser.add_argument(
        "--float32", action="store_true", help="all arguments of fastbp's functions in float32"
    )
    options = parser.parse_args()
    if options.float32:
        _print_singles()
        return
    quick = options.quick
    points, epochs = (POINTS // 5, EPOCHS[:2]) if quick else (POINTS, EPOCHS)
    providers = [name for name in PROVIDERS if installed(name)]
    check_exact()
    errors = {
        name: {w: function_errors(name, w, points) for p in providers for w in ways(name, p)}
        for name in FUNCTIONS
    }
    drifts = {
        drift_title(count, dtype): {name: drift(name, count, dtype) for name in providers}
        for dtype in UNIT_ROUNDOFFS
        for count in epochs
    }
    print(accuracy_tables(errors, drifts))
    print(f"Errors in ulp: the largest, and in brackets the mean, of {points:,} points.")
    print(
        "Drift: the largest error of weights and bias in units of 2**-53, or of 2**-24 for"
        f" float32, mean of {PROBLEMS} runs."
    )
    print(*(f"Not installed: {name}." for name in PROVIDERS if name not in providers))


def _print_singles() -> None:
    """Print the errors of every function as it is done."""
    for name in singles.FUNCTIONS:
        largest, at, mean = singles.errors(name)
        print(f"{name:12} {largest:.3f} ulp at {at!r}, mean {mean:.3f}", flush=True)


if __name__ == "__main__":
    main()
