"""Cheaper ways to the same values: passes over a fixed graph before it is simulated.

They hold for whatever data, and apply only where nobody asks for a value that they do away with.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence

from ..frontend.graph import Node
from ..frontend.ops import MaxPool, Relu
from ..quantize.cast import Cast
from ..quantize.fixed import FixedGraph, FixedOp
from ..quantize.formats import Overflow
from .tables import with_tables


def shorten(graph: FixedGraph, wanted: Collection[str]) -> FixedGraph:
    """The same network with less work: the values in ``wanted`` come out the same, others may be
    missing or stand for something else."""
    return with_tables(_pool_first(_without_relu(graph, wanted), wanted), wanted)


def _readers(nodes: Sequence[Node[FixedOp]], value: str) -> list[Node[FixedOp]]:
    return [node for node in nodes if value in node.inputs]


def _saturates(op: FixedOp) -> bool:
    """Whether ``op`` is a Cast that grows with its operand, as every rounding mode does."""
    return isinstance(op, Cast) and op.overflow in (Overflow.SAT, Overflow.SAT_SYM)


def _without_relu(graph: FixedGraph, wanted: Collection[str]) -> FixedGraph:
    """Leave out a ReLU whose readers saturate at 0 anyway.

    A saturating Cast keeps the order of its operands and gives 0 for 0.  If its format is unsigned,
    so that nothing is below 0, it therefore gives 0 for all that a ReLU would have set to 0.
    """
    nodes: list[Node[FixedOp]] = []
    source: dict[str, str] = {}
    for node in graph.nodes:
        readers = _readers(graph.nodes, node.output)
        needless = all(
            _saturates(reader.op) and not graph.formats[reader.output].signed for reader in readers
        )
        if isinstance(node.op, Relu) and node.output not in wanted and needless:
            source[node.output] = node.inputs[0]
        else:
            inputs = tuple(source.get(name, name) for name in node.inputs)
            nodes.append(dataclasses.replace(node, inputs=inputs))
    return dataclasses.replace(graph, nodes=tuple(nodes))


def _pool_first(graph: FixedGraph, wanted: Collection[str]) -> FixedGraph:
    """Take the maximum of a window before a ReLU or a saturating Cast, which then has less to do.

    Both keep the order of their operands, so that the largest result is that of the largest
    operand.
    """
    nodes = list(graph.nodes)
    formats, shapes = dict(graph.formats), dict(graph.shapes)
    for i in range(1, len(nodes)):
        for j in range(i, 0, -1):  # a pool moves up as far as it can
            before, pool = nodes[j - 1 : j + 1]
            value = before.output
            if not (
                isinstance(pool.op, MaxPool)
                and pool.inputs == (value,)
                and (isinstance(before.op, Relu) or _saturates(before.op))
                and value not in wanted
                and len(_readers(nodes, value)) == 1
                and math.prod(shapes[pool.output]) < math.prod(shapes[value])
            ):
                break
            nodes[j - 1] = dataclasses.replace(pool, inputs=before.inputs, output=value)
            nodes[j] = dataclasses.replace(before, inputs=(value,), output=pool.output)
            formats[pool.output] = formats[value]
            formats[value] = formats[before.inputs[0]]
            shapes[value] = shapes[pool.output]
    return dataclasses.replace(graph, nodes=tuple(nodes), formats=formats)
