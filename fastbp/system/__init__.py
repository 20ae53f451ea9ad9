"""The machine. Nothing in here knows of neurons.

threads.py
    How many threads to use, and a team of them that runs one kernel.
blas.py
    NumPy's and SciPy's BLAS, held to one thread.
interrupts.py
    Ctrl-C: a request first, an exception the second time.
progress.py
    Progress bars.
mapping.py
    Files mapped into memory, even if another program shortens them.
output.py
    The one writer of files: how an old one is replaced, and what is written to as it is.
archive.py
    Arrays and JSON in a safetensors file.
versions.py
    What a bug report needs.

It may import ``kernels``, ``arguments`` and ``errors`` only.
"""
