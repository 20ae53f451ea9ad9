"""Speed: fastbp beside the plain NumPy loop, PyTorch and JAX.

Importing it holds every BLAS and OpenMP to one thread, before anything loads one.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"
