"""What the gate and the comparison report, on invented measurements."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from bench import compare, gate

FASTER, SLOWER, UNKNOWN = gate.gated()[:3]


def test_what_the_gate_names(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {FASTER: 9.0, SLOWER: 4.0 / (gate.TOLERANCE * 1.01)}
    monkeypatch.setattr(gate, "ratio", lambda title, least, avx2: now[title])
    stored = {FASTER: 8.0, SLOWER: 4.0, "gone": 2.0}
    assert gate.compare(stored, [FASTER, SLOWER, UNKNOWN], avx2=False) == [
        f"{SLOWER}: {gate.TOLERANCE * 1.01:.2f} times as long as stored",
        f"{UNKNOWN}: no stored ratio (python -m bench.gate --record)",
        "gone: stored, but not measured any more",
    ]


def test_all_ratios_are_stored() -> None:
    assert all(list(ratios) == gate.gated() for ratios in gate.stored().values())
    assert set(gate.AT_AVX2) <= set(gate.gated())


def test_what_is_slow_is_measured_by_more_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Worker:
        begun = 0

        def __init__(self, threads: int, avx2: bool) -> None:
            Worker.begun += 1

        def __enter__(self) -> Worker:
            return self

        def __exit__(self, *error: object) -> None: ...

        def prepare(self, *arguments: object) -> None: ...

        def round(self) -> dict[str, float]:
            return {"fastbp": 1.0 + 1.0 / Worker.begun, "NumPy": 3.0}  # 1.5, 2.0, 2.25, ...

    monkeypatch.setattr(gate, "Worker", Worker)
    assert gate.ratio(FASTER, 1.5, avx2=False) == 1.5
    assert Worker.begun == 1
    Worker.begun = 0
    assert gate.ratio(FASTER, 2.0, avx2=False) == 2.0
    assert Worker.begun == 2
    assert gate.ratio(FASTER, math.inf, avx2=False) > 2.0
    assert Worker.begun == 2 + gate.MOST_PROCESSES


def test_what_a_comparison_calls_slower() -> None:
    rounds = [1.0, 1.1, 1.05, 1.2]
    assert compare.Change(rounds, [2 * r for r in rounds]).verdict == "SLOWER"
    assert compare.Change([2 * r for r in rounds], rounds).verdict == "faster"
    assert compare.Change(rounds, rounds[::-1]).verdict == ""
    assert compare.Change(rounds, [0.9, 1.5, 0.8, 1.3]).verdict == ""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """An invented machine without AVX-512 whose ratios are all 2, and are not stored yet."""
    machine = Machine()
    monkeypatch.setattr(gate, "RATIOS", tmp_path / "ratios.json")
    monkeypatch.setattr(gate, "environment", lambda: machine.environment)
    monkeypatch.setattr(gate, "key", lambda avx2: machine.keys[avx2])
    monkeypatch.setattr(gate, "ratio", machine.ratio)
    return machine


class Machine:
    def __init__(self) -> None:
        self.environment: dict[str, str] = {}
        self.keys = {False: "a new one, 256-bit vectors", True: "a new one, 256-bit vectors"}
        self.ratios = {False: 2.0, True: 2.0}
        self.measured: dict[bool, list[str]] = {False: [], True: []}

    def ratio(self, title: str, least: float, avx2: bool) -> float:
        self.measured[avx2].append(title)
        return self.ratios[avx2]

    def has_avx512(self) -> None:
        self.environment = {"HELD": "1"}
        self.keys[False] = "a new one, 512-bit vectors"

    def status(self, *arguments: str) -> int:
        """Run the gate; return its exit status."""
        self.measured = {False: [], True: []}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["gate", *arguments])
            with pytest.raises(SystemExit) as ended:
                gate.main()
        assert isinstance(ended.value.code, int)
        return ended.value.code


def test_a_machine_that_is_not_known_records_its_own(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert machine.status() == 0
    assert "WARNING: ratios.json has no ratios of this machine" in capsys.readouterr().out
    assert gate.stored() == {machine.keys[False]: dict.fromkeys(gate.gated(), 2.0)}
    assert machine.status() == 0  # now it is known
    assert "WARNING" not in capsys.readouterr().out
    machine.ratios[False] = 1.0
    assert machine.status() == 1


def test_a_machine_with_avx512_is_compared_at_both_widths(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.has_avx512()
    assert machine.status() == 0
    assert list(gate.stored()) == [machine.keys[False], machine.keys[True]]
    assert machine.status() == 0
    assert machine.measured == {False: gate.gated(), True: gate.AT_AVX2}
    machine.ratios[True] = 1.0
    capsys.readouterr()
    assert machine.status() == 1
    named = capsys.readouterr().out.rpartition("\n\n")[2].splitlines()
    assert named == [f"{t}: 2.00 times as long as stored (256-bit vectors)" for t in gate.AT_AVX2]
    assert machine.status(gate.gated()[0]) == 1  # a workload that is asked for, also at both
    assert machine.measured[True] == gate.gated()[:1]


def test_the_gate_held_to_avx2_alone(machine: Machine) -> None:
    machine.has_avx512()
    assert machine.status("--avx2") == machine.status("--avx2") == 0
    assert machine.measured == {False: [], True: gate.gated()}
    assert list(gate.stored()) == [machine.keys[True]]
    machine.environment = {}
    assert machine.status("--avx2") == 0  # held to what it has anyway: once, not twice
    assert machine.measured == {False: [], True: gate.gated()}
