"""A fit on a cluster has the bits of the same fit on one machine, however its rows lie."""

import pytest

import fastbp
from tests.training.clusters import (
    THREE,
    TWO,
    WEIGHT,
    X,
    in_chunks,
    local_cluster,
    network,
    neuron,
    quietly,
    same,
    small_groups,  # noqa: F401  # a fixture
)

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
