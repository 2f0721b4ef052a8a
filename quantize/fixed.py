"""The fixed graph: every edge has a format, every weight is raw integers, every loss is visible.

Later stages infer nothing: the simulator runs its nodes, the generator writes them down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..frontend.errors import FormatError, LutraError, ModelError
from ..frontend.graph import Node, Port, infer_shapes
from ..frontend.ops import Array, Flatten, Reshape, Shape
from .cast import Cast, fit, round_to_integer
from .exact import ExactOp, Operand, Result, constant_bounds, result
from .float_index import FloatIndex
from .formats import MAX_WIDTH, Format, Overflow
from .lut import Lut
from .recurrence import Recurrence
from .structure import check_nodes, check_ports

FixedOp = ExactOp | Cast | Lut | FloatIndex | Recurrence
"""Ops of a fixed graph: exact ones, those that lose something, and loops over such ops."""


@dataclass(frozen=True)
class FixedGraph:
    """A network of integers.

    Attributes:
        name: what the model calls itself.
        inputs, outputs: the ports.
        entry: for each input port, the ``Cast`` that brings the user's floats into its format.
        nodes: in topological order.
        constants: raw weights and tables, int64.
        formats: format of every value, constants included.
        layers: for each node, the layer of the float graph that it comes from; for the nodes in
            the body of a loop too.
        inexact: layers whose factors would need more bits than there are to give, behind the
            rounding that follows, what real numbers give; and how far the value before it may be
            from theirs, in steps of that rounding.
        factors: of values of quantised models, what 1 stands for in the float graph where that is
            not 1: float64, one number or one a channel.
        shapes: shape of every value without the batch axis, inferred; a value of a loop's body has
            the loop's steps in front.
        bounds: provable bounds of every value, inferred; each format is checked to hold them.
    """

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    entry: Mapping[str, Cast]
    nodes: tuple[Node[FixedOp], ...]
    constants: Mapping[str, Array]
    formats: Mapping[str, Format]
    layers: Mapping[str, str]
    inexact: Mapping[str, float] = field(default_factory=dict)
    factors: Mapping[str, Array] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(init=False, compare=False)
    bounds: Mapping[str, Result] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        check_nodes(self.nodes, self.constants)
        shapes = infer_shapes(self.inputs, self.nodes, self.constants)
        check_ports(self.inputs, self.outputs, self.constants, shapes)
        for node in self.nodes:
            if isinstance(node.op, Recurrence):
                shapes |= body_shapes(node, node.op, shapes, self.constants)
        object.__setattr__(self, "shapes", shapes)
        missing = sorted(set(shapes) - set(self.formats))
        if missing or any(port.name not in self.entry for port in self.inputs):
            raise ModelError("a value has no format", found=missing or "an input without a Cast")
        for port in self.inputs:
            if self.entry[port.name].format != self.formats[port.name]:
                raise FormatError(f"the Cast of '{port.name}' does not fit its format")
        for name, factor in self.factors.items():
            if name in shapes and factor.shape not in ((1,), shapes[name][-1:]):
                raise ModelError(f"the factor of '{name}' does not fit it", found=factor.shape)
        homeless = [node.name for node in self.every_node() if node.name not in self.layers]
        if homeless:
            raise ModelError("a node belongs to no layer", node=homeless[0])
        object.__setattr__(self, "bounds", self._verify())

    def every_node(self) -> Iterator[Node[FixedOp]]:
        """All nodes in the order of computation; before a loop the nodes of its body."""
        for node in self.nodes:
            if isinstance(node.op, Recurrence):
                yield from node.op.body
            yield node

    def traced(self) -> Iterator[Node[FixedOp]]:
        """The nodes whose values the C++ numbers, in order, and records when it is traced.

        Flattening and reshaping compute nothing, and a loop's result is a value of its body.
        """
        for node in self.every_node():
            if not isinstance(node.op, Flatten | Reshape | Recurrence):
                yield node

    def operand(self, name: str, bounds: Mapping[str, Result]) -> Operand:
        """What is known of a value."""
        return Operand.of(bounds[name], self.shapes[name], self.constants.get(name))

    def _verify(self) -> dict[str, Result]:
        bounds: dict[str, Result] = {}
        for port in self.inputs:
            bounds[port.name] = whole(self.formats[port.name])
        for name, raw in self.constants.items():
            bounds[name] = constant_bounds(raw, self.formats[name].fraction)
            _check(name, bounds[name], self.formats[name])
        for node in self.nodes:
            self._bound(node, bounds)
        return bounds

    def _bound(self, node: Node[FixedOp], bounds: dict[str, Result]) -> None:
        """Add the bounds of what ``node`` defines, and check that its format holds them."""
        try:
            if isinstance(node.op, Recurrence):
                self._bound_loop(node, node.op, bounds)
            else:
                bounds[node.output] = self._bounds(node, bounds)
            _check(node.output, bounds[node.output], self.formats[node.output])
        except LutraError as error:
            error.node = error.node or node.name
            raise

    def _bound_loop(self, node: Node[FixedOp], loop: Recurrence, bounds: dict[str, Result]) -> None:
        """As :meth:`_bound` for a loop: states may have any value of their formats."""
        for part in loop.parts:
            bounds[part] = bounds[node.inputs[0]]
            self._same_format(part, node.inputs[0])
        for state in loop.states:
            bounds[state.before] = whole(self.formats[state.before])
            self._same_format(state.before, state.after)
        for inner in loop.body:
            self._bound(inner, bounds)
        bounds[node.output] = bounds[loop.result]

    def _same_format(self, name: str, other: str) -> None:
        if self.formats[name] != self.formats[other]:
            raise FormatError(
                f"'{name}' stands for '{other}' and has another format",
                found=self.formats[name],
                expected=self.formats[other],
            )

    def _bounds(self, node: Node[FixedOp], bounds: Mapping[str, Result]) -> Result:
        operands = [self.operand(name, bounds) for name in node.inputs]
        match node.op:
            case Cast() as cast:
                x = bounds[node.inputs[0]]
                expected = x.fraction - cast.format.fraction
                if cast.shift != expected or self.formats[node.output] != cast.format:
                    raise FormatError(
                        "Cast does not fit its edges", found=cast.shift, expected=expected
                    )
                return cast_bounds(cast, x)
            case Lut():
                index, table = self.formats[node.inputs[0]], bounds[node.inputs[1]]
                if self.shapes[node.inputs[1]] != (1 << index.width,):
                    raise FormatError(
                        "the table does not fit its index",
                        found=self.shapes[node.inputs[1]],
                        expected=f"{1 << index.width} entries",
                    )
                return table
            case FloatIndex() as index_of:
                return index_bounds(index_of, bounds[node.inputs[0]])
            case Recurrence():
                raise AssertionError("a loop's bounds are those of its result")
            case op:
                return result(op, operands)


def index_bounds(op: FloatIndex, x: Result) -> Result:
    """Bounds of a FloatIndex's results.

    Raises:
        FormatError: x may be negative, or the index has an impossible width.
    """
    if not 0 <= op.bits <= MAX_WIDTH:
        raise FormatError(
            "a FloatIndex cannot have this width", found=op.bits, expected=f"0 to {MAX_WIDTH}"
        )
    if x.low < 0:
        raise FormatError("a FloatIndex takes no negative values", found=x.low, expected="raw >= 0")
    low, high = op.apply(x.low), op.apply(x.high)
    return Result(low, high, 0, max(x.high, high, 1 << op.bits + 1))


def cast_bounds(cast: Cast, x: Result) -> Result:
    """Bounds of a Cast's results: its values at the ends, unless something may wrap between."""
    ends = np.array([x.low, x.high], np.float64)
    rounded = round_to_integer(ends * 2.0**-cast.shift, cast.rounding)
    inside = (rounded >= cast.format.low).all() and (rounded <= cast.format.high).all()
    if inside or cast.overflow in (Overflow.SAT, Overflow.SAT_SYM):
        raw = fit(rounded, cast.format, cast.overflow)
        return Result(int(raw[0]), int(raw[1]), cast.format.fraction, int(np.abs(raw).max()))
    return whole(cast.format)


def whole(format_: Format) -> Result:
    """Bounds of a format, whatever the values."""
    magnitude = max(-format_.low, format_.high)
    return Result(format_.low, format_.high, format_.fraction, magnitude)


def _check(name: str, bounds: Result, format_: Format) -> None:
    if (
        bounds.fraction != format_.fraction
        or bounds.low < format_.low
        or bounds.high > format_.high
    ):
        raise FormatError(
            f"the format of '{name}' does not hold its values",
            found=f"{format_}, fraction {format_.fraction}",
            expected=f"raw {bounds.low} to {bounds.high} with fraction {bounds.fraction}",
        )


def body_shapes(
    node: Node[FixedOp],
    loop: Recurrence,
    shapes: Mapping[str, Shape],
    constants: Mapping[str, Array],
) -> dict[str, Shape]:
    """Shapes of what is named in a loop's body, with the loop's steps in front of its values.

    Raises:
        ShapeError: a node of the body does not fit its inputs, or gives another number of values.
        ModelError: a name is not defined, or twice.
    """
    steps, width = shapes[node.inputs[0]]
    units = (width // len(loop.parts),)
    ports = [Port.of(name, units) for name in (*loop.parts, *(s.before for s in loop.states))]
    constants = {name: constants[name] for name in loop.constants}
    inner = infer_shapes(ports, loop.body, constants)
    clash = sorted((inner.keys() & shapes.keys()) - constants.keys())
    unknown = {loop.result, *(state.after for state in loop.states)} - inner.keys()
    wrong = [n.name for n in loop.body if inner[n.output] != units]
    if len({port.name for port in ports}) != len(ports):
        clash = [port.name for port in ports]
    if clash or unknown or wrong:
        raise ModelError(
            "the body of the loop does not fit the network around it",
            node=node.name,
            found=clash or sorted(unknown) or wrong,
            expected=f"values of its own, {units[0]} each, the states and the result among them",
        )
    return {name: (steps, *shape) for name, shape in inner.items() if name not in constants}
