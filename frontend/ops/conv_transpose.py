"""Transposed convolution: what a convolution does to gradients, done to values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import MAX_ELEMENTS, Array, Pullback, Shape, expect
from .conv import bias_gradient, expect_weights
from .correlation import correlation
from .window import Window


@dataclass(frozen=True)
class ConvTranspose:
    """x ``(H, W, C)``, weight ``(KH, KW, C / groups, M)``, bias ``(M,)`` if any; or one axis.

    Kernel position k adds ``x[i] · w[k]`` to the output at ``i · stride + k · dilation - before``;
    what falls outside is dropped.  With the channel axes of each group's weight swapped this is
    the gradient of :class:`Conv` with respect to its input.

    Attributes:
        window: its padding is cut off the result.
        output_padding: so much longer the result is at the end of each axis; zeros if empty.
        groups: into so many equal parts input and output channels are split, in order.
    """

    window: Window
    output_padding: Shape = ()
    groups: int = 1

    def __post_init__(self) -> None:
        if not self.output_padding:
            object.__setattr__(self, "output_padding", (0,) * len(self.window.kernel))

    def infer(self, *shapes: Shape) -> Shape:
        x, w, *bias = shapes
        self.window.expect_sound()
        expect_weights(self.window, self.groups, x, w, bias)
        expect(
            len(self.output_padding) == len(self.window.kernel) and min(self.output_padding) >= 0,
            "output padding must have a size of at least 0 for each spatial axis",
            found=self.output_padding,
            expected=f"{len(self.window.kernel)} sizes",
        )
        out = self._spatial(x[:-1])
        whole = math.prod(n + sum(pad) for n, pad in zip(out, self.window.pad, strict=True))
        expect(
            whole * w[-1] <= MAX_ELEMENTS,
            "the result is too large before its padding is cut off",
            found=f"input {x}, kernel {self.window.kernel}, stride {self.window.stride}, "
            f"dilation {self.window.dilation}",
            expected=f"at most {MAX_ELEMENTS} elements a sample",
        )
        expect(
            min(out) >= 1,
            "the padding cuts off the whole result",
            found=f"input {x}, kernel {self.window.kernel}, padding {self.window.pad}",
            expected="at least one position",
        )
        return (*out, w[-1])

    def _spatial(self, x: Shape) -> Shape:
        window = self.window
        return tuple(
            (n - 1) * stride + reach - sum(pad) + extra
            for n, stride, reach, pad, extra in zip(
                x, window.stride, window.reach, window.pad, self.output_padding, strict=True
            )
        )

    def forward(self, *inputs: Array) -> Array:
        x, w, *bias = inputs
        shape = (len(x), *self._spatial(x.shape[1:-1]), w.shape[-1])
        swapped = self._swapped(w)
        way = correlation(self.window, self.groups, swapped)
        kind = np.result_type(*inputs)
        y = way.input_gradient(np.ascontiguousarray(x, kind), swapped, shape)
        return y + bias[0] if bias else np.ascontiguousarray(y)

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        x, w, *bias = inputs
        swapped = self._swapped(w)
        way = correlation(self.window, self.groups, swapped)

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            dx = way.forward(grad, swapped, None, x.shape[1:-1]) if needs[0] else None
            dw = None
            if needs[1]:
                dw = self._swapped(way.weight_gradient(np.ascontiguousarray(x), grad, swapped))
            return (dx, dw, bias_gradient(grad) if needs[2] else None) if bias else (dx, dw)

        return self.forward(*inputs), pullback

    def _swapped(self, w: Array) -> Array:
        """Input and output channels of each group's weight swapped."""
        split = w.reshape(*w.shape[:-1], self.groups, -1)
        return split.swapaxes(-1, -3).reshape(*w.shape[:-2], split.shape[-1], -1)
