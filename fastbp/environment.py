"""What fastbp runs on: versions, threads, vector width; and compiling ahead of time."""

from __future__ import annotations

import platform
import sys
import time
from importlib import metadata
from typing import Any

import numpy as np

from fastbp._version import __version__
from fastbp.kernels._jit import JIT_ENABLED, cache_folder, target, vector_width
from fastbp.network import fit_network, initialize_network, predict_network
from fastbp.neuron import fit_neuron, predict_neuron, train_neuron
from fastbp.parallel import available_threads, get_num_threads

PACKAGES = ("fastbp", "numpy", "numba", "llvmlite", "scipy", "threadpoolctl", "safetensors", "tqdm")
OPTIONAL = ("click", "matplotlib", "pyarrow", "rich", "scikit-learn")


def environment() -> dict[str, str]:
    """Return what a bug report needs, by name."""
    facts = {"python": platform.python_version(), "system": platform.platform()}
    for package in (*PACKAGES, *OPTIONAL):
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            facts[package] = "not installed"
    facts["fastbp"] = __version__
    facts["processor"] = f"{target()[0]} ({platform.machine()})"
    facts["vector width"] = f"{vector_width()} bits"
    facts["threads"] = f"{get_num_threads()} of {available_threads()} available"
    facts["compiler"] = "on" if JIT_ENABLED else "off (NUMBA_DISABLE_JIT)"
    facts["kernel cache"] = str(cache_folder() or "none: no home folder")
    return facts


def show_versions() -> None:
    """Print the versions, threads, vector width and cache folder in use, for bug reports.

    Examples
    --------
    >>> import fastbp
    >>> fastbp.show_versions()  # doctest: +SKIP
           python: 3.11.7
           system: Linux-6.1-x86_64-with-glibc2.36
           fastbp: 0.1.0
    ...
    """
    facts = environment()
    width = max(map(len, facts))
    for name, value in facts.items():
        sys.stdout.write(f"{name:>{width}}: {value}\n")


def warmup() -> dict[str, float]:
    """Compile everything now, or load it from the cache, rather than at the first call.

    Returns
    -------
    dict of str to float
        The seconds that each function took.

    Examples
    --------
    >>> import fastbp
    >>> sorted(fastbp.warmup())
    ['fit_network', 'fit_neuron', 'predict_network', 'predict_neuron', 'train_neuron']
    """
    x, y, w = np.eye(3), np.array([0.0, 1.0, 0.0]), np.zeros(3)
    names = ("sigmoid",)
    network = initialize_network([3, 1], activations=names)
    calls: dict[str, Any] = {
        "train_neuron": lambda: train_neuron(x.tolist(), y.tolist(), w.tolist(), 0.0, 0.1, 1),
        "fit_neuron": lambda: fit_neuron(x, y, w, 0.0, 0.1, 1),
        "predict_neuron": lambda: predict_neuron(x, w, 0.0),
        "fit_network": lambda: [
            fit_network(x, y, *network, 0.1, 1, activations=names, **kind)
            for kind in ({"optimizer": "adam"}, {"batch_size": 2}, {"batch_size": 1})
        ],
        "predict_network": lambda: predict_network(x, *network, activations=names),
    }
    seconds = {}
    for name, call in calls.items():
        started = time.perf_counter()
        call()
        seconds[name] = time.perf_counter() - started
    return seconds
