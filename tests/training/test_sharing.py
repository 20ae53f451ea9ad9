"""Whether threads share each batch: the faster way is kept, the other one tried now and then."""

from itertools import pairwise

from fastbp.training.sharing import FIRST_TRIAL, LAST_TRIAL, TRIAL_SECONDS, Sharing


def decisions(sharing, alone, shared, slices, budget=1000):
    """Run slices that take these seconds a chunk; return which of them were shared."""
    found = []
    for _ in range(slices):
        chunks = sharing.next(budget)
        assert 1 <= chunks <= budget
        found.append(sharing.now)
        sharing.took(chunks * (shared if sharing.now else alone), chunks)
    return found


def test_the_faster_way_is_kept():
    assert decisions(Sharing(always=False), 5e-5, 3e-5, 8) == 2 * [True] + 2 * [False] + 4 * [True]
    assert decisions(Sharing(always=False), 5e-5, 9e-5, 8) == 2 * [True] + 6 * [False]


def test_slices_that_compile_teach_nothing():
    sharing = Sharing(always=False)
    for shared in (True, False):
        sharing.next(1000)
        assert sharing.now == shared
        sharing.took(4.0, 1000)  # the first of its kind
        sharing.next(1000)
        sharing.took(1000 * (3e-5 if shared else 5e-5), 1000)
    assert decisions(sharing, 5e-5, 3e-5, 5) == 5 * [True]


def test_always_means_always():
    sharing = Sharing(always=True)
    assert decisions(sharing, 1.0, 9.0, 20) == 20 * [True]
    assert sharing.next(7) == 7


def test_slices_too_short_to_measure_teach_nothing():
    sharing = Sharing(always=False)
    assert decisions(sharing, 1e-9, 1e-9, 5) == 5 * [True]
    sharing.took(1.0, 0)  # a slice that ended before its first chunk
    assert sharing.next(9) == 9


def test_slices_too_short_to_measure_add_up():
    sharing = Sharing(always=False)
    assert decisions(sharing, 9e-6, 5e-6, 4000, budget=10).count(True) > 3500
    sharing = Sharing(always=False)
    decisions(sharing, 9e-6, 5e-6, 2, budget=10)
    sharing.took(0.003, 10)  # a hiccup, in a slice that is shared
    assert decisions(sharing, 9e-6, 5e-6, 4000, budget=10).count(True) > 3500


def test_the_slower_way_gets_no_more_than_its_time():
    sharing = Sharing(always=False)
    decisions(sharing, 5e-5, 5e-3, 60)
    while not sharing.trial:
        chunks = sharing.next(1000)
        sharing.took(chunks * 5e-5, chunks)
    assert sharing.now and chunks * 5e-3 <= TRIAL_SECONDS


def test_a_processor_that_becomes_busy_is_noticed_at_once():
    sharing = Sharing(always=False)
    decisions(sharing, 5e-5, 3e-5, 5)
    assert decisions(sharing, 5e-5, 2e-4, 3) == [True, False, False]


def test_the_slower_way_is_tried_for_a_short_time_and_ever_more_seldom():
    sharing = Sharing(always=False)
    found = decisions(sharing, 5e-5, 9e-5, 2000)
    trials = [i for i, shared in enumerate(found) if shared]
    gaps = [after - before for before, after in pairwise(trials)]
    assert gaps[0] <= FIRST_TRIAL + 1
    assert gaps == sorted(gaps)
    assert LAST_TRIAL <= gaps[-1] <= LAST_TRIAL + 1
    sharing._measured = LAST_TRIAL
    assert sharing.next(10**6) * 5e-5 <= TRIAL_SECONDS
    assert sharing.now


def test_a_processor_that_becomes_free_is_noticed():
    sharing = Sharing(always=False)
    decisions(sharing, 5e-5, 9e-5, 100)
    found = decisions(sharing, 5e-5, 3e-5, LAST_TRIAL + 10)
    since = found[found.index(True) :]
    assert since.count(False) <= len(since) // FIRST_TRIAL
