"""The one writer of files.

An ordinary file is replaced atomically, by a new one that was written beside it; a pipe or a device
is written to as it is. Links are followed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import secrets
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fastbp.system.interrupts import removed_if_killed

if sys.platform != "win32":
    import fcntl

TEMPORARY = re.compile(r"\.fastbp-([0-9a-f]{8})-[0-9a-f]{16}\.(?:part|csv)")  # of a machine
ABANDONED = 24 * 3600.0  # seconds after which another machine's file is a leftover
ACCESS_LIST = "system.posix_acl_access"  # Linux: rights beyond the mode
OF_GROUP = 0o070


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a new file, which takes the place of `path` once complete, or else is removed.

    It gets the owner and the mode of what it replaces. If all is written and only the place cannot
    be taken, it stays, and the error says where. What is no ordinary file is opened itself.

    Raises
    ------
    OSError
        With the name of `path`; an old file is then as it was.
    """
    with errors_named(path):
        old = _status(path)
        if old is not None and not stat.S_ISREG(old.st_mode):
            with in_place(path) as file:
                yield file
            return
        target = Path(os.path.realpath(path))
        temporary, descriptor = _new_file(target.parent, old)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(descriptor)
                if old is not None:
                    _keep_access(descriptor, target, old)
                if os.name == "nt":  # an open file cannot be renamed; elsewhere it is locked
                    file.close()
                _put(temporary, target)
        except BaseException:
            with suppress(OSError):  # the folder itself may be gone
                temporary.unlink(missing_ok=True)
            raise
    with suppress(OSError):  # the renaming is to survive a loss of power; Windows cannot do that
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def in_place(path: Path) -> BinaryIO:
    """Open for writing what is no ordinary file, or a file that is read while it grows."""
    old = _status(path)
    kept = os.O_CREAT | os.O_TRUNC if old is not None and not stat.S_ISREG(old.st_mode) else 0
    return open(path, "wb", opener=lambda name, flags: os.open(name, flags & ~kept, 0o666))


@contextmanager
def temporary_csv() -> Iterator[tuple[Path, BinaryIO]]:
    """Give a new file for this user alone, in the folder of temporary files; remove it at the end.

    A signal that ends the process removes it, too; what SIGKILL has left, the next new file does.
    """
    path, descriptor = _new_file(Path(tempfile.gettempdir()), None, ".csv", 0o600)
    try:
        with removed_if_killed(path), os.fdopen(descriptor, "wb") as file:  # locked while open
            yield path, file
    finally:
        path.unlink(missing_ok=True)


def check(path: Path, replaced: bool = True) -> None:
    """Raise the OSError of what cannot be written, or replaced, before there is something to write.

    A new file is made beside it, and removed.
    """
    with errors_named(path):
        old = _status(path)
        if old is None or (replaced and stat.S_ISREG(old.st_mode)):
            temporary, descriptor = _new_file(Path(os.path.realpath(path)).parent, old)
            os.close(descriptor)
            temporary.unlink(missing_ok=True)


def is_special(path: Path) -> bool:
    """Return whether something stands there that is neither a file nor a folder."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def is_same(path: Path, other: Path) -> bool:
    """Return whether two paths lead to one file, which need not exist."""
    with suppress(OSError):
        return path.samefile(other)
    return os.path.realpath(path) == os.path.realpath(other)


@contextmanager
def errors_named(path: Path) -> Iterator[None]:
    """Give the errors of writing the name of `path`."""
    try:
        yield
    except OSError as error:
        name = error.filename
        others = name is not None and not TEMPORARY.fullmatch(Path(str(name)).name)
        if others or error.errno is None:  # the latter is a library's, not the system's
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _status(path: Path) -> os.stat_result | None:
    """Return what stands there, if it can be written; None if there is nothing."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    mode, number = status.st_mode, 0
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise OSError(errno.EINVAL, "expected a file, got a disk or a socket", str(path))
    if stat.S_ISDIR(mode):
        number = errno.EISDIR
    elif stat.S_ISREG(mode):
        os.close(os.open(path, os.O_WRONLY))  # raises what writing would raise
    elif not os.access(path, os.W_OK):  # to open a pipe would wait for its reader
        number = errno.EACCES
    if number:
        raise OSError(number, os.strerror(number), str(path))
    return status


def _new_file(
    folder: Path, old: os.stat_result | None, suffix: str = ".part", usual_mode: int = 0o666
) -> tuple[Path, int]:
    """Create a file under a name that nobody can foresee; return it open, and locked."""
    _remove_leftovers(folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    # Nobody else reads it before it has the old one's mode.
    mode = usual_mode if old is None else 0o600
    while True:
        temporary = folder / f".fastbp-{_machine()}-{secrets.token_hex(8)}{suffix}"
        descriptor = os.open(temporary, flags, mode)
        try:
            _lock(descriptor)
        except BlockingIOError:  # of somebody who takes it for a leftover
            os.close(descriptor)
            continue
        except OSError:  # a file system without locks: nobody removes leftovers there
            pass
        if temporary.exists():
            return temporary, descriptor
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Lock a file as long as it is open; raise OSError if that cannot be."""
    if sys.platform != "win32":
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed runs have left: files of :func:`_new_file` that nobody has locked."""
    with suppress(OSError):  # the folder cannot be listed
        for path in folder.iterdir():
            found = TEMPORARY.fullmatch(path.name)
            if found is not None:
                with suppress(OSError):  # it is locked, or gone
                    # Some network file systems do not tell of the locks of other machines.
                    age = time.time() - path.lstat().st_mtime
                    if found[1] == _machine() or age > ABANDONED:
                        _remove_unless_locked(path)


def _remove_unless_locked(path: Path) -> None:
    if sys.platform == "win32":  # which refuses to remove an open file
        path.unlink()
        return
    # Neither a link nor a pipe that somebody has planted under such a name does any harm.
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        _lock(descriptor)
        path.unlink()
    finally:
        os.close(descriptor)


def _keep_access(descriptor: int, path: Path, old: os.stat_result) -> None:
    """Give a new file the owner, group and rights of an old one, as far as the user may."""
    if sys.platform == "win32":
        return
    mode = stat.S_IMODE(old.st_mode) & 0o777
    with suppress(OSError):
        os.fchown(descriptor, old.st_uid, -1)
    try:
        os.fchown(descriptor, -1, old.st_gid)
    except OSError:
        mode &= ~OF_GROUP  # which would be those of another group
    with suppress(OSError):  # not all file systems have modes
        os.fchmod(descriptor, mode)
    if sys.platform == "linux":
        with suppress(OSError):  # there is none, as a rule
            os.setxattr(descriptor, ACCESS_LIST, os.getxattr(path, ACCESS_LIST))


def _put(temporary: Path, target: Path) -> None:
    """Rename a complete file; if that fails, keep it beside the target."""
    try:
        temporary.replace(target)
    except OSError as error:
        kept = target.with_name(f"{target.stem}-{secrets.token_hex(8)}{target.suffix}")
        try:
            temporary.rename(kept)
        except OSError:
            raise error from None
        what = f"{error.strerror}; what was to be written is in {kept}"
        raise OSError(error.errno, what) from error
