"""Layers that train step by step, over the same kernels."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.data import checks
from fastbp.data.arrays import rows_of
from fastbp.models.activations import ACTIVATIONS, ActivationName
from fastbp.models.fits import by_layer, check_names, layers_in, stored_names
from fastbp.models.initialization import SCHEMES, Scheme, initialize_network
from fastbp.models.layers import activations_of, layer_biases, layer_weights
from fastbp.models.losses import LossName
from fastbp.models.network import fit_network, predict_network
from fastbp.training.callbacks import EpochState
from fastbp.training.state import TrainingState


@arguments.names_in_docs(activations=ACTIVATIONS)
class Layer:
    """One fully connected layer, step by step: forward, then backward.

    Parameters
    ----------
    n_inputs, n_neurons : int
    activation : {activations}, default "sigmoid"
    weights : array-like, shape (n_inputs, n_neurons), optional
        None draws them as `scheme` says.
    biases : array-like, shape (n_neurons,), optional
        None is zeros.
    scheme, random_state
        See :func:`initialize_network`.

    Attributes
    ----------
    weights : numpy.ndarray of float64, shape (n_inputs, n_neurons)
    biases : numpy.ndarray of float64, shape (n_neurons,)
    inputs, z, output : numpy.ndarray of float64
        Those of the last :meth:`forward`, z being the pre-activation.
    dz, d_weights, d_biases : numpy.ndarray of float64
        Those of the last :meth:`backward`.

    Notes
    -----
    A published trace of one ReLU node, x = 1 to z = w x + b, then v relu(z) + c, prints v again
    in the column of c. The example follows it, with c as the formulas give it.

    Examples
    --------
    >>> from fastbp import Layer
    >>> node = Layer(1, 1, "relu", weights=[[0.5]], biases=[0.2])
    >>> line = Layer(1, 1, "identity", weights=[[0.3]], biases=[0.1])
    >>> for step in range(3):
    ...     prediction = line.forward(node.forward([1.0]))[0]
    ...     _ = node.backward(line.backward([prediction - 3.0], 0.01), 0.01)
    ...     numbers = (0.5 * (prediction - 3.0) ** 2, prediction, node.weights[0, 0],
    ...                node.biases[0], line.weights[0, 0], line.biases[0])
    ...     print(*(f"{x:.4f}" for x in numbers))
    3.6180 0.3100 0.5081 0.2081 0.3188 0.1269
    3.4974 0.3552 0.5165 0.2165 0.3378 0.1533
    3.3776 0.4009 0.5253 0.2253 0.3568 0.1793
    """

    def __init__(
        self,
        n_inputs: int,
        n_neurons: int,
        activation: ActivationName = "sigmoid",
        weights: Any = None,
        biases: Any = None,
        scheme: Scheme = "glorot_uniform",
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
    ) -> None:
        self.n_inputs = arguments.integer("n_inputs", n_inputs, minimum=1)
        self.n_neurons = arguments.integer("n_neurons", n_neurons, minimum=1)
        self.activation: ActivationName = arguments.choice("activation", activation, ACTIVATIONS)
        arguments.choice("scheme", scheme, SCHEMES)
        if weights is None:
            (weights,), _ = initialize_network(
                [self.n_inputs, self.n_neurons],
                activations=[activation],
                scheme=scheme,
                random_state=random_state,
            )
        self.weights = weights
        self.biases = np.zeros(self.n_neurons) if biases is None else biases
        self.inputs: np.ndarray | None = None
        self.z: np.ndarray | None = None
        self.output: np.ndarray | None = None
        self.dz: np.ndarray | None = None
        self.d_weights: np.ndarray | None = None
        self.d_biases: np.ndarray | None = None

    @property
    def weights(self) -> np.ndarray:
        """The weights, float64 of shape (n_inputs, n_neurons); setting them copies."""
        return self._weights

    @weights.setter
    def weights(self, value: Any) -> None:
        array = layer_weights("weights", value, self.n_inputs, np.zeros(self.n_neurons))
        if array.shape[1] != self.n_neurons:
            raise ValueError(
                f"weights: expected {(self.n_inputs, self.n_neurons)}, got {array.shape}"
            )
        checks.all_finite("weights", array)
        self._weights = array.copy()

    @property
    def biases(self) -> np.ndarray:
        """The biases, float64 of shape (n_neurons,); setting them copies."""
        return self._biases

    @biases.setter
    def biases(self, value: Any) -> None:
        array = layer_biases("biases", value, self.n_neurons)
        checks.all_finite("biases", array)
        self._biases = array.copy()

    def __repr__(self) -> str:
        return f"Layer({self.n_inputs}, {self.n_neurons}, activation={self.activation!r})"

    def forward(self, inputs: Any) -> np.ndarray:
        """Return phi(inputs W + b), and keep `inputs`, `z` and `output`.

        Parameters
        ----------
        inputs : array-like, shape (n_inputs,) or (n_samples, n_inputs)

        Returns
        -------
        numpy.ndarray of float64, shape (n_neurons,) or (n_samples, n_neurons)
        """
        rows = checks.number_array("inputs", inputs).astype(np.float64)
        single = rows.ndim == 1
        rows = checks.matrix("inputs", rows[None, :] if single else rows)
        if rows.shape[1] != self.n_inputs:
            raise ValueError(
                f"inputs: expected {self.n_inputs} numbers per row, got {rows.shape[1]}"
            )
        checks.finite_rows("inputs", rows)
        z, output = (
            predict_network(rows, [self.weights], [self.biases], activations=[name])
            for name in ("identity", self.activation)
        )
        self.inputs, self.z, self.output = (
            array[0] if single else array for array in (rows, z, output)
        )
        return self.output.copy()

    def backward(
        self, d_activation: Any = None, learning_rate: float = 0.1, *, dz: Any = None
    ) -> np.ndarray:
        """Do one step of gradient descent for the last :meth:`forward`, in place.

        Keeps `dz`, `d_weights` and `d_biases`; over several rows they are sums.

        Parameters
        ----------
        d_activation : array-like, shaped like the output
            The derivative of the loss with respect to the output.
        learning_rate : float
        dz : array-like, shaped like the output, optional
            Instead of `d_activation`, the derivative with respect to the pre-activation. An output
            layer needs it for the log loss, whose dz is a - y: its d_activation,
            (a - y) / (a (1 - a)), is 0/0 where a sigmoid saturates.

        Returns
        -------
        numpy.ndarray of float64, shaped like the inputs
            The derivative of the loss with respect to the inputs, which is the d_activation of
            the layer before: dz W' with the weights from before the update.

        Raises
        ------
        RuntimeError
            If there was no :meth:`forward`.
        TypeError
            If neither or both of `d_activation` and `dz` are given.
        ValueError
            If the step is too large for finite weights and biases, which then stay as they are.
        """
        if self.inputs is None or self.z is None or self.output is None:
            raise RuntimeError("backward: expected forward to be called first")
        rate = arguments.real("learning_rate", learning_rate)
        if (d_activation is None) == (dz is None):
            raise TypeError("backward: expected either d_activation or dz")
        if dz is not None:
            self.dz = self._like_output("dz", dz)
        else:
            da = self._like_output("d_activation", d_activation)
            derivative = ACTIVATIONS[self.activation].derivative
            if derivative is None:  # softmax: each output depends on all z
                weighted = da * self.output
                self.dz = weighted - self.output * weighted.sum(axis=-1, keepdims=True)
            else:
                self.dz = da * derivative(self.z, self.output)
        rows = np.atleast_2d(self.dz)
        d_inputs: np.ndarray = self.dz @ self.weights.T
        with np.errstate(over="ignore", invalid="ignore"):
            self.d_weights = np.atleast_2d(self.inputs).T @ rows
            self.d_biases = rows.sum(axis=0)
            weights = self._weights - rate * self.d_weights
            biases = self._biases - rate * self.d_biases
        checks.all_finite("weights after the step", weights)
        checks.all_finite("biases after the step", biases)
        self._weights[:], self._biases[:] = weights, biases
        return d_inputs

    def _like_output(self, name: str, value: Any) -> np.ndarray:
        assert self.output is not None
        array = checks.number_array(name, value)
        if array.shape != self.output.shape:
            raise ValueError(f"{name}: expected shape {self.output.shape}, got {array.shape}")
        checks.all_finite(name, array)
        return array.astype(np.float64)

    def to_stored(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return its arrays and JSON fields for saving."""
        return {"weights": self.weights, "biases": self.biases}, {"activation": self.activation}

    @classmethod
    def from_stored(cls, arrays: dict[str, np.ndarray], fields: dict[str, Any]) -> Layer:
        """Rebuild it from saved arrays and fields."""
        return _layer(fields["activation"], arrays["weights"], arrays["biases"])


def _layer(activation: ActivationName, weights: np.ndarray, biases: np.ndarray) -> Layer:
    n_inputs, n_neurons = weights.shape
    return Layer(n_inputs, n_neurons, activation, weights, biases)


class Perceptron:
    """A stack of layers: a multilayer perceptron, trained online.

    Parameters
    ----------
    layers : sequence of Layer
        Each has as many inputs as the one before has neurons; ``"softmax"`` on the last only.

    Attributes
    ----------
    layers : list of Layer
    losses_ : numpy.ndarray of float64, shape (n_epochs,)
        The average loss of each epoch of the last :meth:`fit`.
    stopped_ : str
        Why it stopped.
    feature_names_ : list of str or None
        Those of the table that it was fitted to: see :class:`NetworkFit`.
    state_ : TrainingState
        What another fit needs to continue from there: pass it as `state`.

    Examples
    --------
    >>> from fastbp import Layer, Perceptron
    >>> hidden, output = Layer(2, 8, "relu", random_state=1), Layer(8, 1, random_state=2)
    >>> xor = Perceptron([hidden, output])
    >>> data, labels = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> xor.fit(data, labels, epochs=2000, learning_rate=0.1).predict(data).round().ravel()
    array([0., 1., 1., 0.])

    Two layers of sigmoids, with one output and with three, against the formulas: deltas with the
    weights from before the update, and each layer's own derivative.

    >>> import numpy as np
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> for y in ([1.0], [1.0, 0.0, 0.0]):
    ...     model = Perceptron([Layer(3, 2, random_state=0), Layer(2, len(y), random_state=1)])
    ...     w, v = (layer.weights.copy() for layer in model.layers)
    ...     h = 1 / (1 + np.exp(-(x @ w)))
    ...     o = 1 / (1 + np.exp(-(h @ v)))
    ...     delta = (o - y) * o * (1 - o)
    ...     hidden_delta = (v @ delta) * h * (1 - h)
    ...     _ = model.fit([x], [y], epochs=1, learning_rate=0.1, loss="half_mse")
    ...     expected = w - 0.1 * np.outer(x, hidden_delta), v - 0.1 * np.outer(h, delta)
    ...     print(*(np.allclose(layer.weights, e, rtol=1e-12)
    ...             for layer, e in zip(model.layers, expected)))
    True True
    True True
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = arguments.sequence("layers", layers, "layers")
        if not self.layers:
            raise ValueError("layers: expected at least one, got none")
        for index, layer in enumerate(self.layers):
            if not isinstance(layer, Layer):
                raise TypeError(
                    f"layers[{index}]: expected a Layer, got {arguments.describe(layer)}"
                )
        for index, (before, layer) in enumerate(pairwise(self.layers), start=1):
            if any(layer is other for other in self.layers[:index]):
                raise ValueError(
                    f"layers[{index}]: expected distinct layers, got the same one twice"
                )
            if layer.n_inputs != before.n_neurons:
                raise ValueError(
                    f"layers[{index}]: expected {before.n_neurons} inputs, one per neuron of the"
                    f" layer before, got {layer.n_inputs}"
                )
        activations_of("layers", self._activations, len(self.layers))
        self.losses_: np.ndarray | None = None
        self.stopped_: str | None = None
        self.feature_names_: list[str] | None = None
        self.state_: TrainingState | None = None

    def __repr__(self) -> str:
        return f"Perceptron([{', '.join(map(repr, self.layers))}])"

    @property
    def _activations(self) -> list[ActivationName]:
        return [layer.activation for layer in self.layers]

    @property
    def _parameters(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        return [layer.weights for layer in self.layers], [layer.biases for layer in self.layers]

    def forward(self, inputs: Any) -> np.ndarray:
        """Return the output of the last layer, each keeping what its `backward` needs.

        Parameters
        ----------
        inputs : array-like, shape (n_inputs,) or (n_samples, n_inputs)

        Returns
        -------
        numpy.ndarray of float64, shape (n_neurons of the last layer,) or (n_samples, that)
        """
        for layer in self.layers:
            inputs = layer.forward(inputs)
        output: np.ndarray = inputs
        return output

    def predict(self, features: Any) -> np.ndarray:
        """Return the outputs for rows of features: see :func:`predict_network`."""
        check_names(features, self.feature_names_)
        return predict_network(features, *self._parameters, activations=self._activations)

    def fit(
        self,
        training_data: Any,
        labels: Any,
        epochs: int = 100,
        learning_rate: float | Callable[[int], float] = 0.01,
        *,
        loss: LossName = "bce",
        batch_size: int | None = 1,
        verbose: bool = False,
        callback: Callable[[EpochState], Any] | None = None,
        **keywords: Any,
    ) -> Perceptron:
        """Train from the current weights and biases, by default row by row on the log loss.

        This is :func:`fit_network`, bit for bit; the keywords are its keywords.

        Parameters
        ----------
        training_data : array-like, shape (n_samples, n_inputs)
        labels : array-like, shape (n_samples, n_outputs), or (n_samples,) for one output
        epochs, learning_rate, loss, batch_size, callback
            See :func:`fit_network`.
        verbose : bool
            Print the average loss of each epoch, counted from 1.

        Returns
        -------
        Perceptron
            Itself.
        """
        arguments.optional_callable("callback", callback)
        verbose = arguments.flag("verbose", verbose)
        rows = rows_of("training_data", training_data)
        if rows.n_features != self.layers[0].n_inputs:
            raise ValueError(
                f"training_data: expected {self.layers[0].n_inputs} columns (inputs), got"
                f" {rows.n_features}"
            )
        if "activations" in keywords:
            raise TypeError("activations: expected none, since the layers have theirs, got some")

        def show(state: EpochState) -> Any:
            sys.stdout.write(f"epoch {state.epoch + 1}: average loss {state.loss:.3f}\n")
            return callback(state) if callback is not None else None

        fit = fit_network(
            rows,
            labels,
            *self._parameters,
            learning_rate,
            epochs,
            activations=self._activations,
            loss=loss,
            batch_size=batch_size,
            callback=show if verbose else callback,
            **keywords,
        )
        for layer, weights, biases in zip(self.layers, fit.weights, fit.biases, strict=True):
            layer.weights[:], layer.biases[:] = weights, biases
        self.losses_, self.stopped_, self.state_ = fit.losses, fit.stopped, fit.state
        self.feature_names_ = fit.feature_names
        return self

    def to_stored(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the layers' arrays and JSON fields for saving."""
        fields = {"activations": self._activations, "feature_names": self.feature_names_}
        return by_layer(*self._parameters), fields

    @classmethod
    def from_stored(cls, arrays: dict[str, np.ndarray], fields: dict[str, Any]) -> Perceptron:
        """Rebuild it from saved arrays and fields."""
        activations = fields["activations"]
        parameters = layers_in(arrays, len(activations))
        model = cls([_layer(*layer) for layer in zip(activations, *parameters, strict=True)])
        model.feature_names_ = stored_names(fields, model.layers[0].n_inputs)
        return model
