"""Ops that become part of the layer before them."""

from __future__ import annotations

from dataclasses import replace

from .graph import Graph, Node
from .ops import (
    Flatten,
    Gru,
    Lstm,
    Op,
    Reshape,
    SimpleRnn,
    Slice,
)
from .pass_tools import readers_of


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
