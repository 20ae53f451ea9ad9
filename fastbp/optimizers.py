"""Optimizers, and what a fit leaves behind for the next one to go on from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from fastbp import _validation as check
from fastbp.kernels import layout as at
from fastbp.kernels import update


def _fraction(name: str, value: Any) -> float:
    number = check.real(name, value)
    if not 0.0 <= number < 1.0:
        raise ValueError(f"{name}: expected a number from 0 to below 1, got {number}")
    return number


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Gradient descent, with or without momentum.

    The learning rate is an argument of the fit. With momentum: v <- momentum v - learning_rate g,
    and v is added to the parameters; with `nesterov`, momentum v - learning_rate g with the new v
    is. As in scikit-learn (Sutskever et al., ICML 2013).

    Parameters
    ----------
    momentum : float
        From 0 to 1; 0 is plain gradient descent, 1 never slows down.
    nesterov : bool

    Raises
    ------
    TypeError, ValueError
        If one of them is of another kind, or outside its range.

    Examples
    --------
    >>> from fastbp import SGD, fit_neuron
    >>> fit = fit_neuron([[0.0], [1.0]], [0, 1], [0.0], 0.0, 1.0, 100, optimizer=SGD(momentum=0.9))
    >>> bool(fit.losses[-1] < 0.01)
    True
    """

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "momentum", check.real("momentum", self.momentum))
        if not 0.0 <= self.momentum <= 1.0:
            raise ValueError(f"momentum: expected a number from 0 to 1, got {self.momentum}")
        if not isinstance(self.nesterov, bool | np.bool_):
            raise TypeError(f"nesterov: expected True or False, got {self.nesterov!r}")
        object.__setattr__(self, "nesterov", bool(self.nesterov))

    @property
    def code(self) -> int:
        """Its number in the kernels."""
        if self.momentum == 0.0:
            return update.PLAIN_SGD
        return update.NESTEROV_SGD if self.nesterov else update.MOMENTUM_SGD

    @property
    def n_moments(self) -> int:
        """Arrays of the size of the parameters that it keeps."""
        return 0 if self.momentum == 0.0 else 1

    @property
    def constants(self) -> dict[int, float]:
        """What the kernels find of it, by place."""
        return {at.MOMENTUM: self.momentum}


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam (Kingma and Ba, ICLR 2015), in the form and with the defaults of scikit-learn.

    The learning rate is an argument of the fit. This is the paper's faster form, at the end of its
    section 2, where epsilon is not corrected for bias: PyTorch's main form differs in that.
    m <- beta_1 m + (1 - beta_1) g and v <- beta_2 v + (1 - beta_2) g**2; update t subtracts
    learning_rate sqrt(1 - beta_2**t) / (1 - beta_1**t) m / (sqrt(v) + epsilon).

    Parameters
    ----------
    beta_1, beta_2 : float
        From 0 to below 1: how slowly the means of the gradient and its square forget.
    epsilon : float
        Above 0.

    Raises
    ------
    TypeError, ValueError
        If one of them is no number, or outside its range.

    Examples
    --------
    >>> from fastbp import Adam, fit_neuron
    >>> fit = fit_neuron([[0.0], [1.0]], [0, 1], [0.0], 0.0, 0.1, 50, optimizer=Adam(beta_1=0.8))
    >>> bool(fit.losses[-1] < fit.losses[0])
    True
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta_1", _fraction("beta_1", self.beta_1))
        object.__setattr__(self, "beta_2", _fraction("beta_2", self.beta_2))
        object.__setattr__(self, "epsilon", check.real("epsilon", self.epsilon))
        if self.epsilon <= 0.0:
            raise ValueError(f"epsilon: expected a number above 0, got {self.epsilon}")

    code = update.ADAM
    n_moments = 2

    @property
    def constants(self) -> dict[int, float]:
        """What the kernels find of it, by place."""
        return {at.BETA_1: self.beta_1, at.BETA_2: self.beta_2, at.EPSILON: self.epsilon}


@dataclass(frozen=True)
class GradientOnly:
    """No optimizer: the gradient is kept where moments are, the parameters stay."""

    code = update.KEEP_GRADIENT
    n_moments = 1
    constants: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LossOnly:
    """No optimizer, and no gradient."""

    code = update.KEEP_LOSS
    n_moments = 0
    constants: dict[int, float] = field(default_factory=dict)


Optimizer = SGD | Adam | GradientOnly | LossOnly
NAMES: dict[str, SGD | Adam] = {"sgd": SGD(), "adam": Adam()}


def optimizer_of(name: str, value: Any) -> SGD | Adam:
    """Return an optimizer given by itself or by name."""
    if isinstance(value, SGD | Adam):
        return value
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected SGD(), Adam() or a name, got {check.describe(value)}")
    return NAMES[check.choice(name, value, NAMES)]


@dataclass(frozen=True, eq=False)
class TrainingState:
    """What a fit leaves behind, beside its parameters, for another to go on from.

    Hand it on as `state`, with the fit's parameters as start values and otherwise the same
    arguments: the two fits together are one that never stopped, bit for bit, also where the
    first was interrupted within an epoch. Start values, optimizer and, within an epoch, the place
    are checked; other rows, batches, losses or rates may be wanted and are taken as they come. A
    generator that it holds goes on, whatever `random_state` says.

    Attributes
    ----------
    optimizer : SGD or Adam
    epoch : int
        Whole epochs completed, of all fits together.
    moments : numpy.ndarray of float64, shape (0, 1 or 2, n)
        The optimizer's running means for each parameter, in the order of the kernels.
    powers : tuple of float
        beta_1 and beta_2 of Adam to the power of the updates made.
    random_state : dict or None
        The state of the generator of the orders, from before that of an epoch under way.
    batch_start, next_chunk : int
        Of an epoch under way: its rows that are in the parameters, and the chunks of the batch
        after them that are in its partial sums.
    partial_sums, epoch_start : numpy.ndarray of float64
        Those sums, gradient, loss and weight; the parameters at the start of the epoch. Empty
        where nothing is under way.
    cut : tuple
        How the epochs were cut up: rows, rows of a batch, whether and how shuffled.
    epoch_sums : tuple of float
        Their loss, what its rounding lost, and their weight.
    best_loss, stale_epochs
        The least loss, and the epochs since it fell by more than `tol`.
    checksum : int
        CRC-32 of the parameters that belong to it.
    """

    optimizer: SGD | Adam
    epoch: int
    moments: np.ndarray = field(repr=False)
    powers: tuple[float, float] = (1.0, 1.0)
    random_state: dict[str, Any] | None = field(default=None, repr=False)
    batch_start: int = 0
    next_chunk: int = 0
    partial_sums: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    epoch_start: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    cut: tuple[int, int, bool | str] = (0, 0, False)
    epoch_sums: tuple[float, float, float] = (0.0, 0.0, 0.0)
    best_loss: float = float("inf")
    stale_epochs: int = 0
    checksum: int = 0


STATE_ARRAYS = "moments", "partial_sums", "epoch_start"


def with_state(
    arrays: dict[str, np.ndarray], fields: dict[str, Any], state: TrainingState | None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return what a file holds of a fit, with its state added."""
    if state is None:
        return arrays, fields
    content = {name: value for name, value in vars(state).items() if name not in STATE_ARRAYS}
    kind = type(state.optimizer).__name__
    content["optimizer"] = {"kind": kind, **asdict(state.optimizer)}
    content["random_state"] = _plain(state.random_state)
    kept = {name: getattr(state, name) for name in STATE_ARRAYS}
    return {**arrays, **kept}, {**fields, "state": content}


def state_restored(
    arrays: dict[str, np.ndarray], fields: dict[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the fit's own part of what a file holds, its state made again."""
    if "state" not in fields:
        return arrays, fields
    content = dict(fields["state"])
    optimizer = dict(content["optimizer"])
    kind: type[SGD | Adam] = {"SGD": SGD, "Adam": Adam}[optimizer.pop("kind")]
    content["optimizer"] = kind(**optimizer)
    content["random_state"] = _with_arrays(content["random_state"])
    for name in ("powers", "epoch_sums", "cut"):
        content[name] = tuple(content[name])
    kept: dict[str, Any] = {name: arrays[name] for name in STATE_ARRAYS}
    return arrays, {**fields, "state": TrainingState(**kept, **content)}


def _plain(value: Any) -> Any:
    """Return a generator's state as JSON can hold it; an array as its type and its numbers."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.str, "array": value.tolist()}
    return value.item() if isinstance(value, np.generic) else value


def _with_arrays(value: Any) -> Any:
    """Return what :func:`_plain` was given."""
    if not isinstance(value, dict):
        return value
    if value.keys() == {"dtype", "array"}:
        return np.array(value["array"], dtype=value["dtype"])
    return {name: _with_arrays(entry) for name, entry in value.items()}


def generator_state(random: np.random.Generator | np.random.RandomState) -> dict[str, Any]:
    """Return the state of a generator of either kind."""
    if isinstance(random, np.random.RandomState):
        return dict(random.get_state(legacy=False), legacy=True)
    return dict(random.bit_generator.state)


def generator_from(state: dict[str, Any]) -> np.random.Generator | np.random.RandomState:
    """Return a new generator in that state."""
    name = state["bit_generator"]
    bits = getattr(np.random, name, None)
    if not (isinstance(bits, type) and issubclass(bits, np.random.BitGenerator)):
        raise ValueError(f"state: expected a bit generator of NumPy, got {name!r}")
    generator = bits()
    generator.state = state
    if state.get("legacy"):
        legacy = np.random.RandomState(generator)
        legacy.set_state(state)
        return legacy
    return np.random.Generator(generator)
