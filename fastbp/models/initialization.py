"""Initial parameters of networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from fastbp import arguments
from fastbp.models import layers
from fastbp.models.activations import ActivationName

# For type checkers; a test compares it with SCHEMES.
Scheme = Literal["glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "normal", "zeros"]


@arguments.names_in_docs(dtypes=arguments.DTYPES)
def initialize_network(
    layer_sizes: Sequence[int],
    *,
    activations: Sequence[ActivationName],
    scheme: Scheme = "glorot_uniform",
    random_state: int | np.random.Generator | np.random.RandomState | None = None,
    dtype: arguments.Dtype = "float64",
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return initial parameters for :func:`fit_network`.

    Parameters
    ----------
    layer_sizes : sequence of int
        Inputs, the neurons of each hidden layer, outputs.
    activations : sequence of str
        One per layer, as for :func:`fit_network`.
    scheme : str
        How the weights of n inputs and m outputs are drawn: ``"glorot_uniform"`` (within
        sqrt(6/(n + m)) of 0) and ``"glorot_normal"`` (standard deviation sqrt(2/(n + m))) suit
        sigmoid and tanh (Glorot and Bengio, AISTATS 2010); ``"he_uniform"`` (within sqrt(6/n))
        and ``"he_normal"`` (standard deviation sqrt(2/n)) suit ReLU (He et al., ICCV 2015);
        ``"normal"`` is the standard normal distribution; ``"zeros"`` keeps the neurons of a hidden
        layer identical forever. Biases are zeros.
    random_state : int, numpy.random.Generator, numpy.random.RandomState, optional
    dtype : {dtypes}, or NumPy's dtype of that name, default "float64"
        The numbers are drawn in float64, whatever it is, and rounded to it.

    Returns
    -------
    weights : list of numpy.ndarray of `dtype`, shape (n_inputs, n_outputs)
    biases : list of numpy.ndarray of `dtype`, shape (n_outputs,)

    Raises
    ------
    TypeError, ValueError
        If sizes, activations or the scheme are not allowed.

    Examples
    --------
    >>> from fastbp import initialize_network
    >>> weights, biases = initialize_network([4, 8, 1], activations=["relu", "identity"],
    ...                                      scheme="he_normal", random_state=0)
    >>> [w.shape for w in weights], [b.shape for b in biases]
    ([(4, 8), (8, 1)], [(8,), (1,)])
    """
    sizes = layers.layer_sizes(layer_sizes)
    names = layers.activations_of("activations", activations, len(sizes) - 1)
    draw = SCHEMES[arguments.choice("scheme", scheme, SCHEMES)]
    dtype = arguments.dtype("dtype", dtype)
    random = arguments.random_generator("random_state", random_state)
    weights = [draw(random, n, m) for n, m in pairwise(sizes)]
    # As views of one vector, which predictions need not copy.
    whole = layers.Layers(tuple(sizes), layers.codes_of(names), 0)
    biases = [np.zeros(m) for m in sizes[1:]]
    named = whole.named(whole.flat(weights, biases, dtype=dtype))
    return named["weights"], named["biases"]


def _uniform(random: Any, n: int, m: int, bound: float) -> Any:
    return random.uniform(-bound, bound, size=(n, m))


def _normal(random: Any, n: int, m: int, deviation: float) -> Any:
    return random.standard_normal(size=(n, m)) * deviation


SCHEMES: dict[str, Callable[[Any, int, int], np.ndarray]] = {
    "glorot_uniform": lambda random, n, m: _uniform(random, n, m, math.sqrt(6.0 / (n + m))),
    "glorot_normal": lambda random, n, m: _normal(random, n, m, math.sqrt(2.0 / (n + m))),
    "he_uniform": lambda random, n, m: _uniform(random, n, m, math.sqrt(6.0 / n)),
    "he_normal": lambda random, n, m: _normal(random, n, m, math.sqrt(2.0 / n)),
    "normal": lambda random, n, m: _normal(random, n, m, 1.0),
    "zeros": lambda random, n, m: np.zeros((n, m)),
}
