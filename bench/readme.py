"""Tables in Markdown, written between the marks of ``README.md`` and ``bench/README.md``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench import TOP
from bench.providers import ORDER

README = TOP / "README.md"
BENCH_README = TOP / "bench" / "README.md"
MARKS = "<!-- {}: python -m {} -->\n", "<!-- end of {} -->\n"


def rewrite(path: Path, blocks: Mapping[str, str], command: str) -> None:
    """Rewrite the blocks of a file that a command generates, and print which file that was."""
    path.write_text(rewritten(path.read_text(encoding="utf-8"), blocks, command), encoding="utf-8")
    print(f"{path.relative_to(TOP)}: wrote {', '.join(blocks)}")


def rewritten(text: str, blocks: Mapping[str, str], command: str) -> str:
    """Return the text with the content between the marks of each block replaced."""
    for name, content in blocks.items():
        begin, end = MARKS[0].format(name, command), MARKS[1].format(name)
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"expected the marks {begin!r} and {end!r} once each")
        before, rest = text.split(begin)
        _, after = rest.split(end)
        text = f"{before}{begin}\n{content}\n{end}{after}"
    return text


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table: the first column aligned to the left, the others to the right."""
    columns = list(head)
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def number(value: float) -> str:
    """Write a number with three significant digits, one of 100 or more as an integer."""
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Write a time in the unit that suits it."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= factor:
            return f"{number(seconds / factor)} {unit}"
    return f"{number(seconds * 1e9)} ns"


def accuracy_tables(
    errors: Mapping[str, Mapping[str, Any]], drifts: Mapping[str, Mapping[str, float]]
) -> str:
    """Return two tables: errors by function and provider, drifts by epochs and provider."""
    providers = [name for name in ORDER if any(name in row for row in drifts.values())]
    of_functions = [
        [name, *(_errors_of(provider, by_way) for provider in providers)]
        for name, by_way in errors.items()
    ]
    of_parameters = [
        [title, *(f"{drift[p]:.1f}" if p in drift else "" for p in providers)]
        for title, drift in drifts.items()
    ]
    return (
        table(["function", *providers], of_functions)
        + "\n"
        + table(["epochs", *providers], of_parameters)
    )


def _errors_of(provider: str, by_way: Mapping[str, Any]) -> str:
    """Write the largest and the mean error of each way in which a provider computes a function."""
    return "; ".join(
        f"{way.removeprefix(provider)} {_ulps(largest)} ({_ulps(mean)})".strip()
        for way, (largest, _, mean) in by_way.items()
        if way.split()[0] == provider
    )


def _ulps(value: float) -> str:
    return f"{value:.0e}" if 1000.0 <= value < math.inf else f"{value:.2f}"
