"""The report of an invented run: every block of the README, both charts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import accuracy, charts, report, saved
from bench.cases import CASES
from bench.timing import LARGE_BYTES


@pytest.fixture
def run(tmp_path: Path) -> Path:
    benchmarks = []
    for title, case in CASES.items():
        for k, provider in enumerate(case.providers):
            known = {"cpu": "an invention", "vector_bits": 512, "cache_bytes": 2**25}
            known["versions"] = {"fastbp": "0"}
            known |= {"updates": case.updates, "rows": case.size[0], "threads": case.threads}
            if case.bytes_read:
                known["GB/s"] = 12.0
            if case.bytes_read >= LARGE_BYTES:
                known |= {"read GB/s": 16.0, "share of read bandwidth": 0.75}
            seconds = 1e-9 * (100 + case.bytes_read) * (k + 1) / case.threads
            benchmarks.append({
                "group": title, "name": provider, "stats": {"min": seconds}, "extra_info": known,
            })  # fmt: skip
    error = accuracy.Error(0.75, 1.0, 0.25)
    content = {
        "datetime": "2000-01-01T00:00:00",
        "commit_info": {"id": "0123456789"},
        "accuracy": {
            "ulps": {n: dict.fromkeys(f.computed, error) for n, f in accuracy.FUNCTIONS.items()},
            "drift": {str(n): dict.fromkeys(("fastbp", "NumPy"), 1.5) for n in accuracy.EPOCHS},
        },
        "benchmarks": benchmarks,
    }
    path = tmp_path / "run.json"
    path.write_text(json.dumps(content))
    return path


def test_blocks_and_charts(run: Path, tmp_path: Path) -> None:
    found = saved.runs([run, run])
    text = report.rewritten(report.README.read_text(), found[-1])
    assert "| 100 x 2 | 1.7 | 2 | 3 | 4 | 12 |  |" in text
    assert "| 1000000x50 | 2 | 2 | 2 | 2 |  | 75% |" in text
    assert "| npy | 10,000,000 | 1 | 2 | 3 | 4 | 5 |" in text
    assert "| tanh | 0.75 (0.25) | 0.75 (0.25) |" in text
    assert report.rewritten(text, found[-1]) == text
    for draw, what in ((charts.draw_speed, found[-1]), (charts.draw_trend, found)):
        picture = tmp_path / f"{draw.__name__}.png"
        draw(what, picture)  # type: ignore[operator]
        assert picture.stat().st_size > 10_000


def test_marks_are_needed(run: Path) -> None:
    with pytest.raises(ValueError, match="expected the marks"):
        report.rewritten("no marks", saved.Saved(run))
