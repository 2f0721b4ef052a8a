"""Which nodes share a process: a head, and the elementwise nodes that it takes along."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..frontend.graph import Node
from ..frontend.ops import Flatten, Mul, Relu, Reshape
from ..quantize.cast import Cast
from ..quantize.exact_ops import Clamp, Combine, Leaky, Square
from ..quantize.fixed import FixedGraph, FixedOp
from ..quantize.float_index import FloatIndex
from ..quantize.lut import Lut
from ..quantize.recurrence import Recurrence


@dataclass(frozen=True)
class Part:
    """What one process computes.

    Attributes:
        node: the head.
        reads: the streamed values that it reads.
        nodes: the elementwise nodes that it computes value by value, in topological order; the
            head is the first of them if it is elementwise itself.
        result: the value that leaves.
    """

    node: Node[FixedOp]
    reads: tuple[str, ...]
    nodes: tuple[Node[FixedOp], ...]
    result: str


def is_elementwise(graph: FixedGraph, node: Node[FixedOp]) -> bool:
    """Whether each value of the result follows from one value of each operand."""
    match node.op:
        case Relu() | Clamp() | Square() | Cast() | Lut() | FloatIndex():
            return True
        case Mul() | Combine() | Leaky():
            a, b = (graph.shapes[name] for name in node.inputs)
            return a == b if node.inputs[1] not in graph.constants else math.prod(b) == 1
        case _:
            return False


def is_map(node: Node[FixedOp]) -> bool:
    """Whether the op is a function of single values, be it with one for each row or an array."""
    kinds = Relu | Clamp | Square | Cast | Lut | FloatIndex | Mul | Combine | Leaky
    return isinstance(node.op, kinds)


def find_parts(graph: FixedGraph, sources: Mapping[str, str]) -> list[Part]:
    """The processes of a network, those aside that only move values, in the order of their heads.

    Args:
        graph: the network.
        sources: see :func:`~.plan.find_sources`.
    """
    return _Finder(graph, sources).run()


class _Finder:
    """Each head takes along the largest elementwise part that depends on it, or on what it reads,
    and that one value leaves."""

    def __init__(self, graph: FixedGraph, sources: Mapping[str, str]) -> None:
        self.graph = graph
        self.sources = sources
        self.taken: set[str] = set()
        self.places = {node.name: i for i, node in enumerate(graph.nodes)}
        self.readers: dict[str, list[int]] = {}
        for node in graph.nodes:
            if not isinstance(node.op, Flatten | Reshape):
                for value in self._values(node):
                    self.readers.setdefault(value, []).append(self.places[node.name])
        self.outlets = {self._source(port.name) for port in graph.outputs}

    def _source(self, value: str) -> str:
        return self.sources.get(value, value)

    def _values(self, node: Node[FixedOp]) -> tuple[str, ...]:
        """The streams that a node reads."""
        return tuple(self._source(x) for x in node.inputs if x not in self.graph.constants)

    def run(self) -> list[Part]:
        parts = []
        for node in self.graph.nodes:
            if node.name not in self.taken and not isinstance(node.op, Flatten | Reshape):
                part = self._part(node)
                self.taken |= {node.name, *(inner.name for inner in part.nodes)}
                parts.append(part)
        return parts

    def _part(self, node: Node[FixedOp]) -> Part:
        reads = self._values(node)
        if isinstance(node.op, Recurrence):
            return Part(node, reads, (), node.op.result)
        if not is_map(node):
            nodes = self._grow((node.output,), None)
        elif is_elementwise(self.graph, node):
            reads = tuple(dict.fromkeys(reads))
            nodes = self._grow(reads, node)
        else:
            nodes = self._grow(reads[:1], node)
        return Part(node, reads, nodes, nodes[-1].output if nodes else node.output)

    def _grow(
        self, operands: Iterable[str], first: Node[FixedOp] | None
    ) -> tuple[Node[FixedOp], ...]:
        """The largest part that depends on the operands, and on ``first`` if there is one.

        Without a first node the operand is a head's result, which no other process may read.
        """
        members = self._candidates(operands, first)
        best: tuple[Node[FixedOp], ...] = (first,) if first else ()
        for last in members:
            needed = self._needed(members, last)
            if first and first not in needed:
                continue
            inner = {node.output for node in needed if node is not last}
            if first is None:
                inner |= set(operands)
            if len(needed) > len(best) and self._is_closed(inner, needed):
                best = needed
        return best

    def _candidates(
        self, operands: Iterable[str], first: Node[FixedOp] | None
    ) -> list[Node[FixedOp]]:
        """The free elementwise nodes that depend on nothing else, in topological order."""
        known = set(operands)
        members = []
        if first:
            members.append(first)
            known.add(first.output)
        waiting = sorted({place for value in known for place in self.readers.get(value, [])})
        seen = set(waiting)
        while waiting:
            node = self.graph.nodes[heapq.heappop(waiting)]
            free = node.name not in self.taken and node is not first
            if not free or not is_elementwise(self.graph, node):
                continue
            if not known.issuperset(self._values(node)):
                continue
            members.append(node)
            known.add(node.output)
            for place in self.readers.get(node.output, []):
                if place not in seen:
                    seen.add(place)
                    heapq.heappush(waiting, place)
        return members

    def _needed(
        self, members: list[Node[FixedOp]], last: Node[FixedOp]
    ) -> tuple[Node[FixedOp], ...]:
        """Those of the members that ``last`` is computed from, and itself."""
        wanted = {last.output}
        needed = []
        for node in reversed(members):
            if node.output in wanted:
                needed.append(node)
                wanted.update(self._values(node))
        return tuple(reversed(needed))

    def _is_closed(self, values: Iterable[str], nodes: Iterable[Node[FixedOp]]) -> bool:
        """Whether nobody but ``nodes`` reads any of ``values``."""
        places = {self.places[node.name] for node in nodes}
        return all(
            value not in self.outlets and places.issuperset(self.readers.get(value, []))
            for value in values
        )
