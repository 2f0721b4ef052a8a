"""Handwritten digits with a small multilayer perceptron.

Run this file to train the network and write ``digits-mlp.onnx``.  To make your own, copy it and
change what ``recipe`` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lutra.frontend.data import Dataset, Splits, require
from lutra.frontend.layers import Dense, Dropout, ReLU, Softmax
from lutra.frontend.model import Model
from lutra.frontend.onnx.exporter import save
from lutra.frontend.optimisers import Adam
from lutra.frontend.recipe import Recipe
from lutra.frontend.tensor import Variable


def load() -> Splits:
    """1797 images of 8 by 8 pixels as rows of 64 values in [0, 1], and their digits."""
    digits = require("sklearn.datasets", extra="examples").load_digits()
    data = Dataset(digits.data / 16, digits.target)
    return data.split(validation=180, test=360, seed=1)


def build(seed: int) -> Model:
    return Model(
        [
            Dropout(0.1),
            Dense(64),
            ReLU(),
            Dropout(0.1),
            Dense(32),
            ReLU(),
            Dropout(0.1),
            Dense(10),
        ],
        input_shape=(64,),
        seed=seed,
    )


def optimiser(variables: Sequence[Variable]) -> Adam:
    return Adam(variables, learning_rate=0.003, weight_decay=0.01)


recipe = Recipe(
    name="digits-mlp",
    description="Digits of 8 by 8 pixels with three dense layers",
    build=build,
    load=load,
    optimiser=optimiser,
    epochs=100,
    patience=30,
    head=(Softmax(),),
)

if __name__ == "__main__":
    trained = recipe.run(console=Console())
    print(f"test accuracy {trained.test_accuracy:.2%}")
    save(trained.graph, Path("digits-mlp.onnx"))
