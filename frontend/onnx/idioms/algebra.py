"""Patterns that are products and sums, however an exporter spreads them over nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onnx import NodeProto

from .pattern import Match, Pattern, Search, equal

DEEP = 6
"""Most nodes on the way from a product or sum to one of its operands."""

Leaf = tuple[str, float]
"""A value, and the exponent of a factor or the sign of a term."""


@dataclass(frozen=True)
class Part:
    """A way to see a value as a product or a sum: a number, the other operands, and its nodes."""

    number: float
    leaves: tuple[Leaf, ...] = ()
    nodes: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Product:
    """A number times powers of values; patterns of different factors must not fit one value.

    Attributes:
        coefficient: the number, or what to call it.
        factors: patterns with exponents.
        sign: by which the value is multiplied first.
    """

    coefficient: float | str
    factors: tuple[tuple[Pattern, float], ...]
    sign: float = 1.0

    @property
    def roots(self) -> frozenset[str]:
        return frozenset({"Mul", "Div", "Neg", "Reciprocal", "Sqrt", "Pow"})

    def find(self, search: Search, value: str, match: Match) -> Iterator[Match]:
        room = int(sum(max(1.0, abs(exponent)) for _, exponent in self.factors))
        for part in _factors(search, value, 1.0, room, DEEP):
            leaves = _merged(part.leaves)
            if len(leaves) != len(self.factors):
                continue
            for found in equal(self.coefficient, self.sign * part.number, match):
                yield from _assigned(search, self.factors, leaves, found.using(part.nodes))


@dataclass(frozen=True)
class Sum:
    """A number, plus multiples of values.

    Attributes:
        constant: the number, or what to call it.
        terms: patterns behind their coefficients, which may be named, too.
    """

    constant: float | str
    terms: tuple[tuple[float | str, Pattern], ...]

    @property
    def roots(self) -> frozenset[str]:
        return frozenset({"Add", "Sub", "Neg"})

    def find(self, search: Search, value: str, match: Match) -> Iterator[Match]:
        for part in _terms(search, value, 1.0, len(self.terms), DEEP):
            if len(part.leaves) == len(self.terms):
                for found in equal(self.constant, part.number, match):
                    yield from _added(search, self.terms, part.leaves, found.using(part.nodes))


def product(coefficient: float | str, *factors: Pattern | tuple[Pattern, float]) -> Product:
    """A product; a factor without an exponent stands there as it is."""
    return Product(coefficient, tuple(f if isinstance(f, tuple) else (f, 1.0) for f in factors))


def total(constant: float | str, *terms: Pattern | tuple[float | str, Pattern]) -> Sum:
    """A sum; a term without a coefficient stands there as it is."""
    return Sum(constant, tuple(t if isinstance(t, tuple) else (1.0, t) for t in terms))


def _merged(leaves: tuple[Leaf, ...]) -> tuple[Leaf, ...]:
    """With one power of each value."""
    exponents: dict[str, float] = {}
    for value, exponent in leaves:
        exponents[value] = exponents.get(value, 0.0) + exponent
    return tuple(exponents.items())


def _assigned(
    search: Search,
    factors: tuple[tuple[Pattern, float], ...],
    leaves: tuple[Leaf, ...],
    match: Match,
) -> Iterator[Match]:
    """All ways to give each factor one of the values."""
    if not factors:
        yield match
        return
    pattern, wanted = factors[0]
    for i, (value, exponent) in enumerate(leaves):
        if exponent == wanted:
            rest = leaves[:i] + leaves[i + 1 :]
            for found in pattern.find(search, value, match):
                yield from _assigned(search, factors[1:], rest, found)


def _added(
    search: Search,
    terms: tuple[tuple[float | str, Pattern], ...],
    leaves: tuple[Leaf, ...],
    match: Match,
) -> Iterator[Match]:
    """All ways to give each term one of the values."""
    if not terms:
        yield match
        return
    coefficient, pattern = terms[0]
    for i, (value, sign) in enumerate(leaves):
        rest = leaves[:i] + leaves[i + 1 :]
        for found in _multiple(coefficient, pattern, sign).find(search, value, match):
            yield from _added(search, terms[1:], rest, found)


def _multiple(coefficient: float | str, pattern: Pattern, sign: float) -> Pattern:
    """What a value is like that is, times ``sign``, ``coefficient`` times what ``pattern`` says."""
    if isinstance(coefficient, str):
        return Product(coefficient, ((pattern, 1.0),), sign)
    number = coefficient * sign
    if number == 1:
        return pattern
    if isinstance(pattern, Product) and not isinstance(pattern.coefficient, str):
        return Product(pattern.coefficient * number, pattern.factors)
    return Product(number, ((pattern, 1.0),))


def _factors(search: Search, value: str, exponent: float, room: int, deep: int) -> Iterator[Part]:
    """The ways to see ``value ** exponent`` as a product of at most ``room`` values, those that go
    back furthest first."""
    number = search.nodes.number(value)
    if number is not None:
        power = _power(number, exponent)
        if power is not None:
            yield Part(power)
    elif room:
        node = search.maker(value) if deep else None
        if node is not None and not node.attribute:
            here = search.here(value)
            for part in _powers(search, node, exponent, room, deep - 1):
                yield Part(part.number, part.leaves, part.nodes | here)
        yield Part(1.0, ((search.nodes.source(value), exponent),))


def _powers(
    search: Search, node: NodeProto, exponent: float, room: int, deep: int
) -> Iterator[Part]:
    """The same for what a node gives, if that is a product."""
    # (a b) ** e is a ** e b ** e, and (a ** p) ** e is a ** (p e), for any a only if e is whole.
    whole = exponent.is_integer()
    match node.op_type, tuple(node.input):
        case "Neg", (x,) if whole:
            sign = -1.0 if exponent % 2 else 1.0
            for part in _factors(search, x, exponent, room, deep):
                yield Part(sign * part.number, part.leaves, part.nodes)
        case "Reciprocal", (x,):
            yield from _factors(search, x, -exponent, room, deep)
        case "Sqrt", (x,) if exponent % 2:
            yield from _factors(search, x, exponent / 2, room, deep)
        case "Pow", (x, p) if whole:
            power = search.nodes.number(p)
            if power is not None:
                yield from _factors(search, x, exponent * power, room, deep)
        case "Mul", (a, b) if whole:
            yield from _both(search, (a, exponent), (b, exponent), room, deep)
        case "Div", (a, b) if whole or search.nodes.number(a) == 1:
            yield from _both(search, (a, exponent), (b, -exponent), room, deep)


def _both(search: Search, a: Leaf, b: Leaf, room: int, deep: int) -> Iterator[Part]:
    for first in _factors(search, *a, room, deep):
        for second in _factors(search, *b, room - len(first.leaves), deep):
            yield Part(
                first.number * second.number,
                first.leaves + second.leaves,
                first.nodes | second.nodes,
            )


def _power(number: float, exponent: float) -> float | None:
    """``number ** exponent`` where it is a number."""
    try:
        power = number**exponent
    except (ArithmeticError, ValueError):
        return None
    return power if isinstance(power, float) else None


def _terms(search: Search, value: str, sign: float, room: int, deep: int) -> Iterator[Part]:
    """The ways to see ``sign`` times ``value`` as a sum of at most ``room`` values, those that go
    back furthest first."""
    number = search.nodes.number(value)
    if number is not None:
        yield Part(sign * number)
    elif room:
        node = search.maker(value) if deep else None
        if node is not None and not node.attribute:
            here = search.here(value)
            for part in _addends(search, node, sign, room, deep - 1):
                yield Part(part.number, part.leaves, part.nodes | here)
        yield Part(0.0, ((search.nodes.source(value), sign),))


def _addends(search: Search, node: NodeProto, sign: float, room: int, deep: int) -> Iterator[Part]:
    """The same for what a node gives, if that is a sum."""
    match node.op_type, tuple(node.input):
        case "Neg", (x,):
            yield from _terms(search, x, -sign, room, deep)
        case "Add" | "Sub", (a, b):
            other = sign if node.op_type == "Add" else -sign
            for p in _terms(search, a, sign, room, deep):
                for q in _terms(search, b, other, room - len(p.leaves), deep):
                    yield Part(p.number + q.number, p.leaves + q.leaves, p.nodes | q.nodes)
