"""The neuron and the network: their arguments, their parameters, and what a fit returns.

activations.py, losses.py
    The registries: an entry for each activation and each loss.
layers.py
    From layer sizes to a plan, flat parameters, and a problem for training.
initialization.py
    Initial parameters of networks.
fits.py
    What the fits of a neuron and of a network share.
prediction.py, neuron_prediction.py, network_prediction.py
    The outputs, for rows of any kind: how kernels are called for many; of a neuron; of a network.
neuron.py, network.py
    The functions that users call.
drop_in.py
    train_neuron, which takes and returns lists.
step_by_step_neuron.py, step_by_step_layers.py
    Objects that train step by step: Neuron; Layer and Perceptron.
table_model.py
    A fit with column names, scaling and classes.

It may import ``training``, and what that may import: ``data``, ``system``, ``kernels``.
"""
