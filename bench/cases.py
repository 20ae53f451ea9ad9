"""What is measured: every workload, with the providers that can do it and the oracle's answer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import util
from typing import Any

import numpy as np

from bench import calls, estimators, networks, neurons, predictions, sources, starts

MODULES = {"PyTorch": "torch", "JAX": "jax", "scikit-learn": "sklearn", "Numba": "numba"}
ORDER = ("fastbp", "NumPy", "PyTorch", "JAX", "scikit-learn", "Numba")
CHECKED = 3  # epochs or calls after which answers are compared


@dataclass(frozen=True)
class Case:
    """A workload.

    Attributes
    ----------
    group, name : str
        What it is about, and which one of that it is.
    problem : callable
        Makes what every provider is given.
    providers : mapping of str to callable
        Given the problem, each prepares everything and returns a function of the number of
        `unit`s, which is timed.
    expected : callable or None
        Given the problem and a number of units, returns the right answer.
    unit : str
    threads : int
        That every provider may use.
    size : tuple of int
        Rows and features, where they are what the case is about.
    updates : int
        Steps of an epoch.
    units : int
        Of a round; 0: as many as fit into its time.
    """

    group: str
    name: str
    problem: Callable[[], Any]
    providers: Mapping[str, Callable[[Any], Callable[[int], Any]]]
    expected: Callable[[Any, int], Any] | None
    unit: str = "epoch"
    threads: int = 1
    size: tuple[int, int] = (0, 0)
    updates: int = 1
    units: int = 0

    @property
    def title(self) -> str:
        """What it is called everywhere."""
        return f"{self.group}: {self.name}"

    @property
    def bytes_read(self) -> int:
        """Bytes of features that an epoch reads from an array."""
        return 8 * self.size[0] * self.size[1] if self.group.startswith("neuron") else 0

    @property
    def gated(self) -> bool:
        """Whether its ratio to the plain NumPy loop is held against a stored one."""
        return {"fastbp", "NumPy"} <= set(self.providers) and self.threads == 1 and self.units != 1


def installed(name: str) -> bool:
    """Return whether a provider's library is there."""
    return name not in MODULES or util.find_spec(MODULES[name]) is not None


def check(case: Case, problem: Any, provider: str, run: Callable[[int], Any]) -> None:
    """Raise AssertionError unless the answer agrees with the oracle's."""
    if case.expected is None:
        return
    units = min(CHECKED, case.units or CHECKED)
    ours, right = run(units), case.expected(problem, units)
    if provider == "Numba":  # its smallest kernel trains nothing
        return
    together = zip(ours, right, strict=True) if isinstance(right, tuple) else [(ours, right)]
    for got, wanted in together:
        if got is None and provider == "scikit-learn":  # losses that are not the contract's
            continue
        if not isinstance(wanted, list | tuple):
            got, wanted = [got], [wanted]
        for one, other in zip(got, wanted, strict=True):
            wanted_array = np.asarray(other)
            got_array = np.asarray(one).reshape(wanted_array.shape)
            np.testing.assert_allclose(
                got_array, wanted_array, rtol=1e-9, atol=1e-12, err_msg=f"{case.title}, {provider}"
            )


def _neuron(
    group: str, n: int, d: int, loss: str, batch: int | None = None, threads: int = 1
) -> Case:
    providers = neurons.PROVIDERS if loss == "mse" else neurons.LOG_LOSS_PROVIDERS
    suffix = "" if batch in (None, 1) else f", batches of {batch}"
    return Case(
        group,
        f"{n}x{d}{suffix}",
        functools.partial(neurons.problem, n, d, loss, batch),
        providers,
        neurons.expected,
        threads=threads,
        size=(n, d),
        updates=n // (batch or n),
    )


def _network(group: str, layers: tuple[int, ...], rows: int, batch: int, threads: int = 1) -> Case:
    shown = "-".join(map(str, layers))
    return Case(
        group,
        f"{shown}, {'one row' if batch == 1 else f'{batch} rows'} a step",
        functools.partial(networks.problem, layers, rows, batch),
        networks.PROVIDERS,
        networks.expected,
        threads=threads,
        updates=rows // batch,
    )


def _prediction(rows: int, what: str) -> Case:
    if what == "neuron":
        make, providers = functools.partial(neurons.problem, rows, 20), predictions.NEURON_PROVIDERS
        expected, name = predictions.neuron_outputs, "neuron of 20 features"
    else:
        make = functools.partial(networks.problem, (64, 100, 10), rows, rows)
        providers, expected = predictions.NETWORK_PROVIDERS, predictions.network_outputs
        name = "64-100-10"
    shown = "one row" if rows == 1 else f"{rows} rows"
    return Case("prediction", f"{name}, {shown}", make, providers, expected, unit="call")


def _source(n: int, d: int, kind: str, units: int = sources.EPOCHS) -> Case:
    one = {"fastbp": functools.partial(sources.with_fastbp, kind=kind)}
    return Case(
        "sources",
        f"{kind}, {n}x{d}",
        functools.partial(sources.problem, n, d, kind),
        sources.FILE_PROVIDERS if kind == "npy" else one,
        sources.expected,
        size=(n, d),
        units=units,
    )


def _windows(n: int, d: int, kind: str) -> Case:
    return Case(
        "sources",
        f"{kind}, window shuffle, {n}x{d}",
        functools.partial(sources.problem, n, d, kind),
        {"fastbp": functools.partial(sources.with_fastbp, kind=kind, **sources.WINDOWS)},
        sources.expected_in_windows,
        size=(n, d),
        units=sources.EPOCHS,
    )


def _start(group: str, name: str, providers: Any, checked: bool) -> Case:
    expected = calls.expected if checked else None
    return Case(group, name, calls.problem, providers, expected, unit="process", units=1)


def _estimators() -> list[Case]:
    """Trainings to the end, and a prediction; without scikit-learn there are no estimators."""
    if not installed("scikit-learn"):
        return []
    prediction = Case(
        "estimator", "predict one row", estimators.PROBLEMS["defaults"], estimators.PREDICTIONS,
        estimators.expected_prediction, unit="call",
    )  # fmt: skip
    trainings = [
        Case(
            "estimator", f"fit of digits, {name}", make, estimators.PROVIDERS,
            estimators.expected_training, unit="fit", units=1,
        )
        for name, make in estimators.PROBLEMS.items()
    ]  # fmt: skip
    return [*trainings, prediction]


SIZES = [
    (100, 2), (1000, 10), (10_000, 2), (10_000, 20), (2000, 100),
    (100_000, 10), (100_000, 100), (1_000_000, 50),
]  # fmt: skip
SOURCE = 1_000_000, 20
ALL = [
    Case("call", "train_neuron, 3x2, 2 epochs", calls.problem, calls.PROVIDERS, calls.expected,
         unit="call"),
    *(_neuron("neuron", n, d, "mse") for n, d in SIZES),
    *(_neuron("neuron, log loss", n, d, "bce") for n, d in SIZES[1:6:2]),
    *(_neuron("neuron, 2 threads", n, d, "mse", threads=2) for n, d in SIZES[5:]),
    _neuron("online", 2000, 10, "bce", 1),
    _network("online", (10, 32, 1), 1000, 1),
    _neuron("mini-batch", 10_000, 20, "bce", 100),
    _network("mini-batch", (20, 64, 32, 1), 6400, 64),
    _network("mini-batch", (64, 100, 10), 3200, 32),
    _network("mini-batch", (64, 100, 10), 2000, 200),
    _network("mini-batch", (784, 256, 10), 1280, 128),
    _network("network", (1, 10, 1), 100, 100),
    _network("network", (4, 8, 1), 1000, 1000),
    _network("network", (20, 64, 1), 100_000, 100_000),
    _network("network, 2 threads", (20, 64, 1), 100_000, 100_000, threads=2),
    _prediction(1, "neuron"),
    _prediction(100_000, "neuron"),
    _prediction(1, "network"),
    _prediction(10_000, "network"),
    _source(*SOURCE, "memory"),
    _source(*SOURCE, "npy"),
    _source(*SOURCE, "npy, labels inside"),
    _source(*SOURCE, "npy of float32"),
    _source(*SOURCE, "parquet", units=2),
    _source(100_000, 20, "csv", units=2),
    _source(*SOURCE, "virtual uniform"),
    _source(*SOURCE, "virtual normal"),
    _windows(*SOURCE, "memory"),
    _windows(*SOURCE, "npy"),
    *_estimators(),
    _start("first call", "empty cache", starts.EMPTY_CACHE_PROVIDERS, True),
    _start("first call", "warm cache", starts.WARM_CACHE_PROVIDERS, True),
    _start("import", "fresh process", starts.IMPORT_PROVIDERS, False),
]  # fmt: skip
CASES = {case.title: case for case in ALL}
