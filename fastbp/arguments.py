"""Checks of scalars and names: each function returns the checked value.

Every message has the form ``name: expected ..., got ...``. The known names come from registries:
:func:`choice` puts them into messages, :func:`names_in_docs` into docstrings. A fit of some
microseconds checks a dozen of them, so the usual type is tested for first.
"""

from __future__ import annotations

import errno
import math
import numbers
import operator
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

RateFunction = Callable[[int], float]
FLOAT64, FLOAT32 = np.dtype(np.float64), np.dtype(np.float32)
DTYPES: dict[str, np.dtype[Any]] = {"float64": FLOAT64, "float32": FLOAT32}
"""Of arithmetic."""
_ALL_DTYPES: dict[Any, np.dtype[Any]] = {
    **DTYPES, FLOAT64: FLOAT64, FLOAT32: FLOAT32, np.float64: FLOAT64, np.float32: FLOAT32,
}  # fmt: skip
_NAMES_OF_DTYPES = str, type, np.dtype
# For type checkers; a test compares it with DTYPES.
Dtype = Literal["float64", "float32"] | np.dtype[Any] | type[np.generic]
Documented = TypeVar("Documented")
Name = TypeVar("Name", bound=str)


def sequence(name: str, value: Any, of: str) -> list[Any]:
    """Return a sequence as a list; `of` says what it holds."""
    usual = type(value) is list or type(value) is tuple
    if not usual and (isinstance(value, str | bytes) or not isinstance(value, Sequence)):
        raise TypeError(f"{name}: expected a sequence of {of}, got {describe(value)}")
    return list(value)


def real(name: str, value: Any, *, minimum: float | None = None) -> float:
    """Return a finite float; True is no number here, though Python counts it, nor is a date."""
    number: float = value if type(value) is float else _as_float(name, value)
    if not math.isfinite(number):
        raise ValueError(f"{name}: expected a finite number, got {number}")
    if minimum is not None and number < minimum:
        raise ValueError(f"{name}: expected at least {minimum:g}, got {number}")
    return number


def _as_float(name: str, value: Any) -> float:
    single = isinstance(value, np.ndarray | np.generic) and value.size == 1
    if single and value.dtype.kind in "mM":  # `item` makes integers of those in nanoseconds
        raise TypeError(f"{name}: expected a real number, got {describe(value)}")
    scalar = value.item() if single and value is not np.ma.masked else value
    if not isinstance(scalar, numbers.Real | Decimal) or isinstance(scalar, bool):
        raise TypeError(f"{name}: expected a real number, got {describe(value)}")
    try:
        return float(scalar)
    except OverflowError:
        return math.inf
    except ValueError:  # of Decimal("sNaN")
        return math.nan


def integer(name: str, value: Any, *, minimum: int, maximum: int = 2**62) -> int:
    """Return an integer from `minimum` to `maximum`; True is none, though Python counts it."""
    number: int = value if type(value) is int else _as_int(name, value)
    if number < minimum:
        raise ValueError(f"{name}: expected at least {minimum}, got {number}")
    if number > maximum:
        raise ValueError(f"{name}: expected at most {maximum}, got a larger number")
    return number


def _as_int(name: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name}: expected an integer, got {describe(value)}")
    return number


def choice(name: str, value: Any, known: Collection[Name]) -> Name:
    """Return one of the known names."""
    if type(value) is str and value in known:
        return value  # type: ignore[return-value]
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a name, got {describe(value)}")
    for each in known:
        if value == each:
            return each
    raise ValueError(f"{name}: expected one of {', '.join(map(repr, known))}, got {value!r}")


def dtype(name: str, value: Any) -> np.dtype[Any]:
    """Return the dtype of arithmetic: by name, or given as a dtype or scalar type of NumPy."""
    is_dtype = isinstance(value, _NAMES_OF_DTYPES)
    if is_dtype and value in _ALL_DTYPES:
        return _ALL_DTYPES[value]
    error = ValueError if is_dtype else TypeError
    raise error(f"{name}: expected {' or '.join(map(repr, DTYPES))}, got {describe(value)}")


def path(name: str, value: Any) -> Path:
    """Return a path that a file can have, whether there is one or not."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        raise TypeError(f"{name}: expected a path, got {describe(value)}")
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded or not encoded:
        raise ValueError(f"{name}: expected a path that a file can have, got {text!r}")
    return Path(text)


NO_PLACE = {
    errno.EISDIR: "a folder",
    errno.ENOENT: "none",
    errno.ENOTDIR: "a path that leads through a file",
    errno.ENAMETOOLONG: "too long a name",
    errno.ELOOP: "links that lead in a circle",
}
"""What a path can be instead of that of a file, by the system's error."""


@contextmanager
def path_errors(name: str, expected: str) -> Iterator[None]:
    """Name the argument in the system's errors about a path where no file can be."""
    try:
        yield
    except OSError as error:
        got = NO_PLACE.get(error.errno or 0)
        if got is None:
            raise
        text = f"{name}: expected {expected}, got {got}"
        raise OSError(error.errno, text, error.filename) from error  # of the same class


def names_in_docs(**known: Iterable[str]) -> Callable[[Documented], Documented]:
    """Fill the known names into a docstring: ``{losses}`` becomes ``{"mse", "bce"}``."""

    def fill(documented: Documented) -> Documented:
        for key, names in known.items():
            if documented.__doc__ is not None:  # python -OO leaves none
                listed = ", ".join(f'"{name}"' for name in names)
                documented.__doc__ = documented.__doc__.replace(f"{{{key}}}", f"{{{listed}}}")
        return documented

    return fill


def flag(name: str, value: Any) -> bool:
    """Return True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: expected True or False, got {describe(value)}")
    return bool(value)


def progress(name: str, value: Any) -> bool | Literal["always"]:
    """Return whether to show a bar: where a user can see it (True), or ``"always"``."""
    if value is False:
        return False
    expected = f"{name}: expected True, False or 'always'"
    if not isinstance(value, bool | np.bool_ | str):
        raise TypeError(f"{expected}, got {describe(value)}")
    if isinstance(value, str) and value != "always":
        raise ValueError(f"{expected}, got {value!r}")
    return "always" if isinstance(value, str) else bool(value)


def optional_callable(name: str, value: Any) -> Any:
    """Return a callable or None."""
    if value is not None and not callable(value):
        raise TypeError(f"{name}: expected a callable or None, got {describe(value)}")
    return value


def random_generator(name: str, value: Any) -> np.random.Generator | np.random.RandomState:
    """Return the caller's own generator, or a new one for None or a seed."""
    if isinstance(value, np.random.Generator | np.random.RandomState):
        return value
    if value is None:
        return np.random.default_rng()
    return np.random.default_rng(integer(name, value, minimum=0))


def describe(value: Any) -> str:
    """Return a value's type and the value, shortened."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
