"""Moving Transposes towards the outputs."""

from __future__ import annotations

from dataclasses import replace

from .graph import Graph, Node
from .names import Names
from .onnx.layout import Layout, channels_last, compose, inverse, keeps_order, place
from .ops import (
    BatchNorm,
    Bipolar,
    Concat,
    Dense,
    Flatten,
    LayerNorm,
    LogSoftmax,
    MatMul,
    Op,
    Pad,
    PRelu,
    Quantize,
    Reshape,
    RmsNorm,
    Shape,
    Slice,
    Softmax,
    Transpose,
    Upsample,
)
from .pass_tools import ARITHMETIC, POINTWISE, Constants, alike, renamed_nodes


def sink_transposes(graph: Graph) -> Graph:
    """Move every Transpose towards the outputs until an op needs it, or it cancels with another.

    A Transpose passes ops that work on each value alone, ops on an axis that can be counted
    otherwise, and ops on the last axis where it leaves that axis the last; of several operands all
    must have passed the same one, or one that is there already.  A Flatten or Reshape whose result
    stays the same without the Transpose reads past it, and a matrix product past one that swaps
    the axes of its second operand.  Two Transposes in a row become one, or none.
    """
    return _Sink(graph).run()


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
        self.constants = Constants(graph, self.names)
        self.shapes: dict[str, Shape] = {port.name: port.shape for port in graph.inputs}
        self.moved: dict[str, tuple[str, Layout]] = {}
        self.copies: dict[tuple[str, Layout], str] = {}
        self.origin: dict[tuple[str, Layout], Node[Op]] = {}
        self.renamed: dict[str, str] = {}
        self.nodes: list[Node[Op]] = []

    def run(self) -> Graph:
        for node in self.graph.nodes:
            self.visit(node)
        nodes = renamed_nodes(self.nodes, self.renamed)
        return replace(
            self.graph, nodes=nodes, constants=self.constants.values, grids=self.constants.grids
        )

    def source(self, value: str) -> tuple[str, Layout]:
        return self.moved.get(value, (value, channels_last(len(self.graph.shapes[value]))))

    def before(self, value: str, axes: Layout) -> tuple[str, Layout]:
        """A source, and the Transpose of it that gives ``value`` before a Transpose(axes)."""
        source, have = self.source(value)
        return source, compose(have, inverse(axes))

    def read(self, value: str, axes: Layout | None = None) -> str:
        """The name of ``value`` as the old graph has it, or of what it is before Transpose(axes).

        Adds a Transpose where there is none.
        """
        if value in self.graph.constants:
            return value
        axes = axes or channels_last(len(self.graph.shapes[value]))
        source, total = self.before(value, axes)
        if total == channels_last(len(total)):
            return source
        if (source, total) not in self.copies:
            origin = self.origin.get((source, total))
            name = origin.output if origin else self.names.new(f"{source}_transposed")
            self.transpose(source, total, name, origin.name if origin else None)
        return self.copies[source, total]

    def transpose(self, source: str, axes: Layout, output: str, name: str | None = None) -> None:
        name = name or self.node_names.new(f"{output}_transpose")
        self.emit(Node(name, Transpose(axes), (source,), output))
        self.copies[source, axes] = output

    def visit(self, node: Node[Op]) -> None:
        source, axes = self.source(node.inputs[0])
        if isinstance(node.op, Transpose):
            self.join(node, source, compose(axes, node.op.axes))
            return
        if isinstance(node.op, Flatten | Reshape) and keeps_order(self.shape(source), axes):
            self.emit(replace(node, inputs=(source,)))
            return
        axes = self.agreed(node)
        op = self.passed(node, axes) if axes != channels_last(len(axes)) else None
        if op is not None:
            self.sink(node, op, axes)
        elif isinstance(node.op, MatMul):
            self.multiply(node, node.op)
        else:
            self.emit(replace(node, inputs=tuple(self.read(name) for name in node.inputs)))

    def agreed(self, node: Node[Op]) -> Layout:
        """The Transpose to take out of all activations that ``node`` reads: the cheapest one.

        At a price, none at all is better.
        """
        values = [name for name in node.inputs if name not in self.graph.constants]
        if not values:
            return ()
        found = [self.source(value)[1] for value in values]
        none = channels_last(len(found[0]))
        if len({len(axes) for axes in found}) > 1:
            return none
        if len(set(found)) == 1:
            return found[0]

        def price(axes: Layout) -> tuple[int, bool]:
            cost = self.cost(values, axes)
            return cost, cost > 0 and axes != none

        return min([*found, none], key=price)

    def cost(self, values: list[str], axes: Layout) -> int:
        """How many Transposes must be added to read the values before Transpose(axes)."""
        needed = {self.before(value, axes) for value in values}
        none = channels_last(len(axes))
        return sum(pair[1] != none and pair not in self.copies for pair in needed)

    def sink(self, node: Node[Op], op: Op, axes: Layout) -> None:
        """Let ``op``, in the place of ``node``, read before Transpose(axes), and give so."""
        back = inverse(axes)
        inputs = tuple(
            self.constant(name, back)
            if isinstance(op, ARITHMETIC) and name in self.graph.constants
            else self.read(name, axes)
            for name in node.inputs
        )
        output = node.output
        if output in self.outputs:
            output = self.names.new(f"{output}_untransposed")
        self.emit(Node(node.name, op, inputs, output))
        self.moved[node.output] = (output, axes)
        if output != node.output:
            self.transpose(output, axes, node.output)

    def constant(self, name: str, axes: Layout) -> str:
        name = self.constants.moved(name, axes)
        self.shapes[name] = self.constants.values[name].shape
        return name

    def multiply(self, node: Node[Op], op: MatMul) -> None:
        """A product reads past a Transpose that only swaps its second operand's last axes."""
        a, b = node.inputs
        source, axes = self.source(b)
        plain = channels_last(len(axes))
        if b not in self.graph.constants and axes == (*plain[:-2], plain[-1], plain[-2]):
            op = MatMul(not op.transposed)
            self.emit(replace(node, op=op, inputs=(self.read(a), source)))
        else:
            self.emit(replace(node, inputs=(self.read(a), self.read(b))))

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

    def passed(self, node: Node[Op], axes: Layout) -> Op | None:
        """The op that a Transpose(axes) of its operands passes as ``node``; None if it cannot."""
        last_stays = axes[-1] == len(axes) - 1
        match node.op:
            case op if isinstance(op, POINTWISE | ARITHMETIC):
                return op
            case Softmax() | LogSoftmax() | Dense() | BatchNorm() | LayerNorm() | RmsNorm() as op:
                return op if last_stays else None
            case PRelu() | Quantize() | Bipolar() as op:
                return op if last_stays or alike(self.graph, node) else None
            case Concat(axis):
                return Concat(axes[axis])
            case Slice(axis) as op:
                return replace(op, axis=axes[axis])
            case Pad(before, after, value):
                return Pad(place(before, axes), place(after, axes), value)
            case Upsample(factors):
                *moved, last = place((*factors, 1), axes)
                return Upsample(tuple(moved)) if last == 1 else None
            case _:
                return None
