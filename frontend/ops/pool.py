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
        out = self.window.infer(x)
        expect(
            not self.window.padded or self.window.fewest(x) > 0,
            "a pooling window must not lie in the padding alone",
            found=f"input {x}, kernel {self.window.kernel}, padding {self.window.pad}",
            expected="a value of the input in each window",
        )
        return (*out, x[-1])

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
        if self.window.kernel == x.shape[1:-1] and not self.window.padded:
            return np.asarray(x.sum(axis=tuple(range(1, x.ndim - 1)), keepdims=True))
        return self.window.fold(self.window.extend(x), np.add)

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            total = np.zeros(self.window.extended(x.shape), grad.dtype)
            for tap in self.window.taps(grad.shape[1:-1]):
                total[tap] += grad
            return (total[self.window.inner(x.shape)],)

        return self.forward(x), pullback


@dataclass(frozen=True)
class AveragePool:
    """The mean of each window over those of its positions that count.

    Positions in the input count, and those in the padding that are within ``counted`` of it.

    Attributes:
        counted: how far beyond the input positions count, ``(before, after)`` along each axis;
            nothing if empty, which zeros become.
    """

    window: Window
    counted: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not any(map(any, self.counted)):
            object.__setattr__(self, "counted", ())

    def infer(self, *shapes: Shape) -> Shape:
        (x,) = shapes
        out = self.window.infer(x)
        pad = self.window.pad
        counted = self.counted or ((0, 0),) * len(pad)
        expect(
            len(counted) == len(pad)
            and all(
                0 <= some <= whole
                for pairs in zip(counted, pad, strict=True)
                for some, whole in zip(*pairs, strict=True)
            ),
            "an average can count no more than the padding",
            found=f"counted {self.counted}, padding {pad}",
            expected="for each axis as much as the padding, or less",
        )
        expect(
            not self.window.padded or self.window.fewest(x, self.counted) > 0,
            "a pooling window has no position that counts",
            found=f"input {x}, kernel {self.window.kernel}, padding {pad}, counted {self.counted}",
            expected="at least one position in each window",
        )
        return (*out, x[-1])

    def counts(self, x: Shape) -> Array:
        """What the sum of each window is divided by, for an input of shape ``x`` (no batch)."""
        return self.window.counts(x, self.counted)

    def _scale(self, x: Array) -> Array:
        """Reciprocals of the counts: one for each position, or for all if they are alike."""
        if not self.window.padded:
            return np.asarray(1 / self.window.size, x.dtype)
        return (1 / self.counts(x.shape[1:]))[..., None].astype(x.dtype)

    def forward(self, *inputs: Array) -> Array:
        y = SumPool(self.window).forward(*inputs)
        y *= self._scale(inputs[0])
        return y

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        _, pullback = SumPool(self.window).vjp(needs, *inputs)
        scale = self._scale(inputs[0])
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
