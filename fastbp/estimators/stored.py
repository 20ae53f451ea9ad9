"""An estimator as arrays and what JSON can hold, for files without executable content."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.preprocessing import LabelBinarizer

from fastbp.estimators.mlp.solver import Solver
from fastbp.training.optimizers import OPTIMIZERS
from fastbp.training.state import TrainingState, generator_from, generator_state

RECORDS: dict[str, Any] = {
    kind.__name__: kind for kind in (*OPTIMIZERS.values(), Solver, TrainingState, LabelBinarizer)
}
Arrays = dict[str, np.ndarray]
LEFT_OUT = "_skl_callbacks", "_callback_fit_ctx", "_parent_callback_ctx"
"""Prefixes of the attributes that scikit-learn's callbacks leave behind."""


class Stored(BaseEstimator):  # type: ignore[misc]
    """An estimator that :func:`fastbp.save` can write."""

    def to_stored(self) -> tuple[Arrays, dict[str, Any]]:
        """Return its arrays and JSON fields for saving: its parameters and what it has learned."""
        arrays: Arrays = {}
        kept = [name for name in vars(self) if not name.startswith(LEFT_OUT)]
        return arrays, {name: _encoded(arrays, name, getattr(self, name)) for name in kept}

    @classmethod
    def from_stored(cls, arrays: Arrays, fields: dict[str, Any]) -> Any:
        """Rebuild it from saved arrays and fields."""
        estimator = cls()
        estimator.__dict__.update((name, _decoded(arrays, value)) for name, value in fields.items())
        return estimator


def _encoded(arrays: Arrays, name: str, value: Any) -> Any:
    """Return a value as JSON; whatever is no plain number or text as {kind: content}."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return {"scalar": [value.dtype.str, _encoded(arrays, name, value.item())]}
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "OUS":
            items = _encoded(arrays, name, value.ravel().tolist())
            return {"objects": [value.dtype.str, list(value.shape), items]}
        arrays[name] = value
        return {"array": name}
    if isinstance(value, list | tuple):
        items = [_encoded(arrays, f"{name}.{i}", item) for i, item in enumerate(value)]
        return {type(value).__name__: items}
    if isinstance(value, dict):
        return {"dict": _encoded(arrays, name, list(value.items()))}
    return _object(arrays, name, value)


def _object(arrays: Arrays, name: str, value: Any) -> Any:
    kind = type(value).__name__
    if RECORDS.get(kind) is type(value):
        return {kind: _encoded(arrays, name, dict(vars(value)))}
    if isinstance(value, np.random.RandomState):
        return {"RandomState": _encoded(arrays, name, generator_state(value))}
    raise TypeError(
        f"model: expected parameters that a file can hold, got {name}={value!r}; set it to None"
        " before saving"
    )


def _decoded(arrays: Arrays, value: Any) -> Any:
    """Return what :func:`_encoded` was given."""
    if not isinstance(value, dict):
        return value
    [(kind, content)] = value.items()
    if kind == "array":
        return arrays[content]
    if kind == "scalar":
        return np.dtype(content[0]).type(content[1])
    if kind == "objects":
        items = _decoded(arrays, content[2])
        array = np.empty(len(items), dtype=content[0])
        array[:] = items
        return array.reshape(content[1])
    if kind in ("list", "tuple"):
        items = [_decoded(arrays, item) for item in content]
        return items if kind == "list" else tuple(items)
    content = _decoded(arrays, content)
    if kind == "dict":
        return dict(content)
    if kind == "RandomState":
        return generator_from(content)
    record = RECORDS[kind].__new__(RECORDS[kind])
    record.__dict__.update(content)
    return record
