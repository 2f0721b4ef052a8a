"""What the export keeps while it writes the nodes of a graph: names, layouts and initialisers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from ...errors import ModelError
from ...graph import Graph, Node
from ...names import Names
from ...ops import Array, Op, Shape
from ..layout import Arrangement, Layout, operand, place, unchanged

OPSET = 13
"""The first opset with today's Softmax; nothing that is written here changed its meaning since."""


class Writer:
    """The ONNX nodes and initialisers of one graph, as far as they are written.

    Attributes:
        graph: what is written.
        opset: the lowest operator set that has all that is written.
        nodes: the nodes so far.
        arrangements: for each constant that stands under its own name, how ONNX holds it.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.opset = OPSET
        self.nodes: list[NodeProto] = []
        self.arrangements: dict[str, Arrangement] = {}
        self._wanted = {port.name: port.axes for port in graph.outputs}
        self._layouts: dict[str, Layout] = {port.name: port.axes for port in graph.inputs}
        self._copies: dict[tuple[str, Layout], str] = {}
        self._rearranged: dict[tuple[str, Arrangement], str] = {}
        self._made: dict[str, Array] = {}
        self._shared: dict[tuple[str, Shape, bytes], str] = {}
        self._values = Names(set(graph.shapes))
        self._names = Names({node.name for node in graph.nodes})
        for port in graph.inputs:
            if self._wanted.get(port.name, port.axes) != port.axes:
                raise ModelError("an output is an input in another layout", found=port.name)

    def require(self, opset: int) -> None:
        """Note that a node needs this operator set."""
        self.opset = max(self.opset, opset)

    def shape(self, value: str) -> Shape:
        """The shape of a value of the graph, without the batch."""
        return self.graph.shapes[value]

    def is_constant(self, value: str) -> bool:
        return value in self.graph.constants

    def layout(self, value: str) -> Layout:
        """The layout that an activation stands in."""
        if value not in self._layouts:
            raise ModelError("computes on a constant alone", found=value)
        return self._layouts[value]

    def read(self, value: str, want: Layout) -> str:
        """The name of an activation in the layout ``want``."""
        have = self.layout(value)
        if have == want:
            return value
        if (value, want) not in self._copies:
            self._copies[value, want] = self._values.new(f"{value}_transposed")
            self._transpose(value, have, self._copies[value, want], want)
        return self._copies[value, want]

    def constant(self, name: str, arrangement: Arrangement | None = None) -> str:
        """The initialiser that holds a constant in this arrangement; unchanged by default.

        The first arrangement that is asked for stands under the constant's own name.
        """
        if not self.is_constant(name):
            raise ModelError("a weight must be a constant", found=name)
        arrangement = arrangement or unchanged(self.shape(name))
        if self.arrangements.setdefault(name, arrangement) == arrangement:
            return name
        key = (name, arrangement)
        if key not in self._rearranged:
            self._rearranged[key] = self._values.new(f"{name}_rearranged")
            self._made[self._rearranged[key]] = arrangement.write(self.graph.constants[name])
        return self._rearranged[key]

    def operand(self, value: str, layout: Layout) -> str:
        """An activation in ``layout``, or a constant that is broadcast against such a value."""
        if self.is_constant(value):
            return self.constant(value, operand(self.shape(value), layout))
        return self.read(value, layout)

    def tensor(self, wish: str, value: Array) -> str:
        """An initialiser that is no constant of the graph; equal ones are written once."""
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._shared:
            self._shared[key] = self._values.new(wish)
            self._made[self._shared[key]] = value
        return self._shared[key]

    def integers(self, wish: str, values: Sequence[int]) -> str:
        """An initialiser that is a list of integers."""
        return self.tensor(wish, np.array(values, np.int64))

    def initialisers(self) -> dict[str, Array]:
        """All initialisers by name: the graph's constants first, in its order."""
        own = {
            name: self.arrangements[name].write(value) if name in self.arrangements else value
            for name, value in self.graph.constants.items()
        }
        return own | self._made

    def step(
        self, node: Node[Op], suffix: str, op_type: str, inputs: Sequence[str], **attributes: Any
    ) -> str:
        """Write an ONNX node on the way to the result of ``node``; the name of its value."""
        value = self._values.new(f"{node.output}_{suffix}")
        self._emit(op_type, inputs, [value], self._names.new(f"{node.name}_{suffix}"), attributes)
        return value

    def value(self, wish: str) -> str:
        """A name for a further value."""
        return self._values.new(wish)

    def emit(
        self,
        node: Node[Op],
        op_type: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        **attributes: Any,
    ) -> None:
        """Write an ONNX node under the name of ``node``, with the names of its outputs given."""
        self._emit(op_type, inputs, outputs, node.name, attributes)

    def result(
        self,
        node: Node[Op],
        op_type: str,
        inputs: Sequence[str],
        layout: Layout,
        name: str = "",
        **attributes: Any,
    ) -> None:
        """Write the ONNX node that gives the result of ``node``, in ``layout``.

        Args:
            name: what the ONNX node is called; by default as ``node`` is.
        """
        self._layouts[node.output] = layout
        want = self._wanted.get(node.output, layout)
        name = self._names.new(name) if name else node.name
        if want == layout:
            self._emit(op_type, inputs, [node.output], name, attributes)
            return
        made = self._values.new(f"{node.output}_transposed")
        self._emit(op_type, inputs, [made], name, attributes)
        self._transpose(made, layout, node.output, want)
        self._layouts[node.output] = want

    def _transpose(self, source: str, have: Layout, result: str, want: Layout) -> None:
        """Write the Transpose of ``source`` in one layout to ``result`` in another."""
        perm = [0, *(axis + 1 for axis in place(have, want))]
        name = self._names.new(f"{result}_transpose")
        self._emit("Transpose", [source], [result], name, {"perm": perm})

    def _emit(
        self,
        op_type: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        name: str,
        attributes: dict[str, Any],
    ) -> None:
        self.nodes.append(helper.make_node(op_type, inputs, outputs, name=name, **attributes))
