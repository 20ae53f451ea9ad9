"""The command line: ``fastbp train``, ``predict``, ``synth``, ``warmup`` and ``info``.

It may import every other room; none imports it.
"""
