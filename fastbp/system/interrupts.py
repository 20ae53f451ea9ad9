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
from pathlib import Path
from types import FrameType
from typing import Any

EXIT_CODE = 130  # of a process that Ctrl-C has ended, by the convention of shells

_TO_REMOVE: list[Path] = []


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


@contextmanager
def removed_if_killed(path: Path) -> Iterator[None]:
    """Remove a file, too, where a signal ends the process without an exception."""
    names = "SIGTERM", "SIGHUP"
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    numbers = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]

    def remove_and_end(signum: int, frame: FrameType | None) -> None:
        _remove()
        signal.signal(signum, signal.SIG_DFL)
        signal.raise_signal(signum)

    _TO_REMOVE.append(path)
    for number in numbers:
        signal.signal(number, remove_and_end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        _TO_REMOVE.remove(path)


def _remove() -> None:
    for path in _TO_REMOVE:
        with suppress(OSError):
            path.unlink()


def _leave(signum: int, frame: FrameType | None) -> None:
    _remove()
    with suppress(OSError):
        os.write(2, b"\ninterrupted\n")
    os._exit(EXIT_CODE)
