"""What a type checker sees: the names that arguments take, and what comes back."""

import inspect
import typing
from itertools import chain
from pathlib import Path

import pytest

import fastbp
from fastbp import datasets, storage, warm_up
from fastbp.arguments import DTYPES
from fastbp.estimators.scikit_learn import StrOptions
from fastbp.models import activations, initialization, losses
from fastbp.training.optimizers import OPTIMIZERS, OptimizerName

HIDDEN, ALL = activations.hidden_activations(), activations.ACTIVATIONS
ESTIMATORS = [
    fastbp.MLPClassifier,
    fastbp.MLPRegressor,
    fastbp.NeuronClassifier,
    fastbp.NeuronRegressor,
]


def names_in(hint):
    """Return the strings among a hint's literals, also within a union or a sequence."""
    if typing.get_origin(hint) is typing.Literal:
        return set(typing.get_args(hint))
    return set(chain.from_iterable(map(names_in, typing.get_args(hint))))


@pytest.mark.parametrize(
    ("hint", "registry"),
    [
        (activations.HiddenActivation, HIDDEN),
        (activations.ActivationName, ALL),
        (losses.NeuronLoss, losses.neuron_loss_names()),
        (losses.LossName, losses.LOSSES),
        (OptimizerName, OPTIMIZERS),
        (initialization.Scheme, initialization.SCHEMES),
        (datasets.Distribution, datasets.DISTRIBUTIONS),
        (datasets.Task, datasets.TASKS),
    ],
)
def test_literals_are_those_of_the_registries(hint, registry):
    assert typing.get_args(hint) == tuple(registry)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_literals_are_those_that_estimators_take(estimator):
    hints = typing.get_type_hints(estimator.__init__)
    for name, options in estimator._parameter_constraints.items():
        expected = [o.options for o in options if isinstance(o, StrOptions)]
        assert names_in(hints[name]) == set().union(*expected), name


CHOICES = {
    "activation": HIDDEN, "activations": ALL, "optimizer": OPTIMIZERS, "shuffle": ["window"],
    "dtype": DTYPES,
}  # fmt: skip
FUNCTIONS = [
    (fastbp.fit_neuron, {"loss": losses.neuron_loss_names(), "progress": ["always"]}),
    (fastbp.fit_network, {"loss": losses.LOSSES, "progress": ["always"]}),
    (fastbp.predict_neuron, {}),
    (fastbp.predict_network, {}),
    (fastbp.loss_and_gradient, {"loss": losses.LOSSES}),
    (fastbp.initialize_network, {"scheme": initialization.SCHEMES}),
    (fastbp.Neuron.__init__, {}),
    (fastbp.Layer.__init__, {"activation": ALL, "scheme": initialization.SCHEMES}),
    (fastbp.Perceptron.fit, {"loss": losses.LOSSES}),
    (datasets.make_neuron_dataset, {"distribution": datasets.DISTRIBUTIONS}),
    (datasets.make_network_dataset, {"distribution": datasets.DISTRIBUTIONS,
                                     "task": datasets.TASKS}),
    (fastbp.warmup, {"functions": warm_up.CALLS, "progress": ["always"]}),
]  # fmt: skip


@pytest.mark.parametrize(("function", "own"), FUNCTIONS, ids=lambda f: getattr(f, "__name__", ""))
def test_functions_take_literals(function, own):
    hints = typing.get_type_hints(function)
    expected = {**CHOICES, **own}
    for name in inspect.signature(function).parameters.keys() & expected.keys():
        assert names_in(hints[name]) == set(expected[name]), name
    assert own.keys() <= hints.keys()


def test_what_load_returns():
    assert {hint.__forward_arg__ for hint in typing.get_args(storage.StoredModel)} == set(
        storage.HOMES
    )


WRONG = """\
import fastbp
x, y, w = [[1.0]], [1], [0.0]
fastbp.fit_neuron(x, y, w, 0.0, 0.1, 1, activation="sigmod")
fastbp.fit_network(x, y, [w], [w], 0.1, 1, activations=["relu", "softmx"])
fastbp.fit_network(x, y, [w], [w], 0.1, 1, activations=["relu"], loss="msee")
fastbp.MLPClassifier(activation="sigmoid")
fastbp.NeuronClassifier(solver="lbfg")
fastbp.load("model").nothing
fastbp.MLPClassifier().fit(x, y).predict(x).nothing
fastbp.fit_neuron(x, y, w, 0.0, 0.1, 1, optimizer=fastbp.Adam(), shuffle="window").predict(x).sum()
fastbp.fit_network(x, y, [w], [w], 0.1, 1, activations=["relu", "softmax"], loss="mse")
"""


def test_a_type_checker_refuses_what_is_wrong(tmp_path):
    api = pytest.importorskip("mypy.api")
    (tmp_path / "wrong.py").write_text(WRONG)
    config = Path(__file__).parents[1] / "pyproject.toml"
    how = ["--config-file", str(config), "--cache-dir", str(tmp_path), "--no-error-summary"]
    shown, failed, _ = api.run([*how, str(tmp_path / "wrong.py")])
    assert not failed
    lines = [int(line.split(":")[1]) for line in shown.splitlines() if ": error:" in line]
    assert sorted(set(lines)) == list(range(3, 10)), shown
