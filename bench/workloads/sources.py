"""The same rows from files, from memory and generated: a sigmoid neuron, log loss, full batch.

A provider returns a function of the number of epochs that opens the source and trains. So opening,
and what only a first epoch costs, are included.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import THREADS
from bench.workloads import neurons
from bench.workloads.neurons import Run

RATE = 0.5
WINDOWS = {"shuffle": "window", "random_state": 0, "batch_size": 10_000}
EPOCHS = 6  # of a fit, where an epoch does not take seconds


class Problem(NamedTuple):
    """Rows and labels in memory and, where the source is a file, its path."""

    x: np.ndarray
    y: np.ndarray
    path: Path | None = None


@functools.cache
def folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that exists as long as the process."""
    return tempfile.TemporaryDirectory()


@functools.cache
def made(n: int, d: int, distribution: str = "normal") -> Any:
    """Return rows and labels, the same as those of the virtual data set."""
    from fastbp import datasets

    return datasets.make_neuron_dataset(n, d, noise=1.0, seed=0, distribution=distribution)


def problem(n: int, d: int, kind: str) -> Problem:
    """Write the rows as `kind`, unless that is "memory" or "virtual" with a distribution."""
    if kind.startswith("virtual"):
        x, y, _, _ = made(n, d, kind.split()[-1])
        return Problem(x, y)
    x, y, _, _ = made(n, d)
    path = Path(folder().name, f"{n}x{d} {kind}")
    if kind == "npy":
        np.save(path, x)
        path = path.with_name(path.name + ".npy")
    elif kind == "npy, labels inside":
        np.save(path, np.column_stack([x, y]))
        path = path.with_name(path.name + ".npy")
    elif kind == "npy of float32":
        x = x.astype(np.float32).astype(np.float64)
        np.save(path, np.column_stack([x, y]).astype(np.float32))
        path = path.with_name(path.name + ".npy")
    elif kind in ("parquet", "csv"):
        path = _table(x, y, path.with_suffix(f".{kind}"))
    return Problem(x, y, path)


def _table(x: np.ndarray, y: np.ndarray, path: Path) -> Path:
    import pyarrow as pa
    from pyarrow import csv, parquet

    table = pa.table({**{f"x{j}": x[:, j] for j in range(x.shape[1])}, "y": y})
    (csv.write_csv if path.suffix == ".csv" else parquet.write_table)(table, path)
    return path


def expected(p: Problem, epochs: int) -> tuple[Any, Any, Any]:
    """Return what the tests' oracle says of the rows in memory."""
    from tests import reference

    return reference.fit_neuron(p.x, p.y, np.zeros(p.x.shape[1]), 0.0, RATE, epochs, loss="bce")


def expected_in_windows(p: Problem, epochs: int) -> tuple[Any, Any, Any]:
    """Return what the oracle says of the rows in the orders of the window shuffle."""
    from fastbp.data.order import window_order
    from tests import reference

    n, d = p.x.shape
    random = np.random.default_rng(WINDOWS["random_state"])
    orders = [window_order(random, n, d)[0:n] for _ in range(epochs)]
    return reference.fit_neuron(
        p.x, p.y, np.zeros(d), 0.0, RATE, epochs,
        loss="bce", batch_size=WINDOWS["batch_size"], orders=orders,
    )  # fmt: skip


def with_fastbp(p: Problem, kind: str, **keywords: Any) -> Run:
    """This package, from every kind of source."""
    import fastbp
    from fastbp import datasets

    n, d = p.x.shape

    def source() -> tuple[Any, Any]:
        if kind == "memory":
            return p.x, p.y
        if kind.startswith("virtual"):
            distribution = kind.split()[-1]
            rows, _, _, _ = datasets.make_neuron_dataset(
                n, d, noise=1.0, seed=0, distribution=distribution, virtual=True
            )
            return rows, None
        if kind == "npy":
            return fastbp.open_rows(p.path), p.y
        return fastbp.open_rows(p.path, target="y" if kind in ("csv", "parquet") else -1), None

    def train(epochs: int) -> tuple[Any, Any, Any]:
        fit = fastbp.fit_neuron(
            *source(), np.zeros(d), 0.0, RATE, epochs, loss="bce", n_threads=THREADS, **keywords
        )
        return tuple(fit)

    return train


def with_numpy(p: Problem) -> Run:
    """The plain loop over a memory map of a `.npy`."""
    return lambda epochs: neurons.with_numpy(mapped(p))(epochs)


def with_pytorch(p: Problem) -> Run:
    """PyTorch over a memory map of a `.npy`."""
    return lambda epochs: neurons.with_pytorch(mapped(p))(epochs)


def mapped(p: Problem) -> neurons.Problem:
    """Map the `.npy` copy-on-write, since PyTorch warns about read-only arrays."""
    x = np.load(str(p.path), mmap_mode="c")
    return neurons.Problem(x, p.y, np.zeros(x.shape[1]), RATE, "bce", len(x))


def with_jax(p: Problem) -> Run:
    """JAX, which copies the file into memory first. Compiled once, not with every source."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    @functools.partial(jax.jit, static_argnums=2)
    def scan(x: Any, y: Any, epochs: int) -> Any:
        def step(parameters: Any, _: None) -> Any:
            weights, bias = parameters
            z = x @ weights + bias
            dz = jax.nn.sigmoid(z) - y
            loss = jnp.mean(jax.nn.softplus(z) - y * z)
            scale = RATE / len(y)
            return (weights - scale * (x.T @ dz), bias - scale * dz.sum()), loss

        start = jnp.zeros(x.shape[1]), jnp.zeros(())
        return jax.lax.scan(step, start, None, length=epochs)

    def train(epochs: int) -> tuple[Any, Any, Any]:
        x = jnp.asarray(np.load(str(p.path), mmap_mode="r"))
        (weights, bias), losses = scan(x, p.y, epochs)
        return np.asarray(weights), float(bias), np.asarray(losses)

    return train


def with_scikit_learn(p: Problem) -> Run:
    """scikit-learn's MLPClassifier without hidden layers, over a memory map of a `.npy`."""
    return lambda epochs: neurons.with_scikit_learn(mapped(p))(epochs)


FILE_PROVIDERS: dict[str, Callable[[Problem], Run]] = {
    "fastbp": functools.partial(with_fastbp, kind="npy"),
    "NumPy": with_numpy,
    "PyTorch": with_pytorch,
    "JAX": with_jax,
    "scikit-learn": with_scikit_learn,
}
