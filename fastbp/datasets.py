"""Synthetic data of any size: rows labelled by a known neuron or network, the teacher.

Every row is a function of the seed and its index (``kernels/random.py``), so the same rows can be
in memory, in a file or, as :class:`VirtualRows`, computed whenever they are read.
"""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from fastbp import arguments
from fastbp.data.rows import Block, Rows
from fastbp.data.sources.opening import open_rows
from fastbp.data.sources.writing import fill_together, generating_threads, write_npy
from fastbp.kernels import random as kernels
from fastbp.kernels.vector import LANES
from fastbp.models import layers
from fastbp.models.activations import ActivationName
from fastbp.models.network import predict_network
from fastbp.models.network_prediction import CALL_WORK
from fastbp.system import output
from fastbp.system.interrupts import interrupt_safe
from fastbp.system.threads import team

Seed = int | np.random.Generator | np.random.RandomState | None
Randomness = tuple[str, float, Seed]  # distribution, noise, seed

DISTRIBUTIONS = {"normal": kernels.NORMAL, "uniform": kernels.UNIFORM}
TASKS = ("regression", "classification")
Distribution = Literal["normal", "uniform"]  # these two for type checkers; a test compares them
Task = Literal["regression", "classification"]
KERNELS = interrupt_safe(kernels.random_rows, kernels.neuron_rows)
FEATURES, NOISE, TEACHER, SEED = 1, 2, 3, 4  # the indices of the streams of a seed
NO_ORDER = np.empty(0, dtype=np.int64)
MOST_NUMBERS = 2**63  # in a matrix: their indices are int64


def make_neuron_dataset(
    n_samples: int,
    n_features: int,
    *,
    noise: float = 0.0,
    seed: Seed = None,
    distribution: Distribution = "normal",
    out: str | os.PathLike[str] | None = None,
    virtual: bool = False,
) -> tuple[Any, Any, np.ndarray, float]:
    """Make rows labelled by a known neuron: 1 if x w + b + noise > 0, else 0.

    The rows are the same, bit for bit, in memory, with `out` and with `virtual`; with the same
    seed, more samples only add rows, and the teacher stays.

    Parameters
    ----------
    n_samples, n_features : int
        At least 1; their product is below 2**63 (for arrays, as much as memory holds).
    noise : float
        Standard deviation of the noise added to the teacher's pre-activation, whose own is
        about 3 (1.7 for uniform features).
    seed : int, numpy.random.Generator or numpy.random.RandomState, optional
        A generator is asked for 8 bytes. None draws different rows in every call.
    distribution : {"normal", "uniform"}
        Each feature's: standard normal, or uniform on [-1, 1).
    out : path-like ending in ".npy", optional
        Write a float64 matrix to this file, labels in its last column, in constant memory. An
        old file is replaced when the new one is complete; a pipe or a device is refused.
    virtual : bool
        Compute the rows whenever they are read, and keep none.

    Returns
    -------
    features : numpy.ndarray of float64, shape (n_samples, n_features), or Rows
        With `out` the rows of the file, with `virtual` a :class:`VirtualRows`. Both hold the
        labels, too: ``fastbp.fit_neuron(features, None, ...)``.
    labels : numpy.ndarray of float64, shape (n_samples,), or None
        0 or 1; None with `out` and `virtual`.
    weights : numpy.ndarray of float64, shape (n_features,)
    bias : float
        Those of the teacher.

    Raises
    ------
    TypeError, ValueError
        For values of the wrong type, too small or too large; `out` with `virtual`.
    OSError
        If the file cannot be written: nothing is left of it.

    Examples
    --------
    >>> from fastbp import datasets
    >>> X, y, weights, bias = datasets.make_neuron_dataset(1000, 3, seed=1)
    >>> X.shape, y.shape, bool((((X @ weights + bias) > 0) == y).all())
    ((1000, 3), (1000,), True)
    >>> rows, _, _, _ = datasets.make_neuron_dataset(10**12, 3, seed=1, virtual=True)
    >>> rows
    <VirtualRows: 1,000,000,000,000 x 3 normal features, labels of a neuron, noise 0>
    >>> bool((rows.block(0, 1000).features == X).all())
    True
    """
    n = arguments.integer("n_samples", n_samples, minimum=1)
    d = arguments.integer("n_features", n_features, minimum=1)
    rows = _NeuronRows(n, d, (distribution, noise, seed))
    features, labels = _delivered(rows, out, virtual)
    return features, None if labels is None else labels[:, 0], rows.weights, rows.bias


def make_network_dataset(
    n_samples: int,
    layer_sizes: Sequence[int],
    *,
    activations: Sequence[ActivationName] | None = None,
    task: Task = "regression",
    noise: float = 0.0,
    seed: Seed = None,
    distribution: Distribution = "normal",
    out: str | os.PathLike[str] | None = None,
    virtual: bool = False,
) -> tuple[Any, Any, list[np.ndarray], list[np.ndarray]]:
    """Make rows labelled by a known network: its outputs plus noise, or classes.

    The rows are the same, bit for bit, in memory, with `out` and with `virtual`; with the same
    seed, more samples only add rows, and the teacher stays.

    Parameters
    ----------
    n_samples : int
    layer_sizes : sequence of int
        Features, the neurons of each hidden layer, outputs.
    activations : sequence of str, optional
        One per layer, as for :func:`fastbp.fit_network`; tanh and, at the end, identity if None.
    task : {"regression", "classification"}
        Labels are the outputs plus noise, or the number of the output that is then the largest.
    noise : float
        Standard deviation of the noise added to each output.
    seed, distribution, out, virtual
        As for :func:`make_neuron_dataset`; a file's last columns are the labels.

    Returns
    -------
    features : numpy.ndarray of float64, shape (n_samples, n_features), or Rows
        With `out` the rows of the file, with `virtual` a :class:`VirtualRows`. Both hold the
        labels, too: ``fastbp.fit_network(features, None, ...)``.
    labels : numpy.ndarray of float64, or None
        Shape (n_samples, n_outputs), for classification (n_samples,); None with `out` and
        `virtual`.
    weights : list of numpy.ndarray of float64, shape (n_inputs, n_outputs)
    biases : list of numpy.ndarray of float64, shape (n_outputs,)
        Those of the teacher, one per layer: normal with standard deviations 2 / sqrt(n_inputs)
        and 1/2.

    Raises
    ------
    TypeError, ValueError
        For values of the wrong type, too small or too large; `out` with `virtual`; a
        classification with fewer than two outputs.
    OSError
        If the file cannot be written: nothing is left of it.

    Examples
    --------
    >>> from fastbp import datasets
    >>> X, y, weights, biases = datasets.make_network_dataset(100, [2, 5, 3], seed=1)
    >>> X.shape, y.shape, [w.shape for w in weights]
    ((100, 2), (100, 3), [(2, 5), (5, 3)])
    >>> _, classes, _, _ = datasets.make_network_dataset(100, [2, 5, 3], seed=1,
    ...                                                  task="classification")
    >>> bool((classes == y.argmax(axis=1)).all())
    True
    """
    n = arguments.integer("n_samples", n_samples, minimum=1)
    sizes = layers.layer_sizes(layer_sizes)
    classes = arguments.choice("task", task, TASKS) == "classification"
    if classes and sizes[-1] < 2:
        raise ValueError("layer_sizes: expected at least 2 outputs for classification, got 1")
    usual = ["tanh"] * (len(sizes) - 2) + ["identity"]
    given = usual if activations is None else activations
    names = layers.activations_of("activations", given, len(sizes) - 1)
    rows = _NetworkRows(n, sizes, names, classes, (distribution, noise, seed))
    features, labels = _delivered(rows, out, virtual)
    if classes and labels is not None:
        labels = labels[:, 0]
    return features, labels, rows.weights, rows.biases


class VirtualRows(Rows):
    """Rows with labels that are computed whenever they are read, by any number of threads.

    :func:`make_neuron_dataset` and :func:`make_network_dataset` make them, for training on more
    rows than any disk holds: every epoch computes them again.
    """

    name = "virtual rows"
    random_access = True
    teacher: str
    _teacher_arrays: list[np.ndarray]  # what the labels depend on, besides the noise

    def __init__(self, n_rows: int, n_features: int, n_labels: int, randomness: Randomness) -> None:
        distribution, noise, seed = randomness
        if n_rows * max(n_features, n_labels) >= MOST_NUMBERS:
            raise ValueError("n_samples: expected fewer than 2**63 numbers in all, got more")
        self.n_rows, self.n_features, self.n_labels = n_rows, n_features, n_labels
        self.distribution = arguments.choice("distribution", distribution, DISTRIBUTIONS)
        self.noise = arguments.real("noise", noise, minimum=0.0)
        self._code = DISTRIBUTIONS[self.distribution]
        key = _key(seed)
        self._keys = np.array([kernels.derived(key, stream) for stream in (FEATURES, NOISE)])
        self._teacher_key = kernels.derived(key, TEACHER)

    def _teacher_numbers(self, count: int) -> np.ndarray:
        """Return standard normal numbers for the teacher's parameters."""
        drawn = np.empty(count)
        kernels.random_rows(kernels.NORMAL, self._teacher_key, 0, NO_ORDER, drawn[None, :])
        return drawn

    def fill(self, start: int, stop: int, block: Block) -> None:
        """Compute rows start to stop; OUT `block`."""
        self._write(start, NO_ORDER, block)

    def take(self, indices: np.ndarray, block: Block) -> None:
        """Compute the rows of these indices; OUT `block`."""
        if len(indices):  # an empty order would mean the first rows
            self._write(0, np.array(indices, dtype=np.int64), block)

    @abstractmethod
    def _write(self, start: int, order: np.ndarray, block: Block) -> None:
        """Write the rows of `order`, or those from `start` on if it is empty; OUT block."""

    def digest(self) -> str:
        """Return a digest of what the rows are computed from."""
        recipe = (self.n_rows, self.n_features, self.n_labels, self.distribution, self.noise)
        digest = hashlib.sha256(f"{self.teacher} {recipe} {self._keys.tolist()}".encode())
        for array in self._teacher_arrays:
            digest.update(array.tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        return (
            f"<VirtualRows: {self.n_rows:,} x {self.n_features} {self.distribution} features,"
            f" labels of a {self.teacher}, noise {self.noise:g}>"
        )


class _NeuronRows(VirtualRows):
    """Rows labelled by a neuron."""

    teacher = "neuron"

    def __init__(self, n_rows: int, n_features: int, randomness: Randomness) -> None:
        super().__init__(n_rows, n_features, 1, randomness)
        drawn = self._teacher_numbers(n_features + 1)
        self.weights = drawn[:-1] * (3.0 / np.sqrt(n_features))
        self.bias = float(drawn[-1]) * 0.5
        self._parameters = np.zeros(-(-n_features // LANES) * LANES + 1)
        self._parameters[:n_features] = self.weights
        self._parameters[-1] = self.bias
        self._teacher_arrays = [self._parameters]

    def _write(self, start: int, order: np.ndarray, block: Block) -> None:
        x, y = block.features, block.labels
        if y is None:
            kernels.random_rows(self._code, int(self._keys[0]), start, order, x)
        else:
            kernels.neuron_rows(
                self._code, self._keys, start, order, self._parameters, self.noise, x, y
            )


class _NetworkRows(VirtualRows):
    """Rows labelled by a network."""

    def __init__(
        self,
        n_rows: int,
        sizes: list[int],
        activations: tuple[ActivationName, ...],
        classes: bool,
        randomness: Randomness,
    ) -> None:
        super().__init__(n_rows, sizes[0], 1 if classes else sizes[-1], randomness)
        kind = "classifying network" if classes else "network"
        self.teacher = f"{'-'.join(map(str, sizes))} {kind} ({', '.join(activations)})"
        self._activations = activations
        self._classes = classes
        counts = [(n + 1) * m for n, m in pairwise(sizes)]
        drawn = np.split(self._teacher_numbers(sum(counts)), np.cumsum(counts)[:-1])
        shaped = [a.reshape(n + 1, m) for a, (n, m) in zip(drawn, pairwise(sizes), strict=True)]
        self.weights = [a[:-1] * (2.0 / np.sqrt(len(a) - 1)) for a in shaped]
        self.biases = [a[-1] * 0.5 for a in shaped]
        self._teacher_arrays = [*self.weights, *self.biases]
        # So few rows that predict_network starts no threads of its own and stays in the caches.
        self._step = max(1, CALL_WORK // (sum(counts) + 2 * sum(sizes) + 10))

    def _write(self, start: int, order: np.ndarray, block: Block) -> None:
        for first in range(0, len(block.features), self._step):
            last = first + self._step
            self._write_part(start + first, order[first:last], block.part(first, last))

    def _write_part(self, start: int, order: np.ndarray, block: Block) -> None:
        x, labels = block.features, block.labels
        kernels.random_rows(self._code, int(self._keys[0]), start, order, x)
        if labels is None:
            return
        outputs = predict_network(x, self.weights, self.biases, activations=self._activations)
        if self.noise > 0.0:
            drawn = np.empty_like(outputs)
            kernels.random_rows(kernels.NORMAL, int(self._keys[1]), start, order, drawn)
            outputs += self.noise * drawn
        labels[:] = outputs.argmax(axis=1)[:, None] if self._classes else outputs


def _key(seed: Seed) -> int:
    """Return 64 bits: those of an integer, mixed, or 8 bytes of a generator."""
    if seed is None or isinstance(seed, np.random.Generator | np.random.RandomState):
        return int.from_bytes(arguments.random_generator("seed", seed).bytes(8), "little")
    return kernels.derived(arguments.integer("seed", seed, minimum=0), SEED)


def _delivered(
    rows: VirtualRows, out: str | os.PathLike[str] | None, virtual: bool
) -> tuple[Any, np.ndarray | None]:
    """Return features and labels: the rows themselves, those of a file, or arrays."""
    if arguments.flag("virtual", virtual):
        if out is not None:
            raise ValueError("out: expected None with virtual=True, got a path")
        return rows, None
    if out is not None:
        path = arguments.path("out", out)
        if path.suffix != ".npy":
            raise ValueError(f"out: expected a name that ends in '.npy', got {path.name!r}")
        if output.is_special(path):  # the rows could not be read again
            raise ValueError(f"out: expected an ordinary file, got the pipe or device {path}")
        with arguments.path_errors("out", "a file, in a folder that exists"):
            write_npy(rows, path)
        return open_rows(path, target=list(range(-rows.n_labels, 0))), None
    whole = rows.empty(rows.n_rows)
    with team(generating_threads(rows)) as threads:
        fill_together(rows, 0, whole, threads)
    return whole.features, whole.labels
