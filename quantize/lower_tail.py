"""Lowering of sums with real factors that a Quantize rounds."""

from __future__ import annotations

import numpy as np

from ..frontend.graph import Node
from ..frontend.ops import (
    Array,
    AveragePool,
    Conv,
    ConvTranspose,
    Dense,
    GlobalAveragePool,
    Mul,
    Op,
    Reshape,
)
from . import lower_linear as linear
from .builder import Builder
from .formats import Format, Overflow, Rounding, Target
from .margin import Term, choose, reach
from .tails import Tail


def source(builder: Builder, node: Node[Op]) -> None:
    """The part of a node that its tail adds up: a layer without its bias, the sum of an average."""
    name = builder.new(f"{node.name}.sum")
    match node.op:
        case Dense() | Conv() | ConvTranspose() as op:
            linear.product(builder, op, node, name)
        case AveragePool() | GlobalAveragePool() as op:
            linear.window_sum(builder, op, node, name)
        case op:
            raise AssertionError(f"{type(op).__name__} is no source of a tail")
    builder.sums[node.output] = name


def tail(builder: Builder, tail: Tail) -> None:
    """The sum of a tail, with as many bits of its factors as the rounding behind it needs."""
    names = [builder.sums.get(name, name) for name in tail.sources]
    bounds = [builder.bounds[name] for name in names]
    factors = [
        factor * 2.0**-bound.fraction
        for factor, bound in zip(tail.sources.values(), bounds, strict=True)
    ]
    terms = [
        Term(factor, bound.low, bound.high) for factor, bound in zip(factors, bounds, strict=True)
    ]
    boundaries = tail.boundaries(reach(terms, tail.addend))
    choice = choose(terms, tail.addend, boundaries, tail.fraction)
    if choice.error:
        builder.inexact[builder.layer] = choice.error * 2.0**tail.fraction
    if choice.snap is None or choice.snap >= choice.fraction:
        _Sum(builder, tail, tail.value, choice.fraction).make(names, factors)
        return
    near = builder.new(f"{builder.layer}.near")
    _Sum(builder, tail, near, choice.fraction).make(names, factors)
    source = builder.formats[near]
    width = source.width - choice.fraction + choice.snap + 1
    wide = Format(source.signed, width, width - choice.snap)
    builder.cast(tail.value, near, Target(wide, Rounding.RND, Overflow.SAT))


class _Sum:
    """Makes the value ``output`` of a tail, with constants in multiples of ``2^-fraction``."""

    def __init__(self, builder: Builder, tail: Tail, output: str, fraction: int) -> None:
        self.builder = builder
        self.tail = tail
        self.output = output
        self.fraction = fraction
        self.left = 0

    def make(self, names: list[str], factors: list[Array]) -> None:
        """Add up the values times the factors of their raw values, and the addend."""
        builder = self.builder
        scaled = [not self._is_one(*pair) for pair in zip(names, factors, strict=True)]
        added = bool(np.rint(self.tail.addend * 2.0**self.fraction).any())
        self.left = sum(scaled) + len(names) - 1 + added
        if not self.left:
            builder.exact(self.output, Reshape(builder.shapes[names[0]]), names[0])
        total = ""
        for name, factor, product in zip(names, factors, scaled, strict=True):
            part = self._scaled(name, factor) if product else name
            total = builder.combine(self._name("sum"), total, part) if total else part
        if added:
            addend = self._constant("addend", self.tail.addend, self.fraction)
            builder.combine(self._name("sum"), total, addend)

    def _name(self, what: str) -> str:
        """Of the next value: the output's for the last one."""
        self.left -= 1
        return self.builder.new(f"{self.builder.layer}.{what}") if self.left else self.output

    def _is_one(self, x: str, factor: Array) -> bool:
        one = 2.0 ** (self.fraction - self.builder.formats[x].fraction)
        return bool((np.rint(factor * 2.0**self.fraction) == one).all())

    def _scaled(self, x: str, factor: Array) -> str:
        own = self.builder.formats[x].fraction
        constant = self._constant("factor", factor * 2.0**own, self.fraction - own)
        return self.builder.exact(self._name("scaled"), Mul(), x, constant)

    def _constant(self, what: str, values: Array, fraction: int) -> str:
        """A constant without the zeros that all of its raw values end with."""
        raw = np.rint(values * 2.0**fraction).astype(np.int64)
        common = int(np.gcd.reduce(raw))
        zeros = (common & -common).bit_length() - 1 if common else 0
        name = self.builder.new(f"{self.builder.layer}.{what}")
        return self.builder.constant(name, raw >> zeros, fraction - zeros)
