"""scikit-learn's interface: its multi-layer perceptrons, and one neuron.

- ``mlp/``: MLPClassifier, MLPRegressor
- ``neuron/``: NeuronClassifier, NeuronRegressor
- ``base.py``: what all four share
- ``callbacks.py``: who hears of an epoch
- ``names.py``: names of activations, losses and optimizers in other libraries
- ``stored.py``: an estimator as what a file can hold
- ``scikit_learn.py``: what differs between scikit-learn's releases

Importing this needs scikit-learn. It imports from ``models`` and what stands below it; only the
command and :func:`fastbp.load` know of it.
"""

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as _error:
    raise ImportError(
        "the estimators need scikit-learn: pip install 'fastbp[estimators]'"
    ) from _error
