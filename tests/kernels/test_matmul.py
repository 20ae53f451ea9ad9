"""Products of a tile in panels of eight rows, and how rows get into panels.

This file also runs with the JIT off (``NUMBA_DISABLE_JIT=1``), as ``test_network_kernels.py``. All
that a product may read or write lies in a sea of large numbers.
"""

import numpy as np
import pytest

from fastbp.kernels import blocks, matmul, panels, sums
from fastbp.kernels.jit import JIT_ENABLED, kernel
from fastbp.kernels.vector import LANES, at, pointer_to
from tests.kernels.both import DOUBLE, SINGLE, assert_close, both

SEA = 2.0**100  # a stray store or a used stray load is seen
SHORE = 16  # numbers of it before and behind each result


TERMS_ADDED = {DOUBLE: 1e-13, SINGLE: 2e-6}
"""Relative: some ten products about 1, added one after the other, each rounded by half a unit."""
PANELS_ADDED = {DOUBLE: 1e-12, SINGLE: 1e-5}
"""The same of forty."""


@kernel
def multiplied(mode, terms, outputs, w, of_w, a, a_stride, other, result, of_result):
    term_stride, output_stride, gap = of_w
    stride, panel_stride, n = of_result
    matmul.multiply(
        mode,
        terms,
        outputs,
        (pointer_to(w), term_stride, output_stride, gap),
        (pointer_to(a), a_stride),
        pointer_to(other),
        (at(pointer_to(result), SHORE), stride, panel_stride, n),
    )


@kernel
def multiplied_at_once(mode, terms, outputs, w, a, a_stride, other, result, of_result):
    """Weights of an output side by side: these are neither packed nor cut."""
    stride, panel_stride, n = of_result
    matmul.multiply_part(
        mode,
        terms,
        outputs,
        (pointer_to(w), 1, terms, 0),
        (pointer_to(a), a_stride),
        pointer_to(other),
        (at(pointer_to(result), SHORE), stride, panel_stride, n),
    )


@kernel
def row_multiplied(terms, outputs, a, w, b, result):
    matmul.multiply_row(
        terms, outputs, pointer_to(a), pointer_to(w), pointer_to(b), pointer_to(result)
    )


@kernel
def summed(mode, n_panels, p, n_p, p_stride, q, n_q, q_stride, factor, result, totals):
    """p and q are (panels, neurons, 8), the last neuron of each panel in the sea."""
    of_p = pointer_to(p), p.shape[1] * LANES
    of_q = pointer_to(q), q.shape[1] * LANES
    other, target = pointer_to(factor), at(pointer_to(result), SHORE)
    sums.sums_of_products(
        mode, n_panels, of_p, n_p, p_stride, of_q, n_q, q_stride, other, target
    )  # fmt: skip
    sums.sums_of_neurons(mode, n_panels, n_p, of_p, other, at(pointer_to(totals), SHORE))


@kernel
def into_panels(x, columns, stride, order, shuffled, first, rows, result):
    panels.panels_of_rows(
        pointer_to(x),
        columns,
        stride,
        (pointer_to(order), shuffled),
        first,
        rows,
        at(pointer_to(result), SHORE),
    )


@kernel
def turned(panel, n, stride, result):
    panels.side_by_side(pointer_to(panel), n, stride, at(pointer_to(result), SHORE))


@pytest.fixture(params=[matmul.TALL_AND_WIDE] if JIT_ENABLED else [False, True])
def either_kind(request, monkeypatch):
    """The blocks for this machine's registers, or, with the JIT off, for either kind."""
    monkeypatch.setattr(matmul, "TALL_AND_WIDE", request.param)


@pytest.fixture
def low_limits(monkeypatch):
    """With the JIT off, few terms are many, and few panels are worth packing for."""
    if not JIT_ENABLED:
        monkeypatch.setattr(matmul, "TERMS", 8)
        monkeypatch.setattr(matmul, "PACKED_TERMS", 5)
        monkeypatch.setattr(matmul, "PACKED_PANELS", 3)
        monkeypatch.setattr(matmul, "FEW_WEIGHTS", 20)


def sea(shape, like):
    return np.full(shape, SEA, like.dtype)


def in_panels(x, more=1):
    """Rows in panels, (rows / 8, columns + more, 8), with the sea where there is nothing."""
    n, columns = x.shape
    filled = sea((-(-n // LANES) * LANES, columns + more), x)
    filled[:n, :columns] = x
    return filled.reshape(-1, LANES, columns + more).transpose(0, 2, 1).copy()


class InPanels:
    """A result of so many outputs and rows as (panels, outputs, 8): forward and backward."""

    def __init__(self, outputs, n):
        self.strides = LANES, outputs * LANES, n
        o, i = np.ogrid[:outputs, :n]
        self.index = SHORE + i // LANES * outputs * LANES + o * LANES + i % LANES
        self.size = 2 * SHORE + -(-n // LANES) * outputs * LANES


class InRows:
    """The same as (outputs, n), with a gap between the rows: gradients."""

    def __init__(self, outputs, n):
        self.strides = n + 3, LANES, n
        o, i = np.ogrid[:outputs, :n]
        self.index = SHORE + o * (n + 3) + i
        self.size = 2 * SHORE + outputs * (n + 3)


def weights_by_term(w):
    """The weights of a term side by side, as those of a layer, but with a gap behind them."""
    terms, outputs = w.shape
    apart = sea((terms, outputs + 3), w)
    apart[:, :outputs] = w
    return apart, (outputs + 3, 1, 0)


def weights_by_output(w):
    """The same weights for the way back, with inputs and outputs exchanged."""
    return w.T.copy(), (1, len(w), 0)


def weights_in_panels(w):
    """Eight terms of an output side by side, as the inputs for the gradient."""
    held = in_panels(w)
    return held, (1, LANES, (held.shape[1] - 1) * LANES)


WEIGHTS = (weights_by_term, weights_by_output, weights_in_panels)
MODES = {
    "PLAIN": lambda product, before, other, start: product,
    "PLUS": lambda product, before, other, start: before + product,
    "PLUS_START": lambda product, before, other, start: start + product,
    "PLUS_START_RELU": lambda product, before, other, start: np.maximum(start + product, 0.0),
    "TIMES": lambda product, before, other, start: other * product,
    "WHERE_POSITIVE": lambda product, before, other, start: np.where(other > 0.0, product, 0.0),
    "DESCEND": lambda product, before, other, start: before - 0.5 * product,
    "MORE": lambda product, before, other, start: before + product,
    "MORE_RELU": lambda product, before, other, start: np.maximum(before + product, 0.0),
}


@both
@pytest.mark.usefixtures("either_kind")
@pytest.mark.parametrize("n", [1, 8, 13, 32, 45])
@pytest.mark.parametrize("outputs", [1, 3, 4, 9, 10])
@pytest.mark.parametrize("mode", MODES)
def test_products_of_every_shape(mode, outputs, n, dtype):
    rng = np.random.default_rng([outputs, n])
    terms = 11
    w = rng.normal(size=(terms, outputs)).astype(dtype)
    a = rng.normal(size=(n, terms)).astype(dtype)
    before, beside = rng.normal(size=(2, outputs, n)).astype(dtype)
    beside[rng.random((outputs, n)) < 0.3] = 0.0  # as of neurons that are off
    start = rng.normal(size=(outputs, 1)).astype(dtype)
    expected = MODES[mode](w.T.astype(float) @ a.T.astype(float), before, beside, start)
    found = set()
    for laid_out in (InPanels(outputs, n), InRows(outputs, n)):
        half = np.array([-0.5], dtype)
        other = {"TIMES": beside, "WHERE_POSITIVE": beside, "DESCEND": half}.get(mode, start)
        if other is beside:
            other = sea(laid_out.size, w)
            other[laid_out.index - SHORE] = beside
        # A sum that has a start is that of a layer, whose weights have no gaps.
        for weights in WEIGHTS[: 2 if "START" in mode else 3]:
            result = sea(laid_out.size, w)
            result[laid_out.index] = before
            multiplied(
                getattr(blocks, mode), terms, outputs, *weights(w), in_panels(a),
                (terms + 1) * LANES, other, result, laid_out.strides,
            )  # fmt: skip
            ours = result[laid_out.index]
            assert_close(ours, expected, dtype, TERMS_ADDED)
            found.add(ours.tobytes())
            result[laid_out.index] = SEA
            assert (result == SEA).all()
    assert len(found) == 1


@both
@pytest.mark.usefixtures("either_kind", "low_limits")
@pytest.mark.parametrize("n", [1, 24, 45, 72] if JIT_ENABLED else [1, 45, 72])
@pytest.mark.parametrize("outputs", [1, 7, 8, 13, 20] if JIT_ENABLED else [1, 8, 20])
@pytest.mark.parametrize("parts", [0.7, 1, 1.3, 2, 2.9])
@pytest.mark.parametrize("mode", ["PLUS_START", "PLUS_START_RELU"])
def test_sums_that_are_cut_or_packed_have_the_bits_of_the_others(mode, parts, outputs, n, dtype):
    terms, code = int(parts * matmul.TERMS), getattr(blocks, mode)
    rng = np.random.default_rng([terms, outputs, n])
    shapes = (terms, outputs), (n, terms), outputs
    w, a, start = (rng.normal(size=shape).astype(dtype) for shape in shapes)
    a, a_stride, laid_out = in_panels(a), (terms + 1) * LANES, InPanels(outputs, n)
    whole = sea(laid_out.size, w)
    multiplied_at_once(
        code, terms, outputs, w.T.copy(), a, a_stride, start, whole, laid_out.strides
    )
    assert (np.abs(whole[laid_out.index]) < 1e3).all()
    for weights in (weights_by_term, weights_by_output):
        result = sea(laid_out.size, w)
        multiplied(code, terms, outputs, *weights(w), a, a_stride, start, result, laid_out.strides)
        np.testing.assert_array_equal(result, whole)


@both
@pytest.mark.parametrize("outputs", [1, 2, 8, 13, 16, 32, 45, 70])
@pytest.mark.parametrize("terms", [7, matmul.TERMS + 1])
def test_one_row_has_the_bits_of_many(terms, outputs, dtype):
    rng = np.random.default_rng(outputs)
    a = rng.normal(size=terms).astype(dtype)
    w, b = sea((terms + 1, outputs), a), sea(outputs + 8, a)
    w[:terms], b[:outputs] = rng.normal(size=(terms, outputs)), rng.normal(size=outputs)
    row, laid_out = sea(-(-outputs // 8) * 8 + 8, a), InPanels(outputs, 8)
    row_multiplied(terms, outputs, a, w, b, row)
    tile = np.empty(laid_out.size, dtype)
    multiplied(
        blocks.PLUS_START, terms, outputs, w, (outputs, 1, 0), np.repeat(a, 8), 0, b, tile,
        laid_out.strides,
    )  # fmt: skip
    np.testing.assert_array_equal(row[:outputs], tile[laid_out.index][:, 3])
    assert (row[-8:] == SEA).all()


@both
@pytest.mark.parametrize("n_panels", [1, 5])
@pytest.mark.parametrize("n_p", [1, 2, 8, 11])
@pytest.mark.parametrize("n_q", [1, 3])
@pytest.mark.parametrize(
    ("mode", "kept", "factor"), [("PLAIN", 0.0, 1.0), ("PLUS", 1.0, 1.0), ("DESCEND", 1.0, -0.5)]
)
def test_sums_of_products(mode, kept, factor, n_p, n_q, n_panels, dtype):
    """Sums of products in their own type; those of neurons in float64, also where they end."""
    rng = np.random.default_rng([n_p, n_q])
    shapes = (LANES * n_panels, n_p), (LANES * n_panels, n_q), (n_p, n_q)
    p, q, before = (rng.normal(size=shape).astype(dtype) for shape in shapes)
    totals = rng.normal(size=n_p)
    expected = kept * before + factor * (p.T.astype(float) @ q.astype(float))

    def sums(of_p, strides):
        k, n = before[of_p].size, before[of_p].shape[0]
        result, sum_of_each = sea(2 * SHORE + k, p), sea(2 * SHORE + n, totals)
        order = "F" if strides[0] == 1 else "C"
        result[SHORE : SHORE + k] = before[of_p].ravel(order)
        sum_of_each[SHORE : SHORE + n] = totals[of_p]
        summed(
            getattr(blocks, mode), n_panels, in_panels(p[:, of_p]), n, strides[0], in_panels(q),
            n_q, strides[1], np.array([factor], dtype), result, sum_of_each,
        )  # fmt: skip
        for array in (result, sum_of_each):
            assert (array[:SHORE] == SEA).all()
            assert (array[-SHORE:] == SEA).all()
        ours = result[SHORE:-SHORE].reshape((n, n_q), order=order)
        return ours, sum_of_each[SHORE:-SHORE]

    ours, sum_of_each = sums(slice(None), (n_q, 1))
    assert_close(ours, expected, dtype, PANELS_ADDED)
    exact = kept * totals + factor * p.sum(axis=0, dtype=float)
    assert_close(sum_of_each, exact, DOUBLE, PANELS_ADDED)
    np.testing.assert_array_equal(sums(slice(None), (1, n_p))[0], ours)
    for j in range(n_p):  # alone: not one of eight
        np.testing.assert_array_equal(sums(slice(j, j + 1), (n_q, 1))[0][0], ours[j])


@both
@pytest.mark.parametrize("held", [DOUBLE, SINGLE], ids=str)
@pytest.mark.parametrize("columns", [1, 2, 8, 11, 16])
@pytest.mark.parametrize("rows", [1, 8, 13, 20])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("gap", [0, 3])
def test_rows_into_panels(columns, rows, shuffled, gap, held, dtype):
    """Nothing is used of what lies between rows or behind the last; plain Python sees each read.

    Rows as they are held, in panels of the arithmetic's type.
    """
    held = np.full(20 * (columns + gap) + (64 if JIT_ENABLED else 0), SEA, held)
    wide = held[: 20 * (columns + gap)].reshape(20, columns + gap)
    x = wide[:, :columns]
    x[:] = (np.arange(20.0 * columns).reshape(20, columns) + 1.0) / 3.0
    order, first = np.random.default_rng(0).permutation(20), 20 - rows
    n_panels = -(-rows // LANES)
    result = np.full(2 * SHORE + n_panels * columns * LANES, SEA, dtype)
    into_panels(held, columns, columns + gap, order, shuffled, first, rows, result)
    found = result[SHORE:-SHORE].reshape(n_panels, columns, LANES).transpose(0, 2, 1)
    found = found.reshape(-1, columns)
    expected = (x[order[first:]] if shuffled else x[first:]).astype(dtype)
    np.testing.assert_array_equal(found[:rows], expected)
    assert (found[rows:] == 0.0).all()
    assert (result[:SHORE] == SEA).all()
    assert (result[-SHORE:] == SEA).all()


@both
@pytest.mark.parametrize("n", [1, 7, 8, 13, 16, 24])
@pytest.mark.parametrize("gap", [0, 1])
def test_neurons_side_by_side(n, gap, dtype):
    """Eight neurons of eight rows at a time, as the gradient takes them from a tile of panels."""
    held = np.full((n + 2, LANES), SEA, dtype)
    held[:n] = np.arange(1.0 * n * LANES).reshape(n, LANES) + 1.0
    eights = -(-n // LANES)
    result = sea(2 * SHORE + eights * (1 + gap) * LANES * LANES, held)
    turned(held, n, (1 + gap) * LANES * LANES, result)
    found = result[SHORE:-SHORE].reshape(eights, 1 + gap, LANES, LANES)
    rows = found[:, 0].transpose(1, 0, 2).reshape(LANES, -1)
    np.testing.assert_array_equal(rows[:, :n], held[:n].T)
    assert (rows[:, n:] == 0.0).all()
    assert (found[:, 1:] == SEA).all()
    assert (result[:SHORE] == SEA).all()
    assert (result[-SHORE:] == SEA).all()
