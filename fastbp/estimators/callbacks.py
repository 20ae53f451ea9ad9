"""What is notified of a fit's epochs: the terminal, a function, and scikit-learn's callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from fastbp.training.callbacks import EpochState, asks_to_stop

Attributes = Callable[[Any, Any], dict[str, Any]]


class Callbacks:
    """Reports a fit, and each of its epochs.

    scikit-learn's callbacks take part where the release has them and some are set.

    Parameters
    ----------
    estimator
        Its `verbose` and `callback` are read.
    epochs : int
        The most there can be.
    attributes : callable
        Returns the attributes of a fitted estimator with given weights and biases.
    X, y, weight
        What scikit-learn's callbacks may ask for.
    """

    def __init__(
        self, estimator: Any, epochs: int, attributes: Attributes, X: Any, y: Any, weight: Any
    ) -> None:
        self._estimator, self._left, self._attributes = estimator, epochs, attributes
        metadata = None if weight is None else {"sample_weight": weight}
        self._data = {"X": X, "y": y, "metadata": metadata}
        self.publish: Callable[[], None] = lambda: None
        """Sets the estimator's attributes to what has been learned so far, but for parameters."""
        self._fit: Any = None
        self._epoch: Any = None
        if hasattr(estimator, "_skl_callbacks"):
            self._fit = estimator._init_callback_context(max_subtasks=epochs)
            self._fit.call_on_fit_task_begin(estimator=estimator, **self._data)

    def __bool__(self) -> bool:
        """Whether anybody wants to see the parameters after an epoch."""
        return self._fit is not None or self._estimator.callback is not None

    def say(self, text: str) -> None:
        """Print a line above the progress bar if `verbose` is set."""
        if self._estimator.verbose:
            tqdm.write(text)

    def begin(self, weights: Any, biases: Any) -> None:
        """Report that an epoch starts from these parameters."""
        if self._fit is not None and self._left > 0:
            self._left -= 1
            self._epoch = self._fit.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(**self._event(weights, biases))

    def epoch_ends(self, state: EpochState, last: bool = False) -> bool:
        """Report the end of an epoch and, unless it is the last, the start of the next.

        Returns whether to stop: if it is the last, or somebody asks for it.
        """
        if self:  # they may call `score`
            self.publish()
            vars(self._estimator).update(self._attributes(*state.parameters.values()))
        last = asks_to_stop(self._estimator.callback, state) or last
        if self._epoch is not None:
            event = self._event(*state.parameters.values())
            epoch, self._epoch = self._epoch, None
            last = bool(epoch.call_on_fit_task_end(**event)) or last
            if not last:
                self.begin(*state.parameters.values())
        return last

    def close(self, weights: Any, biases: Any) -> None:
        """Report the end of the fit."""
        if self._epoch is not None:  # begun, but training had ended
            self._epoch.call_on_fit_task_end(estimator=self._estimator)
        if self._fit is not None:
            self._fit.call_on_fit_task_end(**self._event(weights, biases))

    def _event(self, weights: Any, biases: Any) -> dict[str, Any]:
        return {
            "estimator": self._estimator,
            "reconstruction_attributes": lambda: self._attributes(weights, biases),
            **self._data,
        }
