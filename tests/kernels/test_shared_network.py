"""Threads that share each mini-batch: the bits of one thread, whoever computes which part.

With the JIT off one thread computes all the parts.
"""

import numpy as np
import pytest

import fastbp
from fastbp.data.arrays import Labelled, rows_of
from fastbp.data.labels import Samples
from fastbp.kernels import activations as codes
from fastbp.kernels import atomics, layout, losses, plan, shared_network, steps
from fastbp.kernels.jit import JIT_ENABLED
from fastbp.models import layers as model
from fastbp.models.layers import Layers
from fastbp.system.threads import Team
from fastbp.training.optimizers import GRADIENT_ONLY, LOSS_ONLY, SGD, Adam, RMSprop
from fastbp.training.problem import Options
from fastbp.training.run import Run
from tests.kernels.both import DOUBLE, SINGLE, both
from tests.problems import network_problem

without_jit = pytest.mark.skipif(JIT_ENABLED, reason="a compiled kernel cannot be staged")


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of eight rows, each of them a chunk."""
    monkeypatch.setattr(plan, "MOST_ROWS", 8)
    monkeypatch.setattr(plan, "LEAST_ROWS", 8)
    monkeypatch.setattr(plan, "CHUNK_WORK", 1)
    plan.plan_network.cache_clear()
    yield
    plan.plan_network.cache_clear()


def problem_of(sizes, n, rule, batch_rows, dtype=DOUBLE, *, weight=None, alpha=0.0, bad_row=None):
    names = (codes.RELU, codes.TANH)[: len(sizes) - 2]
    layers = Layers(sizes, (*names, codes.IDENTITY), losses.HALF_MSE)
    x, y, w, b, _ = network_problem(sizes, n)
    if bad_row is not None:
        x[bad_row, -1] = np.nan
    samples = Samples(Labelled(rows_of("x", x), y, weight), False, None)
    options = Options(0.05, 2, batch_rows, rule, alpha=alpha, n_threads=2)
    return layers.problem(layers.flat(w, b, dtype=dtype), samples, options)


def run_by(team, problem, budget=None):
    """Run the two epochs; return everything that the kernel leaves behind but scratch."""
    with Run(problem, team) as run:
        while run.memory.epoch < 2 and run.memory.status == layout.RUNNING:
            if budget is not None:
                run._computes.allow_chunks(budget)
            run.slice()
        memory = run.memory
        numbers = (memory.parameters, memory.moments, memory.powers, run.losses[: memory.epoch])
        return (*(a.tobytes() for a in numbers), memory.status, memory.bad_row)


RULES = [SGD(), SGD(momentum=0.9, nesterov=True), Adam(), RMSprop(), GRADIENT_ONLY, LOSS_ONLY]


@both
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__ + str(rule.code))
@pytest.mark.parametrize("sizes", [(3, 5, 2), (16, 9, 1)], ids=str)
@pytest.mark.parametrize(("batch_rows", "alpha"), [(7, 0.1), (20, 0.0)])
def test_the_bits_of_one_thread(rule, sizes, batch_rows, alpha, dtype):
    weight = np.random.default_rng(0).random(20)
    problem = problem_of(sizes, 20, rule, batch_rows, dtype, weight=weight, alpha=alpha)
    alone = run_by(Team(1, None), problem)
    assert problem.shared_kernel is shared_network.shared_steps
    for size in (2, 40):  # some threads have no rows, and some no part
        assert run_by(Team(size, None), problem) == alone


@both
@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__ + str(rule.code))
def test_batches_of_several_tiles(rule, monkeypatch, dtype):
    """In float32, whose chunks' gradients are added up in float64, threads take whole chunks."""
    for chunk_work in (1, 2**17):  # each tile a chunk, and all of them one
        monkeypatch.setattr(plan, "CHUNK_WORK", chunk_work)
        plan.plan_network.cache_clear()
        problem = problem_of((16, 8, 2), 40, rule, 29, dtype, alpha=0.1)
        assert (problem.shared_kernel is None) == (dtype == SINGLE and chunk_work == 1)
        alone = run_by(Team(1, None), problem)
        for budget in (None, 1):  # a slice may end within a batch
            assert run_by(Team(3, None), problem, budget) == alone


@pytest.mark.usefixtures("small_tiles")
def test_many_chunks_are_computed_one_by_one(monkeypatch):
    monkeypatch.setattr(model, "SHARED_CHUNKS", 3)
    assert problem_of((17, 9, 2), 60, SGD(), 24).shared_kernel is not None
    assert problem_of((17, 9, 2), 60, SGD(), 25).shared_kernel is None
    assert problem_of((17, 9, 2), 60, SGD(), 1).shared_kernel is None


@both
@pytest.mark.parametrize("rule", [SGD(), Adam()])
def test_a_batch_without_weight_changes_nothing(rule, dtype):
    weight = np.ones(40)
    weight[8:16] = 0.0
    problem = problem_of((3, 5, 2), 40, rule, 8, dtype, weight=weight)
    assert run_by(Team(2, None), problem) == run_by(Team(1, None), problem)


@both
@pytest.mark.parametrize("rule", [SGD(), Adam()])
def test_a_bad_row_ends_the_fit(rule, dtype):
    problem = problem_of((3, 5, 2), 40, rule, 32, dtype, bad_row=19)
    alone, shared = (run_by(Team(size, None), problem) for size in (1, 3))
    assert shared[-2:] == alone[-2:] == (layout.ROW_NOT_FINITE, 19)


@without_jit
def test_who_waits_too_long_comes_back(monkeypatch):
    monkeypatch.setattr(steps, "PATIENCE", 10)
    with Run(problem_of((3, 5, 2), 40, SGD(), 8), Team(2, None)) as run:
        monkeypatch.setattr(
            run._computes._threads, "run", lambda call, abandon: results.append(call(1))
        )
        results = []
        run.slice()
    assert results == [False]  # thread 0 has not opened the slice


@without_jit
def test_a_part_that_another_thread_has_just_taken(monkeypatch):
    problem = problem_of((3, 5, 2), 40, SGD(), 8)
    alone = run_by(Team(1, None), problem)
    calls = []

    def sometimes_too_late(*arguments):
        calls.append(arguments)
        return len(calls) % 3 != 0 and atomics.compare_and_swap(*arguments)

    monkeypatch.setattr(shared_network, "compare_and_swap", sometimes_too_late)
    assert run_by(Team(2, None), problem) == alone


@without_jit
def test_a_thread_that_is_held_up_closes_no_later_stage(monkeypatch):
    """Between counting its part as done and comparing with how many there are."""
    problem = problem_of((17, 9, 2), 40, Adam(), 32)
    alone = run_by(Team(1, None), problem)
    held_up_calls = []

    def held_up(pointer, index, value):
        before = atomics.atomic_add(pointer, index, value)
        while meanwhile:
            held_up_calls.append(meanwhile.pop()())
        return before

    monkeypatch.setattr(shared_network, "atomic_add", held_up)
    meanwhile = []
    team = Team(2, None)

    def run_kernel(call, abandon):
        meanwhile.append(lambda: call(1))
        call(0)

    monkeypatch.setattr(team, "run", run_kernel)
    assert run_by(team, problem) == alone
    assert any(held_up_calls)


@pytest.mark.skipif(not JIT_ENABLED, reason="plain Python has no atomic operations")
@both
@pytest.mark.parametrize("sizes", [(64, 100, 10), (300, 280, 5)], ids=str)
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop", fastbp.SGD(momentum=0.9)], ids=str)
def test_the_same_bits_for_any_number_of_threads(sizes, optimizer, dtype):
    x, y, w, b, _ = network_problem(sizes, 420)
    names = ["relu"] * (len(sizes) - 2) + ["identity"]
    for batch_size in (1, 7, 32, 200, None):
        if batch_size == 1 and sizes[0] > 64 and optimizer != "sgd":
            continue  # a step of these takes as long as one with 32 rows
        found = set()
        for n_threads in range(1, 8):
            fit = fastbp.fit_network(
                x, y, w, b, 1e-3, 2, activations=names, batch_size=batch_size,
                optimizer=optimizer, alpha=0.01, n_threads=n_threads, dtype=dtype,
            )  # fmt: skip
            found.add(b"".join(a.tobytes() for a in (*fit.weights, *fit.biases, fit.losses)))
        assert len(found) == 1, batch_size
