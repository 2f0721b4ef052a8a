"""Activations of straight pieces: functions of each value alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import LutraError
from .base import Array, Pullback, Shape, expect, expect_finite, unbroadcast

BLOCK = 2**14
"""Values that ReLU works on at a time."""


@dataclass(frozen=True)
class Relu:
    """``max(x, 0)``."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        if inputs[0].size < BLOCK:
            return np.asarray(np.maximum(inputs[0], 0))
        x = np.ascontiguousarray(inputs[0])
        y = np.empty_like(x)
        zeros = np.zeros(BLOCK, x.dtype)  # NumPy takes two arrays faster than one and a number
        source, target = x.reshape(-1), y.reshape(-1)
        for start in range(0, x.size, BLOCK):
            part = source[start : start + BLOCK]
            np.maximum(part, zeros[: part.size], out=target[start : start + BLOCK])
        return y

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        y = self.forward(*inputs)
        return y, lambda grad: (grad * (y > 0),)


@dataclass(frozen=True)
class LeakyRelu:
    """``x`` where it is positive, ``slope · x`` elsewhere."""

    slope: float = 0.01

    def __post_init__(self) -> None:
        expect_finite(slope=self.slope)

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        (x,) = inputs
        larger = np.maximum if self.slope <= 1 else np.minimum
        return np.asarray(larger(x, x * self.slope))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        return self.forward(x), lambda grad: (_leaky_slope(x, self.slope) * grad,)


@dataclass(frozen=True)
class PRelu:
    """``x`` where it is positive, ``slope · x`` elsewhere, with a slope that is learnt.

    Inputs: x ``(..., C)``; slope ``(C,)``, one a channel, or ``(1,)``, one for all.
    """

    def infer(self, *shapes: Shape) -> Shape:
        x, slope = shapes
        expect(
            slope == (1,) or (len(x) >= 1 and slope == x[-1:]),
            "PReLU input and slope do not fit",
            found=f"input {x}, slope {slope}",
            expected="a slope of shape (C,) for an input (..., C), or (1,)",
        )
        return x

    def forward(self, *inputs: Array) -> Array:
        x, slope = inputs
        y = np.minimum(x, 0) * slope
        y += np.maximum(x, 0)  # one of the two is 0
        return y

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        x, slope = inputs

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            dx = _leaky_slope(x, slope) * grad if needs[0] else None
            return (dx, unbroadcast(np.minimum(x, 0) * grad, slope.shape) if needs[1] else None)

        return self.forward(*inputs), pullback


def _leaky_slope(x: Array, slope: Array | float) -> Array:
    """1 where ``x`` is positive, ``slope`` elsewhere."""
    result = np.multiply(x <= 0, slope, dtype=x.dtype)
    result += x > 0
    return result


@dataclass(frozen=True)
class ThresholdedRelu:
    """``x`` where it is above ``alpha``, 0 elsewhere."""

    alpha: float = 1.0

    def __post_init__(self) -> None:
        expect_finite(alpha=self.alpha)

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        (x,) = inputs
        return np.where(x > self.alpha, x, np.zeros((), x.dtype))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        return self.forward(x), lambda grad: (grad * (x > self.alpha),)


@dataclass(frozen=True)
class Clip:
    """``x`` between two bounds, either of which may be infinite.

    Raises:
        LutraError: the bounds are not in order, or beyond a float32.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (self.low <= self.high and self.low < math.inf and self.high > -math.inf):
            raise LutraError(
                "the bounds of a clip are not in order",
                found=f"low {self.low}, high {self.high}",
                expected="low <= high",
            )
        ends = {"lower bound": self.low, "upper bound": self.high}
        expect_finite(**{name: end for name, end in ends.items() if not math.isinf(end)})

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        return np.asarray(np.clip(inputs[0], self.low, self.high))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        return self.forward(x), lambda grad: (grad * ((x > self.low) & (x < self.high)),)


@dataclass(frozen=True)
class HardSigmoid:
    """``slope · x + offset`` between 0 and 1."""

    slope: float = 0.2
    offset: float = 0.5

    def __post_init__(self) -> None:
        expect_finite(slope=self.slope, offset=self.offset)

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        y = inputs[0] * self.slope
        y += self.offset
        return np.asarray(np.clip(y, 0, 1))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        y = self.forward(*inputs)

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            part = grad * self.slope
            part *= (y > 0) & (y < 1)
            return (part,)

        return y, pullback


@dataclass(frozen=True)
class HardSwish:
    """``x`` times ``x/6 + 1/2`` between 0 and 1 (Howard et al., 2019)."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        return np.asarray(inputs[0] * self._share(*inputs))

    def _share(self, x: Array) -> Array:
        return HardSigmoid(1 / 6, 0.5).forward(x)

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        share = self._share(x)

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            slope = x * (1 / 6)
            slope *= (share > 0) & (share < 1)
            slope += share
            slope *= grad
            return (slope,)

        return x * share, pullback
