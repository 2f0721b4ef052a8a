"""Networks and ONNX models that the tests of export and import share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from lutra.frontend.graph import Graph, Node, Port, evaluate
from lutra.frontend.onnx.importer import from_onnx, literal
from lutra.frontend.onnx.options import DEFAULTS, ImportOptions
from lutra.frontend.ops import Array, Op, Shape


def run(model: ModelProto, names: Sequence[str] | None = None, /, **feeds: Array) -> list[Array]:
    """The model's outputs, or those with these names, by onnxruntime, on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs: list[Array] = session.run(names, feeds)
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
    output: str | Sequence[str] = "y",
    opset: int = 17,
    rank: int | None = None,
    **kw: Any,
) -> ModelProto:
    """A model that reads 'x' of ``shape`` (batch included) and gives ``output``, or several."""
    ranks: list[str] | None = None if rank is None else [f"d{i}" for i in range(rank)]
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ranks)
            for name in ([output] if isinstance(output, str) else output)
        ],
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


def assert_faithful(
    original: ModelProto, *batches: int, options: ImportOptions = DEFAULTS
) -> Graph:
    """Our graph equals onnxruntime on the original file, for each size of the batch.

    Whatever ports there are, and wherever the batch is in the file's; rounding as above.
    """
    graph, plain = from_onnx(original, options=options), literal(original, options=options)
    names = [port.name for port in graph.outputs]
    shown = ModelProto.FromString(original.SerializeToString())
    declared = {port.name for port in shown.graph.output}
    shown.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in names
        if name not in declared
    )
    read = {port.name for port in graph.inputs}
    for batch in batches:
        feeds = {
            port.name: data((batch, *port.outer_shape), i) for i, port in enumerate(graph.inputs)
        }
        theirs = {name: plain.values[name].leave(x) for name, x in feeds.items()}
        theirs |= {p.name: data((1,)) for p in shown.graph.input if p.name not in read}
        ours = evaluate(graph, feeds)
        for name, value in zip(names, run(shown, names, **theirs), strict=True):
            found = plain.values[name].leave(ours[name])
            assert found.shape == value.shape
            np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5)
    return graph


def relative(found: Array, expected: Array) -> float:
    """The largest difference, as a share of the largest magnitude."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())
