"""The layout of a network, and how its rows are cut into tiles and chunks."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import accumulate, pairwise

from fastbp.kernels.jit import vector_width
from fastbp.kernels.vector import LANES, whole_vectors

# METHOD of a layer: how its products are computed; the results differ in rounding only
INNER = 0  # own loops; the gradient of the weights as inner products over the rows
OUTER = 1  # own loops; that gradient as a sum of outer products, with the neurons side by side
BLAS = 2

OUTER_FROM = 16  # fewest inputs and outputs; below 64 rows, whose sums are short, 8 outputs
# Weights of a layer from which BLAS multiplies. With 512-bit vectors our loops are ahead of
# OpenBLAS at 64 x 100 (28 against 22 multiply-adds a nanosecond), 784 x 256 (28, 24) and
# 1024 x 1024 (21, 18), and fall behind at 2048 x 2048 (13, 17). With 256-bit vectors a step takes
# 0.79 to 0.92 of the time with OpenBLAS at 64 x 100, 0.81 to 0.95 at 128 x 128, 1.0 at 128 x 256,
# 1.0 to 1.1 at 256 x 256 and 1.2 at 784 x 256, in batches of 32 to 256.
BLAS_FROM, BLAS_FROM_NARROW = 2**21, 2**15
TILE_BYTES = 2**19  # of all that a tile needs; a quarter or twice as many made at most 5 %
MOST_ROWS, LEAST_ROWS = 256, 128  # of a tile; 784-256-10 took 1.09 times as long with 32 rows
TILE_WORK = 2**27  # see row_work, 45 ms: very wide networks have fewer rows, for Ctrl-C to arrive
CHUNK_WORK = 2**17  # 40 microseconds
NONZEROS_PER_ROW = 64  # assumed for sparse rows
SPARSE_TILES = 8  # fewest in a chunk: each chunk has a gradient of all weights to clear and add


@dataclass(frozen=True)
class Plan:
    """The layout of a network, and how its rows are cut into tiles and chunks.

    Attributes
    ----------
    n_parameters, n_weights
        P, and how many of them are weights, in whole vectors.
    weights_at, biases_at
        Where those of each layer begin in the parameters.
    table
        The table of layers.
    tile_rows, chunk_rows, row_work, work_size
        Rows of a tile and of a chunk; the work of a row in units of about a third of a
        nanosecond; the float64 numbers of scratch of one thread.
    uses_blas
        Whether any layer does.
    """

    n_parameters: int
    n_weights: int
    weights_at: tuple[int, ...]
    biases_at: tuple[int, ...]
    table: tuple[int, ...]
    tile_rows: int
    chunk_rows: int
    row_work: int
    work_size: int
    uses_blas: bool


@functools.lru_cache(maxsize=256)
def plan_network(
    sizes: tuple[int, ...],
    activations: tuple[int, ...],
    label_columns: int,
    batch_rows: int,
    sparse: bool = False,
) -> Plan:
    """Lay out a network of these sizes (inputs first) for batches of `batch_rows` rows.

    All batches larger than a tile have the same layout: results do not depend on the number of
    rows. `sparse` rows need no tile of inputs, and their work is taken to be that of
    NONZEROS_PER_ROW.
    """
    outputs = sizes[1:]
    weights = [whole_vectors(n * m) for n, m in pairwise(sizes)]
    weights_at = list(accumulate(weights, initial=0))
    biases_at = list(accumulate(map(whole_vectors, outputs), initial=weights_at[-1]))
    inputs = 0 if sparse else sizes[0]
    numbers = whole_vectors(label_columns) + LANES + whole_vectors(inputs) + 2 * sum(outputs)
    shapes = list(pairwise((min(sizes[0], NONZEROS_PER_ROW), *outputs) if sparse else sizes))
    macs = sum(n * m for n, m in shapes)
    row_work = 3 * macs // 8 + 2 * sum(outputs) + inputs // 2 + 10
    least = min(LEAST_ROWS, TILE_WORK // row_work)
    most = max(least, min(MOST_ROWS, TILE_BYTES // (8 * numbers))) // LANES * LANES
    tile = min(max(most, LANES), whole_vectors(batch_rows))
    methods = [_method(n, m, tile) for n, m in shapes]
    end = (whole_vectors(label_columns) + 1 + whole_vectors(inputs)) * tile
    table: list[int] = []
    for index, n in enumerate(outputs):
        at_a, at_d = end, end + n * tile
        table += [n, activations[index], weights_at[index], biases_at[index], at_a, at_d]
        table += [methods[index], 0]
        end = at_d + (whole_vectors(n) if sparse and index == 0 else n) * tile
    table += [0, 0, 0, 0, end, 0, 0, 0]
    return Plan(
        n_parameters=biases_at[-1],
        n_weights=weights_at[-1],
        weights_at=tuple(weights_at[:-1]),
        biases_at=tuple(biases_at[:-1]),
        table=tuple(table),
        tile_rows=tile,
        chunk_rows=max(SPARSE_TILES if sparse else 1, CHUNK_WORK // (row_work * tile)) * tile,
        row_work=row_work,
        work_size=end + max(map(whole_vectors, (inputs, *outputs))) * tile + 4 * LANES,
        uses_blas=BLAS in methods,
    )


def _method(n_inputs: int, n_outputs: int, tile: int) -> int:
    if n_inputs * n_outputs >= (BLAS_FROM if vector_width() >= 512 else BLAS_FROM_NARROW):
        return BLAS
    least = OUTER_FROM if tile >= 64 else LANES
    return OUTER if n_inputs >= OUTER_FROM and n_outputs >= least else INNER
