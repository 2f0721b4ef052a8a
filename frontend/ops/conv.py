"""Convolution over one or two spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import Array, Pullback, Shape, expect
from .correlation import correlation
from .window import Window


@dataclass(frozen=True)
class Conv:
    """Cross-correlation: x ``(H, W, C)``, weight ``(KH, KW, C / groups, M)``, bias ``(M,)``.

    One spatial axis works alike: x ``(L, C)``, weight ``(K, C / groups, M)``.  There need be no
    bias.

    Attributes:
        groups: into so many equal parts input and output channels are split, in order; each
            output sees the inputs of its own part only.
    """

    window: Window
    groups: int = 1

    def infer(self, *shapes: Shape) -> Shape:
        x, w, *bias = shapes
        expect_weights(self.window, self.groups, x, w, bias)
        return (*self.window.infer(x), w[-1])

    def forward(self, *inputs: Array) -> Array:
        x, w, *bias = inputs
        out = self.window.infer(x.shape[1:])
        way = correlation(self.window, self.groups, w)
        return way.forward(x, w, bias[0] if bias else None, out)

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        x, w, *bias = inputs
        way = correlation(self.window, self.groups, w)

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            grad = np.ascontiguousarray(grad)
            dx = way.input_gradient(grad, w, x.shape) if needs[0] else None
            dw = way.weight_gradient(grad, x, w) if needs[1] else None
            return (dx, dw, bias_gradient(grad) if needs[2] else None) if bias else (dx, dw)

        return self.forward(*inputs), pullback


def expect_weights(window: Window, groups: int, x: Shape, w: Shape, bias: list[Shape]) -> None:
    """Raise a ShapeError unless weight and bias fit an input of shape ``x``, in ``groups``."""
    expect(
        len(w) == len(window.kernel) + 2 == len(x) + 1 and w[:-2] == window.kernel,
        "convolution input, kernel and weight do not fit",
        found=f"input {x}, kernel {window.kernel}, weight {w}",
        expected="weight (kernel..., input channels, output channels)",
    )
    expect(
        groups >= 1 and x[-1] % groups == 0 and w[-1] % groups == 0,
        "groups must divide the input channels and the output channels",
        found=f"{groups} groups, {x[-1]} input channels, {w[-1]} output channels",
        expected="groups that divide both",
    )
    expect(
        w[-2] == x[-1] // groups,
        "the weight does not fit the input channels",
        found=f"input {x}, {groups} groups, weight {w}",
        expected=f"a weight for {x[-1] // groups} input channels in each group",
    )
    if bias:
        expect(bias[0] == w[-1:], "convolution bias does not fit", found=bias[0], expected=w[-1:])


def bias_gradient(grad: Array) -> Array:
    """Sum over all axes but the last."""
    flat = grad.reshape(-1, grad.shape[-1])
    return np.asarray(np.ones(len(flat), grad.dtype) @ flat)
