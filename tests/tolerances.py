"""Tolerances by name, each with its reason."""

ROUNDING = 1e-11
"""Relative: two orders of summation over some hundred rows and ten epochs, 1e-13 as a rule."""

SQUARED_ROUNDING = 1e-18
"""Absolute, of a loss: an error a - y of 1e-3 that is off by 1e-16 is squared to within 2e-19."""

ONE_UNIT_IN_FOURTH_DECIMAL = 1.0000001e-4
"""A value within 1e-12 of a rounding tie may fall either way."""

CENTRAL_DIFFERENCE = 5e-6
"""Relative: a step of 1e-5 leaves an error of 1e-10 from the third derivative and 1e-11 / 1e-5
from the rounding of the loss."""

ULPS = 2.0
"""Of the vectorised functions, promised over their whole range."""
