"""The distinct labels of an array."""

import numpy as np
import pytest

from fastbp.data.classes import whole_number_classes

NUMBERS = [0, 1, 1, 3, 0, 3, 3, 1, 0, 3]


@pytest.mark.parametrize("offset", [0, 5, -2, -128])
@pytest.mark.parametrize("dtype", "?bBhHiIlLqQefd")
def test_whole_numbers_have_the_classes_of_numpy(dtype, offset):
    if np.dtype(dtype).kind in "u?" and offset < 0:
        pytest.skip("no such numbers")
    labels = (np.array(NUMBERS) + offset).astype(dtype)
    if dtype == "?":
        labels = np.array(NUMBERS) > 1
    for array in (labels, labels[::-1], np.repeat(labels, 2)[::2]):
        classes, indices = whole_number_classes(array)
        expected, inverse = np.unique(array, return_inverse=True)
        assert classes.dtype == expected.dtype and indices.dtype == np.float64
        np.testing.assert_array_equal(classes, expected)
        np.testing.assert_array_equal(indices, inverse)


@pytest.mark.parametrize(
    "labels",
    [
        [],
        [np.nan] * 10,
        [0.0, 1.0, np.nan, 1.0, 0.0, 1.0],
        [np.inf] * 10,
        [0.0, 0.5, 1.0, 1.0, 0.0, 1.0],
        [0.5, 1.5, 0.5, 1.5, 0.5, 1.5],
        [0, 1, 2, 3],  # as many as would be numbers to predict
        [0, 2000] * 2000,
        [2**63, 2**63 + 1] * 5,
        [-(2**63), -(2**63) + 1] * 5,
        [1e300] * 10,
        ["a", "b"] * 5,
        [1 + 0j] * 10,
    ],
    ids=lambda labels: str(labels[:6]),
)
def test_all_else_is_left_to_numpy(labels):
    assert whole_number_classes(np.array(labels)) is None
