"""scikit-learn's multi-layer perceptrons, by fastbp's kernels.

classifier.py, regressor.py
    The two classes and their parameters.
base.py
    What they share: the checks, a fit, and outputs.
exchange.py
    Models of scikit-learn and PyTorch.
fitting.py
    What a fit begins with, and what it has learned.
stochastic.py, epochs.py, solver.py
    Training in mini-batches: the whole, what follows each epoch, and the optimizer between epochs.
lbfgs.py
    Training with L-BFGS-B.
targets.py
    Classes and numbers as labels, and scores.
network.py
    Layers, rows and outputs for the kernels.

A fit reads the estimator's parameters and writes what it learns to `Learned`, which the estimator
takes over in one place.
"""
