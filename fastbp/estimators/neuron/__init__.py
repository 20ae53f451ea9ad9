"""One neuron, or one a class or an output, behind scikit-learn's interface.

- ``classifier.py``, ``regressor.py``: the two classes and their parameters
- ``base.py``: what they share: `fit`, what is kept of it, outputs
- ``rows.py``: arrays, tables and rows that come in
- ``labels.py``: labels of classes, and one pass over the rows beforehand
- ``rates.py``: a learning rate that is safe for these rows
- ``fitting.py``: the calls of ``fit_neuron`` and ``fit_network``
"""
