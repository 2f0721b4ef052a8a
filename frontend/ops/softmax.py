"""Softmax over the last axis, and its logarithm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from .base import Array, Pullback, Shape, expect

SAFE: Final = 50.0
LARGE: Final = math.exp(SAFE)
"""A power of e that fits in a float32, as do the sum of many such ones, and the inverse of it."""


def _rows(shapes: tuple[Shape, ...]) -> Shape:
    (x,) = shapes
    expect(len(x) >= 1, "softmax needs an axis", found=x, expected="(..., n)")
    return x


def _row_sums(x: Array) -> Array:
    """Sums over the last axis, which stays: as a matrix product, faster than a reduction."""
    sums = x.reshape(-1, x.shape[-1]) @ np.ones(x.shape[-1], x.dtype)
    return np.asarray(sums).reshape(*x.shape[:-1], 1)


@dataclass(frozen=True)
class Softmax:
    """``exp(x) / sum exp(x)`` over the last axis.

    If powers or sums might not fit, the largest value of each row is taken off first.
    """

    def infer(self, *shapes: Shape) -> Shape:
        return _rows(shapes)

    def forward(self, *inputs: Array) -> Array:
        (x,) = inputs
        powers: Array
        if x.max(initial=0) < SAFE:
            powers = np.exp(x)
            sums = _row_sums(powers)
            if sums.min(initial=1) > 1 / LARGE:
                powers /= sums
                return powers
        powers = np.exp(x - x.max(axis=-1, keepdims=True))
        powers /= _row_sums(powers)
        return powers

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        y = self.forward(*inputs)

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            share = grad - np.vecdot(grad, y)[..., None]
            share *= y
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
        y -= np.log(_row_sums(np.exp(y)))
        return y

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        y = self.forward(*inputs)

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            share = np.exp(y)
            share *= -_row_sums(grad)
            share += grad
            return (share,)

        return y, pullback
