"""The cache of compiled kernels on disk.

It can only help: whatever goes wrong in it means compiling again. What is read from it runs as
code of the user, so nothing is read that somebody else could have written.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import re
import shutil
import stat
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

SOURCES = sorted(Path(__file__).parent.glob("*.py"))
"""Every file that a kernel of the package is compiled from; none in a zip file."""

OF_A_VERSION = re.compile("fastbp-[0-9a-f]{16}")
"""A folder of kernels that were compiled from one state of the source by one compiler."""
DAY_SECONDS = 86_400.0
KEPT_SECONDS = 60 * DAY_SECONDS
INSIDE = "fastbp", "numba", "sklearn"
"""Packages between a kernel and the user's line."""


def cache_folder() -> Path | None:
    """Return the folder for kernels compiled from exactly this source by these compiler versions.

    Numba dates a cached kernel by its own file, so it does not see a change in a callee in
    another file (numba issue 1833). Here the folder's name is a digest of every
    kernel file: a kernel compiled from other code lies in another folder. None where the user
    has no home, or the package no source files.
    """
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    base = Path(chosen) if chosen else _user_cache()
    if base is None or not SOURCES:
        return None
    return base / f"fastbp-{_source_digest()[:16]}"


def _user_cache() -> Path | None:
    """Return the user's cache folder, or None if there is no home."""
    variable, folder = {
        "win32": ("LOCALAPPDATA", "AppData/Local"),
        "darwin": ("", "Library/Caches"),
    }.get(sys.platform, ("XDG_CACHE_HOME", ".cache"))
    chosen = Path(os.environ.get(variable, ""))
    if chosen.is_absolute():
        return chosen / "fastbp"
    try:
        return Path.home() / folder / "fastbp"
    except RuntimeError:
        return None


@functools.cache
def _source_digest() -> str:
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {np.__version__}".encode())
    for path in SOURCES:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def why_not_kept() -> str:
    """Return why compiled kernels are not kept on disk, or "" if they are."""
    folder = cache_folder()
    if not SOURCES:
        return "fastbp is installed without its source files"
    if folder is None:
        return "the user has no home folder"
    if os.path.lexists(folder):
        reason = why_not_trusted(folder.lstat(), stat.S_ISDIR)
        if reason:
            return f"{folder} is not used: {reason}"
    # os.path.exists is False, too, for what may not be looked up.
    nearest = next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        return f"{nearest} cannot be written to"
    return KernelCache.failure


def why_not_trusted(status: os.stat_result, is_right: Callable[[int], bool]) -> str:
    """Return why a file or folder may hold what somebody else wrote, or "".

    Root may write everywhere anyway. Windows has other rights, and a profile for each user.
    """
    if not is_right(status.st_mode):
        return "it is a link or of another kind"
    if not hasattr(os, "geteuid"):
        return ""
    if status.st_uid not in (0, os.geteuid()):
        return f"it belongs to another user ({status.st_uid})"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "others can write to it"
    return ""


class KernelCache(NullCache):  # type: ignore[misc]
    """The compiled code of one kernel: a file for each of its signatures.

    Numba itself keeps an index of them, which would be one more file to trust.
    """

    failure = ""  # why the last kernel could not be written
    announced = False  # whether a user was told that kernels are being compiled

    def __init__(self, function: Callable[..., Any], folder: Path | None) -> None:
        self._folder = folder
        line = function.__code__.co_firstlineno
        self._name = f"{function.__module__}.{function.__qualname__}-{line}"

    @property
    def cache_path(self) -> str | None:
        """The folder, if there is one."""
        return None if self._folder is None else str(self._folder)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled kernel, or None: then it is compiled and written anew."""
        target_context.refresh()
        found = None
        if self._folder is not None:
            name = self._file_name(sig, target_context.codegen())
            content, refused = _read(self._folder, name)
            if refused:
                message = f"the kernel cache is not used: {refused}"
                warnings.warn(message, RuntimeWarning, stacklevel=users_level())
            with contextlib.suppress(Exception):
                payload = content[hashlib.sha256().digest_size :]
                if content and content == _digest(self._folder, name, payload) + payload:
                    found = CompileResult._rebuild(target_context, *pickle.loads(payload))
        if found is None:
            _announce()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write a compiled kernel, to a file that only the user can read."""
        if self._folder is None or data.library.has_dynamic_globals:  # addresses of this process
            return
        try:
            _write(self._folder, self._file_name(sig, data.codegen), dumps(data._reduce()))
            KernelCache.failure = ""
        except Exception as error:
            KernelCache.failure = f"{self._folder}: {error}"

    def _file_name(self, sig: Any, codegen: Any) -> str:
        """Name the file by all that the folder's name does not tell of a kernel."""
        key = repr((sys.version, sig, codegen.magic_tuple()))
        return f"{self._name}.{hashlib.sha256(key.encode()).hexdigest()[:16]}.kernel"


def users_level() -> int:
    """Return the `stacklevel` with which the caller warns of the user's line.

    It is what called the outermost function of these packages: the standard library's are between.
    """
    frame, level, found = sys._getframe(1), 1, 1
    while frame.f_back is not None:
        inside = frame.f_globals.get("__name__", "").partition(".")[0] in INSIDE
        frame, level = frame.f_back, level + 1
        found = level if inside else found
    return found


def _read(folder: Path, name: str) -> tuple[bytes, str]:
    """Return what a file holds, nothing if there is none, and why it is not trusted."""
    path = folder
    try:
        status = path.lstat()
        reason = why_not_trusted(status, stat.S_ISDIR)
        if not reason:
            if time.time() - status.st_mtime > DAY_SECONDS:
                with contextlib.suppress(OSError):
                    os.utime(path)  # it is used: see `_remove_unused`
            path = path / name
            with path.open("rb") as file:
                reason = why_not_trusted(os.fstat(file.fileno()), stat.S_ISREG)
                if not reason:
                    return file.read(), ""
    except OSError:
        return b"", ""
    return b"", f"{path}: {reason}"


def _write(folder: Path, name: str, payload: bytes) -> None:
    """Write a file that only the user can read, in a folder for the user alone."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        _remove_unused(folder.parent)
    reason = why_not_trusted(folder.lstat(), stat.S_ISDIR)
    if reason:
        raise OSError(reason)
    handle, path = tempfile.mkstemp(prefix=f"{name}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_digest(folder, name, payload) + payload)
        Path(path).replace(folder / name)
    finally:
        Path(path).unlink(missing_ok=True)


def _remove_unused(base: Path) -> None:
    """Remove what other versions compiled, if none has used it for some weeks."""
    with contextlib.suppress(OSError):
        for folder in base.glob("fastbp-*"):
            status = folder.lstat()
            is_old = time.time() - status.st_mtime > KEPT_SECONDS
            ours = OF_A_VERSION.fullmatch(folder.name) and not why_not_trusted(status, stat.S_ISDIR)
            if is_old and ours:
                shutil.rmtree(folder, ignore_errors=True)


def _announce() -> None:
    """Say once, in a terminal, that kernels are compiled: it takes seconds."""
    if not KernelCache.announced and sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write("fastbp: compiling for this processor, which takes some seconds once\n")
        KernelCache.announced = True


def _digest(folder: Path, name: str, payload: bytes) -> bytes:
    """Return what tells a damaged, renamed or moved file."""
    return hashlib.sha256(f"{folder.name}/{name}".encode() + b"\0" + payload).digest()
