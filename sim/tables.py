"""Functions of one value as tables: a pass over a fixed graph before it is simulated.

A value of few bits has few results.  Whatever a network makes of it value by value, with a look-up
among the steps, is one look-up: interpolation between the entries of two tables, for instance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..frontend.graph import Node
from ..frontend.ops import Array, Mul, Relu
from ..quantize.cast import Cast
from ..quantize.exact_ops import Clamp, Combine, Leaky, Square
from ..quantize.fixed import FixedGraph
from ..quantize.float_index import FloatIndex
from ..quantize.formats import Format
from ..quantize.lut import Lut
from ..quantize.recurrence import Recurrence

BITS = 16
"""Bits of a value that may index a table: the tables of a large network still fit a cache."""


ELEMENTWISE = (Relu, Clamp, Square, Leaky, Mul, Combine, Cast, FloatIndex, Lut)


@dataclass(frozen=True)
class _Function:
    """What a value is a function of.

    Attributes:
        root: the value that it depends on alone.
        nodes: what computes it from there, in order; none for the root itself.
    """

    root: str
    nodes: tuple[Node[Any], ...] = ()

    @property
    def looks_up(self) -> bool:
        return any(isinstance(node.op, Lut) for node in self.nodes)


def with_tables(graph: FixedGraph, wanted: Collection[str]) -> FixedGraph:
    """The network with a table wherever one does the work of several nodes; the values in
    ``wanted`` come out the same, others may be missing."""
    wanted = {*wanted, *(port.name for port in graph.outputs)}
    tables = _Tables(graph, wanted)
    nodes = [
        tables.in_loop(node, node.op) if isinstance(node.op, Recurrence) else node
        for node in graph.nodes
    ]
    return dataclasses.replace(
        graph,
        nodes=tuple(tables.among(nodes, wanted)),
        constants={**graph.constants, **tables.constants},
        formats={**graph.formats, **tables.formats},
    )


class _Tables:
    """The tables that are made for one graph."""

    def __init__(self, graph: FixedGraph, wanted: Collection[str]) -> None:
        self.graph = graph
        self.wanted = wanted
        self.constants: dict[str, Array] = {}
        self.formats: dict[str, Format] = {}

    def in_loop(self, node: Node[Any], loop: Recurrence) -> Node[Any]:
        """The loop with tables in its body."""
        needed = {loop.result, *self.wanted, *(state.after for state in loop.states)}
        body = self.among(loop.body, needed)
        read = dict.fromkeys(name for inner in body for name in inner.inputs)
        constants = (*loop.constants, *(name for name in read if name in self.constants))
        op = dataclasses.replace(loop, body=tuple(body), constants=constants)
        return dataclasses.replace(node, op=op, inputs=(node.inputs[0], *constants))

    def among(self, nodes: Sequence[Node[Any]], needed: Collection[str]) -> list[Node[Any]]:
        """These nodes with tables, without those that are not needed any more."""
        functions: dict[str, _Function] = {}
        for node in nodes:
            functions[node.output] = self._function(node, functions)
        leaving = {
            name
            for node in nodes
            for name in node.inputs
            if name in functions and functions[name].root != functions[node.output].root
        }
        kept: list[Node[Any]] = []
        leaving.update(needed)
        read = set(needed)
        for node in reversed(nodes):
            body = node.op.body if isinstance(node.op, Recurrence) else ()
            if read.isdisjoint({node.output, *(inner.output for inner in body)}):
                continue
            function = functions[node.output]
            if node.output in leaving and self._pays(function):
                node = self._table(node, function)
            kept.append(node)
            read.update(node.inputs)
        return kept[::-1]

    def _function(self, node: Node[Any], functions: dict[str, _Function]) -> _Function:
        """What a node's result is a function of: of itself, if of nothing narrower."""
        constants = self.graph.constants
        values = [name for name in node.inputs if name not in constants]
        sources = [functions.get(name, _Function(name)) for name in values]
        alone = {source.root for source in sources}
        single = isinstance(node.op, Lut) or all(
            constants[name].size == 1 for name in node.inputs if name in constants
        )
        if (
            isinstance(node.op, ELEMENTWISE)
            and single
            and len(alone) == 1
            and self.graph.formats[sources[0].root].width <= BITS
        ):
            before = dict.fromkeys(inner for source in sources for inner in source.nodes)
            return _Function(sources[0].root, (*before, node))
        return _Function(node.output)

    def _pays(self, function: _Function) -> bool:
        """Whether a table leaves out something, and nobody asks for what it leaves out."""
        inner = {node.output for node in function.nodes[:-1]}
        return function.looks_up and bool(inner) and inner.isdisjoint(self.wanted)

    def _table(self, node: Node[Any], function: _Function) -> Node[Any]:
        """A look-up instead of a node and of what leads there from its root."""
        format_, bounds = self.graph.formats[function.root], self.graph.bounds[function.root]
        patterns = np.arange(1 << format_.width)
        raw = np.where(patterns > format_.high, patterns - (1 << format_.width), patterns)
        values = {name: value.astype(np.float64) for name, value in self.graph.constants.items()}
        values[function.root] = np.clip(raw, bounds.low, bounds.high).astype(np.float64)
        for step in function.nodes:
            values[step.output] = step.op.forward(*(values[name] for name in step.inputs))
        name = f"{node.output}.all"
        while name in self.graph.shapes:
            name += "'"
        self.constants[name] = values[node.output].astype(np.int64)
        self.formats[name] = self.graph.formats[node.output]
        label = next(step.op for step in function.nodes if isinstance(step.op, Lut))
        return Node(node.name, label, (function.root, name), node.output)
