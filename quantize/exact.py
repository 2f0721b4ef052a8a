"""Interval arithmetic on raw integers: which results can an exact op have?

The interval of a dot product is the sum over its inputs of the extremes of ``w · x``, for each
output with its actual weights, plus the bias.  All bounds are Python integers, so nothing here can
overflow or round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import numpy as np

from ..frontend.errors import FormatError
from ..frontend.ops import (
    Array,
    Concat,
    Conv,
    Dense,
    Flatten,
    MatMul,
    MaxPool,
    Mul,
    ReduceSum,
    Relu,
    Reshape,
    Shape,
    SumPool,
)
from .exact_ops import BelowMax, Clamp, Combine, Leaky, Rearrange, Square
from .formats import MAX_WIDTH

ExactOp = (
    Dense
    | Conv
    | MatMul
    | MaxPool
    | SumPool
    | ReduceSum
    | BelowMax
    | Relu
    | Clamp
    | Leaky
    | Square
    | Mul
    | Combine
    | Flatten
    | Reshape
    | Rearrange
    | Concat
)
"""The ops that are computed on raw integers without any loss."""


@dataclass(frozen=True)
class Operand:
    """What is known of an input before any data: raw values lie in ``[low, high]``.

    Attributes:
        low, high: bounds of the raw values.
        fraction: their fraction bits.
        shape: without the batch axis.
        raw: the values themselves, where they are constant.
    """

    low: int
    high: int
    fraction: int
    shape: Shape
    raw: Array | None = None

    @property
    def magnitude(self) -> int:
        return max(abs(self.low), abs(self.high))

    @staticmethod
    def of(bounds: Result, shape: Shape, raw: Array | None) -> Operand:
        """A value with these bounds as the input of an op."""
        return Operand(bounds.low, bounds.high, bounds.fraction, shape, raw)


@dataclass(frozen=True)
class Result:
    """Bounds of an exact op's results.

    Attributes:
        low, high: bounds of the raw results.
        fraction: their fraction bits.
        partial: largest magnitude that a partial sum can reach, in any order of summation.
    """

    low: int
    high: int
    fraction: int
    partial: int


def constant_bounds(raw: Array, fraction: int) -> Result:
    """Bounds of constant raw values, of which there is at least one."""
    low, high = int(raw.min()), int(raw.max())
    return Result(low, high, fraction, max(-low, high))


def result(op: ExactOp, operands: list[Operand]) -> Result:
    """Bounds of ``op`` on ``operands``.

    Raises:
        FormatError: a partial sum may need more than 53 bits.
    """
    match op:
        case Dense() | Conv():
            bounds = _dot(op, *operands)
        case MatMul():
            a, b = operands
            bounds = _sum(_product(a, b), a.shape[-1], hull=False)
        case MaxPool() | Flatten() | Reshape():
            (x,) = operands
            bounds = Result(x.low, x.high, x.fraction, x.magnitude)
        case Rearrange():
            (x,) = operands
            fill = (op.fill,) if op.fills(x.shape) else ()
            bounds = _hull(x.fraction, x.low, x.high, *fill)
        case Concat():
            bounds = _concat(operands)
        case Relu():
            (x,) = operands
            bounds = Result(max(x.low, 0), max(x.high, 0), x.fraction, x.magnitude)
        case Clamp():
            (x,) = operands
            low, high = (min(max(end, op.low), op.high) for end in (x.low, x.high))
            bounds = Result(low, high, x.fraction, x.magnitude)
        case SumPool():
            (x,) = operands
            bounds = _sum(x, op.window.size, hull=op.window.padded)
        case ReduceSum():
            (x,) = operands
            bounds = _sum(x, x.shape[-1], hull=False)
        case BelowMax():
            (x,) = operands
            bounds = Result(0, x.high - x.low, x.fraction, x.high - x.low)
        case Mul():
            bounds = _product(*operands)
        case Square():
            (x,) = operands
            low = 0 if x.low <= 0 <= x.high else min(x.low**2, x.high**2)
            bounds = _hull(2 * x.fraction, low, x.magnitude**2)
        case Leaky():
            bounds = _leaky(op, *operands)
        case Combine():
            bounds = _combine(op, *operands)
        case _:
            assert_never(op)
    if bounds.partial > 1 << MAX_WIDTH - 1:
        raise FormatError(
            "the exact result is too wide",
            found=f"{bounds.partial.bit_length() + 1} bits",
            expected=f"at most {MAX_WIDTH} bits",
        )
    return bounds


def _hull(fraction: int, *raw: int) -> Result:
    """The bounds of values of which ``raw`` holds the extremes."""
    return Result(min(raw), max(raw), fraction, max(map(abs, raw)))


def _product(a: Operand | Result, b: Operand | Result) -> Result:
    corners = [p * q for p in (a.low, a.high) for q in (b.low, b.high)]
    return _hull(a.fraction + b.fraction, *corners)


def _combine(op: Combine, a: Operand, b: Operand) -> Result:
    if a.fraction + op.shifts[0] != b.fraction + op.shifts[1] or min(op.shifts) < 0:
        raise FormatError(
            "the shifts of a sum do not align its operands",
            found=f"fractions {a.fraction} and {b.fraction}, shifts {op.shifts}",
            expected="the same fraction after shifts of at least 0",
        )
    (a_low, a_high), (b_low, b_high) = (
        (x.low << shift, x.high << shift) for x, shift in zip((a, b), op.shifts, strict=True)
    )
    if op.negative:
        b_low, b_high = -b_high, -b_low
    partial = max(abs(a_low), abs(a_high)) + max(abs(b_low), abs(b_high))
    return Result(a_low + b_low, a_high + b_high, a.fraction + op.shifts[0], partial)


def _leaky(op: Leaky, x: Operand, slope: Operand) -> Result:
    if slope.fraction != op.fraction or op.fraction < 0:
        raise FormatError(
            "the slope has another fraction than its op says",
            found=slope.fraction,
            expected=op.fraction,
        )
    ends = [min(x.low, 0) * s for s in (slope.low, slope.high)]
    ends += [min(x.high, 0) * s for s in (slope.low, slope.high)]
    ends += [max(x.low, 0) << op.fraction, max(x.high, 0) << op.fraction]
    bounds = _hull(x.fraction + op.fraction, *ends)
    factor = max(slope.magnitude, 1 << op.fraction)
    return Result(bounds.low, bounds.high, bounds.fraction, x.magnitude * factor)


def _concat(operands: list[Operand]) -> Result:
    fractions = {x.fraction for x in operands}
    if len(fractions) != 1:
        raise FormatError(
            "values of different fractions cannot stand side by side",
            found=sorted(fractions),
            expected="one fraction",
        )
    ends = [end for x in operands for end in (x.low, x.high)]
    return _hull(fractions.pop(), *ends)


def _sum(x: Operand | Result, count: int, *, hull: bool) -> Result:
    low = min(x.low, 0) if hull else x.low
    high = max(x.high, 0) if hull else x.high
    return Result(count * low, count * high, x.fraction, count * max(abs(x.low), abs(x.high)))


def _dot(op: Dense | Conv, x: Operand, w: Operand, bias: Operand | None = None) -> Result:
    """Bounds over all outputs, from the sums of positive and of negative weights of each."""
    assert w.raw is not None, "weights are constants"
    low, high = x.low, x.high
    if isinstance(op, Conv) and op.window.padded:
        low, high = min(low, 0), max(high, 0)
    rows = w.raw.reshape(-1, w.raw.shape[-1])
    up = np.maximum(rows, 0).sum(axis=0, dtype=np.int64).astype(object)
    down = np.minimum(rows, 0).sum(axis=0, dtype=np.int64).astype(object)
    extra = 0 if bias is None or bias.raw is None else bias.raw.astype(object)
    lows = up * low + down * high + extra
    highs = up * high + down * low + extra
    partial = max((up - down) * max(abs(low), abs(high)) + np.abs(extra))
    return Result(int(min(lows)), int(max(highs)), x.fraction + w.fraction, int(partial))
