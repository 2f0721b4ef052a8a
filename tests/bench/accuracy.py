"""``python -m tests.bench.accuracy``: how good the recipes are, in float, at 16 and at 8 bits.

Every recipe is trained with every seed, quantised by its own calibration samples with default
settings, and run through the simulator.  A classifier is judged by its accuracy on the test set;
digits-gan by the share of generated digits that are recognised as those asked for, all ten among
them; image-filters by the signal-to-noise ratio in fixed point.  The exit status is 1 if a target
is missed.

Times are of the processor: set ``OPENBLAS_NUM_THREADS=1`` to have those of one core.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from lutra.examples.digits_gan import LATENT, Recognition, recognise
from lutra.frontend.graph import evaluate
from lutra.frontend.ops import Array
from lutra.frontend.recipe import BUILT_IN, Trained, load_recipe
from lutra.quantize.calibrate import calibrate
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim.simulator import Simulator

BITS = (16, 8)


@dataclass(frozen=True)
class Target:
    """What a recipe promises, in percent for classifiers and the GAN, in dB for filters.

    Attributes:
        least: in float.
        worst_loss: below float, at 16 and at 8 bits; None for no promise.
    """

    least: float
    worst_loss: tuple[float | None, float | None] = (0.2, 1.0)


TARGETS = {
    "digits-mlp": Target(96.0),
    "digits-cnn": Target(97.5),
    "digits-resnet": Target(98.5),
    "digits-lstm": Target(97.0),
    "digits-gru": Target(97.0),
    "digits-attention": Target(95.0),
    "digits-attention-multiplicative": Target(95.0),
    "digits-transformer": Target(96.0),
    "digits-gan": Target(75.0, (2.0, None)),
}


@dataclass(frozen=True)
class Outcome:
    """One recipe with one seed: figures in float, then at each of :data:`BITS`."""

    recipe: str
    seed: int
    seconds: float
    figures: tuple[float, ...]

    @property
    def met(self) -> bool:
        target = TARGETS.get(self.recipe)
        if target is None:
            return True
        exact, *fixed = self.figures
        losses = [
            limit is None or round(exact - figure, 6) <= limit
            for figure, limit in zip(fixed, target.worst_loss, strict=True)
        ]
        return exact >= target.least and all(losses)


def judged(trained: Trained, judge: Callable[[Array], float]) -> tuple[float, ...]:
    """What ``judge`` makes of the results for the test samples, in float and at each width."""
    graph, x = trained.graph, trained.test.x
    figures = [judge(evaluate(graph, {"x": x})["y"])]
    for bits in BITS:
        settings = Settings.uniform(bits)
        fixed = lower(graph, calibrate(graph, settings, trained.calibration.x))
        figures.append(judge(Simulator(fixed).predict(x)))
    return tuple(figures)


def judge_of(trained: Trained) -> Callable[[Array], float]:
    """The figure by which a network of this recipe is judged."""
    match trained.graph.name:
        case "digits-gan":
            digits = trained.test.x[:, : LATENT.classes].argmax(-1)
            return lambda images: _share(recognise(images, digits))
        case "image-filters":
            exact = evaluate(trained.graph, {"x": trained.test.x})["y"]
            return lambda images: _decibels(exact, images)
        case _:
            labels = trained.test.y
            return lambda logits: 100 * float((logits.argmax(-1) == labels).mean())


def _share(found: Recognition) -> float:
    """In percent; nothing counts if a digit is missing."""
    return 100 * found.share if len(found.digits) == LATENT.classes else 0.0


def _decibels(exact: Array, found: Array) -> float:
    noise = float(((exact - found) ** 2).mean())
    return 10 * float(np.log10((exact**2).mean() / noise)) if noise else float("inf")


def measure(name: str, seed: int) -> Outcome:
    start = time.process_time()
    trained = load_recipe(name).run(seed=seed)
    seconds = time.process_time() - start
    return Outcome(name, seed, seconds, judged(trained, judge_of(trained)))


def table(outcomes: Sequence[Outcome]) -> Table:
    shown = Table(title="Recipes: accuracy, recognised digits (%) or signal to noise (dB)")
    for column in ("recipe", "seed", "training, s", "float", *(f"{b} bits" for b in BITS), "met"):
        shown.add_column(column, justify="left" if column == "recipe" else "right")
    for outcome in outcomes:
        cells = (f"{figure:.2f}" for figure in outcome.figures)
        met = "[green]yes[/]" if outcome.met else "[red]NO[/]"
        seconds = f"{outcome.seconds:.1f}"
        shown.add_row(outcome.recipe, str(outcome.seed), seconds, *cells, met)
    return shown


@click.command()
@click.argument("recipes", nargs=-1, type=click.Choice(list(BUILT_IN)))
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(min=1))
def main(recipes: tuple[str, ...], seeds: int) -> None:
    """Train RECIPES, all by default, with the seeds 0, 1, ... and print how good they are."""
    console = Console(width=None if sys.stdout.isatty() else 100)
    outcomes = []
    for name in recipes or BUILT_IN:
        for seed in range(1 if name == "image-filters" else seeds):
            outcome = measure(name, seed)
            outcomes.append(outcome)
            figures = ", ".join(f"{figure:.2f}" for figure in outcome.figures)
            console.print(f"{name}, seed {seed}: {figures}", highlight=False)
    console.print(table(outcomes))
    sys.exit(not all(outcome.met for outcome in outcomes))


if __name__ == "__main__":
    main()
