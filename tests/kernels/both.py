"""Both types of arithmetic: what is tested in each, and what float32 may lose."""

import numpy as np
import pytest

from tests.tolerances import ROUNDING

SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
both = pytest.mark.parametrize("dtype", [DOUBLE, SINGLE], ids=str)

SINGLE_ROUNDING = 1e-6
"""Relative, of a formula: 17 units of float32's last place, 2**-24, where the least accurate
function, the derivative of tanh, is off by 4.2 and a formula rounds a few times more."""

SINGLE_STEPS = 1e-5
"""Relative, of some ten updates, each with sums over some hundred numbers: their errors of 2**-24
add up like a random walk, ten times as far as one formula's."""

FORMULA = {DOUBLE: ROUNDING, SINGLE: SINGLE_ROUNDING}
STEPS = {DOUBLE: ROUNDING, SINGLE: SINGLE_STEPS}


def in_both(numbers):
    """The nearest numbers that both types have, as float64."""
    return np.asarray(numbers).astype(SINGLE).astype(DOUBLE)


def assert_close(found, expected, dtype, by=STEPS, least=1.0):
    """Equal to rounding of arithmetic in this type, relative to what is no less than `least`."""
    found = np.asarray(found)
    rtol = by[dtype]
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * least)
