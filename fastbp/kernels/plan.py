"""The layout of a network, and how its rows are cut into tiles and chunks."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import accumulate, pairwise

from fastbp.kernels.vector import LANES, whole_vectors

# METHOD of a layer: how the gradient of its weights is summed; the results differ in rounding only
INNER = 0  # as inner products over the rows
OUTER = 1  # as a sum of outer products, with the neurons side by side

OUTER_FROM = 16  # fewest inputs and outputs; below 64 rows, whose sums are short, 8 outputs
TILE_BYTES = (
    2**19
)  # of all that a tile of float64 needs; a quarter or twice as many made at most 5 %
MOST_ROWS, LEAST_ROWS = 256, 128  # of a tile; 784-256-10 took 1.09 times as long with 32 rows
TILE_WORK = 2**27  # see row_work, 45 ms: very wide networks have fewer rows, for Ctrl-C to arrive
CHUNK_WORK = 2**17  # 40 microseconds
# Of a group: 11 milliseconds, but up to 90 for many parameters, which are sent to another machine
GROUP_WORK, GROUP_WORK_PER_PARAMETER, MOST_GROUP_WORK = 2**25, 2**9, 2**28
SPARE = 4 * LANES  # the last sums of sparse rows are stored by whole blocks
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
        nanosecond; the numbers of scratch of a tile, of the type of the fit.
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
    numbers = 2 + label_columns + inputs + 2 * sum(outputs)
    shapes = list(pairwise((min(sizes[0], NONZEROS_PER_ROW), *outputs) if sparse else sizes))
    macs = sum(n * m for n, m in shapes)
    row_work = 3 * macs // 8 + 2 * sum(outputs) + inputs // 2 + 10
    least = min(LEAST_ROWS, TILE_WORK // row_work)
    most = max(least, min(MOST_ROWS, TILE_BYTES // (8 * numbers))) // LANES * LANES
    tile = min(max(most, LANES), whole_vectors(batch_rows))
    end = (2 + label_columns + inputs) * tile
    table: list[int] = []
    for index, (n_inputs, n) in enumerate(shapes):
        method = _method(n_inputs, n, tile)
        at_a, at_d, at_rows = end, end + n * tile, end + 2 * n * tile
        table += [n, activations[index], weights_at[index], biases_at[index]]
        table += [at_a, at_d, method, at_rows]
        end = at_rows
        if method == OUTER or (sparse and index == 0):
            end += whole_vectors(n) * (tile + LANES) + SPARE
    return Plan(
        n_parameters=biases_at[-1],
        n_weights=weights_at[-1],
        weights_at=tuple(weights_at[:-1]),
        biases_at=tuple(biases_at[:-1]),
        table=tuple(table),
        tile_rows=tile,
        chunk_rows=max(SPARSE_TILES if sparse else 1, CHUNK_WORK // (row_work * tile)) * tile,
        row_work=row_work,
        work_size=end,
    )


def group_chunks(n_parameters: int, row_work: int, chunk_rows: int) -> int:
    """Return how many chunks make up a group."""
    work = min(MOST_GROUP_WORK, max(GROUP_WORK, GROUP_WORK_PER_PARAMETER * n_parameters))
    return max(1, work // (row_work * chunk_rows))


def _method(n_inputs: int, n_outputs: int, tile: int) -> int:
    least = OUTER_FROM if tile >= 64 else LANES
    return OUTER if n_inputs >= OUTER_FROM and n_outputs >= least else INNER
