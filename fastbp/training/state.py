"""What a fit leaves behind so that the next one can continue it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

import numpy as np

from fastbp import arguments
from fastbp.data.order import Random
from fastbp.kernels import layout
from fastbp.training.optimizers import OPTIMIZERS, Optimizer

Batching = tuple[int, int, bool | str]
ARRAYS = "moments", "partial_sums", "epoch_start"
MOST = 2**62 - 1
NOTHING = np.empty(0)
BEST = "best_state."
"""How the names of the arrays begin that belong to the best parameters."""
DRAWN_AHEAD = {"MT19937": 624, "Philox": 4}
"""How many numbers these generators of NumPy draw at once and keep."""


class Best(NamedTuple):
    """What validation has found best: its loss, the parameters, and the state that is theirs."""

    loss: float
    parameters: np.ndarray
    state: TrainingState


@dataclass(eq=False)  # frozen, it would take three times as long to make
class TrainingState:
    """What a fit leaves behind, besides its parameters, so that another can continue it.

    Pass it as `state`, with the fit's parameters as initial values and otherwise the same
    arguments: the two fits together equal one that never stopped, bit for bit, even if the first
    one was interrupted within an epoch (but for L-BFGS, whose memory is SciPy's and cannot be kept:
    it begins with an empty one). The initial values and the optimizer are checked and,
    within an epoch, how it is divided; other rows, losses or rates may be intended and are
    accepted. A generator whose state it holds is used again, whatever `random_state` says.

    Attributes
    ----------
    optimizer : SGD, Adam, AdamW, RMSprop or LBFGS
    epoch : int
        Epochs completed, of all fits together.
    moments : numpy.ndarray, shape (0, 1 or 2, n)
        The optimizer's moments of each parameter, in the order of the kernels. Of the fit's dtype,
        which another must have to continue it.
    powers : tuple of float
        beta_1 and beta_2 of Adam to the power of the updates made.
    random_state : dict or None
        The state of the generator that draws the orders, from before the order of an epoch under
        way was drawn.
    batch_start, next_chunk : int
        In an epoch under way: how many of its rows the parameters have learned from, and how many
        chunks of the next batch are in the partial sums.
    partial_sums : numpy.ndarray of float64
        The sums of gradient, loss and weight of the group of chunks under way; then, of batches of
        several groups, those of the groups before it. Empty if there are none.
    epoch_start : numpy.ndarray of the fit's dtype
        The parameters at the start of the epoch; empty if none is under way.
    batching : tuple
        How an epoch is divided: its rows, those of a batch, whether and how they are shuffled.
    epoch_sums : tuple of float
        The loss of the epoch so far, what its rounding lost, and its weight.
    best_loss, stale_epochs
        The lowest loss, and the epochs since it fell by more than `tol`.
    checksum : int
        CRC-32 of the parameters that belong to it.
    ended : str or None
        Why the fit had ended, ``"tol"`` or ``"callback"``, when Ctrl-C came just then: a fit that
        continues it returns at once.
    best : Best or None
        Of an interrupted fit whose validation loss decides what it returns: the best so far.
    validation_due : bool
        Whether Ctrl-C came before the validation loss of the last epoch.
    """

    optimizer: Optimizer
    epoch: int
    moments: np.ndarray = field(repr=False)
    powers: tuple[float, float] = (1.0, 1.0)
    random_state: dict[str, Any] | None = field(default=None, repr=False)
    batch_start: int = 0
    next_chunk: int = 0
    partial_sums: np.ndarray = field(default_factory=lambda: NOTHING, repr=False)
    epoch_start: np.ndarray = field(default_factory=lambda: NOTHING, repr=False)
    batching: Batching = (0, 0, False)
    epoch_sums: tuple[float, float, float] = (0.0, 0.0, 0.0)
    best_loss: float = float("inf")
    stale_epochs: int = 0
    checksum: int = 0
    ended: str | None = None
    best: Best | None = field(default=None, repr=False)
    validation_due: bool = False

    def check(self, parameters: np.ndarray, batching: Batching, chunks: tuple[int, int]) -> None:
        """Refuse what no fit of such flat parameters leaves behind that divides epochs so.

        `chunks` are the rows of a chunk and the chunks of a group. Anybody may have made it, and
        kernels check nothing. (What `random_state` holds is checked where a generator is made of
        it.)

        Raises
        ------
        ValueError
            The message says which field was expected to be what.
        """
        for name in ("epoch", "stale_epochs", "batch_start", "next_chunk"):
            _check_whole(name, getattr(self, name), MOST)
        own = self.batching
        kinds = [type(value) for value in own] if isinstance(own, tuple) else []
        if kinds not in ([int, int, bool], [int, int, str]) or own[2] not in (
            True,
            False,
            "window",
        ):
            _refuse("batching to be a tuple of rows, rows of a batch and shuffling", own)
        if self.within_epoch and own != batching:
            raise ValueError(
                f"state: expected a fit of {_described(*own)}, to continue within an epoch, got"
                f" {_described(*batching)}"
            )
        n_rows, batch_rows, _ = batching
        _check_whole("batch_start", self.batch_start, n_rows - 1)
        if self.batch_start % batch_rows:
            _refuse(f"batch_start to be a multiple of batches of {batch_rows}", self.batch_start)
        rows = min(batch_rows, n_rows - self.batch_start)
        chunk_rows, group_chunks = chunks
        _check_whole("next_chunk", self.next_chunk, -(-rows // chunk_rows) - 1)
        self._check_arrays(parameters, 1 + (batch_rows > group_chunks * chunk_rows))
        self._check_numbers()
        if self.best is not None:
            self._check_best(self.best)
            self.best.state.check(parameters, batching, chunks)
            if self.best.state.within_epoch:
                _refuse("best to have the state after an epoch", self.best.state)

    @property
    def within_epoch(self) -> bool:
        """Whether an epoch is under way."""
        return self.batch_start > 0 or self.next_chunk > 0

    def check_dtype(self, dtype: np.dtype[Any]) -> None:
        """Refuse that of a fit in another dtype."""
        own = getattr(self.moments, "dtype", dtype)
        if own != dtype:
            raise ValueError(f"state: expected that of a fit in {dtype}, got that of one in {own}")

    def _check_arrays(self, parameters: np.ndarray, n_sums: int) -> None:
        n_parameters, own = parameters.size, parameters.dtype
        sums = n_sums * (n_parameters + layout.SUMS_IN_ROW) if self.next_chunk else 0
        expected: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {
            "moments": ((self.optimizer.n_moments, n_parameters), own),
            "partial_sums": ((sums,), arguments.FLOAT64),
            "epoch_start": ((n_parameters if self.within_epoch else 0,), own),
        }
        for name, (shape, dtype) in expected.items():
            array = getattr(self, name)
            if not (isinstance(array, np.ndarray) and (array.shape, array.dtype) == (shape, dtype)):
                _refuse(f"{name} to be an array of shape {shape} and dtype {dtype}", array)
        if self.epoch_start.size and not np.isfinite(self.epoch_start).all():
            _refuse("epoch_start to be finite", self.epoch_start)
        if self.next_chunk:
            for each in np.split(self.partial_sums, n_sums):
                _check_weight("partial_sums", each[n_parameters + layout.WEIGHT_SUM])

    def _check_numbers(self) -> None:
        check_moments(self.optimizer, self.moments, self.powers)
        _check_tuple("epoch_sums", self.epoch_sums, 3)
        _check_weight("epoch_sums", self.epoch_sums[2])
        if not self.within_epoch and any(self.epoch_sums):
            _refuse("epoch_sums to be 0 between epochs", self.epoch_sums)
        if not isinstance(self.validation_due, bool):
            _refuse("validation_due to be True or False", self.validation_due)
        if not isinstance(self.ended, str | None) or self.ended not in (None, "tol", "callback"):
            _refuse("ended to be None, 'tol' or 'callback'", self.ended)
        if not (all_real([self.best_loss]) and self.best_loss > -np.inf):
            _refuse("best_loss to be a number", self.best_loss)

    def _check_best(self, best: Best) -> None:
        if not isinstance(best, Best) or not isinstance(best.state, TrainingState):
            _refuse("best to be a loss, parameters and their state", best)
        rule, array = best.state.optimizer, best.parameters
        same = type(rule) is type(self.optimizer) and rule == self.optimizer
        is_array = isinstance(array, np.ndarray) and array.dtype == self.moments.dtype
        if not is_array or array.shape != self.moments.shape[1:] or not np.isfinite(array).all():
            _refuse("best to have finite parameters, as many as the fit", array)
        if not same or best.state.best is not None:
            _refuse("best to have a state of this fit, without a best of its own", best.state)
        if not all_real([best.loss]):
            _refuse("best to have a loss", best.loss)

    def to_stored(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return its arrays, and the rest as JSON can hold it."""
        fields = dict(vars(self))
        arrays = {name: fields.pop(name) for name in ARRAYS}
        if self.best is not None:
            of_best, kept = self.best.state.to_stored()
            of_best["parameters"] = self.best.parameters
            arrays |= {BEST + name: array for name, array in of_best.items()}
            fields["best"] = {"loss": self.best.loss, "state": kept}
        kind = type(self.optimizer).__name__
        return arrays, {**fields, "optimizer": {"kind": kind, **vars(self.optimizer)}}

    @classmethod
    def from_stored(cls, arrays: dict[str, np.ndarray], fields: dict[str, Any]) -> TrainingState:
        """Rebuild it; `arrays` may hold others too."""
        optimizer = dict(fields["optimizer"])
        kind = {kind.__name__: kind for kind in OPTIMIZERS.values()}[optimizer.pop("kind")]
        tuples = {name: tuple(fields[name]) for name in ("powers", "epoch_sums", "batching")}
        dtype = arguments.dtype("moments", arrays["moments"].dtype)
        dtypes = dtype, arguments.FLOAT64, dtype
        own: dict[str, Any] = {
            name: _of_dtype(name, arrays[name], each)
            for name, each in zip(ARRAYS, dtypes, strict=True)
        }
        if fields["best"] is not None:
            of_best = {n.removeprefix(BEST): a for n, a in arrays.items() if n.startswith(BEST)}
            state = cls.from_stored(of_best, fields["best"]["state"])
            state.check_dtype(dtype)
            parameters = _of_dtype("parameters", of_best["parameters"], dtype)
            own["best"] = Best(fields["best"]["loss"], parameters, state)
        return cls(**{**fields, **tuples, **own, "optimizer": kind(**optimizer)})


def _of_dtype(name: str, array: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    if array.dtype != dtype:
        raise ValueError(f"{name}: expected dtype {dtype}, got {array.dtype}")
    return array


def check_moments(optimizer: Optimizer, moments: np.ndarray, powers: Any) -> None:
    """Refuse what no optimizer keeps, in arrays of the right shape.

    Squares may have become infinite; what the sum of a batch holds is found at its end.
    """
    squares = moments[optimizer.squares]
    if moments.size and (np.isnan(moments).any() or (squares < 0.0).any()):
        _refuse("moments to be numbers, and means of squares not negative", moments)
    _check_tuple("powers", powers, 2)
    if not all(0.0 <= power <= 1.0 for power in powers):
        _refuse("powers to be from 0 to 1", powers)


def _check_tuple(name: str, values: Any, length: int) -> None:
    if not (isinstance(values, tuple) and len(values) == length and all_real(values)):
        _refuse(f"{name} to be a tuple of {length} numbers", values)


def all_real(values: Sequence[Any]) -> bool:
    """Return whether all are real numbers, and no booleans."""
    kinds = int, float, np.integer, np.floating
    return all(isinstance(value, kinds) and not isinstance(value, bool) for value in values)


def _described(n_rows: int, batch_rows: int, shuffle: bool | str) -> str:
    how = {True: ", shuffled", "window": ", shuffled in windows"}.get(shuffle, "")
    return f"{n_rows} rows in batches of {batch_rows}{how}"


def _check_whole(name: str, value: Any, most: int) -> None:
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not (is_whole and 0 <= value <= most):
        _refuse(f"{name} to be an integer from 0 to {most}", value)


def _check_weight(name: str, value: float) -> None:
    if not 0.0 <= value < np.inf:
        _refuse(f"the weight in {name} to be finite and not negative", value)


def _refuse(expected: str, got: Any) -> NoReturn:
    raise ValueError(f"state: expected {expected}, got {arguments.describe(got)}")


def generator_state(random: Random) -> dict[str, Any]:
    """Return the state of a generator of either kind."""
    if isinstance(random, np.random.RandomState):
        return dict(random.get_state(legacy=False), legacy=True)
    return dict(random.bit_generator.state)


def set_generator_state(random: Random, state: dict[str, Any]) -> None:
    """Set the state of a generator of either kind."""
    if isinstance(random, np.random.RandomState):
        random.set_state(state)
    else:
        random.bit_generator.state = state


def same_state(a: Any, b: Any) -> bool:
    """Return whether two states, or parts of them, are equal."""
    if isinstance(a, dict):
        return isinstance(b, dict) and all(same_state(a[name], b.get(name)) for name in a)
    return bool(np.array_equal(a, b))


def generator_from(state: Any) -> Random:
    """Return a new generator in that state, which anybody may have made."""
    name = state.get("bit_generator") if isinstance(state, dict) else state
    bits: Any = getattr(np.random, name, None) if isinstance(name, str) else None
    known = isinstance(bits, type) and issubclass(bits, np.random.BitGenerator)
    if not known or bits is np.random.BitGenerator:
        raise ValueError(f"state: expected a bit generator of NumPy, got {name!r}")
    try:
        if name in DRAWN_AHEAD:  # beyond these NumPy would read other memory
            drawn = state["state"]["pos"] if name == "MT19937" else state["buffer_pos"]
            if drawn not in range(DRAWN_AHEAD[name] + 1):
                raise ValueError(f"position {drawn}")
        generator = bits()
        generator.state = state
        if not state.get("legacy"):
            return np.random.Generator(generator)
        legacy = np.random.RandomState(generator)
        legacy.set_state(state)
        return legacy
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"state: expected that of a generator of NumPy, got {error!r}") from None
