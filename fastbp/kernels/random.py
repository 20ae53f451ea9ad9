"""Counter-based random numbers: any block, in any order, on any thread, is the same.

A stream is a sequence of numbers, each a function of the stream's key and its own number alone.
Counter n gives the 64 bits of mix(key + n * GAMMA), all modulo 2**64: the SplitMix64 generator
(Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014, figure 13,
with Stafford's mixing function 13), whose state after n steps can be computed directly.

Limits: the period is 2**64, and no 64-bit value occurs twice in it, whereas random values would be
expected to repeat after about 2**32 draws. (The 53-bit values used here do repeat.) All streams are
pieces of this one sequence, which begin where their random keys say: two of n numbers each overlap
with probability 2 n / 2**64, which is 10**-6 for 10**13 numbers. Not for cryptography.

Numbers come in groups of sixteen, in two vectors:

- uniform: the upper 53 bits, on [-1, 1) in steps of 2**-52;
- standard normal: Box and Muller (Annals of Mathematical Statistics 29, 1958), a radius from the
  first vector's bits, an angle from the second's, cosines in the first and sines in the second.
  No number exceeds 8.58 in magnitude; a true normal variate does about once in 10**17.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from fastbp.kernels.exponential import NAN, log_of_sum
from fastbp.kernels.jit import device_function, kernel, subroutine
from fastbp.kernels.lanes import lane
from fastbp.kernels.lowering import (
    DOUBLES,
    VECTORS,
    compiled_as,
    integers_of,
    splat,
)
from fastbp.kernels.matvec import forward
from fastbp.kernels.stored import constant
from fastbp.kernels.vector import (
    LANES,
    Pointer,
    Vector,
    absolute,
    at,
    broadcast,
    fma,
    pointer_to,
    square_root,
    store,
    with_sign_of,
)

INTEGERS = integers_of(DOUBLES)
NORMAL = 0
UNIFORM = 1
GROUP = 2 * LANES
TILE = 64  # rows generated at a time, then labelled: in the L1 cache up to 50 features

GAMMA = 0x9E3779B97F4A7C15  # 2**64 / golden ratio, odd
ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))  # shifts and factors
ALL_BITS = 2**64 - 1
BITS = 53

# sin(pi b) / b - 2 and cos(pi b) / (1/4 - b**2) in powers of b**2, for |b| <= 1/2: Chebyshev fits
# made with 60 digits by mpmath's `chebyfit`; relative errors 2**-61 and 2**-64.
SIN_0 = 1.1415926535897931  # and 2, which makes an exact term
SIN_1 = -5.167712780049969
SIN_2 = 2.5501640398773007
SIN_3 = -0.5992645293189447
SIN_4 = 0.0821458865731029
SIN_5 = -0.007370430505916944
SIN_6 = 0.0004662998161898394
SIN_7 = -2.1903497074626018e-05
SIN_8 = 7.697826768224191e-07
COS_0 = 4.0
COS_1 = -3.7392088021787173
COS_2 = 1.278013296952197
COS_3 = -0.22899788760925296
COS_4 = 0.025330970991448813
COS_5 = -0.0019036815015743397
COS_6 = 0.00010357048777536892
COS_7 = -4.2667403881989305e-06
COS_8 = 1.3391546772153723e-07


def mixed(z: np.ndarray) -> np.ndarray:
    """Return the bits of uint64 numbers, mixed: a bijection in which every bit depends on all."""
    for shift, factor in ROUNDS:
        z = (z ^ (z >> shift)) * factor
    return z


def stream_bits(key: int, counters: np.ndarray) -> np.ndarray:
    """Return the 64 bits, uint64, that each of some counters of a stream gives.

    With the key GAMMA they are the sequence that SplitMix64 gives for the seed 0.
    """
    return mixed(counters.astype(np.uint64) * GAMMA + (key & ALL_BITS))


def derived(key: int, number: int) -> int:
    """Return a stream's key, as a signed integer: the bits of another key's counter `number`."""
    return int(stream_bits(key, np.array([number])).view(np.int64)[0])


def signed_bits(key: int, counter: int) -> Vector:
    """Return the integers, -2**52 to 2**52 - 1, that eight counters' upper bits make."""
    bits = stream_bits(int(key), np.arange(LANES) + counter)
    return (bits.view(np.int64) >> (64 - BITS)).astype(np.float64)


@compiled_as(signed_bits, VECTORS[types.float64], types.Integer, types.Integer)
def _(builder: Any, key: ir.Value, counter: ir.Value) -> ir.Value:
    first = builder.add(key, builder.mul(counter, ir.Constant(key.type, GAMMA)))
    steps = ir.Constant(INTEGERS, [i * GAMMA & ALL_BITS for i in range(LANES)])
    z = builder.add(splat(builder, first, INTEGERS), steps)
    for shift, factor in ROUNDS:
        z = builder.mul(
            builder.xor(z, builder.lshr(z, constant(INTEGERS, shift))), constant(INTEGERS, factor)
        )
    return builder.sitofp(builder.ashr(z, constant(INTEGERS, 64 - BITS)), DOUBLES)


@device_function
def radius(integers: Vector) -> Vector:
    """Return sqrt(-2 ln u) for u = (integers + 2**52 + 1) / 2**53, exact, in (0, 1]."""
    u = fma(integers, 2.0**-53, 0.5 + 2.0**-53)
    return square_root(log_of_sum(u, broadcast(0.0)) * -2.0)


@device_function
def cosine_and_sine(t: Vector) -> tuple[Vector, Vector]:
    """Return cos(pi t) and sin(pi t), to 2 units in the last place, for -1 <= t <= 1.

    With a = |t| and b = 1/2 - a, both exact: cos(pi a) = sin(pi b), and
    sin(pi a) = cos(pi b) = (1/4 - b**2) q(b**2) = a (1 - a) q(b**2), so zeros are zeros.
    """
    a = absolute(t)
    b = 0.5 - a
    z = b * b
    p = fma(SIN_8, z, SIN_7)
    q = fma(COS_8, z, COS_7)
    p = fma(p, z, SIN_6)
    q = fma(q, z, COS_6)
    p = fma(p, z, SIN_5)
    q = fma(q, z, COS_5)
    p = fma(p, z, SIN_4)
    q = fma(q, z, COS_4)
    p = fma(p, z, SIN_3)
    q = fma(q, z, COS_3)
    p = fma(p, z, SIN_2)
    q = fma(q, z, COS_2)
    p = fma(p, z, SIN_1)
    q = fma(q, z, COS_1)
    p = fma(p, z, SIN_0)
    q = q * z
    w = a * (1.0 - a)
    cosine = fma(b, 2.0, b * p)  # 2.3 units of error with 2 + SIN_0 in p
    return cosine, with_sign_of(fma(w, COS_0, w * q), t)


@device_function
def group_of_numbers(distribution: int, key: int, first: int) -> tuple[Vector, Vector]:
    """Return the group of numbers from `first`, a multiple of 16, on."""
    step = 2.0**-52
    a = signed_bits(key, first)
    b = signed_bits(key, first + LANES) * step
    if distribution == NORMAL:
        r = radius(a)
        c, s = cosine_and_sine(b)
        a, b = r * c, r * s
    elif distribution == UNIFORM:
        a = a * step
    else:
        a = broadcast(NAN)
        b = a
    return a, b


@subroutine
def numbers(distribution: int, key: int, first: int, count: int, out: Pointer) -> None:
    """Write `count` numbers of a stream from number `first` on; OUT out."""
    last = first + count
    for n in range(first // GROUP * GROUP, last, GROUP):
        a, b = group_of_numbers(distribution, key, n)
        there = min(last - n, GROUP)  # n + GROUP may be beyond an int64
        if first <= n and there == GROUP:
            store(out, n - first, a)
            store(out, n - first + LANES, b)
        else:
            for i in range(max(first - n, 0), there):
                out[n - first + i] = lane(a, i) if i < LANES else lane(b, i - LANES)


@device_function
def numbers_of_rows(
    distribution: int,
    key: int,
    start: int,
    order: Any,
    first: int,
    rows: int,
    columns: int,
    out: Pointer,
) -> None:
    """Write rows of a matrix whose elements a stream numbers row by row; OUT out.

    They are order[first : first + rows] or, without an order, the rows from start + first on.
    """
    if order.size == 0:
        numbers(distribution, key, (start + first) * columns, rows * columns, out)
    else:
        for i in range(rows):
            number = order[first + i] * columns
            numbers(distribution, key, number, columns, at(out, i * columns))


@kernel
def random_rows(distribution: int, key: int, start: int, order: Any, x: Any) -> None:
    """Write rows of a matrix of random numbers; OUT x (rows, D).

    They are those of `order`, int64 (rows,), or the ones from `start` on if it is empty.
    """
    rows, d = x.shape
    numbers_of_rows(distribution, key, start, order, 0, rows, d, pointer_to(x))


@kernel
def neuron_rows(
    distribution: int,
    keys: Any,
    start: int,
    order: Any,
    parameters: Any,
    noise: float,
    x: Any,
    y: Any,
) -> None:
    """Write rows and the labels of a neuron, the teacher; OUT x (rows, D), y (rows, 1).

    Rows as for :func:`random_rows`; keys of int64: the features' stream and the noise's.
    A label is 1 if x w + b + noise * normal > 0, else 0; parameters: w (D, rounded up to whole
    vectors, zeros beyond D), then b. A row does not depend on the rows around it.
    """
    rows, d = x.shape
    bias = parameters[parameters.size - 1]
    buffer = np.zeros(2 * TILE)
    for first in range(0, rows, TILE):
        n = min(TILE, rows - first)
        tile = at(pointer_to(x), first * d)
        z = pointer_to(buffer)  # here: after the last use of its name the array is freed
        e = at(z, TILE)
        numbers_of_rows(distribution, keys[0], start, order, first, n, d, tile)
        forward(tile, d, d, n, 0, pointer_to(parameters), bias, z)
        if noise > 0.0:
            numbers_of_rows(NORMAL, keys[1], start, order, first, n, 1, e)
        for i in range(n):
            y[first + i, 0] = 1.0 if z[i] + noise * e[i] > 0.0 else 0.0
