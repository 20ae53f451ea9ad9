"""Ctrl-C at moments when an exception would be swallowed, or nothing is there yet to finish.

A fit under way is interrupted in ``test_driver.py`` and ``test_network_driver.py``.
"""

import signal
import subprocess
import sys
import textwrap

import pytest

import fastbp
from fastbp.system.interrupts import EXIT_CODE, leave_on_interrupt, raise_on_interrupt
from tests.problems import python

# Ctrl-C where LLVM asks for the machine code of a kernel that it is about to load, and where a
# module is imported: raised there, KeyboardInterrupt is lost, or ends in a crash.
PRESS = """
    import os, signal, sys
    from llvmlite.binding import ExecutionEngine

    pressed = []
    def press(times=1):
        if len(pressed) < times:
            pressed.append(1)
            signal.raise_signal(signal.SIGINT)
            press(times)

    def while_loading(times=1):
        original = ExecutionEngine.set_object_cache
        def pressing(hook):
            def called_back(*arguments):
                press(times)
                return hook(*arguments)
            return called_back
        ExecutionEngine.set_object_cache = lambda self, *hooks: original(self, *map(pressing, hooks))

    class Finder:
        def __init__(self, module):
            self.module = module
        def find_spec(self, name, path=None, target=None):
            if name == self.module:
                press()

    def while_importing(module):
        sys.meta_path.insert(0, Finder(module))
    """


def after_presses(code):
    return python(textwrap.dedent(PRESS) + textwrap.dedent(code))


@pytest.mark.parametrize(
    ("names", "times", "answers"),
    [
        (
            ["train_neuron", "fit_neuron", "predict_neuron", "fit_network", "predict_network"],
            1,
            "raised, raised, raised, raised, raised",
        ),
        (["make_neuron_dataset", "loss_and_gradient"], 1, "raised, raised"),
        (["fit_neuron"], 2, "raised"),
    ],
)
def test_none_is_lost_while_kernels_are_loaded(names, times, answers):
    printed = after_presses(
        f"""
        while_loading({times})
        import warnings
        from fastbp.warm_up import CALLS
        answers = []
        for name in {names}:
            pressed.clear()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    CALLS[name][0]()
                except KeyboardInterrupt:
                    answers.append("raised")
                else:
                    answers.append(" ".join(str(w.message).split()[0] for w in caught))
            assert len(pressed) == {times}
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            CALLS[name][0]()  # the kernel is as good as any
        print(", ".join(answers))
        """
    )
    assert printed == f"{answers}\n"


def test_compiling_ahead_ends_after_the_kernel_under_way():
    printed = after_presses(
        """
        while_loading()
        import fastbp
        from fastbp.warm_up import KERNELS
        try:
            fastbp.warmup("fit_neuron", "predict_neuron")
        except KeyboardInterrupt:
            print([kernel.__name__ for kernel in KERNELS if kernel.overloads])
        """
    )
    assert printed == "['neuron_steps']\n"


def test_a_handler_of_the_programs_own_is_called_afterwards():
    printed = after_presses(
        """
        while_loading()
        import fastbp
        from fastbp.models.neuron import KERNELS
        seen = []
        def handler(*arguments):
            seen.append(sum(len(kernel.overloads) for kernel in KERNELS))
        signal.signal(signal.SIGINT, handler)
        fastbp.predict_neuron([[1.0]], [1.0], 0.0)
        print(len(pressed), seen, signal.getsignal(signal.SIGINT) is handler)
        """
    )
    assert printed == "1 [1] True\n"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("interrupt") / "t.csv"
    lines = [f"{j % 7},{j % 11},{int(j % 7 > j % 11)}" for j in range(200)]
    path.write_text("\n".join(["a,b,y", *lines]) + "\n")
    return path


def ended(done):
    return (done.returncode, "interrupted" in done.stderr, "Traceback" in done.stderr)


@pytest.mark.parametrize(
    "moment",
    [f"while_importing({m!r})" for m in ("numba", "click", "pyarrow", "pandas", "tqdm.auto")]
    + ["while_loading()"],
)
def test_the_command_ends_whenever_it_is_pressed_before_training(table, moment):
    arguments = ["fastbp", "train", str(table), "--target", "y", "--epochs", "3", "--no-compare"]
    code = f"{moment}\nsys.argv = {arguments!r}\nfrom fastbp.__main__ import main\nmain()"
    command = [sys.executable, "-c", textwrap.dedent(PRESS) + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended(done) == (EXIT_CODE, True, False), done.stderr
    assert done.stdout == ""


# From when the command has begun: how far it is by then depends on the machine and its caches.
@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.6, 0.9, 1.5])
def test_the_command_ends_at_any_time(table, seconds):
    code = """
        import signal, sys
        original = signal.signal
        def begun(*arguments):
            before = original(*arguments)
            print("begun", flush=True)
            signal.signal = original
            return before
        signal.signal = begun
        from fastbp.__main__ import main
        main()
        """
    arguments = ["train", str(table), "--target", "y", "--epochs", "1000000000", "--hidden", "8"]
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "begun\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(seconds)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == EXIT_CODE
    assert "interrupted" in stderr and "Traceback" not in stderr


def test_predictions_cut_short_leave_no_file(table, tmp_path):
    from fastbp.command import app

    model, out = tmp_path / "model", tmp_path / "out.csv"
    train = ["train", str(table), "--target", "y", "--epochs", "3", "--save", str(model)]
    app.command(train, standalone_mode=False)
    before = sorted(tmp_path.iterdir())
    arguments = ["fastbp", "predict", str(model), str(table), "--out", str(out)]
    code = f"while_loading()\nsys.argv = {arguments!r}\nfrom fastbp.__main__ import main\nmain()"
    command = [sys.executable, "-c", textwrap.dedent(PRESS) + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended(done) == (EXIT_CODE, True, False), done.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_only_pythons_own_handler_is_replaced():
    original = signal.getsignal(signal.SIGINT)
    try:
        for handler in (signal.SIG_IGN, lambda *_: None):
            signal.signal(signal.SIGINT, handler)
            leave_on_interrupt()
            assert signal.getsignal(signal.SIGINT) is handler
            raise_on_interrupt()
            assert signal.getsignal(signal.SIGINT) is handler
        signal.signal(signal.SIGINT, signal.default_int_handler)
        leave_on_interrupt()
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        raise_on_interrupt()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, original)


def test_importing_the_package_waits_with_the_rest():
    printed = python(
        """
        import sys, fastbp
        before = "numba" in sys.modules
        names = dir(fastbp)
        between = "numba" in sys.modules
        fastbp.train_neuron
        print(before, between, "numba" in sys.modules, set(fastbp.__all__) <= set(names))
        """
    )
    assert printed == "False False True True\n"
    with pytest.raises(AttributeError, match="nothing"):
        fastbp.nothing  # noqa: B018
