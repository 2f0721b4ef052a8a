"""Handwritten digits with a small convolutional network.

Run this file to train the network and write ``digits-cnn.onnx``.  To make your own, copy it and
change what ``recipe`` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lutra.frontend.data import Dataset, Splits, require
from lutra.frontend.layers import Conv2D, Dense, Dropout, Flatten, MaxPool2D, ReLU, Softmax
from lutra.frontend.model import Model
from lutra.frontend.onnx.exporter import save
from lutra.frontend.optimisers import Adam
from lutra.frontend.recipe import Recipe
from lutra.frontend.tensor import Variable


def load() -> Splits:
    """1797 images of 8 by 8 pixels and one channel in [0, 1], and their digits."""
    digits = require("sklearn.datasets", extra="examples").load_digits()
    data = Dataset(digits.images[..., None] / 16, digits.target)
    return data.split(validation=180, test=360, seed=1)


def build(seed: int) -> Model:
    return Model(
        [
            Conv2D(8, kernel=3, padding="same"),
            ReLU(),
            Conv2D(16, kernel=3, padding="same"),
            ReLU(),
            MaxPool2D(2),
            Dropout(0.3),
            Flatten(),
            Dense(32),
            ReLU(),
            Dropout(0.25),
            Dense(10),
        ],
        input_shape=(8, 8, 1),
        seed=seed,
    )


def optimiser(variables: Sequence[Variable]) -> Adam:
    return Adam(variables, learning_rate=0.002, weight_decay=0.01)


recipe = Recipe(
    name="digits-cnn",
    description="Digits of 8 by 8 pixels with two convolutions",
    build=build,
    load=load,
    optimiser=optimiser,
    epochs=60,
    patience=20,
    head=(Softmax(),),
)

if __name__ == "__main__":
    trained = recipe.run(console=Console())
    print(f"test accuracy {trained.test_accuracy:.2%}")
    save(trained.graph, Path("digits-cnn.onnx"))
