"""fastbp: backpropagation for one neuron and small networks, as fast as the CPU allows.

One neuron
    train_neuron        the drop-in for a plain NumPy loop: lists in, rounded lists out
    fit_neuron          arrays in and out, every option; returns a NeuronFit
    predict_neuron      outputs for rows of features
    Neuron              one neuron that trains step by step

Networks of fully connected layers
    fit_network         arrays in and out, the same options; returns a NetworkFit
    predict_network     outputs for rows of features
    initialize_network  initial parameters
    loss_and_gradient   one pass, for optimizers of your own
    Layer, Perceptron   layers that train step by step

Estimators for scikit-learn
    NeuronClassifier, NeuronRegressor, MLPClassifier, MLPRegressor

Optimizers
    SGD, Adam, AdamW, RMSprop, LBFGS
                        with values of your own; "sgd", "adam", "adamw", "rmsprop" and "lbfgs" name
                        them
    schedules           learning rates that change from epoch to epoch

Data and models
    open_rows           rows in files, even larger than memory
    datasets            synthetic data
    save, load          models in safetensors files
    plot_losses         the picture of a fit's losses

The machine
    warmup              compile ahead of time
    show_versions       versions and processors, for a bug report
    get_num_threads, set_num_threads

Exceptions
    FastbpError         the base of DataError, DivergenceError, CheckpointError, ClusterError

Internally, a subpackage imports only from itself and from those below it:

    command             the command ``fastbp``
    warm_up  storage  datasets  plots  schedules
    estimators          scikit-learn's classifiers and regressors
    models              neuron and network, and the objects that train step by step
    training            one fit, whatever the model: optimizers, epochs, checkpoints
    data                rows from arrays, tables, files, iterators; labels, sample weights, order
    system              threads, interrupts, progress, files; knows nothing of neurons
    kernels             compiled code, and the layout of its arrays

``arguments`` and ``errors`` serve all of them but the kernels.
"""

from importlib import import_module, util
from typing import TYPE_CHECKING, Any

from fastbp._version import __version__ as __version__

if TYPE_CHECKING:
    from fastbp import datasets as datasets
    from fastbp import schedules as schedules
    from fastbp.data.sources.opening import open_rows as open_rows
    from fastbp.errors import CheckpointError as CheckpointError
    from fastbp.errors import ClusterError as ClusterError
    from fastbp.errors import DataError as DataError
    from fastbp.errors import DivergenceError as DivergenceError
    from fastbp.errors import FastbpError as FastbpError
    from fastbp.estimators.mlp.classifier import MLPClassifier as MLPClassifier
    from fastbp.estimators.mlp.regressor import MLPRegressor as MLPRegressor
    from fastbp.estimators.neuron.classifier import NeuronClassifier as NeuronClassifier
    from fastbp.estimators.neuron.regressor import NeuronRegressor as NeuronRegressor
    from fastbp.models.drop_in import train_neuron as train_neuron
    from fastbp.models.initialization import initialize_network as initialize_network
    from fastbp.models.network import NetworkFit as NetworkFit
    from fastbp.models.network import fit_network as fit_network
    from fastbp.models.network import loss_and_gradient as loss_and_gradient
    from fastbp.models.network import predict_network as predict_network
    from fastbp.models.neuron import NeuronFit as NeuronFit
    from fastbp.models.neuron import fit_neuron as fit_neuron
    from fastbp.models.neuron import predict_neuron as predict_neuron
    from fastbp.models.step_by_step_layers import Layer as Layer
    from fastbp.models.step_by_step_layers import Perceptron as Perceptron
    from fastbp.models.step_by_step_neuron import Neuron as Neuron
    from fastbp.plots import plot_losses as plot_losses
    from fastbp.storage import load as load
    from fastbp.storage import save as save
    from fastbp.system.threads import get_num_threads as get_num_threads
    from fastbp.system.threads import set_num_threads as set_num_threads
    from fastbp.system.versions import show_versions as show_versions
    from fastbp.training.optimizers import LBFGS as LBFGS
    from fastbp.training.optimizers import SGD as SGD
    from fastbp.training.optimizers import Adam as Adam
    from fastbp.training.optimizers import AdamW as AdamW
    from fastbp.training.optimizers import RMSprop as RMSprop
    from fastbp.warm_up import warmup as warmup

_HOMES = {
    "data.sources.opening": ("open_rows",),
    "errors": ("CheckpointError", "ClusterError", "DataError", "DivergenceError", "FastbpError"),
    "estimators.mlp.classifier": ("MLPClassifier",),
    "estimators.mlp.regressor": ("MLPRegressor",),
    "estimators.neuron.classifier": ("NeuronClassifier",),
    "estimators.neuron.regressor": ("NeuronRegressor",),
    "models.drop_in": ("train_neuron",),
    "models.initialization": ("initialize_network",),
    "models.network": ("NetworkFit", "fit_network", "loss_and_gradient", "predict_network"),
    "models.neuron": ("NeuronFit", "fit_neuron", "predict_neuron"),
    "models.step_by_step_layers": ("Layer", "Perceptron"),
    "models.step_by_step_neuron": ("Neuron",),
    "plots": ("plot_losses",),
    "storage": ("load", "save"),
    "system.threads": ("get_num_threads", "set_num_threads"),
    "system.versions": ("show_versions",),
    "training.optimizers": ("LBFGS", "SGD", "Adam", "AdamW", "RMSprop"),
    "warm_up": ("warmup",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_NEEDS = {"estimators": "sklearn"}  # packages of an extra, which need not be installed
_MODULES = "datasets", "schedules"
_MISSING = tuple(room for room, package in _NEEDS.items() if util.find_spec(package) is None)
__all__ = ["__version__", *_MODULES]
__all__ += [name for name, home in _HOME_OF.items() if not home.startswith(_MISSING)]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: Numba alone takes a third of a second to import.

    This also lets the command install its Ctrl-C handler before anything else is imported.
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
    return sorted({*_MODULES, *_HOME_OF, *(name for name in globals() if name.startswith("__"))})
