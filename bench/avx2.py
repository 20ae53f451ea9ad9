"""Processes held to AVX2, as on a machine without AVX-512: on most laptops, on many servers.

    eval "$(python -m bench.avx2)"    # in a shell: holds every process that it starts from now on

Libraries choose their code while they are loaded, so the environment of a new process holds them
all. A machine without AVX-512, or a process that is held already, needs no variables: there all of
this changes nothing.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable

import llvmlite.binding
from numpy._core._multiarray_umath import __cpu_dispatch__ as dispatched
from numpy._core._multiarray_umath import __cpu_features__ as of_this_processor

OPTION = "hold every provider to AVX2, as on a machine without AVX-512"
BEYOND = "avx512", "avx10", "evex512"  # parts of LLVM's names of features that AVX2 is without


def environment() -> dict[str, str]:
    """Return the variables that hold a process started with them, and all that it starts."""
    features = host_features()
    if "+avx512f" not in features:
        return {}
    return {
        # LLVM keeps to these whatever the processor's name stands for. With its own name it knows
        # how long instructions take: with "x86-64-v3" neurons took 3 to 6 % longer.
        "NUMBA_CPU_FEATURES": ",".join(without_avx512(features)),
        "NPY_DISABLE_CPU_FEATURES": " ".join(
            name
            for name in dispatched
            if name.startswith(("X86_V4", "AVX512")) and of_this_processor[name]
        ),
        "OPENBLAS_CORETYPE": "Haswell",  # NumPy's and SciPy's
        "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_max_isa=AVX2".strip(),  # JAX
    }


def host_features() -> list[str]:
    """Return LLVM's names of what kernels are compiled for, each after "+", or "-" if it is not."""
    chosen = os.environ.get("NUMBA_CPU_FEATURES")
    if chosen is None:
        try:
            chosen = llvmlite.binding.get_host_cpu_features().flatten()
        except RuntimeError:  # LLVM does not know them: not an x86
            chosen = ""
    return chosen.split(",")


def without_avx512(features: Iterable[str]) -> list[str]:
    """Return the features with AVX-512, and what came after it, switched off."""
    return [f"-{f[1:]}" if any(part in f for part in BEYOND) else f for f in features]


def main() -> None:
    """Print a shell command that sets the variables; nothing where there are none."""
    held = environment()
    if held:
        print("export", *(f"{name}={shlex.quote(value)}" for name, value in held.items()))


if __name__ == "__main__":
    main()
