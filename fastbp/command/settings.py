"""What is to be trained and how: the options of the command, with their defaults filled in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NUMBER_LOSSES = ("mse", "half_mse")
NETWORK_BATCH = 32  # as Keras has it; 100 epochs of larger ones are too few for some hundred rows


@dataclass(frozen=True)
class Settings:
    """What is to be trained and how: the options of the command, with their defaults filled in.

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
        """Whether the target is classes: of a neuron with sigmoid, of a network by the loss."""
        if self.hidden:
            return self.loss not in NUMBER_LOSSES
        return self.activation == "sigmoid"

    @property
    def number_option(self) -> str | None:
        """The option by which the target is a number, if it is one."""
        if self.predicts_classes:
            return None
        return f"--loss {self.loss}" if self.hidden else f"--activation {self.activation}"

    @property
    def two_classes(self) -> bool:
        """Whether only two classes will do."""
        return not self.hidden or self.loss == "bce"

    def output(self, n_classes: int) -> tuple[int, str, str]:
        """Return the number of outputs, their activation and the loss; 0 classes for a number."""
        if not self.hidden:
            usual = "bce" if self.activation == "sigmoid" else "mse"
            return 1, self.activation, self.loss or usual
        if n_classes == 0:
            return 1, "identity", self.loss or "mse"
        if n_classes == 2 and self.loss != "cross_entropy":
            return 1, "sigmoid", "bce"
        return n_classes, "softmax", "cross_entropy"

    def described(self, n_features: int, n_classes: int) -> str:
        """Return a line on the model, such as ``20-64-32-1, relu and sigmoid``."""
        n_outputs, activation, _ = self.output(n_classes)
        sizes = "-".join(map(str, (n_features, *self.hidden, n_outputs)))
        if not self.hidden:
            return f"neuron, {activation}"
        both = dict.fromkeys((self.activation, activation))
        return f"{sizes}, {' and '.join(both)}"
