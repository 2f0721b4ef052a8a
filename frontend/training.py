"""Training: epochs of batches, validation, early stopping and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich.console import Console

from .checkpoint import Checkpoint, prepare
from .data import Dataset
from .errors import LutraError, ModelError
from .history import AnyResult, EpochResult, History
from .losses import Loss, correct
from .model import Model
from .ops import Array
from .optimisers import Optimiser
from .progress import Reporter, reporter
from .tensor import Tensor, no_grad


def fit(
    model: Model,
    loss: Loss,
    optimiser: Optimiser,
    train: Dataset,
    validation: Dataset,
    *,
    epochs: int,
    batch_size: int = 32,
    seed: int = 0,
    patience: int | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> History:
    """Train ``model`` in place.

    The same arguments give the same weights, to the bit, whether or not the run is interrupted
    and resumed.

    Args:
        model: built for the datasets' sample shape.
        loss: what is made small.
        optimiser: made for the model's variables.
        train: what is learnt from.
        validation: what each epoch is judged by.
        epochs: passes over ``train``, at most; those before an interruption count.
        batch_size: samples a step.
        seed: of the shuffling and of dropout.
        patience: stop after so many epochs without a smaller validation loss, and in any case end
            with the weights of the best epoch.  None: run all epochs, end with the last weights.
        checkpoint: file that is replaced after each epoch; a run that is killed loses one at most.
        resume: go on from ``checkpoint``; if there is no such file yet, start anew.
        console: where progress is shown: a bar on a terminal, else a line an epoch; None: nowhere.

    Raises:
        ModelError: the loss became NaN or infinite, or the checkpoint is damaged or another run's.
        OutputError: the checkpoint cannot be written.
    """
    run = _Run(model, loss, optimiser, train, validation, batch_size, seed, patience)
    complete(run, epochs, checkpoint, resume, console)
    if patience is not None:
        model.assign(run.best)
    return run.history


class Run(Protocol):
    """A training run between two epochs: what :func:`complete` takes to the end.

    Attributes:
        results: of the epochs so far.
        samples: samples of an epoch, as :class:`lutra.frontend.progress.Reporter` counts them.
        stopped: why there is to be no further epoch, if so.
        configuration: what must be the same for a checkpoint to fit; the number of epochs may grow.
    """

    @property
    def results(self) -> Sequence[AnyResult]: ...

    @property
    def samples(self) -> int: ...

    @property
    def stopped(self) -> str | None: ...

    @property
    def configuration(self) -> dict[str, object]: ...

    def epoch(self, report: Reporter) -> None:
        """Train for one epoch more."""

    def checkpoint(self) -> Checkpoint:
        """All that the next epoch depends on."""

    def restore(self, saved: Checkpoint) -> None:
        """Take up what :meth:`checkpoint` gave."""


def complete(
    run: Run,
    epochs: int,
    checkpoint: str | Path | None,
    resume: bool,
    console: Console | None,
) -> None:
    """Train until there are so many epochs; arguments and errors as for :func:`fit`."""
    at_least_one("epochs", epochs)
    if resume and checkpoint is None:
        raise LutraError("to resume, name the checkpoint", expected="a file")
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None:
        prepare_or_resume(run, path, resume)
    with reporter(console, epochs, run.samples) as report:
        if run.results:
            report.note(f"resuming after epoch {len(run.results)}")
            report.epoch(run.results[-1])
        while len(run.results) < epochs and not run.stopped:
            with np.errstate(all="ignore"):  # a loss that is not finite is an error of its own
                run.epoch(report)
            if path is not None:
                run.checkpoint().save(path)
        if run.stopped:
            report.note(f"stopped early: {run.stopped}")


def at_least_one(name: str, value: int | None) -> None:
    """Raise a :class:`LutraError` if a number is given and below 1."""
    if value is not None and value < 1:
        raise LutraError(f"{name} must be at least 1", found=value)


def prepare_or_resume(run: Run, path: Path, resume: bool) -> None:
    """Take up the run at ``path``, or make sure that a new one can be kept there."""
    if not (resume and path.exists()):
        prepare(path)
        return
    saved = Checkpoint.load(path)
    saved.check(run.configuration, path)
    try:
        run.restore(saved)
    except LutraError as error:
        raise error.in_file(str(path)) from None
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            "the checkpoint's history or random state is damaged", file=str(path), found=error
        ) from None


def require_finite(epoch: int, **losses: float) -> None:
    """Raise a :class:`ModelError` if a loss of the epoch is NaN or infinite."""
    if not np.isfinite(list(losses.values())).all():
        raise ModelError(
            f"training diverged: the loss of epoch {epoch} is not finite",
            found=", ".join(f"{name} {loss}" for name, loss in losses.items()),
            remedy="Train with a smaller learning rate",
        )


def random_state(generator: np.random.Generator) -> dict[str, Any]:
    """The state of a random generator in plain values."""
    state: dict[str, Any] = json.loads(json.dumps(generator.bit_generator.state))
    return state


@dataclass
class _Run:
    """A run between two epochs."""

    model: Model
    loss: Loss
    optimiser: Optimiser
    train: Dataset
    validation: Dataset
    batch_size: int
    seed: int
    patience: int | None
    results: tuple[EpochResult, ...] = ()
    best: dict[str, Array] = field(default_factory=dict)
    generator: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        at_least_one("batch_size", self.batch_size)
        at_least_one("patience", self.patience)
        self.generator = np.random.default_rng(self.seed)

    @property
    def history(self) -> History:
        return History(self.results, self.stopped is not None)

    @property
    def samples(self) -> int:
        return len(self.train)

    @property
    def stopped(self) -> str | None:
        if self.patience is None or History(self.results).since_best() < self.patience:
            return None
        return f"no better epoch for {self.patience}"

    @cached_property
    def configuration(self) -> dict[str, object]:
        return {
            **self.model.describe(),
            **self.optimiser.describe(),
            "loss": repr(self.loss),
            "training data": self.train.digest,
            "validation data": self.validation.digest,
            "batch size": self.batch_size,
            "seed": self.seed,
            "patience": self.patience,
        }

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(
            self.configuration,
            tuple(map(asdict, self.results)),
            self.model.weights,
            self.best,
            self.optimiser.state(),
            random_state(self.generator),
        )

    def restore(self, saved: Checkpoint) -> None:
        self.model.verify(saved.best)
        self.model.assign(saved.weights)
        self.optimiser.restore(saved.optimiser)
        self.generator.bit_generator.state = saved.generator
        self.results = tuple(EpochResult(**result) for result in saved.history)
        self.best = dict(saved.best)

    def epoch(self, report: Reporter) -> None:
        """One pass over the training set, then one over the validation set."""
        total = 0.0
        for x, y in self.train.batches(self.batch_size, self.generator):
            predictions = self.model(x, training=True, generator=self.generator)
            loss = self.loss(predictions, y)
            loss.backward()
            self.optimiser.step()
            total += loss.item() * len(x)
            report.batch(len(x))
        mean = total / len(self.train)
        number = len(self.results) + 1
        judged = evaluate(self.model, self.loss, self.validation)
        require_finite(number, training=mean, validation=judged[0])
        result = EpochResult(number, mean, *judged)
        self.results = (*self.results, result)
        if History(self.results).best is result:
            self.best = self.model.weights
        report.epoch(result)


def evaluate(
    model: Model, loss: Loss, data: Dataset, batch_size: int = 256
) -> tuple[float, float | None]:
    """Mean loss over a dataset, and accuracy (0 to 1), or None if the targets are no classes."""
    total, right = 0.0, 0
    classes = True
    for x, y in data.batches(batch_size):
        with no_grad():
            predictions = model(x)
            total += loss(predictions, y).item() * len(x)
        count = correct(predictions.data, y)
        classes &= count is not None
        right += count or 0
    return total / len(data), right / len(data) if classes else None


def accuracy(model: Model, data: Dataset) -> float | None:
    """Share of a dataset that is classified right, 0 to 1; None if the targets are no classes."""
    return evaluate(model, lambda predictions, _: Tensor(0.0), data)[1]
