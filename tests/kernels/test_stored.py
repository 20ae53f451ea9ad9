"""Numbers of every stored type become the float64 that NumPy makes of them."""

import numpy as np
import pytest

from fastbp.kernels import halves, stored, vector
from fastbp.kernels.jit import JIT_ENABLED, kernel
from fastbp.kernels.vector import at, load, pointer_to, store

WHOLE = [t for t in sorted(stored.DTYPES, key=str) if t.itemsize <= 2]
WIDE = [t for t in sorted(stored.DTYPES, key=str) if t.itemsize > 2]


@kernel
def loaded(x, out):
    """Load all of x, eight numbers at a time."""
    for i in range(0, x.size, vector.LANES):
        store(pointer_to(out), i, load(pointer_to(x), i))
    return True


@kernel
def loaded_in_all_ways(x, out):
    """Load x (16,) in every way there is; move it, too."""
    p, q = pointer_to(x), pointer_to(out)
    store(q, 0, load(p, 1))
    store(q, 8, vector.load_first(p, 2, 5))
    store(q, 16, vector.load_up_to(p, 8, 8))
    store(q, 24, halves.load_halves(p, at(p, 8), 3))
    store(q, 32, halves.load_few(at(p, 4), at(p, 8), 3))
    like = vector.broadcast(0.0), vector.broadcast(0.0)
    fours = halves.load_fours(p, at(p, 8), 2, like)
    store(q, 40, fours[0])
    store(q, 48, fours[1])
    out[56] = vector.number_at(p, 9)
    out[57] = vector.in_line(p)
    moved = vector.of_type(at(q, 64), p)
    vector.move_first(p, moved, 3, 0, 6)
    vector.move(p, moved, 12, 7)
    store(q, 80, load(moved, 0))
    return True


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
    return x


@pytest.mark.parametrize("dtype", WHOLE, ids=str)
def test_every_number_of_few_bits(dtype):
    x = np.arange(2 ** (8 * dtype.itemsize)).astype(f"u{dtype.itemsize}")
    x = x[:8] % 2 if dtype.kind == "b" else x
    x = x.view(dtype)
    out = np.empty(x.size)
    loaded(stored.passed(x), out)
    np.testing.assert_array_equal(out, x.astype(np.float64))
    assert (np.signbit(out) == np.signbit(x.astype(np.float64)))[~np.isnan(out)].all()


@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_numbers_of_many_bits(dtype):
    x = random_numbers(dtype, 2**15)
    out = np.empty(x.size)
    loaded(x, out)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(out, x.astype(np.float64))


@pytest.mark.parametrize("dtype", WHOLE + WIDE, ids=str)
def test_every_way_to_load(dtype):
    x = random_numbers(dtype, 300)[-16:]
    out = np.zeros(88)
    loaded_in_all_ways(stored.passed(x), out)
    f = x.astype(np.float64)
    zero = np.zeros(8)
    expected = [
        f[1:9], np.append(f[2:7], zero[:3]), f[8:], [*f[3:7], *f[11:15]],
        [*f[4:7], 0.0, *f[8:11], 0.0], [*f[:4], *f[8:12]], [*f[2:6], *f[10:14]],
    ]  # fmt: skip
    np.testing.assert_array_equal(out[:56], np.concatenate(expected))
    assert (out[56], out[57]) == (f[9], 64 // x.itemsize)
    np.testing.assert_array_equal(out[80:], [*f[3:9], 0.0, f[12]])


def test_a_boolean_may_be_any_byte():
    x = np.array([0, 1, 2, 255, 0, 7, 128, 3], dtype=np.uint8).view(bool)
    out = np.empty(8)
    loaded(x, out)
    np.testing.assert_array_equal(out, [0, 1, 1, 1, 0, 1, 1, 1])


@pytest.mark.skipif(not JIT_ENABLED, reason="NumPy converts where there is no JIT")
@pytest.mark.parametrize("dtype", ["float16", "int64", "uint64"])
def test_processors_without_instructions_for_it(dtype, monkeypatch):
    """The same by the numbers' bits."""
    monkeypatch.setattr(stored, "has_feature", lambda name: False)

    @kernel
    def loaded_by_bits(x, out):
        for i in range(0, x.size, vector.LANES):
            store(pointer_to(out), i, load(pointer_to(x), i))
        return True

    x = random_numbers(np.dtype(dtype), 2**16)
    if dtype == "float16":
        x = np.arange(2**16, dtype=np.uint16).view(np.float16)
    out = np.empty(x.size)
    loaded_by_bits(stored.passed(x), out)
    np.testing.assert_array_equal(out, x.astype(np.float64))
