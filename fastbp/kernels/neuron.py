"""One neuron: loss and gradient over a chunk of rows, X read from memory once.

N samples, D features, P parameters: w (D, rounded up to whole vectors), then b. x (N, D) and
y (N,) are contiguous. Rows are taken a tile at a time; a tile passes three phases while it is in
the nearest caches: z = x w + b, then loss and dz, then dw += x' dz.

Two layouts, chosen by D alone. *Wide* (3 features or more) reads rows as they lie: the dot
products of eight rows at once, then 32 columns of dw at once, in registers. *Narrow* splits the
rows into one vector a feature, so that no lane is empty: 1.3 times as fast at 2 features.
(Packing 3 to 20 features into vectors that way was tried: 0.4 to 0.9 times as fast as wide.)
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastbp.kernels._jit import device_function, kernel, subroutine
from fastbp.kernels.activations import SIGMOID, activate
from fastbp.kernels.layout import (
    ACTIVATION,
    BLOCK_START,
    BLOCK_STOP,
    LOSS,
    LOSS_SUM,
    N_FEATURES,
    N_INTEGERS,
    N_PARAMETERS,
    NO_ROW,
    PARTIAL_EXTRA,
    SHUFFLED,
    TILE_ROWS,
    WEIGHT_SUM,
    WEIGHTED,
)
from fastbp.kernels.losses import MSE, output_loss
from fastbp.kernels.steps import run_steps
from fastbp.kernels.update import all_finite, clear, sgd_update
from fastbp.kernels.vector import (
    LANES,
    Pointer,
    Vector,
    at,
    broadcast,
    data,
    evens,
    fma,
    keep_first,
    load,
    load_first,
    odds,
    prefetch,
    store,
    sum_each,
    sum_lanes,
)

NARROW = 2  # most features of the narrow layout
TILE_ELEMENTS = 3400  # 27 KB: a tile is still in the first-level cache when backward reads it
CHUNK_WORK = 2**17  # see row_work: 40 microseconds. Half streams worse, twice balances worse
WIDE_CHUNK_WORK, WIDE = 2**18, 32  # from 32 features on memory is the limit: 1.05 times as fast
CACHED_ELEMENTS = 2**20  # a block of more, 8 MB, is prefetched (0.95 times as fast for smaller)
GATHER_AHEAD = 8  # rows that are prefetched while earlier ones are copied
AHEAD_ROWS, AHEAD_ELEMENTS = 64, 2**15  # how far: 32 and 128 rows were slower at 50, 100 features


def row_work(n_features: int) -> int:
    """Return the work of a row in units of about a third of a nanosecond."""
    return n_features + 10


@functools.cache
def tile_rows(n_features: int) -> int:
    """Return the rows of a tile: 16 to 64. Half or twice as many were up to 8 % slower."""
    return max(2 * LANES, min(8 * LANES, TILE_ELEMENTS // n_features // LANES * LANES))


@functools.cache
def chunk_rows(n_features: int) -> int:
    """Return the rows of a chunk, in whole tiles."""
    tile = tile_rows(n_features)
    work = WIDE_CHUNK_WORK if n_features >= WIDE else CHUNK_WORK
    return max(1, work // (row_work(n_features) * tile)) * tile


def work_size(n_features: int) -> int:
    """Return the float64 scratch of one thread: z, then a tile of y, weights and x."""
    return (3 + n_features) * tile_rows(n_features) + LANES


@device_function
def padded(size: int) -> int:
    """Return a size rounded up to whole vectors."""
    return (size + LANES - 1) // LANES * LANES


@device_function
def wide_forward(
    x: Pointer, d: int, rows: int, ahead: int, w: Pointer, bias: float, z: Pointer
) -> None:
    """Compute z = x w + b for a tile; OUT z.

    Unless `ahead` is 0, the even rows that far on are prefetched, and what backward leaves.
    """
    whole = rows // LANES * LANES
    b = broadcast(bias)
    for i in range(0, whole, LANES):
        if ahead > 0:
            prefetch_even_rows(x, d, i + ahead)
        store(z, i, dot_8_rows(at(x, i * d), d, w) + b)
    for i in range(whole, rows):
        z[i] = dot_row(at(x, i * d), d, w) + bias


@device_function
def prefetch_even_rows(x: Pointer, d: int, first: int) -> None:
    """Prefetch rows 0, 2, 4, 6 from `first` on, and of the odd ones what add_4_columns leaves.

    Half of a tile in forward and half in backward keeps memory busy all the time: 1.3 times as
    fast at 50 and 100 features as all of it in forward, twice as fast as none.
    """
    for row in range(first, first + LANES, 2):
        even = row * d
        for j in range(even, even + d, LANES):
            prefetch(x, j)
        odd = even + d
        for j in range(odd + d // (4 * LANES) * (4 * LANES), odd + d, LANES):
            prefetch(x, j)


@device_function
def dot_8_rows(x: Pointer, d: int, w: Pointer) -> Vector:
    """Return the dot products of eight rows with w (zero beyond D)."""
    x1 = at(x, d)
    x2 = at(x1, d)
    x3 = at(x2, d)
    x4 = at(x3, d)
    x5 = at(x4, d)
    x6 = at(x5, d)
    x7 = at(x6, d)
    zero = broadcast(0.0)
    s0, s1, s2, s3, s4, s5, s6, s7 = zero, zero, zero, zero, zero, zero, zero, zero
    j = 0
    while j + LANES <= d:
        v = load(w, j)
        s0 = fma(load(x, j), v, s0)
        s1 = fma(load(x1, j), v, s1)
        s2 = fma(load(x2, j), v, s2)
        s3 = fma(load(x3, j), v, s3)
        s4 = fma(load(x4, j), v, s4)
        s5 = fma(load(x5, j), v, s5)
        s6 = fma(load(x6, j), v, s6)
        s7 = fma(load(x7, j), v, s7)
        j += LANES
    if j < d:
        n = d - j
        v = load(w, j)
        s0 = fma(load_first(x, j, n), v, s0)
        s1 = fma(load_first(x1, j, n), v, s1)
        s2 = fma(load_first(x2, j, n), v, s2)
        s3 = fma(load_first(x3, j, n), v, s3)
        s4 = fma(load_first(x4, j, n), v, s4)
        s5 = fma(load_first(x5, j, n), v, s5)
        s6 = fma(load_first(x6, j, n), v, s6)
        s7 = fma(load_first(x7, j, n), v, s7)
    return sum_each(s0, s1, s2, s3, s4, s5, s6, s7)


@device_function
def dot_row(x: Pointer, d: int, w: Pointer) -> float:
    """Return one row's dot product with w, with the bits of :func:`dot_8_rows`."""
    s = broadcast(0.0)
    j = 0
    while j + LANES <= d:
        s = fma(load(x, j), load(w, j), s)
        j += LANES
    if j < d:
        s = fma(load_first(x, j, d - j), load(w, j), s)
    return sum_lanes(s)


@device_function
def wide_backward(x: Pointer, d: int, rows: int, ahead: int, dz: Pointer, dw: Pointer) -> None:
    """Add dw += x' dz for a tile; ACC dw (D rounded up to whole vectors)."""
    j = 0
    while j + 4 * LANES <= d:
        add_4_columns(at(x, j), d, rows, ahead, dz, at(dw, j))
        j += 4 * LANES
    while j + LANES < d:
        n = min(d - j - LANES, LANES)
        add_2_columns(at(x, j), d, rows, dz, at(dw, j), n)
        j += 2 * LANES
    if j < d:
        add_1_column(at(x, j), d, rows, dz, at(dw, j), d - j)


@device_function
def add_4_columns(x: Pointer, d: int, rows: int, ahead: int, dz: Pointer, dw: Pointer) -> None:
    """Add dw[0:32] += the first 32 columns of x' dz; ACC dw. Prefetches the odd rows."""
    o = 0
    zero = broadcast(0.0)
    s0, s1, s2, s3 = zero, zero, zero, zero
    t0, t1, t2, t3 = zero, zero, zero, zero
    for i in range(0, rows - 1, 2):
        if ahead > 0:
            odd = o + (ahead + 1) * d
            prefetch(x, odd)
            prefetch(x, odd + 8)
            prefetch(x, odd + 16)
            prefetch(x, odd + 24)
        c = broadcast(dz[i])
        s0 = fma(c, load(x, o), s0)
        s1 = fma(c, load(x, o + 8), s1)
        s2 = fma(c, load(x, o + 16), s2)
        s3 = fma(c, load(x, o + 24), s3)
        o += d
        c = broadcast(dz[i + 1])
        t0 = fma(c, load(x, o), t0)
        t1 = fma(c, load(x, o + 8), t1)
        t2 = fma(c, load(x, o + 16), t2)
        t3 = fma(c, load(x, o + 24), t3)
        o += d
    if rows % 2:
        c = broadcast(dz[rows - 1])
        s0 = fma(c, load(x, o), s0)
        s1 = fma(c, load(x, o + 8), s1)
        s2 = fma(c, load(x, o + 16), s2)
        s3 = fma(c, load(x, o + 24), s3)
    store(dw, 0, load(dw, 0) + (s0 + t0))
    store(dw, 8, load(dw, 8) + (s1 + t1))
    store(dw, 16, load(dw, 16) + (s2 + t2))
    store(dw, 24, load(dw, 24) + (s3 + t3))


@device_function
def add_2_columns(x: Pointer, d: int, rows: int, dz: Pointer, dw: Pointer, n: int) -> None:
    """Add dw[0 : 8 + n] += the first 8 + n columns of x' dz; ACC dw."""
    o = 0
    zero = broadcast(0.0)
    s0, s1 = zero, zero
    t0, t1 = zero, zero
    for i in range(0, rows - 1, 2):
        c = broadcast(dz[i])
        s0 = fma(c, load(x, o), s0)
        s1 = fma(c, load_first(x, o + 8, n), s1)
        o += d
        c = broadcast(dz[i + 1])
        t0 = fma(c, load(x, o), t0)
        t1 = fma(c, load_first(x, o + 8, n), t1)
        o += d
    if rows % 2:
        c = broadcast(dz[rows - 1])
        s0 = fma(c, load(x, o), s0)
        s1 = fma(c, load_first(x, o + 8, n), s1)
    store(dw, 0, load(dw, 0) + (s0 + t0))
    store(dw, 8, load(dw, 8) + (s1 + t1))


@device_function
def add_1_column(x: Pointer, d: int, rows: int, dz: Pointer, dw: Pointer, n: int) -> None:
    """Add dw[0:n] += the first n columns of x' dz; ACC dw."""
    o = 0
    zero = broadcast(0.0)
    s, t = zero, zero
    for i in range(0, rows - 1, 2):
        s = fma(broadcast(dz[i]), load_first(x, o, n), s)
        o += d
        t = fma(broadcast(dz[i + 1]), load_first(x, o, n), t)
        o += d
    if rows % 2:
        s = fma(broadcast(dz[rows - 1]), load_first(x, o, n), s)
    store(dw, 0, load(dw, 0) + (s + t))


@device_function
def narrow_columns(x: Pointer, d: int, i: int, rows: int) -> tuple[Vector, Vector]:
    """Return x[i : i + 8, 0] and x[i : i + 8, 1] of a tile, zero where there is no such element."""
    n = min(rows - i, LANES) * d
    if d == 1:
        columns = load_first(x, i, n), broadcast(0.0)
    else:
        left = load_first(x, 2 * i, min(n, LANES))
        right = load_first(x, 2 * i + LANES, n - LANES)
        columns = evens(left, right), odds(left, right)
    return columns


@device_function
def narrow_forward(x: Pointer, d: int, rows: int, w: Pointer, bias: float, z: Pointer) -> None:
    """Compute z = x w + b for a tile of one or two features (w is 0 beyond them); OUT z."""
    for i in range(0, rows, LANES):
        first, second = narrow_columns(x, d, i, rows)
        s = fma(first, broadcast(w[0]), broadcast(bias))
        store(z, i, fma(second, broadcast(w[1]), s))


@device_function
def narrow_backward(x: Pointer, d: int, rows: int, dz: Pointer, dw: Pointer) -> None:
    """Add dw += x' dz for a tile of one or two features; ACC dw."""
    s = broadcast(0.0)
    t = broadcast(0.0)
    for i in range(0, rows, LANES):
        first, second = narrow_columns(x, d, i, rows)
        s = fma(first, load(dz, i), s)
        t = fma(second, load(dz, i), t)
    dw[0] += sum_lanes(s)
    dw[1] += sum_lanes(t)


@device_function
def losses_and_dz(
    state: Pointer, rows: int, y: Pointer, sample_weight: Pointer, z: Pointer, partial: Pointer
) -> bool:
    """Turn z into dz for a tile, zero beyond the rows; ACC db, loss and weight in `partial`.

    Returns whether every z was finite: only then is z - z always 0.
    """
    activation = state[ACTIVATION]
    loss = state[LOSS]
    weighted = state[WEIGHTED] != 0
    total = broadcast(0.0)
    total_dz = broadcast(0.0)
    total_weight = broadcast(0.0)
    check = broadcast(0.0)
    for i in range(0, rows, LANES):
        n = min(rows - i, LANES)
        pre = keep_first(load(z, i), n)
        check = check + (pre - pre)  # not z * 0: additions have their own units
        value, dz = output_loss(activation, loss, pre, load_first(y, i, n))
        if weighted:
            weight = load_first(sample_weight, i, n)
            value = value * weight
            dz = dz * weight
            total_weight = total_weight + weight
        dz = keep_first(dz, n)
        store(z, i, dz)
        total = total + keep_first(value, n)
        total_dz = total_dz + dz
    p = state[N_PARAMETERS]
    partial[p - LANES] += sum_lanes(total_dz)
    partial[p + LOSS_SUM] += sum_lanes(total)
    partial[p + WEIGHT_SUM] += sum_lanes(total_weight) if weighted else float(rows)
    return sum_lanes(check) == 0.0


@device_function
def forward(x: Pointer, d: int, rows: int, ahead: int, w: Pointer, bias: float, z: Pointer) -> None:
    """Compute z = x w + b for a tile; OUT z."""
    if d <= NARROW:
        narrow_forward(x, d, rows, w, bias, z)
    else:
        wide_forward(x, d, rows, ahead, w, bias, z)


@device_function
def backward(x: Pointer, d: int, rows: int, ahead: int, dz: Pointer, dw: Pointer) -> None:
    """Add dw += x' dz for a tile; ACC dw."""
    if d <= NARROW:
        narrow_backward(x, d, rows, dz, dw)
    else:
        wide_backward(x, d, rows, ahead, dz, dw)


@device_function
def gather_rows(
    x: Pointer, d: int, order: Pointer, first: int, rows: int, gathered: Pointer
) -> None:
    """Copy the rows order[first : first + rows] of x, d numbers each; OUT gathered.

    Whole vectors are written: up to seven numbers beyond the last row.
    """
    for i in range(rows):
        coming = order[first + min(i + GATHER_AHEAD, rows - 1)] * d
        for j in range(0, d, LANES):
            prefetch(x, coming + j)
        prefetch(x, coming + d - 1)
        o = order[first + i] * d
        for j in range(0, d, LANES):
            store(gathered, i * d + j, load_first(x, o + j, d - j))


@device_function
def gather_numbers(y: Pointer, order: Pointer, first: int, rows: int, gathered: Pointer) -> None:
    """Copy the numbers order[first : first + rows] of y; OUT gathered."""
    for i in range(rows):
        gathered[i] = y[order[first + i]]


@subroutine
def neuron_gradient(
    x: Pointer,
    y: Pointer,
    sample_weight: Pointer,
    order: Pointer,
    state: Pointer,
    start: int,
    rows: int,
    parameters: Pointer,
    work: Pointer,
    partial: Pointer,
) -> bool:
    """Sum loss, weight and gradient over a chunk; OUT partial. Returns whether z was finite."""
    d = state[N_FEATURES]
    tile = state[TILE_ROWS]
    p = state[N_PARAMETERS]
    shuffled = state[SHUFFLED] != 0
    bias = parameters[p - LANES]
    large = (state[BLOCK_STOP] - state[BLOCK_START]) * d > CACHED_ELEMENTS
    ahead = min(AHEAD_ROWS, AHEAD_ELEMENTS // d) if large and not shuffled else 0
    z = work
    clear(p + PARTIAL_EXTRA, partial)
    finite = True
    for first in range(start - state[BLOCK_START], start - state[BLOCK_START] + rows, tile):
        n = min(tile, start - state[BLOCK_START] + rows - first)
        x_tile = at(x, first * d)
        y_tile = at(y, first)
        weight_tile = at(sample_weight, first)
        if shuffled:
            y_tile = at(work, tile)
            weight_tile = at(work, 2 * tile)
            x_tile = at(work, 3 * tile)
            gather_numbers(y, order, first, n, y_tile)
            if state[WEIGHTED] != 0:
                gather_numbers(sample_weight, order, first, n, weight_tile)
            gather_rows(x, d, order, first, n, x_tile)
        forward(x_tile, d, n, ahead, parameters, bias, z)
        finite &= losses_and_dz(state, n, y_tile, weight_tile, z, partial)
        backward(x_tile, d, n, ahead, z, partial)
    return finite


@subroutine
def first_bad_row(x: Pointer, order: Pointer, state: Pointer, start: int, rows: int) -> int:
    """Return the least row of a chunk that holds an infinity or NaN, or NO_ROW."""
    d = state[N_FEATURES]
    least = NO_ROW
    for i in range(start - state[BLOCK_START], start - state[BLOCK_START] + rows):
        row = order[i] if state[SHUFFLED] != 0 else i
        check = 0.0
        for j in range(row * d, row * d + d):
            check += x[j] * 0.0
        if check != 0.0:
            least = min(least, row + state[BLOCK_START])
    return least


@kernel
def neuron_steps(
    x: Any,
    y: Any,
    sample_weight: Any,
    order: Any,
    state: Any,
    floats: Any,
    rates: Any,
    losses: Any,
    worker: int,
) -> bool:
    """Run a slice of a fit: see :func:`fastbp.kernels.steps.run_steps`.

    x (rows of the block, D), y and sample_weight (rows,), order (rows,) of int64; sample_weight
    and order are empty where not used. ACC state, floats; OUT losses.
    """
    return run_steps(
        neuron_gradient,
        first_bad_row,
        data(x),
        data(y),
        data(sample_weight),
        data(order),
        data(state),
        data(floats),
        data(rates),
        data(losses),
        worker,
    )


@kernel
def neuron_outputs(x: Any, parameters: Any, activation: int, work: Any, outputs: Any) -> bool:
    """Compute a = phi(x w + b): x (rows, D), parameters (P,), work (tile,); OUT outputs (rows,).

    Returns whether every pre-activation was finite.
    """
    rows, d = x.shape
    x_all = data(x)
    w = data(parameters)
    z = data(work)
    a = data(outputs)
    tile = work.size
    bias = parameters[parameters.size - LANES]
    check = broadcast(0.0)
    for first in range(0, rows, tile):
        n = min(tile, rows - first)
        forward(at(x_all, first * d), d, n, 0, w, bias, z)
        for i in range(0, n, LANES):
            pre = keep_first(load(z, i), n - i)
            check = fma(pre, broadcast(0.0), check)
            store(z, i, activate(activation, pre))
        for i in range(n):
            a[first + i] = z[i]
    return sum_lanes(check) == 0.0


@kernel
def neuron_small(x: Any, values: Any, epochs: int, tile: int, results: Any) -> bool:
    """Train on at most one chunk of rows in one call: sigmoid, mse, full batch.

    x (N, D), `tile` its :func:`tile_rows`; values (N + D + 2,): labels, weights, bias and rate.
    OUT results (D + 1 + epochs,): weights, bias, losses, rounded to four decimals. Returns False,
    with nothing promised of the results, if anything in it was not finite: the caller finds out
    what. The bits before the rounding are those of :func:`neuron_steps`, a call of which takes
    longer to prepare.
    """
    n, d = x.shape
    p = padded(d) + LANES
    state = np.zeros(N_INTEGERS, dtype=np.int64)
    state[N_FEATURES] = d
    state[N_PARAMETERS] = p
    state[TILE_ROWS] = tile
    state[ACTIVATION] = SIGMOID
    state[LOSS] = MSE
    floats = np.zeros(2 * p + PARTIAL_EXTRA + tile)
    parameters = data(floats)
    partial = at(parameters, p)
    work = at(partial, p + PARTIAL_EXTRA)
    for j in range(d):
        parameters[j] = values[n + j]
    parameters[p - LANES] = values[n + d]
    y = data(values)
    none = data(state)
    finite = True
    for epoch in range(epochs):
        finite &= neuron_gradient(data(x), y, y, none, data(state), 0, n, parameters, work, partial)
        loss = partial[p + LOSS_SUM] / n
        finite &= loss - loss == 0.0
        results[d + 1 + epoch] = round_to_4_decimals(loss)
        sgd_update(p, 0, values[n + d + 1] / n, 0.0, partial, parameters)
    for j in range(d):
        results[j] = round_to_4_decimals(parameters[j])
    results[d] = round_to_4_decimals(parameters[p - LANES])
    return finite and all_finite(p, parameters)


@device_function
def round_to_4_decimals(value: float) -> float:
    """Round the way numpy.round does; a value too large to scale passes unchanged."""
    scaled = value * 10000.0
    return np.rint(scaled) / 10000.0 if abs(scaled) < np.inf else value
