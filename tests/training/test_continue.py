"""A fit that goes on from another's state is one that never stopped."""

import dataclasses
import os
import signal
import warnings

import numpy as np
import pytest

import fastbp
from fastbp import SGD, Adam
from fastbp.kernels import layout
from fastbp.training.state import same_state
from tests.problems import network_problem

CHOICES = [
    {},
    {"batch_size": 7},
    {"batch_size": 1},
    {"optimizer": SGD(momentum=0.9)},
    {"optimizer": SGD(momentum=0.9, nesterov=True), "batch_size": 7},
    {"optimizer": Adam(), "batch_size": 7},
    {"optimizer": "adam", "batch_size": 1},
    {"shuffle": True, "batch_size": 7, "random_state": 3},
    {"shuffle": True, "batch_size": 1, "random_state": np.random.SFC64},
    {"shuffle": True, "batch_size": 7, "random_state": np.random.MT19937},
    {"shuffle": True, "batch_size": 7, "random_state": np.random.Philox},
    {"shuffle": True, "batch_size": 7, "random_state": np.random.RandomState},
    {"optimizer": SGD(momentum=np.float32(0.5), nesterov=np.bool_(True)), "batch_size": 7},
    {"optimizer": Adam(beta_1=np.float32(0.5), epsilon=np.array(1e-3)), "batch_size": 7},
    {"dtype": "float32", "optimizer": "adam", "batch_size": 7},
    {"dtype": "float32", "batch_size": 7, "shuffle": True, "random_state": np.random.SFC64},
    {"dtype": "float32", "batch_size": 1},
]
X, Y, W, B, _ = network_problem((4, 6, 1), 30)


def network(parameters, rate, epochs, **keywords):
    weights, biases = parameters or (W, B)
    return fastbp.fit_network(
        X, Y, weights, biases, rate, epochs, activations=["tanh", "identity"], **keywords
    )


def neuron(parameters, rate, epochs, **keywords):
    weights, bias = parameters or (W[0][:, 0], B[0][0])
    return fastbp.fit_neuron(X, Y.ravel(), weights, bias, rate, epochs, **keywords)


def numbers(fit):
    return np.concatenate([np.ravel(p) for group in list(fit)[:2] for p in group or [group]])


def parameters(fit):
    return list(fit)[:2]


def changed(state, **fields):
    return dataclasses.replace(state, **fields)


def within(fit):
    """The state of a fit in batches of 7 as if two of them were done."""
    return changed(fit.state, batch_start=14, epoch_start=np.zeros(fit.state.moments.shape[1]))


def fresh(keywords):
    """The keywords with a generator of their own."""
    made = keywords.get("random_state")
    if not isinstance(made, type):
        return keywords
    generator = made(5)
    if made is not np.random.RandomState:
        generator = np.random.Generator(generator)
    return {**keywords, "random_state": generator}


def same(fit, *others):
    """Whether a fit equals others that follow each other."""
    assert np.array_equal(fit.losses, np.concatenate([other.losses for other in others]))
    for ours, theirs in zip(parameters(fit), parameters(others[-1]), strict=True):
        for a, b in zip(np.atleast_1d(ours) if np.isscalar(ours) else ours,
                        np.atleast_1d(theirs) if np.isscalar(theirs) else theirs, strict=True):  # fmt: skip
            assert np.array_equal(a, b)


@pytest.mark.parametrize("keywords", CHOICES, ids=str)
@pytest.mark.parametrize("fit", [network, neuron])
def test_two_fits_are_one(fit, keywords, tmp_path):
    whole = fit(None, 0.05, 9, **fresh(keywords))
    first = fit(None, 0.05, 4, **fresh(keywords))
    assert (first.state.epoch, first.state.batch_start) == (4, 0)
    second = fit(parameters(first), 0.05, 5, state=first.state, **fresh(keywords))
    same(whole, first, second)
    assert second.state.epoch == 9
    fastbp.save(first, tmp_path / "fit")  # and over a file
    again = fastbp.load(tmp_path / "fit")
    same(whole, again, fit(parameters(again), 0.05, 5, state=again.state, **fresh(keywords)))


@pytest.mark.parametrize("keywords", [c for c in CHOICES if "batch_size" in c], ids=str)
def test_going_on_from_the_middle_of_an_epoch(keywords, monkeypatch):
    monkeypatch.setattr("fastbp.training.slices.SLICE_SECONDS", 0.0)  # slices of one chunk
    monkeypatch.setattr("fastbp.training.problem.BRIEF_WORK", 0)
    slices = 0
    original = fastbp.training.run.Run.slice

    def counted(self):
        nonlocal slices
        original(self)
        slices += 1
        if slices == 12:
            os.kill(os.getpid(), signal.SIGINT)

    whole = network(None, 0.05, 9, **fresh(keywords))
    monkeypatch.setattr(fastbp.training.run.Run, "slice", counted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = network(None, 0.05, 9, **fresh(keywords))
    assert first.stopped == "interrupted"
    assert first.state.batch_start > 0
    second = network(
        parameters(first), 0.05, 9 - first.n_epochs, state=first.state, **fresh(keywords)
    )
    same(whole, first, second)


SHUFFLED = [c for c in CHOICES if "shuffle" in c] + [
    {"shuffle": "window", "batch_size": 7, "random_state": np.random.PCG64}
]


@pytest.mark.parametrize("keywords", SHUFFLED, ids=str)
def test_going_on_where_orders_were_drawn_ahead(keywords, monkeypatch):
    """Four epochs in a slice, then a part of one: the state is that before the order of this one."""
    monkeypatch.setattr("fastbp.training.problem.BRIEF_WORK", 0)
    chunks = -(-30 // keywords["batch_size"])
    original = fastbp.training.run.Run.slice

    budgets = [4 * chunks + 1, 2]

    def interrupted(self):
        self._computes.allow_chunks(budgets.pop(0))
        original(self)
        if not budgets:
            os.kill(os.getpid(), signal.SIGINT)

    whole = network(None, 0.05, 9, **fresh(keywords))
    monkeypatch.setattr(fastbp.training.run.Run, "slice", interrupted)
    interrupted_with = fresh(keywords)
    with pytest.warns(UserWarning, match="interrupted after 4 epochs"):
        first = network(None, 0.05, 9, **interrupted_with)
    assert first.state.batch_start == 2 * keywords["batch_size"]
    monkeypatch.undo()
    drawn_from = interrupted_with.get("random_state")
    if isinstance(drawn_from, np.random.Generator | np.random.RandomState):  # for five epochs
        five = fresh(keywords)
        network(None, 0.05, 5, **five)
        assert drawn_from.random() == five["random_state"].random()
    second = network(parameters(first), 0.05, 5, state=first.state, **fresh(keywords))
    same(whole, first, second)


@pytest.mark.parametrize("keywords", SHUFFLED[1:], ids=str)
@pytest.mark.parametrize("ends", ["tol", "divergence"])
def test_a_generator_draws_for_the_epochs_that_there_were(ends, keywords, monkeypatch):
    """Orders that were drawn ahead and never used are put back."""
    after, states = [], []
    for ahead in (0, 2**16):
        monkeypatch.setattr("fastbp.data.supply.INDICES_AHEAD", ahead)
        used = fresh(keywords)
        if ends == "tol":
            fit = network(None, 0.05, 90, tol=1.0, n_iter_no_change=4, **used)
            assert (fit.stopped, fit.n_epochs) == ("tol", 5)
            states.append(fit.state.random_state)
        else:
            with pytest.raises(fastbp.DivergenceError) as caught:
                network(None, lambda epoch: 0.05 if epoch < 3 else 1e9, 90, **used)
            assert caught.value.epoch < 9
        after.append(used["random_state"].permutation(10).tolist())
    assert after[0] == after[1]
    assert ends == "divergence" or same_state(*states)


def test_a_generator_that_somebody_else_draws_from_is_left_alone(monkeypatch):
    """Put back, it would give them the same numbers again."""
    random = np.random.default_rng(5)
    original = fastbp.training.run.Run.slice
    left = []

    def others_draw(self):
        original(self)
        random.random()
        left.append(random.bit_generator.state)

    monkeypatch.setattr(fastbp.training.run.Run, "slice", others_draw)
    keywords = {"shuffle": True, "batch_size": 7, "random_state": random}
    fit = network(None, 0.05, 90, tol=1.0, n_iter_no_change=4, **keywords)
    assert fit.n_epochs == 5
    assert same_state(random.bit_generator.state, left[-1])


def test_epochs_go_on_counting():
    asked, seen = [], []

    def rate(epoch):
        asked.append(epoch)
        return 0.1 / (1 + epoch)

    first = network(None, rate, 3)
    second = network(
        parameters(first), rate, 3, state=first.state, callback=lambda s: seen.append(s.epoch)
    )
    same(network(None, lambda e: 0.1 / (1 + e), 6), first, second)
    assert asked == [*range(6)]
    assert seen == [3, 4, 5]
    with pytest.raises(fastbp.DivergenceError, match="in epoch 8") as caught:
        network(parameters(second), lambda e: 0.1 if e < 7 else 1e308, 5, state=second.state)
    assert (caught.value.epoch, caught.value.losses.size) == (8, 2)


def test_tol_goes_on_counting():
    keywords = {"tol": 0.0, "n_iter_no_change": 5}
    assert network(None, 0.0, 50, **keywords).n_epochs == 6
    first = network(None, 0.0, 4, **keywords)
    second = network(parameters(first), 0.0, 50, state=first.state, **keywords)
    assert (second.stopped, second.n_epochs) == ("tol", 2)


def test_going_on_twice_from_one_state():
    keywords = {"shuffle": True, "batch_size": 7, "optimizer": Adam()}
    first = network(None, 0.05, 3, random_state=1, **keywords)
    again = [network(parameters(first), 0.05, 3, state=first.state, **keywords) for _ in range(2)]
    same(*again)


def test_bad_rows_are_found_when_going_on_in_the_middle(monkeypatch):
    first = network(None, 0.05, 1, batch_size=7)
    state = within(first)
    x = X.copy()
    x[3, 1] = np.nan
    with pytest.raises(fastbp.DataError, match="row 3, column 1"):
        fastbp.fit_network(
            x, Y, *parameters(first), 0.1, 1, activations=["tanh", "identity"], batch_size=7,
            state=state,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"state": 5}, TypeError, r"state: expected the state of a fit \(fit.state\), got int 5"),
        (
            {"optimizer": "adam"},
            ValueError,
            r"state: expected that of a fit with optimizer=Adam\(.*, got that of SGD\(",
        ),
        (
            {"optimizer": SGD(momentum=0.5)},
            ValueError,
            r"optimizer=SGD\(momentum=0.5.*, got that of SGD\(momentum=0.0",
        ),
    ],
)
def test_refusals(keywords, error, message):
    first = network(None, 0.05, 1)
    with pytest.raises(error, match=message):
        network(parameters(first), 0.05, 1, **{"state": first.state, **keywords})


def test_a_state_of_other_parameters_or_another_place():
    first = network(None, 0.05, 1, optimizer="adam")
    other = neuron(None, 0.05, 1, optimizer="adam")
    for state in (first.state, other.state):
        with pytest.raises(
            ValueError, match="state: expected the parameters of the fit that it came"
        ):
            network(None, 0.05, 1, optimizer="adam", state=state)
    inside = within(network(None, 0.0, 1, batch_size=7))
    for keywords in ({"batch_size": 14}, {}, {"batch_size": 7, "shuffle": True}):
        with pytest.raises(
            ValueError,
            match=r"state: expected a fit of 30 rows in batches of 7, .* within an epoch, got",
        ):
            network(None, 0.05, 1, state=inside, **keywords)


@pytest.mark.parametrize("raised_by", ["rate", "signal"])
def test_going_on_from_an_order_that_was_drawn_in_vain(raised_by, monkeypatch):
    """Nothing of the epoch is in the parameters yet, but its order has been drawn."""
    keywords = {"shuffle": True, "random_state": 3}

    def rate(epoch):
        if epoch == 3:
            raise LookupError
        return 0.05

    whole = network(None, 0.05, 6, **keywords)
    if raised_by == "rate":
        with pytest.raises(LookupError) as caught:
            network(None, rate, 6, **keywords)
        first = caught.value.fit
    else:
        monkeypatch.setattr("fastbp.data.supply.INDICES_AHEAD", 0)
        original = fastbp.training.run.Orders.draw

        def draw(self, epoch, stop):
            orders = original(self, epoch, stop)
            if epoch == 3:
                raise LookupError
            return orders

        monkeypatch.setattr(fastbp.training.run.Orders, "draw", draw)
        with pytest.raises(LookupError) as caught:
            network(None, 0.05, 6, **keywords)
        first = caught.value.fit
        monkeypatch.undo()
    assert (first.n_epochs, first.state.batch_start) == (3, 0)
    same(whole, first, network(parameters(first), 0.05, 3, state=first.state, **keywords))


def test_a_perceptron_goes_on():
    keywords = {"loss": "half_mse", "optimizer": "adam"}

    def model():
        return fastbp.Perceptron(
            [fastbp.Layer(4, 6, "tanh", W[0], B[0]), fastbp.Layer(6, 1, "identity", W[1], B[1])]
        )

    whole, parts = model().fit(X, Y, 5, 0.1, **keywords), model().fit(X, Y, 2, 0.1, **keywords)
    parts.fit(X, Y, 3, 0.1, state=parts.state_, **keywords)
    for a, b in zip(whole.layers, parts.layers, strict=True):
        assert np.array_equal(a.weights, b.weights)


def test_a_foreign_bit_generator():
    first = network(None, 0.05, 1, shuffle=True, random_state=1)
    state = {**first.state.random_state, "bit_generator": "Nowhere"}
    state = changed(first.state, random_state=state)
    with pytest.raises(ValueError, match="state: expected a bit generator of NumPy, got 'Nowhere'"):
        network(parameters(first), 0.05, 1, shuffle=True, state=state)


@pytest.mark.filterwarnings("ignore:interrupted")
@pytest.mark.parametrize("stored", [False, True], ids=["state", "file"])
@pytest.mark.parametrize("labels", [Y, -Y], ids=["falls", "rises"])
def test_an_interrupt_in_any_slice_of_a_fit_with_early_stopping(
    labels, stored, tmp_path, monkeypatch
):
    """Also in one of the validation pass, or where the best parameters are those of an epoch before."""
    monkeypatch.setattr("fastbp.training.slices.SLICE_SECONDS", 0.0)
    monkeypatch.setattr("fastbp.training.problem.BRIEF_WORK", 0)
    keywords = {
        "validation": (X, labels), "tol": 1e-4, "n_iter_no_change": 2, "batch_size": 10,
        "optimizer": "adam", "shuffle": True, "random_state": 1,
    }  # fmt: skip
    whole = network(None, 0.05, 6, **keywords)
    original, slices = fastbp.training.run.Run.slice, 0

    def interrupted(self):
        nonlocal slices
        original(self)
        slices += 1
        if slices == last:
            signal.raise_signal(signal.SIGINT)

    for last in range(1, 30):
        slices = 0
        with monkeypatch.context() as patch:
            patch.setattr(fastbp.training.run.Run, "slice", interrupted)
            first = network(None, 0.05, 6, **keywords)
        if slices < last:
            break
        assert first.stopped == "interrupted"
        if stored:
            fastbp.save(first, tmp_path / "m")
            first = fastbp.load(tmp_path / "m")
        rest = 6 - first.n_epochs
        continued = {**keywords, "state": first.state}
        second = network(parameters(first), 0.05, rest, **continued)
        same(whole, first, second)
        assert second.stopped == whole.stopped
        for _ in range(2):  # written, and found again
            again = network(
                parameters(first), 0.05, rest, **continued, checkpoint=tmp_path / f"{last}"
            )
            same(second, again)
    assert last > 10


@pytest.mark.filterwarnings("ignore:interrupted")
@pytest.mark.parametrize("fit", [network, neuron])
def test_an_interrupt_in_the_slice_in_which_tol_ends_a_fit(fit, monkeypatch):
    """The result says so, but the two fits together are the one that was not disturbed."""
    monkeypatch.setattr("fastbp.training.problem.BRIEF_WORK", 0)
    keywords = {"tol": 1e9, "n_iter_no_change": 5, "batch_size": 7}
    original = fastbp.training.run.Run.slice

    def interrupted(self):
        original(self)
        if self.memory.status == layout.NO_IMPROVEMENT:
            signal.raise_signal(signal.SIGINT)

    whole = fit(None, 0.05, 50, **keywords)
    with monkeypatch.context() as patch:
        patch.setattr(fastbp.training.run.Run, "slice", interrupted)
        first = fit(None, 0.05, 50, **keywords)
    assert (whole.stopped, first.stopped, first.state.ended) == ("tol", "interrupted", "tol")
    second = fit(parameters(first), 0.05, 50, state=first.state, **keywords)
    assert (second.stopped, second.n_epochs) == ("tol", 0)
    same(whole, first, second)
    third = fit(parameters(second), 0.05, 50, state=second.state, **keywords)
    assert (third.stopped, third.n_epochs) == ("tol", 1)  # as after a fit that tol has ended


HELD_OUT = {"validation": (X, -Y), "tol": 0.0, "n_iter_no_change": 3}


@pytest.mark.filterwarnings("ignore:interrupted")
@pytest.mark.parametrize(
    ("reason", "epochs", "keywords"),
    [("tol", 50, HELD_OUT), ("epochs", 2, HELD_OUT), ("callback", 50, {"batch_size": 7})],
)
def test_an_interrupt_in_the_epoch_in_which_something_else_ends_a_fit(reason, epochs, keywords):
    def stop(state):
        return reason == "callback" and state.epoch == 4

    def press(state):
        if state.epoch == whole.n_epochs - 1:
            signal.raise_signal(signal.SIGINT)
        return stop(state)

    whole = network(None, 0.05, epochs, callback=stop, **keywords)
    first = network(None, 0.05, epochs, callback=press, **keywords)
    assert (whole.stopped, first.stopped) == (reason, "interrupted")
    second = network(
        parameters(first),
        0.05,
        epochs - first.n_epochs,
        state=first.state,
        callback=stop,
        **keywords,
    )
    assert (second.stopped, second.n_epochs) == (reason, 0)
    same(whole, first, second)
