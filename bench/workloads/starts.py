"""Fresh processes: importing a library, and the first result with an empty and with a warm cache.

A provider returns a function of the number of processes, run one after the other, that gives what
the last of them printed.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import TOP
from bench.workloads.predictions import Run

FIRST_CALL = "from bench.workloads import calls; print(calls.PROVIDERS[{!r}](calls.ARGUMENTS)(1))"
SMALLEST_KERNEL = """
import numba

@numba.njit(cache=True)
def identity(x):
    return x

identity(1.0)
"""
IMPORTS = {
    "fastbp": "import fastbp; fastbp.train_neuron",  # a public name loads the package
    "Numba": "import numba",
    "NumPy": "import numpy",
    "PyTorch": "import torch",
    "JAX": "import jax",
    "scikit-learn": "import sklearn.neural_network",
}


def process(arguments: list[str], cache: str) -> Any:
    """Run Python from the top of the checkout; return the value that it printed."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # installed libraries have their bytecode
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=TOP,
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return ast.literal_eval(done.stdout.strip() or "None")


def after_an_empty_cache(arguments: list[str]) -> Run:
    """Start each process with a cache folder of its own."""

    def run(processes: int) -> Any:
        for _ in range(processes):
            with tempfile.TemporaryDirectory() as cache:
                value = process(arguments, cache)
        return value

    return run


def after_a_warm_cache(arguments: list[str]) -> Run:
    """Start each process with a cache folder that an earlier one has filled."""
    cache = tempfile.TemporaryDirectory()
    process(arguments, cache.name)

    def run(processes: int) -> Any:
        for _ in range(processes):
            value = process(arguments, cache.name)
        return value

    return run


def first_call(name: str, begin: Callable[[list[str]], Run]) -> Callable[[Any], Run]:
    """Return the provider of a first result."""
    return lambda problem: begin(["-c", FIRST_CALL.format(name)])


def smallest_kernel(begin: Callable[[list[str]], Run]) -> Callable[[Any], Run]:
    """Return the provider of the minimum that Numba itself takes."""

    def provider(problem: Any) -> Run:
        folder = tempfile.TemporaryDirectory()
        path = Path(folder.name, "smallest.py")
        path.write_text(SMALLEST_KERNEL, encoding="utf-8")
        run = begin([str(path)])

        def run_and_keep_the_file(processes: int, folder: Any = folder) -> Any:
            return run(processes)

        return run_and_keep_the_file

    return provider


def imported(name: str) -> Callable[[Any], Run]:
    """Return the provider of an import."""
    return lambda problem: after_a_warm_cache(["-c", IMPORTS[name]])


EMPTY_CACHE_PROVIDERS = {
    **{n: first_call(n, after_an_empty_cache) for n in ("fastbp", "NumPy", "PyTorch", "JAX")},
    "Numba": smallest_kernel(after_an_empty_cache),
}
WARM_CACHE_PROVIDERS = {
    "fastbp": first_call("fastbp", after_a_warm_cache),
    "Numba": smallest_kernel(after_a_warm_cache),
}
IMPORT_PROVIDERS = {name: imported(name) for name in IMPORTS}
