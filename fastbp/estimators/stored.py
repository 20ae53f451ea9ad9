"""An estimator as arrays and what JSON can hold, for files without executable content."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
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
BINARIZER = "neg_label", "pos_label", "sparse_output", "classes_", "y_type_", "sparse_input_"
MOST_BYTES = 2**26
"""Of an array of text: its dtype may ask for much more than a file holds."""
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
        parameters = estimator.get_params(deep=False)
        for name, value in fields.items():
            if name not in parameters and (hasattr(cls, name) or not name.isidentifier()):
                raise ValueError(f"expected what {cls.__name__} has learned, got {name!r}")
            setattr(estimator, name, _decoded(arrays, value))
        estimator._validate_params()
        estimator._check_stored()
        return estimator

    @abstractmethod
    def _check_stored(self) -> None:
        """Refuse attributes, of a file, that do not fit together; there may be none."""


def check_attributes(estimator: Any, kinds: dict[str, Any], together: Sequence[str]) -> bool:
    """Refuse attributes of other kinds than these, or only some of those that come together.

    Return whether these are there.
    """
    own = vars(estimator)
    for name, kind in kinds.items():
        if name in own and (not isinstance(own[name], kind) or isinstance(own[name], bool)):
            raise TypeError(f"{name}: expected {kind}, got {own[name]!r}")
    missing = [name for name in together if name not in own]
    if 0 < len(missing) < len(together):
        raise ValueError(f"expected {', '.join(missing)} of a fitted estimator, got none")
    names = own.get("feature_names_in_")
    if names is not None and [*map(type, names.tolist())] != [str] * own["n_features_in_"]:
        raise ValueError(f"feature_names_in_: expected names, got {names!r}")
    for name in ("loss_curve_", "validation_loss_curve_", "validation_scores_"):
        if not all(isinstance(value, float) for value in own.get(name) or ()):
            raise TypeError(f"{name}: expected numbers, got others")
    return not missing


def check_array(name: str, array: Any, shape: tuple[int, ...]) -> None:
    """Refuse what is no finite array of floats of this shape."""
    is_array = isinstance(array, np.ndarray) and array.dtype.kind == "f"
    if not (is_array and array.shape == shape and np.isfinite(array).all()):
        raise ValueError(f"{name}: expected finite numbers of shape {shape}, got {array!r}")


def check_classes(classes: Any, n_outputs: int, several: bool = False) -> None:
    """Refuse classes that are not sorted, or not as many as the outputs can tell apart."""
    right = isinstance(classes, np.ndarray) and classes.ndim == 1
    if not right or not np.array_equal(np.unique(classes), classes):
        raise ValueError(f"classes_: expected sorted classes, got {classes!r}")
    if len(classes) not in ((n_outputs,) if several or n_outputs > 1 else (1, 2)):
        raise ValueError(f"classes_: expected those of {n_outputs} outputs, got {classes!r}")


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
        dtype = np.dtype(content[0])
        if dtype.kind not in "biufUS":
            raise ValueError(f"expected a number or text, got {dtype}")
        return dtype.type(_decoded(arrays, content[1]))
    if kind == "objects":
        items, dtype = _decoded(arrays, content[2]), np.dtype(content[0])
        if dtype.kind not in "OUS" or len(items) * dtype.itemsize > MOST_BYTES:
            raise ValueError(f"expected an array of text or objects, got {dtype}")
        array = np.empty(len(items), dtype=dtype)
        array[:] = items
        return array.reshape(content[1])
    if kind in ("list", "tuple"):
        items = [_decoded(arrays, item) for item in content]
        return items if kind == "list" else tuple(items)
    content = _decoded(arrays, content)
    if kind == "dict":
        return dict(content)
    if kind == "RandomState":
        return generator_from({**content, "legacy": True})
    if kind != LabelBinarizer.__name__:
        return RECORDS[kind](**content)  # an optimizer checks its own
    record = LabelBinarizer()
    for name, value in content.items():
        if name not in BINARIZER:
            raise ValueError(f"expected what {kind} has, got {name!r}")
        setattr(record, name, value)
    return record
