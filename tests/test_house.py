"""The house: which file may import which, what files are called, and how large parts may be."""

import ast
import functools
import re
from collections import deque
from pathlib import Path

import pytest

import fastbp

TOP = Path(fastbp.__file__).parents[1]

# A room imports from itself and from rooms further down; what serves all imports from none.
ROOMS = {
    "__main__": 0, "command": 1, "warm_up": 2, "storage": 3, "datasets": 4, "plots": 5,
    "schedules": 6, "estimators": 7, "models": 8, "training": 9, "data": 10, "system": 11,
    "kernels": 12,
}  # fmt: skip
SERVES_ALL = {"arguments", "errors", "_version"}  # but the kernels, which know nothing but kernels

BENCH = {
    **dict.fromkeys(
        ("accuracy", "cluster", "compare", "estimators", "gate", "more_rows", "prove", "report"), 0
    ),
    **dict.fromkeys(("charts", "machine", "readme", "saved", "worker"), 1),  # what they share
    "workloads": 2,
    **dict.fromkeys(("avx2", "cases", "providers", "timing"), 3),
}  # tests and conftest stand above all of these

OPTIONAL = {  # packages that a user need not have, and where alone they are imported
    "sklearn": ("estimators/",),
    "torch": ("estimators/",),
    "pandas": ("data/frames.py",),
    "polars": ("data/frames.py",),
    "pyarrow": ("data/frames.py", "data/sources/", "command/"),
    "click": ("command/",),
    "rich": ("command/",),
    "matplotlib": ("plots.py",),
    "dask": ("data/sources/", "training/cluster/"),
    "distributed": ("training/cluster/", "command/"),
    "joblib": (),
}

LONGEST_FUNCTION, LONGEST_CLASS, LONGEST_FILE = 60, 250, 500
MAY_BE_LONGER = {  # kernels of networks belong together; the others are documentation for the most
    "fastbp/kernels/network.py",
    "fastbp/estimators/mlp/classifier.py",
    "fastbp/estimators/mlp/regressor.py",
    "fastbp/estimators/neuron/classifier.py",
    "fastbp/estimators/neuron/regressor.py",
}


def sources(package):
    return {
        path.relative_to(TOP).as_posix(): path.read_text()
        for path in sorted((TOP / package).rglob("*.py"))
    }


def module_of(path):
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@functools.cache
def imported_by(source):
    """The line and full name of all that is imported, also in functions and for type checkers."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = "." * node.level + (node.module or "")
            found += [(node.lineno, f"{above}.{alias.name}") for alias in node.names]
    return found


def edges_of(files):
    """The modules of these files that each of them imports."""
    modules = {module_of(path) for path in files}
    edges = {}
    for path, source in files.items():
        found = edges[module_of(path)] = {}
        for line, name in imported_by(source):
            assert not name.startswith("."), f"{path}:{line} imports from a relative name"
            while name and name not in modules:  # the rest is a name in the module
                name = name.rpartition(".")[0]
            if name and name != module_of(path):
                found[name] = line
    return edges


def room_of(module):
    return module.split(".")[1] if "." in module else ""


def upward_imports(files):
    """Imports within fastbp from a room further up."""
    found = []
    for module, edges in edges_of(files).items():
        if module == "fastbp":  # which imports what is asked for, when it is
            continue
        own = room_of(module)
        for other, line in edges.items():
            room = room_of(other)
            if own in SERVES_ALL:
                allowed = room in SERVES_ALL
            elif own == "kernels":
                allowed = room == "kernels"
            else:
                allowed = room in SERVES_ALL or ROOMS[own] <= ROOMS.get(room, -1)
            if not allowed:
                found.append(f"{module}:{line} imports {other}")
    return found


def upward_imports_of_bench(files):
    """Imports from what stands above: tests, commands, what they share, workloads, the rest."""
    return [
        f"{module}:{line} imports {other}"
        for module, edges in edges_of(files).items()
        for other, line in edges.items()
        if other != "bench" and BENCH.get(room_of(module), -1) > BENCH.get(room_of(other), -1)
    ]


def way_back(start, edges):
    """The files of the shortest circle from this one, or none."""
    ways, seen = deque([[start]]), set()
    while ways:
        way = ways.popleft()
        for other in sorted(edges.get(way[-1], ())):
            if other == start:
                return way
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return []


def circles(files):
    """Files that import each other, by whatever way: the shortest circle of each, once."""
    edges = edges_of(files)
    edges.pop("fastbp", None)
    found = [way_back(start, edges) for start in sorted(edges)]
    return [" -> ".join([*way, way[0]]) for way in found if way and way[0] == min(way)]


def wrong_file_names(paths):
    """Files and folders with a leading underscore, which is for names inside of a file."""
    return [
        path
        for path in paths
        if any(
            part.startswith("_") and part != "_version" and not part.startswith("__")
            for part in path.removesuffix(".py").split("/")
        )
    ]


def misplaced_packages(files):
    """Optional packages that are imported outside their room."""
    return [
        f"{path}:{line} imports {name}"
        for path, source in files.items()
        for line, name in imported_by(source)
        if (package := name.split(".")[0]) in OPTIONAL
        and not path.removeprefix("fastbp/").startswith(OPTIONAL[package])
    ]


def too_long(files):
    """Files, and functions and classes without their docstring, that are longer than allowed."""
    found = []
    for path, source in files.items():
        if source.count("\n") > LONGEST_FILE and path not in MAY_BE_LONGER:
            found.append(f"{path}: {source.count(chr(10))} lines")
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            most = LONGEST_CLASS if isinstance(node, ast.ClassDef) else LONGEST_FUNCTION
            if lines > most:
                found.append(f"{path}: {node.name}: {lines} lines")
    return found


FASTBP, BENCHMARKS = sources("fastbp"), sources("bench")


def test_rooms_import_downward_only():
    assert upward_imports(FASTBP) == []
    assert {room_of(module_of(path)) for path in FASTBP} == {"", *ROOMS, *SERVES_ALL}


def test_benchmarks_import_in_one_direction():
    assert upward_imports_of_bench(BENCHMARKS) == []
    rooms = {room_of(module_of(path)) for path in BENCHMARKS} - {"", "conftest"}
    assert set(BENCH) == {room for room in rooms if not room.startswith("test_")}


def test_files_import_in_no_circle():
    assert circles(FASTBP) == circles(BENCHMARKS) == []


def test_no_file_is_private():
    assert wrong_file_names(FASTBP) == []


def test_optional_packages_stay_in_their_rooms():
    assert misplaced_packages(FASTBP) == []


def test_functions_classes_and_files_are_short():
    assert too_long(FASTBP) == []


# --- each check sees what it is for -------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("fastbp/system/new.py", "from fastbp.data import rows"),
        ("fastbp/data/new.py", "def f():\n    import fastbp.training.run"),
        ("fastbp/models/new.py", "if TYPE_CHECKING:\n    from fastbp import datasets"),
        ("fastbp/training/new.py", "from fastbp import fit_neuron"),
        ("fastbp/kernels/new.py", "from fastbp import errors"),
        ("fastbp/kernels/new.py", "from fastbp.system.threads import team"),
        ("fastbp/errors.py", "from fastbp.kernels import layout"),
    ],
)
def test_an_upward_import_is_seen(path, source):
    (found,) = upward_imports({**FASTBP, path: source})
    assert found.startswith(module_of(path))


def test_an_upward_import_of_bench_is_seen():
    files = {**BENCHMARKS, "bench/timing.py": "def f():\n    from bench.workloads import neurons"}
    assert upward_imports_of_bench(files) == ["bench.timing:2 imports bench.workloads.neurons"]
    files = {**BENCHMARKS, "bench/charts.py": "from bench import report"}
    assert upward_imports_of_bench(files) == ["bench.charts:1 imports bench.report"]


def test_a_circle_is_seen():
    files = {
        "fastbp/data/a.py": "from fastbp.data.b import x",
        "fastbp/data/b.py": "def f():\n    from fastbp.data import c",
        "fastbp/data/c.py": "if TYPE_CHECKING:\n    from fastbp.data.a import y",
        "fastbp/data/d.py": "import fastbp.data.a\nfrom fastbp.data import e",
        "fastbp/data/e.py": "import numpy",
    }
    assert circles(files) == ["fastbp.data.a -> fastbp.data.b -> fastbp.data.c -> fastbp.data.a"]
    assert circles({**files, "fastbp/data/c.py": ""}) == []


def test_a_private_file_is_seen():
    wrong = ["fastbp/_own.py", "fastbp/_own/__init__.py", "fastbp/data/_version_of.py"]
    right = ["fastbp/_version.py", "fastbp/__main__.py", "fastbp/data/__init__.py"]
    assert wrong_file_names([*wrong, *right]) == wrong


@pytest.mark.parametrize("package", OPTIONAL)
def test_a_misplaced_package_is_seen(package):
    source = f"def f():\n    from {package}.part import name"
    assert misplaced_packages({"fastbp/training/new.py": source})
    for place in OPTIONAL[package]:
        path = f"fastbp/{place}" if place.endswith(".py") else f"fastbp/{place}new.py"
        assert misplaced_packages({path: source}) == []


def test_what_is_too_long_is_seen():
    function = 'def f():\n    """One.\n\n    Two.\n    """\n' + "    x = 1\n" * 59
    long_class = "class C:\n" + "    x = 1\n" * 249
    assert too_long({"fastbp/a.py": function}) == too_long({"fastbp/a.py": long_class}) == []
    assert too_long({"fastbp/a.py": function + "    x = 1\n"}) == ["fastbp/a.py: f: 61 lines"]
    assert too_long({"fastbp/a.py": long_class + "    x = 1\n"}) == ["fastbp/a.py: C: 251 lines"]
    assert too_long({"fastbp/a.py": "x = 1\n" * 501}) == ["fastbp/a.py: 501 lines"]
    assert too_long({"fastbp/kernels/network.py": "x = 1\n" * 501}) == []


@pytest.mark.parametrize(
    "package", [p for p in sources("fastbp") if p.count("/") > 1 and p.endswith("__init__.py")]
)
def test_a_folder_says_what_each_of_its_files_is_for(package):
    told = ast.get_docstring(ast.parse(sources("fastbp")[package]))
    folder = (TOP / package).parent
    files = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
    files |= {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}
    named = set(re.findall(r"\b\w+(?:\.py\b|/(?=[,`\s]))", told))
    assert named == files
