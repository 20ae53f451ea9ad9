"""Sums over the rows of a tile in panels: of products of two neurons, and of one neuron.

With few of them, or many rows, they beat the products of ``matmul.py``, which need the neurons of
one side next to each other.
"""

from __future__ import annotations

from fastbp.kernels.blocks import DESCEND, PLAIN, PLUS, Panels, store_as
from fastbp.kernels.exponential import NAN
from fastbp.kernels.jit import device_function, subroutine
from fastbp.kernels.lanes import lane, sum_each, sum_lanes
from fastbp.kernels.vector import (
    LANES,
    Pointer,
    Vector,
    as_doubles,
    at,
    broadcast,
    broadcast_like,
    fma,
    load,
    zeros,
)


@subroutine
def sums_of_products(
    mode: int,
    panels: int,
    p: Panels,
    n_p: int,
    p_stride: int,
    q: Panels,
    n_q: int,
    q_stride: int,
    other: Pointer,
    result: Pointer,
) -> None:
    """Compute sum over i of p[j, i] q[k, i] for all j < n_p and k < n_q, by whole vectors.

    p and q are neurons in panels; sum j, k is result[j * p_stride + k * q_stride].
    """
    p_0, p_panel = p
    q_0, q_panel = q
    for j in range(0, n_p, LANES):
        n = min(n_p - j, LANES)
        p_j = at(p_0, j * LANES), p_panel
        for k in range(n_q):
            q_k = at(q_0, k * LANES), q_panel
            target = at(result, j * p_stride + k * q_stride)
            if n < LANES:
                for i in range(n):
                    s = dot(panels, (at(p_j[0], i * LANES), p_panel), q_k)
                    store_one_as(mode, s, other, target, i * p_stride)
            elif p_stride == 1:
                store_as(mode, dot_8(panels, p_j, q_k), other, target, 0, LANES)
            else:
                sums = dot_8(panels, p_j, q_k)
                for i in range(LANES):
                    store_one_as(mode, lane(sums, i), other, target, i * p_stride)


@device_function
def dot(panels: int, p: Panels, q: Panels) -> float:
    """Return the sum of products of two neurons, bit-identical to that of `dot_8`."""
    p_0, p_stride = p
    q_0, q_stride = q
    s = zeros(p_0)
    for i in range(panels):
        s = fma(load(p_0, i * p_stride), load(q_0, i * q_stride), s)
    return sum_lanes(s)


@device_function
def dot_8(panels: int, p: Panels, q: Panels) -> Vector:
    """Return the sums of products of eight neurons, one after the other, with one."""
    p_0, p_stride = p
    q_0, q_stride = q
    s0 = zeros(p_0)
    s1, s2, s3, s4, s5, s6, s7 = s0, s0, s0, s0, s0, s0, s0
    for i in range(panels):
        v, o = load(q_0, i * q_stride), i * p_stride
        s0 = fma(load(p_0, o), v, s0)
        s1 = fma(load(p_0, o + 1 * LANES), v, s1)
        s2 = fma(load(p_0, o + 2 * LANES), v, s2)
        s3 = fma(load(p_0, o + 3 * LANES), v, s3)
        s4 = fma(load(p_0, o + 4 * LANES), v, s4)
        s5 = fma(load(p_0, o + 5 * LANES), v, s5)
        s6 = fma(load(p_0, o + 6 * LANES), v, s6)
        s7 = fma(load(p_0, o + 7 * LANES), v, s7)
    return sum_each(s0, s1, s2, s3, s4, s5, s6, s7)


@device_function
def store_one_as(mode: int, s: float, other: Pointer, result: Pointer, i: int) -> None:
    """Store one number as `mode` says: PLAIN, PLUS or DESCEND; OUT or ACC result[i]."""
    if mode == PLUS:
        s = result[i] + s
    elif mode == DESCEND:
        s = lane(fma(other[0], broadcast_like(result, s), broadcast(result[i])), 0)
    elif mode != PLAIN:
        s = NAN
    result[i] = s


@device_function
def sums_of_neurons(
    mode: int, panels: int, n: int, a: Panels, other: Pointer, result: Pointer
) -> None:
    """Compute the sum over the rows of each of n neurons, in float64; stored as `mode` says."""
    a_0, stride = a
    for j in range(n):
        s = as_doubles(zeros(a_0))
        for i in range(panels):
            s = s + as_doubles(load(a_0, i * stride + j * LANES))
        store_one_as(mode, sum_lanes(s), other, result, j)
