"""The networks of the benchmarks, as ours and as they are in other tools."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lutra.frontend.adversarial import GanRecipe
from lutra.frontend.layers import (
    LSTM,
    Conv2D,
    Dense,
    Flatten,
    Layer,
    MaxPool2D,
    ReLU,
    Softmax,
)
from lutra.frontend.model import Model
from lutra.frontend.ops import Array
from lutra.frontend.recipe import BUILT_IN, GivenRecipe, Recipe, load_recipe

MLP = "MLP 16-64-32-32-5"
CNN = "CNN 28x28x1"
LSTM_PEER = "LSTM 20x6, 20 units"

NETWORKS = (MLP, CNN, *(name for name in BUILT_IN if name not in ("digits-mlp", "digits-cnn")))
"""Those of the project's targets, and those of the recipes that are of another kind."""


def trained(what: str) -> Model:
    """The network of that name as it is trained, or the GAN's generator; its weights are fresh."""
    dense: list[Layer] = [Dense(64), ReLU(), Dense(32), ReLU(), Dense(32), ReLU(), Dense(5)]
    conv: list[Layer] = [Conv2D(8), ReLU(), MaxPool2D(2), Conv2D(16), ReLU(), MaxPool2D(2)]
    if what == MLP:
        return Model(dense, (16,))
    if what == CNN:
        return Model([*conv, Flatten(), Dense(10)], (28, 28, 1))
    if what == LSTM_PEER:
        return Model([LSTM(20), Dense(5)], (20, 6))
    recipe = load_recipe(what)
    match recipe:
        case Recipe():
            return recipe.build(0)
        case GanRecipe():
            return recipe.generator(0)
        case GivenRecipe():
            return recipe.build()
    raise AssertionError(f"'{what}' is a recipe of a new kind")


def exported(what: str) -> Model:
    """The same as it is exported: classifiers have a softmax at their end."""
    model = trained(what)
    return model.then(Softmax()) if model.output_shape in ((5,), (10,)) else model


def samples(model: Model, count: int) -> Array:
    """Random float32 inputs in [0, 1), the same ones every time."""
    rng = np.random.default_rng(0)
    return rng.random((count, *model.input_shape), np.float32)


def onnxruntime_of(model: bytes) -> Callable[[Array], Array]:
    """Float inference of an ONNX model on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(x: Array) -> Array:
        return np.asarray(session.run(None, {name: x})[0])

    return run
