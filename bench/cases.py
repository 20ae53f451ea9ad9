"""What a workload is, and when a provider's answer to it is right."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

CHECKED = 3  # epochs or calls after which answers are compared
SOLUTION = "time to a solution"  # the group of fits that end at a goal


@dataclass(frozen=True)
class Case:
    """A workload.

    Attributes
    ----------
    group, name : str
        What kind of workload, and which one of that kind.
    problem : callable
        Makes the problem that every provider is given.
    providers : mapping of str to callable
        Each takes the problem, prepares everything, and returns a function of the number of
        units; that function is timed.
    expected : callable or None
        Takes the problem and a number of units, and returns the right answer.
    unit : str
        What a time is of: an epoch, a call, a fit, a process.
    threads : int
        How many threads every provider may use.
    size : tuple of int
        Rows and features, where the case is about them.
    updates : int
        Steps per epoch.
    units : int
        Units per round; 0: as many as fit into the time of a round.
    watched : bool
        Whether ``bench.gate`` watches it, if it can: what shares its kernels need not be.
    tolerance, own_tolerance : float
        How far, relatively, the others' answers may be off, and fastbp's.
    value : callable or None
        Takes the problem and an answer, and returns what is compared with the expected one, where
        that is not the answer itself.
    long : bool
        Whether ``pytest bench --quick`` leaves it out.
    """

    group: str
    name: str
    problem: Callable[[], Any]
    providers: Mapping[str, Callable[[Any], Callable[[int], Any]]]
    expected: Callable[[Any, int], Any] | None
    unit: str = "epoch"
    threads: int = 1
    size: tuple[int, int] = (0, 0)
    updates: int = 1
    units: int = 0
    watched: bool = True
    tolerance: float = 1e-9
    own_tolerance: float = 1e-9
    value: Callable[[Any, Any], Any] | None = None
    long: bool = False

    @property
    def title(self) -> str:
        """Its name everywhere."""
        return f"{self.group}: {self.name}"

    @property
    def bytes_read(self) -> int:
        """Bytes of features that an epoch reads from an array."""
        if not self.group.startswith("neuron"):
            return 0
        return (4 if "float32" in self.group else 8) * self.size[0] * self.size[1]

    @property
    def does_little(self) -> bool:
        """Whether it is a call that costs more than what it computes."""
        return self.group == "call" or (self.unit == "call" and self.name.endswith("one row"))

    @property
    def by_width(self) -> bool:
        """Whether it is measured again at AVX2.

        Not what depends on files, processes or what a call costs, nor whole ways to a solution.
        """
        elsewhere = self.unit == "process" or self.group in ("sources", SOLUTION)
        return not (elsewhere or self.does_little)

    @property
    def gated(self) -> bool:
        """Whether ``bench.gate`` compares its ratio to the plain NumPy loop with a stored one."""
        both = {"fastbp", "NumPy"} <= set(self.providers)
        return both and self.watched and self.threads == 1 and self.units != 1


class Checker:
    """Compares the answers of a case's providers to one problem with the expected one."""

    def __init__(self, case: Case, problem: Any) -> None:
        self._case, self._problem = case, problem
        self._units = min(CHECKED, case.units or CHECKED)

    @functools.cached_property
    def _right(self) -> Any:
        assert self._case.expected is not None
        return self._case.expected(self._problem, self._units)

    def check(self, provider: str, run: Callable[[int], Any]) -> None:
        """Raise AssertionError unless the provider's answer agrees with the expected one.

        Fits that say that they have not reached their goal are not compared.
        """
        if self._case.expected is None or not getattr(run, "reached", True):
            return
        ours = run(self._units)
        if provider != "Numba":  # its smallest kernel trains nothing
            compare(self._case, self._problem, provider, ours, self._right)


def compare(case: Case, problem: Any, provider: str, ours: Any, right: Any) -> None:
    """Raise AssertionError unless a provider's answer agrees with the right one."""
    if case.value is not None:
        ours = case.value(problem, ours)
    rtol = case.own_tolerance if provider == "fastbp" else case.tolerance
    together = zip(ours, right, strict=True) if isinstance(right, tuple) else [(ours, right)]
    for got, wanted in together:
        if got is None and provider == "scikit-learn":  # its losses are defined differently
            continue
        if not isinstance(wanted, list | tuple):
            got, wanted = [got], [wanted]
        for one, other in zip(got, wanted, strict=True):
            wanted_array = np.asarray(other)
            got_array = np.asarray(one).reshape(wanted_array.shape)
            np.testing.assert_allclose(
                got_array,
                wanted_array,
                rtol=rtol,
                atol=rtol / 1000,
                err_msg=f"{case.title}, {provider}",
            )
