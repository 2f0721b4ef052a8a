"""Sliding windows over one or two spatial axes, shared by convolution and pooling."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from .base import Array, Shape, expect


@dataclass(frozen=True)
class Window:
    """A kernel that slides over the spatial axes of a channels-last array.

    Attributes:
        kernel: size along each spatial axis (one or two of them).
        stride: step along each axis.
        pad: padding ``(before, after)`` along each axis.
    """

    kernel: Shape
    stride: Shape
    pad: tuple[tuple[int, int], ...]

    @staticmethod
    def of(
        kernel: Shape, stride: Shape | None = None, pad: tuple[tuple[int, int], ...] | None = None
    ) -> Window:
        """A window with stride 1 and no padding where they are not given."""
        rank = len(kernel)
        return Window(kernel, stride or (1,) * rank, pad or ((0, 0),) * rank)

    @property
    def size(self) -> int:
        """Positions in one window."""
        return math.prod(self.kernel)

    @property
    def padded(self) -> bool:
        return any(before or after for before, after in self.pad)

    def infer(self, x: Shape) -> Shape:
        """Spatial output shape for an input of shape ``x`` (spatial axes, then channels).

        Raises:
            ShapeError: the ranks differ, a size is not positive, or the window does not fit.
        """
        rank = len(self.kernel)
        expect(
            rank in (1, 2) and len(self.stride) == rank and len(self.pad) == rank,
            "kernel, stride and padding must have one or two axes alike",
            found=f"kernel {self.kernel}, stride {self.stride}, padding {self.pad}",
            expected="the same number of axes in each",
        )
        expect(
            min(self.kernel) >= 1
            and min(self.stride) >= 1
            and min(itertools.chain.from_iterable(self.pad)) >= 0,
            "kernel and stride must be at least 1, padding at least 0",
            found=f"kernel {self.kernel}, stride {self.stride}, padding {self.pad}",
            expected="sizes that slide",
        )
        expect(
            len(x) == rank + 1,
            "the input's rank does not fit the kernel",
            found=x,
            expected=f"{rank} spatial axes and the channels",
        )
        out = tuple(
            (n + sum(p) - k) // s + 1
            for n, k, s, p in zip(x, self.kernel, self.stride, self.pad, strict=False)
        )
        expect(
            min(out) >= 1,
            "the kernel is larger than the padded input",
            found=f"input {x}, kernel {self.kernel}, padding {self.pad}",
            expected="at least one position",
        )
        return out

    def extend(self, x: Array, value: float = 0.0) -> Array:
        """``x`` with the padding filled in."""
        if not self.padded:
            return x
        shape = (
            x.shape[0],
            *(n + sum(p) for n, p in zip(x.shape[1:], self.pad, strict=False)),
            x.shape[-1],
        )
        padded = np.full(shape, value, x.dtype) if value else np.zeros(shape, x.dtype)
        padded[self.inner(x.shape)] = x
        return padded

    @property
    def tiles(self) -> bool:
        """Whether windows lie side by side: they share no position, and nothing is padded."""
        return self.kernel == self.stride and not self.padded

    def fold(self, padded: Array, combine: np.ufunc) -> Array:
        """Combine the values of each window, one spatial axis after the other."""
        for axis, (k, s) in enumerate(zip(self.kernel, self.stride, strict=True), 1):
            end = (padded.shape[axis] - k) // s * s + 1
            before = (slice(None),) * axis
            parts = [padded[(*before, slice(i, i + end, s))] for i in range(k)]
            padded = combine(parts[0], parts[1]) if k > 1 else parts[0].copy()
            for part in parts[2:]:
                combine(padded, part, out=padded)
        return padded

    def spread(self, y: Array) -> Array:
        """For windows side by side: each value of ``y`` at all positions of its window."""
        for axis, k in reversed(list(enumerate(self.kernel, 1))):
            y = y.repeat(k, axis)
        return y

    def covered(self, out: Shape) -> tuple[slice, ...]:
        """The part of the input that windows side by side cover."""
        return (slice(None), *(slice(k * n) for k, n in zip(self.kernel, out, strict=True)))

    def inner(self, shape: Shape) -> tuple[slice, ...]:
        """Where in the padded array the original of ``shape`` (with batch) stands."""
        spatial = (
            slice(before, before + n) for n, (before, _) in zip(shape[1:], self.pad, strict=False)
        )
        return (slice(None), *spatial, slice(None))

    def taps(self, out: Shape) -> list[tuple[slice, ...]]:
        """For each kernel position, the slice of the padded array that it visits."""
        return [
            (
                slice(None),
                *(
                    slice(k, k + s * (n - 1) + 1, s)
                    for k, s, n in zip(position, self.stride, out, strict=True)
                ),
                slice(None),
            )
            for position in itertools.product(*map(range, self.kernel))
        ]
