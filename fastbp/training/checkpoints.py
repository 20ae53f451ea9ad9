"""Checkpoints: the state of a running fit, saved periodically and resumed by the same call."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.data.labels import Samples
from fastbp.data.rows import Rows
from fastbp.errors import CheckpointError
from fastbp.system import archive, output
from fastbp.training.problem import Options
from fastbp.training.state import TrainingState, generator_state

KIND = "Checkpoint"
REMEDY = "Use another path, or delete the file to start over"
OTHER_PATH = "Use another path for the checkpoint"


@dataclass(eq=False)
class Snapshot:
    """Flat parameters, and what else is needed to continue from them."""

    parameters: np.ndarray
    state: TrainingState


@dataclass(frozen=True, eq=False)
class Saved:
    """What a checkpoint holds of a fit.

    Attributes
    ----------
    now : Snapshot
    losses, validation_losses, rates : numpy.ndarray of float64
        By epoch; rates only if they come from a function.
    reported : int
        The epochs that the callback was called for.
    stopped : str or None
        Why the fit ended; None if it had not.
    epochs : int
        How many were asked for.
    best : Snapshot or None
        That of the lowest loss, with early stopping on validation data.
    """

    now: Snapshot
    losses: np.ndarray
    validation_losses: np.ndarray
    rates: np.ndarray
    reported: int
    stopped: str | None
    epochs: int
    best: Snapshot | None = None


ARRAYS = "losses", "validation_losses", "rates"
FIELDS = "reported", "stopped", "epochs"


class Checkpoint:
    """A file that holds the latest state of one fit.

    Parameters
    ----------
    path : Path
    every : float
        Seconds between saves.
    fingerprint : dict
        What distinguishes the fit from others: see :func:`fingerprint`.
    """

    def __init__(self, path: Path, every: float, fingerprint: dict[str, Any]) -> None:
        self.path = path
        self._every = every
        self._fingerprint = json.loads(json.dumps(fingerprint))  # as it will be read
        self._written = time.monotonic()
        if not path.parent.is_dir():
            raise CheckpointError(f"checkpoint: expected a folder that exists, got {path.parent}")
        if path.is_dir():
            raise CheckpointError(f"checkpoint: expected a file, got the folder {path}")

    def due(self) -> bool:
        """Return whether it is time to write."""
        return time.monotonic() - self._written >= self._every

    def read(self, epochs: int) -> Saved | None:
        """Return what the file holds; None if there is no file.

        Raises
        ------
        CheckpointError
            If the file is damaged, is the checkpoint of another problem (the message says what
            differs), has begun more epochs than these, or cannot be written though it must be.
        """
        try:
            kind, (arrays, fields) = archive.read(self.path)
        except FileNotFoundError:
            self._check_writable()
            return None
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot be read: {error.strerror}") from error
        except CheckpointError as error:  # it may be anything, the user's data among them
            raise CheckpointError(f"{error}. {OTHER_PATH}") from None
        if kind != KIND:
            raise CheckpointError(f"{self.path}: expected a checkpoint, got a {kind}. {OTHER_PATH}")
        with archive.refusing(self.path, "a checkpoint"):
            ours, theirs = self._fingerprint, dict(fields["fingerprint"])
            different = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
            if "dtype" in different:  # initial values are rounded to it, and so others
                different = ["dtype"]
            self.refuse("; ".join(_difference(n, theirs.get(n), ours.get(n)) for n in different))
            saved = _taken_apart(arrays, fields)
            begun = len(saved.losses) + saved.now.state.within_epoch
        if len(saved.losses) < epochs and saved.stopped not in ("tol", "callback"):
            self._check_writable()
        if begun > epochs:
            raise CheckpointError(
                f"{self.path}: expected epochs to be at least {begun}: the checkpoint has begun"
                f" that many; got {epochs}"
            )
        return saved

    def refuse(self, different: str) -> None:
        """Raise a CheckpointError for another fit's file if anything is different."""
        if different:
            raise CheckpointError(
                f"{self.path}: expected the checkpoint of this fit, got that of another one:"
                f" {different}. {REMEDY}"
            )

    def write(self, saved: Saved) -> None:
        """Replace the file atomically.

        Raises
        ------
        CheckpointError
            If that cannot be done; the old file is unchanged.
        """
        arrays = {name: getattr(saved, name) for name in ARRAYS}
        fields = {name: getattr(saved, name) for name in FIELDS}
        fields["fingerprint"] = self._fingerprint
        for prefix, snapshot in (("", saved.now), ("best.", saved.best)):
            if snapshot is not None:
                own, fields[prefix + "state"] = snapshot.state.to_stored()
                own["parameters"] = snapshot.parameters
                arrays |= {prefix + name: array for name, array in own.items()}
        try:
            archive.write(self.path, KIND, (arrays, fields))
        except OSError as error:
            raise CheckpointError(
                f"{self.path}: the checkpoint cannot be written: {error.strerror}; an earlier"
                " checkpoint is unchanged, and the fit so far is this exception's attribute fit"
            ) from error
        self._written = time.monotonic()

    def _check_writable(self) -> None:
        """Refuse before training what could not be written after it."""
        try:
            output.check(self.path)
        except OSError as error:
            raise CheckpointError(
                f"{self.path}: the checkpoint cannot be written: {error.strerror}"
            ) from error


def _taken_apart(arrays: dict[str, np.ndarray], fields: dict[str, Any]) -> Saved:
    """Return what a file holds. What depends on the fit is checked where that continues."""
    best = _snapshot("best.", arrays, fields) if "best.state" in fields else None
    kept = {name: fields[name] for name in FIELDS} | {name: arrays[name] for name in ARRAYS}
    saved = Saved(now=_snapshot("", arrays, fields), best=best, **kept)
    n = len(saved.losses)
    for name, sizes in (
        ("losses", (n,)),
        ("validation_losses", (0, n - 1, n)),
        ("rates", (0, n, n + 1)),
    ):
        array = kept[name]
        if array.dtype != np.float64 or array.ndim != 1 or array.size not in sizes:
            raise ValueError(f"{name}: expected one an epoch, got {arguments.describe(array)}")
    if not (np.isfinite(saved.losses).all() and np.isfinite(saved.rates).all()):
        raise ValueError("losses, rates: expected finite numbers")
    arguments.integer("reported", saved.reported, minimum=0, maximum=n)
    arguments.integer("epochs", saved.epochs, minimum=0)
    arguments.integer("epoch", saved.now.state.epoch, minimum=n)
    if saved.stopped not in (None, "epochs", "tol", "callback", "interrupted"):
        raise ValueError(f"stopped: expected why a fit stopped, got {saved.stopped!r}")
    return saved


def _snapshot(prefix: str, arrays: dict[str, np.ndarray], fields: dict[str, Any]) -> Snapshot:
    own = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
    state = TrainingState.from_stored(own, fields[prefix + "state"])
    return Snapshot(own["parameters"], state)


def _difference(name: str, theirs: Any, ours: Any) -> str:
    digests = [isinstance(v, str) and v.startswith("sha256 ") for v in (theirs, ours)]
    return f"{name} differ" if any(digests) else f"{name} was {theirs!r}, is {ours!r}"


def open_checkpoint(path: Any, every: float, fingerprint: dict[str, Any]) -> Checkpoint:
    """Return the checkpoint at a path that a user gives."""
    # A callback may change the working directory.
    absolute = arguments.path("checkpoint", path).absolute()
    with arguments.path_errors("checkpoint", "a file, in a folder that exists"):
        return Checkpoint(absolute, every, fingerprint)


def fingerprint(
    identity: dict[str, Any],
    options: Options,
    random_state: Any,
    rows: Rows,
    validation: Any,
    held_out: Samples | None,
) -> dict[str, Any]:
    """Return everything that the result of a fit depends on: its model, its options, its rows."""
    rate, state = options.learning_rate, options.state
    described = {
        **identity,
        "learning_rate": "a function" if callable(rate) else rate,
        "batch_size": options.batch_rows,
        "optimizer": str(options.optimizer),
        "shuffle": options.shuffle,
        "random_state": _described_random(random_state) if options.shuffle else None,
        "alpha": options.alpha,
        "clip_norm": options.clip_norm,
        "tol": options.tol,
        "n_iter_no_change": options.n_iter_no_change,
        "state": None if state is None else _digest_of_state(state),
        **_described_rows("", rows),
    }
    if held_out is None or isinstance(validation, float | np.floating):
        return {**described, "validation": None if held_out is None else float(validation)}
    return described | _described_rows("validation ", held_out.rows)


def _described_rows(prefix: str, rows: Rows) -> dict[str, Any]:
    digests = {name: f"sha256 {digest}" for name, digest in rows.digests().items()}
    shape = [rows.n_rows, rows.n_features]
    described = {"features.shape": shape, "features.dtype": rows.dtype, **digests}
    return {prefix + name: value for name, value in described.items()}


def digest(*arrays: np.ndarray) -> str:
    """Return a digest of small arrays, marked as a digest."""
    made = hashlib.sha256()
    for array in arrays:
        made.update(f"{array.shape} {array.dtype.name}".encode() + array.tobytes())
    return f"sha256 {made.hexdigest()}"


def _digest_of_state(state: TrainingState) -> str:
    """Return the digest of all that another fit left behind."""
    arrays, fields = state.to_stored()
    text = archive.to_json(fields)
    return digest(np.frombuffer(text.encode(), dtype=np.uint8), *arrays.values())


def _described_random(value: Any) -> str | int | None:
    """Return what distinguishes sources of randomness: a seed, or a digest of the state."""
    if isinstance(value, np.random.Generator | np.random.RandomState):
        state = repr(sorted(generator_state(value).items()))
        return f"sha256 {hashlib.sha256(state.encode()).hexdigest()}"
    return None if value is None else int(value)
