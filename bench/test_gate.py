"""What the gate and the comparison report, on invented measurements."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from bench import compare, gate

FASTER, SLOWER, UNKNOWN = gate.gated()[:3]


def test_what_the_gate_names(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {FASTER: 9.0, SLOWER: 4.0 / (gate.TOLERANCE * 1.01)}
    monkeypatch.setattr(gate, "ratio", lambda title, least: now[title])
    stored = {FASTER: 8.0, SLOWER: 4.0, "gone": 2.0}
    assert gate.compare(stored, [FASTER, SLOWER, UNKNOWN]) == [
        f"{SLOWER}: {gate.TOLERANCE * 1.01:.2f} times as long as stored",
        f"{UNKNOWN}: no stored ratio (python -m bench.gate --record)",
        "gone: stored, but not measured any more",
    ]


def test_all_ratios_are_stored() -> None:
    kept = json.loads(gate.RATIOS.read_text())
    assert all(list(ratios) == gate.gated() for ratios in kept.values())


def test_what_is_slow_is_measured_by_more_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Worker:
        begun = 0

        def __init__(self, threads: int) -> None:
            Worker.begun += 1

        def __enter__(self) -> Worker:
            return self

        def __exit__(self, *error: object) -> None: ...

        def prepare(self, *arguments: object) -> None: ...

        def round(self) -> dict[str, float]:
            return {"fastbp": 1.0 + 1.0 / Worker.begun, "NumPy": 3.0}

    monkeypatch.setattr(gate, "Worker", Worker)
    assert gate.ratio(FASTER, 2.0) == 2.0
    assert Worker.begun == gate.PROCESSES
    assert gate.ratio(FASTER, math.inf) > 2.0
    assert Worker.begun == gate.PROCESSES + gate.MOST_PROCESSES


def test_what_a_comparison_calls_slower() -> None:
    rounds = [1.0, 1.1, 1.05, 1.2]
    assert compare.Change(rounds, [2 * r for r in rounds]).verdict == "SLOWER"
    assert compare.Change([2 * r for r in rounds], rounds).verdict == "faster"
    assert compare.Change(rounds, rounds[::-1]).verdict == ""
    assert compare.Change(rounds, [0.9, 1.5, 0.8, 1.3]).verdict == ""


def test_a_machine_that_is_not_known_records_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gate, "RATIOS", tmp_path / "ratios.json")
    monkeypatch.setattr(gate, "key", lambda: "a new one")
    monkeypatch.setattr(gate, "ratio", lambda title, least: 2.0)
    monkeypatch.setattr(sys, "argv", ["gate"])
    gate.main()
    assert "WARNING: ratios.json has no ratios of this machine" in capsys.readouterr().out
    kept = json.loads((tmp_path / "ratios.json").read_text())
    assert kept == {"a new one": dict.fromkeys(gate.gated(), 2.0)}
    with pytest.raises(SystemExit) as ended:  # now it is known
        gate.main()
    assert ended.value.code == 0
    monkeypatch.setattr(gate, "ratio", lambda title, least: 1.0)
    with pytest.raises(SystemExit) as ended:
        gate.main()
    assert ended.value.code == 1
