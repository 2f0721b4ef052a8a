"""Handwritten digits with a small residual network.

Run this file to train the network and write ``digits-resnet.onnx``.
To make your own, copy it and change what ``recipe`` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from lutra.frontend.data import Dataset, Splits, require
from lutra.frontend.layers import (
    BatchNorm,
    Block,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    ReLU,
    Residual,
    Softmax,
)
from lutra.frontend.losses import CrossEntropy
from lutra.frontend.model import Model
from lutra.frontend.onnx.exporter import save
from lutra.frontend.optimisers import Adam
from lutra.frontend.recipe import Recipe
from lutra.frontend.schedules import WarmUpCosine
from lutra.frontend.tensor import Variable

EPOCHS = 10
STEPS = EPOCHS * 197
"""In an epoch, 6285 training samples in batches of 32."""


def load() -> Splits:
    """1797 images of 8 by 8 pixels and one channel in [0, 1], and their digits."""
    digits = require("sklearn.datasets", extra="examples").load_digits()
    data = Dataset(digits.images[..., None] / 16, digits.target)
    parts = data.split(validation=180, test=360, seed=1)
    return parts._replace(train=shifted(parts.train))


def shifted(data: Dataset) -> Dataset:
    """The images, and each of them moved by a pixel up, down, to the left and to the right."""
    padded = np.pad(data.x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    places = ((1, 1), (2, 1), (0, 1), (1, 2), (1, 0))
    images = [padded[:, top : top + 8, left : left + 8] for top, left in places]
    return Dataset(np.concatenate(images), np.tile(data.y, len(places)))


def normalised(filters: int, kernel: int = 3, stride: int = 1) -> list[Block]:
    """A convolution and the batch normalisation of its result."""
    conv = Conv2D(filters, kernel=kernel, stride=stride, padding="same", bias=False)
    return [conv, BatchNorm()]


def build(seed: int) -> Model:
    """Two residual blocks; the second has twice the channels at half the resolution."""
    return Model(
        [
            *normalised(16),
            ReLU(),
            Residual([*normalised(16), ReLU(), *normalised(16)]),
            ReLU(),
            Residual(
                [*normalised(32, stride=2), ReLU(), *normalised(32)],
                shortcut=normalised(32, kernel=1, stride=2),
            ),
            ReLU(),
            GlobalAveragePool(),
            Flatten(),
            Dropout(0.2),
            Dense(10),
        ],
        input_shape=(8, 8, 1),
        seed=seed,
    )


def optimiser(variables: Sequence[Variable]) -> Adam:
    """A learning rate that rises for a tenth of the steps and then falls to 0."""
    rate = WarmUpCosine(0.005, warm_up=STEPS // 10, steps=STEPS)
    return Adam(variables, learning_rate=rate, weight_decay=0.1, clip_norm=1.0)


recipe = Recipe(
    name="digits-resnet",
    description="Digits of 8 by 8 pixels with two residual blocks",
    build=build,
    load=load,
    loss=CrossEntropy(smoothing=0.1),
    optimiser=optimiser,
    epochs=EPOCHS,
    head=(Softmax(),),
)

if __name__ == "__main__":
    trained = recipe.run(console=Console())
    print(f"test accuracy {trained.test_accuracy:.2%}")
    save(trained.graph, Path("digits-resnet.onnx"))
