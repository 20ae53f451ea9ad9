"""One fit of a perceptron: what it begins with, and what it learns."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state

from fastbp.estimators.base import dtype_of
from fastbp.estimators.callbacks import Callbacks
from fastbp.estimators.mlp.network import (
    Data,
    Parameters,
    checked,
    copied,
    layers_of,
)
from fastbp.estimators.mlp.solver import Solver
from fastbp.estimators.mlp.targets import Targets
from fastbp.estimators.stored import check_array, check_attributes, check_classes
from fastbp.models.layers import Layers

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and"
    " need to be preprocessed."
)


class Seeded(np.random.RandomState):
    """A generator of an estimator's own, made from a seed: nobody else draws from it."""


class Learned:
    """What an estimator has learned: its attributes, of which some may be missing.

    Parameters
    ----------
    attributes : dict
        Those of the estimator; none to start over. A name without a trailing underscore has a
        leading one there.
    """

    out_activation_: str
    n_outputs_: int
    n_layers_: int
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    random_state: np.random.RandomState
    n_iter_: int
    t_: int
    loss_: float
    stopped_: str
    # of the stochastic solvers
    optimizer: Solver
    loss_curve_: list[float]
    validation_loss_curve_: list[float]
    validation_scores_: Any  # list of float; None without early stopping
    best_validation_score_: Any  # float, likewise
    best_loss_: Any  # float; None with it
    no_improvement_count: int
    best_coefs: list[np.ndarray]
    best_intercepts: list[np.ndarray]
    stops_by_call: bool

    def __init__(self, attributes: dict[str, Any]) -> None:
        own = vars(self)
        for name, attribute in ATTRIBUTES.items():
            if attribute in attributes:
                own[name] = attributes[attribute]

    def hand_over(self, attributes: dict[str, Any]) -> None:
        """Set them in place of those that an estimator had."""
        own = vars(self)
        for name, attribute in ATTRIBUTES.items():
            if name in own:
                attributes[attribute] = own[name]
            else:
                attributes.pop(attribute, None)

    def begin(self, settings: Any, hidden: list[int] | None, data: Data, targets: Targets) -> None:
        """Begin with new layers, hidden ones of these sizes, or with the old ones if they fit."""
        n_features = data.X.shape[1]
        self.out_activation_ = targets.out_activation
        self.n_outputs_ = targets.n_outputs(data.labels)
        self.random_state = self._random(settings.random_state)
        if hidden is not None:
            sizes = [n_features, *hidden, self.n_outputs_]
            layers = [self._drawn(settings.activation, n, m) for n, m in pairwise(sizes)]
            dtype = data.X.dtype
            self.coefs_ = [w.astype(dtype, copy=False) for w, _ in layers]
            self.intercepts_ = [b.astype(dtype, copy=False) for _, b in layers]
        else:
            self.coefs_, self.intercepts_ = checked(self.coefs_, self.intercepts_, n_features)
            if self.coefs_[-1].shape[1] != self.n_outputs_:
                raise ValueError(
                    f"y: expected the {self.coefs_[-1].shape[1]} outputs that the model has, got"
                    f" {self.n_outputs_}"
                )
        self.n_layers_ = len(self.coefs_) + 1
        self.n_iter_ = 0
        vars(self).setdefault("t_", 0)
        if settings.solver != "lbfgs":
            early = settings.early_stopping
            curves: dict[str, Any] = {
                "loss_curve_": [],
                "validation_loss_curve_": [],
                "validation_scores_": [] if early else None,
                "best_validation_score_": -np.inf if early else None,
                "best_loss_": None if early else np.inf,
                "no_improvement_count": 0,
            }
            vars(self).update({**curves, **vars(self)})

    def _random(self, seed: Any) -> np.random.RandomState:
        """Return the source of what is random, at its beginning if it is given by a seed."""
        if not isinstance(seed, int):
            return check_random_state(seed)  # type: ignore[no-any-return]
        own = vars(self).get("random_state")
        if type(own) is not Seeded:  # to make one takes 90 microseconds
            return Seeded(seed)
        own.seed(seed)
        return own

    def _drawn(self, activation: str, n_inputs: int, n_outputs: int) -> tuple[np.ndarray, ...]:
        """Draw a layer as scikit-learn does (Glorot and Bengio, AISTATS 2010)."""
        bound = np.sqrt((2.0 if activation == "logistic" else 6.0) / (n_inputs + n_outputs))
        shapes: list[Any] = [(n_inputs, n_outputs), n_outputs]
        return tuple(self.random_state.uniform(-bound, bound, shape) for shape in shapes)

    @property
    def parameters(self) -> Parameters:
        """Weights and biases."""
        return self.coefs_, self.intercepts_

    @property
    def dtype(self) -> np.dtype[Any]:
        """Their dtype, which is that of the arithmetic."""
        return dtype_of(*self.coefs_, *self.intercepts_)

    def set(self, weights: list[np.ndarray], biases: list[np.ndarray]) -> None:
        """Keep copies of these parameters."""
        self.coefs_, self.intercepts_ = copied(weights, biases)

    def take(self, weights: list[np.ndarray], biases: list[np.ndarray]) -> None:
        """Keep these parameters, views of one vector that nobody else has."""
        self.coefs_, self.intercepts_ = weights, biases

    def set_best(self, weights: list[np.ndarray], biases: list[np.ndarray]) -> None:
        """Keep copies of the parameters with the best validation score."""
        self.best_coefs, self.best_intercepts = copied(weights, biases)

    def restore_best(self) -> None:
        """Return to those parameters."""
        self.coefs_, self.intercepts_ = self.best_coefs, self.best_intercepts


ATTRIBUTES = {name: name if name.endswith("_") else f"_{name}" for name in Learned.__annotations__}


KINDS: dict[str, Any] = {
    "n_features_in_": int, "feature_names_in_": np.ndarray, "classes_": np.ndarray,
    "_label_binarizer": LabelBinarizer, "out_activation_": str, "n_outputs_": int,
    "n_layers_": int, "coefs_": list, "intercepts_": list,
    "_random_state": np.random.RandomState, "n_iter_": int, "t_": int, "_optimizer": Solver,
    "loss_": float, "stopped_": str, "loss_curve_": list, "validation_loss_curve_": list,
    "validation_scores_": list | None, "best_validation_score_": float | None,
    "best_loss_": float | None, "_no_improvement_count": int,
}  # fmt: skip
"""Of attributes, in a file."""
TOGETHER = "coefs_", "intercepts_", "n_layers_", "n_outputs_", "out_activation_"


def check_stored(estimator: Any) -> None:
    """Refuse attributes, of a file, that do not fit together."""
    if not check_attributes(estimator, KINDS, TOGETHER):
        return
    own = vars(estimator)
    checked(own["coefs_"], own["intercepts_"], own["n_features_in_"])
    best = zip(own.get("_best_coefs", ()), own.get("_best_intercepts", ()), strict=True)
    for w, b in (*zip(own["coefs_"], own["intercepts_"], strict=True), *best):
        check_array("coefs_", w, w.shape)
        check_array("intercepts_", b, b.shape)
    layers = layers_of(own["coefs_"], estimator.activation, own["out_activation_"], estimator.loss)
    if (own["n_layers_"], own["n_outputs_"]) != (len(layers.sizes), layers.sizes[-1]):
        raise ValueError("n_layers_, n_outputs_: expected those of coefs_")
    if own.get("_best_coefs") and layers_of(own["_best_coefs"]).sizes != layers.sizes:
        raise ValueError("_best_coefs: expected the shapes of coefs_")
    if hasattr(estimator, "_know"):  # a classifier
        binarizer = own["_label_binarizer"]
        several = str(binarizer.y_type_).startswith("multilabel")
        check_classes(own["classes_"], layers.sizes[-1], several)
        if not np.array_equal(own["classes_"], binarizer.classes_):
            raise ValueError("classes_: expected those of _label_binarizer")


@dataclass(eq=False)
class Fit:
    """What is trained, whatever the solver.

    Attributes
    ----------
    settings
        The estimator, whose parameters are read.
    learned : Learned
        What training begins with; what is learned is written there.
    layers : Layers
    data : Data
    validation : Data or None
        Given validation data; without it, `early_stopping` holds rows of the fit's data out.
    targets : Targets
    callbacks : Callbacks
    incremental : bool
        Whether it is one epoch of `partial_fit`.
    """

    settings: Any
    learned: Learned
    layers: Layers
    data: Data
    validation: Data | None
    targets: Targets
    callbacks: Callbacks
    incremental: bool
