"""Cross-correlation in groups and its two gradients, as matrix products over gathered windows.

Convolution and transposed convolution are both made of these three: one's result is the other's
gradient.  Arrays are channels last with a batch axis, weights ``(K..., C / groups, M)``.  The
number of windows along each axis is always given: it need not be all that would fit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .base import Array, Shape
from .depthwise import Depthwise
from .product import cut, pieces
from .window import Window

BLOCK = 2**19
"""Bytes of gathered windows that are worked on at a time: they should stay in the cache."""

SHARES = 4
"""So many times as many bytes of shares of a gradient: they are added one position at a time."""


class Correlation(Protocol):
    """What convolution needs of a way to compute it."""

    def forward(self, x: Array, w: Array, bias: Array | None, out: Shape) -> Array:
        """Results ``(batch, *out, M)``."""

    def weight_gradient(self, grad: Array, x: Array, w: Array) -> Array:
        """The gradient with respect to ``w``, of which only the shape matters."""

    def input_gradient(self, grad: Array, w: Array, shape: Shape) -> Array:
        """The gradient with respect to an input of ``shape`` (with batch)."""


def correlation(window: Window, groups: int, w: Array) -> Correlation:
    """The faster way for the weight ``w``."""
    if groups > 1 and w.shape[-2] == 1:
        return Depthwise(window, groups)
    return Product(window, groups)


@dataclass(frozen=True)
class Product:
    """One matrix product for each group."""

    window: Window
    groups: int

    def forward(self, x: Array, w: Array, bias: Array | None, out: Shape) -> Array:
        kinds = [x, w] if bias is None else [x, w, bias]
        y = np.empty((len(x), *out, w.shape[-1]), np.result_type(*kinds))
        row = None if bias is None else np.tile(bias, out[-1])  # long rows are added much faster
        matrices = self._matrices(w)
        for part, columns in self._columns(x, out):
            target = y[part]
            count = pieces(columns.shape[1], matrices[0].size)
            grouped = cut(self._grouped(target), count)
            np.matmul(cut(columns, count), matrices[:, None], out=grouped)
            if row is not None:
                rows = target.reshape(-1, len(row))
                rows += row
        return y

    def weight_gradient(self, grad: Array, x: Array, w: Array) -> Array:
        total = np.zeros(self._matrices(w).shape, grad.dtype)
        for part, columns in self._columns(x, grad.shape[1:-1]):
            count = pieces(columns.shape[1], total[0].size)
            shares = cut(columns, count).swapaxes(2, 3) @ cut(self._grouped(grad[part]), count)
            total += shares.sum(axis=1) if count > 1 else shares[:, 0]
        return total.swapaxes(0, 1).reshape(w.shape)

    def input_gradient(self, grad: Array, w: Array, shape: Shape) -> Array:
        """Each kernel position's share, added back where it came from; or the correlation with the
        kernel turned round, where it is one and has no more windows than this."""
        out = grad.shape[1:-1]
        turned = self.window.turned(shape[1:-1], out)
        if turned is not None and math.prod(shape[1:-1]) <= math.prod(out):
            return Product(turned, self.groups).forward(grad, self._turned(w), None, shape[1:-1])
        total = np.zeros(self.window.extended(shape), grad.dtype)
        split = w.reshape(-1, w.shape[-2], self.groups, w.shape[-1] // self.groups)
        back = np.ascontiguousarray(split.transpose(0, 2, 3, 1), grad.dtype)
        taps = self.window.taps(out)
        size = len(taps) * math.prod(out) * shape[-1] * grad.itemsize
        block = samples(-(-size // SHARES), len(grad))
        buffer = np.empty((len(taps), block * math.prod(out), shape[-1]), grad.dtype)
        for start in range(0, len(grad), block):
            part = slice(start, min(start + block, len(grad)))
            shares = buffer[:, : (part.stop - start) * math.prod(out)]
            np.matmul(self._grouped(grad[part]), back, out=self._grouped(shares, len(taps)))
            target = total[part]
            for share, tap in zip(shares, taps, strict=True):
                target[tap] += share.reshape(-1, *out, shape[-1])
        return total[self.window.inner(shape)]

    def _turned(self, w: Array) -> Array:
        """The kernel turned round, with inputs and outputs exchanged in each group."""
        axes = tuple(range(w.ndim - 2))
        split = np.flip(w, axes).reshape(*w.shape[:-1], self.groups, -1)
        return split.transpose(*axes, -1, -2, -3).reshape(*w.shape[:-2], split.shape[-1], -1)

    def _grouped(self, x: Array, *lead: int) -> Array:
        """The rows of ``x``, its channels apart by groups: (lead..., groups, rows, channels)."""
        rows = x.shape[1] if lead else math.prod(x.shape[:-1])
        channels = x.shape[-1] // self.groups
        return x.reshape(*lead, rows, self.groups, channels).swapaxes(-2, -3)

    def _matrices(self, w: Array) -> Array:
        """A matrix for each group: (groups, positions · channels, outputs)."""
        split = w.reshape(-1, w.shape[-2], self.groups, w.shape[-1] // self.groups)
        return split.transpose(2, 0, 1, 3).reshape(self.groups, -1, split.shape[-1])

    def _columns(self, x: Array, out: Shape) -> Iterator[tuple[tuple[slice, slice], Array]]:
        """Windows of ``x`` as rows: (groups, samples · places, positions · channels).

        They come in blocks that fit the cache, with the samples and the places along the first axis
        that each is of.  The next block overwrites the last one.
        """
        windows = self._windows(self.window.extend(x), out)
        width = self.window.size * x.shape[-1]
        buffer = np.empty(0, x.dtype)
        for part in _blocks(len(x), out, width * x.itemsize):
            block = windows[:, *part]
            rows = math.prod(block.shape[1 : len(out) + 2])
            if len(buffer) == 0:  # the first block is as large as any
                buffer = np.empty(rows * width, x.dtype)
            flat = buffer[: rows * width]
            if x.shape[-1] == 1:  # one plane for each kernel position: their rows are contiguous
                spatial = len(out)
                positions = np.moveaxis(block[0, ..., 0], range(-spatial, 0), range(spatial))
                flat.reshape(positions.shape)[...] = positions
                yield part, flat.reshape(1, width, rows).swapaxes(1, 2)
            else:
                flat.reshape(block.shape)[...] = block
                yield part, flat.reshape(self.groups, rows, -1)

    def _windows(self, padded: Array, out: Shape) -> Array:
        """All windows as a view: (groups, batch, places..., kernel's axes..., channels)."""
        channels = padded.shape[-1] // self.groups
        split = np.ascontiguousarray(self._grouped(padded))  # long runs are copied faster
        split = split.reshape(self.groups, *padded.shape[:-1], channels)
        group, sample, *steps, item = split.strides
        window = self.window
        return as_strided(
            split,
            (self.groups, len(padded), *out, *window.kernel, channels),
            (
                group,
                sample,
                *(step * s for step, s in zip(steps, window.stride, strict=True)),
                *(step * d for step, d in zip(steps, window.dilation, strict=True)),
                item,
            ),
            writeable=False,
        )


def _blocks(batch: int, out: Shape, size: int) -> Iterator[tuple[slice, slice]]:
    """Samples, and places along the first axis, whose windows of ``size`` bytes each fit the cache.

    They are several whole samples, or some rows of one image.
    """
    row = math.prod(out[1:]) * size
    if out[0] * row <= BLOCK or len(out) == 1:
        block = samples(out[0] * row, batch)
        for start in range(0, batch, block):
            yield slice(start, start + block), slice(out[0])
        return
    height = -(-out[0] // min(-(-out[0] * row // BLOCK), out[0]))
    for sample in range(batch):
        for start in range(0, out[0], height):
            yield slice(sample, sample + 1), slice(start, start + height)


def samples(size: int, batch: int) -> int:
    """How many samples of ``size`` bytes each make a block, so that all blocks are about alike."""
    blocks = max(1, -(-batch // max(1, BLOCK // size)))
    return max(1, -(-batch // blocks))
