"""What several test files share: made-up problems, comparisons, a fresh interpreter."""

import os
import subprocess
import sys
import textwrap
from itertools import pairwise

import numpy as np
from numba.core import types

from tests.tolerances import ROUNDING, SQUARED_ROUNDING


def network_problem(sizes, n, loss="mse", seed=0):
    """Rows, labels that the loss is defined for, weights and biases, and the generator."""
    rng = np.random.default_rng([seed, n, *sizes])
    x = rng.normal(size=(n, sizes[0]))
    y = rng.random((n, sizes[-1]))
    if loss == "cross_entropy":
        y /= y.sum(axis=1, keepdims=True)
    shapes = list(pairwise(sizes))
    weights = [rng.normal(size=shape) / np.sqrt(shape[0]) for shape in shapes]
    return x, y, weights, [rng.normal(size=m) * 0.3 for m in sizes[1:]], rng


def assert_same_network(fit, expected, rtol=ROUNDING):
    """Weights, biases and losses agree to rounding."""
    scale = max(1.0, *(float(np.abs(w).max()) for w in expected.weights))
    pairs = zip((*fit.weights, *fit.biases), (*expected.weights, *expected.biases), strict=True)
    for ours, theirs in pairs:
        assert ours.shape == theirs.shape
        assert ours.flags.c_contiguous
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * scale)
    np.testing.assert_allclose(fit.losses, expected.losses, rtol=rtol, atol=SQUARED_ROUNDING)


def network_bits(fit):
    """All numbers of a fit, as bytes."""
    return b"".join(array.tobytes() for array in (*fit.weights, *fit.biases, fit.losses))


def signatures(kernel):
    """The types that a kernel was compiled for, of rows and of arithmetic in float64 only."""
    found = []
    for signature in kernel.signatures:
        rows = signature[0] if isinstance(signature[0], types.BaseTuple) else signature[:1]
        others = [of for of in signature[1:] if isinstance(of, types.Array)]
        double = all(array.dtype == types.float64 for array in list(rows)[:3])
        if double and all(array.dtype != types.float32 for array in others):
            found.append(signature)
    return found


def python(code, *, timeout=120, **environment):
    """Run code in a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
