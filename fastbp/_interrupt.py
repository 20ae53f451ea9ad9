"""Ctrl-C during a fit: the first one is a request, the second an exception."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
