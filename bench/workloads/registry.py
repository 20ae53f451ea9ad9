"""Every workload, in the order of the tables."""

from __future__ import annotations

import functools
from typing import Any

from bench.cases import SOLUTION, Case
from bench.providers import installed
from bench.workloads import (
    calls,
    estimators,
    networks,
    neurons,
    perceptrons,
    predictions,
    solutions,
    sources,
    starts,
)

TOLERANCES = {"float64": 1e-9, "float32": 1e-3}  # of fastbp, by its arithmetic
WATCHED = [(10_000, 20), (64, 100, 10), (784, 256, 10)]  # of those in float32


def _neuron(
    group: str,
    n: int,
    d: int,
    loss: str,
    batch: int | None = None,
    threads: int = 1,
    dtype: str = "float64",
    arithmetic: str = "float64",
) -> Case:
    providers = neurons.PROVIDERS if loss == "mse" else neurons.LOG_LOSS_PROVIDERS
    suffix = "" if batch in (None, 1) else f", batches of {batch}"
    return Case(
        group,
        f"{n}x{d}{suffix}",
        functools.partial(neurons.problem, n, d, loss, batch, dtype, arithmetic),
        providers,
        neurons.expected,
        tolerance=1e-9 if dtype == "float64" else 1e-2,  # sums over 10**6 rows
        own_tolerance=TOLERANCES[arithmetic],
        watched=arithmetic == "float64" or (n, d) in WATCHED,
        threads=threads,
        size=(n, d),
        updates=n // (batch or n),
    )


def _network(
    group: str,
    layers: tuple[int, ...],
    rows: int,
    batch: int,
    threads: int = 1,
    dtype: str = "float64",
) -> Case:
    shown = "-".join(map(str, layers))
    return Case(
        group,
        f"{shown}, {'one row' if batch == 1 else f'{batch} rows'} a step",
        functools.partial(networks.problem, layers, rows, batch, dtype),
        networks.PROVIDERS,
        networks.expected,
        tolerance=1e-9 if dtype == "float64" else 1e-2,
        own_tolerance=TOLERANCES[dtype],
        watched=dtype == "float64" or (layers in WATCHED and batch < 200),
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


def _short_fit(name: str, epochs: int) -> Case:
    if name == "fit_neuron":
        kind, shown, make = neurons, "100x2", functools.partial(neurons.problem, 100, 2)
    else:
        kind, shown = networks, "1-10-1, 100 rows"
        make = functools.partial(networks.problem, (1, 10, 1), 100, 100)
    return Case(
        "call",
        f"{name}, {shown}, {epochs} epoch{'s' * (epochs > 1)}",
        make,
        {n: calls.of_epochs(provider, epochs) for n, provider in kind.PROVIDERS.items()},
        calls.after_epochs(kind.expected, epochs),
        unit="call",
    )


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
    """Return full training runs, an update and a prediction; none without scikit-learn."""
    if not installed("scikit-learn"):
        return []
    step = Case(
        "call", "MLPClassifier.partial_fit, 64-100-10, 32 rows",
        functools.partial(estimators.few_rows, 32), estimators.STEPS,
        estimators.expected_steps, unit="call",
    )  # fmt: skip
    prediction = Case(
        "estimator", "predict one row", estimators.PROBLEMS["defaults"], estimators.PREDICTIONS,
        estimators.expected_prediction, unit="call",
    )  # fmt: skip
    trainings = [
        Case(
            "estimator", f"fit of digits, {name}", make, estimators.PROVIDERS,
            estimators.expected_training, unit="fit", units=1,
            own_tolerance=1e-2 if "float32" in name else 1e-9,
        )
        for name, make in estimators.PROBLEMS.items()
    ]  # fmt: skip
    return [step, *trainings, prediction]


def _solutions() -> list[Case]:
    """Return fits that end at a goal; none without scikit-learn."""
    if not installed("scikit-learn"):
        return []
    both = {"group": SOLUTION, "unit": "fit", "watched": False}
    linear = [
        Case(
            name=f"{_named(data, n, d)}, {loss}",
            problem=functools.partial(solutions.problem, data, n, d),
            providers=providers,
            expected=solutions.expected, value=solutions.objective, size=(n, d),
            tolerance=solutions.NEAR, own_tolerance=solutions.NEAR,
            long=data in ("classes", "correlated") or n > 100_000, **both,
        )
        for data, loss, n, d, providers in LINEAR
    ]  # fmt: skip
    trained = [
        Case(
            name=f"{name} {goal}", problem=functools.partial(perceptrons.problem, data, goal),
            providers=perceptrons.PROVIDERS, expected=perceptrons.expected,
            value=perceptrons.above_goal, long=True, **both,
        )
        for name, data, goal in TRAINED
    ]  # fmt: skip
    return [*linear, *trained]


def _named(data: str, n: int, d: int) -> str:
    size = f"{n}x{d}" if n else data
    return f"{size} correlated" if data == "correlated" else size


SIZES = [
    (100, 2), (1000, 10), (10_000, 2), (10_000, 20), (2000, 100),
    (100_000, 10), (100_000, 100), (1_000_000, 50),
]  # fmt: skip
WIDE = [  # layers, rows and batch size: the products are most of the work
    ((64, 100, 10), 3200, 32), ((64, 100, 10), 2000, 200),
    ((784, 256, 10), 1280, 128), ((784, 512, 512, 10), 512, 256),
]  # fmt: skip
SINGLE = [((20, 64, 32, 1), 6400, 64), *WIDE[:3], ((784, 512, 512, 10), 512, 128)]
SOURCE = 1_000_000, 20
LINEAR = [  # data, loss, rows and features where they can be chosen, and who fits them
    ("breast cancer", "log loss", 0, 0, solutions.TWO_CLASSES),
    ("digits", "log loss", 0, 0, solutions.COMMON),
    ("classes", "log loss", 100_000, 20, solutions.TWO_CLASSES),
    ("classes", "log loss", 300_000, 50, solutions.TWO_CLASSES),
    ("numbers", "squares", 100_000, 20, solutions.NUMBERS),
    ("numbers", "squares", 300_000, 50, solutions.NUMBERS),
    ("correlated", "squares", 100_000, 20, solutions.NUMBERS),
]
TRAINED = [  # name, data, goal
    ("MLPClassifier, digits, validation log loss", "digits", 0.12),
    ("MLPRegressor, Friedman's problem, validation mse", "numbers", 0.06),
]
ALL = [
    Case("call", "train_neuron, 3x2, 2 epochs", calls.problem, calls.PROVIDERS, calls.expected,
         unit="call"),
    *(_short_fit("fit_neuron", epochs) for epochs in (1, 10, 100)),
    *(_short_fit("fit_network", epochs) for epochs in (1, 10, 100)),
    Case("call", "NetworkFit.predict, 64-100-10, one row",
         functools.partial(networks.problem, (64, 100, 10), 1, 1),
         predictions.FIT_PROVIDERS, predictions.network_outputs, unit="call"),
    *(_neuron("neuron", n, d, "mse") for n, d in SIZES),
    *(_neuron("neuron, log loss", n, d, "bce") for n, d in SIZES[1:6:2]),
    *(_neuron("neuron of float32 rows", n, d, "mse", dtype="float32") for n, d in SIZES[3:]),
    *(_neuron("neuron in float32", n, d, "mse", dtype="float32", arithmetic="float32")
      for n, d in SIZES[3:]),
    *(_neuron("neuron, 2 threads", n, d, "mse", threads=2) for n, d in SIZES[5:]),
    _neuron("online", 2000, 10, "bce", 1),
    _network("online", (10, 32, 1), 1000, 1),
    _neuron("mini-batch", 10_000, 20, "bce", 100),
    _network("mini-batch", (20, 64, 32, 1), 6400, 64),
    *(_network("mini-batch", *wide) for wide in WIDE),
    *(_network("mini-batch in float32", *layers, dtype="float32") for layers in SINGLE),
    *(_network("mini-batch, 2 threads", *wide, threads=2) for wide in WIDE),
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
    *_solutions(),
    _start("first call", "empty cache", starts.EMPTY_CACHE_PROVIDERS, True),
    _start("first call", "warm cache", starts.WARM_CACHE_PROVIDERS, True),
    _start("import", "fresh process", starts.IMPORT_PROVIDERS, False),
]  # fmt: skip
CASES = {case.title: case for case in ALL}
