"""Rows of numbers into panels, eight rows side by side, and neurons of panels side by side."""

from __future__ import annotations

from fastbp.kernels.jit import device_function, subroutine
from fastbp.kernels.lanes import columns_of
from fastbp.kernels.matvec import Order, row_at
from fastbp.kernels.reading import in_line, number_at, read_first, read_up_to
from fastbp.kernels.vector import LANES, Pointer, Vector, at, prefetch, store, zeros

Rows = tuple[int, int, int, int, int, int, int, int]
"""Where eight rows begin."""


@subroutine
def panels_of_rows(
    x: Pointer, columns: int, stride: int, order: Order, first: int, n: int, result: Pointer
) -> None:
    """Turn n rows of x, in order from `first` on, into panels; zero beyond the rows.

    Row i begins at i * stride; OUT result (n/8, columns, 8).
    """
    for i in range(0, n, LANES):
        panel = at(result, i * columns)
        rows = min(n - i, LANES)
        if columns == 1:
            panel_of_numbers(x, stride, order, first + i, rows, panel)
        else:
            if order[1]:
                prefetch_rows(x, columns, stride, order, first + i + LANES, n - i - LANES)
            panel_of_rows(x, columns, rows_from(order, stride, first + i, rows), rows, panel)


@device_function
def panel_of_numbers(
    x: Pointer, stride: int, order: Order, first: int, n: int, panel: Pointer
) -> None:
    """Put a number of each of n rows, eight at most, side by side; OUT panel (8,)."""
    if order[1] or stride > 1:
        store(panel, 0, zeros(panel))
        for i in range(n):
            panel[i] = number_at(x, row_at(order, first + i) * stride, panel)
    else:
        store(panel, 0, read_up_to(x, first, n, panel))


@device_function
def prefetch_rows(x: Pointer, columns: int, stride: int, order: Order, first: int, n: int) -> None:
    """Prefetch the next rows, eight at most, while those before them are read."""
    for i in range(first, first + min(n, LANES)):
        row = row_at(order, i) * stride
        for j in range(row, row + columns, in_line(x)):
            prefetch(x, j)
        prefetch(x, row + columns - 1)


@device_function
def rows_from(order: Order, stride: int, first: int, n: int) -> Rows:
    """Return where the n rows from `first` on begin, eight at most; the last one again for more."""
    return (
        row_at(order, first) * stride,
        row_at(order, first + min(1, n - 1)) * stride,
        row_at(order, first + min(2, n - 1)) * stride,
        row_at(order, first + min(3, n - 1)) * stride,
        row_at(order, first + min(4, n - 1)) * stride,
        row_at(order, first + min(5, n - 1)) * stride,
        row_at(order, first + min(6, n - 1)) * stride,
        row_at(order, first + min(7, n - 1)) * stride,
    )


@device_function
def panel_of_rows(x: Pointer, columns: int, rows: Rows, n: int, panel: Pointer) -> None:
    """Turn eight rows of x, of which n exist, into a panel; OUT panel (columns, 8)."""
    whole = columns // LANES * LANES if n == LANES else 0
    for j in range(0, whole, LANES):  # constants spare the masks of what does not exist
        store_first_of(
            columns_of(*eight_rows(x, j, LANES, LANES, rows, panel)), LANES, at(panel, j * LANES)
        )
    for j in range(whole, columns, LANES):
        c = columns_of(*eight_rows(x, j, n, columns - j, rows, panel))
        store_first_of(c, columns - j, at(panel, j * LANES))


@device_function
def eight_rows(
    x: Pointer, j: int, n: int, columns: int, rows: Rows, like: Pointer
) -> tuple[Vector, ...]:
    """Return eight columns, from j on, of eight rows; zero beyond n rows and these columns."""
    return (
        part_of_row(x, rows[0] + j, n > 0, columns, like),
        part_of_row(x, rows[1] + j, n > 1, columns, like),
        part_of_row(x, rows[2] + j, n > 2, columns, like),
        part_of_row(x, rows[3] + j, n > 3, columns, like),
        part_of_row(x, rows[4] + j, n > 4, columns, like),
        part_of_row(x, rows[5] + j, n > 5, columns, like),
        part_of_row(x, rows[6] + j, n > 6, columns, like),
        part_of_row(x, rows[7] + j, n > 7, columns, like),
    )


@device_function
def part_of_row(x: Pointer, i: int, exists: bool, columns: int, like: Pointer) -> Vector:
    """Return eight numbers of a row, zero beyond these columns and where the row does not exist."""
    return read_first(x, i, columns if exists else 0, like)


@device_function
def store_first_of(c: tuple[Vector, ...], n: int, result: Pointer) -> None:
    """Write the first n of eight vectors, all if more, one after the other; OUT result."""
    store(result, 0, c[0])
    if n > 1:
        store(result, 1 * LANES, c[1])
    if n > 2:
        store(result, 2 * LANES, c[2])
    if n > 3:
        store(result, 3 * LANES, c[3])
    if n > 4:
        store(result, 4 * LANES, c[4])
    if n > 5:
        store(result, 5 * LANES, c[5])
    if n > 6:
        store(result, 6 * LANES, c[6])
    if n > 7:
        store(result, 7 * LANES, c[7])


@subroutine
def side_by_side(panel: Pointer, n: int, stride: int, result: Pointer) -> None:
    """Put the n neurons of a panel side by side, eight at a time.

    panel (n, 8); OUT result (n/8, 8, 8) for the eight rows, zero beyond the neurons, `stride`
    numbers from eight neurons to the next ones.
    """
    for j in range(0, n, LANES):
        rows = (
            0, LANES, 2 * LANES, 3 * LANES, 4 * LANES, 5 * LANES, 6 * LANES, 7 * LANES
        )  # fmt: skip
        m = n - j
        p = at(panel, j * LANES)
        if m >= LANES:
            c = columns_of(*eight_rows(p, 0, LANES, LANES, rows, p))
        else:
            c = columns_of(*eight_rows(p, 0, m, LANES, rows, p))
        store_first_of(c, LANES, at(result, j // LANES * stride))
