"""The libraries that are compared: their order in tables, their colours in charts."""

from __future__ import annotations

from importlib import util

PEERS = ("NumPy", "PyTorch", "JAX", "scikit-learn")
CLASSES = ("SGDClassifier", "LinearRegression")  # of scikit-learn, beside its fastest
ORDER = ("fastbp", "NumPy", "SciPy", *PEERS[1:], *CLASSES, "Numba")
MODULES = {"PyTorch": "torch", "JAX": "jax", "scikit-learn": "sklearn", "Numba": "numba"}
MODULES |= dict.fromkeys(CLASSES, "sklearn")
COLOURS = {
    "fastbp": "#2a6fbb",
    "NumPy": "#d9822b",
    "PyTorch": "#b0413e",
    "JAX": "#3d8b57",
    "scikit-learn": "#7d5ba6",
}


def installed(name: str) -> bool:
    """Return whether a provider's library is installed."""
    return name not in MODULES or util.find_spec(MODULES[name]) is not None
