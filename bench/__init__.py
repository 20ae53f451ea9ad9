"""Benchmarks: run from the root of a checkout, for example ``python -m bench.neuron``."""
