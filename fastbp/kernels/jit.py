"""The JIT policy: the one place that imports :func:`numba.njit`.

:func:`kernel` is for a function that Python calls: it is compiled at its first call, runs
without the GIL, and is kept on disk (see ``cache.py``). The others are for what only kernels
call: :func:`device_function` for short bodies, which LLVM inlines; :func:`subroutine` for long
ones, which it may call; :func:`template` for those that take a function as an argument, which
become part of the kernel that calls them (Numba would compile them twice).

No fast-math flag is ever set. Whatever may be reordered or fused is written out with
explicit lanes and explicit fused multiply-adds (see ``vector.py``), so results do not depend
on what the compiler finds profitable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numba import _dynfunc
from numba.core import types
from numba.core.codegen import CPUCodeLibrary as CodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering

from fastbp.kernels.cache import KernelCache, cache_folder

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}
JIT_ENABLED = not numba.config.DISABLE_JIT
"""False when ``NUMBA_DISABLE_JIT`` is set: the kernels then run as plain Python."""


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
    if function.__module__.startswith(f"{__package__}."):
        dispatcher._cache = KernelCache(function, cache_folder())
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


def has_feature(name: str) -> bool:
    """Return whether the kernels may use a feature of the processor, by LLVM's name for it."""
    return f"+{name}" in target()[1].split(",")


def vector_width() -> int:
    """Return the width in bits of the widest vector register that the kernels use here."""
    for name, bits in (("avx512f", 512), ("avx", 256)):
        if has_feature(name):
            return bits
    return 128  # SSE2 on every x86-64, NEON on every 64-bit ARM
