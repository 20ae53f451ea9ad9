"""What a callback gets, and what it may answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class EpochState:
    """What a callback gets after each epoch.

    Attributes
    ----------
    epoch : int
        The epoch just completed, counted from 0.
    loss : float
        Its loss, taken before its updates.
    validation_loss : float or None
        The loss on validation data, after its updates.
    parameters : dict
        The parameters after its updates, by name; each is also an attribute (``weights``, and
        ``bias`` of a neuron or ``biases`` of a network). Read-only, and only valid during the
        call: copy what you keep.
    """

    epoch: int
    loss: float
    validation_loss: float | None
    parameters: dict[str, Any] = field(repr=False)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["parameters"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.parameters]


def asks_to_stop(callback: Callable[[EpochState], Any] | None, state: EpochState) -> bool:
    """Call a user's function, if there is one; return whether it returned True."""
    answer = callback is not None and callback(state)
    return isinstance(answer, bool | np.bool_) and bool(answer)
