"""One neuron: loss and gradient over a chunk of rows, X read from memory once.

N samples, D features, P parameters: w (D, rounded up to whole vectors), then b. The numbers of a
row of x (N, D) are contiguous; rows of x, y and the weights may lie apart. Rows are taken a tile at
a time; a tile passes three phases while it is in the L1 cache: z = x w + b, then loss and dz,
then dw += x' dz. One or two features need no phases: all three are done with eight rows while they
are in registers. The kernels are at the end.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastbp.kernels import layout
from fastbp.kernels.activations import SIGMOID, activate
from fastbp.kernels.jit import device_function, kernel, subroutine
from fastbp.kernels.lanes import sum_each, sum_everywhere, sum_lanes
from fastbp.kernels.losses import (
    BCE,
    MSE,
    exponential_for,
    output_loss,
    sigmoid_loss,
    takes_exponential,
)
from fastbp.kernels.matvec import (
    NARROW,
    forward,
    gather_numbers,
    gather_rows,
    narrow_columns,
    narrow_z,
    wide_backward,
    wide_forward,
)
from fastbp.kernels.reading import read_up_to
from fastbp.kernels.steps import Buffers, Data, first_bad_row, order_of, run_steps
from fastbp.kernels.update import copy, fill, sgd_update
from fastbp.kernels.vector import (
    LANES,
    Pointer,
    Vector,
    as_doubles,
    at,
    fma,
    is_single,
    keep_first,
    load,
    of_type,
    padded,
    pointer_to,
    store,
    store_first,
    whole_vectors,
    zeros,
)

TILE_ELEMENTS = 3400  # 27 KB of float64: a tile is still in the L1 cache when backward reads it
CHUNK_WORK = 2**17  # see row_work: 40 microseconds. Half of it streamed worse on two threads
WIDE_CHUNK_WORK, WIDE = 2**18, 32  # memory is the limit: 1.05 times as fast at 10**6 x 50
CACHED_ELEMENTS = 2**20  # a block of more, 8 MB, is prefetched (0.95 times as fast for smaller)
AHEAD_ROWS, AHEAD_ELEMENTS = 64, 2**15  # how far: 32 rows were slower, 96 and 128 no better

# A chunk's sums, one vector each: those of its tiles, lane by lane.
SUM_OF_LOSS = 0
SUM_OF_DZ = LANES
SUM_OF_WEIGHT = 2 * LANES
CHECK = 3 * LANES  # sum of z - z: 0 if every z is finite
SUM_OF_DW = 4 * LANES  # of the narrow layout, one vector per feature
N_SUMS = 6 * LANES

Tile = tuple[Pointer, Pointer, Pointer]
"""x, y and sample_weight of a tile's rows, y and sample_weight contiguous."""


def row_work(n_features: int) -> int:
    """Return the work of a row in units of about a third of a nanosecond."""
    return n_features + 10


@functools.cache
def tile_rows(n_features: int) -> int:
    """Return the rows of a tile: 16 to 64, or 1024 in the narrow layout, which stores no z.

    Half or twice as many were at best a tenth faster, at worst an eighth slower.
    """
    if n_features <= NARROW:
        return 128 * LANES
    return max(2 * LANES, min(8 * LANES, TILE_ELEMENTS // n_features // LANES * LANES))


@functools.cache
def chunk_rows(n_features: int) -> int:
    """Return the rows of a chunk, in whole tiles."""
    tile = tile_rows(n_features)
    work = WIDE_CHUNK_WORK if n_features >= WIDE else CHUNK_WORK
    return max(1, work // (row_work(n_features) * tile)) * tile


def work_size(n_features: int, tile: int, bytes_of_number: int = 8) -> int:
    """Return the scratch of one thread: sums and dw, then a tile of z, e**z, y, weights and x.

    In numbers of the fit's type. Sums, dw and what is gathered may be of float64 in any case; that
    of float64 sums dw up elsewhere.
    """
    doubles = N_SUMS + (2 + n_features) * tile + LANES
    if bytes_of_number < 8:
        doubles += whole_vectors(n_features) + LANES
    return doubles * 8 // bytes_of_number + 2 * (tile + LANES)


@device_function
def room_for(doubles: int, like: Pointer) -> int:
    """Return how many numbers of the fit's type take the room of so many of float64."""
    return 2 * doubles if is_single(like) else doubles


@subroutine
def loss_and_dz(
    integers: Pointer, tile: Tile, rows: int, z: Pointer, sums: Pointer, is_first: bool
) -> None:
    """Sum a tile's loss and turn z into dz; ACC z, sums, the latter OUT for the first tile.

    The two most common choices have loops of their own: without a choice in them their constants
    stay in registers, 1.15 times as fast.
    """
    activation, loss = integers[layout.ACTIVATION], integers[layout.LOSS]
    if loss == BCE:
        each_row(SIGMOID, BCE, integers, tile, rows, z, sums, is_first)
    elif loss == MSE and activation == SIGMOID:
        each_row(SIGMOID, MSE, integers, tile, rows, z, sums, is_first)
    else:
        each_row(activation, loss, integers, tile, rows, z, sums, is_first)


@device_function
def each_row(
    activation: int,
    loss: int,
    integers: Pointer,
    tile: Tile,
    rows: int,
    z: Pointer,
    sums: Pointer,
    is_first: bool,
) -> None:
    """Do what :func:`loss_and_dz` does for one activation and loss; ACC z, sums.

    The exponentials are a phase of their own where that is known to be all that z is wanted for: a
    chain of dependent operations half as long, of which the processor sees twice as many at once
    (1.3 times as fast with 256-bit vectors, 1.05 times with 512).
    """
    _, y, _ = tile
    e = at(z, integers[layout.TILE_ROWS] + LANES)
    weighted = integers[layout.WEIGHTED] != 0
    known = takes_exponential(activation, loss)
    if known:
        for i in range(0, rows, LANES):
            store(e, i, exponential_for(loss, load(z, i)))
    totals = no_totals(z)
    for i in range(0, rows, LANES):
        pre = load(z, i)
        labels = read_up_to(y, i, rows - i, pre)
        if known:
            value, dz = sigmoid_loss(loss, pre, load(e, i), labels)
        else:
            value, dz = output_loss(activation, loss, pre, labels)
        dz, totals = add_row(pre, value, dz, tile, i, rows, weighted, totals)
        store(z, i, dz)
    add_totals(sums, totals, is_first)


@subroutine
def narrow_loss_and_dw(
    integers: Pointer, tile: Tile, rows: int, parameters: Pointer, sums: Pointer, is_first: bool
) -> None:
    """Sum the loss, dz and dw of a tile of the narrow layout; ACC sums, OUT for the first tile.

    With x, z and dz in registers all along it was 1.3 times as fast as in three phases. (From 3
    features on the rows would have to be transposed for it.)
    """
    activation, loss = integers[layout.ACTIVATION], integers[layout.LOSS]
    if loss == BCE:
        each_narrow_row(SIGMOID, BCE, integers, tile, rows, parameters, sums, is_first)
    elif loss == MSE and activation == SIGMOID:
        each_narrow_row(SIGMOID, MSE, integers, tile, rows, parameters, sums, is_first)
    else:
        each_narrow_row(activation, loss, integers, tile, rows, parameters, sums, is_first)


@device_function
def each_narrow_row(
    activation: int,
    loss: int,
    integers: Pointer,
    tile: Tile,
    rows: int,
    parameters: Pointer,
    sums: Pointer,
    is_first: bool,
) -> None:
    """Do what :func:`narrow_loss_and_dw` does for one activation and loss; ACC sums."""
    x, y, _ = tile
    d = integers[layout.N_FEATURES]
    bias = parameters[integers[layout.N_PARAMETERS] - LANES]
    weighted = integers[layout.WEIGHTED] != 0
    totals = no_totals(parameters)
    dw_0, dw_1 = zeros(parameters), zeros(parameters)
    for i in range(0, rows, LANES):
        first, second = narrow_columns(x, d, i, rows - i, parameters)
        pre = narrow_z(first, second, parameters, bias)
        value, dz = output_loss(activation, loss, pre, read_up_to(y, i, rows - i, pre))
        dz, totals = add_row(pre, value, dz, tile, i, rows, weighted, totals)
        dw_0 = fma(first, dz, dw_0)
        dw_1 = fma(second, dz, dw_1)
    add_totals(sums, totals, is_first)
    add_total(sums, SUM_OF_DW, dw_0, is_first)
    add_total(sums, SUM_OF_DW + LANES, dw_1, is_first)


Totals = tuple[Vector, Vector, Vector, Vector]
"""Of the loss, dz, the sample weight, and z - z; loss and weight in float64."""


@device_function
def no_totals(like: Pointer) -> Totals:
    """Return zeros."""
    zero = zeros(like)
    double = as_doubles(zero)
    return double, zero, double, zero


@device_function
def add_row(
    z: Vector,
    value: Vector,
    dz: Vector,
    tile: Tile,
    i: int,
    rows: int,
    weighted: bool,
    totals: Totals,
) -> tuple[Vector, Totals]:
    """Return dz of eight rows from i on, weighted and 0 beyond the last, and the totals with it."""
    total, total_dz, total_weight, check = totals
    if weighted:
        weight = read_up_to(tile[2], i, rows - i, value)
        value = value * weight
        dz = dz * weight
        total_weight = total_weight + as_doubles(weight)
    if rows - i < LANES:
        value = keep_first(value, rows - i)
        dz = keep_first(dz, rows - i)
    check = check + (z - z)  # not z * 0: additions have their own units
    return dz, (total + as_doubles(value), total_dz + dz, total_weight, check)


@device_function
def add_totals(sums: Pointer, totals: Totals, is_first: bool) -> None:
    """Add a tile's totals to those of its chunk; ACC sums, OUT for the first tile."""
    total, total_dz, total_weight, check = totals
    add_total(sums, SUM_OF_LOSS, total, is_first)
    add_total(sums, SUM_OF_DZ, total_dz, is_first)
    add_total(sums, SUM_OF_WEIGHT, total_weight, is_first)
    add_total(sums, CHECK, check, is_first)


@device_function
def add_total(sums: Pointer, index: int, total: Vector, is_first: bool) -> None:
    """Add one of them."""
    doubles = as_doubles(total)
    if not is_first:
        doubles = load(sums, index) + doubles
    store(sums, index, doubles)


@device_function
def add_up(integers: Pointer, rows: int, sums: Pointer, partial: Pointer, totals: Pointer) -> bool:
    """Add up the lanes of a chunk's sums; OUT what `partial` still lacks, and the totals.

    Gradients are stored as whole vectors: a vector load after scalar stores would stall.
    Returns whether every z was finite: only then is z - z always 0.
    """
    p = integers[layout.N_PARAMETERS]
    if integers[layout.N_FEATURES] <= NARROW:
        store(partial, 0, sum_two(load(sums, SUM_OF_DW), load(sums, SUM_OF_DW + LANES)))
    store(partial, p - LANES, keep_first(sum_everywhere(load(sums, SUM_OF_DZ)), 1))
    totals[layout.LOSS_SUM] = sum_lanes(load(sums, SUM_OF_LOSS))
    weight = float(rows)
    if integers[layout.WEIGHTED] != 0:
        weight = sum_lanes(load(sums, SUM_OF_WEIGHT))
    totals[layout.WEIGHT_SUM] = weight
    return sum_lanes(load(sums, CHECK)) == 0.0


@device_function
def sum_two(a: Vector, b: Vector) -> Vector:
    """Return the sums of the lanes of a and of b, then zeros."""
    zero = zeros(a)
    return sum_each(a, b, zero, zero, zero, zero, zero, zero)


@subroutine
def neuron_gradient(data: Data, integers: Pointer, start: int, rows: int, buffers: Buffers) -> bool:
    """Sum loss, weight and gradient over a chunk; OUT partial, work.

    Returns whether every z was finite.
    """
    x, y, sample_weight, _ = data
    parameters, work, partial, totals = buffers
    sums = of_type(work, totals)
    d = integers[layout.N_FEATURES]
    first = start - integers[layout.BLOCK_START]
    weighted = integers[layout.WEIGHTED] != 0
    as_they_are = integers[layout.SHUFFLED] == 0 and integers[layout.ROW_STRIDE] == d
    contiguous = integers[layout.LABEL_STRIDE] == 1
    contiguous = contiguous and not (weighted and integers[layout.WEIGHT_STRIDE] != 1)
    if d <= NARROW and as_they_are and contiguous:
        stop = first + rows
        while first < stop:  # a range with a step would divide
            n = min(integers[layout.TILE_ROWS], stop - first)
            tile = at(x, first * d), at(y, first), at(sample_weight, first)
            narrow_loss_and_dw(integers, tile, n, parameters, sums, stop - first == rows)
            first += n
    else:
        tiles_gradient(data, integers, first, rows, buffers)
    return add_up(integers, rows, sums, partial, totals)


@subroutine
def tiles_gradient(data: Data, integers: Pointer, first: int, rows: int, buffers: Buffers) -> None:
    """Take the rows from `first` on through the phases, a tile at a time; OUT partial, work."""
    x, y, sample_weight, _ = data
    parameters, work, partial, totals = buffers
    d = integers[layout.N_FEATURES]
    order = order_of(data, integers)
    _, shuffled = order
    tile = integers[layout.TILE_ROWS]
    p = integers[layout.N_PARAMETERS]
    weighted = integers[layout.WEIGHTED] != 0
    stride = integers[layout.ROW_STRIDE]
    label_stride = integers[layout.LABEL_STRIDE]
    weight_stride = integers[layout.WEIGHT_STRIDE]
    narrow = d <= NARROW
    bias = parameters[p - LANES]
    large = (integers[layout.BLOCK_STOP] - integers[layout.BLOCK_START]) * d > CACHED_ELEMENTS
    ahead = min(AHEAD_ROWS, AHEAD_ELEMENTS // d) if large and not shuffled else 0
    sums = of_type(work, totals)
    # The tiles are added up in float64, too.
    apart = is_single(partial)
    dw = at(sums, N_SUMS) if apart else of_type(partial, totals)
    z = at(work, room_for(N_SUMS + p if apart else N_SUMS, work))
    scratch = at(z, 2 * (tile + LANES))
    fill(p, 0.0, dw)
    for i in range(first, first + rows, tile):
        n = min(tile, first + rows - i)
        x_tile = at(x, i * stride)
        y_tile = at(y, i)
        weight_tile = at(sample_weight, i)
        tile_stride = stride
        if shuffled or (narrow and stride != d):
            x_tile = of_type(at(scratch, room_for(2 * tile, work)), x)
            gather_rows(x, d, stride, order, i, n, x_tile)
            tile_stride = d
        if not narrow:
            store(z, n, zeros(z))
            wide_forward(x_tile, d, tile_stride, n, ahead, parameters, bias, z)
        # Labels only now: those in the same array as their rows are in the cache by then.
        if shuffled or label_stride != 1:
            y_tile = of_type(scratch, y)
            gather_numbers(y, label_stride, order, i, n, y_tile)
        if weighted and (shuffled or weight_stride != 1):
            weight_tile = of_type(at(scratch, room_for(tile, work)), sample_weight)
            gather_numbers(sample_weight, weight_stride, order, i, n, weight_tile)
        tile_data = x_tile, y_tile, weight_tile
        if narrow:
            narrow_loss_and_dw(integers, tile_data, n, parameters, sums, i == first)
        else:
            loss_and_dz(integers, tile_data, n, z, sums, i == first)
            wide_backward(x_tile, d, tile_stride, n, ahead, z, dw)
    if apart:
        copy(p, dw, partial)


@kernel
def neuron_steps(
    data: Any, integers: Any, floats: Any, vectors: Any, rates: Any, losses: Any, worker: int
) -> bool:
    """Run a slice of a fit: see :func:`fastbp.kernels.steps.run_steps`."""
    return run_steps(
        neuron_gradient, first_bad_row, data, integers, floats, vectors, rates, losses, worker
    )


@kernel
def neuron_outputs(x: Any, parameters: Any, activation: int, work: Any, outputs: Any) -> bool:
    """Compute a = phi(x w + b): x (rows, D), parameters (P,), work (tile,); OUT outputs (rows,).

    Returns whether every pre-activation was finite.
    """
    rows, d = x.shape
    x_all = pointer_to(x)
    w = pointer_to(parameters)
    z = pointer_to(work)
    tile = work.size
    bias = parameters[parameters.size - LANES]
    check = zeros(z)
    for first in range(0, rows, tile):
        n = min(tile, rows - first)
        forward(at(x_all, first * d), d, d, n, 0, w, bias, z)
        for i in range(0, n, LANES):
            pre = keep_first(load(z, i), n - i)
            check = fma(pre, 0.0, check)
            store_first(pointer_to(outputs), first + i, activate(activation, pre), n - i)
    return sum_lanes(check) == 0.0


@kernel
def neuron_small(x: Any, values: Any, epochs: int, tile: int, results: Any) -> bool:
    """Train on at most one chunk of rows in one call: sigmoid, mse, full batch.

    x (N, D), `tile` its :func:`tile_rows`; values (N + D + 2,): labels, weights, bias and rate.
    OUT results (D + 1 + epochs,): weights, bias, losses, rounded to four decimals. Returns False,
    and useless results, if anything was not finite: the caller finds out what. Before the rounding,
    they are bit-identical to those of :func:`neuron_steps`, whose calls take longer to prepare.
    """
    n, d = x.shape
    p = padded(d) + LANES
    numbers = np.zeros(layout.N_INTEGERS, dtype=np.int64)
    numbers[layout.N_FEATURES] = d
    numbers[layout.ROW_STRIDE] = d
    numbers[layout.LABEL_STRIDE] = 1
    numbers[layout.N_PARAMETERS] = p
    numbers[layout.TILE_ROWS] = tile
    numbers[layout.ACTIVATION] = SIGMOID
    numbers[layout.LOSS] = MSE
    floats = np.zeros(2 * p + layout.SUMS_IN_ROW + N_SUMS + 2 * (tile + LANES))
    for j in range(d):
        floats[j] = values[n + j]
    floats[p - LANES] = values[n + d]
    finite = True
    for epoch in range(epochs):
        # Pointers keep no array alive: it is freed after the last use of its own name, here below.
        integers, parameters = pointer_to(numbers), pointer_to(floats)
        partial = at(parameters, p)
        totals = at(partial, p)
        work = at(totals, layout.SUMS_IN_ROW)
        data = pointer_to(x), pointer_to(values), parameters, integers  # no weights, no order
        finite &= neuron_gradient(data, integers, 0, n, (parameters, work, partial, totals))
        results[d + 1 + epoch] = round_to_4_decimals(totals[layout.LOSS_SUM] / n)
        sgd_update((0, p), 0, values[n + d + 1] / n, 0.0, partial, parameters)
    for j in range(d):
        results[j] = round_to_4_decimals(floats[j])
    results[d] = round_to_4_decimals(floats[p - LANES])
    for i in range(results.size):
        finite &= results[i] - results[i] == 0.0
    return finite


@device_function
def round_to_4_decimals(value: float) -> float:
    """Round the way numpy.round does; a value too large to scale passes unchanged."""
    scaled = value * 10000.0
    return np.rint(scaled) / 10000.0 if abs(scaled) < np.inf else value
