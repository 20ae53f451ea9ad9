"""Fits of microseconds: what is left out of them, and that nothing else is."""

import numpy as np
import pytest

import fastbp
from fastbp.data import arrays, checks
from fastbp.system import interrupts
from fastbp.training.run import Run

X = np.random.default_rng(0).normal(size=(100, 2))
Y, W = (X.sum(axis=1) > 0).astype(float), np.array([0.1, -0.2])
LAYERS = ["tanh", "identity"]
WEIGHTS, BIASES = fastbp.initialize_network([2, 5, 1], activations=LAYERS, random_state=0)


def neuron(epochs=3, **keywords):
    return fastbp.fit_neuron(X, Y, W, 0.25, 0.1, epochs, **keywords)


def network(epochs=3, **keywords):
    return fastbp.fit_network(X, Y, WEIGHTS, BIASES, 0.1, epochs, activations=LAYERS, **keywords)


def gradient(x=X, y=Y):
    return fastbp.loss_and_gradient(x, y, WEIGHTS, BIASES, activations=LAYERS)


@pytest.fixture
def deferred(monkeypatch):
    """Grows whenever a fit defers Ctrl-C."""
    calls = []
    original = interrupts.deferred_interrupts
    for module in ("driver", "objective"):
        name = f"fastbp.training.{module}.deferred_interrupts"
        monkeypatch.setattr(name, lambda: calls.append(1) or original())
    return calls


def test_ctrl_c_is_not_deferred_in_a_fit_that_is_sure_to_be_brief(deferred):
    neuron()
    network(batch_size=7, shuffle=True, random_state=0, optimizer="adam")
    gradient()
    fastbp.train_neuron(X, Y, W, 0.25, 0.1, 3)
    assert deferred == []


@pytest.mark.parametrize(
    "keywords",
    [
        {"epochs": 10**5},
        {"shuffle": "window", "epochs": 60},
        {"callback": lambda state: None},
        {"validation": (X, Y)},
        {"n_threads": 2},
        {"progress": "always"},
    ],
    ids=lambda keywords: next(iter(keywords)),
)
def test_it_is_in_every_other(keywords, deferred, capsys):
    neuron(**keywords)
    network(**keywords)
    assert deferred == [1, 1]
    assert ("epoch 3/3" in capsys.readouterr().err) == ("progress" in keywords)


def test_it_is_with_functions_files_and_many_rows(deferred, tmp_path):
    fastbp.fit_neuron(X, Y, W, 0.25, lambda epoch: 0.1, 3)
    neuron(checkpoint=tmp_path / "checkpoint")
    np.save(tmp_path / "rows.npy", np.column_stack([X, Y]))
    rows = fastbp.open_rows(tmp_path / "rows.npy", target=-1)
    many = np.ones((10**6, 2))
    fastbp.fit_neuron(many, np.ones(10**6), W, 0.25, 0.1, 1)
    gradient(many, np.ones(10**6))
    assert deferred == [1] * 4
    fastbp.fit_neuron(rows, None, W, 0.25, 0.1, 3)  # they are in memory


@pytest.mark.parametrize("fit", [neuron, network])
@pytest.mark.parametrize("keywords", [{}, {"batch_size": 7, "shuffle": True, "random_state": 0}])
def test_a_brief_fit_equals_one_that_is_not(fit, keywords, monkeypatch):
    brief = fit(**keywords)
    monkeypatch.setattr("fastbp.training.problem.BRIEF_WORK", 0)
    for ours, theirs in zip(brief, fit(**keywords), strict=True):
        np.testing.assert_equal(ours, theirs)


def test_a_fit_of_a_millisecond_is_one_slice(monkeypatch):
    slices = []
    original = Run.slice
    monkeypatch.setattr(Run, "slice", lambda self: slices.append(1) or original(self))
    neuron(epochs=500)
    assert len(slices) == 1
    network(epochs=100)
    assert len(slices) == 2


@pytest.mark.parametrize("optimizer", ["sgd", "adam", fastbp.SGD(momentum=0.9)])
@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"batch_size": 1},
        {"batch_size": 9},
        {"batch_size": 9, "shuffle": True, "random_state": 0},
        {"sample_weight": np.linspace(0.5, 2.0, 100), "alpha": 0.1},
    ],
    ids=str,
)
def test_kernels_write_their_scratch_before_they_read_it(optimizer, keywords, monkeypatch):
    fits = [fit(optimizer=optimizer, **keywords) for fit in (neuron, network)]

    def poisoned(size):
        memory = original(size)
        memory[:] = np.nan
        return memory

    original = arrays.aligned
    monkeypatch.setattr("fastbp.training.memory.aligned", poisoned)
    again = [fit(optimizer=optimizer, **keywords) for fit in (neuron, network)]
    for ours, theirs in zip(fits, again, strict=True):
        np.testing.assert_equal(list(ours), list(theirs))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(1,), (100,), (9, 3)])
def test_a_number_that_is_not_finite_is_found_wherever_it_is(wrong, shape):
    array = np.full(shape, 1e308)  # whose sum is not finite
    assert checks.is_finite(array)
    for index in range(array.size):
        one = array.copy()
        one.reshape(-1)[index] = wrong
        assert not checks.is_finite(one)


def test_usual_arguments_are_not_the_only_ones():
    expected = neuron()
    unusual = fastbp.fit_neuron(
        X.tolist(), Y.astype(object), np.asfortranarray(W), np.float32(0.25), 0.1, np.int8(3),
        activation=np.str_("sigmoid"), loss=np.str_("mse"), optimizer=np.str_("sgd"),
    )  # fmt: skip
    np.testing.assert_equal(list(unusual), list(expected))


class TestRecognizedNetworks:
    """A network whose arrays are views of one vector is recognized by the arrays."""

    @pytest.fixture
    def model(self):
        names = ["tanh", "identity"]
        start = fastbp.initialize_network([30, 40, 2], activations=names, random_state=0)
        x = np.random.default_rng(0).normal(size=(50, 30))
        fit = fastbp.fit_network(x, np.ones((50, 2)), *start, 0.1, 1, activations=names)
        assert fit.weights[0].base is fit.biases[1].base is not None
        return fit

    @staticmethod
    def expected(fit, x):
        hidden = np.tanh(x @ fit.weights[0] + fit.biases[0])
        return hidden @ fit.weights[1] + fit.biases[1]

    def test_whatever_becomes_of_its_arrays(self, model):
        x = np.random.default_rng(1).normal(size=(1, 30))
        for _ in range(2):
            np.testing.assert_allclose(model.predict(x), self.expected(model, x), rtol=1e-12)
        model.weights[1][0, 0] += 1.0  # in place
        np.testing.assert_allclose(model.predict(x), self.expected(model, x), rtol=1e-12)
        model.biases[0] = model.biases[0] + 1.0
        np.testing.assert_allclose(model.predict(x), self.expected(model, x), rtol=1e-12)
        model.weights[0] = model.weights[0][:, ::-1]
        np.testing.assert_allclose(model.predict(x), self.expected(model, x), rtol=1e-12)

    def test_another_shape_is_noticed(self, model):
        x = np.zeros((1, 30))
        model.predict(x)
        model.weights[1].shape = (20, 4)
        with pytest.raises(ValueError, match=r"weights\[1\]: expected \(40, 2\), got \(20, 4\)"):
            model.predict(x)
        with pytest.raises(ValueError, match="biases: expected 1 arrays"):
            fastbp.predict_network(x, model.weights[:1], model.biases, activations=["tanh"])

    def test_none_of_its_arrays_is_kept_alive(self, model):
        from fastbp.models import network_prediction

        model.predict(np.zeros((1, 30)))
        references = network_prediction._known[id(model.weights[0])][0]
        assert all(reference() is not None for reference in references)
        del model.weights[:], model.biases[:]
        assert all(reference() is None for reference in references)
