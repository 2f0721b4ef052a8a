"""Networks and ONNX models that the tests of export and import share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from lutra.frontend.graph import Graph, Node, Port, evaluate
from lutra.frontend.ops import Array, Op, Shape


def run(model: ModelProto, **feeds: Array) -> list[Array]:
    """The model's outputs by onnxruntime, on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs: list[Array] = session.run(None, feeds)
    return outputs


def node(
    op: str, inputs: Sequence[str], output: str | Sequence[str], name: str = "", **kw: Any
) -> NodeProto:
    """A node; unnamed ones are named after their output."""
    outputs = [output] if isinstance(output, str) else list(output)
    return helper.make_node(op, list(inputs), outputs, name=name or f"n_{outputs[0]}", **kw)


def model(
    nodes: Sequence[NodeProto],
    shape: Sequence[int | str | None],
    weights: dict[str, Array] | None = None,
    *,
    output: str = "y",
    opset: int = 17,
    rank: int | None = None,
    **kw: Any,
) -> ModelProto:
    """A model that reads 'x' of ``shape`` (batch included) and gives ``output``."""
    ranks: list[str] | None = None if rank is None else [f"d{i}" for i in range(rank)]
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ranks)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (weights or {}).items()],
    )
    kw.setdefault("ir_version", 8)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], **kw)


def chain(
    shape: Shape,
    ops: Sequence[tuple[Op, tuple[Shape, ...]]],
    axes: Shape | None = None,
    seed: int = 0,
) -> Graph:
    """A network of ops one behind the other, each with random weights of the given shapes."""
    rng = np.random.default_rng(seed)
    value, current = "x", shape
    nodes: list[Node[Op]] = []
    constants: dict[str, Array] = {}
    for i, (op, weights) in enumerate(ops):
        names = tuple(f"w{i}_{j}" for j in range(len(weights)))
        for name, size in zip(names, weights, strict=True):
            constants[name] = rng.normal(size=size).astype(np.float32)
        nodes.append(Node(f"layer{i}", op, (value, *names), f"v{i}"))
        value, current = f"v{i}", op.infer(current, *weights)
    port = Port("x", shape, axes or tuple(range(len(shape))))
    return Graph("chain", (port,), (Port.of(value, current),), tuple(nodes), constants)


def op_types(model: ModelProto) -> list[str]:
    """The op types of the model's nodes, in order."""
    return [n.op_type for n in model.graph.node]


def data(shape: Sequence[int], seed: int = 1) -> Array:
    """Random inputs, float32."""
    return np.random.default_rng(seed).normal(size=tuple(shape)).astype(np.float32)


def assert_same(graph: Graph, original: ModelProto, batch: int = 3) -> Graph:
    """Our graph equals onnxruntime on the original file.

    Both add in float32, in orders of their own, so the last bits may differ.
    """
    (port,) = graph.inputs
    x = data((batch, *port.outer_shape))
    (theirs,) = run(original, **{port.name: x})
    (ours,) = evaluate(graph, {port.name: x}).values()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    return graph
