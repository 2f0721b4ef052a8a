"""Convolution over one or two spatial axes, as a matrix product over gathered windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import Array, Pullback, Shape, expect
from .window import Window


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

    def _columns(self, x: Array) -> Array:
        """Windows of ``x`` as rows: ``(batch · positions, kernel · channels)``."""
        out = self.window.infer(x.shape[1:])
        padded = self.window.extend(x)
        columns = np.empty((x.shape[0], *out, self.window.size, x.shape[-1]), x.dtype)
        for i, tap in enumerate(self.window.taps(out)):
            columns[..., i, :] = padded[tap]
        return columns.reshape(-1, self.window.size * x.shape[-1])

    def _product(self, columns: Array, x: Array, w: Array, bias: list[Array]) -> Array:
        y = columns @ w.reshape(-1, w.shape[-1])
        if bias:
            y += bias[0]
        return y.reshape(x.shape[0], *self.window.infer(x.shape[1:]), w.shape[-1])

    def forward(self, *inputs: Array) -> Array:
        x, w, *bias = inputs
        return self._product(self._columns(x), x, w, bias)

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        x, w, *bias = inputs
        columns = self._columns(x)

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            flat = grad.reshape(-1, w.shape[-1])
            dw = (columns.T @ flat).reshape(w.shape) if needs[1] else None
            db = [flat.sum(axis=0) if needs[2] else None] if bias else []
            return (self._scatter(flat, x, w) if needs[0] else None, dw, *db)

        return self._product(columns, x, w, bias), pullback

    def _scatter(self, flat: Array, x: Array, w: Array) -> Array:
        """Gradient of the input: each window's share added back where it came from."""
        out = self.window.infer(x.shape[1:])
        shares = (flat @ w.reshape(-1, w.shape[-1]).T).reshape(
            x.shape[0], *out, self.window.size, x.shape[-1]
        )
        spatial = (n + sum(p) for n, p in zip(x.shape[1:], self.window.pad, strict=False))
        total = np.zeros((x.shape[0], *spatial, x.shape[-1]), flat.dtype)
        for i, tap in enumerate(self.window.taps(out)):
            total[tap] += shares[..., i, :]
        return total[self.window.inner(x.shape)]
