"""One neuron: the array interface."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fastbp import arguments
from fastbp.arguments import FLOAT64
from fastbp.data import checks
from fastbp.data.arrays import rows_of
from fastbp.data.labels import Samples, Targets
from fastbp.data.sources.dask_rows import mapped_rows
from fastbp.data.sources.pieces import is_collection
from fastbp.kernels import layout
from fastbp.kernels import neuron as kernels
from fastbp.kernels.online_neuron import online_neuron_steps
from fastbp.kernels.update import PLAIN_SGD
from fastbp.kernels.vector import LANES, whole_vectors
from fastbp.models.activations import ACTIVATIONS, HiddenActivation, hidden_activations
from fastbp.models.fits import Fit, check_names, counted, fields_of, restored, restored_dtype
from fastbp.models.losses import LOSSES, NeuronLoss, check_pair, neuron_loss_names
from fastbp.models.neuron_prediction import (
    checked_vector,
    predicted_by_neuron,
    predicted_by_neuron_directly,
    predicted_part,
)
from fastbp.system.interrupts import interrupt_safe
from fastbp.training.callbacks import EpochState
from fastbp.training.checkpoints import digest
from fastbp.training.driver import fit
from fastbp.training.optimizers import OPTIMIZERS, Optimizer, OptimizerName
from fastbp.training.problem import Model, Options, Outcome, Problem
from fastbp.training.state import TrainingState

KERNELS = interrupt_safe(
    kernels.neuron_small, kernels.neuron_steps, online_neuron_steps, kernels.neuron_outputs
)


@dataclass(eq=False, repr=False)  # frozen, it would take three times as long to make
class NeuronFit(Fit):
    """What :func:`fit_neuron` returns; it unpacks as ``weights, bias, losses``.

    Attributes
    ----------
    weights : numpy.ndarray, shape (n_features,)
        Of the fit's `dtype`, in which it predicts.
    bias : float
    losses : numpy.ndarray of float64, shape (n_epochs,)
        The loss of each completed epoch, taken before its updates.
    activation, loss : str
        Those of the fit.
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

    Examples
    --------
    >>> from fastbp import fit_neuron
    >>> fit = fit_neuron([[0.0], [1.0]], [0, 1], [0.0], 0.0, 1.0, 100)
    >>> fit
    NeuronFit(1 feature, 2 parameters, 100 epochs, loss 0.01983)
    >>> weights, bias, losses = fit
    >>> fit.predict([[0.0], [1.0]]).round(2)
    array([0.15, 0.88])
    """

    weights: np.ndarray
    bias: float
    losses: np.ndarray
    activation: HiddenActivation = "sigmoid"
    loss: NeuronLoss = "mse"
    stopped: str = "epochs"
    validation_losses: np.ndarray | None = None
    state: TrainingState | None = None
    feature_names: list[str] | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter((self.weights, self.bias, self.losses))

    def predict(self, features: Any) -> np.ndarray:
        """Return the outputs for rows of features: see :func:`predict_neuron`."""
        check_names(features, self.feature_names)
        how: dict[str, Any] = {"activation": self.activation, "dtype": self.weights.dtype}
        return predict_neuron(features, self.weights, self.bias, **how)

    def to_stored(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return its arrays and JSON fields for saving."""
        bias = np.array([self.bias], dtype=self.weights.dtype)
        parameters = {"weights": self.weights, "bias": bias}
        return self._stored(parameters, {"activation": self.activation})

    def _size(self) -> tuple[str, int, np.dtype[Any]]:
        d = self.weights.size
        return counted(d, "feature"), d + 1, self.weights.dtype

    @classmethod
    def from_stored(cls, arrays: dict[str, np.ndarray], fields: dict[str, Any]) -> NeuronFit:
        """Rebuild it from saved arrays and fields."""
        stored, bias = arrays["weights"], float(arrays["bias"][0])
        dtype, names = restored_dtype("weights", stored), (fields["activation"], fields["loss"])
        weights = checks.vector("weights", stored, stored.size, "one a feature", rows=False)
        NeuronModel(weights.size, weights, bias, *names, dtype)  # checks them, and the names
        weights = weights.astype(dtype, copy=False)
        return cls(weights, bias, **restored(arrays, fields, weights.size, dtype))


@arguments.names_in_docs(
    activations=hidden_activations(),
    losses=neuron_loss_names(),
    optimizers=OPTIMIZERS,
    dtypes=arguments.DTYPES,
)
def fit_neuron(
    features: Any,
    labels: Any,
    initial_weights: Any,
    initial_bias: float,
    learning_rate: float | Callable[[int], float] | None,
    epochs: int,
    *,
    activation: HiddenActivation = "sigmoid",
    loss: NeuronLoss = "mse",
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
) -> NeuronFit:
    """Train one neuron by gradient descent, or L-BFGS.

    The same result, bit for bit, for any number of threads, with or without `callback` and
    `progress`.

    Parameters
    ----------
    features : array-like, shape (n_samples, n_features), or Rows
        Real numbers: an array, a table of pandas, Polars or pyarrow, a Dask array or DataFrame (see
        Notes), or the rows of :func:`open_rows` or of a virtual data set. Arrays whose rows are
        contiguous are read as they are stored: float64 always, float32 from 8,193 numbers on (with
        `dtype` float32 always), float16, integers of 8 to 64 bits and booleans from 1,048,577 on,
        because the first fit to a dtype compiles for some seconds. The result is that of the
        converted rows, bit for bit. Any other array is converted to float64, as a whole up to 64
        MiB, otherwise a block of rows at a time in every epoch. For rows in files, some 64 MiB
        are in memory at any time, whatever their size, as the next blocks are read while one is
        computed: 4 MiB a thread that reads, and three windows of 16 MiB with shuffle "window".
        Several epochs may read a temporary copy instead (see Notes).
    labels : array-like, shape (n_samples,) or (n_samples, 1), or None
        From 0 to 1 for the loss ``"bce"``. None if the rows carry their labels. A Dask array,
        Series or DataFrame, too.
    initial_weights : array-like, shape (n_features,)
    initial_bias : float
    learning_rate : float or callable, or None
        A number, or a function from the epoch (from 0) to one, such as those of
        :mod:`fastbp.schedules`. The function is called once per epoch, in order, possibly some
        epochs ahead. None with the optimizer ``"lbfgs"``, which chooses its steps itself.
    epochs : int
        Passes over all rows; with ``"lbfgs"`` the most iterations.
    activation : {activations}, default "sigmoid"
    loss : {losses}, default "mse"
        Those of :func:`fit_network`, for one output: ``"mse"`` is the squared error.
    optimizer : {optimizers}, or an optimizer
        By name with its defaults, or one with values of your own, such as ``SGD(momentum=0.9)``.
        ``"lbfgs"`` goes by the loss of all rows and takes no rate, batches or shuffling: see
        :class:`fastbp.LBFGS`, also for what differs in `tol`, `state` and `checkpoint`.
    batch_size : int, optional
        Rows of each update; None takes all, 1 trains online. A shorter last batch is averaged over
        its own rows.
    shuffle : bool or "window"
        Visit the rows in a new random order each epoch. True permutes them all, which needs
        random access to the rows; ``"window"`` permutes blocks of 2 MiB, and the rows within
        every eight blocks (see Notes), with the same order for every kind of source.
    random_state : int, numpy.random.Generator, numpy.random.RandomState, optional
        Seed or generator for the shuffles.
    sample_weight : array-like, shape (n_samples,), optional
        Not negative, and not all 0; a batch's loss is the weighted mean. A batch without weight
        changes nothing. A Dask array or Series, too.
    alpha : float
        Strength of the L2 penalty: alpha/2 times the squared weights, over the batch's rows (or
        its sum of weights), is added to each batch's loss. The bias is not penalized.
    clip_norm : float, optional
        The most that the Euclidean norm of a batch's gradient may be; longer ones are shortened to
        it. (Threads then share chunks of a batch only.)
    tol : float, optional
        Stop after `n_iter_no_change` consecutive epochs whose loss did not improve on the best by
        more than this. With `validation`, the loss on those rows decides, and the parameters with
        the lowest one are returned.
    n_iter_no_change : int
    validation : float, or (features, labels), or (features, labels, sample_weight), optional
        Rows to compute a loss on after each epoch, without penalty. A fraction, from 0 to 1,
        holds out that share of the rows: one of each run of 1/fraction rows, chosen by a hash
        that depends on the number of rows and the fraction alone.
    n_threads : int, optional
        None decides by the amount of work: one thread for little of it, never more than
        :func:`get_num_threads`. On a cluster, the threads of each task; None is one.
    callback : callable, optional
        Called after each epoch with an :class:`~fastbp.training.callbacks.EpochState`: ``epoch``,
        ``loss`` and read-only ``weights`` and ``bias``. Returning True stops the fit.
    progress : bool or "always"
        True shows a bar in a terminal or a notebook, ``"always"`` everywhere.
    checkpoint : path-like, optional
        A file for the state of the fit, written periodically, also within epochs, and when the
        fit ends. The same call in another process continues from there and gives a result
        bit-identical to that of a fit that was never stopped (not so ``"lbfgs"``, which begins
        with an empty memory, and saves between iterations only). A fit that has finished returns
        immediately, or continues if `epochs` is larger now. (`n_threads`, `callback` and `progress`
        may differ as well.)
    checkpoint_every : float
        Seconds between saves.
    state : TrainingState, optional
        The `state` of an earlier fit whose parameters are now the initial ones: continues with
        its optimizer, order of rows, count of epochs and `tol`, as if it had never stopped. (One
        that stopped on `tol` stops again at the next epoch without progress. ``"lbfgs"`` begins
        with an empty memory.)
    dtype : {dtypes}, or NumPy's dtype of that name, default "float64"
        That of the arithmetic, of the parameters and of predictions, whatever that of the rows.
        float32 computes twice as many numbers at a time, in half the memory, to about 7 digits
        instead of 16: errors below 1e-7 of the labels are lost, and so are their gradients, and
        numbers beyond 3.4e38 are infinite. Losses, sums of weights, and sums of what threads have
        computed stay in float64. The initial values are rounded to it.

    Returns
    -------
    NeuronFit
        Unpacks as ``weights, bias, losses``; nothing is rounded.

    Raises
    ------
    TypeError
        Text, complex numbers, or a non-number where a number is expected.
    ValueError
        Inconsistent shapes, or values or names that are not allowed.
    DataError
        A ragged or non-finite row, or a label that the loss is not defined for; the message
        names the file, if there is one.
    DivergenceError
        The loss or the parameters stopped being finite; it carries those from before.
    CheckpointError
        The checkpoint is that of another fit, or damaged, or it cannot be written (if that is
        found only during the fit, its attribute ``fit`` is the fit so far).
    ClusterError
        The cluster cannot go on, or has other versions; its attribute ``fit`` is the fit so far.

    Warns
    -----
    UserWarning
        If rows have to move to another worker of a cluster, once, or if its processors differ.
        After Ctrl-C: the fit returns what it has, ``stopped="interrupted"``: completed epochs in
        ``losses``, every completed update in the parameters. A second Ctrl-C raises, and the first
        one does in a fit that is sure to take no more than some 3 milliseconds.

    Notes
    -----
    z = x w + b and a = phi(z); dw = sum dz x, db = sum dz with dz = d loss/d z. An exception of
    `callback` or `learning_rate` propagates, with the fit so far as its attribute ``fit``.

    The window shuffle: blocks of 2**18 // n_features rows are permuted, and the rows of every eight
    consecutive blocks are permuted among themselves. An epoch draws one number s from
    `random_state`; the orders are those of ``numpy.random.default_rng([s, 0])`` for the blocks and
    ``[s, 1 + w]`` for window w. A source that can only be read from front to back is copied into a
    temporary file for it.

    Temporary copies: three epochs or more read text, compressed arrays and Dask collections only
    once, ten or more also Parquet and Arrow files, and folders. Later epochs read float64 numbers
    from a file without a name in the folder of temporary files (``TMPDIR``), if it takes at most a
    quarter of what is free there; otherwise, and if it cannot be written, every epoch reads the
    source. There is no copy of rows of at most 64 MiB, which are read into memory, of a ``.npy``,
    which is mapped, or of the blocks of a callable, which is called for each epoch.

    Dask collections: the result is that of the same rows in memory, bit for bit, however they are
    partitioned. Without a client of a cluster, this process's threads compute the partitions, from
    front to back, and two of them stay in memory. Lengths that Dask does not know are computed
    first, wherever Dask computes. An array with several chunks along its columns is rechunked to
    whole rows, and so are labels and weights whose partitions are not those of the features.
    Features, labels and weights that come from the same DataFrame are read one after another;
    ``open_rows(frame, target=...)`` reads them at once. The index is no feature. `shuffle` may be
    ``"window"``.

    Clusters: with an active ``distributed.Client``, Dask collections are computed on its workers
    and stay there, and so are rows of ``open_rows(..., cluster=client)``. Each pass sends the
    parameters out and gets sums of gradients back, one for each group of rows, whose size depends
    on the layers alone; so the result is that of one machine, bit for bit, if the processors are
    alike. `batch_size` is None or whole groups (the message of the error says how many rows they
    have), and `shuffle` False. A worker that dies costs its share of the pass.

    Examples
    --------
    >>> from fastbp import fit_neuron
    >>> features = [[1.0, 2.0], [2.0, 1.0], [-1.0, -2.0]]
    >>> fit = fit_neuron(features, [1, 0, 0], [0.1, -0.2], 0.0, 0.1, 100, loss="bce")
    >>> fit.weights.round(4), round(fit.bias, 4)
    (array([-0.9499,  1.5556]), -0.8033)
    """
    given = locals()
    dtype = arguments.dtype("dtype", dtype)
    rows = rows_of("features", features, dtype)
    model = NeuronModel(rows.n_features, initial_weights, initial_bias, activation, loss, dtype)
    return fit(model, rows, given)


class NeuronModel(Model[NeuronFit]):
    """A neuron of `d` features to be trained, its arguments checked."""

    def __init__(
        self,
        d: int,
        weights: Any,
        bias: Any,
        activation: str,
        loss: str,
        dtype: np.dtype[Any] = FLOAT64,
    ) -> None:
        arguments.choice("activation", activation, hidden_activations())
        arguments.choice("loss", loss, neuron_loss_names())
        check_pair(loss, activation)
        self._d = d
        self._start = checked_vector("initial_weights", weights, "initial_bias", bias, d, dtype)
        self._names: dict[str, Any] = {"activation": activation, "loss": loss}
        self.targets = Targets(loss, LOSSES[loss].labels, vector=True, dtype=dtype)

    def identity(self) -> dict[str, Any]:
        """Return what distinguishes this neuron from others."""
        own = {"dtype": self._start.dtype.name, **self._names}
        return {**own, "initial_weights and initial_bias": digest(self._start)}

    def named(self, parameters: np.ndarray) -> dict[str, Any]:
        """Return the user's view of flat parameters."""
        return {"weights": parameters[: self._d], "bias": float(parameters[-LANES])}

    def result(self, outcome: Outcome) -> NeuronFit:
        """Return what ``fit_neuron`` gives."""
        return NeuronFit(**self.named(outcome.parameters), **self._names, **fields_of(outcome))

    def problem(self, samples: Samples, options: Options) -> Problem:
        """Return the problem of these rows."""
        # A single row is a full batch: its result must be bit-identical to train_neuron's.
        single = options.batch_rows == 1 < samples.rows.n_rows
        plain = options.optimizer.code == PLAIN_SGD and options.clip_norm is None
        online = single and plain
        tile = min(kernels.tile_rows(self._d), whole_vectors(options.batch_rows))
        return Problem(
            kernel=online_neuron_steps if online else kernels.neuron_steps,
            samples=samples,
            options=options,
            parameters=self._start,
            n_weights=self._start.size - LANES,
            settings={
                layout.ACTIVATION: ACTIVATIONS[self._names["activation"]].code,
                layout.LOSS: LOSSES[self._names["loss"]].code,
            },
            tile_rows=tile,
            chunk_rows=kernels.chunk_rows(self._d),
            row_work=kernels.row_work(self._d),
            work_size=kernels.work_size(self._d, tile, self._start.itemsize),
            named=self.named,
        )


@arguments.names_in_docs(activations=hidden_activations(), dtypes=arguments.DTYPES)
def predict_neuron(
    features: Any,
    weights: Any,
    bias: float,
    *,
    activation: HiddenActivation = "sigmoid",
    dtype: arguments.Dtype = "float64",
) -> np.ndarray:
    """Return the outputs phi(x w + b) of one neuron.

    Parameters
    ----------
    features : array-like, shape (n_samples, n_features), or Rows
        Read, or converted, as by :func:`fit_neuron`, a block of rows at a time if large.
        Those of a Dask array or DataFrame give a lazy Dask array, in the same partitions, which
        is computed wherever Dask computes.
    weights : array-like, shape (n_features,)
    bias : float
    activation : {activations}, default "sigmoid"
    dtype : {dtypes}, or NumPy's dtype of that name, default "float64"
        That of the arithmetic and of the outputs; weights and bias are rounded to it.

    Returns
    -------
    numpy.ndarray of `dtype`, shape (n_samples,), or dask.array.Array
        A row's output does not depend on the rows around it, nor on the number of threads.

    Raises
    ------
    TypeError, ValueError, DataError
        As :func:`fit_neuron`.

    Examples
    --------
    >>> from fastbp import predict_neuron
    >>> predict_neuron([[0.0, 0.0], [1.0, 1.0]], [1.0, 2.0], -1.0).round(4)
    array([0.2689, 0.8808])
    """
    code = ACTIVATIONS[arguments.choice("activation", activation, hidden_activations())].code
    dtype = arguments.dtype("dtype", dtype)
    outputs = predicted_by_neuron_directly(features, weights, bias, code, dtype)
    if outputs is not None:
        return outputs
    rows = rows_of("features", features, dtype)
    n_weights = checks.number_array("weights", weights).size
    if n_weights != rows.n_features:
        raise ValueError(
            f"features: expected {n_weights} columns (one per weight), got {rows.n_features}"
        )
    parameters = checked_vector("weights", weights, "bias", bias, n_weights, dtype)
    if is_collection(features):
        part = functools.partial(predicted_part, parameters=parameters, activation=code)
        return mapped_rows("features", features, part, None, dtype)  # type: ignore[no-any-return]
    return predicted_by_neuron(rows, parameters, code)
