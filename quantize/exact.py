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
    Conv,
    Dense,
    Flatten,
    MaxPool,
    Mul,
    ReduceSum,
    Relu,
    Shape,
    SumPool,
)
from .formats import MAX_WIDTH


@dataclass(frozen=True)
class BelowMax:
    """``max(x) - x`` over the last axis: how far each value lies below its row's largest."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        (x,) = inputs
        # NumPy is slow along a short last axis: the classes go first in memory, and stay there.
        classes = np.ascontiguousarray(np.moveaxis(x, -1, 0))
        return np.moveaxis(classes.max(axis=0) - classes, 0, -1)


ExactOp = Dense | Conv | MaxPool | SumPool | Relu | Flatten | BelowMax | ReduceSum | Mul
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
        case MaxPool() | Flatten():
            (x,) = operands
            bounds = Result(x.low, x.high, x.fraction, x.magnitude)
        case Relu():
            (x,) = operands
            bounds = Result(max(x.low, 0), max(x.high, 0), x.fraction, x.magnitude)
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
            a, b = operands
            corners = [p * q for p in (a.low, a.high) for q in (b.low, b.high)]
            low, high = min(corners), max(corners)
            bounds = Result(low, high, a.fraction + b.fraction, max(-low, high))
        case _:
            assert_never(op)
    if bounds.partial > 1 << MAX_WIDTH - 1:
        raise FormatError(
            "the exact result is too wide",
            found=f"{bounds.partial.bit_length() + 1} bits",
            expected=f"at most {MAX_WIDTH} bits",
        )
    return bounds


def _sum(x: Operand, count: int, *, hull: bool) -> Result:
    low = min(x.low, 0) if hull else x.low
    high = max(x.high, 0) if hull else x.high
    return Result(count * low, count * high, x.fraction, count * x.magnitude)


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
