"""Speed and accuracy of fastbp beside the plain NumPy loop, PyTorch, JAX and scikit-learn.

    pytest bench                      # everything; --quick: check the answers, time them briefly
    python -m bench.gate              # is fastbp slower, relative to NumPy, than the stored ratios?
    python -m bench.compare COMMIT    # a commit against the working tree, alternating
    python -m bench.report            # tables and charts of the last saved run, into the READMEs
    python -m bench.estimators        # full training runs of the perceptrons and scikit-learn's
    python -m bench.accuracy          # errors of functions and of trained parameters
    python -m bench.cluster           # a Dask cluster of this machine, beside Dask's own ways
    python -m bench.more_rows         # a file larger than the memory used: trained, killed, resumed
    python -m bench.prove             # a kernel made slower on purpose is found by gate and compare

With ``--avx2`` the first three hold every library to AVX2, as on a machine without AVX-512.

Imports run one way: the commands above and the tests; then ``worker``, ``machine``, ``saved``,
``charts`` and ``readme``; then ``workloads``; then ``cases``, ``timing``, ``providers`` and
``avx2``.

Importing this package limits every BLAS and OpenMP to FASTBP_BENCH_THREADS threads (1 by default),
before anything loads one.
"""

import os
from pathlib import Path

TOP = Path(__file__).parent.parent
THREADS = int(os.environ.get("FASTBP_BENCH_THREADS", "1"))
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = str(THREADS)
