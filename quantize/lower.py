"""From float graph to fixed graph: ops become exact ops, ``Cast`` and ``Lut``, in one place."""

from __future__ import annotations

import math
from typing import assert_never

import numpy as np

from ..frontend.errors import FormatError, LutraError, UnsupportedOpError
from ..frontend.graph import Graph, Node
from ..frontend.names import Names
from ..frontend.ops import (
    Array,
    AveragePool,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    MaxPool,
    Mul,
    Op,
    ReduceSum,
    Relu,
    Sigmoid,
    Softmax,
    SumPool,
    Tanh,
    Transpose,
    Window,
)
from ..frontend.passes import drop_unused
from .calibrate import Precision, Target
from .cast import Cast, cast_float
from .exact import BelowMax, ExactOp, Operand, Result, constant_bounds, result
from .fixed import FixedGraph, FixedOp, cast_bounds, whole
from .formats import Format, Overflow, Rounding
from .lut import Function, Lut, table

GUARD_BITS = 2
"""Fraction bits that the inner values of a softmax have beyond those of its result."""

SUM_BITS = 2
"""Index bits that the sum of a softmax may have beyond other indices.  The sum is at least 1, so
that its reciprocal is off by no more than half an index step: with as many fraction bits as the
result has, less one, by one step of the result."""

RECIPROCAL_BITS = 4
"""Significant bits of an average's reciprocal beyond the width of its result."""


def lower(graph: Graph, precision: Precision) -> FixedGraph:
    """Lower every node of ``graph`` that an output needs, with the formats of ``precision``.

    Raises:
        UnsupportedOpError: an op has no fixed-point form.
        FormatError: an exact result is wider than 53 bits.
    """
    return _Lowering(drop_unused(graph), precision).run()


class _Lowering:
    """Builds one fixed graph, value by value, in the order of the float graph."""

    def __init__(self, graph: Graph, precision: Precision) -> None:
        self.graph = graph
        self.precision = precision
        self.nodes: list[Node[FixedOp]] = []
        self.layers: dict[str, str] = {}
        self.layer = ""
        self.constants: dict[str, Array] = {}
        self.formats: dict[str, Format] = {}
        self.bounds: dict[str, Result] = {}
        self.shapes = dict(graph.shapes)
        self.names = Names({*graph.shapes, *(node.name for node in graph.nodes)})

    def run(self) -> FixedGraph:
        entry = {}
        for port in self.graph.inputs:
            target = self.precision.points[port.name]
            entry[port.name] = Cast(0, target.format, target.rounding, target.overflow)
            self.formats[port.name] = target.format
            self.bounds[port.name] = whole(target.format)
        for node in self.graph.nodes:
            try:
                self._node(node)
            except LutraError as error:
                error.node = node.name
                if isinstance(error, FormatError):
                    error.remedy = "Give this layer, or the one before it, fewer bits"
                raise
        return FixedGraph(
            self.graph.name,
            self.graph.inputs,
            self.graph.outputs,
            entry,
            tuple(self.nodes),
            self.constants,
            self.formats,
            self.layers,
        )

    def _node(self, node: Node[Op]) -> None:
        self.layer = node.name
        x = node.inputs[0]
        match node.op:
            case Dense() | Conv() as op:
                self._linear(op, node)
            case MaxPool() | Relu() | Flatten() as op:
                self._close(node.output, op, x)
            case AveragePool() as op:
                self._average(op.window, node)
            case GlobalAveragePool():
                self._average(Window.of(self.shapes[x][:-1]), node)
            case Sigmoid():
                self._function(Function.SIGMOID, node)
            case Tanh():
                self._function(Function.TANH, node)
            case Softmax():
                self._softmax(node)
            case Transpose():
                raise UnsupportedOpError(
                    "a transposition inside the network cannot be streamed",
                    found=f"axes {node.op.axes}",
                    expected="channels last up to the flattening",
                    remedy="Move it to the model's input or output",
                )
            case _:
                assert_never(node.op)

    # Pieces that the ops are made of

    def _emit(self, output: str, op: FixedOp, *inputs: str) -> str:
        """Add a node; its name is that of its output."""
        self.nodes.append(Node(output, op, inputs, output))
        self.layers[output] = self.layer
        self.shapes[output] = op.infer(*(self.shapes[name] for name in inputs))
        return output

    def _exact(self, output: str, op: ExactOp, *inputs: str) -> str:
        """Add an exact op in the narrowest format that holds its results."""
        operands = [
            Operand.of(self.bounds[name], self.shapes[name], self.constants.get(name))
            for name in inputs
        ]
        bounds = result(op, operands)
        self.bounds[output] = bounds
        self.formats[output] = Format.holding(bounds.low, bounds.high, bounds.fraction)
        return self._emit(output, op, *inputs)

    def _cast(self, output: str, x: str, target: Target) -> str:
        cast = Cast(
            self.formats[x].fraction - target.format.fraction,
            target.format,
            target.rounding,
            target.overflow,
        )
        self.bounds[output] = cast_bounds(cast, self.bounds[x])
        self.formats[output] = target.format
        return self._emit(output, cast, x)

    def _constant(self, name: str, raw: Array, format_: Format) -> str:
        self.constants[name] = raw
        self.formats[name] = format_
        self.bounds[name] = constant_bounds(raw, format_.fraction)
        self.shapes[name] = raw.shape
        return name

    def _lut(self, output: str, function: Function, x: str, format_: Format) -> str:
        raw = table(function, self.formats[x], format_)
        name = self._constant(self.names.new(f"{output}.table"), raw, format_)
        self.bounds[output] = self.bounds[name]
        self.formats[output] = format_
        return self._emit(output, Lut(function), x, name)

    def _narrow(self, name: str, x: str, integer: int, extra: int = 0) -> str:
        """``x`` itself if it is narrow enough to index a table, else a Cast of it.

        ``integer`` bounds the integer bits that are worth keeping; ``extra`` bits are allowed
        beyond the usual width.
        """
        bits = self.precision.index_bits + extra
        source = self.formats[x]
        if source.width <= bits:
            return x
        index = Format(source.signed, bits, min(source.integer, integer))
        return self._cast(self.names.new(name), x, Target(index, Rounding.RND, Overflow.SAT))

    def _close(self, value: str, op: ExactOp, *inputs: str) -> str:
        """An exact op that defines ``value``, followed by the value's Cast if it has one."""
        target = self.precision.points.get(value)
        if target is None:
            return self._exact(value, op, *inputs)
        return self._cast(
            value, self._exact(self.names.new(f"{self.layer}.exact"), op, *inputs), target
        )

    # One method for each op that needs more than one line

    def _linear(self, op: Dense | Conv, node: Node[Op]) -> None:
        x, weight, *bias = node.inputs
        format_ = self.precision.weights[weight]
        inputs = [x, self._weight(weight, format_)]
        if bias:
            fraction = self.formats[x].fraction + format_.fraction
            raw = np.floor(self.graph.constants[bias[0]].astype(np.float64) * 2.0**fraction + 0.5)
            low, high = int(raw.min()), int(raw.max())
            holding = Format.holding(low, high, fraction)
            name = self.names.new(f"{node.name}.bias")
            inputs.append(self._constant(name, raw.astype(np.int64), holding))
        self._close(node.output, op, *inputs)

    def _weight(self, name: str, format_: Format) -> str:
        if name not in self.constants:
            raw = cast_float(self.graph.constants[name], format_).astype(np.int64)
            self._constant(name, raw, format_)
        return name

    def _average(self, window: Window, node: Node[Op]) -> None:
        """Exact sum, times a fixed-point reciprocal: exact if the count is a power of two."""
        total = self._exact(self.names.new(f"{node.name}.sum"), SumPool(window), node.inputs[0])
        width = self.formats[total].width + RECIPROCAL_BITS
        target = self.precision.points.get(node.output)
        if target is not None:
            width = target.format.width + RECIPROCAL_BITS
        count = window.size
        fraction = count.bit_length() - 1
        if count & (count - 1):
            fraction += width
        raw = np.array([(2 * (1 << fraction) + count) // (2 * count)], np.int64)
        holding = Format.holding(int(raw[0]), int(raw[0]), fraction)
        reciprocal = self._constant(self.names.new(f"{node.name}.reciprocal"), raw, holding)
        self._close(node.output, Mul(), total, reciprocal)

    def _function(self, function: Function, node: Node[Op]) -> None:
        target = self.precision.points[node.output]
        x = node.inputs[0]
        index = self._narrow(f"{node.name}.index", x, self.formats[x].integer)
        self._lut(node.output, function, index, target.format)

    def _softmax(self, node: Node[Op]) -> None:
        """Distance below the maximum, exp table, sum, reciprocal table, product, Cast."""
        name = node.name
        target = self.precision.points[node.output]
        fraction = max(target.format.fraction, 1) + GUARD_BITS
        inner = Format(False, fraction + 1, 1)
        below = self._exact(self.names.new(f"{name}.below"), BelowMax(), node.inputs[0])
        vanishing = math.ceil(math.log2(math.log(2) * (fraction + 1)))
        index = self._narrow(f"{name}.index", below, vanishing)
        power = self._lut(self.names.new(f"{name}.exp"), Function.EXP_NEGATIVE, index, inner)
        total = self._exact(self.names.new(f"{name}.sum"), ReduceSum(), power)
        integer = self.formats[total].integer
        wanted = integer + target.format.fraction - 1 - self.precision.index_bits
        extra = min(max(wanted, 0), SUM_BITS)
        index = self._narrow(f"{name}.sum_index", total, integer, extra)
        inverse = self._lut(self.names.new(f"{name}.inverse"), Function.RECIPROCAL, index, inner)
        self._close(node.output, Mul(), power, inverse)
