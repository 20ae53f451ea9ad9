import threading

import numpy as np
import pytest
import scipy.optimize  # noqa: F401  # loads its BLAS
from threadpoolctl import threadpool_info, threadpool_limits

import fastbp
from fastbp.system.blas import one_blas_thread


@pytest.fixture
def two_threads():
    """What a machine of two processors has."""
    with threadpool_limits(2, user_api="blas"):
        yield


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.mark.usefixtures("two_threads")
def test_the_last_context_restores_the_threads():
    inside, go_on = threading.Event(), threading.Event()

    def hold():
        with one_blas_thread():
            inside.set()
            go_on.wait()

    other = threading.Thread(target=hold)
    with one_blas_thread():
        other.start()
        inside.wait()
        assert blas_threads() == {1}
    assert blas_threads() == {1}
    go_on.set()
    other.join()
    assert blas_threads() == {2}


def test_the_bits_of_l_bfgs_do_not_depend_on_it():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 300)), rng.integers(10, size=300)
    how = {"activations": ["tanh", "softmax"], "loss": "cross_entropy", "optimizer": "lbfgs"}
    start = fastbp.initialize_network(
        (300, 200, 10), activations=how["activations"], random_state=0
    )
    fits = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads, user_api="blas"):
            fits.append(fastbp.fit_network(x, y, *start, None, 20, **how))
    np.testing.assert_array_equal(fits[0].weights[0], fits[1].weights[0])
    np.testing.assert_array_equal(fits[0].losses, fits[1].losses)
