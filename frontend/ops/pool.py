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

    def forward(self, *inputs: Array) -> Array:
        return self.window.fold(self.window.extend(inputs[0], -np.inf), np.maximum)

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        """The gradient goes to the first position that holds the maximum."""
        (x,) = inputs
        best = self.forward(x)
        share = self._tiled if self.window.tiles else self._overlapping
        return best, lambda grad: (share(x, best, grad),)

    def _overlapping(self, x: Array, best: Array, grad: Array) -> Array:
        padded = self.window.extend(x, -np.inf)
        total = np.zeros(padded.shape, grad.dtype)
        free = np.ones(grad.shape, bool)
        for tap in self.window.taps(grad.shape[1:-1]):
            wins = padded[tap] == best
            wins &= free
            free ^= wins
            total[tap] += grad * wins
        return total[self.window.inner(x.shape)]

    def _tiled(self, x: Array, best: Array, grad: Array) -> Array:
        """The same for windows that lie side by side, with few passes over strided values."""
        out = grad.shape[1:-1]
        covered = self.window.covered(out)
        part = x[covered]
        wins = part == self.window.spread(best)
        # Neighbouring channels are told apart by bytes: several are worked on as one integer.
        word = np.dtype(f"u{math.gcd(x.shape[-1], 8)}")
        words = wins.view(word)
        free = np.ones(grad.shape, bool).view(word)
        for tap in self.window.taps(out):
            words[tap] &= free
            free ^= words[tap]
        total = (np.empty if part.shape == x.shape else np.zeros)(x.shape, grad.dtype)
        np.multiply(self.window.spread(grad), wins, out=total[covered])
        return total


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
        return self.window.fold(self.window.extend(x), np.add)

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
