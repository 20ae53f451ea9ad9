"""Files mapped into memory, which another program may shorten at any time.

Reading a page of a mapping that the file no longer reaches raises SIGBUS, which ends the process.
While a mapping is open, a handler of that signal puts pages of zeros in place of what is missing,
and :meth:`Mapping.intact` reports it. If the handler cannot be installed, :func:`map_file`
returns None, and the rows are read instead.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import sys
import threading
from typing import Any

import numpy as np

AHEAD_BYTES = 2**28

_ADDRESS_AT = 16  # of si_addr in siginfo_t, on every 64-bit Linux
_SA_SIGINFO = 4
_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class _Action(ctypes.Structure):
    """``struct sigaction`` of the C library on 64-bit Linux (sigaction(2), glibc and musl)."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_byte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


_lock = threading.Lock()
_open: dict[int, Mapping] = {}
_previous: _Action | None = None
_libc: Any = None


def supported() -> bool:
    """Return whether files can be mapped safely: the handler is written for 64-bit Linux."""
    known = os.uname().machine in ("x86_64", "aarch64") if sys.platform == "linux" else False
    return known and ctypes.sizeof(ctypes.c_void_p) == 8


def _missing_page(number: int, info: int, context: int) -> None:
    """Handle SIGBUS: zeros for the rest of a mapping of ours, the former handler for others."""
    address = ctypes.c_uint64.from_address(info + _ADDRESS_AT).value
    for mapping in list(_open.values()):
        if mapping.first <= address < mapping.last:
            start = address // mmap.PAGESIZE * mmap.PAGESIZE
            kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED | _MAP_NORESERVE
            _libc.mmap(start, mapping.last - start, mmap.PROT_READ, kind, -1, 0)
            mapping.truncated = True
            return
    former = _previous or _Action()  # all zeros: the system's default
    _libc.sigaction(signal.SIGBUS, ctypes.byref(former), None)  # it is raised again on return


_handler = _Handler(_missing_page)


def _install() -> bool:
    global _libc, _previous
    _libc = ctypes.CDLL(None, use_errno=True)
    _libc.mmap.restype = ctypes.c_void_p
    _libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *3 * (ctypes.c_int,), ctypes.c_long)
    action = _Action(ctypes.cast(_handler, ctypes.c_void_p).value, flags=_SA_SIGINFO)
    _previous = _Action()
    done: int = _libc.sigaction(signal.SIGBUS, ctypes.byref(action), ctypes.byref(_previous))
    return done == 0


class Mapping:
    """A whole file, mapped for reading; close it.

    Attributes
    ----------
    first, last : int
        The first of its addresses, and one past the last.
    size : int
        The file's size when it was mapped.
    truncated : bool
        Whether zeros have taken the place of a part that was missing.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self.size = size
        self._advised = 0
        self._bytes = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
        self._descriptor = os.dup(descriptor)
        self.buffer = np.frombuffer(self._bytes, dtype=np.uint8)
        pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self.first = self.buffer.ctypes.data
        self.last = self.first + pages
        self.truncated = False

    def array(self, offset: int, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
        """Return a C-contiguous array that begins at a byte of the file."""
        return np.ndarray(shape, dtype, buffer=self._bytes, offset=offset)

    def intact(self) -> bool:
        """Return whether all of the file is there, and has been all the time."""
        return not self.truncated and self.size_now() >= self.size

    def size_now(self) -> int:
        """Return the size of the file."""
        return os.fstat(self._descriptor).st_size

    def read_ahead(self, start: int) -> None:
        """Ask for the bytes after `start` to be brought into the page cache; do not wait."""
        if start < self._advised - AHEAD_BYTES:
            self._advised = start  # another epoch
        begin = max(self._advised, start)
        stop = min(start + AHEAD_BYTES, self.size)
        if begin < stop:
            os.posix_fadvise(self._descriptor, begin, stop - begin, os.POSIX_FADV_WILLNEED)
        self._advised = max(begin, stop)

    def close(self) -> None:
        """Unmap the file as soon as no array refers to it."""
        global _previous
        with _lock:
            if _open.pop(id(self), None) is None:
                return
            if not _open and _previous is not None:
                _libc.sigaction(signal.SIGBUS, ctypes.byref(_previous), None)
                _previous = None
        self.release()

    def release(self) -> None:
        """Unmap, and close the file."""
        del self.buffer
        with contextlib.suppress(BufferError):  # an array refers to it; the last unmaps
            self._bytes.close()
        os.close(self._descriptor)


def map_file(descriptor: int, size: int) -> Mapping | None:
    """Map a file of at least `size` bytes; return None if that is not safe, or fails."""
    if not supported():
        return None
    try:
        mapping = Mapping(descriptor, size)
    except (OSError, ValueError):  # also of a file that has become shorter
        return None
    with _lock:
        if _open or _install():
            _open[id(mapping)] = mapping
            return mapping
    mapping.release()
    return None
