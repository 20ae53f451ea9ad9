"""Schedules: by hand, against PyTorch's, and in fits."""

import math
import pickle

import numpy as np
import pytest

import fastbp
from fastbp import schedules

CLOSE = 1e-12  # relative: PyTorch multiplies each rate out of the one before
X = np.random.default_rng(0).normal(size=(60, 3))
Y = (X.sum(axis=1) > 0.0).astype(float)


def rates(schedule, epochs):
    return [schedule(epoch) for epoch in range(epochs)]


def fit(rate, epochs=12, **keywords):
    return fastbp.fit_neuron(X, Y, np.zeros(3), 0.0, rate, epochs, loss="bce", **keywords)


def test_steps_by_hand():
    assert rates(schedules.step(8.0, 3, 0.5), 8) == [8.0] * 3 + [4.0] * 3 + [2.0] * 2
    assert rates(schedules.step(8.0, 1, 0.0), 3) == [8.0, 0.0, 0.0]
    np.testing.assert_allclose(rates(schedules.step(1.0, 2), 5), [1, 1, 0.1, 0.1, 0.01], CLOSE)
    assert schedules.step(0.1, 1, 2.0)(2000) == np.inf


def test_cosine_by_hand():
    third = math.sqrt(3.0) / 2.0
    expected = [1.0, (1 + third) / 2, 0.75, 0.5, 0.25, (1 - third) / 2, 0.0, 0.0, 0.0]
    np.testing.assert_allclose(rates(schedules.cosine(2.0, 6), 9), 2.0 * np.array(expected), CLOSE)
    lowered = rates(schedules.cosine(3.0, 6, least=1.0), 9)
    np.testing.assert_allclose(lowered, 1.0 + 2.0 * np.array(expected), CLOSE)
    assert lowered[6:] == [1.0] * 3 and lowered[0] == 3.0


def test_warm_up_by_hand():
    assert rates(schedules.warm_up(4.0, 3), 6) == [1.0, 2.0, 3.0, 4.0, 4.0, 4.0]
    assert rates(schedules.warm_up(0.3, 0), 2) == [0.3, 0.3]
    assert all(schedules.warm_up(0.1, n)(n) == 0.1 for n in range(50))  # to the bit
    halved = schedules.step(8.0, 2, 0.5)
    assert rates(schedules.warm_up(halved, 3), 7) == [2.0, 4.0, 6.0, 8.0, 8.0, 4.0, 4.0]
    own = schedules.warm_up(lambda epoch: 10.0 + epoch, 1)
    assert rates(own, 3) == [5.0, 10.0, 11.0]


def torchs(rate, epochs, schedule):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    scheduler, found = schedule(torch.optim.lr_scheduler, optimizer), []
    for _ in range(epochs):
        found.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.filterwarnings("ignore:.*epoch parameter.*:UserWarning")  # SequentialLR's own
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (schedules.step(0.3, 4), lambda s, o: s.StepLR(o, 4)),
        (schedules.step(0.3, 7, 0.6), lambda s, o: s.StepLR(o, 7, gamma=0.6)),
        (schedules.cosine(0.3, 30), lambda s, o: s.CosineAnnealingLR(o, 30)),
        (schedules.cosine(0.3, 40, 0.02), lambda s, o: s.CosineAnnealingLR(o, 40, eta_min=0.02)),
        (schedules.warm_up(0.3, 9), lambda s, o: s.LinearLR(o, 1 / 10, total_iters=9)),
        (
            schedules.warm_up(schedules.cosine(0.3, 25, 0.01), 5),
            lambda s, o: s.SequentialLR(
                o,
                [s.LinearLR(o, 1 / 6, total_iters=5), s.CosineAnnealingLR(o, 25, eta_min=0.01)],
                milestones=[5],
            ),
        ),
        (
            schedules.warm_up(schedules.step(0.3, 6, 0.5), 4),
            lambda s, o: s.SequentialLR(
                o, [s.LinearLR(o, 1 / 5, total_iters=4), s.StepLR(o, 6, gamma=0.5)], milestones=[4]
            ),
        ),
    ],
    ids=["step", "factor", "cosine", "least", "warm-up", "then cosine", "then step"],
)
def test_they_are_those_of_pytorch(ours, theirs):
    # At the very end of a cosine PyTorch's recursion has rounding errors of the first rate.
    np.testing.assert_allclose(rates(ours, 30), torchs(0.3, 30, theirs), CLOSE, atol=1e-15)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.step(-0.1, 2), "rate: expected at least 0, got -0.1"),
        (lambda: schedules.step(0.1, 0), "every: expected at least 1, got 0"),
        (lambda: schedules.step(0.1, 2, -1.0), "factor: expected at least 0, got -1.0"),
        (lambda: schedules.cosine(math.inf, 2), "rate: expected a finite number, got inf"),
        (lambda: schedules.cosine(0.1, 0), "epochs: expected at least 1, got 0"),
        (lambda: schedules.cosine(0.1, 2, -0.1), "least: expected at least 0, got -0.1"),
        (lambda: schedules.cosine(0.1, 2, 0.2), "least: expected at most the rate 0.1, got 0.2"),
        (lambda: schedules.warm_up(0.1, -1), "epochs: expected at least 0, got -1"),
        (lambda: schedules.warm_up(-0.1, 1), "rate: expected at least 0, got -0.1"),
    ],
)
def test_values_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: schedules.step("0.1", 2), "rate"),
        (lambda: schedules.step(0.1, 2.5), "every"),
        (lambda: schedules.step(0.1, 2, None), "factor"),
        (lambda: schedules.cosine(0.1, True), "epochs"),
        (lambda: schedules.cosine(0.1, 2, "0"), "least"),
        (lambda: schedules.warm_up(None, 2), "rate"),
        (lambda: schedules.warm_up(0.1, 2.0), "epochs"),
    ],
)
def test_other_types_are_refused(make, name):
    with pytest.raises(TypeError, match=f"^{name}: expected"):
        make()


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.step(0.5, 3),
        schedules.cosine(0.5, 12, 0.1),
        schedules.warm_up(schedules.cosine(0.5, 8), 4),
        schedules.warm_up(0.5, 4),
    ],
)
def test_they_can_be_pickled(schedule):
    assert rates(pickle.loads(pickle.dumps(schedule)), 12) == rates(schedule, 12)


def test_a_fit_takes_its_rates_from_them():
    schedule = schedules.warm_up(schedules.step(0.5, 3, 0.5), 2)
    weights, bias = np.zeros(3), 0.0
    for rate in rates(schedule, 12):  # gradient descent on the log loss, in NumPy
        error = 1.0 / (1.0 + np.exp(-(X @ weights + bias))) - Y
        weights, bias = weights - rate * (X.T @ error) / len(X), bias - rate * error.mean()
    found = fit(schedule)
    np.testing.assert_allclose(found.weights, weights, 1e-12)
    assert found.bias == pytest.approx(bias, rel=1e-12, abs=1e-15)
    assert not np.allclose(found.weights, fit(0.5).weights, 1e-3)


def test_a_network_does_too():
    start = fastbp.initialize_network([3, 4, 1], activations=["tanh", "sigmoid"], random_state=0)
    how = {"activations": ["tanh", "sigmoid"], "loss": "bce", "batch_size": 7, "optimizer": "adam"}
    schedule = schedules.cosine(0.05, 6)
    whole = fastbp.fit_network(X, Y, *start, schedule, 6, **how)
    by_hand = fastbp.fit_network(X, Y, *start, rates(schedule, 6).__getitem__, 6, **how)
    assert whole.losses.tolist() == by_hand.losses.tolist()


def test_a_fit_resumes_with_a_schedule_made_again(tmp_path):
    def schedule(epochs=8):
        return schedules.warm_up(schedules.cosine(0.5, epochs), 4)

    class KilledError(Exception):
        pass

    def killed(state):
        if state.epoch == 5:
            raise KilledError

    path, how = tmp_path / "checkpoint", {"batch_size": 16, "shuffle": True, "random_state": 0}
    with pytest.raises(KilledError):
        fit(schedule(), checkpoint=path, callback=killed, **how)
    resumed, whole = fit(schedule(), checkpoint=path, **how), fit(schedule(), **how)
    assert resumed.losses.tolist() == whole.losses.tolist()
    assert resumed.weights.tolist() == whole.weights.tolist()
    with pytest.raises(fastbp.CheckpointError, match=r"learning_rate\(5\) was .*, is "):
        fit(schedule(9), checkpoint=path, **how)


def test_a_fit_that_continues_another_goes_on_in_the_schedule():
    schedule = schedules.step(0.5, 4)
    first = fit(schedule, epochs=6)
    rest = fastbp.fit_neuron(
        X, Y, first.weights, first.bias, schedule, 6, loss="bce", state=first.state
    )
    assert rest.weights.tolist() == fit(schedule).weights.tolist()


@pytest.mark.parametrize("name", ["NeuronClassifier", "NeuronRegressor"])
def test_estimators_of_a_neuron_take_them(name):
    sklearn_base = pytest.importorskip("sklearn.base")
    schedule = schedules.step(0.1, 1, 0.0)  # a single epoch that learns
    how = {"tol": None, "alpha": 0.0, "batch_size": 10, "momentum": 0.0, "random_state": 0}
    model = getattr(fastbp, name)(learning_rate_init=schedule, max_iter=9, **how)
    one = getattr(fastbp, name)(learning_rate_init=0.1, max_iter=1, **how).fit(X, Y)
    assert np.array_equal(sklearn_base.clone(model).fit(X, Y).coef_, one.coef_)
    assert np.array_equal(pickle.loads(pickle.dumps(model)).fit(X, Y).coef_, one.coef_)
