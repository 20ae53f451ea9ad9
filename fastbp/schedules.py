"""Learning-rate schedules: plain functions of the epoch, from 0, for `learning_rate` of a fit.

Each function here returns one. They can be pickled, and are the same in every call, so that a fit
with a checkpoint can go on with them. A function of your own does as well.

>>> from fastbp import fit_neuron, schedules
>>> rates = schedules.warm_up(schedules.cosine(0.5, epochs=95), epochs=5)
>>> fit = fit_neuron([[0.0], [1.0]], [0, 1], [0.0], 0.0, rates, epochs=100)
>>> [round(rates(epoch), 3) for epoch in (0, 4, 5, 50, 99)]
[0.083, 0.417, 0.5, 0.271, 0.0]
"""

from __future__ import annotations

import functools
import math

from fastbp import arguments
from fastbp.arguments import RateFunction


def step(rate: float, every: int, factor: float = 0.1) -> RateFunction:
    """Multiply the rate by a factor after every so many epochs.

    rate * factor**(epoch // every): PyTorch's ``StepLR``, with ``step_size`` for `every` and
    ``gamma`` for `factor`. (He et al., Deep Residual Learning, CVPR 2016, divide it by 10.)

    Parameters
    ----------
    rate : float
        That of the first epoch, not negative.
    every : int
        At least 1.
    factor : float
        Not negative.

    Returns
    -------
    callable
        From the epoch, counted from 0, to its learning rate.

    Raises
    ------
    TypeError, ValueError
        If a value has the wrong type or is out of range.

    Examples
    --------
    >>> from fastbp import schedules
    >>> rates = schedules.step(0.8, every=2, factor=0.5)
    >>> [rates(epoch) for epoch in range(6)]
    [0.8, 0.8, 0.4, 0.4, 0.2, 0.2]
    """
    return functools.partial(
        _step,
        rate=arguments.real("rate", rate, minimum=0.0),
        every=arguments.integer("every", every, minimum=1),
        factor=arguments.real("factor", factor, minimum=0.0),
    )


def _step(epoch: int, *, rate: float, every: int, factor: float) -> float:
    try:
        return rate * factor ** (epoch // every)
    except OverflowError:  # which a fit refuses, with the epoch
        return math.inf


def cosine(rate: float, epochs: int, least: float = 0.0) -> RateFunction:
    """Lower the rate along half a period of the cosine; then keep the least one.

    least + (rate - least) (1 + cos(pi epoch / epochs)) / 2 (Loshchilov and Hutter, SGDR, ICLR
    2017, equation 5): PyTorch's ``CosineAnnealingLR``, with ``T_max`` for `epochs` and ``eta_min``
    for `least`, but for the epochs after the last one, in which that rises again.

    Parameters
    ----------
    rate : float
        That of the first epoch.
    epochs : int
        Those of the fit, at least 1. (More epochs are another schedule: a checkpoint of a fit of
        fewer is refused.)
    least : float
        From 0 to `rate`.

    Returns
    -------
    callable
        From the epoch, counted from 0, to its learning rate.

    Raises
    ------
    TypeError, ValueError
        If a value has the wrong type or is out of range.

    Examples
    --------
    >>> from fastbp import schedules
    >>> rates = schedules.cosine(0.1, epochs=4)
    >>> [round(rates(epoch), 4) for epoch in range(6)]
    [0.1, 0.0854, 0.05, 0.0146, 0.0, 0.0]
    """
    lowest = arguments.real("least", least, minimum=0.0)
    first = arguments.real("rate", rate, minimum=0.0)
    if lowest > first:
        raise ValueError(f"least: expected at most the rate {first:g}, got {lowest:g}")
    whole = arguments.integer("epochs", epochs, minimum=1)
    return functools.partial(_cosine, rate=first, epochs=whole, least=lowest)


def _cosine(epoch: int, *, rate: float, epochs: int, least: float) -> float:
    return least + (rate - least) * (1.0 + math.cos(math.pi * min(epoch / epochs, 1.0))) / 2.0


def warm_up(rate: float | RateFunction, epochs: int) -> RateFunction:
    """Raise the rate in equal steps before the rate, or the schedule, itself begins.

    rate (epoch + 1) / (epochs + 1) in the first `epochs` (Goyal et al., Accurate, Large Minibatch
    SGD, 2017, section 2.2); a schedule counts its epochs from 0 thereafter. PyTorch's ``LinearLR``
    with ``start_factor=1/(epochs + 1)`` and ``total_iters=epochs`` and, before a schedule, with
    ``SequentialLR``.

    Parameters
    ----------
    rate : float or callable
        A rate, not negative, or a schedule, whose first rate is that which the steps lead up to.
    epochs : int
        How many epochs have a lower rate; not negative.

    Returns
    -------
    callable
        From the epoch, counted from 0, to its learning rate.

    Raises
    ------
    TypeError, ValueError
        If a value has the wrong type or is out of range.

    Examples
    --------
    >>> from fastbp import schedules
    >>> rates = schedules.warm_up(schedules.step(0.5, every=2), epochs=4)
    >>> [round(rates(epoch), 3) for epoch in range(8)]
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.05, 0.05]
    """
    checked = rate if callable(rate) else arguments.real("rate", rate, minimum=0.0)
    whole = arguments.integer("epochs", epochs, minimum=0)
    return functools.partial(_warm_up, rate=checked, epochs=whole)


def _warm_up(epoch: int, *, rate: float | RateFunction, epochs: int) -> float:
    reached = rate(max(epoch - epochs, 0)) if callable(rate) else rate
    return reached * (min(epoch + 1, epochs + 1) / (epochs + 1))  # exactly the rate in the end
