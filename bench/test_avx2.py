"""Processes held to AVX2: the variables, and what the libraries then make of them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest

from bench import TOP, avx2
from bench.providers import installed
from bench.worker import Worker

WITH = "+avx,-avx10.1,+avx2,+avx512f,+avx512vl,-avx512fp16,+fma,+gfni"
NO_AVX512 = "+avx,-avx10.1,+avx2,-avx512f,-avx512vl,-avx512fp16,+fma,+gfni"
ARM = "+neon,+sve"
CODE_OF = {
    "kernels": "from fastbp.kernels import jit; print(jit.vector_width())",
    "their compiler": (
        "import numba, numpy as np\n"
        "fill = numba.njit('void(f8[::1])')(lambda x: x.fill(1.0))\n"
        "print(512 if any('zmm' in code for code in fill.inspect_asm().values()) else 256)"
    ),
    "NumPy": (
        "import numpy as np; print(512 if any(of['current'].startswith(('X86_V4', 'AVX512'))"
        " for of in np.lib.introspect.opt_func_info('^exp$')['exp'].values()) else 256)"
    ),
    "OpenBLAS": (
        "import numpy, threadpoolctl; print(256 if any(of.get('architecture') == 'Haswell'"
        " for of in threadpoolctl.threadpool_info()) else 512)"
    ),
    "PyTorch": (
        "import torch; print(512 if 'AVX512' in torch.backends.cpu.get_cpu_capability() else 256)"
    ),
}


@pytest.mark.parametrize(("features", "held"), [(WITH, NO_AVX512), (NO_AVX512, ""), (ARM, "")])
def test_variables_are_set_where_there_is_avx512(
    features: str, held: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CPU_FEATURES", features)
    found = avx2.environment()
    assert found.get("NUMBA_CPU_FEATURES", "") == held
    assert bool(found) == bool(held)


def test_a_processor_that_llvm_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> None:
        raise RuntimeError

    monkeypatch.delenv("NUMBA_CPU_FEATURES", raising=False)
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", unknown)
    assert avx2.environment() == {}


def test_what_is_set_for_jax_already_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CPU_FEATURES", WITH)
    monkeypatch.setenv("XLA_FLAGS", "--one")
    assert avx2.environment()["XLA_FLAGS"] == "--one --xla_cpu_max_isa=AVX2"


@pytest.fixture
def has_avx512() -> None:
    if not avx2.environment():
        pytest.skip("no AVX-512 here")


@pytest.mark.usefixtures("has_avx512")
@pytest.mark.parametrize("library", CODE_OF)
def test_a_library_is_held(library: str) -> None:
    if not installed(library):
        pytest.skip(f"{library} is not installed")
    command = [sys.executable, "-W", "error:During parsing", "-c", CODE_OF[library]]
    held = {**os.environ, **avx2.environment()}
    done = subprocess.run(command, cwd=TOP, env=held, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("256\n", 0), done.stderr


@pytest.mark.usefixtures("has_avx512")
def test_a_worker_is_held() -> None:
    for held, bits in (False, 512), (True, 256):
        with Worker(1, avx2=held) as worker:
            assert worker.machine()["vector_bits"] == bits


@pytest.mark.usefixtures("has_avx512")
@pytest.mark.skipif(sys.platform == "win32", reason="a command of a POSIX shell")
def test_the_command_sets_them_in_a_shell() -> None:
    again = f"{sys.executable} -m bench.avx2"
    show = f"{sys.executable} -c 'import os; print(dict(os.environ))'"
    done = subprocess.run(
        ["sh", "-c", f'eval "$({again})"; {show}; {again}'],
        cwd=TOP, stdout=subprocess.PIPE, check=True, text=True,
    )  # fmt: skip
    variables = ast.literal_eval(done.stdout)  # the second time it prints nothing: they are set
    assert avx2.environment().items() <= variables.items()
