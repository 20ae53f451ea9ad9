"""Rows, whatever they come from: checked, split, ordered, read ahead.

It imports ``system``, ``kernels``, ``arguments`` and ``errors`` only.
"""
