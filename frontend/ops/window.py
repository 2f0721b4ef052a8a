"""Sliding windows over one or two spatial axes, shared by convolution and pooling."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from .base import MAX_ELEMENTS, Array, Shape, expect

MAX_PADDED = MAX_ELEMENTS // 8
"""Most elements of a padded input, of which several copies are made."""


@dataclass(frozen=True)
class Window:
    """A kernel that slides over the spatial axes of a channels-last array.

    Attributes:
        kernel: positions along each spatial axis (one or two of them).
        stride: step along each axis.
        pad: padding ``(before, after)`` along each axis.
        dilation: distance of neighbouring positions along each axis; ones if empty.
    """

    kernel: Shape
    stride: Shape
    pad: tuple[tuple[int, int], ...]
    dilation: Shape = ()

    def __post_init__(self) -> None:
        if not self.dilation:
            object.__setattr__(self, "dilation", (1,) * len(self.kernel))

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
    def reach(self) -> Shape:
        """Size along each axis from a window's first position to its last: d (k - 1) + 1."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def padded(self) -> bool:
        return any(before or after for before, after in self.pad)

    def infer(self, x: Shape) -> Shape:
        """Spatial output shape for an input of shape ``x`` (spatial axes, then channels).

        Raises:
            ShapeError: the ranks differ, a size is not positive, or the window does not fit.
        """
        self.expect_sound()
        expect(
            len(x) == len(self.kernel) + 1,
            "the input's rank does not fit the kernel",
            found=x,
            expected=f"{len(self.kernel)} spatial axes and the channels",
        )
        padded = tuple(n + sum(p) for n, p in zip(x, self.pad, strict=False))
        expect(
            math.prod(padded) * x[-1] <= MAX_PADDED,
            "the padded input is too large",
            found=f"input {x}, padding {self.pad}",
            expected=f"at most {MAX_PADDED} elements a sample",
        )
        out = tuple(
            (n - r) // s + 1 for n, r, s in zip(padded, self.reach, self.stride, strict=True)
        )
        dilated = "" if max(self.dilation) == 1 else f", dilation {self.dilation}"
        expect(
            min(out) >= 1,
            "the kernel is larger than the padded input",
            found=f"input {x}, kernel {self.kernel}, padding {self.pad}{dilated}",
            expected="at least one position",
        )
        return out

    def expect_sound(self) -> None:
        """Raise a ShapeError if the attributes make no window, whatever the input is."""
        rank = len(self.kernel)
        found = (
            f"kernel {self.kernel}, stride {self.stride}, padding {self.pad}, "
            f"dilation {self.dilation}"
        )
        expect(
            rank in (1, 2)
            and {len(self.stride), len(self.pad), len(self.dilation)} == {rank}
            and {len(pair) for pair in self.pad} == {2},
            "kernel, stride, padding and dilation must have one or two axes alike",
            found=found,
            expected="the same number of axes in each",
        )
        expect(
            min(self.kernel + self.stride + self.dilation) >= 1
            and min(itertools.chain.from_iterable(self.pad)) >= 0,
            "kernel, stride and dilation must be at least 1, padding at least 0",
            found=found,
            expected="sizes that slide",
        )
        expect(
            max(self.kernel + self.stride + self.dilation) <= MAX_ELEMENTS
            and max(itertools.chain.from_iterable(self.pad)) <= MAX_ELEMENTS,
            "kernel, stride, dilation or padding is too large",
            found=found,
            expected=f"at most {MAX_ELEMENTS}",
        )

    def counts(self, x: Shape, margin: tuple[tuple[int, int], ...] = ()) -> Array:
        """How many positions of each window lie in the input, or within ``margin`` of it.

        Args:
            x: shape of the input (spatial axes, then channels).
            margin: what counts beyond the input, ``(before, after)`` along each axis; nothing if
                empty.

        Returns:
            Integers of the spatial output shape.
        """
        counts = np.ones((), np.int64)
        for along in self._counts_along(x, margin):
            counts = np.multiply.outer(counts, along)
        return counts

    def fewest(self, x: Shape, margin: tuple[tuple[int, int], ...] = ()) -> int:
        """The smallest of :meth:`counts`."""
        return math.prod(int(along.min()) for along in self._counts_along(x, margin))

    def _counts_along(self, x: Shape, margin: tuple[tuple[int, int], ...]) -> list[Array]:
        """:meth:`counts` along each axis alone; their outer product is all of them."""
        margin = margin or ((0, 0),) * len(self.kernel)
        found = []
        for axis, n in enumerate(self.infer(x)):
            kernel, dilation = self.kernel[axis], self.dilation[axis]
            first = np.arange(n) * self.stride[axis] - self.pad[axis][0]
            ends = (-margin[axis][0], x[axis] + margin[axis][1])
            # So many of a window's positions, a dilation apart, lie before each end.
            low, high = (np.clip(-((first - end) // dilation), 0, kernel) for end in ends)
            found.append(high - low)
        return found

    def extend(self, x: Array, value: float = 0.0) -> Array:
        """``x`` with the padding filled in."""
        if not self.padded:
            return x
        shape = self.extended(x.shape)
        padded = np.full(shape, value, x.dtype) if value else np.zeros(shape, x.dtype)
        padded[self.inner(x.shape)] = x
        return padded

    def extended(self, shape: Shape) -> Shape:
        """The shape (with batch) that an array of ``shape`` has with the padding."""
        spatial = (n + sum(p) for n, p in zip(shape[1:], self.pad, strict=False))
        return (shape[0], *spatial, shape[-1])

    @property
    def tiles(self) -> bool:
        """Whether windows lie side by side: they share no position, and nothing is padded."""
        return self.kernel == self.stride == self.reach and not self.padded

    def fold(self, padded: Array, combine: np.ufunc) -> Array:
        """Combine the values of each window, one spatial axis after the other."""
        spans = zip(self.kernel, self.reach, self.stride, self.dilation, strict=True)
        for axis, (k, reach, s, d) in enumerate(spans, 1):
            end = (padded.shape[axis] - reach) // s * s + 1
            before = (slice(None),) * axis
            parts = [padded[(*before, slice(i * d, i * d + end, s))] for i in range(k)]
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

    def turned(self, x: Shape, out: Shape) -> Window | None:
        """The window that leads from the outputs back to the inputs, over spatial shapes; None if
        a stride or the padding does not allow one."""
        if max(self.stride) > 1:
            return None
        pad = []
        for n, m, reach, (before, _) in zip(x, out, self.reach, self.pad, strict=True):
            ahead = reach - 1 - before
            pad.append((ahead, n - m - ahead + reach - 1))
        if min(itertools.chain.from_iterable(pad)) < 0:
            return None
        return replace(self, pad=tuple(pad))

    def taps(self, out: Shape) -> list[tuple[slice, ...]]:
        """For each kernel position, the slice of the padded array that it visits."""
        return [
            (
                slice(None),
                *(
                    slice(k * d, k * d + s * (n - 1) + 1, s)
                    for k, d, s, n in zip(position, self.dilation, self.stride, out, strict=True)
                ),
                slice(None),
            )
            for position in itertools.product(*map(range, self.kernel))
        ]


def ceil_pad(
    size: int, kernel: int, stride: int, pad: tuple[int, int] = (0, 0), dilation: int = 1
) -> int:
    """Padding to add after an axis so that it has as many windows as with ONNX's ``ceil_mode``.

    There are ``ceil((size + before + after - reach) / stride) + 1`` windows then, but none starts
    in the padding after the input (``ceil_mode`` of ONNX's pools, and of PyTorch's).

    Args:
        size: the input's size along the axis.
        pad: the padding that is there already, ``(before, after)``.
    """
    before, after = pad
    rest = size + before + after - dilation * (kernel - 1) - 1
    windows = -(-rest // stride) + 1
    if (windows - 1) * stride >= size + before:
        windows -= 1
    return max((windows - 1) * stride - rest, 0)
