"""scikit-learn's multi-layer perceptrons, by fastbp's kernels.

- ``classifier.py``, ``regressor.py``: the two classes and their parameters
- ``base.py``: what they share: checks, `fit`, outputs
- ``exchange.py``: models of scikit-learn and PyTorch
- ``fitting.py``: what a fit begins with, and what it has learned
- ``stochastic.py``, ``epochs.py``, ``solver.py``: training in mini-batches; after each epoch;
  the optimizer's state between epochs
- ``lbfgs.py``: training by L-BFGS-B
- ``targets.py``: classes and numbers as labels, and scores
- ``network.py``: layers, rows and outputs for the kernels

A fit reads the estimator's parameters and writes to `Learned`; the estimator takes that over in
one place.
"""
