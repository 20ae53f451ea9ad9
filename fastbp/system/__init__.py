"""The machine: threads, BLAS, interrupts, progress, mapped files. It knows nothing of neurons.

It imports ``kernels``, ``arguments`` and ``errors`` only.
"""
