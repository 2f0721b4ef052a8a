"""Convolutions with kernels three high in two thirds of the multiplications, and still exact.

Two results, one above the other, are made of four values d and three weights g.  Winograd's
algorithm F(2, 3) does with four products instead of six (S. Winograd, Arithmetic Complexity of
Computations, 1980; as in A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks,
arXiv:1509.09308, section 4.1)::

    m0 = (d0 - d2) g0                      y0 = m0 + m1 + m2
    m1 = (d1 + d2) (g0 + g1 + g2) / 2      y1 = m1 - m2 - m3
    m2 = (d2 - d1) (g0 - g1 + g2) / 2
    m3 = (d1 - d3) g2

Twice the weights' sums are integers, so that all the numbers on the way are multiples of one half
(or of half of what weights and bias are multiples of), and a float type is exact if it holds
:func:`bound`.

Sums over the channels and along the kernel's width are matrix products.  With the rows of all
samples outermost, their operands are views: no window is copied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..frontend.ops import Array, Conv, Window
from ..quantize.exact import Result
from .exactness import FloatType

BLOCK = 1 << 21
"""Bytes of sums and differences, and of their products, that are worked on at a time."""


def suits(op: Conv, weight: Array) -> bool:
    """Whether the convolution has the form that is computed here, and gains by it: with one input
    channel the sums and differences cost as much as the products spared."""
    window = op.window
    tall = len(window.kernel) == 2 and window.kernel[0] == 3
    plain = max(window.stride) == max(window.dilation) == op.groups == 1
    return tall and plain and weight.shape[-2] > 1


def factors(weight: Array) -> Array:
    """Twice what the four sums and differences of values are multiplied by, ``(4, KW, C, M)``, for
    weights ``(3, KW, C, M)``."""
    g0, g1, g2 = weight
    return np.stack([2 * g0, g0 + g1 + g2, g0 - g1 + g2, 2 * g2])


def bound(weight: Array, x: Result) -> int:
    """Twice what no sum of products exceeds in magnitude, for integer weights.

    Each output's terms are bounded one by one, so that it holds for any sum of some of them,
    whatever the order of the additions.
    """
    low, high = min(x.low, 0), max(x.high, 0)  # the padding is 0
    apart, together = high - low, 2 * max(-low, high)
    sums = np.abs(factors(weight)).sum(axis=(1, 2)).astype(object)
    return int((np.array([apart, together, apart, apart], object) @ sums).max())


@dataclass(frozen=True)
class Winograd:
    """One convolution, ready to run.

    Attributes:
        window: as in the op.
        factors: half of :func:`factors`, in the float type that all is computed in.
        bias: ``(M,)``, alike.
        finish: what to do with blocks of results, in place.
        kind: the type of what it gives.
    """

    window: Window
    factors: Array
    bias: Array
    finish: Callable[[Array], object]
    kind: FloatType

    def __call__(self, x: Array) -> Array:
        """Results ``(batch, H, W, M)`` for ``x``, ``(batch, H, W, C)``, of any float type."""
        _, height, width, channels = x.shape
        rows, columns = self.window.infer(x.shape[1:])
        (above, _), (left, right) = self.window.pad
        pairs, filters, own = -(-rows // 2), self.factors.shape[-1], self.factors.dtype
        line = (left + width + right) * channels
        block = _samples(len(x), 4 * pairs * (line + columns * filters) * own.itemsize)

        padded = np.zeros((2 * pairs + 2, block, left + width + right, channels), own)
        inner = padded[above : above + height, :, left : left + width]
        (d0, d2), (d1, d3) = ((each[:-1], each[1:]) for each in (padded[::2], padded[1::2]))
        values = np.empty((4, *d0.shape), own)
        windows = sliding_window_view(
            values.reshape(4, -1, line), self.window.kernel[1] * channels, axis=-1
        )[:, :, ::channels]
        matrices = self.factors.reshape(4, 1, -1, filters)
        products = np.empty((4, pairs, block, columns * filters), own)
        target = products.reshape(4, -1, columns, filters)
        m0, m1, m2, m3 = products
        bias = np.tile(self.bias, columns)
        y = np.empty((len(x), rows, columns * filters), self.kind)
        for start in range(0, len(x), block):
            first = min(start, len(x) - block)  # the last block may overlap with the one before
            part = slice(first, first + block)
            inner[...] = x[part].swapaxes(0, 1)
            np.subtract(d0, d2, out=values[0])
            np.add(d1, d2, out=values[1])
            np.subtract(d2, d1, out=values[2])
            np.subtract(d1, d3, out=values[3])
            np.matmul(windows.swapaxes(1, 2), matrices, out=target.swapaxes(1, 2))
            m1 += bias
            m0 += m1
            m0 += m2
            m1 -= m2
            m1 -= m3
            self.finish(products[:2])
            y[part, ::2] = m0.swapaxes(0, 1)
            y[part, 1::2] = m1[: rows // 2].swapaxes(0, 1)
        return y.reshape(len(x), rows, columns, filters)


def _samples(batch: int, size: int) -> int:
    """How many samples of ``size`` bytes each make a block, so that all blocks are about alike."""
    blocks = max(1, -(-batch // max(1, BLOCK // size)))
    return max(1, -(-batch // blocks))
