"""Handwritten digits, made from noise by a generator that learns against a discriminator.

Run this file to train the generator and write ``digits-gan.onnx``, and ``digits-gan.png`` with
samples.  To make your own, copy it and change what ``recipe`` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from lutra.examples import digits_cnn
from lutra.frontend.adversarial import GanRecipe, Latent
from lutra.frontend.data import Dataset
from lutra.frontend.layers import (
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    Flatten,
    LeakyReLU,
    ReLU,
    Reshape,
    Sigmoid,
)
from lutra.frontend.model import Model
from lutra.frontend.onnx.exporter import save
from lutra.frontend.ops import Array
from lutra.frontend.pictures import save_picture

LATENT = Latent(noise=16, classes=10)
"""A one-hot row asks for a digit, noise says how it is written."""

SURE = 0.9
"""Probability above which the classifier is taken to recognise a digit."""


def load() -> Dataset:
    """The training images of ``digits-cnn``, 8 by 8 pixels in [0, 1], and their digits."""
    return digits_cnn.load().train


def generator(seed: int) -> Model:
    """From 26 values to an image, by way of 2 by 2 and 4 by 4 pixels."""
    return Model(
        [
            Dense(128, bias=False),
            BatchNorm(),
            ReLU(),
            Reshape((2, 2, 32)),
            ConvTranspose2D(16, kernel=4, stride=2, padding="same", bias=False),
            BatchNorm(),
            ReLU(),
            ConvTranspose2D(1, kernel=4, stride=2, padding="same"),
            Sigmoid(),
        ],
        input_shape=(LATENT.size,),
        seed=seed,
    )


def discriminator(seed: int) -> Model:
    """A logit for each digit: is the image a real one of it?"""
    return Model(
        [
            Conv2D(16, kernel=3, padding="same"),
            LeakyReLU(0.2),
            Dropout(0.3),
            Conv2D(32, kernel=3, stride=2, padding="same"),
            LeakyReLU(0.2),
            Dropout(0.3),
            Flatten(),
            Dense(64),
            LeakyReLU(0.2),
            Dropout(0.3),
            Dense(LATENT.classes),
        ],
        input_shape=(8, 8, 1),
        seed=seed,
    )


@dataclass(frozen=True)
class Recognition:
    """How many generated digits are recognised.

    Attributes:
        share: of all images, those that the classifier is sure to be the digit asked for.
        digits: those of which there is at least one such image.
    """

    share: float
    digits: tuple[int, ...]


def recognise(images: Array, digits: Array) -> Recognition:
    """Show images (n, 8, 8, 1) to a classifier that has only seen real ones.

    Args:
        images: what the generator made.
        digits: what it was asked for.
    """
    probabilities = classifier().predict(images.astype(np.float32))
    recognised = probabilities[np.arange(len(digits)), digits] > SURE
    return Recognition(float(recognised.mean()), tuple(np.unique(digits[recognised]).tolist()))


@lru_cache(maxsize=1)
def classifier() -> Model:
    """The network of the recipe ``digits-cnn``, trained."""
    return digits_cnn.recipe.run().model


def judge(model: Model, latent: Dataset) -> Sequence[str]:
    found = recognise(model.predict(latent.x), latent.y)
    return (
        f"recognised with more than {SURE:.0%} confidence as the digit that was asked for: "
        f"{found.share:.1%}",
        f"digits among them: {', '.join(map(str, found.digits)) or 'none'}",
    )


recipe = GanRecipe(
    name="digits-gan",
    description="A generator of digits of 8 by 8 pixels, with transposed convolutions",
    generator=generator,
    discriminator=discriminator,
    load=load,
    latent=LATENT,
    epochs=60,
    judge=judge,
)


def draw(model: Model, path: Path) -> None:
    """A picture with eight samples of each digit in a row."""
    rows, columns = LATENT.classes, 8
    latent = np.random.default_rng(0).uniform(-1, 1, (rows * columns, LATENT.size))
    latent[:, :rows] = np.repeat(np.eye(rows), columns, axis=0)
    images = model.predict(latent.astype(np.float32)).reshape(rows, columns, 8, 8)
    sheet = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1))).swapaxes(1, 2).reshape(rows * 10, -1)

    def paint(figure: Any) -> None:
        figure.add_axes((0, 0, 1, 1), frameon=False).imshow(1 - sheet, cmap="gray", vmin=0, vmax=1)

    save_picture(path, columns / 2, rows / 2, paint)


if __name__ == "__main__":
    trained = recipe.run(console=Console())
    print(*trained.remarks, sep="\n")
    save(trained.graph, Path("digits-gan.onnx"))
    draw(trained.model, Path("digits-gan.png"))
    print("wrote digits-gan.onnx and digits-gan.png")
