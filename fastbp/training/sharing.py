"""Whether the threads of a fit share each batch: by what the slices so far have taken."""

from __future__ import annotations

MEASURED_SECONDS = 0.002  # of slices together; less says little: threads begin slowly
TRIAL_SECONDS = 0.005  # of the way that was the slower one when it was last tried
FIRST_TRIAL, LAST_TRIAL = 8, 128  # measurements until a trial: ever more, while nothing changes


class Sharing:
    """Decides for each slice whether the whole team computes it, or one thread alone.

    The results are bit-identical. Threads that share a batch wait for each other several times in
    it: as soon as one of them has to share its processor, all are slower than one alone. So the
    faster way is kept, and the other one is tried now and then.

    Attributes
    ----------
    now : bool
        Whether the team shares the batches of this slice.
    trial : bool
        Whether this slice only tries the other way.
    """

    def __init__(self, always: bool) -> None:
        self.now, self.trial = True, False
        self._always = always
        self._seconds: dict[bool, float] = {}  # of a chunk: shared, alone
        self._sums: dict[bool, tuple[float, int]] = {}  # seconds and chunks since then
        self._until_trial = FIRST_TRIAL
        self._measured = 0  # since the last trial

    def next(self, budget: int) -> int:
        """Decide about the next slice; return its budget of chunks, or a lower one."""
        if self._always or True not in self._seconds:
            return budget
        shared, alone = self._seconds[True], self._seconds.get(False)
        best = alone is None or shared < alone
        self.trial = alone is None or self._measured >= self._until_trial
        self.now = best != self.trial
        if not self.trial:
            return budget
        return min(budget, max(1, int(TRIAL_SECONDS / max(self._seconds.values()))))

    def took(self, seconds: float, chunks: int) -> None:
        """Learn how long the slice took; the first one of a kind may have compiled a kernel."""
        if self._always or self.now not in self._sums:
            self._sums[self.now] = 0.0, 0
            return
        before, chunks_before = self._sums[self.now]
        seconds, chunks = before + seconds, chunks_before + chunks
        self._sums[self.now] = seconds, chunks
        if seconds < MEASURED_SECONDS or chunks == 0:
            return
        known = dict(self._seconds)
        self._seconds[self.now] = seconds / chunks
        self._sums[self.now] = 0.0, 0
        self._measured += 1
        if self.trial:
            self._measured = 0
            same = len(known) == 2 and _shared_is_faster(known) == _shared_is_faster(self._seconds)
            self._until_trial = min(2 * self._until_trial, LAST_TRIAL) if same else FIRST_TRIAL


def _shared_is_faster(seconds: dict[bool, float]) -> bool:
    return seconds[True] < seconds[False]
