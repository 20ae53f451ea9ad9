"""A neuron that trains step by step, over the same kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.data import checks
from fastbp.models.activations import ACTIVATIONS, HiddenActivation, hidden_activations
from fastbp.models.fits import check_names, stored_names
from fastbp.models.neuron import fit_neuron, predict_neuron
from fastbp.training.state import TrainingState


@arguments.names_in_docs(activations=hidden_activations())
class Neuron:
    """One neuron that trains step by step, or by whole fits.

    Parameters
    ----------
    n_inputs : int
    weights : array-like, shape (n_inputs,), optional
        None draws them from the standard normal distribution.
    bias : float, optional
        None draws it uniformly from 0 to 1.
    activation : {activations}, default "sigmoid"
    random_state : int, numpy.random.Generator, numpy.random.RandomState, optional

    Attributes
    ----------
    weights : numpy.ndarray of float64, shape (n_inputs,)
    bias : float
    inputs, z, output
        Those of the last :meth:`forward`: a float64 array of shape (n_inputs,), the
        pre-activation x w + b and the output phi(z), floats.
    delta : float
        d loss / d z of the last :meth:`backward`.
    losses_, stopped_, state_, feature_names_
        Those of the last :meth:`fit`: float64 of shape (n_epochs,), why it stopped, and what
        another fit needs to continue from there (pass it as `state`).

    Examples
    --------
    >>> from fastbp import Neuron
    >>> neuron = Neuron(2, weights=[0.5, -0.5], bias=0)
    >>> neuron.forward([1.0, 1.0])
    0.5
    >>> neuron.backward(target=1.0, learning_rate=0.1)
    -0.125
    >>> neuron.weights.tolist(), neuron.bias
    ([0.5125, -0.4875], 0.0125)
    """

    def __init__(
        self,
        n_inputs: int = 3,
        weights: Any = None,
        bias: float | None = None,
        activation: HiddenActivation = "sigmoid",
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
    ) -> None:
        self.n_inputs = arguments.integer("n_inputs", n_inputs, minimum=1)
        self.activation = arguments.choice("activation", activation, hidden_activations())
        random = arguments.random_generator("random_state", random_state)
        if weights is None:
            weights = random.standard_normal(self.n_inputs)
        self.weights = checks.vector(
            "weights", weights, self.n_inputs, "one per input", rows=False
        ).copy()
        self.bias = float(random.uniform()) if bias is None else arguments.real("bias", bias)
        self.inputs: np.ndarray | None = None
        self.z: float | None = None
        self.output: float | None = None
        self.delta: float | None = None
        self.losses_: np.ndarray | None = None
        self.stopped_: str | None = None
        self.state_: TrainingState | None = None
        self.feature_names_: list[str] | None = None

    def __repr__(self) -> str:
        return (
            f"Neuron({self.n_inputs}, weights={self.weights.tolist()}, bias={self.bias},"
            f" activation={self.activation!r})"
        )

    def forward(self, x: Any) -> float:
        """Return phi(x w + b) for one row of shape (n_inputs,); keep `inputs`, `z` and `output`."""
        inputs = checks.vector("x", x, self.n_inputs, "one per input", rows=False).copy()
        z, output = (
            float(predict_neuron(inputs[None, :], self.weights, self.bias, activation=name)[0])
            for name in ("identity", self.activation)
        )
        self.inputs, self.z, self.output = inputs, z, output
        return output

    def backward(
        self,
        target: float | None = None,
        downstream_deltas: Any = None,
        downstream_weights: Any = None,
        learning_rate: float = 0.1,
    ) -> float:
        """Do one step of gradient descent for the last :meth:`forward`; return and keep `delta`.

        Parameters
        ----------
        target : float, optional
            For an output neuron: delta = (output - target) phi'(z), the derivative of half the
            squared error.
        downstream_deltas, downstream_weights : array-like, shape (n_downstream,), optional
            For a hidden neuron: the deltas of the neurons that it feeds, and their weights for its
            output as they were before their own update: delta = (sum of the products) phi'(z).
        learning_rate : float

        Raises
        ------
        RuntimeError
            If there was no :meth:`forward`.
        TypeError
            If neither or both of the two kinds of argument are given.
        ValueError
            If the step is too large for finite weights and bias, which then stay as they are.
        """
        if self.inputs is None or self.output is None:
            raise RuntimeError("backward: expected forward to be called first")
        rate = arguments.real("learning_rate", learning_rate)
        hidden = downstream_deltas is not None or downstream_weights is not None
        if hidden == (target is not None):
            raise TypeError(
                "backward: expected either target, or downstream_deltas and downstream_weights"
            )
        if hidden:
            deltas = np.atleast_1d(checks.number_array("downstream_deltas", downstream_deltas))
            weights = np.atleast_1d(checks.number_array("downstream_weights", downstream_weights))
            each = "one per neuron downstream"
            deltas = checks.vector("downstream_deltas", deltas, deltas.size, each, rows=False)
            weights = checks.vector("downstream_weights", weights, deltas.size, each, rows=False)
            error = float(deltas @ weights)
        else:
            error = self.output - arguments.real("target", target)
        derivative = ACTIVATIONS[self.activation].derivative
        assert derivative is not None
        self.delta = error * float(derivative(self.z, self.output))
        with np.errstate(over="ignore", invalid="ignore"):
            weights = self.weights - rate * self.delta * self.inputs
            bias = self.bias - rate * self.delta
        checks.all_finite("weights and bias after the step", np.append(weights, bias))
        self.weights[:], self.bias = weights, bias
        return self.delta

    def fit(
        self,
        features: Any,
        labels: Any,
        learning_rate: float | Callable[[int], float] = 0.1,
        epochs: int = 100,
        **keywords: Any,
    ) -> Neuron:
        """Train from the current weights and bias; the keywords are those of :func:`fit_neuron`."""
        start = self.weights, self.bias
        fit = fit_neuron(
            features, labels, *start, learning_rate, epochs, activation=self.activation, **keywords
        )
        self.weights, self.bias, self.losses_ = fit.weights.astype(np.float64), fit.bias, fit.losses
        self.stopped_, self.state_, self.feature_names_ = fit.stopped, fit.state, fit.feature_names
        return self

    def predict(self, features: Any) -> np.ndarray:
        """Return the outputs for rows of shape (n_samples, n_inputs)."""
        check_names(features, self.feature_names_)
        return predict_neuron(features, self.weights, self.bias, activation=self.activation)

    def to_stored(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return its arrays and JSON fields for saving."""
        arrays = {"weights": self.weights, "bias": np.array([self.bias])}
        names = self.feature_names_
        return arrays, {"activation": self.activation, "feature_names": names}

    @classmethod
    def from_stored(cls, arrays: dict[str, np.ndarray], fields: dict[str, Any]) -> Neuron:
        """Rebuild it from saved arrays and fields."""
        weights = arrays["weights"]
        neuron = cls(weights.size, weights, float(arrays["bias"][0]), fields["activation"])
        neuron.feature_names_ = stored_names(fields, weights.size)
        return neuron
