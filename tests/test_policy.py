"""The JIT policy, and what the package promises as a whole."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

import fastbp
from tests.problems import python

PACKAGE = Path(fastbp.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
DECORATORS = {"kernel", "device_function", "subroutine", "template"}


def names_in(node):
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} | {
        n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)
    }


def jit_violations(source, is_jit_module):
    tree = ast.parse(source)
    found = []
    for node in ast.walk(tree):
        imported = (
            [a.name for a in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        )
        if not is_jit_module and {"njit", "jit", "prange", "vectorize", "guvectorize"} & set(
            imported
        ):
            found.append(f"line {node.lineno}: imports Numba's decorators")
        if (
            isinstance(node, ast.Attribute)
            and not is_jit_module
            and node.attr in ("njit", "prange")
        ):
            found.append(f"line {node.lineno}: uses numba.{node.attr}")
        if isinstance(node, ast.keyword) and node.arg in ("parallel", "fastmath"):
            found.append(f"line {node.value.lineno}: sets {node.arg}")
        if isinstance(node, ast.FunctionDef):
            for inner in ast.walk(node):
                if inner is not node and isinstance(inner, ast.FunctionDef):
                    decorated = set().union(*map(names_in, inner.decorator_list), set())
                    if decorated & (DECORATORS | {"njit"}):
                        found.append(f"line {inner.lineno}: compiles inside a function")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_one_file_holds_the_jit_policy(path):
    assert jit_violations(path.read_text(), path.name == "jit.py") == []


@pytest.mark.parametrize(
    "source",
    [
        "from numba import njit",
        "import numba\n@numba.njit\ndef f(): pass",
        "def f():\n    @kernel\n    def g(): pass",
        "f(fastmath=True)",
        "g(parallel=True)",
    ],
)
def test_the_check_sees_a_violation(source):
    assert jit_violations(source, False)


def test_everything_public_is_documented():
    for name in fastbp.__all__:
        assert getattr(fastbp, name).__doc__, name
    documented = set(re.findall(r"\w+", fastbp.__doc__)) | {"__version__"}
    assert documented >= set(fastbp.__all__)
    assert len(fastbp.__doc__.splitlines()) <= 60


def test_tests_and_extras_agree():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"])
    assert extras == {
        "all",
        "bench",
        "cli",
        "cluster",
        "dev",
        "estimators",
        "files",
        "peers",
        "plot",
        "test",
    }
    everything = project["optional-dependencies"]["all"][0]
    assert set(everything.removeprefix("fastbp[").rstrip("]").split(",")) == extras - {
        "all",
        "peers",
    }
    assert "Python :: 3.11" in " ".join(project["classifiers"])


def test_oracles_never_import_the_package():
    tree = ast.parse((Path(__file__).parent / "reference.py").read_text())
    assert not any(
        "fastbp" in ast.dump(n)
        for n in ast.walk(tree)
        if isinstance(n, ast.Import | ast.ImportFrom)
    )


def test_type_checkers_see_the_names_that_are_imported_when_used():
    tree = ast.parse(Path(fastbp.__file__).read_text())
    seen = {
        alias.name: node.module.removeprefix("fastbp").lstrip(".")
        for block in ast.walk(tree)
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {**fastbp._HOME_OF, "datasets": "", "schedules": ""}
    assert sorted(fastbp.__all__) == sorted([*seen, "__version__"])


def test_all_names_can_be_imported_without_scikit_learn():
    code = """
        import sys
        sys.modules["sklearn"] = None
        from fastbp import *
        import fastbp
        print(sorted(fastbp._HOME_OF.keys() - fastbp.__all__))
        """
    missing = ["MLPClassifier", "MLPRegressor", "NeuronClassifier", "NeuronRegressor"]
    assert python(code) == f"{missing}\n"
