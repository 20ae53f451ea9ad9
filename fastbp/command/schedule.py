"""How the learning rate changes: what ``--schedule`` and ``--warm-up`` say."""

from __future__ import annotations

from typing import NamedTuple

import click

from fastbp import schedules
from fastbp.arguments import RateFunction

FORMS = "step:EVERY, step:EVERY,FACTOR, cosine or cosine:LEAST"


class Schedule(NamedTuple):
    """A schedule by name, and its numbers but for the rate and the epochs."""

    name: str
    numbers: tuple[float, ...] = ()

    def rates(self, rate: float, epochs: int) -> RateFunction:
        """Return the learning rates of so many epochs."""
        if self.name == "step":
            return schedules.step(rate, int(self.numbers[0]), *self.numbers[1:])
        return schedules.cosine(rate, max(epochs, 1), *self.numbers)


def parse_schedule(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> Schedule | None:
    """Return the schedule of an option such as step:30,0.5."""
    if value is None:
        return None
    name, colon, rest = value.partition(":")
    parts = rest.split(",") if colon else []
    if (name == "step" and len(parts) in (1, 2)) or (name == "cosine" and len(parts) < 2):
        try:
            first = [int(part) for part in parts[:1]] if name == "step" else []
            made = Schedule(name, (*first, *map(float, parts[len(first) :])))
            made.rates(1e300, 1)  # which no least rate exceeds: that is checked later
        except ValueError as error:
            told = str(error) if ": expected" in str(error) else f"expected {FORMS}"
            raise click.BadParameter(f"{told}, got {value!r}") from None
        return made
    raise click.BadParameter(f"expected {FORMS}, got {value!r}")


def rates_of(
    rate: float, schedule: Schedule | None, warm_up: int, epochs: int
) -> float | RateFunction:
    """Return the learning rate of a fit: a number, or a function of the epoch."""
    rates = rate if schedule is None else schedule.rates(rate, epochs - warm_up)
    return schedules.warm_up(rates, warm_up) if warm_up else rates
