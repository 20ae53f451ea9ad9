"""What is to be trained and how: the options of the command, with their defaults filled in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from fastbp.arguments import RateFunction
from fastbp.command.schedule import Schedule, rates_of
from fastbp.models.activations import ACTIVATIONS, hidden_activations
from fastbp.models.losses import LOSSES
from fastbp.training.optimizers import OPTIMIZERS, STOCHASTIC

ADAPTIVE = [name for name, kind in OPTIMIZERS.items() if kind.usual_rate is not None]
"""Optimizers that scale their steps themselves, so that one rate suits most data."""
ADAPTIVE_RATE = 0.003  # below their usual rate, which suits larger batches
NETWORK_BATCH = 32  # as in Keras; with larger ones, 100 epochs are too few for some hundred rows


@dataclass(frozen=True)
class Settings:
    """What is to be trained and how.

    Attributes
    ----------
    hidden : tuple of int
        Sizes of hidden layers; none for a neuron.
    activation : str
        That of the neuron or of the hidden layers.
    loss : str or None
        None follows from the target.
    classes : bool or None
        Whether the target is classes or a number; None follows from the other options and it.
    learning_rate : float or None
        None of an optimizer that has none.
    cluster : str or None
        The address of a scheduler, or ``"local"``.
    """

    hidden: tuple[int, ...]
    activation: str
    loss: str | None
    classes: bool | None
    class_weight: str | None
    standardize: bool
    optimizer: str
    learning_rate: float | None
    schedule: Schedule | None
    warm_up: int
    epochs: int
    batch_size: int | None
    shuffle: bool
    seed: int
    alpha: float
    clip_norm: float | None
    dtype: str
    validation: float | None
    patience: int | None
    threads: int | None
    checkpoint: Path | None
    checkpoint_every: float
    cluster: str | None

    @property
    def rates(self) -> float | RateFunction | None:
        """The learning rate, or its function of the epoch."""
        if self.learning_rate is None:
            return None
        return rates_of(self.learning_rate, self.schedule, self.warm_up, self.epochs)

    @property
    def predicts_classes(self) -> bool:
        """Whether the target is a class: for a sigmoid neuron, or a network whose loss says so."""
        if self.hidden:
            return self.loss is None or LOSSES[self.loss].for_classes
        return self.activation == "sigmoid"

    @property
    def scales_target(self) -> bool:
        """Whether the target is a number that is standardized: activations have their own range."""
        return not self.predicts_classes and self.output(0)[1] == "identity"

    @property
    def number_option(self) -> str | None:
        """The option that makes the target a number, if one does."""
        if self.predicts_classes:
            return None
        if self.classes is False:
            return "--number"
        return f"--loss {self.loss}" if self.hidden else f"--activation {self.activation}"

    def output(self, n_classes: int) -> tuple[int, str, str]:
        """Return the number of outputs, their activation and the loss; 0 classes for a number."""
        if not self.hidden:
            usual = "bce" if self.predicts_classes else "mse"
            return 1, self.activation, self.loss or usual
        loss = self.loss or ("bce" if n_classes == 2 else "cross_entropy")
        activation = LOSSES[loss].activation or "identity"
        return n_classes if ACTIVATIONS[activation].output_only else 1, activation, loss


def settings_of(options: dict[str, Any]) -> Settings:
    """Fill in the defaults that depend on other options; refuse what does not go together."""
    hidden, loss, activation = options["hidden"], options["loss"], options["activation"]
    classes = options["classes"]
    found: dict[str, Any] = {"activation": "sigmoid", "optimizer": "sgd"}
    if hidden:
        found = {"activation": "relu", "optimizer": "adam"}
        if options["cluster"] is None:
            found["batch_size"] = NETWORK_BATCH
        elif _of_steps(options) is None:
            found["optimizer"] = "lbfgs"  # the natural choice where an update takes all rows
        found["loss"] = "mse" if classes is False else None
    elif classes is False:
        found["activation"] = "identity"
    found |= {name: value for name, value in options.items() if value is not None}
    if classes is not None:
        clash = None
        if loss is not None and LOSSES[loss].for_classes != classes and (hidden or not classes):
            clash = f"--loss {loss}"
        elif not hidden and (found["activation"] == "sigmoid") != classes:
            clash = f"--activation {activation}"
        if clash is not None:
            raise click.UsageError(f"{'--classes' if classes else '--number'}: not with {clash}")
    if not hidden and loss is not None:
        needed = LOSSES[loss].activation
        if needed not in (None, *hidden_activations()):
            raise click.UsageError(f"--loss {loss} goes with --hidden: a neuron has one output")
        if needed not in (None, found["activation"]):
            raise click.UsageError(f"--loss {loss} goes with --activation {needed}")
    rate = 0.5 if found["activation"] == "sigmoid" and not hidden else 0.05
    if found["optimizer"] in ADAPTIVE:
        rate = ADAPTIVE_RATE
    usual: dict[str, Any] = {"learning_rate": rate}
    if found["optimizer"] not in STOCHASTIC:
        usual["learning_rate"] = None
        _refuse_batches(options)
        found.pop("batch_size", None)
    if options["cluster"] is not None and options["shuffle"]:
        raise click.UsageError("--shuffle: not with --cluster, where rows stay where they are")
    usual["shuffle"] = "batch_size" in found and options["cluster"] is None
    settings = Settings(**{**options, **usual, **found})
    if settings.class_weight and not settings.predicts_classes:
        raise click.UsageError(f"--class-weight: not with {settings.number_option}")
    if 0 < settings.epochs <= settings.warm_up:
        raise click.UsageError(f"--warm-up: expected fewer than the {settings.epochs} --epochs")
    try:
        settings.rates  # noqa: B018
    except ValueError as error:
        raise click.UsageError(f"--schedule: {error}") from None
    return settings


def _of_steps(options: dict[str, Any]) -> str | None:
    """Return the first option that is given for steps by a gradient, or by batches."""
    usual = {"shuffle": False, "warm_up": 0}
    for name in ("learning_rate", "schedule", "warm_up", "clip_norm", "batch_size", "shuffle"):
        if options[name] not in (None, usual.get(name)):
            return f"--{name.replace('_', '-')}"
    return None


def _refuse_batches(options: dict[str, Any]) -> None:
    """Refuse what an optimizer that goes by the loss of all rows has no use for."""
    option = _of_steps(options)
    if option is not None:
        raise click.UsageError(f"{option}: not with --optimizer {options['optimizer']}")
