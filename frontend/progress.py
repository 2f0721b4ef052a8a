"""What the user sees of a training run: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Protocol, Self, assert_never

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from .history import AdversarialResult, AnyResult, EpochResult

Track = Callable[[Sequence[int]], Iterable[int]]
"""Goes through the blocks of long work one by one, and may show how far it is."""


def silently(blocks: Sequence[int]) -> Iterable[int]:
    """The :data:`Track` that shows nothing."""
    return blocks


class Reporter(Protocol):
    """Told about every batch and every epoch; used as a context around the run."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def note(self, text: str) -> None:
        """Say one line."""

    def batch(self, samples: int) -> None:
        """So many more samples of this epoch are done."""

    def epoch(self, result: AnyResult) -> None:
        """An epoch is done."""


class Quiet:
    """Says nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def batch(self, samples: int) -> None:
        pass

    def epoch(self, result: AnyResult) -> None:
        pass


class Lines(Quiet):
    """One plain line an epoch."""

    def __init__(self, console: Console, epochs: int) -> None:
        self.console = console
        self.epochs = epochs
        self.start = time.perf_counter()

    def note(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def epoch(self, result: AnyResult) -> None:
        seconds = time.perf_counter() - self.start
        self.start = time.perf_counter()
        self.note(f"epoch {result.epoch}/{self.epochs}  {describe(result)}  {seconds:.2f} s")


class Bar:
    """A bar that moves with the batches, and the latest results beside it."""

    def __init__(self, console: Console, epochs: int, samples: int) -> None:
        self.epochs = epochs
        self.samples = samples
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(16),
            TimeRemainingColumn(),
            TextColumn("{task.fields[latest]}"),
            console=console,
        )
        self.task: TaskID | None = None

    def __enter__(self) -> Self:
        self.progress.start()
        self.task = self.progress.add_task("training", total=self.epochs * self.samples, latest="")
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def note(self, text: str) -> None:
        self.progress.console.print(text, markup=False, highlight=False)

    def batch(self, samples: int) -> None:
        if self.task is not None:
            self.progress.advance(self.task, samples)

    def epoch(self, result: AnyResult) -> None:
        if self.task is not None:
            self.progress.update(
                self.task,
                completed=result.epoch * self.samples,
                description=f"epoch {result.epoch}/{self.epochs}",
                latest=brief(result),
            )


def describe(result: AnyResult) -> str:
    """An epoch's results on one line."""
    match result:
        case EpochResult():
            text = f"loss {result.loss:.4f}, validation loss {result.validation_loss:.4f}"
            if result.validation_accuracy is not None:
                text += f", accuracy {result.validation_accuracy:.2%}"
            return text
        case AdversarialResult():
            return (
                f"generator loss {result.generator_loss:.4f}, "
                f"discriminator loss {result.discriminator_loss:.4f}"
            )
        case _:
            assert_never(result)


def brief(result: AnyResult) -> str:
    """The same in few enough characters to stand beside a bar, in 80 columns."""
    match result:
        case EpochResult():
            text = f"loss {result.loss:.4f}, validation {result.validation_loss:.4f}"
            if result.validation_accuracy is not None:
                text += f", {result.validation_accuracy:.2%}"
            return text
        case AdversarialResult():
            return (
                f"generator {result.generator_loss:.3f}, "
                f"discriminator {result.discriminator_loss:.3f}"
            )
        case _:
            assert_never(result)


def reporter(console: Console | None, epochs: int, samples: int) -> Reporter:
    """The reporter that suits ``console``: nothing, a bar on a terminal, else lines."""
    if console is None:
        return Quiet()
    return Bar(console, epochs, samples) if console.is_terminal else Lines(console, epochs)
