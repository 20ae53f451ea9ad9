"""The loss on other rows after each epoch, and stopping early by it."""

import numpy as np
import pytest

import fastbp
from fastbp.data.arrays import ArrayRows
from fastbp.data.split import Subset
from fastbp.kernels.random import GAMMA, mixed
from tests import reference
from tests.problems import network_bits, network_problem
from tests.tolerances import ROUNDING

X, Y, W, B, RNG = network_problem((4, 6, 2), 300)
X2, Y2 = RNG.normal(size=(57, 4)), RNG.random((57, 2))
WEIGHT = RNG.random(57)
NAMES = ["tanh", "identity"]


def fit(epochs=6, rate=0.05, **keywords):
    return fastbp.fit_network(X, Y, W, B, rate, epochs, activations=NAMES, **keywords)


def loss_of(fitted, x=X2, y=Y2, weight=None):
    return np.average(((fitted.predict(x) - y) ** 2).mean(axis=1), weights=weight)


@pytest.mark.parametrize(
    "how", [{}, {"batch_size": 32}, {"batch_size": 1}, {"alpha": 0.3}], ids=str
)
def test_the_curve(how):
    given = fit(validation=(X2, Y2, WEIGHT), **how)
    plain = fit(**how)
    assert network_bits(given) == network_bits(plain)  # nothing else is changed by it
    assert plain.validation_losses is None
    assert given.validation_losses.shape == (6,)
    for epochs in (1, 6):
        expected = loss_of(fit(epochs, **how), weight=WEIGHT)
        np.testing.assert_allclose(given.validation_losses[epochs - 1], expected, rtol=ROUNDING)


def test_a_neuron_against_the_oracle():
    x, y = X, (X[:, 0] > 0) * 1.0
    x2, y2 = X2, (X2[:, 0] > 0) * 1.0
    ours = fastbp.fit_neuron(x, y, np.zeros(4), 0.0, 0.5, 3, loss="bce", validation=(x2, y2))
    theirs = reference.fit_neuron(x, y, np.zeros(4), 0.0, 0.5, 3, loss="bce")
    after = reference.fit_neuron(x2, y2, theirs.weights, theirs.bias, 0.0, 1, loss="bce")
    np.testing.assert_allclose(ours.validation_losses[-1], after.losses[0], rtol=ROUNDING)


def test_the_callback_receives_the_validation_loss():
    seen = []
    fitted = fit(validation=(X2, Y2), callback=lambda state: seen.append(state.validation_loss))
    np.testing.assert_array_equal(seen, fitted.validation_losses)


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.5, 0.9])
def test_a_fraction_is_held_out(fraction):
    held = int(300 * fraction)
    inside, outside = (
        Subset(ArrayRows(np.column_stack([X, Y])), held, side).block(0, n).features
        for side, n in ((True, held), (False, 300 - held))
    )
    expected = fastbp.fit_network(
        outside[:, :4], outside[:, 4:], W, B, 0.05, 6, activations=NAMES,
        validation=(inside[:, :4], inside[:, 4:]),
    )  # fmt: skip
    given = fit(validation=fraction)
    assert network_bits(given) == network_bits(expected)
    np.testing.assert_array_equal(given.validation_losses, expected.validation_losses)


def test_it_stops_early_and_returns_the_best():
    """Labels are noise: the loss on others rises once the noise is learnt."""
    keywords = {"optimizer": "adam", "validation": (X2, Y2), "batch_size": 10}
    free = fit(60, 0.02, **keywords)
    best = int(np.argmin(free.validation_losses))
    assert 0 < best < 50
    stopped = fit(60, 0.02, tol=0.0, n_iter_no_change=5, **keywords)
    assert stopped.stopped == "tol"
    n = stopped.n_epochs
    assert n == len(stopped.validation_losses) < 60
    np.testing.assert_array_equal(stopped.validation_losses, free.validation_losses[:n])
    np.testing.assert_array_equal(stopped.losses, free.losses[:n])
    least = int(np.argmin(stopped.validation_losses))
    assert n == least + 1 + 5
    at_best = fit(least + 1, 0.02, **keywords)
    for ours, theirs in zip(stopped.weights, at_best.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert stopped.state.epoch == least + 1
    again = fastbp.fit_network(
        X, Y, stopped.weights, stopped.biases, 0.02, 3, activations=NAMES, state=stopped.state,
        **keywords,
    )  # fmt: skip
    np.testing.assert_array_equal(again.losses, free.losses[least + 1 : least + 4])


def test_the_loss_on_the_rows_trained_on_does_not_stop_it():
    """That one rises from the start, since the steps go upwards."""
    w, b = fastbp.initialize_network([4, 2], activations=["identity"], random_state=0)
    fitted = fastbp.fit_network(
        X, Y, w, b, -0.01, 9, activations=["identity"], tol=0.0, n_iter_no_change=2,
        validation=(X, np.full_like(Y, -50.0)),
    )  # fmt: skip
    assert (np.diff(fitted.losses) > 0).all()
    assert (np.diff(fitted.validation_losses) < 0).all()
    assert (fitted.stopped, fitted.n_epochs) == ("epochs", 9)


def test_the_hash_is_the_published_generator():
    """The first outputs of SplitMix64 from 0, as its authors' C program gives them."""
    first = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert mixed(np.arange(1, 4, dtype=np.uint64) * GAMMA).tolist() == first
    held_out = Subset(ArrayRows(np.zeros((300, 1))), 3, True).selection.indices(np.arange(3))
    assert held_out.tolist() == [100 * run + bits % 100 for run, bits in enumerate(first)]


def test_the_choice_follows_no_period():
    held = Subset(ArrayRows(np.arange(5000.0)[:, None]), 1000, True)
    phases = held.selection.indices(np.arange(1000)) % 5
    assert np.bincount(phases, minlength=5).min() > 150  # 200 expected, 4 deviations


def test_the_best_is_returned_also_when_the_epochs_run_out():
    keywords = {"optimizer": "adam", "validation": (X2, Y2), "batch_size": 10, "tol": 0.0}
    fitted = fit(30, 0.05, n_iter_no_change=100, **keywords)
    assert fitted.stopped == "epochs"
    np.testing.assert_allclose(loss_of(fitted), fitted.validation_losses.min(), rtol=ROUNDING)


def test_a_loss_that_is_no_number_is_never_the_best():
    far = np.full((3, 4), 1e200)
    with np.errstate(over="ignore"):
        fitted = fastbp.fit_network(
            X, Y, W, B, 0.05, 9, activations=["identity", "identity"], tol=0.0,
            n_iter_no_change=3, validation=(far, np.full((3, 2), -1e200)),
        )  # fmt: skip
    assert not np.isfinite(fitted.validation_losses).any()
    assert (fitted.stopped, fitted.n_epochs) == ("tol", 3)
    assert np.isfinite(fitted.losses).all()


def test_class_numbers_against_rows_of_probabilities():
    classes = RNG.integers(3, size=300)
    w, b = fastbp.initialize_network([4, 3], activations=["softmax"], random_state=1)
    numbers, rows = (
        fastbp.fit_network(
            X,
            classes,
            w,
            b,
            0.1,
            3,
            activations=["softmax"],
            loss="cross_entropy",
            validation=(X, labels),
        )
        for labels in (classes, np.eye(3)[classes])
    )
    np.testing.assert_array_equal(numbers.validation_losses, rows.validation_losses)


WRONG = [
    (0.001, ValueError, "validation: expected a fraction that leaves some of 300 rows for training and some for validation, got"),
    (1.0, ValueError, "validation: expected a fraction"),
    (float("nan"), ValueError, "validation: expected a fraction"),
    (3, TypeError, "validation: expected .features, labels., .* got int 3"),
    ((X2,), TypeError, "validation: expected"),
    ((X2[:, :3], Y2), ValueError, r"validation\[0\]: expected 4 columns, got 3"),
    ((X2, Y2[:5]), ValueError, r"validation\[1\]: expected shape \(57, 2\)"),
    ((X2, Y2, -WEIGHT), fastbp.DataError, r"validation\[2\]: expected non-negative weights"),
    ((X2, Y2, WEIGHT * 0), ValueError, "validation: expected rows with a weight above 0"),
    ((X2, None), TypeError, r"validation\[1\]: expected labels, got None"),
    ((np.where(X2 > 2, np.nan, X2), Y2), fastbp.DataError, r"validation\[0\]: expected finite"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "error", "message"), WRONG, ids=str)
def test_wrong_arguments(value, error, message):
    with pytest.raises(error, match=message):
        fit(validation=value)


def test_it_is_kept_with_the_model(tmp_path):
    fitted = fit(validation=0.2)
    fastbp.save(fitted, tmp_path / "m")
    np.testing.assert_array_equal(
        fastbp.load(tmp_path / "m").validation_losses, fitted.validation_losses
    )
    single = fastbp.fit_neuron(X, Y[:, 0], np.zeros(4), 0.0, 0.1, 3, validation=0.2)
    fastbp.save(single, tmp_path / "n")
    assert fastbp.load(tmp_path / "n").validation_losses.shape == (3,)
