"""What the figures depend on: processor, vector width, versions, threads."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import THREADS

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
PACKAGES = ("fastbp", "numba", "llvmlite", "numpy", "scipy", "torch", "jax", "scikit-learn")


def machine() -> dict[str, Any]:
    """Return all of it, by name."""
    from fastbp.kernels.jit import vector_width

    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "cpu": processor(),
        "vector_bits": vector_width(),
        "cache_bytes": cache_bytes(),
        "processors": processors(),
        "threads": THREADS,
        "versions": versions,
    }


def processor() -> str:
    """Return the processor's name, with family and model where the name alone is vague."""
    fields: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    except OSError:
        return platform.processor() or platform.machine()
    if "model name" not in fields:
        return platform.processor() or platform.machine()
    return f"{fields['model name']}, family {fields['cpu family']}, model {fields['model']}"


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_bytes() -> int:
    """Return the size of the largest cache, 32 MiB where that is not known (not Linux)."""
    units = {"K": 2**10, "M": 2**20}
    texts = [p.read_text(encoding="utf-8").strip() for p in CACHES.glob("index*/size")]
    return max((int(t[:-1]) * units[t[-1]] for t in texts if t[-1:] in units), default=2**25)
