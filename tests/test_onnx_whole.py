"""Models of fixed shape that work across their first axis, and batches that are not the first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import NodeProto

from lutra.frontend.errors import ShapeError
from lutra.frontend.graph import Graph
from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.onnx.unsupported import UnsupportedModelError
from lutra.frontend.ops import Array, Dense, Lstm

from .onnx_models import assert_faithful, data, model, node

W: dict[str, Array] = {
    "w": data((5, 4), 1),
    "rows": data((3, 5), 2),
    "cube": data((2, 3, 5), 3),
    "zero": np.array([0]),
    "pair": np.array([2, 0]),
    "flat": np.array([-1]),
    "k": data((4, 3, 1, 1), 4),
}


def whole(nodes: list[NodeProto], shape: list[int], **kw: Any) -> tuple[int, ...]:
    """The shape of the input of a graph that takes a model whole."""
    read = {name for n in nodes for name in n.input}
    weights = {name: value for name, value in W.items() if name in read}
    graph = assert_faithful(model(nodes, shape, weights, **kw), 1)
    assert all("taken whole" in note for note in graph.notes)
    return graph.inputs[0].shape


@pytest.mark.parametrize(
    "last",
    [
        node("Softmax", ["x"], "y", axis=0),
        node("Transpose", ["x"], "y"),
        node("Concat", ["x", "x"], "y", axis=0),
        node("Gather", ["x", "pair"], "y", axis=0),
        node("ReduceMean", ["x"], "y", axes=[0]),
        node("ReduceSum", ["x", "zero"], "y", keepdims=0),
        node("Add", ["x", "rows"], "y"),
        node("Mul", ["cube", "x"], "y"),
        node("Reshape", ["x", "flat"], "y"),
        node("MatMul", ["x", "x2"], "y"),
        node("Flatten", ["x"], "y", axis=0),
        node("Unsqueeze", ["x", "zero"], "y"),
        node("Slice", ["x", "zero", "pair", "zero"], "y"),
    ],
    ids=lambda last: str(last.op_type),
)
def test_ops_across_the_first_axis(last: NodeProto) -> None:
    """Before and behind them stand ops that work on each value, or on rows."""
    if last.op_type == "Slice":
        last = node("Slice", ["x", "zero", "one", "zero"], "y")
    nodes = [node("Relu", ["x"], "r"), node("Transpose", ["x"], "x2", perm=[1, 0]), last]
    weights = {name: W[name] for name in last.input if name in W} | {"one": np.array([2])}
    moves = last.op_type in {"Transpose", "Unsqueeze"}  # then the axis may well be the batch
    graph = assert_faithful(model(nodes, [3, 5], weights), 3 if moves else 1)
    assert graph.inputs[0].outer_shape == ((5,) if moves else (3, 5))


def is_whole(graph: Graph) -> bool:
    return any("taken whole" in note for note in graph.notes)


VECTOR, MATRIX, CUBE = data((4,), 1), data((4, 4), 2), data((3, 4, 4), 3)


@pytest.mark.parametrize("known", [VECTOR, MATRIX, CUBE], ids=["vector", "matrix", "cube"])
@pytest.mark.parametrize("left", [True, False], ids=["left", "right"])
@pytest.mark.parametrize(
    "shape",
    [[4], [4, 4], [3, 4, 4], ["N", 4, 4], ["N", 3, 4, 4], ["N", 2, 1, 4, 4]],
    ids=lambda shape: "x".join(map(str, shape)),
)
def test_products_with_constants_of_any_rank(shape: list[Any], left: bool, known: Array) -> None:
    nodes = [node("MatMul", ["c", "x"] if left else ["x", "c"], "y")]
    original = model(nodes, shape, {"c": known})
    if len(shape) == 3 and shape[0] == "N" and known.ndim == 3:
        with pytest.raises(UnsupportedModelError, match="differs between samples"):
            from_onnx(original)
        return
    graph = from_onnx(original)
    fixed = 1 if is_whole(graph) else shape[0]
    assert_faithful(original, *([1, 3] if shape[0] == "N" else [fixed]))


@pytest.mark.parametrize("ranks", [(1, 1), (1, 2), (2, 1), (1, 3), (3, 2), (2, 3), (4, 3)])
def test_products_of_data_of_any_ranks(ranks: tuple[int, int]) -> None:
    """Both come from one input, of which the first axis is the batch or one like the others."""
    nodes, weights = [], {"first": np.array(0)}
    for name, rank in zip("ab", ranks, strict=True):
        last = "x"
        for i in range(3 - rank):
            nodes.append(node("Gather", [last, "first"], f"{name}{i}", axis=i % 2))
            last = f"{name}{i}"
        weights[f"{name}_shape"] = np.array([1, 4, 4, 4][-rank:])
        nodes.append(node("Reshape", [last, f"{name}_shape"], name))
    nodes.append(node("MatMul", ["a", "b"], "y"))
    original = model(nodes, [4, 4, 4], weights)
    assert_faithful(original, 1 if is_whole(from_onnx(original)) else 4)


def test_layers_that_want_a_batch_find_one_in_an_axis_of_size_one() -> None:
    """The batch may go and come back: here through Squeeze, behind a convolution."""
    nodes = [
        node("Conv", ["x", "k"], "c"),
        node("Squeeze", ["c", "zero"], "s"),
        node("Unsqueeze", ["s", "zero"], "u"),
        node("MaxPool", ["u"], "y", kernel_shape=[2, 2]),
    ]
    weights = {"k": W["k"], "zero": W["zero"]}
    graph = assert_faithful(model(nodes, [1, 3, 6, 7], weights), 1)
    assert graph.inputs[0].outer_shape == (3, 6, 7)
    assert not graph.notes


def test_products_of_values_without_a_batch() -> None:
    nodes = [
        node("MatMul", ["x", "w"], "m"),
        node("Transpose", ["m"], "t", perm=[1, 0]),
        node("MatMul", ["m", "t"], "y"),
    ]
    assert whole(nodes, [3, 5]) == (3, 5)


def test_an_output_without_the_batch_makes_the_model_whole() -> None:
    nodes = [node("Conv", ["x", "k"], "c"), node("Squeeze", ["c", "zero"], "y")]
    graph = assert_faithful(model(nodes, [1, 3, 6, 7], {"k": W["k"], "zero": W["zero"]}), 1)
    assert sorted(graph.inputs[0].shape) == [1, 3, 6, 7]
    assert graph.notes == tuple(
        f"the {what} is taken whole, as one sample" for what in ("input 'x'", "output 'y'")
    )


@pytest.mark.parametrize("shape", [[6], [2, 1, 3, 1, 2, 2]])
def test_any_number_of_axes(shape: list[int]) -> None:
    assert len(whole([node("Sigmoid", ["x"], "s"), node("Add", ["s", "x"], "y")], [6])) == 1
    graph = assert_faithful(model([node("Relu", ["x"], "y")], shape), shape[0] if shape[1:] else 1)
    assert len(graph.inputs[0].shape) == max(1, len(shape) - 1)


@pytest.mark.parametrize("batch", ["N", 1, 2])
def test_time_before_the_batch(batch: str | int) -> None:
    """PyTorch's LSTM wants (time, batch, features); the batch stays where it is in the file."""
    weights = {
        "W": data((1, 8, 3)),
        "R": data((1, 8, 2)),
        "w2": data((2, 4)),
        "axis": np.array([1]),
    }
    nodes = [
        node("LSTM", ["x", "W", "R"], ["a", "h"], hidden_size=2),
        node("Squeeze", ["a", "axis"], "s"),
        node("MatMul", ["s", "w2"], "y"),
    ]
    original = model(nodes, [5, batch, 3], weights)
    graph = assert_faithful(original, *([1, 3] if batch == "N" else [batch]))
    assert graph.inputs[0].shape == (5, 3)
    assert {type(n.op) for n in graph.nodes} == {Lstm, Dense}
    assert graph.notes == (
        "the input 'x' has its batch on axis 1",
        "the output 'y' has its batch on axis 1",
    )


def test_what_no_reading_takes_is_told_as_the_first_finds_it() -> None:
    nodes = [node("Softmax", ["x"], "s", axis=0), node("ScatterND", ["s", "w"], "y")]
    with pytest.raises(UnsupportedModelError) as caught:
        from_onnx(model(nodes, [3, 5], {"w": W["w"]}))
    assert [r.reason for r in caught.value.refusals] == ["is over the batch", "not supported"]
    with pytest.raises(ShapeError, match="has 1 axes"):
        from_onnx(model([node("Relu", ["x"], "y")], ["N"]))
