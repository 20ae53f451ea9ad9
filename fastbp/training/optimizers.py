"""Optimizers: how a gradient changes the parameters.

A new one is its rule in ``kernels/update.py``, and here a class and its name in `STOCHASTIC`.
LBFGS has no rule there: it is SciPy's, over whole passes (see ``lbfgs.py``).
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from fastbp import arguments
from fastbp.kernels import update

MOST_MEMORY = 1000  # each takes as much memory as two gradients


def _fraction(name: str, value: Any) -> float:
    number = arguments.real(name, value)
    if not 0.0 <= number < 1.0:
        raise ValueError(f"{name}: expected a number from 0 to below 1, got {number}")
    return number


def _not_negative(name: str, value: Any) -> float:
    return arguments.real(name, value, minimum=0.0)


def _positive(name: str, value: Any) -> float:
    number = arguments.real(name, value)
    if number <= 0.0:
        raise ValueError(f"{name}: expected a number above 0, got {number}")
    return number


class Optimizer(ABC):
    """What the kernels and those who choose a learning rate need to know of an optimizer."""

    usual_rate: ClassVar[float | None] = None
    """A learning rate that is safe on most data; None where it depends on them."""
    squares: ClassVar[slice] = slice(0)
    """Which of the arrays that it keeps are means of squares."""

    @property
    @abstractmethod
    def code(self) -> int:
        """Its number in the kernels."""

    @property
    @abstractmethod
    def n_moments(self) -> int:
        """How many arrays of the parameters' size it keeps."""

    @property
    def constants(self) -> tuple[float, ...]:
        """Its parameters, four at most, in the order in which the kernels' rule reads them."""
        return tuple(vars(self).values())


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Gradient descent, with or without momentum.

    The learning rate is an argument of the fit. With momentum: v <- momentum v - learning_rate g,
    and v is added to the parameters; with `nesterov`, momentum v - learning_rate g with the new v
    is. As in scikit-learn (Sutskever et al., ICML 2013).

    Parameters
    ----------
    momentum : float
        From 0 to 1; 0 is plain gradient descent; with 1 the velocity never decays.
    nesterov : bool

    Raises
    ------
    TypeError, ValueError
        If a value has the wrong type or is out of range.

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
        object.__setattr__(self, "momentum", arguments.real("momentum", self.momentum))
        if not 0.0 <= self.momentum <= 1.0:
            raise ValueError(f"momentum: expected a number from 0 to 1, got {self.momentum}")
        object.__setattr__(self, "nesterov", arguments.flag("nesterov", self.nesterov))

    @property
    def code(self) -> int:
        if self.momentum == 0.0:
            return update.PLAIN_SGD
        return update.NESTEROV_SGD if self.nesterov else update.MOMENTUM_SGD

    @property
    def n_moments(self) -> int:
        return 0 if self.momentum == 0.0 else 1


@dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba, ICLR 2015), in the form and with the defaults of scikit-learn.

    The learning rate is an argument of the fit. This is the paper's faster form, at the end of its
    section 2, where epsilon is not corrected for bias: PyTorch's main form differs in that.
    m <- beta_1 m + (1 - beta_1) g and v <- beta_2 v + (1 - beta_2) g**2; update t subtracts
    learning_rate sqrt(1 - beta_2**t) / (1 - beta_1**t) m / (sqrt(v) + epsilon).

    Parameters
    ----------
    beta_1, beta_2 : float
        From 0 to below 1: decay rates of the moving averages of the gradient and of its square.
    epsilon : float
        Above 0.

    Raises
    ------
    TypeError, ValueError
        If a value is not a number or is out of range.

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
        object.__setattr__(self, "epsilon", _positive("epsilon", self.epsilon))

    usual_rate = 0.01
    code, n_moments, squares = update.ADAM, 2, slice(1, 2)


@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """AdamW (Loshchilov and Hutter, ICLR 2019), with the formulas and defaults of PyTorch.

    The learning rate is an argument of the fit. Adam's m and v; update t first multiplies all
    parameters, biases as well, by 1 - learning_rate weight_decay, then subtracts
    learning_rate / (1 - beta_1**t) m / (sqrt(v) / sqrt(1 - beta_2**t) + epsilon).

    Parameters
    ----------
    beta_1, beta_2 : float
        From 0 to below 1: decay rates of the moving averages of the gradient and of its square.
    epsilon : float
        Above 0.
    weight_decay : float
        Not negative. Unlike the argument `alpha` of a fit, it is no part of the loss.

    Raises
    ------
    TypeError, ValueError
        If a value is not a number or is out of range.

    Examples
    --------
    >>> from fastbp import AdamW, fit_neuron
    >>> adamw = AdamW(weight_decay=0.1)
    >>> fit = fit_neuron([[0.0], [1.0]], [0, 1], [0.0], 0.0, 0.1, 50, optimizer=adamw)
    >>> bool(fit.losses[-1] < fit.losses[0])
    True
    """

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        decay = arguments.real("weight_decay", self.weight_decay, minimum=0.0)
        object.__setattr__(self, "weight_decay", decay)

    code = update.ADAMW


@dataclass(frozen=True, kw_only=True)
class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton, Coursera: Neural Networks for Machine Learning, 6.5, 2012).

    The learning rate is an argument of the fit. v <- rho v + (1 - rho) g**2; each update subtracts
    learning_rate g / (sqrt(v) + epsilon).

    Parameters
    ----------
    rho : float
        From 0 to below 1: decay rate of the moving average of the squared gradient.
    epsilon : float
        Above 0.

    Raises
    ------
    TypeError, ValueError
        If a value is not a number or is out of range.

    Examples
    --------
    >>> from fastbp import RMSprop, fit_neuron
    >>> fit = fit_neuron([[0.0], [1.0]], [0, 1], [0.0], 0.0, 0.1, 50, optimizer=RMSprop(rho=0.95))
    >>> bool(fit.losses[-1] < fit.losses[0])
    True
    """

    rho: float = 0.9
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        object.__setattr__(self, "rho", _fraction("rho", self.rho))
        object.__setattr__(self, "epsilon", _positive("epsilon", self.epsilon))

    usual_rate = 0.01
    code, n_moments, squares = update.RMSPROP, 1, slice(1)


@dataclass(frozen=True, kw_only=True)
class LBFGS(Optimizer):
    """L-BFGS: SciPy's L-BFGS-B, over the loss and gradient of all rows.

    Often the fastest way to the minimum where all rows can be gone over again, as those of a neuron
    or a small network. An epoch is one of its iterations, and `epochs` is the most of them: a pass
    over all rows, or a few where the line search takes several steps; one more before the first.
    The learning rate of the fit must be None, and there are no batches and no shuffling, because
    the line search chooses the steps by the loss of all rows. (Byrd, Lu, Nocedal and Zhu, SIAM J.
    Sci. Comput. 16, 1995; line search of More and Thuente, ACM TOMS 20, 1994.)

    Features need not be standardized: the variables of the iterations are the first layer's
    parameters as they would be for features less their means and divided by their deviations (means
    and deviations are rounded so that standardized features stay as they are; the first rows, about
    a thousand, tell whether one pass over the others is needed for them). Those of a neuron, or of
    a network of one layer, are such that features have no correlations either, as far as the first
    rows tell: for up to 256 features and, but for least squares, at least 8 rows a feature. Least
    squares take one or two iterations if there are no other rows. The first step, too, is as long
    as those rows advise. The tolerances are for these variables, and for losses in units of the
    first one where it is below one half and has units: all but ``"bce"`` and ``"cross_entropy"``.
    (The perceptrons' ``solver="lbfgs"`` does none of this, as scikit-learn's does not.)

    A fit ends, ``stopped="tol"``, when either tolerance is met, or no step along the gradient
    lowers the loss any more, because of rounding; the fit's own `tol` may end it before.

    SciPy's memory cannot be saved. A fit that continues another one, by `state` or from a
    checkpoint, begins with an empty memory at its parameters, and takes other steps from there than
    a fit that was never stopped: here that is not bit-identical. Nothing is saved within an epoch,
    and Ctrl-C returns the parameters of the last complete one.

    In float32, loss and gradient are computed at the parameters rounded to it, and SciPy computes
    in float64. What falls by less than 1.5e-8 there is rounding: `ftol` is at least that.

    The BLAS behind NumPy and SciPy is held to one thread meanwhile, in the whole process: the bits
    of SciPy's sums depend on the number of its threads.

    A loss that is not finite makes the line search step back; if it is not finite at the initial
    parameters, the fit raises DivergenceError.

    Parameters
    ----------
    memory : int
        At least 1: how many of the last steps estimate the curvature.
    gtol : float
        Not negative: end when no derivative is larger in magnitude. With the default, a logistic
        regression's coefficients have about three digits, also along the directions in which its
        loss is flattest.
    ftol : float
        Not negative: end when an iteration lowers the loss by no more than `ftol` times the larger
        of the loss and 1. The default is 64 times the rounding error of float64, as in
        scikit-learn's ``LogisticRegression``.

    Raises
    ------
    TypeError, ValueError
        If a value has the wrong type or is out of range.

    Examples
    --------
    >>> from fastbp import LBFGS, fit_neuron
    >>> features, labels = [[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]
    >>> fit = fit_neuron(features, labels, [0.0], 0.0, None, 100, loss="bce",
    ...                  optimizer=LBFGS(gtol=1e-8))
    >>> fit.weights.round(6), round(fit.bias, 6), fit.stopped, bool(fit.n_epochs < 10)
    (array([0.908184]), -1.362276, 'tol', True)
    """

    memory: int = 10
    gtol: float = 2e-7
    ftol: float = 2.0**-46

    def __post_init__(self) -> None:
        memory = arguments.integer("memory", self.memory, minimum=1, maximum=MOST_MEMORY)
        object.__setattr__(self, "memory", memory)
        object.__setattr__(self, "gtol", _not_negative("gtol", self.gtol))
        object.__setattr__(self, "ftol", _not_negative("ftol", self.ftol))

    code, n_moments = update.KEEP_GRADIENT, 0  # of its passes: what is kept is SciPy's


@dataclass(frozen=True)
class NoUpdate:
    """What stands for an optimizer where the parameters stay as they are."""

    code: int
    n_moments: int
    constants: tuple[float, ...] = ()


GRADIENT_ONLY = NoUpdate(update.KEEP_GRADIENT, 1)  # the gradient is kept in place of moments
LOSS_ONLY = NoUpdate(update.KEEP_LOSS, 0)
Rule = Optimizer | NoUpdate
STOCHASTIC: dict[str, type[Optimizer]] = {
    "sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSprop
}  # fmt: skip
"""Those that update the parameters after each batch, by a rule of the kernels."""
OPTIMIZERS: dict[str, type[Optimizer]] = {**STOCHASTIC, "lbfgs": LBFGS}
# For type checkers; a test compares them.
StochasticName = Literal["sgd", "adam", "adamw", "rmsprop"]
OptimizerName = Literal[StochasticName, "lbfgs"]


def optimizer_of(value: Any) -> Optimizer:
    """Return an optimizer given by itself or by name."""
    if not isinstance(value, str):
        if isinstance(value, Optimizer):
            return value
        known = ", ".join(f"{kind.__name__}()" for kind in OPTIMIZERS.values())
        raise TypeError(f"optimizer: expected {known} or a name, got {arguments.describe(value)}")
    return _with_defaults(OPTIMIZERS[arguments.choice("optimizer", value, OPTIMIZERS)])


@functools.cache
def _with_defaults(kind: type[Optimizer]) -> Optimizer:
    return kind()
