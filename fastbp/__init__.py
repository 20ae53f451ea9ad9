"""fastbp: backpropagation for one neuron and small networks, as fast as the CPU allows."""

from importlib import import_module, util
from typing import TYPE_CHECKING, Any

from fastbp._version import __version__ as __version__

if TYPE_CHECKING:
    from fastbp import datasets as datasets
    from fastbp.environment import show_versions as show_versions
    from fastbp.errors import CheckpointError as CheckpointError
    from fastbp.errors import DataError as DataError
    from fastbp.errors import DivergenceError as DivergenceError
    from fastbp.errors import FastbpError as FastbpError
    from fastbp.estimators.mlp import MLPClassifier as MLPClassifier
    from fastbp.estimators.mlp import MLPRegressor as MLPRegressor
    from fastbp.estimators.neurons import NeuronClassifier as NeuronClassifier
    from fastbp.estimators.neurons import NeuronRegressor as NeuronRegressor
    from fastbp.network import NetworkFit as NetworkFit
    from fastbp.network import fit_network as fit_network
    from fastbp.network import initialize_network as initialize_network
    from fastbp.network import loss_and_gradient as loss_and_gradient
    from fastbp.network import predict_network as predict_network
    from fastbp.neuron import NeuronFit as NeuronFit
    from fastbp.neuron import fit_neuron as fit_neuron
    from fastbp.neuron import predict_neuron as predict_neuron
    from fastbp.neuron import train_neuron as train_neuron
    from fastbp.objects import Layer as Layer
    from fastbp.objects import Neuron as Neuron
    from fastbp.objects import Perceptron as Perceptron
    from fastbp.optimizers import SGD as SGD
    from fastbp.optimizers import Adam as Adam
    from fastbp.parallel import get_num_threads as get_num_threads
    from fastbp.parallel import set_num_threads as set_num_threads
    from fastbp.readiness import warmup as warmup
    from fastbp.sources import open_rows as open_rows
    from fastbp.storage import load as load
    from fastbp.storage import save as save

_HOMES = {
    "environment": ("show_versions",),
    "errors": ("CheckpointError", "DataError", "DivergenceError", "FastbpError"),
    "estimators.mlp": ("MLPClassifier", "MLPRegressor"),
    "estimators.neurons": ("NeuronClassifier", "NeuronRegressor"),
    "network": (
        "NetworkFit", "fit_network", "initialize_network", "loss_and_gradient", "predict_network",
    ),
    "neuron": ("NeuronFit", "fit_neuron", "predict_neuron", "train_neuron"),
    "objects": ("Layer", "Neuron", "Perceptron"),
    "optimizers": ("SGD", "Adam"),
    "parallel": ("get_num_threads", "set_num_threads"),
    "readiness": ("warmup",),
    "sources": ("open_rows",),
    "storage": ("load", "save"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = ["__version__", "datasets", *_HOME_OF]


def __getattr__(name: str) -> Any:
    """Import what is asked for only now: Numba takes a third of a second, other parts add to it.

    So the command decides what becomes of Ctrl-C before anything else is imported.
    """
    if name in _HOME_OF:
        value = globals()[name] = getattr(import_module(f"fastbp.{_HOME_OF[name]}"), name)
        return value
    try:
        if name.isidentifier() and util.find_spec(f"fastbp.{name}"):
            return import_module(f"fastbp.{name}")
    except ImportError as error:  # of an extra that is not installed
        raise AttributeError(f"fastbp.{name}: {error}") from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
