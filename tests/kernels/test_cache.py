"""Cached kernels: never stale, never in the way, never anybody else's."""

import io
import os
import pickle
import re
import shutil
import stat
import sys
import textwrap
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import fastbp
from fastbp.command.app import command
from fastbp.kernels import cache, neuron
from fastbp.kernels.jit import JIT_ENABLED, kernel
from fastbp.system.progress import warmup_bar
from fastbp.system.versions import kernel_cache
from tests.problems import python

pytestmark = pytest.mark.skipif(not JIT_ENABLED, reason="without the JIT nothing is cached")
PACKAGE = Path(fastbp.__file__).parent


def cut(content):
    return content[: len(content) // 2]


def clear(_):
    return b""


def flip_a_bit(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


class TestFreshProcesses:
    CODE = """
        import numpy as np, fastbp
        from fastbp.kernels.neuron import neuron_outputs
        print(fastbp.predict_neuron([[3.0]], [1.0], 0.0, activation="identity")[0])
        print(sum(neuron_outputs.stats.cache_hits.values()))
        """

    @pytest.fixture
    def copy(self, tmp_path):
        """A copy of the package, with a cache of its own."""
        shutil.copytree(PACKAGE, tmp_path / "fastbp", ignore=shutil.ignore_patterns("__pycache__"))
        return tmp_path

    def run(self, folder, **environment):
        code = f"import sys; sys.path.insert(0, {str(folder)!r})\n" + textwrap.dedent(self.CODE)
        environment.setdefault("NUMBA_CACHE_DIR", str(folder / "cache"))
        value, hits = python(code, **environment).split()
        return float(value), int(hits)

    def test_an_edited_callee_in_another_file_is_seen(self, copy):
        assert self.run(copy) == (3.0, 0)
        assert self.run(copy) == (3.0, 1)
        callee = copy / "fastbp" / "kernels" / "activations.py"
        times = callee.stat()
        edited = callee.read_text().replace("        a = z\n", "        a = z + z\n", 1)
        callee.write_text(edited)
        os.utime(callee, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert self.run(copy) == (6.0, 0)

    def test_a_read_only_install_without_a_writable_home(self, copy):
        for path in [copy, *copy.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        nowhere = {"HOME": "/dev/null", "XDG_CACHE_HOME": "", "LOCALAPPDATA": "/dev/null"}
        try:
            assert self.run(copy, NUMBA_CACHE_DIR="", **nowhere) == (3.0, 0)
        finally:
            for path in [copy, *copy.rglob("*")]:
                path.chmod(0o755)

    def test_an_install_without_source_files(self, tmp_path):
        path = tmp_path / "fastbp.zip"
        with zipfile.ZipFile(path, "w") as file:
            for source in PACKAGE.rglob("*.py"):
                file.write(source, source.relative_to(PACKAGE.parent))
        code = f"""
            import sys; sys.path.insert(0, {str(path)!r})
            import fastbp
            from fastbp.system.versions import kernel_cache
            print(kernel_cache(), fastbp.warmup("predict_neuron").not_kept, sep="\\n")
            """
        reason = "fastbp is installed without its source files"
        assert python(code) == f"none: {reason}\n{reason}\n"


def answer(x):
    return x + x


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache" / "fastbp-1"


def hits(folder):
    """Call a kernel as a new process would; return how often its code came from the cache."""
    function = kernel(answer)
    function._cache = cache.KernelCache(answer, folder)
    assert function(21.0) == 42.0
    return sum(function.stats.cache_hits.values())


def test_a_cache_is_for_the_user_alone(folder):
    previous = os.umask(0)
    try:
        assert [hits(folder), hits(folder)] == [0, 1]
    finally:
        os.umask(previous)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_other_versions_compiled_goes_when_it_is_not_used(tmp_path):
    """Only folders of the cache, and not those that any version has used for some weeks."""
    base = tmp_path / "cache"
    names = ("fastbp-0123456789abcdef", "fastbp-fedcba9876543210", "fastbp-mine", "other")
    for name in names:
        (base / name).mkdir(parents=True, mode=0o700)
        (base / name / "file").write_bytes(b"1")
    old = time.time() - cache.KEPT_SECONDS - 60.0
    for name in (names[0], *names[2:]):
        os.utime(base / name, (old, old))
    folder = base / "fastbp-aaaaaaaaaaaaaaaa"
    assert hits(folder) == 0
    assert {path.name for path in base.iterdir()} == {*names[1:], folder.name}
    os.utime(folder, (old, old))
    assert hits(folder) == 1
    assert folder.stat().st_mtime > old + 60.0


@pytest.mark.parametrize("damage", [cut, clear, flip_a_bit])
def test_damaged_files_mean_compiling_again(folder, damage):
    hits(folder)
    (file,) = folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert [hits(folder), hits(folder)] == [0, 1]


def test_a_file_under_the_name_of_another_is_not_run(folder):
    hits(folder)
    (file,) = folder.iterdir()
    other = folder.with_name("fastbp-2")
    other.mkdir()
    shutil.copy(file, other)
    assert hits(other) == 0


class Planted:
    def __reduce__(self):
        return Path.touch, (Path("planted"),)


@pytest.mark.parametrize("open_to_all", ["folder", "file"])
def test_what_others_can_write_to_is_not_run(folder, open_to_all, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hits(folder)
    (file,) = folder.iterdir()
    payload = pickle.dumps(Planted())
    file.write_bytes(cache._digest(folder, file.name, payload) + payload)
    path = {"folder": folder, "file": file}[open_to_all]
    path.chmod(0o777)
    with pytest.warns(RuntimeWarning, match=f"not used: {path}: others can write to it"):
        assert hits(folder) == 0
    assert not Path("planted").exists()
    if open_to_all == "folder":  # nor is anything written there
        assert file.read_bytes().endswith(payload)
        assert "others can write to it" in cache.KernelCache.failure


def test_what_belongs_to_somebody_else_is_not_used(folder, monkeypatch):
    hits(folder)
    trusted = cache.why_not_trusted(folder.stat(), stat.S_ISDIR)
    assert trusted == ""
    for owner, reason in [(os.geteuid() + 1, "it belongs to another user"), (0, "")]:
        status = SimpleNamespace(st_mode=stat.S_IFDIR | 0o755, st_uid=owner)
        assert cache.why_not_trusted(status, stat.S_ISDIR).startswith(reason)
        assert bool(reason) == bool(cache.why_not_trusted(status, stat.S_ISDIR))
    monkeypatch.setattr(cache, "why_not_trusted", lambda *_: "it belongs to another user (7)")
    with pytest.warns(RuntimeWarning, match=r"another user \(7\)"):
        assert hits(folder) == 0


@pytest.mark.parametrize("call", ["predict_neuron", "NeuronRegressor"])
def test_the_warning_is_about_the_users_line(call, tmp_path):
    folder = tmp_path / cache.cache_folder().name
    folder.mkdir()
    folder.chmod(0o777)
    script = tmp_path / "script.py"
    lines = {
        "predict_neuron": "fastbp.predict_neuron([[3.0]], [1.0], 0.0)",
        "NeuronRegressor": "fastbp.NeuronRegressor(tol=None, max_iter=1).fit([[3.0], [1.0]], [1, 2])",
    }
    script.write_text(f"import fastbp\n\n{lines[call]}\n")
    run = f"import runpy, sys; sys.stderr = sys.stdout; runpy.run_path({str(script)!r})"
    told = python(run, NUMBA_CACHE_DIR=str(tmp_path))
    warnings = re.findall("(.*): RuntimeWarning: the kernel cache is not used", told)
    assert warnings == [f"{script}:3"]  # once, though there are several kernels


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_planted_link_is_not_followed(folder, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    folder.parent.mkdir()
    folder.symlink_to(target)
    with pytest.warns(RuntimeWarning, match="it is a link or of another kind"):
        assert hits(folder) == 0
    assert not list(target.iterdir())


def not_a_folder(path):
    path.touch()
    return f"{path} cannot be written to"


def open_to_all(path):
    folder = path / cache.cache_folder().name
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    return f"{folder} is not used: others can write to it"


@pytest.mark.filterwarnings("ignore:the kernel cache is not used")
@pytest.mark.parametrize("spoil", [not_a_folder, open_to_all])
def test_warmup_says_that_nothing_is_kept(spoil, tmp_path, monkeypatch):
    path = tmp_path / "chosen"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(path))
    reason = spoil(path)
    assert kernel_cache() == f"none: {reason}"
    fresh = kernel(neuron.neuron_outputs.py_func)
    monkeypatch.setattr(neuron, "neuron_outputs", fresh)
    monkeypatch.setattr("fastbp.warm_up.KERNELS", (fresh,))
    result = CliRunner().invoke(command, ["warmup", "predict_neuron"])
    assert result.exit_code == 1
    assert f"not kept: {reason}" in result.stdout


def test_a_failed_write_is_told(folder, monkeypatch):
    monkeypatch.setattr(cache, "dumps", lambda _: 1 // 0)
    hits(folder)
    assert cache.why_not_kept() == f"{folder}: integer division or modulo by zero"
    monkeypatch.undo()
    hits(folder)
    assert cache.why_not_kept() == ""


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_is_told_once_that_kernels_are_compiled(folder, terminal, monkeypatch):
    shown = io.StringIO()
    shown.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(cache.KernelCache, "announced", False)
    hits(None)
    hits(folder)
    hits(folder)
    message = "fastbp: compiling for this processor, which takes some seconds once\n"
    assert shown.getvalue() == (message if terminal else "")


def test_a_bar_tells_it_already(folder, monkeypatch, capsys):
    monkeypatch.setattr(cache.KernelCache, "announced", False)
    assert list(warmup_bar("always", ["fit_neuron"])) == ["fit_neuron"]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    capsys.readouterr()
    hits(folder)
    assert capsys.readouterr().err == ""
