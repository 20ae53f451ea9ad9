"""Networks against the plain oracle, finite differences, autodiff and published examples."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastbp
from fastbp import SGD, Adam, RMSprop
from tests import reference
from tests.problems import assert_same_network, network_bits, network_problem
from tests.tolerances import CENTRAL_DIFFERENCE

CASES = Path(__file__).parents[1] / "cases"
HIDDEN = ("relu", "sigmoid", "tanh", "identity")
SHAPES = [
    (1, 1),
    (3, 1),
    (1, 10, 1),
    (4, 8, 1),
    (5, 3, 2),
    (10, 32, 1),
    (20, 9, 40, 3),
    (17, 16, 8),
    (35, 50, 10),
    (3, 4, 5, 6, 7),
]


def names(sizes, output):
    """A different activation in each hidden layer."""
    return [HIDDEN[i % len(HIDDEN)] for i in range(len(sizes) - 2)] + [output]


@pytest.mark.parametrize(("output", "loss"), reference.OUTPUT_PAIRS)
@pytest.mark.parametrize("sizes", SHAPES, ids=str)
@pytest.mark.parametrize("batch_size", [None, 1, 7, 32])
def test_every_pair_shape_and_batch_mode(output, loss, sizes, batch_size):
    x, y, w, b, rng = network_problem(sizes, 45, loss)
    weight = rng.random(45) + 0.1
    for keywords in ({}, {"alpha": 0.3}, {"sample_weight": weight, "alpha": 0.1}):
        keywords |= {"activations": names(sizes, output), "loss": loss, "batch_size": batch_size}
        fit = fastbp.fit_network(x, y, w, b, 0.02, 3, **keywords)
        assert_same_network(fit, reference.fit_network(x, y, w, b, 0.02, 3, **keywords))


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("output", reference.ACTIVATIONS)
@pytest.mark.parametrize("batch_size", [None, 1])
def test_every_activation_in_every_place(hidden, output, batch_size):
    x, y, w, b, _ = network_problem((4, 6, 5, 2), 30)
    keywords = {"activations": [hidden, hidden, output], "batch_size": batch_size}
    fit = fastbp.fit_network(x, y, w, b, 0.05, 10, **keywords)
    assert_same_network(fit, reference.fit_network(x, y, w, b, 0.05, 10, **keywords))


@pytest.mark.parametrize(("output", "loss"), reference.OUTPUT_PAIRS)
@pytest.mark.parametrize("n", [8, 255, 256, 257, 2100])
def test_many_tiles_and_chunks(output, loss, n):
    sizes = (6, 20, 3)
    x, y, w, b, _ = network_problem(sizes, n, loss)
    keywords = {"activations": ["relu", output], "loss": loss, "batch_size": 1000}
    fit = fastbp.fit_network(x, y, w, b, 0.1, 3, **keywords)
    assert_same_network(fit, reference.fit_network(x, y, w, b, 0.1, 3, **keywords))


@pytest.mark.parametrize(
    ("optimizer", "oracle"),
    [
        (SGD(momentum=0.9), lambda: reference.Momentum(0.9)),
        (SGD(momentum=0.8, nesterov=True), lambda: reference.Momentum(0.8, nesterov=True)),
        (SGD(nesterov=True), lambda: reference.Momentum()),
        (Adam(), lambda: reference.Adam()),
        ("adam", lambda: reference.Adam()),
        (Adam(beta_1=0.5, beta_2=0.9, epsilon=1e-3), lambda: reference.Adam(0.5, 0.9, 1e-3)),
        (Adam(beta_1=0.0), lambda: reference.Adam(0.0)),
        ("adamw", lambda: reference.AdamW()),
        (fastbp.AdamW(weight_decay=0.5), lambda: reference.AdamW(weight_decay=0.5)),
        ("rmsprop", lambda: reference.RMSprop()),
        (RMSprop(rho=0.5, epsilon=1e-3), lambda: reference.RMSprop(0.5, 1e-3)),
    ],
    ids=lambda value: None if callable(value) else str(value),
)
@pytest.mark.parametrize("batch_size", [None, 1, 16])
def test_optimizers(optimizer, oracle, batch_size):
    x, y, w, b, rng = network_problem((5, 9, 2), 40)
    keywords = {"activations": ["tanh", "identity"], "batch_size": batch_size}
    for more in ({}, {"alpha": 0.2, "sample_weight": rng.random(40) + 0.1}):
        keywords |= more
        fit = fastbp.fit_network(x, y, w, b, 0.01, 10, optimizer=optimizer, **keywords)
        expected = reference.fit_network(x, y, w, b, 0.01, 10, optimizer=oracle(), **keywords)
        assert_same_network(fit, expected)
    # a neuron is a network of one layer with one output
    keywords["activations"] = ["sigmoid"]
    expected = reference.fit_network(
        x, y[:, :1], [w[0][:, :1]], [b[0][:1]], 0.01, 10, optimizer=oracle(), **keywords
    )
    del keywords["activations"]
    arguments = (x, y[:, 0], w[0][:, 0], b[0][0], 0.01, 10)
    fit = fastbp.fit_neuron(*arguments, optimizer=optimizer, **keywords)
    np.testing.assert_allclose(fit.weights, expected.weights[0][:, 0], rtol=1e-11)
    assert fit.bias == pytest.approx(expected.biases[0][0], rel=1e-11)
    np.testing.assert_allclose(fit.losses, expected.losses, rtol=1e-11)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=5),
    st.integers(1, 70),
    st.sampled_from(reference.OUTPUT_PAIRS),
    st.one_of(st.none(), st.integers(1, 80)),
    st.integers(0, 100),
)
def test_any_network(sizes, n, pair, batch_size, seed):
    output, loss = pair
    x, y, w, b, _ = network_problem(sizes, n, loss, seed)
    keywords = {"activations": names(sizes, output), "loss": loss, "batch_size": batch_size}
    fit = fastbp.fit_network(x, y, w, b, 0.01, 2, **keywords)
    assert_same_network(fit, reference.fit_network(x, y, w, b, 0.01, 2, **keywords))


# --- loss and gradient --------------------------------------------------------------------


@pytest.mark.parametrize(("output", "loss"), reference.OUTPUT_PAIRS)
@pytest.mark.parametrize("sizes", [(3, 2), (3, 5, 2), (2, 17, 9, 4)], ids=str)
def test_gradient_against_the_oracle_and_central_differences(output, loss, sizes):
    x, y, w, b, rng = network_problem(sizes, 30, loss)
    weight = rng.random(30) + 0.1
    keywords = {"activations": names(sizes, output), "loss": loss, "alpha": 0.2}
    keywords["sample_weight"] = weight
    value, dws, dbs = fastbp.loss_and_gradient(x, y, w, b, **keywords)
    expected = reference.network_gradient(x, y, w, b, **keywords)
    for ours, theirs in zip((*dws, *dbs), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-14)
    assert value == pytest.approx(reference.network_loss(x, y, w, b, **keywords), rel=1e-13)
    for group, gradients in ((w, dws), (b, dbs)):
        for array, gradient in zip(group, gradients, strict=True):
            index = tuple(rng.integers(array.shape))
            slopes = []
            for step in (1e-5, -1e-5):
                array[index] += step
                slopes.append(fastbp.loss_and_gradient(x, y, w, b, **keywords)[0] / (2 * step))
                array[index] -= step
            assert gradient[index] == pytest.approx(sum(slopes), rel=CENTRAL_DIFFERENCE, abs=1e-8)


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.parametrize(("output", "loss"), reference.OUTPUT_PAIRS)
def test_gradient_against_jax(output, loss):
    import jax
    import jax.numpy as jnp

    functions = {
        "identity": lambda z: z,
        "sigmoid": jax.nn.sigmoid,
        "relu": jax.nn.relu,
        "tanh": jnp.tanh,
        "softplus": jax.nn.softplus,
        "leaky_relu": jax.nn.leaky_relu,
        "elu": jax.nn.elu,
        "silu": jax.nn.silu,
        "gelu": lambda z: jax.nn.gelu(z, approximate=False),
        "softmax": lambda z: jax.nn.softmax(z, axis=1),
    }
    sizes = (4, 7, 5, 3)
    x, y, w, b, _ = network_problem(sizes, 20, loss)

    def objective(parameters):
        a = x
        for weights, biases, name in zip(*parameters, names(sizes, output), strict=True):
            a = functions[name](a @ weights + biases)
        each = {
            "mse": lambda: jnp.mean((a - y) ** 2, axis=1),
            "half_mse": lambda: 0.5 * jnp.sum((a - y) ** 2, axis=1),
            "mae": lambda: jnp.mean(abs(a - y), axis=1),
            "huber": lambda: jnp.mean(
                jnp.where(abs(a - y) <= 1, (a - y) ** 2 / 2, abs(a - y) - 0.5), axis=1
            ),
            "bce": lambda: -jnp.sum(y * jnp.log(a) + (1 - y) * jnp.log(1 - a), axis=1),
            "cross_entropy": lambda: -jnp.sum(y * jnp.log(a), axis=1),
        }[loss]()
        return jnp.mean(each)

    with jax.enable_x64(True):
        theirs, gradient = jax.value_and_grad(objective)((w, b))
    ours, dws, dbs = fastbp.loss_and_gradient(
        x, y, w, b, activations=names(sizes, output), loss=loss
    )
    assert ours == pytest.approx(float(theirs), rel=1e-12)
    for a, e in zip((*dws, *dbs), (*gradient[0], *gradient[1]), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-10, atol=1e-14)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_gradient_against_pytorch():
    import torch

    x, y, w, b, _ = network_problem((4, 7, 3), 20)
    ws, bs = ([torch.tensor(p, requires_grad=True) for p in group] for group in (w, b))
    a = torch.relu(torch.from_numpy(x) @ ws[0] + bs[0]) @ ws[1] + bs[1]
    loss = torch.nn.functional.mse_loss(a, torch.from_numpy(y))
    loss.backward()
    ours, dws, dbs = fastbp.loss_and_gradient(x, y, w, b, activations=["relu", "identity"])
    assert ours == pytest.approx(loss.item(), rel=1e-12)
    for a, e in zip((*dws, *dbs), (*ws, *bs), strict=True):
        np.testing.assert_allclose(a, e.grad.numpy(), rtol=1e-10, atol=1e-14)


def test_gradient_runs_over_without_an_exception():
    loss, dws, _ = fastbp.loss_and_gradient(
        [[1e200]], [0.0], [[[1e200]]], [[0.0]], activations=["identity"]
    )
    assert loss == np.inf
    assert dws[0].shape == (1, 1)


def test_a_users_own_optimizer():
    from scipy.optimize import minimize

    x, y, w, b, _ = network_problem((3, 4, 1), 60)
    shapes = [p.shape for p in (*w, *b)]
    ends = np.cumsum([p.size for p in (*w, *b)])

    def split(flat):
        parts = np.split(flat, ends[:-1])
        return [p.reshape(s) for p, s in zip(parts, shapes, strict=True)]

    def objective(flat):
        parts = split(flat)
        loss, dws, dbs = fastbp.loss_and_gradient(
            x, y, parts[:2], parts[2:], activations=["tanh", "identity"]
        )
        return loss, np.concatenate([g.ravel() for g in (*dws, *dbs)])

    start = np.concatenate([p.ravel() for p in (*w, *b)])
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    assert found.fun < 0.6 * objective(start)[0]
    assert np.abs(found.jac).max() < 1e-3


# --- published examples -------------------------------------------------------------------


def optimizer_of(case):
    keywords = dict(case["optimizer"] or {"name": "sgd"})
    return {"sgd": SGD, "adam": Adam}[keywords.pop("name")](**keywords)


@pytest.mark.parametrize(
    "case", json.loads((CASES / "networks.json").read_text()), ids=lambda c: c["name"]
)
def test_worked_cases(case):
    fit = fastbp.fit_network(
        case["features"],
        case["labels"],
        case["initial_weights"],
        case["initial_biases"],
        case["learning_rate"],
        case["epochs"],
        optimizer=optimizer_of(case),
        **{k: case[k] for k in ("activations", "loss", "batch_size", "sample_weight", "alpha")},
    )
    expected = case["expected"]
    assert_same_network(
        fit,
        reference.NetworkFit(
            [np.array(w) for w in expected["weights"]],
            [np.array(b) for b in expected["biases"]],
            np.array(expected["losses"]),
        ),
    )


def test_the_published_regression():
    case = json.loads((CASES / "relu_regression.json").read_text())
    random = np.random.RandomState(42)
    weights = [random.randn(1, 10), random.randn(10, 1)]
    biases = [np.zeros((1, 10)), np.zeros((1, 1))]
    x = random.rand(100, 1)
    y = 3 * x + 2 + 0.1 * random.randn(100, 1)
    fit = fastbp.fit_network(
        x,
        y,
        weights,
        biases,
        case["learning_rate"],
        case["epochs"],
        activations=["relu", "identity"],
        loss="half_mse",
    )
    assert len(case["published_mse"]) == 10
    for epoch, printed in case["published_mse"].items():
        assert f"{2 * fit.losses[int(epoch)]:.4f}" == printed
    published = case["published_prediction_at_1_5"]
    assert fit.predict([[1.5]])[0, 0] == pytest.approx(published, abs=1e-9)


def test_the_published_node_as_a_network():
    case = json.loads((CASES / "one_relu_node.json").read_text())
    weights, biases = [[[case["w"]]], [[case["v"]]]], [[case["b"]], [case["c"]]]
    rows = []

    def note(state):
        (w, v), (b, c) = ([p.item() for p in group] for group in (state.weights, state.biases))
        rows.append((state.loss, w, b, v, c))

    fastbp.fit_network(
        [[case["x"]]],
        [case["y_target"]],
        weights,
        biases,
        case["learning_rate"],
        case["iterations"],
        activations=["relu", "identity"],
        loss="half_mse",
        callback=note,
    )
    assert len(rows) == len(case["published"]) == 10
    for (cost, w, b, v, c), printed in zip(rows, case["published"], strict=True):
        assert f"{cost:.4f}" == printed["cost"]
        assert w == pytest.approx(printed["w"], rel=1e-12)
        assert (f"{b:.4f}", f"{v:.2f}", f"{c:.4f}") == (printed["b"], printed["v"], printed["c"])


def test_the_slip_of_updated_weights_gives_other_numbers():
    """What a published example does to its hidden layer; the formulas do not."""
    case = json.loads((CASES / "networks.json").read_text())[0]
    x, y = np.array(case["features"][:1]), np.array(case["labels"][:1])
    w, b = ([np.array(p) for p in case[k]] for k in ("initial_weights", "initial_biases"))
    rate, keywords = case["learning_rate"], {"activations": case["activations"]}
    fit = fastbp.fit_network(x, y, w, b, rate, 1, loss="half_mse", batch_size=1, **keywords)
    zs, acts = reference.outputs(x, w, b, **keywords)
    delta = (acts[2] - y) * reference.derivative("sigmoid", zs[1])
    updated = w[1] - rate * acts[1].T @ delta
    right = w[0] - rate * x.T @ ((delta @ w[1].T) * reference.derivative("sigmoid", zs[0]))
    slipped = w[0] - rate * x.T @ (delta @ updated.T)
    np.testing.assert_allclose(fit.weights[0], right, rtol=1e-14)
    assert np.abs(fit.weights[0] - slipped).max() > 1e-4


# --- labels, losses, accuracy -------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [None, 1, 8])
def test_numbers_of_classes_are_one_hot_rows(batch_size):
    x, _, w, b, rng = network_problem((4, 6, 3), 50)
    classes = rng.integers(3, size=50)
    keywords = {"activations": ["relu", "softmax"], "loss": "cross_entropy"}
    keywords["batch_size"] = batch_size
    expected = network_bits(fastbp.fit_network(x, np.eye(3)[classes], w, b, 0.1, 4, **keywords))
    for labels in (classes, classes[:, None], classes.astype(np.uint8), classes.tolist()):
        assert network_bits(fastbp.fit_network(x, labels, w, b, 0.1, 4, **keywords)) == expected
    shuffled = [
        fastbp.fit_network(x, y, w, b, 0.1, 4, shuffle=True, random_state=3, **keywords)
        for y in (classes, np.eye(3)[classes])
    ]
    assert network_bits(shuffled[0]) == network_bits(shuffled[1])


def cross_entropy_of(z, k):
    """Loss and dz of one row with these pre-activations and class k."""
    loss, _, dbs = fastbp.loss_and_gradient(
        [[0.0]],
        [k],
        [np.zeros((1, len(z)))],
        [z],
        activations=["softmax"],
        loss="cross_entropy",
    )
    return loss, dbs[0]


def test_cross_entropy_keeps_its_digits():
    from mpmath import mp

    with mp.workdps(60):
        for z in ([40.0, 0.0, -3.0], [0.0, 36.5], [1e3, 0.0], [-700.0, 20.0, 19.0], [5.0, 5.0]):
            for k in range(len(z)):
                e = [mp.exp(mp.mpf(v)) for v in z]
                loss, dz = cross_entropy_of(z, k)
                assert loss == pytest.approx(float(-mp.log(e[k] / sum(e))), rel=4e-16, abs=1e-308)
                for j, slope in enumerate(dz):
                    others = sum(e) - e[k]
                    exact = -others / sum(e) if j == k else e[j] / sum(e)
                    assert slope == pytest.approx(float(exact), rel=1e-15, abs=1e-308)


def test_no_finite_pre_activation_makes_a_loss_infinite():
    for z in ([1e300, -1e300], [-1e300, -1e300], [0.0, 1e308]):
        for k in (0, 1):
            assert np.isfinite(cross_entropy_of(z, k)[0])
    loss, _, dbs = fastbp.loss_and_gradient(
        [[0.0]], [[0.0, 1.0]], [np.zeros((1, 2))], [[800.0, -800.0]], activations=["sigmoid"],
        loss="bce",
    )  # fmt: skip
    assert (loss, dbs[0].tolist()) == (1600.0, [1.0, -1.0])


def test_hidden_derivatives_keep_their_digits():
    """phi'(z) of a saturated sigmoid: 1 - a from a would have no digit left."""
    _, dws, _ = fastbp.loss_and_gradient(
        [[1.0]], [0.0], [[[40.0]], [[1.0]]], [[0.0], [0.0]], activations=["sigmoid", "identity"],
        loss="half_mse",
    )  # fmt: skip
    assert dws[0][0, 0] == pytest.approx(np.exp(-40.0), rel=1e-15)


# --- what a fit gives ---------------------------------------------------------------------


def test_a_fit_unpacks_and_predicts():
    x, y, w, b, _ = network_problem((3, 5, 2), 20)
    fit = fastbp.fit_network(x, y, w, b, 0.1, 7, activations=["relu", "identity"])
    weights, biases, losses = fit
    assert (fit.n_epochs, fit.stopped, fit.validation_losses) == (7, "epochs", None)
    assert [p.shape for p in weights] == [(3, 5), (5, 2)]
    assert losses.shape == (7,)
    _, acts = reference.outputs(x, weights, biases, ["relu", "identity"])
    np.testing.assert_allclose(fit.predict(x), acts[-1], rtol=1e-13, atol=1e-14)
    assert fit.activations == ("relu", "identity")
    assert "epochs" in repr(fit)


def test_arguments_are_never_changed():
    x, y, w, b, rng = network_problem((3, 5, 2), 20)
    weight = rng.random(20) + 0.1
    before = [a.copy() for a in (x, y, weight, *w, *b)]
    for batch_size in (None, 1):
        fastbp.fit_network(
            x, y, w, b, 0.1, 3, activations=["relu", "tanh"], sample_weight=weight,
            batch_size=batch_size,
        )  # fmt: skip
    for old, new in zip(before, (x, y, weight, *w, *b), strict=True):
        np.testing.assert_array_equal(old, new)


def test_zero_epochs_give_the_start_values():
    x, y, w, b, _ = network_problem((3, 5, 2), 20)
    fit = fastbp.fit_network(x, y, w, b, 0.1, 0, activations=["relu", "tanh"])
    assert fit.losses.size == 0
    for old, new in zip((*w, *b), (*fit.weights, *fit.biases), strict=True):
        np.testing.assert_array_equal(old, new)


def test_callback_and_callable_rate():
    x, y, w, b, _ = network_problem((3, 5, 2), 20)
    seen = []

    def note(state):
        assert not any(p.flags.writeable for p in (*state.weights, *state.biases))
        seen.append((state.epoch, state.loss, state.weights[0].copy()))
        return state.epoch == 5

    keywords = {"activations": ["relu", "tanh"]}
    fit = fastbp.fit_network(x, y, w, b, lambda e: 0.5 / (1 + e), 50, callback=note, **keywords)
    assert (fit.stopped, fit.n_epochs, [row[0] for row in seen]) == ("callback", 6, [*range(6)])
    np.testing.assert_array_equal(seen[-1][2], fit.weights[0])
    np.testing.assert_array_equal([row[1] for row in seen], fit.losses)
    expected = reference.fit_network(x, y, w, b, lambda e: 0.5 / (1 + e), 6, **keywords)
    assert_same_network(fit, expected)


@pytest.mark.parametrize("batch_size", [None, 1, 7])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_rate_for_each_epoch_of_a_slice(batch_size, optimizer):
    x, y, w, b, _ = network_problem((3, 5, 2), 20)

    def rate(epoch):
        return 0.05 / (1 + epoch)

    keywords = {"activations": ["relu", "tanh"], "batch_size": batch_size}
    fit = fastbp.fit_network(x, y, w, b, rate, 30, optimizer=optimizer, **keywords)
    oracle = reference.Adam() if optimizer == "adam" else None
    expected = reference.fit_network(x, y, w, b, rate, 30, optimizer=oracle, **keywords)
    assert_same_network(fit, expected)


def test_tol_stops_a_network():
    x, y, w, b, _ = network_problem((3, 5, 2), 20)
    fit = fastbp.fit_network(
        x, y, w, b, 0.0, 50, activations=["relu", "tanh"], tol=0.0, n_iter_no_change=4
    )
    assert (fit.stopped, fit.n_epochs) == ("tol", 5)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_shuffle(batch_size):
    x, y, w, b, rng = network_problem((3, 5, 2), 53)
    keywords = {"activations": ["relu", "tanh"], "batch_size": batch_size}
    keywords["sample_weight"] = rng.random(53) + 0.1
    source = np.random.default_rng(7)
    orders = [source.permutation(53) for _ in range(4)]
    fit = fastbp.fit_network(x, y, w, b, 0.1, 4, shuffle=True, random_state=7, **keywords)
    assert_same_network(fit, reference.fit_network(x, y, w, b, 0.1, 4, orders=orders, **keywords))


# --- prediction ---------------------------------------------------------------------------


@pytest.mark.parametrize("output", [*reference.ACTIVATIONS, "softmax"])
@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_prediction(output, sizes):
    x, _, w, b, _ = network_problem(sizes, 300)
    chosen = names(sizes, output)
    predicted = fastbp.predict_network(x, w, b, activations=chosen)
    expected = reference.outputs(x, w, b, chosen)[1][-1]
    np.testing.assert_allclose(predicted, expected, rtol=1e-12, atol=1e-14)
    for rows in (slice(0, 1), slice(17, 18), slice(5, 14), slice(299, 300)):
        alone = fastbp.predict_network(x[rows], w, b, activations=chosen)
        np.testing.assert_array_equal(alone, predicted[rows])


def test_prediction_by_blocks_and_threads(monkeypatch):
    x, _, w, b, _ = network_problem((5, 9, 2), 60_000)
    chosen = ["relu", "softmax"]
    expected = fastbp.predict_network(x, w, b, activations=chosen)
    monkeypatch.setattr("fastbp.models.network_prediction.CALL_WORK", 2**16)
    for array in (x, np.asfortranarray(x), x[:, ::-1][:, ::-1]):
        np.testing.assert_array_equal(
            fastbp.predict_network(array, w, b, activations=chosen), expected
        )
    monkeypatch.setattr("fastbp.models.prediction.threads_for", lambda *_: 3)
    np.testing.assert_array_equal(fastbp.predict_network(x, w, b, activations=chosen), expected)


# --- initial parameters -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "deviation", "bound"),
    [
        ("glorot_uniform", np.sqrt(2 / 1000), np.sqrt(6 / 1000)),
        ("glorot_normal", np.sqrt(2 / 1000), np.inf),
        ("he_uniform", np.sqrt(2 / 400), np.sqrt(6 / 400)),
        ("he_normal", np.sqrt(2 / 400), np.inf),
        ("normal", 1.0, np.inf),
        ("zeros", 0.0, 0.0),
    ],
)
def test_schemes(scheme, deviation, bound):
    keywords = {"activations": ["relu", "identity"], "scheme": scheme}
    weights, biases = fastbp.initialize_network([400, 600, 3], random_state=1, **keywords)
    assert [w.shape for w in weights] == [(400, 600), (600, 3)]
    assert [b.tolist() for b in biases] == [[0.0] * 600, [0.0] * 3]
    # 240,000 draws: the deviation is right to 1/700, eight times that is beyond chance
    assert weights[0].std() == pytest.approx(deviation, rel=0.012)
    assert abs(weights[0].mean()) <= 8 * deviation / 490
    assert np.abs(weights[0]).max() <= bound
    sizes = np.array([400, 600, 3])
    again, _ = fastbp.initialize_network(sizes, random_state=1, **keywords)
    np.testing.assert_array_equal(weights[1], again[1])
    legacy, _ = fastbp.initialize_network(
        [2, 3], activations=["relu"], scheme=scheme, random_state=np.random.RandomState(1)
    )
    assert legacy[0].shape == (2, 3)


@pytest.mark.parametrize("batch_size", [None, 1, 2])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "softplus"])
def test_saturated_hidden_neurons_stay_where_they_are(activation, batch_size):
    sign = -1.0 if activation == "softplus" else 1.0  # whose derivative is 1 above
    x = sign * np.full((4, 1), 1e307)
    weights, biases = [np.ones((1, 2)), np.ones((2, 1))], [np.zeros(2), np.zeros(1)]
    how = {"activations": [activation, "identity"], "batch_size": batch_size}
    fit = fastbp.fit_network(x, np.full(4, 5.0), weights, biases, 0.01, 1, **how)
    np.testing.assert_array_equal(fit.weights[0], weights[0])
    np.testing.assert_array_equal(fit.biases[0], biases[0])
    assert fit.biases[1][0] != 0.0
