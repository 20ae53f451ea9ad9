"""Proof that a slower kernel is found: one is made 1.5 times slower in a copy, and must be named.

    python -m bench.prove

The copy's neuron computes the gradient of every other epoch twice, which gives the same results in
1.5 times the time. Both ``bench.gate`` and ``bench.compare`` must then name the neurons and no
network, and before that the gate must pass the unchanged copy.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import TOP

WORKLOADS = ["neuron: 1000x10", "neuron: 10000x20", "network: 4-8-1, 1000 rows a step"]
KERNEL = Path("fastbp/kernels/neuron.py")
CALL = "neuron_gradient, first_bad_row,"
SLOWED = """

@subroutine
def slowed_gradient(data: Data, integers: Pointer, start: int, rows: int, buffers: Buffers) -> bool:
    if integers[layout.EPOCH] % 2 == 0:
        neuron_gradient(data, integers, start, rows, buffers)
    return neuron_gradient(data, integers, start, rows, buffers)


@kernel
def neuron_steps("""


def slow_down(tree: Path) -> None:
    """Make the neuron's kernel in a tree take 1.5 times as long."""
    path = tree / KERNEL
    text = path.read_text(encoding="utf-8")
    assert text.count(CALL) == 1
    assert text.count("\n\n@kernel\ndef neuron_steps(") == 1
    text = text.replace(CALL, CALL.replace("neuron_gradient", "slowed_gradient"))
    path.write_text(text.replace("\n\n@kernel\ndef neuron_steps(", SLOWED), encoding="utf-8")


def run(tree: Path, *arguments: str) -> tuple[int, list[str]]:
    """Run a benchmark command in a tree; return its exit status and what it named."""
    print(f"$ python -m {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=tree, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, flush=True)
    _, _, end = done.stdout.rpartition("\n\n")
    return done.returncode, [w for w in WORKLOADS if f"{w}: " in end]


def main() -> None:
    """Prove it; exit with 1 if something slower went unnoticed, or something else was named."""
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name, "copy")
        shutil.copytree(TOP, tree, ignore=shutil.ignore_patterns(".*", "build", "dist"))
        before = run(tree, "bench.gate", *WORKLOADS)
        slow_down(tree)
        gate = run(tree, "bench.gate", *WORKLOADS)
        compared = run(tree, "bench.compare", str(TOP), "--head", str(tree), "--only", *WORKLOADS)
    neurons = WORKLOADS[:2]
    proven = before == (0, []) and gate == compared == (1, neurons)
    print("proven: both name the slower kernel" if proven else "NOT proven")
    sys.exit(0 if proven else 1)


if __name__ == "__main__":
    main()
