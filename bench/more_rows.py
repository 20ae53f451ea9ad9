"""A file larger than the memory that training takes: written, trained on, killed, resumed.

python -m bench.more_rows [--write] [ROWSxFEATURES] [EPOCHS]

The file (4.2 GB by default) and everything else are in a temporary folder. With ``--write`` the
plot is kept as ``bench/more_rows.png``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import fastbp
from bench.machine import processors

SIZE, EPOCHS = "25000000x20", 30
KILLED_AFTER = 0.92  # of the time of a whole run: most of it checks and copies the rows
PICTURE = Path(__file__).with_name("more_rows.png")


def started(folder: Path, *arguments: str, output: int | None = None) -> subprocess.Popen[bytes]:
    """Start a command of fastbp's, on all processors."""
    print("$ fastbp " + " ".join(arguments), flush=True)
    return subprocess.Popen(
        [sys.executable, "-m", "fastbp", *arguments],
        cwd=folder,
        env={**os.environ, "FASTBP_NUM_THREADS": str(processors())},
        stdout=output,
        stderr=output,
    )


def run(folder: Path, *arguments: str) -> float:
    """Run a command that prints its report; return the seconds that it took."""
    began = time.perf_counter()
    if started(folder, *arguments).wait() != 0:
        sys.exit(1)
    return time.perf_counter() - began


def killed(folder: Path, seconds: float, *arguments: str) -> tuple[int, float]:
    """Run a command and kill it after a while; return its exit status and peak memory in MB."""
    process = started(folder, *arguments, output=subprocess.DEVNULL)
    peak = 0.0
    timer = threading.Timer(seconds, process.send_signal, [signal.SIGKILL])
    timer.start()
    while process.poll() is None:
        peak = max(peak, anonymous_megabytes(process.pid))
        time.sleep(0.05)
    timer.cancel()
    return process.returncode, peak


def anonymous_megabytes(process: int) -> float:
    """Return the anonymous memory of a process in MB (NaN where there is no /proc)."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return float("nan")
    return sum(int(line.split()[1]) / 1e3 for line in lines if line.startswith("RssAnon"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"keep the plot as {PICTURE.name}")
    parser.add_argument("size", nargs="?", default=SIZE)
    parser.add_argument("epochs", nargs="?", type=int, default=EPOCHS)
    chosen = parser.parse_args()
    size, epochs = chosen.size, str(chosen.epochs)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{run(folder, 'synth', size, '--out', 'rows.npy'):.1f} s\n", flush=True)
        shares = "--validation", "0.01", "--held-out", "0.01"
        train = "train", "rows.npy", "--epochs", epochs, *shares
        seconds = run(folder, *train, "--save", "whole.safetensors")
        print(f"{seconds:.1f} s\n", flush=True)
        more = "--checkpoint", "rows.checkpoint", "--checkpoint-every", "1", "--plot", "loss.png"
        again = *train, *more, "--log", "loss.csv", "--save", "resumed.safetensors"
        after = KILLED_AFTER * seconds
        status, peak = killed(folder, after, *again)
        kept = folder / "rows.checkpoint"
        size_kept = f"{kept.stat().st_size:,} bytes" if kept.exists() else "not written yet"
        print(f"killed after {after:.1f} s: exit status {status}, checkpoint {size_kept}")
        print(f"private memory, at most {peak:.0f} MB\n", flush=True)
        print(f"{run(folder, *again):.1f} s\n", flush=True)
        whole, resumed = (
            fastbp.load(folder / f"{model}.safetensors").fit for model in ("whole", "resumed")
        )
        same = whole.weights.tobytes() == resumed.weights.tobytes() and whole.bias == resumed.bias
        print(f"bit-identical to the run without the kill: {same}")
        if chosen.write:
            shutil.copy(folder / "loss.png", PICTURE)
        if not same:
            sys.exit(1)


if __name__ == "__main__":
    main()
