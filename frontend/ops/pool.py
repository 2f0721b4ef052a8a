"""Pooling: the maximum, the sum or the mean of each window, channel by channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import Array, Pullback, Shape, expect
from .window import Window


@dataclass(frozen=True)
class MaxPool:
    """The largest value of each window; padding never wins.  x ``(H, W, C)`` or ``(L, C)``."""

    window: Window

    def infer(self, *shapes: Shape) -> Shape:
        (x,) = shapes
        pairs = zip(self.window.pad, self.window.kernel, strict=True)
        expect(
            all(max(pad) < kernel for pad, kernel in pairs),
            "a pooling window must not lie in the padding alone",
            found=f"kernel {self.window.kernel}, padding {self.window.pad}",
            expected="padding smaller than the kernel",
        )
        return (*self.window.infer(x), x[-1])

    def _padded(self, x: Array) -> tuple[Array, list[tuple[slice, ...]]]:
        return self.window.extend(x, -np.inf), self.window.taps(self.window.infer(x.shape[1:]))

    def forward(self, *inputs: Array) -> Array:
        padded, taps = self._padded(inputs[0])
        best: Array = padded[taps[0]].copy()
        for tap in taps[1:]:
            np.maximum(best, padded[tap], out=best)
        return best

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        best = self.forward(x)

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            """The gradient goes to the first position that holds the maximum."""
            padded, taps = self._padded(x)
            total = np.zeros(padded.shape, grad.dtype)
            free = np.ones(grad.shape, bool)
            for tap in taps:
                wins = padded[tap] == best
                wins &= free
                free ^= wins
                total[tap] += grad * wins
            return (total[self.window.inner(x.shape)],)

        return best, pullback


@dataclass(frozen=True)
class SumPool:
    """The sum of each window: the exact half of average pooling."""

    window: Window

    def infer(self, *shapes: Shape) -> Shape:
        (x,) = shapes
        return (*self.window.infer(x), x[-1])

    def forward(self, *inputs: Array) -> Array:
        (x,) = inputs
        out = self.window.infer(x.shape[1:])
        if out == (1,) * len(out) and self.window.kernel == x.shape[1:-1]:
            return np.asarray(x.sum(axis=tuple(range(1, x.ndim - 1)), keepdims=True))
        padded = self.window.extend(x)
        first, *rest = self.window.taps(out)
        total: Array = padded[first].copy()
        for tap in rest:
            total += padded[tap]
        return total

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            spatial = (n + sum(p) for n, p in zip(x.shape[1:], self.window.pad, strict=False))
            total = np.zeros((x.shape[0], *spatial, x.shape[-1]), grad.dtype)
            for tap in self.window.taps(grad.shape[1:-1]):
                total[tap] += grad
            return (total[self.window.inner(x.shape)],)

        return self.forward(x), pullback


@dataclass(frozen=True)
class AveragePool:
    """The mean of each window, over as many positions as the kernel has.  No padding."""

    window: Window

    def infer(self, *shapes: Shape) -> Shape:
        expect(
            not self.window.padded,
            "average pooling with padding is not supported yet",
            found=self.window.pad,
            expected="no padding",
        )
        return SumPool(self.window).infer(*shapes)

    def forward(self, *inputs: Array) -> Array:
        y = SumPool(self.window).forward(*inputs)
        y *= np.asarray(1 / self.window.size, y.dtype)
        return y

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        _, pullback = SumPool(self.window).vjp(needs, *inputs)
        scale = np.asarray(1 / self.window.size, inputs[0].dtype)
        return self.forward(*inputs), lambda grad: pullback(grad * scale)


@dataclass(frozen=True)
class GlobalAveragePool:
    """The mean over all spatial axes, which stay with size 1: ``(H, W, C)`` to ``(1, 1, C)``."""

    def infer(self, *shapes: Shape) -> Shape:
        (x,) = shapes
        expect(
            len(x) in (2, 3),
            "global average pooling needs one or two spatial axes",
            found=x,
            expected="(H, W, C) or (L, C)",
        )
        return (*(1,) * (len(x) - 1), x[-1])

    def forward(self, *inputs: Array) -> Array:
        (x,) = inputs
        return np.asarray(x.mean(axis=tuple(range(1, x.ndim - 1)), keepdims=True))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        scale = np.asarray(1 / math.prod(x.shape[1:-1]), x.dtype)
        return self.forward(x), lambda grad: (np.broadcast_to(grad * scale, x.shape),)
