"""C++ text of a fully parallel design: straight-line code, an array of scalars for each value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..frontend.errors import UnsupportedOpError
from ..frontend.graph import Node
from ..frontend.ops import (
    Concat,
    Flatten,
    MatMul,
    MaxPool,
    Mul,
    ReduceSum,
    Reshape,
    SumPool,
    Window,
)
from ..quantize.exact_ops import BelowMax, Rearrange, Square
from ..quantize.fixed import FixedOp
from .adders import AdderGraph
from .clusters import is_map
from .cpp_types import value_type
from .functions import Statements, literal
from .parallel import multiplies, origins, window_index
from .plan import Plan
from .processes import ParallelProcess, Sums

UNROLL = "#pragma HLS UNROLL"


@dataclass(frozen=True)
class SumsText:
    """A struct whose ``apply`` writes sums into an array, from a place on."""

    name: str
    inputs: int
    lines: tuple[str, ...]


@dataclass(frozen=True)
class NetworkText:
    """A struct whose ``apply`` computes the whole network."""

    name: str
    inputs: int
    outputs: int
    input_type: str
    output_type: str
    lines: tuple[str, ...]


def integer_name(bounds: tuple[int, int]) -> str:
    """The narrowest integer type that holds all from the first bound to the second."""
    low, high = bounds
    if low >= 0:
        return f"ap_uint<{max(high.bit_length(), 1)}>"
    return f"ap_int<{max((-low - 1).bit_length(), max(high, 0).bit_length()) + 1}>"


def sums_text(sums: Sums) -> SumsText:
    """The struct of one position's sums."""
    graph = sums.matrix.graph
    used = _used(graph)
    lines = []
    for i in range(graph.inputs):
        if i in used:
            type_ = f"ap_{'int' if graph.bounds[i][0] < 0 else 'uint'}<In::width>"
            lines.append(f"const {type_} n{i} = lutra::raw_bits(x[{i}]);")
    for i, value in enumerate(graph.constants, graph.inputs):
        if i in used:
            lines.append(f"const {integer_name(graph.bounds[i])} n{i} = {value}LL;")
    for i, a in enumerate(graph.adders, graph.first_adder):
        type_, word = integer_name(graph.bounds[i]), "minus" if a.negative else "plus"
        operands = f"n{a.left}, {a.left_shift}, n{a.right}, {a.right_shift}"
        lines.append(f"const {type_} n{i} = lutra::{word}<{type_} >({operands});")
    for i, (node, shift) in enumerate(graph.outputs):
        lines.append(f"y[first + {i}] = lutra::from_bits<Out>(n{node}, {shift});")
    return SumsText(sums.name, graph.inputs, tuple(lines))


def _used(graph: AdderGraph) -> set[int]:
    used = {output.node for output in graph.outputs}
    for a in graph.adders:
        used |= {a.left, a.right}
    return used


def network_text(plan: Plan, tables: Mapping[str, str], process: ParallelProcess) -> NetworkText:
    """The struct of the network."""
    writer = _Writer(plan, tables, process)
    (inlet,), (outlet,) = process.reads, process.writes
    for node in plan.graph.nodes:
        writer.add(node)
    result = writer.variable(plan.output_port.name)
    size = plan.streams[outlet].lanes
    writer.loop(size, [f"y[i] = {result}[i];"])
    return NetworkText(
        f"{process.name}_function",
        plan.streams[inlet].lanes,
        size,
        value_type(plan.streams[inlet].format),
        value_type(plan.streams[outlet].format),
        tuple(writer.lines),
    )


class _Writer:
    """The statements of a network, node after node."""

    def __init__(self, plan: Plan, tables: Mapping[str, str], process: ParallelProcess) -> None:
        self.plan = plan
        self.tables = tables
        self.sums = process.sums
        self.lines: list[str] = []
        self.variables = {plan.input_port.name: "x"}

    def variable(self, value: str) -> str:
        """The array that holds a value."""
        return self.variables[self.plan.sources.get(value, value)]

    def _type(self, value: str) -> str:
        return value_type(self.plan.format(value))

    def _size(self, value: str) -> int:
        return int(np.prod(self.plan.graph.shapes[value], dtype=np.int64))

    def _array(self, type_: str, name: str, size: int, values: Iterable[str] = ()) -> None:
        """Declare an array of scalars."""
        listed = ", ".join(values)
        start = f" = {{{listed}}}" if listed else ""
        self.lines.append(f"{type_} {name}[{size}]{start};")
        self.lines.append(f"#pragma HLS ARRAY_PARTITION variable={name} type=complete dim=1")

    def loop(self, count: int, statements: Iterable[str]) -> None:
        """A loop of which all is done at once."""
        body = [line if line[0] == "#" else f"    {line}" for line in statements]
        self.lines += [f"for (int i = 0; i < {count}; ++i) {{", UNROLL, *body, "}"]

    def add(self, node: Node[FixedOp]) -> None:
        """Declare a node's value and compute it."""
        if isinstance(node.op, Flatten | Reshape):
            return
        y = f"v{len(self.variables)}"
        self._array(self._type(node.output), y, self._size(node.output))
        self.variables[node.output] = y
        number = self.plan.ids[node.output]
        match node.op:
            case _ if node.output in self.sums:
                self._sum(node, y)
            case MaxPool(window):
                self._pool(node, y, window, "lutra::max_tree")
            case SumPool(window):
                self._pool(node, y, window, "lutra::sum_tree")
            case ReduceSum() | BelowMax():
                word = "row_sums" if isinstance(node.op, ReduceSum) else "below_row_max"
                length = self.plan.graph.shapes[node.inputs[0]][-1]
                x = self.variable(node.inputs[0])
                self.lines.append(f"lutra::{word}<{number}, {length}>({x}, {y});")
            case MatMul() as op:
                self._matmul(node, y, op)
            case Rearrange() | Concat():
                self._move(node, y)
            case _ if is_map(node):
                self._map(node, y)
            case op:
                raise UnsupportedOpError(
                    "no function computes this in one cycle",
                    node=self.plan.graph.layers[node.name],
                    found=type(op).__name__,
                )

    def _trace(self, node: Node[FixedOp], y: str) -> None:
        number = self.plan.ids[node.output]
        self.loop(self._size(node.output), [f"lutra::trace<{number}>({y}[i]);"])

    def _sum(self, node: Node[FixedOp], y: str) -> None:
        sums, x = self.sums[node.output], self.variable(node.inputs[0])
        positions, inputs = sums.index.shape
        outputs = sums.matrix.bias.size
        type_ = self._type(node.inputs[0])
        if np.array_equal(sums.index.ravel(), np.arange(self._size(node.inputs[0]))):
            self.lines += [f"for (int i = 0; i < {positions}; ++i) {{", UNROLL]
            self._array(type_, "taken", inputs)
            copy = f"taken[j] = {x}[i * {inputs} + j];"
            self.lines += [f"for (int j = 0; j < {inputs}; ++j) {{", UNROLL, copy, "}"]
            self.lines += [f"{sums.name}::apply(taken, {y}, i * {outputs});", "}"]
        else:
            for i, places in enumerate(sums.index.tolist()):
                self.lines.append("{")
                zero = f"{type_}(0)"
                self._array(
                    f"const {type_}",
                    "taken",
                    inputs,
                    (f"{x}[{k}]" if k >= 0 else zero for k in places),
                )
                self.lines += [f"{sums.name}::apply(taken, {y}, {i * outputs});", "}"]
        self._trace(node, y)

    def _pool(self, node: Node[FixedOp], y: str, window: Window, tree: str) -> None:
        """A tree for each window and channel; padding never wins, and adds nothing."""
        x, type_ = self.variable(node.inputs[0]), self._type(node.output)
        index = window_index(self.plan.graph.shapes[node.inputs[0]], window)
        rows = index.transpose(0, 2, 1).reshape(-1, window.size).tolist()
        for i, row in enumerate(rows):
            places = [k for k in row if k >= 0]
            if not places:
                fill = self.plan.format(node.inputs[0]).low if isinstance(node.op, MaxPool) else 0
                self.lines.append(f"{y}[{i}] = {literal(type_, fill)};")
                continue
            self.lines.append("{")
            values = (f"{x}[{k}]" for k in places)
            self._array(f"const {type_}", "taken", len(places), values)
            self.lines += [f"{y}[{i}] = {tree}<{type_}, {len(places)}>::of(taken, 0);", "}"]
        self._trace(node, y)

    def _matmul(self, node: Node[FixedOp], y: str, op: MatMul) -> None:
        a, b = (self.variable(value) for value in node.inputs)
        *batches, rows, inner = self.plan.graph.shapes[node.inputs[0]]
        columns = self.plan.graph.shapes[node.output][-1]
        count = int(np.prod(batches, dtype=np.int64))
        sizes = f"{count}, {rows}, {inner}, {columns}, {'true' if op.transposed else 'false'}"
        kind = f"{self.plan.ids[node.output]}, {self._how(*node.inputs)}, {sizes}"
        self.lines.append(f"lutra::products<{kind}>({a}, {b}, {y});")

    def _move(self, node: Node[FixedOp], y: str) -> None:
        type_ = self._type(node.output)
        names = [self.variable(value) for value in node.inputs]
        fill = node.op.fill if isinstance(node.op, Rearrange) else 0
        which, places = origins(self.plan.graph, node)
        for i, (k, place) in enumerate(zip(which.tolist(), places.tolist(), strict=True)):
            value = f"{names[k]}[{place}]" if place >= 0 else literal(type_, fill)
            self.lines.append(f"{y}[{i}] = {value};")
        self._trace(node, y)

    def _map(self, node: Node[FixedOp], y: str) -> None:
        """A function of each value, and of another one for nodes of two operands."""
        code = Statements(self.plan, self.tables)
        code.name(node.inputs[0], f"{self.variable(node.inputs[0])}[i]")
        if len(node.inputs) == 2 and node.inputs[1] not in self.tables:
            self._second(node, code)
        if isinstance(node.op, Mul | Square):
            result = self._product(node, code)
        else:
            kind, arguments = code.call(node)
            result = f"{kind}::apply({arguments})"
        self.loop(self._size(node.output), [*code.lines, f"{y}[i] = {result};"])
        if isinstance(node.op, Mul | Square):
            self._trace(node, y)

    def _product(self, node: Node[FixedOp], code: Statements) -> str:
        """A product of two values, bound to what computes it."""
        a, b = node.inputs[0], node.inputs[-1]
        how, out = self._how(a, b), self._type(node.output)
        return f"lutra::product<{how}, {out} >({code.read(a)}, {code.read(b)})"

    def _how(self, a: str, b: str) -> str:
        return f"lutra::multiply_{multiplies(self.plan.format(a), self.plan.format(b))}"

    def _second(self, node: Node[FixedOp], code: Statements) -> None:
        """Name the second operand: a value for each of the first's, or one a row, or constants."""
        graph, (x, other) = self.plan.graph, node.inputs
        a, b = graph.shapes[x], graph.shapes[other]
        size = self._size(other)
        if other not in graph.constants:
            name = self.variable(other)
            code.name(other, f"{name}[i]" if a == b else f"{name}[i / {a[-1]}]")
        elif size > 1:
            listed = ", ".join(f"{raw}LL" for raw in graph.constants[other].ravel().tolist())
            code.lines.append(f"static const long long raw[{size}] = {{{listed}}};")
            place = "i" if size == self._size(x) else f"i % {size}"
            code.lines.append(
                f"const {self._type(other)} other = lutra::from_raw<{self._type(other)} >"
                f"(raw[{place}]);"
            )
            code.name(other, "other")
