"""What a quantised model does to its values: it brings them onto a grid, in float arithmetic."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from .base import Array, Pullback, Shape, expect, unbroadcast


class Round(enum.Enum):
    """How a number that lies between two integers becomes one of them."""

    HALF_EVEN = enum.auto()
    """The nearer one; of two equally near ones the even one."""
    HALF_UP = enum.auto()
    """The nearer one; of two equally near ones the one further from zero."""
    HALF_DOWN = enum.auto()
    """The nearer one; of two equally near ones the one nearer to zero."""
    CEIL = enum.auto()
    """The larger one."""
    FLOOR = enum.auto()
    """The smaller one."""
    UP = enum.auto()
    """The one further from zero."""
    DOWN = enum.auto()
    """The one nearer to zero."""


def rounded(x: Array, how: Round) -> Array:
    """Each value of ``x`` as an integer of the same type."""
    match how:
        case Round.HALF_EVEN:
            return np.rint(x)
        case Round.HALF_UP | Round.HALF_DOWN:
            whole = np.trunc(x)
            rest = np.abs(x - whole)
            away = rest >= 0.5 if how is Round.HALF_UP else rest > 0.5
            return np.asarray(whole + np.copysign(away, x))
        case Round.CEIL:
            return np.ceil(x)
        case Round.FLOOR:
            return np.floor(x)
        case Round.UP:
            return np.asarray(np.copysign(np.ceil(np.abs(x)), x))
        case Round.DOWN:
            return np.trunc(x)
        case _:
            assert_never(how)


@dataclass(frozen=True)
class Quantize:
    """The nearest of the numbers ``(q - zero) · scale``, where q is an integer from ``low`` to
    ``high``: ``q = clip(round(x / scale) + zero, low, high)``.

    The inputs are x, ``scale`` and ``zero``.  The latter two are constants of shape (1,) or
    (channels,), for the last axis; scales are positive, zero points are integers.

    Attributes:
        low, high: the integers that there are.
        rounding: how ``x / scale`` becomes an integer.
        shifted: whether the zero point is added before rounding instead of after it, which
            matters to ties.

    Source: ONNX, QuantizeLinear (``shifted`` false); QONNX, Quant (true).
    """

    low: int
    high: int
    rounding: Round = Round.HALF_EVEN
    shifted: bool = False

    def infer(self, *shapes: Shape) -> Shape:
        x, scale, zero = shapes
        expect_channels(x, scale, "scale")
        expect_channels(x, zero, "zero point")
        expect(
            self.low < self.high,
            "the integers of a quantisation are in the wrong order",
            found=f"{self.low} to {self.high}",
            expected="low < high",
        )
        return x

    def integers(self, *inputs: Array) -> Array:
        """The integers q that stand for ``x``, as floats."""
        x, scale, zero = inputs
        ratio = x / scale
        if self.shifted:
            q = rounded(ratio + zero, self.rounding)
        else:
            q = rounded(ratio, self.rounding) + zero
        return np.asarray(np.clip(q, self.low, self.high))

    def forward(self, *inputs: Array) -> Array:
        _, scale, zero = inputs
        return np.asarray((self.integers(*inputs) - zero) * scale)

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        """The gradient passes straight through where nothing is clipped; scale and zero point
        get none.  Source: Bengio et al. 2013, arXiv:1308.3432."""
        x, scale, zero = inputs
        ratio = x / scale + zero
        inside = (ratio >= self.low) & (ratio <= self.high)
        return self.forward(*inputs), lambda grad: (grad * inside, None, None)


@dataclass(frozen=True)
class Bipolar:
    """``scale`` where x is not negative, else ``-scale``; inputs are x and the scale, a positive
    constant of shape (1,) or (channels,).

    Source: QONNX, BipolarQuant.
    """

    def infer(self, *shapes: Shape) -> Shape:
        x, scale = shapes
        expect_channels(x, scale, "scale")
        return x

    def forward(self, *inputs: Array) -> Array:
        x, scale = inputs
        return np.asarray(np.where(x >= 0, scale, -scale))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        """Straight through where x is within ``[-scale, scale]``."""
        x, scale = inputs
        y = self.forward(x, scale)

        def pull(grad: Array) -> tuple[Array | None, ...]:
            by_scale = unbroadcast(grad * np.sign(y), scale.shape) if needs[1] else None
            return grad * (np.abs(x) <= scale), by_scale

        return y, pull


def expect_channels(x: Shape, constant: Shape, what: str) -> None:
    """Raise a ShapeError unless a constant is one number, or one for each of x's last axis."""
    expect(
        constant == (1,) or (len(constant) == 1 and constant == x[-1:]),
        f"the {what} does not fit the values",
        found=f"{constant} for {x}",
        expected="one number, or one a channel",
    )
