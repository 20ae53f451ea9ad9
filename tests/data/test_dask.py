"""Rows in Dask collections: the same fits and predictions as of arrays in memory, to the bit."""

import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastbp
from fastbp import DataError, fit_network, fit_neuron, predict_network, predict_neuron
from fastbp.data.arrays import rows_of
from fastbp.data.rows import Block
from fastbp.data.sources.opening import open_rows

dask = pytest.importorskip("dask", reason="is read; CI has it")
da = pytest.importorskip("dask.array", reason="is read; CI has it")
dd = pytest.importorskip("dask.dataframe", reason="is read; CI has it")
pd = pytest.importorskip("pandas", reason="Dask's DataFrames need it")

N, D = 600, 4
NAMES = list("abcd")
CUTS = {
    "one": (N,),
    "even": (150,) * 4,
    "with empty ones": (0, 7, 0, 0, 592, 1, 0),
    "many": (11,) * 54 + (6,),
}


@pytest.fixture(params=["whole", "in blocks"])
def read(request, monkeypatch):
    """Read rows whole, as small ones are, or in blocks that agree with no partition."""
    if request.param == "in blocks":
        monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 1000)
        monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 4000)


@pytest.fixture
def in_blocks(monkeypatch):
    monkeypatch.setattr("fastbp.data.arrays.WHOLE_BYTES", 1000)


def problem(seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, D)).astype(dtype)
    y = (X[:, 0] + rng.normal(size=N) > 0) * 1.0
    return X, y, rng.random(N) + 0.5


X, Y, W = problem()


def cut(array, lengths, columns=(D,)):
    chunks = lengths if array.ndim == 1 else (lengths, columns)
    return da.from_array(array, chunks=(chunks,) if array.ndim == 1 else chunks)


def unknown(array, lengths):
    """The same with partitions of lengths that Dask does not know."""
    whole = cut(array, lengths, array.shape[1:])
    return da.map_blocks(
        np.copy, whole, chunks=((np.nan,) * len(lengths), *whole.chunks[1:]), dtype=array.dtype
    )


def frame(values=X, n=3, **others):
    return dd.from_pandas(pd.DataFrame(values, columns=NAMES).assign(**others), npartitions=n)


def neuron(features, labels, **options):
    return fit_neuron(features, labels, np.zeros(D), 0.0, 0.1, 3, loss="bce", **options)


def assert_same(fit, other):
    for ours, theirs in zip(fit, other, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(fit.validation_losses, other.validation_losses)


# --- the same fits ------------------------------------------------------------------------------

OPTIONS = {
    "full batch": {},
    "mini-batches": {"batch_size": 32},
    "window": {"batch_size": 32, "shuffle": "window", "random_state": 1},
    "held out": {"batch_size": 32, "validation": 0.2},
    "threads": {"n_threads": 2},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("lengths", CUTS.values(), ids=CUTS)
def test_a_neuron_is_that_of_the_array(lengths, options, read):
    expected = neuron(X, Y, **options)
    assert_same(neuron(cut(X, lengths, (1, 3)), cut(Y, lengths), **options), expected)


@pytest.mark.parametrize("lengths", CUTS.values(), ids=CUTS)
def test_weights_and_labels_may_be_cut_in_another_way(lengths, read):
    expected = neuron(X, Y, sample_weight=W, batch_size=50)
    forms = (cut(W, (N,)), unknown(W, (400, 200)), W, W.tolist())
    for features in (cut(X, lengths), unknown(X, lengths)):
        for labels, weight in zip((cut(Y, (1, 599)), unknown(Y, (2, 0, 598)), Y, Y), forms):  # noqa: B905
            assert_same(neuron(features, labels, sample_weight=weight, batch_size=50), expected)
    assert_same(neuron(X, cut(Y, lengths), sample_weight=cut(W, (N,)), batch_size=50), expected)
    assert_same(neuron(frame(), Y, sample_weight=frame(w=W)["w"], batch_size=50), expected)


def test_labels_in_a_column(read):
    expected = neuron(X, Y)
    assert_same(neuron(cut(X, (N,)), cut(Y[:, None], (150, 450), (1,))), expected)
    assert_same(neuron(frame(), frame(y=Y)[["y"]]), expected)


@pytest.mark.parametrize("dtype", ["f4", "i2", "?", ">f8"])
def test_stored_types(dtype, read):
    rows = problem(dtype=dtype)[0]
    for arithmetic in ("float64", "float32"):
        expected = neuron(rows, Y, dtype=arithmetic)
        assert_same(neuron(cut(rows, (100, 500), (2, 2)), Y, dtype=arithmetic), expected)
    block, *_ = dask.compute(*rows_of("features", cut(rows, (100, 500))).parts)
    assert block.features.dtype == (np.float64 if dtype[0] == ">" else dtype)


def test_a_table_of_pandas_extension_types(read):
    rows = np.rint(X)
    table = frame(rows).astype({"a": "Int64", "b": "float32", "c": "Float32"})
    table["d"] = table["d"].astype("int8")
    assert_same(neuron(table, Y), neuron(rows, Y))
    assert_same(neuron(table, frame(y=Y)["y"].astype("boolean")), neuron(rows, Y))


def test_columns_may_be_called_like_attributes():
    names = ["chunks", "dask", "schema", "dtype"]
    table = frame().rename(columns=dict(zip(NAMES, names, strict=True)))
    fit = neuron(table, Y)
    assert_same(fit, neuron(X, Y))
    assert fit.feature_names == names
    np.testing.assert_array_equal(fit.predict(table).compute(), fit.predict(X))


LAYERS = fastbp.initialize_network([D, 5, 3], activations=["tanh", "softmax"], random_state=0)
NETWORK = {"activations": ["tanh", "softmax"], "loss": "cross_entropy"}
CLASSES = (X[:, 0] > 0) + 1 * (X[:, 1] > 0)


def network(features, labels, **options):
    return fit_network(features, labels, *LAYERS, 0.1, 3, **NETWORK, **options)


@pytest.mark.parametrize("labels", [CLASSES, np.eye(3)[CLASSES], CLASSES[:, None]])
def test_a_network_is_that_of_the_array(labels, read):
    options = {"batch_size": 25, "optimizer": "adam"}
    fit = network(X, labels, **options)
    for lengths in ((150,) * 4, (1, 0, 599)):
        ours = unknown(labels, (300, 300)), cut(labels, lengths, labels.shape[1:])
        for given in ours:
            other = network(cut(X, lengths, (2, 2)), given, **options)
            for a, b in zip(fit.weights, other.weights, strict=True):
                np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(fit.losses, other.losses)


def test_validation_and_gradients(read):
    other_X, other_y, other_w = problem(seed=1)
    lengths = (99, 501)
    expected = neuron(X, Y, validation=(other_X, other_y, other_w), tol=1e-9)
    rest = cut(other_X, lengths), cut(other_y, lengths), cut(other_w, lengths)
    assert_same(neuron(cut(X, lengths), cut(Y, (N,)), validation=rest, tol=1e-9), expected)
    assert_same(neuron(X, Y, validation=rest, tol=1e-9), expected)
    start = [np.ones((D, 1))], [np.zeros(1)]
    how = {"activations": ["sigmoid"], "loss": "bce"}
    ours = fastbp.loss_and_gradient(cut(X, lengths), cut(Y, lengths), *start, **how)
    theirs = fastbp.loss_and_gradient(X, Y, *start, **how)
    assert ours[0] == theirs[0] and np.array_equal(ours[1][0], theirs[1][0])
    assert fastbp.train_neuron(cut(X, lengths), cut(Y, lengths), np.zeros(D), 0.0, 0.1, 2) == (
        fastbp.train_neuron(X, Y, np.zeros(D), 0.0, 0.1, 2)
    )


def test_names_are_those_of_the_columns(read):
    table = frame(y=Y, w=W, text="x")
    rows = open_rows(table, target="y", weight="w", columns=NAMES)
    assert rows.feature_names == NAMES and rows.n_labels == 1 and rows.weighted
    fit = fit_neuron(rows, None, np.zeros(D), 0.0, 0.1, 3, loss="bce")
    assert_same(fit, neuron(X, Y, sample_weight=W))
    other = neuron(table[NAMES], table["y"], sample_weight=table["w"])
    assert_same(other, fit)
    assert fit.feature_names == other.feature_names == NAMES
    matrix = np.c_[Y, X, W]
    numbered = open_rows(cut(matrix, (1, 599), (3, 3)), target=0, weight=-1)
    assert_same(fit_neuron(numbered, None, np.zeros(D), 0.0, 0.1, 3, loss="bce"), fit)
    for change, got in (
        ({"a": "z"}, "none named 'a', but also 'z'"),
        ({}, "'d', 'c', 'b', 'a' in"),
    ):
        columns = table[NAMES[::-1]].rename(columns=change)
        with pytest.raises(ValueError, match=f"columns of the fit .* got {got}"):
            fit.predict(columns)


# --- what is computed, and how often -----------------------------------------------------------


COMPUTED = []  # the numbers of partitions, and the names of the threads that computed them


def computed_part(number, start, stop):
    COMPUTED.append((number, threading.current_thread().name))
    return np.c_[X, Y][start:stop]


def counted(lengths):
    """An array whose partitions are noted whenever they are computed."""
    COMPUTED.clear()
    starts = np.cumsum([0, *lengths]).tolist()
    part = dask.delayed(computed_part)
    parts = [part(i, starts[i], starts[i + 1]) for i in range(len(lengths))]
    arrays = [da.from_delayed(each, (np.nan, D + 1), "f8") for each in parts]
    return da.concatenate(arrays, allow_unknown_chunksizes=True)


def times(n):
    """How often each of n partitions was computed."""
    return np.bincount([number for number, _ in COMPUTED], minlength=n).tolist()


def test_small_rows_are_computed_once_after_their_lengths():
    array = counted((200, 0, 400))
    assert_same(neuron(array[:, :D], array[:, D]), neuron(X, Y))
    assert times(3) == [2, 1, 2]


@pytest.mark.parametrize("room", [0, 2**40])
def test_large_rows_are_computed_once_an_epoch_or_copied(in_blocks, monkeypatch, room):
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 4000)
    monkeypatch.setattr("fastbp.data.sources.spool.disk_space", lambda: room)
    array = counted((100,) * 6)
    fit = neuron(array[:, :D], array[:, D], batch_size=20)
    assert_same(fit, neuron(X, Y, batch_size=20))
    assert times(6) == [1 + (1 if room else 3)] * 6


def test_partitions_are_tasks_that_a_cluster_can_take():
    rows = rows_of("features", cut(X, (0, 7, 592, 1), (2, 2))).joined(cut(Y, (N,))[:, None], None)
    assert rows.starts == [0, 7, 599, 600] and len(rows.parts) == 3
    assert rows.n_rows == N
    for part, start in zip(rows.parts, rows.starts, strict=False):
        again = pickle.loads(pickle.dumps(part))
        (block,) = dask.compute(again, scheduler="sync")
        assert isinstance(block, Block) and block.weight is None
        assert block.features.flags.c_contiguous and block.labels.shape[1] == 1
        np.testing.assert_array_equal(block.features, X[start : start + len(block.features)])
    assert rows.locate(7) == ("features, partition 2", 0)


def test_blocks_in_any_order():
    rows = rows_of("features", unknown(X, (7, 0, 93, 500)))
    rng = np.random.default_rng(3)
    for _ in range(30):
        start, stop = sorted(rng.integers(0, N + 1, 2).tolist())
        np.testing.assert_array_equal(rows.block(start, stop).features, X[start:stop])
        if start % 5 == 0:
            rows.close()


@pytest.mark.filterwarnings("ignore:.* rows move to another worker:UserWarning")
def test_a_cluster_computes_what_it_holds():
    distributed = pytest.importorskip("distributed", reason="is a cluster; CI has it")
    expected = neuron(X, Y)
    how = {"processes": False, "n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.Client(**how) as client:
        held = client.persist(frame(y=Y))
        assert_same(neuron(held[NAMES], held["y"]), expected)
        assert_same(neuron(unknown(X, (100, 500)).persist(), cut(Y, (N,))), expected)


def test_dask_is_not_imported_for_arrays():
    code = (
        "import sys, fastbp\n"
        "fit = fastbp.fit_neuron([[1.0], [2.0]], [0, 1], [0.0], 0.0, 0.1, 1, validation=0.5)\n"
        "fit.predict([[1.0]])\n"
        "assert not {'dask', 'distributed', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)


# --- digests and checkpoints -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f8", "f4", "?"])
def test_digests_are_those_of_arrays(dtype, monkeypatch):
    monkeypatch.setattr("fastbp.data.rows.DIGEST_BYTES", 100)  # not all of it
    rng = np.random.default_rng(0)
    rows, labels, weight = rng.normal(size=(9000, 3)).astype(dtype), rng.random(9000), W[0]
    weight = np.full(9000, weight)

    def digests(features, y, w):
        given = {"labels": y, "sample_weight": w, "validation": None}
        return fastbp_samples(features, given).rows.digests()

    expected = digests(rows, labels, weight)
    for lengths in ((9000,), (1, 8000, 0, 999), (100,) * 90):
        assert digests(cut(rows, lengths, (3,)), cut(labels, lengths), weight) == expected
        assert digests(unknown(rows, lengths), labels, cut(weight, (9000,))) == expected
    rows[-1, -1] = ~rows[-1, -1] if dtype == "?" else 5
    changed = digests(cut(rows, (4000, 5000), (3,)), labels, weight)
    assert changed["features"] != expected["features"] and changed["labels"] == expected["labels"]


def fastbp_samples(features, given):
    from fastbp.data.labels import LabelKind, Targets, samples

    targets = Targets("mse", LabelKind.NUMBERS, vector=True)
    names = "features", "labels", "sample_weight"
    return samples(
        rows_of("features", features), given["labels"], given["sample_weight"], targets, names
    )


def test_a_checkpoint_continues_on_other_partitions(tmp_path):
    def fit(features, labels, epochs):
        how = {"loss": "bce", "batch_size": 64, "checkpoint": tmp_path / "fit"}
        return fit_neuron(features, labels, np.zeros(D), 0.0, 0.1, epochs, **how)

    fit(cut(X, (100, 500)), cut(Y, (N,)), 2)
    fit(X, Y, 3)
    assert_same(fit(frame(), frame(y=Y)["y"], 5), fit_neuron(
        X, Y, np.zeros(D), 0.0, 0.1, 5, loss="bce", batch_size=64
    ))  # fmt: skip
    with pytest.raises(fastbp.CheckpointError, match="features differ"):
        fit(cut(-X, (N,)), cut(Y, (N,)), 5)


# --- predictions -------------------------------------------------------------------------------


def refused():
    raise AssertionError("was computed")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_predictions_are_lazy(dtype):
    lazy = da.from_delayed(dask.delayed(refused)(), (5, D), "f8")
    fit = neuron(X, Y, dtype=dtype)
    deep = network(X, CLASSES, dtype=dtype)
    for model in (fit, deep):
        tail = model.predict(X).shape[1:]
        assert model.predict(lazy).shape == (5, *tail)
        for lengths in CUTS.values():
            outputs = model.predict(cut(X, lengths, (2, 2)))
            assert outputs.chunks == (lengths, *((n,) for n in tail)) and outputs.dtype == dtype
            np.testing.assert_array_equal(outputs.compute(), model.predict(X), strict=True)
        for features in (frame(n=4), unknown(X, (0, 200, 400))):
            outputs = model.predict(features)
            assert np.isnan(outputs.shape[0]) and outputs.shape[1:] == tail
            assert outputs.npartitions == features.npartitions
            np.testing.assert_array_equal(outputs.compute(), model.predict(X), strict=True)
    np.testing.assert_array_equal(
        fit.predict(cut(X, (300, 300)))[290:310].compute(), fit.predict(X)[290:310]
    )


def test_predictions_are_refused_at_the_call():
    features = cut(X, (N,))
    with pytest.raises(ValueError, match=r"features: expected 3 columns \(one per weight\), got 4"):
        predict_neuron(features, np.ones(3), 0.0)
    with pytest.raises(ValueError, match=r"features: expected 4 columns \(inputs\), got 3"):
        predict_network(features[:, :3], *LAYERS, activations=["tanh", "softmax"])
    with pytest.raises(ValueError, match="bias: expected a finite number"):
        predict_neuron(features, np.ones(4), np.inf)
    weights = [LAYERS[0][0] * np.nan, LAYERS[0][1]]
    with pytest.raises(ValueError, match="weights"):
        predict_network(features, weights, LAYERS[1], activations=["tanh", "softmax"])
    with pytest.raises(TypeError, match="features: expected real numbers, got text in column 't'"):
        predict_neuron(frame(t="x")[["a", "t"]], np.ones(2), 0.0)


def test_bad_rows_of_predictions_are_named():
    bad = X.copy()
    bad[170, 2] = np.inf
    message = "features, partition 1: expected finite numbers, got inf in row 20, column 2"
    with pytest.raises(DataError, match=message):
        predict_neuron(cut(bad, (150,) * 4), np.ones(4), 0.0).compute()
    with pytest.raises(DataError, match=message):
        predict_network(frame(bad, 4), *LAYERS, activations=["tanh", "softmax"]).compute()


# --- errors ------------------------------------------------------------------------------------

OBJECTS = X.astype(object)
OBJECTS[170, 1] = "x"
BAD = X.copy()
BAD[170, 2] = np.nan
EVEN = (150,) * 4


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        (cut(Y, EVEN), ValueError, r"expected 2 dimensions .*, got 1 \(shape \(600,\)\); one row"),
        (frame()["a"], ValueError, "expected 2 dimensions .*, got 1 "),
        (da.ones((2, 2, 2)), ValueError, "expected 2 dimensions .*, got 3 "),
        (cut(X + 1j, EVEN), TypeError, "expected real numbers, got complex numbers"),
        (cut(X.astype(str), EVEN), TypeError, "expected real numbers, got text"),
        (cut(X.astype("M8[s]"), EVEN), TypeError, "expected real numbers, got dates"),
        (frame(t="x"), TypeError, "expected real numbers, got text in column 't'"),
        (frame(t=pd.Timestamp(0)), TypeError, r"expected real numbers, got datetime64.* column 't'"),
        (da.ones((0, 4)), DataError, r"expected at least one row and one column, got shape \(0, 4\)"),
        (da.ones((4, 0)), DataError, r"expected at least one row and one column, got shape \(4, 0\)"),
    ],
)  # fmt: skip
def test_what_is_known_to_be_wrong_is_not_computed(features, error, message, monkeypatch):
    monkeypatch.setattr(dask, "compute", refused)
    with pytest.raises(error, match="^features: " + message):
        neuron(features, [0.0])


def test_no_rows_in_any_partition():
    features = unknown(X, EVEN)
    with pytest.raises(DataError, match=r"^features: expected at least one row .* shape \(0, 4\)"):
        neuron(features[features[:, 0] > 99.0], Y[:0])


@pytest.mark.parametrize("in_table", [False, True])
def test_bad_rows_are_named(in_table, read):
    features = frame(BAD, 4) if in_table else cut(BAD, EVEN, (2, 2))
    column = "'c'" if in_table else "2"
    text = rf"^features, partition 1: expected finite numbers, got nan in row 20, column {column}$"
    with pytest.raises(DataError, match=text) as caught:
        neuron(features, Y)
    assert caught.value.row == 20
    for shuffle in (False, "window"):
        with pytest.raises(DataError, match=text):
            neuron(features, cut(Y, (N,)), batch_size=40, shuffle=shuffle, validation=0.1)


def test_objects_are_named(read):
    features = cut(OBJECTS, EVEN)
    text = "^features, partition 1: expected real numbers, got str 'x' in row 20, column 1$"
    with pytest.raises(TypeError, match=text):
        neuron(features, Y)
    OBJECTS[170, 1] = X[170, 1]
    assert_same(neuron(cut(OBJECTS, EVEN), Y), neuron(X, Y))
    OBJECTS[170, 1] = "x"


def at(row, value, array=Y):
    array = array.astype(float)
    array[row] = value
    return array


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": at(170, 2.0)}, DataError, "features, partition 1: labels: expected values from 0 to 1 for 'bce', got 2.0 in row 20"),
        ({"labels": at(170, np.nan)}, DataError, "features, partition 1: labels: expected finite numbers, got nan in row 20"),
        ({"sample_weight": at(170, -2.0)}, DataError, "features, partition 1: sample_weight: expected non-negative weights, got -2.0 in row 20"),
        ({"sample_weight": 0 * Y}, ValueError, "sample_weight: expected rows with a weight above 0, got zeros only"),
        ({"labels": Y[1:]}, ValueError, r"labels: expected 600 values \(one per row of features\), got 599"),
        ({"sample_weight": Y[1:]}, ValueError, r"sample_weight: expected 600 values \(one per row of features\), got 599"),
        ({"labels": X}, ValueError, "labels: expected one column per output, that is 1, got 4"),
        ({"sample_weight": X}, ValueError, "sample_weight: expected 1 column, got 4"),
        ({"labels": Y.astype(str)}, TypeError, "labels: expected real numbers, got text"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("known", [True, False])
def test_labels_and_weights_are_refused_with_their_names(known, change, error, message, read):
    ((name, array),) = change.items()
    lengths = (200, len(array) - 200)
    dasks = unknown(array, lengths) if not known else cut(array, lengths)
    given = {"labels": Y, name: dasks}
    with pytest.raises(error, match=f"^{message}$"):
        neuron(cut(X, EVEN), **given)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (at(170, 3, CLASSES), DataError, "partition 1: labels: expected class indices from 0 to 2, got 3.0 in row 20"),
        (at(170, 0, np.eye(3)[CLASSES]), DataError, "partition 1: labels: expected rows that are not negative and sum to 1 .* in row 20"),
        (X, ValueError, "labels: expected one column per output, that is 3, got 4"),
        (CLASSES.astype(str), TypeError, "labels: expected real numbers, got text; numpy.unique.* gives class indices"),
    ],
)  # fmt: skip
def test_labels_of_networks_are_refused(labels, error, message, read):
    with pytest.raises(error, match=message):
        network(cut(X, EVEN), cut(labels, (599, 1), labels.shape[1:]))
    half_mse = {"activations": ["tanh", "identity"], "loss": "half_mse"}
    with pytest.raises(ValueError, match=r"labels: expected one column .* got one dimension"):
        fit_network(cut(X, EVEN), cut(Y, EVEN), *LAYERS, 0.1, 1, **half_mse)


def test_partitions_that_are_not_what_they_were_said_to_be():
    wrong = da.from_delayed(dask.delayed(np.ones)((5, 3)), (6, D), "f8")
    text = r"features, partition 0: expected shape \(6, 4\), got \(5, 3\)"
    with pytest.raises(DataError, match=text):
        neuron(wrong, np.ones(6))
    with pytest.raises(ValueError, match="shuffle: expected 'window' or False for features"):
        neuron(cut(X, EVEN), Y, shuffle=True)
    carried = open_rows(frame(y=Y), target="y")
    with pytest.raises(ValueError, match="labels: expected None with features that carry labels"):
        neuron(carried, cut(Y, EVEN))
    with pytest.raises(ValueError, match="target: expected a column of source"):
        open_rows(frame(), target="y")
