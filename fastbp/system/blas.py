"""One thread for the BLAS behind NumPy and SciPy."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LOCK = threading.Lock()
_contexts: list[Any] = []
"""The limit that the first one has set, and nothing for each of the others."""


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Have the BLAS compute on one thread, in the whole process, until the last such context ends.

    With more, the last digits of its sums depend on their number; and over vectors of some hundred
    numbers, threads take longer to start than to compute.
    """
    with _LOCK:
        _contexts.append(None if _contexts else _limited())
    try:
        yield
    finally:
        with _LOCK:
            if len(_contexts) > 1:
                _contexts.pop()
            else:
                _take_control()
                _contexts.pop().restore_original_limits()
                _take_control()


def _limited() -> Any:
    _take_control()
    return _libraries().limit(limits=1, user_api="blas")


def _take_control() -> None:
    """Let this thread change the limit of OpenBLAS, which may be the privilege of another."""
    for library in _libraries().lib_controllers:
        if hasattr(library, "clear_controlling_thread"):  # threadpoolctl 3.8
            library.clear_controlling_thread(force=True)


@functools.cache
def _libraries() -> Any:
    """Return the libraries that are loaded; finding them takes some 10 milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
