"""fastbp: backpropagation for one neuron, on a CPU, as fast as the machine allows."""

from fastbp import datasets
from fastbp._version import __version__
from fastbp.environment import show_versions, warmup
from fastbp.errors import CheckpointError, DataError, DivergenceError, FastbpError
from fastbp.neuron import NeuronFit, fit_neuron, predict_neuron, train_neuron
from fastbp.objects import Neuron
from fastbp.parallel import get_num_threads, set_num_threads
from fastbp.storage import load, save

__all__ = [
    "CheckpointError",
    "DataError",
    "DivergenceError",
    "FastbpError",
    "Neuron",
    "NeuronFit",
    "__version__",
    "datasets",
    "fit_neuron",
    "get_num_threads",
    "load",
    "predict_neuron",
    "save",
    "set_num_threads",
    "show_versions",
    "train_neuron",
    "warmup",
]
