"""Layers and models: shapes, names, start weights, and the graph for export."""

from __future__ import annotations

import numpy as np
import pytest

from lutra.frontend import ops
from lutra.frontend.errors import LutraError, ModelError, ShapeError
from lutra.frontend.graph import evaluate
from lutra.frontend.layers import (
    AveragePool1D,
    AveragePool2D,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    MaxPool1D,
    MaxPool2D,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from lutra.frontend.model import Model
from lutra.frontend.ops import Shape
from lutra.frontend.tensor import Tensor

NETWORKS: list[tuple[list[Layer], Shape, Shape]] = [
    ([Dense(5), ReLU(), Dropout(0.5), Dense(3, bias=False), Softmax()], (4,), (3,)),
    (
        [
            Conv2D(4, kernel=3, padding="same"),
            ReLU(),
            MaxPool2D(2),
            Conv2D(3, kernel=(2, 1), stride=(1, 2), padding=1, bias=False),
            Tanh(),
            AveragePool2D(2, stride=1),
            Dropout(0.1),
            Flatten(),
            Dense(7),
            Sigmoid(),
        ],
        (8, 7, 2),
        (7,),
    ),
    (
        [
            Conv1D(4, kernel=3, stride=2, padding=((2, 0),)),
            ReLU(),
            MaxPool1D(2),
            AveragePool1D(2, stride=1),
            GlobalAveragePool(),
            Flatten(),
        ],
        (20, 3),
        (4,),
    ),
    (
        [Dropout(0.3), Conv2D(2, padding="same", stride=2), GlobalAveragePool()],
        (5, 6, 1),
        (1, 1, 2),
    ),
]


@pytest.mark.parametrize(("layers", "shape", "output"), NETWORKS)
def test_inference_is_the_graph(layers: list[Layer], shape: Shape, output: Shape) -> None:
    """With gradients or without, the model computes exactly what its graph does."""
    model = Model(layers, shape, seed=3)
    x = np.random.default_rng(0).normal(size=(6, *shape)).astype(np.float32)
    graph = model.graph("net")
    expected = evaluate(graph, {"x": x})["y"]
    assert expected.shape == (6, *output)
    assert model.output_shape == output
    np.testing.assert_array_equal(model(x).data, expected)
    np.testing.assert_array_equal(model.predict(x), expected)
    assert not any(isinstance(node.op, ops.Dropout) for node in graph.nodes)


def test_names() -> None:
    graph = Model(NETWORKS[1][0], NETWORKS[1][1]).graph("net")
    assert graph.name == "net"
    assert [node.name for node in graph.nodes] == [
        "conv1",
        "relu1",
        "max_pool1",
        "conv2",
        "tanh1",
        "average_pool1",
        "flatten1",
        "dense1",
        "sigmoid1",
    ]
    assert list(graph.constants) == [
        "conv1.weight",
        "conv1.bias",
        "conv2.weight",
        "dense1.weight",
        "dense1.bias",
    ]
    assert graph.inputs[0].name == "x"
    assert graph.outputs[0].name == "y"
    assert [node.output for node in graph.nodes][-2:] == ["dense1", "y"]


def test_the_graph_does_not_follow_later_training() -> None:
    model = Model([Dense(2)], (3,))
    graph = model.graph()
    before = graph.constants["dense1.weight"].copy()
    model.variables[0].assign(np.zeros((3, 2)))
    np.testing.assert_array_equal(graph.constants["dense1.weight"], before)
    with pytest.raises(ValueError, match="read-only"):
        graph.constants["dense1.weight"][0] = 1


def test_then_shares_the_weights() -> None:
    model = Model([Dense(4), ReLU(), Dense(3)], (5,), seed=1)
    longer = model.then(Softmax(), Dense(2))
    assert longer.variables[:4] == model.variables
    assert [stage.name for stage in longer.stages][-2:] == ["softmax1", "dense3"]
    assert len(model.stages) == 3
    model.variables[0].assign(np.zeros((5, 4)))
    assert not longer.variables[0].data.any()


def test_same_padding_covers_the_input() -> None:
    for n in range(1, 12):
        for kernel in range(1, 5):
            for stride in range(1, 4):
                layer = Conv1D(1, kernel=kernel, stride=stride, padding="same")
                assert Model([layer], (n, 1)).output_shape == (-(-n // stride), 1)


def test_start_weights() -> None:
    layers: list[Layer] = [Conv2D(64, kernel=5), ReLU(), Flatten(), Dense(200), Tanh()]
    model, again = Model(layers, (10, 10, 8), seed=7), Model(layers, (10, 10, 8), seed=7)
    other = Model(layers, (10, 10, 8), seed=8)
    for a, b in zip(model.variables, again.variables, strict=True):
        np.testing.assert_array_equal(a.data, b.data)
        assert a.dtype == np.float32
    assert (model.variables[0].data != other.variables[0].data).any()
    conv, conv_bias, dense, _ = model.variables
    assert not conv_bias.data.any()
    np.testing.assert_allclose(conv.data.var(), 2 / (5 * 5 * 8), rtol=0.05)
    np.testing.assert_allclose(dense.data.var(), 2 / (6 * 6 * 64 + 200), rtol=0.05)


def test_dropout() -> None:
    model = Model([Dropout(0.25)], (1000,))
    x = np.ones((50, 1000), np.float32)
    np.testing.assert_array_equal(model(x).data, x)
    y = model(x, training=True, generator=np.random.default_rng(0)).data
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.01
    again = model(x, training=True, generator=np.random.default_rng(0)).data
    np.testing.assert_array_equal(y, again)
    assert (model(x, training=True).data != model(x, training=True).data).any()


def test_assign() -> None:
    a, b = Model([Dense(3)], (2,), seed=0), Model([Dense(3)], (2,), seed=1)
    b.assign(a.weights)
    np.testing.assert_array_equal(a.variables[0].data, b.variables[0].data)
    with pytest.raises(ModelError, match=r"dense1\.bias"):
        a.assign({"dense1.weight": np.zeros((2, 3))})


def test_a_layer_that_does_not_fit_is_named() -> None:
    wrong: list[tuple[list[Layer], Shape, str]] = [
        ([Flatten(), Conv2D(3)], (8, 8, 1), "conv1"),
        ([Dense(3), ReLU(), MaxPool2D(2)], (8,), "max_pool1"),
        ([Conv2D(2, kernel=9)], (8, 8, 1), "conv1"),
        ([Conv2D(2, kernel=(3, 3, 3))], (8, 8, 1), "conv1"),
        ([GlobalAveragePool()], (3,), "global_average_pool1"),
    ]
    for layers, shape, where in wrong:
        with pytest.raises(ShapeError, match=where):
            Model(layers, shape)


def test_wrong_settings() -> None:
    for wrong in (
        lambda: Dense(0),
        lambda: Conv2D(0),
        lambda: Dropout(1.0),
        lambda: Model([Dropout(0.5)], (3,)).graph(),
        lambda: Model([Dense(2)], (3,))(np.zeros((4, 2))),
        lambda: Model([Dense(2)], (3,))(Tensor(1.0)),
    ):
        with pytest.raises(LutraError):
            wrong()


def test_an_export_of_broken_weights_is_refused() -> None:
    model = Model([Dense(2)], (3,))
    model.variables[0].assign(np.full((3, 2), np.nan))
    with pytest.raises(ModelError, match=r"dense1\.weight"):
        model.graph()
