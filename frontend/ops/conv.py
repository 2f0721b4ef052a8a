"""Convolution over one or two spatial axes, as a matrix product over gathered windows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .base import Array, Pullback, Shape, expect
from .window import Window

BLOCK = 2**19
"""Bytes of gathered windows that are worked on at a time: they should stay in the cache."""


@dataclass(frozen=True)
class Conv:
    """Cross-correlation: x ``(H, W, C)``, weight ``(KH, KW, C, M)``, bias ``(M,)`` or absent.

    One spatial axis works alike: x ``(L, C)``, weight ``(K, C, M)``.
    """

    window: Window

    def infer(self, *shapes: Shape) -> Shape:
        x, w, *bias = shapes
        expect(
            len(w) == len(x) + 1 and w[:-2] == self.window.kernel and w[-2] == x[-1],
            "convolution input, kernel and weight do not fit",
            found=f"input {x}, kernel {self.window.kernel}, weight {w}",
            expected="weight (kernel..., input channels, output channels)",
        )
        if bias:
            expect(
                bias[0] == w[-1:], "convolution bias does not fit", found=bias[0], expected=w[-1:]
            )
        return (*self.window.infer(x), w[-1])

    def _columns(self, x: Array, out: Shape) -> Iterator[tuple[slice, Array]]:
        """Windows of ``x`` as rows, ``(samples · positions, kernel · channels)``.

        They come in blocks of samples that fit the cache, with the samples that each is of.  The
        next block overwrites the last one.
        """
        padded = np.ascontiguousarray(self.window.extend(x))
        channels = x.shape[-1]
        # One channel: a plane for each kernel position, because their rows are contiguous.  More:
        # the last kernel axis and the channels, which are contiguous together, are copied as one.
        planes = channels == 1
        views = padded[..., 0] if planes else self._windows(padded, out)
        width = self.window.size * channels
        block = _samples(math.prod(out) * width * x.itemsize, len(x))
        buffer = np.empty(block * math.prod(out) * width, x.dtype)
        taps = [tap[:-1] for tap in self.window.taps(out)] if planes else []
        for start in range(0, len(x), block):
            part = slice(start, min(start + block, len(x)))
            rows = (part.stop - start) * math.prod(out)
            flat = buffer[: rows * width]
            if planes:
                for plane, tap in zip(flat.reshape(width, -1, *out), taps, strict=True):
                    plane[...] = views[part][tap]
                yield part, flat.reshape(width, rows).T
            else:
                flat.reshape(-1, *views.shape[1:])[...] = views[part]
                yield part, flat.reshape(rows, width)

    def _windows(self, padded: Array, out: Shape) -> Array:
        """All windows as a view: (batch, positions..., kernel axes but the last, run)."""
        steps = padded.strides
        kernel, stride = self.window.kernel, self.window.stride
        rank = len(kernel)
        return as_strided(
            padded,
            (len(padded), *out, *kernel[:-1], kernel[-1] * padded.shape[-1]),
            (
                steps[0],
                *(steps[a + 1] * stride[a] for a in range(rank)),
                *steps[1:rank],
                steps[-1],
            ),
            writeable=False,
        )

    def forward(self, *inputs: Array) -> Array:
        x, w, *bias = inputs
        out = self.window.infer(x.shape[1:])
        y = np.empty((len(x), *out, w.shape[-1]), np.result_type(*inputs))
        matrix = w.reshape(-1, w.shape[-1])
        row = np.tile(bias[0], out[-1]) if bias else None  # long rows are added much faster
        for part, columns in self._columns(x, out):
            target = y[part]
            np.matmul(columns, matrix, out=target.reshape(-1, w.shape[-1]))
            if row is not None:
                rows = target.reshape(-1, len(row))
                rows += row
        return y

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        x, w, *bias = inputs

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            grad = np.ascontiguousarray(grad)
            dx = self._input_gradient(grad, x, w) if needs[0] else None
            dw = self._weight_gradient(grad, x, w) if needs[1] else None
            if not bias:
                return dx, dw
            flat = grad.reshape(-1, w.shape[-1])
            return dx, dw, np.ones(len(flat), grad.dtype) @ flat if needs[2] else None

        return self.forward(*inputs), pullback

    def _weight_gradient(self, grad: Array, x: Array, w: Array) -> Array:
        total = np.zeros((w[..., 0].size, w.shape[-1]), grad.dtype)
        for part, columns in self._columns(x, grad.shape[1:-1]):
            total += columns.T @ grad[part].reshape(-1, w.shape[-1])
        return total.reshape(w.shape)

    def _input_gradient(self, grad: Array, x: Array, w: Array) -> Array:
        """Each kernel position's share, added back where it came from."""
        out = grad.shape[1:-1]
        spatial = (n + sum(p) for n, p in zip(x.shape[1:], self.window.pad, strict=False))
        total = np.zeros((len(x), *spatial, x.shape[-1]), grad.dtype)
        back = np.ascontiguousarray(w.reshape(-1, *w.shape[-2:]).swapaxes(1, 2), grad.dtype)
        taps = self.window.taps(out)
        block = _samples(len(taps) * math.prod(out) * x.shape[-1] * grad.itemsize, len(x))
        for start in range(0, len(x), block):
            part = slice(start, start + block)
            shares = np.matmul(grad[part].reshape(-1, w.shape[-1]), back)
            target = total[part]
            for share, tap in zip(shares, taps, strict=True):
                target[tap] += share.reshape(-1, *out, x.shape[-1])
        return total[self.window.inner(x.shape)]


def _samples(size: int, batch: int) -> int:
    """How many samples of ``size`` bytes each make a block."""
    return min(max(1, BLOCK // size), max(batch, 1))
