"""Speed and accuracy of fastbp beside the plain NumPy loop, PyTorch, JAX and scikit-learn.

    pytest bench                      # everything; --quick: the answers, and a glance at the times
    python -m bench.gate              # did it get slower against NumPy than the stored ratios say?
    python -m bench.compare COMMIT    # the working tree against a commit, in turns
    python -m bench.report            # the README's tables and charts from the last saved run

Importing it holds every BLAS and OpenMP to FASTBP_BENCH_THREADS threads (1 unless it is set),
before anything loads one.
"""

import os

THREADS = int(os.environ.get("FASTBP_BENCH_THREADS", "1"))
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = str(THREADS)
