"""The report of an invented run: every block of both pages, the charts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import charts, estimators, readme, report, saved
from bench.cases import SOLUTION
from bench.timing import LARGE_BYTES
from bench.workloads import accuracy
from bench.workloads.registry import CASES


def invented(path: Path, when: str, avx2: bool = False, cpu: str = "an invention") -> Path:
    benchmarks = []
    for title, case in CASES.items():
        if avx2 and not case.by_width:
            continue
        for k, provider in enumerate(case.providers):
            known = {"cpu": cpu, "vector_bits": 256 if avx2 else 512, "cache_bytes": 2**25}
            known["versions"] = {"fastbp": "0"}
            known |= {"updates": case.updates, "rows": case.size[0], "threads": case.threads}
            if case.group == SOLUTION:
                known |= {"iterations": 10 * (k + 1), "way": "", "reached": True}
            if provider == "SGDClassifier":
                known["reached"] = False
            if case.bytes_read:
                known["GB/s"] = 12.0
            if case.bytes_read >= LARGE_BYTES:
                known |= {"read GB/s": 16.0, "share of read bandwidth": 0.75}
            seconds = 1e-9 * (100 + case.bytes_read) * (k + 1) / case.threads
            if avx2:
                seconds *= 1.5 if provider == "fastbp" else 1.2
            benchmarks.append({
                "group": title, "name": provider, "stats": {"min": seconds}, "extra_info": known,
            })  # fmt: skip
    error = accuracy.Error(0.75, 1.0, 0.25)
    content = {
        "datetime": when,
        "avx2": avx2,
        "commit_info": {"id": "0123456789"},
        "accuracy": {
            "ulps": {n: dict.fromkeys(f.computed, error) for n, f in accuracy.FUNCTIONS.items()},
            "drift": {
                accuracy.drift_title(n, dtype): dict.fromkeys(("fastbp", "NumPy"), 1.5)
                for dtype in accuracy.UNIT_ROUNDOFFS
                for n in accuracy.EPOCHS
            },
        },
        "benchmarks": benchmarks,
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """A run, and one held to AVX2."""
    return [
        invented(tmp_path / "run.json", "2000-01-01T00:00:00"),
        invented(tmp_path / "held.json", "2000-01-02T00:00:00", avx2=True),
    ]


def test_blocks_and_charts(paths: list[Path], tmp_path: Path) -> None:
    found = saved.runs([paths[0], *paths])
    assert len(found) == 2
    held = saved.held_to_avx2(paths, found[-1])
    blocks = {page: report.blocks(page, found[-1], held, found[-1]) for page in report.PAGES}
    for page, written in blocks.items():
        text = readme.rewritten(page.read_text(), written, report.COMMAND)
        assert all(content in text for content in written.values())
        assert readme.rewritten(text, written, report.COMMAND) == text
    short = blocks[readme.README]["speed"]
    assert all(f"| {label} |" in short for label in report.SHORT.values())
    assert "| neuron, 100 rows of 2 features, an epoch | 1.7 µs | 2 | 3 | 4 |  |" in short
    assert short.endswith("commit 01234567.)\n")
    narrow = blocks[readme.README]["without AVX-512"]
    assert "| network 4-8-1, 1000 rows, an epoch | 150 ns | 1.5 | 1.6 | 2.4 | 3.2 | 4 |" in narrow
    assert narrow.count("\n| ") == len(report.SHORT_AT_AVX2) + 1
    times = blocks[readme.README]["time to a solution"]
    assert "| 100,000 x 20, log loss | 100 ns | 2 | 3 | 4 | 5 | > 6 SGDClassifier |" in times
    assert "| 100,000 x 20, squares | 100 ns | 2 | 3 | 4 | 5 | 6 LinearRegression |" in times
    assert times.endswith("(2000-01-01, commit 01234567.)\n")
    counts = blocks[readme.BENCH_README]["iterations to a solution"]
    assert "| breast cancer, log loss | 10 | 20 | 30 | 40 | 50 | > 60 SGDClassifier |" in counts
    text = "".join(blocks[readme.BENCH_README].values())
    assert "| 100 x 2 | 1.7 | 2 | 3 | 4 | 12 |  |" in text
    assert "| NetworkFit.predict, 64-100-10, one row | 0.1 / call | 2 | 3 | 4 | 5 |" in text
    assert "| prediction: 64-100-10, one row | 0.1 / call | 2 |" in text
    assert "10000 rows" not in blocks[readme.BENCH_README]["calls"]
    assert ", one row |" not in blocks[readme.BENCH_README]["speed of all else"]
    assert "128 rows a step | 0.01 | 0.005 | 0.01 | 0.015 | 0.02 | 0.025 | 2 |" in text
    assert "| network: 1-10-1, 100 rows a step | 150 ns | 1.5 | 1.6 |" in text
    assert "| 1000000x50 | 2 | 2 | 2 | 2 |  | 75% |" in text
    assert "| npy | 10,000,000 | 1 | 2 | 3 | 4 | 5 |" in text
    assert "| tanh | 0.75 (0.25) | 0.75 (0.25) |" in text
    for draw, what in ((charts.draw_speed, found[-1]), (charts.draw_trend, found)):
        picture = tmp_path / f"{draw.__name__}.png"
        draw(what, picture)  # type: ignore[operator]
        assert picture.stat().st_size > 10_000


def test_which_run_is_held_to_avx2(paths: list[Path], tmp_path: Path) -> None:
    run, held = paths
    later = invented(tmp_path / "later.json", "2000-01-03T00:00:00", avx2=True)
    other = invented(tmp_path / "other.json", "2000-01-04T00:00:00", avx2=True, cpu="another")
    quick = tmp_path / "quick.json"
    quick.write_text(json.dumps({**json.loads(later.read_text()), "quick": True}))
    (last,) = saved.runs([run, held, later])
    found = saved.held_to_avx2([later, held, quick, other], last)
    assert found is not None
    assert found.path == later
    assert saved.held_to_avx2([run, quick, other], last) is None
    assert saved.runs([held]) == []
    for page in report.PAGES:
        assert set(report.blocks(page, last, None)) == set(report.PAGES[page])


def test_solutions_alone(paths: list[Path], tmp_path: Path) -> None:
    content = json.loads(paths[0].read_text())
    only = [b for b in content["benchmarks"] if b["group"].startswith(SOLUTION)]
    later, part = tmp_path / "later.json", tmp_path / "part.json"
    later.write_text(json.dumps({**content, "datetime": "2000-01-05", "benchmarks": only}))
    some = [b for b in only if "digits" not in b["group"]]
    part.write_text(json.dumps({**content, "datetime": "2000-01-06", "benchmarks": some}))
    found = saved.last_of([*paths, later, part], SOLUTION)
    assert found is not None
    assert found.path == later
    assert not found.whole
    assert saved.last_of([part], SOLUTION) is None
    for page in report.PAGES:
        assert set(report.blocks(page, None, None, found)) == set(report.PAGES_OF_SOLUTIONS[page])


def test_marks_are_needed() -> None:
    with pytest.raises(ValueError, match="expected the marks"):
        readme.rewritten("no marks", {"speed": ""}, report.COMMAND)


def test_rewriting_names_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(readme, "TOP", tmp_path)
    page = tmp_path / "README.md"
    page.write_text("<!-- speed: python -m c -->\n<!-- end of speed -->\n")
    readme.rewrite(page, {"speed": "| fast |\n"}, "c")
    assert capsys.readouterr().out == "README.md: wrote speed\n"
    assert page.read_text().splitlines()[2] == "| fast |"


def test_units_of_time() -> None:
    assert [readme.duration(t) for t in (3.91e-8, 4.2e-6, 0.1957, 12.0)] == [
        "39.1 ns", "4.2 µs", "196 ms", "12 s",
    ]  # fmt: skip


@pytest.mark.parametrize("asked", [True, False])
def test_estimators_write_only_if_asked(asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[object] = []
    monkeypatch.setattr(estimators, "rows", lambda: ([], {}))
    monkeypatch.setattr(readme, "rewrite", lambda *arguments: written.append(arguments))
    monkeypatch.setattr(charts, "draw_curves", written.append)
    monkeypatch.setattr("sys.argv", ["estimators", *["--write"] * asked])
    estimators.main()
    assert len(written) == 2 * asked
