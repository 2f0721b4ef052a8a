"""Handwritten digits, read row by row by a GRU.

Run this file to train the network and write ``digits-gru.onnx``.
To make your own, copy it and change what ``recipe`` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lutra.frontend.data import Dataset, Splits, require
from lutra.frontend.layers import GRU, Dense, Dropout, Softmax
from lutra.frontend.losses import CrossEntropy
from lutra.frontend.model import Model
from lutra.frontend.onnx.exporter import save
from lutra.frontend.optimisers import Adam
from lutra.frontend.recipe import Recipe
from lutra.frontend.schedules import WarmUpCosine
from lutra.frontend.tensor import Variable

EPOCHS = 60
STEPS = EPOCHS * 40
"""In an epoch, 1257 training samples in batches of 32."""


def load() -> Splits:
    """1797 images as sequences of 8 rows, each of 8 pixels in [0, 1], and their digits."""
    digits = require("sklearn.datasets", extra="examples").load_digits()
    data = Dataset(digits.images / 16, digits.target)
    return data.split(validation=180, test=360, seed=1)


def build(seed: int) -> Model:
    return Model(
        [
            Dropout(0.1),
            GRU(40),
            Dropout(0.2),
            Dense(10),
        ],
        input_shape=(8, 8),
        seed=seed,
    )


def optimiser(variables: Sequence[Variable]) -> Adam:
    """A learning rate that rises for a tenth of the steps and then falls to 0."""
    rate = WarmUpCosine(0.005, warm_up=STEPS // 10, steps=STEPS)
    return Adam(variables, learning_rate=rate, weight_decay=0.02, clip_norm=1.0)


recipe = Recipe(
    name="digits-gru",
    description="Digits of 8 by 8 pixels, row by row, with a GRU",
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
    save(trained.graph, Path("digits-gru.onnx"))
