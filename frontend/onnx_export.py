"""From the float graph to an ONNX model, and to a file that is whole or not there.

Layouts.  The graph is channels last; ONNX's convolutions and pools are channels first.  Every
value of the graph stands in the model under its own name, in one layout: channels first behind
convolutions and pools, and behind the elementwise ops that follow them; the user's
(``Port.axes``) at inputs and outputs; channels last elsewhere.  A Transpose stands only where a
reader needs another layout than the value has; its result has a made-up name.  Every constant is
an initialiser under its own name, convolution kernels as ``(out, in, kernel...)``, all others
unchanged (see ``onnx_layout``).  So a tool that annotates the model by name, with one scale a value
or one scale an output channel, finds everything that the graph names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from .errors import LutraError, ModelError
from .graph import Graph, Node, Port
from .names import Names
from .onnx_layout import (
    Layout,
    channels_first,
    channels_last,
    keeps_order,
    place,
    weight_to_onnx,
)
from .ops import (
    AveragePool,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    MaxPool,
    Op,
    Relu,
    Shape,
    Sigmoid,
    Softmax,
    Tanh,
    Transpose,
    Window,
)
from .storage import write_file

OPSET = 13
"""The first opset with today's Softmax; nothing that is written here changed its meaning since."""

IR_VERSION = 7
"""The IR version that came with this opset, so that older tools read the file."""

MAX_BYTES = 2**31 - 2**20
"""Largest file: protobuf stops at 2 GB; a little is left for what is not weights."""

Build = Callable[[str, str], Sequence[NodeProto]]
"""Given the names of a source and of a result value, the nodes that lead from one to the other."""


def to_onnx(graph: Graph) -> ModelProto:
    """The graph as an ONNX model with a symbolic batch axis, accepted by ``onnx.checker``.

    Raises:
        ModelError: the weights exceed the 2 GB that an ONNX file can hold, or the graph computes
            on constants alone, or reads a weight that is not a constant.
    """
    size = sum(value.nbytes for value in graph.constants.values())
    if size > MAX_BYTES:
        raise ModelError(
            "the network is too large for an ONNX file",
            found=f"{size} bytes of weights",
            expected=f"at most {MAX_BYTES}",
        )
    model = helper.make_model(
        helper.make_graph(
            _Exporter(graph).run(),
            graph.name or "network",
            [_port(port) for port in graph.inputs],
            [_port(port) for port in graph.outputs],
            [
                numpy_helper.from_array(np.ascontiguousarray(weight_to_onnx(value)), name)
                for name, value in graph.constants.items()
            ],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lutra",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def save(graph: Graph, path: str | Path) -> None:
    """Write the graph to an ONNX file; an interrupted or failed write leaves what was there.

    Raises:
        OutputError: the folder is missing, cannot be written to or is full, or ``path`` is a
            folder.
        ModelError: as :func:`to_onnx`.
    """
    save_model(to_onnx(graph), path)


def save_model(model: ModelProto, path: str | Path) -> None:
    """Write an ONNX model as :func:`save` does.  The same model gives the same bytes."""
    write_file(path, model.SerializeToString(deterministic=True))


def insert_after(model: ModelProto, builds: Mapping[str, Build]) -> ModelProto:
    """A copy of ``model`` in which all that read a value read the result of further nodes on it.

    Args:
        model: as :func:`to_onnx` gives it.
        builds: for the name of a value (an initialiser, an input or a node's output) the nodes to
            insert behind it.  The result of the nodes behind an output of the model takes the
            output's name; otherwise the value keeps its name and the result gets a new one.

    Raises:
        ModelError: the model has no value of such a name.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    given = [*(tensor.name for tensor in graph.initializer), *(port.name for port in graph.input)]
    defined = {name for node in graph.node for name in node.output}
    names = Names({*given, *defined})
    for name in builds:
        if name not in names.taken:
            raise ModelError("the model has no such value", found=name)
    outputs = {port.name for port in graph.output} & defined
    other = {name: names.new(f"{name}_behind") for name in builds}
    readers_read = {name: new for name, new in other.items() if name not in outputs}
    nodes = [
        n
        for name in dict.fromkeys(given)
        if name in builds
        for n in builds[name](name, other[name])
    ]
    for node in graph.node:
        node.input[:] = [readers_read.get(name, name) for name in node.input]
        behind: list[NodeProto] = []
        for i, name in enumerate(node.output):
            if name in outputs and name in builds:
                node.output[i] = other[name]
                behind.extend(builds[name](other[name], name))
            elif name in builds:
                behind.extend(builds[name](name, other[name]))
        nodes += [node, *behind]
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    return copy


def _port(port: Port) -> ValueInfoProto:
    return helper.make_tensor_value_info(port.name, TensorProto.FLOAT, ["batch", *port.outer_shape])


class _Exporter:
    """Writes the nodes of one graph, and knows the layout of each value written so far."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.wanted = {port.name: port.axes for port in graph.outputs}
        self.layouts: dict[str, Layout] = {port.name: port.axes for port in graph.inputs}
        self.copies: dict[tuple[str, Layout], str] = {}
        self.values = Names(set(graph.shapes))
        self.names = Names({node.name for node in graph.nodes})
        self.nodes: list[NodeProto] = []

    def run(self) -> list[NodeProto]:
        for port in self.graph.inputs:
            if self.wanted.get(port.name, port.axes) != port.axes:
                raise ModelError("an output is an input in another layout", found=port.name)
        for node in self.graph.nodes:
            try:
                self.write(node)
            except LutraError as error:
                error.node = error.node or node.name
                raise
        return self.nodes

    def emit(
        self, op_type: str, inputs: Sequence[str], output: str, name: str, **attributes: Any
    ) -> None:
        self.nodes.append(helper.make_node(op_type, inputs, [output], name=name, **attributes))

    def transpose(self, source: str, have: Layout, result: str, want: Layout) -> None:
        """Write the Transpose of ``source`` in one layout to ``result`` in another."""
        perm = place(have, want)
        name = self.names.new(f"{result}_transpose")
        self.emit("Transpose", [source], result, name, perm=[0, *(axis + 1 for axis in perm)])

    def layout(self, value: str) -> Layout:
        if value not in self.layouts:
            raise ModelError("computes on a constant alone", found=value)
        return self.layouts[value]

    def read(self, value: str, want: Layout) -> str:
        """The name of ``value`` in the layout ``want``."""
        have = self.layout(value)
        if have == want:
            return value
        if (value, want) not in self.copies:
            self.copies[value, want] = self.values.new(f"{value}_transposed")
            self.transpose(value, have, self.copies[value, want], want)
        return self.copies[value, want]

    def define(self, node: Node[Op], layout: Layout) -> str:
        """The name to write the result under, which will stand in ``layout``."""
        self.layouts[node.output] = layout
        if self.wanted.get(node.output, layout) == layout:
            return node.output
        return self.values.new(f"{node.output}_transposed")

    def finish(self, node: Node[Op], result: str) -> None:
        """Give an output of the network, written as ``result``, the user's layout and name."""
        if result != node.output:
            want = self.wanted[node.output]
            self.transpose(result, self.layouts[node.output], node.output, want)
            self.layouts[node.output] = want

    def write(self, node: Node[Op]) -> None:
        """Write one node of the graph."""
        x = node.inputs[0]
        rank = len(self.graph.shapes[x])
        for name in node.inputs[1:]:
            if name not in self.graph.constants:
                raise ModelError("a weight must be a constant", found=name)
        match node.op:
            case Conv(window):
                self.spatial(node, "Conv", _window(window))
            case MaxPool(window):
                self.spatial(node, "MaxPool", _window(window))
            case AveragePool(window):
                self.spatial(node, "AveragePool", _window(window))
            case GlobalAveragePool():
                self.spatial(node, "GlobalAveragePool", {})
            case Relu() | Sigmoid() | Tanh():
                layout = self.layout(x)
                self.simple(node, type(node.op).__name__, layout, layout)
            case Softmax():
                layout = self.layout(x)
                self.simple(node, "Softmax", layout, layout, axis=layout[-1] + 1)
            case Flatten():
                layout = self.layout(x)
                placed = place(self.graph.shapes[x], layout)
                if not keeps_order(placed, layout):
                    layout = channels_last(rank)
                self.simple(node, "Flatten", layout, channels_last(1), axis=1)
            case Transpose(axes):
                layout = self.layout(x)
                perm = [0, *(layout[axis] + 1 for axis in axes)]
                self.simple(node, "Transpose", layout, channels_last(rank), perm=perm)
            case Dense():
                self.dense(node, rank)
            case _:
                assert_never(node.op)

    def simple(
        self, node: Node[Op], op_type: str, have: Layout, gives: Layout, **attributes: Any
    ) -> None:
        """Write a node that reads its first input in one layout and gives another."""
        inputs = [self.read(node.inputs[0], have), *node.inputs[1:]]
        result = self.define(node, gives)
        self.emit(op_type, inputs, result, node.name, **attributes)
        self.finish(node, result)

    def spatial(self, node: Node[Op], op_type: str, attributes: Mapping[str, Any]) -> None:
        layout = channels_first(len(self.graph.shapes[node.inputs[0]]))
        self.simple(node, op_type, layout, layout, **attributes)

    def dense(self, node: Node[Op], rank: int) -> None:
        """Gemm on vectors; MatMul, and Add for the bias, on anything with more axes."""
        layout = channels_last(rank)
        if rank == 1:
            self.simple(node, "Gemm", layout, layout)
            return
        x, weight, *bias = node.inputs
        if not bias:
            self.simple(node, "MatMul", layout, layout)
            return
        x = self.read(x, layout)
        product = self.values.new(f"{node.output}_product")
        self.emit("MatMul", [x, weight], product, node.name)
        result = self.define(node, layout)
        self.emit("Add", [product, *bias], result, self.names.new(f"{node.name}_bias"))
        self.finish(node, result)


def _window(window: Window) -> dict[str, Shape]:
    before, after = zip(*window.pad, strict=True)
    return {
        "kernel_shape": window.kernel,
        "strides": window.stride,
        "pads": (*before, *after),
    }
