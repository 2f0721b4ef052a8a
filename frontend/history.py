"""What happened in a training run, epoch by epoch."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from .storage import write_file


@dataclass(frozen=True)
class EpochResult:
    """One epoch.

    Attributes:
        epoch: its number, from 1.
        loss: mean training loss over the epoch's samples, as the weights changed.
        validation_loss: mean loss over the validation set after the epoch.
        validation_accuracy: share of the validation set that is classified right; None if the
            targets are not classes.
    """

    epoch: int
    loss: float
    validation_loss: float
    validation_accuracy: float | None


@dataclass(frozen=True)
class History:
    """All epochs of a run, in order, those before an interruption among them."""

    epochs: tuple[EpochResult, ...] = ()
    stopped_early: bool = False

    @property
    def best(self) -> EpochResult | None:
        """The first epoch with the smallest validation loss."""
        return min(self.epochs, key=lambda result: result.validation_loss, default=None)

    def since_best(self) -> int:
        """Epochs that came after the best one."""
        return len(self.epochs) - self.best.epoch if self.best else 0

    def save_csv(self, path: str | Path) -> None:
        """Write a table with a row an epoch; an accuracy that is not known is left empty.

        Raises:
            OutputError: the file cannot be written.
        """
        _write_table(path, EpochResult, self.epochs)


@dataclass(frozen=True)
class AdversarialResult:
    """One epoch of two networks that learn against each other.

    Attributes:
        epoch: its number, from 1.
        generator_loss: mean over the epoch's samples of what the generator makes small.
        discriminator_loss: the same for the discriminator.
    """

    epoch: int
    generator_loss: float
    discriminator_loss: float


@dataclass(frozen=True)
class AdversarialHistory:
    """All epochs of an adversarial run, in order, those before an interruption among them."""

    epochs: tuple[AdversarialResult, ...] = ()

    def save_csv(self, path: str | Path) -> None:
        """Write a table with a row an epoch.

        Raises:
            OutputError: the file cannot be written.
        """
        _write_table(path, AdversarialResult, self.epochs)


AnyResult = EpochResult | AdversarialResult
"""What an epoch of any kind of training ends in."""


def _write_table(path: str | Path, kind: type[AnyResult], epochs: Sequence[AnyResult]) -> None:
    """Write a row an epoch under the names of the attributes."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(field.name for field in fields(kind))
    table.writerows(map(astuple, epochs))
    write_file(path, text.getvalue())
