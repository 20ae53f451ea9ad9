"""Every code that a kernel chooses by, against NumPy; and one that none knows, which gives NaN.

This file also runs with the JIT off (``NUMBA_DISABLE_JIT=1``).
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.special import xlogy

import fastbp
from fastbp.data.arrays import Labelled, read_only, rows_of
from fastbp.data.labels import Samples
from fastbp.kernels import activations, blocks, layout, losses, network, random, sums, update
from fastbp.kernels.jit import JIT_ENABLED, kernel
from fastbp.kernels.vector import load, pointer_to, store
from fastbp.models.layers import Layers
from fastbp.training.driver import train
from fastbp.training.problem import PLAIN, Options
from tests import reference
from tests.kernels.both import DOUBLE, FORMULA, STEPS, assert_close, both, in_both

UNKNOWN = (-1, 99)
Z = in_both([-3.0, -1.0, -1e-3, 1e-3, 0.5, 1.0, 2.0, 7.0])
Y = np.array([0.0, 1.0, 0.25, 0.5, 0.0, 1.0, 0.75, 1.0])
ACTIVATIONS = {
    activations.IDENTITY: "identity",
    activations.SIGMOID: "sigmoid",
    activations.RELU: "relu",
    activations.TANH: "tanh",
    activations.SOFTPLUS: "softplus",
    activations.LEAKY_RELU: "leaky_relu",
    activations.ELU: "elu",
    activations.SILU: "silu",
    activations.GELU: "gelu",
}
LOSSES = {
    losses.MSE: "mse", losses.HALF_MSE: "half_mse", losses.HUBER: "huber", losses.MAE: "mae"
}  # fmt: skip
UNKNOWN_ACTIVATIONS = (*UNKNOWN, activations.SOFTMAX)


@kernel
def activated(activation, z, out):
    p, v = pointer_to(out), load(pointer_to(z), 0)
    a, derivative = activations.activate_with_derivative(activation, v)
    store(p, 0, activations.activate(activation, v))
    store(p, 8, a)
    store(p, 16, derivative)


@kernel
def loss_of(activation, loss, z, y, out):
    v, labels = load(pointer_to(z), 0), load(pointer_to(y), 0)
    value, dz = losses.output_loss(activation, loss, v, labels)
    store(pointer_to(out), 0, value)
    store(pointer_to(out), 8, dz)


@kernel
def updated(integers, floats, parameters, rate, n, gradient):
    p = integers[layout.N_PARAMETERS]
    integers, floats = pointer_to(integers), pointer_to(floats)
    parameters = pointer_to(parameters)
    update.begin_update(integers, floats)
    update.update(integers, floats, parameters, rate, n, pointer_to(gradient), 0, p)


@kernel
def kept(mode, s, other, result):
    v = load(pointer_to(s), 0)
    blocks.store_as(mode, v, pointer_to(other), pointer_to(result), 0, 8)
    sums.store_one_as(mode, s[0], pointer_to(other), pointer_to(result), 8)


def activations_of(code, dtype):
    out = np.empty(24, dtype)
    activated(code, Z.astype(dtype), out)
    return out.reshape(3, 8)


def losses_of(activation, loss, dtype):
    out = np.empty(16, dtype)
    loss_of(activation, loss, Z.astype(dtype), Y.astype(dtype), out)
    return out.reshape(2, 8)


@both
@pytest.mark.parametrize(("code", "name"), ACTIVATIONS.items())
def test_every_activation(code, name, dtype):
    phi, a, derivative = activations_of(code, dtype)
    for value in (phi, a):
        assert_close(value, reference.activate(name, Z), dtype, FORMULA, 0.0)
    assert_close(derivative, reference.derivative(name, Z), dtype, FORMULA, 0.0)


@both
def test_the_exponential_is_for_outputs(dtype):
    phi, a, derivative = activations_of(activations.EXPONENTIAL, dtype)
    assert_close(phi, np.exp(Z), dtype, FORMULA, 0.0)
    assert np.isnan([a, derivative]).all()


@both
@pytest.mark.parametrize("code", UNKNOWN_ACTIVATIONS)
def test_an_unknown_activation_gives_nan(code, dtype):
    assert np.isnan(activations_of(code, dtype)).all()
    for loss in LOSSES:
        assert np.isnan(losses_of(code, loss, dtype)).all()
    layers = Layers((3, 2, 1), (code, activations.IDENTITY), losses.MSE)
    x, start = np.ones((8, 3)), np.ones(layers.n_parameters, dtype)
    with pytest.raises(fastbp.DivergenceError):
        trained(layers, x, start)
    plan = layers.plan(1, 8)
    integers = np.zeros(layout.N_INTEGERS + len(plan.table), dtype=np.int64)
    integers[[layout.N_FEATURES, layout.TILE_ROWS, layout.N_LAYERS]] = 3, plan.tile_rows, 2
    integers[layout.LAYERS :] = plan.table
    outputs = np.zeros((8, 1), dtype)
    for rows in (8, 1):
        work = np.zeros(plan.work_size, dtype)
        network.network_outputs(read_only(x[:rows]), start, integers, work, outputs[:rows])
        assert np.isnan(outputs[:rows]).all()


def trained(layers, x, start, batch_rows=8, optimizer=PLAIN):
    labels = np.zeros((len(x), layers.sizes[-1]))
    samples = Samples(Labelled(rows_of("x", x), labels, None), False, None)
    options = Options(0.1, 2, batch_rows, optimizer)
    return train(layers.problem(start, samples, options))


@both
@pytest.mark.parametrize(("loss", "name"), LOSSES.items())
@pytest.mark.parametrize(("code", "activation"), ACTIVATIONS.items())
def test_every_loss_of_an_output(code, activation, loss, name, dtype):
    value, dz = losses_of(code, loss, dtype)
    # What is left of a - y has the rounding of a.
    least = 1e-4 if dtype == DOUBLE else 1.0
    expected = reference.row_losses(name, activation, Z, Y)
    assert_close(value, expected, dtype, FORMULA, least)
    assert_close(dz, reference.row_dz(name, activation, Z, Y), dtype, FORMULA, least)


@both
def test_losses_that_are_computed_from_z(dtype):
    value, dz = losses_of(activations.SIGMOID, losses.BCE, dtype)
    assert_close(value, reference.row_losses("bce", "sigmoid", Z, Y), dtype, FORMULA, 0.0)
    assert_close(dz, reference.row_dz("bce", "sigmoid", Z, Y), dtype, FORMULA, 0.1)
    value, dz = losses_of(activations.EXPONENTIAL, losses.HALF_POISSON_DEVIANCE, dtype)
    deviance = xlogy(Y, Y / np.exp(Z)) - Y + np.exp(Z)
    assert_close(value, deviance, dtype, FORMULA, 0.1)
    assert_close(dz, np.exp(Z) - Y, dtype, FORMULA, 0.1)


@both
@pytest.mark.parametrize("code", [*UNKNOWN, losses.CROSS_ENTROPY])
def test_an_unknown_loss_gives_nan(code, dtype):
    for activation in ACTIVATIONS:
        assert np.isnan(losses_of(activation, code, dtype)).all()


@both
@pytest.mark.parametrize("code", UNKNOWN)
@pytest.mark.parametrize("batch_rows", [1, 2, 8])
def test_a_network_of_unknown_loss_diverges(code, batch_rows, dtype):
    layers = Layers((3, 2), (activations.IDENTITY,), code)
    with pytest.raises(fastbp.DivergenceError):
        trained(layers, np.ones((8, 3)), np.ones(layers.n_parameters, dtype), batch_rows)


@both
@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_a_gradient_that_is_too_long_is_shortened(alpha, dtype):
    layers = Layers((3, 2), (activations.IDENTITY,), losses.MSE)
    start = layers.flat([np.ones((3, 2))], [np.ones(2)], dtype=dtype)
    samples = Samples(Labelled(rows_of("x", np.ones((8, 3))), np.zeros((8, 2)), None), False, None)
    lengths = []
    for most in (0.5, 1e6, None):
        options = Options(0.1, 1, 8, alpha=alpha, clip_norm=most)
        after = train(layers.problem(start, samples, options)).parameters
        lengths.append(np.sqrt(np.sum((after - start).astype(float) ** 2)))
    assert_close(lengths[0], 0.05, dtype, STEPS, 0.0)  # the difference of two numbers near 1
    assert lengths[1] == lengths[2] > 1.0


def moved(code, dtype, constants=(), n_moments=0, p=16, n_weights=8):
    """Parameters and moments after two updates with the gradient 0, 1, ..., for two rows."""
    integers = np.zeros(layout.N_INTEGERS, dtype=np.int64)
    integers[[layout.OPTIMIZER, layout.N_PARAMETERS, layout.N_WEIGHTS]] = code, p, n_weights
    floats = np.zeros(layout.SUMS)
    floats[layout.RULE : layout.RULE + len(constants)] = constants
    floats[[layout.ALPHA, layout.POWER_1, layout.POWER_2]] = 0.5, 1.0, 1.0
    vectors = np.zeros(((2 + n_moments), p), dtype)
    vectors[0] = 1.0
    for _ in range(2):
        updated(integers, floats, vectors, 0.1, 2.0, np.arange(p, dtype=dtype))
    return vectors[0], vectors[2:]


def expected_of(rule, p=16, n_weights=8):
    parameters = np.ones(p)
    alpha = np.where(np.arange(p) < n_weights, 0.5, 0.0)
    for _ in range(2):
        kept = 1.0 - 0.1 * getattr(rule, "weight_decay", 0.0)
        (step,) = rule.updates(0.1, [(np.arange(p) + alpha * parameters) / 2])
        parameters = kept * parameters + step
    return parameters


@both
@pytest.mark.parametrize(
    ("code", "constants", "n_moments", "rule"),
    [
        (update.PLAIN_SGD, (), 0, reference.Momentum),
        (update.MOMENTUM_SGD, (0.9,), 1, reference.Momentum),
        (update.NESTEROV_SGD, (0.9, True), 1, reference.Momentum),
        (update.ADAM, (0.8, 0.99, 1e-6), 2, reference.Adam),
        (update.ADAMW, (0.8, 0.99, 1e-6, 0.3), 2, reference.AdamW),
        (update.RMSPROP, (0.8, 1e-6), 1, reference.RMSprop),
    ],
)
def test_every_optimizer(code, constants, n_moments, rule, dtype):
    parameters, _ = moved(code, dtype, constants, n_moments)
    assert_close(parameters, expected_of(rule(*constants)), dtype, FORMULA)


@both
def test_what_is_no_optimizer_leaves_the_parameters(dtype):
    parameters, moments = moved(update.KEEP_GRADIENT, dtype, n_moments=1)
    alpha = np.where(np.arange(16) < 8, 0.5, 0.0)
    assert_close(moments[0], (np.arange(16.0) + alpha) / 2, dtype, FORMULA, 0.0)
    assert (parameters == 1.0).all()
    assert (moved(update.KEEP_LOSS, dtype)[0] == 1.0).all()


class Unknown(fastbp.SGD):
    code, n_moments, constants = 99, 0, ()


@both
@pytest.mark.parametrize("code", UNKNOWN)
def test_an_unknown_optimizer_makes_the_parameters_nan(code, dtype):
    assert np.isnan(moved(code, dtype)[0]).all()
    layers = Layers((3, 2), (activations.IDENTITY,), losses.MSE)
    with pytest.raises(fastbp.DivergenceError):
        trained(layers, np.ones((8, 3)), np.ones(layers.n_parameters, dtype), optimizer=Unknown())


@both
@pytest.mark.parametrize("mode", [*UNKNOWN, blocks.TIMES])
def test_an_unknown_mode_of_products_gives_nan(mode, dtype):
    result = np.zeros(9, dtype)
    kept(mode, np.ones(8, dtype), np.ones(8, dtype), result)
    assert np.isnan(result[:8]).all() == (mode != blocks.TIMES)
    assert np.isnan(result[8])  # single sums know three modes only


@pytest.mark.parametrize("code", UNKNOWN)
def test_an_unknown_distribution_gives_nan(code):
    x = np.zeros((20, 3))
    random.random_rows(code, 1, 0, np.empty(0, dtype=np.int64), x)
    assert np.isnan(x).all()


FREED = """
import numpy as np
from fastbp.kernels import neuron, random
x, y, results = np.ones((70, 3)), np.zeros((70, 1)), np.zeros(9)
assert neuron.neuron_small(x, np.ones(75), 5, neuron.tile_rows(3), results)
none = np.empty(0, dtype=np.int64)
random.neuron_rows(random.NORMAL, np.ones(2, int), 0, none, np.ones(9), 0.5, x, y)
print(results.tolist(), y.sum())
"""


@pytest.mark.skipif(not JIT_ENABLED, reason="plain Python frees nothing too early")
def test_kernels_do_not_use_freed_memory():
    """The C library fills what is freed with NaN (on Linux; elsewhere this finds nothing)."""
    printed = [
        subprocess.run(
            [sys.executable, "-c", FREED],
            env=os.environ | {"MALLOC_PERTURB_": perturb},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for perturb in ("0", "255")
    ]
    assert printed[0] == printed[1]
