"""What fits tell of themselves: one line instead of arrays, and their losses as columns."""

import numpy as np
import pytest

import fastbp

X = np.random.default_rng(0).normal(size=(40, 20))
Y = (X[:, 0] > 0.0).astype(float)


def neuron(epochs=3, x=X, **keywords):
    return fastbp.fit_neuron(x, Y, np.zeros(x.shape[1]), 0.0, 0.1, epochs, **keywords)


def network(sizes, epochs=3, **keywords):
    names = ["relu"] * (len(sizes) - 2) + ["identity"]
    start = fastbp.initialize_network(sizes, activations=names, random_state=0)
    x, y = np.ones((8, sizes[0])), np.ones((8, sizes[-1]))
    return fastbp.fit_network(x, y, *start, 0.001, epochs, activations=names, **keywords)


def test_a_neuron_in_one_line():
    assert repr(neuron(0)) == "NeuronFit(20 features, 21 parameters, 0 epochs)"
    told = f"NeuronFit(20 features, 21 parameters, 3 epochs, loss {neuron().losses[-1]:.4g})"
    assert repr(neuron()) == str(neuron()) == told
    one = neuron(1, X[:, :1], dtype="float32")
    assert repr(one) == "NeuronFit(1 feature, 2 float32 parameters, 1 epoch, loss 0.25)"


def test_a_network_in_one_line():
    fit = network((64, 100, 10), 1)
    told = f"NetworkFit(64-100-10, 7,510 parameters, 1 epoch, loss {fit.losses[0]:.4g})"
    assert repr(fit) == told
    told = repr(network((2, 3), dtype="float32"))
    assert told.startswith("NetworkFit(2-3, 9 float32 parameters, 3 epochs, loss ")


def test_why_it_stopped():
    assert repr(neuron(50, tol=1e3, n_iter_no_change=2)).endswith(", stopped='tol')")
    assert repr(neuron(50, callback=lambda state: state.epoch == 4)).endswith("stopped='callback')")
    assert "stopped" not in repr(neuron())


def test_a_stored_fit_tells_the_same(tmp_path):
    for fit in (neuron(dtype="float32"), network((4, 3, 2))):
        fastbp.save(fit, tmp_path / "fit")
        assert repr(fastbp.load(tmp_path / "fit")) == repr(fit)


@pytest.mark.parametrize("fit", [neuron(5, validation=0.25), network((3, 2), 5, validation=0.25)])
def test_the_history_has_a_column_for_each_loss(fit):
    history = fit.history()
    assert list(history) == ["epoch", "loss", "validation_loss"]
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert history["loss"].tolist() == fit.losses.tolist()
    assert history["validation_loss"].tolist() == fit.validation_losses.tolist()
    for column in ("loss", "validation_loss"):  # they are copies
        history[column][:] = 0.0
    assert fit.losses.all() and fit.validation_losses.all()


def test_tables_take_the_history():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    history = neuron().history()
    assert list(history) == ["epoch", "loss"]
    table = pandas.DataFrame(history)
    assert table.shape == (3, 2) and table.dtypes.tolist() == [np.int64, np.float64]
    assert polars.DataFrame(history).shape == (3, 2)
    assert pandas.DataFrame(neuron(0).history()).shape == (0, 2)
