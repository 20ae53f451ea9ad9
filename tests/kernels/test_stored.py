"""Numbers of every stored type become the float64 that NumPy makes of them, or float32 of that."""

import numpy as np
import pytest

from fastbp.kernels import halves, stored, vector
from fastbp.kernels import reading as r
from fastbp.kernels.jit import JIT_ENABLED, device_function, kernel
from fastbp.kernels.vector import at, pointer_to, store
from tests.kernels.both import DOUBLE, SINGLE

WHOLE = [t for t in sorted(stored.DTYPES, key=str) if t.itemsize <= 2]
WIDE = [t for t in sorted(stored.DTYPES, key=str) if t.itemsize > 2]


@kernel
def loaded(x, double, single):
    """Load all of x, eight numbers at a time."""
    p, q, s = pointer_to(x), pointer_to(double), pointer_to(single)
    for i in range(0, x.size, vector.LANES):
        store(q, i, r.read(p, i, q))
        store(s, i, r.read(p, i, s))
    return True


@device_function
def in_all_ways(p, q):
    """Load p (16,) in every way there is, in the type of q; move it, too."""
    zero = vector.zeros(q)
    store(q, 0, r.read(p, 1, zero))
    store(q, 8, r.read_first(p, 2, 5, zero))
    store(q, 16, r.read_up_to(p, 8, 8, q))
    store(q, 24, halves.load_halves(p, at(p, 8), 3, q))
    store(q, 32, halves.load_few(at(p, 4), at(p, 8), 3, q))
    fours = halves.load_fours(p, at(p, 8), 2, (zero, zero))
    store(q, 40, fours[0])
    store(q, 48, fours[1])
    q[56] = r.number_at(p, 9, q)
    q[57] = r.in_line(p)
    moved = vector.of_type(at(q, 64), p)
    r.move_first(p, moved, 3, 0, 6)
    r.move(p, moved, 12, 7)
    store(q, 80, r.read(moved, 0, q))
    store(q, 88, r.read_first(p, 2, -1, q))
    store(q, 96, r.read_first(p, 2, 9, q))
    store(q, 104, r.read_up_to(p, 2, 3, q))
    store(q, 112, r.read_few(p, 2, 3, zero))
    store(q, 120, r.read_few(p, 12, 4, q))
    store(q, 128, r.read_tail(p, 2, 3, q))
    store(q, 136, r.read_tail(p, 2, 8, q))


@kernel
def loaded_in_all_ways(x, double, single):
    in_all_ways(pointer_to(x), pointer_to(double))
    in_all_ways(pointer_to(x), pointer_to(single))
    return True


@kernel
def four_in_a_row(x, double, single):
    p, q, s = pointer_to(x), pointer_to(double), pointer_to(single)
    vector.store_4(q, 0, r.read_4(p, 1, q))
    vector.store_4(s, 0, r.read_4(p, 1, s))


def outputs_of(function, x, size):
    """What a function makes of x in float64 and in float32."""
    double, single = np.zeros(size), np.zeros(size, SINGLE)
    function(stored.passed(x), double, single)
    return double, single


def as_single(double):
    with np.errstate(over="ignore", invalid="ignore"):
        return double.astype(SINGLE)


def random_numbers(dtype, n):
    """Return numbers whose bits are random, and the least, greatest and most awkward ones."""
    rng = np.random.default_rng(0)
    if dtype.kind == "b":
        return rng.random(n) < 0.5
    x = rng.integers(0, 256, size=n * dtype.itemsize, dtype=np.uint8).view(dtype)
    if dtype.kind == "f":
        return np.where(np.isnan(x), dtype.type(0.5), x)
    info = np.iinfo(dtype)
    x[:4] = info.min, info.max, info.max - 1, info.min + 1
    if dtype.itemsize == 8:  # halfway between two float64, and beside that
        edges = [(2**53 + k) << shift for shift in (0, 5, 9) for k in range(-3, 12)]
        x[4 : 4 + len(edges)] = edges
        x[100:200] = rng.integers(0, 2**53, size=100)
        # Beside halfway between two float32: as float64 they are halfway.
        x[200:204] = [2**62 + k * 2**38 + side for k in (1, 3) for side in (-1, 1)]
    return x


@pytest.mark.parametrize("dtype", WHOLE, ids=str)
def test_every_number_of_few_bits(dtype):
    x = np.arange(2 ** (8 * dtype.itemsize)).astype(f"u{dtype.itemsize}")
    x = x[:8] % 2 if dtype.kind == "b" else x
    x = x.view(dtype)
    for out in outputs_of(loaded, x, x.size):
        np.testing.assert_array_equal(out, x.astype(out.dtype))
        assert (np.signbit(out) == np.signbit(x.astype(out.dtype)))[~np.isnan(out)].all()


@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_numbers_of_many_bits(dtype):
    x = random_numbers(dtype, 2**15)
    double, single = outputs_of(loaded, x, x.size)
    np.testing.assert_array_equal(double, x.astype(DOUBLE))
    np.testing.assert_array_equal(single, as_single(x.astype(DOUBLE)))
    if dtype.itemsize == 8 and dtype.kind != "f":  # rounded twice, as where NumPy converts first
        assert (single != x.astype(SINGLE)).any()


@pytest.mark.parametrize("dtype", WHOLE + WIDE, ids=str)
def test_every_way_to_load(dtype):
    x = random_numbers(dtype, 300)[-16:]
    double, single = outputs_of(loaded_in_all_ways, x, 144)
    zero = np.zeros(8)
    for out, f in (double, x.astype(DOUBLE)), (single, as_single(x.astype(DOUBLE))):
        expected = [
            f[1:9], np.append(f[2:7], zero[:3]), f[8:], [*f[3:7], *f[11:15]],
            [*f[4:7], 0.0, *f[8:11], 0.0], [*f[:4], *f[8:12]], [*f[2:6], *f[10:14]],
        ]  # fmt: skip
        np.testing.assert_array_equal(out[:56], np.concatenate(expected))
        assert (out[56], out[57]) == (f[9], 64 // x.itemsize)
        np.testing.assert_array_equal(out[80:88], [*f[3:9], 0.0, f[12]])
        assert not out[88:96].any()
        few = [*f[2:5], *zero[:5]]
        np.testing.assert_array_equal(out[96:112], [*f[2:10], *few])
        np.testing.assert_array_equal(out[112:], [*few, *f[12:], *zero[:4], *few, *f[2:10]])


@pytest.mark.parametrize("dtype", [np.dtype(np.uint8), SINGLE, DOUBLE], ids=str)
def test_four_vectors_in_a_row(dtype):
    x = random_numbers(dtype, 300)[-40:]
    double, single = outputs_of(four_in_a_row, x, 32)
    np.testing.assert_array_equal(double, x[1:33].astype(DOUBLE))
    np.testing.assert_array_equal(single, as_single(x[1:33].astype(DOUBLE)))


def test_a_boolean_may_be_any_byte():
    x = np.array([0, 1, 2, 255, 0, 7, 128, 3], dtype=np.uint8).view(bool)
    for out in outputs_of(loaded, x, 8):
        np.testing.assert_array_equal(out, [0, 1, 1, 1, 0, 1, 1, 1])


@pytest.mark.skipif(not JIT_ENABLED, reason="NumPy converts where there is no JIT")
@pytest.mark.parametrize("dtype", ["float16", "int64", "uint64"])
def test_processors_without_instructions_for_it(dtype, monkeypatch):
    """The same by the numbers' bits."""
    monkeypatch.setattr(stored, "has_feature", lambda name: False)

    @kernel
    def loaded_by_bits(x, double, single):
        p, q, s = pointer_to(x), pointer_to(double), pointer_to(single)
        for i in range(0, x.size, vector.LANES):
            store(q, i, r.read(p, i, q))
            store(s, i, r.read(p, i, s))
        return True

    x = random_numbers(np.dtype(dtype), 2**16)
    if dtype == "float16":
        x = np.arange(2**16, dtype=np.uint16).view(np.float16)
    double, single = outputs_of(loaded_by_bits, x, x.size)
    np.testing.assert_array_equal(double, x.astype(DOUBLE))
    np.testing.assert_array_equal(single, as_single(x.astype(DOUBLE)))
