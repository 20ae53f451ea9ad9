"""What differs between the releases of scikit-learn that the extra allows: 1.5 and newer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

# scikit-learn's own, private or not: a new release that moves one breaks this file alone.
from sklearn.base import _fit_context
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval as Interval
from sklearn.utils._param_validation import Options as Options
from sklearn.utils._param_validation import StrOptions as StrOptions
from sklearn.utils.multiclass import _check_partial_fit_first_call as check_partial_fit_first_call
from sklearn.utils.optimize import _check_optimize_result as check_optimize_result
from sklearn.utils.validation import _check_sample_weight as check_sample_weight

__all__ = [
    "UNREAD", "CallbackSupportMixin", "Interval", "Options", "StrOptions", "Tasks",
    "check_optimize_result", "check_partial_fit_first_call", "check_sample_weight", "fit_method",
    "validate",
]  # fmt: skip

Method = TypeVar("Method", bound=Callable[..., Any])

try:
    from sklearn.utils.validation import validate_data as _validate_data
except ImportError:  # before 1.6 a method
    _validate_data = None

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
except ImportError:  # before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: this release has no callbacks."""


fit_method: Callable[[Method], Method] = _fit_context(prefer_skip_nested_validation=True)
"""Decorates `fit` and `partial_fit`: checks parameters, and ends callbacks."""

_FINITE = next(name for name in inspect.signature(check_array).parameters if "all_finite" in name)
UNREAD = {_FINITE: False}
"""Arguments of `validate` that spare its look for what is not finite: kernels look themselves."""


def validate(estimator: Any, X: Any, *y: Any, **how: Any) -> Any:
    """Return X, or X and y, checked as scikit-learn does; with its names of features."""
    if _validate_data is not None:
        return _validate_data(estimator, X, *y, **how)
    return estimator._validate_data(X, *y, **how)


class Tasks:
    """The tasks that scikit-learn's callbacks are told of: the fit, and each epoch of it.

    Nothing at all where no callback is set, or the release has none.

    Parameters
    ----------
    estimator
        With ``set_callbacks``, or without.
    most : int
        Epochs at most.
    data : dict
        What callbacks may ask for: ``X``, ``y`` and ``metadata``.
    """

    def __init__(self, estimator: Any, most: int, data: dict[str, Any]) -> None:
        self._estimator = estimator
        self._data = data
        self._left = most
        self._fit: Any = None
        self._epoch: Any = None
        if hasattr(estimator, "_skl_callbacks"):
            self._fit = estimator._init_callback_context(max_subtasks=most)
            self._fit.call_on_fit_task_begin(estimator=estimator, **data)

    def __bool__(self) -> bool:
        return self._fit is not None

    def begin(self, attributes: Callable[[], dict[str, Any]]) -> None:
        """Tell of an epoch's start; `attributes` are what a fitted estimator has by then."""
        if self._fit is not None and self._left > 0:
            self._left -= 1
            self._epoch = self._fit.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(
                estimator=self._estimator, reconstruction_attributes=attributes, **self._data
            )

    def next(self, attributes: Callable[[], dict[str, Any]], last: bool) -> bool:
        """Tell of an epoch's end and, unless it is the last, of the next one's start.

        Returns whether a callback asks to stop.
        """
        stop = self.end(attributes)
        if not (stop or last):
            self.begin(attributes)
        return stop

    def end(self, attributes: Callable[[], dict[str, Any]]) -> bool:
        """Tell of its end; return whether a callback asks to stop."""
        if self._epoch is None:
            return False
        epoch, self._epoch = self._epoch, None
        return bool(
            epoch.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes=attributes, **self._data
            )
        )

    def close(self, attributes: Callable[[], dict[str, Any]]) -> None:
        """Tell of the fit's end."""
        if self._epoch is not None:  # begun, but there was no such epoch
            self._epoch.call_on_fit_task_end(estimator=self._estimator)
        if self._fit is not None:
            self._fit.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes=attributes, **self._data
            )
