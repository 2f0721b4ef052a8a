"""One training step (forward, backward, Adam) against the same network in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lutra.frontend.layers import Conv2D, Dense, Flatten, Layer, MaxPool2D, ReLU
from lutra.frontend.losses import CrossEntropy
from lutra.frontend.model import Model
from lutra.frontend.ops import Array
from lutra.frontend.optimisers import Adam
from tests.bench.table import Row, compare

BATCH = 64
RATE = 0.001


def our_step(model: Model, x: Array, y: Array) -> Callable[[], float]:
    """One step of ours; gives the loss before it."""
    loss_of, optimiser = CrossEntropy(), Adam(model.variables, learning_rate=RATE)

    def step() -> float:
        loss = loss_of(model(x, training=True), y)
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def torch_step(torch: Any, network: Any, x: Array, y: Array) -> Callable[[], float]:
    """The same step in PyTorch, with its default Adam."""
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)
    loss_of = torch.nn.CrossEntropyLoss()
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)

    def step() -> float:
        optimiser.zero_grad()
        loss = loss_of(network(inputs), targets)
        loss.backward()
        optimiser.step()
        return float(loss.item())

    return step


def same_weights(torch: Any, model: Model, network: Any) -> None:
    """Give the PyTorch network our start weights, in its layout."""
    with torch.no_grad():
        for ours, theirs in zip(model.variables, network.parameters(), strict=True):
            value = ours.data
            if value.ndim == 4:
                value = value.transpose(3, 2, 0, 1)
            elif value.ndim == 2:
                value = value.T
            if value.shape == (10, 400):  # rows of the flattened image: channels last, then first
                value = value.reshape(10, 5, 5, 16).transpose(0, 3, 1, 2).reshape(10, 400)
            theirs.copy_(torch.from_numpy(np.ascontiguousarray(value)))


def rows() -> Iterator[Row]:
    """The networks of the project's targets.

    Raises:
        AssertionError: the two do not learn alike, so that the comparison would mean nothing.
    """
    import torch

    torch.set_num_threads(1)
    nn = torch.nn
    dense: list[Layer] = [Dense(64), ReLU(), Dense(32), ReLU(), Dense(32), ReLU(), Dense(5)]
    mlp = nn.Sequential(
        *(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()),
        *(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5)),
    )
    images: list[Layer] = [Conv2D(8), ReLU(), MaxPool2D(2), Conv2D(16), ReLU(), MaxPool2D(2)]
    images += [Flatten(), Dense(10)]
    cnn = nn.Sequential(
        *(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 10)),
    )
    rng = np.random.default_rng(0)
    for what, model, network, classes, limit in (
        ("training step, MLP 16-64-32-32-5, batch 64", Model(dense, (16,)), mlp, 5, 1.0),
        ("training step, CNN 28x28x1, batch 64", Model(images, (28, 28, 1)), cnn, 10, 1.5),
    ):
        x = rng.normal(size=(BATCH, *model.input_shape)).astype(np.float32)
        y = rng.integers(0, classes, BATCH)
        same_weights(torch, model, network)
        first_channels = np.ascontiguousarray(np.moveaxis(x, -1, 1)) if x.ndim == 4 else x
        ours, theirs = our_step(model, x, y), torch_step(torch, network, first_channels, y)
        for _ in range(20):
            a, b = ours(), theirs()
            assert abs(a - b) < 1e-3 * abs(b), f"losses {a} and {b} differ"
        yield Row(what, *compare(ours, theirs), limit)
