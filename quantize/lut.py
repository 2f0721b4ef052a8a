"""``Lut``: the only non-linear primitive besides ``Cast``, a table of correctly rounded values."""

from __future__ import annotations

import decimal
import enum
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import assert_never

import numpy as np

from ..frontend.ops import Array, Shape
from .formats import Format

DIGITS = 60
"""Decimal digits of working precision: far beyond the 53 bits that a format can have."""

FLAT = Decimal(5000)
"""Beyond this argument sigmoid, tanh and exp(-x) differ from their limits by less than 10^-2000,
far below half a step of any format."""


class Function(enum.StrEnum):
    """The functions that tables are made of."""

    SIGMOID = "sigmoid"
    TANH = "tanh"
    EXP_NEGATIVE = "exp_negative"
    RECIPROCAL = "reciprocal"


@dataclass(frozen=True)
class Lut:
    """Look up a table by the bits of the input: inputs are x and the table.

    The table has one entry for each bit pattern of x, in the order of the patterns, so that a
    negative raw value counts from the end.
    """

    function: Function

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        x, table = inputs
        index = x.astype(np.int32)  # floats become these several times faster than 64-bit ones
        # The second keeps the layout in memory, the first is faster.
        return table.take(index, mode="wrap") if index.flags.c_contiguous else table[index]


def table(function: Function, index: Format, output: Format) -> Array:
    """Raw outputs, int64, for every bit pattern of ``index``: rounded to nearest, ties up, then
    saturated, from the function's true value."""
    patterns = range(1 << index.width)
    raws = [p - (1 << index.width) if p > index.high else p for p in patterns]
    with decimal.localcontext(prec=DIGITS):
        exact = _evaluator(function)
        entries = [_entry(exact, raw, index, output) for raw in raws]
    return np.array(entries, np.int64)


def _entry(exact: Callable[[Decimal], Decimal], raw: int, index: Format, output: Format) -> int:
    x = Decimal(raw) * Decimal(2) ** -index.fraction
    try:
        y = exact(x) * Decimal(2) ** output.fraction
    except decimal.DivisionByZero:
        return output.high
    rounded = int((y + Decimal("0.5")).to_integral_value(decimal.ROUND_FLOOR))
    return min(max(rounded, output.low), output.high)


def _evaluator(function: Function) -> Callable[[Decimal], Decimal]:
    """The function with about 60 correct digits; none of its values but exact ones lies so near
    to a tie that this could round it wrongly (Lindemann: exp of a rational is transcendental)."""
    match function:
        case Function.SIGMOID:
            return lambda x: 1 / (1 + (-_clamp(x)).exp())
        case Function.TANH:
            return lambda x: 1 - 2 / ((2 * _clamp(x)).exp() + 1)
        case Function.EXP_NEGATIVE:
            return lambda x: (-_clamp(x)).exp()
        case Function.RECIPROCAL:
            return lambda x: 1 / x
        case _:
            assert_never(function)


def _clamp(x: Decimal) -> Decimal:
    return max(min(x, FLAT), -FLAT)
