"""The same fit whatever the rows come from: kinds of source, blocks, threads, orders."""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv

import fastbp
from fastbp.data import order
from fastbp.data.arrays import ArrayRows, contiguous_view
from fastbp.data.order import WindowOrder
from fastbp.data.rows import Rows
from fastbp.data.split import Subset
from fastbp.system import mapping
from tests.problems import network_bits, network_problem, python

N, D = 700, 5
RNG = np.random.default_rng(11)
X = RNG.normal(size=(N, D)).astype(np.float32).astype(np.float64)
Y = (X.sum(axis=1) > 0).astype(np.float64)
WEIGHT = RNG.integers(1, 5, N) / 2.0
NAMES = [f"x{j}" for j in range(D)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Everything is too large for memory; blocks and windows are small."""
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 0)
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 2048)
    monkeypatch.setattr("fastbp.data.order.BLOCK_ELEMENTS", 20 * D)
    monkeypatch.setattr("fastbp.kernels.neuron.CHUNK_WORK", 16 * 64)
    fastbp.kernels.neuron.chunk_rows.cache_clear()
    yield
    fastbp.kernels.neuron.chunk_rows.cache_clear()


def blocks_of(cuts, *arrays):
    edges = [0, *sorted(cuts), N]

    def blocks():
        for start, stop in pairwise(edges):
            yield tuple(a[start:stop] for a in arrays)

    return blocks


def table():
    columns = {name: X[:, j] for j, name in enumerate(NAMES)}
    return pa.table({"label": Y, **columns, "weight": WEIGHT})


def npy(folder, dtype=np.float64):
    np.save(folder / "rows.npy", np.column_stack([X, Y, WEIGHT]).astype(dtype))
    return fastbp.open_rows(folder / "rows.npy", target=D, weight=-1)


def npz(folder, save=np.savez):
    save(folder / "rows.npz", x=X, y=Y, w=WEIGHT)
    return fastbp.open_rows(folder / "rows.npz", target="y", weight="w")


def named(folder, suffix, write):
    path = folder / f"rows{suffix}"
    write(table(), path)
    return fastbp.open_rows(path, target="label", weight="weight")


def arrow(rows, path):
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=97)


def shards(folder):
    whole = np.column_stack([X, Y, WEIGHT])
    for k, (start, stop) in enumerate([(0, 50), (50, 51), (51, 600), (600, N)]):
        np.save(folder / f"part-{k}.npy", whole[start:stop])
    return fastbp.open_rows(folder, target=D, weight=D + 1)


def called(folder):
    return fastbp.open_rows(blocks_of([3, 30, 512], X, Y, WEIGHT))


SOURCES = {
    "npy": npy,
    "npy of float32": lambda folder: npy(folder, np.float32),
    "npz": npz,
    "npz, compressed": lambda folder: npz(folder, np.savez_compressed),
    "csv": lambda folder: named(folder, ".csv", csv.write_csv),
    "parquet": lambda folder: named(
        folder, ".parquet", lambda t, p: pyarrow.parquet.write_table(t, p, row_group_size=150)
    ),
    "arrow": lambda folder: named(folder, ".arrow", arrow),
    "folder": shards,
    "callable": called,
    "table": lambda folder: fastbp.open_rows(table(), target="label", weight="weight"),
}
HOW = [
    {},
    {"batch_size": 64},
    {"batch_size": 1, "epochs": 1},
    {"batch_size": 300, "optimizer": "adam"},
    {"batch_size": 50, "shuffle": "window", "random_state": 5},
    {"shuffle": "window", "random_state": np.random.RandomState(5)},
    {"batch_size": 100, "validation": 0.3, "tol": 0.0, "n_iter_no_change": 2},
]


def neuron(features, labels=None, *, epochs=3, **keywords):
    legacy = isinstance(keywords.get("random_state"), np.random.RandomState)
    if legacy:
        keywords["random_state"] = np.random.RandomState(5)
    return fastbp.fit_neuron(
        features, labels, np.zeros(D), 0.1, 0.2, epochs, loss="bce", **keywords
    )


def bits(fit):
    extra = b"" if fit.validation_losses is None else fit.validation_losses.tobytes()
    return fit.weights.tobytes() + np.float64(fit.bias).tobytes() + fit.losses.tobytes() + extra


@pytest.mark.parametrize("keywords", HOW, ids=lambda how: ", ".join(how) or "plain")
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_bits_of_the_array(source, keywords, tmp_path):
    expected = bits(neuron(X, Y, sample_weight=WEIGHT, **keywords))
    rows = SOURCES[source](tmp_path)
    for n_threads in (1, 2, 3):
        assert bits(neuron(rows, n_threads=n_threads, **keywords)) == expected
    rows.close()


@pytest.mark.parametrize("source", ["npy", "csv", "callable"])
def test_labels_and_weights_may_be_arrays(source, tmp_path):
    expected = bits(
        neuron(X, Y, sample_weight=WEIGHT, batch_size=64, shuffle="window", random_state=1)
    )
    if source == "npy":
        np.save(tmp_path / "x.npy", X)
        rows = fastbp.open_rows(tmp_path / "x.npy")
    elif source == "csv":
        csv.write_csv(table().select(NAMES), tmp_path / "x.csv")
        rows = fastbp.open_rows(tmp_path / "x.csv")
    else:
        rows = fastbp.open_rows(lambda: iter(np.array_split(X, 7)))
    fit = neuron(rows, Y, sample_weight=WEIGHT, batch_size=64, shuffle="window", random_state=1)
    assert bits(fit) == expected
    np.testing.assert_array_equal(fit.predict(rows), fit.predict(X))
    rows.close()


@pytest.mark.parametrize("source", SOURCES)
def test_networks_and_classes(source, tmp_path):
    _, _, w, b, _ = network_problem((D, 6, 3), 1)
    keywords = {"activations": ["relu", "softmax"], "loss": "cross_entropy", "batch_size": 64}
    rows = SOURCES[source](tmp_path)
    expected = fastbp.fit_network(X, Y, w, b, 0.1, 2, sample_weight=WEIGHT, **keywords)
    for n_threads in (1, 2):
        fit = fastbp.fit_network(rows, None, w, b, 0.1, 2, n_threads=n_threads, **keywords)
        assert network_bits(fit) == network_bits(expected)
    np.testing.assert_array_equal(fit.predict(rows), fit.predict(X))
    one = fastbp.loss_and_gradient(
        X, Y, w, b, activations=["relu", "softmax"], loss="cross_entropy", sample_weight=WEIGHT
    )
    same = fastbp.loss_and_gradient(
        rows, None, w, b, activations=["relu", "softmax"], loss="cross_entropy"
    )
    assert one[0] == same[0]
    assert all(map(np.array_equal, one[1] + one[2], same[1] + same[2]))
    rows.close()


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.sets(st.integers(1, N - 1), max_size=12),
    batch_size=st.integers(1, N) | st.none(),
    shuffle=st.sampled_from([False, "window"]),
    block_bytes=st.integers(8, 2**16),
)
def test_any_cutting_gives_the_same_fit(cuts, batch_size, shuffle, block_bytes):
    keywords = {"batch_size": batch_size, "shuffle": shuffle, "random_state": 2, "epochs": 2}
    expected = bits(neuron(X, Y, sample_weight=WEIGHT, **keywords))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastbp.data.rows.BLOCK_BYTES", block_bytes)
        rows = fastbp.open_rows(blocks_of(cuts, X, Y, WEIGHT))
        assert bits(neuron(rows, **keywords)) == expected
        rows.close()


def test_tables_go_into_every_entry_point():
    features = table().select(NAMES)
    labels = table()["label"]
    w, b = fastbp.initialize_network([D, 1], activations=["sigmoid"], random_state=0)
    fit = neuron(features, labels)
    assert bits(fit) == bits(neuron(X, Y))
    np.testing.assert_array_equal(fit.predict(features), fit.predict(X))
    trained = fastbp.train_neuron(features, labels, np.zeros(D), 0.0, 0.1, 2)
    assert trained == fastbp.train_neuron(X, Y, np.zeros(D), 0.0, 0.1, 2)
    loss = fastbp.loss_and_gradient(features, labels, w, b, activations=["sigmoid"])[0]
    assert loss == fastbp.loss_and_gradient(X, Y, w, b, activations=["sigmoid"])[0]
    network = fastbp.fit_network(features, labels, w, b, 0.1, 2, activations=["sigmoid"])
    np.testing.assert_array_equal(network.predict(features), network.predict(X))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_go_into_every_entry_point(library):
    frames = pytest.importorskip(library, reason=f"{library} is not installed")
    frame = frames.DataFrame({name: X[:, j] for j, name in enumerate(NAMES)})
    fit = neuron(frame, frames.Series(Y))
    assert bits(fit) == bits(neuron(X, Y))
    np.testing.assert_array_equal(fit.predict(frame), fit.predict(X))


class TestWindowShuffle:
    def test_order(self):
        """What is documented: blocks permuted, then the rows of each window of eight."""
        rows = WindowOrder(99, N, D)
        assert sorted(rows[0 : rows._n_rows].tolist()) == list(range(N))
        blocks = np.random.default_rng([99, 0]).permutation(N // 20)
        for window in range(len(rows.starts) - 1):
            expected = np.concatenate([np.arange(b * 20, b * 20 + 20) for b in blocks[:8]])
            expected = expected[np.random.default_rng([99, window + 1]).permutation(len(expected))]
            a, b = rows.starts[window : window + 2]
            np.testing.assert_array_equal(rows[a:b], expected)
            blocks = blocks[8:]

    def test_a_short_block_may_stand_anywhere(self):
        for seed in range(40):
            rows = WindowOrder(seed, N - 7, D)
            assert sorted(rows[0 : rows._n_rows].tolist()) == list(range(N - 7))
            assert list(rows.windows(0, N - 7)) == list(range(len(rows.starts) - 1))

    def test_few_rows_are_permuted_as_a_whole(self, monkeypatch):
        monkeypatch.setattr(order, "BLOCK_ELEMENTS", 2**18)
        firsts = np.array([WindowOrder(seed, 4, 2)[0:1][0] for seed in range(4000)])
        assert np.bincount(firsts, minlength=4).min() > 880  # 1000 expected, 4 deviations

    def test_it_is_new_each_epoch_and_follows_random_state(self):
        one = neuron(X, Y, batch_size=9, shuffle="window", random_state=1, epochs=2)
        other = neuron(X, Y, batch_size=9, shuffle="window", random_state=2, epochs=2)
        again = neuron(X, Y, batch_size=9, shuffle="window", random_state=1, epochs=2)
        plain = neuron(X, Y, batch_size=9, epochs=2)
        assert bits(one) == bits(again)
        assert len({bits(one), bits(other), bits(plain)}) == 3

    @pytest.mark.parametrize("source", ["csv", "parquet", "callable", "npz, compressed"])
    def test_the_exact_permutation_needs_rows_in_reach(self, source, tmp_path):
        rows = SOURCES[source](tmp_path)
        with pytest.raises(
            ValueError, match=r"shuffle: expected 'window' or False for .* got True"
        ):
            neuron(rows, shuffle=True)
        rows.close()

    @pytest.mark.parametrize("source", ["npy", "npy of float32", "npz", "folder"])
    def test_the_exact_permutation_of_files(self, source, tmp_path):
        rows = SOURCES[source](tmp_path)
        keywords = {"batch_size": 64, "shuffle": True, "random_state": 4}
        assert bits(neuron(rows, **keywords)) == bits(
            neuron(X, Y, sample_weight=WEIGHT, **keywords)
        )
        rows.close()


class TestDamage:
    """What only shows while a fit reads: named with the file and the row in it."""

    def spoiled(self, tmp_path, row, column, value):
        whole = np.column_stack([X, Y, WEIGHT])
        whole[row, column] = value
        np.save(tmp_path / "a.npy", whole[:300])
        np.save(tmp_path / "b.npy", whole[300:])
        return fastbp.open_rows(tmp_path, target=D, weight=D + 1)

    @pytest.mark.parametrize("keywords", [{}, {"batch_size": 64}, {"shuffle": "window"}], ids=str)
    @pytest.mark.parametrize(
        ("column", "value", "message"),
        [
            (2, np.nan, "b.npy: expected finite numbers, got nan in row 61, column 2"),
            (D, np.inf, "b.npy: target: expected finite numbers, got inf in row 61"),
            (D, 1.5, "b.npy: target: expected values from 0 to 1 for 'bce', got 1.5 in row 61"),
            (D + 1, -1.0, "b.npy: weight: expected non-negative weights, got -1.0 in row 61"),
            (D + 1, np.nan, "b.npy: weight: expected finite numbers, got nan in row 61"),
        ],
    )
    def test_bad_values(self, column, value, message, keywords, tmp_path):
        rows = self.spoiled(tmp_path, 361, column, value)
        with pytest.raises(fastbp.DataError, match=message) as caught:
            neuron(rows, **keywords)
        assert caught.value.row == 61
        rows.close()

    @pytest.mark.parametrize("row", [3, 620])
    def test_labels_of_a_mapped_file_are_looked_at_slice_by_slice(self, row, tmp_path, monkeypatch):
        monkeypatch.setattr("fastbp.training.slices.SLICE_SECONDS", 0.0)
        labels = Y.copy()
        labels[row] = 2.0
        np.save(tmp_path / "x.npy", np.column_stack([X, labels]))
        rows = fastbp.open_rows(tmp_path / "x.npy", target=-1)
        for how in ({}, {"batch_size": 50}, {"shuffle": True}):
            with pytest.raises(fastbp.DataError, match=f"for 'bce', got 2.0 in row {row}"):
                neuron(rows, **how)
        rows.close()

    def test_class_numbers(self, tmp_path):
        rows = self.spoiled(tmp_path, 361, D, 3.0)
        _, _, w, b, _ = network_problem((D, 3), 1)
        with pytest.raises(fastbp.DataError, match=r"b.npy: target: .* 0 to 2, got 3.0 in row 61"):
            fastbp.fit_network(
                rows, None, w, b, 0.1, 2, activations=["softmax"], loss="cross_entropy"
            )
        rows.close()

    @pytest.mark.parametrize("mapped", [True, False])
    def test_a_file_that_shrinks(self, mapped, tmp_path, monkeypatch):
        if not mapped:
            monkeypatch.setattr("fastbp.data.sources.npy.Positional.mapped", lambda self: None)
        np.save(tmp_path / "x.npy", np.column_stack([X, Y]))
        rows = fastbp.open_rows(tmp_path / "x.npy", target=-1)

        def cut(state):
            os.truncate(tmp_path / "x.npy", 20_000)

        with pytest.raises(fastbp.DataError, match=r"x.npy: .*the file was shortened while it was"):
            neuron(rows, callback=cut)
        rows.close()

    def test_arguments_that_do_not_go_together(self, tmp_path):
        rows = npy(tmp_path)
        with pytest.raises(ValueError, match="labels: expected None with features that carry"):
            neuron(rows, Y)
        with pytest.raises(ValueError, match="sample_weight: expected None with features that"):
            neuron(rows, sample_weight=WEIGHT)
        with pytest.raises(TypeError, match="labels: expected labels, got None; only rows that"):
            neuron(X)
        rows.close()
        rows = fastbp.open_rows(tmp_path / "rows.npy", target=[0, 1])
        with pytest.raises(ValueError, match=r"expected 1 target columns .one per output., got 2"):
            fastbp.fit_neuron(rows, None, np.zeros(D), 0.0, 0.1, 1)
        rows.close()


@pytest.mark.skipif(not mapping.supported(), reason="files are mapped on 64-bit Linux only")
class TestMapping:
    def test_a_part_that_is_cut_off_in_the_middle_of_a_slice(self, tmp_path):
        """Without the handler of SIGBUS this ends the process."""
        printed = python(
            f"""
            import os, threading, numpy as np, fastbp, fastbp.data.arrays
            fastbp.data.arrays.WHOLE_BYTES = 0
            path = {str(tmp_path / "x.npy")!r}
            np.save(path, np.ones((300_000, 9)))
            rows = fastbp.open_rows(path, target=-1)
            timer = threading.Timer(0.3, os.truncate, [path, 100_000])
            fastbp.fit_neuron(rows, None, np.zeros(8), 0.0, 0.0, 1)
            timer.start()
            try:
                fastbp.fit_neuron(rows, None, np.zeros(8), 0.0, 0.0, 10**6, n_threads=2)
            except fastbp.DataError as error:
                print(str(error).split(": ", 1)[1])
            """
        )
        assert printed == (
            "expected 21600128 bytes, got 100000: the file was shortened while it was read\n"
        )

    def test_other_faults_end_the_process_as_ever(self, tmp_path):
        printed = python(
            f"""
            import mmap, os, subprocess, sys
            code = '''
            import mmap, os
            from fastbp.system import mapping
            for name in "ab":
                open(name, "wb").write(bytes(100_000))
            a, b = (os.open(name, os.O_RDWR) for name in "ab")
            mapped = mapping.map_file(a, 100_000)
            other = mmap.mmap(b, 100_000, prot=mmap.PROT_READ)
            os.truncate("b", 0)
            other[50_000]
            '''.replace("\\n            ", "\\n")
            print(subprocess.run([sys.executable, "-c", code], cwd={str(tmp_path)!r}).returncode)
            """
        )
        assert printed == "-7\n"

    def test_a_part_that_was_gone_for_a_while(self, tmp_path):
        path = tmp_path / "x"
        path.write_bytes(bytes([1]) * 100_000)
        with path.open("rb") as file:
            mapped = mapping.map_file(file.fileno(), 100_000)
            array = mapped.array(0, np.uint8, (100_000,))
            assert mapped.intact()
            os.truncate(path, 50_000)
            assert not array[-10:].any()
            os.truncate(path, 100_000)
            assert not mapped.intact()
            del array
            mapped.close()

    def test_a_mapping_that_fails_leaves_nothing_behind(self, tmp_path):
        path = tmp_path / "x"
        path.write_bytes(b"")
        with path.open("rb") as file:
            before = len(list(Path("/proc/self/fd").iterdir()))
            for _ in range(3):
                assert mapping.map_file(file.fileno(), 10_000) is None
            assert len(list(Path("/proc/self/fd").iterdir())) == before
        assert mapping._previous is None
        assert not mapping._open

    def test_weights_for_a_mapped_file(self, tmp_path):
        np.save(tmp_path / "x.npy", X)
        rows = fastbp.open_rows(tmp_path / "x.npy")
        with pytest.raises(ValueError, match="validation: expected rows with a weight above 0"):
            neuron(X, Y, validation=(rows, Y, WEIGHT * 0))
        rows.close()

    def test_the_handler_goes_with_the_last_mapping(self, tmp_path):
        path = tmp_path / "x"
        path.write_bytes(bytes(10_000))
        with path.open("rb") as file:
            first, second = (mapping.map_file(file.fileno(), 10_000) for _ in range(2))
            for each in (first, second):
                assert mapping._previous is not None
                each.close()
            assert mapping._previous is None
            second.close()  # once more is no harm


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize(
    "how",
    [
        {"shuffle": "window"},
        {"shuffle": True},
        {"validation": 0.3},
        {"validation": 0.3, "shuffle": "window"},
        {"validation": 0.3, "shuffle": True, "sample_weight": WEIGHT},
        {"shuffle": "window", "sample_weight": WEIGHT},
    ],
    ids=str,
)
def test_a_mapped_file_in_another_order(how, n_threads, tmp_path):
    np.save(tmp_path / "x.npy", np.column_stack([X, Y]))
    rows = fastbp.open_rows(tmp_path / "x.npy", target=-1)
    for batch_size in (None, 1, 30, 300):
        keywords = {**how, "random_state": 3, "batch_size": batch_size, "epochs": 2}
        expected = bits(neuron(X, Y, **keywords))
        assert bits(neuron(rows, n_threads=n_threads, **keywords)) == expected
    rows.close()


@pytest.mark.parametrize("how", [{}, {"shuffle": "window"}, {"batch_size": 30}], ids=str)
def test_bad_rows_of_a_part_of_a_mapped_file(how, tmp_path):
    whole = np.column_stack([X, Y])
    part = Subset(ArrayRows(X), 210, False)
    row = int(part.selection.indices(np.array([333]))[0])
    for column, value in ((1, np.nan), (D, 7.0)):
        spoiled = whole.copy()
        spoiled[row, column] = value
        np.save(tmp_path / "x.npy", spoiled)
        rows = fastbp.open_rows(tmp_path / "x.npy", target=-1)
        with pytest.raises(fastbp.DataError, match=f"x.npy.* got {value} in row {row}"):
            neuron(rows, validation=0.3, **how)
        rows.close()


def test_parts_of_parts():
    rows = ArrayRows(np.arange(1000.0)[:, None])
    outer = Subset(Subset(rows, 100, False), 90, False)
    base, indices = outer.base()
    assert base is rows
    np.testing.assert_array_equal(indices(np.arange(810)), outer.block(0, 810).features[:, 0])


def test_ctrl_c_while_an_iterator_takes_its_time():
    printed = python(
        """
        import os, signal, sys, threading, time, warnings
        import numpy as np, fastbp, fastbp.data.arrays
        fastbp.data.arrays.WHOLE_BYTES = 0
        warnings.simplefilter("ignore")
        passes = 0

        def blocks():
            global passes
            passes += 1
            yield np.ones((1000, 3)), np.ones(1000)
            if passes > 1:
                time.sleep(3600)
            yield np.ones((1000, 3)), np.ones(1000)

        rows = fastbp.open_rows(blocks)
        fit_neuron = fastbp.fit_neuron  # imported before the timer starts
        threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
        started = time.perf_counter()
        fit = fit_neuron(rows, None, np.zeros(3), 0.0, 0.1, 3, batch_size=100)
        print(fit.stopped, fit.n_epochs, time.perf_counter() - started < 60, flush=True)
        os._exit(0)
        """
    )
    assert printed == "interrupted 0 True\n"


def test_names_of_a_folder_are_compared_with_the_first_that_there_are(tmp_path):
    np.save(tmp_path / "a.npy", X[:5])
    for name, columns in (("b", NAMES), ("c", NAMES[::-1])):
        csv.write_csv(table().select(columns), tmp_path / f"{name}.csv")
    with pytest.raises(
        fastbp.DataError,
        match=r"c.csv: expected the columns of .*b.csv, got 'x4', .* in another order",
    ):
        fastbp.open_rows(tmp_path)


def test_rows_that_no_slice_sees_are_looked_at(tmp_path):
    spoiled = X.copy()
    spoiled[611, 1] = np.nan
    with pytest.raises(fastbp.DataError, match=r"validation.0.: .* got nan in row 611, column 1"):
        neuron(X, Y, epochs=0, validation=(spoiled, Y))
    for fraction in (0.1, 0.5, 0.9):
        with pytest.raises(fastbp.DataError, match="got nan in row 611, column 1"):
            neuron(spoiled, Y, epochs=0, validation=fraction)


def test_validation_rows_are_spread_and_exact():
    for n, fraction in ((10, 0.1), (10, 0.5), (10, 0.9), (1000, 0.37), (99, 0.98), (5003, 0.1)):
        rows = ArrayRows(np.arange(float(n))[:, None])
        held = int(n * fraction)
        inside = Subset(rows, held, True).block(0, held).features[:, 0]
        train = Subset(rows, held, False)
        outside = train.block(0, n - held).features[:, 0]
        assert sorted([*inside, *outside]) == list(range(n))
        assert (np.diff(inside) > 0).all()
        assert (np.diff(outside) > 0).all()
        assert np.diff(inside).max(initial=0) <= 2 * n / held
        for row in range(0, n - held, 7):
            assert train.block(row, row + 1).features[0, 0] == outside[row]
            assert train.locate(row) == ("features", outside[row])
        taken = train.empty(n - held)
        train.take(np.arange(n - held)[::-1], taken)
        np.testing.assert_array_equal(taken.features[::-1, 0], outside)


def test_validation_rows_of_very_many():
    class Many(Rows):
        n_rows, n_features = 2_000_000_011, 1
        fill = digest = None

    Many.__abstractmethods__ = frozenset()
    held = 200_000_001
    inside, outside = Subset(Many(), held, True), Subset(Many(), held, False)
    for first in (0, held - 1000):
        picked = inside.selection.indices(np.arange(first, first + 1000))
        assert (np.diff(picked) > 0).all()
    for first in (0, 777_777_777, outside.n_rows - 1000):
        indices = outside.selection.indices(np.arange(first, first + 1000))
        assert (np.diff(indices) >= 1).all()
        missing = np.setdiff1d(np.arange(indices[0], indices[-1]), indices)
        around = inside.selection.indices(
            np.arange(max(0, first // 9 - 2), min(held, first // 9 + 125))
        )
        assert np.isin(missing, around).all()
    assert indices[-1] in (outside._rows.n_rows - 1, outside._rows.n_rows - 2)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_a_large_file_takes_little_memory(tmp_path):
    """240 MB of float32 and of float64, two epochs each: anonymous memory grows by less than 64 MB."""
    printed = python(
        f"""
        import numpy as np, fastbp

        def anonymous():
            for line in open("/proc/self/status"):
                if line.startswith("RssAnon"):
                    return int(line.split()[1]) * 1024

        def create(name, dtype, n):
            path = {str(tmp_path)!r} + name
            rows = np.lib.format.open_memmap(path, "w+", dtype, (n, 31))
            for start in range(0, n, 100_000):
                rows[start : start + 100_000] = np.random.default_rng(start).random((1, 31))
            del rows
            return fastbp.open_rows(path, target=-1)

        small, large = create("/s.npy", np.float64, 300_000), create("/l.npy", np.float64, 1_000_000)
        single = create("/f.npy", np.float32, 2_000_000)

        def fit(rows):
            fastbp.fit_neuron(rows, None, np.zeros(30), 0.0, 0.1, 2)

        fit(small), fit(single)
        before = anonymous()
        fit(large)
        between = anonymous()
        fit(single)
        print(between - before < 2**26, anonymous() - before < 2**26)
        """
    )
    assert printed == "True True\n"


@pytest.mark.parametrize("d", [1, 2, 3, 8, 20, 50])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"batch_size": 7},
        {"batch_size": 1},
        {"batch_size": 32, "shuffle": True, "random_state": 0},
    ],
    ids=str,
)
def test_columns_of_a_wider_array_are_read_in_place(d, how):
    wide, labels = RNG.normal(size=(500, d + 3)), RNG.random((500, 3))
    part, y = wide[:, 2 : 2 + d], labels[:, 1:]
    rows = ArrayRows(part)
    assert np.shares_memory(rows.in_memory.features, wide)
    line, stride = contiguous_view(part)
    assert (line.size, stride) == (499 * (d + 3) + d, d + 3)  # nothing behind the last row
    one = fastbp.fit_neuron(part, y[:, 0], np.zeros(d), 0.0, 0.1, 2, **how)
    other = fastbp.fit_neuron(part.copy(), y[:, 0], np.zeros(d), 0.0, 0.1, 2, **how)
    assert bits(one) == bits(other)
    np.testing.assert_array_equal(one.predict(part), one.predict(part.copy()))
    _, _, w, b, _ = network_problem((d, 5, 2), 1)
    names = ["relu", "identity"]
    one = fastbp.fit_network(part, y, w, b, 0.01, 2, activations=names, **how)
    other = fastbp.fit_network(part.copy(), y.copy(), w, b, 0.01, 2, activations=names, **how)
    assert network_bits(one) == network_bits(other)
    np.testing.assert_array_equal(one.predict(part), one.predict(part.copy()))


@pytest.mark.parametrize("sources", [1, 2])
def test_columns_of_a_file_are_read_in_place(sources, tmp_path, monkeypatch):
    """A float64 .npy is mapped: features and labels lie in wider rows."""
    filled = []
    fill = fastbp.data.sources.npy.Positional.fill
    monkeypatch.setattr(
        "fastbp.data.sources.npy.Positional.fill",
        lambda *arguments: filled.append(1) or fill(*arguments),
    )
    np.save(tmp_path / "x.npy", np.column_stack([X, Y, Y]))
    rows = fastbp.open_rows(tmp_path / "x.npy", target=[-2, -1][2 - sources :])
    _, _, w, b, _ = network_problem((rows.n_features, 4, sources), 1)
    for how in ({}, {"batch_size": 30}, {"batch_size": 1}):
        keywords = {**how, "activations": ["tanh", "identity"], "random_state": 3}
        fit = fastbp.fit_network(rows, None, w, b, 0.01, 2, **keywords)
        x = np.column_stack([X, Y]) if sources == 1 else X
        y = Y if sources == 1 else np.column_stack([Y, Y])
        expected = fastbp.fit_network(x, y, w, b, 0.01, 2, **keywords)
        assert network_bits(fit) == network_bits(expected)
    assert (filled == []) == mapping.supported()
    rows.close()


@pytest.mark.parametrize("keywords", [{}, {"shuffle": "window", "random_state": 1}, {"validation": 0.2}],
                         ids=str)  # fmt: skip
def test_labels_and_weights_that_are_read_are_checked_once(keywords, monkeypatch):
    counts = []
    original = fastbp.data.labels.Targets.check

    def counted(self, name, labels, class_indices):
        counts.append(len(labels))
        return original(self, name, labels, class_indices)

    monkeypatch.setattr(fastbp.data.labels.Targets, "check", counted)
    rows = fastbp.open_rows(blocks_of([100, 350], X, Y, WEIGHT))
    for epochs in (1, 6):
        counts.clear()
        neuron(rows, epochs=epochs, **keywords)
        assert sum(counts) == N
