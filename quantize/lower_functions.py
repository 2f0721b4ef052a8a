"""Lowering of functions whose operand may be wide and whose curve is steep somewhere.

An operand of at most ``index_bits`` bits indexes a table, so that its result is rounded correctly.
A wider one is taken apart as the function itself can be: a logarithm or a power by its leading one
and the bits behind it, an exponential into a product, an angle into turns.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import numpy as np

from ..frontend.graph import Node
from ..frontend.ops import Cos, Mul, Op, Relu, Sin
from .builder import GUARD_BITS, Builder
from .exact_ops import Clamp
from .formats import Format, Overflow, Rounding, Target
from .lower_linear import factors, fitted, suffix
from .lower_pieces import magnitude, unit
from .lut import DIGITS, SPARE, Function, Lut, pi

INNER_BITS = GUARD_BITS + 1
"""Fraction bits of the parts of a result beyond its own."""

SLOW = 4.0
"""How much further x · exp(-x) reaches than exp(-x), for results of up to 53 bits."""

TO_NEAREST = (Rounding.RND, Overflow.SAT)

TURN_BITS = 6
"""Fraction bits of an angle in turns beyond those of its sine, whose slope is up to 2π a turn."""


def float_parts(
    builder: Builder, name: str, x: str, bits: int, *, parity: bool = False
) -> tuple[str, str]:
    """The position of the leading one of ``x``, times ``2^bits``, and as an integer the ``bits``
    bits behind it; in front of these, if asked for, the parity of the position."""
    index = builder.float_index(builder.new(f"{name}.index"), x, bits)
    positions = max(builder.formats[index].width - bits, 1)
    coarse = Format(False, positions, positions + bits)
    fine = Format(False, bits + parity, bits + parity)
    high, low = (
        Target(coarse, Rounding.TRN, Overflow.SAT),
        Target(fine, Rounding.TRN, Overflow.WRAP),
    )
    return (
        builder.cast(builder.new(f"{name}.position"), index, high),
        builder.cast(builder.new(f"{name}.behind"), index, low),
    )


def _mantissa_bits(builder: Builder, x: str, width: int) -> int:
    """Bits behind the leading one of ``x`` that matter to a result of ``width`` bits."""
    return max(min(builder.formats[x].width - 1, width + INNER_BITS), 1)


def _least(builder: Builder, x: str) -> float:
    """The smallest positive value of ``x``."""
    return builder.formats[x].step


def _positive(builder: Builder, name: str, x: str) -> str:
    """``x``, with 0 for what is negative."""
    if builder.bounds[x].low >= 0:
        return x
    return builder.exact(builder.new(f"{name}.positive"), Relu(), x)


def _sign_of_divisor(builder: Builder, name: str, x: str) -> str:
    """1 where ``x`` is not negative, else -1: the sign of twice its raw value and 1."""
    half = builder.constant(
        builder.new(f"{name}.half"), np.array([1]), builder.formats[x].fraction + 1
    )
    return unit(builder, name, builder.combine(builder.new(f"{name}.odd"), x, half))


def exponential(builder: Builder, node: Node[Op]) -> None:
    """A table, or for a wide operand the product of two: exp(a + b) = exp(a) · exp(b).

    What is so large that the result saturates, or so small that it is 0, is held within a range.
    """
    name, x = node.name, node.inputs[0]
    target = builder.precision.points[node.output]
    bits = builder.precision.index_bits
    out = target.format
    lut = Lut(Function.EXP)
    source = builder.formats[x]
    if source.width <= bits:
        builder.lut(node.output, lut, x, out)
        return
    reach = math.log(2) * max(out.integer, out.fraction + 1, 1) + 1
    limit = min(source.integer, math.ceil(math.log2(reach)) + source.signed)
    fraction = min(source.fraction, max(out.width + INNER_BITS, bits - limit), 2 * bits - limit)
    index = Format(source.signed, max(limit + fraction, 1), limit)
    if index != source:
        x = builder.cast(builder.new(f"{name}.near"), x, Target(index, *TO_NEAREST))
    if index.width <= bits:
        builder.lut(node.output, lut, x, out)
        return
    high, low = builder.split(name, x, bits)
    # exp(low) is below 2^rise
    rise = math.ceil(2.0 ** builder.formats[low].integer / math.log(2))
    coarse = Format(False, out.width + INNER_BITS + rise + 1, out.integer + 1)
    fine = Format(False, out.width + INNER_BITS + rise + 1, rise + 1)
    parts = [
        builder.lut(builder.new(f"{part}.exp"), lut, part, format_)
        for part, format_ in ((high, coarse), (low, fine))
    ]
    product = builder.exact(builder.new(f"{name}.product"), Mul(), *parts)
    builder.cast(node.output, product, target)


def logarithm(builder: Builder, node: Node[Op]) -> None:
    """A table, or for a wide operand the sum of two: ln(2^p (1 + m)) = p ln 2 + ln(1 + m)."""
    name, x = node.name, node.inputs[0]
    target = builder.precision.points[node.output]
    if builder.formats[x].width <= builder.precision.index_bits:
        builder.lut(node.output, Lut(Function.LOG, (_least(builder, x),)), x, target.format)
        return
    x = _positive(builder, name, x)
    point = builder.formats[x].fraction
    fraction = target.format.fraction + INNER_BITS
    bits = _mantissa_bits(builder, x, fraction)
    position, behind = float_parts(builder, name, x, bits)
    largest = math.log(2) * max(point, builder.formats[x].integer, 1)
    integer = math.frexp(largest)[1] + 1
    exponent = builder.lut(
        builder.new(f"{name}.exponent"),
        Lut(Function.LOG_EXPONENT, (bits, point)),
        position,
        Format(True, max(integer + fraction, 1), integer),
    )
    within = Target(Format(False, max(fraction, 1), 0), *TO_NEAREST)
    lut = Lut(Function.LOG_MANTISSA, (bits,))
    mantissa = builder.function(builder.new(f"{name}.mantissa"), lut, behind, within)
    total = builder.combine(builder.new(f"{name}.sum"), exponent, mantissa)
    builder.cast(node.output, total, target)


def power(builder: Builder, node: Node[Op], exponent: float) -> None:
    """See :func:`powered`."""
    target = builder.precision.points[node.output]
    powered(builder, node.name, node.inputs[0], exponent, target, target.format.width, node.output)


def powered(
    builder: Builder,
    name: str,
    x: str,
    exponent: float,
    target: Target,
    bits: int,
    output: str,
) -> str:
    """``x`` to the power of a constant, as ``output`` in the format of ``target``.

    It is a table, or for a wide operand the product of two, (2^p (1 + m))^e = 2^(p e) (1 + m)^e,
    and of the sign, which is 0 for 0 if the exponent is positive.

    Args:
        bits: how many bits of a result must be right.
    """
    source = builder.formats[x]
    if source.width <= builder.precision.index_bits:
        lut = Lut(Function.POWER, (exponent, _least(builder, x)))
        return builder.lut(output, lut, x, target.format)
    size = (magnitude if exponent % 1 == 0 else _positive)(builder, name, x)
    odd = exponent % 2 == 1 and size != x
    sign = None
    if exponent > 0:
        sign = unit(builder, name, x if odd else size)
    elif odd:
        sign = _sign_of_divisor(builder, name, x)
    x = size
    width = _mantissa_bits(builder, x, bits + max(math.ceil(math.log2(abs(exponent) + 1)), 0))
    position, behind = float_parts(builder, name, x, width)
    reach = math.ceil(abs(exponent))  # the mantissa is from 1 to 2^reach
    within = Target(
        Format(False, bits + INNER_BITS + reach + 1, reach + 1), Rounding.RND, Overflow.SAT
    )
    lut = Lut(Function.POWER_MANTISSA, (width, exponent))
    mantissa = builder.function(builder.new(f"{name}.mantissa"), lut, behind, within)
    scale = builder.lut(
        builder.new(f"{name}.exponent"),
        Lut(Function.POWER_EXPONENT, (width, exponent, builder.formats[x].fraction)),
        position,
        _scale_format(builder.formats[x], exponent, target.format, reach),
    )
    product = builder.exact(builder.new(f"{name}.product"), Mul(), mantissa, scale)
    if sign:
        product = builder.exact(builder.new(f"{name}.signed"), Mul(), product, sign)
    return builder.cast(output, product, target)


def _scale_format(source: Format, exponent: float, out: Format, reach: int) -> Format:
    """A format for the powers of two that are a factor of a power: what saturates or vanishes in
    the result may do so here, and what no operand gives has no bits.

    Args:
        source: of the operand.
        exponent: of the power.
        out: of the result.
        reach: the other factor is at most 2^reach.
    """
    ends = [exponent * (p - source.fraction + (exponent < 0)) for p in (0, source.width - 1)]
    integer = min(out.integer, math.floor(max(ends))) + 1
    fraction = out.fraction + reach + INNER_BITS
    if exponent % 1 == 0:
        fraction = min(fraction, -math.floor(min(ends)))
    return Format(False, max(integer + fraction, 1), integer)


def angle(builder: Builder, node: Node[Op], op: Sin | Cos) -> None:
    """A table; a wide operand becomes turns, of which the fraction alone matters: it wraps."""
    name, x = node.name, node.inputs[0]
    target = builder.precision.points[node.output]
    sine = isinstance(op, Sin)
    source = builder.formats[x]
    if source.width <= builder.precision.index_bits:
        lut = Lut(Function.SINE if sine else Function.COSINE)
        builder.lut(node.output, lut, x, target.format)
        return
    fraction = max(target.format.fraction, 1) + TURN_BITS
    wanted = fraction + source.width
    with localcontext(prec=DIGITS + SPARE):
        step = Decimal(2) ** -source.fraction / (2 * pi())
        step -= step.to_integral_value()
        raw = int((step * 2**wanted).to_integral_value())
    # raw · 2^-wanted turns for each step of x, which is worth 2^-fraction
    factor = builder.constant(
        builder.new(f"{name}.turn"), np.array([raw]), wanted - source.fraction
    )
    product = builder.exact(builder.new(f"{name}.product"), Mul(), x, factor)
    turn = Target(Format(True, fraction, 0), Rounding.RND, Overflow.WRAP)
    turns = builder.cast(builder.new(f"{name}.turns"), product, turn)
    lut = Lut(Function.SINE_TURNS if sine else Function.COSINE_TURNS)
    builder.function(node.output, lut, turns, target)


def rising(builder: Builder, node: Node[Op], lut: Lut, size: float = 1.0) -> None:
    """A function that is as good as x far above 0, and as good as constant far below.

    A wide operand is held within the range where it is neither, and what it has above that range is
    added to the result.

    Args:
        size: of the difference from these lines, near 0.
    """
    name, x = node.name, node.inputs[0]
    target = builder.precision.points[node.output]
    source = builder.formats[x]
    fraction = target.format.fraction + INNER_BITS
    reach = math.log(2) * max(fraction + 1, 1) + math.log(max(abs(size), 1)) + SLOW
    integer = math.ceil(math.log2(reach)) + source.signed
    if source.width <= builder.precision.index_bits or source.integer <= integer:
        builder.function(node.output, lut, x, target)
        return
    near = Format(source.signed, max(source.width - source.integer + integer, 1), integer)
    held = builder.cast(builder.new(f"{name}.near"), x, Target(near, *TO_NEAREST))
    inner = Target(Format(True, max(integer + 1 + fraction, 1), integer + 1), *TO_NEAREST)
    function = builder.function(builder.new(f"{name}.function"), lut, held, inner)
    beyond = builder.combine(builder.new(f"{name}.beyond"), x, held, negative=True)
    above = builder.exact(builder.new(f"{name}.above"), Relu(), beyond)
    total = builder.combine(builder.new(f"{name}.sum"), function, above)
    builder.cast(node.output, total, target)


def celu(builder: Builder, node: Node[Op], alpha: float) -> None:
    """A table, or for a wide operand the sum of what is positive, which is exact, and of the
    function of what is negative, which changes no more beyond a few times alpha."""
    name, x = node.name, node.inputs[0]
    target = builder.precision.points[node.output]
    lut = Lut(Function.CELU, (alpha,))
    if builder.formats[x].width <= builder.precision.index_bits:
        builder.lut(node.output, lut, x, target.format)
        return
    positive = _positive(builder, name, x)
    if positive == x:
        builder.cast(node.output, x, target)
        return
    negative = builder.exact(builder.new(f"{name}.negative"), Clamp(builder.bounds[x].low, 0), x)
    fraction = target.format.fraction + INNER_BITS
    reach = alpha * math.log(2) * max(fraction + 1 + math.log2(alpha), 1)
    integer = math.ceil(math.log2(alpha)) + 1
    within = Format(True, max(integer + fraction, 1), integer)
    below = builder.function(
        builder.new(f"{name}.below"),
        lut,
        negative,
        Target(within, *TO_NEAREST),
        flat=math.ceil(math.log2(reach)) + 1,
    )
    total = builder.combine(builder.new(f"{name}.sum"), positive, below)
    builder.cast(node.output, total, target)


def softsign(builder: Builder, node: Node[Op]) -> None:
    """A table, or for a wide operand its sign times ``1 - 1 / (1 + |x|)``."""
    name, x = node.name, node.inputs[0]
    target = builder.precision.points[node.output]
    if builder.formats[x].width <= builder.precision.index_bits:
        builder.lut(node.output, Lut(Function.SOFTSIGN), x, target.format)
        return
    size = magnitude(builder, name, x)
    one = builder.constant(builder.new(f"{name}.one"), np.array([1]), 0)
    divisor = builder.combine(builder.new(f"{name}.divisor"), size, one)
    fraction = max(target.format.fraction, 1) + INNER_BITS
    near = Target(Format(False, fraction + 1, 1), *TO_NEAREST)
    rest = builder.new(f"{name}.rest")
    powered(builder, name, divisor, -1.0, near, fraction - INNER_BITS, rest)
    share = builder.combine(builder.new(f"{name}.share"), rest, one, negative=True)
    sign = unit(builder, name, x, factor=-1)
    builder.close(node.output, Mul(), share, sign)


def _inverse_format(divisor: Format, dividend: Format, out: Format) -> Format:
    """A format for the reciprocals of a divisor: with what the largest dividend asks for after the
    point, but no more than the result has bits to tell; and nothing before it that even with the
    smallest dividend is too large."""
    fraction = min(out.fraction + dividend.integer, out.width + divisor.integer) + INNER_BITS
    integer = min(divisor.fraction, out.integer + dividend.fraction) + 1 + divisor.signed
    return Format(divisor.signed, max(integer + fraction, 1), integer)


def divide(builder: Builder, node: Node[Op]) -> None:
    """By a constant: a product with its reciprocal, which is rounded once.  By a value: with its
    looked-up reciprocal, which has the fraction that the largest dividend asks for."""
    name = node.name
    a, b = node.inputs
    shape, constants = builder.shapes[node.output], builder.graph.constants
    target = builder.precision.points[node.output]
    if b in constants:
        values = suffix(1 / constants[b].astype(np.float64), shape)
        factor = factors(builder, f"{name}.factor", values)
        builder.close(node.output, Mul(), builder.expand(a, shape), factor)
        return
    if a in constants:
        a = factors(builder, f"{name}.dividend", suffix(constants[a], shape))
    wide = _inverse_format(builder.formats[b], builder.formats[a], target.format)
    inverse = builder.new(f"{name}.inverse")
    exact = Target(wide, *TO_NEAREST)
    powered(builder, name, b, -1.0, exact, target.format.width, inverse)
    if a in builder.constants:
        pair = builder.expand(inverse, shape), a
    else:
        pair = fitted(builder, a, inverse, shape)
    builder.close(node.output, Mul(), *pair)
