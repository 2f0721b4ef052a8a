"""The networks of the benchmarks, as ours and as they are in other tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lutra.frontend.layers import Conv2D, Dense, Flatten, Layer, MaxPool2D, ReLU, Softmax
from lutra.frontend.model import Model
from lutra.frontend.ops import Array

MLP = "MLP 16-64-32-32-5"
CNN = "CNN 28x28x1"


def classifier(what: str) -> Model:
    """One of the two networks of the project's targets, with a softmax at its end."""
    dense: list[Layer] = [Dense(64), ReLU(), Dense(32), ReLU(), Dense(32), ReLU(), Dense(5)]
    conv: list[Layer] = [Conv2D(8), ReLU(), MaxPool2D(2), Conv2D(16), ReLU(), MaxPool2D(2)]
    if what == MLP:
        return Model([*dense, Softmax()], (16,))
    return Model([*conv, Flatten(), Dense(10), Softmax()], (28, 28, 1))


def samples(model: Model, count: int) -> Array:
    """Random float32 inputs, the same ones every time."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, *model.input_shape)).astype(np.float32)


def in_torch(torch: Any, what: str) -> Any:
    """The network in PyTorch, channels first."""
    nn = torch.nn
    if what == MLP:
        return nn.Sequential(
            *(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()),
            *(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5), nn.Softmax(-1)),
        )
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 10), nn.Softmax(-1)),
    )


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
