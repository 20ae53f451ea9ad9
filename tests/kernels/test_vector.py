"""Vectors of either type, and what kernels are made of besides.

This file also runs with the JIT off (``NUMBA_DISABLE_JIT=1``).
"""

import operator

import numpy as np
import pytest
from llvmlite import ir
from mpmath import mp
from numba.core import types
from numba.core.errors import TypingError

from fastbp.kernels import atomics, lanes, lowering, powers, update, vector
from fastbp.kernels.jit import JIT_ENABLED, kernel
from fastbp.kernels.vector import load, pointer_to, store
from tests.kernels.both import DOUBLE, SINGLE, both

UNIT = {DOUBLE: 2.0**-53, SINGLE: 2.0**-24}


@kernel
def vector_operations(a, b, out):
    u, v = load(pointer_to(a), 0), load(pointer_to(b), 0)
    p = pointer_to(out)
    store(p, 0, u + v)
    store(p, 8, u - v)
    store(p, 16, u * v)
    store(p, 24, u / v)
    store(p, 32, -u)
    store(p, 40, vector.absolute(u))
    store(p, 48, vector.with_sign_of(u, v))
    store(p, 56, vector.where_less(u, v, u, v))
    store(p, 64, powers.power_of_two(u + powers.shift_for(u)))
    store(p, 72, powers.exponent(vector.absolute(u)))
    store(p, 80, powers.mantissa(vector.absolute(u)))
    store(p, 88, vector.keep_first(u, 3))
    store(p, 96, vector.load_first(vector.at(pointer_to(a), 2), 1, 4))
    store(p, 104, lanes.evens(u, v))
    store(p, 112, lanes.odds(u, v))
    store(p, 120, lanes.sum_each(u, v, -u, -v, u + v, u - v, u * v, u))
    store(p, 128, vector.fma(u, v, u))
    store(p, 136, powers.two_to_eighths(u * 8.0 + powers.eighths_shift(u)))
    store(p, 144, lanes.sum_everywhere(u))
    out[152] = lanes.sum_lanes(u)
    columns = lanes.columns_of(u, v, -u, -v, u + v, u - v, u * v, u)
    store(p, 160, columns[0])
    store(p, 168, columns[1])
    store(p, 176, columns[2])
    store(p, 184, columns[3])
    store(p, 192, columns[4])
    store(p, 200, columns[5])
    store(p, 208, columns[6])
    store(p, 216, columns[7])


def tree(a):
    return ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]))


@both
def test_vector_operations(dtype):
    rng = np.random.default_rng(0)
    u, v = (rng.normal(size=8) * 4).astype(dtype), rng.normal(size=8).astype(dtype)
    out = np.zeros(224, dtype)
    vector_operations(u, v, out)
    fraction, exponent = np.frexp(np.abs(u))
    zeros = np.zeros(5, dtype)
    expected = [
        u + v, u - v, u * v, u / v, -u, np.abs(u), np.copysign(u, v), np.minimum(u, v),
        np.ldexp(dtype.type(1), np.rint(u).astype(int)), exponent - 1.0, fraction * 2,
        np.append(u[:3], zeros), np.append(u[3:7], zeros[:4]), np.append(u[::2], v[::2]),
        np.append(u[1::2], v[1::2]), [tree(a) for a in (u, v, -u, -v, u + v, u - v, u * v, u)],
    ]  # fmt: skip
    np.testing.assert_array_equal(out[:128], np.concatenate(expected))
    np.testing.assert_allclose(out[128:136], u.astype(float) * v + u, rtol=8 * UNIT[dtype])
    eighths = np.rint(u.astype(float) * 8.0) / 8.0
    np.testing.assert_allclose(out[136:144], 2.0**eighths, rtol=UNIT[dtype])
    assert out[152] == tree(u)
    assert np.array_equal(out[144:152], np.full(8, tree(u)))
    rows = np.array([u, v, -u, -v, u + v, u - v, u * v, u])
    np.testing.assert_array_equal(out[160:224].reshape(8, 8), rows.T)


@kernel
def multiplied_and_added(a, b, c, out):
    u, v, w = load(pointer_to(a), 0), load(pointer_to(b), 0), load(pointer_to(c), 0)
    store(pointer_to(out), 0, vector.fma(u, v, w))


@both
def test_fma_rounds_once(dtype):
    """What is left of the exact product without the rounded one, which else were 0."""
    bits = 30 if dtype == DOUBLE else 14
    a, b = np.full(8, 1.0 + 2.0**-bits), np.arange(1.0, 9.0) + 2.0 ** (2 - bits)
    a, b, out = a.astype(dtype), b.astype(dtype), np.zeros(8, dtype)
    multiplied_and_added(a, b, -(a * b), out)
    with mp.workdps(60):
        pairs = zip(a.tolist(), b.tolist(), (a * b).tolist(), strict=True)
        left = [float(mp.mpf(x) * y - product) for x, y, product in pairs]
    assert out.tolist() == left
    assert 0.0 not in left


@kernel
def numbers_beside_vectors(a, number, out):
    u, p = load(pointer_to(a), 0), pointer_to(out)
    store(p, 0, u + 0.1)
    store(p, 8, 0.1 - u)
    store(p, 16, u * number)
    store(p, 24, 0.1 / u)
    store(p, 32, vector.fma(u, number, 0.1))
    store(p, 40, vector.where_less(u, 0.1, number, u))
    store(p, 48, vector.with_sign_of(0.1, u))
    store(p, 56, vector.broadcast_like(u, number))
    store(p, 64, vector.broadcast_like(pointer_to(a), number))
    store(p, 72, vector.broadcast(a[3]))
    store(p, 80, vector.zeros(u))
    store(p, 88, vector.zeros(pointer_to(a)))


@both
def test_a_number_beside_a_vector_is_eight_of_it_in_its_type(dtype):
    """Rounded to it first: 0.1 is another number in float32."""
    u = np.random.default_rng(0).normal(size=8).astype(dtype)
    out, tenth, third = np.full(96, 7.0, dtype), dtype.type(0.1), dtype.type(1 / 3)
    numbers_beside_vectors(u, 1.0 / 3.0 if JIT_ENABLED else third, out)
    fused = (np.longdouble(u) * third + tenth).astype(dtype)
    expected = [
        u + tenth, tenth - u, u * third, tenth / u, fused, np.where(u < tenth, third, u),
        np.copysign(tenth, u), *[np.full(8, third)] * 2, np.full(8, u[3]), *[np.zeros(8)] * 2,
    ]  # fmt: skip
    np.testing.assert_array_equal(out[:32], np.concatenate(expected)[:32])
    np.testing.assert_array_equal(out[40:], np.concatenate(expected)[40:])
    np.testing.assert_allclose(out[32:40], fused, rtol=UNIT[dtype])


@kernel
def between_types(a, double, single, flags):
    """From a, of either type, to both and back."""
    p, q, r = pointer_to(a), pointer_to(double), pointer_to(single)
    u = load(p, 0)
    store(q, 0, vector.as_doubles(u))
    store(q, 8, vector.as_type_of(q, u))
    store(r, 0, vector.as_type_of(r, u))
    store(q, 16, u)
    store(r, 8, u)
    vector.store_first(q, 24, u, 3)
    vector.store_first(r, 16, u, 3)
    vector.store_up_to(q, 32, u, 9)
    vector.store_up_to(r, 24, u, 5)
    store(p, 8, vector.load_up_to(p, 0, 5))
    flags[0], flags[1] = vector.is_single(u), vector.is_single(p)
    flags[2], flags[3] = vector.is_single(q), vector.is_single(r)
    flags[4] = vector.by_type(u, 64.0, 32.0)
    a[16] = lanes.lane(u, flags[5])


@both
def test_types(dtype):
    rng = np.random.default_rng(0)
    u = rng.normal(size=8).astype(dtype)
    a, double, single = np.full(17, 7.0, dtype), np.full(40, 7.0), np.full(32, 7.0, np.float32)
    a[:8] = u
    flags = np.zeros(6, dtype=np.int64)
    flags[5] = 6
    between_types(a, double, single, flags)
    rounded, sevens = u.astype(np.float32), np.full(8, 7.0)
    expected = [u, u, u, [*u[:3], *sevens[3:]], u]
    np.testing.assert_array_equal(double, np.concatenate(expected))
    expected = [rounded, rounded, [*rounded[:3], *sevens[3:]], [*rounded[:5], *sevens[5:]]]
    np.testing.assert_array_equal(single, np.concatenate(expected))
    assert a[8:].tolist() == [*u[:5].tolist(), 0.0, 0.0, 0.0, u[6]]
    is_single = dtype == SINGLE
    assert flags.tolist() == [is_single, is_single, False, True, 32 if is_single else 64, 6]


def test_types_of_vectors_and_pointers():
    double, single = (lowering.VECTORS[t] for t in (types.float64, types.float32))
    for vector_type, element in ((double, types.float64), (single, types.float32)):
        assert lowering.vector_like(types.int64, vector_type) == vector_type
        assert lowering.vector_like(types.CPointer(element)) == vector_type
        assert lowering.vector_like(types.UniTuple(vector_type, 3)) == vector_type
        pointer, array = types.CPointer(element), types.Array(element, 1, "C")
        assert lowering.pointer_type(array) == pointer
        nested = types.Tuple([array, types.UniTuple(array, 2)])
        expected = types.Tuple([pointer, types.UniTuple(pointer, 2)])
        assert lowering.pointer_type(nested) == expected
    assert double != single
    for element, size, kind in (
        (lowering.DOUBLE, 8, powers.DOUBLE_FORMAT),
        (lowering.SINGLE, 4, powers.SINGLE_FORMAT),
    ):  # of which only generators of code ask
        assert vector._size_of(ir.Constant(element.as_pointer(), None)) == size
        assert powers._format_of(lowering.vector_of(element)) is kind


@pytest.mark.skipif(not JIT_ENABLED, reason="NumPy mixes them")
@pytest.mark.parametrize("operation", [operator.add, vector.with_sign_of], ids=["add", "sign"])
def test_vectors_of_two_types_do_not_mix(operation):
    @kernel
    def mixed(a, b):
        store(pointer_to(a), 0, operation(load(pointer_to(a), 0), load(pointer_to(b), 0)))

    mixed(np.zeros(8), np.zeros(8))
    with pytest.raises(TypingError):
        mixed(np.zeros(8), np.zeros(8, np.float32))


@both
def test_roots_and_single_lanes(dtype):
    @kernel
    def pieces(a, b, n):
        vector.store_first(pointer_to(b), 0, vector.square_root(load(pointer_to(a), 0)), n)
        store(pointer_to(b), 8, load(pointer_to(a), 0))
        b[16] = lanes.lane(load(pointer_to(a), 0), n)

    a, b = np.arange(8.0, dtype=dtype) ** 2, np.zeros(17, dtype)
    pieces(a, b, 3)
    assert b.tolist() == [0.0, 1.0, 2.0, *[0.0] * 5, *a, 9.0]
    a, b = np.arange(8, dtype=dtype), np.zeros(17, dtype)
    pieces(a, b, 7)
    np.testing.assert_array_equal(b[:7], np.sqrt(a[:7]))


@pytest.mark.parametrize("tables_in_registers", [True, False])
@both
def test_powers_of_eighths_and_what_they_lack(dtype, tables_in_registers, monkeypatch):
    if not tables_in_registers:
        monkeypatch.setattr(powers, "has_feature", lambda name: False)
        monkeypatch.setattr(powers, "vector_width", lambda: 128)

    @kernel
    def eighths(a, b, c):
        u = load(pointer_to(a), 0)
        store(pointer_to(b), 0, powers.two_to_eighths(u + powers.eighths_shift(u)))
        store(pointer_to(c), 0, powers.eighths_lost(u + powers.eighths_shift(u)))

    n = np.arange(-3.0, 13.0, 2.0)
    for some in (n, n + 1.0):
        a, b, c = some.astype(dtype), np.zeros(8, dtype), np.zeros(8, dtype)
        eighths(a, b, c)
        np.testing.assert_allclose(b, 2.0 ** (some / 8), rtol=UNIT[dtype])
        better = b.astype(float) * (1.0 + c.astype(float))
        np.testing.assert_allclose(better, 2.0 ** (some / 8), rtol=1e-14)


@kernel
def atomic_operations(state):
    p = pointer_to(state)
    atomics.atomic_store(p, 0, 5)
    state[1] = atomics.atomic_add(p, 0, 3)
    state[2] = atomics.atomic_load(p, 0)
    state[3] = atomics.compare_and_swap(p, 0, 7, 1)
    state[4] = atomics.compare_and_swap(p, 0, 8, 2)


def test_atomic_operations():
    state = np.zeros(5, dtype=np.int64)
    atomic_operations(state)
    assert state.tolist() == [2, 5, 8, 0, 1]


@kernel
def update_pieces(a, b, total):
    p, q, r = pointer_to(a), pointer_to(b), pointer_to(total)
    update.copy(8, p, q)
    update.add(8, p, q)
    update.copy(8, p, r)
    update.add(8, p, r)
    total[8] = update.sum_of_squares(8, p)
    total[9] = update.all_finite(8, p)
    total[10] = update.all_finite(11, q)
    update.fill(8, 3.1, p)


@both
def test_update_pieces(dtype):
    """Copied and added into either type, and squares summed in float64."""
    a, b, total = np.arange(8.0, dtype=dtype) + 2**13, np.zeros(12, dtype), np.zeros(11)
    given = a.astype(float)
    b[11] = np.nan
    update_pieces(a, b, total)
    np.testing.assert_array_equal(b[:8], given * 2)
    np.testing.assert_array_equal(total[:8], given * 2)
    assert total[8:].tolist() == [(given**2).sum(), 1.0, 1.0]
    assert (given**2).sum() != np.float32((given**2).sum())
    assert (a == dtype.type(3.1)).all()


@kernel
def finite(a, found):
    found[0] = update.all_finite(a.size, pointer_to(a))


@both
@pytest.mark.parametrize("size", [5, 8, 32, 45, 77])
def test_what_is_not_finite_is_found(dtype, size):
    for where in range(size):
        for value in (np.inf, -np.inf, np.nan, np.finfo(dtype).max):
            a, found = np.full(size, np.finfo(dtype).max, dtype), np.ones(1)
            a[where] = value
            finite(a, found)
            assert found[0] == np.isfinite(value)


def test_operators_are_left_alone_for_other_types():
    @kernel
    def plus(a, b):
        return a + b

    assert plus(1, 2) == 3
    assert plus(1.5, 2.0) == operator.add(1.5, 2.0)
