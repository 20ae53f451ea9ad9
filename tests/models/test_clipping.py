"""clip_norm: gradients that are too long are shortened, for every model and way to train."""

import importlib.util

import numpy as np
import pytest

import fastbp
from tests import reference
from tests.problems import assert_same_network, network_problem

ACTIVATIONS = ["gelu", "identity"]
MOST = 0.05


class Clipped(reference.Momentum):
    """Momentum with gradients no longer than MOST."""

    def __init__(self, momentum=0.0):
        super().__init__(momentum)
        self.norms = []

    def updates(self, rate, gradients):
        norm = np.sqrt(sum(np.sum(g**2) for g in gradients))
        self.norms.append(norm)
        return super().updates(rate, [g / max(1.0, norm / MOST) for g in gradients])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("batch_size", [None, 1, 8, 300])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_a_network(batch_size, momentum, alpha):
    x, y, w, b, rng = network_problem((5, 9, 2), 601)
    keywords = {"activations": ACTIVATIONS, "batch_size": batch_size, "alpha": alpha}
    keywords["sample_weight"] = rng.random(601) + 0.1
    rule = Clipped(momentum)
    expected = reference.fit_network(x, y, w, b, 0.05, 2, optimizer=rule, **keywords)
    assert min(rule.norms) < MOST < max(rule.norms) or min(rule.norms) > MOST
    keywords["optimizer"] = fastbp.SGD(momentum=momentum)
    fits = [
        fastbp.fit_network(x, y, w, b, 0.05, 2, clip_norm=MOST, n_threads=n, **keywords)
        for n in (1, 2, 3)
    ]
    assert_same_network(fits[0], expected)
    for other in fits[1:]:
        for one, same in zip(fits[0].weights, other.weights, strict=True):
            np.testing.assert_array_equal(one, same)


@pytest.mark.parametrize("batch_size", [None, 1, 7])
def test_a_neuron(batch_size):
    rng = np.random.default_rng(3)
    x, y, w = rng.normal(size=(50, 4)), rng.normal(size=50), rng.normal(size=4)
    how = {"activation": "identity", "loss": "half_mse", "batch_size": batch_size}
    network = fastbp.fit_network(
        x, y, [w[:, None]], [[0.5]], 0.1, 3,
        activations=["identity"], loss="half_mse", batch_size=batch_size, clip_norm=MOST,
    )  # fmt: skip
    fit = fastbp.fit_neuron(x, y, w, 0.5, 0.1, 3, clip_norm=MOST, **how)
    np.testing.assert_allclose(fit.weights, network.weights[0][:, 0], rtol=1e-12)
    np.testing.assert_allclose(fit.losses, network.losses, rtol=1e-12)
    free = fastbp.fit_neuron(x, y, w, 0.5, 0.1, 3, **how)
    loose = fastbp.fit_neuron(x, y, w, 0.5, 0.1, 3, clip_norm=1e9, **how)
    np.testing.assert_allclose(loose.weights, free.weights, rtol=1e-12)
    assert np.abs(fit.weights - free.weights).max() > 0.01


def test_the_first_step_is_as_long_as_allowed():
    x, y, w, b, _ = network_problem((5, 9, 2), 40)
    fit = fastbp.fit_network(x, y, w, b, 2.0, 1, activations=ACTIVATIONS, clip_norm=1e-3)
    pairs = zip([*w, *b], [*fit.weights, *fit.biases], strict=True)
    length = np.sqrt(sum(np.sum((after - before) ** 2) for before, after in pairs))
    assert length == pytest.approx(2e-3, rel=1e-9)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
@pytest.mark.parametrize("optimizer", ["adamw", "clipped sgd"])
def test_against_pytorch(optimizer):
    """PyTorch adds 1e-6 to the norm that it divides by."""
    import torch

    x, y, w, b, _ = network_problem((5, 9, 2), 60)
    clips = optimizer == "clipped sgd"
    keywords = {"clip_norm": MOST} if clips else {"optimizer": fastbp.AdamW(weight_decay=0.1)}
    fit = fastbp.fit_network(
        x, y, w, b, 0.01, 4, activations=ACTIVATIONS, batch_size=20, **keywords
    )
    weights, biases = ([torch.tensor(a, requires_grad=True) for a in group] for group in (w, b))
    every = [*weights, *biases]
    rule = torch.optim.SGD(every, 0.01)
    if not clips:
        rule = torch.optim.AdamW(every, 0.01, weight_decay=0.1)
    for start in [0, 20, 40] * 4:
        rows = torch.tensor(x[start : start + 20])
        rule.zero_grad()
        hidden = torch.nn.functional.gelu(rows @ weights[0] + biases[0])
        error = hidden @ weights[1] + biases[1] - torch.tensor(y[start : start + 20])
        (error**2).mean().backward()
        if clips:
            torch.nn.utils.clip_grad_norm_(every, MOST)
        rule.step()
    for ours, theirs in zip([*fit.weights, *fit.biases], every, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-4 if clips else 1e-11)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, "1", True])
def test_refused(value):
    with pytest.raises((TypeError, ValueError), match="clip_norm: expected"):
        fastbp.fit_neuron([[1.0]], [1.0], [0.0], 0.0, 0.1, 1, clip_norm=value)


def test_another_limit_is_another_fit(tmp_path):
    def fit(most):
        path = tmp_path / "checkpoint"
        fastbp.fit_neuron([[1.0]], [1.0], [0.0], 0.0, 0.1, 1, clip_norm=most, checkpoint=path)

    fit(1.0)
    with pytest.raises(fastbp.CheckpointError, match=r"clip_norm was 1.0, is 2.0"):
        fit(2.0)
