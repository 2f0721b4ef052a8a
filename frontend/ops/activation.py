"""Activations: functions of each value alone, and softmax over the last axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import Array, Pullback, Shape, expect

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
class Sigmoid:
    """``1 / (1 + exp(-x))``, computed as ``(1 + tanh(x / 2)) / 2`` so that nothing overflows."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        y = np.tanh(inputs[0] * 0.5)
        y += 1
        y *= 0.5
        return y

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        y = self.forward(*inputs)
        return y, lambda grad: (grad * y * (1 - y),)


@dataclass(frozen=True)
class Tanh:
    """Hyperbolic tangent."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        return np.tanh(inputs[0])

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        y = self.forward(*inputs)
        return y, lambda grad: (grad * (1 - y * y),)


@dataclass(frozen=True)
class Softmax:
    """``exp(x - max x) / sum exp(x - max x)`` over the last axis."""

    def infer(self, *shapes: Shape) -> Shape:
        (x,) = shapes
        expect(len(x) >= 1, "softmax needs an axis", found=x, expected="(..., n)")
        return x

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
