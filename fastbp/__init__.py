"""fastbp: backpropagation for one neuron and small networks, on a CPU, as fast as it allows."""

from fastbp.errors import CheckpointError, DataError, DivergenceError, FastbpError
from fastbp.neuron import Neuron, NeuronFit, fit_neuron, predict_neuron, train_neuron
from fastbp.parallel import get_num_threads, set_num_threads

__version__ = "0.1.0"
