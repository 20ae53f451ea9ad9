"""Synthetic data: the same rows in every form, from a good generator, with the teacher's labels."""

import errno
import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fastbp import datasets, fit_network, fit_neuron
from fastbp.datasets import VirtualRows, make_network_dataset, make_neuron_dataset
from fastbp.models.network import predict_network
from tests.problems import python

DISTRIBUTIONS = ["normal", "uniform"]
ERRORS = 4.5  # standard errors: chance would exceed them once in 150,000
SEEDS = [0, 1, 2, 2**62]
BOTH = [
    lambda n, **k: make_neuron_dataset(n, 5, noise=0.4, **k),
    lambda n, **k: make_network_dataset(n, [5, 7, 2], noise=0.4, **k),
    lambda n, **k: make_network_dataset(n, [5, 7, 3], noise=0.4, task="classification", **k),
]


def numbers(distribution, seed, n, d=1):
    rows, *_ = make_neuron_dataset(n, d, seed=seed, distribution=distribution, virtual=True)
    return rows.block(0, n).features


# --- the same rows ------------------------------------------------------------------------


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_every_form_has_the_same_rows(make, distribution, tmp_path):
    path = tmp_path / "rows.npy"
    arguments = {"seed": 3, "distribution": distribution}
    x, y, *teacher = make(300, **arguments)
    rows, none, *teacher_of_rows = make(300, **arguments, virtual=True)
    opened, also_none, *teacher_of_file = make(300, **arguments, out=path)
    assert none is None and also_none is None
    assert pickle.dumps(teacher) == pickle.dumps(teacher_of_rows) == pickle.dumps(teacher_of_file)
    labels = y.reshape(300, -1)
    for source in (rows, opened):
        block = source.block(0, 300)
        np.testing.assert_array_equal(block.features, x)
        np.testing.assert_array_equal(block.labels, labels)
    written = np.load(path)
    assert written.dtype == np.float64 and written.flags.c_contiguous
    np.testing.assert_array_equal(written, np.hstack([x, labels]))
    assert [p.name for p in tmp_path.iterdir()] == ["rows.npy"]
    order = np.random.default_rng(0).permutation(300)[:77]
    taken = rows.empty(77)
    rows.take(order, taken)
    np.testing.assert_array_equal(taken.features, x[order])
    np.testing.assert_array_equal(taken.labels, labels[order])
    rows.take(order[:0], rows.empty(0))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_rows_do_not_depend_on_the_cut(data):
    n, d = data.draw(st.integers(1, 400)), data.draw(st.integers(1, 40))
    noise = data.draw(st.sampled_from([0.0, 0.5]))
    keywords = {
        "seed": 5,
        "noise": noise,
        "distribution": data.draw(st.sampled_from(DISTRIBUTIONS)),
    }
    if data.draw(st.booleans()):
        rows, *_ = make_neuron_dataset(10**6, d, virtual=True, **keywords)
    else:
        rows, *_ = make_network_dataset(10**6, [d, 9, 2], virtual=True, **keywords)
    first = data.draw(st.integers(0, 10**5))
    whole = rows.block(first, first + n)
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=5)))
    for start, stop in itertools.pairwise([0, *cuts, n]):
        part = rows.block(first + start, first + stop)
        np.testing.assert_array_equal(part.features, whole.features[start:stop])
        np.testing.assert_array_equal(part.labels, whole.labels[start:stop])


@pytest.mark.parametrize("make", BOTH)
def test_threads_write_the_same_rows(make, monkeypatch, tmp_path):
    x, y, *_ = make(5000, seed=1)
    rows, *_ = make(5000, seed=1, virtual=True)
    target = rows.empty(5000)
    with ThreadPoolExecutor(4) as pool:
        starts = range(0, 5000, 61)
        list(pool.map(lambda i: rows.fill(i, min(i + 61, 5000), target.part(i, i + 61)), starts))
    np.testing.assert_array_equal(target.features, x)
    np.testing.assert_array_equal(target.labels, y.reshape(5000, -1))
    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 2**12)
    monkeypatch.setattr(datasets, "generating_threads", lambda rows: 3)
    again = make(5000, seed=1)
    np.testing.assert_array_equal(again[0], x)
    np.testing.assert_array_equal(again[1], y)
    make(5000, seed=1, out=tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy")[:, :5], x)


def test_wide_teachers_do_not_depend_on_the_cut():
    rows, *_ = make_network_dataset(10**6, [40, 300, 200, 3], seed=1, virtual=True)
    whole = rows.block(0, 700)
    for start, stop in [(0, 1), (1, 9), (13, 300), (255, 513), (699, 700)]:
        np.testing.assert_array_equal(rows.block(start, stop).labels, whole.labels[start:stop])


def test_features_alone():
    for make in BOTH:
        rows, *_ = make(100, seed=1, virtual=True)
        block = datasets.Block(np.empty((100, 5)))
        rows.fill(0, 100, block)
        np.testing.assert_array_equal(block.features, rows.block(0, 100).features)


def test_more_rows_than_anybody_has():
    rows, *_ = make_neuron_dataset(10**12, 20, seed=1, noise=1.0, virtual=True)
    last = rows.block(10**12 - 3, 10**12)
    taken = rows.empty(2)
    rows.take(np.array([10**12 - 1, 10**12 - 3]), taken)
    np.testing.assert_array_equal(taken.features, last.features[[2, 0]])
    np.testing.assert_array_equal(taken.labels, last.labels[[2, 0]])


def test_seeds():
    def first(seed):
        x, _, weights, bias = make_neuron_dataset(50, 3, seed=seed)
        return (*x.reshape(-1).tolist(), *weights.tolist(), bias)

    different = {first(s) for s in [*range(20), 2**62, None, None, np.random.default_rng(0)]}
    assert len(different) == 24
    assert first(np.int64(7)) == first(7)
    for make in (np.random.default_rng, np.random.RandomState):
        random = make(7)
        assert first(random) != first(random)
        assert first(make(7)) == first(make(7))


def test_the_teacher_does_not_depend_on_the_number_of_rows():
    for make in BOTH:
        few, many = make(10, seed=4), make(1000, seed=4)
        assert pickle.dumps(few[2:]) == pickle.dumps(many[2:])
        np.testing.assert_array_equal(few[0], many[0][:10])


def test_digests_tell_what_the_rows_are_computed_from():
    def digest(n=100, **keywords):
        chosen = {"seed": 1, "noise": 0.5, **keywords}
        return make_neuron_dataset(n, 3, virtual=True, **chosen)[0].digest()

    assert digest() == digest()
    others = [digest(101), digest(seed=2), digest(noise=0.25), digest(distribution="uniform")]
    network = {"seed": 1, "noise": 0.5, "virtual": True}
    others += [
        make_network_dataset(100, [3, 2], activations=names, task=task, **network)[0].digest()
        for names in (["identity"], ["tanh"])
        for task in datasets.TASKS
    ]
    assert len({digest(), *others}) == 9


def test_what_the_rows_say_of_themselves():
    rows, *_ = make_network_dataset(10**6, [2, 8, 3], noise=0.5, virtual=True)
    assert repr(rows) == (
        "<VirtualRows: 1,000,000 x 2 normal features, labels of a 2-8-3 network"
        " (tanh, identity), noise 0.5>"
    )
    assert isinstance(rows, VirtualRows)
    assert (rows.n_rows, rows.n_features, rows.n_labels) == (10**6, 2, 3)
    assert rows.random_access and rows.any_order and rows.in_memory is None and not rows.weighted
    assert rows.locate(5) == ("virtual rows", 5)
    again = pickle.loads(pickle.dumps(rows))
    assert again.digest() == rows.digest()
    np.testing.assert_array_equal(again.block(3, 9).labels, rows.block(3, 9).labels)


# --- the generator ------------------------------------------------------------------------

MOMENTS = {
    "normal": [0, 1, 0, 3, 0, 15, 0, 105, 0, 945, 0, 10395],
    "uniform": [0 if k % 2 else 1 / (k + 1) for k in range(1, 13)],
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_moments(distribution, seed):
    x = numbers(distribution, seed, 10**6)[:, 0]
    moments = MOMENTS[distribution]
    for k in range(1, 7):  # mean, variance, skewness, kurtosis and two more
        spread = moments[2 * k - 1] - moments[k - 1] ** 2
        assert abs(np.mean(x**k) - moments[k - 1]) < ERRORS * np.sqrt(spread / x.size), k


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_kolmogorov_and_smirnov(distribution, seed):
    x = numbers(distribution, seed, 50_000, 8)
    exact = {"normal": stats.norm, "uniform": stats.uniform(-1, 2)}[distribution].cdf
    assert stats.kstest(x.reshape(-1), exact).pvalue > 1e-3
    assert min(stats.kstest(column, exact).pvalue for column in x.T) > 1e-3
    strided = [x.reshape(-1)[i::16] for i in range(16)]  # each lane of the generator
    assert min(stats.kstest(part, exact).pvalue for part in strided) > 1e-3


def correlations(a, b):
    """Of every column of one with every column of the other, in standard errors."""
    a, b = ((m - m.mean(axis=0)) / m.std(axis=0) for m in (a, b))
    return a.T @ b / np.sqrt(len(a))


@pytest.mark.parametrize("power", [1, 2])  # cosine and sine share a radius, which squares show
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_nothing_is_correlated(distribution, power):
    x = numbers(distribution, 1, 200_000, 11) ** power
    columns = correlations(x, x)[~np.eye(11, dtype=bool)]
    assert np.abs(columns).max() < ERRORS
    assert np.abs(correlations(x[:-1], x[1:])).max() < ERRORS
    flat = x.reshape(-1, 1)
    lags = [float(correlations(flat[:-lag], flat[lag:])[0, 0]) for lag in range(1, 65)]
    assert np.abs(lags).max() < ERRORS
    for seed in (0, 2, 3):
        assert np.abs(correlations(x, numbers(distribution, seed, 200_000, 11) ** power)).max() < 5


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_pairs_fill_the_square(distribution):
    x = numbers(distribution, 6, 10**6, 2)
    u = stats.norm.cdf(x) if distribution == "normal" else (x + 1) / 2
    for a, b in ((u[:, 0], u[:, 1]), (u[:-4, 0], u[4:, 0]), (u[:-1, 1], u[1:, 0])):
        cells = np.histogram2d(a, b, bins=64, range=[[0, 1], [0, 1]])[0]
        assert 1e-3 < stats.chisquare(cells.reshape(-1)).pvalue < 1 - 1e-3


@pytest.mark.parametrize("seed", SEEDS)
def test_bits_are_balanced_and_independent(seed):
    x = numbers("uniform", seed, 2**18)[:, 0]
    assert x.min() >= -1.0 and x.max() < 1.0
    whole = ((x + 1.0) * 2.0**52).astype(np.uint64)
    np.testing.assert_array_equal(whole.astype(np.float64) * 2.0**-52 - 1.0, x)
    for values in (whole, whole[1:] ^ whole[:-1], whole[16:] ^ whole[:-16]):
        ones = [np.mean(values >> np.uint64(i) & np.uint64(1)) for i in range(53)]
        assert np.abs(np.array(ones) - 0.5).max() < ERRORS * 0.5 / np.sqrt(values.size)


def test_normal_tails():
    x = np.abs(numbers("normal", 8, 10**7)[:, 0])
    for limit in (3.0, 4.0, 4.5):
        expected = 2 * stats.norm.sf(limit) * x.size
        assert abs(np.sum(x > limit) - expected) < ERRORS * np.sqrt(expected)


# --- labels -------------------------------------------------------------------------------


def test_without_noise_the_teacher_is_right():
    for distribution, scale in zip(DISTRIBUTIONS, (3.0, 3.0 / np.sqrt(3)), strict=True):
        x, y, weights, bias = make_neuron_dataset(20_000, 50, seed=2, distribution=distribution)
        z = x @ weights + bias
        np.testing.assert_array_equal(y, z > 0.0)
        assert np.std(z) == pytest.approx(scale, rel=0.3)


def test_noise_of_a_neuron():
    x, y, weights, bias = make_neuron_dataset(10**5, 4, seed=2, noise=2.0)
    z = x @ weights + bias
    chance = stats.norm.cdf(z / 2.0)
    assert abs(np.sum(y - chance)) < ERRORS * np.sqrt(np.sum(chance * (1 - chance)))
    flipped = y != (z > 0.0)
    expected = np.minimum(chance, 1 - chance)
    assert abs(np.sum(flipped - expected)) < ERRORS * np.sqrt(np.sum(expected * (1 - expected)))
    clean = make_neuron_dataset(10**5, 4, seed=2)
    np.testing.assert_array_equal(clean[0], x)
    np.testing.assert_array_equal(clean[2], weights)


def test_labels_of_a_network():
    names = ["relu", "sigmoid", "tanh"]
    sizes = np.array([3, 8, 6, 2])
    x, y, weights, biases = make_network_dataset(5000, sizes, activations=names, seed=2)
    np.testing.assert_array_equal(y, predict_network(x, weights, biases, activations=names))
    assert [w.shape for w in weights] == [(3, 8), (8, 6), (6, 2)]
    noisy = make_network_dataset(5000, sizes, activations=names, seed=2, noise=0.5)
    np.testing.assert_array_equal(noisy[0], x)
    noise = noisy[1] - y
    assert min(stats.kstest(e, stats.norm(0, 0.5).cdf).pvalue for e in noise.T) > 1e-3
    beside = x.reshape(-1, 1)[: noise.size]  # where the streams, were they one, would be equal
    assert np.abs(correlations(noise.reshape(-1, 1), beside)).max() < ERRORS
    drawn = weights[0].reshape(-1) * np.sqrt(3.0) / 2.0
    assert np.abs(drawn - x.reshape(-1)[: drawn.size]).max() > 0.1
    chosen = {"activations": names, "seed": 2, "task": "classification"}
    np.testing.assert_array_equal(make_network_dataset(5000, sizes, **chosen)[1], y.argmax(axis=1))
    np.testing.assert_array_equal(
        make_network_dataset(5000, sizes, **chosen, noise=0.5)[1], noisy[1].argmax(axis=1)
    )


def test_students_learn_from_the_teacher():
    x, y, _, _ = make_neuron_dataset(5000, 3, seed=1)
    fit = fit_neuron(x, y, np.zeros(3), 0.0, 1.0, 500, loss="bce")
    assert np.mean((fit.predict(x) > 0.5) == y) > 0.99
    x, y, weights, biases = make_network_dataset(500, [2, 4, 1], seed=1)
    fit = fit_network(x, y, weights, biases, 0.1, 1, activations=["tanh", "identity"])
    assert fit.losses[0] == 0.0


# --- what goes wrong ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "message"),
    [
        ((0, 3), {}, ValueError, "n_samples: expected at least 1, got 0"),
        ((3, 0), {}, ValueError, "n_features: expected at least 1, got 0"),
        ((1.5, 3), {}, TypeError, "n_samples: expected an integer"),
        ((2**62, 2), {}, ValueError, r"n_samples: expected fewer than 2\*\*63 numbers"),
        ((3, 3), {"noise": -1.0}, ValueError, "noise: expected at least 0"),
        ((3, 3), {"noise": "much"}, TypeError, "noise: expected a real number"),
        ((3, 3), {"seed": -1}, ValueError, "seed: expected at least 0"),
        ((3, 3), {"seed": "one"}, TypeError, "seed: expected an integer"),
        ((3, 3), {"distribution": "cauchy"}, ValueError, "distribution: expected one of"),
        ((3, 3), {"out": "rows.csv"}, ValueError, r"out: expected a name that ends in '.npy'"),
        ((3, 3), {"out": "a.npy", "virtual": True}, ValueError, "out: expected None with virtual"),
    ],
)
def test_wrong_arguments(arguments, keywords, error, message):
    with pytest.raises(error, match=message):
        make_neuron_dataset(*arguments, **{"seed": 1, "virtual": "out" not in keywords, **keywords})


@pytest.mark.parametrize(
    ("sizes", "keywords", "error", "message"),
    [
        ([3], {}, ValueError, "layer_sizes: expected at least 2 sizes, got 1"),
        (3, {}, TypeError, "layer_sizes: expected a sequence of integers"),
        ([3, 0], {}, ValueError, r"layer_sizes\[1\]: expected at least 1, got 0"),
        ([3, 1], {"task": "classification"}, ValueError, "expected at least 2 outputs"),
        ([3, 1], {"task": "ranking"}, ValueError, "task: expected one of"),
        ([3, 1], {"activations": ["tanh", "tanh"]}, ValueError, "activations: expected 1 names"),
        ([3, 1], {"activations": ["step"]}, ValueError, r"activations\[0\]: expected one of"),
    ],
)
def test_wrong_networks(sizes, keywords, error, message):
    with pytest.raises(error, match=message):
        make_network_dataset(10, sizes, seed=1, **keywords)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_failure_leaves_the_old_file_and_nothing_else(error, monkeypatch, tmp_path):
    path = tmp_path / "rows.npy"
    path.write_bytes(b"old")
    calls = []

    def failing(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise error

    monkeypatch.setattr("fastbp.data.rows.BLOCK_BYTES", 2**10)
    monkeypatch.setattr(VirtualRows, "fill", failing)
    with pytest.raises(error):
        make_neuron_dataset(1000, 3, out=path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_error_that_names_the_file(monkeypatch, tmp_path):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device.*rows\.npy") as caught:
        make_neuron_dataset(1000, 3, out=tmp_path / "rows.npy")
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'.*nowhere/rows\.npy'"):
        make_neuron_dataset(1000, 3, out=tmp_path / "nowhere" / "rows.npy")


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs a limit on the size of files")
def test_a_write_that_fails_halfway(tmp_path):
    printed = python(f"""
        import resource
        from fastbp import datasets
        datasets.make_neuron_dataset(10, 3)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
        try:
            datasets.make_neuron_dataset(10**6, 3, out={str(tmp_path / "rows.npy")!r})
        except OSError as error:
            print(error)
    """)
    assert "File too large" in printed and "rows.npy" in printed
    assert not list(tmp_path.iterdir())
