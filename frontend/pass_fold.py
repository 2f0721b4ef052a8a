"""Ops that become part of the layer before them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .graph import Graph, Node
from .names import Names
from .ops import (
    Array,
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    Flatten,
    Gru,
    Lstm,
    Op,
    Reshape,
    SimpleRnn,
    Slice,
)
from .pass_tools import Constants, readers_of


def fold_batch_norm(graph: Graph) -> Graph:
    """Fold each BatchNorm into the weights of the convolution or Dense right before it.

    Done where nobody else reads that layer's result.  With ``s = gamma / sqrt(variance + epsilon)``
    its weight becomes ``w · s``, and its bias ``(bias - mean) · s + beta``.
    """
    makers = {node.output: node for node in graph.nodes}
    readers = readers_of(graph)
    outputs = {port.name for port in graph.outputs}
    names = Names(graph.shapes)
    constants = Constants(graph, names)
    changed: dict[str, Node[Op]] = {}
    folded: set[str] = set()
    for node in graph.nodes:
        layer = makers.get(node.inputs[0])
        if not isinstance(node.op, BatchNorm) or layer is None:
            continue
        alone = len(readers[layer.output]) == 1 and layer.output not in outputs
        if not isinstance(layer.op, Conv | ConvTranspose | Dense) or not alone:
            continue
        known = (*layer.inputs[1:], *node.inputs[1:])
        if any(name not in graph.constants for name in known):
            continue
        if layer.inputs[1] in graph.grids:
            continue  # a folded weight would leave its grid
        weight, bias = _folded(node, layer, graph, node.op.epsilon)
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            continue
        x, old_weight, *old_bias = layer.inputs
        new_weight = constants.change(old_weight, weight)
        new_bias = (
            constants.change(old_bias[0], bias)
            if old_bias
            else constants.add(names.new(f"{old_weight}_bias"), bias)
        )
        inputs = (x, new_weight, new_bias)
        changed[layer.output] = replace(layer, inputs=inputs, output=node.output)
        folded.add(node.output)
    nodes = (changed.get(node.output, node) for node in graph.nodes if node.output not in folded)
    return replace(graph, nodes=tuple(nodes), constants=constants.values, grids=constants.grids)


def _folded(norm: Node[Op], layer: Node[Op], graph: Graph, epsilon: float) -> tuple[Array, Array]:
    """The layer's weight and bias with the norm in them, float32; they may have overflowed."""
    gamma, beta, mean, variance = (
        graph.constants[name].astype(np.float64) for name in norm.inputs[1:]
    )
    weight, *bias = (graph.constants[name].astype(np.float64) for name in layer.inputs[1:])
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + epsilon)
        offset = ((bias[0] if bias else 0) - mean) * scale + beta
        return (weight * scale).astype(np.float32), offset.astype(np.float32)


def take_last_states(graph: Graph) -> Graph:
    """Let a recurrent layer give its last state alone where nobody reads another.

    That is where the one reader is a Slice of the step that is worked on last, and the one reader
    of that drops the axis of time.
    """
    readers = readers_of(graph)
    outputs = {port.name for port in graph.outputs}
    changed: dict[str, Node[Op]] = {}
    gone: set[str] = set()
    for node in graph.nodes:
        if not isinstance(node.op, SimpleRnn | Lstm | Gru) or node.op.last:
            continue
        steps, hidden = graph.shapes[node.output]
        at = 0 if node.op.reverse else steps - 1
        cut = _only_reader(node, readers, outputs)
        if cut is None or cut.op != Slice(0, at, at + 1):
            continue
        drop = _only_reader(cut, readers, outputs)
        if drop is None or drop.op not in (Flatten(), Reshape((hidden,))):
            continue
        changed[node.output] = replace(node, op=replace(node.op, last=True), output=drop.output)
        gone |= {cut.output, drop.output}
    nodes = (changed.get(node.output, node) for node in graph.nodes if node.output not in gone)
    return replace(graph, nodes=tuple(nodes))


def _only_reader(
    node: Node[Op], readers: dict[str, list[Node[Op]]], outputs: set[str]
) -> Node[Op] | None:
    """The one node that reads the result of ``node``, which is no output."""
    found = readers[node.output]
    return found[0] if len(found) == 1 and node.output not in outputs else None
