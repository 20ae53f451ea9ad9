"""Checkpoints: where a fit is, written now and then, and found again by the same call."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastbp import arguments
from fastbp.errors import CheckpointError
from fastbp.system import archive
from fastbp.training.state import TrainingState, generator_state, state_restored, with_state

KIND = "Checkpoint"
REMEDY = "Give another path, or remove the file to begin anew"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Parameters, flat, and what else there is to go on from."""

    parameters: np.ndarray
    state: TrainingState


@dataclass(frozen=True, eq=False)
class Saved:
    """What a checkpoint holds of a fit.

    Attributes
    ----------
    now : Snapshot
    losses, validation_losses, rates : numpy.ndarray of float64
        By epoch; the rates where they come from a function.
    reported : int
        Epochs that the callback was told of.
    stopped : str or None
        Why the fit ended; None while it went on.
    epochs : int
        Those that were asked for.
    best : Snapshot or None
        With early stopping on validation data.
    """

    now: Snapshot
    losses: np.ndarray
    validation_losses: np.ndarray
    rates: np.ndarray
    reported: int
    stopped: str | None
    epochs: int
    best: Snapshot | None = None


class Checkpoint:
    """A file that holds the latest state of one fit.

    Parameters
    ----------
    path : Path
    every : float
        Seconds between two writings.
    fingerprint : dict
        What the problem is, by the names of the arguments: strings, numbers, None.
    """

    def __init__(self, path: Path, every: float, fingerprint: dict[str, Any]) -> None:
        self.path = path
        self._every = every
        self._fingerprint = json.loads(json.dumps(fingerprint))  # as it will be read
        self._written = time.monotonic()
        if not path.absolute().parent.is_dir():
            raise CheckpointError(f"checkpoint: expected a folder that exists, got {path.parent}")
        if path.is_dir():
            raise CheckpointError(f"checkpoint: expected a file, got the folder {path}")

    def due(self) -> bool:
        """Return whether it is time to write."""
        return time.monotonic() - self._written >= self._every

    def read(self) -> Saved | None:
        """Return what the file holds; None if there is no file.

        Raises
        ------
        CheckpointError
            If the file is damaged, or the checkpoint of another problem; it says what differs.
        """
        try:
            kind, (arrays, fields) = archive.read(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot be read: {error.strerror}") from error
        except CheckpointError as error:
            raise CheckpointError(f"{error}. {REMEDY}") from None
        if kind != KIND:
            raise CheckpointError(f"{self.path}: expected a checkpoint, got a {kind}")
        self._compare(fields["fingerprint"])
        best = _snapshot("best.", arrays, fields) if fields["has_best"] else None
        return Saved(
            now=_snapshot("", arrays, fields),
            losses=arrays["losses"],
            validation_losses=arrays["validation_losses"],
            rates=arrays["rates"],
            reported=fields["reported"],
            stopped=fields["stopped"],
            epochs=fields["epochs"],
            best=best,
        )

    def _compare(self, theirs: dict[str, Any]) -> None:
        ours = self._fingerprint
        different = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
        if different:
            shown = "; ".join(_difference(n, theirs.get(n), ours.get(n)) for n in different)
            raise CheckpointError(
                f"{self.path}: expected the checkpoint of this fit, got that of another one:"
                f" {shown}. {REMEDY}"
            )

    def write(self, saved: Saved) -> None:
        """Replace the file, at once.

        Raises
        ------
        CheckpointError
            If that cannot be done; the old file is as it was.
        """
        arrays = {
            "losses": saved.losses,
            "validation_losses": saved.validation_losses,
            "rates": saved.rates,
        }
        fields = {
            "fingerprint": self._fingerprint,
            "reported": saved.reported,
            "stopped": saved.stopped,
            "epochs": saved.epochs,
            "has_best": saved.best is not None,
        }
        for prefix, snapshot in (("", saved.now), ("best.", saved.best)):
            if snapshot is not None:
                more, content = with_state({"parameters": snapshot.parameters}, {}, snapshot.state)
                arrays |= {prefix + name: array for name, array in more.items()}
                fields[prefix + "state"] = content["state"]
        # One name for all times, so that what a killed run leaves is written over.
        temporary = self.path.with_name(f".{self.path.name}.part")
        try:
            archive.write(self.path, KIND, (arrays, fields), temporary)
        except OSError as error:
            raise CheckpointError(
                f"{self.path}: the checkpoint cannot be written: {error.strerror}; one that was"
                " there is as it was, and the fit so far is the attribute fit of this exception"
            ) from error
        self._written = time.monotonic()


def _snapshot(prefix: str, arrays: dict[str, np.ndarray], fields: dict[str, Any]) -> Snapshot:
    own = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
    _, content = state_restored(own, {"state": fields[prefix + "state"]})
    return Snapshot(own["parameters"], content["state"])


def _difference(name: str, theirs: Any, ours: Any) -> str:
    digests = [isinstance(v, str) and v.startswith("sha256 ") for v in (theirs, ours)]
    return f"{name} differ" if any(digests) else f"{name} was {theirs!r}, is {ours!r}"


def opened(path: Any, every: Any, fingerprint: Callable[[], dict[str, Any]]) -> Checkpoint | None:
    """Return the checkpoint of the arguments, if one is wanted."""
    seconds = arguments.real("checkpoint_every", every, minimum=0.0)
    if path is None:
        return None
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"checkpoint: expected a path, got {arguments.describe(path)}")
    # What a link points to is replaced, not the link.
    return Checkpoint(Path(os.path.realpath(path)), seconds, fingerprint())


def digest(*arrays: np.ndarray) -> str:
    """Return the digest of whole, small arrays, marked as one."""
    made = hashlib.sha256()
    for array in arrays:
        made.update(f"{array.shape} {array.dtype.name}".encode() + array.tobytes())
    return f"sha256 {made.hexdigest()}"


def digest_of_state(state: TrainingState) -> str:
    """Return the digest of all that another fit left behind."""
    arrays, fields = with_state({}, {}, state)
    text = json.dumps(fields, sort_keys=True)
    return digest(np.frombuffer(text.encode(), dtype=np.uint8), *arrays.values())


def described_random(value: Any) -> str | int | None:
    """Return what tells sources of random orders apart: a seed, or a digest of the state."""
    if isinstance(value, np.random.Generator | np.random.RandomState):
        state = repr(sorted(generator_state(value).items()))
        return f"sha256 {hashlib.sha256(state.encode()).hexdigest()}"
    return None if value is None else int(value)
