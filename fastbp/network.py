"""Networks of fully connected layers: the array interface."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from fastbp import _validation as check
from fastbp import neuron
from fastbp._interrupt import uncut
from fastbp.checkpoints import digest
from fastbp.kernels import activations as codes
from fastbp.kernels import layout as at
from fastbp.kernels import losses as loss_codes
from fastbp.kernels import network as kernels
from fastbp.kernels.blas import gemm_address
from fastbp.kernels.sparse import sparse_steps
from fastbp.kernels.update import PLAIN_SGD
from fastbp.labels import Samples, Targets, check_weights, samples
from fastbp.optimizers import (
    SGD,
    Adam,
    GradientOnly,
    TrainingState,
    state_restored,
    with_state,
)
from fastbp.parallel import team, threads_for
from fastbp.rows import BLOCK_BYTES, Rows, is_plain, read_only, rows_of
from fastbp.run import Kernel, Options, Outcome, Problem
from fastbp.sparse import Compressed
from fastbp.training import EpochState, Model, fit, train
from fastbp.validation import pass_options

ACTIVATIONS = {**neuron.ACTIVATIONS, "softmax": codes.SOFTMAX}
LOSSES = {**neuron.LOSSES, "cross_entropy": loss_codes.CROSS_ENTROPY}
KERNELS = uncut(
    kernels.network_steps,
    kernels.tile_steps,
    kernels.online_steps,
    sparse_steps,
    kernels.network_outputs,
)
CALL_WORK = (
    2**22
)  # that one call predicts, 1.5 ms: for threads to share, and Ctrl-C to come through
MANY = 2**14  # parameters whose copying takes longer than finding out that it is not needed
GOES_WITH = {"bce": "sigmoid", "cross_entropy": "softmax"}
"""The losses that are computed from z, for one output activation only."""


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
        Called after each epoch with an :class:`~fastbp.training.EpochState`: ``epoch``, ``loss``
        and read-only ``weights`` and ``biases``, lists of arrays. Returning True stops the fit.
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
    penalty = check.real("alpha", alpha, minimum=0.0)
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


def initialize_network(
    layer_sizes: Sequence[int],
    *,
    activations: Sequence[str],
    scheme: str = "glorot_uniform",
    random_state: int | np.random.Generator | np.random.RandomState | None = None,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return start values for :func:`fit_network`.

    Parameters
    ----------
    layer_sizes : sequence of int
        Inputs, the neurons of each hidden layer, outputs.
    activations : sequence of str
        One a layer, as for :func:`fit_network`.
    scheme : str
        How the weights of n inputs and m outputs are drawn: ``"glorot_uniform"`` (within
        sqrt(6/(n + m)) of 0) and ``"glorot_normal"`` (standard deviation sqrt(2/(n + m))) suit
        sigmoid and tanh (Glorot and Bengio, AISTATS 2010); ``"he_uniform"`` (within sqrt(6/n))
        and ``"he_normal"`` (standard deviation sqrt(2/n)) suit ReLU (He et al., ICCV 2015);
        ``"normal"`` is the standard normal distribution; ``"zeros"`` leaves the neurons of a
        hidden layer alike for ever. Biases are zeros.
    random_state : int, numpy.random.Generator, numpy.random.RandomState, optional

    Returns
    -------
    weights : list of numpy.ndarray of float64, shape (n_inputs, n_outputs)
    biases : list of numpy.ndarray of float64, shape (n_outputs,)

    Raises
    ------
    TypeError, ValueError
        If sizes, activations or the scheme do not fit.

    Examples
    --------
    >>> from fastbp import initialize_network
    >>> weights, biases = initialize_network([4, 8, 1], activations=["relu", "identity"],
    ...                                      scheme="he_normal", random_state=0)
    >>> [w.shape for w in weights], [b.shape for b in biases]
    ([(4, 8), (8, 1)], [(8,), (1,)])
    """
    if isinstance(layer_sizes, np.ndarray):
        layer_sizes = layer_sizes.tolist()
    sizes = [
        check.whole(f"layer_sizes[{i}]", n, minimum=1)
        for i, n in enumerate(check.sequence("layer_sizes", layer_sizes, "integers"))
    ]
    if len(sizes) < 2:
        raise ValueError(f"layer_sizes: expected at least 2 sizes, got {len(sizes)}")
    activations_of("activations", activations, len(sizes) - 1)
    draw = SCHEMES[check.choice("scheme", scheme, SCHEMES)]
    random = check.random_generator("random_state", random_state)
    weights = [draw(random, n, m) for n, m in pairwise(sizes)]
    return weights, [np.zeros(m) for m in sizes[1:]]


def _uniform(random: Any, n: int, m: int, bound: float) -> np.ndarray:
    drawn: np.ndarray = random.uniform(-bound, bound, size=(n, m))
    return drawn


def _normal(random: Any, n: int, m: int, deviation: float) -> np.ndarray:
    drawn: np.ndarray = random.standard_normal(size=(n, m)) * deviation
    return drawn


SCHEMES: dict[str, Callable[[Any, int, int], np.ndarray]] = {
    "glorot_uniform": lambda random, n, m: _uniform(random, n, m, math.sqrt(6.0 / (n + m))),
    "glorot_normal": lambda random, n, m: _normal(random, n, m, math.sqrt(2.0 / (n + m))),
    "he_uniform": lambda random, n, m: _uniform(random, n, m, math.sqrt(6.0 / n)),
    "he_normal": lambda random, n, m: _normal(random, n, m, math.sqrt(2.0 / n)),
    "normal": lambda random, n, m: _normal(random, n, m, 1.0),
    "zeros": lambda random, n, m: np.zeros((n, m)),
}


def activations_of(name: str, value: Any, n_layers: int) -> tuple[str, ...]:
    """Return one known activation a layer, softmax on the last only."""
    names = check.sequence(name, value, "names, one a layer")
    if len(names) != n_layers:
        raise ValueError(f"{name}: expected {n_layers} names (one a layer), got {len(names)}")
    for index, activation in enumerate(names):
        check.choice(f"{name}[{index}]", activation, ACTIVATIONS)
        if activation == "softmax" and index < n_layers - 1:
            raise ValueError(f"{name}[{index}]: expected 'softmax' on the last layer only")
    return tuple(names)


def _checked_parameters(
    prefix: str, weights: Any, biases: Any, n_features: int | None
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return weights and biases of layers that fit each other, and the features if given."""
    w_name, b_name = f"{prefix}weights", f"{prefix}biases"
    weights = check.sequence(w_name, weights, "2-D arrays, one a layer")
    biases = check.sequence(b_name, biases, "arrays, one a layer")
    if not weights:
        raise ValueError(f"{w_name}: expected at least one layer, got none")
    if len(biases) != len(weights):
        raise ValueError(
            f"{b_name}: expected {len(weights)} arrays (one a layer), got {len(biases)}"
        )
    checked_w: list[np.ndarray] = []
    checked_b: list[np.ndarray] = []
    n_inputs = n_features
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        w = check.layer_weights(f"{w_name}[{index}]", weight, n_inputs, bias)
        checked_w.append(w)
        checked_b.append(check.layer_biases(f"{b_name}[{index}]", bias, w.shape[1]))
        n_inputs = w.shape[1]
    return checked_w, checked_b


def _check_finite(prefix: str, weights: list[np.ndarray], biases: list[np.ndarray]) -> None:
    for index, (w, b) in enumerate(zip(weights, biases, strict=True)):
        check.all_finite(f"{prefix}weights[{index}]", w)
        check.all_finite(f"{prefix}biases[{index}]", b)


@dataclass(frozen=True)
class Layers:
    """Sizes, inputs first, with the kernels' numbers of activations and loss.

    `report` is how losses are told: the contract's way, or scikit-learn's.
    """

    sizes: tuple[int, ...]
    activations: tuple[int, ...]
    loss: int
    report: int = at.OWN

    def plan(self, label_columns: int, batch_rows: int, compressed: bool = False) -> kernels.Plan:
        """Return where everything lies; the parameters lie alike for all rows."""
        return kernels.plan(self.sizes, self.activations, label_columns, batch_rows, compressed)

    @property
    def n_parameters(self) -> int:
        """Numbers in a vector of all parameters, with what fills it up."""
        return self.plan(1, 1).n_parameters

    def flat(self, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> np.ndarray:
        """Return all parameters in one vector, each array filled up with zeros to whole vectors."""
        return _flat(self.plan(1, 1), (*weights, *biases))

    def named(self, parameters: np.ndarray) -> dict[str, list[np.ndarray]]:
        """Return views of such a vector by layer."""
        plan = self.plan(1, 1)
        shapes = list(pairwise(self.sizes))
        return {
            "weights": [
                parameters[start : start + n * m].reshape(n, m)
                for start, (n, m) in zip(plan.weights_at, shapes, strict=True)
            ],
            "biases": [
                parameters[start : start + m]
                for start, (_, m) in zip(plan.biases_at, shapes, strict=True)
            ],
        }

    def problem(
        self,
        parameters: np.ndarray,
        samples: Samples,
        options: Options,
        result: Callable[[Outcome], Any] = lambda outcome: outcome,
    ) -> Problem:
        """Return the problem of these rows, from flat start values."""
        label_columns = samples.rows.n_labels
        inside = samples.rows.resident
        compressed = inside is not None and isinstance(inside.features, Compressed)
        plan = self.plan(label_columns, options.batch_rows, compressed)
        kernel = sparse_steps if compressed else _kernel(plan, options)
        uses_blas = plan.uses_blas and kernel is not kernels.online_steps
        return Problem(
            kernel=kernel,
            samples=samples,
            parameters=parameters,
            n_weights=plan.n_weights,
            settings={
                at.LOSS: self.loss,
                at.REPORT: self.report,
                at.N_LAYERS: len(self.activations),
                at.LABEL_COLUMNS: label_columns,
                at.CLASSES: samples.classes,
                at.GEMM: gemm_address() if uses_blas else 0,
            },
            tile_rows=plan.tile_rows,
            chunk_rows=plan.chunk_rows,
            row_work=plan.row_work,
            work_size=plan.work_size,
            named=self.named,
            result=result,
            table=plan.table,
            uses_blas=uses_blas,
        )


def _model(
    rows: Rows,
    weights: Any,
    biases: Any,
    activations: Any,
    loss: str,
    prefix: str = "initial_",
) -> Model:
    """Check the layers for these rows; the plan of them waits for the options."""
    check.choice("loss", loss, LOSSES)
    w, b = _checked_parameters(prefix, weights, biases, rows.n_features)
    _check_finite(prefix, w, b)
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

    arguments = {
        "layer sizes": sizes,
        "activations": names,
        "loss": loss,
        "initial_weights and initial_biases": digest(parameters),
    }
    return Model(Targets(loss, sizes[-1]), problem, arguments)


def _kernel(plan: kernels.Plan, options: Options) -> Kernel:
    """Return the kernel for batches of this kind; where two would do, they give the same bits.

    A batch of one tile is part of one chunk, which is never cut between two blocks of rows.
    """
    batch_rows = options.batch_rows
    if options.optimizer.code != PLAIN_SGD:
        return kernels.network_steps
    if batch_rows == 1:
        return kernels.online_steps
    one_tile = batch_rows <= plan.tile_rows and not plan.uses_blas and options.alpha == 0.0
    return kernels.tile_steps if one_tile else kernels.network_steps


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
    w, b = _checked_parameters("", weights, biases, None)
    names = activations_of("activations", activations, len(w))
    d = rows.n_features
    if w[0].shape[0] != d:
        raise ValueError(f"features: expected {w[0].shape[0]} columns (inputs), got {d}")
    sizes = (d, *[layer.shape[1] for layer in w])
    layers = Layers(sizes, tuple(ACTIVATIONS[name] for name in names), 0)
    return predicted(rows, layers, w, b)


def _flat(plan: kernels.Plan, arrays: Sequence[np.ndarray]) -> np.ndarray:
    parameters = np.zeros(plan.n_parameters)
    for start, array in zip(plan.weights_at + plan.biases_at, arrays, strict=True):
        parameters[start : start + array.size] = array.reshape(-1)
    return parameters


def _whole(plan: kernels.Plan, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return the flat vector that many parameters are views of, or else a new one; to be read."""
    base = arrays[0].base
    if base is None or plan.n_parameters < MANY:
        return _flat(plan, arrays)
    if not is_plain(base, 1) or base.size != plan.n_parameters or not base.flags.writeable:
        return _flat(plan, arrays)
    first = base.__array_interface__["data"][0]
    for start, array in zip(plan.weights_at + plan.biases_at, arrays, strict=True):
        at_home = array.__array_interface__["data"][0] == first + 8 * start
        if array.base is not base or not at_home or not array.flags.c_contiguous:
            return _flat(plan, arrays)
    return base


def predicted(
    rows: Rows,
    layers: Layers,
    w: list[np.ndarray],
    b: list[np.ndarray],
    n_threads: int | None = None,
) -> np.ndarray:
    """Return the outputs (N, K) of a network for rows that fit it."""
    plan, state = _prediction_plan(
        layers.sizes, layers.activations, min(rows.n_rows, kernels.MOST_ROWS)
    )
    parameters = _whole(plan, (*w, *b))
    outputs = np.empty((rows.n_rows, layers.sizes[-1]))
    most = min(BLOCK_BYTES // (8 * rows.n_features), CALL_WORK // plan.row_work)
    step = max(1, most // plan.tile_rows) * plan.tile_rows

    def compute(start: int) -> None:
        stop = min(start + step, rows.n_rows)
        x = read_only(np.ascontiguousarray(rows.block(start, stop).features))
        work = np.empty(plan.work_size)
        if not kernels.network_outputs(x, parameters, state, work, outputs[start:stop]):
            _check_finite("", w, b)
            rows.raise_if_not_finite(start, x)

    if rows.n_rows <= step:
        compute(0)  # a single row takes some microseconds in all: no time for a team
        return outputs
    starts = list(range(0, rows.n_rows, step))
    total = rows.n_rows * plan.row_work
    n_threads = threads_for(total, total, len(starts), n_threads) if rows.concurrent else 1
    with team(n_threads) as threads:
        threads.each(compute, starts)
    return outputs


def predicted_as_it_is(
    features: Any, weights: list[Any], biases: list[Any], activations: tuple[int, ...]
) -> np.ndarray | None:
    """Return the outputs of a few rows in arrays of the kernel's own kind; None for all else.

    Half of the time of the general way, for one row. What is not right it leaves to that one,
    which finds out where it is.
    """
    if not is_plain(features, 2) or len(weights) != len(biases):
        return None
    sizes = [features.shape[1]]
    for w, b in zip(weights, biases, strict=True):
        if not (is_plain(w, 2) and is_plain(b, 1) and w.shape == (sizes[-1], b.size)):
            return None
        sizes.append(b.size)
    n = features.shape[0]
    if 0 in sizes or n == 0:
        return None
    plan, state = _prediction_plan(tuple(sizes), activations, min(n, kernels.MOST_ROWS))
    if n * plan.row_work > neuron.PREDICTED_AT_ONCE:
        return None
    parameters = _whole(plan, weights + biases)
    outputs = np.empty((n, sizes[-1]))
    work = np.empty(plan.work_size)
    finite = kernels.network_outputs(read_only(features), parameters, state, work, outputs)
    return outputs if finite else None


@functools.lru_cache(maxsize=256)
def _prediction_plan(
    sizes: tuple[int, ...], activations: tuple[int, ...], batch_rows: int
) -> tuple[kernels.Plan, np.ndarray]:
    """Return the plan of a network, and the kernel's integers, which it only reads."""
    plan = kernels.plan(sizes, activations, 1, batch_rows)
    state = np.zeros(at.N_INTEGERS + len(plan.table), dtype=np.int64)
    state[at.N_FEATURES] = sizes[0]
    state[at.TILE_ROWS] = plan.tile_rows
    state[at.N_LAYERS] = len(activations)
    state[at.LAYERS :] = plan.table
    return plan, state
