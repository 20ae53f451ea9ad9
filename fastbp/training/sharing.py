"""Whether the threads of a fit share each batch: by what the slices so far have taken."""

from __future__ import annotations

MEASURED_SECONDS = 0.0001  # shorter slices say little
TRIAL_SECONDS = 0.005  # of the way that was the slower one when it was last tried
FIRST_TRIAL, LAST_TRIAL = 8, 128  # slices until the next trial: ever more, while nothing changes


class Sharing:
    """Decides for each slice whether the whole team computes it, or one thread alone.

    The results are bit-identical. Threads that share a batch wait for each other several times in
    it: as soon as one of them has to share its processor, all are slower than one alone. So the
    faster way is kept, and the other one is tried now and then.
    """

    def __init__(self, always: bool) -> None:
        self._always = always
        self._seconds: dict[bool, float] = {}  # of a chunk: shared, alone
        self._begun: set[bool] = set()
        self._until_trial = FIRST_TRIAL
        self._slices = 0
        self.now = True

    def next(self, budget: int) -> int:
        """Decide about the next slice, :attr:`now`; return its budget of chunks, or a lower one."""
        if self._always or True not in self._seconds:
            return budget
        shared, alone = self._seconds[True], self._seconds.get(False)
        best = alone is None or shared < alone
        self._slices += 1
        trial = alone is None or self._slices >= self._until_trial
        self.now = best != trial
        if not trial:
            return budget
        return min(budget, max(1, int(TRIAL_SECONDS / min(self._seconds.values()))))

    def took(self, seconds: float, chunks: int) -> None:
        """Learn how long the slice took; the first one of a kind may have compiled a kernel."""
        first = self.now not in self._begun
        self._begun.add(self.now)
        if self._always or first or seconds < MEASURED_SECONDS or chunks == 0:
            return
        known = dict(self._seconds)
        self._seconds[self.now] = seconds / chunks
        if len(known) == 2 and self._slices >= self._until_trial:
            same = _shared_is_faster(known) == _shared_is_faster(self._seconds)
            self._until_trial = min(2 * self._until_trial, LAST_TRIAL) if same else FIRST_TRIAL
            self._slices = 0


def _shared_is_faster(seconds: dict[bool, float]) -> bool:
    return seconds[True] < seconds[False]
