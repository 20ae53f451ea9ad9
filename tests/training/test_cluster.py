"""A fit on a cluster has the bits of the same fit on one machine, however its rows lie."""

import pandas as pd
import pytest

import fastbp
from fastbp.kernels.neuron import chunk_rows
from tests.training.clusters import (
    THREE,
    TWO,
    WEIGHT,
    D,
    X,
    in_chunks,
    local_cluster,
    network,
    neuron,
    quietly,
    same,
    small_groups,  # noqa: F401  # a fixture
)

dask_frame = pytest.importorskip("dask.dataframe")
pytestmark = pytest.mark.usefixtures("small_groups")
WAYS = {
    "plain": {},
    "lbfgs": {"optimizer": "lbfgs", "rate": None, "alpha": 0.1},
    "adam": {"optimizer": "adam", "clip_norm": 0.3, "rate": 0.01},
    "validation": {"validation": 0.2, "tol": 0.0},
    "threads": {"n_threads": 2, "optimizer": fastbp.SGD(momentum=0.9)},
    "float32": {"dtype": "float32"},
}


@pytest.fixture(scope="module", params=[1, 2, 3])
def client(request):
    with local_cluster(request.param) as found:
        yield found


@pytest.fixture(scope="module")
def two_workers():
    with local_cluster(2) as found:
        yield found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rows", [20_000, 7000, 611])
def test_bits_of_a_neuron(client, way, rows):
    how = WAYS[way]
    x, y, w = in_chunks(X, TWO, WEIGHT, rows=rows)
    assert same(quietly(neuron, x, y, w, **how), neuron(X, TWO, WEIGHT, **how))


@pytest.mark.parametrize("way", WAYS)
def test_bits_of_a_network(two_workers, way):
    how = WAYS[way]
    x, y = in_chunks(X, THREE)
    assert same(quietly(network, x, y, **how), network(X, THREE, **how))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shards of a table, in files of several formats and lengths."""
    path = tmp_path_factory.mktemp("shards")
    table = pd.DataFrame(X, columns=[f"x{j}" for j in range(D)]).assign(y=TWO, w=WEIGHT)
    for i, (start, stop) in enumerate([(0, 6000), (6000, 6001), (6001, 15_000), (15_000, 20_000)]):
        table[start:stop].to_parquet(path / f"{i}.parquet")
    return path


@pytest.mark.parametrize("way", WAYS)
def test_bits_of_files(two_workers, way, folder):
    how, columns = WAYS[way], {"target": "y", "weight": "w"}
    shards = sorted(folder.iterdir())
    rows = fastbp.open_rows(shards, **columns, cluster=two_workers)
    expected = neuron(fastbp.open_rows(folder, **columns), None, **how)
    assert same(neuron(rows, None, **how), expected)
    assert same(expected, neuron(X, TWO, WEIGHT, **how))


def test_files_with_labels_and_weights_in_memory(two_workers, folder):
    shards = sorted(folder.iterdir())
    rows = fastbp.open_rows(shards, exclude=["y", "w"], cluster=two_workers)
    expected = neuron(X, TWO, WEIGHT, validation=(X, TWO))
    assert same(neuron(rows, TWO, WEIGHT, validation=(rows, TWO)), expected)
    bad = TWO.copy()
    bad[6002] = 1.5
    with pytest.raises(fastbp.DataError, match=r"labels: expected values from 0 to 1.* row 6002"):
        neuron(rows, bad)


def test_bits_of_a_data_frame(two_workers, folder):
    frame = dask_frame.read_parquet(folder)
    x, y, w = frame[[f"x{j}" for j in range(D)]], frame["y"], frame["w"]
    fit = quietly(neuron, x, y, w)
    assert same(fit, neuron(X, TWO, WEIGHT))
    assert fit.feature_names == [f"x{j}" for j in range(D)]


def test_mini_batches_of_whole_groups(two_workers):
    group = 2 * chunk_rows(D)
    x, y = in_chunks(X, TWO)
    assert same(quietly(neuron, x, y, batch_size=group), neuron(X, TWO, batch_size=group))
    with pytest.raises(ValueError, match=f"batch_size: expected None or a multiple of {group:,}"):
        neuron(x, y, batch_size=group - 1)
    with pytest.raises(ValueError, match="shuffle: expected False on a cluster"):
        neuron(x, y, batch_size=group, shuffle="window")
