"""The rows of the registries agree with the kernels, and everything that lists names follows."""

import inspect
import itertools

import numpy as np
import pytest

import fastbp
from fastbp import arguments
from fastbp.data.labels import LabelKind
from fastbp.models.activations import ACTIVATIONS, hidden_activations
from fastbp.models.losses import LOSSES, check_pair, neuron_loss_names

Z = np.linspace(-8.0, 8.0, 321) + 0.0117  # no corner of ReLU
PAIRS = [
    (loss, activation)
    for loss, activation in itertools.product(LOSSES, ACTIVATIONS)
    if LOSSES[loss].activation == activation
    or (LOSSES[loss].activation is None and not ACTIVATIONS[activation].output_only)
]


def outputs(activation, z):
    return fastbp.predict_neuron(z[:, None], [1.0], 0.0, activation=activation)


@pytest.mark.parametrize("name", hidden_activations())
def test_formulas_are_those_of_the_kernels(name):
    row = ACTIVATIONS[name]
    a = outputs(name, Z)
    np.testing.assert_allclose(row.phi(Z), a, rtol=1e-15, atol=1e-15)
    again = Z.copy()
    assert row.phi(again, out=again) is again
    np.testing.assert_array_equal(again, row.phi(Z))
    slope = (outputs(name, Z + 1e-6) - outputs(name, Z - 1e-6)) / 2e-6
    np.testing.assert_allclose(row.derivative(Z, a), slope, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(("loss", "activation"), PAIRS)
def test_curvature_is_a_bound_that_is_met(loss, activation):
    n_outputs = 1 if LOSSES[loss].labels is not LabelKind.DISTRIBUTIONS else 2
    possible = {
        "sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "softmax": (0.0, 1.0), "elu": (-1.0, 3.0),
        "silu": (-0.27846, 3.0), "gelu": (-0.16997, 3.0),
    }  # fmt: skip
    h = 1e-3
    # ELU is most curved below 0; with mae it has a corner there.
    near_0 = np.linspace(-0.05, -0.002, 20) if activation == "elu" and loss != "mae" else []

    def value(z, y):
        label = [[y]] if n_outputs == 1 else [[y, 1.0 - y]]
        bias = [z] if n_outputs == 1 else [z / np.sqrt(2.0), -z / np.sqrt(2.0)]
        return fastbp.loss_and_gradient(
            [[0.0]], label, [np.zeros((1, n_outputs))], [bias], activations=[activation], loss=loss
        )[0]

    curvatures = [
        (value(z + h, y) - 2.0 * value(z, y) + value(z - h, y)) / h**2
        for y in possible.get(activation, (0.0, 3.0))
        for z in (*Z[::4], *near_0)
    ]
    bound = LOSSES[loss].curvature(ACTIVATIONS[activation].curvature, n_outputs)
    assert max(curvatures) <= bound * (1.0 + 1e-4)
    # Their errors are above 1 where they are most curved.
    least_curved = activation in ("softplus", "elu", "silu", "gelu") and loss == "huber"
    if not least_curved and loss != "mae":  # which bends where phi does
        assert max(curvatures) >= bound * 0.98


@pytest.mark.parametrize(("loss", "activation"), list(itertools.product(LOSSES, ACTIVATIONS)))
def test_neurons_and_networks_take_the_same_pairs(loss, activation):
    y = [[1.0], [0.0]] if activation != "softmax" else [[1.0, 0.0], [0.0, 1.0]]
    start = [np.zeros((1, len(y[0])))], [np.zeros(len(y[0]))]
    x = [[0.0], [1.0]]

    def network():
        fastbp.fit_network(x, y, *start, 0.1, 1, activations=[activation], loss=loss)

    def neuron():
        fastbp.fit_neuron(x, [1, 0], [0.0], 0.0, 0.1, 1, activation=activation, loss=loss)

    if (loss, activation) in PAIRS:
        network()
    else:
        with pytest.raises(ValueError, match="loss: ") as refused:
            check_pair(loss, activation)
        with pytest.raises(ValueError, match="loss: ") as by_network:
            network()
        assert str(by_network.value) == str(refused.value)
    if activation in hidden_activations() and loss in neuron_loss_names():
        if (loss, activation) in PAIRS:
            neuron()
        else:
            with pytest.raises(ValueError, match="loss: ") as by_neuron:
                neuron()
            assert str(by_neuron.value) == str(refused.value)
    else:
        with pytest.raises(ValueError, match=r"^(activation|loss): expected one of"):
            neuron()


def test_docstrings_list_the_known_names():
    for function, names in {
        fastbp.fit_neuron: [*hidden_activations(), *neuron_loss_names()],
        fastbp.predict_neuron: hidden_activations(),
        fastbp.Neuron: hidden_activations(),
        fastbp.fit_network: [*ACTIVATIONS, *LOSSES],
        fastbp.Layer: ACTIVATIONS,
    }.items():
        for name in names:
            assert f'"{name}"' in function.__doc__
        assert "{activations}" not in function.__doc__
        assert "{losses}" not in function.__doc__


def test_names_in_docs():
    @arguments.names_in_docs(losses=["a", "b"], activations=("c",))
    def documented():
        """Of {losses}, {activations} or {others}."""

    assert documented.__doc__ == 'Of {"a", "b"}, {"c"} or {others}.'
    documented.__doc__ = None  # as under python -OO
    assert arguments.names_in_docs(losses=["a"])(documented).__doc__ is None
    assert list(inspect.signature(fastbp.fit_neuron).parameters)[:2] == ["features", "labels"]


def test_names_of_other_libraries():
    from sklearn.neural_network._base import ACTIVATIONS as THEIRS

    theirs = [row.scikit_learn for row in ACTIVATIONS.values() if row.scikit_learn is not None]
    assert set(theirs) <= set(THEIRS)
    nn = pytest.importorskip("torch.nn")
    assert all(hasattr(nn, row.torch) for row in ACTIVATIONS.values() if row.torch is not None)
