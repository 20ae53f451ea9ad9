"""Networks of fully connected layers: the array interface."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fastbp import arguments
from fastbp.data import checks
from fastbp.data.arrays import rows_of
from fastbp.data.labels import Samples, Targets, check_weights, samples
from fastbp.data.sources.dask_rows import mapped_rows
from fastbp.data.sources.pieces import is_collection
from fastbp.kernels import network as kernels
from fastbp.kernels.shared_network import shared_steps
from fastbp.kernels.sparse_network import sparse_steps
from fastbp.models.activations import ACTIVATIONS, ActivationName
from fastbp.models.fits import (
    Fit,
    by_layer,
    check_names,
    fields_of,
    layers_in,
    restored,
    restored_dtype,
)
from fastbp.models.layers import (
    Layers,
    activations_of,
    check_finite,
    checked_parameters,
    codes_of,
    sizes_of,
)
from fastbp.models.losses import LOSSES, LossName, check_pair
from fastbp.models.network_prediction import predicted, predicted_directly, predicted_part
from fastbp.system.interrupts import interrupt_safe
from fastbp.training.callbacks import EpochState
from fastbp.training.checkpoints import digest
from fastbp.training.driver import fit
from fastbp.training.objective import evaluated, pass_options
from fastbp.training.optimizers import GRADIENT_ONLY, OPTIMIZERS, Optimizer, OptimizerName
from fastbp.training.problem import Model, Options, Outcome, Problem
from fastbp.training.state import TrainingState

KERNELS = interrupt_safe(
    kernels.network_steps,
    kernels.tile_steps,
    kernels.online_steps,
    shared_steps,
    sparse_steps,
    kernels.network_outputs,
)


@dataclass(eq=False, repr=False)  # frozen, it would take three times as long to make
class NetworkFit(Fit):
    """What :func:`fit_network` returns; it unpacks as ``weights, biases, losses``.

    Attributes
    ----------
    weights : list of numpy.ndarray, shape (n_inputs, n_outputs)
        One per layer, of the fit's `dtype`, in which it predicts.
    biases : list of numpy.ndarray, shape (n_outputs,)
    losses : numpy.ndarray of float64, shape (n_epochs,)
        The loss of each completed epoch, taken before its updates.
    activations : tuple of str
    loss : str
    stopped : str
        ``"epochs"``, ``"tol"``, ``"callback"`` or ``"interrupted"`` (``"error"`` on the fit that
        an exception of the caller's own function carries).
    validation_losses : numpy.ndarray of float64, shape (n_epochs,), or None
        The loss on validation data after each completed epoch (NaN where Ctrl-C came before it).
    state : TrainingState
        What another fit needs to continue from here.
    feature_names : list of str or None
        Those of the table or file that it was fitted to, if it had any: `predict` refuses one
        whose columns have other names, or another order. (Arrays have no names to compare.)
    """

    weights: list[np.ndarray]
    biases: list[np.ndarray]
    losses: np.ndarray
    activations: tuple[ActivationName, ...]
    loss: LossName = "mse"
    stopped: str = "epochs"
    validation_losses: np.ndarray | None = None
    state: TrainingState | None = None
    feature_names: list[str] | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter((self.weights, self.biases, self.losses))

    def predict(self, features: Any) -> np.ndarray:
        """Return the outputs for rows of features: see :func:`predict_network`.

        An array of shape (n_samples, n_outputs), even with one output.
        """
        check_names(features, self.feature_names)
        how: dict[str, Any] = {"activations": self.activations, "dtype": self.weights[0].dtype}
        return predict_network(features, self.weights, self.biases, **how)

    def to_stored(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return its arrays and JSON fields for saving."""
        arrays = by_layer(self.weights, self.biases)
        return self._stored(arrays, {"activations": list(self.activations)})

    def _size(self) -> tuple[str, int, np.dtype[Any]]:
        weights = self.weights
        layers = "-".join(map(str, [len(weights[0]), *(w.shape[1] for w in weights)]))
        return layers, sum(a.size for a in (*weights, *self.biases)), weights[0].dtype

    @classmethod
    def from_stored(cls, arrays: dict[str, np.ndarray], fields: dict[str, Any]) -> NetworkFit:
        """Rebuild it from saved arrays and fields."""
        names, loss = tuple(fields["activations"]), fields["loss"]
        stored = layers_in(arrays, len(names))
        checked = checked_parameters("", *stored, None)
        d, dtype = len(checked[0][0]), restored_dtype("weights", stored[0][0])
        # Checks them, and the names.
        NetworkModel(d, *checked, names, loss, prefix="", dtype=dtype)
        weights, biases = ([a.astype(dtype, copy=False) for a in part] for part in checked)
        return cls(weights, biases, **{**restored(arrays, fields, d, dtype), "activations": names})


@arguments.names_in_docs(
    activations=ACTIVATIONS, losses=LOSSES, optimizers=OPTIMIZERS, dtypes=arguments.DTYPES
)
def fit_network(
    features: Any,
    labels: Any,
    initial_weights: Sequence[Any],
    initial_biases: Sequence[Any],
    learning_rate: float | Callable[[int], float] | None,
    epochs: int,
    *,
    activations: Sequence[ActivationName],
    loss: LossName = "mse",
    optimizer: OptimizerName | Optimizer = "sgd",
    batch_size: int | None = None,
    shuffle: bool | Literal["window"] = False,
    random_state: int | np.random.Generator | np.random.RandomState | None = None,
    sample_weight: Any = None,
    alpha: float = 0.0,
    clip_norm: float | None = None,
    tol: float | None = None,
    n_iter_no_change: int = 10,
    validation: Any = None,
    n_threads: int | None = None,
    callback: Callable[[EpochState], Any] | None = None,
    progress: bool | Literal["always"] = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 30.0,
    state: TrainingState | None = None,
    dtype: arguments.Dtype = "float64",
) -> NetworkFit:
    """Train a network of fully connected layers by backpropagation.

    The same result, bit for bit, for any number of threads, with or without `callback` and
    `progress`.

    Parameters
    ----------
    features : array-like, shape (n_samples, n_features), or Rows
        As for :func:`fit_neuron`; Dask collections, too, also for labels and weights.
    labels : array-like, shape (n_samples, n_outputs), or (n_samples,) for one output, or None
        From 0 to 1 for the loss ``"bce"``. For ``"cross_entropy"``, rows that are not negative
        and sum to 1, or class indices, from 0, of shape (n_samples,).
    initial_weights : sequence of array-like, shape (n_inputs, n_outputs)
        One per layer, the first with `n_features` inputs. See :func:`initialize_network`.
    initial_biases : sequence of array-like, shape (n_outputs,)
    learning_rate, epochs
        As for :func:`fit_neuron`: a rate of None for the optimizer ``"lbfgs"``.
    activations : sequence of {activations}
        One per layer; ``"softmax"`` on the last only. The derivative of ReLU is 0 at 0.
    loss : {losses}, default "mse"
        - ``"mse"``: the squared errors' mean over the outputs;
        - ``"half_mse"``: half of their sum;
        - ``"huber"``: the mean over the outputs of e**2 / 2 for an error e up to 1 in magnitude,
          |e| - 1/2 beyond;
        - ``"mae"``: the mean of |e| over the outputs;
        - ``"bce"``: binary cross-entropy (log loss), summed over the outputs, of ``"sigmoid"``
          only, computed from the pre-activation, so that it stays finite;
        - ``"cross_entropy"``: cross-entropy of ``"softmax"`` only, computed likewise.
    optimizer : {optimizers}, or an optimizer
        By name with its defaults, or one with values of your own. ``"lbfgs"``, often the fastest
        for small networks, takes no rate, batches or shuffling: see :class:`fastbp.LBFGS`.
    batch_size : int, optional
        Rows of each update; None takes all, 1 trains online. A shorter last batch is averaged over
        its own rows.
    shuffle, random_state
        Whether and how (True or ``"window"``) to visit the rows in a new order each epoch, and the
        seed or generator for that: see :func:`fit_neuron`.
    sample_weight : array-like, shape (n_samples,), optional
        Not negative, and not all 0; a batch's loss is the weighted mean.
    alpha : float
        Strength of the L2 penalty on the weights, as for :func:`fit_neuron`.
    clip_norm : float, optional
        The most that the norm of a batch's gradient may be, as for :func:`fit_neuron`.
    tol, n_iter_no_change
        Stop after that many consecutive epochs whose loss did not improve on the best by more than
        `tol`.
    validation : float, or (features, labels), or (features, labels, sample_weight), optional
        Rows to compute a loss on after each epoch, as for :func:`fit_neuron`.
    n_threads : int, optional
        None decides by the amount of work and, where threads would share each batch, by what
        pays while other programs run. Single rows (`batch_size=1`) take one thread. On a cluster,
        the threads of each task; None is one.
    callback : callable, optional
        Called after each epoch with an :class:`~fastbp.training.callbacks.EpochState`: ``epoch``,
        ``loss`` and read-only ``weights`` and ``biases``, lists of arrays. Returning True stops
        the fit.
    progress : bool or "always"
        True shows a bar in a terminal or a notebook.
    checkpoint, checkpoint_every
        A file to continue from after a restart, and the seconds between saves: see
        :func:`fit_neuron`.
    state : TrainingState, optional
        The `state` of an earlier fit whose parameters are now the initial ones: continues there.
    dtype : {dtypes}, or NumPy's dtype of that name, default "float64"
        That of the arithmetic, of the parameters and of predictions: see :func:`fit_neuron`.

    Returns
    -------
    NetworkFit
        Unpacks as ``weights, biases, losses``.

    Raises
    ------
    TypeError, ValueError, DataError, DivergenceError, CheckpointError
        As for :func:`fit_neuron`; messages count layers from 0.

    Warns
    -----
    UserWarning
        After Ctrl-C, as for :func:`fit_neuron`.

    Notes
    -----
    z = a_before W + b and a = phi(z) in each layer; backward, dz = (dz_after W_after') phi'(z),
    dW = a_before' dz and db = sum dz (Rumelhart, Hinton and Williams, Nature 323, 1986), always
    with the weights from before the update. Published examples go wrong here: they multiply the
    hidden delta by weights that are already updated, leave out phi'(z), or use the sigmoid's
    derivative for ReLU. Their numbers differ from these.

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
    given = locals()
    dtype = arguments.dtype("dtype", dtype)
    rows = rows_of("features", features, dtype)
    start = initial_weights, initial_biases
    how: dict[str, Any] = {"prefix": "initial_", "dtype": dtype}
    model = NetworkModel(rows.n_features, *start, activations, loss, **how)
    return fit(model, rows, given)


@arguments.names_in_docs(dtypes=arguments.DTYPES)
def loss_and_gradient(
    features: Any,
    labels: Any,
    weights: Sequence[Any],
    biases: Sequence[Any],
    *,
    activations: Sequence[ActivationName],
    loss: LossName = "mse",
    sample_weight: Any = None,
    alpha: float = 0.0,
    dtype: arguments.Dtype = "float64",
) -> tuple[float, list[np.ndarray], list[np.ndarray]]:
    """Return the loss of all rows and its gradient at given parameters, in one pass.

    For optimizers of your own: the arithmetic is that of :func:`fit_network`, full batch.

    Parameters
    ----------
    features, labels, activations, loss, sample_weight, alpha
        As for :func:`fit_network`.
    weights, biases : sequence of array-like
        Where to take the gradient: finite.
    dtype : {dtypes}, or NumPy's dtype of that name, default "float64"
        That of the arithmetic and of the gradient; the parameters are rounded to it.

    Returns
    -------
    loss : float
        With the penalty. Infinite or NaN where numbers overflow, so that a line search can step
        back; that raises no exception.
    weight_gradients, bias_gradients : list of numpy.ndarray of `dtype`
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
    dtype = arguments.dtype("dtype", dtype)
    rows = rows_of("features", features, dtype)
    how: dict[str, Any] = {"prefix": "", "dtype": dtype}
    model = NetworkModel(rows.n_features, weights, biases, activations, loss, **how)
    data = samples(
        rows, labels, sample_weight, model.targets, ("features", "labels", "sample_weight")
    )
    check_weights("sample_weight", data.rows)
    penalty = arguments.real("alpha", alpha, minimum=0.0)
    problem = model.problem(data, pass_options(rows.n_rows, GRADIENT_ONLY, penalty))
    total, flat = evaluated(problem)
    gradient = model.named(flat)
    return total, gradient["weights"], gradient["biases"]


class NetworkModel(Model[NetworkFit]):
    """A network to be trained on rows of `d` features, its arguments checked."""

    def __init__(
        self,
        d: int,
        weights: Any,
        biases: Any,
        activations: Any,
        loss: str,
        prefix: str,
        dtype: np.dtype[Any],
    ) -> None:
        arguments.choice("loss", loss, LOSSES)
        w, b = checked_parameters(prefix, weights, biases, d, dtype)
        names = activations_of("activations", activations, len(w))
        check_pair(loss, names[-1])
        sizes = (d, *[layer.shape[1] for layer in w])
        self._layers = Layers(sizes, codes_of(names), LOSSES[loss].code)
        self._start = self._layers.flat(w, b, dtype=dtype)
        if not checks.is_finite(self._start, dtype):
            check_finite(prefix, w, b, dtype)
        self._names: dict[str, Any] = {"activations": names, "loss": loss}
        self.targets = Targets(loss, LOSSES[loss].labels, sizes[-1], dtype=dtype)

    def identity(self) -> dict[str, Any]:
        """Return what distinguishes this network from others."""
        return {
            "layer sizes": self._layers.sizes,
            **self._names,
            "dtype": self._start.dtype.name,
            "initial_weights and initial_biases": digest(self._start),
        }

    def named(self, parameters: np.ndarray) -> dict[str, Any]:
        """Return the user's view of flat parameters."""
        return self._layers.named(parameters)

    def result(self, outcome: Outcome) -> NetworkFit:
        """Return what ``fit_network`` gives."""
        return NetworkFit(**self.named(outcome.parameters), **self._names, **fields_of(outcome))

    def problem(self, samples: Samples, options: Options) -> Problem:
        """Return the problem of these rows."""
        # The kernel is chosen in models/layers.py.
        return self._layers.problem(self._start, samples, options)


@arguments.names_in_docs(dtypes=arguments.DTYPES)
def predict_network(
    features: Any,
    weights: Sequence[Any],
    biases: Sequence[Any],
    *,
    activations: Sequence[ActivationName],
    dtype: arguments.Dtype = "float64",
) -> np.ndarray:
    """Return the outputs of a network.

    Parameters
    ----------
    features : array-like, shape (n_samples, n_features), or Rows
        Read, or converted, as by :func:`fit_network`, a block of rows at a time if large.
        Those of a Dask array or DataFrame give a lazy Dask array, in the same partitions, which
        is computed wherever Dask computes.
    weights, biases, activations
        As :func:`fit_network` takes and returns them.
    dtype : {dtypes}, or NumPy's dtype of that name, default "float64"
        That of the arithmetic and of the outputs; the parameters are rounded to it.

    Returns
    -------
    numpy.ndarray of `dtype`, shape (n_samples, n_outputs), or dask.array.Array
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
    dtype = arguments.dtype("dtype", dtype)
    if type(weights) is type(biases) is list and len(weights) == len(biases) > 0:
        names = activations_of("activations", activations, len(weights))
        outputs = predicted_directly(features, weights, biases, codes_of(names), dtype)
        if outputs is not None:
            return outputs
    rows = rows_of("features", features, dtype)
    w: Any = weights
    b: Any = biases
    if sizes_of(w, b, rows.n_features, dtype) is None:  # they are checked, or refused
        w, b = checked_parameters("", weights, biases, None)
    names = activations_of("activations", activations, len(w))
    d = rows.n_features
    if w[0].shape[0] != d:
        raise ValueError(f"features: expected {w[0].shape[0]} columns (inputs), got {d}")
    sizes = (d, *[layer.shape[1] for layer in w])
    layers = Layers(sizes, codes_of(names), 0)
    if is_collection(features):
        check_finite("", w, b, dtype)
        part = functools.partial(predicted_part, layers=layers, w=w, b=b, dtype=dtype)
        lazy: Any = mapped_rows("features", features, part, sizes[-1], dtype)
        return lazy  # type: ignore[no-any-return]
    return predicted(rows, layers, w, b, dtype=dtype)
