"""The public names, which ``fastbp`` hands on."""

from fastbp import datasets
from fastbp._version import __version__
from fastbp.environment import show_versions
from fastbp.errors import CheckpointError, DataError, DivergenceError, FastbpError
from fastbp.network import (
    NetworkFit,
    fit_network,
    initialize_network,
    loss_and_gradient,
    predict_network,
)
from fastbp.neuron import NeuronFit, fit_neuron, predict_neuron, train_neuron
from fastbp.objects import Layer, Neuron, Perceptron
from fastbp.optimizers import SGD, Adam
from fastbp.parallel import get_num_threads, set_num_threads
from fastbp.readiness import warmup
from fastbp.sources import open_rows
from fastbp.storage import load, save

__all__ = [
    "SGD",
    "Adam",
    "CheckpointError",
    "DataError",
    "DivergenceError",
    "FastbpError",
    "Layer",
    "NetworkFit",
    "Neuron",
    "NeuronFit",
    "Perceptron",
    "__version__",
    "datasets",
    "fit_network",
    "fit_neuron",
    "get_num_threads",
    "initialize_network",
    "load",
    "loss_and_gradient",
    "open_rows",
    "predict_network",
    "predict_neuron",
    "save",
    "set_num_threads",
    "show_versions",
    "train_neuron",
    "warmup",
]
