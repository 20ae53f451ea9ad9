"""Products of a tile with one column of weights, by fours and by eights, whatever this machine has.

This file also runs with the JIT off (``NUMBA_DISABLE_JIT=1``).
"""

import numpy as np
import pytest

from fastbp.kernels import eights, fours, halves, vector
from fastbp.kernels.jit import kernel
from tests.kernels.both import DOUBLE, SINGLE, both

COLUMNS = [1, 3, 4, 5, 7, 8, 9, 11, 12, 16, 17, 20, 21, 24, 25, 27, 28, 32, 33, 41, 49, 56, 64]
AHEAD = 64
SEA = 80  # NaN on either side


@kernel
def products_by_fours(x, d, stride, rows, ahead, w, z, dz, dw):
    p, q = vector.pointer_to(x), vector.pointer_to(w)
    fours.wide_forward(p, d, stride, rows, ahead, q, 0.5, vector.pointer_to(z))
    fours.wide_backward(p, d, stride, rows, ahead, vector.pointer_to(dz), vector.pointer_to(dw))


@kernel
def products_by_eights(x, d, stride, rows, ahead, w, z, dz, dw):
    p, q = vector.pointer_to(x), vector.pointer_to(w)
    eights.wide_forward(p, d, stride, rows, ahead, q, 0.5, vector.pointer_to(z))
    eights.wide_backward(p, d, stride, rows, ahead, vector.pointer_to(dz), vector.pointer_to(dw))


@pytest.fixture(params=[products_by_fours, products_by_eights], ids=["fours", "eights"])
def products(request):
    def compute(x, w, dz, dw, ahead=0):
        rows, d = x.shape
        stride = d + 3
        sea = np.full((rows, stride), np.nan, x.dtype)
        sea[:, :d] = x
        shore = np.full(SEA, np.nan, x.dtype)
        sea = np.concatenate([shore, sea.ravel(), shore])
        weights, sums = np.zeros(d + 16, w.dtype), np.zeros(d + 16, dw.dtype)
        weights[:d], sums[:d] = w, dw
        z = np.zeros(rows + 8, w.dtype)
        request.param(sea[SEA:], d, stride, rows, ahead, weights, z, dz, sums)
        assert not sums[d:].any()
        return z[:rows], sums[:d]

    return compute


@pytest.mark.parametrize(
    ("stored", "dtype"), [(DOUBLE, DOUBLE), (SINGLE, SINGLE), (DOUBLE, SINGLE)], ids=str
)
@pytest.mark.parametrize("rows", [1, 7, 8, 9, 16, 19])
@pytest.mark.parametrize("d", COLUMNS)
def test_products_of_every_shape(products, d, rows, stored, dtype):
    """Integers, so that every order of summation is exact; what lies between the rows is NaN.

    A tile's gradient is added to one in float64, which here has more digits than float32.
    """
    rng = np.random.default_rng(d * 100 + rows)
    x, w = rng.integers(-9, 10, (rows, d)).astype(stored), rng.integers(-9, 10, d).astype(dtype)
    dz, dw = rng.integers(-9, 10, rows).astype(dtype), rng.integers(-9, 10, d) + 2.0**40
    for ahead in (0, AHEAD):
        z, after = products(x, w, dz, dw, ahead)
        np.testing.assert_array_equal(z, x @ w + 0.5)
        np.testing.assert_array_equal(after, dw + dz @ x)


@both
@pytest.mark.parametrize("d", COLUMNS)
def test_a_row_has_the_same_bits_wherever_it_stands(products, d, dtype):
    rng = np.random.default_rng(d)
    x, w = rng.normal(size=(19, d)).astype(dtype), rng.normal(size=d).astype(dtype)
    dz, dw = np.ones(19, dtype), np.zeros(d)
    together, _ = products(x, w, dz, dw)
    prefetched, _ = products(x, w, dz, dw, AHEAD)
    alone = [products(x[i : i + 1], w, dz[:1], dw)[0][0] for i in range(19)]
    assert together.tolist() == prefetched.tolist() == alone


@kernel
def operations_on_halves(a, b, out):
    p, q, r = vector.pointer_to(a), vector.pointer_to(b), vector.pointer_to(out)
    u, v = vector.load(p, 0), vector.load(q, 0)
    vector.store(r, 0, halves.halves(a[0], b[0]))
    vector.store(r, 8, halves.load_halves(p, q, 2, u))
    vector.store(r, 16, halves.load_few(p, q, 3, u))
    vector.store(r, 24, halves.load_few(p, q, 4, r))
    vector.store(r, 32, halves.sum_halves(u, v, u * v, -u))
    x = halves.load_fours(p, q, 3, (u, v))
    vector.store(r, 40, x[0])
    vector.store(r, 48, x[1])
    own = halves.keep_own(x, 3)
    vector.store(r, 56, own[0])
    vector.store(r, 64, own[1])
    sums = halves.fma_fours(u, x, (v, u))
    vector.store(r, 72, sums[0])
    vector.store(r, 80, sums[1])
    vector.store(r, 88, halves.dot_fours(x, (u, v)))
    halves.add_fours(vector.at(r, 96), 3, x)


@both
@pytest.mark.parametrize("target", [DOUBLE, SINGLE], ids=str)
def test_operations_on_halves(dtype, target):
    rng = np.random.default_rng(0)
    a, b = rng.integers(-9, 10, (2, 16)).astype(dtype)
    out = np.zeros(104, target)
    out[96:] = 100.0
    operations_on_halves(a, b, out)
    u, v = a[:8], b[:8]
    first, second = np.append(a[:4], b[:4]), np.append(a[3:7], b[3:7])
    half_sums = np.array([u, v, u * v, -u]).reshape(4, 2, 4).sum(axis=2).T
    added = np.full(8, 100.0)
    added[:3] += (a[:4] + b[:4])[:3]
    added[3:7] += a[3:7] + b[3:7]
    expected = [
        np.repeat([a[0], b[0]], 4),
        np.append(a[2:6], b[2:6]),
        np.concatenate([a[:3], [0.0], b[:3], [0.0]]),
        first,
        half_sums.ravel(),
        first,
        second,
        np.where(np.arange(8) % 4 < 3, first, 0.0),
        second,
        u * first + v,
        u * second + u,
        first * u + second * v,
        added,
    ]
    np.testing.assert_array_equal(out, np.concatenate(expected))
