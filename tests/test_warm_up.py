"""Compiling ahead of time: what is asked for, all that it needs, and what is said of it."""

import ast
import re
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner

import fastbp
from fastbp.command.app import command
from fastbp.warm_up import CALLS, KERNELS, Readiness, Warmup
from tests.problems import python

SOURCES = sorted((Path(fastbp.__file__).parent / "kernels").glob("*.py"))


def test_every_kernel_is_known():
    decorated = {
        node.name
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        if "kernel" in {getattr(decorator, "id", None) for decorator in node.decorator_list}
    }
    assert {kernel.__name__ for kernel in KERNELS} == decorated


# Every kind of argument, and what must be as it was when all have been used.
PREPARE = """
    import os, tempfile, warnings
    import numpy as np, pandas, pyarrow, fastbp
    from fastbp import SGD, datasets, fit_network, fit_neuron, predict_network, predict_neuron
    from fastbp.warm_up import KERNELS
    from numba.core.event import install_recorder

    warnings.simplefilter("ignore")
    folder = tempfile.TemporaryDirectory()
    path = folder.name + "/"
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 4)), (rng.random(300) > 0.5).astype(float)
    w, random = np.zeros(4), np.random.default_rng(1)
    np.save(path + "x.npy", np.column_stack([x, y]))
    np.save(path + "x32.npy", x.astype(np.float32))
    pandas.DataFrame(np.column_stack([x, y]), columns=list("abcdy")).to_csv(path + "x.csv", index=False)
    locked = x.copy()
    locked.flags.writeable = False
    arrays = [
        x, locked, x.tolist(), x.astype(np.float32), x.astype(int), x > 0.0, np.asfortranarray(x),
        np.repeat(x, 2, axis=0)[::2], np.repeat(x, 2, axis=1)[:, ::2], x[::-1], x.astype(">f8"),
        np.load(path + "x32.npy", mmap_mode="r"), np.load(path + "x.npy", mmap_mode="r")[:, :4],
        pandas.DataFrame(x), pyarrow.table({str(j): x[:, j] for j in range(4)}),
        fastbp.open_rows(path + "x32.npy"), fastbp.open_rows(lambda: iter([x[:170], x[170:]])),
    ]
    carrying = [
        fastbp.open_rows(path + "x.npy", target=4), fastbp.open_rows(path + "x.csv", target="y"),
        fastbp.open_rows(lambda: iter([(x[:170], y[:170]), (x[170:], y[170:])])),
    ]
    labels = [y, y.astype(int), y > 0.0, y.tolist(), y[:, None], y.astype(np.float32), y[::-1]]
    keywords = [
        {"batch_size": 1}, {"batch_size": 7}, {"batch_size": 7, "optimizer": "adam"}, {"n_threads": 2},
        {"optimizer": SGD(momentum=0.9, nesterov=True)}, {"optimizer": "adam"}, {"alpha": 0.1},
        {"batch_size": 7, "alpha": 0.1}, {"sample_weight": y + 1.0}, {"sample_weight": [1] * 300},
        {"batch_size": 1, "sample_weight": y + 1.0}, {"batch_size": 7, "sample_weight": y + 1.0},
        {"shuffle": True, "random_state": random}, {"shuffle": "window", "batch_size": 7},
        {"shuffle": True, "batch_size": 1}, {"shuffle": True, "batch_size": 7},
        {"tol": 0.1, "n_iter_no_change": 1}, {"validation": 0.2}, {"validation": (x, y, y + 1.0)},
        {"validation": 0.2, "tol": 0.1, "shuffle": True}, {"callback": lambda state: None},
        {"checkpoint": path + "c", "checkpoint_every": 0.0},
    ]
    def fits(fit, start, **how):
        for array in arrays:
            fit(array, y, *start, 0.1, 2, **how)
            fit(array, y, *start, 0.1, 2, shuffle="window", batch_size=64, **how)
        for rows in carrying:
            fit(rows, None, *start, 0.1, 2, **how)
        for label in labels:
            fit(x, label, *start, lambda epoch: 0.1 / (1 + epoch), 2, **how)
        for more in keywords:
            done = fit(x, y, *start, np.float32(0.1), 2, **how, **more)
        os.remove(path + "c")
        fit(x, y, *list(done)[:2], 0.1, 2, state=done.state, **how)
        fit(x, y, *start, 0.1, 0, **how)
    def predictions(predict, parameters, **how):
        for array in arrays:
            predict(array, *parameters, **how)
        predict(x[:1], *parameters, **how)
        predict(np.ones((200_000, 4)), *parameters, **how)
    def network(*activations):
        sizes = [4, *[5] * (len(activations) - 1), 1 if activations[-1] != "softmax" else 3]
        return fastbp.initialize_network(sizes, activations=activations, random_state=0)

    def warm(name, count):
        ready = fastbp.warmup(name)[name]
        before = [len(kernel.overloads) for kernel in KERNELS]
        assert ready.compiled + ready.loaded == sum(before) == count
        return before
    """
USES = {
    "train_neuron": (
        2,
        """
        for rows in (x, x.tolist(), x[:3].tolist(), (x > 0).tolist(), x.astype(int).tolist(), arrays[3]):
            for epochs in (0, 1, 3):
                fastbp.train_neuron(rows, y[:len(rows)].tolist(), w.tolist(), 0.0, 0.1, epochs)
        fastbp.train_neuron([[1.0]], [1], [0], 0, 1, 10**6)
        fastbp.train_neuron([[1, 2]] * 5000, [1] * 5000, [0, 0], 0, 1, 1)
        fastbp.train_neuron(carrying[0], None, w, 0.0, 0.1, 2)
        """,
    ),
    "fit_neuron": (
        2,
        """
        fits(fit_neuron, (w, 0.0))
        for activation in ("identity", "relu", "tanh", "sigmoid"):
            for loss in ("mse", "half_mse", "bce")[: 2 + (activation == "sigmoid")]:
                fit_neuron(x, y, w.tolist(), 1, 0.01, 2, activation=activation, loss=loss)
        wide = np.ones((20, 300))
        fit_neuron(wide, y[:20], np.zeros(300), 0.0, 0.1, 2)
        fastbp.Neuron(4).fit(x, y, epochs=2, learning_rate=0.1)
        """,
    ),
    "predict_neuron": (
        1,
        """
        predictions(predict_neuron, (w, 0.0))
        predict_neuron(x, w.tolist(), 1, activation="tanh")
        neuron = fastbp.Neuron(4)
        neuron.predict(x), neuron.forward(x[0])
        neuron.backward(1.0)
        """,
    ),
    "fit_network": (
        4,
        """
        for names in (["sigmoid"], ["relu", "tanh", "sigmoid"]):
            for loss in ("mse", "half_mse", "bce"):
                fits(fit_network, network(*names), activations=names, loss=loss)
        names = ["relu", "softmax"]
        for label in (np.arange(300) % 3, np.eye(3)[np.arange(300) % 3]):
            for size in (None, 1, 7):
                fit_network(x, label, *network(*names), 0.1, 2, activations=names, loss="cross_entropy",
                            batch_size=size, validation=(x, label))
        names = ["tanh", "identity"]
        fastbp.Perceptron([fastbp.Layer(4, 2), fastbp.Layer(2, 1)]).fit(x, y, epochs=2)
        large = fastbp.initialize_network([4, 300, 1], activations=names, random_state=0)
        for size in (None, 1, 7, 64):
            fit_network(x, y, *large, 0.001, 2, activations=names, batch_size=size)
        """,
    ),
    "loss_and_gradient": (
        2,
        """
        for names in (["sigmoid"], ["relu", "tanh", "sigmoid"]):
            for array in arrays:
                fastbp.loss_and_gradient(array, y, *network(*names), activations=names, loss="bce")
        fastbp.loss_and_gradient(x, y, *network(*names), activations=names, alpha=1, sample_weight=y + 1)
        """,
    ),
    "predict_network": (
        1,
        """
        for names in (["sigmoid"], ["relu", "tanh", "sigmoid"], ["relu", "softmax"]):
            predictions(predict_network, network(*names), activations=names)
        layer = fastbp.Layer(4, 2, activation="relu")
        layer.forward(x[0]), layer.forward(x)
        layer.backward(np.ones((300, 2)), 0.1)
        """,
    ),
    "make_neuron_dataset": (
        2,
        """
        for seed in (None, 0, 2**62, random, np.random.RandomState(0)):
            datasets.make_neuron_dataset(50, 3, seed=seed)
        for how in ({"noise": 1}, {"distribution": "uniform"}, {"out": path + "n.npy"}, {"virtual": True}):
            rows = datasets.make_neuron_dataset(5000, 3, seed=1, **how)[0]
        rows = datasets.make_neuron_dataset(10**15, 3, seed=1, virtual=True)[0]
        rows.block(0, 9), rows.block(10**14, 10**14 + 9)
        rows.take(np.array([10**14, 3]), rows.empty(2))
        """,
    ),
    "make_network_dataset": (
        2,
        """
        for how in ({}, {"noise": 1}, {"distribution": "uniform"}, {"task": "classification"},
                    {"out": path + "n.npy"}, {"virtual": True}):
            datasets.make_network_dataset(5000, [3, 4, 2], seed=1, **how)
        rows = datasets.make_network_dataset(10**15, [3, 4, 2], seed=1, virtual=True)[0]
        rows.block(0, 9), rows.block(10**14, 10**14 + 9)
        rows.take(np.array([10**14, 3]), rows.empty(2))
        """,
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_after_it_no_call_compiles_anything(name):
    count, calls = USES[name]
    end = """
        assert [len(kernel.overloads) for kernel in KERNELS] == before and not recorder.buffer
        print("done")
        """
    parts = (PREPARE, f"before = warm({name!r}, {count})", calls, end)
    code = [textwrap.dedent(part) for part in parts]
    code[2] = "with install_recorder('numba:compile') as recorder:\n" + textwrap.indent(
        code[2], "    "
    )
    assert python("\n".join(code)) == "done\n"


FLOAT32 = {
    "fit_neuron": (4, "fits(fit_neuron, (w, 0.0), dtype='float32')"),
    "predict_neuron": (2, "predictions(predict_neuron, (w, 0.0), dtype='float32')"),
    "fit_network": (
        8,
        "fits(fit_network, network('relu', 'sigmoid'), activations=['relu', 'sigmoid'], dtype='float32')",
    ),
    "loss_and_gradient": (
        4,
        """
        for array in arrays:
            fastbp.loss_and_gradient(array, y, *network("tanh"), activations=["tanh"], dtype="float32")
        """,
    ),
    "predict_network": (
        2,
        "predictions(predict_network, network('relu', 'softmax'), activations=['relu', 'softmax'],"
        " dtype='float32')",
    ),
}  # rows of float64, and of float32


@pytest.mark.parametrize("name", FLOAT32)
def test_after_it_no_call_in_float32_compiles_anything(name):
    count, calls = FLOAT32[name]
    code = f"""
        fastbp_warmup, fastbp.warmup = fastbp.warmup, lambda name: fastbp_warmup(name, dtype="float32")
        before = warm({name!r}, {count})
        """
    end = """
        assert [len(kernel.overloads) for kernel in KERNELS] == before
        print("done")
        """
    parts = (textwrap.dedent(part) for part in (PREPARE, code, calls, end))
    assert python("\n".join(parts)) == "done\n"


def test_what_was_compiled_is_loaded_the_next_time(tmp_path):
    code = """
        import fastbp
        for _ in range(2):
            done = fastbp.warmup("predict_neuron", "predict_neuron")["predict_neuron"]
            print(done.compiled, done.loaded, done.seconds > 0.0)
        """
    for first in ("1 0 True", "0 1 True"):
        assert python(code, NUMBA_CACHE_DIR=str(tmp_path)) == f"{first}\n0 0 True\n"


def test_kernels_that_functions_share_count_for_the_first():
    code = """
        import fastbp
        for name, done in fastbp.warmup().items():
            print(name, done.compiled + done.loaded)
        """
    counts = dict(line.split() for line in python(code).splitlines())
    assert list(counts) == list(CALLS)
    assert list(counts.values()) == ["2", "1", "1", "4", "0", "1", "2", "0"]


def test_it_is_shown_as_a_table():
    done = Warmup(
        train_neuron=Readiness(12.3456, 1, 0),
        fit_neuron=Readiness(0.05, 0, 2),
        fit_network=Readiness(3.0, 2, 1),
        predict_network=Readiness(0.0, 0, 0),
    )
    table = """\
train_neuron     compiled 1 kernel                     12.35 s
fit_neuron       loaded 2 kernels                       0.05 s
fit_network      compiled 2 kernels, loaded 1 kernel    3.00 s
predict_network  ready already                          0.00 s"""
    assert str(done) == repr(done) == table
    assert str(Warmup()) == ""


def test_functions_by_name_or_themselves_once_each():
    done = fastbp.warmup("predict_neuron", fastbp.fit_neuron, fastbp.predict_neuron)
    assert list(done) == ["predict_neuron", "fit_neuron"]
    with pytest.raises(
        ValueError, match=r"functions: expected one of 'train_neuron', .*, got 'fit'"
    ):
        fastbp.warmup("fit_neuron", "fit")
    with pytest.raises(
        ValueError, match=r"functions: expected one of 'train_neuron', .*, got 'load'"
    ):
        fastbp.warmup(fastbp.load)
    with pytest.raises(TypeError, match="functions: expected a name, got list"):
        fastbp.warmup(["fit_neuron"])
    with pytest.raises(ValueError, match="progress: expected True, False or 'always', got 'yes'"):
        fastbp.warmup(progress="yes")


def test_the_bar(capsys):
    fastbp.warmup()
    fastbp.warmup("fit_neuron", "predict_neuron", progress="always")
    shown = capsys.readouterr().err.split("\r")
    text = "\n".join(shown)
    for line in ("getting ready: fit_neuron .* 0/2", "getting ready: predict_neuron .* 1/2"):
        assert re.search(line, text)
    assert shown[-2].strip() == shown[-1] == ""  # it is wiped out at the end
    for show in (True, False):  # nothing where the output is no terminal
        fastbp.warmup("fit_neuron", progress=show)
    assert capsys.readouterr().err == ""


def test_the_command():
    result = CliRunner().invoke(command, ["warmup", "predict_neuron", "fit_neuron"])
    lines = result.output.splitlines()
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in lines[:2]] == ["predict_neuron", "fit_neuron"]
    assert lines[2].startswith("kernel cache: ") and "fastbp" in lines[2] and len(lines) == 3
    result = CliRunner().invoke(command, ["warmup", "predict_neuron", "--dtype", "float32"])
    assert result.exit_code == 0 and result.output.startswith("predict_neuron")
    refused = CliRunner().invoke(command, ["warmup", "fit"])
    assert refused.exit_code == 2
    assert "'fit' is not one of 'train_neuron', 'fit_neuron'" in refused.stderr
    shown = CliRunner().invoke(command, ["warmup", "--help"]).output
    assert all(name in shown for name in CALLS) and "[FUNCTION]..." in shown
