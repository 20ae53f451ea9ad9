"""scikit-learn's interface: its multi-layer perceptrons, and one neuron.

mlp/, neuron/
    MLPClassifier and MLPRegressor; NeuronClassifier and NeuronRegressor.
base.py
    What all four share.
callbacks.py
    What is notified of an epoch.
names.py
    What activations, losses and optimizers are called in scikit-learn and PyTorch.
stored.py
    An estimator as arrays and JSON.
scikit_learn.py
    What differs between scikit-learn's releases.

It needs scikit-learn, and may import ``models``, and what that may import: ``training``, ``data``,
``system``, ``kernels``.
"""

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as _error:
    raise ImportError(
        "the estimators need scikit-learn: pip install 'fastbp[estimators]'"
    ) from _error
