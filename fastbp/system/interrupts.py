"""Ctrl-C during a fit: the first one is a request, the second an exception.

While a kernel is compiled or loaded it waits: raised in what LLVM calls back, an exception is lost,
and the process may crash. (pyarrow loses it, too, while it imports pandas.) A command that has
nothing to finish yet ends at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

EXIT_CODE = 130  # of what Ctrl-C ended, as shells have it


class WaitInterruptedError(Exception):
    """A wait for rows was given up since an interrupt came."""


class Requests:
    """Counts the interrupts since a fit began."""

    def __init__(self) -> None:
        self.count = 0
        self.answered = False

    def raise_if_any(self) -> None:
        """Raise KeyboardInterrupt where there is nothing yet to return."""
        if self.count:
            self.answered = True
            raise KeyboardInterrupt

    def handle(self, signum: int, frame: FrameType | None) -> None:
        """Note the first interrupt, raise at the second."""
        self.count += 1
        if self.count > 1:
            raise KeyboardInterrupt


@contextmanager
def deferred_interrupts() -> Iterator[Requests]:
    """Note the first Ctrl-C instead of raising it, where Python's own handler is in place.

    Elsewhere (another thread, a program with a handler of its own) nothing is changed.
    """
    requests = Requests()
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not ours:
        yield requests
        return
    signal.signal(signal.SIGINT, requests.handle)
    try:
        yield requests
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if requests.count and not requests.answered:  # it came when all was done
        raise KeyboardInterrupt


def interrupt_safe(*kernels: Any) -> tuple[Any, ...]:
    """Let any Ctrl-C wait while one of these kernels is compiled or loaded; return them."""
    for kernel in kernels:
        if hasattr(kernel, "_compile_for_args"):  # not where the compiler is off
            kernel._compile_for_args = _held_back()(kernel._compile_for_args)
    return kernels


@contextmanager
def _held_back() -> Iterator[None]:
    """Call the handler of Ctrl-C, whosever it is, only at the end."""
    handler = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or not callable(handler) or handler is _leave:
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda *interrupt: came.append(interrupt))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    for interrupt in came:
        handler(*interrupt)


def leave_on_interrupt() -> None:
    """Have Ctrl-C end the process, where Python's own handler is in place."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def raise_on_interrupt() -> None:
    """Have Ctrl-C raise again: from now on there is something to finish or to clean up."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(signum: int, frame: FrameType | None) -> None:
    with contextlib.suppress(OSError):
        os.write(2, b"\ninterrupted\n")
    os._exit(EXIT_CODE)
