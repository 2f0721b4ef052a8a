"""C++ text of elementwise functions: straight-line code of the types in elementwise.h."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..frontend.graph import Node
from ..frontend.ops import Mul, Relu
from ..quantize.cast import Cast
from ..quantize.exact_ops import Clamp, Combine, Leaky, Square
from ..quantize.fixed import FixedOp
from ..quantize.float_index import FloatIndex
from ..quantize.formats import Format
from ..quantize.lut import Lut
from .cpp_types import cast_type, value_type
from .plan import Plan
from .processes import Elementwise


@dataclass(frozen=True)
class FunctionText:
    """A struct with a static ``apply``.

    Attributes:
        name: its identifier.
        operands: names of the ``typedef`` members of the operands, and their types.
        out: type of the result.
        parameters: of ``apply``, as C++ has them between parentheses.
        lines: the statements of ``apply``.
    """

    name: str
    operands: Mapping[str, str]
    out: str
    parameters: str
    lines: tuple[str, ...]


class Statements:
    """Straight-line C++ that computes nodes, one variable a value.

    Args:
        plan: the design.
        tables: type names of the look-up tables, by constant.
    """

    def __init__(self, plan: Plan, tables: Mapping[str, str]) -> None:
        self.plan = plan
        self.tables = tables
        self.lines: list[str] = []
        self.variables: dict[str, str] = {}

    def name(self, value: str, variable: str) -> None:
        """``value`` stands in ``variable`` from now on."""
        self.variables[self._source(value)] = variable

    def read(self, value: str) -> str:
        """The variable that holds ``value``; a constant of one number gets one."""
        source = self._source(value)
        if source not in self.variables:
            type_ = self.type(value)
            raw = int(self.plan.graph.constants[value].item())
            variable = f"c{len(self.variables)}"
            self.lines.append(f"const {type_} {variable} = {literal(type_, raw)};")
            self.variables[source] = variable
        return self.variables[source]

    def _source(self, value: str) -> str:
        return self.plan.sources.get(value, value)

    def type(self, value: str) -> str:
        """The plain type of a value."""
        return value_type(self.plan.format(value))

    def add(self, node: Node[FixedOp]) -> None:
        """The statement that defines the node's value."""
        kind, arguments = self.call(node)
        variable = f"v{len(self.variables)}"
        self.lines.append(f"{self.type(node.output)} {variable} = {kind}::apply({arguments});")
        self.variables[node.output] = variable

    def call(self, node: Node[FixedOp]) -> tuple[str, str]:
        """The type whose ``apply`` computes the node, and the arguments."""
        x = node.inputs[0]
        number = self.plan.ids[node.output]
        source, result = self.type(x), self.type(node.output)
        first = self.read(x)
        match node.op:
            case Relu():
                return f"lutra::relu<{number}, {source}, {result} >", first
            case Square():
                return f"lutra::square<{number}, {source}, {result} >", first
            case FloatIndex(bits):
                return f"lutra::float_index<{number}, {source}, {result}, {bits}>", first
            case Lut():
                table = self.tables[node.inputs[1]]
                return f"lutra::lut<{number}, {source}, {result}, {table}>", first
            case Cast() as cast:
                source, first = self._extended(x, cast)
                return f"lutra::cast<{number}, {source}, {cast_type(cast)} >", first
            case Clamp() as clamp:
                return self._clamp(clamp, node)
            case Mul() | Combine() | Leaky() as op:
                second = self.read(node.inputs[1])
                types = f"{source}, {self.type(node.inputs[1])}, {result}"
                return f"lutra::{_pair_kind(op)}<{number}, {types} >", f"{first}, {second}"
            case op:
                raise AssertionError(f"{op} is not a function of single values")

    def _extended(self, x: str, cast: Cast) -> tuple[str, str]:
        """Type and variable of a Cast's operand, in a type that holds every bit that is dropped:
        the headers read past the end of a narrower one."""
        source = self.plan.format(x)
        missing = cast.shift + 1 - source.width
        if missing <= 0:
            return value_type(source), self.read(x)
        wide = value_type(Format(source.signed, cast.shift + 1, source.integer + missing))
        variable = f"w{len(self.lines)}"
        self.lines.append(f"{wide} {variable} = {self.read(x)};")
        return wide, variable

    def _clamp(self, clamp: Clamp, node: Node[FixedOp]) -> tuple[str, str]:
        """Bounds beyond the operand's format change nothing, and are drawn in to it."""
        source = self.plan.format(node.inputs[0])
        ends = max(clamp.low, source.low), min(clamp.high, source.high)
        formats = [Format.holding(raw, raw, source.fraction) for raw in ends]
        types = [value_type(format_) for format_ in formats]
        bounds = [literal(type_, raw) for type_, raw in zip(types, ends, strict=True)]
        kind = ", ".join((value_type(source), *types, self.type(node.output)))
        arguments = ", ".join((self.read(node.inputs[0]), *bounds))
        return f"lutra::clamp<{self.plan.ids[node.output]}, {kind} >", arguments


def _pair_kind(op: Mul | Combine | Leaky) -> str:
    match op:
        case Mul():
            return "multiply"
        case Leaky():
            return "leaky"
        case Combine():
            return "subtract" if op.negative else "add"


def literal(type_: str, raw: int) -> str:
    """The value of a type with this raw integer."""
    return f"lutra::from_raw<{type_} >({raw}LL)"


def function_text(plan: Plan, tables: Mapping[str, str], function: Elementwise) -> FunctionText:
    """The struct of an elementwise function."""
    code = Statements(plan, tables)
    members = {}
    for i, operand in enumerate(function.operands):
        code.name(operand, f"v{i}")
        members[f"in{i or ''}"] = code.type(operand)
    for node in function.nodes:
        code.add(node)
    code.lines.append(f"return {code.read(function.result)};")
    parameters = ", ".join(f"const {name}& v{i}" for i, name in enumerate(members))
    out = code.type(function.result)
    return FunctionText(function.name, members, out, parameters, tuple(code.lines))
