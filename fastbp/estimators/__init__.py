"""scikit-learn's interface: its multi-layer perceptrons, and one neuron."""

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as _error:
    raise ImportError(
        "the estimators need scikit-learn: pip install 'fastbp[estimators]'"
    ) from _error
