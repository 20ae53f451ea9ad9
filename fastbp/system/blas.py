"""BLAS on one thread while a fit runs, since its results depend on the number of threads."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_fits = 0
_before: list[int] = []


@functools.cache
def _libraries() -> list[Any]:
    """Return threadpoolctl's controllers of the BLAS libraries in the process, SciPy's among them.

    Finding them takes some milliseconds.
    """
    import scipy.linalg.cython_blas  # noqa: F401
    from threadpoolctl import ThreadpoolController

    found = ThreadpoolController().select(user_api="blas")
    return list(found.lib_controllers)


def _set_threads(library: Any, n_threads: int) -> None:
    """Set the number for the process, from any Python thread.

    Since release 3.8 threadpoolctl obeys one thread only, until that one gives up control; but the
    last of our fits may end in another thread than the first one began in.
    """
    give_up_control = getattr(library, "clear_controlling_thread", lambda force: None)
    give_up_control(force=True)
    library.set_num_threads(n_threads)
    give_up_control(force=True)


def limit_this_thread() -> None:
    """Limit BLAS to one thread in a new thread as well: OpenMP keeps the setting per thread."""
    with _lock:
        _set_all([1] * len(_libraries()))


def _set_all(numbers: list[int]) -> None:
    for library, n_threads in zip(_libraries(), numbers, strict=True):
        _set_threads(library, n_threads)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread until the last of the fits that ask for it has ended.

    The setting is for the whole process. Since fits are counted, those that overlap leave it as it
    was before the first of them, whatever order they end in.
    """
    global _fits
    with _lock:
        if _fits == 0:
            _before[:] = [library.get_num_threads() for library in _libraries()]
        _set_all([1] * len(_before))
        _fits += 1
    try:
        yield
    finally:
        with _lock:
            _fits -= 1
            if _fits == 0:
                _set_all(_before)


def _after_fork() -> None:
    """Start afresh in a forked child: the fits under way are its parent's."""
    global _fits, _lock
    _lock = threading.Lock()
    if _fits > 0:
        _fits = 0
        _set_all(_before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
