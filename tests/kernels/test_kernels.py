"""One neuron: every way through a step, by one thread and by several.

This file also runs with the JIT off (``NUMBA_DISABLE_JIT=1``), where it must reach every line of
the kernels.
"""

import numpy as np
import pytest

import fastbp
from fastbp.data.arrays import ArrayRows
from fastbp.data.labels import samples
from fastbp.kernels import activations, atomics, layout, losses, neuron, steps, vector
from fastbp.kernels.jit import JIT_ENABLED, kernel
from fastbp.models.activations import ACTIVATIONS
from fastbp.models.losses import LOSSES
from fastbp.models.neuron import NeuronModel
from fastbp.system.threads import Team
from fastbp.training.cluster.worker import Part, Pass, group_sums
from fastbp.training.optimizers import GRADIENT_ONLY, SGD
from fastbp.training.problem import Options
from fastbp.training.run import Run
from fastbp.training.slices import NO_FLOATS, NO_ORDER
from tests import reference
from tests.kernels.both import DOUBLE, FORMULA, assert_close, both, in_both


@kernel
def composed_step(x, y, w, bias, activation, loss, a, value, dz):
    """The pieces one after the other, with arrays between them."""
    for i in range(0, y.size, vector.LANES):
        z = vector.load(vector.pointer_to(a), i)
        v, d = losses.output_loss(activation, loss, z, vector.load(vector.pointer_to(y), i))
        vector.store(vector.pointer_to(value), i, v)
        vector.store(vector.pointer_to(dz), i, d)
        vector.store(vector.pointer_to(a), i, activations.activate(activation, z))


@both
@pytest.mark.parametrize(("activation", "loss"), reference.PAIRS)
@pytest.mark.parametrize("d", [1, 2, 3, 21, 60])
def test_fused_equals_composed(activation, loss, d, dtype):
    rng = np.random.default_rng(d)
    n, b = 64, 0.25
    x, y, w = (in_both(a) for a in (rng.normal(size=(n, d)), rng.random(n), rng.normal(size=d) / d))
    codes = (
        ACTIVATIONS[activation].code,
        LOSSES[loss].code,
    )
    z, value, dz = (x @ w + b).astype(dtype), np.empty(n, dtype), np.empty(n, dtype)
    composed_step(x, y.astype(dtype), w, b, *codes, z, value, dz)
    fit = fastbp.fit_neuron(x, y, w, b, 1.0, 1, activation=activation, loss=loss, dtype=dtype)
    outputs = fastbp.predict_neuron(x, w, b, activation=activation, dtype=dtype)
    assert_close(z, outputs, dtype, FORMULA)
    assert fit.losses[0] == pytest.approx(value.mean(dtype=float), rel=FORMULA[dtype])
    dw, db = x.T @ dz.astype(float) / n, dz.mean(dtype=float)
    assert_close(w - fit.weights, dw, dtype, FORMULA)
    assert_close(b - fit.bias, db, dtype, FORMULA)


@both
@pytest.mark.parametrize("n", [1, 7, 8, 9, 63, 65, 130])
@pytest.mark.parametrize("d", [1, 2, 3, 8, 9, 32, 33, 41, 49, 56, 64])
def test_every_shape_of_tile(n, d, dtype):
    rng = np.random.default_rng(n * 100 + d)
    x, y, w = (in_both(a) for a in (rng.normal(size=(n, d)), rng.random(n), rng.normal(size=d) / d))
    weight = in_both(rng.random(n) + 0.5)
    for keywords in ({}, {"sample_weight": weight, "alpha": 0.1}):
        fit = fastbp.fit_neuron(x, y, w, 0.5, 0.1, 2, **keywords, dtype=dtype)
        expected = reference.fit_neuron(x, y, w, 0.5, 0.1, 2, **keywords)
        assert_close(fit.weights, expected.weights, dtype, FORMULA)
        assert_close(fit.bias, expected.bias, dtype, FORMULA)
        assert_close(fit.losses, expected.losses, dtype, FORMULA, 0.1)


@both
@pytest.mark.parametrize("d", [1, 2])
def test_narrow_rows_of_two_tiles(d, dtype):
    rng = np.random.default_rng(d)
    n = neuron.tile_rows(d) + 5
    x, y, w = (in_both(a) for a in (rng.normal(size=(n, d)), rng.random(n), rng.normal(size=d)))
    fit = fastbp.fit_neuron(x, y, w, 0.5, 0.1, 1, dtype=dtype)
    expected = reference.fit_neuron(x, y, w, 0.5, 0.1, 1)
    assert_close(fit.weights, expected.weights, dtype, FORMULA)
    assert_close(fit.losses, expected.losses, dtype, FORMULA)


@both
def test_a_block_that_is_prefetched(dtype, monkeypatch):
    rng = np.random.default_rng(0)
    d = 4101 if JIT_ENABLED else 101
    if not JIT_ENABLED:
        monkeypatch.setattr(neuron, "CACHED_ELEMENTS", 2**14)
    x, y, w = rng.normal(size=(260, d)), rng.random(260), rng.normal(size=d) / 100
    x, y, w = in_both(x), in_both(y), in_both(w)
    assert x.size > neuron.CACHED_ELEMENTS
    fit = fastbp.fit_neuron(x, y, w, 0.5, 0.1, 1, dtype=dtype)
    expected = reference.fit_neuron(x, y, w, 0.5, 0.1, 1)
    assert_close(fit.weights, expected.weights, dtype, FORMULA)


@both
def test_nothing_beyond_the_arrays_is_read(dtype):
    """Rows, labels and weights lie in a sea of NaN: one stray load and the result is NaN."""
    rng = np.random.default_rng(0)
    for n, d in [(1, 1), (3, 1), (5, 2), (9, 3), (13, 11), (70, 33)]:
        pieces = []
        for size, own in ((n * d, dtype), (n, DOUBLE), (n, DOUBLE)):
            sea = np.full(size + 128, np.nan, own)
            sea[64 : 64 + size] = rng.random(size)
            pieces.append(sea[64 : 64 + size])
        x, y, weight = pieces[0].reshape(n, d), pieces[1], pieces[2]
        how = {"sample_weight": weight, "dtype": dtype}
        for batch in (None, 1):
            fit = fastbp.fit_neuron(x, y, np.zeros(d), 0.0, 0.1, 2, **how, batch_size=batch)
            assert np.isfinite(fit.weights).all() and np.isfinite(fit.losses).all()
        assert np.isfinite(fit.predict(x)).all()


def run_for(x, y, workers, dtype=DOUBLE, chunk_rows=None, group_chunks=None, **keywords):
    """A fit under way whose kernel the test calls itself."""
    start = np.linspace(-1.0, 1.0, x.shape[1]) if chunk_rows else np.zeros(x.shape[1])
    model = NeuronModel(x.shape[1], start, 0.0, "sigmoid", "mse", dtype)
    data = samples(ArrayRows(x), y, None, model.targets, ("features", "labels", ""))
    options = Options(**{"learning_rate": 0.1, "epochs": 2, "batch_rows": len(x), **keywords})
    problem = model.problem(data, options)
    problem.chunk_rows = chunk_rows or problem.chunk_rows
    problem.group_chunks = group_chunks or problem.group_chunks
    return Run(problem, Team(workers, None))


def finished(run):
    """Its losses and parameters after two epochs."""
    while run.memory.epoch < 2:
        run.slice()
    return *run.losses.tolist(), run.memory.parameters.tobytes()


@pytest.mark.parametrize("suffices", [False, True])
def test_a_loss_that_falls_by_tol_and_no_more(suffices):
    """By 0, here: it has improved where `tol` suffices, as scikit-learn has it."""
    how = {"tol": 0.0, "n_iter_no_change": 2, "tol_suffices": suffices}
    run = run_for(np.ones((9, 2)), np.ones(9), 1, learning_rate=0.0, epochs=8, **how)
    while run.memory.status == layout.RUNNING and run.memory.epoch < 8:
        run.slice()
    assert run.memory.epoch == (8 if suffices else 3)


@both
def test_one_thread_of_a_team_can_do_all_the_work(dtype):
    rng = np.random.default_rng(0)
    n = 64 * 3 + 5
    x, y = in_both(rng.normal(size=(n, 20))), rng.random(n)
    # Made for two threads, but only worker 0 comes.
    together, alone = (finished(run_for(x, y, workers, dtype, 64)) for workers in (2, 1))
    assert together == alone


def gradient_sums(x, y, dtype, chunk_rows, workers=1, slots=None, budget=None, group=None):
    """The sums of the gradient and of the loss; exact, because the rows are a power of two."""
    run = run_for(x, y, workers, dtype, chunk_rows, group, epochs=1, optimizer=GRADIENT_ONLY)
    if slots:
        run.memory.integers[layout.SLOTS] = slots
    while run.memory.epoch < 1:
        if budget:
            run._computes.allow_chunks(budget)
        run.slice()
    return run.memory.moments[0] * dtype.type(len(x)), run.losses[0] * len(x)


@both
@pytest.mark.parametrize("d", [2, 9])
def test_sums_of_tiles_and_chunks_are_of_float64(d, dtype):
    """Gradients of float32 are rounded as the sum of a chunk, and as that of all chunks."""
    rng = np.random.default_rng(1)
    tile = neuron.tile_rows(d)
    n = 8 * tile
    x, y = in_both(rng.normal(size=(n, d))), rng.random(n)
    parts = [
        gradient_sums(x[i : i + tile], y[i : i + tile], dtype, tile) for i in range(0, n, tile)
    ]
    total, by_single, total_loss = 0.0, 0.0, 0.0
    for part, loss in parts:
        total, by_single = total + part.astype(float), by_single + part
        total_loss += loss
    expected = total.astype(dtype)
    assert dtype == DOUBLE or (expected != by_single).any()
    threads = range(1, 8) if JIT_ENABLED else (1, 2)
    ways = [{"workers": workers} for workers in threads]
    ways += [{"workers": 2, "slots": 3}, {"budget": 1}, {"slots": 3, "budget": 4}]
    for way in ways:
        gradient, loss = gradient_sums(x, y, dtype, tile, **way)
        np.testing.assert_array_equal(gradient, expected)
        assert loss == total_loss
    if d > 2:  # the sums of narrow rows stay vectors to the end of a chunk
        in_one_chunk, _ = gradient_sums(x, y, dtype, n)
        np.testing.assert_array_equal(in_one_chunk[:d], expected[:d])
        two_chunks = [gradient_sums(x[half], y[half], dtype, n)[0] for half in halves_of(n)]
        rounded_twice = sum(chunk.astype(float) for chunk in two_chunks).astype(dtype)
        gradient, _ = gradient_sums(x, y, dtype, n // 2)
        np.testing.assert_array_equal(gradient, rounded_twice)


@both
@pytest.mark.parametrize("group", [1, 3, 4, 7])
def test_groups_are_added_up_in_order(group, dtype):
    rng = np.random.default_rng(1)
    tile = neuron.tile_rows(9)
    n = 8 * tile
    x, y = in_both(rng.normal(size=(n, 9))), rng.random(n)
    chunks = [
        gradient_sums(x[i : i + tile], y[i : i + tile], dtype, tile) for i in range(0, n, tile)
    ]
    groups = [chunks[i : i + group] for i in range(0, 8, group)]
    expected = sum(sum(chunk.astype(float) for chunk, _ in part) for part in groups).astype(dtype)
    loss = sum(sum(loss for _, loss in part) for part in groups)
    ways = [{}, {"workers": 3}, {"workers": 2, "slots": 2}, {"budget": 1}, {"budget": 5}]
    for way in ways:
        found = gradient_sums(x, y, dtype, tile, group=group, **way)
        np.testing.assert_array_equal(found[0], expected)
        assert found[1] == loss
    by_chunk = sum(chunk.astype(float) for chunk, _ in chunks)
    assert dtype != DOUBLE or group in (1, 7) or (expected != by_chunk).any()


@both
def test_epochs_of_several_groups(dtype):
    """Whatever is left of one is not in the next, nor in a shorter batch."""
    rng = np.random.default_rng(2)
    tile = neuron.tile_rows(9)
    x, y = in_both(rng.normal(size=(7 * tile, 9))), rng.random(7 * tile)
    how = {"batch_rows": 4 * tile, "optimizer": SGD(momentum=0.9)}
    by_group, whole = (finished(run_for(x, y, 2, dtype, tile, group, **how)) for group in (3, 100))
    np.testing.assert_allclose(by_group[:2], whole[:2], rtol=1e-12)
    parameters = [np.frombuffer(end[2], dtype) for end in (by_group, whole)]
    assert_close(*parameters, dtype, FORMULA)


@both
@pytest.mark.parametrize("group", [1, 3, 9])
def test_groups_that_are_summed_up_elsewhere(group, dtype):
    rng = np.random.default_rng(3)
    tile = neuron.tile_rows(9)
    x, y = in_both(rng.normal(size=(7 * tile + 5, 9))), rng.random(7 * tile + 5)
    how = {"optimizer": SGD(momentum=0.9)}
    whole = finished(run_for(x, y, 1, dtype, tile, group, **how))
    run = run_for(x, y, 1, dtype, tile, group, **how)
    memory, part = run.memory, Part(run.problem.samples)
    what = Pass.of(run.problem, GRADIENT_ONLY)
    n_groups = -(-len(x) // run.problem.group_rows)
    while memory.epoch < 2:
        cut = rng.integers(n_groups + 1)
        for first, stop in ((0, cut), (cut, n_groups)):
            if first < stop:
                (sums,), _ = group_sums([part], what, memory.parameters, [(first, stop)])
                for each in sums:
                    memory.add_group(each[:-8], each[-8:], group)
        memory.complete_batch()
        memory.allow((0, 0), None, (memory.epoch, memory.epoch + 1, 1), 0)
        arrays = memory.integers, memory.floats, memory.vectors
        steps.finish_sums(*arrays, np.array([0.1]), run.losses)
    assert (*run.losses.tolist(), memory.parameters.tobytes()) == whole


def halves_of(n):
    return slice(n // 2), slice(n // 2, n)


@both
@pytest.mark.parametrize("d", [1, 9])
@pytest.mark.parametrize("weight", [None, 0.3])
def test_losses_and_weights_are_added_up_in_float64(d, weight, dtype):
    """Equal losses, and a million of them, have their mean; a sum in float32 would lose digits."""
    n = 2**20 // d if JIT_ENABLED else 2**11
    x, y = np.full((n, d), 0.7), np.full(n, 0.1)
    fits = [
        fastbp.fit_neuron(
            x[:rows], y[:rows], np.full(d, 0.2), 0.3, 0.0, 1, loss="bce", dtype=dtype,
            sample_weight=None if weight is None else np.full(rows, weight),
        ) for rows in (n, 1)
    ]  # fmt: skip
    np.testing.assert_allclose(fits[0].losses, fits[1].losses, rtol=1e-12)


def test_a_thread_without_work_gives_the_interpreter_a_turn(monkeypatch):
    if not JIT_ENABLED:
        monkeypatch.setattr(steps, "PATIENCE", 10)
    run = run_for(np.ones((3, 2)), np.ones(3), 2)
    memory = run.memory
    memory.ticket = steps.UNOPENED
    memory.plain[layout.ROW_STRIDE], memory.plain[layout.LABEL_STRIDE] = 2, 1
    block = run.problem.rows.in_memory
    data = block.features, block.labels, NO_FLOATS, NO_ORDER
    assert not run.problem.kernel(
        data, memory.integers, memory.floats, memory.vectors, np.array([0.1]), run.losses, 1
    )


def test_small_problems_in_one_call():
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(70, 5)), rng.random(70), rng.normal(size=5)
    lists = fastbp.train_neuron(x.tolist(), y.tolist(), w.tolist(), 0.5, 0.1, 3)
    assert lists == reference.train_neuron(x, y, w, 0.5, 0.1, 3)
    large = fastbp.train_neuron([[0.0]], [0], [1.5e305], 0.0, 0.1, 1)
    assert large[0] == [1.5e305]


@both
@pytest.mark.parametrize("batch", [1, 20])
@pytest.mark.parametrize("d", [2, 5, 8, 19])
@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_shuffled_and_weighted(loss, d, batch, dtype):
    rng = np.random.default_rng(0)
    x, y, weight = (
        in_both(a) for a in (rng.normal(size=(70, d)), rng.random(70), rng.random(70) + 0.1)
    )
    orders = [np.random.default_rng(4).permutation(70)]
    keywords = {"loss": loss, "batch_size": batch, "sample_weight": weight, "alpha": 0.1}
    how = {**keywords, "shuffle": True, "random_state": 4, "dtype": dtype}
    fit = fastbp.fit_neuron(x, y, np.zeros(d), 0.0, 0.01, 1, **how)
    expected = reference.fit_neuron(x, y, np.zeros(d), 0.0, 0.01, 1, orders=orders, **keywords)
    assert_close(fit.weights, expected.weights, dtype, FORMULA)
    assert_close(fit.bias, expected.bias, dtype, FORMULA)
    assert_close(fit.losses, expected.losses, dtype, FORMULA, 0.1)


@both
@pytest.mark.parametrize("batch", [1, 10])
def test_a_batch_without_weight_changes_nothing(batch, dtype):
    rng = np.random.default_rng(0)
    x, y, weight = rng.normal(size=(70, 9)), rng.random(70), rng.random(70) + 0.1
    weight[20:40] = 0.0
    there = weight > 0.0
    how = {"batch_size": batch, "dtype": dtype}
    whole, part = (
        fastbp.fit_neuron(*rows, np.ones(9), 0.1, 0.1, 2, sample_weight=w, **how)
        for rows, w in (((x, y), weight), ((x[there], y[there]), weight[there]))
    )
    np.testing.assert_array_equal(whole.weights, part.weights)
    np.testing.assert_array_equal(whole.losses, part.losses)


@both
def test_online_rows_that_are_not_finite(dtype):
    x, how = np.ones((20, 3)), {"batch_size": 1, "dtype": dtype}
    x[13, 1] = np.nan
    with pytest.raises(fastbp.DataError, match="got nan in row 13, column 1"):
        fastbp.fit_neuron(x, np.zeros(20), np.zeros(3), 0.0, 0.1, 2, **how)
    large = np.full((9, 1), 1e200 if dtype == DOUBLE else 1e30)
    with pytest.raises(fastbp.DivergenceError) as caught:
        fastbp.fit_neuron(large, np.ones(9), [0.0], 0.0, 1.0, 5, activation="identity", **how)
    assert caught.value.epoch == 0
    np.testing.assert_array_equal(caught.value.weights, [0.0])


@both
def test_divergence_and_tolerance_are_seen_in_the_kernel(dtype):
    large = 1e200 if dtype == DOUBLE else 1e30
    x, start = np.full((3, 2), large), (np.zeros(2), 0.0)
    with pytest.raises(fastbp.DivergenceError) as caught:
        fastbp.fit_neuron(x, np.ones(3), *start, 1.0, 5, activation="identity", dtype=dtype)
    assert caught.value.epoch == 1
    assert_close(caught.value.weights, [2 * large] * 2, dtype, FORMULA, 0.0)
    how = {"tol": 0.0, "n_iter_no_change": 4, "dtype": dtype}
    fit = fastbp.fit_neuron(x, np.ones(3), *start, 0.0, 50, **how)
    assert (fit.n_epochs, fit.stopped) == (5, "tol")


@pytest.mark.skipif(JIT_ENABLED, reason="a lost race can be staged in plain Python only")
def test_a_lost_race_is_run_again(monkeypatch):
    outcomes = iter([False, True, False])

    def contended(pointer, index, expected, value):
        return next(outcomes, True) and atomics.compare_and_swap(pointer, index, expected, value)

    monkeypatch.setattr(steps, "compare_and_swap", contended)
    run = run_for(np.ones((3, 2)), np.ones(3), 2)
    while run.memory.epoch < 2:
        run.slice()
    expected = fastbp.fit_neuron(np.ones((3, 2)), np.ones(3), np.zeros(2), 0.0, 0.1, 2)
    np.testing.assert_array_equal(run.losses, expected.losses)
    state = np.array([5])
    outcomes = iter([False])
    steps.keep_least(state, 0, 3)
    assert state[0] == 3


@pytest.mark.skipif(
    JIT_ENABLED, reason="a thread that is held up can be staged in plain Python only"
)
def test_a_thread_that_is_held_up_closes_no_later_segment(monkeypatch):
    """Between counting its chunk as done and comparing with the size of the segment."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64 * 3, 20)), rng.random(64 * 3)
    run = run_for(x, y, 2, chunk_rows=64)
    run.memory.integers[layout.SLOTS] = 2  # segments of two chunks and of one
    run._computes.allow_chunks(3)
    meanwhile = []  # what the other thread does

    def run_kernel(call, abandon):
        meanwhile.append(lambda: call(1))
        call(0)

    def held_up(pointer, index, value):
        before = atomics.atomic_add(pointer, index, value)
        while meanwhile:
            meanwhile.pop()()
        return before

    monkeypatch.setattr(run._computes._threads, "run", run_kernel)
    monkeypatch.setattr(steps, "atomic_add", held_up)
    assert finished(run) == finished(run_for(x, y, 1, chunk_rows=64))


@both
@pytest.mark.parametrize("where", [0, 5, 8, 70])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_bad_rows_are_found(where, value, dtype):
    x = np.ones((100, 3))
    x[where, 1] = value
    x[90] = np.nan
    for keywords in ({}, {"batch_size": 9}, {"shuffle": True, "random_state": 0}):
        with pytest.raises(fastbp.DataError, match=f"row {where}, column 1") as caught:
            fastbp.fit_neuron(x, np.ones(100), np.zeros(3), 0.0, 0.1, 3, **keywords, dtype=dtype)
        assert caught.value.row == where
