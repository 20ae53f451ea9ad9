"""scikit-learn's checks of estimators, as parameters of a test."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks


def checked(*estimators):
    """Return what `parametrize_with_checks` does, from a list: older releases give a generator."""
    mark = parametrize_with_checks(list(estimators)).mark
    names, checks = mark.args
    return pytest.mark.parametrize(names, list(checks), **mark.kwargs)
