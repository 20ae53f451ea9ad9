"""What all four estimators share."""

from __future__ import annotations

import functools
import inspect
from abc import ABC
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np

from fastbp import arguments
from fastbp.arguments import FLOAT32, FLOAT64
from fastbp.data.checks import refuse_special_objects
from fastbp.estimators.scikit_learn import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from fastbp.estimators.stored import Stored


class Number(Interval):  # type: ignore[misc]
    """Numbers in a range. Neither True nor a duration is one, though both count as integers."""

    def is_satisfied_by(self, value: Any) -> bool:
        """Return whether it is one of them."""
        if not isinstance(value, self.type) or isinstance(value, bool | np.timedelta64):
            return False
        if self.type is Real:
            try:
                value = arguments.real("", value)
            except ValueError:  # not finite, or too large for a float
                return False
        return bool(super().is_satisfied_by(value))


COUNT = Number(Integral, 1, None, closed="left")
SEED = Number(Integral, 0, 2**32 - 1, closed="both")
NOT_NEGATIVE = Number(Real, 0, None, closed="left")
POSITIVE = Number(Real, 0, None, closed="neither")


def dtype_of(*arrays: Any) -> np.dtype[Any]:
    """Return the dtype of arithmetic with arrays, or with those of some dtypes.

    It is float32 where NumPy's would be, otherwise float64.
    """
    return FLOAT32 if np.result_type(*arrays) == FLOAT32 else FLOAT64


@functools.cache
def _defaults(kind: type) -> dict[str, Any]:
    """Return the parameters of a class of estimators, with their defaults."""
    parameters = inspect.signature(kind).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


class Scores:
    """scikit-learn's score, which would compare dates as if they were numbers."""

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return a classifier's accuracy, or a regressor's coefficient of determination.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
        """
        refuse_special_objects("y", y)
        return float(super().score(X, y, sample_weight))  # type: ignore[misc]


class Estimator(CallbackSupportMixin, Stored, ABC):  # type: ignore[misc]
    """An estimator that trains in epochs, and takes sparse rows."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "alpha": [NOT_NEGATIVE],
        "max_iter": [COUNT],
        "random_state": [SEED, np.random.RandomState, None],
        "verbose": ["boolean", Number(Integral, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "n_threads": [COUNT, None],
        "callback": [callable, None],
        "progress": ["boolean", StrOptions({"always"})],
    }

    def _set_parameters(self, given: dict[str, Any]) -> None:
        """Keep the arguments of ``__init__``, its ``locals()``, as they are."""
        self.__dict__.update((name, value) for name, value in given.items() if name != "self")

    def _validate_params(self) -> None:
        """Check the parameters as scikit-learn does; defaults, which are valid, take no time."""
        kind, own = type(self), vars(self)
        changed = {
            name: own[name]
            for name, default in _defaults(kind).items()
            if name in own and own[name] is not default
        }
        validate_parameter_constraints(self._parameter_constraints, changed, kind.__name__)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
