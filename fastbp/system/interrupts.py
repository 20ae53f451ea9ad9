"""Ctrl-C during a fit: the first one is a request, the second an exception.

While a kernel is compiled or loaded, Ctrl-C waits: an exception raised in an LLVM callback is lost,
and the process may crash. (pyarrow loses it, too, while it imports pandas.) A command that has
nothing to finish yet ends immediately.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

EXIT_CODE = 130  # of a process that Ctrl-C has ended, by the convention of shells


class WaitInterruptedError(Exception):
    """A wait for rows was given up because of an interrupt."""


class Interrupts:
    """Counts the interrupts since a fit began."""

    def __init__(self) -> None:
        self.count = 0
        self.answered = False

    def raise_if_any(self) -> None:
        """Raise KeyboardInterrupt, where there is nothing to return yet."""
        if self.count:
            self.answered = True
            raise KeyboardInterrupt

    def handle(self, signum: int, frame: FrameType | None) -> None:
        """Note the first interrupt, raise at the second."""
        self.count += 1
        if self.count > 1:
            raise KeyboardInterrupt


@contextmanager
def deferred_interrupts() -> Iterator[Interrupts]:
    """Note the first Ctrl-C instead of raising it, if Python's own handler is in place.

    Otherwise (in another thread, or a program with its own handler) nothing is changed.
    """
    interrupts = Interrupts()
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not ours:
        yield interrupts
        return
    signal.signal(signal.SIGINT, interrupts.handle)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if interrupts.count and not interrupts.answered:  # it came too late to be answered
        raise KeyboardInterrupt


def interrupt_safe(*kernels: Any) -> tuple[Any, ...]:
    """Let any Ctrl-C wait while one of these kernels is compiled or loaded; return them."""
    for kernel in kernels:
        if hasattr(kernel, "_compile_for_args"):  # not if the compiler is off
            kernel._compile_for_args = _held_back()(kernel._compile_for_args)
    return kernels


@contextmanager
def _held_back() -> Iterator[None]:
    """Call the handler of Ctrl-C, whoever installed it, only at the end."""
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
    """Let Ctrl-C end the process, if Python's own handler is in place."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def raise_on_interrupt() -> None:
    """Let Ctrl-C raise again: from now on there is something to finish or to clean up."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(signum: int, frame: FrameType | None) -> None:
    with suppress(OSError):
        os.write(2, b"\ninterrupted\n")
    os._exit(EXIT_CODE)
