"""BLAS on one thread while a fit runs: its bits depend on the number of its threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

_lock = threading.Lock()
_fits = 0
_limit = ExitStack()
_controller: Any = None


@contextmanager
def _one_thread() -> Iterator[None]:
    """Hold BLAS to one thread until the last of the fits that ask for it has ended.

    The setting is the process's. With a count, fits that overlap leave it as it was before the
    first of them, whatever their order.
    """
    global _controller, _fits
    with _lock:
        if _fits == 0:
            from threadpoolctl import ThreadpoolController

            if _controller is None:  # it takes milliseconds to find the libraries
                _controller = ThreadpoolController()
            _limit.enter_context(_controller.limit(limits=1, user_api="blas"))
        _fits += 1
    try:
        yield
    finally:
        with _lock:
            _fits -= 1
            if _fits == 0:
                _limit.close()


def blas_on_one_thread(needed: bool) -> Any:
    """Return a context in which BLAS runs on one thread, if that is needed."""
    return _one_thread() if needed else nullcontext()
