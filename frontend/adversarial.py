"""Adversarial training (Goodfellow et al., 2014): a generator learns to deceive a discriminator.

The generator makes samples from noise; with several classes the noise stands behind a one-hot row
that asks for one of them (Mirza and Osindero, 2014).  The discriminator gives each sample a logit
for each class, "is this a real one of that class?", of which only the one of the class in question
counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from rich.console import Console

from .checkpoint import Checkpoint
from .data import Dataset, Samples
from .errors import LutraError, ShapeError
from .history import AdversarialHistory, AdversarialResult
from .losses import BinaryCrossEntropy, one_hot
from .model import Model
from .ops import Array
from .optimisers import Adam, Optimiser
from .progress import Reporter
from .recipe import Guard, Trained
from .tensor import Tensor, Variable, no_grad
from .training import at_least_one, complete, random_state, require_finite


@dataclass(frozen=True)
class Latent:
    """What a generator makes samples from.

    Attributes:
        noise: values that are uniform between -1 and 1.
        classes: of the samples; if there are several, a one-hot row stands before the noise.
    """

    noise: int
    classes: int = 1

    def __post_init__(self) -> None:
        at_least_one("noise", self.noise)
        at_least_one("classes", self.classes)

    @property
    def size(self) -> int:
        """Values in all: the generator's inputs."""
        return self.noise + (self.classes if self.classes > 1 else 0)

    def draw(self, count: int, generator: np.random.Generator) -> Dataset:
        """Inputs of a generator, and the classes that they ask for, each as likely as another."""
        classes = generator.integers(0, self.classes, count)
        noise = generator.uniform(-1, 1, (count, self.noise)).astype(np.float32)
        if self.classes > 1:
            noise = np.concatenate([one_hot(classes, self.classes), noise], axis=1)
        return Dataset(noise, classes)


@dataclass(frozen=True)
class Player:
    """One of the two networks, and what changes its weights."""

    model: Model
    optimiser: Optimiser


def fit_adversarial(
    generator: Player,
    discriminator: Player,
    latent: Latent,
    data: Dataset,
    *,
    epochs: int,
    batch_size: int = 32,
    smoothing: float = 0.1,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> AdversarialHistory:
    """Train both networks in place, a step of the one and a step of the other in turn.

    The discriminator learns from a batch of real samples and as many generated ones, the generator
    from as many new ones, which it wants to be taken for real.  The same arguments give the same
    weights, to the bit, whether or not the run is interrupted and resumed.

    Args:
        generator: from ``(latent.size,)`` to the shape of the real samples.
        discriminator: from that shape to ``(latent.classes,)`` logits.
        latent: what samples are made from.
        data: the real samples; with several classes the targets are class numbers.
        epochs: passes over ``data``; those before an interruption count.
        batch_size: real samples a step.
        smoothing: real samples are called real with probability 1 - smoothing, which keeps the
            discriminator from being too sure (Salimans et al., 2016); generated ones stay 0.
        seed: of the shuffling, the noise and dropout.
        checkpoint, resume, console: as for :func:`lutra.frontend.training.fit`.

    Raises:
        ShapeError: the networks or the samples do not fit each other.
        ModelError: a loss became NaN or infinite, or the checkpoint is damaged or another run's.
        OutputError: the checkpoint cannot be written.
    """
    run = _Duel(generator, discriminator, latent, data, batch_size, smoothing, seed)
    complete(run, epochs, checkpoint, resume, console)
    return AdversarialHistory(run.results)


@dataclass
class _Duel:
    """A run between two epochs."""

    generator: Player
    discriminator: Player
    latent: Latent
    data: Dataset
    batch_size: int
    smoothing: float
    seed: int
    results: tuple[AdversarialResult, ...] = ()
    stopped: str | None = None
    chance: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        at_least_one("batch_size", self.batch_size)
        if not 0 <= self.smoothing < 1:
            raise LutraError(
                "smoothing is a probability", found=self.smoothing, expected="0 <= smoothing < 1"
            )
        made, judged = self.generator.model, self.discriminator.model
        for what, found, expected in (
            ("the generator's input", made.input_shape, (self.latent.size,)),
            ("the generator's output", made.output_shape, self.data.shape),
            ("the discriminator's input", judged.input_shape, self.data.shape),
            ("the discriminator's output", judged.output_shape, (self.latent.classes,)),
        ):
            if found != expected:
                raise ShapeError(f"{what} has the wrong shape", found=found, expected=expected)
        if self.latent.classes > 1 and (self.data.y.ndim, self.data.y.dtype.kind) != (1, "i"):
            raise ShapeError(
                "the real samples have no classes",
                found=f"targets of type {self.data.y.dtype}, shape {self.data.y.shape}",
                expected="a class number for each sample",
            )
        self.chance = np.random.default_rng(self.seed)

    @property
    def players(self) -> dict[str, Player]:
        return {"generator": self.generator, "discriminator": self.discriminator}

    @property
    def samples(self) -> int:
        return len(self.data)

    @cached_property
    def configuration(self) -> dict[str, object]:
        players = {
            f"{name} {key}": value
            for name, player in self.players.items()
            for key, value in (player.model.describe() | player.optimiser.describe()).items()
        }
        return players | {
            "latent": repr(self.latent),
            "training data": self.data.digest,
            "batch size": self.batch_size,
            "smoothing": self.smoothing,
            "seed": self.seed,
        }

    def checkpoint(self) -> Checkpoint:
        players = self.players.items()
        return Checkpoint(
            self.configuration,
            tuple(map(asdict, self.results)),
            _joined({name: player.model.weights for name, player in players}),
            {},
            _joined({name: player.optimiser.state() for name, player in players}),
            random_state(self.chance),
        )

    def restore(self, saved: Checkpoint) -> None:
        for name, player in self.players.items():
            player.model.assign(_part(saved.weights, name))
            player.optimiser.restore(_part(saved.optimiser, name))
        self.chance.bit_generator.state = saved.generator
        self.results = tuple(AdversarialResult(**result) for result in saved.history)

    def epoch(self, report: Reporter) -> None:
        """One pass over the real samples."""
        totals = np.zeros(2)
        for x, y in self.data.batches(self.batch_size, self.chance):
            classes = y if self.latent.classes > 1 else np.zeros(len(x), np.int64)
            found = self.teach_discriminator(x, classes)
            totals += len(x) * np.array([self.teach_generator(len(x)), found])
            report.batch(len(x))
        made, judged = (totals / len(self.data)).tolist()
        number = len(self.results) + 1
        require_finite(number, generator=made, discriminator=judged)
        result = AdversarialResult(number, made, judged)
        self.results = (*self.results, result)
        report.epoch(result)

    def teach_discriminator(self, x: Array, classes: Array) -> float:
        """A step on real samples of these classes and as many generated ones; the loss before."""
        latent = self.latent.draw(len(x), self.chance)
        with no_grad():
            made = self.generate(latent.x).data
        both = Tensor(np.concatenate([x, made]))
        targets = np.repeat(np.array([1 - self.smoothing, 0], np.float32), len(x))
        loss = self.deceived(both, np.concatenate([classes, latent.y]), targets)
        loss.backward()
        self.discriminator.optimiser.step()
        return loss.item()

    def teach_generator(self, count: int) -> float:
        """A step on so many new samples; the loss before."""
        latent = self.latent.draw(count, self.chance)
        made = self.generate(latent.x)
        loss = self.deceived(made, latent.y, np.ones(count, np.float32))
        loss.backward()
        self.generator.optimiser.step()
        return loss.item()

    def generate(self, latent: Array) -> Tensor:
        return self.generator.model(latent, training=True, generator=self.chance)

    def deceived(self, x: Tensor, classes: Array, targets: Array) -> Tensor:
        """How far the discriminator is from taking samples for real ones of their classes with the
        probabilities ``targets``."""
        logits = self.discriminator.model(x, training=True, generator=self.chance)
        chosen = (logits * one_hot(classes, self.latent.classes)).sum(axis=-1)
        return BinaryCrossEntropy()(chosen, targets)


def _joined(parts: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
    """All arrays under the names of their part and their own."""
    return {f"{part}/{name}": value for part, own in parts.items() for name, value in own.items()}


def _part(arrays: Mapping[str, Array], part: str) -> dict[str, Array]:
    """What :func:`_joined` put under the name of a part."""
    start = f"{part}/"
    return {
        name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)
    }


def _adam(variables: Sequence[Variable]) -> Optimiser:
    """Adam with the settings of Radford et al. (2016), at a larger rate."""
    return Adam(variables, learning_rate=0.001, betas=(0.5, 0.999))


@dataclass(frozen=True)
class GanRecipe:
    """How a generator is built, and trained against a discriminator; the generator is the network.

    Attributes:
        name: what the network is called.
        description: one line for people.
        generator: makes the untrained generator from a seed.
        discriminator: makes the untrained discriminator from a seed.
        load: gets the real samples.
        latent: what samples are made from.
        optimiser: makes the optimiser for one network's variables; it is called for each.
        epochs: passes over the real samples.
        batch_size: real samples a step.
        smoothing: see :func:`fit_adversarial`.
        samples: how many latent rows calibration and test data have.
        judge: says in lines for people how good the generator is, from latent rows and the classes
            that they ask for.
    """

    name: str
    description: str
    generator: Callable[[int], Model]
    discriminator: Callable[[int], Model]
    load: Callable[[], Dataset]
    latent: Latent
    optimiser: Callable[[Sequence[Variable]], Optimiser] = _adam
    epochs: int = 100
    batch_size: int = 32
    smoothing: float = 0.1
    samples: int = 1000
    judge: Callable[[Model, Dataset], Sequence[str]] | None = None

    def run(
        self,
        *,
        epochs: int | None = None,
        seed: int = 0,
        checkpoint: str | Path | None = None,
        resume: bool = False,
        console: Console | None = None,
    ) -> Trained:
        """Train, and judge; see :class:`lutra.frontend.recipe.AnyRecipe`."""
        data = self.load()
        generator, discriminator = self.generator(seed), self.discriminator(seed)
        history = fit_adversarial(
            Player(generator, self.optimiser(generator.variables)),
            Player(discriminator, self.optimiser(discriminator.variables)),
            self.latent,
            data,
            epochs=self.epochs if epochs is None else epochs,
            batch_size=self.batch_size,
            smoothing=self.smoothing,
            seed=seed,
            checkpoint=checkpoint,
            resume=resume,
            console=console,
        )
        chance = np.random.default_rng((seed, 1))
        calibration, test = (self.latent.draw(self.samples, chance) for _ in range(2))
        return Trained(
            generator,
            generator.graph(self.name),
            history,
            calibration=Samples(calibration.x),
            test=Samples(test.x),
            remarks=tuple(self.judge(generator, test)) if self.judge else (),
        )

    def guarded(self, guard: Guard) -> GanRecipe:
        return replace(
            self,
            generator=guard(self.generator),
            discriminator=guard(self.discriminator),
            load=guard(self.load),
            optimiser=guard(self.optimiser),
            judge=guard(self.judge) if self.judge else None,
        )
