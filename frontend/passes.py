"""Rewriting the float graph: functions from graph to graph that keep what it computes.

Each pass keeps the ports' names and what :func:`~.graph.evaluate` gives for the user's arrays, and
each is one sweep over the nodes, so that its time grows with the size of the graph alone.  Those
that move a Transpose let a value keep its name in another layout: a value that is no port is named
for what it is, not for how it lies.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .graph import Graph, Node, Port
from .names import Names
from .onnx_layout import Layout, channels_last, compose, keeps_order, place
from .ops import Array, Dense, Flatten, Op, Relu, Shape, Sigmoid, Softmax, Tanh, Transpose

Pass = Callable[[Graph], Graph]


def drop_unused(graph: Graph) -> Graph:
    """Remove nodes and constants that no output depends on."""
    live = {port.name for port in graph.outputs}
    nodes: list[Node[Op]] = []
    for node in reversed(graph.nodes):
        if node.output in live:
            nodes.append(node)
            live.update(node.inputs)
    constants = {name: value for name, value in graph.constants.items() if name in live}
    return replace(graph, nodes=tuple(reversed(nodes)), constants=constants)


def sink_transposes(graph: Graph) -> Graph:
    """Move every Transpose towards the outputs until an op needs it, or it cancels with another.

    A Transpose passes ops that work on each value alone, and ops on the last axis where it leaves
    that axis the last.  A Flatten whose result stays the same without the Transpose reads past it.
    Two Transposes in a row become one, or none.
    """
    return _Sink(graph).run()


def fold_flatten(graph: Graph) -> Graph:
    """Flatten without the Transpose before it, and reorder the rows of the Dense layers behind.

    Done where all that depends on the flat value are Dense layers, with nothing but elementwise
    ops in between.  A weight that other nodes read too stays as it was for them.
    """
    defined = {node.output: node for node in graph.nodes}
    readers = _readers(graph)
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    names = Names(graph.shapes)
    constants = dict(graph.constants)
    changed: dict[str, Node[Op]] = {}
    reordered: dict[tuple[str, bytes], str] = {}
    for node in graph.nodes:
        before = defined.get(node.inputs[0])
        if not isinstance(node.op, Flatten) or before is None:
            continue
        layers = _dense_behind(graph, node, readers)
        if not isinstance(before.op, Transpose) or not layers:
            continue
        source = before.inputs[0]
        changed[node.output] = replace(node, inputs=(source,))
        order = _flat_order(graph.shapes[source], before.op.axes)
        for layer in layers:
            x, weight, *bias = layer.inputs
            key = (weight, order.tobytes())
            if key not in reordered:
                rows = np.empty_like(graph.constants[weight])
                rows[order] = graph.constants[weight]
                rows.flags.writeable = False
                alone = uses[weight] == 1
                reordered[key] = weight if alone else names.new(f"{weight}_reordered")
                constants[reordered[key]] = rows
            changed[layer.output] = replace(layer, inputs=(x, reordered[key], *bias))
    nodes = tuple(changed.get(node.output, node) for node in graph.nodes)
    return replace(graph, nodes=nodes, constants=constants)


def absorb_outputs(graph: Graph) -> Graph:
    """Turn a Transpose that gives an output into that output's layout (``Port.axes``)."""
    defined = {node.output: node for node in graph.nodes}
    readers = _readers(graph)
    ports = {port.name for port in graph.outputs}
    renamed: dict[str, str] = {}
    outputs: list[Port] = []
    for port in graph.outputs:
        node = defined.get(port.name)
        if node is None or not isinstance(node.op, Transpose) or readers[port.name]:
            outputs.append(port)
            continue
        source = node.inputs[0]
        if source not in defined or source in ports or source in renamed:
            outputs.append(port)
            continue
        renamed[source] = port.name
        axes = place(port.axes, node.op.axes)
        outputs.append(Port(port.name, graph.shapes[source], axes))
    gone = set(renamed.values())
    nodes = [node for node in graph.nodes if node.output not in gone]
    return replace(graph, nodes=_rename(nodes, renamed), outputs=tuple(outputs))


def absorb_inputs(graph: Graph) -> Graph:
    """Turn the Transposes that an input passes first into that input's layout (``Port.axes``).

    Done where all that reads the input, through elementwise ops or not, wants the same order of
    axes.
    """
    wants = _wanted_orders(graph)
    inputs: list[Port] = []
    moved: set[str] = set()
    for port in graph.inputs:
        want = wants.get(port.name)
        if want is not None:
            moved.add(port.name)
            shape = tuple(port.shape[axis] for axis in want)
            port = Port(port.name, shape, compose(port.axes, want))
        inputs.append(port)
    alias: dict[str, str] = {}
    nodes: list[Node[Op]] = []
    for node in graph.nodes:
        source = node.inputs[0]
        if source in moved and isinstance(node.op, Transpose):
            alias[node.output] = source
            continue
        if source in moved:
            moved.add(node.output)
        nodes.append(replace(node, inputs=tuple(alias.get(name, name) for name in node.inputs)))
    return replace(graph, inputs=tuple(inputs), nodes=tuple(nodes))


PASSES: tuple[Pass, ...] = (
    drop_unused,
    sink_transposes,
    fold_flatten,
    drop_unused,
    absorb_outputs,
    absorb_inputs,
)
"""What an imported graph goes through, in this order."""


def simplify(graph: Graph) -> Graph:
    """The graph after all of :data:`PASSES`."""
    for step in PASSES:
        graph = step(graph)
    return graph


class _Sink:
    """The sweep of :func:`sink_transposes`.

    ``moved[v] = (u, axes)`` says that what the old graph calls v is Transpose(axes) of what the
    new one calls u.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.outputs = {port.name for port in graph.outputs}
        self.names = Names(graph.shapes)
        self.node_names = Names(node.name for node in graph.nodes)
        self.shapes: dict[str, Shape] = {port.name: port.shape for port in graph.inputs}
        self.moved: dict[str, tuple[str, Layout]] = {}
        self.copies: dict[tuple[str, Layout], str] = {}
        self.origin: dict[tuple[str, Layout], Node[Op]] = {}
        self.renamed: dict[str, str] = {}
        self.nodes: list[Node[Op]] = []

    def run(self) -> Graph:
        for node in self.graph.nodes:
            self.visit(node)
        return replace(self.graph, nodes=_rename(self.nodes, self.renamed))

    def source(self, value: str) -> tuple[str, Layout]:
        return self.moved.get(value, (value, channels_last(len(self.graph.shapes[value]))))

    def read(self, value: str) -> str:
        """The name of ``value`` as the old graph has it; adds a Transpose where there is none."""
        source, axes = self.source(value)
        if axes == channels_last(len(axes)):
            return source
        if (source, axes) not in self.copies:
            origin = self.origin.get((source, axes))
            name = origin.output if origin else self.names.new(f"{source}_transposed")
            self.transpose(source, axes, name, origin.name if origin else None)
        return self.copies[source, axes]

    def transpose(self, source: str, axes: Layout, output: str, name: str | None = None) -> None:
        name = name or self.node_names.new(f"{output}_transpose")
        self.emit(Node(name, Transpose(axes), (source,), output))
        self.copies[source, axes] = output

    def visit(self, node: Node[Op]) -> None:
        source, axes = self.source(node.inputs[0])
        if isinstance(node.op, Transpose):
            self.join(node, source, compose(axes, node.op.axes))
            return
        if _passes(node.op, axes):
            inputs = (source, *node.inputs[1:])
            output = node.output
            if output in self.outputs and axes != channels_last(len(axes)):
                output = self.names.new(f"{output}_untransposed")
            self.emit(replace(node, inputs=inputs, output=output))
            self.moved[node.output] = (output, axes)
            if output != node.output:
                self.transpose(output, axes, node.output)
            return
        if isinstance(node.op, Flatten) and keeps_order(self.shape(source), axes):
            self.emit(replace(node, inputs=(source,)))
            return
        self.emit(replace(node, inputs=tuple(self.read(name) for name in node.inputs)))

    def shape(self, value: str) -> Shape:
        """The shape of a value of the new graph."""
        return self.shapes[value] if value in self.shapes else self.graph.shapes[value]

    def emit(self, node: Node[Op]) -> None:
        self.nodes.append(node)
        shapes = (self.shape(name) for name in node.inputs)
        self.shapes[node.output] = node.op.infer(*shapes)

    def join(self, node: Node[Op], source: str, axes: Layout) -> None:
        """Take the Transpose ``node`` out: its result is ``source`` with its axes reordered."""
        self.moved[node.output] = (source, axes)
        self.origin.setdefault((source, axes), node)
        if node.output not in self.outputs:
            return
        free = {n.output for n in self.nodes} - self.outputs - self.renamed.keys()
        if axes == channels_last(len(axes)) and source in free:
            self.renamed[source] = node.output
        else:
            self.transpose(source, axes, node.output, node.name)


def _passes(op: Op, axes: Layout) -> bool:
    """Whether an op on a transposed value is the transposed result of the op."""
    match op:
        case Relu() | Sigmoid() | Tanh():
            return True
        case Softmax() | Dense():
            return axes[-1:] == (len(axes) - 1,)
        case _:
            return False


def _elementwise(op: Op) -> bool:
    return isinstance(op, Relu | Sigmoid | Tanh)


def _readers(graph: Graph) -> dict[str, list[Node[Op]]]:
    readers: dict[str, list[Node[Op]]] = defaultdict(list)
    for node in graph.nodes:
        for name in dict.fromkeys(node.inputs):
            readers[name].append(node)
    return readers


def _rename(nodes: list[Node[Op]], renamed: dict[str, str]) -> tuple[Node[Op], ...]:
    return tuple(
        replace(
            node,
            inputs=tuple(renamed.get(name, name) for name in node.inputs),
            output=renamed.get(node.output, node.output),
        )
        for node in nodes
    )


def _flat_order(shape: Shape, axes: Layout) -> Array:
    """For each position of the flat transposed array, its position in the flat array."""
    positions: Array = np.arange(int(np.prod(shape))).reshape(shape)
    return positions.transpose(axes).ravel()


def _dense_behind(
    graph: Graph, node: Node[Op], readers: dict[str, list[Node[Op]]]
) -> list[Node[Op]]:
    """The Dense layers that alone depend on the flat value of ``node``; none if others do too."""
    outputs = {port.name for port in graph.outputs}
    layers: list[Node[Op]] = []
    open_values = [node.output]
    while open_values:
        value = open_values.pop()
        if value in outputs:
            return []
        for reader in readers[value]:
            if _elementwise(reader.op):
                open_values.append(reader.output)
            elif isinstance(reader.op, Dense) and reader.inputs[1] in graph.constants:
                layers.append(reader)
            else:
                return []
    return layers


def _wanted_orders(graph: Graph) -> dict[str, Layout | None]:
    """For each value the one order of axes in which all its readers want it, if there is one."""
    outputs = {port.name for port in graph.outputs}
    wants: dict[str, set[Layout | None]] = {name: {None} for name in outputs}
    agreed: dict[str, Layout | None] = {}
    for node in reversed(graph.nodes):
        agreed[node.output] = _agreed(wants.get(node.output))
        order: Layout | None = None
        if isinstance(node.op, Transpose) and node.output not in outputs:
            order = node.op.axes
        elif _elementwise(node.op):
            order = agreed[node.output]
        wants.setdefault(node.inputs[0], set()).add(order)
    return agreed | {port.name: _agreed(wants.get(port.name)) for port in graph.inputs}


def _agreed(orders: set[Layout | None] | None) -> Layout | None:
    return next(iter(orders)) if orders is not None and len(orders) == 1 else None
