"""Networks of fully connected layers: the array interface."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.data.arrays import rows_of
from fastbp.data.labels import LabelKind, Samples, Targets, check_weights, samples
from fastbp.data.rows import Rows
from fastbp.kernels import network as kernels
from fastbp.kernels.sparse_network import sparse_steps
from fastbp.models.activations import ACTIVATIONS
from fastbp.models.layers import Layers, activations_of, check_finite, checked_parameters
from fastbp.models.losses import GOES_WITH, LABELS, LOSSES
from fastbp.models.prediction import predicted, predicted_as_it_is
from fastbp.system.interrupts import interrupt_safe
from fastbp.training.callbacks import EpochState
from fastbp.training.checkpoints import digest
from fastbp.training.driver import Model, fit, train
from fastbp.training.objective import pass_options
from fastbp.training.optimizers import SGD, Adam, GradientOnly
from fastbp.training.problem import Options, Outcome, Problem
from fastbp.training.state import TrainingState, state_restored, with_state

KERNELS = interrupt_safe(
    kernels.network_steps,
    kernels.tile_steps,
    kernels.online_steps,
    sparse_steps,
    kernels.network_outputs,
)


@dataclass(frozen=True, eq=False)
class NetworkFit:
    """What :func:`fit_network` returns; it unpacks as ``weights, biases, losses``.

    Attributes
    ----------
    weights : list of numpy.ndarray of float64, shape (n_inputs, n_outputs)
        One a layer.
    biases : list of numpy.ndarray of float64, shape (n_outputs,)
    losses : numpy.ndarray of float64, shape (n_epochs,)
        The loss of each whole epoch, taken before its updates.
    activations : tuple of str
    loss : str
    stopped : str
        ``"epochs"``, ``"tol"``, ``"callback"`` or ``"interrupted"`` (``"error"`` on the fit that
        an exception of the caller's own function carries).
    validation_losses : numpy.ndarray of float64, shape (n_epochs,), or None
        The loss on validation data after each whole epoch (NaN where Ctrl-C came between).
    state : TrainingState
        What another fit needs to go on from here.
    """

    weights: list[np.ndarray] = field(repr=False)
    biases: list[np.ndarray] = field(repr=False)
    losses: np.ndarray = field(repr=False)
    activations: tuple[str, ...]
    loss: str = "mse"
    stopped: str = "epochs"
    validation_losses: np.ndarray | None = field(default=None, repr=False)
    state: TrainingState | None = field(default=None, repr=False)

    def __iter__(self) -> Iterator[Any]:
        return iter((self.weights, self.biases, self.losses))

    @property
    def n_epochs(self) -> int:
        """Whole epochs completed."""
        return int(self.losses.shape[0])

    def predict(self, features: Any) -> np.ndarray:
        """Return the outputs for rows of features: see :func:`predict_network`.

        An array of shape (n_samples, n_outputs), also with one output.
        """
        return predict_network(features, self.weights, self.biases, activations=self.activations)

    def to_stored(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return what a file holds of it."""
        arrays = {"losses": self.losses}
        if self.validation_losses is not None:
            arrays["validation_losses"] = self.validation_losses
        for index, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            arrays |= {f"weights.{index}": w, f"biases.{index}": b}
        fields = {
            "activations": list(self.activations),
            "loss": self.loss,
            "stopped": self.stopped,
        }
        return with_state(arrays, fields, self.state)

    @classmethod
    def from_stored(cls, arrays: dict[str, np.ndarray], fields: dict[str, Any]) -> NetworkFit:
        """Make it from what a file holds."""
        arrays, fields = state_restored(arrays, fields)
        fields = {**fields, "activations": tuple(fields["activations"])}
        layers = range(len(fields["activations"]))
        return cls(
            [arrays[f"weights.{index}"] for index in layers],
            [arrays[f"biases.{index}"] for index in layers],
            arrays["losses"],
            validation_losses=arrays.get("validation_losses"),
            **fields,
        )


def fit_network(
    features: Any,
    labels: Any,
    initial_weights: Sequence[Any],
    initial_biases: Sequence[Any],
    learning_rate: float | Callable[[int], float],
    epochs: int,
    *,
    activations: Sequence[str],
    loss: str = "mse",
    optimizer: str | SGD | Adam = "sgd",
    batch_size: int | None = None,
    shuffle: bool | str = False,
    random_state: int | np.random.Generator | np.random.RandomState | None = None,
    sample_weight: Any = None,
    alpha: float = 0.0,
    tol: float | None = None,
    n_iter_no_change: int = 10,
    validation: Any = None,
    n_threads: int | None = None,
    callback: Callable[[EpochState], Any] | None = None,
    progress: bool | str = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 30.0,
    state: TrainingState | None = None,
) -> NetworkFit:
    """Train a network of fully connected layers by backpropagation.

    The same result, bit for bit, for any number of threads, with or without `callback` and
    `progress`.

    Parameters
    ----------
    features : array-like, shape (n_samples, n_features), or Rows
        As for :func:`fit_neuron`.
    labels : array-like, shape (n_samples, n_outputs), or (n_samples,) for one output, or None
        From 0 to 1 for the loss ``"bce"``. For ``"cross_entropy"``, rows that are not negative
        and sum to 1, or the numbers of the classes, from 0, of shape (n_samples,).
    initial_weights : sequence of array-like, shape (n_inputs, n_outputs)
        One a layer, the first with `n_features` inputs. See :func:`initialize_network`.
    initial_biases : sequence of array-like, shape (n_outputs,)
    learning_rate, epochs
        As for :func:`fit_neuron`.
    activations : sequence of {"identity", "sigmoid", "relu", "tanh", "softmax"}
        One a layer; ``"softmax"`` on the last only. The derivative of ReLU is 0 at 0.
    loss : {"mse", "half_mse", "bce", "cross_entropy"}
        The squared error's mean over the outputs, half of its sum, binary cross-entropy (log
        loss) summed over the outputs, with ``"sigmoid"`` only, or cross-entropy, with
        ``"softmax"`` only. The last two are computed from the pre-activation and stay finite.
    optimizer : {"sgd", "adam"}, SGD or Adam
    batch_size : int, optional
        Rows of each update; None takes all, 1 trains online. The last, shorter batch of an epoch
        counts by its own rows.
    shuffle, random_state
        Whether and how (True or ``"window"``) to visit the rows in a new order each epoch, and
        the source of the orders: see :func:`fit_neuron`.
    sample_weight : array-like, shape (n_samples,), optional
        Not negative; a batch's loss is the weighted mean.
    alpha : float
        Strength of the L2 penalty on the weights, as for :func:`fit_neuron`.
    tol, n_iter_no_change
        Stop when so many epochs in a row have brought no loss below the best by more than `tol`.
    validation : float, or (features, labels), or (features, labels, sample_weight), optional
        Rows to compute a loss on after each epoch, as for :func:`fit_neuron`.
    n_threads : int, optional
        None decides by size.
    callback : callable, optional
        Called after each epoch with an :class:`~fastbp.training.callbacks.EpochState`: ``epoch``,
        ``loss`` and read-only ``weights`` and ``biases``, lists of arrays. Returning True stops
        the fit.
    progress : bool or "always"
        True shows a bar in a terminal or a notebook.
    checkpoint, checkpoint_every
        A file to go on from after a restart, and the seconds between two writings: see
        :func:`fit_neuron`.
    state : TrainingState, optional
        The `state` of an earlier fit whose parameters are now the start values: goes on there.

    Returns
    -------
    NetworkFit
        Unpacks as ``weights, biases, losses``.

    Raises
    ------
    TypeError, ValueError, DataError, DivergenceError, CheckpointError
        As for :func:`fit_neuron`; what belongs to a layer is named by its number from 0.

    Warns
    -----
    UserWarning
        After Ctrl-C, as for :func:`fit_neuron`.

    Notes
    -----
    z = a_before W + b and a = phi(z) in each layer; backward, dz = (dz_after W_after') phi'(z),
    dW = a_before' dz and db = sum dz (Rumelhart, Hinton and Williams, Nature 323, 1986), always
    with the weights from before the update. Published examples slip there: one multiplies the
    hidden delta by weights that are already updated and leaves out phi'(z), or takes the
    sigmoid's derivative for ReLU, too. Their numbers differ from these.

    Examples
    --------
    Ten ReLU neurons and a linear output learn a line, as in a published regression. What that
    example prints as its loss is twice the half squared error that it descends.

    >>> import numpy as np
    >>> from fastbp import fit_network
    >>> random = np.random.RandomState(42)
    >>> weights = [random.randn(1, 10), None]
    >>> weights[1] = random.randn(10, 1)
    >>> X = random.rand(100, 1)
    >>> y = 3 * X + 2 + 0.1 * random.randn(100, 1)
    >>> fit = fit_network(X, y, weights, [np.zeros(10), np.zeros(1)], 0.01, 1000,
    ...                   activations=["relu", "identity"], loss="half_mse")
    >>> print(*(f"{2 * loss:.4f}" for loss in fit.losses[::100]))
    41.5494 0.0677 0.0404 0.0256 0.0176 0.0133 0.0111 0.0100 0.0094 0.0091
    >>> print(f"{fit.predict([[1.5]])[0, 0]:.9f}")
    5.248387086
    """
    rows = rows_of("features", features)
    model = _model(rows, initial_weights, initial_biases, activations, loss)
    fitted: NetworkFit = fit(
        model,
        rows,
        labels,
        learning_rate,
        epochs,
        optimizer=optimizer,
        batch_size=batch_size,
        shuffle=shuffle,
        random_state=random_state,
        sample_weight=sample_weight,
        alpha=alpha,
        tol=tol,
        n_iter_no_change=n_iter_no_change,
        validation=validation,
        n_threads=n_threads,
        callback=callback,
        progress=progress,
        state=state,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
    )
    return fitted


def loss_and_gradient(
    features: Any,
    labels: Any,
    weights: Sequence[Any],
    biases: Sequence[Any],
    *,
    activations: Sequence[str],
    loss: str = "mse",
    sample_weight: Any = None,
    alpha: float = 0.0,
) -> tuple[float, list[np.ndarray], list[np.ndarray]]:
    """Return the loss of all rows and its gradient at given parameters, in one pass.

    For optimizers of your own: the arithmetic is that of :func:`fit_network`, full batch.

    Parameters
    ----------
    features, labels, activations, loss, sample_weight, alpha
        As for :func:`fit_network`.
    weights, biases : sequence of array-like
        Where to take the gradient: finite.

    Returns
    -------
    loss : float
        With the penalty. Infinite or NaN where the numbers run over, so that a line search can
        step back; no exception is raised for that.
    weight_gradients, bias_gradients : list of numpy.ndarray of float64
        Shaped like `weights` and `biases`.

    Raises
    ------
    TypeError, ValueError, DataError
        As for :func:`fit_network`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import loss_and_gradient
    >>> loss, dw, db = loss_and_gradient([[1.0, 2.0]], [1.0], [np.array([[0.5], [0.5]])], [[0.0]],
    ...                                  activations=["identity"], loss="half_mse")
    >>> loss, dw[0].ravel().tolist(), db[0].tolist()
    (0.125, [0.5, 1.0], [0.5])
    """
    rows = rows_of("features", features)
    model = _model(rows, weights, biases, activations, loss, prefix="")
    data = samples(
        rows, labels, sample_weight, model.targets, ("features", "labels", "sample_weight")
    )
    check_weights("sample_weight", data.rows, rows.n_rows)
    penalty = arguments.real("alpha", alpha, minimum=0.0)
    options = replace(
        pass_options(rows.n_rows, GradientOnly(), penalty),
        returns_on_interrupt=False,
        raises_on_divergence=False,
    )
    made = model.problem(data, options)
    outcome = train(made, options)
    assert outcome.gradient is not None
    gradient = made.named(outcome.gradient)
    return float(outcome.losses[0]), gradient["weights"], gradient["biases"]


def _model(
    rows: Rows,
    weights: Any,
    biases: Any,
    activations: Any,
    loss: str,
    prefix: str = "initial_",
) -> Model:
    """Check the layers for these rows; the plan of them waits for the options."""
    arguments.choice("loss", loss, LOSSES)
    w, b = checked_parameters(prefix, weights, biases, rows.n_features)
    check_finite(prefix, w, b)
    names = activations_of("activations", activations, len(w))
    partner = GOES_WITH.get(loss)
    if partner is not None and names[-1] != partner:
        raise ValueError(
            f"loss: {loss!r} goes with activation {partner!r} on the last layer only, got"
            f" {names[-1]!r}"
        )
    if names[-1] == "softmax" and loss != "cross_entropy":
        raise ValueError(f"loss: expected 'cross_entropy' with 'softmax', got {loss!r}")
    sizes = (rows.n_features, *(layer.shape[1] for layer in w))
    layers = Layers(sizes, tuple(ACTIVATIONS[name] for name in names), LOSSES[loss])
    parameters = layers.flat(w, b)

    def problem(samples: Samples, options: Options) -> Problem:
        def result(outcome: Outcome) -> NetworkFit:
            return NetworkFit(
                **layers.named(outcome.parameters),
                losses=outcome.losses,
                activations=names,
                loss=loss,
                stopped=outcome.stopped,
                validation_losses=outcome.validation_losses,
                state=outcome.state,
            )

        return layers.problem(parameters, samples, options, result)

    identity = {
        "layer sizes": sizes,
        "activations": names,
        "loss": loss,
        "initial_weights and initial_biases": digest(parameters),
    }
    return Model(Targets(loss, LABELS.get(loss, LabelKind.NUMBERS), sizes[-1]), problem, identity)


def predict_network(
    features: Any, weights: Sequence[Any], biases: Sequence[Any], *, activations: Sequence[str]
) -> np.ndarray:
    """Return the outputs of a network.

    Parameters
    ----------
    features : array-like, shape (n_samples, n_features), or Rows
        Converted as by :func:`fit_network`, a block of rows at a time if large.
    weights, biases, activations
        As :func:`fit_network` takes and returns them.

    Returns
    -------
    numpy.ndarray of float64, shape (n_samples, n_outputs)
        A row's outputs do not depend on the rows around it, nor on the number of threads.

    Raises
    ------
    TypeError, ValueError, DataError
        As for :func:`fit_network`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import predict_network
    >>> predict_network([[1.0, -1.0]], [np.eye(2), np.ones((2, 1))], [[0, 0], [0]],
    ...                 activations=["relu", "identity"])
    array([[1.]])
    """
    if type(weights) is type(biases) is list and len(weights) == len(biases) > 0:
        names = activations_of("activations", activations, len(weights))
        numbers = tuple(ACTIVATIONS[name] for name in names)
        outputs = predicted_as_it_is(features, weights, biases, numbers)
        if outputs is not None:
            return outputs
    rows = rows_of("features", features)
    w, b = checked_parameters("", weights, biases, None)
    names = activations_of("activations", activations, len(w))
    d = rows.n_features
    if w[0].shape[0] != d:
        raise ValueError(f"features: expected {w[0].shape[0]} columns (inputs), got {d}")
    sizes = (d, *[layer.shape[1] for layer in w])
    layers = Layers(sizes, tuple(ACTIVATIONS[name] for name in names), 0)
    return predicted(rows, layers, w, b)
