"""What all four estimators share."""

from __future__ import annotations

from abc import ABC
from numbers import Integral, Real
from typing import Any, ClassVar

from fastbp.estimators.scikit_learn import CallbackSupportMixin, Interval, StrOptions
from fastbp.estimators.stored import Stored


class _Count(Interval):  # type: ignore[misc]
    """A positive integer; True is none, though Python counts it."""

    def is_satisfied_by(self, value: Any) -> bool:
        return not isinstance(value, bool) and super().is_satisfied_by(value)


COUNT = _Count(Integral, 1, None, closed="left")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")


class Estimator(CallbackSupportMixin, Stored, ABC):  # type: ignore[misc]
    """An estimator that trains in epochs, and takes sparse rows."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "alpha": [NOT_NEGATIVE],
        "max_iter": [COUNT],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "n_threads": [COUNT, None],
        "callback": [callable, None],
        "progress": ["boolean", StrOptions({"always"})],
    }

    def _set_parameters(self, arguments: dict[str, Any]) -> None:
        """Keep the arguments of ``__init__``, its ``locals()``, as they are."""
        self.__dict__.update((name, value) for name, value in arguments.items() if name != "self")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
