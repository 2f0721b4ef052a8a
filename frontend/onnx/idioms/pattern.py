"""Patterns of ONNX nodes, matched by what they compute: structure and constants, never names.

A pattern is held against a value and looks at the nodes that make it.  Products and sums are
compared as such: whatever the order of their operands, and however they are spread over Mul, Div,
Neg, Pow, Sqrt and Reciprocal, or Add, Sub and Neg.  A search is bounded, so that no file can make
it long; what is not found stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import onnx
from onnx import NodeProto

from .nodes import Nodes

TOLERANCE = 1e-6
"""How far a constant may be from what is meant, relative: some exporters write fewer decimals than
a float32 holds."""

STEPS = 300
"""Most nodes that the search for one pattern at one value looks at; real ones need up to 60."""

MOST_STEPS = 150_000
"""Most nodes that all searches in one file look at: some seconds; real files need up to 60 for
each of their nodes."""

Bound = str | float | tuple[int, ...]


class _ExhaustedError(Exception):
    """A search took too long."""


@dataclass(frozen=True)
class Match:
    """What a pattern has found so far: what its names stand for, and which nodes it is made of."""

    bound: Mapping[str, Bound] = field(default_factory=dict)
    nodes: frozenset[int] = frozenset()

    def binding(self, name: str, value: Bound) -> Match | None:
        """With ``name`` standing for ``value``; None if it stands for something else already."""
        known = self.bound.get(name)
        if known is None:
            return Match({**self.bound, name: value}, self.nodes)
        if isinstance(known, float) and isinstance(value, float):
            return self if near(known, value) else None
        return self if known == value else None

    def using(self, nodes: frozenset[int]) -> Match:
        return Match(self.bound, self.nodes | nodes)


class Pattern(Protocol):
    """What a value may be made of; ``roots`` are the ops whose result it can be."""

    @property
    def roots(self) -> frozenset[str]: ...

    def find(self, search: Search, value: str, match: Match) -> Iterator[Match]:
        """All ways in which ``value`` is made like this, given what has been found so far."""


class Search:
    """Looks for patterns in one file, for a bounded time."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self._left = MOST_STEPS
        self._here = 0

    def matches(self, pattern: Pattern, value: str) -> Iterator[Match]:
        """The ways in which ``value`` is made like this that are found in time."""
        self._here = STEPS
        with suppress(_ExhaustedError):
            yield from pattern.find(self, value, Match())

    def maker(self, value: str) -> NodeProto | None:
        """The node that makes ``value``.

        Raises:
            _ExhaustedError: too many nodes have been looked at.
        """
        self._left -= 1
        self._here -= 1
        if min(self._left, self._here) < 0:
            raise _ExhaustedError
        return self.nodes.maker(value)

    def here(self, value: str) -> frozenset[int]:
        """The index of the node that gives ``value``."""
        index = self.nodes.index(value)
        return frozenset() if index is None else frozenset({index})


def near(value: float, wanted: float) -> bool:
    return abs(value - wanted) <= TOLERANCE * abs(wanted)


@dataclass(frozen=True)
class Var:
    """A value that depends on the network's input; the same one wherever the name stands."""

    name: str

    @property
    def roots(self) -> frozenset[str]:
        return frozenset()

    def find(self, search: Search, value: str, match: Match) -> Iterator[Match]:
        value = search.nodes.source(value)
        bound = None if search.nodes.constant(value) else match.binding(self.name, value)
        if bound is not None:
            yield bound


@dataclass(frozen=True)
class Weight:
    """A constant of any shape."""

    name: str

    @property
    def roots(self) -> frozenset[str]:
        return frozenset()

    def find(self, search: Search, value: str, match: Match) -> Iterator[Match]:
        bound = match.binding(self.name, value) if search.nodes.constant(value) else None
        if bound is not None:
            yield bound


@dataclass(frozen=True)
class Number:
    """A constant that is one number: a given one, or any, which gets a name."""

    number: float | str

    @property
    def roots(self) -> frozenset[str]:
        return frozenset()

    def find(self, search: Search, value: str, match: Match) -> Iterator[Match]:
        found = search.nodes.number(value)
        if found is not None:
            yield from equal(self.number, found, match)


def equal(wanted: float | str, found: float, match: Match) -> Iterator[Match]:
    """``match``, if ``found`` is the number that is wanted, or what a name may stand for."""
    if not isinstance(wanted, str):
        if near(found, wanted):
            yield match
    elif math.isfinite(found):
        bound = match.binding(wanted, found)
        if bound is not None:
            yield bound


@dataclass(frozen=True)
class Either:
    """One of several patterns."""

    patterns: tuple[Pattern, ...]

    @property
    def roots(self) -> frozenset[str]:
        return frozenset().union(*(pattern.roots for pattern in self.patterns))

    def find(self, search: Search, value: str, match: Match) -> Iterator[Match]:
        for pattern in self.patterns:
            yield from pattern.find(search, value, match)


def either(*patterns: Pattern) -> Either:
    return Either(patterns)


@dataclass(frozen=True)
class Call:
    """The result of an op on as many inputs, in this order or, for two of Max or Min, in any.

    Attributes:
        op: its type.
        inputs: what it reads.
        numbers: its attributes, by name; others must not be set.
    """

    op: str
    inputs: tuple[Pattern, ...]
    numbers: tuple[tuple[str, float | str], ...] = ()

    @property
    def roots(self) -> frozenset[str]:
        return frozenset({self.op})

    def find(self, search: Search, value: str, match: Match) -> Iterator[Match]:
        node = search.maker(value)
        if node is None or node.op_type != self.op or len(node.input) != len(self.inputs):
            return
        given = {attribute.name: attribute for attribute in node.attribute}
        if not given.keys() <= {name for name, _ in self.numbers}:
            return
        match = match.using(search.here(value))
        found = [match]
        for name, wanted in self.numbers:
            number = _attribute(node, name, given.get(name), search.nodes.opset)
            found = [m for before in found for m in equal(wanted, number, before)]
        orders = [tuple(node.input)]
        if self.op in ("Max", "Min") and len(node.input) == 2:
            orders.append(orders[0][::-1])
        for before in found:
            for order in orders:
                yield from in_order(search, self.inputs, order, before)


def call(op: str, *inputs: Pattern, **numbers: float | str) -> Call:
    return Call(op, inputs, tuple(numbers.items()))


def in_order(
    search: Search, patterns: tuple[Pattern, ...], values: tuple[str, ...], match: Match
) -> Iterator[Match]:
    """All ways in which each value is made like the pattern at its place."""
    if not patterns:
        yield match
        return
    for found in patterns[0].find(search, values[0], match):
        yield from in_order(search, patterns[1:], values[1:], found)


def _attribute(node: NodeProto, name: str, attribute: Any, opset: int) -> float:
    """A number that an attribute of a node says, or that it means by default; NaN if none."""
    if attribute is None:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
        attribute = schema.attributes[name].default_value
    match attribute.type:
        case onnx.AttributeProto.FLOAT:
            return float(attribute.f)
        case onnx.AttributeProto.INT:
            return float(attribute.i)
        case _:
            return math.nan


@dataclass(frozen=True)
class Reduced:
    """A reduction that keeps the axes it goes over, which get a name."""

    op: str
    inner: Pattern
    axes: str = "axes"

    @property
    def roots(self) -> frozenset[str]:
        return frozenset({self.op})

    def find(self, search: Search, value: str, match: Match) -> Iterator[Match]:
        node = search.maker(value)
        if node is None or not node.input:
            return
        axes = self._axes(search.nodes, node)
        bound = match.binding(self.axes, axes) if axes is not None else None
        if bound is not None:
            bound = bound.using(search.here(value))
            yield from self.inner.find(search, node.input[0], bound)

    def _axes(self, nodes: Nodes, node: NodeProto) -> tuple[int, ...] | None:
        """The axes that the node reduces; empty for all behind the second."""
        if node.op_type == "GlobalAveragePool" and self.op == "ReduceMean":
            return ()
        given = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type != self.op or not given.keys() <= {"axes", "keepdims"}:
            return None
        if "keepdims" in given and given["keepdims"].i != 1:
            return None
        if len(node.input) == 2:
            found = nodes.numbers(node.input[1])
        else:
            found = tuple(given["axes"].ints) if "axes" in given else None
        return tuple(sorted(int(axis) for axis in found)) if found else None


@dataclass(frozen=True)
class Clamped:
    """A value within bounds, either of which may be infinite or get a name."""

    inner: Pattern
    low: float | str
    high: float | str

    @property
    def roots(self) -> frozenset[str]:
        return frozenset({"Relu", "Max", "Min", "Clip"})

    def find(self, search: Search, value: str, match: Match) -> Iterator[Match]:
        low, high = -math.inf, math.inf
        seen: list[tuple[str, float, float, Match]] = []
        for _ in range(2):
            step = self._step(search, value)
            if step is None:
                break
            match = match.using(search.here(value))
            value, inner_low, inner_high = step
            low, high = (min(max(bound, low), high) for bound in (inner_low, inner_high))
            seen.append((value, low, high, match))
        for value, low, high, match in reversed(seen):
            for found in _bounded(self.low, low, match):
                for both in _bounded(self.high, high, found):
                    yield from self.inner.find(search, value, both)

    def _step(self, search: Search, value: str) -> tuple[str, float, float] | None:
        """What a value is one node that bounds it, and the bounds."""
        node = search.maker(value)
        if node is None:
            return None
        inputs, number = list(node.input), search.nodes.number
        match node.op_type:
            case "Relu" if len(inputs) == 1:
                return inputs[0], 0.0, math.inf
            case "Max" | "Min" if len(inputs) == 2:
                for x, c in (inputs, inputs[::-1]):
                    bound = number(c)
                    if bound is not None and node.op_type == "Max":
                        return x, bound, math.inf
                    if bound is not None:
                        return x, -math.inf, bound
                return None
            case "Clip":
                return _clip(search.nodes, node)
            case _:
                return None


def _clip(nodes: Nodes, node: NodeProto) -> tuple[str, float, float] | None:
    """The bounds are attributes before opset 11, then constant inputs; either may be absent."""
    given = {attribute.name: attribute.f for attribute in node.attribute}
    if not node.input:
        return None
    x, *inputs = node.input
    bounds = []
    for i, (key, default) in enumerate((("min", -math.inf), ("max", math.inf))):
        bound: float | None = given.get(key, default)
        if i < len(inputs) and inputs[i]:
            bound = nodes.number(inputs[i])
        if bound is None:
            return None
        # Before opset 11 the largest float32 stands for no bound.
        bounds.append(default if abs(bound) >= 3.4028234e38 and bound * default > 0 else bound)
    return x, bounds[0], bounds[1]


def _bounded(wanted: float | str, found: float, match: Match) -> Iterator[Match]:
    if isinstance(wanted, str):
        bound = match.binding(wanted, found)
        if bound is not None:
            yield bound
    elif wanted == found or near(found, wanted):
        yield match
