"""QuantizeLinear, DequantizeLinear and the integers between them, held against onnx's evaluator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from lutra.frontend.errors import ModelError
from lutra.frontend.graph import Graph, evaluate
from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.onnx.unsupported import UnsupportedModelError
from lutra.frontend.ops import Array, Clip, MaxPool, Op, Quantize

from .onnx_models import node, run

KINDS = {
    "uint8": np.uint8,
    "int8": np.int8,
    "uint16": np.uint16,
    "int16": np.int16,
    "uint4": ml_dtypes.uint4,
    "int4": ml_dtypes.int4,
}
RNG = np.random.default_rng(0)


def number(value: float) -> Array:
    return np.array(value, np.float32)


STEP = number(0.3)


def made(
    nodes: Sequence[NodeProto],
    shape: Sequence[int | str],
    weights: Mapping[str, Array],
    *,
    entry: int = TensorProto.FLOAT,
    output: int = TensorProto.FLOAT,
    rank: int | None = None,
    opset: int = 21,
) -> ModelProto:
    """A model from 'x' to 'y' with these types."""
    ranks = [f"d{i}" for i in range(len(shape) if rank is None else rank)]
    graph = helper.make_graph(
        list(nodes),
        "codes",
        [helper.make_tensor_value_info("x", entry, list(shape))],
        [helper.make_tensor_value_info("y", output, ranks)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def quantize(x: str, y: str, *numbers: str, **attributes: Any) -> NodeProto:
    return node("QuantizeLinear", [x, *numbers], y, **attributes)


def dequantize(x: str, y: str, *numbers: str, **attributes: Any) -> NodeProto:
    return node("DequantizeLinear", [x, *numbers], y, **attributes)


def agree(model: ModelProto, x: Array, tolerance: float = 0) -> Graph:
    """The graph of a model that gives exactly what onnx's evaluator gives.

    That one cannot pool integers; onnxruntime can.
    """
    graph = from_onnx(model)
    (port,), (output,) = graph.inputs, graph.outputs
    pools = any(node.op_type == "MaxPool" for node in model.graph.node)
    (want,) = run(model, x=x) if pools else ReferenceEvaluator(model).run(None, {"x": x})
    found = evaluate(graph, {port.name: x.astype(np.float32)})[output.name]
    np.testing.assert_allclose(found, np.asarray(want).astype(np.float32), tolerance, 0)
    return graph


def ops(graph: Graph) -> list[type[Op]]:
    return [type(node.op) for node in graph.nodes]


def data(*shape: int) -> Array:
    return (RNG.normal(size=shape) * 4).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [STEP, number(0.25)], ids=str)
def test_data_come_back_on_their_grid(kind: str, scale: Array) -> None:
    zero = np.array(3, KINDS[kind])
    weights = {"s": scale, "z": zero}
    nodes = [quantize("x", "q", "s", "z"), dequantize("q", "y", "s", "z")]
    assert ops(agree(made(nodes, ("n", 6, 7), weights), data(4, 6, 7))) == [Quantize]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [STEP, number(0.25), number(1)], ids=str)
def test_integers_may_leave_the_network(kind: str, scale: Array) -> None:
    output = helper.np_dtype_to_tensor_dtype(np.dtype(KINDS[kind]))
    weights = {"s": scale, "z": np.array(3, KINDS[kind])}
    graph = agree(
        made([quantize("x", "y", "s", "z")], ("n", 60), weights, output=output), data(4, 60)
    )
    assert graph.notes == ("the output 'y' holds integers, as in the file",)


@pytest.mark.parametrize("kind", KINDS)
def test_integers_may_enter_the_network(kind: str) -> None:
    entry = helper.np_dtype_to_tensor_dtype(np.dtype(KINDS[kind]))
    weights = {"s": STEP, "z": np.array(3, KINDS[kind])}
    model = made([dequantize("x", "y", "s", "z")], ("n", 6), weights, entry=entry)
    x = np.array([[0, 1, 2, 3, 6, 7]]).astype(KINDS[kind])
    assert agree(model, x).notes == ("the input 'x' holds integers, as in the file",)


def test_pictures_may_be_cast_to_floats() -> None:
    nodes = [node("Cast", ["x"], "f", to=1), node("Mul", ["f", "s"], "y")]
    model = made(nodes, ("n", 4), {"s": STEP}, entry=TensorProto.UINT8)
    agree(model, np.array([[0, 1, 254, 255]], np.uint8))


def test_without_a_zero_point_integers_are_of_eight_bits_without_sign() -> None:
    nodes = [quantize("x", "q", "s"), dequantize("q", "y", "s")]
    graph = agree(made(nodes, ("n", 60), {"s": STEP}), data(1, 60))
    assert graph.nodes[0].op == Quantize(0, 255)


def test_the_type_may_be_an_attribute() -> None:
    nodes = [quantize("x", "q", "s", output_dtype=TensorProto.INT16), dequantize("q", "y", "s")]
    assert agree(made(nodes, ("n", 60), {"s": STEP}), data(1, 60)).nodes[0].op == Quantize(
        -(2**15), 2**15 - 1
    )


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_scales_may_belong_to_an_axis(axis: int) -> None:
    shape = (4, 3, 5)
    size = shape[axis]
    weights: dict[str, Array] = {
        "s": np.linspace(0.1, 0.7, size, dtype=np.float32),
        "z": np.arange(size).astype(np.int8),
    }
    nodes = [quantize("x", "q", "s", "z", axis=axis), dequantize("q", "y", "s", "z", axis=axis)]
    agree(made(nodes, ("n", 3, 5), weights), data(*shape))
    nodes = [quantize("x", "y", "s", "z", axis=axis)]
    agree(made(nodes, ("n", 3, 5), weights, output=TensorProto.INT8), data(*shape))


def test_integers_may_be_read_with_another_scale() -> None:
    weights: dict[str, Array] = {
        "s": STEP, "z": np.array(3, np.int8), "t": number(0.7), "o": np.array(-5, np.int8)
    }  # fmt: skip
    nodes = [quantize("x", "q", "s", "z"), dequantize("q", "y", "t", "o")]
    # Two additions and a product may be taken together, which rounds otherwise.
    agree(made(nodes, ("n", 60), weights), data(4, 60), 1e-6)


QUANTISED = {"s": STEP, "z": np.array(-3, np.int8)}
MOVES: dict[str, tuple[list[NodeProto], dict[str, Array]]] = {
    "relu": ([node("Relu", ["q"], "m")], {}),
    "pool": ([node("MaxPool", ["q"], "m", kernel_shape=[2, 2], pads=[1, 0, 0, 1])], {}),
    "reshape": ([node("Reshape", ["q", "to"], "m")], {"to": np.array([0, -1, 2])}),
    "transpose": ([node("Transpose", ["q"], "m", perm=[0, 2, 3, 1])], {}),
    "flatten": ([node("Flatten", ["q"], "m")], {}),
    "squeeze": (
        [node("Unsqueeze", ["q", "at"], "u"), node("Squeeze", ["u", "at"], "m")],
        {"at": np.array([1])},
    ),
    "slice": (
        [node("Slice", ["q", "from", "to", "at"], "m")],
        {"from": np.array([1]), "to": np.array([3]), "at": np.array([2])},
    ),
    "split": (
        [
            node("Split", ["q"], ["a", "b"], num_outputs=2, axis=2),
            node("Concat", ["b", "a"], "m", axis=2),
        ],
        {},
    ),
    "pad": (
        [node("Pad", ["q", "pads", "of"], "m")],
        {"pads": np.array([0, 0, 1, 0, 0, 0, 0, 2]), "of": np.array(5, np.int8)},
    ),
    "pad with nothing said": (
        [node("Pad", ["q", "pads"], "m")],
        {"pads": np.array([0, 0, 1, 0, 0, 0, 0, 2])},
    ),
    "clip": (
        [node("Clip", ["q", "low", "high"], "m")],
        {"low": np.array(-7, np.int8), "high": np.array(6, np.int8)},
    ),
    "clip behind": (
        [node("Flatten", ["q"], "f"), node("Clip", ["f", "low"], "m")],
        {"low": np.array(-7, np.int8)},
    ),
    "identity": ([node("Identity", ["q"], "m")], {}),
    "cast": (
        [
            node("Cast", ["q"], "w", to=TensorProto.INT32),
            node("Cast", ["w"], "m", to=TensorProto.INT8),
        ],
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_what_moves_or_bounds_integers_does_so_to_the_data(name: str) -> None:
    between, weights = MOVES[name]
    nodes = [quantize("x", "q", "s", "z"), *between, dequantize("m", "y", "s", "z")]
    rank = {"flatten": 2, "clip behind": 2, "reshape": 3}.get(name, 4)
    model = made(nodes, ("n", 2, 4, 4), QUANTISED | weights, rank=rank)
    graph = agree(model, data(3, 2, 4, 4))
    assert ops(graph).count(Quantize) == 1
    nodes[-1] = node("Identity", ["m"], "y")
    agree(
        made(nodes, ("n", 2, 4, 4), QUANTISED | weights, output=TensorProto.INT8, rank=rank),
        data(3, 2, 4, 4),
    )


def test_a_clip_of_fresh_integers_is_their_range() -> None:
    """So do integers of four bits come in a type of eight."""
    between, weights = MOVES["clip"]
    nodes = [quantize("x", "q", "s", "z"), *between, dequantize("m", "y", "s", "z")]
    graph = agree(made(nodes, ("n", 8), QUANTISED | weights), data(3, 8))
    assert [node.op for node in graph.nodes] == [Quantize(-7, 6)]


def test_a_clip_of_moved_integers_is_one_of_data() -> None:
    between, weights = MOVES["clip behind"]
    nodes = [quantize("x", "q", "s", "z"), *between, dequantize("m", "y", "s", "z")]
    graph = agree(made(nodes, ("n", 8), QUANTISED | weights), data(3, 8))
    assert ops(graph) == [Quantize, Clip]


def test_a_pool_of_integers_stands_between_no_quantisations() -> None:
    between, weights = MOVES["pool"]
    nodes = [quantize("x", "q", "s", "z"), *between, dequantize("m", "y", "s", "z")]
    graph = agree(made(nodes, ("n", 2, 4, 4), QUANTISED | weights), data(3, 2, 4, 4))
    assert ops(graph) == [Quantize, MaxPool]


def test_weights_have_grids() -> None:
    """Integers for each channel of a convolution, and a bias of 32 bits."""
    scale = np.array([0.3, 0.5, 0.7], np.float32)
    weights: dict[str, Array] = {
        "w": RNG.integers(-128, 128, (3, 2, 3, 3)).astype(np.int8),
        "ws": scale,
        "wz": np.zeros(3, np.int8),
        "b": RNG.integers(-(2**20), 2**20, 3).astype(np.int32),
        "bs": scale * STEP,
    }
    nodes = [
        dequantize("w", "wf", "ws", "wz", axis=0),
        dequantize("b", "bf", "bs", axis=0),
        node("Conv", ["x", "wf", "bf"], "y"),
    ]
    graph = from_onnx(made(nodes, ("n", 2, 5, 5), weights))
    weight, bias = (graph.grids[name] for name in graph.nodes[0].inputs[1:])
    assert (weight.low, weight.high) == (-128, 127)
    assert np.array_equal(weight.scale, scale)
    assert np.array_equal(bias.scale, weights["bs"])
    found = bias.integers(graph.constants[graph.nodes[0].inputs[2]])
    assert np.array_equal(found, weights["b"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_may_be_quantised_on_the_spot(kind: str) -> None:
    weights: dict[str, Array] = {
        "w": data(6, 3),
        "s": np.array([0.3, 0.25, 1], np.float32),
        "z": np.array([1, 2, 3]).astype(KINDS[kind]),
        "low": np.array(1).astype(KINDS[kind]),
        "high": np.array(5).astype(KINDS[kind]),
    }
    nodes = [
        quantize("w", "q", "s", "z", axis=1),
        dequantize("q", "d", "s", "z", axis=1),
        node("MatMul", ["x", "d"], "y"),
    ]
    graph = from_onnx(made(nodes, ("n", 6), weights))
    (want,) = ReferenceEvaluator(made(nodes, ("n", 6), weights)).run(
        None, {"x": np.eye(6, dtype="f")}
    )
    assert np.array_equal(graph.constants[graph.nodes[0].inputs[1]], want)
    nodes[1:2] = [
        node("Clip", ["q", "low", "high"], "c"), dequantize("c", "d", "s", "z", axis=1)
    ]  # fmt: skip
    (grid,) = from_onnx(made(nodes, ("n", 6), weights)).grids.values()
    assert (grid.low, grid.high) == (1 - 3, 5 - 1)


REFUSED: dict[str, tuple[list[NodeProto], dict[str, Array], str]] = {
    "blocks": ([quantize("x", "q", "s", block_size=2)], {"s": STEP}, "'block_size' is 2"),
    "scales in blocks": (
        [quantize("x", "q", "s")],
        {"s": np.ones((2, 2), np.float32)},
        "scales in blocks",
    ),
    "a scale of the network": ([quantize("x", "q", "x")], {}, "input 2 is not a constant"),
    "a negative scale": ([quantize("x", "q", "s")], {"s": -STEP}, "not positive"),
    "a function of integers": ([node("Sigmoid", ["c"], "q")], {}, "works on the integers"),
    "two scales in one": (
        [quantize("x", "d", "t", "z"), node("Concat", ["c", "d"], "q", axis=1)],
        {"t": number(0.4)},
        "different scales",
    ),
    "data": ([dequantize("x", "q", "s", "z")], {}, "not known to be integers"),
    "dynamic": (
        [node("DynamicQuantizeLinear", ["x"], ["q", "r", "t"])], {}, "not supported"
    ),
    "one integer": (
        [node("Clip", ["c", "low", "low"], "q")],
        {"low": np.array(2, np.int8)},
        "one integer at most",
    ),
    "floats of eight bits": (
        [quantize("x", "q", "s", output_dtype=TensorProto.FLOAT8E4M3FN)], {}, "quantises to float8"
    ),
    "fewer bits": ([node("Cast", ["c"], "q", to=TensorProto.UINT8)], {}, "cannot hold them all"),
    "labels": ([node("Cast", ["c"], "q", to=TensorProto.INT64)], {}, "casts integers to int64"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_said_exactly_is_refused(name: str) -> None:
    nodes, weights, reason = REFUSED[name]
    nodes = [quantize("x", "c", "s", "z"), *nodes, node("Identity", ["q"], "y")]
    with pytest.raises(UnsupportedModelError) as caught:
        from_onnx(made(nodes, ("n", 4), QUANTISED | weights, output=TensorProto.UINT8))
    assert reason in str(caught.value)
    assert any(f"'{n.name}'" in str(caught.value) for n in nodes)


def test_weights_that_overflow_are_damage() -> None:
    weights = {"w": np.full((4, 2), 100, np.int8), "s": number(3e38)}
    nodes = [dequantize("w", "d", "s"), node("MatMul", ["x", "d"], "y")]
    with pytest.raises(ModelError, match="NaN or infinite"):
        from_onnx(made(nodes, ("n", 4), weights))


def test_scales_of_the_wrong_size_are_damage() -> None:
    weights = {"s": np.ones(3, np.float32)}
    with pytest.raises(ModelError, match=r"found \(3,\); expected \(4,\)"):
        from_onnx(made([quantize("x", "q", "s"), dequantize("q", "y", "s")], ("n", 4), weights))
