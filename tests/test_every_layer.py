"""Every layer: what it computes, by NumPy written out; and the same by its graph."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from lutra.frontend import layers
from lutra.frontend.errors import LutraError, ShapeError
from lutra.frontend.graph import evaluate
from lutra.frontend.layers import (
    GRU,
    LSTM,
    Add,
    AveragePool2D,
    BatchNorm,
    Bidirectional,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Dense,
    DepthwiseConv2D,
    Input,
    Layer,
    MaxPool1D,
    MaxPool2D,
    Reshape,
    Slice,
    Upsample,
)
from lutra.frontend.model import Model
from tests.layer_kinds import KINDS, Kind, lstm


def identity(kind: Kind) -> str:
    return f"{kind.layer!r}-{kind.shape}"


@pytest.mark.parametrize("kind", KINDS, ids=identity)
def test_computes_what_it_says(kind: Kind) -> None:
    rng = np.random.default_rng(1)
    shapes = (kind.shape, *kind.more)
    sizes = [math.prod(shape) for shape in shapes]
    ends = np.cumsum([1, *sizes]).tolist()
    x = Input((ends[-1],))
    cuts = [Slice(0, a, b)(x) for a, b in itertools.pairwise(ends)]
    parts = [Reshape(shape)(cut) for shape, cut in zip(shapes, cuts, strict=True)]
    model = Model.of(kind.layer(*parts, name="it"), seed=2)
    # No weight stays at 0 or 1, where it could be left out and nobody would see.
    model.assign({name: np.abs(w) + rng.random(w.shape) for name, w in model.weights.items()})
    data = rng.normal(size=(3, ends[-1])).astype(np.float32)
    found = model.predict(data)
    graph = model.graph()
    np.testing.assert_array_equal(found, evaluate(graph, {"x": data})["y"])
    inputs = [
        data[:, a:b].astype(np.float64).reshape(3, *shape)
        for (a, b), shape in zip(itertools.pairwise(ends), shapes, strict=True)
    ]
    weights = {
        name.removeprefix("it."): value.astype(np.float64)
        for name, value in graph.constants.items()
    }
    expected = kind.reference(*inputs, weights)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    # The model computes in float32, the reference in float64.
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_no_layer_is_left_out() -> None:
    described = {
        value
        for value in vars(layers).values()
        if isinstance(value, type) and issubclass(value, Layer) and value is not Layer
    }
    described.discard(layers.Activation)
    assert described == {type(kind.layer) for kind in KINDS}


def test_bidirectional() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    for sequences in (True, False):
        model = Model([Bidirectional(LSTM(5, sequences=sequences))], (4, 2), seed=1)
        forward, backward = (
            {
                name.removeprefix(f"bidirectional1.{way}."): value.astype(np.float64)
                for name, value in model.weights.items()
                if way in name
            }
            for way in ("forward", "backward")
        )
        ahead, back = lstm(x, forward), lstm(x, backward, reverse=True)
        expected = np.concatenate(
            [ahead, back] if sequences else [ahead[:, -1], back[:, 0]], axis=-1
        )
        # The model computes in float32.
        np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=1e-6)


def test_the_last_window_of_a_ceiling_begins_in_the_input() -> None:
    """As ONNX and PyTorch have it: a window that would begin in the padding behind is left out."""
    for n in range(2, 12):
        for kernel in range(1, 5):
            for stride in range(1, 5):
                for pad in range(kernel // 2 + 1):
                    if n + 2 * pad < kernel:
                        continue
                    positions = -(-(n + 2 * pad - kernel) // stride) + 1
                    if (positions - 1) * stride >= n + pad:
                        positions -= 1
                    layer = MaxPool1D(kernel, stride=stride, padding=pad, ceil=True)
                    assert layer(Input((n, 2))).shape == (positions, 2)


def test_batch_norm_learns_its_statistics() -> None:
    rng = np.random.default_rng(0)
    model = Model([BatchNorm(momentum=0.75)], (5, 3))
    mean, variance = np.zeros(3), np.ones(3)
    for _ in range(4):
        x = rng.normal(2, 3, size=(8, 5, 3)).astype(np.float32)
        found = model(x, training=True)
        centre, spread = x.mean((0, 1)), x.var((0, 1))
        # float32 statistics
        np.testing.assert_allclose(found.data, (x - centre) / np.sqrt(spread + 1e-5), atol=1e-5)
        mean, variance = 0.75 * mean + 0.25 * centre, 0.75 * variance + 0.25 * spread
        np.testing.assert_allclose(model.weights["batch_norm1.mean"], mean, rtol=1e-5)
        np.testing.assert_allclose(model.weights["batch_norm1.variance"], variance, rtol=1e-5)
    before = model.weights
    model.predict(x)
    for name, value in model.weights.items():
        np.testing.assert_array_equal(value, before[name])
    assert [variable.name for variable in model.variables] == [
        "batch_norm1.gamma",
        "batch_norm1.beta",
    ]
    found.sum().backward()
    assert model.variables[1].grad is not None
    np.testing.assert_allclose(model.variables[1].grad, 40)


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: Conv2D(4, groups=3)(Input((8, 8, 6))), "conv1"),
        (lambda: Conv2D(4, groups=2)(Input((8, 8, 3))), "conv1"),
        (lambda: Conv2D(4, dilation=4)(Input((8, 8, 3))), "conv1"),
        (lambda: MaxPool2D(2, padding=2)(Input((8, 8, 3))), "max_pool1"),
        (lambda: AveragePool2D(2, padding=2)(Input((8, 8, 3))), "average_pool1"),
        (lambda: ConvTranspose2D(4, groups=3)(Input((8, 8, 6))), "conv_transpose1"),
        (lambda: Add()(Input((3,)), Input((3, 3))), "add1"),
        (lambda: Add()(Input((3,))), "add1"),
        (lambda: Dense(3)(Input((3,)), Input((3,))), "dense1"),
        (lambda: Concat()(Input((3,))), "concat1"),
        (lambda: Slice(2)(Input((3, 3))), "slice1"),
        (lambda: Slice(0, 2, 2)(Input((3, 3))), "slice1"),
        (lambda: Slice(0, step=0)(Input((3, 3))), "slice1"),
        (lambda: Reshape((4,))(Input((3,))), "reshape1"),
        (lambda: LSTM(3)(Input((3,))), "lstm1"),
        (lambda: LSTM(3)(Input((0, 3))), "lstm1"),
        (lambda: Bidirectional(GRU(3))(Input((3,))), "bidirectional1.forward"),
        (lambda: Upsample(0)(Input((3, 3))), "upsample1"),
    ],
)
def test_what_does_not_fit_is_named(make: Callable[[], object], where: str) -> None:
    with pytest.raises(ShapeError) as caught:
        make()
    assert caught.value.node == where
    assert caught.value.found is not None


def test_settings_that_cannot_be() -> None:
    for wrong in (
        lambda: LSTM(0),
        lambda: Conv2D(2, groups=0),
        lambda: DepthwiseConv2D(multiplier=0),
        lambda: ConvTranspose2D(0),
        lambda: BatchNorm(momentum=1.0),
        lambda: Conv2D(2, stride=0)(Input((8, 8, 1))),
    ):
        with pytest.raises(LutraError):
            wrong()
