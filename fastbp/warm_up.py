"""Compiling ahead of time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np

from fastbp import arguments, datasets
from fastbp.kernels.cache import why_not_kept
from fastbp.kernels.jit import JIT_ENABLED
from fastbp.kernels.steps import finish_sums
from fastbp.models import drop_in, network, neuron
from fastbp.models.activations import ActivationName
from fastbp.system.interrupts import deferred_interrupts
from fastbp.system.progress import warmup_bar

KERNELS = (*neuron.KERNELS, *network.KERNELS, *datasets.KERNELS, finish_sums)
"""All kernels that Python calls; the last is for the clients of clusters alone."""
X, Y, W = np.eye(3), np.array([0.0, 1.0, 0.0]), np.zeros(3)
LAYER = [W[:, None]], [W[:1]]
NAMES: tuple[ActivationName] = ("sigmoid",)


def _fit_shared(x: np.ndarray = X, **how: Any) -> None:
    x, y = np.zeros((16, 3), x.dtype), np.zeros(16)  # two panels, one for each thread
    network.fit_network(x, y, *LAYER, 0.1, 1, activations=NAMES, n_threads=2, **how)


def _fit_network(x: np.ndarray, **how: Any) -> None:
    network.fit_network(x, Y, *LAYER, 0.1, 1, activations=NAMES, **how)


# Each kernel is compiled once for all arguments with rows x of one dtype and arithmetic in one
# dtype, which a function may take as a keyword; it may need several kernels.
CALLS: dict[str, tuple[Callable[..., Any], ...]] = {
    "train_neuron": (
        lambda *_, **__: drop_in.train_neuron(X.tolist(), Y.tolist(), W.tolist(), 0.0, 0.1, 1),
        lambda *_, **__: drop_in.train_neuron(X, Y, W, 0.0, 0.1, 1),
    ),
    "fit_neuron": (
        lambda x=X, **how: neuron.fit_neuron(x, Y, W, 0.0, 0.1, 1, **how),
        lambda x=X, **how: neuron.fit_neuron(x, Y, W, 0.0, 0.1, 1, batch_size=1, **how),
    ),
    "predict_neuron": (lambda x=X, **how: neuron.predict_neuron(x, W, 0.0, **how),),
    "fit_network": (
        lambda x=X, **how: _fit_network(x, optimizer="adam", **how),
        lambda x=X, **how: _fit_network(x, batch_size=2, **how),
        lambda x=X, **how: _fit_network(x, batch_size=1, **how),
        _fit_shared,
    ),
    "loss_and_gradient": (
        lambda x=X, **how: network.loss_and_gradient(x, Y, *LAYER, activations=NAMES, **how),
        _fit_shared,  # the same kernel
    ),
    "predict_network": (
        lambda x=X, **how: network.predict_network(x, *LAYER, activations=NAMES, **how),
    ),
    "make_neuron_dataset": (lambda *_, **__: datasets.make_neuron_dataset(3, 1, seed=0),),
    "make_network_dataset": (lambda *_, **__: datasets.make_network_dataset(3, [1, 1], seed=0),),
}


FunctionName = Literal[  # for type checkers; a test compares it with CALLS
    "train_neuron",
    "fit_neuron",
    "predict_neuron",
    "fit_network",
    "loss_and_gradient",
    "predict_network",
    "make_neuron_dataset",
    "make_network_dataset",
]


class Readiness(NamedTuple):
    """What it took to prepare a function's kernels.

    Attributes
    ----------
    seconds : float
    compiled, loaded : int
        Kernels that were compiled, and that came from the cache on disk.
    """

    seconds: float
    compiled: int
    loaded: int

    def __str__(self) -> str:
        counts = {"compiled": self.compiled, "loaded": self.loaded}
        said = [f"{done} {n} kernel{'s' * (n > 1)}" for done, n in counts.items() if n]
        return ", ".join(said) or "ready already"


class Warmup(dict[str, Readiness]):
    """What :func:`warmup` did, by the names of the functions; shown as a table.

    Attributes
    ----------
    not_kept : str
        Why the kernels that were compiled are not kept on disk, so that the next process must
        compile them again; "" if they are.
    """

    not_kept = ""

    def __repr__(self) -> str:
        name, did = (max(map(len, column), default=0) for column in (self, map(str, self.values())))
        lines = [
            f"{function:{name}}  {ready!s:{did}}  {ready.seconds:6.2f} s"
            for function, ready in self.items()
        ]
        return "\n".join([*lines, *([f"not kept: {self.not_kept}"] if self.not_kept else [])])


@arguments.names_in_docs(dtypes=arguments.DTYPES)
def warmup(
    *functions: FunctionName | Callable[..., Any],
    progress: bool | Literal["always"] = False,
    dtype: arguments.Dtype = "float64",
) -> Warmup:
    """Compile the kernels of functions now, or load them from the cache on disk.

    Otherwise the first call to a function does that, which takes seconds. After it, no call of
    these functions with this `dtype` compiles anything, whatever its other arguments, unless it is
    given large rows of a dtype other than this or float64, or labels of another than float64 in
    such a file: :func:`fit_neuron` says which have kernels of their own.

    Parameters
    ----------
    *functions : str or callable
        The functions, or their names: ``train_neuron``, ``fit_neuron``, ``predict_neuron``,
        ``fit_network``, ``loss_and_gradient``, ``predict_network``, ``make_neuron_dataset``,
        ``make_network_dataset``. With no arguments, all of them. (``Neuron``, ``Layer`` and
        ``Perceptron`` call the functions that fit and predict.)
    progress : bool or "always"
        True shows a bar in a terminal or a notebook, ``"always"`` elsewhere too.
    dtype : {dtypes}, or NumPy's dtype of that name, default "float64"
        That of the arithmetic, as the functions take it.

    Returns
    -------
    Warmup
        A dictionary: for the name of each function a tuple of ``seconds``, the number of kernels
        ``compiled`` and the number ``loaded`` from the cache. A kernel that functions share
        counts for the first of them. It is shown as a table. Its attribute ``not_kept`` says why
        the compiled kernels are not kept on disk, if they are not.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of these functions.

    Examples
    --------
    >>> import fastbp
    >>> done = fastbp.warmup("train_neuron", "fit_neuron")
    >>> done  # doctest: +SKIP
    train_neuron  compiled 2 kernels    9.61 s
    fit_neuron    ready already         0.00 s
    >>> done["fit_neuron"].compiled, done["fit_neuron"].loaded
    (0, 0)
    """
    names = [arguments.choice("functions", getattr(f, "__name__", f), CALLS) for f in functions]
    progress = arguments.progress("progress", progress)
    dtype = arguments.dtype("dtype", dtype)
    stored = dict.fromkeys((arguments.FLOAT64, dtype))
    return made_ready(names or CALLS, progress, dtype, stored)


def made_ready(
    names: Iterable[str],
    progress: bool | Literal["always"],
    dtype: np.dtype[Any],
    stored: Iterable[np.dtype[Any]],
) -> Warmup:
    """Compile or load the kernels of functions for arithmetic in `dtype` and rows as `stored`."""
    rows, done = [X.astype(each) for each in stored], Warmup()
    for name in warmup_bar(progress, dict.fromkeys(names)):
        compiled, loaded = _counts()
        started = time.perf_counter()
        for x, call in product(rows, CALLS[name]):
            with deferred_interrupts():  # on Ctrl-C a fit returns instead of raising
                call(x, dtype=dtype)
        seconds = time.perf_counter() - started
        compiled_now, loaded_now = _counts()
        done[name] = Readiness(seconds, compiled_now - compiled, loaded_now - loaded)
    if any(ready.compiled for ready in done.values()):
        done.not_kept = why_not_kept()
    return done


def _counts() -> tuple[int, int]:
    """Return how many kernels were compiled and loaded in this process."""
    stats = [kernel.stats for kernel in KERNELS if JIT_ENABLED]
    return sum(s.cache_misses.total() for s in stats), sum(s.cache_hits.total() for s in stats)
