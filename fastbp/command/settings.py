"""What is to be trained and how: the options of the command, with their defaults filled in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastbp.models.activations import ACTIVATIONS
from fastbp.models.losses import LOSSES
from fastbp.training.optimizers import OPTIMIZERS

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
    """

    hidden: tuple[int, ...]
    activation: str
    loss: str | None
    optimizer: str
    learning_rate: float
    epochs: int
    batch_size: int | None
    shuffle: bool
    seed: int
    alpha: float
    validation: float | None
    patience: int | None
    threads: int | None
    checkpoint: Path | None
    checkpoint_every: float

    @property
    def predicts_classes(self) -> bool:
        """Whether the target is a class: for a sigmoid neuron, or a network whose loss says so."""
        if self.hidden:
            return self.loss is None or LOSSES[self.loss].for_classes
        return self.activation == "sigmoid"

    @property
    def number_option(self) -> str | None:
        """The option that makes the target a number, if one does."""
        if self.predicts_classes:
            return None
        return f"--loss {self.loss}" if self.hidden else f"--activation {self.activation}"

    def output(self, n_classes: int) -> tuple[int, str, str]:
        """Return the number of outputs, their activation and the loss; 0 classes for a number."""
        if not self.hidden:
            usual = "bce" if self.predicts_classes else "mse"
            return 1, self.activation, self.loss or usual
        loss = self.loss or ("bce" if n_classes == 2 else "cross_entropy")
        activation = LOSSES[loss].activation or "identity"
        return n_classes if ACTIVATIONS[activation].output_only else 1, activation, loss
