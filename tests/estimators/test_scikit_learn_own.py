"""scikit-learn's own tests of its multi-layer perceptrons, run on fastbp's: only names are swapped.

They are those of the installed release; nothing of them is kept here.
"""

import importlib.util
import re
import sys
import types
from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
IMPORTED = re.compile(r"^from sklearn\.neural_network import .*$", re.MULTILINE)


def _swapped() -> types.ModuleType:
    """Return scikit-learn's test module with our two classes in it."""
    found = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    assert found is not None and found.origin is not None
    path = Path(found.origin)
    source, count = IMPORTED.subn(
        "from fastbp import MLPClassifier, MLPRegressor", path.read_text(encoding="utf-8")
    )
    assert count == 1
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
