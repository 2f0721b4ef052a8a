"""Lowering of functions of straight pieces, and of the larger or smaller of two values: exact."""

from __future__ import annotations

import math

import numpy as np

from ..frontend.errors import FormatError
from ..frontend.graph import Node
from ..frontend.ops import Array, Clip, Maximum, Minimum, Mul, Op, Relu
from .builder import Builder
from .exact_ops import Clamp, Leaky
from .formats import MAX_WIDTH, Format, Overflow, Rounding, Target
from .lower_linear import constant_addend, exact_fraction, fitted, suffix

SLOPE_BITS = 8
"""Bits of a slope beyond those of weights: it costs one multiplication a value."""


def clamp(builder: Builder, op: Clip, x: str) -> Clamp:
    """The bounds as raw values of x, rounded to them; a bound beyond x's own does nothing."""
    fraction, bounds = builder.formats[x].fraction, builder.bounds[x]
    low, high = (
        int(np.floor(np.clip(end * 2.0**fraction, bounds.low - 1, bounds.high + 1) + 0.5))
        for end in (op.low, op.high)
    )
    return Clamp(low, high)


def leaky(builder: Builder, node: Node[Op], slope: Array) -> None:
    """The slope is rounded to as many bits as the exact product has room for, up to a limit."""
    x = node.inputs[0]
    wanted = builder.precision.weight_bits + SLOPE_BITS
    source = builder.formats[x]
    if source.width + wanted > MAX_WIDTH - 1:
        width = MAX_WIDTH - 1 - wanted
        narrow = Format(source.signed, width, source.integer)
        target = Target(narrow, Rounding.RND, Overflow.SAT)
        x = builder.cast(builder.new(f"{node.name}.limited"), x, target)
    scaled = np.floor(slope.astype(np.float64) * 2.0**wanted + 0.5)
    if np.abs(scaled).max() > 1 << MAX_WIDTH:
        raise FormatError(
            "the slope is too large",
            node=node.name,
            found=float(np.abs(slope).max()),
            expected=f"at most {2.0 ** (MAX_WIDTH - wanted)}",
        )
    raw = scaled.astype(np.int64)
    common = int(np.gcd.reduce([*raw.tolist(), 1 << wanted]))
    fraction = wanted - common.bit_length() + 1
    constant = builder.constant(builder.new(f"{node.name}.slope"), raw // common, fraction)
    builder.close(node.output, Leaky(fraction), x, constant)


def _minus_one(builder: Builder, name: str) -> str:
    return builder.constant(builder.new(f"{name}.minus"), np.array([-1]), 0)


def negative(builder: Builder, node: Node[Op]) -> None:
    """``-x``."""
    builder.close(node.output, Mul(), node.inputs[0], _minus_one(builder, node.name))


def absolute(builder: Builder, node: Node[Op]) -> None:
    """``|x|``: a slope of -1 where it is negative."""
    builder.close(node.output, Leaky(0), node.inputs[0], _minus_one(builder, node.name))


def magnitude(builder: Builder, name: str, x: str) -> str:
    """``|x|`` as an inner value of a layer."""
    if builder.bounds[x].low >= 0:
        return x
    return builder.exact(builder.new(f"{name}.size"), Leaky(0), x, _minus_one(builder, name))


def threshold(builder: Builder, node: Node[Op], alpha: float) -> None:
    """``x`` times 1 where it is above alpha, times 0 elsewhere.

    That factor is ``x`` minus the largest raw value which is not above alpha, between 0 and 1 raw.
    """
    name, x = node.name, node.inputs[0]
    fraction, bounds = builder.formats[x].fraction, builder.bounds[x]
    last = math.floor(min(max(alpha * 2.0**fraction, bounds.low - 1), bounds.high))
    rest = builder.constant(builder.new(f"{name}.last"), np.array([last]), fraction)
    above = builder.combine(builder.new(f"{name}.above"), x, rest, negative=True)
    builder.close(node.output, Mul(), x, unit(builder, name, above, low=0))


def unit(builder: Builder, name: str, x: str, low: int = -1, factor: int = 1) -> str:
    """The sign of ``x``, -1, 0 or 1, not below ``low``, times a factor."""
    step = builder.exact(builder.new(f"{name}.step"), Clamp(low, 1), x)
    fraction = builder.formats[x].fraction
    whole = builder.constant(builder.new(f"{name}.whole"), np.array([factor]), -fraction)
    return builder.exact(builder.new(f"{name}.unit"), Mul(), step, whole)


def _bounded(builder: Builder, op: Maximum | Minimum, x: str, values: Array) -> Array:
    """Constants that are never larger than ``x``, or never smaller, need not be further away."""
    step, bounds = builder.formats[x].step, builder.bounds[x]
    if isinstance(op, Maximum):
        return np.asarray(np.maximum(values, bounds.low * step))
    return np.asarray(np.minimum(values, bounds.high * step))


def extreme(builder: Builder, op: Maximum | Minimum, node: Node[Op]) -> None:
    """``b + max(a - b, 0)`` is the larger, ``a - max(a - b, 0)`` the smaller of two values."""
    a, b = node.inputs
    shape, constants = builder.shapes[node.output], builder.graph.constants
    if a in constants:
        a, b = b, a
    if b in constants:
        a = builder.expand(a, shape)
        values = suffix(constants[b], shape).astype(np.float64)
        if exact_fraction(builder, b, node) is None:
            values = _bounded(builder, op, a, values)
        b = constant_addend(builder, node, b, a, values)
    else:
        a, b = fitted(builder, a, b, shape)
    over = builder.combine(builder.new(f"{node.name}.over"), a, b, negative=True)
    rest = builder.exact(builder.new(f"{node.name}.rest"), Relu(), over)
    if isinstance(op, Maximum):
        builder.close(node.output, builder.aligned(rest, b), rest, b)
    else:
        builder.close(node.output, builder.aligned(a, rest, negative=True), a, rest)
