"""Rewriting the float graph: functions from graph to graph that keep what it computes.

Each pass keeps the ports' names and what :func:`~.graph.evaluate` gives for the user's arrays, and
each is one sweep over the nodes, so that its time grows with the size of the graph alone.  Those
that move a Transpose let a value keep its name in another layout: a value that is no port is named
for what it is, not for how it lies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .graph import Graph, Node, Port
from .names import Names
from .onnx.layout import Layout, compose, place
from .ops import Array, Dense, Flatten, Op, Shape, Transpose
from .pass_affine import fold_affine, merge_affine
from .pass_fold import take_last_states
from .pass_merge import drop_identities, fold_constants, merge_moves, merge_pads
from .pass_sink import sink_transposes
from .pass_tools import ARITHMETIC, Constants, alike, readers_of, renamed_nodes

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
    grids = {name: grid for name, grid in graph.grids.items() if name in live}
    return replace(graph, nodes=tuple(reversed(nodes)), constants=constants, grids=grids)


def fold_flatten(graph: Graph) -> Graph:
    """Flatten without the Transpose before it, and reorder the rows of the Dense layers behind.

    Done where all that depends on the flat value are Dense layers, with nothing but elementwise
    ops in between.  A weight that other nodes read too stays as it was for them.
    """
    defined = {node.output: node for node in graph.nodes}
    readers = readers_of(graph)
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    names = Names(graph.shapes)
    constants, grids = dict(graph.constants), dict(graph.grids)
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
                if weight in graph.grids:
                    grids[reordered[key]] = graph.grids[weight]
            changed[layer.output] = replace(layer, inputs=(x, reordered[key], *bias))
    nodes = tuple(changed.get(node.output, node) for node in graph.nodes)
    return replace(graph, nodes=nodes, constants=constants, grids=grids)


def absorb_outputs(graph: Graph) -> Graph:
    """Turn a Transpose that gives an output into that output's layout (``Port.axes``)."""
    defined = {node.output: node for node in graph.nodes}
    readers = readers_of(graph)
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
    return replace(graph, nodes=renamed_nodes(nodes, renamed), outputs=tuple(outputs))


def absorb_inputs(graph: Graph) -> Graph:
    """Turn the Transposes that an input passes first into that input's layout (``Port.axes``).

    Done where all that reads the input, through elementwise ops or not, wants the same order of
    axes.
    """
    wants = _wanted_orders(graph)
    constants = Constants(graph, Names(graph.shapes))
    inputs: list[Port] = []
    moved: dict[str, Layout] = {}
    for port in graph.inputs:
        want = wants.get(port.name)
        if want is not None:
            moved[port.name] = want
            shape = tuple(port.shape[axis] for axis in want)
            port = Port(port.name, shape, compose(port.axes, want))
        inputs.append(port)
    alias: dict[str, str] = {}
    nodes: list[Node[Op]] = []
    for node in graph.nodes:
        source = next((name for name in node.inputs if name in moved), None)
        if source is not None and isinstance(node.op, Transpose):
            alias[node.output] = source
            continue
        names = [alias.get(name, name) for name in node.inputs]
        if source is not None:
            axes = moved[node.output] = moved[source]
            if isinstance(node.op, ARITHMETIC):
                names = [constants.moved(n, axes) if n in graph.constants else n for n in names]
        nodes.append(replace(node, inputs=tuple(names)))
    return replace(
        graph,
        inputs=tuple(inputs),
        nodes=tuple(nodes),
        constants=constants.values,
        grids=constants.grids,
    )


PASSES: tuple[Pass, ...] = (
    drop_unused,
    fold_constants,
    drop_identities,
    sink_transposes,
    fold_flatten,
    drop_unused,
    absorb_outputs,
    absorb_inputs,
    merge_moves,
    merge_pads,
    merge_affine,
    fold_affine,
    take_last_states,
    drop_identities,
    drop_unused,
)
"""What an imported graph goes through, in this order."""


def simplify(graph: Graph) -> Graph:
    """The graph after all of :data:`PASSES`."""
    for step in PASSES:
        graph = step(graph)
    return graph


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
            if alike(graph, reader):
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
        elif _alone(graph, node):
            order = agreed[node.output]
        for name in node.inputs:
            wants.setdefault(name, set()).add(order)
    return agreed | {port.name: _agreed(wants.get(port.name)) for port in graph.inputs}


def _alone(graph: Graph, node: Node[Op]) -> bool:
    """Whether the node works on each value of one activation, perhaps with constants."""
    if alike(graph, node):
        return True
    data = [name for name in node.inputs if name not in graph.constants]
    return isinstance(node.op, ARITHMETIC) and len(data) == 1


def _agreed(orders: set[Layout | None] | None) -> Layout | None:
    return next(iter(orders)) if orders is not None and len(orders) == 1 else None
