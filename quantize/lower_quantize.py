"""Lowering of what a quantised model says itself: onto which grid a value goes, and how."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import numpy as np

from ..frontend.errors import FormatError, UnsupportedOpError
from ..frontend.graph import Node
from ..frontend.ops import Mul, Op, Quantize, Relu, Round
from .builder import Builder
from .exact_ops import Clamp
from .formats import MAX_WIDTH, Format, Overflow, Rounding, Target
from .grids import ROUNDINGS, cast_target, dyadic_fraction, fills, moves_ties, step_fraction


def quantize(builder: Builder, op: Quantize, node: Node[Op]) -> None:
    """The rounding and saturation of a Cast, and a Clamp where the integers are not all those of a
    format.

    Raises:
        UnsupportedOpError: the scale is not one power of two.
    """
    x, scale, zero = node.inputs
    fraction = step_fraction(builder.graph.constants[scale])
    if fraction is None:
        raise UnsupportedOpError(
            "the scale is not one power of two", found=builder.graph.constants[scale][:4]
        )
    shift = builder.graph.constants[zero].astype(np.int64)
    if shift.min() == shift.max() and not moves_ties(op, shift):
        first = int(shift[0])
        _onto(builder, node, x, (op.low - first, op.high - first), fraction, node.output)
        return
    offset = builder.constant(builder.new(f"{node.name}.zero"), shift, fraction)
    if op.shifted:
        x = builder.combine(builder.new(f"{node.name}.shifted"), x, offset)
        whole = builder.new(f"{node.name}.integers")
        _onto(builder, node, x, (op.low, op.high), fraction, whole)
    else:
        bounds = (op.low - int(shift.max()), op.high - int(shift.min()))
        nearest = builder.new(f"{node.name}.nearest")
        _onto(builder, node, x, bounds, fraction, nearest)
        moved = builder.combine(builder.new(f"{node.name}.moved"), nearest, offset)
        whole = builder.exact(builder.new(f"{node.name}.integers"), Clamp(op.low, op.high), moved)
    builder.combine(node.output, whole, offset, negative=True)


def _onto(
    builder: Builder, node: Node[Op], x: str, bounds: tuple[int, int], fraction: int, output: str
) -> None:
    """``x`` rounded to multiples of ``2^-fraction``, and held within raw bounds."""
    low, high = _reached(builder, x, bounds, fraction)
    op = node.op
    assert isinstance(op, Quantize)
    match op.rounding:
        case Round.CEIL:
            x, rounding = _raised(builder, node, x, fraction), Rounding.TRN
        case Round.UP:
            x, rounding = _from_zero(builder, node, x, fraction), Rounding.TRN
        case how:
            rounding = ROUNDINGS[how]
    target = cast_target(low, high, fraction, rounding)
    if fills(target, low, high):
        builder.cast(output, x, target)
        return
    near = builder.cast(builder.new(f"{node.name}.near"), x, target)
    builder.exact(output, Clamp(low, high), near)


def _reached(builder: Builder, x: str, bounds: tuple[int, int], fraction: int) -> tuple[int, int]:
    """The raw bounds; where no format has room for them, those of what ``x`` may be."""
    low, high = bounds
    if max(-low, high) < 1 << MAX_WIDTH - 1:
        return bounds
    source = builder.bounds[x]
    least, most = (
        Fraction(end) * Fraction(2) ** (fraction - source.fraction)
        for end in (source.low, source.high)
    )
    return max(low, min(floor(least), high)), min(high, max(ceil(most), low))


def _raised(builder: Builder, node: Node[Op], x: str, fraction: int) -> str:
    """``x`` plus all but one of the steps between two results, so that TRN rounds it up."""
    below = builder.formats[x].fraction - fraction
    if below <= 0:
        return x
    if below >= MAX_WIDTH:
        raise FormatError("a value has too many bits to be rounded up", found=below)
    raw = np.array([(1 << below) - 1], np.int64)
    rest = builder.constant(builder.new(f"{node.name}.rest"), raw, builder.formats[x].fraction)
    return builder.combine(builder.new(f"{node.name}.raised"), x, rest)


def _from_zero(builder: Builder, node: Node[Op], x: str, fraction: int) -> str:
    """The sum of the positive part rounded up and the negative part rounded down."""
    positive = builder.exact(builder.new(f"{node.name}.positive"), Relu(), x)
    negative = builder.combine(builder.new(f"{node.name}.negative"), x, positive, negative=True)
    parts = []
    for part in (_raised(builder, node, positive, fraction), negative):
        source = builder.formats[part]
        width = max(source.width - source.fraction + fraction, 1) + 1
        wide = Format(True, width, width - fraction)
        target = Target(wide, Rounding.TRN, Overflow.SAT)
        parts.append(builder.cast(builder.new(f"{node.name}.part"), part, target))
    return builder.combine(builder.new(f"{node.name}.outwards"), *parts)


def bipolar(builder: Builder, node: Node[Op]) -> None:
    """``(2 s + 1) · scale`` with s = 0 where x is not negative, else -1: x rounded down and
    saturated to the one bit of a ``fixed<1,1>``."""
    x, name = node.inputs
    target = Target(Format(True, 1, 1), Rounding.TRN, Overflow.SAT)
    sign = builder.cast(builder.new(f"{node.name}.sign"), x, target)
    scale = builder.graph.constants[name].astype(np.float64)
    fraction = dyadic_fraction(scale)
    twice = builder.rounded(builder.new(f"{node.name}.twice"), 2 * scale, fraction)
    once = builder.rounded(builder.new(f"{node.name}.scale"), scale, fraction)
    signed = builder.exact(builder.new(f"{node.name}.signed"), Mul(), sign, twice)
    builder.combine(node.output, signed, once)
