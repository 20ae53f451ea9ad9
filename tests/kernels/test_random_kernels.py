"""The random numbers' kernels: bits against whole numbers, functions against 50 digits.

This file also runs with the JIT off (``NUMBA_DISABLE_JIT=1``).
"""

import math

import numpy as np
import pytest
from mpmath import mp

from fastbp.kernels import random, vector
from fastbp.kernels.jit import JIT_ENABLED, kernel
from tests.tolerances import ULPS

KEYS = [0, 1234567, -1, -(2**63), 2**63 - 1]
NONE = np.empty(0, dtype=np.int64)
LAST = 2**63 - 1
POINTS = 4000 if JIT_ENABLED else 200


def split_mix_64(state):
    """The published generator's output for a state that was just advanced."""
    z = state % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def upper_bits(key, number):
    """The upper 53 of a counter's bits, as a signed whole number."""
    z = split_mix_64(key + number * 0x9E3779B97F4A7C15)
    return (z - 2**64 * (z >> 63)) >> 11


def drawn(distribution, key, start, n_rows, n_columns, order=NONE):
    x = np.full((n_rows + 2, n_columns), 7.0)
    random.random_rows(distribution, key, start, order, x[1:-1])
    assert (x[[0, -1]] == 7.0).all()  # nothing beside the rows is written
    return x[1:-1]


def test_the_published_sequence():
    outputs = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [split_mix_64(1234567 + n * 0x9E3779B97F4A7C15) for n in (1, 2, 3)] == outputs
    assert [random.derived(1234567, n) % 2**64 for n in (1, 2, 3)] == outputs


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("start", [0, 1, 10**12, LAST // 3 - 20])
def test_uniform_numbers_are_the_upper_bits(key, start):
    x = drawn(random.UNIFORM, key, start, 19, 3)
    expected = [upper_bits(key, n) * 2.0**-52 for n in range(3 * start, 3 * start + 57)]
    assert x.reshape(-1).tolist() == expected


@pytest.mark.parametrize("distribution", [random.NORMAL, random.UNIFORM])
@pytest.mark.parametrize("columns", [1, 2, 7, 16, 33])
def test_rows_do_not_depend_on_the_cut(distribution, columns):
    whole = drawn(distribution, 5, 0, 50, columns)
    for start, stop in [(0, 1), (3, 3), (7, 8), (5, 50), (16, 32), (1, 33)]:
        part = drawn(distribution, 5, start, stop - start, columns)
        np.testing.assert_array_equal(part, whole[start:stop])
    order = np.array([49, 0, 0, 17, 16, 3])
    np.testing.assert_array_equal(drawn(distribution, 5, 99, 6, columns, order), whole[order])


@kernel
def apply_cosine_and_sine(t, cosine, sine):
    for i in range(0, t.size, vector.LANES):
        c, s = random.cosine_and_sine(vector.load(vector.pointer_to(t), i))
        vector.store(vector.pointer_to(cosine), i, c)
        vector.store(vector.pointer_to(sine), i, s)


@kernel
def apply_radius(bits, out):
    for i in range(0, bits.size, vector.LANES):
        vector.store(
            vector.pointer_to(out), i, random.radius(vector.load(vector.pointer_to(bits), i))
        )


def worst_ulps(arguments, computed, exact):
    worst = 0.0
    with mp.workdps(50):
        for argument, value in zip(arguments.tolist(), computed.tolist(), strict=True):
            true = exact(mp.mpf(argument))
            worst = max(worst, float(abs(mp.mpf(value) - true)) / math.ulp(float(true)))
    return worst


def test_cosine_and_sine_are_accurate():
    rng = np.random.default_rng(1)
    near = 10.0 ** rng.uniform(-16, -0.5, POINTS // 2)
    special = [0.0, 0.5, 1.0, 0.25, 0.75, 2.0**-52, 1 - 2.0**-52, 0.5 + 2.0**-52]
    t = np.concatenate([rng.uniform(0, 1, POINTS), 0.5 - near, 0.5 + near, near, special])
    t = np.rint(t * 2.0**52) * 2.0**-52  # as the generator makes them
    t = np.concatenate([t, -t])
    c, s = np.empty_like(t), np.empty_like(t)
    apply_cosine_and_sine(t, c, s)
    assert worst_ulps(t, c, lambda x: mp.cospi(x)) <= ULPS
    assert worst_ulps(t, s, lambda x: mp.sinpi(x)) <= ULPS


def test_the_radius_is_accurate():
    rng = np.random.default_rng(2)
    bits = np.floor(rng.uniform(-(2.0**52), 2.0**52, POINTS))
    edge = np.floor(2.0 ** rng.uniform(0, 50, POINTS // 2 // 8 * 8))
    ends = np.array([-(2.0**52), 2.0**52 - 1, 0.0, -1.0, 1.0, 2.0**52 - 2, 1 - 2.0**52, 2.0**51])
    bits = np.concatenate([bits, edge - 2.0**52, 2.0**52 - 1 - edge, ends])
    out = np.empty_like(bits)
    apply_radius(bits, out)
    assert out.max() < 8.58 and out.min() == 0.0

    def exact(b):
        return mp.sqrt(-2 * mp.log((b + 2**52 + 1) / mp.mpf(2) ** 53))

    assert worst_ulps(bits, out, exact) <= ULPS


def test_normal_numbers_are_those_of_box_and_muller():
    x = drawn(random.NORMAL, 9, 0, 4, 16)
    with mp.workdps(50):
        for group in range(4):
            for i in range(8):
                first = 16 * group + i
                u = mp.mpf(upper_bits(9, first) + 2**52 + 1) / 2**53
                t = mp.mpf(upper_bits(9, first + 8)) / 2**52
                r = mp.sqrt(-2 * mp.log(u))
                assert x[group, i] == pytest.approx(float(r * mp.cospi(t)), rel=1e-15)
                assert x[group, i + 8] == pytest.approx(float(r * mp.sinpi(t)), rel=1e-15)


@pytest.mark.skipif(not JIT_ENABLED, reason="with the JIT off a fused operation rounds twice")
def test_normal_numbers_have_the_same_bits_everywhere():
    expected = [
        "-0x1.2d0abdaf445b4p-1",
        "-0x1.02dcc2849e721p+0",
        "-0x1.9b036ec969c6cp+0",
        "0x1.2296eb854b6f7p+1",
        "-0x1.aa2f1278d5815p-3",
        "0x1.17e75295a9305p-1",
        "0x1.737263477313fp+0",
    ]
    assert [v.hex() for v in drawn(random.NORMAL, 1, 0, 1, 20)[0, ::3].tolist()] == expected


@pytest.mark.parametrize("distribution", [random.NORMAL, random.UNIFORM])
@pytest.mark.parametrize("d", [1, 2, 3, 8, 21])
@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_rows_with_labels(distribution, d, noise):
    n = 150
    keys = np.array([3, -4])
    parameters = np.zeros(-(-d // 8) * 8 + 1)
    parameters[:d] = np.linspace(-1.0, 1.5, d)
    parameters[-1] = 0.1

    def rows(start, count, order=NONE):
        x, y = np.empty((count, d)), np.empty((count, 1))
        random.neuron_rows(distribution, keys, start, order, parameters, noise, x, y)
        return x, y

    x, y = rows(1000, n)
    np.testing.assert_array_equal(x, drawn(distribution, 3, 1000, n, d))
    z = x @ parameters[:d] + parameters[-1]
    z += noise * drawn(random.NORMAL, -4, 1000, n, 1)[:, 0]
    np.testing.assert_array_equal(y[:, 0], z > 0.0)
    assert 0.0 < y.mean() < 1.0
    for start, stop in [(0, 5), (1, 66), (77, 78)]:
        part = rows(1000 + start, stop - start)
        np.testing.assert_array_equal(part[0], x[start:stop])
        np.testing.assert_array_equal(part[1], y[start:stop])
    order = np.array([100, 3, 3, 149])
    taken = rows(0, 4, order + 1000)
    np.testing.assert_array_equal(taken[0], x[order])
    np.testing.assert_array_equal(taken[1], y[order])
