"""Softmax over the last axis, and its logarithm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import Array, Pullback, Shape, expect


def _rows(shapes: tuple[Shape, ...]) -> Shape:
    (x,) = shapes
    expect(len(x) >= 1, "softmax needs an axis", found=x, expected="(..., n)")
    return x


@dataclass(frozen=True)
class Softmax:
    """``exp(x - max x) / sum exp(x - max x)`` over the last axis."""

    def infer(self, *shapes: Shape) -> Shape:
        return _rows(shapes)

    def forward(self, *inputs: Array) -> Array:
        (x,) = inputs
        y: Array = np.exp(x - x.max(axis=-1, keepdims=True))
        y /= y.sum(axis=-1, keepdims=True)
        return y

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        y = self.forward(*inputs)

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            share = grad * y
            share -= y * share.sum(axis=-1, keepdims=True)
            return (share,)

        return y, pullback


@dataclass(frozen=True)
class LogSoftmax:
    """``x - max x - log sum exp(x - max x)`` over the last axis."""

    def infer(self, *shapes: Shape) -> Shape:
        return _rows(shapes)

    def forward(self, *inputs: Array) -> Array:
        (x,) = inputs
        y: Array = x - x.max(axis=-1, keepdims=True)
        y -= np.log(np.exp(y).sum(axis=-1, keepdims=True))
        return y

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        y = self.forward(*inputs)

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            share = np.exp(y)
            share *= -grad.sum(axis=-1, keepdims=True)
            share += grad
            return (share,)

        return y, pullback
