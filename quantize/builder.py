"""Building a fixed graph value by value, each in the narrowest format that provably holds it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..frontend.errors import FormatError
from ..frontend.graph import Graph, Node
from ..frontend.names import Names
from ..frontend.ops import Array, Mul, Op, Shape
from .calibrate import Precision
from .cast import Cast, cast_float
from .exact import ExactOp, Operand, Result, constant_bounds, result
from .exact_ops import Combine, Rearrange
from .fixed import FixedGraph, FixedOp, cast_bounds, index_bounds
from .float_index import FloatIndex
from .formats import Format, Overflow, Rounding, Target
from .lut import Lut
from .recurrence import Recurrence

GUARD_BITS = 2
"""Fraction bits that inner values have beyond those of the result that they make."""


class Builder:
    """The fixed graph that is being made from ``graph`` with the formats of ``precision``.

    Every method that adds a node returns the name of the value that the node defines.

    Attributes:
        layer: the layer of the float graph to which further nodes belong.
        nodes: where further nodes go; the body of a loop while one is made.
        sums: the part of a value of the float graph that a tail adds up, by that value's name.
        factors, inexact: as in the fixed graph.
    """

    def __init__(
        self, graph: Graph, precision: Precision, factors: Mapping[str, Array] | None = None
    ) -> None:
        self.graph = graph
        self.factors = factors or {}
        self.precision = precision
        self.nodes: list[Node[FixedOp]] = []
        self.layers: dict[str, str] = {}
        self.layer = ""
        self.constants: dict[str, Array] = {}
        self.formats: dict[str, Format] = {}
        self.bounds: dict[str, Result] = {}
        self.shapes = dict(graph.shapes)
        self.sums: dict[str, str] = {}
        self.inexact: dict[str, float] = {}
        self.names = Names({*graph.shapes, *(node.name for node in graph.nodes)})

    def finish(self) -> FixedGraph:
        """The graph of all that was added."""
        entry = {}
        for port in self.graph.inputs:
            target = self.precision.points[port.name]
            entry[port.name] = Cast(0, target.format, target.rounding, target.overflow)
        return FixedGraph(
            self.graph.name,
            self.graph.inputs,
            self.graph.outputs,
            entry,
            tuple(self.nodes),
            self.constants,
            self.formats,
            self.layers,
            self.inexact,
            {name: value for name, value in self.factors.items() if name in self.formats},
        )

    def new(self, name: str) -> str:
        """A free name like ``name``."""
        return self.names.new(name)

    def define(self, name: str, format_: Format, bounds: Result, shape: Shape) -> str:
        """A value that no node defines: an input, a part or a state of a loop."""
        self.formats[name] = format_
        self.bounds[name] = bounds
        self.shapes[name] = shape
        return name

    def emit(self, output: str, op: FixedOp, *inputs: str) -> str:
        """Add a node whose format and bounds are known; its name is that of its output."""
        self.nodes.append(Node(output, op, inputs, output))
        self.layers[output] = self.layer
        self.shapes[output] = op.infer(*(self.shapes[name] for name in inputs))
        return output

    def exact(self, output: str, op: ExactOp, *inputs: str) -> str:
        """Add an exact op in the narrowest format that holds its results."""
        if any(self.shapes[name] == () for name in inputs if name not in self.constants):
            inputs = tuple(self._scalar(name) for name in inputs)
        operands = [
            Operand.of(self.bounds[name], self.shapes[name], self.constants.get(name))
            for name in inputs
        ]
        bounds = result(op, operands)
        self.bounds[output] = bounds
        self.formats[output] = Format.holding(bounds.low, bounds.high, bounds.fraction)
        return self.emit(output, op, *inputs)

    def _scalar(self, name: str) -> str:
        """A constant of one number without axes, for values that have none; others as they are."""
        raw = self.constants.get(name)
        if raw is None or raw.ndim == 0 or raw.size != 1:
            return name
        return self.store(self.new(name), raw.reshape(()), self.formats[name])

    def cast(self, output: str, x: str, target: Target) -> str:
        cast = Cast(
            self.formats[x].fraction - target.format.fraction,
            target.format,
            target.rounding,
            target.overflow,
        )
        self.bounds[output] = cast_bounds(cast, self.bounds[x])
        self.formats[output] = target.format
        return self.emit(output, cast, x)

    def close(self, value: str, op: ExactOp, *inputs: str) -> str:
        """An exact op that defines ``value``, followed by the value's Cast if it has one."""
        return self.cast_to(self.precision.points.get(value), value, op, *inputs)

    def cast_to(self, target: Target | None, value: str, op: ExactOp, *inputs: str) -> str:
        """An exact op that defines ``value``, followed by a Cast if there is a ``target``."""
        if target is None:
            return self.exact(value, op, *inputs)
        return self.cast(value, self.exact(self.new(f"{self.layer}.exact"), op, *inputs), target)

    def combine(self, output: str, a: str, b: str, *, negative: bool = False) -> str:
        """``a + b``, or ``a - b``, with aligned fractions."""
        return self.exact(output, self.aligned(a, b, negative=negative), a, b)

    def aligned(self, a: str, b: str, *, negative: bool = False) -> Combine:
        """The op that adds a and b, or subtracts b from a."""
        fractions = [self.formats[name].fraction for name in (a, b)]
        first, second = (max(fractions) - fraction for fraction in fractions)
        return Combine((first, second), negative)

    def expand(self, x: str, shape: Shape) -> str:
        """``x`` with its axes of size 1 repeated up to ``shape``."""
        if self.shapes[x] == shape:
            return x
        return self.exact(self.new(f"{x}.expanded"), Rearrange.expand(self.shapes[x], shape), x)

    def constant(self, name: str, raw: Array, fraction: int) -> str:
        """A constant in the narrowest format that holds it."""
        low, high = int(raw.min()), int(raw.max())
        return self.store(name, raw, Format.holding(low, high, fraction))

    def store(self, name: str, raw: Array, format_: Format) -> str:
        """A constant, int64, in a given format."""
        self.constants[name] = raw
        bounds = constant_bounds(raw, format_.fraction)
        return self.define(name, format_, bounds, raw.shape)

    def rounded(self, name: str, values: Array | float, fraction: int) -> str:
        """A constant of real values, rounded to ``fraction`` fraction bits."""
        exact = np.asarray(values, np.float64) * 2.0**fraction
        largest = np.abs(exact).max(initial=0.0)
        if largest >= 2.0**62:
            raise FormatError("a constant is too large for its fraction", found=f"{largest:g}")
        return self.constant(name, np.asarray(np.floor(exact + 0.5), np.int64), fraction)

    def weight(self, name: str, values: Array | None = None) -> str:
        """The weight ``name`` of the float graph, or ``values`` made from it, in its format."""
        stored = name if values is None else self.new(name)
        if stored not in self.constants:
            format_ = self.precision.weights[name]
            source = self.graph.constants[name] if values is None else values
            self.store(stored, cast_float(source, format_).astype(np.int64), format_)
        return stored

    def scaled(self, output: str, x: str, factor: float, bits: int) -> str:
        """``x`` times a constant, which is rounded to ``bits`` significant bits."""
        mantissa = np.frexp(factor)[1]
        constant = self.rounded(self.new(f"{output}.factor"), factor, bits - int(mantissa))
        return self.exact(output, Mul(), x, constant)

    def lut(
        self,
        output: str,
        lut: Lut,
        x: str,
        format_: Format,
    ) -> str:
        """The table of a function over every value of ``x``."""
        raw = lut.table(self.formats[x], format_)
        name = self.store(self.new(f"{output}.table"), raw, format_)
        self.bounds[output] = self.bounds[name]
        self.formats[output] = format_
        return self.emit(output, lut, x, name)

    def float_index(self, output: str, x: str, bits: int) -> str:
        """The FloatIndex of ``x``."""
        op = FloatIndex(bits)
        self.bounds[output] = index_bounds(op, self.bounds[x])
        self.formats[output] = op.format(self.formats[x])
        return self.emit(output, op, x)

    def narrow(self, name: str, x: str, integer: int, bits: int | None = None) -> str:
        """``x`` itself if it is narrow enough to index a table, else a Cast of it.

        Args:
            name: of the Cast.
            x: the value.
            integer: integer bits that are worth keeping; beyond them the function is flat.
            bits: width of the index, the table's usual one by default.
        """
        bits = self.precision.index_bits if bits is None else bits
        source = self.formats[x]
        if source.width <= bits:
            return x
        index = Format(source.signed, bits, min(source.integer, integer))
        return self.cast(self.new(name), x, Target(index, Rounding.RND, Overflow.SAT))

    def split(self, name: str, x: str, bits: int) -> tuple[str, str]:
        """The upper ``bits`` bits of ``x``, and the value of the bits below, which is unsigned."""
        source = self.formats[x]
        upper = Format(source.signed, bits, source.integer)
        lower = Format(False, source.width - bits, source.integer - bits)
        high = Target(upper, Rounding.TRN, Overflow.SAT)
        low = Target(lower, Rounding.TRN, Overflow.WRAP)
        return (
            self.cast(self.new(f"{name}.high"), x, high),
            self.cast(self.new(f"{name}.low"), x, low),
        )

    def function(
        self,
        output: str,
        lut: Lut,
        x: str,
        target: Target,
        *,
        flat: int | None = None,
    ) -> str:
        """A function of one value, in the format of ``target``.

        An argument of at most ``index_bits`` bits indexes a table, so that every result is rounded
        correctly.  A wider one has its upper bits index a table of values and one of slopes.

        Args:
            flat: integer bits beyond which the function does not change any more.
        """
        bits = self.precision.index_bits
        source = self.formats[x]
        if source.width <= bits:
            return self.lut(output, lut, x, target.format)
        fraction = target.format.fraction + GUARD_BITS
        if flat is not None and flat < source.integer:
            width = source.width - (source.integer - flat)
            clamp = Format(source.signed, max(width, 1), flat)
            x = self.cast(self.new(f"{output}.near"), x, Target(clamp, Rounding.RND, Overflow.SAT))
            source = clamp
            if source.width <= bits:
                return self.lut(output, lut, x, target.format)
        high, low = self.split(output, x, bits)
        base = self.lut(
            self.new(f"{output}.base"), lut, high, _holding(lut, self.formats[high], fraction)
        )
        slope = Lut(lut.function, lut.parameters, slope=True)
        steepness = fraction - self.formats[high].fraction
        slopes = self.lut(
            self.new(f"{output}.slope"),
            slope,
            high,
            _holding(slope, self.formats[high], max(steepness, 0) + GUARD_BITS),
        )
        rise = self.exact(self.new(f"{output}.rise"), Mul(), slopes, low)
        total = self.combine(self.new(f"{output}.sum"), base, rise)
        return self.cast(output, total, target)

    def loop(
        self,
        node: Node[Op],
        loop: Recurrence,
        x: str,
    ) -> str:
        """Add a loop, whose body was made with this builder, as the value ``node.output``."""
        self.bounds[node.output] = self.bounds[loop.result]
        self.formats[node.output] = self.formats[loop.result]
        return self.emit(node.output, loop, x, *loop.constants)


def _holding(lut: Lut, index: Format, fraction: int) -> Format:
    """The narrowest format with ``fraction`` for all values of a table."""
    wide = Format(True, 48, 48 - fraction)
    raw = lut.table(index, wide)
    return Format.holding(int(raw.min()), int(raw.max()), fraction)
