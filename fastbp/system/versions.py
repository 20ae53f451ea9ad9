"""What fastbp runs on: versions, threads, vector width, the cache of compiled kernels."""

from __future__ import annotations

import functools
import platform
import sys
from importlib import metadata

from fastbp._version import __version__
from fastbp.kernels.cache import cache_folder, why_not_kept
from fastbp.kernels.jit import JIT_ENABLED, target, vector_width
from fastbp.system.threads import available_threads, get_num_threads

PACKAGES = ("fastbp", "numpy", "numba", "llvmlite", "scipy", "safetensors", "threadpoolctl", "tqdm")
OPTIONAL = ("click", "dask", "distributed", "matplotlib", "pyarrow", "rich", "scikit-learn")


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
    try:
        facts["threads"] = f"{get_num_threads()} of {available_threads()} available"
    except ValueError as error:  # the environment says what makes no sense
        facts["threads"] = str(error)
    facts["compiler"] = "on" if JIT_ENABLED else "off (NUMBA_DISABLE_JIT)"
    facts["kernel cache"] = kernel_cache()
    return facts


@functools.cache
def what_bits_depend_on() -> dict[str, str]:
    """Return what the bits of results depend on, beside data and arguments, by name."""
    versions = {name: metadata.version(name) for name in ("numpy", "numba", "llvmlite")}
    processor = f"{target()[0]}, vectors of {vector_width()} bits"
    return {"fastbp": __version__, **versions, "processor": processor}


def kernel_cache() -> str:
    """Return where compiled kernels are kept, or why nowhere."""
    reason = why_not_kept()
    return f"none: {reason}" if reason else str(cache_folder())


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
