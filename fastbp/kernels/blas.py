"""The matrix product of SciPy's BLAS, called from inside a kernel through its address.

The address is an argument like any other: a pointer that is part of the code would switch the
kernel cache off.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from fastbp.kernels.vector import FLOATS, Pointer, compiled_as

_CHARACTER = ir.IntType(8)
_INTEGER = ir.IntType(32)  # of SciPy's Cython interface, whatever the BLAS behind it uses
_FLOAT = ir.DoubleType()


def gemm_address() -> int:
    """Return the address of SciPy's dgemm."""
    from numba.extending import get_cython_function_address

    return int(get_cython_function_address("scipy.linalg.cython_blas", "dgemm"))


def gemm(
    address: int,
    a_transposed: bool,
    b_transposed: bool,
    rows: int,
    columns: int,
    terms: int,
    a: Pointer,
    b: Pointer,
    factor: float,
    c: Pointer,
) -> None:
    """Compute c = a b + factor c for contiguous row-major matrices; ACC c.

    c is (rows, columns), a (rows, terms) and b (terms, columns), each after its transposition, if
    requested. A factor of 0 overwrites c whatever it held.
    """
    left = a[: rows * terms].reshape((terms, rows) if a_transposed else (rows, terms))
    right = b[: terms * columns].reshape((columns, terms) if b_transposed else (terms, columns))
    product = (left.T if a_transposed else left) @ (right.T if b_transposed else right)
    result = c[: rows * columns].reshape(rows, columns)
    result[:] = product if factor == 0.0 else product + factor * result


@compiled_as(
    gemm, types.void, types.Integer, *[types.Boolean] * 2, *[types.Integer] * 3, FLOATS, FLOATS,
    types.float64, FLOATS,
)  # fmt: skip
def _(builder: Any, address: ir.Value, *values: ir.Value) -> None:
    a_transposed, b_transposed, rows, columns, terms, a, b, factor, c = values

    # BLAS counts columns first, which makes every matrix here its own transpose: c' = b' a'.
    def by_address(value: ir.Value) -> ir.Value:
        return cgutils.alloca_once_value(builder, value)

    def flag(transposed: ir.Value) -> ir.Value:
        yes, no = (ir.Constant(_CHARACTER, ord(letter)) for letter in "TN")
        return by_address(builder.select(transposed, yes, no))

    def size(value: ir.Value) -> ir.Value:
        return by_address(builder.trunc(value, _INTEGER))

    one = ir.Constant(_FLOAT, 1.0)
    arguments = [
        flag(b_transposed),
        flag(a_transposed),
        size(columns),
        size(rows),
        size(terms),
        by_address(one),
        b,
        size(builder.select(b_transposed, terms, columns)),
        a,
        size(builder.select(a_transposed, rows, terms)),
        by_address(factor),
        c,
        size(columns),
    ]
    signature = ir.FunctionType(ir.VoidType(), [value.type for value in arguments])
    builder.call(builder.inttoptr(address, signature.as_pointer()), arguments)
