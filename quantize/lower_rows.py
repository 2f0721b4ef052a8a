"""Lowering of ops on rows: softmax and normalisation."""

from __future__ import annotations

import math

import numpy as np

from ..frontend.graph import Node
from ..frontend.ops import LayerNorm, Mul, Op, ReduceSum, RmsNorm
from .builder import GUARD_BITS, Builder
from .exact_ops import BelowMax, Square
from .formats import MAX_WIDTH, Format, Overflow, Rounding, Target
from .lower_functions import float_parts
from .lower_linear import ADDEND_BITS, addend, factors
from .lut import Function, Lut

MANTISSA_BITS = 11
"""Bits behind the leading one that index the reciprocal square root: with one more for the parity
of the exponent they make a table of 4096 entries, whose relative error is below 2^-13."""

DEVIATION_BITS = 20
"""Widest deviation from a row's mean that is squared, unless rows are so long that the sum of their
squares would be too wide."""

ROOT_BITS = 4
"""Significant bits of the mantissa's table beyond those of its index."""


def vanishing(fraction: int) -> int:
    """Integer bits of an argument x beyond which exp(-x) is less than half a step of ``fraction``
    bits after the point."""
    return max(math.ceil(math.log2(math.log(2) * (fraction + 1))), 1)


def softmax(builder: Builder, node: Node[Op]) -> None:
    """Distance below the maximum, exp table, sum, reciprocal, product, Cast."""
    name = node.name
    target = builder.precision.points[node.output]
    fraction = max(target.format.fraction, 1) + GUARD_BITS
    inner = Format(False, fraction + 1, 1)
    below = builder.exact(builder.new(f"{name}.below"), BelowMax(), node.inputs[0])
    power = exp_negative(builder, f"{name}.exp", below, inner)
    total = builder.exact(builder.new(f"{name}.sum"), ReduceSum(), power)
    inverse = reciprocal(builder, f"{name}.inverse", total, fraction)
    builder.close(node.output, Mul(), power, inverse)


def exp_negative(builder: Builder, name: str, x: str, inner: Format) -> str:
    """exp(-x) for x from 0 on: a table, or for a wide x the product of two, since
    exp(-(a + b)) = exp(-a) · exp(-b)."""
    bits = builder.precision.index_bits
    limit = min(builder.formats[x].integer, vanishing(inner.fraction))
    lut = Lut(Function.EXP_NEGATIVE)
    needed = limit + inner.fraction
    index = builder.narrow(f"{name}.index", x, limit, max(bits, min(needed, 2 * bits)))
    if builder.formats[index].width <= bits:
        return builder.lut(builder.new(name), lut, index, inner)
    high, low = builder.split(name, index, bits)
    wide = Format(False, inner.width + GUARD_BITS, 1)
    parts = [builder.lut(builder.new(f"{part}.exp"), lut, part, wide) for part in (high, low)]
    product = builder.exact(builder.new(f"{name}.product"), Mul(), *parts)
    return builder.cast(builder.new(name), product, Target(inner, Rounding.RND, Overflow.SAT))


def reciprocal(builder: Builder, name: str, x: str, fraction: int) -> str:
    """1 / x for x of at least 1, to ``fraction`` bits after the point.

    A table gives a first value r; each of Newton's steps, to 2 r - x r², doubles the number of its
    correct bits.
    """
    target = Target(Format(False, fraction + 1, 1), Rounding.RND, Overflow.SAT)
    near_one = Target(Format(False, fraction + 2, 2), Rounding.RND, Overflow.SAT)
    integer = builder.formats[x].integer
    index = builder.narrow(
        f"{name}.index", x, integer, max(builder.precision.index_bits, integer + 2)
    )
    correct = max(builder.formats[index].fraction + 1, 1)
    lut = Lut(Function.RECIPROCAL)
    inverse = builder.lut(builder.new(f"{name}.first"), lut, index, target.format)
    while index != x and correct < fraction:
        correct = 2 * correct
        product = builder.exact(builder.new(f"{name}.product"), Mul(), x, inverse)
        product = builder.cast(builder.new(f"{name}.one"), product, near_one)
        excess = builder.exact(builder.new(f"{name}.excess"), Mul(), product, inverse)
        double = builder.scaled(builder.new(f"{name}.double"), inverse, 2.0, 1)
        better = builder.combine(builder.new(f"{name}.better"), double, excess, negative=True)
        inverse = builder.cast(builder.new(f"{name}.next"), better, target)
    return inverse


def log_softmax(builder: Builder, node: Node[Op]) -> None:
    """``-(below + ln(sum of exp(-below)))``."""
    name = node.name
    target = builder.precision.points[node.output]
    spread = builder.shapes[node.output][-1].bit_length() // 2  # errors of so many terms add up
    fraction = max(target.format.fraction, 1) + GUARD_BITS + spread
    below = builder.exact(builder.new(f"{name}.below"), BelowMax(), node.inputs[0])
    power = exp_negative(builder, f"{name}.exp", below, Format(False, fraction + 1, 1))
    total = builder.exact(builder.new(f"{name}.sum"), ReduceSum(), power)
    integer = builder.formats[total].integer.bit_length()
    log = Target(Format(False, integer + fraction, integer), Rounding.RND, Overflow.SAT)
    rest = builder.function(builder.new(f"{name}.log"), Lut(Function.LOG, (1.0,)), total, log)
    distance = builder.combine(builder.new(f"{name}.distance"), below, rest)
    minus = builder.constant(builder.new(f"{name}.minus"), np.array([-1]), 0)
    builder.close(node.output, Mul(), distance, minus)


def normalise(builder: Builder, op: LayerNorm | RmsNorm, node: Node[Op]) -> None:
    """Deviations from the mean times n, which is exact; the sum of their squares; its reciprocal
    square root; product, factor and addend of each channel."""
    name = node.name
    x, gamma, *beta = node.inputs
    constants, points = builder.graph.constants, builder.precision.points
    n = builder.shapes[x][-1]
    if isinstance(op, LayerNorm):
        deviation, scale = _deviation(builder, name, x, n), n
    else:
        deviation, scale = x, 1
    deviation = _limited(builder, name, deviation, n)
    squares = builder.exact(builder.new(f"{name}.squares"), Square(), deviation)
    total = builder.exact(builder.new(f"{name}.sum"), ReduceSum(), squares)
    least = addend(builder, f"{name}.epsilon", np.array([op.epsilon * n * scale**2]), total)
    variance = builder.combine(builder.new(f"{name}.variance"), total, least)
    inverse = _reciprocal_root(builder, node, variance, n)
    product = builder.exact(builder.new(f"{name}.product"), Mul(), deviation, inverse)
    normal = builder.cast(
        builder.new(f"{name}.normal"), product, points[f"{node.output}.normalised"]
    )
    factor = factors(builder, f"{name}.gamma", constants[gamma])
    if not beta:
        builder.close(node.output, Mul(), normal, factor)
        return
    scaled = builder.exact(builder.new(f"{name}.scaled"), Mul(), normal, factor)
    shift = addend(builder, f"{name}.beta", constants[beta[0]], scaled, 0)
    builder.close(node.output, builder.aligned(scaled, shift), scaled, shift)


def _deviation(builder: Builder, name: str, x: str, n: int) -> str:
    """``n · x`` minus the row's sum."""
    total = builder.exact(builder.new(f"{name}.total"), ReduceSum(), x)
    count = builder.constant(builder.new(f"{name}.count"), np.array([n]), 0)
    scaled = builder.exact(builder.new(f"{name}.multiple"), Mul(), x, count)
    return builder.combine(builder.new(f"{name}.deviation"), scaled, total, negative=True)


def _limited(builder: Builder, name: str, x: str, n: int) -> str:
    """``x`` itself, or its upper bits if the sum of ``n`` squares would be too wide."""
    source = builder.formats[x]
    width = min(DEVIATION_BITS, (MAX_WIDTH - 2 - ADDEND_BITS - n.bit_length()) // 2)
    if source.width <= width:
        return x
    target = Target(Format(source.signed, width, source.integer), Rounding.RND, Overflow.SAT)
    return builder.cast(builder.new(f"{name}.limited"), x, target)


def _reciprocal_root(builder: Builder, node: Node[Op], x: str, n: int) -> str:
    """√n / √x, as a factor for the leading one's position and one for the bits behind it."""
    name = node.name
    target = builder.precision.points[f"{node.output}.inverse"]
    fraction = builder.formats[x].fraction
    position, behind = float_parts(builder, name, x, MANTISSA_BITS, parity=True)
    largest = math.frexp(math.sqrt(n) * 2.0 ** (fraction / 2))[1]
    mantissa = builder.lut(
        builder.new(f"{name}.mantissa"),
        Lut(Function.ROOT_MANTISSA, (MANTISSA_BITS, n, fraction)),
        behind,
        Format(False, MANTISSA_BITS + ROOT_BITS, largest),
    )
    halvings = builder.bounds[x].high.bit_length() // 2
    exponent = builder.lut(
        builder.new(f"{name}.exponent"),
        Lut(Function.ROOT_EXPONENT, (MANTISSA_BITS,)),
        position,
        Format(False, halvings + 1, 1),
    )
    product = builder.exact(builder.new(f"{name}.root"), Mul(), mantissa, exponent)
    return builder.cast(builder.new(f"{name}.inverse"), product, target)
