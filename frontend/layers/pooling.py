"""Pooling: the maximum or the mean of each window, channel by channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import ops
from ..ops import Shape, Window
from .base import Layer
from .convolution import Padding, Size, make_window


@dataclass(frozen=True)
class _Pool(Layer):
    """What all pooling layers have.

    The stride is the kernel's size unless it is given.  With ``ceil`` a last window that reaches
    beyond the padded input counts as well, as long as it begins before the padding at the end.
    """

    kernel: Size = 2
    stride: Size | None = None
    padding: Padding = "valid"
    ceil: bool = False
    rank: ClassVar[int] = 2

    def _window(self, shape: Shape) -> Window:
        """The window, without what ``ceil`` adds."""
        stride = self.kernel if self.stride is None else self.stride
        return make_window(self.rank, shape, self.kernel, stride, self.padding)

    def _reaching(self, window: Window, shape: Shape) -> Window:
        """The window with so much padding at the ends that the last one fits as well."""
        pads = []
        for n, k, s, (before, after) in zip(
            shape, window.kernel, window.stride, window.pad, strict=False
        ):
            positions = -(-(n + before + after - k) // s) + 1
            if (positions - 1) * s >= n + before:
                positions -= 1
            pads.append((before, max(after, (positions - 1) * s + k - n - before)))
        return Window(window.kernel, window.stride, tuple(pads), window.dilation)


@dataclass(frozen=True)
class MaxPool2D(_Pool):
    """The largest value of each window: (H, W, C) to (H', W', C); padding never wins."""

    prefix: ClassVar[str] = "max_pool"

    def op(self, *shapes: Shape) -> ops.Op:
        window = self._window(shapes[0])
        return ops.MaxPool(self._reaching(window, shapes[0]) if self.ceil else window)


@dataclass(frozen=True)
class MaxPool1D(MaxPool2D):
    """The largest value of each window: (L, C) to (L', C); padding never wins."""

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class AveragePool2D(_Pool):
    """The mean of each window: (H, W, C) to (H', W', C).

    Padding is left out of the mean unless ``count_padding``; what ``ceil`` adds always is.
    """

    count_padding: bool = False
    prefix: ClassVar[str] = "average_pool"

    def op(self, *shapes: Shape) -> ops.Op:
        window = self._window(shapes[0])
        counted = window.pad if self.count_padding and window.padded else ()
        return ops.AveragePool(self._reaching(window, shapes[0]) if self.ceil else window, counted)


@dataclass(frozen=True)
class AveragePool1D(AveragePool2D):
    """The mean of each window: (L, C) to (L', C)."""

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class GlobalAveragePool(Layer):
    """The mean over all positions: (H, W, C) to (1, 1, C), (L, C) to (1, C)."""

    prefix: ClassVar[str] = "global_average_pool"

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.GlobalAveragePool()
