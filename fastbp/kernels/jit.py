"""The JIT policy: the one place that imports :func:`numba.njit`, and the cache of compiled kernels.

:func:`kernel` is for a function that Python calls: it is compiled at its first call, runs
without the GIL, and is kept in the cache on disk. The others are for what only kernels call:
:func:`device_function` for short bodies, which LLVM inlines; :func:`subroutine` for long ones,
which it may call; :func:`template` for those that take a function as an argument, which become
part of the kernel that calls them (Numba would compile them twice).

No fast-math flag is ever set. Whatever may be reordered or fused is written out with
explicit lanes and explicit fused multiply-adds (see ``vector.py``), so results do not depend
on what the compiler finds profitable.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import llvmlite
import numba
import numpy as np
from numba import _dynfunc
from numba.core import types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile
from numba.core.codegen import CPUCodeLibrary as CodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering

Function = TypeVar("Function", bound=Callable[..., Any])

SOURCES = sorted(Path(__file__).parent.glob("*.py"))
"""Every file that a kernel of the package is compiled from."""
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}
JIT_ENABLED = not numba.config.DISABLE_JIT
"""False when ``NUMBA_DISABLE_JIT`` is set: the kernels then run as plain Python."""


def cache_folder() -> Path | None:
    """Return the folder for kernels compiled from exactly this source by these compiler versions.

    Numba dates a cached kernel by its own file, so it does not see a change in a callee in
    another file (numba issue 1833). Here the folder's name is a digest of every
    kernel file: a kernel compiled from other code lies in another folder. None where the user
    has no home, or the package no source files.
    """
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    base = Path(chosen) if chosen else _user_cache()
    if base is None or not SOURCES:
        return None
    return base / f"fastbp-{_source_digest()[:16]}"


def _user_cache() -> Path | None:
    """Return the user's cache folder, or None if there is no home."""
    variable, folder = {
        "win32": ("LOCALAPPDATA", "AppData/Local"),
        "darwin": ("", "Library/Caches"),
    }.get(sys.platform, ("XDG_CACHE_HOME", ".cache"))
    chosen = Path(os.environ.get(variable, ""))
    if chosen.is_absolute():
        return chosen / "fastbp"
    try:
        return Path.home() / folder / "fastbp"
    except RuntimeError:
        return None


@functools.cache
def _source_digest() -> str:
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {np.__version__}".encode())
    for path in SOURCES:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class _Locator:
    """Where a kernel's cache files are and what they were compiled from, as Numba asks for it."""

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        self._py_file = py_file  # Numba reads it for its warnings
        self._line = py_func.__code__.co_firstlineno

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator:
        return cls(py_func, py_file)

    def get_cache_path(self) -> str:
        return str(cache_folder())

    def ensure_cache_path(self) -> None:
        Path(self.get_cache_path()).mkdir(parents=True, exist_ok=True)

    def get_source_stamp(self) -> str:
        return _source_digest()

    def get_disambiguator(self) -> str:
        return str(self._line)


class _Implementation(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_Locator,)


class _CheckedFile(IndexDataCacheFile):  # type: ignore[misc]
    """Numba's cache file with a digest in front, so that altered machine code is never run."""

    def _save_data(self, name: str, data: Any) -> None:
        payload = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(payload).digest() + payload)

    def _load_data(self, name: str) -> Any:
        import pickle

        content = Path(self._data_path(name)).read_bytes()
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            raise ValueError(f"damaged kernel cache file {name}")
        return pickle.loads(content[32:])


class _Cache(FunctionCache):  # type: ignore[misc]
    """A cache that can only help: whatever goes wrong in it means compiling again."""

    _impl_class = _Implementation

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func)
        self._cache_file = _CheckedFile(
            self._cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp()
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            self._forget()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception:
            self._forget()

    def _forget(self) -> None:
        with contextlib.suppress(Exception):
            self.flush()


@register_pass(mutates_CFG=True, analysis_only=False)
class _LoweringWithoutMachineCode(NativeLowering):  # type: ignore[misc]
    """Numba's lowering for what only kernels call: their module includes its LLVM code.

    Numba also optimizes each function by itself and makes machine code of it, which nothing runs:
    half to two thirds of the compile time. Here a kernel is optimized once, with all that it calls.
    """

    _name = "lowering_without_machine_code"

    def run_pass(self, state: Any) -> bool:
        context = state.targetctx
        state.targetctx = context.subtarget(get_executable=_link_only)
        try:
            return bool(super().run_pass(state))
        finally:
            state.targetctx = context


def _link_only(library: Any, description: Any, environment: Any) -> Any:
    """Close a library as it is; return a function object for Numba, which Python cannot call."""

    def close() -> None:
        library._finalize_dynamic_globals()
        library._finalized = True

    library._optimize_final_module = lambda: None
    library._finalize_final_module = close
    name = description.qualname.split(".")[-1]
    return _dynfunc.make_function(description.lookup_module(), name, "", 0, environment, (library,))


# The pass above relies on Numba's internals (tested with 0.62 and 0.68): without them, functions
# are compiled as Numba does it, which only takes longer.
_KNOWN = all(
    hasattr(CodeLibrary, name)
    for name in ("_optimize_final_module", "_finalize_final_module", "_finalize_dynamic_globals")
)


class _CalleePipeline(CompilerBase):  # type: ignore[misc]
    def define_pipelines(self) -> list[Any]:
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.add_pass_after(_LoweringWithoutMachineCode, NativeLowering)
        pipeline.passes = [p for p in pipeline.passes if p[0] is not NativeLowering]
        pipeline.finalize()
        return [pipeline]


def kernel(function: Function) -> Function:
    """Compile `function` at its first call; it runs without the GIL and is cached on disk."""
    if not JIT_ENABLED:
        return np.errstate(all="ignore")(function)  # as compiled code, which never warns
    dispatcher = numba.njit(**_OPTIONS)(function)
    if Path(function.__code__.co_filename) in SOURCES and cache_folder() is not None:
        dispatcher._cache = _Cache(function)
    return dispatcher  # type: ignore[no-any-return]


def device_function(function: Function) -> Function:
    """Compile `function` into the kernels that call it, always inlined."""
    return _called_by_kernels(function, forceinline=True)


def subroutine(function: Function) -> Function:
    """Compile `function` for the kernels that call it."""
    return _called_by_kernels(function)


def _called_by_kernels(function: Function, **options: Any) -> Function:
    dispatcher = numba.njit(
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        **({"pipeline_class": _CalleePipeline} if _KNOWN else {}),
        **options,
        **_OPTIONS,
    )(function)
    if JIT_ENABLED:
        by_type = dispatcher.get_call_template

        def by_type_alone(args: Any, kws: Any) -> Any:
            args = tuple(types.unliteral(a) for a in args)
            return by_type(args, {name: types.unliteral(a) for name, a in kws.items()})

        # Numba compiles once for each constant among the arguments: networks took 16 s, not 11.
        dispatcher.get_call_template = by_type_alone
    return dispatcher  # type: ignore[no-any-return]


def template(function: Function) -> Function:
    """Make `function` part of the source of the kernels that call it."""
    return numba.njit(inline="always", **_OPTIONS)(function)  # type: ignore[no-any-return]


def target() -> tuple[str, str]:
    """Return the processor and its features that the kernels are compiled for."""
    from numba.core.registry import cpu_target

    _, processor, features = cpu_target.target_context.codegen().magic_tuple()
    return processor, features


def vector_width() -> int:
    """Return the width in bits of the widest vector register that the kernels use here."""
    features = target()[1].split(",")
    for name, bits in (("+avx512f", 512), ("+avx", 256)):
        if name in features:
            return bits
    return 128  # SSE2 on every x86-64, NEON on every 64-bit ARM
